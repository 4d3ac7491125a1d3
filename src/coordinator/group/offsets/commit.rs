//! OffsetCommit and TxnOffsetCommit: who may commit, and the records of it.
//!
//! A consumer without a group (generation -1, no member id) may commit to a group without members; it makes the group if
//! need be ("simple" group). In a transaction, whoever names no member is let in even to a group that has some, for old
//! producers cannot name one; who names one must be it. Those offsets are pending until the transaction ends. Sources:
//! `OffsetMetadataManager.validateOffsetCommit`, `validateTransactionalOffsetCommit`, `commitOffset`,
//! `commitTransactionalOffset`.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use uuid::Uuid;

use crate::coordinator::group::api::{
    CommitPartition, CommitReply, CommitRequest, CommitTopic, CommittedTopic, TransactionalCommitRequest,
};
use crate::coordinator::group::classic::{ClassicEvent, GroupState};
use crate::coordinator::group::record::{OffsetAndMetadata, Record};
use crate::coordinator::group::{Cx, GroupShard, Outcome};
use crate::coordinator::runtime::machine::TransactionProducer;

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
            return CommitReply::error(error);
        }
        let now_ms = cx.now.wall_ms;
        let expire_timestamp_ms = request
            .retention_time_ms
            .map(|retention_ms| now_ms.saturating_add(retention_ms));
        commit(cx, request, out, |topic, partition| OffsetAndMetadata {
            committed_offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch.max(-1),
            metadata: partition.committed_metadata.clone().unwrap_or_default(),
            commit_timestamp_ms: now_ms,
            expire_timestamp_ms,
            topic_id: topic.topic_id,
        })
    }

    /// A TxnOffsetCommit: its records for the producer's transaction, or why it is refused.
    pub(in crate::coordinator::group) fn on_transactional_commit(
        &self,
        cx: &mut Cx<'_>,
        request: &TransactionalCommitRequest,
        out: &mut Outcome,
    ) -> CommitReply {
        let commit_request = &request.commit;
        if let Err(error) = self.validate_transactional_commit(cx, commit_request) {
            return CommitReply::error(error);
        }
        let (producer_id, now_ms) = (request.producer_id, cx.now.wall_ms);
        tracing::debug!(group_id = %commit_request.group_id, transactional_id = %request.transactional_id, producer_id, "offsets of a transaction");
        let reply = commit(cx, commit_request, out, |_, partition| OffsetAndMetadata {
            committed_offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch.max(-1),
            metadata: partition.committed_metadata.clone().unwrap_or_default(),
            commit_timestamp_ms: now_ms,
            expire_timestamp_ms: None,
            topic_id: Uuid::nil(),
        });
        out.producer = Some(TransactionProducer {
            producer_id,
            producer_epoch: request.producer_epoch,
            guard: request.guard,
        });
        reply
    }

    fn validate_commit(
        &mut self,
        cx: &mut Cx<'_>,
        request: &CommitRequest,
        out: &mut Outcome,
    ) -> Result<(), ErrorCode> {
        let instance_id = request.group_instance_id.as_deref();
        let Some(group) = self.soft.groups.get_mut(&request.group_id) else {
            let unknown_group = if request.knows_group_id_not_found {
                ErrorCode::GroupIdNotFound
            } else {
                ErrorCode::IllegalGeneration
            };
            return self.validate_commit_without_members(cx, request, unknown_group);
        };
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
        Ok(())
    }

    fn validate_transactional_commit(&self, cx: &mut Cx<'_>, request: &CommitRequest) -> Result<(), ErrorCode> {
        let offsets: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
        if self.hard.pending_count() + offsets > cx.config.group_max_pending_offsets {
            // There is room again when transactions end.
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        match self.soft.groups.get(&request.group_id) {
            Some(group) => {
                let instance_id = request.group_instance_id.as_deref();
                group.validate_transactional_commit(&request.member_id, instance_id, request.generation_id)
            }
            None => self.validate_commit_without_members(cx, request, ErrorCode::IllegalGeneration),
        }
    }

    /// To a group that only has offsets, or does not exist yet.
    fn validate_commit_without_members(
        &self,
        cx: &mut Cx<'_>,
        request: &CommitRequest,
        unknown_group: ErrorCode,
    ) -> Result<(), ErrorCode> {
        match (self.hard.group(&request.group_id), request.generation_id) {
            (Some(_), ..0) => Ok(()),
            // Nobody is a member.
            (Some(_), 0..) => Err(ErrorCode::UnknownMemberId),
            (None, ..0) => cx.count_new_key().map_err(|()| ErrorCode::PolicyViolation),
            (None, 0..) => Err(unknown_group),
        }
    }
}

/// The records of a commit that may be made, and the answer.
fn commit(
    cx: &Cx<'_>,
    request: &CommitRequest,
    out: &mut Outcome,
    value_of: impl Fn(&CommitTopic, &CommitPartition) -> OffsetAndMetadata,
) -> CommitReply {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let mut error = ErrorCode::OffsetMetadataTooLarge;
            if !is_longer_than(partition, cx.config.offset_metadata_max_bytes) {
                error = ErrorCode::None;
                out.records.push(Record::OffsetCommit {
                    group_id: Arc::clone(&request.group_id),
                    topic: Arc::clone(&topic.name),
                    partition: partition.partition_index,
                    value: Some(value_of(topic, partition)),
                });
            }
            partitions.push((partition.partition_index, error));
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

/// Kafka counts UTF-16 units, of which a string never has more than bytes. What old versions of OffsetFetch could not
/// tell is too long in any case.
fn is_longer_than(partition: &CommitPartition, max: usize) -> bool {
    let metadata = partition.committed_metadata.as_deref().unwrap_or("");
    metadata.len() > MAX_METADATA_BYTES || (metadata.len() > max && metadata.encode_utf16().count() > max)
}
