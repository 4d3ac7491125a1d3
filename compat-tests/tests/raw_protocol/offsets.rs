//! ListOffsets and OffsetForLeaderEpoch (core's `ReplicaManager`, storage's `LeaderEpochFileCache`).

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{BrokerId, MetadataRequest, OffsetForLeaderEpochRequest};
use uuid::Uuid;

use compat_tests::batch::Batch;
use compat_tests::requests::{list_offsets, list_offsets_request, new_topic, produce, topic_name, unique};
use compat_tests::wire::Connection;

use crate::Bench;

/// The id of a topic that is there.
pub(crate) fn topic_id(connection: &mut Connection, topic: &str) -> Uuid {
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    connection
        .call(12, &MetadataRequest::default().with_topics(Some(vec![asked])))
        .topics[0]
        .topic_id
}

/// Three batches of two records each, a second apart between batches, a millisecond within.
fn filled(connection: &mut Connection) -> String {
    let topic = new_topic(connection);
    for second in 0..3 {
        let bytes = Batch::of(&["a", "b"]).at(1_700_000_000_000 + second * 1_000).encode();
        assert_eq!(produce(connection, &topic, 0, bytes).error_code, 0);
    }
    topic
}

#[test]
fn special_times() {
    let mut bench = Bench::new();
    let topic = filled(&mut bench);
    let mut at = |timestamp| {
        let answer = list_offsets(&mut bench, &topic, 0, timestamp);
        (answer.error_code, answer.offset, answer.timestamp)
    };
    assert_eq!(at(-1), (0, 6, -1), "latest");
    assert_eq!(at(-2), (0, 0, -1), "earliest");
    assert_eq!(at(-3), (0, 5, 1_700_000_002_001), "highest timestamp");
    assert_eq!(at(-4), (0, 0, -1), "earliest local");
    assert_eq!(at(-5), (0, -1, -1), "latest tiered");
    let pending = bench
        .call(11, &list_offsets_request(&topic, 0, -6))
        .topics
        .remove(0)
        .partitions
        .remove(0);
    let told = (
        pending.error_code,
        pending.offset,
        pending.timestamp,
        pending.leader_epoch,
    );
    assert_eq!(told, (0, -1, -1, -1), "earliest that waits to be tiered");
}

#[test]
fn times_are_found_to_the_record() {
    let mut bench = Bench::new();
    let topic = filled(&mut bench);
    let base = 1_700_000_000_000;
    let found = [
        (0, 0, base),
        (base, 0, base),
        (base + 1, 1, base + 1),
        (base + 2, 2, base + 1_000),
    ];
    for (asked, offset, timestamp) in found.into_iter().chain([(base + 2_001, 5, base + 2_001)]) {
        let answer = list_offsets(&mut bench, &topic, 0, asked);
        assert_eq!(
            (answer.error_code, answer.offset, answer.timestamp),
            (0, offset, timestamp),
            "{asked}"
        );
    }
    let none = list_offsets(&mut bench, &topic, 0, base + 2_002);
    assert_eq!((none.error_code, none.offset, none.timestamp), (0, -1, -1));
}

#[test]
fn an_empty_partition_has_offsets_but_no_times() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    for (timestamp, offset) in [(-1, 0), (-2, 0), (-3, -1), (0, -1)] {
        let answer = list_offsets(&mut bench, &topic, 0, timestamp);
        assert_eq!(
            (answer.error_code, answer.offset, answer.timestamp),
            (0, offset, -1),
            "{timestamp}"
        );
    }
}

#[test]
fn special_times_newer_than_the_version_are_refused() {
    let mut bench = Bench::new();
    let topic = filled(&mut bench);
    for (version, timestamp) in [(6, -3), (7, -4), (8, -5), (10, -6), (10, -7)] {
        let answer = bench.call(version, &list_offsets_request(&topic, 0, timestamp));
        assert_eq!(
            answer.topics[0].partitions[0].error_code, 35,
            "{timestamp} in version {version}"
        );
    }
}

#[test]
fn what_list_offsets_refuses() {
    let mut bench = Bench::new();
    let topic = filled(&mut bench);
    assert_eq!(list_offsets(&mut bench, &unique("stranger"), 0, -1).error_code, 3);
    assert_eq!(list_offsets(&mut bench, &topic, 7, -1).error_code, 3);
    let mut twice = list_offsets_request(&topic, 0, -1);
    twice.topics[0].partitions = vec![twice.topics[0].partitions[0].clone(); 2];
    let answer = bench.call(7, &twice);
    assert!(
        answer.topics[0]
            .partitions
            .iter()
            .all(|partition| partition.error_code == 42),
        "{answer:?}"
    );
    let mut future = list_offsets_request(&topic, 0, -1);
    future.topics[0].partitions[0].current_leader_epoch = 1000;
    assert_eq!(bench.call(7, &future).topics[0].partitions[0].error_code, 75);
}

#[test]
fn leader_epochs_end_where_the_log_ends() {
    let mut bench = Bench::new();
    let topic = filled(&mut bench);
    let epoch = list_offsets(&mut bench, &topic, 0, -1).leader_epoch;
    assert!(epoch >= 0);
    let mut end_of = |leader_epoch, current| {
        let asked = OffsetForLeaderPartition::default()
            .with_partition(0)
            .with_current_leader_epoch(current)
            .with_leader_epoch(leader_epoch);
        let topic = OffsetForLeaderTopic::default()
            .with_topic(topic_name(&topic))
            .with_partitions(vec![asked]);
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![topic]);
        let answer = bench.call(4, &request).topics.remove(0).partitions.remove(0);
        (answer.error_code, answer.leader_epoch, answer.end_offset)
    };
    assert_eq!(end_of(epoch, -1), (0, epoch, 6), "the current epoch");
    assert_eq!(end_of(epoch + 5, -1), (0, -1, -1), "an epoch from the future");
    assert_eq!(end_of(epoch, epoch + 5).0, 75, "a client ahead of the broker");
}
