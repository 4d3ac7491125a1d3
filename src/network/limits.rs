//! Limits that connections keep, by Kafka's config names.
//!
//! Invariant: a connection is counted from its accept to its close, by the guard that it holds.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

/// What one connection has to keep.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// `socket.request.max.bytes`
    pub request_max_bytes: usize,
    /// `connections.max.idle.ms`
    pub max_idle: Duration,
    /// Answers owed on one connection before it is read on.
    pub max_in_flight: usize,
    /// Bytes of answers that wait for the socket before the connection is read on.
    pub max_outbox_bytes: usize,
    /// A frame that is not continued for so long is given up while others wait for memory.
    pub stalled_frame: Duration,
}

/// How many connections there may be; may change while there are some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountLimits {
    /// `max.connections`
    pub max_connections: usize,
    /// `max.connections.per.ip`
    pub max_per_ip: usize,
    /// `max.connections.per.ip.overrides`
    pub max_per_ip_overrides: BTreeMap<IpAddr, usize>,
}

/// Counts connections against `max.connections` and `max.connections.per.ip`. A lowered limit closes nobody, as in Kafka.
#[derive(Debug)]
pub struct ConnectionCounts {
    counted: Mutex<Counted>,
    /// Told when a connection closed or the limits changed.
    room: Notify,
}

#[derive(Debug)]
struct Counted {
    limits: CountLimits,
    total: usize,
    per_ip: BTreeMap<IpAddr, usize>,
}

/// The right to one more connection.
#[derive(Debug)]
pub struct ConnectionSlot {
    counts: Arc<ConnectionCounts>,
}

/// One counted connection.
#[derive(Debug)]
pub struct ConnectionCount {
    ip: IpAddr,
    slot: ConnectionSlot,
}

impl ConnectionCounts {
    /// Counts against these limits.
    pub fn new(limits: CountLimits) -> Arc<Self> {
        let counted = Counted {
            limits,
            total: 0,
            per_ip: BTreeMap::new(),
        };
        Arc::new(Self {
            counted: Mutex::new(counted),
            room: Notify::new(),
        })
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().expect("counting does not panic")
    }

    /// Sets other limits; who waits looks again.
    pub fn set_limits(&self, limits: CountLimits) {
        let mut counted = self.counted();
        if counted.limits != limits {
            counted.limits = limits;
            drop(counted);
            self.room.notify_waiters();
        }
    }

    /// Waits for a free slot: at `max.connections` the acceptor waits, as Kafka's does.
    pub async fn slot(self: &Arc<Self>) -> ConnectionSlot {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            // from here on nothing is missed
            room.as_mut().enable();
            {
                let mut counted = self.counted();
                if counted.total < counted.limits.max_connections {
                    counted.total += 1;
                    return ConnectionSlot {
                        counts: Arc::clone(self),
                    };
                }
            }
            room.await;
        }
    }

    /// Counts a connection of `ip`; `None` when that address has too many.
    pub fn count(self: &Arc<Self>, ip: IpAddr, slot: ConnectionSlot) -> Option<ConnectionCount> {
        let ip = ip.to_canonical();
        let mut guard = self.counted();
        let counted = &mut *guard;
        let limits = &counted.limits;
        let limit = limits
            .max_per_ip_overrides
            .get(&ip)
            .copied()
            .unwrap_or(limits.max_per_ip);
        let count = counted.per_ip.get(&ip).copied().unwrap_or(0);
        if count >= limit {
            // the slot is given back, which locks too
            drop(guard);
            return None;
        }
        counted.per_ip.insert(ip, count + 1);
        drop(guard);
        Some(ConnectionCount { ip, slot })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.counts.counted().total -= 1;
        // every acceptor looks again: one that is not waiting for this must not take the only word
        self.counts.room.notify_waiters();
    }
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        let mut counted = self.slot.counts.counted();
        if let Some(count) = counted.per_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                counted.per_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_connections: usize, max_per_ip: usize, overrides: &[(IpAddr, usize)]) -> CountLimits {
        CountLimits {
            max_connections,
            max_per_ip,
            max_per_ip_overrides: overrides.iter().copied().collect(),
        }
    }

    #[tokio::test]
    async fn an_address_has_its_own_limit() {
        let local: IpAddr = "127.0.0.1".parse().expect("address");
        let other: IpAddr = "127.0.0.2".parse().expect("address");
        let counts = ConnectionCounts::new(limits(10, 1, &[(other, 2)]));
        let first = counts.count(local, counts.slot().await).expect("first");
        assert!(counts.count(local, counts.slot().await).is_none());
        let _a = counts.count(other, counts.slot().await).expect("override");
        let _b = counts.count(other, counts.slot().await).expect("override");
        drop(first);
        assert!(counts.count(local, counts.slot().await).is_some());
    }

    #[tokio::test]
    async fn limits_change_while_there_are_connections() {
        let local: IpAddr = "127.0.0.1".parse().expect("address");
        let counts = ConnectionCounts::new(limits(2, 1, &[]));
        let first = counts.count(local, counts.slot().await).expect("first");
        counts.set_limits(limits(2, 2, &[]));
        let second = counts.count(local, counts.slot().await).expect("allowed now");
        let waiting = tokio::spawn({
            let counts = Arc::clone(&counts);
            async move { counts.slot().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "max.connections is reached");
        counts.set_limits(limits(3, 2, &[]));
        let slot = waiting.await.expect("a slot");
        assert!(counts.count(local, slot).is_none(), "two of this address are there");
        counts.set_limits(limits(1, 2, &[]));
        drop(first);
        assert_eq!(counts.counted().total, 1, "the lowered limit closed nobody");
        drop(second);
        drop(counts.slot().await);
    }
}
