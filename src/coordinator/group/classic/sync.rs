//! SyncGroup: the leader hands in the assignment, everybody gets theirs.
//!
//! Invariants: nobody gets an assignment before the record that holds it is in the log; the members that the leader
//! forgot get an empty one. Source: `GroupMetadataManager.classicGroupSyncToClassicGroup`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;

use super::{ClassicEvent, GroupState};
use crate::coordinator::group::OnAppend;
use crate::coordinator::group::api::{Reply, ReplyToken, SyncReply, SyncRequest};

/// An assignment on its way to the log.
#[derive(Debug)]
pub struct PendingAssignment {
    generation_id: i32,
    assignments: BTreeMap<Arc<str>, Bytes>,
}

impl ClassicEvent<'_, '_> {
    /// A SyncGroup for this group.
    pub(in crate::coordinator::group) fn on_sync(&mut self, token: ReplyToken, request: &SyncRequest) {
        if let Err(error) = self.validate_sync(request) {
            return self.reply(token, Reply::Sync(SyncReply::error(error)));
        }
        let member_id = &request.member_id;
        match self.group.state {
            GroupState::Empty => self.reply(token, Reply::Sync(SyncReply::error(ErrorCode::UnknownMemberId))),
            GroupState::PreparingRebalance => {
                self.reply(token, Reply::Sync(SyncReply::error(ErrorCode::RebalanceInProgress)));
            }
            GroupState::CompletingRebalance => {
                self.note_synced(member_id);
                self.park_sync(member_id, token);
                let is_assigned = self.group.assigned_generation == Some(request.generation_id);
                if self.group.is_leader(member_id) && !is_assigned {
                    self.persist_assignment(request);
                }
            }
            GroupState::Stable => {
                self.note_synced(member_id);
                let answer = self.assignment_of(member_id);
                self.reply(token, Reply::Sync(answer));
            }
        }
    }

    fn validate_sync(&self, request: &SyncRequest) -> Result<(), ErrorCode> {
        self.group
            .validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.group.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |told: &Option<Arc<str>>, own: &Option<Arc<str>>| told.is_some() && told != own;
        if differs(&request.protocol_type, &self.group.protocol_type)
            || differs(&request.protocol_name, &self.group.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn note_synced(&mut self, member_id: &str) {
        self.group.pending_sync.remove(member_id);
        if self.group.pending_sync.is_empty() {
            self.timers.cancel(&self.sync_key());
        }
    }

    fn park_sync(&mut self, member_id: &str, token: ReplyToken) {
        let Some(member) = self.group.members.get_mut(member_id) else {
            return;
        };
        if let Some(given_up) = member.awaiting_sync.replace(token) {
            self.reply(given_up, Reply::Sync(SyncReply::error(ErrorCode::RebalanceInProgress)));
        }
    }

    /// Once per generation: a second record would stand in the log behind the one that the members were told of. When it
    /// cannot be written, a new generation begins.
    fn persist_assignment(&mut self, request: &SyncRequest) {
        self.group.assigned_generation = Some(request.generation_id);
        let mut assignments: BTreeMap<Arc<str>, Bytes> = BTreeMap::new();
        for (member_id, assignment) in &request.assignments {
            if self.group.members.contains_key(member_id) {
                assignments.insert(Arc::clone(member_id), assignment.clone());
            }
        }
        let pending = PendingAssignment {
            generation_id: request.generation_id,
            assignments,
        };
        let assignments = pending.assignments.clone();
        self.persist(&assignments, Some(OnAppend::Assignment(pending)));
    }

    /// The leader's assignment is in the log, or could not be written.
    pub(in crate::coordinator::group) fn on_assignment(
        &mut self,
        pending: PendingAssignment,
        result: Result<(), ErrorCode>,
    ) {
        let is_same =
            self.group.state == GroupState::CompletingRebalance && self.group.generation_id == pending.generation_id;
        if !is_same {
            // A rebalance began meanwhile and has answered the parked SyncGroups.
            return;
        }
        if let Err(error) = result {
            self.fail_syncs(error);
            return self.prepare_rebalance("the assignment could not be persisted");
        }
        for member_id in self.member_ids() {
            if let Some(member) = self.group.members.get_mut(&member_id) {
                member.assignment = pending.assignments.get(&member_id).cloned().unwrap_or_default();
            }
            let answer = self.assignment_of(&member_id);
            if self.answer_sync(&member_id, answer) {
                // While it waited for us its session may have run out unnoticed.
                self.renew_session(&member_id);
            }
        }
        self.group.transition_to(GroupState::Stable, self.cx.now.wall_ms);
    }

    fn assignment_of(&self, member_id: &str) -> SyncReply {
        let member = self.group.members.get(member_id);
        SyncReply {
            error: ErrorCode::None,
            protocol_type: self.group.protocol_type.clone(),
            protocol_name: self.group.protocol_name.clone(),
            assignment: member.map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }

    /// The members had time enough to send SyncGroup: those that did not are out.
    pub(in crate::coordinator::group) fn on_sync_deadline(&mut self) {
        let waiting = matches!(self.group.state, GroupState::CompletingRebalance | GroupState::Stable);
        if !waiting || self.group.pending_sync.is_empty() {
            return;
        }
        for member_id in std::mem::take(&mut self.group.pending_sync) {
            tracing::info!(group_id = %self.group.group_id, %member_id, "member did not sync in time");
            self.remove_member(&member_id);
        }
        self.prepare_rebalance("members did not sync in time");
    }
}
