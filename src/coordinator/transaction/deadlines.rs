//! When which id wants attention: at most one time per id.
//!
//! Invariant: pure; memory grows with the ids that have a deadline, however often deadlines change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// See the module. Times are monotonic milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Deadlines {
    by_id: BTreeMap<Arc<str>, i64>,
    in_order: BTreeSet<(i64, Arc<str>)>,
}

impl Deadlines {
    /// Sets the time of an id, in place of any other.
    pub(super) fn set(&mut self, id: &Arc<str>, deadline_ms: i64) {
        self.clear(id);
        self.by_id.insert(Arc::clone(id), deadline_ms);
        self.in_order.insert((deadline_ms, Arc::clone(id)));
    }

    /// The id wants no attention.
    pub(super) fn clear(&mut self, id: &str) {
        if let Some((id, deadline_ms)) = self.by_id.remove_entry(id) {
            self.in_order.remove(&(deadline_ms, id));
        }
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// The first time of all.
    pub(super) fn next(&self) -> Option<i64> {
        self.in_order.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    /// Takes the first id out whose time has come.
    pub(super) fn pop_due(&mut self, now_ms: i64) -> Option<Arc<str>> {
        let (deadline_ms, id) = self.in_order.first()?;
        if *deadline_ms > now_ms {
            return None;
        }
        let id = Arc::clone(id);
        self.clear(&id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_has_one_deadline() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut deadlines = Deadlines::default();
        deadlines.set(&a, 10);
        deadlines.set(&b, 20);
        deadlines.set(&a, 30);
        assert_eq!(deadlines.next(), Some(20));
        assert_eq!(deadlines.pop_due(19), None);
        assert_eq!(deadlines.pop_due(20), Some(b));
        assert!(deadlines.has("a") && !deadlines.has("b"));
        deadlines.clear("a");
        assert_eq!(deadlines.next(), None);
        assert_eq!(deadlines, Deadlines::default());
    }
}
