//! Lost and unseen writes, logs that did not come to rest. (Duplicates and inconsistent offsets are found by `view`.)

use super::view::{Fate, ISOLATIONS, View};
use super::{Findings, Kind};

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    for write in view.writes.iter().filter(|write| write.fate == Fate::Committed) {
        for isolation in ISOLATIONS {
            if write.seen(isolation) {
                continue;
            }
            let partition = view.partition(isolation, write.key);
            let passed = write.offset.is_some_and(|offset| partition.highest_seen > Some(offset));
            let kind = match (passed, partition.complete) {
                (true, _) => Kind::LostWrite,
                (false, true) => Kind::Unseen,
                (false, false) => continue,
            };
            // A transaction that lost one part of it is told by `visibility`.
            findings.add(kind, || {
                format!(
                    "{isolation:?}: value {} of {} at {:?}, read up to {:?}, by {}",
                    write.value,
                    view.history.name(write.key),
                    write.offset,
                    partition.highest_seen,
                    view.tell(view.operation(write))
                )
            });
        }
    }
    for end in view.history.ends.iter().filter(|end| end.last_stable < end.end) {
        findings.add(Kind::HangingTransaction, || {
            format!(
                "{}: last stable offset {}, end {}",
                view.history.name(end.key),
                end.last_stable,
                end.end
            )
        });
    }
    for read in &view.history.incomplete_reads {
        findings.add(Kind::IncompleteRead, || read.clone());
    }
}
