//! DeleteRecords (core's `KafkaApis.handleDeleteRecordsRequest`, `Partition.deleteRecordsOnLeader`).

use kafka_protocol::messages::DeleteRecordsRequest;
use kafka_protocol::messages::delete_records_request::DeleteRecordsTopic;

use compat_tests::requests::{
    FETCH_BY_NAME, commit, create_topic, delete_records, delete_records_request, fetch, fetch_request,
    find_coordinator, list_offsets, new_topic, produce_values, topic_name, unique, until, values,
};

use crate::Bench;

const EARLIEST: i64 = -2;

#[test]
fn the_log_starts_where_it_was_told_to() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce_values(&mut bench, &topic, &["0", "1", "2"]);
    produce_values(&mut bench, &topic, &["3", "4"]);
    for (offset, start) in [(0, 0), (2, 2), (1, 2), (4, 4), (4, 4)] {
        assert_eq!(delete_records(&mut bench, &topic, 0, offset), (start, 0), "{offset}");
        assert_eq!(list_offsets(&mut bench, &topic, 0, EARLIEST).offset, start);
    }
    let below = fetch(&mut bench, &topic, 0, 3);
    assert_eq!(below.error_code, 1);
    let at_start = fetch(&mut bench, &topic, 0, 4);
    assert_eq!(
        (at_start.error_code, at_start.log_start_offset, at_start.high_watermark),
        (0, 4, 5)
    );
    assert_eq!(values(&at_start).last().map(String::as_str), Some("4"));
    assert_eq!(delete_records(&mut bench, &topic, 0, -1), (5, 0), "everything");
    assert_eq!(produce_values(&mut bench, &topic, &["5"]), 5);
    assert_eq!(values(&fetch(&mut bench, &topic, 0, 5)), ["5"]);
}

#[test]
fn what_cannot_be_deleted_has_its_code_and_nothing_else_is_hurt() {
    let mut bench = Bench::new();
    let (topic, compacted) = (new_topic(&mut bench), unique("compacted"));
    create_topic(&mut bench, &compacted, 1, &[("cleanup.policy", "compact")]);
    produce_values(&mut bench, &topic, &["0", "1"]);
    for (offset, code) in [(3, 1), (i64::MAX, 1), (-2, 1), (i64::MIN, 1)] {
        assert_eq!(delete_records(&mut bench, &topic, 0, offset), (-1, code), "{offset}");
    }
    for (topic, partition, code) in [
        (topic.as_str(), 1, 3),
        (&topic, -1, 3),
        (&topic, i32::MAX, 3),
        ("not-there", 0, 3),
        ("", 0, 3),
        ("no/name", 0, 3),
        (&compacted, 0, 44),
    ] {
        assert_eq!(
            delete_records(&mut bench, topic, partition, -1),
            (-1, code),
            "{topic} {partition}"
        );
    }
    // the internal topic exists once there was a group
    let group = unique("group");
    find_coordinator(&mut bench, &group);
    until("the group is known", || {
        (commit(&mut bench, &group, ("", -1), &topic, 1) == 0).then_some(())
    });
    assert_eq!(delete_records(&mut bench, "__consumer_offsets", 0, -1), (-1, 17));
    assert_eq!(delete_records(&mut bench, "__consumer_offsets", 10_000, -1), (-1, 3));
    // both policies: may be deleted
    let both = unique("both");
    create_topic(&mut bench, &both, 1, &[("cleanup.policy", "compact,delete")]);
    assert_eq!(delete_records(&mut bench, &both, 0, -1), (0, 0));
    assert_eq!(values(&fetch(&mut bench, &topic, 0, 0)), ["0", "1"]);
}

#[test]
fn empty_repeated_and_mixed_partitions() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce_values(&mut bench, &topic, &["0", "1", "2", "3"]);
    for version in 0..=2 {
        assert!(bench.call(version, &DeleteRecordsRequest::default()).topics.is_empty());
        let empty = DeleteRecordsTopic::default().with_name(topic_name(&topic));
        let request = DeleteRecordsRequest::default().with_topics(vec![empty]);
        assert!(
            bench.call(version, &request).topics.is_empty(),
            "no partition, no answer"
        );
    }
    // one answer per partition; the last offset counts, also where it was refused
    let mut request = delete_records_request(&topic, &[(0, 3), (7, 0), (0, 1)]);
    request
        .topics
        .extend(delete_records_request("not-there", &[(0, 0)]).topics);
    let mut response = bench.call(2, &request);
    response.topics.sort_by_key(|answer| *answer.name != *topic);
    let told: Vec<Vec<_>> = response
        .topics
        .iter()
        .map(|topic| {
            let mut told: Vec<_> = topic
                .partitions
                .iter()
                .map(|partition| (partition.partition_index, partition.low_watermark, partition.error_code))
                .collect();
            told.sort_unstable();
            told
        })
        .collect();
    assert_eq!(told, [vec![(0, 1, 0), (7, -1, 3)], vec![(0, -1, 3)]]);
    let mut request = delete_records_request(&topic, &[(0, 2)]);
    request.topics.extend(delete_records_request(&topic, &[(0, 99)]).topics);
    let response = bench.call(2, &request);
    assert_eq!((response.topics.len(), response.topics[0].partitions.len()), (1, 1));
    assert_eq!(response.topics[0].partitions[0].error_code, 1);
    assert_eq!(list_offsets(&mut bench, &topic, 0, EARLIEST).offset, 1);
}

/// A fetch that waits at the end goes on waiting; the next one sees the new start.
#[test]
fn a_waiting_fetch_is_not_hurt() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce_values(&mut bench, &topic, &["0", "1"]);
    let mut waiting = bench.connect();
    let correlation_id = waiting.send(FETCH_BY_NAME, &fetch_request(&topic, 0, 2, 20_000, 1));
    assert_eq!(delete_records(&mut bench, &topic, 0, -1), (2, 0));
    produce_values(&mut bench, &topic, &["2"]);
    let mut response = waiting.receive::<kafka_protocol::messages::FetchRequest>(FETCH_BY_NAME, correlation_id);
    let data = response.responses.remove(0).partitions.remove(0);
    assert_eq!((data.error_code, data.log_start_offset), (0, 2));
    assert_eq!(values(&data), ["2"]);
}
