//! Which producers are about to begin a transaction in a partition and have it verified by its coordinator (KIP-890).
//!
//! Pure, but for the numbers of guards, which no two partitions or openings of a log in this process share. Invariants: a
//! guard that was given out is good for one transaction's begin only: the first append, a marker, a newer epoch and the
//! expiry end it; while a verification is open no higher sequence number than the lowest one it was begun with passes;
//! the number of open verifications is limited. (Kafka's `VerificationGuard`, `VerificationStateEntry`.)

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Allows one producer's transaction to begin in one partition, once its coordinator has confirmed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerificationGuard(u64);

impl VerificationGuard {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What an append has to show for a transactional batch that begins a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Nothing: `transaction.partition.verification.enable=false`, or the batches come from this process itself.
    Off,
    /// The guard of the open verification, if the caller has one.
    Required(Option<VerificationGuard>),
}

/// A verification that was begun and neither used nor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenVerification {
    pub(super) guard: VerificationGuard,
    begun_ms: i64,
    pub(super) producer_epoch: i16,
    /// Lowest first sequence number of a batch that asked for it.
    pub(super) lowest_sequence: i32,
    /// The client's transactions each have an epoch of their own.
    pub(super) supports_epoch_bump: bool,
}

/// The open verifications of one partition, by producer id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Verifications {
    open: BTreeMap<i64, OpenVerification>,
}

impl Verifications {
    pub(super) fn get(&self, producer_id: i64) -> Option<&OpenVerification> {
        self.open.get(&producer_id)
    }

    /// Begins a verification or joins the open one of the same epoch.
    pub(super) fn begin(&mut self, request: &BeginVerification, now_ms: i64, limit: usize) -> VerificationGuard {
        if let Some(open) = self.open.get_mut(&request.producer_id)
            && request.producer_epoch <= open.producer_epoch
        {
            // A lower sequence number that comes later, a retry for one, must not find a higher one written.
            if request.producer_epoch == open.producer_epoch {
                open.lowest_sequence = open.lowest_sequence.min(request.base_sequence);
            }
            return open.guard;
        }
        if self.open.len() >= limit {
            self.forget_oldest(limit / 8 + 1);
        }
        let guard = VerificationGuard::next();
        let begun = OpenVerification {
            guard,
            begun_ms: now_ms,
            producer_epoch: request.producer_epoch,
            lowest_sequence: request.base_sequence,
            supports_epoch_bump: request.supports_epoch_bump,
        };
        self.open.insert(request.producer_id, begun);
        guard
    }

    /// The coordinator refused this verification. Its owner may have joined it under the same epoch, so its guard stays good;
    /// but a sequence number that was only guessed holds up nobody. An epoch that the producer does not have has no owner.
    pub(super) fn on_refused(&mut self, request: &BeginVerification, is_wrong_epoch: bool) {
        let Some(open) = self.open.get_mut(&request.producer_id) else {
            return;
        };
        if open.producer_epoch != request.producer_epoch {
            return;
        }
        if is_wrong_epoch {
            self.open.remove(&request.producer_id);
        } else {
            open.lowest_sequence = i32::MAX;
        }
    }

    /// A transactional batch of this producer was written: the guard has served.
    pub(super) fn on_batch(&mut self, producer_id: i64) {
        self.open.remove(&producer_id);
    }

    /// A marker of this producer was written. Where each transaction has an epoch of its own, a verification of the
    /// marker's epoch is one of the transaction that comes next.
    pub(super) fn on_marker(&mut self, producer_id: i64, producer_epoch: i16) {
        let is_next = |open: &OpenVerification| open.supports_epoch_bump && open.producer_epoch == producer_epoch;
        if self.open.get(&producer_id).is_some_and(|open| !is_next(open)) {
            self.open.remove(&producer_id);
        }
    }

    pub(super) fn remove_expired(&mut self, now_ms: i64, expiration_ms: i64) {
        self.open
            .retain(|_, open| now_ms.saturating_sub(open.begun_ms) < expiration_ms);
    }

    fn forget_oldest(&mut self, count: usize) {
        let mut by_age: Vec<(i64, i64)> = self.open.iter().map(|(id, open)| (open.begun_ms, *id)).collect();
        by_age.sort_unstable();
        for (_, producer_id) in by_age.into_iter().take(count) {
            self.open.remove(&producer_id);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

/// Who wants to begin a transaction in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeginVerification {
    /// The producer id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// First sequence number of the batch that is to be written; -1 = none.
    pub base_sequence: i32,
    /// The client's protocol bumps the epoch with each transaction (Produce 12, TxnOffsetCommit 5).
    pub supports_epoch_bump: bool,
}
