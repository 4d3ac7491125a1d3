//! Ending transactions in a partition, and letting them begin only when their coordinator knows of them.
//!
//! Invariants: a marker is the only thing that ends a transaction here; a transaction begins only with a guard that was
//! given out for it, or by a client's protocol that cannot have one. Sources: KIP-98, KIP-890, Kafka's
//! `KafkaApis.handleWriteTxnMarkersRequest`, `UnifiedLog.maybeStartTransactionVerification`.

use protocol::record::control::{EndTxnMarker, TransactionResult};
use protocol::types::Now;
use storage::producer::{BeginVerification, VerificationGuard};

use crate::partition::append::LeaderAppend;
use crate::partition::partition::{Partition, PartitionError};

/// The end of a producer's transaction, as its coordinator wants it written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// The producer id.
    pub producer_id: i64,
    /// Epoch that the producer has from here on.
    pub producer_epoch: i16,
    /// Leader epoch of the coordinator; one that was replaced is refused.
    pub coordinator_epoch: i32,
    /// Committed, else aborted.
    pub committed: bool,
    /// The transaction's version, 0 to 2; with 2 the epoch must be newer than that of the transaction's records.
    pub transaction_version: i16,
}

impl Partition {
    /// Before a transactional batch of this producer is appended. `None`: its transaction is open here, nothing is to be
    /// verified. Else: verify with the coordinator, then append with the guard.
    ///
    /// # Errors
    /// `NotLeader`, `Offline`; an old epoch of the producer.
    pub fn begin_verification(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        base_sequence: i32,
        supports_epoch_bump: bool,
    ) -> Result<Option<VerificationGuard>, PartitionError> {
        self.check_open()?;
        let mut writer = self.lock();
        let log = writer.log.as_mut().ok_or(PartitionError::NotLeader)?;
        let request = BeginVerification {
            producer_id,
            producer_epoch,
            base_sequence,
            supports_epoch_bump,
        };
        Ok(log.begin_verification(&request)?)
    }

    /// The coordinator refused what [`Self::begin_verification`] began, for good; `is_wrong_epoch`: the producer has another
    /// epoch. Else who only guesses a producer id could hold up its owner.
    pub fn refuse_verification(&self, producer_id: i64, producer_epoch: i16, is_wrong_epoch: bool) {
        let request = BeginVerification {
            producer_id,
            producer_epoch,
            base_sequence: -1,
            supports_epoch_bump: false,
        };
        if let Some(log) = &mut self.lock().log {
            log.refuse_verification(&request, is_wrong_epoch);
        }
    }

    /// Writes the marker that ends the producer's transaction here.
    ///
    /// # Errors
    /// `NotLeader`, `NotEnoughReplicas`; what the log says.
    pub fn append_marker(&self, marker: &Marker, now: Now) -> Result<LeaderAppend, PartitionError> {
        let content = EndTxnMarker {
            result: if marker.committed {
                TransactionResult::Commit
            } else {
                TransactionResult::Abort
            },
            coordinator_epoch: marker.coordinator_epoch,
        };
        let batch = content.build(marker.producer_id, marker.producer_epoch, now.wall_ms);
        let bytes = batch.size_bytes();
        self.append_locked(true, bytes, |log, leader_epoch| {
            let result = log.append_marker(batch, leader_epoch, marker.transaction_version, now);
            vec![result]
        })?
        .pop()
        .expect("one result per batch")
    }
}

#[cfg(test)]
mod tests;
