//! The requests around a transaction, and waiting for the coordinator, which a broker makes only when it is asked.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdRequest,
    ListOffsetsRequest, ListOffsetsResponse, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::{Decodable, StrBytes};

use super::{Flow, Identity};
use crate::wire::call;
use crate::{Failure, answers, frames};

/// Pause before something is asked again.
pub(crate) const RETRY: Duration = Duration::from_millis(1);
/// An earlier transaction of the producer is not complete yet.
pub(crate) const CONCURRENT_TRANSACTIONS: i16 = 51;
const WAIT: Duration = Duration::from_secs(60);
const TIMEOUT_MS: i32 = 600_000;
const LIST_OFFSETS_VERSION: i16 = 7;

fn transactional_id(name: &str) -> TransactionalId {
    TransactionalId(StrBytes::from_string(name.to_owned()))
}

/// An AddPartitionsToTxn request of partitions of one topic.
pub(crate) fn add(name: &str, identity: Identity, topic: &str, partitions: &[i32]) -> Result<Bytes, Failure> {
    let topic = AddPartitionsToTxnTopic::default()
        .with_name(frames::name(topic))
        .with_partitions(partitions.to_vec());
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transactional_id(name))
        .with_v3_and_below_producer_id(ProducerId(identity.id))
        .with_v3_and_below_producer_epoch(identity.epoch)
        .with_v3_and_below_topics(vec![topic]);
    frames::frame(24, 3, 2, &request)
}

/// An EndTxn request.
pub(crate) fn end(flow: Flow, name: &str, identity: Identity, committed: bool) -> Result<Bytes, Failure> {
    let request = EndTxnRequest::default()
        .with_transactional_id(transactional_id(name))
        .with_producer_id(ProducerId(identity.id))
        .with_producer_epoch(identity.epoch)
        .with_committed(committed);
    frames::frame(26, flow.end_version(), 2, &request)
}

/// Asks until the code is 0; waits meanwhile for a coordinator that is loading or elected, or for a transaction before.
pub(crate) fn until_done<T>(mut ask: impl FnMut() -> Result<(i16, T), Failure>) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        match ask()? {
            (0, done) => return Ok(done),
            // loading, none yet, another one, unfinished; not led here yet, or unknown still
            (14..=16 | CONCURRENT_TRANSACTIONS | 3 | 6, _) if begun.elapsed() < WAIT => thread::sleep(RETRY),
            (code, _) => return Err(format!("error {code} of the coordinator").into()),
        }
    }
}

/// Waits until the coordinator of a transactional id is known.
pub(crate) fn find_coordinator(stream: &mut TcpStream, name: &str) -> Result<(), Failure> {
    let request = FindCoordinatorRequest::default()
        .with_key_type(1)
        .with_coordinator_keys(vec![StrBytes::from_string(name.to_owned())]);
    let frame = frames::frame(10, 4, 2, &request)?;
    until_done(|| {
        // correlation id and tags stand in front
        let mut body = Bytes::from(call(stream, &frame)?).slice(5..);
        let answer = FindCoordinatorResponse::decode(&mut body, 4)?;
        let coordinator = answer.coordinators.first().ok_or("no coordinator")?;
        Ok((coordinator.error_code, ()))
    })
}

/// A producer id: of a transactional producer, or of an idempotent one.
pub(crate) fn init(stream: &mut TcpStream, name: Option<&str>) -> Result<Identity, Failure> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(name.map(transactional_id))
        .with_transaction_timeout_ms(TIMEOUT_MS)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    let frame = frames::frame(22, 4, 2, &request)?;
    until_done(|| {
        let (code, id, epoch) = answers::initialized(&call(stream, &frame)?)?;
        Ok((code, Identity { id, epoch }))
    })
}

/// Who the producer is after this answer to EndTxn.
pub(crate) fn next_identity(identity: Identity, told: Option<(i64, i16)>) -> Identity {
    told.map_or(identity, |(id, epoch)| Identity { id, epoch })
}

/// The offsets behind the last record of partitions, or behind the last decided one.
pub(crate) fn end_offsets(
    stream: &mut TcpStream,
    topic: &str,
    partitions: &[i32],
    read_committed: bool,
) -> Result<Vec<i64>, Failure> {
    let wanted = partitions.iter().map(|partition| {
        ListOffsetsPartition::default()
            .with_partition_index(*partition)
            .with_timestamp(-1)
    });
    let topic = ListOffsetsTopic::default()
        .with_name(frames::name(topic))
        .with_partitions(wanted.collect());
    let request = ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_isolation_level(i8::from(read_committed))
        .with_topics(vec![topic]);
    let frame = frames::frame(2, LIST_OFFSETS_VERSION, 2, &request)?;
    let mut body = Bytes::from(call(stream, &frame)?).slice(5..);
    let answer = ListOffsetsResponse::decode(&mut body, LIST_OFFSETS_VERSION)?;
    let answered = answer.topics.into_iter().flat_map(|topic| topic.partitions);
    let mut offsets: Vec<(i32, i64)> = answered
        .map(|partition| match partition.error_code {
            0 => Ok((partition.partition_index, partition.offset)),
            code => Err(format!("ListOffsets of partition {}: error {code}", partition.partition_index).into()),
        })
        .collect::<Result<_, Failure>>()?;
    offsets.sort_unstable();
    Ok(offsets.into_iter().map(|(_, offset)| offset).collect())
}
