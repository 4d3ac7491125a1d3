//! Limits that connections keep, by Kafka's config names.
//!
//! Invariant: a connection is counted from its accept to its close, by the guard that it holds.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

/// `max.connections` and `max.connections.per.ip`.
#[derive(Debug)]
pub struct ConnectionCounts {
    slots: Arc<Semaphore>,
    max_per_ip: usize,
    max_per_ip_overrides: BTreeMap<IpAddr, usize>,
    per_ip: Mutex<BTreeMap<IpAddr, usize>>,
}

/// One counted connection.
#[derive(Debug)]
pub struct ConnectionCount {
    counts: Arc<ConnectionCounts>,
    ip: IpAddr,
    _slot: OwnedSemaphorePermit,
}

impl ConnectionCounts {
    /// Counts against these limits.
    pub fn new(max_connections: usize, max_per_ip: usize, overrides: BTreeMap<IpAddr, usize>) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self {
            slots,
            max_per_ip,
            max_per_ip_overrides: overrides,
            per_ip: Mutex::new(BTreeMap::new()),
        })
    }

    /// Waits for a free slot: at `max.connections` the acceptor waits, as Kafka's does.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn slot(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }

    /// Counts a connection of `ip`; `None` when that address has too many.
    ///
    /// # Panics
    /// Never: nobody panics under this lock.
    pub fn count(self: &Arc<Self>, ip: IpAddr, slot: OwnedSemaphorePermit) -> Option<ConnectionCount> {
        let ip = ip.to_canonical();
        let limit = self.max_per_ip_overrides.get(&ip).copied().unwrap_or(self.max_per_ip);
        let mut per_ip = self.per_ip.lock().expect("counting does not panic");
        let count = per_ip.entry(ip).or_insert(0);
        if *count >= limit {
            if *count == 0 {
                per_ip.remove(&ip);
            }
            return None;
        }
        *count += 1;
        Some(ConnectionCount {
            counts: Arc::clone(self),
            ip,
            _slot: slot,
        })
    }
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        let mut per_ip = self.counts.per_ip.lock().expect("counting does not panic");
        if let Some(count) = per_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                per_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_has_its_own_limit() {
        let local: IpAddr = "127.0.0.1".parse().expect("address");
        let other: IpAddr = "127.0.0.2".parse().expect("address");
        let counts = ConnectionCounts::new(10, 1, BTreeMap::from([(other, 2)]));
        let first = counts.count(local, counts.slot().await).expect("first");
        assert!(counts.count(local, counts.slot().await).is_none());
        let _a = counts.count(other, counts.slot().await).expect("override");
        let _b = counts.count(other, counts.slot().await).expect("override");
        drop(first);
        assert!(counts.count(local, counts.slot().await).is_some());
    }
}
