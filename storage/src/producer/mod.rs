//! Producer state of one partition: which batches each producer id has written, which transactions are open.
//!
//! Pure; follows Kafka's `ProducerStateManager`. Invariants: sequence numbers of an accepted batch follow the last ones
//! of its producer id and epoch (2147483647 is followed by 0); an appended epoch never falls; the first unstable offset is not
//! above any open transaction; state after loading a snapshot and replaying the log behind it equals state after
//! replaying the whole log, except that a snapshot keeps only the last of five remembered batches, one timestamp for
//! that batch and a marker behind it, and no ended transactions (as in Kafka, their markers then count as replicated).

pub mod entry;
pub mod error;
pub mod pending;
pub mod snapshot;
pub mod verification;

use std::collections::BTreeMap;

pub use entry::{ProducerEntry, WrittenBatch};
pub use error::ProducerError;
pub use pending::{AppendOrigin, Checked, PendingAppend, ProducerBatch, ProducerMarker};
pub use verification::{BeginVerification, Verification, VerificationGuard};

use pending::{EndedTxn, Settled};
use verification::Verifications;

/// Producer ids remembered per partition; above it the idlest are forgotten. An entry takes about 200 bytes; a
/// client that asks for a new producer id per batch must not fill the memory within the expiration time.
pub const DEFAULT_MAX_PRODUCER_IDS: usize = 100_000;

/// A transaction that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletedTxn {
    /// The producer id.
    pub producer_id: i64,
    /// First offset of the transaction in this partition.
    pub first_offset: i64,
    /// Offset of its marker.
    pub last_offset: i64,
    /// Aborted, else committed. Only aborted ones belong in the transaction index.
    pub aborted: bool,
    /// First offset behind everything decided so far, for the transaction index.
    pub last_stable_offset: i64,
}

/// State of all producer ids of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerStates {
    entries: BTreeMap<i64, ProducerEntry>,
    /// Open transactions: first offset to producer id.
    ongoing: BTreeMap<i64, i64>,
    /// Ended transactions whose marker is not below the high watermark: first offset to marker offset.
    unreplicated: BTreeMap<i64, i64>,
    verifications: Verifications,
    max_producer_ids: usize,
    /// Number of entries at which the oldest ones are dropped next.
    evict_at: usize,
}

impl Default for ProducerStates {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_PRODUCER_IDS)
    }
}

impl ProducerStates {
    /// No producers; at most `max_producer_ids` will be remembered, those with open transactions not counted.
    pub fn new(max_producer_ids: usize) -> Self {
        assert!(
            max_producer_ids > 0,
            "a producer id must be remembered at least for its next batch"
        );
        Self {
            entries: BTreeMap::new(),
            ongoing: BTreeMap::new(),
            unreplicated: BTreeMap::new(),
            verifications: Verifications::default(),
            max_producer_ids,
            evict_at: max_producer_ids,
        }
    }

    /// State of one producer id.
    pub fn entry(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id)
    }

    /// All producer ids in ascending order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &ProducerEntry> {
        self.entries.values()
    }

    /// Number of producer ids.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered: no producer, and no ended transaction that waits for the high watermark.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unreplicated.is_empty()
    }

    /// Whether the producer has a transaction open here in exactly this epoch.
    pub fn has_ongoing_transaction(&self, producer_id: i64, producer_epoch: i16) -> bool {
        self.entry(producer_id)
            .is_some_and(|entry| entry.producer_epoch == producer_epoch && entry.current_txn_first_offset.is_some())
    }

    /// Before a transactional batch is written: `None` when the producer's transaction is open here in this epoch, else the
    /// guard that the append has to show once the transaction's coordinator has confirmed it.
    ///
    /// # Errors
    /// `InvalidProducerEpoch` when the producer has a newer epoch.
    pub fn begin_verification(
        &mut self,
        request: &BeginVerification,
        offset: i64,
        now_ms: i64,
    ) -> Result<Option<VerificationGuard>, ProducerError> {
        if let Some(entry) = self.entry(request.producer_id)
            && request.producer_epoch < entry.producer_epoch
        {
            return Err(ProducerError::InvalidProducerEpoch {
                producer_id: request.producer_id,
                producer_epoch: request.producer_epoch,
                current_epoch: entry.producer_epoch,
                offset,
            });
        }
        if self.has_ongoing_transaction(request.producer_id, request.producer_epoch) {
            return Ok(None);
        }
        Ok(Some(self.verifications.begin(request, now_ms, self.max_producer_ids)))
    }

    /// The coordinator refused what [`Self::begin_verification`] began; `is_wrong_epoch`: because of its epoch.
    pub fn refuse_verification(&mut self, request: &BeginVerification, is_wrong_epoch: bool) {
        self.verifications.on_refused(request, is_wrong_epoch);
    }

    /// First offset that belongs to a transaction which is open, or ended by a marker not yet below the high
    /// watermark: the last stable offset is never above it.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        match (
            self.first_undecided_offset(),
            self.unreplicated.first_key_value().map(|(offset, _)| *offset),
        ) {
            (Some(undecided), Some(unreplicated)) => Some(undecided.min(unreplicated)),
            (undecided, unreplicated) => undecided.or(unreplicated),
        }
    }

    /// First offset that belongs to an open transaction.
    pub fn first_undecided_offset(&self) -> Option<i64> {
        self.ongoing.first_key_value().map(|(offset, _)| *offset)
    }

    /// Applies what was checked. Returns the transactions that ended, in log order.
    pub fn commit(&mut self, pending: PendingAppend) -> Vec<CompletedTxn> {
        let completed = self.completed(&pending);
        for (producer_id, entry) in pending.entries {
            self.entries.insert(producer_id, entry);
        }
        for settled in pending.settled {
            match settled {
                Settled::Batch { producer_id } => self.verifications.on_batch(producer_id),
                Settled::Marker {
                    producer_id,
                    producer_epoch,
                } => {
                    self.verifications.on_marker(producer_id, producer_epoch);
                }
            }
        }
        for (first_offset, producer_id) in pending.started {
            self.ongoing.insert(first_offset, producer_id);
        }
        for ended in pending.ended {
            self.ongoing.remove(&ended.first_offset);
            self.unreplicated.insert(ended.first_offset, ended.last_offset);
        }
        self.evict();
        completed
    }

    /// The transactions that end when this is committed, in log order.
    pub fn completed(&self, pending: &PendingAppend) -> Vec<CompletedTxn> {
        let mut gone = Vec::with_capacity(pending.ended.len());
        let mut complete = |ended: &EndedTxn| {
            gone.push(ended.first_offset);
            let is_open = |offset: &i64| !gone.contains(offset);
            let before = self.ongoing.keys().copied().find(is_open);
            let begun = pending.started.iter().map(|(offset, _)| *offset).filter(is_open).min();
            // Transactions begun behind the marker in the same call do not hold it back further.
            let behind = ended.last_offset.saturating_add(1);
            CompletedTxn {
                producer_id: ended.producer_id,
                first_offset: ended.first_offset,
                last_offset: ended.last_offset,
                aborted: ended.aborted,
                last_stable_offset: [before, begun].into_iter().flatten().fold(behind, i64::min),
            }
        };
        pending.ended.iter().map(&mut complete).collect()
    }

    /// Takes in a data batch that is in the log already (start-up, replication): nothing is refused.
    pub fn replay(&mut self, batch: &ProducerBatch) {
        let mut pending = PendingAppend::new();
        let checked = pending.check(self, batch, AppendOrigin::Replication, Verification::Off);
        assert!(checked == Ok(Checked::New), "replication refuses nothing");
        self.commit(pending);
    }

    /// Takes in a transaction marker that is in the log already.
    pub fn replay_marker(&mut self, marker: &ProducerMarker) -> Option<CompletedTxn> {
        let mut pending = PendingAppend::new();
        let checked = pending.check_marker(self, marker, AppendOrigin::Replication, 0);
        assert!(checked == Ok(()), "replication refuses nothing");
        self.commit(pending).pop()
    }

    /// The high watermark moved: transactions whose marker is below it are stable.
    pub fn on_high_watermark(&mut self, high_watermark: i64) {
        self.unreplicated
            .retain(|_, last_offset| *last_offset >= high_watermark);
    }

    /// The log start moved: ended transactions before it are of no concern. Producer ids stay until they expire.
    pub fn on_log_start_offset(&mut self, log_start_offset: i64) {
        self.unreplicated
            .retain(|_, last_offset| *last_offset >= log_start_offset);
    }

    /// Forgets producer ids whose last write is `producer_id_expiration_ms` old, unless a transaction is open.
    /// Returns how many. Verifications that nobody used go after the same time.
    pub fn remove_expired(&mut self, now_ms: i64, producer_id_expiration_ms: i64) -> usize {
        let before = self.entries.len();
        self.verifications.remove_expired(now_ms, producer_id_expiration_ms);
        self.entries
            .retain(|_, entry| !is_expired(entry, now_ms, producer_id_expiration_ms));
        self.evict_at = self.max_producer_ids;
        before - self.entries.len()
    }

    /// Takes in an entry of a snapshot.
    pub fn load(&mut self, entry: ProducerEntry) {
        if let Some(first_offset) = entry.current_txn_first_offset {
            self.ongoing.insert(first_offset, entry.producer_id);
        }
        self.entries.insert(entry.producer_id, entry);
        self.evict();
    }

    /// Forgets the transactions that began before `offset`, not their producers: the log in which they ended is gone.
    pub fn forget_transactions_before(&mut self, offset: i64) {
        let later = self.ongoing.split_off(&offset);
        for producer_id in std::mem::replace(&mut self.ongoing, later).into_values() {
            if let Some(entry) = self.entries.get_mut(&producer_id) {
                entry.current_txn_first_offset = None;
            }
        }
    }

    /// Forgets everything (truncation; a snapshot is loaded next).
    pub fn clear(&mut self) {
        *self = Self::new(self.max_producer_ids);
    }

    /// Another limit for the number of producer ids; it acts with the next append.
    pub fn set_max_producer_ids(&mut self, max_producer_ids: usize) {
        self.max_producer_ids = max_producer_ids.max(1);
        self.evict_at = self.max_producer_ids;
    }

    /// Above the limit, forgets the eighth that has not written for longest, so that the scan is rare. Entries with
    /// open transactions stay; their number is bounded by the transaction timeout.
    fn evict(&mut self) {
        if self.entries.len() <= self.evict_at {
            return;
        }
        let mut idle: Vec<(i64, i64)> = self
            .entries
            .values()
            .filter(|entry| entry.current_txn_first_offset.is_none())
            .map(|entry| (entry.last_timestamp_ms, entry.producer_id))
            .collect();
        idle.sort_unstable();
        let surplus = self.entries.len() - self.max_producer_ids + self.max_producer_ids / 8;
        for (_, producer_id) in idle.into_iter().take(surplus) {
            self.entries.remove(&producer_id);
        }
        self.evict_at = self
            .max_producer_ids
            .max(self.entries.len() + self.max_producer_ids / 8);
    }
}

/// Whether a producer id may be forgotten at `now_ms`.
pub fn is_expired(entry: &ProducerEntry, now_ms: i64, producer_id_expiration_ms: i64) -> bool {
    entry.current_txn_first_offset.is_none()
        && now_ms.saturating_sub(entry.last_timestamp_ms) >= producer_id_expiration_ms
}

#[cfg(test)]
mod tests;
