//! Leader side of one partition: who is in sync, how far each replica is, and so where the high watermark stands.
//!
//! Invariants: the high watermark never falls within a leader epoch; it never passes the slowest in-sync replica nor
//! this leader's own log end; it rests while the in-sync set is smaller than `min.insync.replicas` (KIP-966), of which
//! no more are asked for than the partition has replicas. Pure: no clock, no I/O. Source: Kafka's
//! `Partition.maybeIncrementLeaderHW` and `effectiveMinIsr`.

use std::collections::BTreeMap;

use protocol::types::{BrokerId, LeaderEpoch, Offset};

/// State of a leader, for one leader epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderState {
    local: BrokerId,
    leader_epoch: LeaderEpoch,
    /// Log end offset of each in-sync replica that counts for the high watermark (this leader's own among them).
    in_sync: BTreeMap<BrokerId, Offset>,
    /// How many replicas there are, in sync or not.
    replicas: usize,
    min_insync_replicas: usize,
    high_watermark: Offset,
}

impl LeaderState {
    /// Becomes leader in `leader_epoch` with the in-sync set `isr`; the high watermark starts where it was known and
    /// catches up by the replicas' progress.
    ///
    /// # Panics
    /// When this broker is not in `isr`: a leader is in sync with itself.
    pub fn new(
        local: BrokerId,
        leader_epoch: LeaderEpoch,
        isr: &[BrokerId],
        replicas: usize,
        min_insync_replicas: usize,
        high_watermark: Offset,
    ) -> Self {
        assert!(
            isr.contains(&local),
            "leader {local} must be in its in-sync set {isr:?}"
        );
        let in_sync = isr.iter().map(|id| (*id, high_watermark)).collect();
        Self {
            local,
            leader_epoch,
            in_sync,
            replicas,
            min_insync_replicas,
            high_watermark,
        }
    }

    /// The epoch in which this broker leads.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Everything below is committed: readable by consumers, never lost while an in-sync replica lives.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Whether a write with acks=all may be taken (else NOT_ENOUGH_REPLICAS).
    pub fn has_enough_replicas(&self) -> bool {
        self.in_sync.len() >= self.min_insync_replicas.min(self.replicas)
    }

    /// `min.insync.replicas` of the topic changed.
    pub fn on_min_insync_replicas(&mut self, min_insync_replicas: usize) -> Option<Offset> {
        self.min_insync_replicas = min_insync_replicas;
        self.advance()
    }

    /// This leader's own log (or, where an ack means a durable write, its durable part) now ends at `end_offset`.
    /// Returns the new high watermark when it moved.
    pub fn on_local_progress(&mut self, end_offset: Offset) -> Option<Offset> {
        self.on_replica_progress(self.local, end_offset)
    }

    /// An in-sync replica has everything below `end_offset`. Returns the new high watermark when it moved. A replica
    /// outside the in-sync set is of no weight, and progress never goes back.
    pub fn on_replica_progress(&mut self, broker: BrokerId, end_offset: Offset) -> Option<Offset> {
        let known = self.in_sync.get_mut(&broker)?;
        *known = end_offset.max(*known);
        self.advance()
    }

    fn advance(&mut self) -> Option<Offset> {
        if !self.has_enough_replicas() {
            return None;
        }
        let slowest = *self.in_sync.values().min().expect("the leader is in its in-sync set");
        if slowest <= self.high_watermark {
            return None;
        }
        assert!(
            slowest <= self.in_sync[&self.local],
            "the high watermark may not pass the leader's own log"
        );
        self.high_watermark = slowest;
        Some(slowest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn alone_the_high_watermark_follows_the_log() {
        let mut leader = LeaderState::new(1, 5, &[1], 1, 1, 10);
        assert_eq!(leader.on_local_progress(12), Some(12));
        assert_eq!(leader.on_local_progress(12), None);
        assert_eq!((leader.high_watermark(), leader.leader_epoch()), (12, 5));
    }

    #[test]
    fn the_slowest_in_sync_replica_holds_it_back() {
        let mut leader = LeaderState::new(1, 0, &[1, 2], 2, 1, 0);
        assert_eq!(leader.on_local_progress(10), None);
        assert_eq!(leader.on_replica_progress(2, 4), Some(4));
        assert_eq!(leader.on_replica_progress(3, 9), None, "not in sync");
        assert_eq!(leader.on_replica_progress(2, 10), Some(10));
    }

    #[test]
    fn too_few_in_sync_replicas_refuse_writes_and_hold_the_high_watermark() {
        let mut leader = LeaderState::new(1, 0, &[1], 3, 2, 0);
        assert!(!leader.has_enough_replicas());
        assert_eq!(leader.on_local_progress(7), None);
        assert_eq!(leader.on_min_insync_replicas(1), Some(7));
        assert!(leader.has_enough_replicas());
    }

    #[test]
    fn no_more_replicas_are_asked_for_than_there_are() {
        let mut leader = LeaderState::new(1, 0, &[1], 1, 2, 0);
        assert!(leader.has_enough_replicas());
        assert_eq!(leader.on_local_progress(7), Some(7));
    }

    proptest! {
        #[test]
        fn it_only_rises_and_never_passes_an_in_sync_replica(steps in prop::collection::vec((1..4_i32, 0..50_i64), 1..60)) {
            let mut leader = LeaderState::new(1, 0, &[1, 2, 3], 3, 2, 0);
            let mut best = BTreeMap::from([(1, 0), (2, 0), (3, 0)]);
            for (broker, offset) in steps {
                let before = leader.high_watermark();
                // a follower can only have what the leader had
                let offset = if broker == 1 { offset } else { offset.min(best[&1]) };
                leader.on_replica_progress(broker, offset);
                let entry = best.get_mut(&broker).expect("one of three");
                *entry = offset.max(*entry);
                prop_assert!(leader.high_watermark() >= before);
                prop_assert_eq!(leader.high_watermark(), *best.values().min().expect("three"));
            }
        }
    }
}
