//! The closed loop of producers with an id: each has a connection and a partition, so many batches in flight, and a
//! transaction per so many batches. Plain producers take part for comparison, with the same work per request here.
//!
//! Invariants: a transaction that was begun is ended before a run returns; batches of a producer come in the order of
//! their sequences, what was refused because the transaction before is not complete is sent again from there on; base
//! offsets have no gap but the markers.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use hdrhistogram::Histogram;

use super::calls::{self, CONCURRENT_TRANSACTIONS, RETRY};
use super::{Flow, Identity, Template};
use crate::engine::{Engine, Play};
use crate::load::Until;
use crate::paced::{histogram, record};
use crate::wire::connect;
use crate::{Failure, answers, frames};

/// What the producers do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) flow: Flow,
    pub(crate) producers: usize,
    pub(crate) in_flight: u64,
    /// Records in the batch.
    pub(crate) records: usize,
    /// Batches in a transaction.
    pub(crate) batches: u64,
    /// Of so many transactions one is committed; the others are aborted.
    pub(crate) committed_of: u64,
    /// All write to partition 0; else each to its own.
    pub(crate) is_shared: bool,
    /// Whether the only producer's records are fetched as they are committed.
    pub(crate) tails: bool,
}

/// What a run did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) batches: u64,
    pub(crate) transactions: u64,
    /// Requests that came before the transaction before was complete.
    pub(crate) refused: u64,
    /// From EndTxn to its answer, and to the arrival at a reader of committed records, in nanoseconds.
    pub(crate) ended: Histogram<u64>,
    pub(crate) visible: Histogram<u64>,
}

/// What a producer sends next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Add,
    Produce,
    End,
}

#[derive(Debug)]
struct Producer {
    name: String,
    partition: i32,
    identity: Identity,
    template: Template,
    add: Bytes,
    end: Bytes,
    stage: Stage,
    /// Batches of this transaction.
    sent: u64,
    acknowledged: u64,
    in_flight: u64,
    /// Of the first batch of this transaction.
    first_sequence: i32,
    /// What the next batch has to get, where nobody else writes.
    next_offset: i64,
    transactions: u64,
    /// A batch of this transaction was refused: those behind it have to be, too.
    is_refused: bool,
    not_before: Option<Instant>,
    end_sent: Option<Instant>,
}

/// The reader of committed records.
#[derive(Debug)]
struct Tail {
    template: frames::FetchTemplate,
    offset: i64,
    is_due: bool,
    /// Last records of transactions that it has not seen, with the time at which EndTxn was sent.
    awaited: VecDeque<(i64, Instant)>,
}

struct State {
    plan: Plan,
    topic: String,
    producers: Vec<Producer>,
    tail: Option<Tail>,
    started: u64,
    max_batches: u64,
    ends: Instant,
    done: Done,
}

/// Producers and their connections.
pub(crate) struct Producers {
    engine: Engine,
    state: State,
}

impl Producers {
    /// Connects, and gets an id for each; transactional ones are named after the topic.
    pub(crate) fn connect(address: &str, topic: &str, plan: Plan, batch: &Bytes) -> Result<Self, Failure> {
        let mut stream = connect(address)?;
        let producers = (0..plan.producers).map(|index| {
            let name = format!("{topic}-{index}");
            let partition = if plan.is_shared { 0 } else { i32::try_from(index)? };
            if plan.flow.is_transactional() {
                calls::find_coordinator(&mut stream, &name)?;
            }
            let identity = match plan.flow {
                Flow::Plain => Identity::NONE,
                Flow::Idempotent => calls::init(&mut stream, None)?,
                Flow::Classic | Flow::V2 => calls::init(&mut stream, Some(&name))?,
            };
            Ok(Producer {
                template: Template::new(plan.flow, &name, topic, partition, batch)?,
                add: calls::add(&name, identity, topic, &[partition])?,
                end: Bytes::new(),
                name,
                partition,
                identity,
                stage: Stage::Idle,
                sent: 0,
                acknowledged: 0,
                in_flight: 0,
                first_sequence: 0,
                next_offset: 0,
                transactions: 0,
                is_refused: false,
                not_before: None,
                end_sent: None,
            })
        });
        let producers = producers.collect::<Result<_, Failure>>()?;
        let tail = Tail {
            template: frames::FetchTemplate::tail(topic, 0, true)?,
            offset: 0,
            is_due: true,
            awaited: VecDeque::new(),
        };
        Ok(Self {
            engine: Engine::connect(address, plan.producers + usize::from(plan.tails))?,
            state: State {
                plan,
                topic: topic.to_owned(),
                producers,
                tail: plan.tails.then_some(tail),
                started: 0,
                max_batches: 0,
                ends: Instant::now(),
                done: Done::new()?,
            },
        })
    }

    /// Runs until the time is over or enough batches were sent, and on to the end of the transactions that are open.
    pub(crate) fn run(&mut self, until: Until) -> Result<Done, Failure> {
        let state = &mut self.state;
        (state.started, state.max_batches) = (0, until.max_requests);
        state.ends = Instant::now() + until.duration;
        self.engine.drive(state)?;
        Ok(std::mem::replace(&mut self.state.done, Done::new()?))
    }
}

impl Done {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            batches: 0,
            transactions: 0,
            refused: 0,
            ended: histogram()?,
            visible: histogram()?,
        })
    }
}

impl Producer {
    /// Of the batch that is sent next.
    fn sequence(&self, plan: &Plan) -> i32 {
        if plan.flow == Flow::Plain {
            return -1;
        }
        let records = self.sent.wrapping_mul(plan.records as u64) as i32;
        self.first_sequence.wrapping_add(records)
    }

    /// The next request, if one may be sent; `may_begin`: also one that begins something.
    fn next(&mut self, plan: &Plan, now: Instant, may_begin: bool) -> Option<Bytes> {
        if self.not_before.is_some_and(|instant| now < instant) {
            return None;
        }
        if self.stage == Stage::Idle && may_begin {
            let adds = plan.flow == Flow::Classic;
            self.stage = if adds { Stage::Add } else { Stage::Produce };
        }
        let frame = match self.stage {
            Stage::Add if self.in_flight == 0 => self.add.clone(),
            Stage::End if self.in_flight == 0 => {
                self.end_sent.get_or_insert(now);
                self.end.clone()
            }
            Stage::Produce if self.in_flight < plan.in_flight && !self.is_refused => {
                let may_send = if plan.flow.is_transactional() {
                    self.sent < plan.batches
                } else {
                    may_begin
                };
                if !may_send {
                    return None;
                }
                let sequence = self.sequence(plan);
                self.sent += 1;
                self.template.at(self.identity, sequence)
            }
            _ => return None,
        };
        self.not_before = None;
        self.in_flight += 1;
        Some(frame)
    }

    fn on_produced(&mut self, plan: &Plan, frame: &[u8], now: Instant) -> Result<(), Failure> {
        let mut refused = None;
        answers::produced_or_refused(frame, |_, code, base_offset| {
            match code {
                0 if self.is_refused => return Err("a batch was taken behind one that was refused".into()),
                0 => {}
                code if code == CONCURRENT_TRANSACTIONS || self.is_refused => refused = Some(code),
                code => return Err(format!("Produce of {}: error {code}", self.name).into()),
            }
            if refused.is_none() && !plan.is_shared {
                if base_offset != self.next_offset {
                    return Err(format!("{}: base offset {base_offset}, not {}", self.name, self.next_offset).into());
                }
                self.next_offset += plan.records as i64;
            }
            Ok(())
        })?;
        if refused.is_some() {
            self.is_refused = true;
        } else {
            self.acknowledged += 1;
        }
        if self.is_refused && self.in_flight == 0 {
            (self.is_refused, self.sent) = (false, self.acknowledged);
            self.not_before = Some(now + RETRY);
        }
        Ok(())
    }

    /// The transaction is over: what the next one begins with.
    fn on_ended(&mut self, plan: &Plan, topic: &str, told: Option<(i64, i16)>) -> Result<(), Failure> {
        let identity = calls::next_identity(self.identity, told);
        if identity == self.identity {
            self.first_sequence = self.sequence(plan);
        } else {
            (self.identity, self.first_sequence) = (identity, 0);
            self.add = calls::add(&self.name, identity, topic, &[self.partition])?;
        }
        // the marker
        self.next_offset += 1;
        (self.sent, self.acknowledged) = (0, 0);
        self.transactions += 1;
        self.stage = Stage::Idle;
        Ok(())
    }
}

impl State {
    fn on_fetched(&mut self, frame: &[u8], now: Instant) -> Result<(), Failure> {
        let tail = self.tail.as_mut().ok_or("an answer for nobody")?;
        let from = tail.offset;
        answers::fetched(frame, |fetched| {
            tail.offset = answers::check_continuity(fetched.records, from, false)?.0;
            Ok(())
        })?;
        let arrived = tail.awaited.partition_point(|(offset, _)| *offset < tail.offset);
        for (_, sent) in tail.awaited.drain(..arrived) {
            record(&mut self.done.visible, now, sent);
        }
        tail.is_due = true;
        Ok(())
    }
}

impl Play for State {
    fn due(&mut self, now: Instant) -> Option<(usize, Bytes)> {
        if let Some(tail) = self.tail.as_mut().filter(|tail| tail.is_due) {
            tail.is_due = false;
            return Some((self.producers.len(), tail.template.at(tail.offset)));
        }
        for (connection, producer) in self.producers.iter_mut().enumerate() {
            let may_begin = now < self.ends && self.started < self.max_batches;
            let (sent, is_ended) = (producer.sent, producer.end_sent.is_some());
            let Some(frame) = producer.next(&self.plan, now, may_begin) else {
                continue;
            };
            self.started += producer.sent - sent;
            if let (Some(tail), false, Some(instant)) = (&mut self.tail, is_ended, producer.end_sent) {
                tail.awaited.push_back((producer.next_offset - 1, instant));
            }
            return Some((connection, frame));
        }
        None
    }

    fn answer(&mut self, connection: usize, frame: &[u8], now: Instant) -> Result<(), Failure> {
        let Some(producer) = self.producers.get_mut(connection) else {
            return self.on_fetched(frame, now);
        };
        producer.in_flight -= 1;
        let code = match producer.stage {
            Stage::Produce => {
                producer.on_produced(&self.plan, frame, now)?;
                self.done.refused += u64::from(producer.not_before.is_some());
                if self.plan.flow.is_transactional() && producer.acknowledged == self.plan.batches {
                    let committed = producer.transactions.is_multiple_of(self.plan.committed_of);
                    producer.end = calls::end(self.plan.flow, &producer.name, producer.identity, committed)?;
                    producer.stage = Stage::End;
                    self.done.batches += producer.sent;
                } else if !self.plan.flow.is_transactional() {
                    self.done.batches += 1;
                }
                return Ok(());
            }
            Stage::Add => {
                let code = answers::added(frame)?;
                if code == 0 {
                    producer.stage = Stage::Produce;
                }
                code
            }
            Stage::End => {
                let (code, told) = answers::ended(frame)?;
                if code == 0 {
                    producer.on_ended(&self.plan, &self.topic, told)?;
                    self.done.transactions += 1;
                    record(
                        &mut self.done.ended,
                        now,
                        producer.end_sent.take().ok_or("nothing to end")?,
                    );
                }
                code
            }
            Stage::Idle => return Err("an answer to nothing".into()),
        };
        match code {
            0 => Ok(()),
            CONCURRENT_TRANSACTIONS => {
                producer.not_before = Some(now + RETRY);
                self.done.refused += 1;
                Ok(())
            }
            code => Err(format!("{}: error {code}", producer.name).into()),
        }
    }

    fn wake(&self) -> Option<Instant> {
        self.producers.iter().filter_map(|producer| producer.not_before).min()
    }

    fn is_finished(&self, now: Instant) -> bool {
        let is_idle = |producer: &Producer| {
            producer.in_flight == 0 && (producer.stage == Stage::Idle || !self.plan.flow.is_transactional())
        };
        let is_seen = self.tail.as_ref().is_none_or(|tail| tail.awaited.is_empty());
        (now >= self.ends || self.started >= self.max_batches) && is_seen && self.producers.iter().all(is_idle)
    }
}
