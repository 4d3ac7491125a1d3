//! The budget for requests that are being received (`queued.max.request.bytes`).
//!
//! Invariants: a large frame is read only when its announced length fits into the budget, so that a frame once begun can
//! be finished; one frame is always let through when nothing else is held, however large it is (up to
//! `socket.request.max.bytes`); a permit gives back what it took when it drops.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The budget, shared by all connections.
#[derive(Debug)]
pub struct RequestMemory {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

/// A part of the budget.
#[derive(Debug)]
pub struct MemoryPermit {
    memory: Arc<RequestMemory>,
    bytes: usize,
}

impl RequestMemory {
    /// A budget of so many bytes.
    pub fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            used_bytes: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    /// Takes a part, if it fits or nothing else is taken.
    pub fn try_take(self: &Arc<Self>, bytes: usize) -> Option<MemoryPermit> {
        let take = |used: usize| {
            let after = used.saturating_add(bytes);
            (used == 0 || after <= self.limit_bytes).then_some(after)
        };
        self.used_bytes
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .ok()?;
        Some(MemoryPermit {
            memory: Arc::clone(self),
            bytes,
        })
    }

    /// Waits until something was given back.
    pub async fn freed(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let counted = WaitingCount(self);
        // a permit may have been dropped before the registration: look again soon instead of never
        let _either = tokio::time::timeout(std::time::Duration::from_millis(50), self.freed.notified()).await;
        drop(counted);
    }

    /// Whether some connection waits for memory: those that hold some and do not move may be closed.
    pub fn is_short(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

struct WaitingCount<'a>(&'a RequestMemory);

impl Drop for WaitingCount<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        self.memory.used_bytes.fetch_sub(self.bytes, Ordering::SeqCst);
        self.memory.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_holds_and_one_large_frame_always_passes() {
        let memory = RequestMemory::new(100);
        let large = memory.try_take(1_000).expect("nothing else is held");
        assert!(memory.try_take(1).is_none());
        drop(large);
        let first = memory.try_take(60).expect("fits");
        assert!(memory.try_take(60).is_none());
        let second = memory.try_take(40).expect("fits");
        drop((first, second));
        assert_eq!(memory.used_bytes.load(Ordering::SeqCst), 0);
    }
}
