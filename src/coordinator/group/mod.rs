//! The groups of one partition of `__consumer_offsets`: a pure machine.
//!
//! Requests and deadlines go in; records to append, replies and the next deadline come out. Hard state changes only by
//! replaying records that are in the log ([`hard`]); soft state is what may be lost ([`soft`]).
//!
//! It is a [`Machine`] of the runtime. Requests that read hard state are handled only when no record is on its way.
//!
//! Invariants: no clock, no randomness, no I/O in here; every token handed in is answered exactly once, unless the shard
//! is dropped.

pub mod api;
mod classic;
pub mod config;
pub mod hard;
mod offsets;
pub mod record;
mod removal;
pub mod rewrite;
mod soft;
mod timers;

#[cfg(test)]
mod testing;

use std::convert::Infallible;
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use uuid::Uuid;

use self::api::{
    GroupDescription, JoinReply, JoinRequest, LeaveReply, LeaveRequest, LeftMember, ListRequest, ListedGroup,
};
use self::api::{Reply, ReplyToken, Request, SyncReply, SyncRequest};
use self::classic::{ClassicEvent, ClassicGroup};
use self::config::GroupConfig;
use self::hard::Hard;
use self::soft::Soft;
use self::timers::TimerKey;
use super::runtime::machine::{self, Machine, Sees};

/// What an event may use: time, randomness and limits.
pub type Cx<'a> = machine::Cx<'a, GroupConfig>;

/// The effects of one event; its key is the id of the group.
pub type Outcome = machine::Outcome<GroupShard>;

/// What the machine does after an append; the runtime only hands it back.
#[derive(Debug)]
pub enum OnAppend {
    /// The leader's assignment of a generation.
    Assignment(classic::PendingAssignment),
    /// A static member under a new id.
    StaticSwap(classic::StaticSwap),
    /// A group whose last records are gone.
    RemoveGroup,
}

/// The groups of one partition of the offsets topic.
#[derive(Debug)]
pub struct GroupShard {
    hard: Hard,
    soft: Soft,
}

/// News for the groups.
#[derive(Clone, Debug)]
pub enum GroupEvent {
    /// Topics (name and id) that are no more.
    TopicsDeleted(Arc<[(Arc<str>, Uuid)]>),
}

impl GroupShard {
    /// The live group of this id and the effects of an event at it.
    fn event<'a, 'c>(
        &'a mut self,
        cx: &'a mut Cx<'c>,
        group_id: &str,
        out: &'a mut Outcome,
    ) -> Option<ClassicEvent<'a, 'c>> {
        let group = self.soft.groups.get_mut(group_id)?;
        Some(ClassicEvent {
            group,
            timers: &mut self.soft.timers,
            cx,
            out,
        })
    }

    fn on_join(&mut self, cx: &mut Cx<'_>, token: ReplyToken, request: &JoinRequest, out: &mut Outcome) {
        let is_known = self.hard.group(&request.group_id).is_some();
        if !self.soft.groups.contains_key(&request.group_id) {
            let refused = if !request.member_id.is_empty() {
                Some(ErrorCode::UnknownMemberId)
            } else if request.protocol_type.is_empty() || request.protocols.is_empty() {
                Some(ErrorCode::InconsistentGroupProtocol)
            } else if !is_known && cx.count_new_key().is_err() {
                Some(ErrorCode::GroupMaxSizeReached)
            } else {
                None
            };
            if let Some(error) = refused {
                out.replies.push((
                    token,
                    Reply::Join(JoinReply::error(error, Arc::clone(&request.member_id))),
                ));
                return;
            }
            let group = ClassicGroup::new(Arc::clone(&request.group_id), cx.now.wall_ms);
            if !is_known {
                out.records.push(group.new_group_record());
            }
            self.soft.groups.insert(Arc::clone(&request.group_id), group);
        }
        if let Some(mut event) = self.event(cx, &request.group_id, out) {
            event.on_join(token, request);
        }
    }

    fn on_sync(&mut self, cx: &mut Cx<'_>, token: ReplyToken, request: &SyncRequest, out: &mut Outcome) {
        match self.event(cx, &request.group_id, out) {
            Some(mut event) => event.on_sync(token, request),
            None => out
                .replies
                .push((token, Reply::Sync(SyncReply::error(ErrorCode::UnknownMemberId)))),
        }
    }

    /// Removes the offsets of deleted topics (name and id).
    fn on_topics_deleted(&self, topics: &[(Arc<str>, Uuid)]) -> Vec<Outcome> {
        let by_group = offsets::on_topics_deleted(&self.hard, topics).into_iter();
        let outcomes = by_group.map(|(group_id, records)| Outcome {
            records,
            splittable: true,
            ..Outcome::of(&group_id)
        });
        outcomes.collect()
    }

    fn describe(&self, group_ids: &[Arc<str>]) -> Vec<Option<GroupDescription>> {
        let describe_one = |group_id: &Arc<str>| match self.soft.groups.get(group_id) {
            Some(group) => Some(group.describe()),
            None => self.hard.group(group_id).map(|_| classic::describe_simple(group_id)),
        };
        group_ids.iter().map(describe_one).collect()
    }

    fn list(&self, request: &ListRequest) -> Vec<ListedGroup> {
        let admitted = classic::Admitted::by(request);
        let live = self.soft.groups.values().map(classic::listed);
        let simple = self
            .hard
            .groups()
            .filter(|(group_id, _)| !self.soft.groups.contains_key(*group_id));
        let simple = simple.map(|(group_id, _)| classic::listed_simple(group_id));
        live.chain(simple).filter(|group| admitted.admits(group)).collect()
    }
}

impl Machine for GroupShard {
    const NAME: &'static str = "groups";

    type Hard = Hard;
    type Config = GroupConfig;
    type Request = Request;
    type Reply = Reply;
    type Event = GroupEvent;
    type Effect = Infallible;
    type OnAppend = OnAppend;

    /// Hard state as the log says, sessions of all members from now on; a group that is larger than `group.max.size` now
    /// rebalances at once.
    fn after_load(hard: Hard, cx: &mut Cx<'_>) -> (Self, Vec<Outcome>) {
        let soft = Soft::after_load(&hard, cx.config, cx.now);
        let mut shard = Self { hard, soft };
        let mut outcomes = Vec::new();
        for group in shard
            .soft
            .groups
            .values_mut()
            .filter(|group| group.members.len() > cx.config.group_max_size)
        {
            let mut out = Outcome::of(&group.group_id);
            let timers = &mut shard.soft.timers;
            ClassicEvent {
                group,
                timers,
                cx,
                out: &mut out,
            }
            .prepare_rebalance("the group is over its maximum size");
            outcomes.push(out);
        }
        (shard, outcomes)
    }

    fn hard(&self) -> &Hard {
        &self.hard
    }

    fn hard_mut(&mut self) -> &mut Hard {
        &mut self.hard
    }

    /// Every group of the soft state that outlives its first append is also in the hard state, so that the larger number
    /// counts them all.
    fn key_count(&self) -> usize {
        self.hard.len().max(self.soft.groups.len())
    }

    fn sees(request: &Request) -> Sees<'_> {
        match request {
            Request::Fetch(_)
            | Request::Describe(_)
            | Request::List(_)
            | Request::DeleteGroups(_)
            | Request::DeleteOffsets(_)
            // Its records are a batch of their own anyway, and what is pending has a limit.
            | Request::CommitTransactional(_) => Sees::All,
            Request::Join(_) | Request::Sync(_) | Request::Heartbeat(_) | Request::Leave(_) | Request::Commit(_) => {
                Sees::Nothing
            }
        }
    }

    fn event_sees(_: &GroupEvent) -> Sees<'_> {
        Sees::All
    }

    fn handle(&mut self, cx: &mut Cx<'_>, token: ReplyToken, request: &Request) -> Outcome {
        let mut out = Outcome::default();
        match request {
            Request::Join(request) => {
                out = Outcome::of(&request.group_id);
                self.on_join(cx, token, request, &mut out);
            }
            Request::Sync(request) => {
                out = Outcome::of(&request.group_id);
                self.on_sync(cx, token, request, &mut out);
            }
            Request::Heartbeat(request) => {
                out = Outcome::of(&request.group_id);
                let live = self.event(cx, &request.group_id, &mut out);
                let error = live.map_or(ErrorCode::UnknownMemberId, |mut event| event.on_heartbeat(request));
                out.replies.push((token, Reply::Heartbeat(error)));
            }
            Request::Leave(request) => {
                out = Outcome::of(&request.group_id);
                let live = self.event(cx, &request.group_id, &mut out);
                let reply = live.map_or_else(|| nobody_leaves(request), |mut event| event.on_leave(request));
                out.replies.push((token, Reply::Leave(reply)));
            }
            Request::Commit(request) => {
                out = Outcome::of(&request.group_id);
                let reply = self.on_commit(cx, request, &mut out);
                out.replies.push((token, Reply::Commit(reply)));
            }
            Request::CommitTransactional(request) => {
                out = Outcome::of(&request.commit.group_id);
                let reply = self.on_transactional_commit(cx, request, &mut out);
                out.replies.push((token, Reply::Commit(reply)));
            }
            Request::Fetch(request) => {
                out = Outcome::of(&request.group_id);
                out.replies
                    .push((token, Reply::Fetch(offsets::fetch(&self.hard, request))));
            }
            Request::Describe(group_ids) => out.replies.push((token, Reply::Describe(self.describe(group_ids)))),
            Request::List(request) => out.replies.push((token, Reply::List(self.list(request)))),
            Request::DeleteGroups(group_ids) => {
                let errors = self.on_delete_groups(group_ids, &mut out);
                out.replies.push((token, Reply::DeleteGroups(errors)));
            }
            Request::DeleteOffsets(request) => {
                out = Outcome::of(&request.group_id);
                let reply = self.on_delete_offsets(request, &mut out);
                out.replies.push((token, Reply::DeleteOffsets(reply)));
            }
        }
        if !out.records.is_empty() && !self.soft.timers.is_scheduled(&TimerKey::OffsetExpiry) {
            self.soft.schedule_offset_expiry(cx.config, cx.now);
        }
        out
    }

    fn on_event(&mut self, _: &mut Cx<'_>, event: GroupEvent) -> Vec<Outcome> {
        match event {
            GroupEvent::TopicsDeleted(topics) => self.on_topics_deleted(&topics),
        }
    }

    fn on_append(
        &mut self,
        cx: &mut Cx<'_>,
        group_id: &Arc<str>,
        on_append: OnAppend,
        result: Result<(), ErrorCode>,
    ) -> Outcome {
        let mut out = Outcome::of(group_id);
        if matches!(on_append, OnAppend::RemoveGroup) {
            if result.is_ok() {
                self.forget_removed(group_id);
            }
            return out;
        }
        if let Some(mut event) = self.event(cx, group_id, &mut out) {
            match on_append {
                OnAppend::Assignment(pending) => event.on_assignment(pending, result),
                OnAppend::StaticSwap(swap) => event.on_static_swap(swap, result),
                OnAppend::RemoveGroup => {}
            }
        }
        out
    }

    fn next_deadline(&self) -> Option<i64> {
        self.soft.timers.next_deadline()
    }

    fn on_deadline(&mut self, cx: &mut Cx<'_>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while let Some(key) = self.soft.timers.pop_due(cx.now.mono_ms) {
            let group_id = match &key {
                TimerKey::Session { group_id, .. } | TimerKey::Join { group_id } | TimerKey::Sync { group_id } => {
                    group_id
                }
                TimerKey::OffsetExpiry => {
                    outcomes.extend(self.expire_offsets(cx));
                    continue;
                }
            };
            let mut out = Outcome::of(group_id);
            if let Some(mut event) = self.event(cx, group_id, &mut out) {
                match &key {
                    TimerKey::Session { member_id, .. } => event.on_session_deadline(member_id),
                    TimerKey::Join { .. } => event.on_join_deadline(),
                    TimerKey::Sync { .. } => event.on_sync_deadline(),
                    TimerKey::OffsetExpiry => {}
                }
            }
            outcomes.push(out);
        }
        outcomes
    }
}

/// The answer to a LeaveGroup for a group that does not exist.
fn nobody_leaves(request: &LeaveRequest) -> LeaveReply {
    let members = request.members.iter().map(|leaving| LeftMember {
        member_id: Arc::clone(&leaving.member_id),
        group_instance_id: leaving.group_instance_id.clone(),
        error: ErrorCode::UnknownMemberId,
    });
    LeaveReply {
        error: ErrorCode::None,
        members: members.collect(),
    }
}
