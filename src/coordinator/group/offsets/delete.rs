//! Offsets that go: with their topic, or by OffsetDelete.
//!
//! Invariants: an offset of a later topic of the same name stays when the earlier one is deleted: it has another topic
//! id; offsets of open transactions go with those that are committed. Sources: `OffsetMetadataManager.onTopicsDeleted`,
//! `deleteOffsets`, `ClassicGroup.validateOffsetDelete`.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use uuid::Uuid;

use crate::coordinator::group::api::{DeleteOffsetsReply, DeleteOffsetsRequest};
use crate::coordinator::group::classic::GroupState;
use crate::coordinator::group::hard::{Hard, HardGroup};
use crate::coordinator::group::record::{OffsetAndMetadata, Record};
use crate::coordinator::group::{GroupShard, Outcome};

impl GroupShard {
    /// An OffsetDelete: topics that the members read are refused, what is not there counts as deleted.
    pub(in crate::coordinator::group) fn on_delete_offsets(
        &self,
        request: &DeleteOffsetsRequest,
        out: &mut Outcome,
    ) -> DeleteOffsetsReply {
        let (live, hard) = (
            self.soft.groups.get(&request.group_id),
            self.hard.group(&request.group_id),
        );
        let error = match (live, hard) {
            (None, None) => ErrorCode::GroupIdNotFound,
            (Some(group), _) if group.state != GroupState::Empty && !group.uses_consumer_protocol() => {
                ErrorCode::NonEmptyGroup
            }
            _ => ErrorCode::None,
        };
        let mut topics = Vec::new();
        if error == ErrorCode::None {
            let mut deleted = BTreeSet::new();
            for (topic, partitions) in &request.topics {
                if live.is_some_and(|group| group.is_subscribed_to(topic)) {
                    topics.push(ErrorCode::GroupSubscribedToTopic);
                    continue;
                }
                topics.push(ErrorCode::None);
                for partition in partitions {
                    let is_there = hard.is_some_and(|hard| hard.has_offset(topic, *partition));
                    if is_there && deleted.insert((topic, *partition)) {
                        out.records.push(tombstone(&request.group_id, topic, *partition));
                    }
                }
            }
            out.splittable = true;
        }
        DeleteOffsetsReply { error, topics }
    }
}

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
                records.push(tombstone(group_id, topic, partition));
            }
        }
        if !records.is_empty() {
            by_group.push((Arc::clone(group_id), records));
        }
    }
    by_group
}

/// Where the group has an offset, committed or in an open transaction; each partition once.
pub(in crate::coordinator::group) fn all_partitions(group: &HardGroup) -> impl Iterator<Item = (Arc<str>, i32)> {
    let committed = group
        .offsets()
        .iter()
        .flat_map(|(topic, partitions)| partitions.keys().map(move |partition| (Arc::clone(topic), *partition)));
    let pending = group
        .pending_partitions()
        .filter(|(topic, partition)| group.offset(topic, *partition).is_none())
        .map(|(topic, partition)| (Arc::clone(topic), partition));
    committed.chain(pending)
}

/// The record that removes an offset.
pub(in crate::coordinator::group) fn tombstone(group_id: &Arc<str>, topic: &Arc<str>, partition: i32) -> Record {
    Record::OffsetCommit {
        group_id: Arc::clone(group_id),
        topic: Arc::clone(topic),
        partition,
        value: None,
    }
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
