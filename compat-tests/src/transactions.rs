//! What tests of transactions ask: the requests of a transactional producer one by one, with every field at hand, and how a
//! consumer reads what came of them.
//!
//! **Invariants:** nothing here judges an answer except where a test could not go on without it. [`settled`] waits for the
//! coordinator by asking it, never by the clock.
//! Sources: KIP-98, KIP-360, KIP-447, KIP-890, KIP-664; Kafka's `TransactionManager` and `FetchCollector` for the two sides.

use std::collections::BTreeSet;

use kafka_protocol::messages::add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction};
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::PartitionResponse;
use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    EndTxnRequest, EndTxnResponse, FetchRequest, FindCoordinatorRequest, InitProducerIdRequest, InitProducerIdResponse,
    ListOffsetsRequest, ProduceRequest, TransactionalId, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
};

use crate::batch::{Batch, Content, Seen, batches};
use crate::requests::{
    FETCH_BY_NAME, fetch_request, group_id, list_offsets_request, produce_request, topic_name, unique, until,
};
use crate::wire::{Connection, text};

/// The version of InitProducerId that most tests ask.
pub const INIT: i16 = 5;
/// The last version of AddPartitionsToTxn that clients send.
pub const ADD_PARTITIONS: i16 = 3;
/// The last version of AddOffsetsToTxn.
pub const ADD_OFFSETS: i16 = 4;
/// The last version of EndTxn that keeps the producer's epoch.
pub const END_KEEPING: i16 = 4;
/// The version of EndTxn that raises the producer's epoch.
pub const END_RAISING: i16 = 5;
/// The last version of Produce whose partitions must have been added, with the error code that new clients know.
pub const PRODUCE_ADDED: i16 = 11;
/// The version of Produce that adds its partitions by itself, by name.
pub const PRODUCE_ADDING: i16 = 12;
/// Likewise for TxnOffsetCommit.
pub const COMMIT_ADDED: i16 = 4;
/// Likewise for TxnOffsetCommit.
pub const COMMIT_ADDING: i16 = 5;
/// What a coordinator answers as long as it does not know its transactions.
const NOT_READY: [i16; 3] = [14, 15, 16];
/// What it answers while an earlier transaction still ends.
pub const CONCURRENT_TRANSACTIONS: i16 = 51;

/// A producer: who it says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    pub transactional_id: String,
    pub id: i64,
    pub epoch: i16,
}

impl Producer {
    /// The same producer with another id.
    pub fn with_id(&self, id: i64) -> Self {
        Self { id, ..self.clone() }
    }

    /// The same producer with an epoch that lies `by` higher.
    pub fn moved(&self, by: i16) -> Self {
        Self {
            epoch: self.epoch + by,
            ..self.clone()
        }
    }

    /// The same producer under another transactional id.
    pub fn named(&self, transactional_id: &str) -> Self {
        Self {
            transactional_id: transactional_id.to_owned(),
            ..self.clone()
        }
    }
}

/// A transactional id as requests carry it.
pub fn transactional_id(id: &str) -> TransactionalId {
    TransactionalId(text(id))
}

/// An InitProducerId request; `expected` is what the producer was before.
pub fn init_request(id: Option<&str>, timeout_ms: i32, expected: (i64, i16)) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(id.map(transactional_id))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(expected.0.into())
        .with_producer_epoch(expected.1)
}

/// Asks for a producer id once, expecting nothing.
pub fn init(connection: &mut Connection, id: &str) -> InitProducerIdResponse {
    connection.call(INIT, &init_request(Some(id), 60_000, (-1, -1)))
}

/// Makes a producer under `id` with a timeout, waiting for the coordinator and for transactions that still end.
pub fn open(connection: &mut Connection, id: &str, timeout_ms: i32) -> Producer {
    let request = init_request(Some(id), timeout_ms, (-1, -1));
    until("a transactional producer", || {
        let answer = connection.call(INIT, &request);
        let wait = NOT_READY.contains(&answer.error_code) || answer.error_code == CONCURRENT_TRANSACTIONS;
        (!wait).then(|| {
            assert_eq!(answer.error_code, 0, "{answer:?}");
            Producer {
                transactional_id: id.to_owned(),
                id: answer.producer_id.0,
                epoch: answer.producer_epoch,
            }
        })
    })
}

/// Waits until the coordinator of `id` is named. Apache Kafka makes its topic only when first asked.
pub fn find_coordinator(connection: &mut Connection, id: &str) {
    let request = FindCoordinatorRequest::default()
        .with_key_type(1)
        .with_coordinator_keys(vec![text(id)]);
    until("the transaction coordinator", || {
        (connection.call(4, &request).coordinators[0].error_code == 0).then_some(())
    });
}

/// A producer under a transactional id of its own.
pub fn new_producer(connection: &mut Connection) -> Producer {
    let id = unique("transactional");
    find_coordinator(connection, &id);
    open(connection, &id, 60_000)
}

fn partitions_by_topic(partitions: &[(&str, i32)]) -> Vec<AddPartitionsToTxnTopic> {
    let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
    for &(topic, partition) in partitions {
        match topics.iter_mut().find(|found| found.name.0.as_str() == topic) {
            Some(found) => found.partitions.push(partition),
            None => topics.push(
                AddPartitionsToTxnTopic::default()
                    .with_name(topic_name(topic))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    topics
}

/// An AddPartitionsToTxn request as clients send it, version 0 to 3.
pub fn add_partitions_request(producer: &Producer, partitions: &[(&str, i32)]) -> AddPartitionsToTxnRequest {
    AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transactional_id(&producer.transactional_id))
        .with_v3_and_below_producer_id(producer.id.into())
        .with_v3_and_below_producer_epoch(producer.epoch)
        .with_v3_and_below_topics(partitions_by_topic(partitions))
}

/// One transaction of an AddPartitionsToTxn request as brokers send it, version 4 and later.
pub fn add_partitions_entry(
    producer: &Producer,
    verify_only: bool,
    partitions: &[(&str, i32)],
) -> AddPartitionsToTxnTransaction {
    AddPartitionsToTxnTransaction::default()
        .with_transactional_id(transactional_id(&producer.transactional_id))
        .with_producer_id(producer.id.into())
        .with_producer_epoch(producer.epoch)
        .with_verify_only(verify_only)
        .with_topics(partitions_by_topic(partitions))
}

/// Adds partitions once, in version 0 to 3; partition and code of each, in order.
pub fn try_add_partitions(
    connection: &mut Connection,
    version: i16,
    producer: &Producer,
    partitions: &[(&str, i32)],
) -> Vec<(i32, i16)> {
    let response = connection.call(version, &add_partitions_request(producer, partitions));
    let results = response
        .results_by_topic_v3_and_below
        .iter()
        .flat_map(|topic| &topic.results_by_partition);
    let mut codes: Vec<_> = results
        .map(|result| (result.partition_index, result.partition_error_code))
        .collect();
    codes.sort_unstable();
    codes
}

/// Adds partitions, which must work once earlier transactions have ended.
pub fn add_partitions(connection: &mut Connection, producer: &Producer, partitions: &[(&str, i32)]) {
    until("partitions are added", || {
        let codes = try_add_partitions(connection, ADD_PARTITIONS, producer, partitions);
        (!codes.iter().any(|&(_, code)| code == CONCURRENT_TRANSACTIONS)).then(|| {
            assert!(codes.iter().all(|&(_, code)| code == 0), "{codes:?}");
        })
    });
}

/// An AddOffsetsToTxn request.
pub fn add_offsets_request(producer: &Producer, group: &str) -> AddOffsetsToTxnRequest {
    AddOffsetsToTxnRequest::default()
        .with_transactional_id(transactional_id(&producer.transactional_id))
        .with_producer_id(producer.id.into())
        .with_producer_epoch(producer.epoch)
        .with_group_id(group_id(group))
}

/// Adds a group's offsets; the answer's code.
pub fn add_offsets(connection: &mut Connection, version: i16, producer: &Producer, group: &str) -> i16 {
    connection
        .call(version, &add_offsets_request(producer, group))
        .error_code
}

/// A TxnOffsetCommit request of one offset, without a member.
pub fn txn_commit_request(producer: &Producer, group: &str, topic: &str, offset: i64) -> TxnOffsetCommitRequest {
    let partition = TxnOffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("")));
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    TxnOffsetCommitRequest::default()
        .with_transactional_id(transactional_id(&producer.transactional_id))
        .with_group_id(group_id(group))
        .with_producer_id(producer.id.into())
        .with_producer_epoch(producer.epoch)
        .with_topics(vec![topic])
}

/// Commits an offset within a transaction; the partition's code.
pub fn txn_commit(
    connection: &mut Connection,
    version: i16,
    producer: &Producer,
    group: &str,
    topic: &str,
    offset: i64,
) -> i16 {
    let response = connection.call(version, &txn_commit_request(producer, group, topic, offset));
    response.topics[0].partitions[0].error_code
}

/// An EndTxn request.
pub fn end_request(producer: &Producer, committed: bool) -> EndTxnRequest {
    EndTxnRequest::default()
        .with_transactional_id(transactional_id(&producer.transactional_id))
        .with_producer_id(producer.id.into())
        .with_producer_epoch(producer.epoch)
        .with_committed(committed)
}

/// Ends a transaction once.
pub fn try_end(connection: &mut Connection, version: i16, producer: &Producer, committed: bool) -> EndTxnResponse {
    connection.call(version, &end_request(producer, committed))
}

/// Ends a transaction, keeping the epoch, and waits until its markers are written.
pub fn end(connection: &mut Connection, producer: &Producer, committed: bool) {
    let answer = try_end(connection, END_KEEPING, producer, committed);
    assert_eq!(answer.error_code, 0, "{answer:?}");
    settled(connection, &producer.transactional_id);
}

/// Ends a transaction, raising the epoch, and waits until its markers are written; the producer from then on.
pub fn end_raising(connection: &mut Connection, producer: &Producer, committed: bool) -> Producer {
    let answer = try_end(connection, END_RAISING, producer, committed);
    assert_eq!(answer.error_code, 0, "{answer:?}");
    settled(connection, &producer.transactional_id);
    Producer {
        transactional_id: producer.transactional_id.clone(),
        id: answer.producer_id.0,
        epoch: answer.producer_epoch,
    }
}

/// What the coordinator says of transactional ids, in their order.
pub fn describe(connection: &mut Connection, ids: &[&str]) -> Vec<TransactionState> {
    let ids = ids.iter().map(|id| transactional_id(id)).collect();
    let request = DescribeTransactionsRequest::default().with_transactional_ids(ids);
    connection.call(0, &request).transaction_states
}

/// What the coordinator says of an id once no transaction of it is being ended.
pub fn settled(connection: &mut Connection, id: &str) -> TransactionState {
    until("the transaction has ended", || {
        let state = describe(connection, &[id]).remove(0);
        let wait = NOT_READY.contains(&state.error_code) || state.transaction_state.starts_with("Prepare");
        (!wait).then_some(state)
    })
}

/// What the leader of a partition knows of its producers.
pub fn describe_producers(connection: &mut Connection, topic: &str, partition: i32) -> PartitionResponse {
    let asked = TopicRequest::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![partition]);
    let request = DescribeProducersRequest::default().with_topics(vec![asked]);
    connection.call(0, &request).topics.remove(0).partitions.remove(0)
}

/// A produce request with one batch of a producer's transaction.
pub fn produce_in_request(
    producer: &Producer,
    (topic, partition): (&str, i32),
    sequence: i32,
    values: &[&str],
) -> ProduceRequest {
    let batch = Batch::of(values)
        .from_producer(producer.id, producer.epoch, sequence)
        .in_transaction();
    produce_request(topic, partition, batch.encode(), -1)
        .with_transactional_id(Some(transactional_id(&producer.transactional_id)))
}

/// Produces in a transaction once.
pub fn produce_in(
    connection: &mut Connection,
    version: i16,
    producer: &Producer,
    at: (&str, i32),
    sequence: i32,
    values: &[&str],
) -> PartitionProduceResponse {
    let mut response = connection.call(version, &produce_in_request(producer, at, sequence, values));
    response.responses.remove(0).partition_responses.remove(0)
}

/// Adds a partition and produces one batch to it; the batch's offset.
pub fn begin(connection: &mut Connection, producer: &Producer, at: (&str, i32), sequence: i32, values: &[&str]) -> i64 {
    add_partitions(connection, producer, &[at]);
    let answer = produce_in(connection, PRODUCE_ADDED, producer, at, sequence, values);
    assert_eq!(answer.error_code, 0, "{answer:?}");
    answer.base_offset
}

/// A marker for some partitions of one topic.
pub fn marker(
    producer: (i64, i16),
    coordinator_epoch: i32,
    committed: bool,
    topic: &str,
    partitions: &[i32],
) -> WritableTxnMarker {
    let topic = WritableTxnMarkerTopic::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(partitions.to_vec());
    WritableTxnMarker::default()
        .with_producer_id(producer.0.into())
        .with_producer_epoch(producer.1)
        .with_transaction_result(committed)
        .with_coordinator_epoch(coordinator_epoch)
        .with_topics(vec![topic])
}

/// Writes markers; producer id, topic, partition and code of each answer, sorted.
pub fn write_markers(connection: &mut Connection, markers: Vec<WritableTxnMarker>) -> Vec<(i64, String, i32, i16)> {
    let response = connection.call(1, &WriteTxnMarkersRequest::default().with_markers(markers));
    let mut codes = Vec::new();
    for marker in &response.markers {
        for topic in &marker.topics {
            for partition in &topic.partitions {
                let name = topic.name.0.to_string();
                codes.push((
                    marker.producer_id.0,
                    name,
                    partition.partition_index,
                    partition.error_code,
                ));
            }
        }
    }
    codes.sort_unstable();
    codes
}

/// A fetch request that reads only what is committed.
pub fn committed_fetch_request(topic: &str, offset: i64, max_wait_ms: i32) -> FetchRequest {
    fetch_request(topic, 0, offset, max_wait_ms, 1).with_isolation_level(1)
}

/// Fetches from partition 0 what is committed, without waiting.
pub fn fetch_committed(connection: &mut Connection, topic: &str, offset: i64) -> PartitionData {
    let mut response = connection.call(FETCH_BY_NAME, &committed_fetch_request(topic, offset, 0));
    assert_eq!(response.error_code, 0);
    response.responses.remove(0).partitions.remove(0)
}

/// The aborted transactions that an answer names, as they come: producer ids and first offsets.
pub fn aborted(data: &PartitionData) -> Option<Vec<(i64, i64)>> {
    let named = data.aborted_transactions.as_ref()?;
    Some(named.iter().map(|one| (one.producer_id.0, one.first_offset)).collect())
}

/// The batches of an answer.
pub fn seen(data: &PartitionData) -> Vec<Seen> {
    let bytes = data.records.clone().expect("records are never null");
    batches(&bytes).expect("sound batches")
}

/// The values that an application gets from an answer, as consumers work it out: a transaction is skipped from its first
/// offset on to its abort marker, and batches before the position asked for are cut to it.
pub fn delivered(data: &PartitionData, position: i64) -> Vec<String> {
    let mut waiting: Vec<(i64, i64)> = aborted(data).unwrap_or_default();
    waiting.sort_by_key(|&(_, first_offset)| first_offset);
    let mut skipped = BTreeSet::new();
    let mut delivered = Vec::new();
    for batch in seen(data) {
        while waiting
            .first()
            .is_some_and(|&(_, first_offset)| first_offset <= batch.last_offset)
        {
            skipped.insert(waiting.remove(0).0);
        }
        match batch.content {
            Content::Marker { committed, .. } => {
                if !committed {
                    skipped.remove(&batch.producer.0);
                }
            }
            Content::Values(_) if batch.transactional && skipped.contains(&batch.producer.0) => {}
            Content::Values(values) => {
                let numbered = (batch.base_offset..).zip(values);
                delivered.extend(
                    numbered
                        .filter(|&(offset, _)| offset >= position)
                        .map(|(_, value)| value),
                );
            }
        }
    }
    delivered
}

/// The offset at a special time under an isolation level; `None` when there is an error.
pub fn offset_at(connection: &mut Connection, version: i16, topic: &str, timestamp: i64, isolation: i8) -> Option<i64> {
    let request: ListOffsetsRequest = list_offsets_request(topic, 0, timestamp).with_isolation_level(isolation);
    let answer = connection.call(version, &request).topics.remove(0).partitions.remove(0);
    (answer.error_code == 0).then_some(answer.offset)
}
