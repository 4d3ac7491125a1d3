//! DescribeGroups (15), versions 0-6.
//!
//! An unknown group is described as Dead, since version 6 with GROUP_ID_NOT_FOUND (69). Versions: 3 authorized operations
//! (all of them: there is no authorizer), 4 static members, 5 flexible, 6 error messages. KIP-345, KIP-430, KIP-1043.
//! Behaviour that differs from Apache Kafka: a group that is named twice is described once.

use std::sync::Arc;

use kafka_protocol::messages::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use kafka_protocol::messages::{DescribeGroupsRequest, GroupId};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::coordinator::group::api::{GroupDescription, MemberDescription};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Reply, message};

/// Bits of the operations that exist for groups: read, delete, describe, describe configs, alter configs (`AclEntry`).
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// Asks the shards of the groups.
pub fn handle(cx: &Arc<RequestContext>, request: DescribeGroupsRequest) -> Reply {
    let version = cx.api_version;
    let with_operations = version >= 3 && request.include_authorized_operations;
    let group_ids = request
        .groups
        .iter()
        .map(|group_id| Arc::from(group_id.as_str()))
        .collect();
    let answer = cx.services.groups.describe_groups(group_ids);
    cx.later(async move {
        let groups = answer.await.into_iter().map(|(group_id, described)| {
            let group = match described {
                Ok(Some(description)) => described_group(version, description),
                Ok(None) => unknown_group(version, &group_id),
                Err(error) => DescribedGroup::default()
                    .with_group_id(id(&group_id))
                    .with_error_code(error.code()),
            };
            let operations = with_operations && group.error_code == 0;
            if operations {
                group.with_authorized_operations(GROUP_OPERATIONS)
            } else {
                group
            }
        });
        DescribeGroupsResponse::default().with_groups(groups.collect())
    })
}

fn id(group_id: &str) -> GroupId {
    GroupId(text(group_id))
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn described_group(version: i16, group: GroupDescription) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(id(&group.group_id))
        .with_group_state(StrBytes::from_static_str(group.state))
        .with_protocol_type(text(&group.protocol_type))
        .with_protocol_data(text(&group.protocol_name))
        .with_members(
            group
                .members
                .into_iter()
                .map(|member| described_member(version, member))
                .collect(),
        )
}

fn described_member(version: i16, member: MemberDescription) -> DescribedGroupMember {
    let described = DescribedGroupMember::default()
        .with_member_id(text(&member.member_id))
        .with_client_id(text(&member.client_id))
        .with_client_host(text(&member.client_host))
        .with_member_metadata(member.metadata)
        .with_member_assignment(member.assignment);
    if version >= 4 {
        described.with_group_instance_id(member.group_instance_id.as_deref().map(text))
    } else {
        described
    }
}

fn unknown_group(version: i16, group_id: &str) -> DescribedGroup {
    let group = DescribedGroup::default()
        .with_group_id(id(group_id))
        .with_group_state(text("Dead"));
    if version < 6 {
        return group;
    }
    group
        .with_error_code(ErrorCode::GroupIdNotFound.code())
        .with_error_message(Some(message(format!("Group {group_id} not found."))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use protocol::encode::encode_response;

    #[test]
    fn all_versions_can_tell_a_group_and_its_absence() {
        let member = MemberDescription {
            member_id: Arc::from("m"),
            group_instance_id: Some(Arc::from("i")),
            client_id: Arc::from("c"),
            client_host: Arc::from("/1.2.3.4"),
            metadata: Bytes::from_static(b"x"),
            assignment: Bytes::from_static(b"y"),
        };
        let group = GroupDescription {
            group_id: Arc::from("g"),
            state: "Stable",
            protocol_type: Arc::from("consumer"),
            protocol_name: Arc::from("range"),
            members: vec![member],
        };
        for version in 0..=6 {
            let groups = vec![described_group(version, group.clone()), unknown_group(version, "u")];
            assert_eq!(groups[1].error_code, if version < 6 { 0 } else { 69 });
            let response = DescribeGroupsResponse::default().with_groups(groups);
            encode_response(15, version, 1, &response).expect("all fields exist in the version");
        }
    }
}
