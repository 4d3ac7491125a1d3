//! ListGroups (16), versions 0-5.
//!
//! Lists the groups that this broker coordinates; while one of its shards is loading the answer is an error, because the
//! list would be incomplete. Versions: 3 flexible, 4 states, 5 types. KIP-518, KIP-848.

use std::sync::Arc;

use kafka_protocol::messages::list_groups_response::{ListGroupsResponse, ListedGroup};
use kafka_protocol::messages::{GroupId, ListGroupsRequest};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::coordinator::group::api;
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;

/// Asks all shards of this broker.
pub fn handle(cx: &Arc<RequestContext>, request: ListGroupsRequest) -> Reply {
    let version = cx.api_version;
    let texts = |texts: &[StrBytes]| texts.iter().map(|text| Arc::from(text.as_str())).collect();
    let answer = cx.services.groups.list_groups(api::ListRequest {
        states_filter: texts(&request.states_filter),
        types_filter: texts(&request.types_filter),
    });
    cx.later(async move { response(version, answer.await) })
}

fn response(version: i16, listed: Result<Vec<api::ListedGroup>, ErrorCode>) -> ListGroupsResponse {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let groups = match listed {
        Ok(groups) => groups,
        Err(error) => return ListGroupsResponse::default().with_error_code(error.code()),
    };
    let groups = groups.iter().map(|group| {
        let listed = ListedGroup::default()
            .with_group_id(GroupId(text(&group.group_id)))
            .with_protocol_type(text(&group.protocol_type));
        let listed = if version >= 4 {
            listed.with_group_state(text(group.state))
        } else {
            listed
        };
        if version >= 5 {
            listed.with_group_type(text(group.group_type))
        } else {
            listed
        }
    });
    ListGroupsResponse::default().with_groups(groups.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::encode::encode_response;

    #[test]
    fn all_versions_can_tell_a_group_and_an_error() {
        let group = api::ListedGroup {
            group_id: Arc::from("g"),
            protocol_type: Arc::from("consumer"),
            state: "Stable",
            group_type: "classic",
        };
        for listed in [Ok(vec![group]), Err(ErrorCode::CoordinatorLoadInProgress)] {
            for version in 0..=5 {
                encode_response(16, version, 1, &response(version, listed.clone())).expect("all fields exist");
            }
        }
    }
}
