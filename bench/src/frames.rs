//! Requests, built once before they are sent a million times.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, FetchRequest, ProduceRequest,
    RequestHeader, TopicName, TransactionalId,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use protocol::record::{BatchBuilder, Compression, TimestampType};

use crate::Failure;

/// Produce version of the generator: topics by name, flexible.
pub(crate) const PRODUCE_VERSION: i16 = 9;
/// Fetch version of the generator: topics by name, flexible.
pub(crate) const FETCH_VERSION: i16 = 12;
/// Every request carries it and every answer has to.
pub(crate) const CORRELATION_ID: i32 = 7;
const CREATE_TOPICS_VERSION: i16 = 5;

/// A request with its length prefix.
pub(crate) fn frame(
    api_key: i16,
    api_version: i16,
    header_version: i16,
    body: &impl Encodable,
) -> Result<Bytes, Failure> {
    let header = RequestHeader::default()
        .with_request_api_key(api_key)
        .with_request_api_version(api_version)
        .with_correlation_id(CORRELATION_ID)
        .with_client_id(Some(StrBytes::from_static_str("bench")));
    let mut bytes = BytesMut::new();
    bytes.put_i32(0);
    header.encode(&mut bytes, header_version)?;
    body.encode(&mut bytes, api_version)?;
    let length = i32::try_from(bytes.len() - 4)?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes.freeze())
}

/// A topic's name as the messages have it.
pub(crate) fn name(topic: &str) -> TopicName {
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

/// A Produce request with acks=all of one batch.
pub(crate) fn produce(topic: &str, partition: i32, batch: Bytes) -> Result<Bytes, Failure> {
    produce_to(topic, &[partition], &batch)
}

/// A Produce request with acks=all of the same batch to several partitions.
pub(crate) fn produce_to(topic: &str, partitions: &[i32], batch: &Bytes) -> Result<Bytes, Failure> {
    produce_as(PRODUCE_VERSION, None, topic, partitions, batch)
}

/// The same in another version, by a transactional producer or another one.
pub(crate) fn produce_as(
    version: i16,
    transactional_id: Option<&str>,
    topic: &str,
    partitions: &[i32],
    batch: &Bytes,
) -> Result<Bytes, Failure> {
    let data = partitions.iter().map(|partition| {
        PartitionProduceData::default()
            .with_index(*partition)
            .with_records(Some(batch.clone()))
    });
    let topic = TopicProduceData::default()
        .with_name(name(topic))
        .with_partition_data(data.collect());
    let transactional_id = transactional_id.map(|id| TransactionalId(StrBytes::from_string(id.to_owned())));
    let request = ProduceRequest::default()
        .with_transactional_id(transactional_id)
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic]);
    frame(0, version, 2, &request)
}

/// A fetch of several partitions of a topic.
#[derive(Debug, Clone)]
pub(crate) struct Fetch<'a> {
    pub(crate) topic: &'a str,
    /// Partitions and the offsets to read them from.
    pub(crate) partitions: Vec<(i32, i64)>,
    pub(crate) max_bytes: i32,
    pub(crate) max_wait_ms: i32,
    pub(crate) session_id: i32,
    /// -1: without a session; 0: begins one.
    pub(crate) session_epoch: i32,
    /// Whether only what is decided is wanted.
    pub(crate) read_committed: bool,
}

impl Fetch<'_> {
    /// The request.
    pub(crate) fn frame(&self) -> Result<Bytes, Failure> {
        let wanted = self.partitions.iter().map(|(partition, offset)| {
            FetchPartition::default()
                .with_partition(*partition)
                .with_fetch_offset(*offset)
                .with_partition_max_bytes(self.max_bytes)
        });
        let wanted: Vec<_> = wanted.collect();
        let topics = if wanted.is_empty() {
            Vec::new()
        } else {
            vec![
                FetchTopic::default()
                    .with_topic(name(self.topic))
                    .with_partitions(wanted),
            ]
        };
        let request = FetchRequest::default()
            .with_max_wait_ms(self.max_wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(self.max_bytes)
            .with_isolation_level(i8::from(self.read_committed))
            .with_session_id(self.session_id)
            .with_session_epoch(self.session_epoch)
            .with_topics(topics);
        frame(1, FETCH_VERSION, 2, &request)
    }
}

/// A Fetch request of one partition from `offset` on, at most `max_bytes`, without waiting.
pub(crate) fn fetch(topic: &str, partition: i32, offset: i64, max_bytes: i32) -> Result<Bytes, Failure> {
    fetch_as(false, topic, partition, offset, max_bytes)
}

/// The same by a reader that wants only what is decided, or by another one.
pub(crate) fn fetch_as(
    read_committed: bool,
    topic: &str,
    partition: i32,
    offset: i64,
    max_bytes: i32,
) -> Result<Bytes, Failure> {
    Fetch {
        topic,
        partitions: vec![(partition, offset)],
        max_bytes,
        max_wait_ms: 0,
        session_id: 0,
        session_epoch: -1,
        read_committed,
    }
    .frame()
}

/// A fetch of one partition that waits for records, to be sent again and again from another offset.
#[derive(Debug, Clone)]
pub(crate) struct FetchTemplate {
    bytes: Vec<u8>,
    offset_at: usize,
}

impl FetchTemplate {
    /// Reads up to 1 MiB and waits up to half a second.
    pub(crate) fn tail(topic: &str, partition: i32, read_committed: bool) -> Result<Self, Failure> {
        let make = |offset| {
            Fetch {
                topic,
                partitions: vec![(partition, offset)],
                max_bytes: 1 << 20,
                max_wait_ms: 500,
                session_id: 0,
                session_epoch: -1,
                read_committed,
            }
            .frame()
        };
        // two requests that differ in the offset alone tell where it stands
        let (low, high) = (make(0)?, make(-1)?);
        let differing = low.iter().zip(&high).position(|(low, high)| low != high);
        Ok(Self {
            offset_at: differing.ok_or("no offset in a fetch")?,
            bytes: low.to_vec(),
        })
    }

    /// The request from this offset on.
    pub(crate) fn at(&mut self, offset: i64) -> Bytes {
        self.bytes[self.offset_at..self.offset_at + 8].copy_from_slice(&offset.to_be_bytes());
        Bytes::copy_from_slice(&self.bytes)
    }
}

/// A CreateTopics request.
pub(crate) fn create_topic(topic: &str, partitions: i32) -> Result<Bytes, Failure> {
    create_topics(&[topic.to_owned()], partitions, &[])
}

/// A CreateTopics request of several topics with the same configs.
pub(crate) fn create_topics(
    topics: &[String],
    partitions: i32,
    configs: &[(&'static str, &'static str)],
) -> Result<Bytes, Failure> {
    let configs: Vec<_> = configs
        .iter()
        .map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_static_str(value)))
        })
        .collect();
    let topics = topics.iter().map(|topic| {
        CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.clone())
    });
    let request = CreateTopicsRequest::default()
        .with_topics(topics.collect())
        .with_timeout_ms(60_000);
    frame(19, CREATE_TOPICS_VERSION, 2, &request)
}

/// Whether all topics of a CreateTopics answer were made.
pub(crate) fn check_created(answer: &[u8]) -> Result<(), Failure> {
    // correlation id and tags stand in front
    let mut body = Bytes::copy_from_slice(answer.get(5..).ok_or("an answer ends too early")?);
    let answer = CreateTopicsResponse::decode(&mut body, CREATE_TOPICS_VERSION)?;
    for topic in answer.topics {
        if topic.error_code != 0 {
            return Err(format!("topic {:?}: error {}", topic.name, topic.error_code).into());
        }
    }
    Ok(())
}

/// A DeleteTopics request.
pub(crate) fn delete_topic(topic: &str) -> Result<Bytes, Failure> {
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![name(topic)])
        .with_timeout_ms(30_000);
    frame(20, 4, 2, &request)
}

/// The smallest request that every broker answers.
pub(crate) fn api_versions() -> Result<Bytes, Failure> {
    frame(18, 0, 1, &ApiVersionsRequest::default())
}
