//! Waiting until enough bytes are there for a fetch.
//!
//! Invariants: the wait is woken by the append itself, not by a clock; registration comes before the second look, so
//! that no append falls between; a broker that stops ends all waits at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::partition::partition::Partition;
use crate::partition::waiters::FetchWaiter;

/// What another look at the partitions says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Answer now: enough bytes, or an error, or something else that the client must hear.
    Answer,
    /// So many bytes are still missing.
    Missing(i64),
}

/// Returns when `look` says so, or `max_wait` has passed. `look` must re-read all partitions.
pub async fn wait_for_bytes(partitions: &[Arc<Partition>], max_wait: Duration, mut look: impl FnMut() -> Look) {
    let deadline = Instant::now() + max_wait;
    // bytes that come before the first look count from here on
    let waiter = FetchWaiter::new(i64::MAX);
    let _registrations: Vec<_> =
        partitions.iter().map(|partition| partition.waiters.register_fetch(Arc::clone(&waiter))).collect();
    loop {
        // an advance between this and the look wakes at once, which only costs one more look
        waiter.set_missing(1);
        match look() {
            Look::Answer => return,
            Look::Missing(bytes) => waiter.set_missing(bytes.max(1)),
        }
        if look() == Look::Answer {
            return;
        }
        if tokio::time::timeout_at(deadline, waiter.woken()).await.is_err() {
            return;
        }
    }
}
