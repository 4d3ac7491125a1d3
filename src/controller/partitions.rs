//! What a CreatePartitions request means: checks, placement, and the command to propose. Pure.
//!
//! Source: Kafka's `ControllerApis.createPartitions` and `ReplicationControlManager.createPartitions` (order of the
//! checks and codes). Invariants: every topic name of the request has exactly one outcome; a topic gets all of its new
//! partitions or none; work is bounded by the limits of [`PartitionRules`] whatever count a client names.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeSet;

use protocol::error_code::ErrorCode;
use protocol::types::{BrokerId, PartitionIndex};

use super::placement::{Wanted, check_assignment, check_that_one_is_active, place};
use super::topics::TopicFailure;
use crate::metadata::command::{ApplyError, CreatePartitions, NewPartitions};
use crate::metadata::image::MetadataImage;
use crate::metadata::image::topics::TopicImage;

/// A topic that is to have more partitions, as a client asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionsSpec {
    /// The topic.
    pub topic: String,
    /// How many partitions it shall have in all.
    pub count: i32,
    /// The brokers of each new partition; `None` = placed by the broker.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// What the broker's configuration says about new partitions.
#[derive(Debug, Clone, Copy)]
pub struct PartitionRules {
    /// How many partitions one request may make.
    pub max_partitions_per_request: usize,
    /// How many partitions the cluster may hold.
    pub max_partitions: u32,
    /// The broker that gets the first replica of partition 0.
    pub first_broker: BrokerId,
}

/// What became of one topic of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionsOutcome {
    /// The topic.
    pub topic: String,
    /// Why it has no more partitions than before.
    pub result: Result<(), TopicFailure>,
}

/// A request, worked out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionsPlan {
    /// What to propose; the order is that of the successful outcomes.
    pub topics: Vec<NewPartitions>,
    /// One per topic name: in request order, then the names that were there twice.
    pub outcomes: Vec<PartitionsOutcome>,
}

impl PartitionsPlan {
    /// The command, unless nothing is left to do.
    pub fn command(&self, rules: &PartitionRules) -> Option<CreatePartitions> {
        (!self.topics.is_empty()).then(|| CreatePartitions {
            topics: self.topics.clone(),
            max_partitions: rules.max_partitions,
        })
    }

    /// The outcomes after the command was applied with these results.
    pub fn applied(self, results: &[Result<(), ApplyError>]) -> Vec<PartitionsOutcome> {
        assert_eq!(results.len(), self.topics.len(), "apply gives one result per topic");
        let mut results = results.iter();
        let settle = |outcome: PartitionsOutcome| match outcome.result {
            Err(_) => outcome,
            Ok(()) => {
                let result = results.next().expect("as many results as planned topics");
                PartitionsOutcome {
                    result: result.as_ref().copied().map_err(TopicFailure::from),
                    ..outcome
                }
            }
        };
        self.outcomes.into_iter().map(settle).collect()
    }
}

/// Kafka adds partitions to these when asked to, and after its next start groups look for their offsets elsewhere.
const INTERNAL: &str =
    "the number of partitions of a topic that holds the broker's own state decides where that state is found";

/// Works out a request against an image.
pub fn plan_partitions(image: &MetadataImage, request: &[PartitionsSpec], rules: &PartitionRules) -> PartitionsPlan {
    let mut seen = BTreeSet::new();
    let mut repeated = BTreeSet::new();
    for spec in request {
        if !seen.insert(spec.topic.as_str()) {
            repeated.insert(spec.topic.as_str());
        }
    }
    let mut plan = PartitionsPlan::default();
    let mut planned_partitions = 0;
    for spec in request.iter().filter(|spec| !repeated.contains(spec.topic.as_str())) {
        let left = rules.max_partitions_per_request - planned_partitions;
        let result = plan_topic(image, spec, rules, left).map(|new| {
            planned_partitions += new.replicas.len();
            plan.topics.push(new);
        });
        plan.outcomes.push(PartitionsOutcome {
            topic: spec.topic.clone(),
            result,
        });
    }
    plan.outcomes
        .extend(repeated.into_iter().map(|topic| PartitionsOutcome {
            topic: topic.to_owned(),
            result: Err(TopicFailure::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
        }));
    plan
}

fn plan_topic(
    image: &MetadataImage,
    spec: &PartitionsSpec,
    rules: &PartitionRules,
    left: usize,
) -> Result<NewPartitions, TopicFailure> {
    let refused = |code, message: String| Err(TopicFailure::new(code, message));
    let Some(topic) = image.topic(&spec.topic) else {
        let code = ErrorCode::UnknownTopicOrPartition;
        return refused(code, code.message().to_owned());
    };
    if topic.internal {
        return refused(ErrorCode::InvalidRequest, INTERNAL.to_owned());
    }
    let before = topic.partitions.len();
    let additional = match usize::try_from(spec.count).unwrap_or(0) {
        same if same == before => {
            let message = format!("Topic already has {before} partition(s).");
            return refused(ErrorCode::InvalidPartitions, message);
        }
        more if more > before => more - before,
        _ => {
            let message = format!(
                "The topic {} currently has {before} partition(s); {} would not be an increase.",
                spec.topic, spec.count
            );
            return refused(ErrorCode::InvalidPartitions, message);
        }
    };
    if let Some(assignments) = spec.assignments.as_ref().filter(|given| given.len() != additional) {
        let message = format!(
            "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        );
        return refused(ErrorCode::InvalidReplicaAssignment, message);
    }
    if additional > left {
        let limit = rules.max_partitions_per_request;
        let message = format!("Excessively large number of partitions per request: {limit} is the most.");
        return refused(ErrorCode::PolicyViolation, message);
    }
    Ok(NewPartitions {
        topic_id: topic.id,
        partitions_before: u32::try_from(before).expect("partition counts are int32 on the wire"),
        replicas: replicas_of(image, topic, spec, additional, rules)?,
    })
}

fn replicas_of(
    image: &MetadataImage,
    topic: &TopicImage,
    spec: &PartitionsSpec,
    additional: usize,
    rules: &PartitionRules,
) -> Result<Vec<Vec<BrokerId>>, TopicFailure> {
    let first_partition = topic.partitions.len();
    let replication_factor = topic.partitions.first().map_or(0, |first| first.replicas.len());
    let Some(assignments) = &spec.assignments else {
        let wanted = Wanted {
            first_partition,
            count: additional,
            replication_factor,
        };
        return place(image, wanted, rules.first_broker);
    };
    for (index, replicas) in (first_partition..).zip(assignments) {
        check_assignment(image, replicas, Some(replication_factor))?;
        let index = PartitionIndex::try_from(index).expect("the count that the client asks for is an int32");
        check_that_one_is_active(image, index, replicas)?;
    }
    Ok(assignments.clone())
}

#[cfg(test)]
mod tests;
