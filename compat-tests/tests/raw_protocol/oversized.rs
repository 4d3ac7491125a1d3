//! Well-formed requests that carry the longest or the most that fits: what a broker repeats of them in its answer has limits
//! of its own (an int16 measures strings, and one small batch could ask for an error per record).

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopicConfig;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{CreateTopicsRequest, DescribeConfigsRequest, ProduceRequest};

use compat_tests::batch::{ATTRIBUTES_AT, Batch, COUNT_AT, HEADER_BYTES, LAST_OFFSET_DELTA_AT, reseal};
use compat_tests::requests::{PRODUCE_BY_NAME, creatable, new_topic, topic_name, unique};
use compat_tests::wire::text;

use crate::Bench;

/// The longest string of any version.
const LONGEST: usize = i16::MAX as usize;
/// What an error message may take, whatever was sent.
const SHORT: usize = 2_000;

fn put_compact_length(bytes: &mut BytesMut, length: usize) {
    let mut rest = length + 1;
    while rest >= 0x80 {
        bytes.put_u8(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    bytes.put_u8(u8::try_from(rest).expect("seven bits"));
}

/// Header with an empty client id and without tagged fields.
fn flexible_header(key: i16, version: i16) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(77);
    frame.put_i16(0);
    frame.put_u8(0);
    frame
}

/// A Fetch 12 by hand, because no client writes such a name.
fn fetch_with_name(name: &[u8]) -> BytesMut {
    let mut frame = flexible_header(1, 12);
    for field in [-1, 0, 1, 1 << 20] {
        frame.put_i32(field); // replica, wait, least and most bytes
    }
    frame.put_u8(0); // isolation level
    frame.put_i32(0);
    frame.put_i32(-1); // no session
    put_compact_length(&mut frame, 1);
    put_compact_length(&mut frame, name.len());
    frame.put_slice(name);
    put_compact_length(&mut frame, 0); // no partitions
    frame.put_slice(&[0]); // no tagged fields of the topic
    put_compact_length(&mut frame, 0); // nothing forgotten
    put_compact_length(&mut frame, 0); // no rack
    frame.put_u8(0);
    frame
}

/// Asserts that the next frame is an answer to request 77, and that it is not longer than `limit`.
fn expect_answer(bench: &mut Bench, limit: usize) {
    let frame = bench.try_read_frame().expect("an answer").expect("no close");
    assert_eq!(frame[..4], 77_i32.to_be_bytes());
    assert!(frame.len() < limit, "{} bytes", frame.len());
}

#[test]
fn a_compact_string_is_no_longer_than_an_int16_says() {
    let mut bench = Bench::new();
    for length in [LONGEST + 1, 40_000, 1 << 20] {
        let mut connection = bench.connect();
        connection.send_frame(&fetch_with_name(&vec![b'x'; length]));
        connection.expect_close(&format!("a name of {length} bytes"));
    }
    // The same frame with less is taken, so that it was the length that closed.
    bench.send_frame(&fetch_with_name(&vec![b'x'; LONGEST]));
    expect_answer(&mut bench, LONGEST + SHORT);
}

#[test]
fn a_config_value_has_the_same_limit() {
    let mut bench = Bench::new();
    let create = |value: &[u8]| {
        let mut frame = flexible_header(19, 5);
        put_compact_length(&mut frame, 1);
        put_compact_length(&mut frame, 8);
        frame.put_slice(b"oversize");
        frame.put_i32(1);
        frame.put_i16(1);
        put_compact_length(&mut frame, 0); // no assignments
        put_compact_length(&mut frame, 1);
        put_compact_length(&mut frame, 14);
        frame.put_slice(b"cleanup.policy");
        put_compact_length(&mut frame, value.len());
        frame.put_slice(value);
        frame.put_slice(&[0, 0]); // tagged fields of the config and the topic
        frame.put_i32(30_000);
        frame.put_slice(&[0, 0]); // not only validated; tagged fields
        frame
    };
    let mut connection = bench.connect();
    connection.send_frame(&create(&b"delete,".repeat(54_000 / 7)));
    connection.expect_close("a value of 54 KB");
    bench.send_frame(&create(&b"burn,".repeat(LONGEST / 5)));
    expect_answer(&mut bench, SHORT);
}

#[test]
fn messages_do_not_repeat_what_is_long() {
    let mut bench = Bench::new();
    for version in 2..=7 {
        let long = "x".repeat(LONGEST);
        let request = CreateTopicsRequest::default()
            .with_topics(vec![creatable(&long, 1, &[])])
            .with_timeout_ms(30_000);
        let result = bench.call(version, &request).topics.remove(0);
        let message = result.error_message.expect("a message");
        assert_eq!(
            (result.error_code, message.len() < SHORT),
            (17, true),
            "{version}: {} bytes",
            message.len()
        );
        let config = CreatableTopicConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text(&long)));
        let request = CreateTopicsRequest::default()
            .with_topics(vec![creatable(&unique("t"), 1, &[]).with_configs(vec![config])])
            .with_timeout_ms(30_000);
        let result = bench.call(version, &request).topics.remove(0);
        let message = result.error_message.expect("a message");
        assert_eq!(
            (result.error_code, message.len() < SHORT),
            (40, true),
            "{version}: {} bytes",
            message.len()
        );
    }
}

#[test]
fn a_broker_of_32000_letters_is_described() {
    let mut bench = Bench::new();
    // Resource types: broker, topic, one that there is not.
    for (kind, length) in [(4, 32_000), (4, LONGEST), (2, LONGEST), (99, LONGEST)] {
        for version in 1..=4 {
            let name = "z".repeat(length);
            let resource = DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(&name));
            let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
            let result = bench.call(version, &request).results.remove(0);
            assert_ne!(result.error_code, 0, "type {kind} version {version}");
            assert_eq!(result.resource_name, text(&name));
            let message = result.error_message.unwrap_or_default();
            assert!(
                message.len() < SHORT,
                "type {kind} version {version}: {} bytes",
                message.len()
            );
        }
    }
}

/// A header alone that claims 2^31-1 records and the one thing that is wrong with each of them.
fn claims_everything() -> Vec<u8> {
    let mut batch = Batch::of(&["x"]).encode();
    batch.truncate(HEADER_BYTES);
    batch[ATTRIBUTES_AT + 1] = 0x08;
    batch[LAST_OFFSET_DELTA_AT..LAST_OFFSET_DELTA_AT + 4].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    batch[COUNT_AT..COUNT_AT + 4].copy_from_slice(&i32::MAX.to_be_bytes());
    reseal(&mut batch);
    batch
}

#[test]
fn a_small_batch_with_many_claims_gets_a_small_answer() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let data = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(claims_everything().into()));
    let produce = |topics: Vec<TopicProduceData>| {
        ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(30_000)
            .with_topic_data(topics)
    };
    let of_topic = |count: usize| {
        TopicProduceData::default()
            .with_name(topic_name(&topic))
            .with_partition_data(vec![data.clone(); count])
    };
    for topics in [vec![of_topic(3_000)], vec![of_topic(1); 3_000]] {
        let correlation_id = bench.send(PRODUCE_BY_NAME, &produce(topics));
        let frame = bench.try_read_frame().expect("an answer").expect("no close");
        assert_eq!(frame[..4], correlation_id.to_be_bytes());
        assert!(frame.len() < 2_000_000, "{} bytes", frame.len());
    }
    let answer = bench.call(PRODUCE_BY_NAME, &produce(vec![of_topic(1)]));
    let partition = &answer.responses[0].partition_responses[0];
    assert!([32, 87].contains(&partition.error_code), "{}", partition.error_code);
}
