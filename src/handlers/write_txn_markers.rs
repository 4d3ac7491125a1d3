//! WriteTxnMarkers (27), versions 1-2.
//!
//! Writes the ends of transactions into partitions that this broker leads: for the coordinators of other brokers, and for
//! `kafka-transactions abort`, which ends what no coordinator will. Answered when the markers are committed. Markers of
//! one producer are answered together; of a partition that it names twice the last code counts, as in Kafka. A partition
//! that is not here, or whose log is offline, is UNKNOWN_TOPIC_OR_PARTITION (3), for which who writes markers looks for its
//! leader again. Version 2 tells how the transaction was run (KIP-1228). Markers of a negative
//! producer id or version are INVALID_REQUEST (42), of a negative epoch INVALID_PRODUCER_EPOCH (47). Source: `KafkaApis.handleWriteTxnMarkersRequest`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::WriteTxnMarkersResponse;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::types::{PartitionIndex, ProducerId};
use protocol::wire::write_txn_markers::{TxnMarker, WriteTxnMarkersRequest};

use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;
use crate::partition::marker::Marker;

/// Markers under way at a time: each takes many times its four bytes on the wire.
const AT_ONCE: usize = 1_000;

/// Codes by producer, topic and partition.
type Results = BTreeMap<ProducerId, BTreeMap<Arc<str>, BTreeMap<PartitionIndex, ErrorCode>>>;

/// Writes the markers in the order of the request.
pub(super) fn handle(cx: &Arc<RequestContext>, request: WriteTxnMarkersRequest) -> Reply {
    let context = Arc::clone(cx);
    cx.later(async move {
        let mut results = Results::new();
        let mut under_way = Vec::new();
        for place in places(&request) {
            let (marker, topic, partition) = place;
            let written = match refuse(&context, &marker, &topic, partition) {
                Some(code) => Err(code),
                None => Ok(context.services.markers.write(marker, &topic, partition)),
            };
            under_way.push((marker.producer_id, topic, partition, written));
            if under_way.len() == AT_ONCE {
                settle(&mut results, &mut under_way).await;
            }
        }
        settle(&mut results, &mut under_way).await;
        response(results)
    })
}

/// A marker on its way, or why it is not.
type UnderWay<F> = (ProducerId, Arc<str>, PartitionIndex, Result<F, ErrorCode>);

/// Notes the codes of what is under way, and of what was refused.
async fn settle<F: Future<Output = ErrorCode>>(results: &mut Results, under_way: &mut Vec<UnderWay<F>>) {
    for (producer_id, topic, partition, written) in under_way.drain(..) {
        let code = match written {
            Ok(written) => written.await,
            Err(code) => code,
        };
        let topics = results.entry(producer_id).or_default();
        topics.entry(topic).or_default().insert(partition, code);
    }
}

/// Why a marker cannot be written there. One of nobody would end nothing and stay in the log.
fn refuse(cx: &RequestContext, marker: &Marker, topic: &str, partition: PartitionIndex) -> Option<ErrorCode> {
    let hosted = cx.services.partitions.partition(topic, partition);
    if !hosted.is_some_and(|hosted| hosted.is_online()) {
        return Some(ErrorCode::UnknownTopicOrPartition);
    }
    if marker.producer_id < 0 || marker.transaction_version < 0 {
        return Some(ErrorCode::InvalidRequest);
    }
    (marker.producer_epoch < 0).then_some(ErrorCode::InvalidProducerEpoch)
}

/// Every marker with every partition that it goes to, in order.
fn places(request: &WriteTxnMarkersRequest) -> impl Iterator<Item = (Marker, Arc<str>, PartitionIndex)> + '_ {
    request.markers.iter().flat_map(|marker| {
        marker.topics.iter().flat_map(move |topic| {
            let name: Arc<str> = Arc::from(topic.name.as_str());
            let indexes = topic.partition_indexes.iter();
            indexes.map(move |index| (marker_of(marker), Arc::clone(&name), *index))
        })
    })
}

fn marker_of(marker: &TxnMarker) -> Marker {
    Marker {
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        coordinator_epoch: marker.coordinator_epoch,
        committed: marker.transaction_result,
        transaction_version: i16::from(marker.transaction_version),
    }
}

fn response(results: Results) -> WriteTxnMarkersResponse {
    let partition = |(index, code): (PartitionIndex, ErrorCode)| {
        WritableTxnMarkerPartitionResult::default()
            .with_partition_index(index)
            .with_error_code(code.code())
    };
    let topic = |(name, partitions): (Arc<str>, BTreeMap<_, _>)| {
        WritableTxnMarkerTopicResult::default()
            .with_name(StrBytes::from_string(name.to_string()).into())
            .with_partitions(partitions.into_iter().map(partition).collect())
    };
    let marker = |(producer_id, topics): (ProducerId, BTreeMap<_, _>)| {
        WritableTxnMarkerResult::default()
            .with_producer_id(producer_id.into())
            .with_topics(topics.into_iter().map(topic).collect())
    };
    WriteTxnMarkersResponse::default().with_markers(results.into_iter().map(marker).collect())
}

#[cfg(test)]
mod tests {
    use protocol::encode::encode_response;
    use protocol::wire::write_txn_markers::TxnMarkerTopic;

    use super::*;

    fn request() -> WriteTxnMarkersRequest {
        let topic = |name, partitions: &[i32]| TxnMarkerTopic {
            name: StrBytes::from_static_str(name),
            partition_indexes: partitions.to_vec(),
        };
        let marker = |producer_id, transaction_result, topics| TxnMarker {
            producer_id,
            producer_epoch: 3,
            transaction_result,
            topics,
            coordinator_epoch: 9,
            transaction_version: 2,
        };
        WriteTxnMarkersRequest {
            markers: vec![
                marker(7, true, vec![topic("a", &[1, 0]), topic("b", &[5])]),
                marker(4, false, vec![topic("a", &[1])]),
                marker(7, false, vec![topic("a", &[0]), topic("c", &[])]),
            ],
        }
    }

    #[test]
    fn markers_are_written_in_the_order_of_the_request() {
        let request = request();
        let written: Vec<_> = places(&request)
            .map(|(marker, topic, partition)| (marker.producer_id, marker.committed, topic.to_string(), partition))
            .collect();
        let place =
            |producer_id, committed, topic: &str, partition| (producer_id, committed, topic.to_owned(), partition);
        assert_eq!(
            written,
            [
                place(7, true, "a", 1),
                place(7, true, "a", 0),
                place(7, true, "b", 5),
                place(4, false, "a", 1),
                place(7, false, "a", 0),
            ]
        );
        let expected = Marker {
            producer_id: 7,
            producer_epoch: 3,
            coordinator_epoch: 9,
            committed: true,
            transaction_version: 2,
        };
        assert_eq!(marker_of(&request.markers[0]), expected);
    }

    #[tokio::test]
    async fn each_producer_is_answered_once() {
        let request = request();
        let mut results = Results::new();
        let mut under_way: Vec<_> = places(&request)
            .zip([Some(0), Some(6), None, Some(47), Some(52)])
            .map(|((marker, topic, partition), code)| {
                let written = code
                    .map(|code| std::future::ready(ErrorCode::from_code(code).expect("a code")))
                    .ok_or(ErrorCode::UnknownTopicOrPartition);
                (marker.producer_id, topic, partition, written)
            })
            .collect();
        settle(&mut results, &mut under_way).await;
        let response = response(results);
        for version in 1..=2 {
            encode_response(27, version, 1, &response).expect("fields of the version");
        }
        let told: Vec<_> = response
            .markers
            .iter()
            .flat_map(|marker| marker.topics.iter().map(move |topic| (marker.producer_id.0, topic)))
            .flat_map(|(producer_id, topic)| topic.partitions.iter().map(move |result| (producer_id, topic, result)))
            .map(|(producer_id, topic, result)| {
                (
                    producer_id,
                    topic.name.to_string(),
                    result.partition_index,
                    result.error_code,
                )
            })
            .collect();
        let code = |producer_id, topic: &str, partition, code| (producer_id, topic.to_owned(), partition, code);
        assert_eq!(
            told,
            [
                code(4, "a", 1, 47),
                code(7, "a", 0, 52),
                code(7, "a", 1, 0),
                code(7, "b", 5, 3)
            ]
        );
    }
}
