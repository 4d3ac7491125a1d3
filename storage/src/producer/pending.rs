//! Batches of one append call, checked one behind the other before any of them is written.
//!
//! Pure. Invariant: a [`PendingAppend`] never touches the [`ProducerStates`] it was checked against; handing it to
//! [`ProducerStates::commit`] applies all of it, dropping it applies nothing. (Kafka's `ProducerAppendInfo`.)

use std::collections::BTreeMap;

use super::ProducerStates;
use super::entry::{NO_PRODUCER_EPOCH, NO_SEQUENCE, ProducerEntry, WrittenBatch};
use super::error::ProducerError;
use super::verification::{OpenVerification, Verification};

/// Who appends, which decides how much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A produce request: everything is checked.
    Client,
    /// The group coordinator's transactional commits, which carry no sequence numbers: only the epoch is checked.
    Coordinator,
    /// A follower's fetch or the replay of the own log: the leader has checked, nothing is refused.
    Replication,
}

/// What the checks need to know of a batch with a producer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Producer id, not -1.
    pub producer_id: i64,
    /// Producer epoch.
    pub producer_epoch: i16,
    /// Sequence number of the first record, -1 = none.
    pub base_sequence: i32,
    /// Sequence number of the last record, -1 = none.
    pub last_sequence: i32,
    /// Offset of the first record, as it will be written.
    pub base_offset: i64,
    /// Offset of the last record, as it will be written.
    pub last_offset: i64,
    /// Max timestamp, as it will be written.
    pub max_timestamp_ms: i64,
    /// Whether the batch belongs to a transaction.
    pub is_transactional: bool,
}

/// What the checks need to know of a transaction marker (a control batch with one record).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerMarker {
    /// Producer id, not -1.
    pub producer_id: i64,
    /// Producer epoch.
    pub producer_epoch: i16,
    /// Offset of the marker.
    pub offset: i64,
    /// Timestamp of the marker's record.
    pub timestamp_ms: i64,
    /// Epoch of the transaction coordinator that wrote it.
    pub coordinator_epoch: i32,
    /// Abort, else commit.
    pub aborted: bool,
}

/// Outcome of a check that refuses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// To be written.
    New,
    /// Written before (or earlier in the same call): answered with the original, not written again.
    Duplicate {
        /// Offset of the original's first record.
        base_offset: i64,
        /// Offset of the original's last record.
        last_offset: i64,
        /// Max timestamp of the original.
        timestamp_ms: i64,
    },
}

/// A transaction that a marker of this call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EndedTxn {
    pub(super) producer_id: i64,
    pub(super) first_offset: i64,
    pub(super) last_offset: i64,
    pub(super) aborted: bool,
}

/// What ends an open verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Batch { producer_id: i64 },
    Marker { producer_id: i64, producer_epoch: i16 },
}

impl Settled {
    fn producer_id(self) -> i64 {
        match self {
            Self::Batch { producer_id } | Self::Marker { producer_id, .. } => producer_id,
        }
    }
}

/// Changes of one append call that are not applied yet.
#[derive(Debug, Default)]
pub struct PendingAppend {
    /// The state each touched producer id will have.
    pub(super) entries: BTreeMap<i64, ProducerEntry>,
    /// (first offset, producer id) of the transactions begun.
    pub(super) started: Vec<(i64, i64)>,
    pub(super) ended: Vec<EndedTxn>,
    pub(super) settled: Vec<Settled>,
}

impl PendingAppend {
    /// Nothing pending.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is anything to commit.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Checks a data batch against the committed state plus everything accepted in this call. `New` and it is pending;
    /// otherwise nothing has changed.
    pub fn check(
        &mut self,
        states: &ProducerStates,
        batch: &ProducerBatch,
        origin: AppendOrigin,
        verification: Verification,
    ) -> Result<Checked, ProducerError> {
        let known = self
            .entries
            .get(&batch.producer_id)
            .or_else(|| states.entry(batch.producer_id));
        if let (AppendOrigin::Client, Some(entry)) = (origin, known)
            && let Some(original) = entry.find_duplicate(batch.producer_epoch, batch.base_sequence, batch.last_sequence)
        {
            return Ok(Checked::Duplicate {
                base_offset: original.base_offset(),
                last_offset: original.last_offset,
                timestamp_ms: original.timestamp_ms,
            });
        }
        if let Some(entry) = known {
            check_epoch(entry, batch, origin)?;
        }
        if origin != AppendOrigin::Replication {
            let open = self.open_verification(states, batch.producer_id);
            check_verified(known, batch, open, verification)?;
            let open = open.filter(|open| open.producer_epoch == batch.producer_epoch);
            if let (Some(open), AppendOrigin::Client) = (open, origin) {
                check_verified_sequence(known, batch, open)?;
            }
        }
        if let Some(entry) = known {
            if origin == AppendOrigin::Client {
                check_sequence(entry, batch)?;
            }
            // Also refused for replication in Kafka; a log that a leader has accepted cannot contain it.
            if origin != AppendOrigin::Replication
                && entry.current_txn_first_offset.is_some()
                && !batch.is_transactional
            {
                return Err(ProducerError::InvalidTxnState {
                    producer_id: batch.producer_id,
                    offset: batch.base_offset,
                });
            }
        }
        self.accept(states, batch);
        Ok(Checked::New)
    }

    fn accept(&mut self, states: &ProducerStates, batch: &ProducerBatch) {
        let entry = self.entry_mut(states, batch.producer_id);
        // The header's field has 31 bits; other values can only come from a damaged file and must not panic.
        let offset_delta = batch
            .last_offset
            .saturating_sub(batch.base_offset)
            .clamp(0, i64::from(i32::MAX));
        let offset_delta = i32::try_from(offset_delta).expect("clamped to 31 bits");
        entry.add_batch(
            batch.producer_epoch,
            WrittenBatch {
                last_sequence: batch.last_sequence,
                last_offset: batch.last_offset,
                offset_delta,
                timestamp_ms: batch.max_timestamp_ms,
            },
        );
        if batch.is_transactional && entry.current_txn_first_offset.is_none() {
            entry.current_txn_first_offset = Some(batch.base_offset);
            self.started.push((batch.base_offset, batch.producer_id));
        }
        let producer_id = batch.producer_id;
        if batch.is_transactional && states.verifications.get(producer_id).is_some() {
            self.settled.push(Settled::Batch { producer_id });
        }
    }

    /// The producer's verification, unless this call has ended it.
    fn open_verification<'a>(&self, states: &'a ProducerStates, producer_id: i64) -> Option<&'a OpenVerification> {
        let open = states.verifications.get(producer_id)?;
        let is_settled = self.settled.iter().any(|settled| settled.producer_id() == producer_id);
        (!is_settled).then_some(open)
    }

    /// Checks a transaction marker. `transaction_version` is that of the request that wrote it (2: the epoch must be
    /// newer than the transaction's); replayed and replicated markers, where it is unknown, pass 0.
    pub fn check_marker(
        &mut self,
        states: &ProducerStates,
        marker: &ProducerMarker,
        origin: AppendOrigin,
        transaction_version: i16,
    ) -> Result<(), ProducerError> {
        let known = self
            .entries
            .get(&marker.producer_id)
            .or_else(|| states.entry(marker.producer_id));
        if let (Some(entry), true) = (known, origin != AppendOrigin::Replication) {
            check_marker_epoch(entry, marker, transaction_version)?;
            if entry.coordinator_epoch > marker.coordinator_epoch {
                return Err(ProducerError::TransactionCoordinatorFenced {
                    producer_id: marker.producer_id,
                    coordinator_epoch: marker.coordinator_epoch,
                    current_epoch: entry.coordinator_epoch,
                    offset: marker.offset,
                });
            }
        }
        let entry = self.entry_mut(states, marker.producer_id);
        let first_offset = entry.current_txn_first_offset;
        entry.end_transaction(marker.producer_epoch, marker.coordinator_epoch, marker.timestamp_ms);
        if states.verifications.get(marker.producer_id).is_some() {
            self.settled.push(Settled::Marker {
                producer_id: marker.producer_id,
                producer_epoch: marker.producer_epoch,
            });
        }
        // A marker of a transaction without data here concerns nobody's last stable offset.
        if let Some(first_offset) = first_offset {
            self.ended.push(EndedTxn {
                producer_id: marker.producer_id,
                first_offset,
                last_offset: marker.offset,
                aborted: marker.aborted,
            });
        }
        Ok(())
    }

    fn entry_mut(&mut self, states: &ProducerStates, producer_id: i64) -> &mut ProducerEntry {
        assert!(producer_id >= 0, "only batches with a producer id have producer state");
        self.entries.entry(producer_id).or_insert_with(|| {
            states
                .entry(producer_id)
                .cloned()
                .unwrap_or_else(|| ProducerEntry::new(producer_id))
        })
    }
}

fn check_epoch(entry: &ProducerEntry, batch: &ProducerBatch, origin: AppendOrigin) -> Result<(), ProducerError> {
    if batch.producer_epoch < entry.producer_epoch && origin != AppendOrigin::Replication {
        return Err(ProducerError::InvalidProducerEpoch {
            producer_id: batch.producer_id,
            producer_epoch: batch.producer_epoch,
            current_epoch: entry.producer_epoch,
            offset: batch.base_offset,
        });
    }
    Ok(())
}

/// A transaction begins only with the guard of its open verification.
fn check_verified(
    known: Option<&ProducerEntry>,
    batch: &ProducerBatch,
    open: Option<&OpenVerification>,
    verification: Verification,
) -> Result<(), ProducerError> {
    let Verification::Required(guard) = verification else {
        return Ok(());
    };
    let is_open = known
        .is_some_and(|entry| entry.producer_epoch == batch.producer_epoch && entry.current_txn_first_offset.is_some());
    let is_verified = guard.is_some() && open.map(|open| open.guard) == guard;
    if !batch.is_transactional || is_open || is_verified {
        return Ok(());
    }
    Err(ProducerError::NotVerified {
        producer_id: batch.producer_id,
        producer_epoch: batch.producer_epoch,
        offset: batch.base_offset,
    })
}

/// While a transaction waits to begin, a batch must not overtake one that comes before it; where every transaction has an
/// epoch of its own, the first batch that this partition knows of has sequence number 0.
fn check_verified_sequence(
    known: Option<&ProducerEntry>,
    batch: &ProducerBatch,
    open: &OpenVerification,
) -> Result<(), ProducerError> {
    let is_unknown = known.is_none_or(|entry| entry.batches().is_empty());
    let skips = open.supports_epoch_bump && batch.base_sequence != 0 && is_unknown;
    if !skips && batch.base_sequence <= open.lowest_sequence {
        return Ok(());
    }
    Err(ProducerError::OutOfOrderSequence {
        producer_id: batch.producer_id,
        producer_epoch: batch.producer_epoch,
        current_epoch: known.map_or(NO_PRODUCER_EPOCH, |entry| entry.producer_epoch),
        offset: batch.base_offset,
        base_sequence: batch.base_sequence,
        last_sequence: known.map_or(NO_SEQUENCE, ProducerEntry::last_sequence),
    })
}

fn check_marker_epoch(
    entry: &ProducerEntry,
    marker: &ProducerMarker,
    transaction_version: i16,
) -> Result<(), ProducerError> {
    let current_epoch = entry.producer_epoch;
    let behind = if transaction_version >= 2 {
        marker.producer_epoch <= current_epoch
    } else {
        marker.producer_epoch < current_epoch
    };
    // The same marker again after its transaction has ended is a retry whose first answer was lost. At the largest
    // epoch there is no newer one to write the marker with.
    let retry = transaction_version >= 2
        && marker.producer_epoch == current_epoch
        && (entry.current_txn_first_offset.is_none() || marker.producer_epoch == i16::MAX);
    if behind && !retry {
        return Err(ProducerError::InvalidProducerEpoch {
            producer_id: marker.producer_id,
            producer_epoch: marker.producer_epoch,
            current_epoch,
            offset: marker.offset,
        });
    }
    Ok(())
}

fn check_sequence(entry: &ProducerEntry, batch: &ProducerBatch) -> Result<(), ProducerError> {
    if entry.producer_epoch == NO_PRODUCER_EPOCH {
        return Ok(());
    }
    let last_sequence = entry.last_sequence();
    let in_order = if batch.producer_epoch == entry.producer_epoch {
        batch.base_sequence == super::entry::increment_sequence(last_sequence, 1)
    } else {
        batch.base_sequence == 0
    };
    if in_order {
        return Ok(());
    }
    Err(ProducerError::OutOfOrderSequence {
        producer_id: batch.producer_id,
        producer_epoch: batch.producer_epoch,
        current_epoch: entry.producer_epoch,
        offset: batch.base_offset,
        base_sequence: batch.base_sequence,
        last_sequence,
    })
}
