//! OffsetDelete (47), version 0.
//!
//! What does not exist gets UNKNOWN_TOPIC_OR_PARTITION (3), topics that members of the group read
//! GROUP_SUBSCRIBED_TO_TOPIC (86); the others lose their offsets, also when they had none. An error of the whole request
//! (GROUP_ID_NOT_FOUND (69), NON_EMPTY_GROUP (68) for a group that is not of consumers, INVALID_GROUP_ID (24), the
//! coordinator's) stands alone. KIP-496.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, TopicName};
use protocol::error_code::ErrorCode;

use crate::coordinator::group::api::{DeleteOffsetsReply, DeleteOffsetsRequest};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;
use crate::metadata::image::MetadataImage;

/// Hands what exists to the group's shard, also when that is nothing: the group must exist in any case.
pub fn handle(cx: &Arc<RequestContext>, request: OffsetDeleteRequest) -> Reply {
    let split = Split::new(&cx.services.publisher.current(), request.topics);
    let topics = split.known.iter().map(|(name, partitions)| {
        let partitions = partitions.clone();
        (Arc::from(name.as_str()), partitions)
    });
    let answer = cx.services.groups.delete_offsets(DeleteOffsetsRequest {
        group_id: Arc::from(request.group_id.as_str()),
        topics: topics.collect(),
    });
    cx.later(async move { split.response(&answer.await) })
}

/// A request by what exists of it.
#[derive(Debug, Default)]
struct Split {
    /// Topics and their partitions that are there.
    known: Vec<(TopicName, Vec<i32>)>,
    /// The answer so far.
    answer: Answer,
}

/// An answer that names each topic once.
#[derive(Debug, Default)]
struct Answer {
    topics: Vec<OffsetDeleteResponseTopic>,
    index: HashMap<TopicName, usize>,
}

impl Split {
    fn new(image: &MetadataImage, topics: Vec<OffsetDeleteRequestTopic>) -> Self {
        let mut split = Self::default();
        for wanted in topics {
            let topic = image.topic(&wanted.name);
            let indexes = wanted.partitions.iter().map(|partition| partition.partition_index);
            let (known, unknown): (Vec<i32>, Vec<i32>) =
                indexes.partition(|index| topic.is_some_and(|topic| topic.partition(*index).is_some()));
            if topic.is_none() || !unknown.is_empty() {
                split
                    .answer
                    .add(&wanted.name, &unknown, ErrorCode::UnknownTopicOrPartition);
            }
            if !known.is_empty() {
                split.known.push((wanted.name, known));
            }
        }
        split
    }

    /// The answer: what was refused here and what the coordinator says of the rest, or its error alone.
    fn response(mut self, reply: &DeleteOffsetsReply) -> OffsetDeleteResponse {
        if reply.error != ErrorCode::None {
            return OffsetDeleteResponse::default().with_error_code(reply.error.code());
        }
        for ((name, partitions), error) in self.known.iter().zip(&reply.topics) {
            self.answer.add(name, partitions, *error);
        }
        OffsetDeleteResponse::default().with_topics(self.answer.topics)
    }
}

impl Answer {
    fn add(&mut self, name: &TopicName, partitions: &[i32], error: ErrorCode) {
        let index = *self.index.entry(name.clone()).or_insert_with(|| {
            let topic = OffsetDeleteResponseTopic::default().with_name(name.clone());
            self.topics.push(topic);
            self.topics.len() - 1
        });
        self.topics[index].partitions.extend(partitions.iter().map(|partition| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(*partition)
                .with_error_code(error.code())
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::apply::tests::{creation_of, image_of, start_of};
    use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestPartition;
    use kafka_protocol::protocol::StrBytes;
    use protocol::encode::encode_response;

    fn wanted(name: &'static str, indexes: &[i32]) -> OffsetDeleteRequestTopic {
        let partitions = indexes
            .iter()
            .map(|index| OffsetDeleteRequestPartition::default().with_partition_index(*index));
        OffsetDeleteRequestTopic::default()
            .with_name(TopicName(StrBytes::from_static_str(name)))
            .with_partitions(partitions.collect())
    }

    /// Topic, partition and error code of all answers.
    fn told(response: &OffsetDeleteResponse) -> Vec<(&str, i32, i16)> {
        let topics = response.topics.iter();
        let answers = topics.flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|answer| (topic.name.as_str(), answer.partition_index, answer.error_code))
        });
        answers.collect()
    }

    /// Splits for an image with topic "t" of two partitions.
    fn split(topics: Vec<OffsetDeleteRequestTopic>) -> Split {
        Split::new(&image_of(&[start_of(1, 1, true), creation_of("t", 20, 2)]), topics)
    }

    #[test]
    fn each_topic_is_named_once_with_all_its_answers() {
        let split = split(vec![
            wanted("t", &[0, 5, 1]),
            wanted("strange", &[0, 0]),
            wanted("t", &[1]),
            wanted("empty", &[]),
        ]);
        let known: Vec<_> = split
            .known
            .iter()
            .map(|(name, indexes)| (name.as_str(), indexes.as_slice()))
            .collect();
        assert_eq!(known, [("t", [0, 1].as_slice()), ("t", &[1])]);
        let reply = DeleteOffsetsReply {
            error: ErrorCode::None,
            topics: vec![ErrorCode::None, ErrorCode::GroupSubscribedToTopic],
        };
        let response = split.response(&reply);
        assert_eq!(
            told(&response),
            [
                ("t", 5, 3),
                ("t", 0, 0),
                ("t", 1, 0),
                ("t", 1, 86),
                ("strange", 0, 3),
                ("strange", 0, 3)
            ]
        );
        assert_eq!(
            response.topics.len(),
            3,
            "an unknown topic is named also without partitions"
        );
        encode_response(47, 0, 1, &response).expect("all fields exist in the version");
    }

    #[test]
    fn an_error_of_the_group_stands_alone() {
        let split = split(vec![wanted("t", &[0, 5])]);
        let reply = DeleteOffsetsReply {
            error: ErrorCode::GroupIdNotFound,
            topics: Vec::new(),
        };
        let response = split.response(&reply);
        assert_eq!((response.error_code, response.topics.len()), (69, 0));
        encode_response(47, 0, 1, &response).expect("all fields exist in the version");
    }
}
