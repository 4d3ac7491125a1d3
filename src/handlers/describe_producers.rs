//! DescribeProducers (61), version 0 (KIP-664).
//!
//! The producers that a partition remembers, with their open transactions: `kafka-transactions` finds hanging ones by it.
//! Codes per partition: INVALID_TOPIC_EXCEPTION (17), UNKNOWN_TOPIC_OR_PARTITION (3), NOT_LEADER_OR_FOLLOWER (6),
//! KAFKA_STORAGE_ERROR (56); and INVALID_REQUEST (42) for a partition that is named a second time and for what goes beyond
//! [`MAX_PRODUCERS`], where Kafka answers until its memory ends. Source: `KafkaApis.handleDescribeProducersRequest`.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};
use protocol::error_code::ErrorCode;
use protocol::types::PartitionIndex;
use storage::producer::ProducerEntry;

use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Reply, message};
use crate::metadata::topic_name;
use crate::partition::registry::PartitionRegistry;

/// Producers in one answer. A partition remembers up to 100,000, and a request may name every partition.
const MAX_PRODUCERS: usize = 1_000_000;

/// Answers from the partitions' producer states.
pub(super) fn handle(cx: &Arc<RequestContext>, request: DescribeProducersRequest) -> Reply {
    let mut answering = Answering {
        registry: &cx.services.partitions,
        seen: BTreeSet::new(),
        producers_left: MAX_PRODUCERS,
    };
    let topics = request.topics.iter().map(|topic| answering.topic(topic));
    cx.reply(&DescribeProducersResponse::default().with_topics(topics.collect()))
}

struct Answering<'a> {
    registry: &'a PartitionRegistry,
    seen: BTreeSet<(&'a str, PartitionIndex)>,
    producers_left: usize,
}

/// A code, and a sentence where Kafka's own is not enough.
type Refusal = (ErrorCode, Option<String>);

impl<'a> Answering<'a> {
    fn topic(&mut self, topic: &'a TopicRequest) -> TopicResponse {
        let partitions = topic.partition_indexes.iter().map(|partition| {
            let response = PartitionResponse::default().with_partition_index(*partition);
            match self.partition(&topic.name, *partition) {
                Ok(producers) => response.with_active_producers(producers),
                Err((code, why)) => response
                    .with_error_code(code.code())
                    .with_error_message(Some(message(why.unwrap_or_else(|| code.message().to_owned())))),
            }
        });
        TopicResponse::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name.clone())
    }

    fn partition(&mut self, topic: &'a str, partition: PartitionIndex) -> Result<Vec<ProducerState>, Refusal> {
        topic_name::validate(topic).map_err(|bad| (ErrorCode::InvalidTopicException, Some(bad.to_string())))?;
        let hosted = self
            .registry
            .topic(topic)
            .ok_or((ErrorCode::UnknownTopicOrPartition, None))?;
        let hosted = hosted.hosted(partition).map_err(|code| (code, None))?;
        if !self.seen.insert((topic, partition)) {
            return Err((
                ErrorCode::InvalidRequest,
                Some("the partition is named more than once".to_owned()),
            ));
        }
        let producers = hosted.active_producers().map_err(|error| (error.error_code(), None))?;
        let Some(left) = self.producers_left.checked_sub(producers.len()) else {
            let why = format!("more than {MAX_PRODUCERS} producers: ask for fewer partitions at a time");
            return Err((ErrorCode::InvalidRequest, Some(why)));
        };
        self.producers_left = left;
        Ok(producers.iter().map(state).collect())
    }
}

fn state(entry: &ProducerEntry) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(entry.producer_id))
        .with_producer_epoch(i32::from(entry.producer_epoch))
        .with_last_sequence(entry.last_sequence())
        .with_last_timestamp(entry.last_timestamp_ms)
        .with_coordinator_epoch(entry.coordinator_epoch)
        .with_current_txn_start_offset(entry.current_txn_first_offset.unwrap_or(-1))
}
