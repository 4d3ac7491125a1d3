//! Produce with a transactional id: before a partition takes the first records of a transaction, its coordinator is asked.
//!
//! The partition gives a guard, the coordinator says that the partition is in the transaction, or adds it (version 12 and
//! above), and the append shows the guard: so an old produce that comes late cannot begin what nobody will end (KIP-890).
//! Meanwhile the connection is held up, so that later batches do not overtake. Nobody is asked about partitions in which
//! the transaction is open. A request whose batches are of two producers gets INVALID_PRODUCER_ID_MAPPING (49).
//! Source: `ReplicaManager.handleProduceAppend`.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::record::ValidatedBatch;
use protocol::wire::produce::ProduceRequest;
use storage::producer::VerificationGuard;
use tokio::time::Instant;

use super::Prepared;
use super::answer::Refusal;
use super::appends::{Appends, Place};
use crate::config::broker::BrokerConfig;
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;
use crate::handlers::verification::{self, Claim, TransactionSupport};
use crate::partition::partition::Partition;

/// A request with a transactional id, its batches checked.
pub(super) enum Transactional {
    /// Nothing stands between it and its appends.
    Ready(Prepared),
    /// A coordinator is to be asked first.
    Unverified(Box<Unverified>),
}

/// A request that waits for its coordinator; nothing of it is appended yet.
pub(super) struct Unverified {
    prepared: Prepared,
    support: TransactionSupport,
    claim: Claim,
    batches: Vec<Checked>,
}

/// A batch that passed all checks.
struct Checked {
    outcome: usize,
    partition: Arc<Partition>,
    batch: ValidatedBatch,
    /// It begins its transaction in the partition, if the coordinator agrees.
    guard: Option<VerificationGuard>,
    refused: Option<ErrorCode>,
}

/// Checks a request's batches, and hands them to `appends` if nobody has to be asked about them.
pub(super) fn prepare(
    cx: Arc<RequestContext>,
    request: ProduceRequest,
    index: usize,
    appends: &mut Appends,
) -> Transactional {
    let support = TransactionSupport::of_produce(cx.api_version);
    let transactional_id = request.transactional_id.clone().unwrap_or_default();
    let now = cx.now();
    let mut batches = Vec::with_capacity(request.partitions.len());
    let mut prepared = Prepared::checked(cx, request, now, |outcome, partition, batch| {
        batches.push(Checked {
            outcome,
            partition,
            batch,
            guard: None,
            refused: None,
        });
    });
    let claim = match claim(transactional_id, &batches) {
        Ok(claim) => claim,
        Err(code) => return Transactional::Ready(Prepared::refused(prepared.cx, prepared.request, code)),
    };
    let is_unverified = begin_verification(support, &mut batches);
    match claim {
        Some(claim) if is_unverified => Transactional::Unverified(Box::new(Unverified {
            prepared,
            support,
            claim,
            batches,
        })),
        _ => {
            hand_on(&mut prepared, support, batches, index, appends);
            Transactional::Ready(prepared)
        }
    }
}

/// Whose transactional batches these are; `None` when none is.
fn claim(transactional_id: StrBytes, batches: &[Checked]) -> Result<Option<Claim>, ErrorCode> {
    let mut producers = batches
        .iter()
        .filter(|checked| checked.is_transactional())
        .map(|checked| {
            (
                checked.batch.header().producer_id,
                checked.batch.header().producer_epoch,
            )
        });
    let Some(first) = producers.next() else {
        return Ok(None);
    };
    if producers.any(|other| other != first) {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let (producer_id, producer_epoch) = first;
    Ok(Some(Claim {
        transactional_id,
        producer_id,
        producer_epoch,
    }))
}

/// Asks the partitions for their guards; whether there are any.
fn begin_verification(support: TransactionSupport, batches: &mut [Checked]) -> bool {
    let adds = support.adds_partitions();
    let mut is_unverified = false;
    for checked in batches.iter_mut().filter(|checked| checked.is_transactional()) {
        if !adds && !checked.partition.settings().transaction_verification {
            continue;
        }
        let header = checked.batch.header();
        let (producer_id, producer_epoch) = (header.producer_id, header.producer_epoch);
        let begun = checked
            .partition
            .begin_verification(producer_id, producer_epoch, header.base_sequence, adds);
        (checked.guard, checked.refused) = match begun {
            Ok(guard) => (guard, None),
            Err(error) => (None, Some(error.error_code())),
        };
        is_unverified |= checked.guard.is_some();
    }
    is_unverified
}

/// Refuses what was refused and hands the rest to `appends`.
fn hand_on(
    prepared: &mut Prepared,
    support: TransactionSupport,
    batches: Vec<Checked>,
    index: usize,
    appends: &mut Appends,
) {
    let (now, all_replicas) = (prepared.cx.now(), prepared.request.acks == -1);
    for checked in batches {
        let Checked {
            outcome,
            partition,
            batch,
            guard,
            refused,
        } = checked;
        let place = Place {
            request: index,
            outcome,
        };
        match (refused, guard) {
            (Some(code), guard) => {
                if guard.is_some() {
                    undo_verification(&partition, &batch, code);
                }
                prepared.on_appended(outcome, Err(refusal(support, code)));
            }
            (None, Some(guard)) => appends.add_first(partition, all_replicas, now, batch, guard, place),
            (None, None) => appends.add(partition, all_replicas, now, batch, place),
        }
    }
}

/// A refusal for good leaves nothing in the partition that would hold up the producer whose id it was.
fn undo_verification(partition: &Partition, batch: &ValidatedBatch, code: ErrorCode) {
    let is_wrong_epoch = matches!(code, ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch);
    if is_wrong_epoch || code == ErrorCode::InvalidProducerIdMapping {
        let header = batch.header();
        partition.refuse_verification(header.producer_id, header.producer_epoch, is_wrong_epoch);
    }
}

impl Checked {
    /// A transactional batch without a producer belongs to no transaction, in Kafka as well.
    fn is_transactional(&self) -> bool {
        let header = self.batch.header();
        header.attributes.is_transactional() && header.has_producer_id()
    }
}

impl Unverified {
    /// Asks the coordinator, then appends what it agrees to.
    pub(super) async fn verify(mut self: Box<Self>) -> Reply {
        let cx = Arc::clone(&self.prepared.cx);
        let (backoff, longest) = backoff(cx.services.config.at_start());
        let began = Instant::now();
        loop {
            let codes = self.ask().await;
            let is_being_ended = codes.contains(&ErrorCode::ConcurrentTransactions);
            // the client's own pause would be longer than the end of the transaction before takes
            if !self.support.adds_partitions() || !is_being_ended || began.elapsed() >= longest {
                break;
            }
            tokio::time::sleep(backoff).await;
            if !begin_verification(self.support, &mut self.batches) {
                break;
            }
        }
        let mut appends = Appends::default();
        hand_on(&mut self.prepared, self.support, self.batches, 0, &mut appends);
        for (place, appended) in appends.run() {
            self.prepared.on_appended(place.outcome, appended);
        }
        self.prepared.reply()
    }

    /// Asks about the batches with a guard and notes what is refused; the codes that came.
    async fn ask(&mut self) -> Vec<ErrorCode> {
        let asked: Vec<_> = self
            .batches
            .iter_mut()
            .filter(|checked| checked.guard.is_some())
            .collect();
        let partitions = asked
            .iter()
            .map(|checked| (Arc::clone(checked.partition.topic()), checked.partition.index()));
        let codes = verification::ask(&self.prepared.cx, self.support, &self.claim, partitions.collect()).await;
        for (checked, code) in asked.into_iter().zip(&codes) {
            checked.refused = (!code.is_none()).then_some(*code);
        }
        codes
    }
}

/// After how long the coordinator is asked again, and for how long: no longer than the broker waits for any answer.
fn backoff(config: &BrokerConfig) -> (Duration, Duration) {
    let ms = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let longest_ms = config
        .add_partitions_to_txn_retry_backoff_max_ms
        .min(config.request_timeout_ms);
    (ms(config.add_partitions_to_txn_retry_backoff_ms), ms(longest_ms))
}

/// What a producer is told when its transaction could not be verified. Trouble with the coordinator becomes a code that all
/// clients answer by sending again, without asking for metadata; of transactions version 2, clients know that the
/// transaction before may still be about to end.
fn refusal(support: TransactionSupport, code: ErrorCode) -> Refusal {
    let (code, message) = match code {
        ErrorCode::InvalidTxnState => (code, Some("the partition was not added to the transaction".to_owned())),
        ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => unverifiable(code),
        ErrorCode::ConcurrentTransactions if !support.adds_partitions() => unverifiable(code),
        _ => (code, None),
    };
    Refusal {
        code,
        message,
        ..code.into()
    }
}

fn unverifiable(code: ErrorCode) -> (ErrorCode, Option<String>) {
    let message = format!("the coordinator could not say whether the partition is in the transaction: {code}");
    (ErrorCode::NotEnoughReplicas, Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinator_is_asked_no_longer_than_for_any_answer() {
        let asked = |longest_ms, request_timeout_ms| {
            backoff(&BrokerConfig {
                add_partitions_to_txn_retry_backoff_ms: 7,
                add_partitions_to_txn_retry_backoff_max_ms: longest_ms,
                request_timeout_ms,
                ..BrokerConfig::default()
            })
        };
        let ms = Duration::from_millis;
        assert_eq!(asked(100, 30_000), (ms(7), ms(100)));
        assert_eq!(asked(60_000, 30_000), (ms(7), ms(30_000)));
        assert_eq!(asked(60_000, -1), (ms(7), ms(0)));
    }

    #[test]
    fn trouble_with_the_coordinator_is_told_so_that_the_producer_sends_again() {
        use TransactionSupport::{Abortable, AddsPartitions, Classic};
        for support in [Classic, Abortable, AddsPartitions] {
            let told = |code| refusal(support, code).code;
            for code in [
                ErrorCode::NetworkException,
                ErrorCode::CoordinatorLoadInProgress,
                ErrorCode::CoordinatorNotAvailable,
                ErrorCode::NotCoordinator,
            ] {
                assert_eq!(told(code), ErrorCode::NotEnoughReplicas);
            }
            for code in [
                ErrorCode::InvalidTxnState,
                ErrorCode::InvalidProducerEpoch,
                ErrorCode::InvalidProducerIdMapping,
                ErrorCode::TransactionAbortable,
                ErrorCode::NotLeaderOrFollower,
            ] {
                assert_eq!(told(code), code);
            }
            let being_ended = if support == AddsPartitions {
                ErrorCode::ConcurrentTransactions
            } else {
                ErrorCode::NotEnoughReplicas
            };
            assert_eq!(told(ErrorCode::ConcurrentTransactions), being_ended);
        }
    }
}
