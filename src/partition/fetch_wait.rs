//! Waiting until enough bytes are there for a fetch.
//!
//! Invariants: the wait is woken by the append itself, not by a clock; registration comes before the look that counts,
//! so that no append falls between; the last look is always later than everything that ended the wait.

use std::sync::Arc;
use std::time::Duration;

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

/// Returns when `look` says so, or `max_wait` has passed, or `ended` is ready (the broker stops). `look` re-reads all
/// partitions and keeps what it found for the caller.
pub async fn wait_for_bytes(
    partitions: &[Arc<Partition>],
    max_wait: Duration,
    ended: impl Future<Output = ()>,
    mut look: impl FnMut() -> Look,
) {
    let waiter = FetchWaiter::new();
    let _registrations: Vec<_> = partitions
        .iter()
        .map(|partition| partition.waiters.register_fetch(Arc::clone(&waiter)))
        .collect();
    let mut timeout = std::pin::pin!(tokio::time::sleep(max_wait));
    let mut ended = std::pin::pin!(ended);
    loop {
        let arrived = waiter.arrived_bytes();
        let Look::Missing(missing) = look() else { return };
        let woken = waiter.wait_until(arrived.saturating_add(missing.max(1)));
        tokio::select! {
            () = woken => {}
            () = timeout.as_mut() => break,
            () = ended.as_mut() => break,
        }
    }
    look();
}
