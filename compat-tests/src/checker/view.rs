//! A history with its indexes: who wrote a value, what lies where, who saw it under which isolation.
//!
//! **Invariants:** an offset is believed when it was acknowledged, whatever became of the transaction, and when it was polled.
//! What was never seen and never acknowledged has no place.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::history::{Function, History, Isolation, Key, Operation, Outcome, Record, Step};
use super::{Findings, Kind};

/// Whether a write counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Committed,
    Aborted,
    Unknown,
}

/// One value that somebody sent.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// Place in [`History::operations`].
    pub operation: usize,
    pub key: Key,
    pub value: u64,
    pub source: Option<u64>,
    /// As acknowledged, else as somebody polled it.
    pub offset: Option<i64>,
    pub fate: Fate,
    /// Seen by a reader of committed records, and by a reader of all.
    pub seen_committed: bool,
    pub seen_uncommitted: bool,
}

impl Write {
    /// Whether a reader of this isolation saw it.
    pub fn seen(&self, isolation: Isolation) -> bool {
        match isolation {
            Isolation::Committed => self.seen_committed,
            Isolation::Uncommitted => self.seen_uncommitted,
        }
    }
}

/// Both isolations.
pub const ISOLATIONS: [Isolation; 2] = [Isolation::Committed, Isolation::Uncommitted];

/// What is known of one partition under one isolation.
#[derive(Clone, Debug, Default)]
pub struct Partition {
    /// Offsets at which a reader must find a record, ascending.
    pub visible: Vec<i64>,
    /// The highest offset at which somebody saw one.
    pub highest_seen: Option<i64>,
    /// Whether somebody read all of it after everything else had ended.
    pub complete: bool,
}

/// The indexed history.
#[derive(Debug)]
pub struct View<'a> {
    pub history: &'a History,
    pub writes: Vec<Write>,
    by_value: HashMap<u64, usize>,
    /// Writes of each transaction, by operation.
    pub transactions: BTreeMap<usize, Vec<usize>>,
    committed: Vec<Partition>,
    uncommitted: Vec<Partition>,
}

impl<'a> View<'a> {
    /// Indexes `history`; values that nobody wrote, offsets with two values and values at two offsets are found on the way.
    pub fn of(history: &'a History, findings: &mut Findings) -> Self {
        let mut view = Self {
            history,
            writes: Vec::new(),
            by_value: HashMap::new(),
            transactions: BTreeMap::new(),
            committed: vec![Partition::default(); history.keys.len()],
            uncommitted: vec![Partition::default(); history.keys.len()],
        };
        view.collect_writes(findings);
        view.place_records(findings);
        view.settle_transactions();
        view.collect_visible();
        view
    }

    /// The write of a value.
    pub fn write(&self, value: u64) -> Option<&Write> {
        self.by_value.get(&value).map(|&index| &self.writes[index])
    }

    /// The operation of a write.
    pub fn operation(&self, write: &Write) -> &Operation {
        &self.history.operations[write.operation]
    }

    /// What is known of a partition.
    pub fn partition(&self, isolation: Isolation, key: Key) -> &Partition {
        let index = usize::try_from(key).expect("a key of the history");
        match isolation {
            Isolation::Committed => &self.committed[index],
            Isolation::Uncommitted => &self.uncommitted[index],
        }
    }

    /// What the process of an operation is shown.
    pub fn isolation(&self, operation: &Operation) -> Isolation {
        let process = self.history.processes.get(&operation.process);
        process.map_or(Isolation::Committed, |process| process.isolation)
    }

    /// All records that an operation polled.
    pub fn polled(operation: &Operation) -> impl Iterator<Item = &Record> {
        operation.steps.iter().flat_map(|step| match step {
            Step::Poll { records, .. } => records.as_slice(),
            _ => &[],
        })
    }

    /// An operation in words.
    pub fn tell(&self, operation: &Operation) -> String {
        let seconds = |time: u64| {
            let first = self.history.operations.first().map_or(0, |first| first.begin);
            format!("{:.3}", Duration::from_nanos(time.saturating_sub(first)).as_secs_f64())
        };
        format!(
            "{:?} {:?} of process {} ({}..{} s)",
            operation.outcome,
            operation.function,
            operation.process,
            seconds(operation.begin),
            seconds(operation.end)
        )
    }

    fn collect_writes(&mut self, findings: &mut Findings) {
        for (index, operation) in self.history.operations.iter().enumerate() {
            for step in &operation.steps {
                let &Step::Send {
                    key,
                    value,
                    source,
                    offset,
                    acknowledged,
                } = step
                else {
                    continue;
                };
                let write = Write {
                    operation: index,
                    key,
                    value,
                    source,
                    offset,
                    fate: first_fate(operation, acknowledged),
                    seen_committed: false,
                    seen_uncommitted: false,
                };
                if self.by_value.insert(value, self.writes.len()).is_some() {
                    findings.add(Kind::Duplicate, || {
                        format!("value {value} was sent twice by the workload itself")
                    });
                }
                if operation.function == Function::Transaction {
                    self.transactions.entry(index).or_default().push(self.writes.len());
                }
                self.writes.push(write);
            }
        }
    }

    /// Goes through all offsets that somebody told of: one value each, and each value at one.
    fn place_records(&mut self, findings: &mut Findings) {
        let mut values: HashMap<(Key, i64), u64> = HashMap::new();
        for write in &self.writes {
            if let Some(offset) = write.offset {
                place(&mut values, self.history, findings, (write.key, offset), write.value);
            }
        }
        for operation in &self.history.operations {
            let isolation = self.isolation(operation);
            for record in Self::polled(operation) {
                place(
                    &mut values,
                    self.history,
                    findings,
                    (record.key, record.offset),
                    record.value,
                );
                let partitions = match isolation {
                    Isolation::Committed => &mut self.committed,
                    Isolation::Uncommitted => &mut self.uncommitted,
                };
                let partition = &mut partitions[usize::try_from(record.key).expect("a key of the history")];
                partition.highest_seen = partition.highest_seen.max(Some(record.offset));
                let Some(&index) = self.by_value.get(&record.value) else {
                    findings.add(Kind::UnknownValue, || {
                        format!("{record:?} in {}: nobody wrote it", self.history.name(record.key))
                    });
                    continue;
                };
                let write = &mut self.writes[index];
                match isolation {
                    Isolation::Committed => write.seen_committed = true,
                    Isolation::Uncommitted => write.seen_uncommitted = true,
                }
                if write.key != record.key {
                    let name = self.history.name(write.key);
                    findings.add(Kind::UnknownValue, || format!("{record:?} was written to {name}"));
                } else if write.offset.is_none() {
                    write.offset = Some(record.offset);
                } else if write.offset != Some(record.offset) {
                    let (first, name) = (write.offset, self.history.name(record.key));
                    findings.add(Kind::Duplicate, || {
                        format!("{record:?} in {name} lies at {first:?} too")
                    });
                }
            }
        }
        for process in self.history.processes.values() {
            for &key in &process.read_all {
                let partitions = match process.isolation {
                    Isolation::Committed => &mut self.committed,
                    Isolation::Uncommitted => &mut self.uncommitted,
                };
                partitions[usize::try_from(key).expect("a key of the history")].complete = true;
            }
        }
    }

    /// A transaction of unknown outcome is committed once a record of it was seen by who sees only committed ones, and a
    /// record without a transaction once anybody saw it.
    fn settle_transactions(&mut self) {
        for writes in self.transactions.values() {
            let seen = writes.iter().any(|&index| self.writes[index].seen_committed);
            for &index in writes {
                if seen && self.writes[index].fate == Fate::Unknown {
                    self.writes[index].fate = Fate::Committed;
                }
            }
        }
        for write in &mut self.writes {
            let plain = self.history.operations[write.operation].function == Function::Plain;
            if plain && (write.seen_committed || write.seen_uncommitted) {
                write.fate = Fate::Committed;
            }
        }
    }

    fn collect_visible(&mut self) {
        for write in &self.writes {
            let (Some(offset), Ok(index)) = (write.offset, usize::try_from(write.key)) else {
                continue;
            };
            self.uncommitted[index].visible.push(offset);
            if write.fate == Fate::Committed {
                self.committed[index].visible.push(offset);
            }
        }
        for partition in self.committed.iter_mut().chain(&mut self.uncommitted) {
            partition.visible.sort_unstable();
            partition.visible.dedup();
        }
    }
}

fn first_fate(operation: &Operation, acknowledged: bool) -> Fate {
    match (operation.function, operation.outcome) {
        (Function::Transaction, Outcome::Ok) => Fate::Committed,
        (Function::Transaction, Outcome::Fail) => Fate::Aborted,
        (Function::Plain, _) if acknowledged => Fate::Committed,
        _ => Fate::Unknown,
    }
}

fn place(
    values: &mut HashMap<(Key, i64), u64>,
    history: &History,
    findings: &mut Findings,
    at: (Key, i64),
    value: u64,
) {
    let first = *values.entry(at).or_insert(value);
    if first != value {
        findings.add(Kind::InconsistentOffset, || {
            format!("{} offset {}: {first} and {value}", history.name(at.0), at.1)
        });
    }
}
