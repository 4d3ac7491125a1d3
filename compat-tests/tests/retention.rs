//! Retention and deletion from outside: files that vanish, kills in the midst of it, readers that hold on.
//!
//! **Invariant:** records are judged by [`parse_all`], which checks the CRC of every batch; a value names its offset, so that
//! a gap, a repetition and a record from elsewhere are all seen.

use std::fs;
use std::path::PathBuf;

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{DeleteTopicsRequest, FetchRequest};

use compat_tests::batch::{Batch, parse_all};
use compat_tests::broker::{Broker, QUICK, external_address};
use compat_tests::requests::{
    FETCH_BY_NAME, create_topic, delete_records, fetch, fetch_request, init_producer, list_offsets, produce,
    produce_values, topic_name, until,
};
use compat_tests::wire::Connection;

const TOPIC: &str = "retention";
/// Retention looks all the time, and what it removes vanishes soon.
const EAGER: &[&str] = &[
    "log.initial.task.delay.ms=0",
    "log.retention.check.interval.ms=100",
    "log.segment.delete.delay.ms=50",
];
const SMALLEST_SEGMENT: &str = "1048576";
const RECORD_BYTES: usize = 60_000;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// A broker of our own; none where one is given.
fn own_broker(settings: &[&str]) -> Option<Broker> {
    external_address()
        .is_none()
        .then(|| Broker::start(&[QUICK, settings].concat()))
}

fn partition_dir(broker: &Broker) -> PathBuf {
    broker.data_dir().join(format!("{TOPIC}-0"))
}

/// Files of the partition with this end of their names.
fn files(broker: &Broker, suffix: &str) -> Vec<String> {
    let entries = fs::read_dir(partition_dir(broker)).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(suffix))
        .collect();
    names.sort();
    names
}

fn value(offset: i64) -> String {
    format!("{offset}/{}", "x".repeat(RECORD_BYTES))
}

/// One batch of one record per offset, acknowledged.
fn fill(connection: &mut Connection, offsets: std::ops::Range<i64>) {
    for offset in offsets {
        assert_eq!(produce_values(connection, TOPIC, &[value(offset)]), offset);
    }
}

fn offset(connection: &mut Connection, which: i64) -> i64 {
    let answer = list_offsets(connection, TOPIC, 0, which);
    assert_eq!(answer.error_code, 0);
    answer.offset
}

/// Reads from the begin to `end` and asserts that nothing is missing; returns the begin. What retention removes meanwhile
/// is no gap: the reader is told, and begins again.
fn read_all(connection: &mut Connection, end: i64) -> i64 {
    'again: loop {
        let start = offset(connection, EARLIEST);
        let mut next = start;
        while next < end {
            let data = fetch(connection, TOPIC, 0, next);
            if data.error_code == 1 {
                assert!(next < offset(connection, EARLIEST), "out of range within the log");
                continue 'again;
            }
            assert_eq!(data.error_code, 0);
            let records = parse_all(&data.records.expect("never null")).expect("sound batches");
            assert!(!records.is_empty(), "nothing at {next} of {end}");
            for record in records {
                assert_eq!(record.offset, next, "a gap");
                assert_eq!(record.value, value(next).as_bytes());
                next += 1;
            }
        }
        assert_eq!(next, end);
        return start;
    }
}

#[test]
fn segments_beyond_the_size_vanish_and_kills_leave_no_gap() {
    let Some(mut broker) = own_broker(EAGER) else { return };
    let mut connection = broker.connect();
    let configs = [("segment.bytes", SMALLEST_SEGMENT), ("retention.bytes", "3000000")];
    create_topic(&mut connection, TOPIC, 1, &configs);
    let mut end = 0;
    for round in 0..6 {
        // the number of records differs, so that the kill comes at another point of the removal
        fill(&mut connection, end..end + 90 + round);
        end += 90 + round;
        broker.kill();
        broker.restart();
        connection = broker.connect();
        assert_eq!(offset(&mut connection, LATEST), end, "round {round}");
        read_all(&mut connection, end);
    }
    until("only what is to stay has files", || {
        let (logs, deleted) = (files(&broker, ".log").len(), files(&broker, ".deleted").len());
        (logs <= 4 && deleted == 0).then_some(())
    });
    let start = read_all(&mut connection, end);
    assert!(
        start > 0 && (end - start) * 60_000 >= 3_000_000 - 60_000,
        "{start} to {end}"
    );
    assert!(broker.stop().success());
    broker.restart();
    connection = broker.connect();
    assert_eq!(read_all(&mut connection, end), start);
    assert!(!broker.output().contains("panicked at"), "{}", broker.output());
}

#[test]
fn everything_goes_when_it_is_old_and_offsets_and_producers_go_on() {
    let Some(mut broker) = own_broker(EAGER) else { return };
    let mut connection = broker.connect();
    create_topic(&mut connection, TOPIC, 1, &[("retention.ms", "60000")]);
    let (id, epoch) = init_producer(&mut connection);
    let send = |connection: &mut Connection, sequence: i32, age_ms: i64| {
        let mut batch = Batch::of(&["value"]).from_producer(id, epoch, sequence);
        batch.base_timestamp -= age_ms;
        let answer = produce(connection, TOPIC, 0, batch.encode());
        (answer.error_code, answer.base_offset)
    };
    for sequence in 0..5 {
        assert_eq!(send(&mut connection, sequence, 120_000), (0, sequence.into()));
    }
    until("the records go", || {
        (offset(&mut connection, EARLIEST) == 5).then_some(())
    });
    until("their files go", || {
        (files(&broker, "")
            .iter()
            .all(|name| !name.starts_with("00000000000000000000.")))
        .then_some(())
    });
    for life in 0..3 {
        assert_eq!(offset(&mut connection, EARLIEST), 5);
        assert_eq!(fetch(&mut connection, TOPIC, 0, 4).error_code, 1);
        assert_eq!(
            send(&mut connection, 9, 0).0,
            45,
            "the partition still knows the producer"
        );
        if life == 0 {
            broker.kill();
        } else {
            assert!(broker.stop().success());
        }
        broker.restart();
        connection = broker.connect();
    }
    assert_eq!(send(&mut connection, 5, 0), (0, 5));
    assert_eq!(offset(&mut connection, LATEST), 6);
}

#[test]
fn records_that_were_deleted_do_not_come_back_after_a_kill() {
    // retention never looks, so that only the checkpoint can know
    let Some(mut broker) = own_broker(&[]) else { return };
    let mut connection = broker.connect();
    create_topic(&mut connection, TOPIC, 1, &[]);
    fill(&mut connection, 0..10);
    for start in 1..=10 {
        assert_eq!(delete_records(&mut connection, TOPIC, 0, start), (start, 0));
        broker.kill();
        broker.restart();
        connection = broker.connect();
        assert_eq!(offset(&mut connection, EARLIEST), start);
        assert_eq!(read_all(&mut connection, 10), start);
    }
    fill(&mut connection, 10..12);
    assert_eq!(read_all(&mut connection, 12), 10);
}

#[test]
fn deleted_records_of_whole_segments_free_the_disk() {
    let Some(mut broker) = own_broker(EAGER) else { return };
    let mut connection = broker.connect();
    let configs = [("segment.bytes", SMALLEST_SEGMENT), ("retention.ms", "-1")];
    create_topic(&mut connection, TOPIC, 1, &configs);
    fill(&mut connection, 0..60);
    assert!(files(&broker, ".log").len() >= 3);
    assert_eq!(delete_records(&mut connection, TOPIC, 0, 50), (50, 0));
    until("the segments before go", || {
        (files(&broker, ".log").len() <= 2 && files(&broker, ".deleted").is_empty()).then_some(())
    });
    broker.kill();
    broker.restart();
    connection = broker.connect();
    assert_eq!(read_all(&mut connection, 60), 50);
}

/// A reader that was answered with more than a socket takes, and does not read yet.
fn slow_reader(broker: &Broker) -> (Connection, i32) {
    let mut reader = broker.connect();
    let mut request = fetch_request(TOPIC, 0, 0, 0, 1);
    request.max_bytes = 50_000_000;
    request.topics[0].partitions[0].partition_max_bytes = 50_000_000;
    let correlation_id = reader.send(FETCH_BY_NAME, &request);
    reader.wait_for_answer();
    (reader, correlation_id)
}

/// What was answered arrives whole although its file has no name any more, and then nobody holds it.
fn finish_reading(broker: &Broker, (mut reader, correlation_id): (Connection, i32), count: i64) {
    let mut response = reader.receive::<FetchRequest>(FETCH_BY_NAME, correlation_id);
    let data = response.responses.remove(0).partitions.remove(0);
    let records = parse_all(&data.records.expect("never null")).expect("sound batches");
    assert_eq!(records.len(), usize::try_from(count).expect("few records"));
    for (offset, record) in (0..).zip(&records) {
        assert_eq!(record.value, value(offset).as_bytes());
    }
    until("nobody holds removed files", || {
        broker
            .open_files()
            .iter()
            .all(|name| !name.contains("(deleted)"))
            .then_some(())
    });
}

#[test]
fn a_deleted_topic_frees_the_disk_when_its_readers_are_done() {
    let Some(broker) = own_broker(&[]) else { return };
    let mut connection = broker.connect();
    create_topic(&mut connection, TOPIC, 1, &[]);
    fill(&mut connection, 0..400);
    let reader = slow_reader(&broker);
    let state = DeleteTopicState::default().with_name(Some(topic_name(TOPIC)));
    let request = DeleteTopicsRequest::default()
        .with_topics(vec![state])
        .with_timeout_ms(30_000);
    assert_eq!(connection.call(6, &request).responses[0].error_code, 0);
    until("the directory goes", || {
        let entries = fs::read_dir(broker.data_dir()).expect("the data directory").flatten();
        let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        (!names.any(|name| name.starts_with(TOPIC))).then_some(())
    });
    // the topic made again is another one
    create_topic(&mut connection, TOPIC, 1, &[]);
    fill(&mut connection, 0..3);
    finish_reading(&broker, reader, 400);
    assert_eq!(read_all(&mut connection, 3), 0);
}

#[test]
fn removed_segments_free_the_disk_when_their_readers_are_done() {
    let Some(broker) = own_broker(EAGER) else { return };
    let mut connection = broker.connect();
    let configs = [("segment.bytes", "25000000"), ("retention.ms", "-1")];
    create_topic(&mut connection, TOPIC, 1, &configs);
    fill(&mut connection, 0..420);
    let reader = slow_reader(&broker);
    assert_eq!(delete_records(&mut connection, TOPIC, 0, 418), (418, 0));
    until("the first segment goes", || {
        let first = "00000000000000000000.";
        files(&broker, "")
            .iter()
            .all(|name| !name.starts_with(first))
            .then_some(())
    });
    let count = i64::from(25_000_000_u32) / i64::try_from(RECORD_BYTES + 80).expect("small");
    finish_reading(&broker, reader, count);
    assert_eq!(read_all(&mut connection, 420), 418);
}

/// Two hundred segments go at once while somebody writes on.
#[test]
fn a_writer_goes_on_while_many_segments_go() {
    let Some(broker) = own_broker(EAGER) else { return };
    let mut connection = broker.connect();
    let configs = [("segment.bytes", SMALLEST_SEGMENT), ("retention.ms", "-1")];
    create_topic(&mut connection, TOPIC, 1, &configs);
    let large = "x".repeat(1_000_000);
    for _ in 0..200 {
        produce_values(&mut connection, TOPIC, &[&large]);
    }
    assert!(files(&broker, ".log").len() >= 200);
    let mut other = broker.connect();
    assert_eq!(delete_records(&mut other, TOPIC, 0, 199), (199, 0));
    let mut written = 200;
    until("all files go", || {
        assert_eq!(produce_values(&mut connection, TOPIC, &["small"]), written);
        written += 1;
        (files(&broker, ".log").len() <= 2 && files(&broker, ".deleted").is_empty()).then_some(())
    });
    assert_eq!(offset(&mut connection, EARLIEST), 199);
}
