//! Appending to a partition as its leader.
//!
//! Invariants: batches of one call are written with one write, in their order; the high watermark moves only by the
//! leader's commit rule; waiters are woken after the lock is released.

use protocol::record::ValidatedBatch;
use protocol::types::Now;
use storage::log::append::Appended;

use crate::partition::partition::{Partition, PartitionError};

/// What became of one batch.
#[derive(Debug)]
pub struct LeaderAppend {
    /// Offsets and time given by the log.
    pub appended: Appended,
    /// Whether the high watermark covers it already; else an acknowledgement has to wait for it.
    pub committed: bool,
}

impl Partition {
    /// Appends validated batches. `all_replicas`: the producer asked for acks=all, so too few in-sync replicas refuse
    /// the write. One result per batch, in order.
    ///
    /// # Errors
    /// For all batches at once: `NotLeader`, `NotEnoughReplicas`. Per batch: what the log says.
    pub fn append_as_leader(
        &self,
        batches: Vec<ValidatedBatch>,
        all_replicas: bool,
        now: Now,
    ) -> Result<Vec<Result<LeaderAppend, PartitionError>>, PartitionError> {
        let durable = self.settings.load().acks_are_durable();
        let bytes = batches.iter().map(ValidatedBatch::size_bytes).sum();
        let mut guard = self.lock();
        let writer = &mut *guard;
        if all_replicas && !writer.leader.has_enough_replicas() {
            return Err(PartitionError::NotEnoughReplicas);
        }
        let log = writer.log.as_mut().ok_or(PartitionError::NotLeader)?;
        let results = log.append(batches, writer.leader.leader_epoch(), now);
        let mut moved = None;
        if !durable {
            moved = writer.leader.on_local_progress(self.reader.watermarks().log_end_offset);
            if let Some(high_watermark) = moved {
                log.set_high_watermark(high_watermark);
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
