//! OffsetForLeaderEpoch (23), versions 2-4.
//!
//! Tells where a leader epoch ended, so that clients and followers notice a truncated log (KIP-101, KIP-320).
//! Unknown topic or partition: UNKNOWN_TOPIC_OR_PARTITION (3); the client's current epoch is checked ((74), (75)).

use std::sync::Arc;

use kafka_protocol::messages::OffsetForLeaderEpochRequest;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use protocol::error_code::ErrorCode;

use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;
use crate::partition::registry::HostedTopic;

/// Answers for each partition.
pub fn handle(cx: &Arc<RequestContext>, request: OffsetForLeaderEpochRequest) -> Reply {
    let topics = request.topics.into_iter().map(|topic| {
        let hosted = cx.services.partitions.topic(&topic.topic);
        let partitions = topic
            .partitions
            .iter()
            .map(|wanted| end_offset(hosted.as_deref(), wanted))
            .collect();
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic)
            .with_partitions(partitions)
    });
    let response = OffsetForLeaderEpochResponse::default().with_topics(topics.collect());
    cx.reply(&response)
}

fn end_offset(topic: Option<&HostedTopic>, wanted: &OffsetForLeaderPartition) -> EpochEndOffset {
    let answer = EpochEndOffset::default().with_partition(wanted.partition);
    let hosted = topic
        .ok_or(ErrorCode::UnknownTopicOrPartition)
        .and_then(|topic| topic.hosted(wanted.partition));
    let partition = match hosted {
        Ok(partition) => partition,
        Err(code) => return answer.with_error_code(code.code()),
    };
    if let Err(error) = partition.check_leader_epoch(wanted.current_leader_epoch) {
        return answer.with_error_code(error.error_code().code());
    }
    let (leader_epoch, end_offset) = partition.end_offset_for_epoch(wanted.leader_epoch);
    answer.with_leader_epoch(leader_epoch).with_end_offset(end_offset)
}
