//! Deadlines of one shard: at most one per key, popped in order of time.
//!
//! Invariant: both maps hold the same pairs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a deadline is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKey {
    /// A member's session (or the time that a pending or new member has) runs out.
    Session { group_id: Arc<str>, member_id: Arc<str> },
    /// The join phase ends.
    Join { group_id: Arc<str> },
    /// The members had time enough to send SyncGroup.
    Sync { group_id: Arc<str> },
    /// Time to look for expired offsets.
    OffsetExpiry,
}

/// The deadlines, in monotonic milliseconds.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_key: BTreeMap<TimerKey, i64>,
    by_time: BTreeSet<(i64, TimerKey)>,
}

impl Timers {
    /// Sets the deadline of `key`, in place of an earlier one.
    pub(super) fn schedule(&mut self, key: TimerKey, deadline_ms: i64) {
        if let Some(previous_ms) = self.by_key.insert(key.clone(), deadline_ms) {
            self.by_time.remove(&(previous_ms, key.clone()));
        }
        self.by_time.insert((deadline_ms, key));
    }

    pub(super) fn cancel(&mut self, key: &TimerKey) {
        if let Some(deadline_ms) = self.by_key.remove(key) {
            self.by_time.remove(&(deadline_ms, key.clone()));
        }
    }

    pub(super) fn is_scheduled(&self, key: &TimerKey) -> bool {
        self.by_key.contains_key(key)
    }

    pub(super) fn next_deadline(&self) -> Option<i64> {
        self.by_time.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    /// Takes one key whose deadline has come.
    pub(super) fn pop_due(&mut self, now_ms: i64) -> Option<TimerKey> {
        if self.next_deadline()? > now_ms {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}
