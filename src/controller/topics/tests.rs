//! CreateTopics: Kafka's code for every bad input, and the placements.

use proptest::prelude::*;

use super::*;
use crate::metadata::apply::apply;
use crate::metadata::apply::tests::{creation_of, image_of, start_of};
use crate::metadata::command::{Command, CommandResult};

const LIMITS: TopicLimits = TopicLimits {
    max_topics: 5,
    max_partitions: 30,
};

fn validate(configs: &BTreeMap<String, String>) -> Result<(), String> {
    configs
        .iter()
        .try_for_each(|(name, value)| match (name.as_str(), value) {
            ("retention.ms", value) if value.parse::<i64>().is_ok() => Ok(()),
            ("retention.ms", value) => Err(format!("'{value}' is no number")),
            (name, _) => Err(format!("unknown topic config '{name}'")),
        })
}

const RULES: TopicRules<'static> = TopicRules {
    num_partitions: 3,
    default_replication_factor: 1,
    max_partitions_per_request: 20,
    limits: LIMITS,
    first_broker: 2,
    validate_configs: &validate,
};

/// Brokers 1, 2, 3; topic `taken.name`.
fn image() -> MetadataImage {
    image_of(&[
        start_of(1, 1, true),
        start_of(2, 2, true),
        start_of(3, 3, true),
        creation_of("taken.name", 9, 1),
    ])
}

fn plan(request: &[TopicSpec]) -> CreationPlan {
    let mut next = 100;
    plan_creation(&image(), request, &RULES, &mut || {
        next += 1;
        Uuid::from_u128(next)
    })
}

fn spec(name: &str, num_partitions: i32, replication_factor: i16) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        num_partitions,
        replication_factor,
        ..TopicSpec::default()
    }
}

fn by_hand(assignments: &[(i32, &[i32])]) -> TopicSpec {
    let assignments = assignments
        .iter()
        .map(|(index, brokers)| (*index, brokers.to_vec()))
        .collect();
    TopicSpec {
        assignments,
        ..spec("t", -1, -1)
    }
}

fn with_configs(configs: &[(&str, Option<&str>)]) -> TopicSpec {
    let configs = configs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)))
        .collect();
    TopicSpec {
        configs,
        ..spec("t", 1, 1)
    }
}

#[test]
fn bad_topics_get_kafkas_codes() {
    use ErrorCode as E;
    let long = "x".repeat(250);
    let table = [
        (spec("taken.name", 1, 1), E::TopicAlreadyExists),
        (spec("taken_name", 1, 1), E::InvalidTopicException),
        (spec("", 1, 1), E::InvalidTopicException),
        (spec("..", 1, 1), E::InvalidTopicException),
        (spec("a b", 1, 1), E::InvalidTopicException),
        (spec(&long, 1, 1), E::InvalidTopicException),
        (spec("__cluster_metadata", 1, 1), E::InvalidRequest),
        (spec("t", 0, 1), E::InvalidPartitions),
        (spec("t", -2, 1), E::InvalidPartitions),
        (spec("t", 1, 0), E::InvalidReplicationFactor),
        (spec("t", 1, -2), E::InvalidReplicationFactor),
        (spec("t", 0, 0), E::InvalidReplicationFactor),
        (spec("t", 1, 4), E::InvalidReplicationFactor),
        (spec("t", 21, 1), E::PolicyViolation),
        (spec("t", i32::MAX, 1), E::PolicyViolation),
        (
            TopicSpec {
                num_partitions: 1,
                ..by_hand(&[(0, &[1])])
            },
            E::InvalidRequest,
        ),
        (
            TopicSpec {
                replication_factor: 1,
                ..by_hand(&[(0, &[1])])
            },
            E::InvalidRequest,
        ),
        (by_hand(&[(0, &[1]), (0, &[2])]), E::InvalidReplicaAssignment),
        (by_hand(&[(1, &[1])]), E::InvalidReplicaAssignment),
        (by_hand(&[(0, &[1]), (2, &[1])]), E::InvalidReplicaAssignment),
        (by_hand(&[(-1, &[1]), (0, &[1])]), E::InvalidReplicaAssignment),
        (by_hand(&[(0, &[])]), E::InvalidReplicaAssignment),
        (by_hand(&[(0, &[1, 1])]), E::InvalidReplicaAssignment),
        (by_hand(&[(0, &[1, 2]), (1, &[1])]), E::InvalidReplicaAssignment),
        (by_hand(&[(0, &[7])]), E::InvalidReplicaAssignment),
        (with_configs(&[("retention.ms", None)]), E::InvalidConfig),
        (with_configs(&[("retention.ms", Some("x"))]), E::InvalidConfig),
        (with_configs(&[("no.such", Some("1"))]), E::InvalidConfig),
    ];
    for (spec, code) in table {
        let plan = plan(std::slice::from_ref(&spec));
        assert!(plan.topics.is_empty() && plan.command(LIMITS).is_none(), "{spec:?}");
        let [outcome] = plan.outcomes.as_slice() else {
            panic!("one outcome for {spec:?}")
        };
        assert_eq!(
            outcome.result.as_ref().map_err(|failure| failure.code),
            Err(code),
            "{spec:?}"
        );
    }
}

#[test]
fn defaults_and_round_robin_placement() {
    let planned = plan(&[TopicSpec::with_defaults("d"), spec("t", 2, 2)]);
    assert_eq!(planned.topics[0].replicas, [[2], [3], [1]]);
    assert_eq!(planned.topics[1].replicas, [[2, 3], [3, 1]]);
    let created = planned.outcomes[1].result.as_ref().expect("good");
    assert_eq!((created.num_partitions, created.replication_factor), (2, 2));
    assert_eq!(created.topic_id, Uuid::from_u128(102));
}

#[test]
fn placement_by_hand_may_come_in_any_order() {
    let planned = plan(&[by_hand(&[(1, &[1, 3]), (0, &[3, 2])])]);
    assert_eq!(planned.topics[0].replicas, [[3, 2], [1, 3]]);
}

#[test]
fn one_bad_topic_does_not_hinder_others_and_names_given_twice_come_last() {
    let request = [
        spec("twice", 1, 1),
        spec("bad name", 1, 1),
        spec("good", 1, 1),
        spec("twice", 1, 1),
    ];
    let planned = plan(&request);
    let codes: Vec<_> = planned
        .outcomes
        .iter()
        .map(|outcome| {
            (
                outcome.name.as_str(),
                outcome.result.as_ref().err().map(|failure| failure.code),
            )
        })
        .collect();
    assert_eq!(
        codes,
        [
            ("bad name", Some(ErrorCode::InvalidTopicException)),
            ("good", None),
            ("twice", Some(ErrorCode::InvalidRequest)),
        ]
    );
}

#[test]
fn the_last_value_of_a_config_wins_and_is_told() {
    let planned = plan(&[with_configs(&[
        ("retention.ms", Some("1")),
        ("retention.ms", Some("2")),
    ])]);
    let expected = BTreeMap::from([("retention.ms".to_owned(), "2".to_owned())]);
    assert_eq!(planned.topics[0].configs, expected);
    assert_eq!(planned.outcomes[0].result.as_ref().expect("good").configs, expected);
}

#[test]
fn what_apply_refuses_is_told_to_the_right_topic() {
    let planned = plan(&[spec("a", 1, 1), spec("no good", 1, 1), spec("b", 1, 1)]);
    let results = [Err(ApplyError::TopicAlreadyExists("a".to_owned())), Ok(())];
    let outcomes = planned.applied(&results);
    let code = |at: usize| outcomes[at].result.as_ref().err().map(|failure| failure.code);
    assert_eq!(code(0), Some(ErrorCode::TopicAlreadyExists));
    assert_eq!(code(1), Some(ErrorCode::InvalidTopicException));
    assert_eq!(code(2), None);
}

proptest! {
    /// What the plan lets through, apply accepts: limits aside, the two check the same things.
    #[test]
    fn a_plan_is_accepted_by_the_image_it_was_made_from(
        names in prop::collection::vec("[ab._]{0,3}", 1..4),
        num_partitions in -2_i32..5,
        replication_factor in -2_i16..5,
        assignments in prop::collection::vec((-1_i32..4, prop::collection::vec(0_i32..5, 0..3)), 0..3),
    ) {
        let request: Vec<_> = names
            .iter()
            .map(|name| TopicSpec { assignments: assignments.clone(), ..spec(name, num_partitions, replication_factor) })
            .collect();
        let planned = plan(&request);
        let distinct: BTreeSet<_> = names.iter().collect();
        prop_assert_eq!(planned.outcomes.len(), distinct.len());
        let limits = TopicLimits { max_topics: 100, max_partitions: 1_000 };
        if let Some(command) = planned.command(limits) {
            let mut image = image();
            let CommandResult::TopicsCreated(results) = apply(&mut image, 10, &Command::CreateTopics(command)) else {
                panic!("the result of another command");
            };
            for (topic, result) in planned.topics.iter().zip(results) {
                // Topics of one request may collide with each other; only apply sees that.
                let collides = matches!(result, Err(ApplyError::TopicNameCollision { .. }));
                prop_assert!(collides || result == Ok(()), "{:?}: {:?}", topic, result);
            }
        }
    }
}
