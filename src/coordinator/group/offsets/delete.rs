//! Offsets of deleted topics go with the topics.
//!
//! Invariant: an offset of a later topic of the same name stays: it has another topic id. Source:
//! `OffsetMetadataManager.onTopicsDeleted`.

use std::sync::Arc;

use uuid::Uuid;

use crate::coordinator::group::hard::{Hard, HardGroup};
use crate::coordinator::group::record::{OffsetAndMetadata, Record};

/// Tombstones of the offsets of `topics` (name and id), by group.
pub(in crate::coordinator::group) fn on_topics_deleted(
    hard: &Hard,
    topics: &[(Arc<str>, Uuid)],
) -> Vec<(Arc<str>, Vec<Record>)> {
    let mut by_group = Vec::new();
    for (group_id, group) in hard.groups() {
        let mut records = Vec::new();
        for (topic, topic_id) in topics {
            for partition in partitions_of(group, topic, *topic_id) {
                let (group_id, topic) = (Arc::clone(group_id), Arc::clone(topic));
                records.push(Record::OffsetCommit {
                    group_id,
                    topic,
                    partition,
                    value: None,
                });
            }
        }
        if !records.is_empty() {
            by_group.push((Arc::clone(group_id), records));
        }
    }
    by_group
}

fn partitions_of(group: &HardGroup, topic: &Arc<str>, topic_id: Uuid) -> Vec<i32> {
    let is_of_topic = |value: &OffsetAndMetadata| value.topic_id.is_nil() || value.topic_id == topic_id;
    let mut partitions = Vec::new();
    if let Some(offsets) = group.offsets().get(topic) {
        let of_topic = offsets.iter().filter(|(_, committed)| is_of_topic(&committed.value));
        partitions.extend(of_topic.map(|(partition, _)| *partition));
    }
    for (name, partition) in group.pending_partitions() {
        let pending = name == topic && group.pending_values(topic, partition).any(is_of_topic);
        if pending && !partitions.contains(&partition) {
            partitions.push(partition);
        }
    }
    partitions
}
