//! What a request makes of a transaction, or why it may not: the rules of Kafka's `TransactionCoordinator` and
//! `TransactionMetadata`, without time, log or clients.
//!
//! Invariants: a function here changes nothing, it gives the value of the record to append; the order of the checks is
//! Kafka's, because it decides which code a client gets. While markers are outstanding (a Prepare state) Kafka has a
//! transition pending, so most requests are told CONCURRENT_TRANSACTIONS before anything else is looked at.

use protocol::error_code::ErrorCode;
use protocol::types::{ProducerEpoch, ProducerId};

use super::api::{AddPartitionsRequest, EPOCH_BUMP_VERSION, EndRequest, InitRequest};
use super::api::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID, ProducerIdAndEpoch};
use super::state::{Partitions, Transaction, TransactionState, is_epoch_exhausted};
use crate::planted;

/// The protocol that the broker itself follows when it ends a transaction.
const OWN_TRANSACTION_VERSION: i16 = EPOCH_BUMP_VERSION;

/// The last epoch that a client was given before it got a new producer id.
const LAST_USABLE_EPOCH: ProducerEpoch = ProducerEpoch::MAX - 1;

/// Why nothing is to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The client gets this code.
    Code(ErrorCode),
    /// A fresh producer id is needed first.
    NeedsProducerId,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

/// What an InitProducerId comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InitStep {
    /// The producer may begin, with the id and epoch of this record.
    Begin(Transaction),
    /// The open transaction is aborted first, with this record; the client comes again.
    Fence(Transaction),
}

/// What an EndTxn comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EndStep {
    /// It is decided with this record.
    Prepare(Transaction),
    /// It was decided like this before; the client is told what to use.
    Already(ProducerIdAndEpoch),
}

/// A transactional id that is not known begins with a producer id of its own.
pub(super) fn create(request: &InitRequest, now_ms: i64) -> Result<Transaction, Refusal> {
    let producer_id = request.fresh_producer_id.ok_or(Refusal::NeedsProducerId)?;
    Ok(Transaction {
        producer_id,
        previous_producer_id: producer_id,
        next_producer_id: NO_PRODUCER_ID,
        producer_epoch: 0,
        last_producer_epoch: NO_PRODUCER_EPOCH,
        transaction_timeout_ms: request.transaction_timeout_ms,
        state: TransactionState::Empty,
        partitions: Partitions::default(),
        start_timestamp_ms: -1,
        last_update_timestamp_ms: now_ms,
        client_transaction_version: 0,
    })
}

/// InitProducerId for an id that is known.
pub(super) fn initialize(current: &Transaction, request: &InitRequest, now_ms: i64) -> Result<InitStep, Refusal> {
    if current.state.is_prepared() {
        return Err(ErrorCode::ConcurrentTransactions.into());
    }
    if request
        .expected
        .is_some_and(|expected| !may_be_its_id(current, expected))
    {
        return Err(ErrorCode::ProducerFenced.into());
    }
    if current.state == TransactionState::Ongoing {
        return fence(current, request.fresh_producer_id, now_ms).map(InitStep::Fence);
    }
    let (producer_id, producer_epoch, last_producer_epoch) = next_epoch(current, request)?;
    Ok(InitStep::Begin(Transaction {
        producer_id,
        previous_producer_id: current.producer_id,
        producer_epoch,
        last_producer_epoch,
        transaction_timeout_ms: request.transaction_timeout_ms,
        state: TransactionState::Empty,
        partitions: Partitions::default(),
        start_timestamp_ms: -1,
        last_update_timestamp_ms: now_ms,
        ..*current
    }))
}

/// The id is the present one, or the last one with its last epoch: the answer that told of the new one may be lost.
fn may_be_its_id(current: &Transaction, (producer_id, producer_epoch): ProducerIdAndEpoch) -> bool {
    producer_id == current.producer_id
        || (producer_id == current.previous_producer_id && is_epoch_exhausted(producer_epoch))
}

/// Producer id, epoch and last epoch after an InitProducerId.
fn next_epoch(
    current: &Transaction,
    request: &InitRequest,
) -> Result<(ProducerId, ProducerEpoch, ProducerEpoch), Refusal> {
    let expected = request.expected.map(|(_, epoch)| epoch);
    match expected {
        Some(epoch) if epoch != current.producer_epoch => {
            // It asked before and did not get the answer. Nobody else asked since, that would have set the last epoch.
            if epoch == current.last_producer_epoch {
                Ok((current.producer_id, current.producer_epoch, current.last_producer_epoch))
            } else {
                Err(ErrorCode::ProducerFenced.into())
            }
        }
        _ if current.is_epoch_exhausted() => {
            let fresh = request.fresh_producer_id.ok_or(Refusal::NeedsProducerId)?;
            Ok((fresh, 0, expected.unwrap_or(NO_PRODUCER_EPOCH)))
        }
        _ => Ok((
            current.producer_id,
            current.producer_epoch + 1,
            expected.unwrap_or(NO_PRODUCER_EPOCH),
        )),
    }
}

/// The transaction with more partitions; `None` when it has them all.
pub(super) fn add_partitions(
    current: &Transaction,
    request: &AddPartitionsRequest,
    now_ms: i64,
) -> Result<Option<Transaction>, ErrorCode> {
    if current.state.is_prepared() {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    check_producer(current, request)?;
    let is_open = current.state == TransactionState::Ongoing;
    let added = current.partitions.with(&request.partitions);
    if is_open && added.is_none() {
        return Ok(None);
    }
    Ok(Some(Transaction {
        previous_producer_id: current.producer_id,
        state: TransactionState::Ongoing,
        partitions: added.unwrap_or_else(|| current.partitions.clone()),
        start_timestamp_ms: if is_open { current.start_timestamp_ms } else { now_ms },
        last_update_timestamp_ms: now_ms,
        client_transaction_version: request.transaction_version,
        ..*current
    }))
}

/// One code per partition, in the order asked: is it in the open transaction?
pub(super) fn verify(current: &Transaction, request: &AddPartitionsRequest) -> Result<Vec<ErrorCode>, ErrorCode> {
    check_producer(current, request)?;
    if current.state.is_prepared() {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    let code = |(topic, partition): &(std::sync::Arc<str>, i32)| {
        if current.partitions.contains(topic, *partition) {
            ErrorCode::None
        } else {
            ErrorCode::TransactionAbortable
        }
    };
    Ok(request.partitions.iter().map(code).collect())
}

fn check_producer(current: &Transaction, request: &AddPartitionsRequest) -> Result<(), ErrorCode> {
    if current.producer_id != request.producer_id {
        Err(ErrorCode::InvalidProducerIdMapping)
    } else if current.producer_epoch != request.producer_epoch {
        Err(ErrorCode::ProducerFenced)
    } else {
        Ok(())
    }
}

/// EndTxn, by the protocol that the client speaks.
pub(super) fn end(current: &Transaction, request: &EndRequest, now_ms: i64) -> Result<EndStep, Refusal> {
    if request.transaction_version >= EPOCH_BUMP_VERSION {
        end_with_bump(current, request, now_ms)
    } else {
        end_without_bump(current, request, now_ms)
    }
}

/// EndTxn up to version 4: the epoch stays, a repetition is told by the state alone.
fn end_without_bump(current: &Transaction, request: &EndRequest, now_ms: i64) -> Result<EndStep, Refusal> {
    use TransactionState as State;
    if current.producer_id != request.producer_id {
        return Err(ErrorCode::InvalidProducerIdMapping.into());
    }
    if current.producer_epoch != request.producer_epoch && !planted::forgets_fence() {
        return Err(ErrorCode::ProducerFenced.into());
    }
    match (current.state, request.committed) {
        (State::PrepareCommit | State::PrepareAbort, _) => Err(ErrorCode::ConcurrentTransactions.into()),
        (State::Ongoing, committed) => Ok(EndStep::Prepare(Transaction {
            next_producer_id: NO_PRODUCER_ID,
            client_transaction_version: 0,
            ..prepared(current, committed, now_ms)
        })),
        (State::CompleteCommit, true) | (State::CompleteAbort, false) => {
            Ok(EndStep::Already((NO_PRODUCER_ID, NO_PRODUCER_EPOCH)))
        }
        _ => Err(ErrorCode::InvalidTxnState.into()),
    }
}

/// EndTxn from version 5 on: the epoch is raised with every end, so a repetition has the epoch before. Where nothing is
/// open an abort is done again, for a client that cannot know whether its records began a transaction.
fn end_with_bump(current: &Transaction, request: &EndRequest, now_ms: i64) -> Result<EndStep, Refusal> {
    use TransactionState as State;
    if current.state.is_prepared() {
        return Err(ErrorCode::ConcurrentTransactions.into());
    }
    let repeats_overflow = request.producer_id == current.previous_producer_id
        && request.producer_epoch == LAST_USABLE_EPOCH
        && current.producer_epoch == 0;
    if current.producer_id != request.producer_id && !repeats_overflow {
        return Err(ErrorCode::InvalidProducerIdMapping.into());
    }
    let is_complete = matches!(current.state, State::CompleteCommit | State::CompleteAbort);
    let repeats_bump = request.producer_epoch.checked_add(1) == Some(current.producer_epoch);
    let is_repetition = repeats_bump || repeats_overflow;
    let is_known = current.producer_epoch == request.producer_epoch || (is_complete && is_repetition);
    if !is_known && !planted::forgets_fence() {
        return Err(ErrorCode::ProducerFenced.into());
    }
    match (current.state, request.committed) {
        (State::CompleteCommit, true) | (State::CompleteAbort, false) if is_repetition => {
            Ok(EndStep::Already((current.producer_id, current.producer_epoch)))
        }
        (State::CompleteCommit | State::CompleteAbort, _) if is_repetition => Err(ErrorCode::InvalidTxnState.into()),
        (State::Ongoing, committed) => {
            let transaction = bumped(current, committed, request.fresh_producer_id, now_ms)?;
            Ok(EndStep::Prepare(transaction))
        }
        (_, false) => {
            let transaction = bumped(current, false, request.fresh_producer_id, now_ms)?;
            Ok(EndStep::Prepare(Transaction {
                start_timestamp_ms: now_ms,
                ..transaction
            }))
        }
        (_, true) => Err(ErrorCode::InvalidTxnState.into()),
    }
}

/// The broker aborts the open transaction and raises the epoch, so that its producer is heard no more.
pub(super) fn fence(
    current: &Transaction,
    fresh_producer_id: Option<ProducerId>,
    now_ms: i64,
) -> Result<Transaction, Refusal> {
    bumped(current, false, fresh_producer_id, now_ms)
}

/// The outcome is decided, with an epoch above all that the data of the transaction can have.
fn bumped(
    current: &Transaction,
    committed: bool,
    fresh_producer_id: Option<ProducerId>,
    now_ms: i64,
) -> Result<Transaction, Refusal> {
    let next_producer_id = if current.is_epoch_exhausted() {
        fresh_producer_id.ok_or(Refusal::NeedsProducerId)?
    } else {
        NO_PRODUCER_ID
    };
    Ok(Transaction {
        next_producer_id,
        // The highest epoch is never given to a client; a log that has it lets the producer recover.
        producer_epoch: current.producer_epoch.saturating_add(1),
        last_producer_epoch: current.producer_epoch,
        client_transaction_version: OWN_TRANSACTION_VERSION,
        ..prepared(current, committed, now_ms)
    })
}

fn prepared(current: &Transaction, committed: bool, now_ms: i64) -> Transaction {
    Transaction {
        previous_producer_id: current.producer_id,
        state: if committed {
            TransactionState::PrepareCommit
        } else {
            TransactionState::PrepareAbort
        },
        partitions: current.partitions.clone(),
        last_update_timestamp_ms: now_ms,
        ..*current
    }
}

/// All markers of a prepared transaction are written.
pub(super) fn complete(prepared: &Transaction, now_ms: i64) -> Transaction {
    let (producer_id, producer_epoch) = prepared.after_completion();
    Transaction {
        producer_id,
        previous_producer_id: prepared.producer_id,
        next_producer_id: NO_PRODUCER_ID,
        producer_epoch,
        state: if prepared.state == TransactionState::PrepareCommit {
            TransactionState::CompleteCommit
        } else {
            TransactionState::CompleteAbort
        },
        partitions: Partitions::default(),
        last_update_timestamp_ms: now_ms,
        ..*prepared
    }
}
