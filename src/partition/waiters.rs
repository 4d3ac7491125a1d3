//! Those who wait for a partition: fetches for more bytes, producers and coordinators for the high watermark.
//!
//! Invariants: nobody waits without being registered first and looking again afterwards, so no wake-up is lost; a
//! registration is gone when its guard drops; waking takes nothing but this list's lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard};

use protocol::types::Offset;
use tokio::sync::{Notify, oneshot};

/// Counted at once at most, so that sums stay far from overflow.
const MAX_STEP_BYTES: i64 = 1 << 40;

/// A fetch that waits for bytes on any of its partitions.
#[derive(Debug, Default)]
pub struct FetchWaiter {
    arrived_bytes: AtomicI64,
    wanted_bytes: AtomicI64,
    notify: Notify,
}

impl FetchWaiter {
    /// A waiter that has seen nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Bytes that became readable since the registration.
    pub fn arrived_bytes(&self) -> i64 {
        self.arrived_bytes.load(Ordering::SeqCst)
    }

    /// Returns when so many bytes arrived since the registration, or something happened that ends the wait.
    pub async fn wait_until(&self, wanted_bytes: i64) {
        self.wanted_bytes.store(wanted_bytes, Ordering::SeqCst);
        // a wake-up may be left over from before this call
        while self.arrived_bytes() < wanted_bytes {
            self.notify.notified().await;
        }
    }

    fn on_bytes(&self, bytes: i64) {
        let arrived = self.arrived_bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
        if arrived >= self.wanted_bytes.load(Ordering::SeqCst) {
            self.notify.notify_one();
        }
    }

    /// Ends the wait by more bytes than anybody waits for.
    fn end(&self) {
        self.on_bytes(MAX_STEP_BYTES);
    }
}

#[derive(Debug, Default)]
struct Lists {
    next_id: u64,
    fetches: BTreeMap<u64, Arc<FetchWaiter>>,
    /// By the offset below which the high watermark must have come, exclusive.
    commits: BTreeMap<(Offset, u64), oneshot::Sender<()>>,
}

/// Everybody who waits for one partition.
#[derive(Debug, Default)]
pub struct Waiters {
    registered: AtomicUsize,
    lists: Mutex<Lists>,
}

impl Waiters {
    /// Registers a fetch; it hears of every advance until the guard drops.
    pub fn register_fetch(self: &Arc<Self>, waiter: Arc<FetchWaiter>) -> FetchRegistration {
        let mut lists = self.lists();
        let id = lists.next_id;
        lists.next_id += 1;
        lists.fetches.insert(id, waiter);
        self.registered.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        FetchRegistration {
            waiters: Arc::clone(self),
            id,
        }
    }

    /// Registers for the high watermark reaching `end_offset`. The caller looks at the high watermark after this call
    /// and before it waits. The receiver fails when the partition ends.
    pub fn register_commit(&self, end_offset: Offset) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut lists = self.lists();
        let id = lists.next_id;
        lists.next_id += 1;
        lists.commits.insert((end_offset, id), sender);
        self.registered.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        receiver
    }

    /// The high watermark is now `high_watermark`, and readers may see `bytes` more than before.
    pub fn on_advance(&self, high_watermark: Offset, bytes: usize) {
        // pairs with the registration's increment: either it sees the new watermark, or we see its registration
        fence(Ordering::SeqCst);
        if self.registered.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut lists = self.lists();
        while let Some(entry) = lists.commits.first_entry() {
            if entry.key().0 > high_watermark {
                break;
            }
            // a receiver that gave up has nothing to be told
            let _gone = entry.remove().send(());
            self.registered.fetch_sub(1, Ordering::SeqCst);
        }
        let bytes = i64::try_from(bytes).unwrap_or(MAX_STEP_BYTES).min(MAX_STEP_BYTES);
        for fetch in lists.fetches.values() {
            fetch.on_bytes(bytes);
        }
    }

    /// The partition ends, or its state changed in a way that every waiting fetch has to look at.
    pub fn end_all(&self) {
        let mut lists = self.lists();
        let commits = std::mem::take(&mut lists.commits);
        self.registered.fetch_sub(commits.len(), Ordering::SeqCst);
        for fetch in lists.fetches.values() {
            fetch.end();
        }
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().expect("no waiter panics while it holds the list")
    }
}

/// Keeps a fetch registered; dropping it ends the registration.
#[derive(Debug)]
pub struct FetchRegistration {
    waiters: Arc<Waiters>,
    id: u64,
}

impl Drop for FetchRegistration {
    fn drop(&mut self) {
        if self.waiters.lists().fetches.remove(&self.id).is_some() {
            self.waiters.registered.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fetch_is_woken_when_enough_bytes_came() {
        let waiters = Arc::new(Waiters::default());
        let fetch = FetchWaiter::new();
        let registration = waiters.register_fetch(Arc::clone(&fetch));
        waiters.on_advance(1, 60);
        assert!(now_or_never(fetch.wait_until(100)).await.is_none());
        waiters.on_advance(2, 40);
        assert!(now_or_never(fetch.wait_until(100)).await.is_some());
        drop(registration);
        assert_eq!(waiters.registered.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_commit_is_released_when_the_high_watermark_covers_it() {
        let waiters = Waiters::default();
        let mut early = waiters.register_commit(5);
        let mut late = waiters.register_commit(9);
        waiters.on_advance(5, 0);
        assert!(early.try_recv().is_ok());
        assert!(late.try_recv().is_err());
        waiters.end_all();
        assert!(late.await.is_err(), "the partition ended");
        assert_eq!(waiters.registered.load(Ordering::SeqCst), 0);
    }

    /// The future's value if it is there without waiting.
    async fn now_or_never<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
