//! Appending to a partition as its leader.
//!
//! Invariants: batches of one call are written with one write, in their order; the high watermark moves only by the
//! leader's commit rule; waiters are woken after the lock is released.

use protocol::record::ValidatedBatch;
use protocol::types::{LeaderEpoch, Now};
use storage::log::append::{AppendError, Appended};
use storage::log::writer::LogWriter;
use storage::producer::{Verification, VerificationGuard};

use crate::partition::partition::{Partition, PartitionError};

/// What became of one batch.
#[derive(Debug)]
pub struct LeaderAppend {
    /// Offsets and time given by the log.
    pub appended: Appended,
    /// Whether the high watermark covers it already; else an acknowledgement has to wait for it.
    pub committed: bool,
}

/// What an append asks for besides its batches.
#[derive(Debug, Clone, Copy)]
pub struct AppendOptions {
    /// The producer asked for acks=all, so too few in-sync replicas refuse the write.
    pub all_replicas: bool,
    /// What [`Partition::begin_verification`] gave for the one batch of this call.
    pub guard: Option<VerificationGuard>,
}

impl Partition {
    /// Appends validated batches. One result per batch, in order. A transactional batch that is neither part of an open
    /// transaction nor comes with its guard gets `INVALID_TXN_STATE`.
    ///
    /// # Errors
    /// For all batches at once: `NotLeader`, `NotEnoughReplicas`. Per batch: what the log says.
    pub fn append_as_leader(
        &self,
        batches: Vec<ValidatedBatch>,
        options: AppendOptions,
        now: Now,
    ) -> Result<Vec<Result<LeaderAppend, PartitionError>>, PartitionError> {
        assert!(
            options.guard.is_none() || batches.len() == 1,
            "a guard lets one batch begin a transaction"
        );
        let verification = if self.settings.load().transaction_verification {
            Verification::Required(options.guard)
        } else {
            Verification::Off
        };
        let bytes = batches.iter().map(ValidatedBatch::size_bytes).sum();
        self.append_locked(options.all_replicas, bytes, |log, leader_epoch| {
            log.append_verified(batches, leader_epoch, verification, now)
        })
    }

    /// Lets `write` append under the lock, moves the high watermark by the commit rule and tells those who wait of `bytes` more.
    pub(super) fn append_locked(
        &self,
        all_replicas: bool,
        mut bytes: usize,
        write: impl FnOnce(&mut LogWriter, LeaderEpoch) -> Vec<Result<Appended, AppendError>>,
    ) -> Result<Vec<Result<LeaderAppend, PartitionError>>, PartitionError> {
        let durable = self.settings.load().acks_are_durable();
        let mut guard = self.lock();
        let writer = &mut *guard;
        if all_replicas && !writer.leader.has_enough_replicas() {
            return Err(PartitionError::NotEnoughReplicas);
        }
        let log = writer.log.as_mut().ok_or(PartitionError::NotLeader)?;
        let before = self.reader.watermarks();
        let results = write(log, writer.leader.leader_epoch());
        let mut moved = None;
        if !durable {
            moved = writer.leader.on_local_progress(self.reader.watermarks().log_end_offset);
            if let Some(high_watermark) = moved {
                let after = log.set_high_watermark(high_watermark);
                // The end of a transaction lets go of what it held back: how much that is, a waiting fetch sees for itself.
                let stable = after.last_stable_offset - before.last_stable_offset;
                if stable > after.high_watermark - before.high_watermark {
                    bytes = usize::MAX;
                }
            }
        }
        let high_watermark = writer.leader.high_watermark();
        drop(guard);
        if let Some(high_watermark) = moved {
            self.waiters.on_advance(high_watermark, bytes);
        }
        let outcome = |result: Result<Appended, _>| match result {
            Ok(appended) => Ok(LeaderAppend {
                committed: appended.last_offset < high_watermark,
                appended,
            }),
            Err(error) => Err(PartitionError::Append(error)),
        };
        Ok(results.into_iter().map(outcome).collect())
    }
}
