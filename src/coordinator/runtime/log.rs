//! The log under a coordinator, as the coordinator needs it: the partitions of its internal topic.
//!
//! Invariant: calls for one partition come from the one task that owns its shard; a partition that is not led here
//! refuses appends and reads.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::record::ValidatedBatch;
use storage::producer::VerificationGuard;

use crate::partition::marker::Marker;

/// A future without a result.
pub type WaitFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The internal topic's partitions on this broker.
pub trait CoordinatorLog: Send + Sync + fmt::Debug {
    /// Appends a batch and gives the offset of its last record; the guard is that of a transactional batch. When it fails
    /// with anything but [`CoordinatorAppendError::Storage`], nothing of the batch is in the log.
    ///
    /// # Errors
    /// When the batch cannot be appended here or now.
    fn append(
        &self,
        partition: i32,
        batch: ValidatedBatch,
        guard: Option<VerificationGuard>,
    ) -> Result<i64, CoordinatorAppendError>;

    /// Appends the marker that ends a producer's transaction and gives its offset. Failures are as those of
    /// [`Self::append`].
    ///
    /// # Errors
    /// When the marker cannot be appended here or now, or its producer or coordinator is an old one.
    fn append_marker(&self, partition: i32, marker: &Marker) -> Result<i64, CoordinatorAppendError>;

    /// How large a batch of several requests, or of records that may be split, should be at the most. What cannot be
    /// split may be larger.
    fn max_batch_bytes(&self, partition: i32) -> usize;

    /// Whole batches from the one that holds `from_offset` (or the first after it), about `max_bytes` of them but at
    /// least one; empty at the log's end.
    ///
    /// # Errors
    /// When the partition is not here or cannot be read.
    fn read(&self, partition: i32, from_offset: i64, max_bytes: usize) -> Result<Bytes, CoordinatorReadError>;

    /// Where the log begins and ends; `None` when this broker does not lead the partition.
    fn offsets(&self, partition: i32) -> Option<LogOffsets>;

    /// Makes the log begin at `offset`, once everything below `end_offset` is committed and safe on the disk; false as
    /// long as it is not.
    fn forget_before(&self, partition: i32, offset: i64, end_offset: i64) -> bool;

    /// Completes when the high watermark is at `end_offset` or above it. When the partition is no longer led here it may
    /// never complete; it must not complete early.
    fn wait_high_watermark(&self, partition: i32, end_offset: i64) -> WaitFuture;
}

/// The ends of a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOffsets {
    /// First offset.
    pub log_start_offset: i64,
    /// End of what is committed, exclusive.
    pub high_watermark: i64,
    /// End of what is written, exclusive.
    pub log_end_offset: i64,
}

/// Why a batch was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoordinatorAppendError {
    /// This broker does not lead the partition.
    #[error("not the leader of the partition")]
    NotLeader,
    /// Too few replicas are in sync.
    #[error("not enough replicas in sync")]
    NotEnoughReplicas,
    /// The batch is larger than the topic allows.
    #[error("the batch is larger than the topic allows")]
    TooLarge,
    /// The producer of a transactional batch or of a marker, or the marker's coordinator, may not write this.
    #[error("refused: {0:?}")]
    Refused(ErrorCode),
    /// The write failed: what is in the log is not known.
    #[error("storage error")]
    Storage,
}

impl From<CoordinatorAppendError> for ErrorCode {
    /// What clients of a group are told, so that they look the coordinator up again or retry (Kafka:
    /// `CoordinatorOperationExceptionHelper`).
    fn from(error: CoordinatorAppendError) -> Self {
        match error {
            CoordinatorAppendError::NotLeader | CoordinatorAppendError::Storage => Self::NotCoordinator,
            CoordinatorAppendError::NotEnoughReplicas => Self::CoordinatorNotAvailable,
            CoordinatorAppendError::TooLarge => Self::UnknownServerError,
            CoordinatorAppendError::Refused(error) => error,
        }
    }
}

/// Why a partition cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoordinatorReadError {
    /// This broker does not lead the partition.
    #[error("not the leader of the partition")]
    NotLeader,
    /// The read failed.
    #[error("storage error: {0}")]
    Storage(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn append_errors_become_kafkas_codes() {
        let table = [
            (CoordinatorAppendError::NotLeader, ErrorCode::NotCoordinator),
            (
                CoordinatorAppendError::NotEnoughReplicas,
                ErrorCode::CoordinatorNotAvailable,
            ),
            (CoordinatorAppendError::TooLarge, ErrorCode::UnknownServerError),
            (CoordinatorAppendError::Storage, ErrorCode::NotCoordinator),
            (
                CoordinatorAppendError::Refused(ErrorCode::InvalidTxnState),
                ErrorCode::InvalidTxnState,
            ),
        ];
        for (error, code) in table {
            assert_eq!(ErrorCode::from(error), code, "{error:?}");
        }
    }
}
