//! The groups of one partition of `__consumer_offsets`: a pure machine.
//!
//! Requests and deadlines go in; records to append, replies and the next deadline come out. Hard state changes only by
//! replaying records that are in the log ([`hard`]); soft state is what may be lost ([`soft`]).
//!
//! Protocol with the runtime: an [`Outcome`]'s records are appended as one, then replayed with their offsets, then
//! [`GroupShard::on_append`] is told; replies go out when the log is committed up to
//! [`GroupShard::last_written_offset`] of the outcome's group. Requests that read hard state ([`reads_log`]) are handled
//! only when no record is on its way.
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

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::types::{Now, ProducerId};
use uuid::Uuid;

use self::api::{
    GroupDescription, JoinReply, JoinRequest, LeaveReply, LeaveRequest, LeftMember, ListRequest, ListedGroup,
};
use self::api::{Reply, ReplyToken, Request, SyncReply, SyncRequest};
use self::classic::{ClassicEvent, ClassicGroup};
use self::config::GroupConfig;
use self::hard::Hard;
use self::record::Record;
use self::soft::Soft;
use self::timers::TimerKey;

/// What an event may use: time, randomness and limits.
pub struct Cx<'a> {
    /// The time of the event.
    pub now: Now,
    /// The configuration.
    pub config: &'a GroupConfig,
    /// Source of random ids.
    pub uuid: &'a mut dyn FnMut() -> Uuid,
    /// How many groups may still be made.
    pub groups_left: usize,
}

impl std::fmt::Debug for Cx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cx")
            .field("now", &self.now)
            .field("groups_left", &self.groups_left)
            .finish_non_exhaustive()
    }
}

impl Cx<'_> {
    /// Takes one of the groups that may still be made.
    fn count_new_group(&mut self) -> Result<(), ()> {
        self.groups_left = self.groups_left.checked_sub(1).ok_or(())?;
        Ok(())
    }
}

/// The effects of one event.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The group that it was about; `None`: several.
    pub group_id: Option<Arc<str>>,
    /// To append, in this order.
    pub records: Vec<Record>,
    /// Whether the records may go into several batches. Else all of them are appended or none.
    pub splittable: bool,
    /// To append and to answer before this, each by itself.
    pub before: Vec<Self>,
    /// To send when the state they tell is committed.
    pub replies: Vec<(ReplyToken, Reply)>,
    /// To hand back when the records are in the log, or could not be written.
    pub on_append: Option<OnAppend>,
}

impl Outcome {
    fn of(group_id: &Arc<str>) -> Self {
        Self {
            group_id: Some(Arc::clone(group_id)),
            ..Self::default()
        }
    }
}

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

/// Whether a request reads what the log says.
pub fn reads_log(request: &Request) -> bool {
    match request {
        Request::Fetch(_)
        | Request::Describe(_)
        | Request::List(_)
        | Request::DeleteGroups(_)
        | Request::DeleteOffsets(_) => true,
        Request::Join(_) | Request::Sync(_) | Request::Heartbeat(_) | Request::Leave(_) | Request::Commit(_) => false,
    }
}

impl GroupShard {
    /// The shard after a load: hard state as the log says, sessions of all members from now on. Also what follows at
    /// once: a group that is larger than `group.max.size` now rebalances.
    pub fn after_load(hard: Hard, cx: &mut Cx<'_>) -> (Self, Vec<Outcome>) {
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

    /// How many groups there are. (Every group of the soft state that outlives its first append is also in the hard
    /// state, so that the larger number counts them all.)
    pub fn group_count(&self) -> usize {
        self.hard.len().max(self.soft.groups.len())
    }

    /// What the log says.
    pub fn hard(&self) -> &Hard {
        &self.hard
    }

    /// Offset of the last record that the state of the group depends on (`None`: of any group); -1 = none.
    pub fn last_written_offset(&self, group_id: Option<&str>) -> i64 {
        self.hard.last_written_offset(group_id)
    }

    /// Applies a record that is in the log at `offset`.
    pub(in crate::coordinator) fn replay(&mut self, offset: i64, transaction: Option<ProducerId>, record: Record) {
        self.hard.replay(offset, transaction, record);
    }

    /// When [`Self::on_deadline`] is due, in monotonic milliseconds.
    pub fn next_deadline(&self) -> Option<i64> {
        self.soft.timers.next_deadline()
    }

    /// Handles one request, whose answer goes to `token`, now or later.
    pub fn handle(&mut self, cx: &mut Cx<'_>, token: ReplyToken, request: &Request) -> Outcome {
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
            } else if !is_known && cx.count_new_group().is_err() {
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

    /// The records of an outcome of this group are in the log and replayed, or could not be written.
    pub fn on_append(
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

    /// Handles all deadlines that have come.
    pub fn on_deadline(&mut self, cx: &mut Cx<'_>) -> Vec<Outcome> {
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

    /// Removes the offsets of deleted topics (name and id).
    pub fn on_topics_deleted(&mut self, topics: &[(Arc<str>, Uuid)]) -> Vec<Outcome> {
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
