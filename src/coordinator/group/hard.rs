//! The hard state of a shard: exactly what its records say.
//!
//! Invariants: it changes only in `replay` and `replay_marker`, so that the state after a restart
//! is the fold of the log; replaying the same records at the same offsets always gives the same state. Offsets committed
//! in a transaction stay hidden until the transaction's end marker. A group goes with the tombstone of its metadata, not
//! with its last offset: who deletes the offsets of a group one by one can still delete the group. Sources: `OffsetMetadataManager.replay`,
//! `GroupMetadataManager.replay`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use protocol::types::ProducerId;

use super::record::{self, GroupMetadata, Names, OffsetAndMetadata, Record};
use super::rewrite::{self, Rewrite};
use crate::coordinator::runtime::machine::{Decoded, EncodedRecord, HardState};
use crate::coordinator::wire::RecordEncodeError;

/// What the log says about all groups of a shard.
#[derive(Debug, PartialEq, Eq)]
pub struct Hard {
    groups: BTreeMap<Arc<str>, HardGroup>,
    /// Where the open transactions of each producer have offsets.
    open_transactions: BTreeMap<ProducerId, BTreeSet<(Arc<str>, TopicPartition)>>,
    /// How many offsets those are.
    pending_count: usize,
    /// Offset of the last replayed record; -1 = none.
    last_written_offset: i64,
    /// Offset of the last record that removed a whole group; -1 = none.
    last_removal_offset: i64,
}

/// What the log says about one group.
#[derive(Debug, PartialEq, Eq)]
pub struct HardGroup {
    metadata: Option<GroupMetadata>,
    offsets: BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>,
    pending_offsets: BTreeMap<TopicPartition, BTreeMap<ProducerId, CommittedOffset>>,
    last_written_offset: i64,
}

type TopicPartition = (Arc<str>, i32);

/// A committed offset and where the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// What was committed.
    pub value: OffsetAndMetadata,
    record_offset: i64,
}

impl CommittedOffset {
    /// Where the log has it.
    pub fn record_offset(&self) -> i64 {
        self.record_offset
    }
}

impl Default for Hard {
    fn default() -> Self {
        Self {
            groups: BTreeMap::new(),
            open_transactions: BTreeMap::new(),
            pending_count: 0,
            last_written_offset: -1,
            last_removal_offset: -1,
        }
    }
}

impl Default for HardGroup {
    fn default() -> Self {
        Self {
            metadata: None,
            offsets: BTreeMap::new(),
            pending_offsets: BTreeMap::new(),
            last_written_offset: -1,
        }
    }
}

impl Hard {
    /// All groups that have a record, by id.
    pub fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &HardGroup)> {
        self.groups.iter()
    }

    /// The groups from this id on.
    pub fn groups_from(&self, first: Bound<Arc<str>>) -> impl Iterator<Item = (&Arc<str>, &HardGroup)> {
        self.groups.range((first, Bound::Unbounded))
    }

    /// The group, if it has a record.
    pub fn group(&self, group_id: &str) -> Option<&HardGroup> {
        self.groups.get(group_id)
    }

    /// How many groups have records.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether no group has a record.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// How many offsets are in open transactions.
    pub fn pending_count(&self) -> usize {
        self.pending_count
    }

    /// These producers have no offset at this place any more.
    fn forget_pending(&mut self, producers: impl IntoIterator<Item = ProducerId>, place: (Arc<str>, TopicPartition)) {
        for producer_id in producers {
            let Some(places) = self.open_transactions.get_mut(&producer_id) else {
                continue;
            };
            if places.remove(&place) {
                self.pending_count -= 1;
            }
            if places.is_empty() {
                self.open_transactions.remove(&producer_id);
            }
        }
    }

    fn remove_if_empty(&mut self, group_id: &str, offset: i64) {
        let empty = self.groups.get(group_id).is_some_and(HardGroup::is_empty);
        if empty {
            self.groups.remove(group_id);
            self.last_removal_offset = self.last_removal_offset.max(offset);
        }
    }
}

impl HardState for Hard {
    type Record = Record;
    type Rewrite = Rewrite;

    fn decoder() -> impl FnMut(Option<&[u8]>, Option<&[u8]>) -> Decoded<Record> {
        let mut names = Names::default();
        move |key, value| record::decode(&mut names, key, value)
    }

    fn encode(record: &Record) -> Result<EncodedRecord, RecordEncodeError> {
        record.encode()
    }

    fn replay(&mut self, offset: i64, producer_id: Option<ProducerId>, record: Record) {
        self.last_written_offset = self.last_written_offset.max(offset);
        let group_id = Arc::clone(record.group_id());
        match record {
            Record::GroupMetadata { value: None, .. } => {
                if let Some(group) = self.groups.get_mut(&group_id) {
                    group.metadata = None;
                    group.last_written_offset = offset;
                }
                self.remove_if_empty(&group_id, offset);
            }
            Record::GroupMetadata { value, .. } => {
                let group = self.groups.entry(Arc::clone(&group_id)).or_default();
                group.metadata = value;
                group.last_written_offset = offset;
            }
            Record::OffsetCommit {
                topic,
                partition,
                value: None,
                ..
            } => {
                if let Some(group) = self.groups.get_mut(&group_id) {
                    let producers = group.remove_offset(&topic, partition);
                    group.last_written_offset = offset;
                    self.forget_pending(producers, (group_id, (topic, partition)));
                }
            }
            Record::OffsetCommit {
                topic,
                partition,
                value: Some(value),
                ..
            } => {
                let group = self.groups.entry(Arc::clone(&group_id)).or_default();
                group.last_written_offset = offset;
                let committed = CommittedOffset {
                    value,
                    record_offset: offset,
                };
                match producer_id {
                    None => group.put_offset(topic, partition, committed),
                    Some(producer_id) => {
                        let key = (topic, partition);
                        let producers = group.pending_offsets.entry(key.clone()).or_default();
                        if producers.insert(producer_id, committed).is_none() {
                            self.pending_count += 1;
                        }
                        self.open_transactions
                            .entry(producer_id)
                            .or_default()
                            .insert((Arc::clone(&group_id), key));
                    }
                }
            }
        }
    }

    fn replay_marker(&mut self, offset: i64, producer_id: ProducerId, committed: bool) {
        self.last_written_offset = self.last_written_offset.max(offset);
        let ended = self.open_transactions.remove(&producer_id).unwrap_or_default();
        self.pending_count -= ended.len();
        for (group_id, key) in ended {
            let Some(group) = self.groups.get_mut(&group_id) else {
                continue;
            };
            group.last_written_offset = offset;
            let Some(producers) = group.pending_offsets.get_mut(&key) else {
                continue;
            };
            let pending = producers.remove(&producer_id);
            if producers.is_empty() {
                group.pending_offsets.remove(&key);
            }
            if let Some(pending) = pending.filter(|_| committed) {
                group.put_offset_if_newer(key.0, key.1, pending);
            }
        }
    }

    fn last_written_offset(&self, key: Option<&str>) -> i64 {
        let Some(group_id) = key else {
            return self.last_written_offset;
        };
        self.groups
            .get(group_id)
            .map_or(self.last_removal_offset, |group| group.last_written_offset)
    }

    fn key_count(&self) -> usize {
        self.len()
    }

    fn size_in_log(&self) -> u64 {
        rewrite::size_in_log(self)
    }

    fn begin_rewrite(log_end_offset: i64) -> Rewrite {
        Rewrite::begin(log_end_offset)
    }

    fn rewrite_next(&self, rewrite: &mut Rewrite, max_records: usize, max_bytes: usize) -> Vec<Record> {
        rewrite.next(self, max_records, max_bytes)
    }

    fn needed_from(rewrite: &Rewrite) -> i64 {
        rewrite.needed_from()
    }
}

impl HardGroup {
    /// The persisted state of the group; `None` when it only has offsets.
    pub fn metadata(&self) -> Option<&GroupMetadata> {
        self.metadata.as_ref()
    }

    /// All committed offsets, by topic and partition.
    pub fn offsets(&self) -> &BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>> {
        &self.offsets
    }

    /// The committed offset of a partition.
    pub fn offset(&self, topic: &str, partition: i32) -> Option<&OffsetAndMetadata> {
        Some(&self.offsets.get(topic)?.get(&partition)?.value)
    }

    /// Whether the partition has an offset, committed or in an open transaction.
    pub fn has_offset(&self, topic: &Arc<str>, partition: i32) -> bool {
        self.offset(topic, partition).is_some() || self.is_unstable(topic, partition)
    }

    /// Partitions that have an offset in an open transaction.
    pub fn pending_partitions(&self) -> impl Iterator<Item = (&Arc<str>, i32)> {
        self.pending_offsets
            .keys()
            .map(|(topic, partition)| (topic, *partition))
    }

    /// Whether an open transaction has an offset for the partition.
    pub fn is_unstable(&self, topic: &Arc<str>, partition: i32) -> bool {
        !self.pending_offsets.is_empty() && self.pending_offsets.contains_key(&(Arc::clone(topic), partition))
    }

    /// Where the oldest record of an open transaction stands in the log.
    pub fn first_pending_offset(&self) -> Option<i64> {
        let pending = self.pending_offsets.values().flat_map(BTreeMap::values);
        pending.map(|committed| committed.record_offset).min()
    }

    /// Whether any transaction is open in the group.
    pub fn has_open_transactions(&self) -> bool {
        !self.pending_offsets.is_empty()
    }

    /// Ids of the topic under which the open transactions committed for a partition.
    pub fn pending_values(&self, topic: &Arc<str>, partition: i32) -> impl Iterator<Item = &OffsetAndMetadata> {
        let pending = self.pending_offsets.get(&(Arc::clone(topic), partition));
        pending
            .into_iter()
            .flat_map(|producers| producers.values().map(|committed| &committed.value))
    }

    fn is_empty(&self) -> bool {
        self.metadata.is_none() && self.offsets.is_empty() && self.pending_offsets.is_empty()
    }

    fn put_offset(&mut self, topic: Arc<str>, partition: i32, committed: CommittedOffset) {
        self.offsets.entry(topic).or_default().insert(partition, committed);
    }

    /// A transaction that ends late must not undo a commit that was written after its own.
    fn put_offset_if_newer(&mut self, topic: Arc<str>, partition: i32, committed: CommittedOffset) {
        let present = self
            .offsets
            .get(&topic)
            .and_then(|partitions| partitions.get(&partition));
        if present.is_none_or(|present| committed.record_offset > present.record_offset) {
            self.put_offset(topic, partition, committed);
        }
    }

    /// Gives the producers whose pending offsets went with it.
    fn remove_offset(&mut self, topic: &Arc<str>, partition: i32) -> impl Iterator<Item = ProducerId> + use<> {
        if let Some(partitions) = self.offsets.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.offsets.remove(topic);
            }
        }
        let pending = self.pending_offsets.remove(&(Arc::clone(topic), partition));
        pending.into_iter().flat_map(BTreeMap::into_keys)
    }
}
