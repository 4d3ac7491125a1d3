//! One fetch session: the partitions that a client fetches, in order of priority, and what it knows of them.
//!
//! Pure; `S` is what the owner keeps beside each partition. Invariants: a partition is named once; a partition is left
//! out of a look only when it is watched, the look at it after the watch began had nothing to tell, and nobody told since
//! (else it is *pending*); a partition that gave records goes to the end of the order, so that none starves; what the
//! client is taken to know is exactly what answers told it (`FetchSession.CachedPartition.maybeUpdateResponseData`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::types::{LeaderEpoch, Offset, PartitionIndex, TopicId};
use protocol::wire::fetch_response::FetchedPartition;

/// How a topic is named in a session: by id from Fetch 13 on, by name before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicKey {
    /// By name.
    Name(Arc<str>),
    /// By id.
    Id(TopicId),
}

/// How a partition is named in a session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionKey {
    /// Its topic.
    pub topic: TopicKey,
    /// Its index.
    pub partition: PartitionIndex,
}

impl PartitionKey {
    /// Memory of a partition with this name in a session, about.
    pub fn size_bytes(&self) -> usize {
        PARTITION_BYTES + self.topic.name_bytes()
    }
}

impl TopicKey {
    fn name_bytes(&self) -> usize {
        match self {
            Self::Name(name) => name.len(),
            Self::Id(_) => 0,
        }
    }
}

/// What a client wants of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionFetch {
    /// The leader epoch that the client believes in; -1 = no check.
    pub current_leader_epoch: LeaderEpoch,
    /// Where it reads from.
    pub fetch_offset: Offset,
    /// Epoch of the last record that it has; -1 = no check.
    pub last_fetched_epoch: LeaderEpoch,
    /// Most bytes that it takes.
    pub partition_max_bytes: i32,
}

/// A partition with what a client wants of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPartition {
    /// Which one.
    pub key: PartitionKey,
    /// What is wanted.
    pub fetch: PartitionFetch,
}

/// What one look at a partition came to.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The answer without its records.
    pub partition: &'a FetchedPartition,
    /// Whether there are records with it.
    pub has_records: bool,
    /// Whether there is something to read that the limits held back, or that the client has not got yet.
    pub readable: bool,
    /// Whether the watch had begun before the look.
    pub watched: bool,
}

/// A partition of a session.
#[derive(Debug)]
pub struct SessionPartition<S> {
    /// Which one.
    pub key: PartitionKey,
    /// What the client wants of it.
    pub fetch: PartitionFetch,
    /// What the owner keeps beside it.
    pub source: S,
    /// Whether the partition tells of what happens: set by the owner, ended by [`Session::on_told`].
    pub watched: bool,
    /// The last look had nothing to tell: worth watching.
    pub quiet: bool,
    high_watermark: Offset,
    log_start_offset: Offset,
    order: u64,
}

/// A session.
#[derive(Debug)]
pub struct Session<S> {
    epoch: i32,
    uses_topic_ids: bool,
    /// How far the client could see with its last request.
    isolation_level: i8,
    by_key: BTreeMap<PartitionKey, u32>,
    partitions: Vec<Option<SessionPartition<S>>>,
    free: Vec<u32>,
    next_order: u64,
    /// Slots that have to be looked at, in order of priority.
    pending: BTreeMap<u64, u32>,
    name_bytes: usize,
}

/// The epoch behind `epoch`: it wraps to 1, since 0 asks for a new session.
pub fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

/// Memory of one partition in a session: itself, its place in two maps, and its place among those who watch.
const PARTITION_BYTES: usize = 320;

impl<S: Default> Session<S> {
    /// A session that was answered in full: each partition with what the owner keeps of it, and what the answer told.
    pub fn new<'a>(
        uses_topic_ids: bool,
        isolation_level: i8,
        answered: impl IntoIterator<Item = (WantedPartition, S, &'a FetchedPartition)>,
    ) -> Self {
        let mut session = Self {
            epoch: next_epoch(0),
            uses_topic_ids,
            isolation_level,
            by_key: BTreeMap::new(),
            partitions: Vec::new(),
            free: Vec::new(),
            next_order: 0,
            pending: BTreeMap::new(),
            name_bytes: 0,
        };
        for (wanted, source, told) in answered {
            let slot = session.add(wanted);
            let partition = session.partition_mut(slot).expect("just added");
            partition.source = source;
            partition.high_watermark = told.high_watermark;
            partition.log_start_offset = told.log_start_offset;
        }
        session
    }

    /// The epoch that the next request has to carry.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// Whether the session was made by a version that names topics by id.
    pub fn uses_topic_ids(&self) -> bool {
        self.uses_topic_ids
    }

    /// How many partitions there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Memory that the session takes, about.
    pub fn size_bytes(&self) -> usize {
        self.partitions.len() * PARTITION_BYTES + self.name_bytes
    }

    /// Takes over what a request with the session's epoch says, and steps to the next epoch.
    pub fn update(
        &mut self,
        isolation_level: i8,
        wanted: Vec<WantedPartition>,
        forgotten: impl IntoIterator<Item = PartitionKey>,
    ) {
        if std::mem::replace(&mut self.isolation_level, isolation_level) != isolation_level {
            // there may be something to read where there was nothing
            let partitions = self.partitions.iter().zip(0..);
            let all = partitions.filter_map(|(partition, slot)| Some((partition.as_ref()?.order, slot)));
            self.pending = all.collect();
        }
        for wanted in wanted {
            if let Some(slot) = self.by_key.get(&wanted.key).copied() {
                let partition = self.partition_mut(slot).expect("named in the map");
                partition.fetch = wanted.fetch;
                partition.quiet = false;
                let order = partition.order;
                self.pending.insert(order, slot);
            } else {
                self.add(wanted);
            }
        }
        for key in forgotten {
            self.remove(&key);
        }
        self.epoch = next_epoch(self.epoch);
    }

    /// These partitions told of something: they have to be looked at, and watched anew.
    pub fn on_told(&mut self, told: &BTreeSet<u32>) {
        for slot in told {
            if let Some(partition) = self.partitions.get_mut(*slot as usize).and_then(Option::as_mut) {
                partition.watched = false;
                self.pending.insert(partition.order, *slot);
            }
        }
    }

    /// Slots that have to be looked at, in order of priority.
    pub fn pending(&self) -> Vec<u32> {
        self.pending.values().copied().collect()
    }

    /// The partition in a slot.
    pub fn partition_mut(&mut self, slot: u32) -> Option<&mut SessionPartition<S>> {
        self.partitions.get_mut(slot as usize)?.as_mut()
    }

    /// The place of a slot in the order of priority; smaller comes first.
    pub fn order(&self, slot: u32) -> u64 {
        let partition = self.partitions.get(slot as usize).and_then(Option::as_ref);
        partition.map_or(u64::MAX, |partition| partition.order)
    }

    /// Takes over what a look saw. True when the client is to be told, which it is then taken to be.
    pub fn settle(&mut self, slot: u32, seen: Seen<'_>) -> bool {
        let order_behind_all = self.next_order;
        let Some(partition) = self.partition_mut(slot) else {
            return false;
        };
        let answer = seen.partition;
        let failed = answer.error_code != ErrorCode::None;
        let changed =
            partition.high_watermark != answer.high_watermark || partition.log_start_offset != answer.log_start_offset;
        // after an error the client is told again, whatever the offsets are then
        partition.high_watermark = if failed { -1 } else { answer.high_watermark };
        partition.log_start_offset = answer.log_start_offset;
        let urgent = failed || answer.diverging_epoch.is_some() || answer.preferred_read_replica >= 0;
        partition.quiet = !(seen.has_records || seen.readable || urgent);
        let is_done = partition.quiet && partition.watched && seen.watched;
        let order = partition.order;
        if seen.has_records {
            partition.order = order_behind_all;
            self.next_order += 1;
            self.pending.remove(&order);
            self.pending.insert(order_behind_all, slot);
        } else if is_done {
            self.pending.remove(&order);
        }
        seen.has_records || changed || urgent
    }

    fn add(&mut self, wanted: WantedPartition) -> u32 {
        if let Some(known) = self.by_key.get(&wanted.key) {
            return *known;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.partitions.push(None);
            u32::try_from(self.partitions.len() - 1).expect("far fewer partitions fit a request")
        });
        self.name_bytes += wanted.key.topic.name_bytes();
        self.by_key.insert(wanted.key.clone(), slot);
        self.partitions[slot as usize] = Some(SessionPartition {
            key: wanted.key,
            fetch: wanted.fetch,
            source: S::default(),
            watched: false,
            quiet: false,
            high_watermark: -1,
            log_start_offset: -1,
            order: self.next_order,
        });
        self.pending.insert(self.next_order, slot);
        self.next_order += 1;
        slot
    }

    fn remove(&mut self, key: &PartitionKey) {
        let Some(slot) = self.by_key.remove(key) else { return };
        if let Some(gone) = self.partitions[slot as usize].take() {
            self.pending.remove(&gone.order);
        }
        self.name_bytes -= key.topic.name_bytes();
        self.free.push(slot);
    }
}

#[cfg(test)]
mod tests;
