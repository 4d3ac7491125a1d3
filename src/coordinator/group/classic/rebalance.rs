//! From one generation to the next: when the join phase begins, how long it waits, how it ends.
//!
//! Invariants: the generation grows by one at each end of a join phase; all parked JoinGroups are answered there. Source:
//! `GroupMetadataManager.prepareRebalance`, `completeClassicGroupJoin`, `tryCompleteInitialRebalanceElseSchedule`.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::error_code::ErrorCode;

use super::{ClassicEvent, GroupState, InitialRebalance};
use crate::coordinator::group::api::{JoinReply, SyncReply};

/// How long a join phase in which nobody came at all is extended at the least, whatever the members asked for.
const MIN_EXTENSION_MS: i64 = 1_000;

impl ClassicEvent<'_, '_> {
    /// Members changed: a new rebalance begins, or the running one may be complete now.
    pub(super) fn rebalance_or_complete_join(&mut self, reason: &str) {
        match self.group.state {
            GroupState::PreparingRebalance => self.maybe_complete_join(),
            GroupState::Empty | GroupState::CompletingRebalance | GroupState::Stable => self.prepare_rebalance(reason),
        }
    }

    /// Begins the join phase.
    pub(in crate::coordinator::group) fn prepare_rebalance(&mut self, reason: &str) {
        if self.group.state == GroupState::CompletingRebalance {
            // Whoever waits for the assignment of the old generation must join again.
            self.fail_syncs(ErrorCode::RebalanceInProgress);
        }
        self.group.pending_sync.clear();
        self.timers.cancel(&self.sync_key());
        let was_empty = self.group.state == GroupState::Empty;
        self.group
            .transition_to(GroupState::PreparingRebalance, self.cx.now.wall_ms);
        let (group_id, generation_id) = (&self.group.group_id, self.group.generation_id);
        tracing::info!(%group_id, generation_id, reason, "preparing to rebalance group");
        if was_empty {
            self.begin_initial_rebalance();
        } else if self.group.has_all_members_joined() {
            self.complete_join();
        } else {
            self.schedule_join(self.group.rebalance_timeout_ms());
        }
    }

    /// The group was empty: members usually start together, so the first one waits for the others.
    fn begin_initial_rebalance(&mut self) {
        let delay_ms = i64::from(self.cx.config.group_initial_rebalance_delay_ms);
        let remaining_ms = (self.group.rebalance_timeout_ms() - delay_ms).max(0);
        self.group.initial_rebalance = Some(InitialRebalance {
            step_ms: delay_ms,
            remaining_ms,
            new_member_added: false,
        });
        self.schedule_join(delay_ms);
    }

    fn schedule_join(&mut self, delay_ms: i64) {
        let key = self.join_key();
        self.timers.schedule(key, self.cx.now.mono_ms + delay_ms);
    }

    /// The deadline of the join phase has come.
    pub(in crate::coordinator::group) fn on_join_deadline(&mut self) {
        if self.group.state != GroupState::PreparingRebalance {
            return;
        }
        let max_step_ms = i64::from(self.cx.config.group_initial_rebalance_delay_ms);
        match &mut self.group.initial_rebalance {
            Some(initial) if initial.new_member_added && initial.remaining_ms > 0 => {
                let step_ms = max_step_ms.min(initial.remaining_ms);
                let remaining_ms = (initial.remaining_ms - initial.step_ms).max(0);
                *initial = InitialRebalance {
                    step_ms,
                    remaining_ms,
                    new_member_added: false,
                };
                self.schedule_join(step_ms);
            }
            _ => self.complete_join(),
        }
    }

    /// Ends the join phase if everybody is there. The first one of an empty group always lasts as long as it is meant to.
    pub(super) fn maybe_complete_join(&mut self) {
        let running = self.group.state == GroupState::PreparingRebalance && self.group.initial_rebalance.is_none();
        if running && self.group.has_all_members_joined() {
            self.complete_join();
        }
    }

    /// Ends the join phase: who did not come is out, the others form the next generation.
    pub(super) fn complete_join(&mut self) {
        self.timers.cancel(&self.join_key());
        self.group.initial_rebalance = None;
        for member_id in self.dynamic_members_not_joined() {
            tracing::info!(group_id = %self.group.group_id, %member_id, "member did not rejoin in time");
            self.cancel_session(&member_id);
            self.group.remove(&member_id);
        }
        if !self.elect_joined_leader() && !self.group.members.is_empty() {
            // Only static members that are away. Their sessions run; wait for them or for the end of those.
            return self.schedule_join(self.group.rebalance_timeout_ms().max(MIN_EXTENSION_MS));
        }
        self.group.generation_id = self.group.generation_id.wrapping_add(1).max(0);
        self.group.pending_sync.clear();
        if self.group.members.is_empty() {
            self.become_empty();
        } else {
            self.answer_joins();
        }
    }

    fn dynamic_members_not_joined(&self) -> Vec<Arc<str>> {
        let members = self.group.members.values();
        let absent = members.filter(|member| member.awaiting_join.is_none() && !member.is_static());
        absent.map(|member| Arc::clone(&member.member_id)).collect()
    }

    /// Keeps the leader if it came, else takes one who did; false when nobody did.
    fn elect_joined_leader(&mut self) -> bool {
        let joined = |member_id: &Arc<str>| {
            self.group
                .members
                .get(member_id)
                .is_some_and(|member| member.awaiting_join.is_some())
        };
        if self.group.leader.as_ref().is_some_and(joined) {
            return true;
        }
        match self.group.members.keys().find(|member_id| joined(member_id)).cloned() {
            Some(leader) => {
                self.group.leader = Some(leader);
                true
            }
            None => false,
        }
    }

    fn become_empty(&mut self) {
        self.group.protocol_name = None;
        self.group.subscribed_topics = self.group.compute_subscribed_topics();
        self.group.transition_to(GroupState::Empty, self.cx.now.wall_ms);
        tracing::info!(group_id = %self.group.group_id, generation_id = self.group.generation_id, "group is empty");
        self.persist(&BTreeMap::new(), None);
    }

    fn answer_joins(&mut self) {
        self.group.protocol_name = self.group.select_protocol();
        assert!(
            self.group.protocol_name.is_some(),
            "members were let in only with a protocol that all support"
        );
        self.group.subscribed_topics = self.group.compute_subscribed_topics();
        self.group
            .transition_to(GroupState::CompletingRebalance, self.cx.now.wall_ms);
        let (group_id, generation_id) = (&self.group.group_id, self.group.generation_id);
        tracing::info!(%group_id, generation_id, members = self.group.members.len(), "group stabilized");
        for member_id in self.member_ids() {
            let members = self.members_for(&member_id);
            let answer = self.current_generation(&member_id, members);
            self.answer_join(&member_id, answer);
            self.renew_session(&member_id);
            if let Some(member) = self.group.members.get_mut(&member_id) {
                member.is_new = false;
            }
            self.group.pending_sync.insert(member_id);
        }
        let deadline_ms = self.cx.now.mono_ms + self.group.rebalance_timeout_ms();
        let key = self.sync_key();
        self.timers.schedule(key, deadline_ms);
    }

    /// All assignments of this generation are void, and so are the SyncGroups that wait for them.
    pub(super) fn fail_syncs(&mut self, error: ErrorCode) {
        for member_id in self.member_ids() {
            if let Some(member) = self.group.members.get_mut(&member_id) {
                member.assignment = bytes::Bytes::new();
            }
            if self.answer_sync(&member_id, SyncReply::error(error)) {
                self.renew_session(&member_id);
            }
        }
    }

    /// A member's session is over, or a given-out id never came back.
    pub(in crate::coordinator::group) fn on_session_deadline(&mut self, member_id: &Arc<str>) {
        if self.group.pending_members.contains(member_id) {
            self.group.remove(member_id);
            if self.group.state == GroupState::PreparingRebalance && self.group.has_all_members_joined() {
                self.complete_join();
            }
            return;
        }
        let Some(member) = self.group.members.get(member_id) else {
            return;
        };
        if member.has_satisfied_heartbeat() {
            return;
        }
        tracing::info!(group_id = %self.group.group_id, %member_id, "member is silent, removing it from the group");
        self.remove_member(member_id);
        match self.group.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance("a member was silent"),
            GroupState::PreparingRebalance if self.group.has_all_members_joined() => self.complete_join(),
            GroupState::PreparingRebalance | GroupState::Empty => {}
        }
    }

    /// Removes a member and answers what it has parked: it may be alive and will join again.
    pub(super) fn remove_member(&mut self, member_id: &Arc<str>) {
        self.answer_join(member_id, JoinReply::error(ErrorCode::UnknownMemberId, ""));
        self.answer_sync(member_id, SyncReply::error(ErrorCode::UnknownMemberId));
        self.cancel_session(member_id);
        self.group.remove(member_id);
    }
}
