//! AddPartitionsToTxn (24), versions 0-5.
//!
//! Up to version 3 a client names one transaction; from 4 on brokers name many, and may only ask whether the partitions
//! are in them (KIP-890). A transaction gets all of its partitions or none: one that does not exist gets
//! UNKNOWN_TOPIC_OR_PARTITION (3), one of the broker's own topics TOPIC_AUTHORIZATION_FAILED (29) when a client names it,
//! and the others OPERATION_NOT_ATTEMPTED (55). Versions: 2 PRODUCER_FENCED (90), which older clients see as
//! INVALID_PRODUCER_EPOCH (47); 3 flexible; 5 as 4. Source: `KafkaApis.handleAddPartitionsToTxnRequest`.

use std::sync::Arc;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, TransactionalId};
use protocol::error_code::ErrorCode;
use protocol::types::{PartitionIndex, ProducerEpoch, ProducerId};

use crate::coordinator::transaction::api::AddPartitionsRequest;
use crate::handlers::context::RequestContext;
use crate::handlers::end_txn::fenced_for;
use crate::handlers::reply::Reply;
use crate::metadata::image::MetadataImage;
use crate::metadata::topic_name;

/// First version that is made for brokers.
const BROKERS_SINCE: i16 = 4;

/// One transaction of a request, whatever its version.
struct Transaction {
    transactional_id: TransactionalId,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    verify_only: bool,
    topics: Vec<AddPartitionsToTxnTopic>,
}

/// Hands every transaction to its coordinator.
pub(super) fn handle(cx: &Arc<RequestContext>, request: AddPartitionsToTxnRequest) -> Reply {
    let version = cx.api_version;
    let image = cx.services.publisher.current();
    let asked: Vec<_> = transactions(version, request)
        .into_iter()
        .map(|transaction| {
            let answer = ask(cx, &image, &transaction);
            (transaction, answer)
        })
        .collect();
    cx.later(async move {
        let mut results = Vec::with_capacity(asked.len());
        for (transaction, answer) in asked {
            let codes = answer.await;
            results.push((transaction.transactional_id, topic_results(&transaction.topics, &codes)));
        }
        response(version, results)
    })
}

fn transactions(version: i16, request: AddPartitionsToTxnRequest) -> Vec<Transaction> {
    if version < BROKERS_SINCE {
        return vec![Transaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id.0,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        }];
    }
    let transactions = request.transactions.into_iter().map(|transaction| Transaction {
        transactional_id: transaction.transactional_id,
        producer_id: transaction.producer_id.0,
        producer_epoch: transaction.producer_epoch,
        verify_only: transaction.verify_only,
        topics: transaction.topics,
    });
    transactions.collect()
}

/// One code for each partition, in the order of the request. The coordinator has its part when this returns.
fn ask(
    cx: &RequestContext,
    image: &MetadataImage,
    transaction: &Transaction,
) -> impl Future<Output = Vec<ErrorCode>> + Send + use<> {
    let version = cx.api_version;
    let coordinator = &cx.services.transactions;
    let (refused, added, verified) = match existing(version, image, &transaction.topics) {
        Err(codes) => (codes, None, None),
        Ok(partitions) => {
            let count = partitions.len();
            let request = AddPartitionsRequest {
                transactional_id: Arc::from(transaction.transactional_id.as_str()),
                producer_id: transaction.producer_id,
                producer_epoch: transaction.producer_epoch,
                partitions,
                transaction_version: if version < BROKERS_SINCE { 0 } else { 2 },
            };
            if transaction.verify_only {
                (Vec::new(), None, Some(coordinator.verify_partitions(request)))
            } else {
                (Vec::new(), Some((coordinator.add_partitions(request), count)), None)
            }
        }
    };
    async move {
        match (added, verified) {
            (Some((added, count)), _) => vec![fenced_for(version, added.await); count],
            (None, Some(verified)) => verified.await,
            (None, None) => refused,
        }
    }
}

/// The partitions, if all of them can be added; else a code for each.
fn existing(
    version: i16,
    image: &MetadataImage,
    topics: &[AddPartitionsToTxnTopic],
) -> Result<Vec<(Arc<str>, PartitionIndex)>, Vec<ErrorCode>> {
    let mut partitions = Vec::new();
    let mut codes = Vec::new();
    let mut has_bad = false;
    for topic in topics {
        let is_forbidden = version < BROKERS_SINCE && topic_name::is_internal(&topic.name);
        let known = image.topic(&topic.name);
        for index in &topic.partitions {
            let code = match known.filter(|known| known.partition(*index).is_some()) {
                _ if is_forbidden => ErrorCode::TopicAuthorizationFailed,
                None => ErrorCode::UnknownTopicOrPartition,
                Some(known) => {
                    partitions.push((Arc::clone(&known.name), *index));
                    ErrorCode::OperationNotAttempted
                }
            };
            has_bad |= code != ErrorCode::OperationNotAttempted;
            codes.push(code);
        }
    }
    if has_bad { Err(codes) } else { Ok(partitions) }
}

fn topic_results(topics: &[AddPartitionsToTxnTopic], codes: &[ErrorCode]) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut codes = codes.iter();
    let results = topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|index| {
            let code = codes.next().expect("one code per partition");
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code.code())
        });
        AddPartitionsToTxnTopicResult::default()
            .with_results_by_partition(partitions.collect())
            .with_name(topic.name.clone())
    });
    results.collect()
}

fn response(
    version: i16,
    results: Vec<(TransactionalId, Vec<AddPartitionsToTxnTopicResult>)>,
) -> AddPartitionsToTxnResponse {
    let response = AddPartitionsToTxnResponse::default();
    let mut results = results.into_iter();
    if version < BROKERS_SINCE {
        let (_, topics) = results.next().expect("one transaction in these versions");
        return response.with_results_by_topic_v3_and_below(topics);
    }
    let results = results.map(|(transactional_id, topics)| {
        AddPartitionsToTxnResult::default()
            .with_transactional_id(transactional_id)
            .with_topic_results(topics)
    });
    response.with_results_by_transaction(results.collect())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
    use kafka_protocol::protocol::StrBytes;
    use protocol::encode::encode_response;

    use super::*;
    use crate::metadata::apply::tests::{creation_of, image_of, start_of};
    use crate::metadata::topic_name::{CONSUMER_OFFSETS, TRANSACTION_STATE};

    fn topic(name: &'static str, partitions: &[i32]) -> AddPartitionsToTxnTopic {
        AddPartitionsToTxnTopic::default()
            .with_name(StrBytes::from_static_str(name).into())
            .with_partitions(partitions.to_vec())
    }

    fn codes(version: i16, topics: &[AddPartitionsToTxnTopic]) -> Result<usize, Vec<i16>> {
        let image = image_of(&[
            start_of(1, 1, true),
            creation_of("a", 5, 2),
            creation_of(CONSUMER_OFFSETS, 6, 1),
            creation_of(TRANSACTION_STATE, 7, 1),
        ]);
        match existing(version, &image, topics) {
            Ok(partitions) => Ok(partitions.len()),
            Err(codes) => Err(codes.into_iter().map(ErrorCode::code).collect()),
        }
    }

    #[test]
    fn all_partitions_are_added_or_none() {
        for version in 0..=5 {
            assert_eq!(codes(version, &[topic("a", &[0, 1])]), Ok(2));
            assert_eq!(codes(version, &[]), Ok(0));
            let mixed = [topic("a", &[1, 2, -1]), topic("b", &[0]), topic("a", &[0])];
            assert_eq!(codes(version, &mixed), Err(vec![55, 3, 3, 3, 55]));
        }
    }

    #[test]
    fn the_brokers_own_topics_are_for_brokers() {
        let own = [topic(CONSUMER_OFFSETS, &[0, 9]), topic("a", &[0])];
        assert_eq!(codes(3, &own), Err(vec![29, 29, 55]));
        assert_eq!(codes(3, &[topic(TRANSACTION_STATE, &[0])]), Err(vec![29]));
        assert_eq!(codes(4, &own), Err(vec![55, 3, 55]));
        assert_eq!(codes(4, &[topic(CONSUMER_OFFSETS, &[0])]), Ok(1));
    }

    #[test]
    fn every_version_tells_each_partition_of_each_transaction() {
        for version in 0..=5 {
            let id = |id| TransactionalId(StrBytes::from_static_str(id));
            let request = if version < BROKERS_SINCE {
                AddPartitionsToTxnRequest::default()
                    .with_v3_and_below_transactional_id(id("t"))
                    .with_v3_and_below_topics(vec![topic("a", &[4, 4]), topic("b", &[])])
            } else {
                let transaction = |name| {
                    AddPartitionsToTxnTransaction::default()
                        .with_transactional_id(id(name))
                        .with_topics(vec![topic("a", &[4, 4]), topic("b", &[])])
                };
                AddPartitionsToTxnRequest::default().with_transactions(vec![transaction("t"), transaction("t")])
            };
            let results = transactions(version, request).into_iter().map(|transaction| {
                let codes = [ErrorCode::None, ErrorCode::InvalidTxnState];
                (transaction.transactional_id, topic_results(&transaction.topics, &codes))
            });
            let response = response(version, results.collect());
            encode_response(24, version, 1, &response).expect("fields of the version");
            let mut told = vec![response.results_by_topic_v3_and_below];
            if version >= BROKERS_SINCE {
                assert_eq!(response.results_by_transaction.len(), 2);
                told = response
                    .results_by_transaction
                    .into_iter()
                    .map(|result| result.topic_results)
                    .collect();
            }
            for topics in told {
                let codes: Vec<_> = topics[0]
                    .results_by_partition
                    .iter()
                    .map(|result| (result.partition_index, result.partition_error_code))
                    .collect();
                assert_eq!(
                    (codes, topics[1].results_by_partition.len()),
                    (vec![(4, 0), (4, 48)], 0)
                );
            }
        }
    }
}
