//! What the coordinator does in the model: requests, appends, releases, markers, crashes and starts.

use super::{Coordinator, Model, Release, Step, Target, World, decides, unremembered};
use crate::coordinator::runtime::machine::{Cx, HardState, Machine, Outcome, ReplyToken};
use crate::coordinator::transaction::api::Request;
use crate::coordinator::transaction::config::TransactionConfig;
use crate::coordinator::transaction::machine::{Event, TransactionMachine, WrittenMarkers};
use crate::coordinator::transaction::model::client::{Op, Phase, Sent, Verdict, judge, request};
use crate::coordinator::transaction::model::{Fault, ID, Plant, Scenario, TOPIC, with_cx};
use crate::coordinator::transaction::state::TransactionState;
use protocol::error_code::ErrorCode;
use uuid::Uuid;

impl World {
    pub(super) fn ask(&mut self, scenario: &Scenario, client: Option<(usize, u8)>, sent: Sent) -> Step {
        let fresh = client.and_then(|(client, _)| self.clients[client].fresh_producer_id.take());
        let mut asked = request(sent, scenario.transaction_version, fresh);
        if scenario.plant == Some(Plant::NoEpochCheck) {
            self.forge_epoch(&mut asked);
        }
        let mut answers = 0;
        self.machine_step(scenario, client, 0, |machine, cx| {
            let outcome = machine.handle(cx, ReplyToken(0), &asked);
            answers = outcome.replies.len();
            vec![outcome]
        })?;
        if answers == 1 { Ok(()) } else { Err(Fault::Unanswered) }
    }

    /// The planted mistake: as if the epoch were not looked at.
    pub(super) fn forge_epoch(&self, asked: &mut Request) {
        let Some(logged) = self.machine().and_then(|machine| machine.hard().get(ID)) else {
            return;
        };
        match asked {
            Request::AddPartitions(request) | Request::Verify(request) => {
                request.producer_epoch = logged.transaction.producer_epoch;
            }
            Request::End(request) => request.producer_epoch = logged.transaction.producer_epoch,
            _ => {}
        }
    }

    /// Lets the machine do something, and its shell what follows.
    pub(super) fn machine_step(
        &mut self,
        scenario: &Scenario,
        client: Option<(usize, u8)>,
        now_ms: i64,
        call: impl FnOnce(&mut TransactionMachine, &mut Cx<'_, TransactionConfig>) -> Vec<Outcome<TransactionMachine>>,
    ) -> Step {
        if self.coordinator.is_none() {
            return Ok(());
        }
        let mut outcomes = self.call(now_ms, call);
        outcomes.reverse();
        while let Some(outcome) = outcomes.pop() {
            outcomes.extend(self.perform(client, outcome));
        }
        if scenario.plant == Some(Plant::AnswersTooEarly) {
            self.release(scenario, i64::MAX)?;
        }
        Ok(())
    }

    pub(super) fn call<R>(
        &mut self,
        now_ms: i64,
        call: impl FnOnce(&mut TransactionMachine, &mut Cx<'_, TransactionConfig>) -> R,
    ) -> R {
        let (epoch, next_attempt) = (self.coordinator_epoch, &mut self.next_attempt);
        let mut uuid = || {
            *next_attempt += 1;
            Uuid::from_u128(*next_attempt)
        };
        let coordinator = self.coordinator.as_mut().expect("it is there");
        with_cx(now_ms, 0, epoch, &mut uuid, |cx| call(&mut coordinator.machine, cx))
    }

    /// Appends the records of an outcome, replays them, and lets the rest wait until they are committed.
    pub(super) fn perform(
        &mut self,
        client: Option<(usize, u8)>,
        outcome: Outcome<TransactionMachine>,
    ) -> Option<Outcome<TransactionMachine>> {
        assert!(
            outcome.before.is_empty() && outcome.producer.is_none(),
            "not used by this machine"
        );
        let coordinator = self.coordinator.as_mut().expect("it made the outcome");
        let mut serial = self.tail.last().map_or(self.committed.1, |(_, _, decided)| *decided);
        for record in outcome.records {
            let hard = coordinator.machine.hard_mut();
            serial += u8::from(decides(hard, &record));
            hard.replay(self.next_offset, None, record.clone());
            self.tail.push((self.next_offset, record, serial));
            self.next_offset += 1;
        }
        let end_offset = coordinator.machine.hard().last_written_offset(outcome.key.as_deref()) + 1;
        if let (Some((client, attempt)), Some((_, reply))) = (client, outcome.replies.first()) {
            let answer = Release::Answer {
                client,
                attempt,
                serial,
                reply: Model::of(reply),
            };
            coordinator.waiting.push((end_offset, answer));
        }
        for effect in outcome.effects {
            coordinator.waiting.push((end_offset, Release::of(effect, serial)));
        }
        let (key, on_append) = outcome.key.zip(outcome.on_append)?;
        Some(self.call(0, |machine, cx| machine.on_append(cx, &key, on_append, Ok(()))))
    }

    pub(super) fn commit(&mut self, scenario: &Scenario) -> Step {
        for (offset, record, decided) in std::mem::take(&mut self.tail) {
            self.committed.0.replay(offset, None, unremembered(&record));
            self.committed.1 = decided;
        }
        self.release(scenario, self.next_offset)
    }

    /// Sends what waits for the log to be committed up to here.
    pub(super) fn release(&mut self, scenario: &Scenario, end_offset: i64) -> Step {
        let Some(coordinator) = &mut self.coordinator else {
            return Ok(());
        };
        let waiting = std::mem::take(&mut coordinator.waiting);
        let (due, rest) = waiting.into_iter().partition(|(end, _)| *end <= end_offset);
        coordinator.waiting = rest;
        let due: Vec<(i64, Release)> = due;
        for (_, release) in due {
            match release {
                Release::Answer {
                    client,
                    attempt,
                    serial,
                    reply,
                } => self.answer(scenario, (client, attempt), serial, &reply)?,
                Release::Markers(group) => self.groups.push(group),
                Release::ProducerId => self.producer_id_is_asked = true,
            }
        }
        Ok(())
    }

    pub(super) fn answer(
        &mut self,
        scenario: &Scenario,
        (index, attempt): (usize, u8),
        serial: u8,
        reply: &Model,
    ) -> Step {
        let fresh = self.next_producer_id;
        let client = &mut self.clients[index];
        if client.attempt != attempt || !matches!(client.phase, Phase::Waiting | Phase::Verifying) {
            return Ok(());
        }
        let is_produce = client.phase == Phase::Verifying;
        client.phase = Phase::Ready;
        match judge(&reply.reply(), scenario.transaction_version, is_produce) {
            Verdict::Again => client.guard_is_good = false,
            Verdict::NeedsProducerId => {
                client.fresh_producer_id = Some(fresh);
                self.next_producer_id += 1;
            }
            Verdict::Abort => client.abort(&scenario.programs[index]),
            Verdict::Fatal => client.phase = Phase::Dead,
            Verdict::Done if is_produce => client.phase = Phase::Verified(serial),
            Verdict::Done => self.advance(scenario, index, reply),
        }
        Ok(())
    }

    /// A request was answered with success.
    pub(super) fn advance(&mut self, scenario: &Scenario, index: usize, reply: &Model) {
        let client = &mut self.clients[index];
        let op = client.op(&scenario.programs[index]).expect("it asked");
        client.step += 1;
        match (op, reply) {
            (Op::Init, Model::Init(Ok((producer_id, producer_epoch)))) => {
                (client.producer_id, client.producer_epoch) = (*producer_id, *producer_epoch);
                client.is_fenced = false;
                for other in (0..self.clients.len()).filter(|other| *other != index) {
                    self.clients[other].is_fenced = true;
                    for partition in &mut self.partitions {
                        partition.forbid(other);
                    }
                }
            }
            (Op::End(committed), Model::End(Ok((producer_id, producer_epoch)))) => {
                if scenario.transaction_version >= 2 {
                    (client.producer_id, client.producer_epoch) = (*producer_id, *producer_epoch);
                }
                if committed {
                    self.acknowledged.insert((index, client.transaction));
                }
                client.transaction += 1;
                client.is_aborting = false;
            }
            _ => {}
        }
    }

    pub(super) fn write_marker(
        &mut self,
        scenario: &Scenario,
        group: usize,
        partition: usize,
    ) -> Result<ErrorCode, Fault> {
        let marker = self.groups[group].marker;
        let code = self.partitions[partition].end(marker)?;
        if code.is_none() {
            self.spoil_guards(scenario, partition, marker.producer_id);
        }
        Ok(code)
    }

    pub(super) fn marker(
        &mut self,
        scenario: &Scenario,
        group: usize,
        partition: usize,
        answer: Option<ErrorCode>,
    ) -> Step {
        let code = self.write_marker(scenario, group, partition)?;
        let group = &mut self.groups[group];
        group.targets[partition] = if group.has_sender {
            Target::Answered(answer.unwrap_or(code))
        } else {
            Target::None
        };
        Ok(())
    }

    pub(super) fn results(&mut self, scenario: &Scenario, group: usize) -> Step {
        let group = self.groups.remove(group);
        let mut attempt = group.attempt;
        if scenario.plant == Some(Plant::AnyResultCounts)
            && let Some(machine) = self.machine()
        {
            attempt = machine.attempt(ID).unwrap_or(attempt);
        }
        let result = |(partition, target): (usize, &Target)| match target {
            Target::Answered(code) => Some((TOPIC.into(), i32::try_from(partition).expect("two"), *code)),
            Target::None | Target::OnItsWay => None,
        };
        let written = WrittenMarkers {
            transactional_id: ID.into(),
            attempt,
            results: group.targets.iter().enumerate().filter_map(result).collect(),
        };
        let event = Event::MarkersWritten(written);
        self.machine_step(scenario, None, 0, |machine, cx| machine.on_event(cx, event))
    }

    pub(super) fn deadline(&mut self, scenario: &Scenario) -> Step {
        if !self.state().is_some_and(TransactionState::is_prepared) {
            self.budget.timeouts -= 1;
        }
        let deadline_ms = self.machine().and_then(TransactionMachine::next_id_deadline);
        let deadline_ms = deadline_ms.expect("was asked for");
        self.machine_step(scenario, None, deadline_ms, TransactionMachine::on_deadline)
    }

    pub(super) fn crash(&mut self, kept: usize) {
        self.budget.crashes -= 1;
        self.coordinator = None;
        let lost = self.tail.split_off(kept);
        if let Some((offset, ..)) = lost.first() {
            self.next_offset = *offset;
        }
        for (offset, record, decided) in std::mem::take(&mut self.tail) {
            self.committed.0.replay(offset, None, unremembered(&record));
            self.committed.1 = decided;
        }
        self.producer_id_is_asked = false;
        for group in &mut self.groups {
            (group.attempt, group.has_sender) = (Uuid::nil(), false);
            for target in &mut group.targets {
                if matches!(target, Target::Answered(_)) {
                    *target = Target::None;
                }
            }
        }
        self.fail_requests();
    }

    pub(super) fn fail_requests(&mut self) {
        for client in 0..self.clients.len() {
            if matches!(self.clients[client].phase, Phase::Waiting | Phase::Verifying) {
                self.give_up(client);
            }
        }
    }

    pub(super) fn start(&mut self, scenario: &Scenario) {
        let epoch = self.coordinator_epoch;
        let mut hard = self.committed.0.clone();
        for (offset, record, _) in &self.tail {
            hard.replay(*offset, None, unremembered(record));
        }
        let next_attempt = &mut self.next_attempt;
        let mut uuid = || {
            *next_attempt += 1;
            Uuid::from_u128(*next_attempt)
        };
        let (machine, outcomes) = with_cx(0, 0, epoch, &mut uuid, |cx| TransactionMachine::after_load(hard, cx));
        self.coordinator = Some(Coordinator {
            machine,
            waiting: Vec::new(),
        });
        if scenario.plant == Some(Plant::NothingAfterLoad) {
            return;
        }
        for outcome in outcomes {
            let mut next = Some(outcome);
            while let Some(outcome) = next {
                next = self.perform(None, outcome);
            }
        }
    }

    /// The state is loaded again under the same epoch. With the old protocol this is safe only because what was handed to the
    /// partitions has its place there before; with the new one nothing is assumed.
    pub(super) fn reload(&mut self, scenario: &Scenario) -> Step {
        self.budget.reloads -= 1;
        let in_order = scenario.transaction_version < 2;
        for group in (0..self.groups.len()).filter(|_| in_order) {
            for partition in 0..2 {
                if self.groups[group].has_sender && self.groups[group].targets[partition] == Target::OnItsWay {
                    self.marker(scenario, group, partition, None)?;
                }
            }
        }
        self.fail_requests();
        self.start(scenario);
        Ok(())
    }

    pub(super) fn fresh_producer_id(&mut self) -> i64 {
        let id = self.next_producer_id;
        self.next_producer_id += 1;
        id
    }
}
