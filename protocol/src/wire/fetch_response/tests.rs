//! Tests of the Fetch response writer against kafka-protocol, byte by byte.

use bytes::BytesMut;
use kafka_protocol::messages::fetch_response as encoded;
use kafka_protocol::messages::{BrokerId as EncodedBrokerId, ProducerId as EncodedProducerId, TopicName};
use kafka_protocol::protocol::StrBytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::encode::encode_response;

type FetchedWithRecords = (FetchedPartition, Vec<Bytes>);

/// A response as test data: what the writer is told, topic by topic.
#[derive(Clone, Debug)]
struct Response {
    throttle_time_ms: i32,
    error_code: ErrorCode,
    session_id: i32,
    topics: Vec<(String, TopicId, Vec<FetchedWithRecords>)>,
    endpoints: Vec<(i32, String, i32, Option<String>)>,
}

fn error_code() -> impl Strategy<Value = ErrorCode> {
    prop::sample::select(ErrorCode::ALL)
}

fn fetched() -> impl Strategy<Value = FetchedPartition> {
    let aborted = (any::<i64>(), any::<i64>()).prop_map(|(producer_id, first_offset)| AbortedTransaction {
        producer_id,
        first_offset,
    });
    // Not the default of the schema: the other codec leaves that out, as we leave out `None`.
    let diverging = (0..i32::MAX, any::<i64>()).prop_map(|(epoch, end_offset)| EpochEndOffset { epoch, end_offset });
    let leader = (0..i32::MAX, any::<i32>()).prop_map(|(leader_id, leader_epoch)| LeaderIdAndEpoch {
        leader_id,
        leader_epoch,
    });
    (
        any::<[i32; 2]>(),
        any::<[i64; 3]>(),
        error_code(),
        prop::option::of(prop::collection::vec(aborted, 0..3)),
        prop::option::of(diverging),
        prop::option::of(leader),
    )
        .prop_map(
            |(int32s, int64s, error_code, aborted_transactions, diverging_epoch, current_leader)| FetchedPartition {
                partition_index: int32s[0],
                error_code,
                high_watermark: int64s[0],
                last_stable_offset: int64s[1],
                log_start_offset: int64s[2],
                aborted_transactions,
                preferred_read_replica: int32s[1],
                diverging_epoch,
                current_leader,
            },
        )
}

fn chunks() -> impl Strategy<Value = Vec<Bytes>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from), 0..3)
}

fn response() -> impl Strategy<Value = Response> {
    let partitions = prop::collection::vec((fetched(), chunks()), 0..4);
    let topic = ("[a-z]{1,9}", any::<u128>().prop_map(Uuid::from_u128), partitions);
    let endpoint = (
        any::<i32>(),
        "[a-z.]{0,9}",
        any::<i32>(),
        prop::option::of("[a-z]{0,5}"),
    );
    (
        any::<i32>(),
        error_code(),
        any::<i32>(),
        prop::collection::vec(topic, 0..4),
        prop::collection::vec(endpoint, 0..3),
    )
        .prop_map(
            |(throttle_time_ms, error_code, session_id, topics, endpoints)| Response {
                throttle_time_ms,
                error_code,
                session_id,
                topics,
                endpoints,
            },
        )
}

fn write(version: i16, response: &Response) -> FetchResponseFrame<Bytes> {
    let head = FetchResponseHead {
        throttle_time_ms: response.throttle_time_ms,
        error_code: response.error_code,
        session_id: response.session_id,
        topics: response.topics.len(),
    };
    let mut writer = FetchResponseWriter::new(version, 5, &head).expect("served");
    for (name, topic_id, partitions) in &response.topics {
        writer.topic(name, *topic_id, partitions.len());
        for (partition, records) in partitions {
            writer.partition(partition, records.iter().cloned());
        }
    }
    let endpoints: Vec<_> = response
        .endpoints
        .iter()
        .map(|(node_id, host, port, rack)| NodeEndpoint {
            node_id: *node_id,
            host,
            port: *port,
            rack: rack.as_deref(),
        })
        .collect();
    writer.finish(&endpoints).expect("short")
}

/// The same response through kafka-protocol, with the fields that the version has.
fn encode(version: i16, response: &Response) -> Bytes {
    let mut message = encoded::FetchResponse::default().with_throttle_time_ms(response.throttle_time_ms);
    if version >= 7 {
        message.error_code = response.error_code.code();
        message.session_id = response.session_id;
    }
    for (name, topic_id, partitions) in &response.topics {
        let partitions = partitions
            .iter()
            .map(|(fetched, records)| partition_data(version, fetched, records))
            .collect();
        let topic = encoded::FetchableTopicResponse::default().with_partitions(partitions);
        message.responses.push(if version >= 13 {
            topic.with_topic_id(*topic_id)
        } else {
            topic.with_topic(TopicName(StrBytes::from_string(name.clone())))
        });
    }
    if version >= 16 {
        for (node_id, host, port, rack) in &response.endpoints {
            let endpoint = encoded::NodeEndpoint::default()
                .with_node_id(EncodedBrokerId(*node_id))
                .with_host(StrBytes::from_string(host.clone()))
                .with_port(*port)
                .with_rack(rack.clone().map(StrBytes::from_string));
            message.node_endpoints.push(endpoint);
        }
    }
    encode_response(api::FETCH, version, 5, &message).expect("fields fit the version")
}

fn partition_data(version: i16, fetched: &FetchedPartition, records: &[Bytes]) -> encoded::PartitionData {
    let aborted = fetched.aborted_transactions.as_ref().map(|aborted| {
        let transaction = |aborted: &AbortedTransaction| {
            encoded::AbortedTransaction::default()
                .with_producer_id(EncodedProducerId(aborted.producer_id))
                .with_first_offset(aborted.first_offset)
        };
        aborted.iter().map(transaction).collect()
    });
    let mut data = encoded::PartitionData::default()
        .with_partition_index(fetched.partition_index)
        .with_error_code(fetched.error_code.code())
        .with_high_watermark(fetched.high_watermark)
        .with_last_stable_offset(fetched.last_stable_offset)
        .with_aborted_transactions(aborted)
        .with_records(Some(Bytes::from(records.concat())));
    if version >= 5 {
        data.log_start_offset = fetched.log_start_offset;
    }
    if version >= 11 {
        data.preferred_read_replica = EncodedBrokerId(fetched.preferred_read_replica);
    }
    if version >= 12 {
        if let Some(diverging) = fetched.diverging_epoch {
            data.diverging_epoch = encoded::EpochEndOffset::default()
                .with_epoch(diverging.epoch)
                .with_end_offset(diverging.end_offset);
        }
        if let Some(leader) = fetched.current_leader {
            data.current_leader = encoded::LeaderIdAndEpoch::default()
                .with_leader_id(EncodedBrokerId(leader.leader_id))
                .with_leader_epoch(leader.leader_epoch);
        }
    }
    data
}

fn concat(frame: &FetchResponseFrame<Bytes>) -> Bytes {
    let mut bytes = BytesMut::new();
    for part in &frame.parts {
        match part {
            Part::Bytes(part) | Part::Records(part) => bytes.extend_from_slice(part),
        }
    }
    bytes.freeze()
}

proptest! {
    #[test]
    fn writes_the_same_bytes_as_the_other_codec(version in 4_i16..=18, response in response()) {
        let frame = write(version, &response);
        let bytes = concat(&frame);
        prop_assert_eq!(frame.size_bytes, bytes.len());
        prop_assert_eq!(bytes, encode(version, &response));
        let records = frame.parts.iter().filter(|part| matches!(part, Part::Records(_))).count();
        let chunks = response.topics.iter().flat_map(|topic| &topic.2).flat_map(|partition| &partition.1);
        prop_assert_eq!(records, chunks.filter(|chunk| !chunk.is_empty()).count());
    }
}

#[test]
fn every_version_is_read_back() {
    use kafka_protocol::protocol::Decodable;
    for version in 4..=18 {
        let response = Response {
            throttle_time_ms: 3,
            error_code: ErrorCode::None,
            session_id: 0,
            topics: vec![(
                "t".to_owned(),
                Uuid::from_u128(9),
                vec![
                    (FetchedPartition::error(1, ErrorCode::OffsetOutOfRange), vec![]),
                    (
                        FetchedPartition {
                            high_watermark: 20,
                            ..FetchedPartition::error(2, ErrorCode::None)
                        },
                        vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")],
                    ),
                ],
            )],
            endpoints: vec![],
        };
        let header_bytes = if version >= 12 { 9 } else { 8 };
        let mut body = concat(&write(version, &response)).slice(header_bytes..);
        let read = encoded::FetchResponse::decode(&mut body, version).expect("a good body");
        assert!(body.is_empty());
        let [failed, good] = read.responses[0].partitions.as_slice() else {
            panic!("two partitions")
        };
        assert_eq!((failed.error_code, failed.high_watermark), (1, -1));
        assert_eq!(failed.records, Some(Bytes::new()), "empty, not null");
        assert_eq!(good.records, Some(Bytes::from_static(b"onetwo")));
    }
}

#[test]
#[should_panic(expected = "what was announced was written")]
fn a_missing_partition_is_noticed() {
    let head = FetchResponseHead {
        throttle_time_ms: 0,
        error_code: ErrorCode::None,
        session_id: 0,
        topics: 1,
    };
    let mut writer = FetchResponseWriter::<Bytes>::new(4, 0, &head).expect("served");
    writer.topic("t", Uuid::nil(), 2);
    writer.partition(&FetchedPartition::error(0, ErrorCode::None), []);
    let _ = writer.finish(&[]);
}
