//! Those who wait for a partition: fetches for more bytes, producers and coordinators for the high watermark.
//!
//! Invariants: nobody waits without being registered first and looking again afterwards, so no wake-up is lost; a
//! registration is gone when its guard drops; waking takes nothing but this list's lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard};

use protocol::types::Offset;
use tokio::sync::oneshot;

use crate::partition::fetch_wait::FetchWaiter;

#[derive(Debug, Default)]
struct Lists {
    next_id: u64,
    fetches: BTreeMap<u64, Watch>,
    /// By the offset below which the high watermark must have come, exclusive.
    commits: BTreeMap<(Offset, u64), oneshot::Sender<()>>,
}

/// A fetch or a session that watches, and its number for this partition.
#[derive(Debug)]
struct Watch {
    waiter: Arc<FetchWaiter>,
    slot: u32,
}

/// Everybody who waits for one partition.
#[derive(Debug, Default)]
pub struct Waiters {
    registered: AtomicUsize,
    lists: Mutex<Lists>,
}

impl Waiters {
    /// Registers a fetch or a session; it hears of what happens until the guard drops, or once if it does not wait.
    pub fn register_fetch(self: &Arc<Self>, waiter: &Arc<FetchWaiter>, slot: u32) -> FetchRegistration {
        let mut lists = self.lists();
        let id = lists.next_id;
        lists.next_id += 1;
        drop(lists);
        let registration = FetchRegistration {
            waiters: Arc::clone(self),
            waiter: Arc::clone(waiter),
            slot,
            id,
        };
        registration.renew();
        registration
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
        self.tell_fetches(&mut lists, i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Something changed that no wait is for, but that fetch sessions report.
    pub fn on_news(&self) {
        fence(Ordering::SeqCst);
        if self.registered.load(Ordering::SeqCst) > 0 {
            self.tell_fetches(&mut self.lists(), 0);
        }
    }

    /// The partition ends, or its state changed in a way that every waiting fetch has to look at.
    pub fn end_all(&self) {
        let mut lists = self.lists();
        let commits = std::mem::take(&mut lists.commits);
        self.registered.fetch_sub(commits.len(), Ordering::SeqCst);
        self.tell_fetches(&mut lists, i64::MAX);
    }

    fn tell_fetches(&self, lists: &mut Lists, bytes: i64) {
        let before = lists.fetches.len();
        lists
            .fetches
            .retain(|_, watch| watch.waiter.on_bytes(watch.slot, bytes));
        self.registered
            .fetch_sub(before - lists.fetches.len(), Ordering::SeqCst);
    }

    /// How many are registered.
    #[cfg(test)]
    pub(crate) fn registered(&self) -> usize {
        self.registered.load(Ordering::SeqCst)
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().expect("no waiter panics while it holds the list")
    }
}

/// Keeps a fetch registered; dropping it ends the registration.
#[derive(Debug)]
pub struct FetchRegistration {
    waiters: Arc<Waiters>,
    waiter: Arc<FetchWaiter>,
    slot: u32,
    id: u64,
}

impl FetchRegistration {
    /// Registers again if the partition has told and forgotten.
    pub fn renew(&self) {
        let mut lists = self.waiters.lists();
        let watch = || Watch {
            waiter: Arc::clone(&self.waiter),
            slot: self.slot,
        };
        let mut added = false;
        lists.fetches.entry(self.id).or_insert_with(|| {
            added = true;
            watch()
        });
        if added {
            self.waiters.registered.fetch_add(1, Ordering::SeqCst);
        }
        drop(lists);
        fence(Ordering::SeqCst);
    }

    /// Whether this is a registration with these waiters.
    pub fn is_with(&self, waiters: &Arc<Waiters>) -> bool {
        Arc::ptr_eq(&self.waiters, waiters)
    }
}

impl Drop for FetchRegistration {
    fn drop(&mut self) {
        if self.waiters.lists().fetches.remove(&self.id).is_some() {
            self.waiters.registered.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// The future's value if it is there without waiting.
#[cfg(test)]
pub(super) async fn now_or_never<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
