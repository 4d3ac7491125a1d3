//! Requests, built once before they are sent a million times.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{CreateTopicsRequest, FetchRequest, ProduceRequest, RequestHeader, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use protocol::record::{BatchBuilder, Compression, TimestampType};

use crate::Failure;

/// Produce version of the generator: topics by name, flexible.
pub(crate) const PRODUCE_VERSION: i16 = 9;
/// Fetch version of the generator: topics by name, flexible.
pub(crate) const FETCH_VERSION: i16 = 12;

fn frame(api_key: i16, api_version: i16, header_version: i16, body: &impl Encodable) -> Result<Bytes, Failure> {
    let header = RequestHeader::default()
        .with_request_api_key(api_key)
        .with_request_api_version(api_version)
        .with_correlation_id(7)
        .with_client_id(Some(StrBytes::from_static_str("bench")));
    let mut bytes = BytesMut::new();
    bytes.put_i32(0);
    header.encode(&mut bytes, header_version)?;
    body.encode(&mut bytes, api_version)?;
    let length = i32::try_from(bytes.len() - 4)?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes.freeze())
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// One batch of `records` records with values of `value_bytes` bytes.
pub(crate) fn batch(records: usize, value_bytes: usize, now_ms: i64) -> Bytes {
    let mut builder = BatchBuilder::new(TimestampType::CreateTime, Compression::None);
    for index in 0..records {
        // not all alike, so that nothing on the way can profit
        let value: Vec<u8> = (0..value_bytes).map(|byte| (byte * 31 + index * 7) as u8).collect();
        builder.append(now_ms, None, Some(&value), &[]);
    }
    let batch = builder.build();
    let mut bytes = BytesMut::from(&batch.encoded_header()[..]);
    bytes.put_slice(batch.body());
    bytes.freeze()
}

/// A Produce request with acks=1 of one batch.
pub(crate) fn produce(topic: &str, partition: i32, batch: Bytes) -> Result<Bytes, Failure> {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(name(topic))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_acks(1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic]);
    frame(0, PRODUCE_VERSION, 2, &request)
}

/// A Fetch request of one partition from `offset` on, at most `max_bytes`, without waiting.
pub(crate) fn fetch(topic: &str, partition: i32, offset: i64, max_bytes: i32) -> Result<Bytes, Failure> {
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(max_bytes);
    let topic = FetchTopic::default()
        .with_topic(name(topic))
        .with_partitions(vec![wanted]);
    let request = FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(max_bytes)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    frame(1, FETCH_VERSION, 2, &request)
}

/// A CreateTopics request.
pub(crate) fn create_topic(topic: &str, partitions: i32) -> Result<Bytes, Failure> {
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    frame(
        19,
        5,
        2,
        &CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(10_000),
    )
}

/// The smallest request that every broker answers.
pub(crate) fn api_versions() -> Result<Bytes, Failure> {
    frame(18, 0, 1, &kafka_protocol::messages::ApiVersionsRequest::default())
}
