//! What tools see of a group.
//!
//! Invariant: metadata of members is shown only in Stable, as in Kafka: in other states it may not fit the protocol.
//! Source: `GroupMetadataManager.describeGroups`, `ClassicGroup.asListedGroup`.

use std::sync::Arc;

use bytes::Bytes;

use super::{ClassicGroup, GroupState};
use crate::coordinator::group::api::{GroupDescription, ListRequest, ListedGroup, MemberDescription};

/// The name of this kind of group in ListGroups.
const GROUP_TYPE: &str = "classic";

impl ClassicGroup {
    /// The group for DescribeGroups.
    pub(in crate::coordinator::group) fn describe(&self) -> GroupDescription {
        let stable = self.state == GroupState::Stable;
        let protocol_name = self.protocol_name.as_ref().filter(|_| stable);
        let members = self.members.values().map(|member| MemberDescription {
            member_id: Arc::clone(&member.member_id),
            group_instance_id: member.group_instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            metadata: protocol_name.map_or_else(Bytes::new, |name| member.metadata(Some(name))),
            assignment: member.assignment.clone(),
        });
        GroupDescription {
            group_id: Arc::clone(&self.group_id),
            state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| Arc::from("")),
            protocol_name: protocol_name.cloned().unwrap_or_else(|| Arc::from("")),
            members: members.collect(),
        }
    }
}

/// A group that only has committed offsets, for DescribeGroups.
pub(in crate::coordinator::group) fn describe_simple(group_id: &Arc<str>) -> GroupDescription {
    GroupDescription {
        group_id: Arc::clone(group_id),
        state: GroupState::Empty.name(),
        protocol_type: Arc::from(""),
        protocol_name: Arc::from(""),
        members: Vec::new(),
    }
}

/// What a ListGroups lets through, worked out once: a filter may be far longer than the list of groups.
#[derive(Debug)]
pub(in crate::coordinator::group) struct Admitted {
    /// Names of states.
    states: Vec<&'static str>,
}

impl Admitted {
    /// By the filters of a request. Names are compared in any case; an empty filter lets everything through.
    pub(in crate::coordinator::group) fn by(request: &ListRequest) -> Self {
        let passes = |filter: &[Arc<str>], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(name))
        };
        let mut states: Vec<&'static str> = GroupState::ALL.iter().map(|state| state.name()).collect();
        states.retain(|state| passes(&request.types_filter, GROUP_TYPE) && passes(&request.states_filter, state));
        Self { states }
    }

    pub(in crate::coordinator::group) fn admits(&self, group: &ListedGroup) -> bool {
        self.states.contains(&group.state)
    }
}

/// A group for ListGroups.
pub(in crate::coordinator::group) fn listed(group: &ClassicGroup) -> ListedGroup {
    ListedGroup {
        group_id: Arc::clone(&group.group_id),
        protocol_type: group.protocol_type.clone().unwrap_or_else(|| Arc::from("")),
        state: group.state.name(),
        group_type: GROUP_TYPE,
    }
}

/// A group that only has committed offsets, for ListGroups.
pub(in crate::coordinator::group) fn listed_simple(group_id: &Arc<str>) -> ListedGroup {
    ListedGroup {
        group_id: Arc::clone(group_id),
        protocol_type: Arc::from(""),
        state: GroupState::Empty.name(),
        group_type: GROUP_TYPE,
    }
}
