//! OffsetCommit (8), versions 2-10.
//!
//! Versions: 2-4 the client's own retention time, 6 leader epochs, 7 static members, 8 flexible, 9 GROUP_ID_NOT_FOUND (69)
//! for unknown groups with a generation, 10 topic ids. Topics and partitions that do not exist get
//! UNKNOWN_TOPIC_OR_PARTITION (3) (or UNKNOWN_TOPIC_ID (100)), the others are committed. KIP-211, KIP-320, KIP-345,
//! KIP-848.

use std::sync::Arc;

use kafka_protocol::messages::OffsetCommitRequest;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::coordinator::group::api::{CommitPartition, CommitReply, CommitRequest, CommitTopic};
use crate::handlers::by_topic::add_by_topic;
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;
use crate::metadata::image::MetadataImage;
use crate::metadata::image::topics::TopicImage;

/// First version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 10;

/// Hands what exists to the group's shard; the answer comes when the offsets are committed.
pub fn handle(cx: &Arc<RequestContext>, request: OffsetCommitRequest) -> Reply {
    let version = cx.api_version;
    let split = Split::new(version, &cx.services.publisher.current(), &request);
    if split.topics.is_empty() {
        return cx.reply(&split.response(
            version,
            CommitReply {
                error: ErrorCode::None,
                topics: Vec::new(),
            },
        ));
    }
    let answer = cx
        .services
        .groups
        .commit_offsets(commit_request(version, &request, split.topics.clone()));
    cx.later(async move { split.response(version, answer.await) })
}

fn commit_request(version: i16, request: &OffsetCommitRequest, topics: Vec<CommitTopic>) -> CommitRequest {
    let text = |text: &StrBytes| Arc::from(text.as_str());
    CommitRequest {
        group_id: text(&request.group_id),
        generation_id: request.generation_id_or_member_epoch,
        member_id: text(&request.member_id),
        group_instance_id: request.group_instance_id.as_ref().map(text),
        retention_time_ms: (version <= 4 && request.retention_time_ms != -1).then_some(request.retention_time_ms),
        knows_group_id_not_found: version >= 9,
        topics,
    }
}

/// A request by what exists of it.
#[derive(Debug)]
struct Split {
    /// What can be committed.
    topics: Vec<CommitTopic>,
    /// Answers for what cannot.
    refused: Vec<OffsetCommitResponseTopic>,
}

impl Split {
    fn new(version: i16, image: &MetadataImage, request: &OffsetCommitRequest) -> Self {
        let mut split = Self {
            topics: Vec::new(),
            refused: Vec::new(),
        };
        for wanted in &request.topics {
            let (topic, error) = if version >= TOPIC_IDS_SINCE {
                (image.topic_by_id(&wanted.topic_id), ErrorCode::UnknownTopicId)
            } else {
                (image.topic(&wanted.name), ErrorCode::UnknownTopicOrPartition)
            };
            match topic {
                Some(topic) => split.add(wanted, topic),
                None => split.refuse(wanted, &wanted.partitions, error),
            }
        }
        split
    }

    fn add(&mut self, wanted: &OffsetCommitRequestTopic, topic: &TopicImage) {
        let exists = |partition: &&OffsetCommitRequestPartition| topic.partition(partition.partition_index).is_some();
        let (known, unknown): (Vec<_>, Vec<_>) = wanted.partitions.iter().partition(exists);
        if !unknown.is_empty() {
            self.refuse(wanted, unknown, ErrorCode::UnknownTopicOrPartition);
        }
        if !known.is_empty() {
            let partitions = known.into_iter().map(|partition| CommitPartition {
                partition_index: partition.partition_index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                committed_metadata: partition
                    .committed_metadata
                    .as_ref()
                    .map(|text| Box::from(text.as_str())),
            });
            let (name, topic_id) = (Arc::clone(&topic.name), topic.id);
            self.topics.push(CommitTopic {
                name,
                topic_id,
                partitions: partitions.collect(),
            });
        }
    }

    fn refuse<'a>(
        &mut self,
        wanted: &OffsetCommitRequestTopic,
        partitions: impl IntoIterator<Item = &'a OffsetCommitRequestPartition>,
        error: ErrorCode,
    ) {
        let partitions = partitions
            .into_iter()
            .map(|partition| partition_answer(partition.partition_index, error));
        // Of name and id the one that the version has was filled in by the client.
        let topic = OffsetCommitResponseTopic::default()
            .with_name(wanted.name.clone())
            .with_topic_id(wanted.topic_id);
        self.refused.push(topic.with_partitions(partitions.collect()));
    }

    /// The answer: what was refused here and what the coordinator says of the rest, or its error for all of the rest.
    fn response(self, version: i16, reply: CommitReply) -> OffsetCommitResponse {
        let committed: Vec<_> = if reply.error == ErrorCode::None {
            let answers = reply.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter();
                let partitions = partitions.map(|(index, error)| partition_answer(*index, *error));
                topic_answer(version, &topic.name, topic.topic_id, partitions.collect())
            });
            answers.collect()
        } else {
            let answers = self.topics.iter().map(|topic| {
                let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
                let partitions = indexes.map(|index| partition_answer(index, reply.error));
                topic_answer(version, &topic.name, topic.topic_id, partitions.collect())
            });
            answers.collect()
        };
        let mut topics = self.refused;
        let key = |topic: &OffsetCommitResponseTopic| (topic.name.clone(), topic.topic_id);
        add_by_topic(&mut topics, committed, key, |topic| &mut topic.partitions);
        OffsetCommitResponse::default().with_topics(topics)
    }
}

fn topic_answer(
    version: i16,
    name: &str,
    topic_id: uuid::Uuid,
    partitions: Vec<OffsetCommitResponsePartition>,
) -> OffsetCommitResponseTopic {
    let topic = OffsetCommitResponseTopic::default().with_partitions(partitions);
    if version >= TOPIC_IDS_SINCE {
        topic.with_topic_id(topic_id)
    } else {
        topic.with_name(StrBytes::from_string(name.to_owned()).into())
    }
}

fn partition_answer(index: i32, error: ErrorCode) -> OffsetCommitResponsePartition {
    OffsetCommitResponsePartition::default()
        .with_partition_index(index)
        .with_error_code(error.code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::encode::encode_response;
    use uuid::Uuid;

    fn topic() -> TopicImage {
        let partition = crate::metadata::image::topics::PartitionImage {
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
        };
        let partitions = vec![partition.clone(), partition];
        TopicImage {
            name: Arc::from("t"),
            id: Uuid::from_u128(7),
            internal: false,
            partitions,
        }
    }

    fn wanted(version: i16, indexes: &[i32]) -> OffsetCommitRequestTopic {
        let partitions = indexes
            .iter()
            .map(|index| OffsetCommitRequestPartition::default().with_partition_index(*index));
        let topic = OffsetCommitRequestTopic::default().with_partitions(partitions.collect());
        if version >= TOPIC_IDS_SINCE {
            topic.with_topic_id(Uuid::from_u128(7))
        } else {
            topic.with_name(StrBytes::from_static_str("t").into())
        }
    }

    #[test]
    fn what_does_not_exist_is_refused_and_the_rest_committed() {
        for version in 2..=10 {
            let mut split = Split {
                topics: Vec::new(),
                refused: Vec::new(),
            };
            split.add(&wanted(version, &[0, 1, 2]), &topic());
            let indexes: Vec<i32> = split.topics[0]
                .partitions
                .iter()
                .map(|known| known.partition_index)
                .collect();
            assert_eq!(indexes, [0, 1]);
            let response = split.response(
                version,
                CommitReply {
                    error: ErrorCode::NotCoordinator,
                    topics: Vec::new(),
                },
            );
            assert_eq!(response.topics.len(), 1, "a topic is answered once");
            let codes = response.topics.iter().flat_map(|topic| &topic.partitions);
            let codes: Vec<_> = codes
                .map(|answer| (answer.partition_index, answer.error_code))
                .collect();
            assert_eq!(codes, [(2, 3), (0, 16), (1, 16)]);
            encode_response(8, version, 1, &response).expect("all fields exist in the version");
        }
    }

    #[test]
    fn unknown_topics_are_refused_as_the_version_says() {
        let image = MetadataImage::default();
        for (version, code) in [(9, ErrorCode::UnknownTopicOrPartition), (10, ErrorCode::UnknownTopicId)] {
            let request = OffsetCommitRequest::default().with_topics(vec![wanted(version, &[0])]);
            let split = Split::new(version, &image, &request);
            assert!(split.topics.is_empty());
            assert_eq!(split.refused[0].partitions[0].error_code, code.code());
        }
    }

    #[test]
    fn the_retention_time_counts_in_old_versions_when_it_is_set() {
        let request = OffsetCommitRequest::default().with_retention_time_ms(5_000);
        assert_eq!(commit_request(4, &request, Vec::new()).retention_time_ms, Some(5_000));
        let unset = OffsetCommitRequest::default().with_retention_time_ms(-1);
        assert_eq!(commit_request(4, &unset, Vec::new()).retention_time_ms, None);
    }
}
