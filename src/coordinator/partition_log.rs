//! The partitions of an internal topic on this broker, as coordinators see them.
//!
//! Invariant: nothing here waits for a disk but the loading of a shard; what is handed out are whole batches.

use std::sync::Arc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::record::{ValidatedBatch, batches};
use storage::log::append::AppendError;
use storage::producer::VerificationGuard;

use crate::coordinator::runtime::log::{
    CoordinatorAppendError, CoordinatorLog, CoordinatorReadError, LogOffsets, WaitFuture,
};
use crate::env::Env;
use crate::partition::append::AppendOptions;
use crate::partition::marker::Marker;
use crate::partition::partition::{Partition, PartitionError};
use crate::partition::read::Isolation;
use crate::partition::registry::PartitionRegistry;

/// An internal topic's partitions in the registry.
#[derive(Debug)]
pub struct PartitionLog {
    topic: &'static str,
    registry: Arc<PartitionRegistry>,
    env: Env,
}

impl PartitionLog {
    /// The partitions of `topic`.
    pub fn new(topic: &'static str, registry: Arc<PartitionRegistry>, env: Env) -> Self {
        Self { topic, registry, env }
    }

    fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        self.registry.partition(self.topic, index)
    }
}

impl CoordinatorLog for PartitionLog {
    fn append(
        &self,
        partition: i32,
        batch: ValidatedBatch,
        guard: Option<VerificationGuard>,
    ) -> Result<i64, CoordinatorAppendError> {
        let partition = self.partition(partition).ok_or(CoordinatorAppendError::NotLeader)?;
        let options = AppendOptions {
            all_replicas: true,
            guard,
        };
        let mut results = partition
            .append_as_leader(vec![batch], options, self.env.now())
            .map_err(|e| append_error(&e))?;
        let appended = results
            .pop()
            .expect("one result per batch")
            .map_err(|error| append_error(&error))?;
        Ok(appended.appended.last_offset)
    }

    fn append_marker(&self, partition: i32, marker: &Marker) -> Result<i64, CoordinatorAppendError> {
        let partition = self.partition(partition).ok_or(CoordinatorAppendError::NotLeader)?;
        let appended = partition
            .append_marker(marker, self.env.now())
            .map_err(|error| append_error(&error))?;
        Ok(appended.appended.last_offset)
    }

    // The topic takes over `message.max.bytes` of the broker, which is made for clients' messages: a smaller one must
    // not keep groups from forming or being written again. Only `segment.bytes` is a limit for every batch.
    fn max_batch_bytes(&self, partition: i32) -> usize {
        self.partition(partition).map_or(usize::MAX, |partition| {
            let settings = partition.settings();
            settings.log.max_message_bytes.min(settings.log.segment_bytes) as usize
        })
    }

    fn read(&self, partition: i32, from_offset: i64, max_bytes: usize) -> Result<Bytes, CoordinatorReadError> {
        let partition = self.partition(partition).ok_or(CoordinatorReadError::NotLeader)?;
        let failed = |error: &dyn std::fmt::Display| CoordinatorReadError::Storage(error.to_string());
        let read = partition
            .read(from_offset, Isolation::LogEnd, max_bytes, true)
            .map_err(|error| failed(&error))?;
        let Some(slice) = read.records else {
            return Ok(Bytes::new());
        };
        let bytes = slice.read().map_err(|error| failed(&error))?;
        // the byte limit may have cut the last batch
        let whole: usize = batches(&bytes)
            .map_while(Result::ok)
            .map(|batch| batch.bytes().len())
            .sum();
        Ok(bytes.slice(..whole))
    }

    fn offsets(&self, partition: i32) -> Option<LogOffsets> {
        let watermarks = self.partition(partition)?.watermarks();
        Some(LogOffsets {
            log_start_offset: watermarks.log_start_offset,
            high_watermark: watermarks.high_watermark,
            log_end_offset: watermarks.log_end_offset,
        })
    }

    fn forget_before(&self, partition: i32, offset: i64, end_offset: i64) -> bool {
        let Some(partition) = self.partition(partition) else {
            return false;
        };
        let is_safe = partition.recovery_point() >= end_offset && partition.watermarks().high_watermark >= end_offset;
        is_safe
            && partition
                .forget_before(offset)
                .inspect_err(|error| tracing::warn!(%error, "cannot move the start of a coordinator's log"))
                .is_ok()
    }

    fn wait_high_watermark(&self, partition: i32, end_offset: i64) -> WaitFuture {
        let partition = self.partition(partition);
        Box::pin(async move {
            let committed = match partition {
                Some(partition) => partition.wait_committed(end_offset).await,
                None => false,
            };
            if !committed {
                // the shard is told of the end of its partition by another way; this must not look like success
                std::future::pending::<()>().await;
            }
        })
    }
}

fn append_error(error: &PartitionError) -> CoordinatorAppendError {
    if let PartitionError::Append(AppendError::Storage(storage)) = error
        && storage.is_no_space()
    {
        // nothing of it is in the log, and there may be room again: the client tries again
        return CoordinatorAppendError::NotEnoughReplicas;
    }
    match error.error_code() {
        ErrorCode::NotEnoughReplicas => CoordinatorAppendError::NotEnoughReplicas,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => CoordinatorAppendError::TooLarge,
        ErrorCode::KafkaStorageError => {
            tracing::error!(%error, "cannot write a coordinator's state");
            CoordinatorAppendError::Storage
        }
        refused @ (ErrorCode::InvalidProducerEpoch
        | ErrorCode::InvalidTxnState
        | ErrorCode::TransactionCoordinatorFenced) => CoordinatorAppendError::Refused(refused),
        _ => CoordinatorAppendError::NotLeader,
    }
}
