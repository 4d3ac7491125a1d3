//! OffsetCommit: who may commit, and the records of it.
//!
//! A consumer without a group (generation -1, no member id) may commit to a group without members; it makes the group if
//! need be ("simple" group). Source: `OffsetMetadataManager.validateOffsetCommit`, `commitOffset`.

use std::sync::Arc;

use protocol::error_code::ErrorCode;

use crate::coordinator::group::api::{CommitPartition, CommitReply, CommitRequest, CommitTopic, CommittedTopic};
use crate::coordinator::group::classic::{ClassicEvent, GroupState};
use crate::coordinator::group::record::{OffsetAndMetadata, Record};
use crate::coordinator::group::{Cx, GroupShard, Outcome};

/// The length of a string was an int16 up to OffsetFetch version 5.
const MAX_METADATA_BYTES: usize = i16::MAX as usize;

impl GroupShard {
    /// An OffsetCommit: its records, or why it is refused.
    pub(in crate::coordinator::group) fn on_commit(
        &mut self,
        cx: &mut Cx<'_>,
        request: &CommitRequest,
        out: &mut Outcome,
    ) -> CommitReply {
        if let Err(error) = self.validate_commit(cx, request, out) {
            return CommitReply {
                error,
                topics: Vec::new(),
            };
        }
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let too_large = is_longer_than(partition, cx.config.offset_metadata_max_bytes);
                if too_large {
                    partitions.push((partition.partition_index, ErrorCode::OffsetMetadataTooLarge));
                } else {
                    partitions.push((partition.partition_index, ErrorCode::None));
                    out.records.push(commit_record(cx, request, topic, partition));
                }
            }
            topics.push(CommittedTopic {
                name: Arc::clone(&topic.name),
                topic_id: topic.topic_id,
                partitions,
            });
        }
        CommitReply {
            error: ErrorCode::None,
            topics,
        }
    }

    fn validate_commit(
        &mut self,
        cx: &mut Cx<'_>,
        request: &CommitRequest,
        out: &mut Outcome,
    ) -> Result<(), ErrorCode> {
        let instance_id = request.group_instance_id.as_deref();
        if let Some(group) = self.soft.groups.get_mut(&request.group_id) {
            group.validate_commit(&request.member_id, instance_id, request.generation_id)?;
            if matches!(group.state, GroupState::Stable | GroupState::PreparingRebalance) {
                // Whoever commits is alive.
                ClassicEvent {
                    group,
                    timers: &mut self.soft.timers,
                    cx,
                    out,
                }
                .renew_session(&request.member_id);
            }
            return Ok(());
        }
        if self.hard.group(&request.group_id).is_some() {
            // Only offsets: nobody is a member.
            return if request.generation_id < 0 {
                Ok(())
            } else {
                Err(ErrorCode::UnknownMemberId)
            };
        }
        if request.generation_id >= 0 {
            let knows = request.knows_group_id_not_found;
            return Err(if knows {
                ErrorCode::GroupIdNotFound
            } else {
                ErrorCode::IllegalGeneration
            });
        }
        cx.count_new_key().map_err(|()| ErrorCode::PolicyViolation)
    }
}

/// Kafka counts UTF-16 units, of which a string never has more than bytes. What old versions of OffsetFetch could not
/// tell is too long in any case.
fn is_longer_than(partition: &CommitPartition, max: usize) -> bool {
    let metadata = partition.committed_metadata.as_deref().unwrap_or("");
    metadata.len() > MAX_METADATA_BYTES || (metadata.len() > max && metadata.encode_utf16().count() > max)
}

fn commit_record(cx: &Cx<'_>, request: &CommitRequest, topic: &CommitTopic, partition: &CommitPartition) -> Record {
    let now_ms = cx.now.wall_ms;
    let value = OffsetAndMetadata {
        committed_offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch.max(-1),
        metadata: partition.committed_metadata.clone().unwrap_or_default(),
        commit_timestamp_ms: now_ms,
        expire_timestamp_ms: request
            .retention_time_ms
            .map(|retention_ms| now_ms.saturating_add(retention_ms)),
        topic_id: topic.topic_id,
    };
    Record::OffsetCommit {
        group_id: Arc::clone(&request.group_id),
        topic: Arc::clone(&topic.name),
        partition: partition.partition_index,
        value: Some(value),
    }
}
