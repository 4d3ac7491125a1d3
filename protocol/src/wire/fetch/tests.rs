//! Tests of the Fetch request reader against kafka-protocol.

use bytes::BytesMut;
use kafka_protocol::messages::fetch_request::{
    FetchPartition as EncodedPartition, FetchRequest as Encoded, FetchTopic as EncodedTopic,
    ForgottenTopic as EncodedForgotten, ReplicaState,
};
use kafka_protocol::messages::{BrokerId as EncodedBrokerId, TopicName};
use kafka_protocol::protocol::Encodable;
use proptest::prelude::*;

use super::*;
use crate::guard;

fn text() -> impl Strategy<Value = StrBytes> {
    "[a-zé]{0,8}".prop_map(StrBytes::from_string)
}

fn partition(version: i16) -> impl Strategy<Value = EncodedPartition> {
    (any::<[i32; 4]>(), any::<[i64; 3]>(), any::<u128>()).prop_map(move |(int32s, int64s, id)| {
        let mut partition = EncodedPartition::default()
            .with_partition(int32s[0])
            .with_fetch_offset(int64s[0])
            .with_partition_max_bytes(int32s[1]);
        if version >= 5 {
            partition.log_start_offset = int64s[1];
        }
        if version >= 9 {
            partition.current_leader_epoch = int32s[2];
        }
        if version >= 12 {
            partition.last_fetched_epoch = int32s[3];
            if int32s[3] % 2 == 0 {
                partition.unknown_tagged_fields.insert(9, Bytes::from_static(b"later"));
            }
        }
        if version >= 17 {
            partition.replica_directory_id = Uuid::from_u128(id);
        }
        if version >= 18 {
            partition.high_watermark = int64s[2];
        }
        partition
    })
}

fn topic(version: i16) -> impl Strategy<Value = EncodedTopic> {
    (text(), any::<u128>(), prop::collection::vec(partition(version), 0..4)).prop_map(move |(name, id, partitions)| {
        let topic = EncodedTopic::default().with_partitions(partitions);
        if version >= 13 {
            topic.with_topic_id(Uuid::from_u128(id))
        } else {
            topic.with_topic(TopicName(name))
        }
    })
}

fn forgotten(version: i16) -> impl Strategy<Value = EncodedForgotten> {
    (text(), any::<u128>(), prop::collection::vec(any::<i32>(), 0..4)).prop_map(move |(name, id, partitions)| {
        let topic = EncodedForgotten::default().with_partitions(partitions);
        if version >= 13 {
            topic.with_topic_id(Uuid::from_u128(id))
        } else {
            topic.with_topic(TopicName(name))
        }
    })
}

fn request() -> impl Strategy<Value = (i16, Encoded)> {
    (4_i16..=18).prop_flat_map(|version| {
        let topics = prop::collection::vec(topic(version), 0..4);
        let forgotten = prop::collection::vec(forgotten(version), 0..3);
        let numbers = (any::<[i32; 6]>(), any::<i64>(), any::<i8>());
        (numbers, prop::option::of(text()), text(), topics, forgotten).prop_map(
            move |((int32s, replica_epoch, isolation_level), cluster_id, rack_id, topics, forgotten)| {
                let mut request = Encoded::default()
                    .with_max_wait_ms(int32s[0])
                    .with_min_bytes(int32s[1])
                    .with_max_bytes(int32s[2])
                    .with_isolation_level(isolation_level)
                    .with_topics(topics);
                if version >= 7 {
                    request.session_id = int32s[3];
                    request.session_epoch = int32s[4];
                    request.forgotten_topics_data = forgotten;
                }
                if version >= 11 {
                    request.rack_id = rack_id;
                }
                if version >= 12 {
                    request.cluster_id = cluster_id;
                }
                let replica_id = EncodedBrokerId(int32s[5]);
                if version >= 15 {
                    request.replica_state = ReplicaState::default()
                        .with_replica_id(replica_id)
                        .with_replica_epoch(replica_epoch);
                } else {
                    request.replica_id = replica_id;
                }
                (version, request)
            },
        )
    })
}

fn encode(version: i16, request: &Encoded) -> Bytes {
    let mut buffer = BytesMut::new();
    request.encode(&mut buffer, version).expect("fields fit the version");
    buffer.freeze()
}

fn expected(version: i16, request: &Encoded) -> FetchRequest {
    let by_state = version >= 15;
    FetchRequest {
        cluster_id: request.cluster_id.clone(),
        replica_id: if by_state {
            request.replica_state.replica_id.0
        } else {
            request.replica_id.0
        },
        replica_epoch: request.replica_state.replica_epoch,
        max_wait_ms: request.max_wait_ms,
        min_bytes: request.min_bytes,
        max_bytes: request.max_bytes,
        isolation_level: request.isolation_level,
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        topics: request.topics.iter().map(expected_topic).collect(),
        forgotten_topics: request
            .forgotten_topics_data
            .iter()
            .map(|topic| ForgottenTopic {
                name: topic.topic.0.clone(),
                topic_id: topic.topic_id,
                partitions: topic.partitions.clone(),
            })
            .collect(),
        rack_id: request.rack_id.clone(),
    }
}

fn expected_topic(topic: &EncodedTopic) -> FetchTopic {
    let partitions = topic
        .partitions
        .iter()
        .map(|partition| FetchPartition {
            partition: partition.partition,
            current_leader_epoch: partition.current_leader_epoch,
            fetch_offset: partition.fetch_offset,
            last_fetched_epoch: partition.last_fetched_epoch,
            log_start_offset: partition.log_start_offset,
            partition_max_bytes: partition.partition_max_bytes,
            replica_directory_id: partition.replica_directory_id,
            high_watermark: partition.high_watermark,
        })
        .collect();
    FetchTopic {
        name: topic.topic.0.clone(),
        topic_id: topic.topic_id,
        partitions,
    }
}

proptest! {
    #[test]
    fn reads_what_the_other_codec_writes((version, request) in request()) {
        let read = FetchRequest::read(version, &encode(version, &request)).expect("a good body");
        prop_assert_eq!(read, expected(version, &request));
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
        let verdict = guard::check(api::FETCH, version, &body);
        let read = FetchRequest::read(version, &body);
        prop_assert_eq!(read.is_ok(), verdict.is_ok(), "{:?} {:?}", read, verdict);
    }
}

#[test]
fn a_fetch_without_replica_state_is_a_consumer() {
    for version in 15..=18 {
        let read = FetchRequest::read(version, &encode(version, &Encoded::default())).expect("a good body");
        assert_eq!((read.replica_id, read.replica_epoch), (-1, -1));
    }
}

#[test]
fn the_least_partition_is_as_small_as_the_schema_says() {
    for version in 4..=18 {
        let layout = guard::layout(api::FETCH, version).expect("in the table");
        let arrays: Vec<_> = layout
            .fields
            .iter()
            .filter_map(|shape| match shape {
                guard::Shape::Array { element, .. } => Some(element),
                _ => None,
            })
            .collect();
        let guard::Shape::Struct(topic) = arrays[0].as_ref() else {
            panic!("topics are structs")
        };
        let Some(guard::Shape::Array { element, .. }) = topic.fields.last() else {
            panic!("partitions come last")
        };
        assert_eq!(
            min_partition_bytes(version),
            element.min_bytes(layout.flexible),
            "v{version}"
        );
        assert!(min_topic_bytes(layout.flexible) <= topic.min_bytes);
    }
}

#[test]
fn elements_are_limited_over_the_whole_request() {
    let topic = EncodedTopic::default().with_partitions(vec![EncodedPartition::default(); 9]);
    let request = |topics, forgotten| {
        Encoded::default()
            .with_topics(vec![topic.clone(); topics])
            .with_forgotten_topics_data(vec![EncodedForgotten::default(); forgotten])
    };
    let topics = guard::MAX_ELEMENTS / 10 - 1;
    let left = guard::MAX_ELEMENTS - 10 * topics;
    let read = |forgotten| FetchRequest::read(12, &encode(12, &request(topics, forgotten)));
    assert!(read(left).is_ok());
    assert_eq!(read(left + 1), Err(DecodeError::TooManyElements));
}

#[test]
fn versions_outside_the_table_are_refused() {
    for version in [-1, 3, 19] {
        let unsupported = DecodeError::UnsupportedVersion {
            api_key: 1,
            api_version: version,
        };
        assert_eq!(FetchRequest::read(version, &Bytes::new()), Err(unsupported));
    }
}
