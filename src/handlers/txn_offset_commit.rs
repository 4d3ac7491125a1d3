//! TxnOffsetCommit (28), versions 0-5.
//!
//! Offsets that count once the producer's transaction is committed. Topics and partitions that do not exist get
//! UNKNOWN_TOPIC_OR_PARTITION (3), the others are committed. As with Produce, the first commit of a transaction to a
//! partition of the offsets topic is verified with the transaction's coordinator before.
//! Versions: 2 leader epochs, and COORDINATOR_LOAD_IN_PROGRESS (14), which older clients see as COORDINATOR_NOT_AVAILABLE
//! (15); 3 flexible, member, generation and instance, which are checked; 4 TRANSACTION_ABORTABLE (120); 5 adds the
//! partition to the transaction (KIP-890). Sources: `KafkaApis.handleTxnOffsetCommitRequest`,
//! `CoordinatorRuntime.scheduleTransactionalWriteOperation`.

use std::sync::Arc;

use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::record::NO_SEQUENCE;
use protocol::types::PartitionIndex;
use storage::producer::VerificationGuard;

use crate::coordinator::group::api::{
    CommitPartition, CommitReply, CommitRequest, CommitTopic, TransactionalCommitRequest,
};
use crate::handlers::by_topic::add_by_topic;
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;
use crate::handlers::verification::{self, Claim, TransactionSupport};
use crate::metadata::image::MetadataImage;
use crate::metadata::topic_name::CONSUMER_OFFSETS;

/// First version whose clients know COORDINATOR_LOAD_IN_PROGRESS here.
const LOADING_KNOWN_SINCE: i16 = 2;

/// Hands what exists to the group's shard, once the transaction is verified.
pub(super) fn handle(cx: &Arc<RequestContext>, request: TxnOffsetCommitRequest) -> Reply {
    let split = Split::new(&cx.services.publisher.current(), &request);
    if split.topics.is_empty() {
        return cx.reply(&split.response(cx.api_version, CommitReply::error(ErrorCode::None)));
    }
    if request.group_id.is_empty() {
        return refuse(cx, split, ErrorCode::InvalidGroupId);
    }
    let support = TransactionSupport::of_txn_offset_commit(cx.api_version);
    let partition = cx.services.groups.partition_for(&request.group_id);
    let commit = commit_request(&request, split.topics.clone());
    let guard = match begin_verification(cx, support, partition, &commit) {
        Ok(None) => return hand_on(cx, split, commit),
        Ok(Some(guard)) => guard,
        Err(code) => return refuse(cx, split, code),
    };
    let claim = Claim {
        transactional_id: request.transactional_id.0,
        producer_id: commit.producer_id,
        producer_epoch: commit.producer_epoch,
    };
    let asked = verification::ask(cx, support, &claim, vec![(Arc::from(CONSUMER_OFFSETS), partition)]);
    let context = Arc::clone(cx);
    Reply::Hold(Box::pin(async move {
        match asked.await.first() {
            Some(ErrorCode::None) => {
                let guard = Some(guard);
                hand_on(&context, split, TransactionalCommitRequest { guard, ..commit })
            }
            code => refuse(
                &context,
                split,
                code.map_or(ErrorCode::UnknownServerError, |code| told(*code)),
            ),
        }
    }))
}

fn refuse(cx: &RequestContext, split: Split, code: ErrorCode) -> Reply {
    cx.reply(&split.response(cx.api_version, CommitReply::error(code)))
}

fn hand_on(cx: &Arc<RequestContext>, split: Split, commit: TransactionalCommitRequest) -> Reply {
    let version = cx.api_version;
    let committed = cx.services.groups.commit_transactional(commit);
    cx.later(async move { split.response(version, committed.await) })
}

/// What the partition of the offsets topic wants verified, if anything.
fn begin_verification(
    cx: &RequestContext,
    support: TransactionSupport,
    partition: PartitionIndex,
    commit: &TransactionalCommitRequest,
) -> Result<Option<VerificationGuard>, ErrorCode> {
    let adds = support.adds_partitions();
    let log = cx.services.partitions.partition(CONSUMER_OFFSETS, partition);
    let log = log.ok_or(ErrorCode::NotCoordinator)?;
    if !adds && !log.settings().transaction_verification {
        return Ok(None);
    }
    log.begin_verification(commit.producer_id, commit.producer_epoch, NO_SEQUENCE, adds)
        .map_err(|error| told(error.error_code()))
}

/// A code of the log or of the transaction's coordinator, as one that commits offsets knows it
/// (`CoordinatorOperationExceptionHelper`).
fn told(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        code => code,
    }
}

fn commit_request(request: &TxnOffsetCommitRequest, topics: Vec<CommitTopic>) -> TransactionalCommitRequest {
    let text = |text: &StrBytes| Arc::from(text.as_str());
    TransactionalCommitRequest {
        commit: CommitRequest {
            group_id: text(&request.group_id),
            generation_id: request.generation_id,
            member_id: text(&request.member_id),
            group_instance_id: request.group_instance_id.as_ref().map(text),
            retention_time_ms: None,
            knows_group_id_not_found: false,
            topics,
        },
        transactional_id: text(&request.transactional_id),
        producer_id: request.producer_id.0,
        producer_epoch: request.producer_epoch,
        guard: None,
    }
}

/// A request by what exists of it.
#[derive(Debug, Default)]
struct Split {
    /// What can be committed.
    topics: Vec<CommitTopic>,
    /// Answers for what cannot.
    refused: Vec<TxnOffsetCommitResponseTopic>,
}

impl Split {
    fn new(image: &MetadataImage, request: &TxnOffsetCommitRequest) -> Self {
        let mut split = Self::default();
        for wanted in &request.topics {
            split.add(image, wanted);
        }
        split
    }

    fn add(&mut self, image: &MetadataImage, wanted: &TxnOffsetCommitRequestTopic) {
        let topic = image.topic(&wanted.name);
        let mut known = Vec::new();
        let mut refused = Vec::new();
        for partition in &wanted.partitions {
            let index = partition.partition_index;
            if topic.is_none_or(|topic| topic.partition(index).is_none()) {
                refused.push(partition_answer(index, ErrorCode::UnknownTopicOrPartition));
                continue;
            }
            let metadata = partition.committed_metadata.as_ref();
            known.push(CommitPartition {
                partition_index: index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                committed_metadata: metadata.map(|text| Box::from(text.as_str())),
            });
        }
        if !refused.is_empty() || topic.is_none() {
            let answer = TxnOffsetCommitResponseTopic::default().with_name(wanted.name.clone());
            self.refused.push(answer.with_partitions(refused));
        }
        if let Some(topic) = topic.filter(|_| !known.is_empty()) {
            self.topics.push(CommitTopic {
                name: Arc::clone(&topic.name),
                topic_id: topic.id,
                partitions: known,
            });
        }
    }

    /// The answer: what was refused here and what the coordinator says of the rest, or its error for all of the rest.
    fn response(self, version: i16, reply: CommitReply) -> TxnOffsetCommitResponse {
        let known = |code| match code {
            ErrorCode::CoordinatorLoadInProgress if version < LOADING_KNOWN_SINCE => ErrorCode::CoordinatorNotAvailable,
            code => code,
        };
        let answer = |name: &str, partitions| {
            let name = StrBytes::from_string(name.to_owned()).into();
            let topic = TxnOffsetCommitResponseTopic::default().with_name(name);
            topic.with_partitions(partitions)
        };
        let committed: Vec<_> = if reply.error == ErrorCode::None {
            let answers = reply.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter();
                let partitions = partitions.map(|(index, code)| partition_answer(*index, known(*code)));
                answer(&topic.name, partitions.collect())
            });
            answers.collect()
        } else {
            let answers = self.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|partition| partition.partition_index);
                let partitions = partitions.map(|index| partition_answer(index, known(reply.error)));
                answer(&topic.name, partitions.collect())
            });
            answers.collect()
        };
        let mut topics = self.refused;
        add_by_topic(
            &mut topics,
            committed,
            |topic| topic.name.clone(),
            |topic| &mut topic.partitions,
        );
        TxnOffsetCommitResponse::default().with_topics(topics)
    }
}

fn partition_answer(index: PartitionIndex, code: ErrorCode) -> TxnOffsetCommitResponsePartition {
    TxnOffsetCommitResponsePartition::default()
        .with_partition_index(index)
        .with_error_code(code.code())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition;
    use protocol::encode::encode_response;

    use super::*;
    use crate::metadata::apply::tests::{creation_of, image_of, start_of};

    fn topic(name: &'static str, partitions: &[i32]) -> TxnOffsetCommitRequestTopic {
        let partitions = partitions
            .iter()
            .map(|index| TxnOffsetCommitRequestPartition::default().with_partition_index(*index));
        TxnOffsetCommitRequestTopic::default()
            .with_name(StrBytes::from_static_str(name).into())
            .with_partitions(partitions.collect())
    }

    fn codes(response: &TxnOffsetCommitResponse) -> Vec<(String, i32, i16)> {
        let topics = response.topics.iter();
        let codes = topics.flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|answer| (topic.name.to_string(), answer.partition_index, answer.error_code))
        });
        codes.collect()
    }

    #[test]
    fn what_does_not_exist_is_refused_and_the_rest_committed() {
        let image = image_of(&[start_of(1, 1, true), creation_of("a", 5, 2)]);
        let request = TxnOffsetCommitRequest::default().with_topics(vec![topic("a", &[0, 2, 1]), topic("b", &[0])]);
        for version in 0..=5 {
            let split = Split::new(&image, &request);
            let asked: Vec<_> = split.topics[0]
                .partitions
                .iter()
                .map(|known| known.partition_index)
                .collect();
            assert_eq!((split.topics.len(), asked), (1, vec![0, 1]));
            let response = split.response(version, CommitReply::error(ErrorCode::CoordinatorLoadInProgress));
            encode_response(28, version, 1, &response).expect("fields of the version");
            let loading = if version < 2 { 15 } else { 14 };
            let code = |topic: &str, index, code| (topic.to_owned(), index, code);
            let expected = [
                code("a", 2, 3),
                code("a", 0, loading),
                code("a", 1, loading),
                code("b", 0, 3),
            ];
            assert_eq!(codes(&response), expected);
        }
    }

    #[test]
    fn the_member_and_the_producer_are_handed_on() {
        let request = TxnOffsetCommitRequest::default()
            .with_group_id(StrBytes::from_static_str("g").into())
            .with_transactional_id(StrBytes::from_static_str("t").into())
            .with_producer_id(7.into())
            .with_producer_epoch(3)
            .with_generation_id(4)
            .with_member_id(StrBytes::from_static_str("m"))
            .with_group_instance_id(Some(StrBytes::from_static_str("i")));
        let handed_on = commit_request(&request, Vec::new());
        let commit = &handed_on.commit;
        assert_eq!(
            (&*commit.group_id, commit.generation_id, &*commit.member_id),
            ("g", 4, "m")
        );
        assert_eq!(commit.group_instance_id.as_deref(), Some("i"));
        assert_eq!(
            (
                &*handed_on.transactional_id,
                handed_on.producer_id,
                handed_on.producer_epoch
            ),
            ("t", 7, 3)
        );
        assert_eq!(handed_on.guard, None);
    }

    #[test]
    fn trouble_is_told_in_words_of_coordinators() {
        for (code, expected) in [
            (ErrorCode::NotLeaderOrFollower, ErrorCode::NotCoordinator),
            (ErrorCode::NetworkException, ErrorCode::CoordinatorLoadInProgress),
            (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
            (ErrorCode::InvalidProducerEpoch, ErrorCode::InvalidProducerEpoch),
            (ErrorCode::ConcurrentTransactions, ErrorCode::ConcurrentTransactions),
        ] {
            assert_eq!(told(code), expected);
        }
    }
}
