//! What happens by itself: transactions that take too long are aborted, ids that nobody uses are forgotten.
//!
//! Invariants: a transaction is aborted not before its timeout is over, counted from its begin, and with an epoch that its
//! producer does not have; a turn does a bounded amount of work.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::types::ProducerId;

use super::completion::Effect;
use super::{TransactionCx, TransactionMachine, TransactionOutcome, prepare};
use crate::coordinator::runtime::machine::{HardState, Outcome};
use crate::coordinator::transaction::record::Record;
use crate::coordinator::transaction::state::TransactionState;
use crate::coordinator::transaction::transition::{self, Refusal};

/// How many ids one turn handles.
const MAX_IDS_PER_TURN: usize = 256;
/// How many ids one turn of the search for expired ones looks at.
const MAX_SEARCHED_PER_TURN: usize = 1_000;

impl TransactionMachine {
    /// Ids whose time has come.
    pub(super) fn on_due_ids(&mut self, cx: &mut TransactionCx<'_>) -> Vec<TransactionOutcome> {
        let mut outcomes = Vec::new();
        for _ in 0..MAX_IDS_PER_TURN {
            let Some(id) = self.deadlines.pop_due(cx.now.mono_ms) else {
                break;
            };
            if self.completions.contains_key(&id) {
                outcomes.push(self.go_on(cx, &id));
            } else {
                outcomes.extend(self.time_out(cx, &id));
            }
        }
        outcomes
    }

    fn time_out(&mut self, cx: &TransactionCx<'_>, id: &Arc<str>) -> Option<TransactionOutcome> {
        let transaction = &self.hard.get(id)?.transaction;
        if transaction.state != TransactionState::Ongoing {
            return None;
        }
        match transition::fence(transaction, self.spare_producer_id, cx.now.wall_ms) {
            Ok(fenced) => {
                if Some(fenced.next_producer_id) == self.spare_producer_id {
                    self.spare_producer_id = None;
                }
                tracing::info!(transactional_id = %id, "aborting a transaction that takes longer than its timeout");
                Some(prepare(cx, id, fenced, Vec::new()))
            }
            Err(Refusal::NeedsProducerId) => {
                let is_asked = !self.starved.is_empty();
                self.starved.insert(Arc::clone(id));
                (!is_asked).then(|| Outcome {
                    effects: vec![Effect::GetProducerId],
                    ..Outcome::default()
                })
            }
            Err(Refusal::Code(_)) => None,
        }
    }

    /// The abort could not be written.
    pub(super) fn try_timeout_again(&mut self, cx: &TransactionCx<'_>, id: &Arc<str>) {
        let is_open = self
            .hard
            .get(id)
            .is_some_and(|logged| logged.transaction.timeout_timestamp_ms().is_some());
        if is_open && !self.deadlines.has(id) {
            let interval_ms = cx.config.transaction_abort_timed_out_transaction_cleanup_interval_ms;
            self.deadlines.set(id, cx.now.mono_ms + interval_ms);
        }
    }

    /// An id for a transaction that waits for one, or none for the time being.
    pub(super) fn on_producer_id(
        &mut self,
        cx: &TransactionCx<'_>,
        producer_id: Result<ProducerId, ErrorCode>,
    ) -> Vec<TransactionOutcome> {
        let starved: BTreeSet<_> = std::mem::take(&mut self.starved);
        match producer_id {
            Ok(producer_id) => {
                self.spare_producer_id = Some(producer_id);
                // The first takes the id, the next one asks for another.
                starved.iter().filter_map(|id| self.time_out(cx, id)).collect()
            }
            Err(_) => {
                for id in &starved {
                    self.try_timeout_again(cx, id);
                }
                Vec::new()
            }
        }
    }

    /// Forgets ids that nobody used for long, a piece of the search at a time.
    pub(super) fn expire(&mut self, cx: &TransactionCx<'_>) -> Option<TransactionOutcome> {
        if self.expiry_position.is_none() {
            if self.next_expiry_ms > cx.now.mono_ms {
                return None;
            }
            let interval_ms = cx.config.transaction_remove_expired_transaction_cleanup_interval_ms;
            self.next_expiry_ms = cx.now.mono_ms + interval_ms;
        }
        let position = self.expiry_position.take().flatten();
        let expired_before_ms = cx.now.wall_ms - cx.config.transactional_id_expiration_ms;
        let mut records = Vec::new();
        let mut searched = 0;
        for (id, logged) in self.hard.after(position.as_ref()).take(MAX_SEARCHED_PER_TURN) {
            searched += 1;
            let transaction = &logged.transaction;
            if transaction.state.is_idle() && transaction.last_update_timestamp_ms <= expired_before_ms {
                records.push(Record::tombstone(id));
            }
            self.expiry_position = Some(Some(Arc::clone(id)));
        }
        if searched < MAX_SEARCHED_PER_TURN {
            self.expiry_position = None;
        }
        if records.is_empty() {
            return None;
        }
        tracing::debug!(ids = records.len(), "forgetting transactional ids that expired");
        Some(Outcome {
            records,
            splittable: true,
            ..Outcome::default()
        })
    }

    /// How many ids there are, a long one counting as several.
    pub fn id_count(&self) -> usize {
        self.hard.key_count()
    }
}
