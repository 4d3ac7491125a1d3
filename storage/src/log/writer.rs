//! Owns the writing side of one log: appending, rolling, moving the high watermark. One owner, by `&mut`.
//!
//! Invariants: a batch is acknowledged only after its bytes were handed to the system; a failed write leaves the log
//! exactly as it was before the call (or takes it offline); bytes, then index, then watermarks are published, in this
//! order; the high watermark is moved by the owner only. Sources: Kafka's `UnifiedLog.append`, `LocalLog.roll`.

use std::io::IoSlice;
use std::sync::Arc;

use protocol::record::{BATCH_HEADER_BYTES, TimestampType, ValidatedBatch};
use protocol::types::Now;

use crate::config::LogConfig;
use crate::error::{IoContext, StorageError};
use crate::flush::Urgency;
use crate::io::file_system::OpenMode;
use crate::log::append::{AppendError, AppendRules, Appended, check_producer};
use crate::log::checkpoint::CheckpointState;
use crate::log::shared::LogShared;
use crate::log::txn_index::aborted_txns;
use crate::log::watermarks::Watermarks;
use crate::producer::{BeginVerification, Checked, PendingAppend, ProducerStates, Verification, VerificationGuard};
use crate::segment::SegmentList;
use crate::segment::active::ActiveSegment;
use crate::segment::active_index::ActiveIndex;
use crate::segment::file::{LOG_SUFFIX, segment_path};
use crate::segment::roll::{NextBatch, RollReason, SegmentFill, roll_reason, segment_jitter_ms};
use crate::segment::sealed::{IndexSync, SealedFiles, SealedSegment, write_index_files};
use crate::segment::txn_index::AbortedTxn;

/// Linux takes at most 1024 slices in one `pwritev`; half of that per call keeps the calls short. Even: a batch is two.
const MAX_SLICES: usize = 512;
/// First step of preallocation; an idle partition reserves nothing.
const FIRST_PREALLOCATION_BYTES: u64 = 64 * 1024;
/// Largest step of preallocation.
const MAX_PREALLOCATION_BYTES: u64 = 16 * 1024 * 1024;
/// New bytes after which the kernel is asked to begin writing them to the disk.
const WRITE_BACK_BYTES: u64 = 1024 * 1024;

/// The writing side of a log.
#[derive(Debug)]
pub struct LogWriter {
    pub(super) shared: Arc<LogShared>,
    pub(super) config: Arc<LogConfig>,
    pub(super) producers: ProducerStates,
    pub(super) active: Arc<ActiveSegment>,
    /// Disk blocks are reserved up to this position of the active segment.
    pub(super) allocated_to: u64,
    next_allocation_bytes: u64,
    /// Write-back was asked for up to this position of the active segment.
    pub(super) written_back_to: u64,
    unflushed_messages: i64,
    pub(super) checkpoint: CheckpointState,
    /// Time of the last call that was given one; only the expiry of producer ids after a truncation depends on it.
    pub(super) last_seen: Now,
    /// Log end that the index files and the newest snapshot on disk belong to.
    pub(super) closed_at: Option<i64>,
}

/// Batches that passed the checks and wait for their common write.
#[derive(Debug, Default)]
struct Run {
    batches: Vec<ValidatedBatch>,
    pending: PendingAppend,
    size_bytes: usize,
    next_offset: i64,
    /// Index of the first result that depends on this write.
    first_result: usize,
}

impl LogWriter {
    pub(super) fn new(shared: Arc<LogShared>, config: Arc<LogConfig>, producers: ProducerStates, now: Now) -> Self {
        let active = Arc::clone(&shared.segments.load().active);
        let size_bytes = u64::from(active.index().size_bytes());
        Self {
            shared,
            config,
            producers,
            active,
            allocated_to: size_bytes,
            next_allocation_bytes: FIRST_PREALLOCATION_BYTES,
            written_back_to: size_bytes,
            unflushed_messages: 0,
            checkpoint: CheckpointState::at(size_bytes),
            last_seen: now,
            closed_at: None,
        }
    }

    /// Appends batches, as many as possible with one write. One result per batch, in order; a batch that is refused
    /// does not hinder the others, a failing disk refuses all that follow. Does not move the high watermark.
    pub fn append(
        &mut self,
        batches: Vec<ValidatedBatch>,
        leader_epoch: i32,
        now: Now,
    ) -> Vec<Result<Appended, AppendError>> {
        self.append_verified(batches, leader_epoch, Verification::Off, now)
    }

    /// As [`Self::append`]; what begins a transaction here has to be verified.
    pub fn append_verified(
        &mut self,
        batches: Vec<ValidatedBatch>,
        leader_epoch: i32,
        verification: Verification,
        now: Now,
    ) -> Vec<Result<Appended, AppendError>> {
        let rules = AppendRules {
            verification,
            transaction_version: 0,
        };
        self.append_all(batches, leader_epoch, rules, now)
    }

    /// Appends the marker that ends a producer's transaction here. `transaction_version` is that of the request which
    /// wants it. Does not move the high watermark.
    ///
    /// # Errors
    /// Old epochs of the producer or of the coordinator; storage errors.
    pub fn append_marker(
        &mut self,
        marker: ValidatedBatch,
        leader_epoch: i32,
        transaction_version: i16,
        now: Now,
    ) -> Result<Appended, AppendError> {
        let rules = AppendRules {
            verification: Verification::Off,
            transaction_version,
        };
        let mut results = self.append_all(vec![marker], leader_epoch, rules, now);
        results.pop().expect("one result per batch")
    }

    /// Before a transactional batch is written, see [`ProducerStates::begin_verification`].
    ///
    /// # Errors
    /// An old epoch of the producer.
    pub fn begin_verification(
        &mut self,
        request: &BeginVerification,
    ) -> Result<Option<VerificationGuard>, AppendError> {
        let offset = self.shared.marks.load().log_end_offset;
        let now_ms = self.last_seen.wall_ms;
        Ok(self.producers.begin_verification(request, offset, now_ms)?)
    }

    /// See [`ProducerStates::refuse_verification`].
    pub fn refuse_verification(&mut self, request: &BeginVerification, is_wrong_epoch: bool) {
        self.producers.refuse_verification(request, is_wrong_epoch);
    }

    fn append_all(
        &mut self,
        batches: Vec<ValidatedBatch>,
        leader_epoch: i32,
        rules: AppendRules,
        now: Now,
    ) -> Vec<Result<Appended, AppendError>> {
        self.last_seen = now;
        let mut results: Vec<Result<Appended, AppendError>> = Vec::with_capacity(batches.len());
        let mut failure = self
            .shared
            .check_online()
            .and_then(|()| self.assign_epoch(leader_epoch))
            .err();
        let mut run = self.new_run(0);
        for batch in batches {
            if let Some(error) = &failure {
                results.push(Err(error.clone().into()));
                continue;
            }
            if let Err(error) = self.make_room(&mut run, &batch, now, results.len()) {
                self.judge(&error);
                refuse_from(&mut results, run.first_result, &error);
                results.push(Err(error.clone().into()));
                failure = Some(error);
                continue;
            }
            results.push(self.stage(&mut run, batch, leader_epoch, rules, now));
        }
        if failure.is_none()
            && let Err(error) = self.write_run(&mut run)
        {
            self.judge(&error);
            refuse_from(&mut results, run.first_result, &error);
            failure = Some(error);
        }
        let lacks_room = failure.is_some_and(|error| error.is_no_space());
        if lacks_room != self.shared.lacks_room() {
            self.shared.set_lacks_room(lacks_room);
        }
        results
    }

    /// A failure that will not pass takes the log out of use, and its directory with it: clients are better told at once
    /// than refused batch by batch.
    fn judge(&self, error: &StorageError) {
        if !error.is_passing() {
            self.shared.go_offline(error);
        }
    }

    /// Moves the high watermark: forwards only, not behind the log end. The last stable offset follows.
    pub fn set_high_watermark(&mut self, offset: i64) -> Watermarks {
        let marks = self.shared.marks.load();
        if offset <= marks.high_watermark {
            return marks;
        }
        let high_watermark = offset.min(marks.log_end_offset);
        self.producers.on_high_watermark(high_watermark);
        self.publish(marks.log_start_offset, high_watermark, marks.log_end_offset)
    }

    /// Becoming leader: the epoch begins at the log end. Nothing happens when it, or a newer one, is known.
    ///
    /// # Errors
    /// `Offline` when the log is.
    pub fn assign_epoch(&mut self, leader_epoch: i32) -> Result<(), StorageError> {
        self.shared.check_online()?;
        let epochs = self.shared.epochs.load();
        if epochs.latest().is_some_and(|latest| latest.epoch >= leader_epoch) {
            return Ok(());
        }
        let mut epochs = epochs.as_ref().clone();
        // The file is written with the next sync. A kill before that loses nothing: recovery reads the epochs of
        // everything behind the recovery point from the batches, and an epoch without batches binds nobody.
        if epochs.assign(leader_epoch, self.shared.marks.load().log_end_offset) {
            self.shared.set_epochs(epochs);
        }
        Ok(())
    }

    /// Takes new settings; what is already written stays as it is. It is synced at once when it would now have to be
    /// sooner than before.
    pub fn set_config(&mut self, config: Arc<LogConfig>) {
        let old = std::mem::replace(&mut self.config, config);
        self.producers.set_max_producer_ids(self.config.max_producer_ids);
        let is_sooner = self.config.flush_ms < old.flush_ms || self.config.flush_messages < old.flush_messages;
        if is_sooner && self.shared.is_dirty() {
            self.shared.request_sync(Urgency::Now);
        }
    }

    /// Makes everything appended so far durable before it returns.
    ///
    /// # Errors
    /// A failed sync, after which the log is offline; or a small file that cannot be written or opened, which the
    /// flusher tries again.
    pub fn flush(&mut self) -> Result<(), StorageError> {
        self.shared.sync()?;
        self.unflushed_messages = 0;
        // The listener may want the lock under which this runs: it is told on the flusher's thread.
        self.shared.request_sync(Urgency::Now);
        Ok(())
    }

    /// State of the producers, for describing them.
    #[must_use]
    pub fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    /// Forgets producer ids that have not written for `producer.id.expiration.ms`. Returns how many.
    pub fn remove_expired_producers(&mut self, now: Now) -> usize {
        self.last_seen = now;
        self.producers
            .remove_expired(now.wall_ms, self.config.producer_id_expiration_ms)
    }

    pub(super) fn publish(&self, log_start_offset: i64, high_watermark: i64, log_end_offset: i64) -> Watermarks {
        let unstable = self.producers.first_unstable_offset();
        let marks = Watermarks::clamped(log_start_offset, high_watermark, log_end_offset, unstable);
        self.shared.marks.store(marks);
        marks
    }

    fn new_run(&self, first_result: usize) -> Run {
        Run {
            next_offset: self.shared.marks.load().log_end_offset,
            first_result,
            ..Run::default()
        }
    }

    /// Rolls the segment if the batch does not belong into it any more; what was staged is written first.
    fn make_room(
        &mut self,
        run: &mut Run,
        batch: &ValidatedBatch,
        now: Now,
        result: usize,
    ) -> Result<(), StorageError> {
        let header = batch.header();
        if batch.size_bytes() > self.config.segment_bytes as usize {
            return Ok(());
        }
        let next = NextBatch {
            size_bytes: batch.size_bytes(),
            last_offset: run.next_offset + i64::from(header.last_offset_delta),
            max_timestamp_ms: self.log_append_time_ms(now).unwrap_or(header.max_timestamp),
        };
        let Some(reason) = roll_reason(&self.fill(run), &next, &self.config, now.wall_ms) else {
            return Ok(());
        };
        self.write_run(run)?;
        *run = self.new_run(result);
        self.roll(reason, now)
    }

    /// The active segment as it will be when the run is written.
    fn fill(&self, run: &Run) -> SegmentFill {
        let index = self.active.index();
        let (offset_entries, time_entries) = index.entry_counts();
        let first_staged = run
            .batches
            .first()
            .map(|batch| batch.header().max_timestamp)
            .filter(|ms| *ms >= 0);
        let is_empty = index.size_bytes() == 0;
        let base_offset = self.active.base_offset();
        SegmentFill {
            base_offset,
            size_bytes: index.size_bytes() + u32::try_from(run.size_bytes).expect("a run fits into a segment"),
            offset_entries,
            time_entries,
            first_batch_timestamp_ms: if is_empty {
                first_staged
            } else {
                index.first_batch_timestamp_ms()
            },
            created_ms: self.active.created_ms(),
            jitter_ms: segment_jitter_ms(&self.config, self.jitter_seed(base_offset)),
        }
    }

    /// Differs between partitions and segments, and is the same after a restart.
    fn jitter_seed(&self, base_offset: i64) -> u32 {
        if self.config.segment_jitter_ms <= 0 {
            return 0;
        }
        crc32c::crc32c_append(
            crc32c::crc32c(self.shared.path().as_os_str().as_encoded_bytes()),
            &base_offset.to_be_bytes(),
        )
    }

    fn log_append_time_ms(&self, now: Now) -> Option<i64> {
        (self.config.message_timestamp_type == TimestampType::LogAppendTime).then_some(now.wall_ms)
    }

    /// Gives the batch its offsets, runs the producer checks and puts it into the run.
    fn stage(
        &self,
        run: &mut Run,
        mut batch: ValidatedBatch,
        leader_epoch: i32,
        rules: AppendRules,
        now: Now,
    ) -> Result<Appended, AppendError> {
        let size_bytes = batch.size_bytes();
        let segment_bytes = self.config.segment_bytes;
        if size_bytes > segment_bytes as usize {
            return Err(AppendError::RecordListTooLarge {
                size_bytes,
                segment_bytes,
            });
        }
        let log_append_time_ms = self.log_append_time_ms(now);
        batch.assign(run.next_offset, leader_epoch, log_append_time_ms);
        let header = *batch.header();
        let checked = check_producer(&mut run.pending, &self.producers, &batch, rules)?;
        if let Checked::Duplicate {
            base_offset,
            last_offset,
            timestamp_ms,
        } = checked
        {
            return Ok(Appended {
                base_offset,
                last_offset,
                log_append_time_ms: timestamp_ms,
                duplicate: true,
            });
        }
        run.next_offset = header.next_offset();
        run.size_bytes += size_bytes;
        run.batches.push(batch);
        Ok(Appended {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            log_append_time_ms: log_append_time_ms.unwrap_or(-1),
            duplicate: false,
        })
    }

    /// Writes what is staged and publishes it.
    fn write_run(&mut self, run: &mut Run) -> Result<(), StorageError> {
        if run.batches.is_empty() {
            return Ok(());
        }
        let position = u64::from(self.active.index().size_bytes());
        let end = position + run.size_bytes as u64;
        let aborted = aborted_txns(&self.producers.completed(&run.pending));
        self.write_txn_index(&aborted)?;
        self.preallocate(end);
        if let Err(error) = self.write_batches(&run.batches, position) {
            self.undo_write(position, &aborted, &error);
            return Err(error);
        }
        self.publish_txn_index(&aborted);
        let mut messages = 0;
        let mut index = self.active.index_mut();
        for batch in &run.batches {
            index.note(batch.header(), self.config.index_interval_bytes);
            messages += i64::from(batch.header().records_count);
        }
        drop(index);
        self.producers.commit(std::mem::take(&mut run.pending));
        let marks = self.shared.marks.load();
        self.publish(marks.log_start_offset, marks.high_watermark, run.next_offset);
        self.after_write(end, messages);
        Ok(())
    }

    fn write_batches(&self, batches: &[ValidatedBatch], position: u64) -> Result<(), StorageError> {
        let headers: Vec<[u8; BATCH_HEADER_BYTES]> = batches.iter().map(ValidatedBatch::encoded_header).collect();
        let pairs = headers.iter().zip(batches);
        let slices: Vec<IoSlice<'_>> = pairs
            .flat_map(|(header, batch)| [IoSlice::new(header), IoSlice::new(batch.body())])
            .collect();
        let mut at = position;
        for chunk in slices.chunks(MAX_SLICES) {
            self.active
                .file()
                .write_at(chunk, at)
                .context("write", self.active.path())?;
            at += chunk.iter().map(|slice| slice.len() as u64).sum::<u64>();
        }
        Ok(())
    }

    /// A write failed: the file is cut back to where it was. If even that fails, nobody knows what is in it.
    fn undo_write(&mut self, position: u64, aborted: &[AbortedTxn], cause: &StorageError) {
        tracing::warn!(log = %self.shared.path().display(), error = %cause, "append failed");
        self.allocated_to = position;
        self.next_allocation_bytes = FIRST_PREALLOCATION_BYTES;
        if let Err(error) = self
            .active
            .file()
            .truncate(position)
            .context("truncate", self.active.path())
        {
            self.shared.go_offline(&error);
        }
        self.withdraw_txn_index(aborted);
    }

    /// Reserves disk blocks ahead of the tail: appends then do not wait for the file system's journal.
    fn preallocate(&mut self, end: u64) {
        if end <= self.allocated_to {
            return;
        }
        let segment_bytes = u64::from(self.config.segment_bytes);
        let step = if self.config.preallocate {
            segment_bytes
        } else {
            self.next_allocation_bytes
        };
        let target = (self.allocated_to + step).min(segment_bytes).max(end);
        match self
            .active
            .file()
            .preallocate(self.allocated_to, target - self.allocated_to)
        {
            Ok(()) => {
                self.allocated_to = target;
                self.next_allocation_bytes = (self.next_allocation_bytes * 2).min(MAX_PREALLOCATION_BYTES);
            }
            // Only speed is lost; if there is no room the write itself will say so.
            Err(error) => {
                tracing::debug!(log = %self.shared.path().display(), %error, "no preallocation");
                self.allocated_to = end;
            }
        }
    }

    /// Sees to it that the new bytes reach the disk.
    fn after_write(&mut self, end: u64, messages: i64) {
        if end - self.written_back_to >= WRITE_BACK_BYTES {
            let file = Arc::clone(self.active.file());
            self.shared
                .flusher
                .write_back(file, self.written_back_to, end - self.written_back_to);
            self.written_back_to = end;
        }
        self.unflushed_messages = self.unflushed_messages.saturating_add(messages);
        let urgency = if self.unflushed_messages >= self.config.flush_messages {
            Urgency::Now
        } else {
            self.sync_urgency()
        };
        if urgency == Urgency::Now {
            self.unflushed_messages = 0;
        }
        self.shared.request_sync(urgency);
        self.checkpoint_if_due(end);
    }

    /// When the configuration wants new bytes on the disk.
    pub(super) fn sync_urgency(&self) -> Urgency {
        if self.config.acks_wait_for_disk() {
            return Urgency::Now;
        }
        Urgency::Within(u64::try_from(self.config.flush_ms).expect("not negative, or acks would wait"))
    }

    /// Begins a new segment, unless the active one is empty; its files do not change any more.
    ///
    /// # Errors
    /// Disk failures.
    pub fn roll_active(&mut self, now: Now) -> Result<(), StorageError> {
        self.shared.check_online()?;
        if self.active.index().size_bytes() == 0 {
            return Ok(());
        }
        self.roll(RollReason::Requested, now)
    }

    /// Seals the active segment and begins a new one at the log end.
    pub(super) fn roll(&mut self, reason: RollReason, now: Now) -> Result<(), StorageError> {
        let (base_offset, next_offset) = (self.active.base_offset(), self.shared.marks.load().log_end_offset);
        assert!(next_offset > base_offset, "an empty segment is not rolled");
        let path = segment_path(self.shared.path(), next_offset, LOG_SUFFIX);
        self.write_snapshot(next_offset)?;
        let sealed = self.seal()?;
        // Last of all that can fail: were the file there and the roll given up, a batch that still fits into the old
        // segment would be acknowledged although its offset belongs to the new one. What stands above does no harm when
        // the roll ends here. A file of this name can only be left over from a kill in this place: the log ends here.
        let file = self
            .shared
            .fs()
            .open(&path, OpenMode::Truncate)
            .context("create", &path)?;
        self.shared.mark_names_dirty();
        let dir = self.shared.path();
        let active = ActiveSegment::new(dir, next_offset, now.wall_ms, file, ActiveIndex::new(next_offset));
        let mut segments = SegmentList::clone(&self.shared.segments.load());
        segments.sealed.push(sealed);
        segments.active = Arc::new(active);
        self.begin_segment(segments);
        self.shared.request_sync(self.sync_urgency());
        tracing::debug!(log = %self.shared.path().display(), ?reason, base_offset = next_offset, "rolled");
        Ok(())
    }

    /// Publishes segments of which the last one is new and empty.
    pub(super) fn begin_segment(&mut self, segments: SegmentList) {
        let base_offset = segments.active.base_offset();
        self.active = Arc::clone(&segments.active);
        self.shared.segments.store(Arc::new(segments));
        (self.allocated_to, self.written_back_to) = (0, 0);
        self.begin_checkpoints(base_offset);
        self.next_allocation_bytes = (self.next_allocation_bytes / 4).max(FIRST_PREALLOCATION_BYTES);
    }

    /// Writes the indexes of the active segment and gives back its surplus blocks.
    pub(super) fn seal(&mut self) -> Result<Arc<SealedSegment>, StorageError> {
        let active = &self.active;
        let mut index = active.index().clone();
        let (fs, dir) = (self.shared.fs(), self.shared.path());
        write_index_files(fs, dir, active.base_offset(), &mut index, IndexSync::Later)?;
        self.release_surplus()?;
        let active = &self.active;
        let files = SealedFiles::new(Arc::clone(active.file())).with_txns(active.txn_index().file().cloned());
        self.shared.dir.keep_open(active.base_offset(), Arc::new(files));
        Ok(Arc::new(SealedSegment::just_sealed(active, true)))
    }

    /// Gives back disk blocks behind the end of the active segment.
    pub(super) fn release_surplus(&mut self) -> Result<(), StorageError> {
        let size_bytes = u64::from(self.active.index().size_bytes());
        if self.allocated_to > size_bytes {
            self.active
                .file()
                .truncate(size_bytes)
                .context("truncate", self.active.path())?;
            self.allocated_to = size_bytes;
        }
        Ok(())
    }
}

/// The common write failed: what was to be in it is refused.
fn refuse_from(results: &mut [Result<Appended, AppendError>], first: usize, error: &StorageError) {
    for result in results[first..].iter_mut().filter(|result| result.is_ok()) {
        *result = Err(error.clone().into());
    }
}
