//! The task that owns one shard: it takes requests out of the mailbox, appends their records, replays them and answers.
//!
//! One wake-up handles everything that waits in the mailbox and writes it as one batch. Records change hard state only
//! after they were appended, so a refused append has changed nothing but soft state, which the machine mends itself; an
//! append of unknown outcome (storage error) throws the state away and loads it again.
//!
//! Invariants: answers go out when the state they tell is committed; every client is answered, whatever happens to the
//! shard; a shard without groups has no timer and no running work. Source: `CoordinatorRuntime`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::record::{BatchBuilder, Compression, TimestampType};
use protocol::types::Now;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::loader::{self, LoadError};
use super::log::CoordinatorAppendError;
use super::release::{Client, Releases, answer};
use super::rewriting::Rewriting;
use super::{Shared, Status, StatusCell};
use crate::coordinator::group::api::{Reply, ReplyToken, Request};
use crate::coordinator::group::hard::Hard;
use crate::coordinator::group::record::{EncodedRecord, Record};
use crate::coordinator::group::rewrite::size_in_log;
use crate::coordinator::group::{Cx, GroupShard, OnAppend, Outcome, reads_log};

/// What a client gets: an answer, or why there is none.
pub(super) type Answer = Result<Reply, ErrorCode>;

/// How many events one wake-up takes out of the mailbox, so that one batch stays small and timers get their turn.
const MAX_EVENTS_PER_TURN: usize = 256;

/// How many records of the state one wake-up writes again: below a millisecond's work.
const MAX_REWRITTEN_PER_TURN: usize = 500;
/// After how many bytes it writes no more of them: a group's metadata may take a megabyte.
const MAX_REWRITTEN_BYTES_PER_TURN: usize = 256 * 1024;

/// Upper bound of what a batch and each of its records need besides keys and values (headers and varints).
const BATCH_OVERHEAD_BYTES: usize = 61;
const RECORD_OVERHEAD_BYTES: usize = 40;

/// Something for the shard to do.
#[derive(Debug)]
pub(super) enum Event {
    /// A client's request and the way to answer it.
    Request(Box<Request>, oneshot::Sender<Answer>),
    /// Topics (name and id) that are no more.
    TopicsDeleted(Arc<[(Arc<str>, Uuid)]>),
}

/// An outcome whose records are not yet in the log.
#[derive(Debug)]
struct Staged {
    group_id: Option<Arc<str>>,
    records: Vec<Record>,
    encoded: Result<Vec<EncodedRecord>, CoordinatorAppendError>,
    size_bytes: usize,
    replies: Vec<(ReplyToken, Reply)>,
    on_append: Option<OnAppend>,
}

/// The state of the task.
pub(super) struct Shard {
    partition: i32,
    shared: Arc<Shared>,
    status: Arc<StatusCell>,
    machine: GroupShard,
    clients: HashMap<ReplyToken, Client>,
    next_token: u64,
    staged: VecDeque<Staged>,
    releases: Releases,
    rewriting: Rewriting,
    counted_groups: usize,
    groups_left: usize,
    must_reload: bool,
}

/// Runs the shard of `partition` until its mailbox is closed; begins when the task that had the partition before, if
/// there is one, has ended.
pub(super) async fn run(
    partition: i32,
    shared: Arc<Shared>,
    status: Arc<StatusCell>,
    mut mailbox: mpsc::Receiver<Event>,
    predecessor: Option<JoinHandle<()>>,
) {
    if let Some(predecessor) = predecessor {
        // What it still writes must be in the log before that is read. Its panic was reported where it happened.
        drop(predecessor.await);
    }
    loop {
        let Some((hard, rewriting)) = load(partition, &shared, &status).await else {
            status.advance(Status::Failed);
            return refuse_all(&mut mailbox).await;
        };
        let mut shard = Shard::new(partition, Arc::clone(&shared), Arc::clone(&status), hard, rewriting);
        status.advance(Status::Active);
        shard.serve(&mut mailbox).await;
        let must_reload = shard.must_reload && !status.is(Status::Resigned);
        shard.close();
        if !must_reload {
            return refuse_all(&mut mailbox).await;
        }
        tracing::warn!(
            partition,
            "reloading the group coordinator's shard after a storage error"
        );
        status.advance(Status::Loading);
    }
}

/// Loads the shard on a blocking thread; a few at a time, so that a start with many partitions takes little memory.
async fn load(partition: i32, shared: &Arc<Shared>, status: &StatusCell) -> Option<(Hard, Rewriting)> {
    let offsets = shared.log.offsets(partition)?;
    if offsets.log_start_offset == offsets.log_end_offset {
        return Some((Hard::default(), Rewriting::new(shared.config.rewrite_bytes, 0, 0)));
    }
    let permit = Arc::clone(&shared.load_permits).acquire_owned().await.ok()?;
    if status.is(Status::Resigned) {
        return None;
    }
    let (log, max_bytes) = (Arc::clone(&shared.log), shared.config.offsets_load_buffer_size);
    let rewrite_bytes = shared.config.rewrite_bytes;
    let loading = shared.runtime.spawn_blocking(move || {
        let _permit = permit;
        let loaded = loader::load(&*log, partition, max_bytes)?;
        let rewriting = if loaded.has_foreign_records {
            Rewriting::off()
        } else {
            Rewriting::new(rewrite_bytes, loaded.size_bytes, size_in_log(&loaded.hard))
        };
        Ok::<_, LoadError>((loaded.hard, rewriting, loaded.size_bytes))
    });
    match loading.await {
        Ok(Ok((hard, rewriting, size_bytes))) => {
            tracing::info!(
                partition,
                groups = hard.len(),
                size_bytes,
                "loaded offsets and group metadata"
            );
            Some((hard, rewriting))
        }
        Ok(Err(error)) => {
            tracing::error!(partition, %error, "loading offsets and group metadata failed; its groups are not served");
            None
        }
        // The runtime is going down.
        Err(_) => None,
    }
}

/// Answers whatever comes in after the shard has ended.
async fn refuse_all(mailbox: &mut mpsc::Receiver<Event>) {
    while let Some(event) = mailbox.recv().await {
        if let Event::Request(_, client) = event {
            answer(client, Err(ErrorCode::NotCoordinator));
        }
    }
}

impl Shard {
    fn new(partition: i32, shared: Arc<Shared>, status: Arc<StatusCell>, hard: Hard, rewriting: Rewriting) -> Self {
        let now = (shared.clock)();
        let mut uuid = || (shared.entropy)();
        let mut cx = Cx {
            now,
            config: &shared.config,
            uuid: &mut uuid,
            groups_left: 0,
        };
        let (machine, outcomes) = GroupShard::after_load(hard, &mut cx);
        let mut shard = Self {
            partition,
            shared,
            status,
            machine,
            clients: HashMap::new(),
            next_token: 0,
            staged: VecDeque::new(),
            releases: Releases::default(),
            rewriting,
            counted_groups: 0,
            groups_left: 0,
            must_reload: false,
        };
        shard.stage_all(outcomes);
        shard.flush(now);
        shard.publish_group_count();
        shard
    }

    async fn serve(&mut self, mailbox: &mut mpsc::Receiver<Event>) {
        let mut events = Vec::new();
        while !self.must_reload {
            let is_open = self.next_turn(mailbox, &mut events).await;
            if !is_open || self.status.is(Status::Resigned) {
                for event in events.drain(..) {
                    if let Event::Request(_, client) = event {
                        answer(client, Err(ErrorCode::NotCoordinator));
                    }
                }
                return;
            }
            let now = (self.shared.clock)();
            self.groups_left = self.shared.groups_left();
            for event in events.drain(..) {
                self.on_event(now, event);
            }
            self.flush(now);
            if self
                .machine
                .next_deadline()
                .is_some_and(|deadline_ms| deadline_ms <= now.mono_ms)
            {
                let outcomes = self.with_cx(now, GroupShard::on_deadline);
                self.stage_all(outcomes);
                self.flush(now);
            }
            self.rewrite(now);
            self.releases.expire(now.mono_ms);
            self.publish_group_count();
        }
    }

    /// Waits for events, a deadline or the high watermark; false when the mailbox is closed.
    async fn next_turn(&mut self, mailbox: &mut mpsc::Receiver<Event>, events: &mut Vec<Event>) -> bool {
        let now = (self.shared.clock)();
        let deadlines = [
            self.machine.next_deadline(),
            self.releases.next_deadline(),
            self.rewriting.next_deadline(),
        ];
        let sleep = deadlines.into_iter().flatten().min().map(|deadline_ms| {
            let wait_ms = u64::try_from(deadline_ms.saturating_sub(now.mono_ms)).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(wait_ms))
        });
        let committed = self.releases.next_end_offset();
        let committed = committed.map(|end_offset| self.shared.log.wait_high_watermark(self.partition, end_offset));
        tokio::select! {
            biased;
            count = mailbox.recv_many(events, MAX_EVENTS_PER_TURN) => return count > 0,
            () = or_never(sleep) => {}
            () = or_never(committed) => {}
        }
        self.release_committed();
        true
    }

    fn on_event(&mut self, now: Now, event: Event) {
        match event {
            Event::Request(request, client) => {
                if reads_log(&request) && !self.staged.is_empty() {
                    self.flush(now);
                }
                if self.must_reload {
                    return answer(client, Err(ErrorCode::NotCoordinator));
                }
                let token = ReplyToken(self.next_token);
                self.next_token += 1;
                self.clients.insert(token, client);
                let outcome = self.with_cx(now, |machine, cx| machine.handle(cx, token, &request));
                self.stage(outcome);
            }
            Event::TopicsDeleted(topics) => {
                self.flush(now);
                let outcomes = self.with_cx(now, |machine, _| machine.on_topics_deleted(&topics));
                self.stage_all(outcomes);
            }
        }
    }

    fn with_cx<R>(&mut self, now: Now, call: impl FnOnce(&mut GroupShard, &mut Cx<'_>) -> R) -> R {
        let mut uuid = || (self.shared.entropy)();
        let mut cx = Cx {
            now,
            config: &self.shared.config,
            uuid: &mut uuid,
            groups_left: self.groups_left,
        };
        let result = call(&mut self.machine, &mut cx);
        self.groups_left = cx.groups_left;
        result
    }

    fn stage_all(&mut self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            self.stage(outcome);
        }
    }

    /// Queues an outcome for the next append; a splittable one in pieces that fit into a batch.
    fn stage(&mut self, outcome: Outcome) {
        let Outcome {
            group_id,
            records,
            splittable,
            before,
            replies,
            on_append,
        } = outcome;
        self.stage_all(before);
        // What cannot be split has only the limit of the coordinator.
        let without_overhead = |batch_bytes: usize| batch_bytes.saturating_sub(BATCH_OVERHEAD_BYTES);
        let max_bytes = without_overhead(self.shared.config.max_batch_bytes);
        let piece_bytes = if splittable {
            without_overhead(self.preferred_batch_bytes())
        } else {
            max_bytes
        };
        let mut staged = Staged::new(group_id.clone());
        for record in records {
            let encoded = record.encode();
            let size_bytes = encoded.as_ref().map_or(0, size_of_encoded);
            if splittable && !staged.records.is_empty() && staged.size_bytes + size_bytes > piece_bytes {
                self.staged
                    .push_back(std::mem::replace(&mut staged, Staged::new(group_id.clone())));
            }
            staged.size_bytes += size_bytes;
            staged.records.push(record);
            match (&mut staged.encoded, encoded) {
                (Ok(all), Ok(encoded)) => all.push(encoded),
                (all, Err(_)) => *all = Err(CoordinatorAppendError::TooLarge),
                (Err(_), Ok(_)) => {}
            }
            if staged.size_bytes > max_bytes {
                staged.encoded = Err(CoordinatorAppendError::TooLarge);
            }
        }
        self.staged.push_back(Staged {
            replies,
            on_append,
            ..staged
        });
    }

    /// How large a batch may be where there is a choice.
    fn preferred_batch_bytes(&self) -> usize {
        let log_bytes = self.shared.log.max_batch_bytes(self.partition);
        log_bytes.min(self.shared.config.max_batch_bytes)
    }

    /// Appends everything that is queued, batch by batch, and what follows from it.
    fn flush(&mut self, now: Now) {
        while !self.staged.is_empty() && !self.must_reload {
            let batch = self.next_batch();
            match self.append(now, &batch) {
                Ok(last_offset) => self.on_appended(now, batch, last_offset),
                Err(error) => self.on_refused(now, batch, error),
            }
        }
        self.release_committed();
    }

    /// Takes outcomes off the queue, as many as fit into one batch.
    fn next_batch(&mut self) -> Vec<Staged> {
        let mut batch = Vec::new();
        let mut size_bytes = BATCH_OVERHEAD_BYTES;
        let max_bytes = self.preferred_batch_bytes();
        while let Some(staged) = self.staged.front() {
            if !batch.is_empty() && size_bytes + staged.size_bytes > max_bytes {
                break;
            }
            size_bytes += staged.size_bytes;
            batch.extend(self.staged.pop_front());
        }
        batch
    }

    /// Appends the records of a batch; `None` when there are none.
    fn append(&mut self, now: Now, batch: &[Staged]) -> Result<Option<i64>, CoordinatorAppendError> {
        let mut builder = BatchBuilder::new(TimestampType::CreateTime, Compression::None);
        for encoded in batch.iter().flat_map(|staged| staged.encoded.iter().flatten()) {
            builder.append(now.wall_ms, Some(&encoded.key), encoded.value.as_deref(), &[]);
        }
        if builder.is_empty() {
            return Ok(None);
        }
        let batch = builder.build();
        let size_bytes = batch.size_bytes() as u64;
        let last_offset = self.shared.log.append(self.partition, batch)?;
        self.rewriting.on_appended(size_bytes);
        Ok(Some(last_offset))
    }

    fn on_appended(&mut self, now: Now, batch: Vec<Staged>, last_offset: Option<i64>) {
        let written = batch.iter().map(Staged::written).sum::<usize>();
        let written = i64::try_from(written).unwrap_or(i64::MAX);
        let mut offset = last_offset.map_or(0, |last_offset| last_offset + 1 - written);
        for staged in batch {
            let result = staged.encoded.map(drop);
            if result.is_ok() {
                for record in staged.records {
                    self.machine.replay(offset, None, record);
                    offset += 1;
                }
            }
            self.finish(now, staged.group_id, staged.replies, staged.on_append, result);
        }
    }

    fn on_refused(&mut self, now: Now, batch: Vec<Staged>, error: CoordinatorAppendError) {
        tracing::warn!(partition = self.partition, %error, "group records could not be appended");
        self.must_reload = error == CoordinatorAppendError::Storage;
        self.rewriting.on_refused(now.mono_ms);
        for staged in batch {
            let result = if staged.records.is_empty() {
                Ok(())
            } else {
                Err(staged.encoded.err().unwrap_or(error))
            };
            self.finish(now, staged.group_id, staged.replies, staged.on_append, result);
        }
    }

    /// Writes a piece of the state again, or gives up what lies before a pass that is safe on the disk.
    fn rewrite(&mut self, now: Now) {
        let log_end_offset = self.machine.last_written_offset(None) + 1;
        if !self.staged.is_empty() || self.must_reload {
            return;
        }
        if let Some(pass) = self.rewriting.pass(now.mono_ms, log_end_offset) {
            let records = pass.next(
                self.machine.hard(),
                MAX_REWRITTEN_PER_TURN,
                MAX_REWRITTEN_BYTES_PER_TURN,
            );
            if records.is_empty() {
                self.rewriting.on_end(now.mono_ms, log_end_offset);
            } else {
                self.write_again(now, records);
            }
        }
        if let Some((offset, end_offset)) = self.rewriting.forgettable(now.mono_ms)
            && self.shared.log.forget_before(self.partition, offset, end_offset)
        {
            tracing::debug!(
                partition = self.partition,
                offset,
                "the state was written again, the log begins there"
            );
            self.rewriting.on_forgotten();
        }
    }

    /// Appends a piece of the state. When a record of it does not fit, the pass counts for nothing: what lies before
    /// is the only place where that record stands.
    fn write_again(&mut self, now: Now, records: Vec<Record>) {
        self.stage(Outcome {
            records,
            splittable: true,
            ..Outcome::default()
        });
        if self.staged.iter().any(|staged| staged.encoded.is_err()) {
            tracing::warn!(
                partition = self.partition,
                "a record is too large to be written again, the log stays as it is"
            );
            self.staged.clear();
            self.rewriting.on_refused(now.mono_ms);
            return;
        }
        self.rewriting
            .on_written(self.staged.iter().map(|staged| staged.size_bytes as u64).sum());
        self.flush(now);
    }

    /// The records of an outcome are in the log, or are not: answers, and tells the machine.
    fn finish(
        &mut self,
        now: Now,
        group_id: Option<Arc<str>>,
        replies: Vec<(ReplyToken, Reply)>,
        on_append: Option<OnAppend>,
        result: Result<(), CoordinatorAppendError>,
    ) {
        let end_offset = self.machine.last_written_offset(group_id.as_deref()) + 1;
        for (token, reply) in replies {
            // The machine answers each token once.
            let Some(client) = self.clients.remove(&token) else {
                continue;
            };
            match result {
                Ok(()) => {
                    let deadline_ms = now.mono_ms + self.shared.config.offsets_commit_timeout_ms;
                    self.releases.wait(end_offset, deadline_ms, client, reply);
                }
                Err(error) => answer(client, Err(error.into())),
            }
        }
        if let (Some(group_id), Some(on_append)) = (group_id, on_append) {
            let result = result.map_err(ErrorCode::from);
            let outcome = self.with_cx(now, |machine, cx| machine.on_append(cx, &group_id, on_append, result));
            self.stage(outcome);
        }
    }

    /// Sends the answers whose state is committed by now.
    fn release_committed(&mut self) {
        if self.releases.next_end_offset().is_some() {
            let high_watermark = self
                .shared
                .log
                .offsets(self.partition)
                .map(|offsets| offsets.high_watermark);
            // What depends on no record needs no committed one.
            self.releases.release(high_watermark.unwrap_or(0));
        }
    }

    fn publish_group_count(&mut self) {
        let groups = self.machine.group_count();
        self.shared.count_groups(self.counted_groups, groups);
        self.counted_groups = groups;
    }

    /// Fails everything that waits: its clients find the coordinator again and start anew.
    fn close(mut self) {
        self.shared.count_groups(self.counted_groups, 0);
        self.releases.fail_all(ErrorCode::NotCoordinator);
        for client in std::mem::take(&mut self.clients).into_values() {
            answer(client, Err(ErrorCode::NotCoordinator));
        }
    }
}

impl Staged {
    fn new(group_id: Option<Arc<str>>) -> Self {
        Self {
            group_id,
            records: Vec::new(),
            encoded: Ok(Vec::new()),
            size_bytes: 0,
            replies: Vec::new(),
            on_append: None,
        }
    }

    /// How many of its records go into the log.
    fn written(&self) -> usize {
        self.encoded.as_ref().map_or(0, Vec::len)
    }
}

fn size_of_encoded(encoded: &EncodedRecord) -> usize {
    RECORD_OVERHEAD_BYTES + encoded.key.len() + encoded.value.as_ref().map_or(0, Bytes::len)
}

/// The future's end, or for ever when there is none.
async fn or_never<F: Future<Output = ()>>(future: Option<F>) {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
