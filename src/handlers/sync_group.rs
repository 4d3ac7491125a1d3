//! SyncGroup (14), versions 0-5.
//!
//! Versions: 3 static members, 4 flexible, 5 protocol type and name, which are mandatory then:
//! INCONSISTENT_GROUP_PROTOCOL (23) without them. KIP-345, KIP-559.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::SyncGroupRequest;
use kafka_protocol::messages::sync_group_response::SyncGroupResponse;
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::coordinator::group::api::{SyncReply, SyncRequest};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;

/// Hands the request to the group's shard; the answer comes when the leader's assignment is committed.
pub fn handle(cx: &Arc<RequestContext>, request: SyncGroupRequest) -> Reply {
    let version = cx.api_version;
    if version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return cx.reply(&response(
            version,
            SyncReply::error(ErrorCode::InconsistentGroupProtocol),
        ));
    }
    let answer = cx.services.groups.sync_group(sync_request(&request));
    cx.later(async move { response(version, answer.await) })
}

fn sync_request(request: &SyncGroupRequest) -> SyncRequest {
    let text = |text: &StrBytes| Arc::from(text.as_str());
    let assignments = request.assignments.iter().map(|member| {
        // Copied: the assignment lives longer than the request, which would be kept as a whole.
        (text(&member.member_id), Bytes::copy_from_slice(&member.assignment))
    });
    SyncRequest {
        group_id: text(&request.group_id),
        generation_id: request.generation_id,
        member_id: text(&request.member_id),
        group_instance_id: request.group_instance_id.as_ref().map(text),
        protocol_type: request.protocol_type.as_ref().map(text),
        protocol_name: request.protocol_name.as_ref().map(text),
        assignments: assignments.collect(),
    }
}

fn response(version: i16, reply: SyncReply) -> SyncGroupResponse {
    let response = SyncGroupResponse::default()
        .with_error_code(reply.error.code())
        .with_assignment(reply.assignment);
    if version < 5 {
        return response;
    }
    let text = |text: Arc<str>| StrBytes::from_string(text.to_string());
    response
        .with_protocol_type(reply.protocol_type.map(text))
        .with_protocol_name(reply.protocol_name.map(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::encode::encode_response;

    #[test]
    fn all_versions_can_tell_an_assignment_and_an_error() {
        let assigned = SyncReply {
            protocol_type: Some(Arc::from("consumer")),
            protocol_name: Some(Arc::from("range")),
            assignment: Bytes::from_static(b"x"),
            ..SyncReply::error(ErrorCode::None)
        };
        for reply in [assigned, SyncReply::error(ErrorCode::RebalanceInProgress)] {
            for version in 0..=5 {
                encode_response(14, version, 1, &response(version, reply.clone())).expect("all fields exist");
            }
        }
    }
}
