//! CreatePartitions: Kafka's code for every bad input, and that what is planned can be applied.

use proptest::prelude::*;

use super::*;
use crate::metadata::apply::apply;
use crate::metadata::apply::tests::{creation_of, image_of, start_of};
use crate::metadata::command::{Command, CommandResult};
use crate::metadata::topic_name::CONSUMER_OFFSETS;

const RULES: PartitionRules = PartitionRules {
    max_partitions_per_request: 10,
    max_partitions: 30,
    first_broker: 1,
};

/// Brokers 1 and 2; topics `t` (2 partitions on broker 1), `u` (1) and the offsets topic (3).
fn image() -> MetadataImage {
    image_of(&[
        start_of(1, 1, true),
        start_of(2, 2, true),
        creation_of("t", 5, 2),
        creation_of("u", 6, 1),
        creation_of(CONSUMER_OFFSETS, 7, 3),
    ])
}

fn spec(topic: &str, count: i32) -> PartitionsSpec {
    PartitionsSpec {
        topic: topic.to_owned(),
        count,
        assignments: None,
    }
}

fn by_hand(count: i32, assignments: &[&[BrokerId]]) -> PartitionsSpec {
    PartitionsSpec {
        assignments: Some(assignments.iter().map(|replicas| replicas.to_vec()).collect()),
        ..spec("t", count)
    }
}

#[test]
fn bad_topics_get_kafkas_codes_and_texts() {
    use ErrorCode as E;
    let table = [
        (spec("nobody", 3), E::UnknownTopicOrPartition, ""),
        (spec("", 3), E::UnknownTopicOrPartition, ""),
        (spec("t", 2), E::InvalidPartitions, "Topic already has 2 partition(s)."),
        (
            spec("t", 1),
            E::InvalidPartitions,
            "The topic t currently has 2 partition(s); 1 would not be an increase.",
        ),
        (spec("t", 0), E::InvalidPartitions, "; 0 would not be"),
        (spec("t", -1), E::InvalidPartitions, "; -1 would not be"),
        (spec("t", i32::MIN), E::InvalidPartitions, "would not be"),
        (spec("t", 13), E::PolicyViolation, "10 is the most"),
        (spec("t", i32::MAX), E::PolicyViolation, "10 is the most"),
        (spec(CONSUMER_OFFSETS, 9), E::InvalidRequest, "the broker's own state"),
        (
            by_hand(4, &[&[1]]),
            E::InvalidReplicaAssignment,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (by_hand(3, &[]), E::InvalidReplicaAssignment, "but only 0 assignment(s)"),
        (
            by_hand(3, &[&[1], &[1]]),
            E::InvalidReplicaAssignment,
            "but only 2 assignment(s)",
        ),
        (by_hand(3, &[&[]]), E::InvalidReplicaAssignment, "an empty replica list"),
        (by_hand(3, &[&[9]]), E::InvalidReplicaAssignment, "no such broker"),
        (by_hand(3, &[&[1, 2]]), E::InvalidReplicaAssignment, "not consistent"),
        (by_hand(3, &[&[1, 1]]), E::InvalidReplicaAssignment, "more than once"),
        (by_hand(2, &[&[9]]), E::InvalidPartitions, "already has"),
    ];
    for (spec, code, text) in table {
        let plan = plan_partitions(&image(), std::slice::from_ref(&spec), &RULES);
        assert!(plan.topics.is_empty() && plan.command(&RULES).is_none(), "{spec:?}");
        let [outcome] = plan.outcomes.as_slice() else {
            panic!("one outcome for {spec:?}")
        };
        let failure = outcome.result.as_ref().expect_err("bad");
        assert_eq!(failure.code, code, "{spec:?}");
        assert!(failure.message.contains(text), "{spec:?}: {}", failure.message);
    }
}

#[test]
fn one_bad_topic_does_not_hinder_others_and_names_given_twice_come_last() {
    let request = [spec("u", 3), spec("nobody", 4), by_hand(3, &[&[2]]), spec("u", 4)];
    let plan = plan_partitions(&image(), &request, &RULES);
    let outcomes: Vec<_> = plan
        .outcomes
        .iter()
        .map(|outcome| {
            (
                outcome.topic.as_str(),
                outcome.result.as_ref().err().map(|failure| failure.code),
            )
        })
        .collect();
    let expected = [
        ("nobody", Some(ErrorCode::UnknownTopicOrPartition)),
        ("t", None),
        ("u", Some(ErrorCode::InvalidRequest)),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(plan.topics[0].replicas, [[2]]);
}

#[test]
fn the_limit_holds_for_the_request_as_a_whole() {
    let plan = plan_partitions(&image(), &[spec("t", 10), spec("u", 4)], &RULES);
    let codes: Vec<_> = plan
        .outcomes
        .iter()
        .map(|outcome| outcome.result.as_ref().err().map(|failure| failure.code))
        .collect();
    assert_eq!(codes, [None, Some(ErrorCode::PolicyViolation)]);
}

#[test]
fn placement_goes_on_behind_the_last_partition() {
    let plan = plan_partitions(&image(), &[spec("u", 4)], &RULES);
    assert_eq!(plan.topics[0].partitions_before, 1);
    assert_eq!(plan.topics[0].replicas, [[2], [1], [2]]);
}

#[test]
fn what_apply_refuses_is_told_to_the_right_topic() {
    let plan = plan_partitions(&image(), &[spec("nobody", 1), spec("t", 4), spec("u", 2)], &RULES);
    let outcomes = plan.applied(&[Err(ApplyError::TooManyPartitions(1)), Ok(())]);
    let code = |at: usize| outcomes[at].result.as_ref().err().map(|failure| failure.code);
    assert_eq!(code(0), Some(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(code(1), Some(ErrorCode::PolicyViolation));
    assert_eq!(code(2), None);
}

proptest! {
    /// What the plan lets through, apply accepts, and the topic then has the count that was asked for.
    #[test]
    fn a_plan_is_accepted_by_the_image_it_was_made_from(
        counts in prop::collection::vec(("[tux]", -1_i32..9), 1..4),
        assignments in prop::option::of(prop::collection::vec(prop::collection::vec(0_i32..4, 0..3), 0..3)),
    ) {
        let request: Vec<_> = counts
            .iter()
            .map(|(topic, count)| PartitionsSpec { assignments: assignments.clone(), ..spec(topic, *count) })
            .collect();
        let plan = plan_partitions(&image(), &request, &RULES);
        let distinct: BTreeSet<_> = counts.iter().map(|(topic, _)| topic).collect();
        prop_assert_eq!(plan.outcomes.len(), distinct.len());
        if let Some(command) = plan.command(&RULES) {
            let mut image = image();
            let CommandResult::PartitionsCreated(results) = apply(&mut image, 10, &Command::CreatePartitions(command))
            else {
                panic!("the result of another command");
            };
            for outcome in plan.applied(&results) {
                let (_, count) = counts.iter().find(|(topic, _)| *topic == outcome.topic).expect("asked for");
                if outcome.result.is_ok() {
                    let topic = image.topic(&outcome.topic).expect("there");
                    prop_assert_eq!(topic.partitions.len(), usize::try_from(*count).expect("more than before"));
                }
            }
            prop_assert!(results.iter().all(Result::is_ok), "{:?}", results);
        }
    }
}
