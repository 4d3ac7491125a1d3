//! The task that owns one shard: it takes requests out of the mailbox, appends their records, replays them and answers.
//!
//! One wake-up handles everything that waits in the mailbox and writes it as one batch. Records change hard state only
//! after they were appended, so a refused append has changed nothing but soft state, which the machine mends itself; an
//! append of unknown outcome (storage error) throws the state away and loads it again.
//!
//! Invariants: answers go out when the state they tell is committed; every client is answered, whatever happens to the
//! shard; a shard without keys has no timer and no running work. Source: `CoordinatorRuntime`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::types::Now;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::events::{EventSender, Message};
use super::loader::{self, LoadError};
use super::log::CoordinatorAppendError;
use super::machine::{Cx, HardState, Machine, Outcome, ReplyToken};
use super::release::{Client, Releases, answer};
use super::rewriting::Rewriting;
use super::staging::{self, BatchLimits, Staged, Staging};
use super::{Shared, Status, StatusCell};
use crate::partition::marker::Marker;

/// How many messages one wake-up takes out of the mailbox, so that one batch stays small and timers get their turn.
const MAX_MESSAGES_PER_TURN: usize = 256;

/// How many records of the state one wake-up writes again: below a millisecond's work.
const MAX_REWRITTEN_PER_TURN: usize = 500;
/// After how many bytes it writes no more of them: a group's metadata may take a megabyte.
const MAX_REWRITTEN_BYTES_PER_TURN: usize = 256 * 1024;

/// What a marker takes in the log.
const MARKER_BYTES: u64 = 78;

/// What a task is given of its partition.
#[derive(Debug)]
pub(super) struct Place<M: Machine> {
    pub(super) partition: i32,
    /// Under which it is led here.
    pub(super) leader_epoch: i32,
    pub(super) status: Arc<StatusCell>,
    /// The way back into the mailbox.
    pub(super) events: EventSender<M>,
}

/// The state of the task.
struct Shard<'a, M: Machine> {
    place: &'a Place<M>,
    shared: Arc<Shared<M>>,
    machine: M,
    clients: HashMap<ReplyToken, Client<M::Reply>>,
    next_token: u64,
    staging: Staging<M>,
    releases: Releases<M>,
    rewriting: Rewriting<M::Hard>,
    counted_keys: usize,
    keys_left: usize,
    /// As the log's settings were when the turn began.
    limits: BatchLimits,
    must_reload: bool,
}

/// Runs the shard until its mailbox is closed; begins when the task that had the partition before, if there is one, has
/// ended.
pub(super) async fn run<M: Machine>(
    place: Place<M>,
    shared: Arc<Shared<M>>,
    mut mailbox: mpsc::Receiver<Message<M>>,
    predecessor: Option<JoinHandle<()>>,
) {
    if let Some(predecessor) = predecessor {
        // What it still writes must be in the log before that is read. Its panic was reported where it happened.
        drop(predecessor.await);
    }
    let status = &place.status;
    loop {
        let Some((hard, rewriting)) = load(&place, &shared).await else {
            status.advance(Status::Failed);
            return refuse_all(&mut mailbox).await;
        };
        let mut shard = Shard::new(&place, Arc::clone(&shared), hard, rewriting);
        status.advance(Status::Active);
        shard.serve(&mut mailbox).await;
        let must_reload = shard.must_reload && !status.is(Status::Resigned);
        shard.close();
        if !must_reload {
            return refuse_all(&mut mailbox).await;
        }
        tracing::warn!(
            coordinator = M::NAME,
            partition = place.partition,
            "reloading a shard after a storage error"
        );
        status.advance(Status::Loading);
    }
}

/// Loads the shard on a blocking thread; a few at a time, so that a start with many partitions takes little memory.
async fn load<M: Machine>(place: &Place<M>, shared: &Arc<Shared<M>>) -> Option<(M::Hard, Rewriting<M::Hard>)> {
    let partition = place.partition;
    let (rewrite_bytes, max_bytes) = (shared.limits.rewrite_bytes, shared.limits.load_buffer_bytes);
    let offsets = shared.log.offsets(partition)?;
    if offsets.log_start_offset == offsets.log_end_offset {
        return Some((M::Hard::default(), Rewriting::new(rewrite_bytes, 0, 0)));
    }
    let permit = Arc::clone(&shared.load_permits).acquire_owned().await.ok()?;
    if place.status.is(Status::Resigned) {
        return None;
    }
    let log = Arc::clone(&shared.log);
    let loading = shared.runtime.spawn_blocking(move || {
        let _permit = permit;
        let loaded = loader::load::<M::Hard>(&*log, partition, max_bytes)?;
        let rewriting = if loaded.has_foreign_records {
            Rewriting::off()
        } else {
            Rewriting::new(rewrite_bytes, loaded.size_bytes, loaded.hard.size_in_log())
        };
        Ok::<_, LoadError>((loaded.hard, rewriting, loaded.size_bytes))
    });
    match loading.await {
        Ok(Ok((hard, rewriting, size_bytes))) => {
            let keys = hard.key_count();
            tracing::info!(
                coordinator = M::NAME,
                partition,
                keys,
                size_bytes,
                "loaded a shard's state"
            );
            Some((hard, rewriting))
        }
        Ok(Err(error)) => {
            tracing::error!(coordinator = M::NAME, partition, %error, "a shard's state cannot be loaded, it is not served");
            None
        }
        // The runtime is going down.
        Err(_) => None,
    }
}

fn batch_limits<M: Machine>(place: &Place<M>, shared: &Shared<M>) -> BatchLimits {
    let max_bytes = shared.limits.max_batch_bytes;
    BatchLimits {
        preferred_bytes: shared.log.max_batch_bytes(place.partition).min(max_bytes),
        max_bytes,
    }
}

/// Answers whatever comes in after the shard has ended.
async fn refuse_all<M: Machine>(mailbox: &mut mpsc::Receiver<Message<M>>) {
    while let Some(message) = mailbox.recv().await {
        message.refuse(ErrorCode::NotCoordinator);
    }
}

impl<'a, M: Machine> Shard<'a, M> {
    fn new(place: &'a Place<M>, shared: Arc<Shared<M>>, hard: M::Hard, rewriting: Rewriting<M::Hard>) -> Self {
        let now = (shared.clock)();
        let mut uuid = || (shared.entropy)();
        let mut cx = Cx {
            now,
            coordinator_epoch: place.leader_epoch,
            config: &shared.config,
            uuid: &mut uuid,
            keys_left: 0,
        };
        let (machine, outcomes) = M::after_load(hard, &mut cx);
        let limits = batch_limits(place, &shared);
        let mut shard = Self {
            place,
            shared,
            machine,
            clients: HashMap::new(),
            next_token: 0,
            staging: Staging::default(),
            releases: Releases::default(),
            rewriting,
            counted_keys: 0,
            keys_left: 0,
            limits,
            must_reload: false,
        };
        shard.stage_all(outcomes);
        shard.flush(now);
        shard.publish_key_count();
        shard
    }

    async fn serve(&mut self, mailbox: &mut mpsc::Receiver<Message<M>>) {
        let mut messages = Vec::new();
        while !self.must_reload {
            let is_open = self.next_turn(mailbox, &mut messages).await;
            if !is_open || self.place.status.is(Status::Resigned) {
                for message in messages.drain(..) {
                    message.refuse(ErrorCode::NotCoordinator);
                }
                return;
            }
            let now = (self.shared.clock)();
            self.keys_left = self.shared.keys_left();
            self.limits = batch_limits(self.place, &self.shared);
            for message in messages.drain(..) {
                self.on_message(now, message);
            }
            self.flush(now);
            if self
                .machine
                .next_deadline()
                .is_some_and(|deadline_ms| deadline_ms <= now.mono_ms)
            {
                let outcomes = self.with_cx(now, M::on_deadline);
                self.stage_all(outcomes);
                self.flush(now);
            }
            self.rewrite(now);
            self.releases.expire(now.mono_ms);
            self.publish_key_count();
        }
    }

    /// Waits for messages, a deadline or the high watermark; false when the mailbox is closed.
    async fn next_turn(&mut self, mailbox: &mut mpsc::Receiver<Message<M>>, messages: &mut Vec<Message<M>>) -> bool {
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
        let partition = self.place.partition;
        let committed = committed.map(|end_offset| self.shared.log.wait_high_watermark(partition, end_offset));
        tokio::select! {
            biased;
            count = mailbox.recv_many(messages, MAX_MESSAGES_PER_TURN) => return count > 0,
            () = or_never(sleep) => {}
            () = or_never(committed) => {}
        }
        self.release_committed();
        true
    }

    fn on_message(&mut self, now: Now, message: Message<M>) {
        match message {
            Message::Request(request, client) => {
                if self.staging.holds(M::sees(&request)) {
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
            Message::Event(event) => {
                if self.staging.holds(M::event_sees(&event)) {
                    self.flush(now);
                }
                // What is not handled before the state is loaded anew follows from the state, or is asked for again.
                if !self.must_reload {
                    let outcomes = self.with_cx(now, |machine, cx| machine.on_event(cx, event));
                    self.stage_all(outcomes);
                }
            }
            Message::Marker(marker, client) => self.on_marker(now, &marker, client),
        }
    }

    /// Ends a producer's transaction in this log, behind everything that is on its way.
    fn on_marker(&mut self, now: Now, marker: &Marker, client: Client<()>) {
        self.flush(now);
        if self.must_reload {
            return answer(client, Err(ErrorCode::NotCoordinator));
        }
        match self.shared.log.append_marker(self.place.partition, marker) {
            Ok(offset) => {
                self.machine
                    .hard_mut()
                    .replay_marker(offset, marker.producer_id, marker.committed);
                self.rewriting.on_appended(MARKER_BYTES);
                let deadline_ms = now.mono_ms + self.shared.limits.commit_timeout_ms;
                self.releases.wait_marker(offset + 1, deadline_ms, client);
            }
            Err(error) => {
                let partition = self.place.partition;
                tracing::warn!(coordinator = M::NAME, partition, ?marker, %error, "a marker could not be appended");
                self.must_reload = error == CoordinatorAppendError::Storage;
                answer(client, Err(error.into()));
            }
        }
    }

    fn with_cx<R>(&mut self, now: Now, call: impl FnOnce(&mut M, &mut Cx<'_, M::Config>) -> R) -> R {
        let mut uuid = || (self.shared.entropy)();
        let mut cx = Cx {
            now,
            coordinator_epoch: self.place.leader_epoch,
            config: &self.shared.config,
            uuid: &mut uuid,
            keys_left: self.keys_left,
        };
        let result = call(&mut self.machine, &mut cx);
        self.keys_left = cx.keys_left;
        result
    }

    fn stage_all(&mut self, outcomes: Vec<Outcome<M>>) {
        for outcome in outcomes {
            self.stage(outcome);
        }
    }

    /// Queues an outcome for the next append.
    fn stage(&mut self, outcome: Outcome<M>) {
        self.staging.push(outcome, self.limits);
    }

    /// Appends everything that is queued, batch by batch, and what follows from it.
    fn flush(&mut self, now: Now) {
        while !self.staging.is_empty() && !self.must_reload {
            let batch = self.staging.next_batch(self.limits);
            match self.append(now, &batch) {
                Ok(last_offset) => self.on_appended(now, batch, last_offset),
                Err(error) => self.on_refused(now, batch, error),
            }
        }
        self.release_committed();
    }

    /// Appends the records of a batch; `None` when there are none.
    fn append(&mut self, now: Now, staged: &[Staged<M>]) -> Result<Option<i64>, CoordinatorAppendError> {
        let Some(batch) = staging::build(staged, now.wall_ms) else {
            return Ok(None);
        };
        let size_bytes = batch.size_bytes() as u64;
        let guard = staged.iter().find_map(|staged| staged.producer?.guard);
        let last_offset = self.shared.log.append(self.place.partition, batch, guard)?;
        self.rewriting.on_appended(size_bytes);
        Ok(Some(last_offset))
    }

    fn on_appended(&mut self, now: Now, batch: Vec<Staged<M>>, last_offset: Option<i64>) {
        let written = batch.iter().map(Staged::written).sum::<usize>();
        let written = i64::try_from(written).unwrap_or(i64::MAX);
        let mut offset = last_offset.map_or(0, |last_offset| last_offset + 1 - written);
        for mut staged in batch {
            let result = match &staged.encoded {
                Ok(_) => Ok(()),
                Err(error) => Err(*error),
            };
            let producer_id = staged.producer.map(|producer| producer.producer_id);
            for record in staged.records.drain(..).filter(|_| result.is_ok()) {
                self.machine.hard_mut().replay(offset, producer_id, record);
                offset += 1;
            }
            self.finish(now, staged, result);
        }
    }

    fn on_refused(&mut self, now: Now, batch: Vec<Staged<M>>, error: CoordinatorAppendError) {
        let partition = self.place.partition;
        self.must_reload = error == CoordinatorAppendError::Storage;
        if matches!(error, CoordinatorAppendError::Refused(_)) {
            // The producer is an old one, or has no transaction: its own affair.
            tracing::debug!(coordinator = M::NAME, partition, %error, "a transactional batch was refused");
        } else {
            tracing::warn!(coordinator = M::NAME, partition, %error, "records could not be appended");
            self.rewriting.on_refused(now.mono_ms);
        }
        for staged in batch {
            let result = match &staged.encoded {
                _ if staged.records.is_empty() => Ok(()),
                Ok(_) => Err(error),
                Err(error) => Err(*error),
            };
            self.finish(now, staged, result);
        }
    }

    /// Writes a piece of the state again, or gives up what lies before a pass that is safe on the disk.
    fn rewrite(&mut self, now: Now) {
        let log_end_offset = self.machine.hard().last_written_offset(None) + 1;
        if !self.staging.is_empty() || self.must_reload {
            return;
        }
        if let Some(pass) = self.rewriting.pass(now.mono_ms, log_end_offset) {
            let records = self
                .machine
                .hard()
                .rewrite_next(pass, MAX_REWRITTEN_PER_TURN, MAX_REWRITTEN_BYTES_PER_TURN);
            if records.is_empty() {
                self.rewriting.on_end(now.mono_ms, log_end_offset);
            } else {
                self.write_again(now, records);
            }
        }
        if let Some((offset, end_offset)) = self.rewriting.forgettable(now.mono_ms)
            && self.shared.log.forget_before(self.place.partition, offset, end_offset)
        {
            tracing::debug!(
                coordinator = M::NAME,
                partition = self.place.partition,
                offset,
                "the state was written again, the log begins there"
            );
            self.rewriting.on_forgotten();
        }
    }

    /// Appends a piece of the state. When a record of it does not fit, the pass counts for nothing: what lies before
    /// is the only place where that record stands.
    fn write_again(&mut self, now: Now, records: Vec<<M::Hard as HardState>::Record>) {
        self.stage(Outcome {
            records,
            splittable: true,
            ..Outcome::default()
        });
        let Some(size_bytes) = self.staging.size_bytes() else {
            tracing::warn!(
                coordinator = M::NAME,
                partition = self.place.partition,
                "a record is too large to be written again, the log stays as it is"
            );
            self.staging.clear();
            self.rewriting.on_refused(now.mono_ms);
            return;
        };
        self.rewriting.on_written(size_bytes);
        self.flush(now);
    }

    /// The records of an outcome are in the log, or are not: answers, and tells the machine.
    fn finish(&mut self, now: Now, staged: Staged<M>, result: Result<(), CoordinatorAppendError>) {
        let key = staged.key;
        let end_offset = self.machine.hard().last_written_offset(key.as_deref()) + 1;
        for (token, reply) in staged.replies {
            // The machine answers each token once.
            let Some(client) = self.clients.remove(&token) else {
                continue;
            };
            match result {
                Ok(()) => {
                    let deadline_ms = now.mono_ms + self.shared.limits.commit_timeout_ms;
                    self.releases.wait(end_offset, deadline_ms, client, reply);
                }
                Err(error) => answer(client, Err(error.into())),
            }
        }
        if result.is_ok() {
            for effect in staged.effects {
                self.releases.wait_effect(end_offset, effect);
            }
        }
        if let (Some(key), Some(on_append)) = (key, staged.on_append) {
            let result = result.map_err(ErrorCode::from);
            let outcome = self.with_cx(now, |machine, cx| machine.on_append(cx, &key, on_append, result));
            self.stage(outcome);
        }
    }

    /// Sends the answers whose state is committed by now, and has the effects done.
    fn release_committed(&mut self) {
        if self.releases.next_end_offset().is_none() {
            return;
        }
        let offsets = self.shared.log.offsets(self.place.partition);
        // What depends on no record needs no committed one.
        let high_watermark = offsets.map_or(0, |offsets| offsets.high_watermark);
        for effect in self.releases.release(high_watermark) {
            (self.shared.perform)(effect, self.place.events.clone());
        }
    }

    fn publish_key_count(&mut self) {
        let keys = self.machine.key_count();
        self.shared.count_keys(self.counted_keys, keys);
        self.counted_keys = keys;
    }

    /// Fails everything that waits: its clients find the coordinator again and start anew.
    fn close(mut self) {
        self.shared.count_keys(self.counted_keys, 0);
        self.releases.fail_all(ErrorCode::NotCoordinator);
        for client in std::mem::take(&mut self.clients).into_values() {
            answer(client, Err(ErrorCode::NotCoordinator));
        }
    }
}

/// The future's end, or for ever when there is none.
async fn or_never<F: Future<Output = ()>>(future: Option<F>) {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
