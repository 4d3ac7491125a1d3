//! What readers of committed records may see of transactions: nothing of aborted ones, nothing early, all or nothing.

use super::history::{Function, Isolation, Outcome, Record, Step};
use super::view::{Fate, View, Write};
use super::{Findings, Kind};

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    for (index, reader) in view.history.operations.iter().enumerate() {
        if view.isolation(reader) != Isolation::Committed {
            continue;
        }
        for step in &reader.steps {
            let Step::Poll { time, records } = step else { continue };
            for record in records {
                one_read(view, findings, (index, *time), record);
            }
        }
    }
    whole_transactions(view, findings);
}

fn one_read(view: &View<'_>, findings: &mut Findings, (index, time): (usize, u64), record: &Record) {
    let Some(write) = view.write(record.value) else { return };
    let writer = view.operation(write);
    if writer.function != Function::Transaction {
        return;
    }
    let early = writer.committing.is_some_and(|committing| time < committing);
    let kind = if write.operation == index || early {
        Kind::PrecommittedRead
    } else if write.fate == Fate::Aborted {
        Kind::AbortedRead
    } else {
        return;
    };
    findings.add(kind, || {
        format!(
            "value {} at {} offset {}: {} read it from {}",
            record.value,
            view.history.name(record.key),
            record.offset,
            view.tell(&view.history.operations[index]),
            view.tell(writer)
        )
    });
}

/// All or nothing, of all transactions that may have been committed.
fn whole_transactions(view: &View<'_>, findings: &mut Findings) {
    for (&operation, writes) in &view.transactions {
        let operation = &view.history.operations[operation];
        if operation.outcome == Outcome::Fail {
            continue;
        }
        let writes = || writes.iter().map(|&index| &view.writes[index]);
        let missing = |write: &Write| {
            let partition = view.partition(Isolation::Committed, write.key);
            let passed = write.offset.is_some_and(|offset| partition.highest_seen > Some(offset));
            !write.seen_committed && (partition.complete || passed)
        };
        let seen = writes().find(|write| write.seen_committed);
        let lost = writes().find(|write| missing(write));
        if let (Some(seen), Some(lost)) = (seen, lost) {
            findings.add(Kind::PartialTransaction, || {
                format!(
                    "{}: {} of {} at {:?} is there, {} of {} at {:?} is not",
                    view.tell(operation),
                    seen.value,
                    view.history.name(seen.key),
                    seen.offset,
                    lost.value,
                    view.history.name(lost.key),
                    lost.offset
                )
            });
        }
    }
}
