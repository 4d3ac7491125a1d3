//! What clients did and saw, as plain data.
//!
//! **Invariant:** the operations of one process stand in the order in which it did them, one after the other.

use std::collections::BTreeMap;

/// A partition, by its place in [`History::keys`].
pub type Key = u32;

/// What a client is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    Committed,
    Uncommitted,
}

/// One client from its start to its end.
#[derive(Clone, Debug)]
pub struct Process {
    pub isolation: Isolation,
    /// The group whose offsets it commits, of those without transactions.
    pub group: Option<String>,
    /// Whether it goes back to its group's offsets after a transaction that was not committed.
    pub rewinds: bool,
    /// The keys that it read completely, after everything else had ended.
    pub read_all: Vec<Key>,
}

/// What kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Sends that stand each for itself, polls, assignments.
    Plain,
    /// Sends that become visible together, or never.
    Transaction,
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged; a transaction's commit was.
    Ok,
    /// It has certainly not taken effect.
    Fail,
    /// Nobody knows.
    Info,
}

/// A record as somebody polled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Key,
    pub offset: i64,
    pub value: u64,
}

/// What an operation did, bit by bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `offset` as it was acknowledged; `acknowledged` can be true without one.
    Send {
        key: Key,
        value: u64,
        /// The value of which this one was made.
        source: Option<u64>,
        offset: Option<i64>,
        acknowledged: bool,
    },
    /// What a poll brought by this time.
    Poll { time: u64, records: Vec<Record> },
    /// From now on polls of `key` begin at `offset`.
    Start { key: Key, offset: i64 },
    /// The group gave these keys to the process at this time.
    Assigned { time: u64, keys: Vec<Key> },
    /// It took them away.
    Revoked(Vec<Key>),
    /// The group's coordinator acknowledged these offsets by this time.
    Committed { time: u64, offsets: Vec<(Key, i64)> },
}

/// One operation of one process. Times are nanoseconds of a clock that all processes share.
#[derive(Clone, Debug)]
pub struct Operation {
    pub process: u32,
    pub function: Function,
    pub outcome: Outcome,
    pub begin: u64,
    /// When its commit was asked for, at the earliest; `None` when it certainly was not.
    pub committing: Option<u64>,
    pub end: u64,
    pub steps: Vec<Step>,
}

/// The consume-transform-produce part: each input becomes one output, in the partition that belongs to its own.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    pub outputs: BTreeMap<Key, Key>,
}

/// Where a log ended when everything had ended.
#[derive(Clone, Copy, Debug)]
pub struct LogEnd {
    pub key: Key,
    pub last_stable: i64,
    pub end: i64,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Topics and partitions.
    pub keys: Vec<(String, i32)>,
    pub processes: BTreeMap<u32, Process>,
    pub operations: Vec<Operation>,
    pub ends: Vec<LogEnd>,
    pub pipeline: Option<Pipeline>,
    /// Whether the pipeline came to the end of its input; `None` when there was none.
    pub drained: Option<bool>,
    /// Final reads that did not come to their end.
    pub incomplete_reads: Vec<String>,
}

impl History {
    /// A key's name.
    pub fn name(&self, key: Key) -> String {
        let place = usize::try_from(key).ok().and_then(|index| self.keys.get(index));
        place.map_or_else(
            || format!("key {key}"),
            |(topic, partition)| format!("{topic}-{partition}"),
        )
    }
}
