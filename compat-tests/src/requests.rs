//! The requests that most raw tests need, with one partition each and the fields that matter as arguments.
//!
//! **Invariant:** nothing here judges an answer except where a test could not go on without it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponsePartition;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, BrokerId, CreateTopicsRequest, DeleteRecordsRequest, FetchRequest,
    FindCoordinatorRequest, GroupId, InitProducerIdRequest, ListOffsetsRequest, OffsetCommitRequest,
    OffsetFetchRequest, ProduceRequest, TopicName,
};

use crate::batch::Batch;
use crate::wire::{Connection, text};

/// How long a broker may be slow on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The last version that names topics instead of carrying their ids.
pub const PRODUCE_BY_NAME: i16 = 12;
/// Likewise.
pub const FETCH_BY_NAME: i16 = 12;
/// The version of CreateTopics that answers with everything.
pub const CREATE_TOPICS: i16 = 7;
/// What a broker answers as long as it is not ready, or not yet the leader: clients try again.
const NOT_READY: [i16; 5] = [3, 6, 14, 15, 16];

/// A name that no other test uses, also not in another process or an earlier run.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{}-{number}", std::process::id(), since_epoch.subsec_nanos())
}

/// A topic's name as requests carry it.
pub fn topic_name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

/// A group's id as requests carry it.
pub fn group_id(group: &str) -> GroupId {
    GroupId(text(group))
}

/// Calls `attempt` until it answers; for what a broker may be slow with, never for what a test is about.
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < deadline, "did not happen: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A topic to be created.
pub fn creatable(topic: &str, partitions: i32, configs: &[(&str, &str)]) -> CreatableTopic {
    let config = |&(name, value): &(&str, &str)| {
        CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    };
    CreatableTopic::default()
        .with_name(topic_name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.iter().map(config).collect())
}

/// Creates a topic that must not be there yet, and waits until every partition of it answers.
pub fn create_topic(connection: &mut Connection, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
    let request = CreateTopicsRequest::default()
        .with_topics(vec![creatable(topic, partitions, configs)])
        .with_timeout_ms(30_000);
    let response = connection.call(CREATE_TOPICS, &request);
    assert_eq!(response.topics[0].error_code, 0, "{topic}: {:?}", response.topics[0]);
    for partition in 0..partitions {
        // Apache Kafka names a leader some milliseconds before it serves.
        until("the new partition serves", || {
            let answer = list_offsets(connection, topic, partition, -1);
            (!NOT_READY.contains(&answer.error_code)).then_some(())
        });
    }
}

/// A new topic with one partition and nothing else; returns its name.
pub fn new_topic(connection: &mut Connection) -> String {
    let topic = unique("topic");
    create_topic(connection, &topic, 1, &[]);
    topic
}

/// A produce request for one partition.
pub fn produce_request(topic: &str, partition: i32, records: Vec<u8>, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(Bytes::from(records)));
    let topic = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic])
}

/// Produces bytes as they are, with acks=all, and returns the partition's answer.
pub fn produce(connection: &mut Connection, topic: &str, partition: i32, records: Vec<u8>) -> PartitionProduceResponse {
    let request = produce_request(topic, partition, records, -1);
    let mut response = connection.call(PRODUCE_BY_NAME, &request);
    response.responses.remove(0).partition_responses.remove(0)
}

/// Produces values to partition 0 and returns the base offset.
pub fn produce_values<V: AsRef<[u8]>>(connection: &mut Connection, topic: &str, values: &[V]) -> i64 {
    let answer = produce(connection, topic, 0, Batch::of(values).encode());
    assert_eq!(answer.error_code, 0, "{answer:?}");
    answer.base_offset
}

/// A fetch request for one partition, without a session.
pub fn fetch_request(topic: &str, partition: i32, offset: i64, max_wait_ms: i32, min_bytes: i32) -> FetchRequest {
    let asked = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(64 << 20);
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(min_bytes)
        .with_max_bytes(64 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![
            FetchTopic::default()
                .with_topic(topic_name(topic))
                .with_partitions(vec![asked]),
        ])
}

/// Fetches what is there, without waiting.
pub fn fetch(connection: &mut Connection, topic: &str, partition: i32, offset: i64) -> PartitionData {
    let mut response = connection.call(FETCH_BY_NAME, &fetch_request(topic, partition, offset, 0, 1));
    assert_eq!(response.error_code, 0);
    response.responses.remove(0).partitions.remove(0)
}

/// The values of the records that a fetch returned.
pub fn values(data: &PartitionData) -> Vec<String> {
    let bytes = data.records.clone().expect("records are never null");
    let records = crate::batch::parse_all(&bytes).expect("sound batches");
    records
        .iter()
        .map(|record| String::from_utf8_lossy(&record.value).into_owned())
        .collect()
}

/// Asks for the offset at a time, or at one of the special times.
pub fn list_offsets(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    timestamp: i64,
) -> ListOffsetsPartitionResponse {
    let mut response = connection.call(10, &list_offsets_request(topic, partition, timestamp));
    response.topics.remove(0).partitions.remove(0)
}

/// A ListOffsets request for one partition.
pub fn list_offsets_request(topic: &str, partition: i32, timestamp: i64) -> ListOffsetsRequest {
    let asked = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![asked]);
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic])
}

/// A DeleteRecords request for some partitions of one topic: indexes and offsets.
pub fn delete_records_request(topic: &str, partitions: &[(i32, i64)]) -> DeleteRecordsRequest {
    let asked = |(index, offset): &(i32, i64)| {
        DeleteRecordsPartition::default()
            .with_partition_index(*index)
            .with_offset(*offset)
    };
    let topic = DeleteRecordsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(partitions.iter().map(asked).collect());
    DeleteRecordsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000)
}

/// Deletes records of one partition; returns low watermark and error code.
pub fn delete_records(connection: &mut Connection, topic: &str, partition: i32, offset: i64) -> (i64, i16) {
    let response = connection.call(2, &delete_records_request(topic, &[(partition, offset)]));
    let answer = &response.topics[0].partitions[0];
    (answer.low_watermark, answer.error_code)
}

/// A fresh producer id and its epoch.
pub fn init_producer(connection: &mut Connection) -> (i64, i16) {
    until("a producer id", || {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let answer = connection.call(4, &request);
        (!NOT_READY.contains(&answer.error_code)).then(|| {
            assert_eq!(answer.error_code, 0);
            (answer.producer_id.0, answer.producer_epoch)
        })
    })
}

/// Waits until the coordinator of `group` is there. Apache Kafka makes its offsets topic only when first asked.
pub fn find_coordinator(connection: &mut Connection, group: &str) {
    until("the coordinator", || {
        let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
        let found = connection.call(4, &request);
        let code = found.coordinators[0].error_code;
        let probe = OffsetFetchRequest::default()
            .with_group_id(group_id(group))
            .with_topics(Some(Vec::new()));
        let ready = code == 0 && connection.call(5, &probe).error_code == 0;
        ready.then_some(())
    });
}

/// Quotas of one entity to set (`Some`) and to remove.
pub fn alteration(entity: &[(&str, Option<&str>)], values: &[(&str, Option<f64>)]) -> EntryData {
    let part = |&(kind, name): &(&str, Option<&str>)| {
        EntityData::default()
            .with_entity_type(text(kind))
            .with_entity_name(name.map(text))
    };
    let op = |&(key, value): &(&str, Option<f64>)| {
        OpData::default()
            .with_key(text(key))
            .with_value(value.unwrap_or_default())
            .with_remove(value.is_none())
    };
    EntryData::default()
        .with_entity(entity.iter().map(part).collect())
        .with_ops(values.iter().map(op).collect())
}

/// Sets (`Some`) or removes one quota of one entity.
pub fn set_quota(connection: &mut Connection, entity: &[(&str, Option<&str>)], key: &str, value: Option<f64>) {
    let request = AlterClientQuotasRequest::default().with_entries(vec![alteration(entity, &[(key, value)])]);
    let response = connection.call(1, &request);
    assert_eq!(response.entries[0].error_code, 0, "{:?}", response.entries[0]);
}

/// A commit of one offset; without a member: `generation` -1 and an empty `member_id`.
pub fn commit_request(group: &str, member: (&str, i32), topic: &str, offset: i64, note: &str) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(-1)
        .with_committed_metadata(Some(text(note)));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(text(member.0))
        .with_generation_id_or_member_epoch(member.1)
        .with_topics(vec![topic])
}

/// Commits and returns the partition's error code.
pub fn commit(connection: &mut Connection, group: &str, member: (&str, i32), topic: &str, offset: i64) -> i16 {
    connection
        .call(8, &commit_request(group, member, topic, offset, ""))
        .topics[0]
        .partitions[0]
        .error_code
}

/// What a group has committed for partition 0.
pub fn committed(connection: &mut Connection, group: &str, topic: &str) -> OffsetFetchResponsePartition {
    let asked = OffsetFetchRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_topics(Some(vec![asked]));
    until("the coordinator answers", || {
        let mut response = connection.call(5, &request);
        (!NOT_READY.contains(&response.error_code)).then(|| response.topics.remove(0).partitions.remove(0))
    })
}
