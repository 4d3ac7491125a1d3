//! What a CreateTopics request means: checks, placement, and the command to propose. Pure.
//!
//! Source: Kafka's `ControllerApis.createTopics` and `ReplicationControlManager.createTopics` (order of the checks and
//! codes). Invariants: a topic that fails says why and does not hinder the others; every topic name of the request has
//! exactly one outcome; ids come from the caller, placement from the image alone.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use protocol::error_code::ErrorCode;
use protocol::types::{BrokerId, PartitionIndex, TopicId};
use uuid::Uuid;

use super::placement::{Wanted, check_assignment, check_that_one_is_active, place};
use crate::metadata::apply::check_name;
use crate::metadata::command::{ApplyError, CreateTopics, NewTopic, TopicLimits};
use crate::metadata::image::MetadataImage;
use crate::metadata::topic_name;

/// A topic as a client asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Number of partitions; -1 = `num.partitions`, or what `assignments` say.
    pub num_partitions: i32,
    /// Replicas per partition; -1 = `default.replication.factor`, or what `assignments` say.
    pub replication_factor: i16,
    /// Placement by hand; empty = by the broker.
    pub assignments: Vec<(PartitionIndex, Vec<BrokerId>)>,
    /// Values that differ from the defaults; `None` is refused.
    pub configs: Vec<(String, Option<String>)>,
}

impl TopicSpec {
    /// A topic with the broker's defaults, as auto creation makes it.
    pub fn with_defaults(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            num_partitions: -1,
            replication_factor: -1,
            ..Self::default()
        }
    }
}

/// Refuses the configs of a topic, with the reason.
pub type ConfigCheck<'a> = &'a dyn Fn(&BTreeMap<String, String>) -> Result<(), String>;

/// What the broker's configuration says about new topics.
#[derive(Clone, Copy)]
pub struct TopicRules<'a> {
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// How many partitions one request may make.
    pub max_partitions_per_request: usize,
    /// How much metadata there may be.
    pub limits: TopicLimits,
    /// The broker that gets the first replica of partition 0.
    pub first_broker: BrokerId,
    /// Checks what is set on a topic; the message says what is wrong.
    pub validate_configs: ConfigCheck<'a>,
}

impl fmt::Debug for TopicRules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicRules")
            .field("num_partitions", &self.num_partitions)
            .field("default_replication_factor", &self.default_replication_factor)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What became of one topic of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOutcome {
    /// The topic.
    pub name: String,
    /// The topic as made (or as it would be made), or why not.
    pub result: Result<CreatedTopic, TopicFailure>,
}

/// A topic that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub topic_id: TopicId,
    /// Number of partitions.
    pub num_partitions: i32,
    /// Replicas per partition.
    pub replication_factor: i16,
    /// What was set on the topic itself.
    pub configs: BTreeMap<String, String>,
}

/// Why a topic was not made or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFailure {
    /// Kafka's code.
    pub code: ErrorCode,
    /// For humans.
    pub message: String,
}

impl TopicFailure {
    /// A failure with its message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<&ApplyError> for TopicFailure {
    fn from(error: &ApplyError) -> Self {
        Self::new(error.into(), error.to_string())
    }
}

/// A request, worked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreationPlan {
    /// The topics to propose; their order is that of the successful outcomes.
    pub topics: Vec<NewTopic>,
    /// One per topic name: in request order, then the names that were there twice.
    pub outcomes: Vec<TopicOutcome>,
}

impl CreationPlan {
    /// The command, unless nothing is left to do.
    pub fn command(&self, limits: TopicLimits) -> Option<CreateTopics> {
        (!self.topics.is_empty()).then(|| CreateTopics {
            topics: self.topics.clone(),
            limits,
        })
    }

    /// The outcomes after the command was applied with these results.
    pub fn applied(self, results: &[Result<(), ApplyError>]) -> Vec<TopicOutcome> {
        assert_eq!(results.len(), self.topics.len(), "apply gives one result per topic");
        let mut results = results.iter();
        let settle = |outcome: TopicOutcome| match outcome.result {
            Err(_) => outcome,
            Ok(created) => {
                let result = results.next().expect("as many results as planned topics");
                TopicOutcome {
                    result: result.as_ref().map(|()| created).map_err(TopicFailure::from),
                    ..outcome
                }
            }
        };
        self.outcomes.into_iter().map(settle).collect()
    }
}

/// Works out a request against an image.
pub fn plan_creation(
    image: &MetadataImage,
    request: &[TopicSpec],
    rules: &TopicRules<'_>,
    uuid: &mut dyn FnMut() -> Uuid,
) -> CreationPlan {
    let repeated = repeated_names(request);
    let too_many = request_is_too_large(request, rules);
    let mut plan = CreationPlan {
        topics: Vec::new(),
        outcomes: Vec::with_capacity(request.len()),
    };
    for spec in request.iter().filter(|spec| !repeated.contains(spec.name.as_str())) {
        let planned = match &too_many {
            Some(failure) => Err(failure.clone()),
            None => plan_topic(image, spec, rules, uuid),
        };
        let result = planned.map(|topic| {
            let created = CreatedTopic {
                topic_id: topic.topic_id,
                num_partitions: i32::try_from(topic.replicas.len()).expect("limited by max_partitions_per_request"),
                replication_factor: i16::try_from(topic.replicas[0].len()).expect("limited by the number of brokers"),
                configs: topic.configs.clone(),
            };
            plan.topics.push(topic);
            created
        });
        plan.outcomes.push(TopicOutcome {
            name: spec.name.clone(),
            result,
        });
    }
    plan.outcomes.extend(repeated.into_iter().map(|name| TopicOutcome {
        name: name.to_owned(),
        result: Err(TopicFailure::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
    }));
    plan
}

fn repeated_names(request: &[TopicSpec]) -> BTreeSet<&str> {
    let mut seen = BTreeSet::new();
    request
        .iter()
        .map(|spec| spec.name.as_str())
        .filter(|name| !seen.insert(*name))
        .collect()
}

fn request_is_too_large(request: &[TopicSpec], rules: &TopicRules<'_>) -> Option<TopicFailure> {
    let count = |spec: &TopicSpec| match (spec.assignments.len(), spec.num_partitions) {
        (0, -1) => usize::try_from(rules.num_partitions).unwrap_or(0),
        (0, asked) => usize::try_from(asked).unwrap_or(0),
        (assigned, _) => assigned,
    };
    let total: usize = request.iter().map(count).sum();
    let limit = rules.max_partitions_per_request;
    (total > limit).then(|| {
        let message =
            format!("Excessively large number of partitions per request: {total}, where {limit} is the most.");
        TopicFailure::new(ErrorCode::PolicyViolation, message)
    })
}

fn plan_topic(
    image: &MetadataImage,
    spec: &TopicSpec,
    rules: &TopicRules<'_>,
    uuid: &mut dyn FnMut() -> Uuid,
) -> Result<NewTopic, TopicFailure> {
    if spec.name == topic_name::CLUSTER_METADATA {
        let message = format!(
            "Creation of internal topic {} is prohibited.",
            topic_name::CLUSTER_METADATA
        );
        return Err(TopicFailure::new(ErrorCode::InvalidRequest, message));
    }
    check_name(image, &spec.name).map_err(|error| match (error, topic_name::validate(&spec.name)) {
        (ApplyError::InvalidTopicName(name), Err(why)) => TopicFailure::new(
            ErrorCode::InvalidTopicException,
            format!("Topic name '{name}' is invalid: {why}"),
        ),
        (error, _) => TopicFailure::from(&error),
    })?;
    let configs = check_configs(&spec.configs, rules)?;
    let replicas = if spec.assignments.is_empty() {
        placed(image, spec, rules)?
    } else {
        assigned(image, spec)?
    };
    Ok(NewTopic {
        name: spec.name.clone(),
        topic_id: uuid(),
        replicas,
        configs,
    })
}

fn check_configs(
    configs: &[(String, Option<String>)],
    rules: &TopicRules<'_>,
) -> Result<BTreeMap<String, String>, TopicFailure> {
    let invalid = |message: String| TopicFailure::new(ErrorCode::InvalidConfig, message);
    let nulls: Vec<_> = configs
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    if !nulls.is_empty() {
        let message = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(invalid(message));
    }
    let values: BTreeMap<_, _> = configs
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
        .collect();
    (rules.validate_configs)(&values).map_err(invalid)?;
    Ok(values)
}

/// Placement by hand.
fn assigned(image: &MetadataImage, spec: &TopicSpec) -> Result<Vec<Vec<BrokerId>>, TopicFailure> {
    let by_hand = "A manual partition assignment was specified, but";
    if spec.replication_factor != -1 {
        let message = format!("{by_hand} replication factor was not set to -1.");
        return Err(TopicFailure::new(ErrorCode::InvalidRequest, message));
    }
    if spec.num_partitions != -1 {
        let message = format!("{by_hand} numPartitions was not set to -1.");
        return Err(TopicFailure::new(ErrorCode::InvalidRequest, message));
    }
    let invalid = |message: String| TopicFailure::new(ErrorCode::InvalidReplicaAssignment, message);
    let mut by_index: BTreeMap<_, Vec<BrokerId>> = BTreeMap::new();
    let mut factor = None;
    for (index, brokers) in &spec.assignments {
        if by_index.contains_key(index) {
            return Err(invalid(format!(
                "Found multiple manual partition assignments for partition {index}"
            )));
        }
        check_assignment(image, brokers, factor)?;
        check_that_one_is_active(image, *index, brokers)?;
        factor = Some(brokers.len());
        by_index.insert(*index, brokers.clone());
    }
    if !by_index.keys().copied().eq((0..).take(by_index.len())) {
        return Err(invalid(
            "partitions should be a consecutive 0-based integer sequence".to_owned(),
        ));
    }
    Ok(by_index.into_values().collect())
}

/// Placement by the broker.
fn placed(image: &MetadataImage, spec: &TopicSpec, rules: &TopicRules<'_>) -> Result<Vec<Vec<BrokerId>>, TopicFailure> {
    let refused = |code, message: &str| Err(TopicFailure::new(code, message));
    if spec.replication_factor < -1 || spec.replication_factor == 0 {
        let message = "Replication factor must be larger than 0, or -1 to use the default value.";
        return refused(ErrorCode::InvalidReplicationFactor, message);
    }
    if spec.num_partitions < -1 || spec.num_partitions == 0 {
        let message = "Number of partitions was set to an invalid non-positive value.";
        return refused(ErrorCode::InvalidPartitions, message);
    }
    let or_default = |asked: i32, default: i32| usize::try_from(if asked == -1 { default } else { asked });
    let count = or_default(spec.num_partitions, rules.num_partitions).unwrap_or(0);
    let factor = or_default(
        i32::from(spec.replication_factor),
        i32::from(rules.default_replication_factor),
    );
    let wanted = Wanted {
        first_partition: 0,
        count,
        replication_factor: factor.unwrap_or(0),
    };
    let replicas = place(image, wanted, rules.first_broker)?;
    if count == 0 {
        return refused(ErrorCode::InvalidPartitions, "num.partitions must be 1 or more");
    }
    Ok(replicas)
}

#[cfg(test)]
mod tests;
