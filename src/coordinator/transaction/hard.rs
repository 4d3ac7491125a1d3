//! What the log of a shard says: its transactional ids.
//!
//! Invariants: changed by replaying records only; an id's offset is that of its last record; the count is that of all ids,
//! a long one counting as several, so that the limit on ids bounds their memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use protocol::types::{Offset, ProducerId};

use super::record::{self, Record, size_bound};
use super::state::Transaction;
use crate::coordinator::runtime::machine::{EncodedRecord, HardState};
use crate::coordinator::wire::{RecordDecodeError, RecordEncodeError};

/// What a record takes in the log besides key and value, about.
const RECORD_OVERHEAD_BYTES: usize = 20;

/// So many bytes of an id, begun, count as one id.
const COUNTED_BYTES: usize = 256;

/// As how many ids one counts.
pub(super) fn count_of(transactional_id: &str) -> usize {
    transactional_id.len().div_ceil(COUNTED_BYTES).max(1)
}

/// A transactional id in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Logged {
    /// What its last record says.
    pub transaction: Transaction,
    /// Where its last record stands.
    pub offset: Offset,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hard {
    ids: BTreeMap<Arc<str>, Logged>,
    /// Of all ids.
    count: usize,
    last_offset: Offset,
}

impl Default for Hard {
    fn default() -> Self {
        Self {
            ids: BTreeMap::new(),
            count: 0,
            last_offset: -1,
        }
    }
}

impl Hard {
    /// What is known of an id.
    pub fn get(&self, transactional_id: &str) -> Option<&Logged> {
        self.ids.get(transactional_id)
    }

    /// All ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Logged)> {
        self.ids.iter()
    }

    /// Ids behind `position`, in order; all without one.
    pub fn after(&self, position: Option<&Arc<str>>) -> impl Iterator<Item = (&Arc<str>, &Logged)> {
        let from = position.map_or(Bound::Unbounded, |id| Bound::Excluded(Arc::clone(id)));
        self.ids.range((from, Bound::Unbounded))
    }
}

/// A pass that writes every id again.
#[derive(Debug)]
pub struct Rewrite {
    position: Option<Arc<str>>,
    needed_from: Offset,
}

impl HardState for Hard {
    type Record = Record;
    type Rewrite = Rewrite;

    fn decoder() -> impl FnMut(Option<&[u8]>, Option<&[u8]>) -> Result<Option<Record>, RecordDecodeError> {
        record::decode
    }

    fn encode(record: &Record) -> Result<EncodedRecord, RecordEncodeError> {
        record.encode()
    }

    fn replay(&mut self, offset: Offset, _producer_id: Option<ProducerId>, record: Record) {
        self.last_offset = offset;
        match record.value {
            Some(transaction) => {
                let logged = Logged { transaction, offset };
                let count = count_of(&record.transactional_id);
                if self.ids.insert(record.transactional_id, logged).is_none() {
                    self.count += count;
                }
            }
            None => {
                if self.ids.remove(&record.transactional_id).is_some() {
                    self.count -= count_of(&record.transactional_id);
                }
            }
        }
    }

    /// This topic has no transactions of its own.
    fn replay_marker(&mut self, _offset: Offset, _producer_id: ProducerId, _committed: bool) {}

    fn last_written_offset(&self, key: Option<&str>) -> Offset {
        let logged = key.and_then(|key| self.ids.get(key));
        logged.map_or(self.last_offset, |logged| logged.offset)
    }

    fn key_count(&self) -> usize {
        self.count
    }

    fn size_in_log(&self) -> u64 {
        let sizes = self.ids.iter().map(|(id, logged)| size_of_logged(id, logged));
        sizes.sum::<usize>() as u64
    }

    fn begin_rewrite(log_end_offset: Offset) -> Rewrite {
        Rewrite {
            position: None,
            needed_from: log_end_offset,
        }
    }

    fn rewrite_next(&self, rewrite: &mut Rewrite, max_records: usize, max_bytes: usize) -> Vec<Record> {
        let mut records = Vec::new();
        let mut size_bytes = 0;
        for (id, logged) in self.after(rewrite.position.as_ref()) {
            // The first record always has its place: a pass has to go on.
            if records.len() >= max_records || (size_bytes >= max_bytes && !records.is_empty()) {
                break;
            }
            size_bytes += size_of_logged(id, logged);
            records.push(Record::new(id, logged.transaction.clone()));
        }
        if let Some(last) = records.last() {
            rewrite.position = Some(Arc::clone(&last.transactional_id));
        }
        records
    }

    fn needed_from(rewrite: &Rewrite) -> Offset {
        rewrite.needed_from
    }
}

fn size_of_logged(id: &str, logged: &Logged) -> usize {
    RECORD_OVERHEAD_BYTES + size_bound(id, &logged.transaction.partitions)
}

#[cfg(test)]
impl Hard {
    /// All offsets in use.
    pub(super) fn offsets(&self) -> impl Iterator<Item = Offset> {
        let ids = self.ids.values().map(|logged| logged.offset);
        ids.chain([self.last_offset])
    }

    /// Gives offsets other numbers.
    pub(super) fn renumber(&mut self, number: &dyn Fn(Offset) -> Offset) {
        self.last_offset = number(self.last_offset);
        for logged in self.ids.values_mut() {
            logged.offset = number(logged.offset);
        }
    }
}
