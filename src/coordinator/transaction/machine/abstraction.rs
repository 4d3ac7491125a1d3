//! What the model of transactions needs to see of a machine, and to leave out of it.

use uuid::Uuid;

use super::TransactionMachine;
use super::completion::{FIRST_BACKOFF_MS, Phase};
use crate::coordinator::transaction::hard::Hard;

impl TransactionMachine {
    /// The deadline of an id.
    pub(in crate::coordinator::transaction) fn next_id_deadline(&self) -> Option<i64> {
        self.deadlines.next()
    }

    /// The try under way of an id.
    pub(in crate::coordinator::transaction) fn attempt(&self, id: &str) -> Option<Uuid> {
        match self.completions.get(id)?.phase {
            Phase::Writing(attempt) => Some(attempt),
            Phase::Waiting | Phase::Fenced | Phase::Completing => None,
        }
    }

    /// All tries under way.
    pub(in crate::coordinator::transaction) fn attempts(&mut self) -> impl Iterator<Item = &mut Uuid> {
        self.completions
            .values_mut()
            .filter_map(|completion| match &mut completion.phase {
                Phase::Writing(attempt) => Some(attempt),
                Phase::Waiting | Phase::Fenced | Phase::Completing => None,
            })
    }

    /// Hard state, to be abstracted as well.
    pub(in crate::coordinator::transaction) fn hard_for_model(&mut self) -> &mut Hard {
        &mut self.hard
    }

    /// Leaves out how long things take.
    pub(in crate::coordinator::transaction) fn forget_times(&mut self) {
        for (id, completion) in &mut self.completions {
            completion.backoff_ms = FIRST_BACKOFF_MS;
            if self.deadlines.has(id) {
                self.deadlines.set(id, FIRST_BACKOFF_MS);
            }
        }
        self.next_expiry_ms = super::super::model::EXPIRY_MS;
    }
}
