//! Waiting until enough bytes are there for a fetch, on any of its partitions.
//!
//! A [`FetchWaiter`] belongs to one fetch without session, or to one fetch session for as long as that lives. It is
//! registered with partitions under a slot number each, and collects the slots of those where something happened.
//!
//! Invariants: a wait is ended by the append itself, not by a clock; registration comes before the look that counts, so
//! nothing falls between; a slot stays collected until somebody takes it to look, whether anybody waits or not; outside
//! of a wait a partition tells a waiter once and forgets it, so that sessions nobody uses cost the producers nothing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

/// Collects what happens on the partitions of a fetch or a fetch session.
#[derive(Debug, Default)]
pub struct FetchWaiter {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    told: BTreeSet<u32>,
    /// Bytes that became readable since the last look.
    bytes: i64,
    wanted_bytes: i64,
    /// The wait that is under way is the one with this number.
    turn: u64,
    waiting: bool,
}

impl FetchWaiter {
    /// Begins a wait and ends the one that is under way.
    pub fn begin(self: &Arc<Self>) -> FetchWait {
        let mut state = self.state();
        state.turn += 1;
        state.waiting = true;
        state.bytes = 0;
        state.wanted_bytes = i64::MAX;
        let turn = state.turn;
        drop(state);
        self.changed.notify_waiters();
        FetchWait {
            waiter: Arc::clone(self),
            turn,
        }
    }

    /// Ends the wait that is under way.
    pub fn interrupt(&self) {
        let mut state = self.state();
        if state.waiting {
            state.turn += 1;
            state.waiting = false;
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// The slots where something happened since they were last taken. Bytes are counted anew from here on.
    pub fn take_told(&self) -> BTreeSet<u32> {
        let mut state = self.state();
        state.bytes = 0;
        std::mem::take(&mut state.told)
    }

    /// Something happened on the partition of this slot: so many bytes became readable, or `i64::MAX` for a change that
    /// ends every wait. False when the partition need not tell of more.
    pub(super) fn on_bytes(&self, slot: u32, bytes: i64) -> bool {
        let mut state = self.state();
        state.told.insert(slot);
        state.bytes = state.bytes.saturating_add(bytes);
        let (waiting, enough) = (state.waiting, state.bytes >= state.wanted_bytes);
        drop(state);
        if waiting && enough {
            self.changed.notify_waiters();
        }
        waiting
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl FetchWait {
    /// A wait that is over before it began.
    pub fn over() -> Self {
        let waiter = Arc::new(FetchWaiter::default());
        let wait = waiter.begin();
        waiter.interrupt();
        wait
    }
}

/// One wait; it ends when this drops.
#[derive(Debug)]
pub struct FetchWait {
    waiter: Arc<FetchWaiter>,
    turn: u64,
}

impl FetchWait {
    /// Returns when so many bytes became readable since the last [`FetchWaiter::take_told`]; false when another wait
    /// took this one's place.
    pub async fn wait_for(&self, bytes: i64) -> bool {
        loop {
            let mut changed = std::pin::pin!(self.waiter.changed.notified());
            // before the look at the state, so that no change falls between
            changed.as_mut().enable();
            {
                let mut state = self.waiter.state();
                if state.turn != self.turn {
                    return false;
                }
                if state.bytes >= bytes {
                    return true;
                }
                state.wanted_bytes = bytes;
            }
            changed.await;
        }
    }
}

impl Drop for FetchWait {
    fn drop(&mut self) {
        let mut state = self.waiter.state();
        if state.turn == self.turn {
            state.waiting = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::waiters::{Waiters, now_or_never};

    #[tokio::test]
    async fn a_wait_ends_when_enough_bytes_came_since_the_last_look() {
        let waiter = Arc::new(FetchWaiter::default());
        let wait = waiter.begin();
        assert!(waiter.on_bytes(3, 60));
        assert!(now_or_never(wait.wait_for(100)).await.is_none());
        assert!(waiter.on_bytes(5, 40));
        assert_eq!(now_or_never(wait.wait_for(100)).await, Some(true));
        assert_eq!(waiter.take_told(), BTreeSet::from([3, 5]));
        assert!(now_or_never(wait.wait_for(1)).await.is_none(), "counted anew");
        waiter.on_bytes(3, i64::MAX);
        waiter.on_bytes(3, i64::MAX);
        assert_eq!(now_or_never(wait.wait_for(i64::MAX)).await, Some(true));
    }

    #[tokio::test]
    async fn a_wait_is_ended_by_the_next_one() {
        let waiter = Arc::new(FetchWaiter::default());
        let first = waiter.begin();
        let second = waiter.begin();
        assert_eq!(now_or_never(first.wait_for(1)).await, Some(false));
        drop(first);
        assert!(now_or_never(second.wait_for(1)).await.is_none());
        assert!(waiter.on_bytes(0, 1), "the second still waits");
        assert_eq!(now_or_never(second.wait_for(1)).await, Some(true));
        waiter.interrupt();
        assert_eq!(now_or_never(second.wait_for(1)).await, Some(false));
        assert_eq!(now_or_never(FetchWait::over().wait_for(1)).await, Some(false));
    }

    #[test]
    fn without_a_wait_a_partition_tells_once() {
        let waiter = Arc::new(FetchWaiter::default());
        let waiters = Arc::new(Waiters::default());
        let registration = waiters.register_fetch(&waiter, 7);
        let wait = waiter.begin();
        waiters.on_advance(1, 10);
        waiters.on_advance(2, 10);
        assert_eq!(waiters.registered(), 1, "who waits hears of everything");
        drop(wait);
        waiters.on_advance(3, 10);
        assert_eq!(waiters.registered(), 0);
        assert_eq!(waiter.take_told(), BTreeSet::from([7]));
        waiters.on_advance(4, 10);
        assert_eq!(waiter.take_told(), BTreeSet::new());
        registration.renew();
        registration.renew();
        assert_eq!(waiters.registered(), 1);
        waiters.end_all();
        assert_eq!(waiter.take_told(), BTreeSet::from([7]));
        registration.renew();
        drop(registration);
        assert_eq!(waiters.registered(), 0);
    }
}
