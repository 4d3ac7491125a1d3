//! Writing the state of a shard anew: the records that say what all earlier ones say, a few at a time.
//!
//! The log of a shard grows with every commit, its state does not. Once all of the state stands in the log again, what
//! lies before is needed no more. Requests go on meanwhile: whatever they change after it was written here stands behind.
//!
//! Invariant: the fold of the log from [`Rewrite::needed_from`] on is the fold of the whole log, except for groups of
//! which nothing is left. Offsets with an open transaction are not written: what the transaction committed counts only
//! against an older record, so both stay where they are.

use std::ops::Bound;
use std::sync::Arc;

use super::hard::{Hard, HardGroup};
use super::record::{GroupMetadata, Record};

/// One pass over the state of a shard.
#[derive(Debug)]
pub struct Rewrite {
    /// What was written last; `None` before the first group.
    position: Option<Position>,
    needed_from: i64,
}

/// Behind this the pass goes on.
#[derive(Debug)]
struct Position {
    group_id: Arc<str>,
    /// `None`: behind the group's metadata.
    partition: Option<(Arc<str>, i32)>,
}

impl Rewrite {
    /// A pass that begins when the log ends at `log_end_offset`.
    pub fn begin(log_end_offset: i64) -> Self {
        Self {
            position: None,
            needed_from: log_end_offset,
        }
    }

    /// First offset that is needed when the pass has ended.
    pub fn needed_from(&self) -> i64 {
        self.needed_from
    }

    /// The next records, at most `max_records`, none after about `max_bytes`; none at all when the pass has ended.
    pub fn next(&mut self, hard: &Hard, max_records: usize, max_bytes: usize) -> Vec<Record> {
        let mut piece = Piece {
            records: Vec::new(),
            size_bytes: 0,
            max_records,
            max_bytes,
        };
        let first = match &self.position {
            None => Bound::Unbounded,
            Some(position) => Bound::Included(Arc::clone(&position.group_id)),
        };
        for (group_id, group) in hard.groups_from(first) {
            let began = self
                .position
                .as_ref()
                .is_some_and(|position| position.group_id == *group_id);
            if !began {
                if piece.is_full() {
                    break;
                }
                if let Some(metadata) = group.metadata() {
                    let record = Record::GroupMetadata {
                        group_id: Arc::clone(group_id),
                        value: Some(metadata.clone()),
                    };
                    piece.push(record, metadata_bytes(group_id, metadata));
                }
                self.needed_from = self.needed_from.min(group.first_pending_offset().unwrap_or(i64::MAX));
                self.position = Some(Position {
                    group_id: Arc::clone(group_id),
                    partition: None,
                });
            }
            self.offsets_of(group_id, group, &mut piece);
        }
        piece.records
    }

    /// Offsets of the group in which the pass is, as many as there is room for.
    fn offsets_of(&mut self, group_id: &Arc<str>, group: &HardGroup, piece: &mut Piece) {
        let done = self.position.as_ref().and_then(|position| position.partition.clone());
        let topics = match &done {
            None => group.offsets().range::<Arc<str>, _>(..),
            Some((topic, _)) => group.offsets().range(Arc::clone(topic)..),
        };
        for (topic, partitions) in topics {
            let after = match &done {
                Some((last_topic, last_partition)) if last_topic == topic => Bound::Excluded(*last_partition),
                _ => Bound::Unbounded,
            };
            for (partition, committed) in partitions.range((after, Bound::Unbounded)) {
                if piece.is_full() {
                    return;
                }
                self.position = Some(Position {
                    group_id: Arc::clone(group_id),
                    partition: Some((Arc::clone(topic), *partition)),
                });
                if group.is_unstable(topic, *partition) {
                    self.needed_from = self.needed_from.min(committed.record_offset());
                    continue;
                }
                let record = Record::OffsetCommit {
                    group_id: Arc::clone(group_id),
                    topic: Arc::clone(topic),
                    partition: *partition,
                    value: Some(committed.value.clone()),
                };
                piece.push(record, offset_bytes(group_id, topic) + committed.value.metadata.len());
            }
        }
    }
}

/// What is written at once.
struct Piece {
    records: Vec<Record>,
    size_bytes: usize,
    max_records: usize,
    max_bytes: usize,
}

impl Piece {
    fn push(&mut self, record: Record, size_bytes: usize) {
        self.records.push(record);
        self.size_bytes += size_bytes;
    }

    fn is_full(&self) -> bool {
        // the first record always has its place: a pass has to go on
        self.records.len() >= self.max_records || (self.size_bytes >= self.max_bytes && !self.records.is_empty())
    }
}

/// About how many bytes the state takes in the log.
pub fn size_in_log(hard: &Hard) -> u64 {
    let mut bytes = 0;
    for (group_id, group) in hard.groups_from(Bound::Unbounded) {
        bytes += group.metadata().map_or(GROUP_BYTES + group_id.len(), |metadata| {
            metadata_bytes(group_id, metadata)
        });
        for (topic, partitions) in group.offsets() {
            bytes += partitions.len() * offset_bytes(group_id, topic);
        }
    }
    bytes as u64
}

fn metadata_bytes(group_id: &str, metadata: &GroupMetadata) -> usize {
    let members = metadata.members.iter();
    let members = members
        .map(|member| MEMBER_BYTES + member.subscription.len() + member.assignment.len() + member.client_id.len());
    GROUP_BYTES + group_id.len() + members.sum::<usize>()
}

/// Without the client's text.
fn offset_bytes(group_id: &str, topic: &str) -> usize {
    OFFSET_BYTES + group_id.len() + topic.len()
}

/// What a record takes besides names and contents.
const GROUP_BYTES: usize = 60;
const MEMBER_BYTES: usize = 90;
const OFFSET_BYTES: usize = 70;

#[cfg(test)]
mod tests;
