//! LeaveGroup (13), versions 0-5.
//!
//! Versions: 3 many members with an error each, and removal of static members by their instance id; before, one member
//! whose error is that of the answer. 4 flexible, 5 reason. KIP-345, KIP-800.

use std::sync::Arc;

use kafka_protocol::messages::LeaveGroupRequest;
use kafka_protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::coordinator::group::api::{LeaveReply, LeaveRequest, LeavingMember};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;

/// Hands the request to the group's shard.
pub fn handle(cx: &Arc<RequestContext>, request: LeaveGroupRequest) -> Reply {
    let version = cx.api_version;
    let answer = cx.services.groups.leave_group(leave_request(version, &request));
    cx.later(async move { response(version, answer.await) })
}

fn leave_request(version: i16, request: &LeaveGroupRequest) -> LeaveRequest {
    let text = |text: &StrBytes| Arc::from(text.as_str());
    let members = if version >= 3 {
        let members = request.members.iter().map(|member| LeavingMember {
            member_id: text(&member.member_id),
            group_instance_id: member.group_instance_id.as_ref().map(text),
            reason: member.reason.as_ref().map(text),
        });
        members.collect()
    } else {
        vec![LeavingMember {
            member_id: text(&request.member_id),
            group_instance_id: None,
            reason: None,
        }]
    };
    LeaveRequest {
        group_id: text(&request.group_id),
        members,
    }
}

fn response(version: i16, reply: LeaveReply) -> LeaveGroupResponse {
    if version < 3 {
        let of_member = reply.members.first().map_or(ErrorCode::None, |member| member.error);
        let error = if reply.error == ErrorCode::None {
            of_member
        } else {
            reply.error
        };
        return LeaveGroupResponse::default().with_error_code(error.code());
    }
    let text = |text: Arc<str>| StrBytes::from_string(text.to_string());
    let members = reply.members.into_iter().map(|member| {
        MemberResponse::default()
            .with_member_id(text(member.member_id))
            .with_group_instance_id(member.group_instance_id.map(text))
            .with_error_code(member.error.code())
    });
    LeaveGroupResponse::default()
        .with_error_code(reply.error.code())
        .with_members(members.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::group::api::LeftMember;
    use protocol::encode::encode_response;

    #[test]
    fn the_error_stands_where_the_version_has_it() {
        let member = LeftMember {
            member_id: Arc::from("m"),
            group_instance_id: None,
            error: ErrorCode::UnknownMemberId,
        };
        let reply = LeaveReply {
            error: ErrorCode::None,
            members: vec![member],
        };
        for version in 0..=5 {
            let response = response(version, reply.clone());
            let error = if version < 3 {
                response.error_code
            } else {
                response.members[0].error_code
            };
            assert_eq!(error, ErrorCode::UnknownMemberId.code());
            encode_response(13, version, 1, &response).expect("all fields exist in the version");
        }
    }
}
