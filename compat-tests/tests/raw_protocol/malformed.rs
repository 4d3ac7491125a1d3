//! Requests whose header is sound and whose body is not: lengths and counts that promise more than there is, cut bodies,
//! flipped bytes, for every API and version. The broker may answer or close; it may not end, hang others or grow.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::ApiVersionsRequest;

use compat_tests::broker::external_address;
use compat_tests::requests::{find_coordinator, new_topic, unique};
use compat_tests::wire::Connection;

use crate::Bench;
use crate::offsets::topic_id;
use crate::samples::{self, Sample, Subject};

/// More than any of these requests is worth, less than a single believed count would take.
const GROWTH_BYTES: u64 = 128 << 20;

/// These tests are for brokers that were started for them: Apache Kafka 4.3.1 answers nobody any more after
/// `no_count_or_length_is_believed`.
fn own_bench() -> Option<Bench> {
    external_address().is_none().then(Bench::new)
}

fn samples_of(bench: &mut Bench) -> Vec<Sample> {
    let topic = new_topic(bench);
    let group = unique("group");
    find_coordinator(bench, &group);
    let topic_id = topic_id(bench, &topic);
    samples::all(&Subject {
        topic: &topic,
        topic_id,
        group: &group,
    })
}

/// Sends a frame, ends the sending side, and waits a little for the end; what is answered does not matter.
fn provoke(bench: &Bench, frame: &[u8]) {
    use std::io::Write;
    let mut stream = TcpStream::connect(bench.broker.address()).expect("the broker listens");
    stream
        .set_read_timeout(Some(Duration::from_millis(30)))
        .expect("a timeout");
    drop(stream.write_all(frame));
    drop(stream.shutdown(Shutdown::Write));
    let mut sink = [0; 4096];
    while matches!(stream.read(&mut sink), Ok(read) if read > 0) {}
}

fn all_is_well(bench: &mut Bench, before: Option<u64>) {
    let connection: &mut Connection = bench;
    connection.call(0, &ApiVersionsRequest::default());
    assert!(bench.broker.is_alive());
    if let (Some(before), Some(after)) = (before, bench.broker.resident_bytes()) {
        assert!(
            after < before + GROWTH_BYTES,
            "memory grew from {before} to {after} bytes"
        );
    }
}

/// Where the body begins: behind the length, the fixed header and the client id.
fn body_start(frame: &[u8]) -> usize {
    let client_id = i16::from_be_bytes([frame[12], frame[13]]);
    14 + usize::try_from(client_id).unwrap_or(0) // null is -1
}

fn with_length(mut frame: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(frame.len() - 4).expect("a small frame");
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

#[test]
fn a_produce_that_claims_two_thousand_million_topics() {
    let mut bench = Bench::new();
    let before = bench.broker.resident_bytes();
    // Header, null client id; body: null transactional id, acks 1, timeout 0, 2147483647 topics.
    let header = [0, 0, 0, 7, 0, 0, 0, 1, 0xff, 0xff];
    let body = [0xff, 0xff, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff];
    let mut connection = bench.connect();
    connection.send_frame(&[&header[..], &body].concat());
    connection.expect_close("2147483647 topics in 12 bytes");
    all_is_well(&mut bench, before);
}

#[test]
fn no_count_or_length_is_believed() {
    let Some(mut bench) = own_bench() else { return };
    let samples = samples_of(&mut bench);
    let before = bench.broker.resident_bytes();
    for sample in &samples {
        let start = body_start(&sample.frame);
        for at in start..sample.frame.len() {
            // A classic count or length, and a compact one, at every place.
            let patch: &[u8] = if at % 2 == 0 {
                &[0x7f, 0xff, 0xff, 0xff]
            } else {
                &[0xff, 0xff, 0xff, 0xff, 0x07]
            };
            let mut frame = sample.frame[..at].to_vec();
            frame.extend(patch);
            frame.extend(sample.frame.get(at + patch.len()..).unwrap_or_default());
            provoke(&bench, &with_length(frame));
        }
    }
    all_is_well(&mut bench, before);
}

#[test]
fn cut_bodies_close_or_are_answered() {
    let Some(mut bench) = own_bench() else { return };
    let samples = samples_of(&mut bench);
    let before = bench.broker.resident_bytes();
    for sample in newest_and_oldest(&samples) {
        for end in (body_start(&sample.frame)..sample.frame.len()).step_by(3) {
            provoke(&bench, &with_length(sample.frame[..end].to_vec()));
        }
    }
    all_is_well(&mut bench, before);
}

#[test]
fn flipped_bytes_close_or_are_answered() {
    let Some(mut bench) = own_bench() else { return };
    let samples = samples_of(&mut bench);
    let before = bench.broker.resident_bytes();
    for (number, sample) in newest_and_oldest(&samples).enumerate() {
        for at in body_start(&sample.frame)..sample.frame.len() {
            let mut frame = sample.frame.to_vec();
            frame[at] ^= 1 << ((at + number) % 8);
            provoke(&bench, &frame);
        }
    }
    all_is_well(&mut bench, before);
}

/// As Apache Kafka does: librdkafka 2.16 sends three bytes too many when it asks Metadata 13 for all topics.
#[test]
fn bytes_behind_a_request_are_ignored() {
    let mut bench = Bench::new();
    let samples = samples_of(&mut bench);
    let mut faults = Vec::new();
    for sample in &samples {
        let frame = with_length([&sample.frame[..], &[1, 0, 0]].concat());
        let mut connection = bench.connect();
        connection.send_bytes(&frame);
        let answer = connection
            .try_read_frame()
            .ok()
            .flatten()
            .ok_or_else(|| "no answer".to_owned());
        if let Err(why) = answer.and_then(|frame| sample.check(frame)) {
            faults.push(format!("key {} version {}: {why}", sample.key, sample.version));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

fn newest_and_oldest(samples: &[Sample]) -> impl Iterator<Item = &Sample> {
    let at_an_end = |sample: &&Sample| {
        let same = samples
            .iter()
            .filter(|other| other.key == sample.key)
            .map(|other| other.version);
        let (min, max) = same.fold((i16::MAX, i16::MIN), |(min, max), version| {
            (min.min(version), max.max(version))
        });
        sample.version == min || sample.version == max
    };
    samples.iter().filter(at_an_end)
}

/// Fifty connections that each announce a large frame and send nothing of it.
#[test]
fn announced_bytes_take_no_memory() {
    let mut bench = Bench::new();
    let before = bench.broker.resident_bytes();
    let announced = Bytes::from((90_i32 << 20).to_be_bytes().to_vec());
    let mut silent: Vec<_> = (0..50).map(|_| bench.connect()).collect();
    for connection in &mut silent {
        connection.send_bytes(&announced);
    }
    all_is_well(&mut bench, before);
}
