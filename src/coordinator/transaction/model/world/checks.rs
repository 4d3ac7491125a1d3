//! What must hold in every state, and how states that differ by nothing are made equal.

use super::{Action, Release, Step, Target, World, every_request};
use crate::coordinator::runtime::machine::{Machine, ReplyToken};
use crate::coordinator::transaction::machine::TransactionMachine;
use crate::coordinator::transaction::model::data::DataPartition;
use crate::coordinator::transaction::model::{Fault, ID};
use crate::coordinator::transaction::state::TransactionState;
use uuid::Uuid;

impl World {
    pub(in crate::coordinator::transaction::model) fn machine(&self) -> Option<&TransactionMachine> {
        self.coordinator.as_ref().map(|coordinator| &coordinator.machine)
    }

    pub(super) fn state(&self) -> Option<TransactionState> {
        let logged = self.machine()?.hard().get(ID)?;
        Some(logged.transaction.state)
    }

    pub(super) fn check(&self) -> Step {
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
    pub(in crate::coordinator::transaction::model) fn check_progress(&self, actions: &[Action]) -> Step {
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
    pub(in crate::coordinator::transaction::model) fn probe(&self) -> Step {
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
    pub(super) fn settle(&mut self) {
        self.groups
            .retain(|group| group.has_sender || group.targets.contains(&Target::OnItsWay));
        self.renumber_offsets();
        self.renumber_attempts();
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.machine.forget_times();
        }
    }

    pub(super) fn renumber_offsets(&mut self) {
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

    pub(super) fn renumber_attempts(&mut self) {
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
