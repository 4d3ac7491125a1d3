//! A planned request that waits for its proposal.
//!
//! Invariant: every request is answered once, with the result that applying its command gave.

use super::{Answer, ControllerError, FeaturesOutcome};
use crate::controller::configs::{AlterationPlan, Outcome};
use crate::controller::deletion::{DeletionOutcome, DeletionPlan};
use crate::controller::partitions::{PartitionsOutcome, PartitionsPlan};
use crate::controller::topics::{CreationPlan, TopicOutcome};
use crate::metadata::command::CommandResult;

/// A planned request; `at` is the place of its command in the proposal, if it has one.
pub(super) enum Waiting {
    Create {
        plan: CreationPlan,
        at: Option<usize>,
        answer: Answer<Vec<TopicOutcome>>,
    },
    Delete {
        plan: DeletionPlan,
        at: Option<usize>,
        answer: Answer<Vec<DeletionOutcome>>,
    },
    AddPartitions {
        plan: PartitionsPlan,
        at: Option<usize>,
        answer: Answer<Vec<PartitionsOutcome>>,
    },
    UpdateFeatures {
        outcome: FeaturesOutcome,
        at: Option<usize>,
        answer: Answer<FeaturesOutcome>,
    },
    AlterConfigs {
        plan: AlterationPlan,
        at: Option<usize>,
        answer: Answer<Vec<Outcome>>,
    },
    Command {
        at: usize,
        answer: Answer<CommandResult>,
    },
}

impl Waiting {
    pub(super) fn set_place(&mut self, place: usize) {
        match self {
            Self::Create { at, .. }
            | Self::Delete { at, .. }
            | Self::AddPartitions { at, .. }
            | Self::UpdateFeatures { at, .. }
            | Self::AlterConfigs { at, .. } => *at = Some(place),
            Self::Command { at, .. } => *at = place,
        }
    }

    /// Answers; that nobody waits any more (a timeout, a closed connection) is no fault.
    pub(super) fn finish(self, results: &[CommandResult]) {
        match self {
            Self::Create { plan, at, answer } => {
                let outcomes = match at.map(|at| &results[at]) {
                    None => plan.outcomes,
                    Some(CommandResult::TopicsCreated(results)) => plan.applied(results),
                    Some(other) => unreachable!("{other:?} is not the result of creating topics"),
                };
                let _ = answer.send(Ok(outcomes));
            }
            Self::Delete { plan, at, answer } => {
                let outcomes = match at.map(|at| &results[at]) {
                    None => plan.outcomes,
                    Some(CommandResult::TopicsDeleted(results)) => plan.applied(results),
                    Some(other) => unreachable!("{other:?} is not the result of deleting topics"),
                };
                let _ = answer.send(Ok(outcomes));
            }
            Self::AddPartitions { plan, at, answer } => {
                let outcomes = match at.map(|at| &results[at]) {
                    None => plan.outcomes,
                    Some(CommandResult::PartitionsCreated(results)) => plan.applied(results),
                    Some(other) => unreachable!("{other:?} is not the result of adding partitions"),
                };
                let _ = answer.send(Ok(outcomes));
            }
            Self::UpdateFeatures { outcome, at, answer } => {
                let outcome = match at.map(|at| &results[at]) {
                    None => outcome,
                    Some(CommandResult::FeaturesUpdated(result)) => result.clone().map_err(|error| error.to_string()),
                    Some(other) => unreachable!("{other:?} is not the result of updating features"),
                };
                let _ = answer.send(Ok(outcome));
            }
            Self::AlterConfigs { plan, at, answer } => {
                let outcomes = match at.map(|at| &results[at]) {
                    None => plan.outcomes(),
                    Some(CommandResult::ConfigsAltered(results)) => plan.applied(results),
                    Some(other) => unreachable!("{other:?} is not the result of altering configs"),
                };
                let _ = answer.send(Ok(outcomes));
            }
            Self::Command { at, answer } => {
                let _ = answer.send(Ok(results[at].clone()));
            }
        }
    }

    pub(super) fn fail(self, error: &ControllerError) {
        match self {
            Self::Create { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::Delete { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::AddPartitions { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::UpdateFeatures { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::AlterConfigs { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::Command { answer, .. } => drop(answer.send(Err(error.clone()))),
        }
    }
}
