//! The machine under a shell that commits every record at once.

mod behaviour;
mod table;

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::types::Now;
use uuid::Uuid;

use super::*;
use crate::coordinator::transaction::state::{Partitions, TransactionState};

const ID: &str = "t";

/// The machine, its log, and what it asked for.
struct Shell {
    machine: TransactionMachine,
    config: TransactionConfig,
    now_ms: i64,
    keys_left: usize,
    log: Vec<Record>,
    effects: Vec<Effect>,
    /// Appends fail with this.
    refusal: Option<ErrorCode>,
}

impl Shell {
    fn new() -> Self {
        Self::of(Vec::new())
    }

    /// A machine whose log has these records.
    fn of(records: Vec<Record>) -> Self {
        let mut hard = Hard::default();
        for (offset, record) in (0..).zip(records.clone()) {
            hard.replay(offset, None, record);
        }
        let config = TransactionConfig::default();
        let mut uuid = Uuid::new_v4;
        let now = Now {
            mono_ms: 0,
            wall_ms: 1_000_000,
        };
        let mut cx = Cx {
            now,
            coordinator_epoch: 3,
            config: &config,
            uuid: &mut uuid,
            keys_left: 0,
        };
        let (machine, outcomes) = TransactionMachine::after_load(hard, &mut cx);
        let mut shell = Self {
            machine,
            config,
            now_ms: 0,
            keys_left: 10,
            log: records,
            effects: Vec::new(),
            refusal: None,
        };
        shell.perform(outcomes);
        shell
    }

    fn with_cx<R>(&mut self, call: impl FnOnce(&mut TransactionMachine, &mut TransactionCx<'_>) -> R) -> R {
        let mut uuid = Uuid::new_v4;
        let now = Now {
            mono_ms: self.now_ms,
            wall_ms: 1_000_000 + self.now_ms,
        };
        let mut cx = Cx {
            now,
            coordinator_epoch: 3,
            config: &self.config,
            uuid: &mut uuid,
            keys_left: self.keys_left,
        };
        let result = call(&mut self.machine, &mut cx);
        self.keys_left = cx.keys_left;
        result
    }

    /// Does what the outcomes say; gives the answers.
    fn perform(&mut self, outcomes: Vec<TransactionOutcome>) -> Vec<Reply> {
        let mut replies = Vec::new();
        let mut todo: std::collections::VecDeque<_> = outcomes.into();
        while let Some(outcome) = todo.pop_front() {
            let result = match self.refusal {
                Some(refusal) if !outcome.records.is_empty() => Err(refusal),
                _ => Ok(()),
            };
            if result.is_ok() {
                for record in outcome.records {
                    let offset = i64::try_from(self.log.len()).expect("short");
                    self.machine.hard_mut().replay(offset, None, record.clone());
                    self.log.push(record);
                }
                self.effects.extend(outcome.effects);
                replies.extend(outcome.replies.into_iter().map(|(_, reply)| reply));
            }
            if let Some((key, on_append)) = outcome.key.zip(outcome.on_append) {
                todo.push_back(self.with_cx(|machine, cx| machine.on_append(cx, &key, on_append, result)));
            }
        }
        replies
    }

    fn ask(&mut self, request: &Request) -> Reply {
        let outcome = self.with_cx(|machine, cx| machine.handle(cx, ReplyToken(1), request));
        let mut replies = self.perform(vec![outcome]);
        assert_eq!(replies.len(), 1, "{request:?}");
        replies.remove(0)
    }

    fn tell(&mut self, event: Event) {
        let outcomes = self.with_cx(|machine, cx| machine.on_event(cx, event));
        assert!(self.perform(outcomes).is_empty());
    }

    /// Goes to the next deadline, and handles it.
    fn next_deadline(&mut self) {
        let deadline_ms = self.machine.next_deadline().expect("one is waited for");
        self.now_ms = self.now_ms.max(deadline_ms);
        let outcomes = self.with_cx(TransactionMachine::on_deadline);
        assert!(self.perform(outcomes).is_empty());
    }

    fn init(&mut self, expected: Option<(i64, i16)>, fresh_producer_id: Option<i64>) -> Reply {
        self.ask(&Request::Init(InitRequest {
            transactional_id: ID.into(),
            transaction_timeout_ms: 60_000,
            expected,
            fresh_producer_id,
        }))
    }

    fn add(&mut self, producer: (i64, i16), partitions: &[i32]) -> ErrorCode {
        match self.ask(&Request::AddPartitions(adding(producer, partitions))) {
            Reply::AddPartitions(code) => code,
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, version: i16, producer: (i64, i16), committed: bool) -> Result<(i64, i16), ErrorCode> {
        match self.ask(&ending(version, producer, committed, Some(99))) {
            Reply::End(result) => result,
            other => panic!("{other:?}"),
        }
    }

    /// The markers asked for last: the try, the partitions.
    fn markers(&mut self) -> (Uuid, Vec<i32>, crate::partition::marker::Marker) {
        match self.effects.pop() {
            Some(Effect::WriteMarkers {
                attempt,
                partitions,
                marker,
                ..
            }) => (
                attempt,
                partitions.into_iter().map(|(_, index)| index).collect(),
                marker,
            ),
            other => panic!("{other:?}"),
        }
    }

    /// The markers asked for last are written, or not, with these codes.
    fn answer_markers(&mut self, codes: &[ErrorCode]) {
        let (attempt, partitions, _) = self.markers();
        assert_eq!(partitions.len(), codes.len());
        self.tell(written(attempt, &partitions, codes));
    }

    fn transaction(&self) -> &Transaction {
        &self.machine.hard().get(ID).expect("known").transaction
    }

    fn state(&self) -> TransactionState {
        self.transaction().state
    }
}

fn written(attempt: Uuid, partitions: &[i32], codes: &[ErrorCode]) -> Event {
    let results = partitions.iter().zip(codes);
    Event::MarkersWritten(WrittenMarkers {
        transactional_id: ID.into(),
        attempt,
        results: results.map(|(index, code)| ("p".into(), *index, *code)).collect(),
    })
}

fn adding((producer_id, producer_epoch): (i64, i16), partitions: &[i32]) -> AddPartitionsRequest {
    AddPartitionsRequest {
        transactional_id: ID.into(),
        producer_id,
        producer_epoch,
        partitions: partitions.iter().map(|index| ("p".into(), *index)).collect(),
        transaction_version: 0,
    }
}

fn ending(
    transaction_version: i16,
    (producer_id, producer_epoch): (i64, i16),
    committed: bool,
    fresh_producer_id: Option<i64>,
) -> Request {
    Request::End(EndRequest {
        transactional_id: ID.into(),
        producer_id,
        producer_epoch,
        committed,
        transaction_version,
        fresh_producer_id,
    })
}

/// What is known of the id in this state: producer 5 with epoch 7; partition p-0 where there are any.
fn sample(state: TransactionState) -> Transaction {
    let has_partitions = state == TransactionState::Ongoing || state.is_prepared();
    let partitions = [(Arc::from("p"), 0)].into_iter().filter(|_| has_partitions);
    Transaction {
        producer_id: 5,
        previous_producer_id: 5,
        next_producer_id: -1,
        producer_epoch: 7,
        last_producer_epoch: -1,
        transaction_timeout_ms: 60_000,
        state,
        partitions: partitions.collect::<Partitions>(),
        start_timestamp_ms: 1_000_000,
        last_update_timestamp_ms: 1_000_000,
        client_transaction_version: 0,
    }
}

fn shell_in(state: TransactionState) -> Shell {
    Shell::of(vec![Record::new(&ID.into(), sample(state))])
}
