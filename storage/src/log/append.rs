//! Owns what an append answers and how a batch is read by the producer checks. Pure.
//!
//! Invariant: the mapping of refusals to Kafka's codes is total and stands only here.

use protocol::error_code::ErrorCode;
use protocol::record::control::{EndTxnMarker, TransactionResult};
use protocol::record::{BatchHeader, BatchView, NO_SEQUENCE, ValidatedBatch};

use crate::error::StorageError;
use crate::producer::{
    AppendOrigin, Checked, CompletedTxn, PendingAppend, ProducerBatch, ProducerError, ProducerMarker, ProducerStates,
    Verification,
};

/// What holds for the batches of one call besides their own content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendRules {
    pub(crate) verification: Verification,
    /// Of the request that a marker comes from.
    pub(crate) transaction_version: i16,
}

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Time the log gave it; -1 where records keep their own. For a duplicate, as in Kafka, the original's timestamp.
    pub log_append_time_ms: i64,
    /// It was there already; the offsets are those of the original.
    pub duplicate: bool,
}

/// Why a batch was not appended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The producer's sequence numbers, epoch or transaction forbid it.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The batch is larger than a segment may be.
    #[error("batch of {size_bytes} bytes is larger than segment.bytes = {segment_bytes}")]
    RecordListTooLarge {
        /// Size of the batch.
        size_bytes: usize,
        /// The limit.
        segment_bytes: u32,
    },
    /// A control batch that cannot be read.
    #[error("control batch is malformed: {why}")]
    MalformedControlBatch {
        /// What is wrong.
        why: String,
    },
    /// The disk failed; nothing of the batch is in the log.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl AppendError {
    /// Kafka's code for this refusal.
    #[must_use]
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Producer(error) => error.error_code(),
            Self::RecordListTooLarge { .. } => ErrorCode::RecordListTooLarge,
            Self::MalformedControlBatch { .. } => ErrorCode::InvalidRecord,
            Self::Storage(_) => ErrorCode::KafkaStorageError,
        }
    }
}

/// Runs the producer checks for a batch that has its offsets. What is accepted is pending until the write succeeded.
pub(crate) fn check_producer(
    pending: &mut PendingAppend,
    states: &ProducerStates,
    batch: &ValidatedBatch,
    rules: AppendRules,
) -> Result<Checked, AppendError> {
    let header = batch.header();
    if !header.has_producer_id() {
        return Ok(Checked::New);
    }
    if header.attributes.is_control() {
        let view = BatchView::parse(batch.bytes()).map_err(malformed)?;
        if let Some(marker) = marker_of(header, &view).map_err(malformed)? {
            pending.check_marker(states, &marker, AppendOrigin::Coordinator, rules.transaction_version)?;
        }
        return Ok(Checked::New);
    }
    // Batches without sequence numbers come from the group coordinator only: produce requests with them are refused.
    let origin = if header.base_sequence == NO_SEQUENCE {
        AppendOrigin::Coordinator
    } else {
        AppendOrigin::Client
    };
    Ok(pending.check(states, &producer_batch(header), origin, rules.verification)?)
}

/// Takes a batch that is in the log already into the producer states. The transaction that it ends, if it is a marker.
pub(crate) fn replay_producer(
    states: &mut ProducerStates,
    header: &BatchHeader,
    marker: Option<&ProducerMarker>,
) -> Option<CompletedTxn> {
    if !header.has_producer_id() {
        return None;
    }
    if !header.attributes.is_control() {
        states.replay(&producer_batch(header));
        return None;
    }
    states.replay_marker(marker?)
}

/// The transaction marker in a control batch, if it is one. `header` holds the offsets.
pub(crate) fn marker_of(
    header: &BatchHeader,
    view: &BatchView<'_>,
) -> Result<Option<ProducerMarker>, protocol::record::BatchError> {
    let marker = EndTxnMarker::parse(view)?;
    Ok(marker.map(|marker| ProducerMarker {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        offset: header.base_offset,
        timestamp_ms: header.max_timestamp,
        coordinator_epoch: marker.coordinator_epoch,
        aborted: marker.result == TransactionResult::Abort,
    }))
}

fn producer_batch(header: &BatchHeader) -> ProducerBatch {
    ProducerBatch {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        last_sequence: header.last_sequence(),
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        max_timestamp_ms: header.max_timestamp,
        is_transactional: header.attributes.is_transactional(),
    }
}

fn malformed(error: protocol::record::BatchError) -> AppendError {
    AppendError::MalformedControlBatch { why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn every_refusal_has_its_code() {
        let sequence = ProducerError::OutOfOrderSequence {
            producer_id: 1,
            producer_epoch: 0,
            current_epoch: 0,
            offset: 5,
            base_sequence: 9,
            last_sequence: 3,
        };
        let cases = [
            (AppendError::Producer(sequence), ErrorCode::OutOfOrderSequenceNumber),
            (
                AppendError::RecordListTooLarge {
                    size_bytes: 2,
                    segment_bytes: 1,
                },
                ErrorCode::RecordListTooLarge,
            ),
            (
                AppendError::MalformedControlBatch { why: String::new() },
                ErrorCode::InvalidRecord,
            ),
            (
                StorageError::NoSpace { path: PathBuf::new() }.into(),
                ErrorCode::KafkaStorageError,
            ),
        ];
        for (error, code) in cases {
            assert_eq!(error.error_code(), code, "{error}");
        }
    }
}
