//! JoinGroup: a member asks to be in the next generation.
//!
//! New dynamic members of current clients are first given an id and must come back with it, so that a client that lost
//! the answer does not leave a ghost behind; static members (with an instance id) take their slot over at once.
//!
//! Invariant: the request's token is either answered here or parked at the member. Source:
//! `GroupMetadataManager.classicGroupJoinToClassicGroup`.

use std::sync::Arc;

use protocol::error_code::ErrorCode;

use super::{ClassicEvent, ClassicGroup, GroupState, Member};
use crate::coordinator::group::OnAppend;
use crate::coordinator::group::api::{
    JoinReply, JoinRequest, JoinedMember, MemberProtocol, Reply, ReplyToken, SyncReply,
};

/// A static member that was taken over in Stable: how to answer, and how to undo it when it cannot be persisted.
#[derive(Debug)]
pub struct StaticSwap {
    generation_id: i32,
    old_member_id: Arc<str>,
    new_member_id: Arc<str>,
    old_protocols: Vec<MemberProtocol>,
    old_rebalance_timeout_ms: i32,
    old_session_timeout_ms: i32,
    old_leader: Option<Arc<str>>,
    supports_skip_assignment: bool,
}

impl ClassicEvent<'_, '_> {
    /// A JoinGroup for this group.
    pub(in crate::coordinator::group) fn on_join(&mut self, token: ReplyToken, request: &JoinRequest) {
        if !self.accepts_joining(&request.member_id) {
            // Also a known member may be turned away, when the limit was lowered.
            self.cancel_session(&request.member_id);
            self.group.remove(&request.member_id);
            self.reply(token, Reply::Join(JoinReply::error(ErrorCode::GroupMaxSizeReached, "")));
            self.maybe_complete_join();
        } else if request.member_id.is_empty() {
            self.join_new(token, request);
        } else {
            self.join_known(token, request);
        }
    }

    /// Whether `group.max.size` lets the member in. While members rejoin, those count that came in time.
    fn accepts_joining(&self, member_id: &str) -> bool {
        let max_size = self.cx.config.group_max_size;
        let member = self.group.members.get(member_id);
        match self.group.state {
            GroupState::Empty => true,
            GroupState::PreparingRebalance => {
                member.is_some_and(|member| member.awaiting_join.is_some()) || self.group.awaiting_join < max_size
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                member.is_some() || self.group.members.len() < max_size
            }
        }
    }

    fn join_new(&mut self, token: ReplyToken, request: &JoinRequest) {
        if !self.group.supports(&request.protocol_type, &request.protocols) {
            return self.reply(
                token,
                Reply::Join(JoinReply::error(ErrorCode::InconsistentGroupProtocol, "")),
            );
        }
        let prefix = request.group_instance_id.as_ref().unwrap_or(&request.client_id);
        let new_member_id: Arc<str> = Arc::from(format!("{prefix}-{}", (self.cx.uuid)()));
        let present = request
            .group_instance_id
            .as_ref()
            .and_then(|id| self.group.static_members.get(id).cloned());
        match present {
            Some(old_member_id) => self.take_over_static(token, request, old_member_id, new_member_id),
            None if request.group_instance_id.is_none() && request.requires_known_member_id => {
                self.give_out_id(token, request, new_member_id);
            }
            None => self.add_member(token, request, new_member_id),
        }
    }

    fn give_out_id(&mut self, token: ReplyToken, request: &JoinRequest, member_id: Arc<str>) {
        if self.group.pending_members.len() >= self.cx.config.group_max_pending_members {
            return self.reply(token, Reply::Join(JoinReply::error(ErrorCode::GroupMaxSizeReached, "")));
        }
        self.group.pending_members.insert(Arc::clone(&member_id));
        self.schedule_session(&member_id, i64::from(request.session_timeout_ms));
        self.reply(
            token,
            Reply::Join(JoinReply::error(ErrorCode::MemberIdRequired, member_id)),
        );
    }

    fn join_known(&mut self, token: ReplyToken, request: &JoinRequest) {
        let member_id = &request.member_id;
        if !self.group.supports(&request.protocol_type, &request.protocols) {
            let error = JoinReply::error(ErrorCode::InconsistentGroupProtocol, Arc::clone(member_id));
            return self.reply(token, Reply::Join(error));
        }
        if self.group.pending_members.contains(member_id) && request.group_instance_id.is_none() {
            return self.add_member(token, request, Arc::clone(member_id));
        }
        if let Err(error) = self
            .group
            .validate_member(member_id, request.group_instance_id.as_deref())
        {
            return self.reply(token, Reply::Join(JoinReply::error(error, Arc::clone(member_id))));
        }
        let unchanged = self
            .group
            .members
            .get(member_id)
            .is_some_and(|member| member.protocols == request.protocols);
        match self.group.state {
            GroupState::PreparingRebalance => self.rejoin(token, request),
            // It may have lost the first answer: the same again.
            GroupState::CompletingRebalance if unchanged => {
                let members = self.members_for(member_id);
                let answer = self.current_generation(member_id, members);
                self.reply(token, Reply::Join(answer));
            }
            // A follower that changed nothing learns the generation and syncs again. The leader may have seen something
            // that no metadata shows, for example a new partition: it always gets its rebalance.
            GroupState::Stable if unchanged && !self.group.is_leader(member_id) => {
                let answer = self.current_generation(member_id, Vec::new());
                self.reply(token, Reply::Join(answer));
            }
            GroupState::CompletingRebalance | GroupState::Stable => self.rejoin(token, request),
            GroupState::Empty => {
                let error = JoinReply::error(ErrorCode::UnknownMemberId, Arc::clone(member_id));
                self.reply(token, Reply::Join(error));
            }
        }
    }

    fn add_member(&mut self, token: ReplyToken, request: &JoinRequest, member_id: Arc<str>) {
        if let Some(initial) = &mut self.group.initial_rebalance {
            initial.new_member_added = true;
        }
        if self.group.members.is_empty() {
            self.group.protocol_type = Some(Arc::clone(&request.protocol_type));
        }
        self.group
            .insert(Member::joining(Arc::clone(&member_id), request, token));
        // A client whose connection broke while its JoinGroup was parked comes again as another member: the ghost must
        // not stay for ever.
        self.schedule_session(&member_id, self.cx.config.new_member_join_timeout_ms);
        let group_id = &self.group.group_id;
        tracing::debug!(%group_id, %member_id, reason = request.reason.as_deref(), "member joins");
        self.rebalance_or_complete_join("a member joined");
    }

    fn rejoin(&mut self, token: ReplyToken, request: &JoinRequest) {
        self.update_from(request, &request.member_id);
        self.park_join(&request.member_id, token);
        let (group_id, member_id) = (&self.group.group_id, &request.member_id);
        tracing::debug!(%group_id, %member_id, reason = request.reason.as_deref(), "member rejoins");
        self.rebalance_or_complete_join("a member rejoined");
    }

    fn update_from(&mut self, request: &JoinRequest, member_id: &str) {
        let (rebalance_timeout_ms, session_timeout_ms) = (request.rebalance_timeout_ms, request.session_timeout_ms);
        self.group.update_member(
            member_id,
            request.protocols.clone(),
            rebalance_timeout_ms,
            session_timeout_ms,
        );
    }

    /// A static member came back under its instance id: it takes the slot over under a new member id.
    fn take_over_static(
        &mut self,
        token: ReplyToken,
        request: &JoinRequest,
        old_member_id: Arc<str>,
        new_member_id: Arc<str>,
    ) {
        let old_leader = self.group.leader.clone();
        self.replace_static(&old_member_id, &new_member_id);
        let Some(member) = self.group.members.get(&new_member_id) else {
            return;
        };
        let swap = StaticSwap {
            generation_id: self.group.generation_id,
            old_member_id,
            new_member_id: Arc::clone(&new_member_id),
            old_protocols: member.protocols.clone(),
            old_rebalance_timeout_ms: member.rebalance_timeout_ms,
            old_session_timeout_ms: member.session_timeout_ms,
            old_leader,
            supports_skip_assignment: request.supports_skip_assignment,
        };
        self.update_from(request, &new_member_id);
        self.park_join(&new_member_id, token);
        self.renew_session(&new_member_id);
        match self.group.state {
            // The others do not notice, unless the choice of the protocol would change.
            GroupState::Stable if self.group.select_protocol() == self.group.protocol_name => {
                let assignments = self
                    .group
                    .members
                    .values()
                    .map(|member| (Arc::clone(&member.member_id), member.assignment.clone()));
                let assignments = assignments.collect();
                self.persist(&assignments, Some(OnAppend::StaticSwap(swap)));
            }
            // The leader may already be assigning to the old member id.
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance("a static member came back"),
            GroupState::PreparingRebalance | GroupState::Empty => self.maybe_complete_join(),
        }
    }

    /// Puts a static member under a new member id; whoever waits under the old one is fenced.
    fn replace_static(&mut self, old_member_id: &Arc<str>, new_member_id: &Arc<str>) {
        let fenced = JoinReply::error(ErrorCode::FencedInstanceId, Arc::clone(old_member_id));
        self.answer_join(old_member_id, fenced);
        self.answer_sync(old_member_id, SyncReply::error(ErrorCode::FencedInstanceId));
        self.cancel_session(old_member_id);
        let group = &mut *self.group;
        let Some(mut member) = group.members.remove(old_member_id) else {
            return;
        };
        member.member_id = Arc::clone(new_member_id);
        member.is_new = false;
        if let Some(instance_id) = &member.group_instance_id {
            group
                .static_members
                .insert(Arc::clone(instance_id), Arc::clone(new_member_id));
        }
        if group.pending_sync.remove(old_member_id) {
            group.pending_sync.insert(Arc::clone(new_member_id));
        }
        if group.is_leader(old_member_id) {
            group.leader = Some(Arc::clone(new_member_id));
        }
        group.members.insert(Arc::clone(new_member_id), member);
    }

    /// The swap of a static member is in the log, or could not be written.
    pub(in crate::coordinator::group) fn on_static_swap(&mut self, swap: StaticSwap, result: Result<(), ErrorCode>) {
        let is_same = self.group.state == GroupState::Stable && self.group.generation_id == swap.generation_id;
        if !is_same || !self.group.members.contains_key(&swap.new_member_id) {
            // A rebalance began meanwhile; the parked JoinGroup takes part in it.
            return;
        }
        if let Err(error) = result {
            return self.undo_static_swap(swap, error);
        }
        let new_member_id = &swap.new_member_id;
        let is_leader = self.group.is_leader(new_member_id);
        let members = if swap.supports_skip_assignment {
            self.members_for(new_member_id)
        } else {
            Vec::new()
        };
        let mut answer = self.current_generation(new_member_id, members);
        if swap.supports_skip_assignment {
            answer.skip_assignment = is_leader;
        } else {
            // Clients that cannot skip the assignment must not take themselves for the leader: a stable group would
            // ignore what they assign.
            answer.leader = swap.old_leader.unwrap_or_else(|| Arc::from(""));
        }
        self.answer_join(new_member_id, answer);
    }

    fn undo_static_swap(&mut self, swap: StaticSwap, error: ErrorCode) {
        let mut answer = self.current_generation("", Vec::new());
        answer.error = error;
        answer.leader = swap.old_leader.clone().unwrap_or_else(|| Arc::from(""));
        self.answer_join(&swap.new_member_id, answer);
        self.group.update_member(
            &swap.new_member_id,
            swap.old_protocols,
            swap.old_rebalance_timeout_ms,
            swap.old_session_timeout_ms,
        );
        self.replace_static(&swap.new_member_id, &swap.old_member_id);
        self.renew_session(&swap.old_member_id);
    }

    /// The answer of a completed join: the generation as it is.
    pub(super) fn current_generation(&self, member_id: &str, members: Vec<JoinedMember>) -> JoinReply {
        JoinReply {
            error: ErrorCode::None,
            generation_id: self.group.generation_id,
            protocol_type: self.group.protocol_type.clone(),
            protocol_name: self.group.protocol_name.clone(),
            leader: self.group.leader.clone().unwrap_or_else(|| Arc::from("")),
            skip_assignment: false,
            member_id: Arc::from(member_id),
            members,
        }
    }

    /// What a member learns of the others: everything if it leads, else nothing.
    pub(super) fn members_for(&self, member_id: &str) -> Vec<JoinedMember> {
        if self.group.is_leader(member_id) {
            self.group.joined_members()
        } else {
            Vec::new()
        }
    }
}

impl ClassicGroup {
    fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol_name = self.protocol_name.as_deref();
        let members = self.members.values().map(|member| JoinedMember {
            member_id: Arc::clone(&member.member_id),
            group_instance_id: member.group_instance_id.clone(),
            metadata: member.metadata(protocol_name),
        });
        members.collect()
    }
}
