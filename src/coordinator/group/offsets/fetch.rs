//! OffsetFetch: what a group committed.
//!
//! Invariants: an answer names each topic and each of its partitions once; a partition never committed, and an unknown
//! group, answer offset -1 without an error; offsets of open transactions are not shown. Source: `OffsetMetadataManager.fetchOffsets`, `fetchAllOffsets`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use uuid::Uuid;

use crate::coordinator::group::api::{FetchReply, FetchRequest, FetchTopic, FetchedPartition, FetchedTopic};
use crate::coordinator::group::hard::{Hard, HardGroup};

/// Answers an OffsetFetch of one group.
pub(in crate::coordinator::group) fn fetch(hard: &Hard, request: &FetchRequest) -> FetchReply {
    let group = hard.group(&request.group_id);
    let topics = match &request.topics {
        Some(topics) => fetch_topics(group, topics, request.require_stable),
        None => group
            .map(|group| fetch_all(group, request.require_stable))
            .unwrap_or_default(),
    };
    FetchReply {
        error: ErrorCode::None,
        topics,
    }
}

/// Each topic once: clients look topics up by their name.
fn fetch_topics(group: Option<&HardGroup>, topics: &[FetchTopic], require_stable: bool) -> Vec<FetchedTopic> {
    let mut seen = BTreeSet::new();
    let mut answers: Vec<FetchedTopic> = Vec::with_capacity(topics.len());
    let mut places: BTreeMap<_, usize> = BTreeMap::new();
    for topic in topics {
        let answer = fetch_topic(group, topic, require_stable, &mut seen);
        match places.get(&(&topic.name, topic.topic_id)) {
            Some(&at) => answers[at].partitions.extend(answer.partitions),
            None => {
                places.insert((&topic.name, topic.topic_id), answers.len());
                answers.push(answer);
            }
        }
    }
    answers
}

fn fetch_topic<'a>(
    group: Option<&HardGroup>,
    topic: &'a FetchTopic,
    require_stable: bool,
    seen: &mut BTreeSet<(&'a str, i32)>,
) -> FetchedTopic {
    let fetch_partition = |partition_index: i32| {
        let none = FetchedPartition::none(partition_index, ErrorCode::None);
        let Some(group) = group else { return none };
        if require_stable && group.is_unstable(&topic.name, partition_index) {
            return FetchedPartition::none(partition_index, ErrorCode::UnstableOffsetCommit);
        }
        match group.offset(&topic.name, partition_index) {
            Some(value) if is_same_topic(value.topic_id, topic.topic_id) => {
                FetchedPartition::committed(partition_index, value)
            }
            _ => none,
        }
    };
    // A partition asked for many times is answered once: the metadata is far longer than the question.
    let partitions = topic.partition_indexes.iter().copied();
    let partitions = partitions.filter(|partition_index| seen.insert((&topic.name, *partition_index)));
    let partitions = partitions.map(fetch_partition);
    FetchedTopic {
        name: Arc::clone(&topic.name),
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
    }
}

/// An offset of a deleted topic says nothing about a new one of the same name.
fn is_same_topic(committed: Uuid, asked: Uuid) -> bool {
    committed.is_nil() || asked.is_nil() || committed == asked
}

fn fetch_all(group: &HardGroup, require_stable: bool) -> Vec<FetchedTopic> {
    let mut topics: BTreeMap<&Arc<str>, Vec<FetchedPartition>> = BTreeMap::new();
    for (topic, offsets) in group.offsets() {
        let partitions = topics.entry(topic).or_default();
        for (partition_index, committed) in offsets {
            partitions.push(if require_stable && group.is_unstable(topic, *partition_index) {
                FetchedPartition::none(*partition_index, ErrorCode::UnstableOffsetCommit)
            } else {
                FetchedPartition::committed(*partition_index, &committed.value)
            });
        }
    }
    let topics = topics.into_iter().map(|(name, partitions)| FetchedTopic {
        name: Arc::clone(name),
        topic_id: Uuid::nil(),
        partitions,
    });
    topics.collect()
}
