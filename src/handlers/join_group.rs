//! JoinGroup (11), versions 0-9.
//!
//! Versions: 1 rebalance timeout (before, the session timeout counts for both), 4 new members are first given their id
//! (MEMBER_ID_REQUIRED (79)), 5 static members, 7 protocol type and null protocol name, 8 reason, 9 skip assignment.
//! KIP-62, KIP-345, KIP-394, KIP-559, KIP-800, KIP-814.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::JoinGroupRequest;
use kafka_protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use kafka_protocol::protocol::StrBytes;

use crate::coordinator::group::api::{JoinReply, JoinRequest, MemberProtocol};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;

/// Hands the request to the group's shard; the answer comes when the next generation is complete.
pub fn handle(cx: &Arc<RequestContext>, request: JoinGroupRequest) -> Reply {
    let version = cx.api_version;
    let request = join_request(version, &cx.client_id, cx.peer, &request);
    let answer = cx.services.groups.join_group(request);
    cx.later(async move { response(version, answer.await) })
}

fn join_request(version: i16, client_id: &str, peer: SocketAddr, request: &JoinGroupRequest) -> JoinRequest {
    let text = |text: &StrBytes| Arc::from(text.as_str());
    let protocols = request.protocols.iter().map(|protocol| MemberProtocol {
        name: text(&protocol.name),
        // Copied: the member lives longer than the request, which would be kept as a whole.
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    });
    JoinRequest {
        group_id: text(&request.group_id),
        member_id: text(&request.member_id),
        group_instance_id: request.group_instance_id.as_ref().map(text),
        client_id: Arc::from(client_id),
        client_host: Arc::from(format!("/{}", peer.ip().to_canonical())),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if version >= 1 {
            request.rebalance_timeout_ms
        } else {
            request.session_timeout_ms
        },
        protocol_type: text(&request.protocol_type),
        protocols: protocols.collect(),
        reason: request.reason.as_ref().map(text),
        requires_known_member_id: version >= 4,
        supports_skip_assignment: version >= 9,
    }
}

fn response(version: i16, reply: JoinReply) -> JoinGroupResponse {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let members = reply.members.iter().map(|member| {
        let answer = JoinGroupResponseMember::default()
            .with_member_id(text(&member.member_id))
            .with_metadata(member.metadata.clone());
        if version >= 5 {
            answer.with_group_instance_id(member.group_instance_id.as_deref().map(text))
        } else {
            answer
        }
    });
    let protocol_name = reply.protocol_name.as_deref().filter(|name| !name.is_empty());
    let response = JoinGroupResponse::default()
        .with_error_code(reply.error.code())
        .with_generation_id(reply.generation_id)
        // Null is known since version 7 only.
        .with_protocol_name(if version >= 7 {
            protocol_name.map(text)
        } else {
            Some(text(protocol_name.unwrap_or("")))
        })
        .with_leader(text(&reply.leader))
        .with_member_id(text(&reply.member_id))
        .with_members(members.collect());
    let response = if version >= 7 {
        response.with_protocol_type(reply.protocol_type.as_deref().map(text))
    } else {
        response
    };
    if version >= 9 {
        response.with_skip_assignment(reply.skip_assignment)
    } else {
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::group::api::JoinedMember;
    use protocol::encode::encode_response;
    use protocol::error_code::ErrorCode;

    fn joined() -> JoinReply {
        let member = JoinedMember {
            member_id: Arc::from("m"),
            group_instance_id: Some(Arc::from("i")),
            metadata: Bytes::from_static(b"x"),
        };
        JoinReply {
            generation_id: 3,
            protocol_type: Some(Arc::from("consumer")),
            protocol_name: Some(Arc::from("range")),
            skip_assignment: true,
            members: vec![member],
            ..JoinReply::error(ErrorCode::None, "m")
        }
    }

    #[test]
    fn all_versions_can_tell_a_generation_and_an_error() {
        for reply in [joined(), JoinReply::error(ErrorCode::MemberIdRequired, "m")] {
            for version in 0..=9 {
                let response = response(version, reply.clone());
                assert_eq!(
                    response.protocol_name.is_none(),
                    version >= 7 && reply.protocol_name.is_none()
                );
                encode_response(11, version, 1, &response).expect("all fields exist in the version");
            }
        }
    }

    #[test]
    fn version_0_has_one_timeout_for_both() {
        let request = JoinGroupRequest::default()
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(-1);
        let peer = "[::ffff:10.1.2.3]:5".parse().expect("address");
        let old = join_request(0, "c", peer, &request);
        assert_eq!(
            (old.rebalance_timeout_ms, old.requires_known_member_id),
            (10_000, false)
        );
        assert_eq!(&*old.client_host, "/10.1.2.3");
        let new = join_request(9, "c", peer, &request.with_rebalance_timeout_ms(60_000));
        assert_eq!((new.rebalance_timeout_ms, new.supports_skip_assignment), (60_000, true));
    }
}
