//! One partition that this broker leads: writer behind a short lock, readers without one, waiters beside.
//!
//! Invariants: the lock is never held over an await, and at most one partition's lock at a time; the leader epoch that
//! readers see is the one that the writer stamps into batches; nothing is appended before that epoch is recorded in
//! the log's epoch cache.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use protocol::error_code::ErrorCode;
use protocol::types::{BrokerId, LeaderEpoch, Now, Offset, PartitionIndex, TopicId};
use storage::error::StorageError;
use storage::log::append::AppendError;
use storage::log::reader::LogReader;
use storage::log::watermarks::Watermarks;
use storage::log::writer::LogWriter;
use storage::producer::ProducerEntry;

use crate::partition::fetch_wait::FetchWaiter;
use crate::partition::settings::PartitionSettings;
use crate::partition::waiters::{FetchRegistration, Waiters};
use crate::replication::leader::LeaderState;

/// The part behind the lock.
#[derive(Debug)]
pub(super) struct PartitionWriter {
    /// `None` once the partition was closed.
    pub(super) log: Option<LogWriter>,
    pub(super) leader: LeaderState,
}

/// A partition, shared by `Arc`.
#[derive(Debug)]
pub struct Partition {
    topic: Arc<str>,
    topic_id: TopicId,
    index: PartitionIndex,
    leader_epoch: AtomicI32,
    /// Set before the waiters are told, so that nobody begins to wait afterwards.
    closed: AtomicBool,
    pub(super) writer: Mutex<PartitionWriter>,
    pub(super) reader: LogReader,
    pub(super) settings: ArcSwap<PartitionSettings>,
    pub(super) waiters: Arc<Waiters>,
}

/// Which partition this is.
#[derive(Debug, Clone)]
pub struct PartitionName {
    /// Topic name.
    pub topic: Arc<str>,
    /// Topic id.
    pub topic_id: TopicId,
    /// Index in the topic.
    pub index: PartitionIndex,
}

/// How this broker leads a partition, from the metadata image.
#[derive(Debug, Clone, Copy)]
pub struct Leadership<'a> {
    /// This broker.
    pub node_id: BrokerId,
    /// The epoch in which it leads.
    pub leader_epoch: LeaderEpoch,
    /// All that have it, in sync or not.
    pub replicas: &'a [BrokerId],
    /// The in-sync set.
    pub isr: &'a [BrokerId],
}

impl Partition {
    /// Takes an opened log and becomes its leader.
    ///
    /// # Errors
    /// When the epoch cannot be recorded in the log's epoch cache.
    pub fn lead(
        name: PartitionName,
        mut log: LogWriter,
        reader: LogReader,
        leadership: Leadership<'_>,
        settings: Arc<PartitionSettings>,
    ) -> Result<Arc<Self>, StorageError> {
        log.assign_epoch(leadership.leader_epoch)?;
        if settings.acks_are_durable() {
            // what was acknowledged before must be readable from the first moment on
            log.flush()?;
        }
        let watermarks = reader.watermarks();
        let mut leader = LeaderState::new(
            leadership.node_id,
            leadership.leader_epoch,
            leadership.isr,
            leadership.replicas.len(),
            settings.min_insync_replicas,
            watermarks.high_watermark,
        );
        // what recovery left in the log is as good as this replica gets: alone, it is the committed log
        let end_offset = counted_end_offset(&reader, &settings);
        if let Some(high_watermark) = leader.on_local_progress(end_offset) {
            log.set_high_watermark(high_watermark);
        }
        let partition = Arc::new(Self {
            topic: name.topic,
            topic_id: name.topic_id,
            index: name.index,
            leader_epoch: AtomicI32::new(leadership.leader_epoch),
            closed: AtomicBool::new(false),
            writer: Mutex::new(PartitionWriter { log: Some(log), leader }),
            reader,
            settings: ArcSwap::new(settings),
            waiters: Arc::new(Waiters::default()),
        });
        let weak = Arc::downgrade(&partition);
        partition.reader.on_durable(Arc::new(move |durable_end_offset| {
            if let Some(partition) = weak.upgrade() {
                partition.on_durable(durable_end_offset);
            }
        }));
        // the flusher may have synced before there was somebody to tell
        partition.on_durable(partition.reader.durable_offset());
        Ok(partition)
    }

    /// Topic name.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Topic id.
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Index in the topic.
    pub fn index(&self) -> PartitionIndex {
        self.index
    }

    /// The epoch in which this broker leads.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch.load(Ordering::Acquire)
    }

    /// Log start, last stable offset, high watermark and log end, as one consistent set.
    pub fn watermarks(&self) -> Watermarks {
        self.reader.watermarks()
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<PartitionSettings> {
        self.settings.load_full()
    }

    /// Everything below this offset needs no scan after a crash.
    pub fn recovery_point(&self) -> Offset {
        self.reader.recovery_point()
    }

    /// Makes the log begin at `offset`, at most at the last stable offset: its owner has written again what is needed of
    /// what lies before, but cannot write again what belongs to a transaction that is open.
    ///
    /// # Errors
    /// `NotLeader` when the partition was closed; storage errors.
    pub fn forget_before(&self, offset: Offset) -> Result<(), PartitionError> {
        self.check_open()?;
        let mut writer = self.lock();
        let log = writer.log.as_mut().ok_or(PartitionError::NotLeader)?;
        Ok(log.advance_log_start(offset.min(self.reader.watermarks().last_stable_offset))?)
    }

    /// Bytes in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.reader.size_bytes()
    }

    /// Base offset of the segment that is written; files of older ones do not change any more.
    pub fn active_base_offset(&self) -> Offset {
        self.reader.active_base_offset()
    }

    /// Bytes in the segment that is written.
    pub fn active_size_bytes(&self) -> u64 {
        self.reader.active_size_bytes()
    }

    /// Begins a new segment, unless the one that is written is empty.
    ///
    /// # Errors
    /// Disk failures.
    pub fn roll(&self, now: Now) -> Result<(), StorageError> {
        match &mut self.lock().log {
            Some(log) => log.roll_active(now),
            None => Ok(()),
        }
    }

    /// What is remembered of the producers that write here, by producer id.
    ///
    /// # Errors
    /// `NotLeader` and `Offline`.
    pub fn active_producers(&self) -> Result<Vec<ProducerEntry>, PartitionError> {
        self.check_open()?;
        let writer = self.lock();
        let log = writer.log.as_ref().ok_or(PartitionError::NotLeader)?;
        Ok(log.producers().entries().cloned().collect())
    }

    /// Compares the epoch that a client believes in with ours (KIP-320): -1 asks for no check, in a fetch any negative one.
    ///
    /// # Errors
    /// `FencedLeaderEpoch` when the client is behind, `UnknownLeaderEpoch` when it is ahead.
    pub fn check_leader_epoch(&self, current_leader_epoch: LeaderEpoch) -> Result<(), PartitionError> {
        match current_leader_epoch {
            -1 => Ok(()),
            epoch if epoch < self.leader_epoch() => Err(PartitionError::FencedLeaderEpoch),
            epoch if epoch > self.leader_epoch() => Err(PartitionError::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// The topic's configuration changed.
    pub fn set_settings(&self, settings: Arc<PartitionSettings>) {
        let mut writer = self.lock();
        let moved = writer.leader.on_min_insync_replicas(settings.min_insync_replicas);
        if let Some(log) = &mut writer.log {
            log.set_config(Arc::clone(&settings.log));
            if let Some(high_watermark) = moved {
                log.set_high_watermark(high_watermark);
            }
        }
        self.settings.store(settings);
    }

    /// The metadata names a new leader epoch or in-sync set, with this broker still as the leader.
    ///
    /// # Errors
    /// When the epoch cannot be recorded in the log's epoch cache.
    pub fn set_leadership(&self, leadership: Leadership<'_>) -> Result<(), StorageError> {
        let settings = self.settings.load();
        let mut guard = self.lock();
        let writer = &mut *guard;
        let Some(log) = &mut writer.log else { return Ok(()) };
        log.assign_epoch(leadership.leader_epoch)?;
        let watermarks = self.reader.watermarks();
        let mut leader = LeaderState::new(
            leadership.node_id,
            leadership.leader_epoch,
            leadership.isr,
            leadership.replicas.len(),
            settings.min_insync_replicas,
            watermarks.high_watermark,
        );
        let end_offset = counted_end_offset(&self.reader, &settings);
        if let Some(high_watermark) = leader.on_local_progress(end_offset) {
            log.set_high_watermark(high_watermark);
        }
        writer.leader = leader;
        self.leader_epoch.store(leadership.leader_epoch, Ordering::Release);
        drop(guard);
        self.waiters.end_all();
        Ok(())
    }

    /// Ends the partition: waiters are told, the log is handed out to be closed or deleted. `None` the second time.
    pub fn resign(&self) -> Option<LogWriter> {
        let log = self.lock().log.take();
        self.closed.store(true, Ordering::SeqCst);
        self.waiters.end_all();
        log
    }

    /// Forgets idempotent producers that have not written for `producer.id.expiration.ms`.
    pub fn remove_expired_producers(&self, now: Now) {
        if let Some(log) = &mut self.lock().log {
            log.remove_expired_producers(now);
        }
    }

    /// Lets everybody who waits look again: the log went offline.
    pub fn end_waits(&self) {
        self.waiters.end_all();
    }

    /// Registers a fetch, or a session, that is to hear of what happens here under this slot number.
    pub fn watch(&self, waiter: &Arc<FetchWaiter>, slot: u32) -> FetchRegistration {
        self.waiters.register_fetch(waiter, slot)
    }

    /// Whether the registration is one with this partition.
    pub fn is_watched_by(&self, registration: &FetchRegistration) -> bool {
        registration.is_with(&self.waiters)
    }

    /// Tells fetch sessions to look: something that they report has changed, without any bytes becoming readable (the
    /// log start moved).
    pub fn tell_sessions(&self) {
        self.waiters.on_news();
    }

    /// Whether the partition ended here: it was deleted, or its log is handed to somebody else.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Refuses when the partition was closed or its log is offline.
    ///
    /// # Errors
    /// `NotLeader` and `Offline`.
    /// Whether it is led here and its log can be used.
    pub fn is_online(&self) -> bool {
        self.check_open().is_ok()
    }

    pub(super) fn check_open(&self) -> Result<(), PartitionError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(PartitionError::NotLeader);
        }
        if self.reader.is_offline() {
            return Err(PartitionError::Offline);
        }
        Ok(())
    }

    /// Waits until everything below `end_offset` is committed; false when the partition ended before.
    pub async fn wait_committed(&self, end_offset: Offset) -> bool {
        let receiver = self.waiters.register_commit(end_offset);
        if self.watermarks().high_watermark >= end_offset {
            return true;
        }
        if self.check_open().is_err() {
            return false;
        }
        receiver.await.is_ok()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, PartitionWriter> {
        self.writer.lock().expect("a panic under this lock ends the process")
    }

    fn on_durable(&self, durable_end_offset: Offset) {
        let mut writer = self.lock();
        let moved = writer.leader.on_local_progress(durable_end_offset);
        let (Some(high_watermark), Some(log)) = (moved, &mut writer.log) else {
            return;
        };
        log.set_high_watermark(high_watermark);
        drop(writer);
        // how many bytes became readable is not known here: a waiting fetch looks for itself
        self.waiters.on_advance(high_watermark, usize::MAX);
    }
}

/// How far this replica's own log counts for the high watermark: to its end, or, where an acknowledgement means a durable
/// write, as far as the disk has it.
fn counted_end_offset(reader: &LogReader, settings: &PartitionSettings) -> Offset {
    if settings.acks_are_durable() {
        reader.durable_offset()
    } else {
        reader.watermarks().log_end_offset
    }
}

/// Why a partition refuses.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// The partition is being closed or deleted here.
    #[error("this broker does not lead the partition any more")]
    NotLeader,
    /// The log failed; its directory is out of use until a restart.
    #[error("the log is offline after a disk failure")]
    Offline,
    /// acks=all with too few in-sync replicas.
    #[error("fewer in-sync replicas than min.insync.replicas")]
    NotEnoughReplicas,
    /// The client's leader epoch is older than ours.
    #[error("the client's leader epoch is old")]
    FencedLeaderEpoch,
    /// The client's leader epoch is newer than ours.
    #[error("the client's leader epoch is not known yet")]
    UnknownLeaderEpoch,
    /// Outside [log start, log end].
    #[error("offset {offset} is outside of the log [{log_start_offset}, {log_end_offset}]")]
    OffsetOutOfRange {
        /// What was asked for.
        offset: Offset,
        /// First offset of the log.
        log_start_offset: Offset,
        /// Offset behind the last record.
        log_end_offset: Offset,
    },
    /// A topic that only compacts keeps the newest record of each key.
    #[error("records of a topic with cleanup.policy=compact cannot be deleted")]
    CompactedOnly,
    /// The log refused the batch.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl PartitionError {
    /// Kafka's code for this error.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
            Self::NotEnoughReplicas => ErrorCode::NotEnoughReplicas,
            Self::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
            Self::UnknownLeaderEpoch => ErrorCode::UnknownLeaderEpoch,
            Self::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::CompactedOnly => ErrorCode::PolicyViolation,
            Self::Append(error) => error.error_code(),
            Self::Offline | Self::Storage(_) => ErrorCode::KafkaStorageError,
        }
    }
}
