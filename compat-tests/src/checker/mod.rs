//! Finds what a log of topics must not do in a history of what clients did and saw, in the manner of Jepsen's Kafka workload
//! (`jepsen.tests.kafka`), with more about transactions.
//!
//! - `history` is what clients did, `parse` reads it from JSON lines, `view` indexes it;
//! - `log`, `visibility`, `polls`, `sends`, `cycles`, `pipeline` and `groups` each look for some [`Kind`]s of anomaly;
//! - `graph` finds strongly connected components and short cycles.
//!
//! **Invariants:** pure, a history in and anomalies out; time and memory grow with the history by no more than a logarithm.
//!
//! # What counts, and what does not
//!
//! Every value is written once, so that a record is known by it. A write is *committed* when it was acknowledged outside of a
//! transaction, or its transaction's commit was, or a reader of committed records saw a record of the same transaction; it is
//! *aborted* when its transaction ended without its commit ever being asked for; else nobody knows, and either is right.
//!
//! Kafka promises less than a database, so these do not count:
//! - **write cycles** (G0: T1 before T2 in one partition, behind it in another). Records get offsets when they are sent, not
//!   when they are committed, so transactions interleave at will. They are counted and told, nothing more. For the same
//!   reason a dependency from write to write is no edge of the cycles that do count.
//! - **gaps between a transaction's own sends**, which other producers fill.
//! - **fractured reads**: a consumer that has seen a transaction in one partition need not have come to it in another.
//! - **skips and steps back across a rebalance**: the partition goes to another member, and comes back at the committed
//!   offset. What a *group* must not do is counted instead: leave out a record, or forget a commit.
//! - **a plain consumer that sees records of open or aborted transactions**: that is what read_uncommitted means.
//! - **order among records of an idempotent producer after it gave one up**, if the record was never seen.

pub mod cycles;
pub mod graph;
pub mod groups;
pub mod history;
pub mod log;
pub mod parse;
pub mod pipeline;
pub mod polls;
pub mod sends;
pub mod view;
pub mod visibility;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use history::History;
use view::View;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A committed write that no reader saw, although one read past its offset.
    LostWrite,
    /// A committed write that the final reads did not find, with nothing behind it.
    Unseen,
    /// One value at two places.
    Duplicate,
    /// One offset with two values.
    InconsistentOffset,
    /// A value that nobody wrote, or another key's.
    UnknownValue,
    /// A reader of committed records saw a record of a transaction that cannot have been committed (G1a).
    AbortedRead,
    /// A reader of committed records saw a record before its commit was asked for, or a transaction saw its own.
    PrecommittedRead,
    /// Some records of a transaction can be seen for ever, others cannot.
    PartialTransaction,
    /// A transaction that never ends: the last stable offset stays behind the end of the log.
    HangingTransaction,
    /// A consumer left out records between two polls.
    PollSkip,
    /// A consumer left out records within one operation.
    InternalPollSkip,
    /// A consumer's poll went back.
    NonmonotonicPoll,
    /// A consumer went back within one operation.
    InternalNonmonotonicPoll,
    /// A producer's later record lies before an earlier one.
    NonmonotonicSend,
    /// The same within one operation.
    InternalNonmonotonicSend,
    /// A cycle of reads: each transaction saw what the next one wrote (G1c).
    ReadCycle,
    /// A cycle of reads and of the order within processes.
    ProcessCycle,
    /// A group of consumers left out a record.
    GroupSkip,
    /// A group forgot an offset that it had committed.
    LostCommit,
    /// Two committed outputs of one input.
    DuplicatedOutput,
    /// An input without its output.
    MissingOutput,
    /// An output without its input, or in the wrong place.
    WrongOutput,
    /// The pipeline stopped before its input ended.
    StuckPipeline,
    /// A final read did not come to its end.
    IncompleteRead,
}

/// How many examples of a kind are told.
const EXAMPLES: usize = 8;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    anomalies: BTreeMap<Kind, (usize, Vec<String>)>,
    /// Transactions on a cycle of writes, which Kafka allows.
    pub in_write_cycles: usize,
}

impl Findings {
    fn add(&mut self, kind: Kind, example: impl FnOnce() -> String) {
        let (count, examples) = self.anomalies.entry(kind).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(example());
        }
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.anomalies.is_empty()
    }

    /// The kinds that were found.
    pub fn kinds(&self) -> Vec<Kind> {
        self.anomalies.keys().copied().collect()
    }

    /// How often a kind was found.
    pub fn count(&self, kind: Kind) -> usize {
        self.anomalies.get(&kind).map_or(0, |(count, _)| *count)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, (count, examples)) in &self.anomalies {
            writeln!(f, "{kind:?}: {count}")?;
            for example in examples {
                writeln!(f, "    {example}")?;
            }
        }
        Ok(())
    }
}

/// Looks for everything.
pub fn check(history: &History) -> Findings {
    let mut findings = Findings::default();
    let view = View::of(history, &mut findings);
    log::check(&view, &mut findings);
    visibility::check(&view, &mut findings);
    polls::check(&view, &mut findings);
    sends::check(&view, &mut findings);
    cycles::check(&view, &mut findings);
    pipeline::check(&view, &mut findings);
    groups::check(&view, &mut findings);
    findings
}
