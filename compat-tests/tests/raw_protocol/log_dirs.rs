//! DescribeLogDirs and AlterReplicaLogDirs on a broker with one directory (core's `ReplicaManager`).

use bytes::Bytes;
use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use kafka_protocol::messages::{
    AlterReplicaLogDirsRequest, DescribeLogDirsRequest, DescribeLogDirsResponse, ResponseHeader,
};
use kafka_protocol::protocol::Decodable;

use compat_tests::admin::{delete_records, delete_topics_request, sorted};
use compat_tests::batch::Batch;
use compat_tests::broker::{Broker, QUICK, external_address};
use compat_tests::requests::{create_topic, new_topic, produce, produce_values, topic_name, unique, until};
use compat_tests::wire::{Connection, encode_request, text};

use crate::Bench;

fn request(topics: Option<&[(&str, &[i32])]>) -> DescribeLogDirsRequest {
    let one = |&(name, partitions): &(&str, &[i32])| {
        DescribableLogDirTopic::default()
            .with_topic(topic_name(name))
            .with_partitions(partitions.to_vec())
    };
    DescribeLogDirsRequest::default().with_topics(topics.map(|topics| topics.iter().map(one).collect()))
}

/// The only directory, as the newest version that kafka-protocol has describes it.
fn directory(connection: &mut Connection, topics: Option<&[(&str, &[i32])]>) -> DescribeLogDirsResult {
    let mut answer = connection.call(4, &request(topics));
    assert_eq!((answer.error_code, answer.results.len()), (0, 1), "{answer:?}");
    let result = answer.results.remove(0);
    assert_eq!(result.error_code, 0);
    result
}

/// Topic, partition and size of everything in a directory.
fn contents(directory: &DescribeLogDirsResult) -> Vec<(String, i32, i64)> {
    sorted(directory.topics.iter().flat_map(|topic| {
        let name = topic.name.0.to_string();
        topic.partitions.iter().map(move |partition| {
            assert_eq!((partition.offset_lag, partition.is_future_key), (0, false));
            (name.clone(), partition.partition_index, partition.partition_size)
        })
    }))
}

#[test]
fn every_version_tells_sizes() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let empty = contents(&directory(&mut bench, Some(&[(&topic, &[0])])));
    assert_eq!(empty, [(topic.clone(), 0, 0)]);
    let sent = Batch::of(&["some", "records"]).encode();
    let size = i64::try_from(sent.len()).expect("a small batch");
    assert_eq!(produce(&mut bench, &topic, 0, sent).error_code, 0);
    for version in 1..=4 {
        let answer = bench.call(version, &request(Some(&[(&topic, &[0])])));
        assert_eq!((answer.error_code, answer.results.len()), (0, 1), "version {version}");
        let found = &answer.results[0];
        assert!(found.log_dir.starts_with('/'), "{}", found.log_dir);
        assert_eq!(
            (found.error_code, contents(found)),
            (0, vec![(topic.clone(), 0, size)]),
            "version {version}"
        );
        if version == 4 {
            assert!(
                found.total_bytes >= found.usable_bytes && found.usable_bytes > 0,
                "{found:?}"
            );
        }
    }
}

/// kafka-protocol does not have version 5, which adds one byte per directory: whether it is cordoned.
#[test]
fn version_5_tells_of_cordons() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce_values(&mut bench, &topic, &["x"]);
    let mut frame = encode_request(77, 4, &request(Some(&[(&topic, &[0])]))).to_vec();
    frame[6..8].copy_from_slice(&5_i16.to_be_bytes());
    bench.send_bytes(&frame);
    let answer = bench.try_read_frame().expect("an answer").expect("no close");
    // … usable bytes, cordoned, and the tagged fields of directory and response.
    let cordoned_at = answer.len() - 3;
    assert_eq!(answer[cordoned_at..], [0, 0, 0], "{answer:?}");
    let mut older = Bytes::from([&answer[..cordoned_at], &answer[cordoned_at + 1..]].concat());
    let header = ResponseHeader::decode(&mut older, 1).expect("a header");
    assert_eq!(header.correlation_id, 77);
    let decoded = DescribeLogDirsResponse::decode(&mut older, 4).expect("an answer of version 4 but for that byte");
    assert!(older.is_empty());
    assert_eq!((decoded.error_code, contents(&decoded.results[0]).len()), (0, 1));
}

#[test]
fn null_means_everything_and_strangers_are_left_out() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 2, &[]);
    let everything = contents(&directory(&mut bench, None));
    for index in 0..2 {
        assert!(everything.contains(&(topic.clone(), index, 0)), "{everything:?}");
    }
    assert!(everything.iter().any(|(name, ..)| *name == bench.topic));
    let stranger = unique("stranger");
    let nothing: [&[(&str, &[i32])]; 5] = [
        &[],
        &[(&topic, &[])],
        &[(&topic, &[9, -1])],
        &[(&stranger, &[0])],
        &[("", &[0]), ("a b", &[0])],
    ];
    for asked in nothing {
        let found = directory(&mut bench, Some(asked));
        assert!(found.topics.is_empty(), "{asked:?}: {found:?}");
        assert!(found.total_bytes > 0);
    }
    let mixed = contents(&directory(
        &mut bench,
        Some(&[(&stranger, &[0]), (&topic, &[0, 7]), (&topic, &[1, 1])]),
    ));
    assert_eq!(mixed, [(topic.clone(), 0, 0), (topic.clone(), 1, 0)], "each once");
}

#[test]
fn deleted_records_and_topics_give_their_room_back() {
    let eager = ["log.retention.check.interval.ms=50", "log.initial.task.delay.ms=0"];
    let settings = [QUICK, &eager].concat();
    let mut bench = Bench::on(Broker::start(&settings));
    let topic = unique("topic");
    create_topic(
        &mut bench,
        &topic,
        1,
        &[("segment.bytes", "1048576"), ("file.delete.delay.ms", "0")],
    );
    for _ in 0..5 {
        produce_values(&mut bench, &topic, &[vec![b'x'; 900_000]]);
    }
    let size = |connection: &mut Connection| contents(&directory(connection, Some(&[(&topic, &[0])])))[0].2;
    assert!(size(&mut bench) > 4_500_000);
    let answers = delete_records(&mut bench, &[(&topic, &[(0, 4)])]);
    assert_eq!(answers, [(topic.clone(), 0, 4, 0)]);
    if external_address().is_none() {
        // A broker that runs already looks every five minutes.
        until("old segments are gone", || (size(&mut bench) < 2_000_000).then_some(()));
    }
    let delete = delete_topics_request(&[&topic]);
    assert_eq!(bench.call(6, &delete).responses[0].error_code, 0);
    until("the topic is gone", || {
        directory(&mut bench, Some(&[(&topic, &[0])]))
            .topics
            .is_empty()
            .then_some(())
    });
}

/// A directory, and what is to lie there.
type Destination<'a> = (&'a str, &'a [(&'a str, &'a [i32])]);

fn move_to(connection: &mut Connection, moves: &[Destination<'_>]) -> Vec<(String, i32, i16)> {
    let topic = |&(name, partitions): &(&str, &[i32])| {
        AlterReplicaLogDirTopic::default()
            .with_name(topic_name(name))
            .with_partitions(partitions.to_vec())
    };
    let directory = |&(path, topics): &Destination<'_>| {
        AlterReplicaLogDir::default()
            .with_path(text(path))
            .with_topics(topics.iter().map(topic).collect())
    };
    let request = AlterReplicaLogDirsRequest::default().with_dirs(moves.iter().map(directory).collect());
    sorted(connection.call(2, &request).results.iter().flat_map(|topic| {
        let name = topic.topic_name.0.to_string();
        topic
            .partitions
            .iter()
            .map(move |partition| (name.clone(), partition.partition_index, partition.error_code))
    }))
}

#[test]
fn replicas_are_told_where_to_lie() {
    let mut bench = Bench::new();
    let (topic, stranger) = (new_topic(&mut bench), unique("stranger"));
    let here = directory(&mut bench, None).log_dir.to_string();
    let one = |code| vec![(topic.clone(), 0, code)];
    let request = AlterReplicaLogDirsRequest::default().with_dirs(vec![
        AlterReplicaLogDir::default().with_path(text(&here)).with_topics(vec![
            AlterReplicaLogDirTopic::default()
                .with_name(topic_name(&topic))
                .with_partitions(vec![0]),
        ]),
    ]);
    for version in 1..=2 {
        let answer = bench.call(version, &request);
        assert_eq!(
            answer.results[0].partitions[0].error_code, 0,
            "where it lies already, version {version}"
        );
    }
    for path in ["/no/such/directory", "", "x/..", &format!("{here}/../other")] {
        assert_eq!(move_to(&mut bench, &[(path, &[(&topic, &[0])])]), one(57), "{path:?}");
    }
    let mixed = move_to(&mut bench, &[(&here, &[(&stranger, &[0]), (&topic, &[0, 9, -1])])]);
    let due = [(&stranger, 0, 3), (&topic, 0, 0), (&topic, 9, 3), (&topic, -1, 3)];
    assert_eq!(
        mixed,
        sorted(due.map(|(name, index, code)| (name.clone(), index, code)))
    );
    let mut twice = move_to(&mut bench, &[(&here, &[(&topic, &[0, 0]), (&topic, &[0])])]);
    twice.dedup();
    assert_eq!(twice, one(0));
    let nothing: [&[Destination<'_>]; 3] = [&[], &[(&here, &[])], &[(&here, &[(&topic, &[])])]];
    for moves in nothing {
        assert!(move_to(&mut bench, moves).is_empty(), "{moves:?}");
    }
    assert_eq!(
        contents(&directory(&mut bench, Some(&[(&topic, &[0])]))),
        [(topic.clone(), 0, 0)]
    );
}
