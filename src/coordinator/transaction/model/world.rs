//! The state of the model and the steps that change it.

use std::collections::BTreeSet;

use super::client::{Client, Op, Phase, Sent, Verdict, judge, request};
use super::data::{Batch, DataPartition, ModelMarker, Tag};
use super::{Budget, Fault, ID, Plant, Scenario, TIMEOUT_MS, TOPIC, with_cx};
use crate::coordinator::runtime::machine::{Cx, HardState, Machine, Outcome, ReplyToken};
use crate::coordinator::transaction::api::{InitRequest, Reply, Request};
use crate::coordinator::transaction::config::TransactionConfig;
use crate::coordinator::transaction::hard::Hard;
use crate::coordinator::transaction::machine::{Effect, Event, TransactionMachine, WrittenMarkers};
use crate::coordinator::transaction::record::Record;
use crate::coordinator::transaction::state::{Partitions, Transaction, TransactionState};
use protocol::error_code::ErrorCode;
use uuid::Uuid;

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A client goes on.
    Client(usize),
    /// A client gives its request up.
    GiveUp(usize),
    /// An earlier request of a client arrives again.
    Duplicate(usize, usize),
    /// Everything that is written is committed.
    Commit,
    /// A marker of this group reaches this partition.
    Marker(usize, usize),
    /// The same, and another one like it is on its way.
    DoubleMarker(usize, usize),
    /// It is refused for now.
    RefusedMarker(usize, usize),
    /// It is written, and the answer says that it is not known.
    UnknownMarker(usize, usize),
    /// A marker of a coordinator that is gone is lost.
    Lost(usize),
    /// The results of this group reach the coordinator.
    Results(usize),
    /// A producer id reaches the coordinator.
    ProducerId,
    /// The coordinator's next deadline comes.
    Deadline,
    /// The id expires.
    Expire,
    /// The coordinator stops; so many of the records that are not committed are kept.
    Crash(usize),
    /// A coordinator starts.
    Start,
    /// The coordinator loads its log again.
    Reload,
}

/// One partition of a group of markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    /// No marker for it.
    None,
    OnItsWay,
    Answered(ErrorCode),
}

/// The markers of one effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group {
    attempt: Uuid,
    marker: ModelMarker,
    targets: [Target; 2],
    /// Whether there is a coordinator that hears of the results.
    has_sender: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Release {
    Answer {
        client: usize,
        attempt: u8,
        /// The transaction of the id that it is about.
        serial: u8,
        reply: Model,
    },
    Markers(Group),
    ProducerId,
}

/// A reply that can be hashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Model {
    Init(Result<(i64, i16), ErrorCode>),
    Add(ErrorCode),
    Verify(ErrorCode),
    End(Result<(i64, i16), ErrorCode>),
    NeedsProducerId,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Coordinator {
    machine: TransactionMachine,
    /// End of the log that must be committed, and what waits for it.
    waiting: Vec<(i64, Release)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    coordinator: Option<Coordinator>,
    coordinator_epoch: i32,
    /// What the committed records say, and how many transactions they decided.
    committed: (Hard, u8),
    /// Records that are not committed, and how many transactions were decided with each of them.
    tail: Vec<(i64, Record, u8)>,
    next_offset: i64,
    groups: Vec<Group>,
    producer_id_is_asked: bool,
    next_producer_id: i64,
    next_attempt: u128,
    pub(super) partitions: [DataPartition; 2],
    clients: Vec<Client>,
    budget: Budget,
    acknowledged: BTreeSet<Tag>,
    /// Transactions whose client asked for the commit.
    asked: BTreeSet<Tag>,
}

type Step = Result<(), Fault>;

impl World {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let mut committed = Hard::default();
        let mut next_offset = 0;
        if let Some(producer_epoch) = scenario.first_epoch {
            let transaction = Transaction {
                producer_id: 1,
                previous_producer_id: 1,
                next_producer_id: -1,
                producer_epoch,
                last_producer_epoch: -1,
                transaction_timeout_ms: TIMEOUT_MS,
                state: TransactionState::Empty,
                partitions: Partitions::default(),
                start_timestamp_ms: -1,
                last_update_timestamp_ms: 0,
                client_transaction_version: 0,
            };
            committed.replay(0, None, Record::new(&ID.into(), transaction));
            next_offset = 1;
        }
        let mut world = Self {
            coordinator: None,
            coordinator_epoch: 0,
            committed: (committed, 0),
            tail: Vec::new(),
            next_offset,
            groups: Vec::new(),
            producer_id_is_asked: false,
            next_producer_id: 2,
            next_attempt: 1,
            partitions: [DataPartition::default(), DataPartition::default()],
            clients: scenario.programs.iter().map(|_| Client::new()).collect(),
            budget: scenario.budget,
            acknowledged: BTreeSet::new(),
            asked: BTreeSet::new(),
        };
        world.start(scenario);
        world
    }

    /// Every step that can be taken.
    pub(super) fn actions(&self, scenario: &Scenario) -> Vec<Action> {
        let budget = &self.budget;
        let mut actions = Vec::new();
        for (index, client) in self.clients.iter().enumerate() {
            let is_waiting = matches!(client.phase, Phase::Waiting | Phase::Verifying);
            let asks = matches!(client.phase, Phase::Ready | Phase::Guarded);
            let can_go_on = match client.phase {
                Phase::Dead | Phase::Waiting | Phase::Verifying => false,
                Phase::Verified(_) => true,
                Phase::Ready | Phase::Guarded => client.op(&scenario.programs[index]).is_some(),
            };
            if can_go_on && (self.coordinator.is_some() || !asks) {
                actions.push(Action::Client(index));
            }
            if is_waiting && budget.give_ups > 0 {
                actions.push(Action::GiveUp(index));
            }
            if budget.duplicates > 0 && self.coordinator.is_some() {
                actions.extend((0..client.previous.len()).map(|earlier| Action::Duplicate(index, earlier)));
            }
        }
        self.marker_actions(&mut actions);
        if let Some(coordinator) = &self.coordinator {
            if !coordinator.waiting.is_empty() || !self.tail.is_empty() {
                actions.push(Action::Commit);
            }
            if self.producer_id_is_asked {
                actions.push(Action::ProducerId);
            }
            let is_prepared = self.state().is_some_and(TransactionState::is_prepared);
            let has_deadline = coordinator.machine.next_id_deadline().is_some();
            if has_deadline && (is_prepared || budget.timeouts > 0) {
                actions.push(Action::Deadline);
            }
            if budget.expiries > 0 && self.state().is_some_and(TransactionState::is_idle) {
                actions.push(Action::Expire);
            }
            if budget.crashes > 0 {
                actions.extend((0..=self.tail.len()).map(Action::Crash));
            }
            if budget.reloads > 0 {
                actions.push(Action::Reload);
            }
        } else {
            actions.push(Action::Start);
        }
        actions
    }

    fn marker_actions(&self, actions: &mut Vec<Action>) {
        for (index, group) in self.groups.iter().enumerate() {
            for (partition, target) in group.targets.iter().enumerate() {
                if *target == Target::OnItsWay {
                    actions.push(Action::Marker(index, partition));
                    if self.budget.double_markers > 0 {
                        actions.push(Action::DoubleMarker(index, partition));
                    }
                    if self.budget.failed_markers > 0 && group.has_sender {
                        actions.push(Action::RefusedMarker(index, partition));
                        actions.push(Action::UnknownMarker(index, partition));
                    }
                }
            }
            if !group.has_sender {
                actions.push(Action::Lost(index));
            } else if !group.targets.contains(&Target::OnItsWay) && self.coordinator.is_some() {
                actions.push(Action::Results(index));
            }
        }
    }

    /// Takes a step.
    pub(super) fn take(&mut self, scenario: &Scenario, action: Action) -> Step {
        match action {
            Action::Client(client) => self.client(scenario, client)?,
            Action::GiveUp(client) => {
                self.budget.give_ups -= 1;
                self.give_up(client);
            }
            Action::Duplicate(client, earlier) => {
                self.budget.duplicates -= 1;
                let sent = self.clients[client].previous[earlier];
                self.ask(scenario, None, sent)?;
            }
            Action::Commit => self.commit(scenario)?,
            Action::Marker(group, partition) => self.marker(scenario, group, partition, None)?,
            Action::DoubleMarker(group, partition) => {
                self.budget.double_markers -= 1;
                self.write_marker(scenario, group, partition)?;
            }
            Action::RefusedMarker(group, partition) => {
                self.budget.failed_markers -= 1;
                self.groups[group].targets[partition] = Target::Answered(ErrorCode::NotLeaderOrFollower);
            }
            Action::UnknownMarker(group, partition) => {
                self.budget.failed_markers -= 1;
                self.marker(scenario, group, partition, Some(ErrorCode::KafkaStorageError))?;
            }
            Action::Lost(group) => drop(self.groups.remove(group)),
            Action::Results(group) => self.results(scenario, group)?,
            Action::ProducerId => {
                self.producer_id_is_asked = false;
                let event = Event::ProducerId(Ok(self.fresh_producer_id()));
                self.machine_step(scenario, None, 0, |machine, cx| machine.on_event(cx, event))?;
            }
            Action::Deadline => self.deadline(scenario)?,
            Action::Expire => {
                self.budget.expiries -= 1;
                let now_ms = super::EXPIRY_MS;
                self.machine_step(scenario, None, now_ms, |machine, cx| {
                    cx.now.wall_ms = now_ms;
                    machine.on_deadline(cx)
                })?;
            }
            Action::Crash(kept) => self.crash(kept),
            Action::Start => {
                self.coordinator_epoch += 1;
                self.start(scenario);
            }
            Action::Reload => self.reload(scenario)?,
        }
        self.settle();
        self.check()
    }

    fn client(&mut self, scenario: &Scenario, index: usize) -> Step {
        let program = &scenario.programs[index];
        let client = &mut self.clients[index];
        let (id, epoch) = (client.producer_id, client.producer_epoch);
        let op = client.op(program);
        let sent = match (client.phase, op) {
            (Phase::Ready, Some(Op::Init)) => Sent::Init,
            (Phase::Ready, Some(Op::Add(partition))) => Sent::Add(partition, id, epoch),
            (Phase::Ready, Some(Op::End(committed))) => Sent::End(committed, id, epoch),
            (Phase::Guarded, Some(Op::Produce(partition))) => Sent::Verify(partition, id, epoch),
            (Phase::Ready, Some(Op::Produce(partition))) => {
                let needs = self.partitions[partition].needs_verification(id, epoch);
                match needs {
                    Ok(true) if scenario.plant != Some(Plant::NoGuard) => {
                        self.clients[index].guard_is_good = true;
                        self.clients[index].phase = Phase::Guarded;
                        return Ok(());
                    }
                    _ => return self.append(scenario, index, partition, None),
                }
            }
            (Phase::Verified(serial), Some(Op::Produce(partition))) => {
                return self.append(scenario, index, partition, Some(serial));
            }
            (phase, op) => unreachable!("{phase:?} at {op:?}"),
        };
        client.phase = if client.phase == Phase::Guarded {
            Phase::Verifying
        } else {
            Phase::Waiting
        };
        if scenario.budget.duplicates > 0 {
            client.remember(sent);
        }
        if matches!(sent, Sent::End(true, ..)) {
            self.asked.insert((index, client.transaction));
        }
        let attempt = client.attempt;
        self.ask(scenario, Some((index, attempt)), sent)
    }

    fn append(&mut self, scenario: &Scenario, index: usize, partition: usize, verified: Option<u8>) -> Step {
        let client = &self.clients[index];
        let batch = Batch {
            producer_id: client.producer_id,
            producer_epoch: client.producer_epoch,
            tag: (index, client.transaction),
            verified,
            is_fenced: client.is_fenced,
        };
        let has_guard = client.guard_is_good || scenario.plant == Some(Plant::NoGuard);
        let appended = self.partitions[partition].append(batch, has_guard)?;
        if appended.is_ok() {
            // One guard per producer id and partition: it is used up.
            self.spoil_guards(scenario, partition, batch.producer_id);
        }
        let client = &mut self.clients[index];
        client.guard_is_good = false;
        client.phase = Phase::Ready;
        match appended {
            Ok(()) => client.step += 1,
            Err(_) if scenario.transaction_version >= 2 => client.abort(&scenario.programs[index]),
            Err(_) => client.phase = Phase::Dead,
        }
        Ok(())
    }

    fn spoil_guards(&mut self, scenario: &Scenario, partition: usize, producer_id: i64) {
        for (client, program) in self.clients.iter_mut().zip(&scenario.programs) {
            if client.producer_id == producer_id && client.op(program) == Some(Op::Produce(partition)) {
                client.guard_is_good = false;
            }
        }
    }

    fn give_up(&mut self, client: usize) {
        let client = &mut self.clients[client];
        client.attempt += 1;
        client.guard_is_good = false;
        client.phase = Phase::Ready;
    }

    fn ask(&mut self, scenario: &Scenario, client: Option<(usize, u8)>, sent: Sent) -> Step {
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
    fn forge_epoch(&self, asked: &mut Request) {
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
    fn machine_step(
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

    fn call<R>(
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
    fn perform(
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

    fn commit(&mut self, scenario: &Scenario) -> Step {
        for (offset, record, decided) in std::mem::take(&mut self.tail) {
            self.committed.0.replay(offset, None, unremembered(&record));
            self.committed.1 = decided;
        }
        self.release(scenario, self.next_offset)
    }

    /// Sends what waits for the log to be committed up to here.
    fn release(&mut self, scenario: &Scenario, end_offset: i64) -> Step {
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

    fn answer(&mut self, scenario: &Scenario, (index, attempt): (usize, u8), serial: u8, reply: &Model) -> Step {
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
    fn advance(&mut self, scenario: &Scenario, index: usize, reply: &Model) {
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

    fn write_marker(&mut self, scenario: &Scenario, group: usize, partition: usize) -> Result<ErrorCode, Fault> {
        let marker = self.groups[group].marker;
        let code = self.partitions[partition].end(marker)?;
        if code.is_none() {
            self.spoil_guards(scenario, partition, marker.producer_id);
        }
        Ok(code)
    }

    fn marker(&mut self, scenario: &Scenario, group: usize, partition: usize, answer: Option<ErrorCode>) -> Step {
        let code = self.write_marker(scenario, group, partition)?;
        let group = &mut self.groups[group];
        group.targets[partition] = if group.has_sender {
            Target::Answered(answer.unwrap_or(code))
        } else {
            Target::None
        };
        Ok(())
    }

    fn results(&mut self, scenario: &Scenario, group: usize) -> Step {
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

    fn deadline(&mut self, scenario: &Scenario) -> Step {
        if !self.state().is_some_and(TransactionState::is_prepared) {
            self.budget.timeouts -= 1;
        }
        let deadline_ms = self.machine().and_then(TransactionMachine::next_id_deadline);
        let deadline_ms = deadline_ms.expect("was asked for");
        self.machine_step(scenario, None, deadline_ms, TransactionMachine::on_deadline)
    }

    fn crash(&mut self, kept: usize) {
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
            group.has_sender = false;
            for target in &mut group.targets {
                if matches!(target, Target::Answered(_)) {
                    *target = Target::None;
                }
            }
        }
        self.fail_requests();
    }

    fn fail_requests(&mut self) {
        for client in 0..self.clients.len() {
            if matches!(self.clients[client].phase, Phase::Waiting | Phase::Verifying) {
                self.give_up(client);
            }
        }
    }

    fn start(&mut self, scenario: &Scenario) {
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
    fn reload(&mut self, scenario: &Scenario) -> Step {
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

    fn fresh_producer_id(&mut self) -> i64 {
        let id = self.next_producer_id;
        self.next_producer_id += 1;
        id
    }

    pub(super) fn machine(&self) -> Option<&TransactionMachine> {
        self.coordinator.as_ref().map(|coordinator| &coordinator.machine)
    }

    fn state(&self) -> Option<TransactionState> {
        let logged = self.machine()?.hard().get(ID)?;
        Some(logged.transaction.state)
    }

    fn check(&self) -> Step {
        for tag in self.partitions.iter().flat_map(|partition| partition.fates.keys()) {
            let fates = self.partitions.iter().filter_map(|partition| partition.fates.get(tag));
            let (committed, aborted) = fates.fold((false, false), |(committed, aborted), fate| {
                (committed | fate.committed, aborted | fate.aborted)
            });
            if aborted && self.acknowledged.contains(tag) {
                return Err(Fault::AcknowledgedAborted);
            }
            if committed && aborted {
                return Err(Fault::Torn);
            }
            if committed && !self.asked.contains(tag) {
                return Err(Fault::NotAsked);
            }
        }
        let is_idle = self.machine().is_some() && self.state().is_none_or(TransactionState::is_idle);
        if is_idle && self.partitions.iter().any(DataPartition::has_open) {
            return Err(Fault::Hanging);
        }
        Ok(())
    }

    /// Whether something can happen by itself that brings a decided transaction nearer to its completion. There is no way
    /// back among those steps but by failures, which are bounded, so that this is enough.
    pub(super) fn check_progress(&self, actions: &[Action]) -> Step {
        let is_prepared = self.state().is_some_and(TransactionState::is_prepared);
        let helps = |action: &Action| match action {
            Action::Start | Action::Commit | Action::Marker(..) | Action::Results(_) => true,
            Action::Deadline => is_prepared,
            _ => false,
        };
        let is_decided = self.coordinator.is_none() || is_prepared;
        if is_decided && !actions.iter().any(helps) {
            return Err(Fault::Stuck);
        }
        Ok(())
    }

    /// Asks the machine everything that a client could ask: nothing panics, and everything is answered once.
    pub(super) fn probe(&self) -> Step {
        let Some(logged) = self.machine().and_then(|machine| machine.hard().get(ID)) else {
            return Ok(());
        };
        let known = &logged.transaction;
        let ids = [
            known.producer_id,
            known.previous_producer_id,
            known.next_producer_id,
            77,
        ];
        let epoch = known.producer_epoch;
        let epochs = [
            epoch,
            epoch.wrapping_sub(1),
            epoch.wrapping_add(1),
            0,
            -1,
            i16::MAX - 1,
            i16::MAX,
        ];
        for (producer_id, producer_epoch) in ids.iter().flat_map(|id| epochs.map(|epoch| (*id, epoch))) {
            for request in every_request(producer_id, producer_epoch) {
                let mut world = self.clone();
                let outcome = world.call(0, |machine, cx| machine.handle(cx, ReplyToken(7), &request));
                if outcome.replies.len() != 1 || outcome.replies[0].0 != ReplyToken(7) {
                    return Err(Fault::Unanswered);
                }
                let mut next = Some(outcome);
                while let Some(outcome) = next {
                    next = world.perform(None, outcome);
                }
            }
        }
        Ok(())
    }

    /// Leaves out what tells nothing of what can happen: times, and offsets but for their order.
    fn settle(&mut self) {
        self.groups
            .retain(|group| group.has_sender || group.targets.contains(&Target::OnItsWay));
        self.renumber_offsets();
        self.renumber_attempts();
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.machine.forget_times();
        }
    }

    fn renumber_offsets(&mut self) {
        let mut ranks = vec![self.next_offset - 1, -1];
        ranks.extend(self.committed.0.offsets());
        ranks.extend(self.tail.iter().map(|(offset, ..)| *offset));
        if let Some(coordinator) = &self.coordinator {
            ranks.extend(coordinator.machine.hard().offsets());
            ranks.extend(coordinator.waiting.iter().map(|(end_offset, _)| end_offset - 1));
        }
        ranks.sort_unstable();
        ranks.dedup();
        let rank = |offset: i64| {
            let place = ranks.binary_search(&offset).expect("collected");
            i64::try_from(place).expect("few") - 1
        };
        self.next_offset = rank(self.next_offset - 1) + 1;
        self.committed.0.renumber(&rank);
        for (offset, ..) in &mut self.tail {
            *offset = rank(*offset);
        }
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.machine.hard_for_model().renumber(&rank);
            for (end_offset, _) in &mut coordinator.waiting {
                *end_offset = rank(*end_offset - 1) + 1;
            }
        }
    }

    fn renumber_attempts(&mut self) {
        let mut attempts: Vec<&mut Uuid> = self.groups.iter_mut().map(|group| &mut group.attempt).collect();
        if let Some(coordinator) = &mut self.coordinator {
            attempts.extend(coordinator.machine.attempts());
            attempts.extend(coordinator.waiting.iter_mut().filter_map(|(_, release)| match release {
                Release::Markers(group) => Some(&mut group.attempt),
                _ => None,
            }));
        }
        let mut ranks: Vec<Uuid> = attempts.iter().map(|attempt| **attempt).collect();
        ranks.sort_unstable();
        ranks.dedup();
        for attempt in attempts {
            let place = ranks.binary_search(attempt).expect("collected");
            *attempt = Uuid::from_u128(place as u128);
        }
        self.next_attempt = ranks.len() as u128;
    }
}

/// Every kind of request from a producer that says that it is this one.
fn every_request(producer_id: i64, producer_epoch: i16) -> Vec<Request> {
    let mut requests = Vec::new();
    for version in [0, 2] {
        for sent in [
            Sent::Init,
            Sent::Add(1, producer_id, producer_epoch),
            Sent::End(true, producer_id, producer_epoch),
            Sent::End(false, producer_id, producer_epoch),
        ] {
            requests.extend([None, Some(99)].map(|fresh| request(sent, version, fresh)));
        }
    }
    requests.push(request(Sent::Verify(1, producer_id, producer_epoch), 0, None));
    let Request::Init(init) = request(Sent::Init, 0, Some(99)) else {
        unreachable!("an InitProducerId");
    };
    requests.push(Request::Init(InitRequest {
        expected: Some((producer_id, producer_epoch)),
        ..init
    }));
    requests
}

/// Whether the record decides a transaction that was open.
fn decides(hard: &Hard, record: &Record) -> bool {
    let is_prepared = |transaction: &Transaction| transaction.state.is_prepared();
    let before = hard.get(ID).is_some_and(|logged| is_prepared(&logged.transaction));
    !before && record.value.as_ref().is_some_and(is_prepared)
}

/// The record as it is read from the log.
fn unremembered(record: &Record) -> Record {
    let mut record = record.clone();
    if let Some(transaction) = &mut record.value {
        transaction.last_producer_epoch = -1;
    }
    record
}

impl Release {
    /// `serial` counts the decided transactions: the last of them is the one that the markers are for.
    fn of(effect: Effect, serial: u8) -> Self {
        let Effect::WriteMarkers {
            attempt,
            marker,
            partitions,
            ..
        } = effect
        else {
            return Self::ProducerId;
        };
        let mut targets = [Target::None; 2];
        for (_, partition) in partitions {
            targets[usize::try_from(partition).expect("0 or 1")] = Target::OnItsWay;
        }
        Self::Markers(Group {
            attempt,
            marker: ModelMarker {
                producer_id: marker.producer_id,
                producer_epoch: marker.producer_epoch,
                coordinator_epoch: marker.coordinator_epoch,
                committed: marker.committed,
                transaction_version: marker.transaction_version,
                serial: serial - 1,
            },
            targets,
            has_sender: true,
        })
    }
}

impl Model {
    fn of(reply: &Reply) -> Self {
        match reply {
            Reply::Init(result) => Self::Init(*result),
            Reply::AddPartitions(code) => Self::Add(*code),
            Reply::Verify(codes) => Self::Verify(codes[0]),
            Reply::End(result) => Self::End(*result),
            Reply::NeedsProducerId => Self::NeedsProducerId,
            Reply::Describe(_) | Reply::List(_) => unreachable!("not asked"),
        }
    }

    fn reply(&self) -> Reply {
        match self {
            Self::Init(result) => Reply::Init(*result),
            Self::Add(code) => Reply::AddPartitions(*code),
            Self::Verify(code) => Reply::Verify(vec![*code]),
            Self::End(result) => Reply::End(*result),
            Self::NeedsProducerId => Reply::NeedsProducerId,
        }
    }
}
