//! What a connection keeps from one request to the next: who the client is, and how long it has to wait.
//!
//! Invariant: a wait that a handler gives is taken by the connection before it reads on, and only by it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Kafka's type of principals, `User` for all that the broker itself makes.
    pub kind: String,
    /// The name.
    pub name: String,
}

impl Principal {
    /// Whoever did not say who it is: `User:ANONYMOUS`.
    pub fn anonymous() -> Self {
        Self {
            kind: "User".to_owned(),
            name: "ANONYMOUS".to_owned(),
        }
    }
}

/// See the module. One per connection.
#[derive(Debug)]
pub struct Session {
    /// Who the client is.
    pub principal: Principal,
    /// The wait that the connection has not begun yet.
    wait_ms: AtomicU32,
    /// Time spent on the socket that no request has been charged with yet.
    network_nanos: AtomicU64,
}

impl Session {
    /// Of a client that is known as `principal`.
    pub fn new(principal: Principal) -> Self {
        Self {
            principal,
            wait_ms: AtomicU32::new(0),
            network_nanos: AtomicU64::new(0),
        }
    }

    /// Makes the connection wait before it takes the next request.
    pub fn throttle(&self, throttle_time_ms: i32) {
        if let Ok(ms @ 1..) = u32::try_from(throttle_time_ms) {
            self.wait_ms.fetch_max(ms, Ordering::Relaxed);
        }
    }

    /// The wait that was given since the last call.
    pub fn take_wait(&self) -> Option<Duration> {
        if self.wait_ms.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let ms = self.wait_ms.swap(0, Ordering::Relaxed);
        Some(Duration::from_millis(u64::from(ms)))
    }

    /// Adds time spent on the socket.
    pub fn add_network_time(&self, spent: Duration) {
        let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        self.network_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The time spent on the socket since the last call, in nanoseconds.
    pub fn take_network_nanos(&self) -> u64 {
        self.network_nanos.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_is_taken_once() {
        let session = Session::new(Principal::anonymous());
        assert_eq!(session.take_wait(), None);
        for ms in [5, 900, -1, 0, 20] {
            session.throttle(ms);
        }
        assert_eq!(session.take_wait(), Some(Duration::from_millis(900)));
        assert_eq!(session.take_wait(), None);
    }

    #[test]
    fn time_on_the_socket_is_charged_once() {
        let session = Session::new(Principal::anonymous());
        session.add_network_time(Duration::from_nanos(7));
        session.add_network_time(Duration::from_nanos(8));
        assert_eq!((session.take_network_nanos(), session.take_network_nanos()), (15, 0));
    }
}
