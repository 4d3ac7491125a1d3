//! The state of the model and the steps that change it.

mod checks;
mod coordinator;

use crate::coordinator::runtime::machine::{HardState, Machine};
use crate::coordinator::transaction::api::{InitRequest, Reply, Request};
use crate::coordinator::transaction::hard::Hard;
use crate::coordinator::transaction::machine::{Effect, Event, TransactionMachine};
use crate::coordinator::transaction::model::client::{Client, Op, Phase, Sent, request};
use crate::coordinator::transaction::model::data::{Batch, DataPartition, ModelMarker, Tag};
use crate::coordinator::transaction::model::{Budget, Fault, ID, Plant, Scenario, TIMEOUT_MS};
use crate::coordinator::transaction::record::Record;
use crate::coordinator::transaction::state::{Partitions, Transaction, TransactionState};
use protocol::error_code::ErrorCode;
use std::collections::BTreeSet;
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
    /// The same, and a copy of it is on its way, however long.
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
                let mut late = self.groups[group].clone();
                (late.attempt, late.has_sender, late.targets) = (Uuid::nil(), false, [Target::None; 2]);
                late.targets[partition] = Target::OnItsWay;
                self.marker(scenario, group, partition, None)?;
                self.groups.push(late);
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
