//! The classic group protocol: members join, a leader assigns, all sync, then heartbeat.
//!
//! Empty → PreparingRebalance (members join) → CompletingRebalance (the leader's assignment is awaited) → Stable, and
//! back to PreparingRebalance whenever members come, go or change; Empty again when nobody is left. One event per file,
//! each a method of [`ClassicEvent`].
//!
//! Invariants: a group with members has exactly one leader, who is a member; the generation only grows; in Stable every
//! member has an assignment; every token that is handed in is answered once. Sources: `ClassicGroup`,
//! `GroupMetadataManager` (classicGroup*).

mod describe;
mod heartbeat;
mod join;
mod leave;
mod member;
mod rebalance;
mod subscription;
mod sync;

#[cfg(test)]
mod invariants;
#[cfg(test)]
mod script_tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;

pub(super) use self::describe::{Admitted, describe_simple, listed, listed_simple};
pub(super) use self::join::StaticSwap;
pub(super) use self::member::Member;
pub(super) use self::sync::PendingAssignment;
use super::api::{JoinReply, MemberProtocol, Reply, ReplyToken, SyncReply};
use super::record::{GroupMetadata, Record};
use super::timers::{TimerKey, Timers};
use super::{Cx, OnAppend, Outcome};

/// The protocol type of consumers, whose subscriptions the broker can read.
const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Where a group is in the protocol. A dead group is one that does not exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl GroupState {
    pub(super) const ALL: [Self; 4] = [
        Self::Empty,
        Self::PreparingRebalance,
        Self::CompletingRebalance,
        Self::Stable,
    ];

    /// The name that tools show.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// The first rebalance of an empty group: it waits in steps while new members keep coming.
#[derive(Clone, Copy, Debug)]
pub(super) struct InitialRebalance {
    step_ms: i64,
    remaining_ms: i64,
    new_member_added: bool,
}

/// A live group.
#[derive(Debug)]
pub(super) struct ClassicGroup {
    pub(super) group_id: Arc<str>,
    pub(super) state: GroupState,
    pub(super) current_state_timestamp_ms: i64,
    pub(super) protocol_type: Option<Arc<str>>,
    protocol_name: Option<Arc<str>>,
    generation_id: i32,
    leader: Option<Arc<str>>,
    /// In boxes: a node of the map has room for eleven, and most groups have fewer.
    pub(super) members: BTreeMap<Arc<str>, Box<Member>>,
    /// Instance id to member id.
    static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were given out and have not come back.
    pending_members: BTreeSet<Arc<str>>,
    /// Members of this generation that have not sent SyncGroup.
    pending_sync: BTreeSet<Arc<str>>,
    /// The generation whose assignment is in the log or on its way: what the leader said first counts.
    assigned_generation: Option<i32>,
    /// How many members have a JoinGroup parked.
    awaiting_join: usize,
    /// How many members support each protocol.
    supported_protocols: BTreeMap<Arc<str>, usize>,
    /// What the members of this generation subscribe to; `None` when that cannot be told.
    subscribed_topics: Option<BTreeSet<Arc<str>>>,
    initial_rebalance: Option<InitialRebalance>,
}

/// One event at one group: the group, the deadlines, and where its effects go.
#[derive(Debug)]
pub(super) struct ClassicEvent<'a, 'c> {
    pub(super) group: &'a mut ClassicGroup,
    pub(super) timers: &'a mut Timers,
    pub(super) cx: &'a mut Cx<'c>,
    pub(super) out: &'a mut Outcome,
}

impl ClassicGroup {
    pub(super) fn new(group_id: Arc<str>, now_wall_ms: i64) -> Self {
        Self {
            group_id,
            state: GroupState::Empty,
            current_state_timestamp_ms: now_wall_ms,
            protocol_type: None,
            protocol_name: None,
            generation_id: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_members: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            assigned_generation: None,
            awaiting_join: 0,
            supported_protocols: BTreeMap::new(),
            subscribed_topics: None,
            initial_rebalance: None,
        }
    }

    /// A group as it was persisted. What a foreign writer left inconsistent is mended, so that the invariants hold.
    pub(super) fn from_metadata(group_id: &Arc<str>, metadata: &GroupMetadata) -> Self {
        let mut group = Self::new(Arc::clone(group_id), metadata.current_state_timestamp_ms);
        group.protocol_type = metadata.protocol_type.clone();
        group.protocol_name = metadata.protocol_name.clone();
        group.generation_id = metadata.generation_id;
        if !metadata.members.is_empty() {
            let protocol_name = metadata.protocol_name.clone().unwrap_or_else(|| Arc::from(""));
            group.protocol_name = Some(Arc::clone(&protocol_name));
            group.protocol_type.get_or_insert_with(|| Arc::from(""));
            group.state = GroupState::Stable;
            for persisted in &metadata.members {
                let mut member = Member::from_metadata(persisted, &protocol_name);
                let taken = |instance_id: &Arc<str>| group.static_members.contains_key(instance_id);
                if member.group_instance_id.as_ref().is_some_and(taken) {
                    member.group_instance_id = None;
                }
                if !group.members.contains_key(&member.member_id) {
                    group.insert(member);
                }
            }
            if let Some(leader) = metadata
                .leader
                .as_ref()
                .filter(|leader| group.members.contains_key(*leader))
            {
                group.leader = Some(Arc::clone(leader));
            }
        }
        group.subscribed_topics = group.compute_subscribed_topics();
        group
    }

    /// The group as it is persisted, with these assignments; a member without one has the empty one.
    fn to_metadata(&self, assignments: &BTreeMap<Arc<str>, Bytes>) -> GroupMetadata {
        let members = self.members.values().map(|member| {
            let assignment = assignments.get(&member.member_id).cloned().unwrap_or_default();
            member.to_metadata(self.protocol_name.as_deref(), assignment)
        });
        GroupMetadata {
            protocol_type: self.protocol_type.clone(),
            generation_id: self.generation_id,
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone(),
            current_state_timestamp_ms: self.current_state_timestamp_ms,
            members: members.collect(),
        }
    }

    /// The record of a group in which nobody ever was: it makes the group exist for others.
    pub(super) fn new_group_record(&self) -> Record {
        let value = GroupMetadata {
            protocol_type: None,
            generation_id: 0,
            protocol_name: None,
            leader: None,
            current_state_timestamp_ms: self.current_state_timestamp_ms,
            members: Vec::new(),
        };
        Record::GroupMetadata {
            group_id: Arc::clone(&self.group_id),
            value: Some(value),
        }
    }

    /// Whether the group may be removed once its offsets are gone.
    pub(super) fn is_removable(&self) -> bool {
        self.state == GroupState::Empty && self.pending_members.is_empty()
    }

    /// Ids that were given out and have not come back.
    pub(super) fn pending_members(&self) -> impl Iterator<Item = &Arc<str>> {
        self.pending_members.iter()
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// Whether the members read the topic, as far as can be told: unreadable subscriptions of consumers may contain it.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    pub(super) fn knows_subscribed_topics(&self) -> bool {
        self.subscribed_topics.is_some()
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    fn has_all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_members.is_empty()
    }

    /// The longest rebalance timeout of the members: how long each phase may take.
    fn rebalance_timeout_ms(&self) -> i64 {
        self.members
            .values()
            .map(|member| i64::from(member.rebalance_timeout_ms))
            .max()
            .unwrap_or(0)
            .max(0)
    }

    fn transition_to(&mut self, state: GroupState, now_wall_ms: i64) {
        self.state = state;
        self.current_state_timestamp_ms = now_wall_ms;
    }

    /// Whether the request comes from the member that it names.
    pub(super) fn validate_member(&self, member_id: &str, group_instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(group_instance_id) = group_instance_id {
            match self.static_members.get(group_instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(present) if **present != *member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    /// Whether offsets may be committed by this member (generation -1 and no member: by a consumer without a group).
    pub(super) fn validate_commit(
        &self,
        member_id: &str,
        group_instance_id: Option<&str>,
        generation_id: i32,
    ) -> Result<(), ErrorCode> {
        if generation_id < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        if generation_id < 0 && member_id.is_empty() && group_instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.validate_transactional_commit(member_id, group_instance_id, generation_id)?;
        match self.state {
            // The old assignment is over and the new one not known yet: nobody can own what it commits.
            GroupState::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// The same for a commit in a transaction, for which neither the group's state counts nor, when none is named, who
    /// its members are: old producers cannot name one.
    pub(super) fn validate_transactional_commit(
        &self,
        member_id: &str,
        group_instance_id: Option<&str>,
        generation_id: i32,
    ) -> Result<(), ErrorCode> {
        let names_nobody = member_id.is_empty() && group_instance_id.is_none();
        if generation_id < 0 && (names_nobody || self.state == GroupState::Empty) {
            return Ok(());
        }
        self.validate_member(member_id, group_instance_id)?;
        if generation_id == self.generation_id {
            Ok(())
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }

    /// Whether a member with these protocols fits to those that are there.
    fn supports(&self, protocol_type: &str, protocols: &[MemberProtocol]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let everybody = self.members.len();
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|protocol| self.supported_protocols.get(&protocol.name).copied().unwrap_or(0) == everybody)
    }

    /// Among the protocols that all support, the one that most members name first; of equals, the leader's favourite.
    fn select_protocol(&self) -> Option<Arc<str>> {
        let everybody = self.members.len();
        let is_candidate = |name: &Arc<str>| self.supported_protocols.get(name).copied() == Some(everybody);
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(first) = member
                .protocols
                .iter()
                .map(|protocol| &protocol.name)
                .find(|name| is_candidate(name))
            {
                *votes.entry(first).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let leader = self.members.get(self.leader.as_ref()?)?;
        let mut by_preference = leader.protocols.iter().map(|protocol| &protocol.name);
        by_preference
            .find(|name| votes.get(name).copied() == Some(most))
            .map(Arc::clone)
    }

    /// Adds a member that is not there yet.
    fn insert(&mut self, mut member: Member) {
        for protocol in &mut member.protocols {
            // all members of a group name the same few
            if let Some((known, _)) = self.supported_protocols.get_key_value(&protocol.name) {
                protocol.name = Arc::clone(known);
            }
        }
        if let Some(instance_id) = &member.group_instance_id {
            let previous = self
                .static_members
                .insert(Arc::clone(instance_id), Arc::clone(&member.member_id));
            assert!(previous.is_none(), "an instance id belongs to one member");
        }
        self.count_protocols(&member, true);
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.leader.get_or_insert_with(|| Arc::clone(&member.member_id));
        self.pending_members.remove(&member.member_id);
        let previous = self.members.insert(Arc::clone(&member.member_id), Box::new(member));
        assert!(previous.is_none(), "a member id belongs to one member");
    }

    /// Removes a member or a pending id; a new leader is found if the member led.
    fn remove(&mut self, member_id: &str) -> Option<Box<Member>> {
        let removed = self.members.remove(member_id);
        if let Some(member) = &removed {
            self.count_protocols(member, false);
            self.awaiting_join -= usize::from(member.awaiting_join.is_some());
            if let Some(instance_id) = &member.group_instance_id {
                self.static_members.remove(instance_id);
            }
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_members.remove(member_id);
        self.pending_sync.remove(member_id);
        removed
    }

    fn count_protocols(&mut self, member: &Member, added: bool) {
        for name in member.protocol_names() {
            let count = self.supported_protocols.entry(Arc::clone(&name)).or_default();
            if added {
                *count += 1;
            } else {
                *count -= 1;
            }
            if *count == 0 {
                self.supported_protocols.remove(&name);
            }
        }
    }

    /// Changes what a member told about itself.
    fn update_member(
        &mut self,
        member_id: &str,
        protocols: Vec<MemberProtocol>,
        rebalance_timeout_ms: i32,
        session_timeout_ms: i32,
    ) {
        let Some(mut member) = self.members.remove(member_id) else {
            return;
        };
        self.count_protocols(&member, false);
        member.protocols = protocols;
        member.rebalance_timeout_ms = rebalance_timeout_ms;
        member.session_timeout_ms = session_timeout_ms;
        self.count_protocols(&member, true);
        self.members.insert(Arc::clone(&member.member_id), member);
    }
}

impl ClassicEvent<'_, '_> {
    /// Starts the member's session anew; it has `timeout_ms` from now.
    fn schedule_session(&mut self, member_id: &Arc<str>, timeout_ms: i64) {
        let key = self.session_key(member_id);
        self.timers.schedule(key, self.cx.now.mono_ms + timeout_ms);
    }

    /// Starts the member's session anew, as long as the member asked for.
    pub(super) fn renew_session(&mut self, member_id: &str) {
        let Some(member) = self.group.members.get(member_id) else {
            return;
        };
        let (member_id, timeout_ms) = (Arc::clone(&member.member_id), i64::from(member.session_timeout_ms));
        self.schedule_session(&member_id, timeout_ms);
    }

    fn cancel_session(&mut self, member_id: &Arc<str>) {
        let key = self.session_key(member_id);
        self.timers.cancel(&key);
    }

    fn session_key(&self, member_id: &Arc<str>) -> TimerKey {
        TimerKey::Session {
            group_id: Arc::clone(&self.group.group_id),
            member_id: Arc::clone(member_id),
        }
    }

    fn join_key(&self) -> TimerKey {
        TimerKey::Join {
            group_id: Arc::clone(&self.group.group_id),
        }
    }

    fn sync_key(&self) -> TimerKey {
        TimerKey::Sync {
            group_id: Arc::clone(&self.group.group_id),
        }
    }

    fn reply(&mut self, token: ReplyToken, reply: Reply) {
        self.out.replies.push((token, reply));
    }

    /// Parks a JoinGroup at its member. A client that asks again has given up the answer to its first question, which is
    /// still answered, so that no token is lost.
    fn park_join(&mut self, member_id: &str, token: ReplyToken) {
        let Some(member) = self.group.members.get_mut(member_id) else {
            return;
        };
        match member.awaiting_join.replace(token) {
            None => self.group.awaiting_join += 1,
            Some(given_up) => {
                self.reply(
                    given_up,
                    Reply::Join(JoinReply::error(ErrorCode::RebalanceInProgress, member_id)),
                );
            }
        }
    }

    /// Answers the parked JoinGroup of a member, if there is one.
    fn answer_join(&mut self, member_id: &str, answer: JoinReply) {
        let Some(member) = self.group.members.get_mut(member_id) else {
            return;
        };
        if let Some(token) = member.awaiting_join.take() {
            self.group.awaiting_join -= 1;
            self.reply(token, Reply::Join(answer));
        }
    }

    /// Answers the parked SyncGroup of a member; false when there is none.
    fn answer_sync(&mut self, member_id: &str, answer: SyncReply) -> bool {
        let Some(member) = self.group.members.get_mut(member_id) else {
            return false;
        };
        let Some(token) = member.awaiting_sync.take() else {
            return false;
        };
        self.reply(token, Reply::Sync(answer));
        true
    }

    fn member_ids(&self) -> Vec<Arc<str>> {
        self.group.members.keys().cloned().collect()
    }

    /// Adds the record of the group as it is, with these assignments, and what to do when it is in the log.
    fn persist(&mut self, assignments: &BTreeMap<Arc<str>, Bytes>, on_append: Option<OnAppend>) {
        let value = Some(self.group.to_metadata(assignments));
        self.out.records.push(Record::GroupMetadata {
            group_id: Arc::clone(&self.group.group_id),
            value,
        });
        self.out.on_append = on_append;
    }
}
