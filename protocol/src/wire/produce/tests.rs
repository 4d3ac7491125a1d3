//! Tests of the Produce request reader against kafka-protocol.

use bytes::BytesMut;
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest as Encoded, TopicProduceData};
use kafka_protocol::messages::{TopicName, TransactionalId};
use kafka_protocol::protocol::Encodable;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::guard;

fn text() -> impl Strategy<Value = StrBytes> {
    prop_oneof!["[a-zé]{0,8}", Just("x".repeat(200))].prop_map(StrBytes::from_string)
}

fn partition() -> impl Strategy<Value = PartitionProduceData> {
    let records = prop::option::of(prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from));
    (any::<i32>(), records)
        .prop_map(|(index, records)| PartitionProduceData::default().with_index(index).with_records(records))
}

fn topic(version: i16) -> impl Strategy<Value = TopicProduceData> {
    (text(), any::<u128>(), prop::collection::vec(partition(), 0..5)).prop_map(move |(name, id, partitions)| {
        let topic = TopicProduceData::default().with_partition_data(partitions);
        if version >= 13 {
            topic.with_topic_id(Uuid::from_u128(id))
        } else {
            topic.with_name(TopicName(name))
        }
    })
}

fn request() -> impl Strategy<Value = (i16, Encoded)> {
    (3_i16..=13).prop_flat_map(|version| {
        let topics = prop::collection::vec(topic(version), 0..4);
        (
            prop::option::of(text()),
            any::<i16>(),
            any::<i32>(),
            topics,
            any::<bool>(),
        )
            .prop_map(move |(transactional_id, acks, timeout_ms, topics, unknown_tag)| {
                let mut request = Encoded::default()
                    .with_transactional_id(transactional_id.map(TransactionalId))
                    .with_acks(acks)
                    .with_timeout_ms(timeout_ms)
                    .with_topic_data(topics);
                if unknown_tag && version >= 9 {
                    request.unknown_tagged_fields.insert(7, Bytes::from_static(b"later"));
                }
                (version, request)
            })
    })
}

fn encode(version: i16, request: &Encoded) -> Bytes {
    let mut buffer = BytesMut::new();
    request.encode(&mut buffer, version).expect("fields fit the version");
    buffer.freeze()
}

/// What the reader must make of it.
fn expected(request: &Encoded) -> ProduceRequest {
    let mut expected = ProduceRequest {
        transactional_id: request.transactional_id.clone().map(|id| id.0),
        acks: request.acks,
        timeout_ms: request.timeout_ms,
        topics: Vec::new(),
        partitions: Vec::new(),
    };
    for topic in &request.topic_data {
        let start = expected.partitions.len();
        for partition in &topic.partition_data {
            expected.partitions.push(ProducePartition {
                index: partition.index,
                records: partition.records.clone(),
            });
        }
        let partitions = start..expected.partitions.len();
        expected.topics.push(ProduceTopic {
            name: topic.name.0.clone(),
            topic_id: topic.topic_id,
            partitions,
        });
    }
    expected
}

proptest! {
    #[test]
    fn reads_what_the_other_codec_writes((version, request) in request()) {
        let body = encode(version, &request);
        let read = ProduceRequest::read(version, &body).expect("a good body");
        prop_assert_eq!(&read, &expected(&request));
        for (topic, partitions) in read.by_topic() {
            prop_assert_eq!(partitions.len(), topic.partitions.len());
        }
    }

    /// Same verdict as the guard on bodies with any byte changed and any tail cut off.
    #[test]
    fn accepts_exactly_what_the_guard_accepts(
        (version, request) in request(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut body = encode(version, &request).to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        let body = Bytes::from(body);
        let verdict = guard::check(api::PRODUCE, version, &body);
        let read = ProduceRequest::read(version, &body);
        prop_assert_eq!(read.is_ok(), verdict.is_ok(), "{:?} {:?}", read, verdict);
    }
}

#[test]
fn records_are_not_copied() {
    let partition = PartitionProduceData::default().with_records(Some(Bytes::from_static(b"some records")));
    let request =
        Encoded::default().with_topic_data(vec![TopicProduceData::default().with_partition_data(vec![partition])]);
    let body = encode(9, &request);
    let read = ProduceRequest::read(9, &body).expect("a good body");
    let records = read.partitions[0].records.as_ref().expect("not null");
    assert!(body.as_ptr_range().contains(&records.as_ptr()));
}

#[test]
fn counts_beyond_the_body_are_refused() {
    let mut body = vec![0xff, 0xff, 0, 1, 0, 0, 0, 0];
    body.extend([0x7f, 0xff, 0xff, 0xff]);
    let result = ProduceRequest::read(3, &Bytes::from(body));
    assert!(matches!(result, Err(DecodeError::Truncated { .. })), "{result:?}");
    let result = ProduceRequest::read(
        9,
        &Bytes::from_static(&[0, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07]),
    );
    assert!(matches!(result, Err(DecodeError::Truncated { .. })), "{result:?}");
}

#[test]
fn versions_outside_the_table_are_refused() {
    for version in [-1, 0, 2, 14] {
        let unsupported = DecodeError::UnsupportedVersion {
            api_key: 0,
            api_version: version,
        };
        assert_eq!(ProduceRequest::read(version, &Bytes::new()), Err(unsupported));
    }
}
