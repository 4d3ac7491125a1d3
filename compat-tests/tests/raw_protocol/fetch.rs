//! Fetch: empty partitions, limits, waiting, epochs, sessions (core's `ReplicaManager`, server's `DelayedFetch`).

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{
    DeleteTopicsRequest, FetchRequest, MetadataRequest, metadata_request::MetadataRequestTopic,
};

use compat_tests::batch::parse_all;
use compat_tests::broker::external_address;
use compat_tests::requests::{
    FETCH_BY_NAME, create_topic, fetch, fetch_request, new_topic, produce_values, topic_name, unique, values,
};
use compat_tests::wire::Connection;

use crate::Bench;

fn only(mut response: kafka_protocol::messages::FetchResponse) -> PartitionData {
    assert_eq!((response.error_code, response.responses.len()), (0, 1));
    response.responses.remove(0).partitions.remove(0)
}

fn topic_id(connection: &mut Connection, topic: &str) -> uuid::Uuid {
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    connection
        .call(12, &MetadataRequest::default().with_topics(Some(vec![asked])))
        .topics[0]
        .topic_id
}

#[test]
fn an_empty_partition_has_empty_records_not_null() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let id = topic_id(&mut bench, &topic);
    for version in 4..=18 {
        let mut request = fetch_request(&topic, 0, 0, 0, 1);
        if version < 7 {
            request.session_epoch = FetchRequest::default().session_epoch;
        }
        if version >= 13 {
            request.topics[0].topic = topic_name("");
            request.topics[0].topic_id = id;
        }
        let data = only(bench.call(version, &request));
        assert_eq!((data.error_code, data.high_watermark), (0, 0), "version {version}");
        assert_eq!(data.records, Some(Bytes::new()), "version {version}");
    }
}

#[test]
fn out_of_range_is_told_from_the_end() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce_values(&mut bench, &topic, &["a", "b"]);
    let at_end = fetch(&mut bench, &topic, 0, 2);
    assert_eq!(
        (at_end.error_code, at_end.high_watermark, at_end.last_stable_offset),
        (0, 2, 2)
    );
    assert_eq!(at_end.records, Some(Bytes::new()));
    for offset in [3, i64::MAX, -1, -5] {
        let data = fetch(&mut bench, &topic, 0, offset);
        assert_eq!((data.error_code, data.high_watermark), (1, -1), "offset {offset}");
        assert_eq!(data.records.unwrap_or_default(), Bytes::new());
    }
}

#[test]
fn unknown_topics_partitions_and_ids() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    for (topic, partition) in [(unique("stranger").as_str(), 0), (&topic, 7), (&topic, -1)] {
        let data = fetch(&mut bench, topic, partition, 0);
        assert_eq!((data.error_code, data.high_watermark), (3, -1), "{topic} {partition}");
    }
    let mut request = fetch_request("", 0, 0, 0, 1);
    request.topics[0].topic_id = "0123456789abcdef0123456789abcdef".parse().expect("a UUID");
    assert_eq!(only(bench.call(13, &request)).error_code, 100);
}

#[test]
fn one_whole_batch_comes_whatever_the_limits_say() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let large = "x".repeat(50_000);
    produce_values(&mut bench, &topic, &[&large]);
    produce_values(&mut bench, &topic, &["behind"]);
    let mut request = fetch_request(&topic, 0, 0, 0, 1);
    request.max_bytes = 1;
    request.topics[0].partitions[0].partition_max_bytes = 1;
    assert_eq!(values(&only(bench.call(FETCH_BY_NAME, &request))), [large]);
}

#[test]
fn limits_hold_behind_the_first_batch() {
    let mut bench = Bench::new();
    let topic = unique("limits");
    create_topic(&mut bench, &topic, 2, &[]);
    for partition in 0..2 {
        for _ in 0..20 {
            let bytes = compat_tests::batch::Batch::of(&["x".repeat(1000)]).encode();
            assert_eq!(
                compat_tests::requests::produce(&mut bench, &topic, partition, bytes).error_code,
                0
            );
        }
    }
    let asked = |partition| {
        FetchPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(5_000)
    };
    let mut request = fetch_request(&topic, 0, 0, 0, 1);
    request.topics = vec![
        FetchTopic::default()
            .with_topic(topic_name(&topic))
            .with_partitions(vec![asked(0), asked(1)]),
    ];
    request.max_bytes = 7_000;
    let response = bench.call(FETCH_BY_NAME, &request);
    let sizes: Vec<_> = response.responses[0]
        .partitions
        .iter()
        .map(|data| data.records.as_ref().expect("never null").len())
        .collect();
    assert!(
        sizes[0] > 1_000 && sizes[0] <= 5_000 && sizes[0] + sizes[1] <= 7_000,
        "{sizes:?}"
    );
}

#[test]
fn a_fetch_inside_a_batch_gets_the_whole_batch() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce_values(&mut bench, &topic, &["a", "b", "c"]);
    produce_values(&mut bench, &topic, &["d"]);
    assert_eq!(values(&fetch(&mut bench, &topic, 0, 1)), ["a", "b", "c", "d"]);
    assert_eq!(values(&fetch(&mut bench, &topic, 0, 3)), ["d"]);
}

#[test]
fn batches_carry_the_leader_epoch() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce_values(&mut bench, &topic, &["a"]);
    let bytes = fetch(&mut bench, &topic, 0, 0).records.expect("never null");
    let records = parse_all(&bytes).expect("sound batches");
    assert!(records[0].leader_epoch >= 0, "{records:?}");
}

/// The bound only tells a wake-up from a wait that ran its full 25 seconds.
#[test]
fn a_produce_wakes_a_waiting_fetch() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let waiting = bench.send(FETCH_BY_NAME, &fetch_request(&topic, 0, 0, 25_000, 1));
    thread::sleep(Duration::from_millis(200));
    let produced = Instant::now();
    produce_values(&mut bench.connect(), &topic, &["wakes"]);
    let data = only(bench.receive::<FetchRequest>(FETCH_BY_NAME, waiting));
    assert_eq!(values(&data), ["wakes"]);
    assert!(produced.elapsed() < Duration::from_secs(12), "{:?}", produced.elapsed());
}

/// As above: the bound only tells an early end from a wait that ran its full 28 seconds.
#[test]
fn the_deletion_of_its_topic_ends_a_fetch() {
    if external_address().is_some() {
        return; // Apache Kafka lets the fetch wait
    }
    let mut bench = Bench::new();
    for by_id in [false, true] {
        let topic = new_topic(&mut bench);
        let mut request = fetch_request(&topic, 0, 0, 28_000, 1);
        let version = if by_id { 13 } else { FETCH_BY_NAME };
        if by_id {
            request.topics[0].topic_id = topic_id(&mut bench, &topic);
            request.topics[0].topic = topic_name("");
        }
        let waiting = bench.send(version, &request);
        thread::sleep(Duration::from_millis(200));
        let deleted = Instant::now();
        let state = DeleteTopicState::default().with_name(Some(topic_name(&topic)));
        let request = DeleteTopicsRequest::default()
            .with_topics(vec![state])
            .with_timeout_ms(30_000);
        let answer = bench.connect().call(6, &request);
        assert_eq!(answer.responses[0].error_code, 0);
        let data = only(bench.receive::<FetchRequest>(version, waiting));
        assert!(deleted.elapsed() < Duration::from_secs(5), "{:?}", deleted.elapsed());
        assert!([3, 6, 100].contains(&data.error_code), "by id {by_id}: {data:?}");
    }
}

#[test]
fn a_fetch_waits_for_min_bytes() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let waiting = bench.send(FETCH_BY_NAME, &fetch_request(&topic, 0, 0, 25_000, 2_000));
    let mut other = bench.connect();
    produce_values(&mut other, &topic, &["small"]);
    let large = "x".repeat(3_000);
    produce_values(&mut other, &topic, &[&large]);
    let data = only(bench.receive::<FetchRequest>(FETCH_BY_NAME, waiting));
    assert_eq!(values(&data), ["small".to_owned(), large]);
}

#[test]
fn a_fetch_without_data_answers_after_its_wait() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let data = only(bench.call(FETCH_BY_NAME, &fetch_request(&topic, 0, 0, 300, 1)));
    assert_eq!((data.error_code, data.records), (0, Some(Bytes::new())));
}

#[test]
fn an_error_in_one_partition_ends_the_wait() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let out_of_range = unique("range");
    create_topic(&mut bench, &out_of_range, 1, &[]);
    let mut request = fetch_request(&topic, 0, 0, 25_000, 1);
    request.topics.extend(fetch_request(&out_of_range, 0, 99, 0, 1).topics);
    assert_eq!(codes(&bench.call(FETCH_BY_NAME, &request)), [0, 1]);
}

/// In Apache Kafka it waits for the others all the same; a client with a deleted topic in its list would else ask again
/// and again.
#[test]
fn an_unknown_partition_is_told_beside_the_others() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let lost = FetchPartition::default()
        .with_partition(7)
        .with_current_leader_epoch(-1);
    let mut request = fetch_request(&topic, 0, 0, 25_000, 1);
    request.topics[0].partitions.push(lost.clone());
    let waiting = bench.send(FETCH_BY_NAME, &request);
    produce_values(&mut bench.connect(), &topic, &["a"]);
    let response = bench.receive::<FetchRequest>(FETCH_BY_NAME, waiting);
    assert_eq!(codes(&response), [0, 3]);
    assert_eq!(
        values(&response.responses[0].partitions[0]),
        ["a"],
        "it waited for this"
    );
    request.topics[0].partitions = vec![lost];
    assert_eq!(
        codes(&bench.call(FETCH_BY_NAME, &request)),
        [3],
        "alone it is told at once"
    );
}

fn codes(response: &kafka_protocol::messages::FetchResponse) -> Vec<i16> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|data| data.error_code).collect()
}

#[test]
fn a_leader_epoch_from_the_future_is_unknown() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let mut request = fetch_request(&topic, 0, 0, 0, 1);
    request.topics[0].partitions[0].current_leader_epoch = 1000;
    assert_eq!(only(bench.call(FETCH_BY_NAME, &request)).error_code, 75);
}

#[test]
fn an_unknown_session_is_said_to_be_unknown() {
    let mut bench = Bench::new();
    let mut request = fetch_request("", 0, 0, 0, 1);
    request.topics.clear();
    request.session_id = 1234;
    request.session_epoch = 1;
    assert_eq!(bench.call(FETCH_BY_NAME, &request).error_code, 70);
}

#[test]
fn a_session_may_be_asked_for() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce_values(&mut bench, &topic, &["a"]);
    let mut request = fetch_request(&topic, 0, 0, 0, 1);
    request.session_epoch = 0;
    assert_eq!(values(&only(bench.call(FETCH_BY_NAME, &request))), ["a"]);
}

#[test]
fn read_committed_reads_what_is_no_transaction() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce_values(&mut bench, &topic, &["a"]);
    let mut request = fetch_request(&topic, 0, 0, 0, 1);
    request.isolation_level = 1;
    let data = only(bench.call(FETCH_BY_NAME, &request));
    assert_eq!((values(&data).len(), data.last_stable_offset), (1, 1));
}
