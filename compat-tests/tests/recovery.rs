//! What a restart makes of a data directory in which something happened: a topic that was deleted and made again, a disk
//! that flipped bytes, records that were made durable one by one.
//!
//! **Invariant:** records are judged by [`parse_all`], which checks the CRC of every batch, never by the broker's word.

use std::fs;
use std::path::PathBuf;
use std::thread;

use bytes::Bytes;
use kafka_protocol::messages::DeleteTopicsRequest;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;

use compat_tests::batch::{Batch, HEADER_BYTES, parse_all};
use compat_tests::broker::{Broker, QUICK, external_address};
use compat_tests::requests::{
    FETCH_BY_NAME, PRODUCE_BY_NAME, create_topic, fetch, fetch_request, init_producer, produce, produce_request,
    topic_name, until,
};
use compat_tests::wire::Connection;

const TOPIC: &str = "recovery";
const CHECKPOINTS: &str = "log.flush.offset.checkpoint.interval.ms=1000";

/// A broker of our own with further settings; none where one is given.
fn own_broker(settings: &[&str]) -> Option<Broker> {
    external_address()
        .is_none()
        .then(|| Broker::start(&[QUICK, settings].concat()))
}

fn delete_topic(connection: &mut Connection) {
    let state = DeleteTopicState::default().with_name(Some(topic_name(TOPIC)));
    let request = DeleteTopicsRequest::default()
        .with_topics(vec![state])
        .with_timeout_ms(30_000);
    assert_eq!(connection.call(6, &request).responses[0].error_code, 0);
}

/// Produces batches of one record each, with acks=all; the values name life, partition and offset.
fn fill(connection: &mut Connection, life: &str, partition: i32, from: usize, count: usize, padding: usize) {
    for number in from..from + count {
        let value = value(life, partition, number, padding);
        let answer = produce(connection, TOPIC, partition, Batch::of(&[value]).encode());
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (0, i64::try_from(number).expect("a small number"))
        );
    }
}

fn value(life: &str, partition: i32, number: usize, padding: usize) -> String {
    format!("{life}/{partition}/{number}/{}", "x".repeat(padding))
}

/// Asserts that a partition holds what [`fill`] wrote, and nothing else.
fn holds(connection: &mut Connection, life: &str, partition: i32, count: usize, padding: usize) {
    let mut found = 0;
    while found < count {
        let data = fetch(
            connection,
            TOPIC,
            partition,
            i64::try_from(found).expect("a small number"),
        );
        assert_eq!(data.error_code, 0, "{life}/{partition} at {found}");
        assert_eq!(
            data.high_watermark,
            i64::try_from(count).expect("a small number"),
            "{life}/{partition}"
        );
        let records = parse_all(&data.records.expect("never null")).expect("sound batches");
        assert!(!records.is_empty(), "{life}/{partition}: nothing at {found} of {count}");
        for record in records {
            assert_eq!(usize::try_from(record.offset).expect("an offset"), found);
            assert_eq!(record.value, value(life, partition, found, padding).as_bytes());
            found += 1;
        }
    }
}

/// Waits until a checkpoint says that everything below `offset` of every partition is on the disk.
fn wait_for_checkpoint(broker: &Broker, partitions: i32, offset: usize) {
    let path = broker.data_dir().join("recovery-point-offset-checkpoint");
    until("the checkpoint is written", || {
        let text = fs::read_to_string(&path).ok()?;
        let written = |partition| text.lines().any(|line| line == format!("{TOPIC} {partition} {offset}"));
        (0..partitions).all(written).then_some(())
    });
}

/// Deletes a topic of 3 × `old` records, makes it again and produces 3 × `new` records before the kill.
fn made_again(settings: &[&str], old: usize, new: usize, await_checkpoints: bool) {
    let Some(mut broker) = own_broker(settings) else { return };
    let mut connection = broker.connect();
    for round in 0..3 {
        let (old_life, new_life) = (format!("old{round}"), format!("new{round}"));
        create_topic(&mut connection, TOPIC, 3, &[("segment.bytes", "1048576")]);
        for partition in 0..3 {
            fill(&mut connection, &old_life, partition, 0, old, 20_000);
        }
        if await_checkpoints {
            wait_for_checkpoint(&broker, 3, old);
        }
        delete_topic(&mut connection);
        // Not until anything has come to rest: the deletion's files may still be there.
        create_topic(&mut connection, TOPIC, 3, &[]);
        for partition in 0..3 {
            fill(&mut connection, &new_life, partition, 0, new, 10);
        }
        broker.kill();
        broker.restart();
        connection = broker.connect();
        for partition in 0..3 {
            holds(&mut connection, &new_life, partition, new, 10);
            fill(&mut connection, &new_life, partition, new, 1, 10);
        }
        assert!(broker.stop().success());
        broker.restart();
        connection = broker.connect();
        for partition in 0..3 {
            holds(&mut connection, &new_life, partition, new + 1, 10);
        }
        delete_topic(&mut connection);
    }
    assert!(!broker.output().contains("panicked at"), "{}", broker.output());
}

#[test]
fn a_topic_made_again_keeps_what_it_acknowledged() {
    made_again(&[], 5, 7, false);
}

/// The checkpoints speak of many more records than the new topic has.
#[test]
fn a_topic_made_again_after_much_data_and_checkpoints() {
    made_again(&[CHECKPOINTS], 120, 7, true);
}

const PARTITIONS: i32 = 3;
const BATCHES: usize = 20;
const PADDING: usize = 1_000;
/// The batch in which bytes are flipped, in partition [`DAMAGED`]: in the middle of the log, or behind its last index entry.
const MIDDLE: usize = 10;
const LATE: usize = 18;
const DAMAGED: i32 = 1;

/// Where in the broken batch the disk fails.
#[derive(Clone, Copy, Debug)]
enum Where {
    /// The records: the chain of batches stays whole.
    Body,
    /// The length: nobody can tell where the next batch begins.
    Length,
}

/// How the broker ends before the disk fails.
#[derive(Clone, Copy, Debug)]
enum End {
    Stop,
    Kill,
}

fn damaged_file(broker: &Broker) -> PathBuf {
    broker
        .data_dir()
        .join(format!("{TOPIC}-{DAMAGED}/00000000000000000000.log"))
}

/// Flips bytes; returns what the file now holds.
fn flip(broker: &Broker, broken: usize, place: Where) -> Vec<u8> {
    let path = damaged_file(broker);
    let mut bytes = fs::read(&path).expect("the log");
    let mut at = 0;
    for _ in 0..broken {
        let length: [u8; 4] = bytes[at + 8..at + 12].try_into().expect("four bytes");
        at += 12 + usize::try_from(u32::from_be_bytes(length)).expect("a small batch");
    }
    let range = match place {
        Where::Body => at + HEADER_BYTES + 100..at + HEADER_BYTES + 120,
        Where::Length => at + 8..at + 12,
    };
    for byte in &mut bytes[range] {
        *byte = !*byte;
    }
    fs::write(&path, &bytes).expect("our own file");
    bytes
}

/// Reads every offset of the damaged partition: sound records at their offsets, an error code, or bytes whose CRC tells
/// every client that they are not sound, as Apache Kafka answers. Returns how many could be read.
fn read_damaged(connection: &mut Connection, broken: usize, count: usize) -> usize {
    let mut sound = 0;
    for number in 0..count {
        let offset = i64::try_from(number).expect("a small number");
        let mut request = fetch_request(TOPIC, DAMAGED, offset, 0, 1);
        request.topics[0].partitions[0].partition_max_bytes = 1; // one batch
        let mut answer = connection.call(FETCH_BY_NAME, &request);
        let data = answer.responses.remove(0).partitions.remove(0);
        let bytes = data.records.unwrap_or_default();
        if data.error_code != 0 {
            assert!(
                bytes.is_empty(),
                "offset {offset}: error {} with records",
                data.error_code
            );
            assert_ne!(
                data.error_code, 1,
                "offset {offset}: a client would reset to another one"
            );
            continue;
        }
        assert!(!bytes.is_empty(), "offset {offset}: nothing, and no error");
        if let Ok(records) = parse_all(&bytes) {
            assert_eq!(records.len(), 1, "offset {offset}");
            assert_eq!(records[0].offset, offset);
            assert_eq!(records[0].value, value("d", DAMAGED, number, PADDING).as_bytes());
            assert_ne!(number, broken, "the flipped bytes cannot be sound");
            sound += 1;
        }
    }
    sound
}

fn damage(end: End, broken: usize, place: Where) {
    let Some(mut broker) = own_broker(&[CHECKPOINTS]) else {
        return;
    };
    let mut connection = broker.connect();
    create_topic(&mut connection, TOPIC, PARTITIONS, &[]);
    for partition in 0..PARTITIONS {
        fill(&mut connection, "d", partition, 0, BATCHES, PADDING);
    }
    wait_for_checkpoint(&broker, PARTITIONS, BATCHES);
    let mut count = BATCHES;
    match end {
        End::Stop => assert!(broker.stop().success()),
        End::Kill => {
            for partition in 0..PARTITIONS {
                fill(&mut connection, "d", partition, count, 3, PADDING);
            }
            count += 3;
            broker.kill();
        }
    }
    let bytes = flip(&broker, broken, place);
    for round in 0..3 {
        broker.restart();
        let mut connection = broker.connect();
        for partition in (0..PARTITIONS).filter(|&partition| partition != DAMAGED) {
            holds(&mut connection, "d", partition, count, PADDING);
        }
        let sound = read_damaged(&mut connection, broken, count);
        if let Where::Body = place {
            assert_eq!(sound, count - 1, "all records but one can be read");
        }
        assert!(broker.stop().success());
        let now = fs::read(damaged_file(&broker)).expect("the log");
        assert_eq!(now.len(), bytes.len(), "round {round}: cut");
        assert!(now == bytes, "round {round}: changed");
    }
    assert!(!broker.output().contains("panicked at"), "{}", broker.output());
}

#[test]
fn flipped_records_after_a_clean_stop() {
    for broken in [MIDDLE, LATE] {
        damage(End::Stop, broken, Where::Body);
    }
}

#[test]
fn a_flipped_length_after_a_clean_stop() {
    for broken in [MIDDLE, LATE] {
        damage(End::Stop, broken, Where::Length);
    }
}

#[test]
fn flipped_records_before_the_recovery_point() {
    for broken in [MIDDLE, LATE] {
        damage(End::Kill, broken, Where::Body);
    }
}

#[test]
fn a_flipped_length_before_the_recovery_point() {
    for broken in [MIDDLE, LATE] {
        damage(End::Kill, broken, Where::Length);
    }
}

/// One batch of two records; returns error code and base offset.
fn send(connection: &mut Connection, acks: i16, (id, epoch): (i64, i16), first: i32) -> (i16, i64) {
    let bytes = Batch::of(&[format!("{first}"), format!("{}", first + 1)])
        .from_producer(id, epoch, first)
        .encode();
    let mut answer = connection.call(PRODUCE_BY_NAME, &produce_request(TOPIC, 0, bytes, acks));
    let partition = answer.responses.remove(0).partition_responses.remove(0);
    (partition.error_code, partition.base_offset)
}

#[test]
fn every_record_is_flushed_before_its_answer() {
    let Some(mut broker) = own_broker(&["log.flush.interval.messages=1"]) else {
        return;
    };
    let mut connection = broker.connect();
    create_topic(&mut connection, TOPIC, 1, &[]);
    let producer = init_producer(&mut connection);
    let mut next = 0;
    for _ in 0..3 {
        let from = next;
        for acks in [1, -1, 1, -1, -1] {
            assert_eq!(send(&mut connection, acks, producer, next), (0, i64::from(next)));
            next += 2;
        }
        for again in [false, true] {
            broker.kill();
            broker.restart();
            connection = broker.connect();
            for first in (from..next).step_by(2) {
                let acks = if again { 1 } else { -1 };
                assert_eq!(
                    send(&mut connection, acks, producer, first),
                    (0, i64::from(first)),
                    "a duplicate keeps its offset"
                );
            }
        }
    }
    assert_eq!(read_numbers(&mut connection), (0..next).collect::<Vec<_>>());
}

/// Many connections at once, so that one flush answers several of them; and a fetch sees what is answered.
#[test]
fn producers_share_flushes() {
    let Some(mut broker) = own_broker(&["log.flush.interval.messages=1"]) else {
        return;
    };
    let mut connection = broker.connect();
    create_topic(&mut connection, TOPIC, 1, &[]);
    let mut acknowledged: Vec<(i64, String)> = thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let mut connection = broker.connect();
                scope.spawn(move || {
                    let produce_one = |number| {
                        let value = format!("{writer}/{number}");
                        let bytes = Batch::of(&[&value]).encode();
                        let acks = if number % 2 == 0 { 1 } else { -1 };
                        let answer = connection.call(PRODUCE_BY_NAME, &produce_request(TOPIC, 0, bytes, acks));
                        let partition = &answer.responses[0].partition_responses[0];
                        assert_eq!(partition.error_code, 0);
                        (partition.base_offset, value)
                    };
                    (0..25).map(produce_one).collect::<Vec<_>>()
                })
            })
            .collect();
        let finished = writers.into_iter().map(|writer| writer.join().expect("no panic"));
        finished.flatten().collect()
    });
    broker.kill();
    broker.restart();
    acknowledged.sort();
    let mut found = Vec::new();
    let mut connection = broker.connect();
    let count = i64::try_from(acknowledged.len()).expect("few records");
    let high_watermark = fetch(&mut connection, TOPIC, 0, 0).high_watermark;
    assert_eq!(high_watermark, count, "readable from the first answer on");
    while found.len() < acknowledged.len() {
        let bytes = records_at(&mut connection, i64::try_from(found.len()).expect("few records"));
        let records = parse_all(&bytes).expect("sound batches");
        assert!(!records.is_empty(), "{} of {}", found.len(), acknowledged.len());
        found.extend(
            records
                .iter()
                .map(|record| (record.offset, String::from_utf8_lossy(&record.value).into_owned())),
        );
    }
    assert_eq!(found, acknowledged);
}

#[test]
fn producers_that_do_not_write_are_forgotten() {
    let Some(broker) = own_broker(&["producer.id.expiration.ms=500", CHECKPOINTS]) else {
        return;
    };
    let mut connection = broker.connect();
    create_topic(&mut connection, TOPIC, 1, &[]);
    let (id, epoch) = init_producer(&mut connection);
    let mut send = |first| {
        let bytes = Batch::of(&["value"]).from_producer(id, epoch, first).encode();
        produce(&mut connection, TOPIC, 0, bytes).error_code
    };
    assert_eq!(send(0), 0);
    // a gap is refused as long as the partition knows the producer
    until("the producer is forgotten", || (send(7) == 0).then_some(()));
}

fn records_at(connection: &mut Connection, offset: i64) -> Bytes {
    let data = fetch(connection, TOPIC, 0, offset);
    assert_eq!(data.error_code, 0);
    data.records.expect("never null")
}

/// The values of partition 0, all of which are numbers.
fn read_numbers(connection: &mut Connection) -> Vec<i32> {
    let records = parse_all(&records_at(connection, 0)).expect("sound batches");
    let number = |value: &Bytes| String::from_utf8_lossy(value).parse().expect("a number");
    records.iter().map(|record| number(&record.value)).collect()
}

/// What a kill between the deletion of a topic and the next checkpoint leaves: entries of a topic that is gone.
#[test]
fn checkpoints_of_a_deleted_topic_are_not_believed_of_one_with_its_name() {
    let Some(mut broker) = own_broker(&[]) else { return };
    broker.stop();
    for name in ["log-start-offset-checkpoint", "recovery-point-offset-checkpoint"] {
        fs::write(broker.data_dir().join(name), format!("0\n1\n{TOPIC} 0 1000\n")).expect("written");
    }
    broker.restart();
    let mut connection = broker.connect();
    create_topic(&mut connection, TOPIC, 1, &[]);
    fill(&mut connection, "new", 0, 0, 3, 10);
    for _ in 0..2 {
        broker.kill();
        broker.restart();
        holds(&mut broker.connect(), "new", 0, 3, 10);
    }
}
