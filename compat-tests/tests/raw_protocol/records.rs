//! DeleteRecords over its versions and beside strangers (`delete_records` has its offsets), and DescribeProducers (core's
//! `ReplicaManager`, `Partition` and `KafkaApis`).

use kafka_protocol::messages::DescribeProducersRequest;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::ProducerState;

use compat_tests::admin::{SET, TOPIC, alter, delete_records, delete_records_request, sorted};
use compat_tests::batch::Batch;
use compat_tests::requests::{
    create_topic, fetch, find_coordinator, init_producer, list_offsets, produce, produce_values, topic_name, unique,
    until, values,
};
use compat_tests::wire::Connection;

use crate::Bench;

const EARLIEST: i64 = -2;

/// A topic with two partitions; the first holds ten records in batches of two, the second one record.
fn filled(connection: &mut Connection) -> String {
    let topic = unique("topic");
    create_topic(connection, &topic, 2, &[]);
    for _ in 0..5 {
        produce_values(connection, &topic, &["a", "b"]);
    }
    assert_eq!(produce(connection, &topic, 1, Batch::of(&["z"]).encode()).error_code, 0);
    topic
}

/// Deletes records of one partition; low watermark and code.
fn cut(connection: &mut Connection, topic: &str, partition: i32, offset: i64) -> (i64, i16) {
    let answers = delete_records(connection, &[(topic, &[(partition, offset)])]);
    assert_eq!(answers.len(), 1, "{answers:?}");
    (answers[0].2, answers[0].3)
}

fn earliest(connection: &mut Connection, topic: &str, partition: i32) -> i64 {
    list_offsets(connection, topic, partition, EARLIEST).offset
}

#[test]
fn every_version_moves_the_start() {
    let mut bench = Bench::new();
    let topic = filled(&mut bench);
    for (version, offset) in [(0, 1), (1, 2), (2, 3)] {
        let answer = bench.call(version, &delete_records_request(&[(&topic, &[(0, offset)])]));
        let result = &answer.topics[0].partitions[0];
        assert_eq!(
            (result.partition_index, result.low_watermark, result.error_code),
            (0, offset, 0)
        );
        assert_eq!(earliest(&mut bench, &topic, 0), offset, "version {version}");
    }
    assert_eq!(fetch(&mut bench, &topic, 0, 2).error_code, 1, "below the start");
    let data = fetch(&mut bench, &topic, 0, 3);
    assert_eq!(
        (data.error_code, data.log_start_offset, data.high_watermark),
        (0, 3, 10)
    );
    let found = values(&data);
    assert_eq!(found.last().map(String::as_str), Some("b"));
    assert!(
        (7..=8).contains(&found.len()),
        "whole batches, the first of which may begin before the start"
    );
    assert_eq!(earliest(&mut bench, &topic, 1), 0, "the other partition is as it was");
}

#[test]
fn one_bad_partition_does_not_spoil_the_others() {
    let mut bench = Bench::new();
    let (topic, stranger, long) = (filled(&mut bench), unique("stranger"), "x".repeat(300));
    let answers = delete_records(
        &mut bench,
        &[
            (&stranger, &[(0, 1)]),
            (&topic, &[(0, 4), (7, 1), (-1, 0), (1, -1)]),
            ("", &[(0, 1)]),
            ("a b", &[(0, 1)]),
            (&long, &[(0, 1)]),
        ],
    );
    let due = [
        (&stranger[..], 0, -1, 3),
        (&topic, 0, 4, 0),
        (&topic, 7, -1, 3),
        (&topic, -1, -1, 3),
        (&topic, 1, 1, 0),
        ("", 0, -1, 3),
        ("a b", 0, -1, 3),
        (&long, 0, -1, 3),
    ];
    let due = due.map(|(name, index, low, code)| (name.to_owned(), index, low, code));
    assert_eq!(answers, sorted(due));
    assert_eq!(
        (earliest(&mut bench, &topic, 0), earliest(&mut bench, &topic, 1)),
        (4, 1)
    );
    assert!(delete_records(&mut bench, &[]).is_empty());
    assert!(delete_records(&mut bench, &[(&topic, &[])]).is_empty());
}

#[test]
fn topics_whose_records_are_not_deleted() {
    let mut bench = Bench::new();
    let (compacted, both) = (unique("compacted"), unique("both"));
    create_topic(&mut bench, &compacted, 1, &[("cleanup.policy", "compact")]);
    create_topic(&mut bench, &both, 1, &[("cleanup.policy", "compact,delete")]);
    assert_eq!(cut(&mut bench, &compacted, 0, -1), (-1, 44));
    assert_eq!(cut(&mut bench, &both, 0, -1), (0, 0));
    assert_eq!(
        alter(
            &mut bench,
            (TOPIC, &compacted),
            &[("cleanup.policy", SET, Some("delete"))]
        ),
        0
    );
    until("the policy acts", || {
        (cut(&mut bench, &compacted, 0, -1) == (0, 0)).then_some(())
    });
    find_coordinator(&mut bench, &unique("group"));
    assert_eq!(
        cut(&mut bench, "__consumer_offsets", 0, -1),
        (-1, 17),
        "an internal topic"
    );
}

fn producers(connection: &mut Connection, topics: &[(&str, &[i32])]) -> Vec<(String, i32, i16, Vec<ProducerState>)> {
    let one = |&(name, indexes): &(&str, &[i32])| {
        TopicRequest::default()
            .with_name(topic_name(name))
            .with_partition_indexes(indexes.to_vec())
    };
    let request = DescribeProducersRequest::default().with_topics(topics.iter().map(one).collect());
    let answer = connection.call(0, &request);
    let partitions = answer.topics.into_iter().flat_map(|topic| {
        let name = topic.name.0.to_string();
        topic.partitions.into_iter().map(move |partition| {
            let code = partition.error_code;
            (
                name.clone(),
                partition.partition_index,
                code,
                partition.active_producers,
            )
        })
    });
    partitions.collect()
}

#[test]
fn producers_are_described() {
    let mut bench = Bench::new();
    let topic = filled(&mut bench);
    assert_eq!(
        producers(&mut bench, &[(&topic, &[0])]),
        [(topic.clone(), 0, 0, vec![])],
        "only idempotent ones"
    );
    let (id, epoch) = init_producer(&mut bench);
    let sent = Batch::of(&["1", "2", "3"]).from_producer(id, epoch, 0);
    assert_eq!(produce(&mut bench, &topic, 0, sent.encode()).error_code, 0);
    let found = producers(&mut bench, &[(&topic, &[0, 1])]);
    assert_eq!((found.len(), found[0].3.len(), found[1].3.len()), (2, 1, 0));
    let state = &found[0].3[0];
    assert_eq!(
        (state.producer_id.0, state.producer_epoch, state.last_sequence),
        (id, i32::from(epoch), 2)
    );
    assert_eq!(state.last_timestamp, sent.base_timestamp + 2);
    assert_eq!((state.coordinator_epoch, state.current_txn_start_offset), (-1, -1));
}

#[test]
fn producers_of_strangers() {
    let mut bench = Bench::new();
    let (topic, stranger) = (filled(&mut bench), unique("stranger"));
    let found = producers(
        &mut bench,
        &[(&stranger, &[0]), (&topic, &[0, 9, -1]), ("", &[0]), ("a b", &[0])],
    );
    let codes = found.into_iter().map(|(name, index, code, _)| (name, index, code));
    let due = [
        (&stranger[..], 0, 3),
        (&topic, 0, 0),
        (&topic, 9, 3),
        (&topic, -1, 3),
        ("", 0, 17),
        ("a b", 0, 17),
    ];
    assert_eq!(
        sorted(codes),
        sorted(due.map(|(name, index, code)| (name.to_owned(), index, code)))
    );
    assert!(producers(&mut bench, &[]).is_empty());
    assert!(producers(&mut bench, &[(&topic, &[])]).is_empty());
    let twice = producers(&mut bench, &[(&topic, &[0, 0]), (&topic, &[0])]);
    assert_eq!((twice[0].1, twice[0].2), (0, 0));
    // Apache Kafka tells all producers again each time; a broker may spare itself that.
    assert!(twice[1..].iter().all(|found| [0, 42].contains(&found.2)), "{twice:?}");
}
