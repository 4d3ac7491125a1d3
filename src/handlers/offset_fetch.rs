//! OffsetFetch (9), versions 1-10.
//!
//! Versions: 2 null topics = all, and an error for the whole answer (before, each partition carries it), 5 leader epochs,
//! 6 flexible, 7 require stable, 8 many groups, 9 member id and epoch (they count for consumer groups of the new protocol
//! only), 10 topic ids. A partition that was never committed has offset -1 and no error. Behaviour that differs from Apache
//! Kafka: a partition that is named twice is answered once, a group that is named again gets INVALID_REQUEST (42), since a
//! short request could ask for all offsets of a group very many times. KIP-211, KIP-320, KIP-447, KIP-709, KIP-848.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use uuid::Uuid;

use crate::coordinator::group::api::{FetchReply, FetchRequest, FetchTopic, FetchedPartition, FetchedTopic};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;
use crate::metadata::image::MetadataImage;

/// First version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 10;
/// First version with an error for the whole answer.
const GROUP_ERROR_SINCE: i16 = 2;
/// First version with many groups.
const MANY_GROUPS_SINCE: i16 = 8;

/// Asks the shards of the groups, all at once.
pub fn handle(cx: &Arc<RequestContext>, request: OffsetFetchRequest) -> Reply {
    let (version, image) = (cx.api_version, cx.services.publisher.current());
    let require_stable = request.require_stable;
    let mut pending = Vec::new();
    let (wanted, repeated) = split_repeated(groups_of(version, request));
    for group in wanted {
        let (topics, unknown_topics) = topics_of(version, &image, &group);
        let group_id: Arc<str> = Arc::from(group.group_id.as_str());
        let wanted = FetchRequest {
            group_id,
            topics: topics.clone(),
            require_stable,
        };
        pending.push((
            group.group_id,
            topics,
            unknown_topics,
            cx.services.groups.fetch_offsets(wanted),
        ));
    }
    cx.later(async move {
        let mut groups = Vec::with_capacity(pending.len());
        for (group_id, topics, unknown_topics, answer) in pending {
            groups.push(group_answer(
                version,
                &image,
                group_id,
                topics,
                unknown_topics,
                answer.await,
            ));
        }
        if version >= MANY_GROUPS_SINCE {
            groups.extend(repeated.into_iter().map(repeated_group));
            OffsetFetchResponse::default().with_groups(groups)
        } else {
            single(version, groups)
        }
    })
}

/// The groups in the order of their first mention, and the ids of those that were mentioned before.
fn split_repeated(groups: Vec<OffsetFetchRequestGroup>) -> (Vec<OffsetFetchRequestGroup>, Vec<GroupId>) {
    let mut seen = BTreeSet::new();
    let (mut wanted, mut repeated) = (Vec::new(), Vec::new());
    for group in groups {
        if seen.insert(group.group_id.clone()) {
            wanted.push(group);
        } else {
            repeated.push(group.group_id);
        }
    }
    (wanted, repeated)
}

fn repeated_group(group_id: GroupId) -> OffsetFetchResponseGroup {
    OffsetFetchResponseGroup::default()
        .with_group_id(group_id)
        .with_error_code(ErrorCode::InvalidRequest.code())
}

/// The groups asked for; old versions name one.
fn groups_of(version: i16, request: OffsetFetchRequest) -> Vec<OffsetFetchRequestGroup> {
    if version >= MANY_GROUPS_SINCE {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name)
                .with_partition_indexes(topic.partition_indexes)
        });
        topics.collect()
    });
    vec![
        OffsetFetchRequestGroup::default()
            .with_group_id(request.group_id)
            .with_topics(topics),
    ]
}

/// What to ask the coordinator for, and answers for ids that no topic has.
fn topics_of(
    version: i16,
    image: &MetadataImage,
    group: &OffsetFetchRequestGroup,
) -> (Option<Vec<FetchTopic>>, Vec<OffsetFetchResponseTopics>) {
    let Some(topics) = &group.topics else {
        return (None, Vec::new());
    };
    let mut known = Vec::with_capacity(topics.len());
    let mut unknown = Vec::new();
    for topic in topics {
        let partition_indexes = topic.partition_indexes.clone();
        if version < TOPIC_IDS_SINCE {
            let name = Arc::from(topic.name.as_str());
            known.push(FetchTopic {
                name,
                topic_id: Uuid::nil(),
                partition_indexes,
            });
        } else if let Some(found) = image.topic_by_id(&topic.topic_id) {
            known.push(FetchTopic {
                name: Arc::clone(&found.name),
                topic_id: topic.topic_id,
                partition_indexes,
            });
        } else {
            let partitions = partition_indexes.into_iter();
            let partitions = partitions.map(|index| FetchedPartition::none(index, ErrorCode::UnknownTopicId));
            let answer = OffsetFetchResponseTopics::default().with_topic_id(topic.topic_id);
            unknown.push(answer.with_partitions(partitions.map(partition_answer).collect()));
        }
    }
    (Some(known), unknown)
}

fn group_answer(
    version: i16,
    image: &MetadataImage,
    group_id: GroupId,
    topics: Option<Vec<FetchTopic>>,
    unknown_topics: Vec<OffsetFetchResponseTopics>,
    reply: FetchReply,
) -> OffsetFetchResponseGroup {
    let group = OffsetFetchResponseGroup::default().with_group_id(group_id);
    if reply.error != ErrorCode::None {
        if version >= GROUP_ERROR_SINCE {
            return group.with_error_code(reply.error.code());
        }
        let failed = topics
            .unwrap_or_default()
            .into_iter()
            .map(|topic| failed_topic(&topic, reply.error));
        return group.with_topics(failed.collect());
    }
    let fetched = reply
        .topics
        .into_iter()
        .filter_map(|topic| topic_answer(version, image, topic));
    group.with_topics(fetched.chain(unknown_topics).collect())
}

fn failed_topic(topic: &FetchTopic, error: ErrorCode) -> OffsetFetchResponseTopics {
    let partitions = topic
        .partition_indexes
        .iter()
        .map(|index| FetchedPartition::none(*index, error));
    OffsetFetchResponseTopics::default()
        .with_name(StrBytes::from_string(topic.name.to_string()).into())
        .with_partitions(partitions.map(partition_answer).collect())
}

/// `None` for a topic that the version cannot name: it is gone and has no id any more.
fn topic_answer(version: i16, image: &MetadataImage, topic: FetchedTopic) -> Option<OffsetFetchResponseTopics> {
    let partitions = topic.partitions.into_iter().map(partition_answer).collect();
    let answer = OffsetFetchResponseTopics::default().with_partitions(partitions);
    if version < TOPIC_IDS_SINCE {
        return Some(answer.with_name(StrBytes::from_string(topic.name.to_string()).into()));
    }
    let topic_id = if topic.topic_id.is_nil() {
        image.topic(&topic.name)?.id
    } else {
        topic.topic_id
    };
    Some(answer.with_topic_id(topic_id))
}

fn partition_answer(partition: FetchedPartition) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(partition.partition_index)
        .with_committed_offset(partition.committed_offset)
        .with_committed_leader_epoch(partition.committed_leader_epoch)
        .with_metadata(Some(StrBytes::from_string(partition.metadata.into_string())))
        .with_error_code(partition.error.code())
}

/// The answer of the versions that know one group.
fn single(version: i16, groups: Vec<OffsetFetchResponseGroup>) -> OffsetFetchResponse {
    let group = groups.into_iter().next().unwrap_or_default();
    let topics = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            let answer = OffsetFetchResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_committed_offset(partition.committed_offset)
                .with_metadata(partition.metadata)
                .with_error_code(partition.error_code);
            if version >= 5 {
                answer.with_committed_leader_epoch(partition.committed_leader_epoch)
            } else {
                answer
            }
        });
        OffsetFetchResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions.collect())
    });
    let response = OffsetFetchResponse::default().with_topics(topics.collect());
    if version >= GROUP_ERROR_SINCE {
        response.with_error_code(group.error_code)
    } else {
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::encode::encode_response;

    fn fetched(topic_id: Uuid) -> FetchReply {
        let mut partition = FetchedPartition::none(3, ErrorCode::None);
        (partition.committed_offset, partition.committed_leader_epoch) = (42, 5);
        let topic = FetchedTopic {
            name: Arc::from("t"),
            topic_id,
            partitions: vec![partition],
        };
        FetchReply {
            error: ErrorCode::None,
            topics: vec![topic],
        }
    }

    fn response(version: i16, topics: Option<Vec<FetchTopic>>, reply: FetchReply) -> OffsetFetchResponse {
        let image = MetadataImage::default();
        let group = group_answer(version, &image, GroupId::default(), topics, Vec::new(), reply);
        if version >= MANY_GROUPS_SINCE {
            OffsetFetchResponse::default().with_groups(vec![group])
        } else {
            single(version, vec![group])
        }
    }

    #[test]
    fn all_versions_can_tell_an_offset() {
        for version in 1..=10 {
            let response = response(version, None, fetched(Uuid::from_u128(1)));
            let offset = match response.groups.first() {
                Some(group) => group.topics[0].partitions[0].committed_offset,
                None => response.topics[0].partitions[0].committed_offset,
            };
            assert_eq!(offset, 42);
            encode_response(9, version, 1, &response).expect("all fields exist in the version");
        }
    }

    #[test]
    fn errors_stand_where_the_version_has_them() {
        let topics = || {
            let topic = FetchTopic {
                name: Arc::from("t"),
                topic_id: Uuid::nil(),
                partition_indexes: vec![3],
            };
            Some(vec![topic])
        };
        for version in 1..=10 {
            let reply = FetchReply {
                error: ErrorCode::CoordinatorLoadInProgress,
                topics: Vec::new(),
            };
            let response = response(version, topics(), reply);
            let error = match version {
                1 => response.topics[0].partitions[0].error_code,
                2..=7 => response.error_code,
                _ => response.groups[0].error_code,
            };
            assert_eq!(error, 14, "version {version}");
            encode_response(9, version, 1, &response).expect("all fields exist in the version");
        }
    }

    #[test]
    fn a_group_is_asked_for_once() {
        let group = |name| OffsetFetchRequestGroup::default().with_group_id(GroupId(StrBytes::from_static_str(name)));
        let (wanted, repeated) = split_repeated(vec![group("b"), group("a"), group("b"), group("b")]);
        let wanted: Vec<_> = wanted.iter().map(|group| &**group.group_id).collect();
        assert_eq!(wanted, ["b", "a"]);
        assert_eq!(repeated.len(), 2);
        let groups = repeated.into_iter().map(repeated_group).collect();
        let response = OffsetFetchResponse::default().with_groups(groups);
        assert_eq!(response.groups[1].error_code, 42);
        for version in 8..=10 {
            encode_response(9, version, 1, &response).expect("all fields exist in the version");
        }
    }

    #[test]
    fn an_id_that_no_topic_has_is_told_per_partition() {
        let topic = OffsetFetchRequestTopics::default()
            .with_topic_id(Uuid::from_u128(9))
            .with_partition_indexes(vec![1]);
        let group = OffsetFetchRequestGroup::default().with_topics(Some(vec![topic]));
        let (known, unknown) = topics_of(10, &MetadataImage::default(), &group);
        assert_eq!(known, Some(Vec::new()));
        assert_eq!(unknown[0].partitions[0].error_code, ErrorCode::UnknownTopicId.code());
    }

    #[test]
    fn a_topic_without_an_id_is_left_out_where_ids_are_needed() {
        assert!(response(10, None, fetched(Uuid::nil())).groups[0].topics.is_empty());
    }
}
