//! The way from a Prepare record to the Complete record: a marker in every partition of the transaction.
//!
//! Invariants: every try has an id of its own, and only the results of the last try count: else, after the state was loaded
//! anew, those of an earlier one could complete the transaction while markers are on their way, which would end the
//! producer's next transaction (with the old protocol it has the same epoch).

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::types::{PartitionIndex, ProducerId};
use uuid::Uuid;

use super::{OnAppend, TransactionCx, TransactionMachine, TransactionOutcome};
use crate::coordinator::runtime::machine::Outcome;
use crate::coordinator::transaction::record::Record;
use crate::coordinator::transaction::state::{Partitions, Transaction, TransactionState};
use crate::coordinator::transaction::transition;
use crate::partition::marker::Marker;

/// First pause before markers that could not be written are tried again; it doubles up to the longest.
pub(super) const FIRST_BACKOFF_MS: i64 = 20;
const LONGEST_BACKOFF_MS: i64 = 1_000;

/// Something to be done when the records of its outcome are committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write a marker to each of these partitions, and say what came of it with [`Event::MarkersWritten`].
    WriteMarkers {
        /// Whose transaction.
        transactional_id: Arc<str>,
        /// The id of this try.
        attempt: Uuid,
        /// What to write.
        marker: Marker,
        /// Where.
        partitions: Vec<(Arc<str>, PartitionIndex)>,
    },
    /// Get a producer id, and bring it with [`Event::ProducerId`].
    GetProducerId,
}

/// News for the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An [`Effect::WriteMarkers`] is done.
    MarkersWritten(WrittenMarkers),
    /// An [`Effect::GetProducerId`] is done.
    ProducerId(Result<ProducerId, ErrorCode>),
}

/// What came of an [`Effect::WriteMarkers`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WrittenMarkers {
    /// Whose transaction.
    pub transactional_id: Arc<str>,
    /// From the effect.
    pub attempt: Uuid,
    /// The partitions of the effect with their codes.
    pub results: Vec<(Arc<str>, PartitionIndex, ErrorCode)>,
}

/// How far the markers of a transaction are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Completion {
    /// Partitions without a marker.
    pub(super) outstanding: Partitions,
    pub(super) phase: Phase,
    pub(super) backoff_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// This try is under way.
    Writing(Uuid),
    /// The deadline of the id says when the outstanding ones are tried again.
    Waiting,
    /// A coordinator with a higher epoch has written markers: it completes the transaction.
    Fenced,
    /// The Complete record is on its way, or is tried again at the deadline of the id.
    Completing,
}

/// What a code means for the partition that gave it.
enum Verdict {
    Done,
    Again,
    Fenced,
}

fn verdict(error: ErrorCode) -> Verdict {
    match error {
        // Deleted meanwhile, or it never could take records of a transaction.
        ErrorCode::None
        | ErrorCode::UnknownTopicOrPartition
        | ErrorCode::UnsupportedForMessageFormat
        | ErrorCode::UnsupportedVersion
        // It has heard of a later epoch of the producer and takes no marker of this one any more.
        | ErrorCode::InvalidProducerEpoch => Verdict::Done,
        ErrorCode::TransactionCoordinatorFenced => Verdict::Fenced,
        _ => Verdict::Again,
    }
}

impl TransactionMachine {
    /// The last record of the id decided its outcome: writes all markers.
    pub(super) fn begin_completion(
        &mut self,
        cx: &mut TransactionCx<'_>,
        id: &Arc<str>,
        transaction: &Transaction,
    ) -> TransactionOutcome {
        let completion = Completion {
            outstanding: transaction.partitions.clone(),
            phase: Phase::Waiting,
            backoff_ms: FIRST_BACKOFF_MS,
        };
        self.completions.insert(Arc::clone(id), completion);
        self.go_on(cx, id)
    }

    /// Writes the outstanding markers, or the record that says that all are written.
    pub(super) fn go_on(&mut self, cx: &mut TransactionCx<'_>, id: &Arc<str>) -> TransactionOutcome {
        let (Some(logged), Some(completion)) = (self.hard.get(id), self.completions.get_mut(id)) else {
            return Outcome::of(id);
        };
        let transaction = &logged.transaction;
        if completion.outstanding.is_empty() {
            completion.phase = Phase::Completing;
            return Outcome {
                records: vec![Record::new(id, transition::complete(transaction, cx.now.wall_ms))],
                on_append: Some(OnAppend::Completed),
                ..Outcome::of(id)
            };
        }
        let attempt = (cx.uuid)();
        completion.phase = Phase::Writing(attempt);
        let outstanding = completion.outstanding.iter();
        let effect = Effect::WriteMarkers {
            transactional_id: Arc::clone(id),
            attempt,
            marker: Marker {
                producer_id: transaction.producer_id,
                producer_epoch: transaction.producer_epoch,
                coordinator_epoch: cx.coordinator_epoch,
                committed: transaction.state == TransactionState::PrepareCommit,
                transaction_version: transaction.client_transaction_version,
            },
            partitions: outstanding.map(|(topic, index)| (Arc::clone(topic), index)).collect(),
        };
        Outcome {
            effects: vec![effect],
            ..Outcome::of(id)
        }
    }

    pub(super) fn on_markers_written(
        &mut self,
        cx: &mut TransactionCx<'_>,
        written: &WrittenMarkers,
    ) -> Option<TransactionOutcome> {
        let id = &written.transactional_id;
        let completion = self.completions.get_mut(id)?;
        if completion.phase != Phase::Writing(written.attempt) {
            return None;
        }
        let mut is_fenced = false;
        let mut done = Vec::with_capacity(written.results.len());
        for (topic, partition, error) in &written.results {
            match verdict(*error) {
                Verdict::Done => {
                    if !error.is_none() {
                        tracing::warn!(transactional_id = %id, %topic, partition, %error, "a partition takes no marker, left out");
                    }
                    done.push((&**topic, *partition));
                }
                Verdict::Again => {
                    tracing::debug!(transactional_id = %id, %topic, partition, %error, "a marker is tried again");
                }
                Verdict::Fenced => is_fenced = true,
            }
        }
        completion.outstanding.remove_all(done);
        if is_fenced {
            tracing::warn!(transactional_id = %id, "another coordinator writes the markers of this transaction");
            completion.phase = Phase::Fenced;
            return None;
        }
        if completion.outstanding.is_empty() {
            return Some(self.go_on(cx, id));
        }
        completion.phase = Phase::Waiting;
        self.pause(cx, id);
        None
    }

    /// The Complete record could not be written.
    pub(super) fn try_completion_again(&mut self, cx: &TransactionCx<'_>, id: &Arc<str>) {
        self.pause(cx, id);
    }

    fn pause(&mut self, cx: &TransactionCx<'_>, id: &Arc<str>) {
        if let Some(completion) = self.completions.get_mut(id) {
            self.deadlines.set(id, cx.now.mono_ms + completion.backoff_ms);
            completion.backoff_ms = (completion.backoff_ms * 2).min(LONGEST_BACKOFF_MS);
        }
    }
}
