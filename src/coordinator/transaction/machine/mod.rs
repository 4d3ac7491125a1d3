//! The state machine of one partition of `__transaction_state`.
//!
//! An id's transaction goes Empty → Ongoing → Prepare → Complete. The record of a Prepare state decides the outcome; once
//! it is in the log this machine owes a marker to every partition of the transaction (`Completion`), and a Complete record
//! when all have it. Nothing but the records survives a restart: what is owed follows from the Prepare states in the log.
//!
//! Invariants: no clock, no I/O; hard state changes only by replaying records; an id has a completion if and only if its
//! last record is in a Prepare state, and a deadline if it is open or if its completion waits; only the results of the last
//! try to write markers count. Source: Kafka's `TransactionCoordinator`, `TransactionMarkerChannelManager`.

#[cfg(test)]
mod abstraction;
mod completion;
mod list;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::types::ProducerId;

use self::completion::Completion;
pub use self::completion::{Effect, Event, WrittenMarkers};
use super::api::{AddPartitionsRequest, EPOCH_BUMP_VERSION, EndRequest, InitRequest, Reply, Request};
use super::api::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID};
use super::config::TransactionConfig;
use super::deadlines::Deadlines;
use super::hard::{Hard, Logged, count_of};
use super::record::{Record, size_bound};
use super::state::Transaction;
use super::transition::{self, EndStep, InitStep, Refusal};
use crate::coordinator::runtime::machine::{Cx, HardState, Machine, Outcome, ReplyToken, Sees};

/// No record of an id is larger, so that it always fits into a batch, also with the fields of its later states.
const MAX_RECORD_BYTES: usize = 1_000_000;

/// What the machine wants back when records are in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAppend {
    /// A transaction was begun: its timeout runs.
    Begun,
    /// The outcome of a transaction is decided: markers follow.
    Prepared,
    /// The transaction is over.
    Completed,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TransactionMachine {
    hard: Hard,
    completions: BTreeMap<Arc<str>, Completion>,
    deadlines: Deadlines,
    /// Where the search for expired ids goes on, while there is one.
    expiry_position: Option<Option<Arc<str>>>,
    next_expiry_ms: i64,
    /// An id for the next transaction that has to be aborted with its producer's last epoch.
    spare_producer_id: Option<ProducerId>,
    /// Transactions that wait for such an id.
    starved: BTreeSet<Arc<str>>,
}

type TransactionCx<'a> = Cx<'a, TransactionConfig>;
type TransactionOutcome = Outcome<TransactionMachine>;

impl Machine for TransactionMachine {
    const NAME: &'static str = "transactions";

    type Hard = Hard;
    type Config = TransactionConfig;
    type Request = Request;
    type Reply = Reply;
    type Event = Event;
    type Effect = Effect;
    type OnAppend = OnAppend;

    fn after_load(hard: Hard, cx: &mut TransactionCx<'_>) -> (Self, Vec<TransactionOutcome>) {
        let mut machine = Self {
            hard,
            completions: BTreeMap::new(),
            deadlines: Deadlines::default(),
            expiry_position: None,
            next_expiry_ms: cx.now.mono_ms + cx.config.transaction_remove_expired_transaction_cleanup_interval_ms,
            spare_producer_id: None,
            starved: BTreeSet::new(),
        };
        let ids: Vec<_> = machine.hard.iter().map(|(id, _)| Arc::clone(id)).collect();
        let outcomes = ids.iter().filter_map(|id| machine.resume(cx, id)).collect();
        (machine, outcomes)
    }

    fn hard(&self) -> &Hard {
        &self.hard
    }

    fn hard_mut(&mut self) -> &mut Hard {
        &mut self.hard
    }

    fn key_count(&self) -> usize {
        self.hard.key_count()
    }

    fn sees(request: &Request) -> Sees<'_> {
        match request {
            Request::Init(InitRequest { transactional_id, .. })
            | Request::AddPartitions(AddPartitionsRequest { transactional_id, .. })
            | Request::Verify(AddPartitionsRequest { transactional_id, .. })
            | Request::End(EndRequest { transactional_id, .. }) => Sees::Key(transactional_id),
            Request::Describe(_) | Request::List(_) => Sees::All,
        }
    }

    fn event_sees(event: &Event) -> Sees<'_> {
        match event {
            Event::MarkersWritten(written) => Sees::Key(&written.transactional_id),
            Event::ProducerId(_) => Sees::All,
        }
    }

    fn handle(&mut self, cx: &mut TransactionCx<'_>, token: ReplyToken, request: &Request) -> TransactionOutcome {
        match request {
            Request::Init(request) => self.init(cx, token, request),
            Request::AddPartitions(request) => self.add_partitions(cx, token, request),
            Request::Verify(request) => {
                let known = self.known(&request.transactional_id);
                let codes = known.and_then(|transaction| transition::verify(transaction, request));
                let codes = codes.unwrap_or_else(|code| vec![code; request.partitions.len()]);
                answer(&request.transactional_id, token, Reply::Verify(codes))
            }
            Request::End(request) => self.end(cx, token, request),
            Request::Describe(ids) => Outcome {
                replies: vec![(token, Reply::Describe(ids.iter().map(|id| self.describe(id)).collect()))],
                ..Outcome::default()
            },
            Request::List(query) => Outcome {
                replies: vec![(token, Reply::List(self.list(query, cx.now.wall_ms)))],
                ..Outcome::default()
            },
        }
    }

    fn on_event(&mut self, cx: &mut TransactionCx<'_>, event: Event) -> Vec<TransactionOutcome> {
        match event {
            Event::MarkersWritten(written) => self.on_markers_written(cx, &written).into_iter().collect(),
            Event::ProducerId(producer_id) => self.on_producer_id(cx, producer_id),
        }
    }

    fn on_append(
        &mut self,
        cx: &mut TransactionCx<'_>,
        key: &Arc<str>,
        on_append: OnAppend,
        result: Result<(), ErrorCode>,
    ) -> TransactionOutcome {
        match (on_append, result) {
            (OnAppend::Begun | OnAppend::Prepared | OnAppend::Completed, Ok(())) => {
                self.resume(cx, key).unwrap_or_else(|| Outcome::of(key))
            }
            (OnAppend::Begun, Err(_)) => Outcome::of(key),
            (OnAppend::Prepared, Err(_)) => {
                self.try_timeout_again(cx, key);
                Outcome::of(key)
            }
            (OnAppend::Completed, Err(_)) => {
                self.try_completion_again(cx, key);
                Outcome::of(key)
            }
        }
    }

    fn next_deadline(&self) -> Option<i64> {
        let expiry = match self.expiry_position {
            Some(_) => Some(i64::MIN),
            None => (self.hard.key_count() > 0).then_some(self.next_expiry_ms),
        };
        self.deadlines.next().into_iter().chain(expiry).min()
    }

    fn on_deadline(&mut self, cx: &mut TransactionCx<'_>) -> Vec<TransactionOutcome> {
        let mut outcomes = self.on_due_ids(cx);
        outcomes.extend(self.expire(cx));
        outcomes
    }
}

impl TransactionMachine {
    fn known(&self, transactional_id: &str) -> Result<&Transaction, ErrorCode> {
        let logged = self.hard.get(transactional_id);
        logged
            .map(|logged| &logged.transaction)
            .ok_or(ErrorCode::InvalidProducerIdMapping)
    }

    fn init(&self, cx: &mut TransactionCx<'_>, token: ReplyToken, request: &InitRequest) -> TransactionOutcome {
        let id = &request.transactional_id;
        let step = match self.hard.get(id) {
            Some(Logged { transaction, .. }) => transition::initialize(transaction, request, cx.now.wall_ms),
            None if cx.keys_left < count_of(id) => Err(ErrorCode::PolicyViolation.into()),
            None => transition::create(request, cx.now.wall_ms).map(InitStep::Begin),
        };
        match step {
            Ok(InitStep::Begin(transaction)) => {
                let given = (transaction.producer_id, transaction.producer_epoch);
                if self.hard.get(id).is_none() {
                    cx.count_new_keys(count_of(id)).expect("so many are left");
                }
                Outcome {
                    records: vec![Record::new(id, transaction)],
                    ..answer(id, token, Reply::Init(Ok(given)))
                }
            }
            Ok(InitStep::Fence(transaction)) => {
                let reply = Reply::Init(Err(ErrorCode::ConcurrentTransactions));
                prepare(cx, id, transaction, vec![(token, reply)])
            }
            Err(Refusal::Code(code)) => answer(id, token, Reply::Init(Err(code))),
            Err(Refusal::NeedsProducerId) => answer(id, token, Reply::NeedsProducerId),
        }
    }

    fn add_partitions(
        &self,
        cx: &TransactionCx<'_>,
        token: ReplyToken,
        request: &AddPartitionsRequest,
    ) -> TransactionOutcome {
        let id = &request.transactional_id;
        let known = self.known(id);
        let added = known.and_then(|current| transition::add_partitions(current, request, cx.now.wall_ms));
        match added {
            Ok(Some(transaction)) if is_too_large(cx, id, &transaction) => {
                answer(id, token, Reply::AddPartitions(ErrorCode::PolicyViolation))
            }
            Ok(Some(transaction)) => Outcome {
                records: vec![Record::new(id, transaction)],
                on_append: Some(OnAppend::Begun),
                ..answer(id, token, Reply::AddPartitions(ErrorCode::None))
            },
            Ok(None) => answer(id, token, Reply::AddPartitions(ErrorCode::None)),
            Err(code) => answer(id, token, Reply::AddPartitions(code)),
        }
    }

    fn end(&self, cx: &TransactionCx<'_>, token: ReplyToken, request: &EndRequest) -> TransactionOutcome {
        let id = &request.transactional_id;
        let known = self.known(id).map_err(Refusal::from);
        match known.and_then(|current| transition::end(current, request, cx.now.wall_ms)) {
            Ok(EndStep::Prepare(transaction)) => {
                let next = if request.transaction_version >= EPOCH_BUMP_VERSION {
                    transaction.after_completion()
                } else {
                    (NO_PRODUCER_ID, NO_PRODUCER_EPOCH)
                };
                prepare(cx, id, transaction, vec![(token, Reply::End(Ok(next)))])
            }
            Ok(EndStep::Already(next)) => answer(id, token, Reply::End(Ok(next))),
            Err(Refusal::Code(code)) => answer(id, token, Reply::End(Err(code))),
            Err(Refusal::NeedsProducerId) => answer(id, token, Reply::NeedsProducerId),
        }
    }

    /// Brings what is kept beside the log in line with the last record of an id: nobody may have done what it asks for.
    fn resume(&mut self, cx: &mut TransactionCx<'_>, id: &Arc<str>) -> Option<TransactionOutcome> {
        let transaction = &self.hard.get(id)?.transaction;
        if transaction.state.is_prepared() {
            let transaction = transaction.clone();
            self.starved.remove(id);
            self.deadlines.clear(id);
            return Some(self.begin_completion(cx, id, &transaction));
        }
        self.completions.remove(id);
        match transaction.timeout_timestamp_ms() {
            Some(timeout_timestamp_ms) if !self.deadlines.has(id) && !self.starved.contains(id) => {
                // Not longer than the timeout, should the wall clock have been set back.
                let timeout_ms = i64::from(transaction.transaction_timeout_ms.max(0));
                let left_ms = timeout_timestamp_ms.saturating_sub(cx.now.wall_ms).clamp(0, timeout_ms);
                self.deadlines.set(id, cx.now.mono_ms + left_ms + 1);
            }
            Some(_) => {}
            None => self.deadlines.clear(id),
        }
        None
    }
}

fn answer(id: &Arc<str>, token: ReplyToken, reply: Reply) -> TransactionOutcome {
    Outcome {
        replies: vec![(token, reply)],
        ..Outcome::of(id)
    }
}

/// The outcome of a transaction is decided; one without partitions is over with that.
fn prepare(
    cx: &TransactionCx<'_>,
    id: &Arc<str>,
    transaction: Transaction,
    replies: Vec<(ReplyToken, Reply)>,
) -> TransactionOutcome {
    let over = transaction
        .partitions
        .is_empty()
        .then(|| Record::new(id, transition::complete(&transaction, cx.now.wall_ms)));
    let records = std::iter::once(Record::new(id, transaction)).chain(over).collect();
    Outcome {
        records,
        replies,
        on_append: Some(OnAppend::Prepared),
        ..Outcome::of(id)
    }
}

/// Whether the transaction has more partitions than it may, or than a record can hold.
fn is_too_large(cx: &TransactionCx<'_>, id: &str, transaction: &Transaction) -> bool {
    transaction.partitions.len() > cx.config.max_partitions
        || size_bound(id, &transaction.partitions) > MAX_RECORD_BYTES
}
