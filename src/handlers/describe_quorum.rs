//! DescribeQuorum (55), versions 0-2.
//!
//! Versions: 1 when each replica last fetched and was caught up, 2 directory ids, listeners and messages. Tells of our
//! own metadata log as Kafka tells of its own: replicas are named by broker id, offsets are indexes of log entries, and
//! the listeners are the broker's, since there are none for controllers alone. The one voter is this node, which leads
//! and is caught up now. A request for anything but partition 0 of `__cluster_metadata`, once, is
//! UNKNOWN_TOPIC_OR_PARTITION (3) for each partition that it names. Source: `KafkaRaftClient`, `RaftUtil`.

use std::sync::Arc;

use kafka_protocol::messages::describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData};
use kafka_protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::controller::log::QuorumState;
use crate::handlers::context::RequestContext;
use crate::handlers::metadata::Viewpoint;
use crate::handlers::reply::{Messages, Reply};
use crate::metadata::image::MetadataImage;
use crate::metadata::topic_name::CLUSTER_METADATA;

/// Answers from the metadata log.
pub(super) fn handle(cx: &Arc<RequestContext>, request: DescribeQuorumRequest) -> Reply {
    if !is_about_metadata(&request) {
        return cx.reply(&unknown(&request, cx.api_version));
    }
    let quorum = cx.services.controller.quorum();
    let image = cx.services.publisher.current();
    cx.reply(&answer(&Viewpoint::of(cx), &image, &quorum, cx.now().wall_ms))
}

fn is_about_metadata(request: &DescribeQuorumRequest) -> bool {
    match request.topics.as_slice() {
        [topic] if &*topic.topic_name.0 == CLUSTER_METADATA => {
            matches!(topic.partitions.as_slice(), [partition] if partition.partition_index == 0)
        }
        _ => false,
    }
}

fn answer(view: &Viewpoint<'_>, image: &MetadataImage, quorum: &QuorumState, now_ms: i64) -> DescribeQuorumResponse {
    let offset = |index| i64::try_from(index).expect("a log has less than 2^63 entries");
    let node_id = BrokerId(view.node_id);
    let mut voter = ReplicaState::default()
        .with_replica_id(node_id)
        .with_log_end_offset(offset(quorum.log_end_offset));
    if view.version >= 1 {
        voter.last_fetch_timestamp = now_ms;
        voter.last_caught_up_timestamp = now_ms;
    }
    if view.version >= 2 {
        voter.replica_directory_id = quorum.directory_id;
    }
    let partition = PartitionData::default()
        .with_error_message(None)
        .with_leader_id(node_id)
        .with_leader_epoch(i32::try_from(quorum.leader_epoch).unwrap_or(i32::MAX))
        .with_high_watermark(offset(quorum.high_watermark))
        .with_current_voters(vec![voter]);
    let topic = TopicData::default()
        .with_topic_name(TopicName(StrBytes::from_static_str(CLUSTER_METADATA)))
        .with_partitions(vec![partition]);
    let mut response = DescribeQuorumResponse::default()
        .with_error_message(None)
        .with_topics(vec![topic]);
    if view.version >= 2 {
        let node = Node::default()
            .with_node_id(node_id)
            .with_listeners(listeners(view, image));
        response.nodes = vec![node];
    }
    response
}

/// Where this broker can be reached; a listener that advertises nothing, at the host that this client knows.
fn listeners(view: &Viewpoint<'_>, image: &MetadataImage) -> Vec<Listener> {
    let endpoints = image
        .brokers
        .get(view.node_id)
        .into_iter()
        .flat_map(|broker| &broker.endpoints);
    let listener = |endpoint: &crate::metadata::command::Endpoint| {
        let host = if endpoint.host.is_empty() {
            view.endpoint.0.clone()
        } else {
            StrBytes::from_string(endpoint.host.clone())
        };
        Listener::default()
            .with_name(StrBytes::from_string(endpoint.listener.clone()))
            .with_host(host)
            .with_port(endpoint.port)
    };
    endpoints.map(listener).collect()
}

fn unknown(request: &DescribeQuorumRequest, version: i16) -> DescribeQuorumResponse {
    let code = ErrorCode::UnknownTopicOrPartition;
    let mut messages = Messages::for_one_answer();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let answer = PartitionData::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code.code());
            if version >= 2 {
                answer.with_error_message(messages.next(|| code.message()))
            } else {
                answer
            }
        });
        TopicData::default()
            .with_topic_name(topic.topic_name.clone())
            .with_partitions(partitions.collect())
    });
    DescribeQuorumResponse::default()
        .with_error_message(None)
        .with_topics(topics.collect())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::describe_quorum_request;
    use protocol::encode::encode_response;
    use uuid::Uuid;

    use super::*;
    use crate::metadata::apply::tests::image_of;
    use crate::metadata::command::{Command, Endpoint, RegisterBroker};

    fn image() -> MetadataImage {
        let endpoint = |listener: &str, host: &str, port| Endpoint {
            listener: listener.to_owned(),
            host: host.to_owned(),
            port,
        };
        image_of(&[Command::RegisterBroker(RegisterBroker {
            broker_id: 7,
            incarnation: Uuid::from_u128(1),
            endpoints: vec![endpoint("INSIDE", "", 9092), endpoint("OUTSIDE", "far.away", 9093)],
            rack: None,
            clean_shutdown: true,
        })])
    }

    fn ask(topics: &[(&'static str, &[i32])]) -> DescribeQuorumRequest {
        let partition = |index: &i32| describe_quorum_request::PartitionData::default().with_partition_index(*index);
        let topic = |(name, partitions): &(&'static str, &[i32])| {
            describe_quorum_request::TopicData::default()
                .with_topic_name(TopicName(StrBytes::from_static_str(name)))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        DescribeQuorumRequest::default().with_topics(topics.iter().map(topic).collect())
    }

    #[test]
    fn the_log_is_described_in_every_version() {
        let quorum = QuorumState {
            leader_epoch: 3,
            high_watermark: 11,
            log_end_offset: 12,
            directory_id: Uuid::from_u128(5),
        };
        for version in 0..=2 {
            let view = Viewpoint {
                version,
                node_id: 7,
                listener: "INSIDE",
                endpoint: (StrBytes::from_static_str("near"), 9092),
            };
            let response = answer(&view, &image(), &quorum, 99);
            let partition = &response.topics[0].partitions[0];
            let told = (partition.leader_id.0, partition.leader_epoch, partition.high_watermark);
            assert_eq!(told, (7, 3, 11));
            let [voter] = partition.current_voters.as_slice() else {
                panic!("one voter")
            };
            assert_eq!((voter.replica_id.0, voter.log_end_offset), (7, 12));
            assert_eq!(voter.last_caught_up_timestamp, if version >= 1 { 99 } else { -1 });
            let hosts: Vec<_> = response
                .nodes
                .iter()
                .flat_map(|node| &node.listeners)
                .map(|listener| (&*listener.host, listener.port))
                .collect();
            let expected: &[_] = if version >= 2 {
                &[("near", 9092), ("far.away", 9093)]
            } else {
                &[]
            };
            assert_eq!(hosts, expected);
            encode_response(55, version, 1, &response).expect("fields of the version");
        }
    }

    #[test]
    fn anything_else_is_unknown() {
        assert!(is_about_metadata(&ask(&[(CLUSTER_METADATA, &[0])])));
        let others: [&[(&'static str, &[i32])]; 6] = [
            &[],
            &[("t", &[0])],
            &[(CLUSTER_METADATA, &[])],
            &[(CLUSTER_METADATA, &[1])],
            &[(CLUSTER_METADATA, &[0, 0])],
            &[(CLUSTER_METADATA, &[0]), (CLUSTER_METADATA, &[0])],
        ];
        for other in others {
            let request = ask(other);
            assert!(!is_about_metadata(&request), "{other:?}");
            for version in 0..=2 {
                let response = unknown(&request, version);
                assert_eq!((response.error_code, response.topics.len()), (0, other.len()));
                for (topic, (_, partitions)) in response.topics.iter().zip(other) {
                    assert_eq!(topic.partitions.len(), partitions.len());
                    assert!(topic.partitions.iter().all(|partition| partition.error_code == 3));
                }
                encode_response(55, version, 1, &response).expect("fields of the version");
            }
        }
    }
}
