//! DescribeTopicPartitions (75), version 0: topics page by page.
//!
//! Topics come sorted by name, all of them or those that are named, from the cursor on; a page holds as many partitions
//! as the client wants, `max.request.partition.size.limit` at most and 1 at least, and says where the next one begins.
//! Named topics that do not exist take no place. A cursor outside the named topics, or at a negative partition, is
//! INVALID_REQUEST (42) for each named topic. Nothing is known of eligible leader replicas: their lists are empty. Without
//! an authorizer every operation is allowed. Source: `DescribeTopicPartitionsRequestHandler`, `KRaftMetadataCache`.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::handlers::context::RequestContext;
use crate::handlers::metadata::{TOPIC_OPERATIONS, Viewpoint};
use crate::handlers::reply::Reply;
use crate::metadata::image::MetadataImage;
use crate::metadata::image::topics::{PartitionImage, TopicImage};
use crate::metadata::topic_name;

/// Answers from the image.
pub(super) fn handle(cx: &Arc<RequestContext>, request: DescribeTopicPartitionsRequest) -> Reply {
    let limit = cx.services.config.load().max_request_partition_size_limit;
    cx.reply(&answer(
        &Viewpoint::of(cx),
        &cx.services.publisher.current(),
        &request,
        limit,
    ))
}

fn answer(
    view: &Viewpoint<'_>,
    image: &MetadataImage,
    request: &DescribeTopicPartitionsRequest,
    limit: i32,
) -> DescribeTopicPartitionsResponse {
    let cursor = request.cursor.as_ref();
    let cursor_topic = cursor.map_or("", |cursor| &cursor.topic_name);
    let first_partition = cursor.map_or(0, |cursor| cursor.partition_index);
    let names: BTreeSet<&str> = request
        .topics
        .iter()
        .map(|topic| &*topic.name.0)
        .filter(|name| *name >= cursor_topic)
        .collect();
    let is_outside = cursor.is_some() && !request.topics.is_empty() && !names.contains(cursor_topic);
    if is_outside || first_partition < 0 {
        return refusal(request);
    }
    let mut page = Page {
        view,
        image,
        left: usize::try_from(request.response_partition_limit.min(limit)).map_or(1, |limit| limit.max(1)),
        response: DescribeTopicPartitionsResponse::default(),
    };
    let start_of = |name: &str| {
        let first = if name == cursor_topic { first_partition } else { 0 };
        usize::try_from(first).expect("checked to be positive")
    };
    if request.topics.is_empty() {
        for topic in image.topics_from(cursor_topic) {
            if !page.add(&topic.name, Some(topic), start_of(&topic.name)) {
                break;
            }
        }
    } else {
        for name in names {
            if !page.add(name, image.topic(name).map(|topic| &**topic), start_of(name)) {
                break;
            }
        }
    }
    page.response
}

/// An answer in the making.
struct Page<'a> {
    view: &'a Viewpoint<'a>,
    image: &'a MetadataImage,
    /// Partitions that still fit.
    left: usize,
    response: DescribeTopicPartitionsResponse,
}

impl Page<'_> {
    /// Adds a topic from one of its partitions on; false when the page is full, which the cursor then says.
    fn add(&mut self, name: &str, topic: Option<&TopicImage>, first: usize) -> bool {
        if self.left == 0 {
            self.end_before(name, 0);
            return false;
        }
        let Some(topic) = topic else {
            self.response.topics.push(missing(name));
            return true;
        };
        let partitions = topic.partitions.iter().enumerate().skip(first).take(self.left);
        let partitions: Vec<_> = partitions
            .map(|(index, partition)| self.shown(index, partition))
            .collect();
        let next = first.saturating_add(partitions.len());
        self.left -= partitions.len();
        self.response.topics.push(
            described(name, ErrorCode::None)
                .with_topic_id(topic.id)
                .with_partitions(partitions),
        );
        if next < topic.partitions.len() {
            self.end_before(name, next);
            return false;
        }
        true
    }

    fn shown(&self, index: usize, partition: &PartitionImage) -> DescribeTopicPartitionsResponsePartition {
        let (view, image) = (self.view, self.image);
        let told = |brokers: &[i32]| brokers.iter().copied().map(BrokerId).collect();
        let offline = partition
            .replicas
            .iter()
            .filter(|broker| !view.can_reach(image, **broker));
        let leader = partition.leader;
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(int32(index))
            .with_leader_id(BrokerId(if view.can_reach(image, leader) { leader } else { -1 }))
            .with_leader_epoch(partition.leader_epoch)
            .with_replica_nodes(told(&partition.replicas))
            .with_isr_nodes(told(&partition.isr))
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
            .with_offline_replicas(offline.map(|broker| BrokerId(*broker)).collect())
    }

    fn end_before(&mut self, name: &str, partition: usize) {
        let cursor = Cursor::default()
            .with_topic_name(topic_of(name))
            .with_partition_index(int32(partition));
        self.response.next_cursor = Some(cursor);
    }
}

fn int32(index: usize) -> i32 {
    i32::try_from(index).expect("partition counts are int32 on the wire")
}

fn topic_of(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn described(name: &str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(code.code())
        .with_name(Some(topic_of(name)))
        .with_is_internal(topic_name::is_internal(name))
        .with_topic_authorized_operations(TOPIC_OPERATIONS)
}

fn missing(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let is_legal = topic_name::validate(name).is_ok();
    described(
        name,
        if is_legal {
            ErrorCode::UnknownTopicOrPartition
        } else {
            ErrorCode::InvalidTopicException
        },
    )
}

fn refusal(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let refused = |topic: &kafka_protocol::messages::describe_topic_partitions_request::TopicRequest| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(topic.name.clone()))
            .with_error_code(ErrorCode::InvalidRequest.code())
    };
    DescribeTopicPartitionsResponse::default().with_topics(request.topics.iter().map(refused).collect())
}

#[cfg(test)]
mod tests;
