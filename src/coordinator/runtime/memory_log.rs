//! A log in memory for tests: its high watermark can be held back and its appends made to fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::record::control::{EndTxnMarker, TransactionResult};
use protocol::record::{BatchHeader, ValidatedBatch, batches};
use storage::producer::VerificationGuard;
use tokio::sync::watch;

use crate::partition::marker::Marker;

use super::log::{CoordinatorAppendError, CoordinatorLog, CoordinatorReadError, LogOffsets, WaitFuture};

#[derive(Debug, Default)]
pub(in crate::coordinator) struct MemoryLog {
    partitions: Mutex<BTreeMap<i32, LogOfOne>>,
}

#[derive(Debug)]
struct LogOfOne {
    batches: Vec<Bytes>,
    log_start_offset: i64,
    log_end_offset: i64,
    high_watermark: watch::Sender<i64>,
    holds_watermark: bool,
    append_error: Option<CoordinatorAppendError>,
    refuses_transactions: bool,
    unreadable: bool,
    not_durable: bool,
    max_batch_bytes: usize,
}

impl MemoryLog {
    pub(in crate::coordinator) fn new(partitions: i32) -> Arc<Self> {
        let log = Self::default();
        for partition in 0..partitions {
            let empty = LogOfOne {
                batches: Vec::new(),
                log_start_offset: 0,
                log_end_offset: 0,
                high_watermark: watch::Sender::new(0),
                holds_watermark: false,
                append_error: None,
                refuses_transactions: false,
                unreadable: false,
                not_durable: false,
                max_batch_bytes: usize::MAX,
            };
            log.partitions().insert(partition, empty);
        }
        Arc::new(log)
    }

    fn partitions(&self) -> MutexGuard<'_, BTreeMap<i32, LogOfOne>> {
        self.partitions.lock().expect("not poisoned")
    }

    fn with<R>(&self, partition: i32, call: impl FnOnce(&mut LogOfOne) -> R) -> R {
        call(self.partitions().get_mut(&partition).expect("a partition of the test"))
    }

    /// From now on appends are not committed, until [`Self::release_watermark`].
    pub(in crate::coordinator) fn hold_watermark(&self, partition: i32) {
        self.with(partition, |log| log.holds_watermark = true);
    }

    pub(in crate::coordinator) fn release_watermark(&self, partition: i32) {
        self.with(partition, |log| {
            log.holds_watermark = false;
            log.high_watermark.send_replace(log.log_end_offset);
        });
    }

    pub(in crate::coordinator) fn fail_appends(&self, partition: i32, error: Option<CoordinatorAppendError>) {
        self.with(partition, |log| log.append_error = error);
    }

    /// From now on transactional batches are refused, as if nobody had verified them.
    pub(in crate::coordinator) fn refuse_transactions(&self, partition: i32) {
        self.with(partition, |log| log.refuses_transactions = true);
    }

    /// The headers of all batches.
    pub(in crate::coordinator) fn headers(&self, partition: i32) -> Vec<BatchHeader> {
        let header = |bytes: &Bytes| batches(bytes).next().expect("one").expect("whole").header;
        self.with(partition, |log| log.batches.iter().map(header).collect())
    }

    pub(in crate::coordinator) fn fail_reads(&self, partition: i32) {
        self.with(partition, |log| log.unreadable = true);
    }

    /// Whether what is written is safe on the disk.
    pub(in crate::coordinator) fn set_durable(&self, partition: i32, durable: bool) {
        self.with(partition, |log| log.not_durable = !durable);
    }

    /// What the topic allows.
    pub(in crate::coordinator) fn set_max_batch_bytes(&self, partition: i32, max_batch_bytes: usize) {
        self.with(partition, |log| log.max_batch_bytes = max_batch_bytes);
    }

    /// The length of the largest batch.
    pub(in crate::coordinator) fn largest_batch_bytes(&self, partition: i32) -> usize {
        self.with(partition, |log| log.batches.iter().map(Bytes::len).max().unwrap_or(0))
    }

    /// How many batches the partition has, and how many records.
    pub(in crate::coordinator) fn size(&self, partition: i32) -> (usize, i64) {
        self.with(partition, |log| (log.batches.len(), log.log_end_offset))
    }
}

impl CoordinatorLog for MemoryLog {
    fn append(
        &self,
        partition: i32,
        mut batch: ValidatedBatch,
        _: Option<VerificationGuard>,
    ) -> Result<i64, CoordinatorAppendError> {
        self.with(partition, |log| {
            if let Some(error) = log.append_error {
                return Err(error);
            }
            let attributes = batch.header().attributes;
            if log.refuses_transactions && attributes.is_transactional() && !attributes.is_control() {
                return Err(CoordinatorAppendError::Refused(ErrorCode::InvalidTxnState));
            }
            batch.assign(log.log_end_offset, 0, None);
            log.batches.push(batch.to_bytes());
            log.log_end_offset = batch.header().next_offset();
            if !log.holds_watermark {
                log.high_watermark.send_replace(log.log_end_offset);
            }
            Ok(log.log_end_offset - 1)
        })
    }

    fn append_marker(&self, partition: i32, marker: &Marker) -> Result<i64, CoordinatorAppendError> {
        let result = if marker.committed {
            TransactionResult::Commit
        } else {
            TransactionResult::Abort
        };
        let content = EndTxnMarker {
            result,
            coordinator_epoch: marker.coordinator_epoch,
        };
        let batch = content.build(marker.producer_id, marker.producer_epoch, 0);
        self.append(partition, batch, None)
    }

    fn max_batch_bytes(&self, partition: i32) -> usize {
        self.with(partition, |log| log.max_batch_bytes)
    }

    fn read(&self, partition: i32, from_offset: i64, max_bytes: usize) -> Result<Bytes, CoordinatorReadError> {
        self.with(partition, |log| {
            if log.unreadable {
                return Err(CoordinatorReadError::Storage("unreadable".to_owned()));
            }
            let mut read = Vec::new();
            for bytes in &log.batches {
                let batch = batches(bytes).next().expect("one").expect("whole");
                let fits = read.is_empty() || read.len() + bytes.len() <= max_bytes;
                if batch.header.next_offset() > from_offset && fits {
                    read.extend_from_slice(bytes);
                }
            }
            Ok(read.into())
        })
    }

    fn offsets(&self, partition: i32) -> Option<LogOffsets> {
        let partitions = self.partitions();
        let log = partitions.get(&partition)?;
        let high_watermark = *log.high_watermark.borrow();
        Some(LogOffsets {
            log_start_offset: log.log_start_offset,
            high_watermark,
            log_end_offset: log.log_end_offset,
        })
    }

    fn forget_before(&self, partition: i32, offset: i64, end_offset: i64) -> bool {
        self.with(partition, |log| {
            if log.not_durable || *log.high_watermark.borrow() < end_offset {
                return false;
            }
            assert!(
                offset <= end_offset && end_offset <= log.log_end_offset,
                "what is kept is there"
            );
            log.log_start_offset = log.log_start_offset.max(offset);
            let ends_before = |bytes: &Bytes| {
                let batch = batches(bytes).next().expect("one").expect("whole");
                batch.header.next_offset() <= offset
            };
            log.batches.retain(|bytes| !ends_before(bytes));
            true
        })
    }

    fn wait_high_watermark(&self, partition: i32, end_offset: i64) -> WaitFuture {
        let mut high_watermark = self.with(partition, |log| log.high_watermark.subscribe());
        Box::pin(async move {
            high_watermark
                .wait_for(|offset| *offset >= end_offset)
                .await
                .expect("the log lives as long as the test");
        })
    }
}
