//! DeleteGroups (42), versions 0-2.
//!
//! Per group: GROUP_ID_NOT_FOUND (69), NON_EMPTY_GROUP (68), or why its coordinator cannot be asked; the others are
//! deleted. A group that is named twice is deleted and answered once. Versions: 2 flexible.

use std::sync::Arc;

use kafka_protocol::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use kafka_protocol::messages::{DeleteGroupsRequest, GroupId};
use kafka_protocol::protocol::StrBytes;

use crate::coordinator::DeletedGroup;
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;

/// Asks the shards of the groups; the answer comes when the groups are gone.
pub fn handle(cx: &Arc<RequestContext>, request: DeleteGroupsRequest) -> Reply {
    let group_ids = request.groups_names.iter();
    let group_ids = group_ids.map(|group_id| Arc::from(group_id.as_str())).collect();
    let answer = cx.services.groups.delete_groups(group_ids);
    cx.later(async move { response(answer.await) })
}

fn response(groups: Vec<DeletedGroup>) -> DeleteGroupsResponse {
    let results = groups.into_iter().map(|(group_id, error)| {
        DeletableGroupResult::default()
            .with_group_id(GroupId(StrBytes::from_string(group_id.to_string())))
            .with_error_code(error.code())
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::encode::encode_response;
    use protocol::error_code::ErrorCode;

    #[test]
    fn all_versions_tell_each_group_by_its_name() {
        for version in 0..=2 {
            let response = response(vec![
                (Arc::from("gone"), ErrorCode::None),
                (Arc::from("busy"), ErrorCode::NonEmptyGroup),
            ]);
            let told: Vec<_> = response
                .results
                .iter()
                .map(|result| (result.group_id.as_str(), result.error_code))
                .collect();
            assert_eq!(told, [("gone", 0), ("busy", 68)]);
            encode_response(42, version, 1, &response).expect("all fields exist in the version");
        }
    }
}
