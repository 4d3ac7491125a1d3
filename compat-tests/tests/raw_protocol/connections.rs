//! Frames, versions and order on one connection (framing rules of Kafka's `SocketServer` and `RequestContext`).

use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, ProduceRequest};
use kafka_protocol::protocol::{Decodable, StrBytes};

use compat_tests::batch::Batch;
use compat_tests::broker::external_address;
use compat_tests::requests::{
    FETCH_BY_NAME, PRODUCE_BY_NAME, fetch, fetch_request, new_topic, produce_request, produce_values, values,
};

use crate::Bench;

fn header(key: i16, version: i16) -> Vec<u8> {
    let correlation_id = 77_i32.to_be_bytes();
    [
        &key.to_be_bytes()[..],
        &version.to_be_bytes(),
        &correlation_id,
        &[0, 1, b'x'],
    ]
    .concat()
}

#[test]
fn garbage_closes_the_connection() {
    let bench = Bench::new();
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0xff; 64],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let mut connection = bench.connect();
        connection.send_bytes(garbage);
        connection.finish_sending();
        connection.expect_close("garbage");
    }
}

#[test]
fn absurd_lengths_close_the_connection_at_once() {
    let bench = Bench::new();
    for length in [-1, i32::MIN, i32::MAX, (100 << 20) + 1] {
        let mut connection = bench.connect();
        connection.send_bytes(&length.to_be_bytes());
        connection.expect_close(&format!("length {length}"));
    }
}

#[test]
fn frames_too_short_for_a_header_close_the_connection() {
    let bench = Bench::new();
    let whole = header(18, 0);
    for length in 0..8 {
        let mut connection = bench.connect();
        connection.send_frame(&whole[..length]);
        connection.expect_close(&format!("{length} bytes"));
    }
}

#[test]
fn a_frame_that_never_ends_disturbs_nobody() {
    let mut bench = Bench::new();
    let topic = bench.topic.clone();
    let frame = compat_tests::wire::encode_request(1, PRODUCE_BY_NAME, &produce_request(&topic, 0, vec![0; 5000], 1));
    let mut half: Vec<_> = (0..20).map(|_| bench.connect()).collect();
    for (index, connection) in half.iter_mut().enumerate() {
        connection.send_bytes(&frame[..1 + index * 100]);
    }
    bench.call(0, &ApiVersionsRequest::default());
    for connection in &mut half {
        connection.finish_sending();
        connection.expect_close("half a frame");
    }
}

#[test]
fn a_frame_in_single_bytes_is_a_frame() {
    let mut bench = Bench::new();
    let frame = compat_tests::wire::encode_request(1, 0, &ApiVersionsRequest::default());
    for byte in &frame[..] {
        bench.send_bytes(&[*byte]);
    }
    assert_eq!(bench.receive::<ApiVersionsRequest>(0, 1).error_code, 0);
}

#[test]
fn unknown_keys_and_versions_close_without_an_answer() {
    let bench = Bench::new();
    // Produce 0 is listed, so that old librdkafka compresses, but not served.
    for (key, version) in [
        (9999, 0),
        (-1, 0),
        (4, 0),
        (3, 99),
        (3, -1),
        (1, 3),
        (0, 0),
        (0, 2),
        (8, 1),
        (9, 0),
    ] {
        let mut connection = bench.connect();
        connection.send_frame(&[header(key, version), vec![0; 32]].concat());
        connection.expect_close(&format!("key {key} version {version}"));
    }
}

#[test]
fn too_new_api_versions_gets_a_version_0_answer() {
    let mut bench = Bench::new();
    // Whatever follows the header (and its tagged fields) is not looked at.
    bench.send_frame(&[header(18, 120), vec![0], vec![0xff; 9]].concat());
    let mut frame = bench.try_read_frame().expect("an answer").expect("no close");
    assert_eq!(i32::from_be_bytes(frame[..4].try_into().expect("four bytes")), 77);
    let mut body = frame.split_off(4);
    let response = ApiVersionsResponse::decode(&mut body, 0).expect("a version 0 body");
    assert!(body.is_empty());
    assert_eq!(response.error_code, 35);
    let own: Vec<_> = response
        .api_keys
        .iter()
        .map(|api| (api.api_key, api.min_version))
        .collect();
    assert_eq!(own, [(18, 0)]);
    // The connection goes on with a version that the entry allows.
    assert_eq!(
        bench
            .call(response.api_keys[0].max_version.min(3), &named("client", "1.0"))
            .error_code,
        0
    );
}

#[test]
fn api_versions_checks_the_software_name() {
    let mut bench = Bench::new();
    for (name, version, code) in [
        ("client", "1.0", 0),
        ("-bad-", "1.0", 42),
        ("client", "", 42),
        ("a b", "1", 42),
    ] {
        assert_eq!(
            bench.call(3, &named(name, version)).error_code,
            code,
            "{name:?} {version:?}"
        );
    }
}

fn named(name: &'static str, version: &'static str) -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str(name))
        .with_client_software_version(StrBytes::from_static_str(version))
}

#[test]
fn a_thousand_requests_at_once_are_answered_in_order() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let mut sent = Vec::new();
    for number in 0..1000_u32 {
        sent.push(match number % 2 {
            0 => bench.send(1, &MetadataRequest::default().with_topics(Some(Vec::new()))),
            _ => bench.send(
                PRODUCE_BY_NAME,
                &produce_request(&topic, 0, Batch::of(&[number.to_string()]).encode(), 1),
            ),
        });
    }
    for (number, correlation_id) in (0_i64..).zip(sent) {
        if number % 2 == 0 {
            bench.receive::<MetadataRequest>(1, correlation_id);
        } else {
            let answer = bench.receive::<ProduceRequest>(PRODUCE_BY_NAME, correlation_id);
            let partition = &answer.responses[0].partition_responses[0];
            assert_eq!((partition.error_code, partition.base_offset), (0, number / 2));
        }
    }
}

/// Here the broker does better than Apache Kafka, which reads the second request only after the first is answered.
#[test]
fn a_waiting_fetch_does_not_hold_up_the_produce_behind_it() {
    if external_address().is_some() {
        return;
    }
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let fetching = bench.send(FETCH_BY_NAME, &fetch_request(&topic, 0, 0, 20_000, 1));
    let produce = bench.send(
        PRODUCE_BY_NAME,
        &produce_request(&topic, 0, Batch::of(&["wakes"]).encode(), -1),
    );
    let fetched = bench.receive::<kafka_protocol::messages::FetchRequest>(FETCH_BY_NAME, fetching);
    assert_eq!(values(&fetched.responses[0].partitions[0]), ["wakes"]);
    let produced = bench.receive::<ProduceRequest>(PRODUCE_BY_NAME, produce);
    assert_eq!(produced.responses[0].partition_responses[0].error_code, 0);
}

/// Each pair is sent with one write, so that both frames are there when the first is found to be malformed.
#[test]
fn a_frame_behind_a_malformed_one_is_not_handled() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let produce = compat_tests::wire::encode_request(
        1,
        PRODUCE_BY_NAME,
        &produce_request(&topic, 0, Batch::of(&["never"]).encode(), -1),
    );
    let framed = |payload: &[u8]| {
        let length = i32::try_from(payload.len()).expect("a small frame");
        [&length.to_be_bytes()[..], payload].concat()
    };
    // A header without end; an unknown key; Metadata and Produce with more topics than bytes; a negative length; a huge one.
    let absurd_count = [0x7f, 0xff, 0xff, 0xff];
    let malformed = [
        framed(&header(3, 1)[..6]),
        framed(&[header(9999, 0), vec![0; 8]].concat()),
        framed(&[&header(3, 1)[..], &absurd_count].concat()),
        framed(&[&header(0, 7)[..], &[0xff, 0xff, 0, 1, 0, 0, 0, 0], &absurd_count].concat()),
        (-1_i32).to_be_bytes().to_vec(),
        i32::MAX.to_be_bytes().to_vec(),
    ];
    for bytes in malformed {
        let mut connection = bench.connect();
        connection.send_bytes(&[&bytes[..], &produce[..]].concat());
        connection.expect_close(&format!("{} bytes {:?}", bytes.len(), &bytes[..bytes.len().min(8)]));
    }
    assert_eq!(produce_values(&mut bench, &topic, &["first"]), 0);
    assert_eq!(values(&fetch(&mut bench, &topic, 0, 0)), ["first"]);
}

#[test]
fn a_connection_that_closes_while_its_fetch_waits_disturbs_nobody() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    for _ in 0..50 {
        let mut connection = bench.connect();
        connection.send(FETCH_BY_NAME, &fetch_request(&topic, 0, 0, 30_000, 1));
    }
    assert_eq!(produce_values(&mut bench, &topic, &["x"]), 0);
}
