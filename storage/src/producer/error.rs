//! Why a batch or marker of a producer is refused.
//!
//! Invariant: each kind has exactly one Kafka error code. (Kafka's `ProducerAppendInfo` throws the same.)

use protocol::error_code::ErrorCode;

/// Refusal of a batch or marker; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// The sequence number does not follow the last one (or, in a new epoch, is not 0).
    #[error(
        "out of order sequence number for producer {producer_id} epoch {producer_epoch} at offset {offset}: \
         {base_sequence} (incoming), {last_sequence} (last written, of epoch {current_epoch})"
    )]
    OutOfOrderSequence {
        /// The producer id.
        producer_id: i64,
        /// Epoch in the batch.
        producer_epoch: i16,
        /// Newest epoch known.
        current_epoch: i16,
        /// Offset the batch would have got.
        offset: i64,
        /// First sequence number of the batch.
        base_sequence: i32,
        /// Last sequence number written; -1 = none.
        last_sequence: i32,
    },
    /// The epoch is older than the newest known one (for a marker of transaction version 2: not newer).
    #[error(
        "epoch {producer_epoch} of producer {producer_id} at offset {offset} is behind the last seen epoch {current_epoch}"
    )]
    InvalidProducerEpoch {
        /// The producer id.
        producer_id: i64,
        /// Epoch in the batch.
        producer_epoch: i16,
        /// Newest epoch known.
        current_epoch: i16,
        /// Offset the batch would have got.
        offset: i64,
    },
    /// A non-transactional batch while the producer has a transaction open here.
    #[error("non-transactional batch of producer {producer_id} at offset {offset} while its transaction is open")]
    InvalidTxnState {
        /// The producer id.
        producer_id: i64,
        /// Offset the batch would have got.
        offset: i64,
    },
    /// A transactional batch whose producer has no transaction open here and does not show that it may begin one.
    #[error(
        "transactional batch of producer {producer_id} epoch {producer_epoch} at offset {offset} is part of no open transaction"
    )]
    NotVerified {
        /// The producer id.
        producer_id: i64,
        /// Epoch in the batch.
        producer_epoch: i16,
        /// Offset the batch would have got.
        offset: i64,
    },
    /// A marker of a transaction coordinator that has been replaced.
    #[error(
        "marker for producer {producer_id} at offset {offset} comes from coordinator epoch {coordinator_epoch}, \
         but epoch {current_epoch} has written already"
    )]
    TransactionCoordinatorFenced {
        /// The producer id.
        producer_id: i64,
        /// Epoch in the marker.
        coordinator_epoch: i32,
        /// Newest epoch known.
        current_epoch: i32,
        /// Offset the marker would have got.
        offset: i64,
    },
}

impl ProducerError {
    /// What the client is told.
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::InvalidTxnState { .. } | Self::NotVerified { .. } => ErrorCode::InvalidTxnState,
            Self::TransactionCoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
        }
    }
}

impl From<&ProducerError> for ErrorCode {
    fn from(error: &ProducerError) -> Self {
        error.error_code()
    }
}
