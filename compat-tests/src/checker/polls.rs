//! A consumer's way through a partition: forwards, and past nothing that it must be shown.
//!
//! **Invariant:** what is checked is one process between two assignments of a key; whatever a group does in between does not
//! count. Records that were polled in a transaction count whatever became of it: the consumer goes on behind them.

use std::collections::HashMap;

use super::history::{Isolation, Key, Operation, Outcome, Record, Step};
use super::view::View;
use super::{Findings, Kind};

/// Where a process stands in a key: the offset that comes next, and the operation that set it.
type Positions = HashMap<(u32, Key), (i64, usize)>;

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    let mut positions = Positions::new();
    for (index, operation) in view.history.operations.iter().enumerate() {
        let process = operation.process;
        for step in &operation.steps {
            match step {
                Step::Poll { records, .. } => {
                    for record in records {
                        let last = positions.insert((process, record.key), (record.offset + 1, index));
                        if let Some(last) = last {
                            step_to(view, findings, operation, (index, last), record);
                        }
                    }
                }
                &Step::Start { key, offset } => {
                    positions.insert((process, key), (offset, index));
                }
                Step::Assigned { keys, .. } | Step::Revoked(keys) => {
                    for key in keys {
                        positions.remove(&(process, *key));
                    }
                }
                Step::Send { .. } | Step::Committed { .. } => {}
            }
        }
        // A member of a pipeline goes back to the committed offsets when its transaction was not committed.
        if rewinds(view, operation) {
            positions.retain(|(of, _), _| *of != process);
        }
    }
}

fn rewinds(view: &View<'_>, operation: &Operation) -> bool {
    let process = view.history.processes.get(&operation.process);
    operation.outcome != Outcome::Ok && process.is_some_and(|process| process.rewinds)
}

fn step_to(
    view: &View<'_>,
    findings: &mut Findings,
    operation: &Operation,
    (index, (next, last)): (usize, (i64, usize)),
    record: &Record,
) {
    let isolation: Isolation = view.isolation(operation);
    let internal = index == last;
    if record.offset < next {
        let kind = if internal {
            Kind::InternalNonmonotonicPoll
        } else {
            Kind::NonmonotonicPoll
        };
        findings.add(kind, || {
            format!(
                "{record:?} of {} where {next} came next: {}",
                view.history.name(record.key),
                view.tell(operation)
            )
        });
        return;
    }
    let visible = &view.partition(isolation, record.key).visible;
    let from = visible.partition_point(|&offset| offset < next);
    let to = visible.partition_point(|&offset| offset < record.offset);
    if from < to {
        let kind = if internal {
            Kind::InternalPollSkip
        } else {
            Kind::PollSkip
        };
        findings.add(kind, || {
            format!(
                "{record:?} of {} where {next} came next, {isolation:?} offsets {:?}.. are left out: {}",
                view.history.name(record.key),
                &visible[from..to.min(from + 5)],
                view.tell(operation)
            )
        });
    }
}
