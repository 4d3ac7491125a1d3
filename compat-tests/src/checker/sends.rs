//! A producer's records of one partition lie in the order in which it sent them, as far as they are there at all.

use std::collections::HashMap;

use super::history::{Key, Step};
use super::view::View;
use super::{Findings, Kind};

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    let mut last: HashMap<(u32, Key), (i64, u64, usize)> = HashMap::new();
    for (index, operation) in view.history.operations.iter().enumerate() {
        for step in &operation.steps {
            let &Step::Send { key, value, .. } = step else { continue };
            let Some(offset) = view.write(value).and_then(|write| write.offset) else {
                continue;
            };
            let before = last.insert((operation.process, key), (offset, value, index));
            let Some((before, first, at)) = before.filter(|(before, ..)| *before >= offset) else {
                continue;
            };
            let kind = if at == index {
                Kind::InternalNonmonotonicSend
            } else {
                Kind::NonmonotonicSend
            };
            findings.add(kind, || {
                format!(
                    "{}: {first} at {before}, then {value} at {offset}, by {}",
                    view.history.name(key),
                    view.tell(operation)
                )
            });
        }
    }
}
