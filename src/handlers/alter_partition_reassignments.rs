//! AlterPartitionReassignments (45), versions 0-1.
//!
//! Version 1: whether the number of replicas may change (it may by default, and in version 0). Partitions live on the
//! only broker there is, so the only valid target is where they are: nothing to do, answered at once. Nothing is ever in
//! progress, so a cancellation is NO_REASSIGNMENT_IN_PROGRESS (85). Source: `ReplicationControlManager`.

use std::sync::Arc;

use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
use protocol::error_code::ErrorCode;

use crate::controller::placement::check_assignment;
use crate::controller::topics::TopicFailure;
use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Messages, Reply};
use crate::metadata::image::MetadataImage;

/// Answers from the image.
pub(super) fn handle(cx: &Arc<RequestContext>, request: AlterPartitionReassignmentsRequest) -> Reply {
    cx.reply(&answer(&cx.services.publisher.current(), &request))
}

fn answer(image: &MetadataImage, request: &AlterPartitionReassignmentsRequest) -> AlterPartitionReassignmentsResponse {
    let mut messages = Messages::for_one_answer();
    let may_resize = request.allow_replication_factor_change;
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let answer = ReassignablePartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_error_message(None);
            match reassign(image, &topic.name, partition, may_resize) {
                Ok(()) => answer,
                Err(Refusal::Unknown(why)) => answer
                    .with_error_code(ErrorCode::UnknownTopicOrPartition.code())
                    .with_error_message(messages.next(|| why.message())),
                Err(Refusal::Other(failure)) => answer
                    .with_error_code(failure.code.code())
                    .with_error_message(messages.next(|| failure.message)),
            }
        });
        ReassignableTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    AlterPartitionReassignmentsResponse::default()
        .with_allow_replication_factor_change(may_resize)
        .with_error_message(None)
        .with_responses(topics.collect())
}

/// Why a partition cannot be reassigned.
enum Refusal<'a> {
    /// It is not there. Its topic's name can be as long as any string, so the text is made only if the answer has room.
    Unknown(UnknownPlace<'a>),
    Other(TopicFailure),
}

/// A topic, or a partition of one, that is not there.
#[derive(Clone, Copy)]
enum UnknownPlace<'a> {
    Topic(&'a str),
    Partition(&'a str, i32),
}

impl UnknownPlace<'_> {
    fn message(self) -> String {
        match self {
            Self::Topic(topic) => format!("Unable to find a topic named {topic}."),
            Self::Partition(topic, index) => format!("Unable to find partition {topic}:{index}."),
        }
    }
}

fn reassign<'a>(
    image: &MetadataImage,
    topic: &'a str,
    target: &ReassignablePartition,
    may_resize: bool,
) -> Result<(), Refusal<'a>> {
    let refused = |code, message| Err(Refusal::Other(TopicFailure::new(code, message)));
    let Some(known) = image.topic(topic) else {
        return Err(Refusal::Unknown(UnknownPlace::Topic(topic)));
    };
    let index = target.partition_index;
    let Some(partition) = known.partition(index) else {
        return Err(Refusal::Unknown(UnknownPlace::Partition(topic, index)));
    };
    let Some(replicas) = &target.replicas else {
        let code = ErrorCode::NoReassignmentInProgress;
        return refused(code, code.message().to_owned());
    };
    let replicas: Vec<_> = replicas.iter().map(|broker| broker.0).collect();
    check_assignment(image, &replicas, None).map_err(Refusal::Other)?;
    let now = partition.replicas.len();
    if !may_resize && replicas.len() != now {
        let message = format!("The replication factor is changed from {now} to {}", replicas.len());
        return refused(ErrorCode::InvalidReplicationFactor, message);
    }
    if replicas != partition.replicas {
        let message = "this broker cannot move a partition to or from another".to_owned();
        return refused(ErrorCode::InvalidReplicaAssignment, message);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::alter_partition_reassignments_request::ReassignableTopic;
    use kafka_protocol::messages::{BrokerId, TopicName};
    use kafka_protocol::protocol::StrBytes;
    use protocol::encode::encode_response;

    use super::*;
    use crate::metadata::apply::tests::{creation_of, image_of, start_of};

    fn ask(topic: &str, index: i32, replicas: Option<&[i32]>) -> AlterPartitionReassignmentsRequest {
        let partition = ReassignablePartition::default()
            .with_partition_index(index)
            .with_replicas(replicas.map(|replicas| replicas.iter().copied().map(BrokerId).collect()));
        let topic = ReassignableTopic::default()
            .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_partitions(vec![partition.clone(), partition]);
        AlterPartitionReassignmentsRequest::default().with_topics(vec![topic])
    }

    /// Topic, partition, replicas, whether their number may change; code and part of the message.
    type Case = (&'static str, i32, Option<&'static [i32]>, bool, i16, &'static str);

    #[test]
    fn every_target_gets_kafkas_code() {
        let image = image_of(&[start_of(1, 1, true), start_of(2, 2, true), creation_of("t", 5, 1)]);
        let cases: [Case; 10] = [
            ("t", 0, Some(&[1]), true, 0, ""),
            ("t", 0, Some(&[1]), false, 0, ""),
            ("t", 0, None, true, 85, ""),
            ("t", 1, None, true, 3, "Unable to find partition t:1."),
            ("nobody", 0, Some(&[1]), true, 3, "Unable to find a topic named nobody."),
            ("t", 0, Some(&[]), true, 39, "an empty replica list"),
            (
                "t",
                0,
                Some(&[7]),
                true,
                39,
                "broker 7, but no such broker is registered",
            ),
            ("t", 0, Some(&[1, 1]), true, 39, "the broker 1 more than once"),
            (
                "t",
                0,
                Some(&[1, 2]),
                false,
                38,
                "The replication factor is changed from 1 to 2",
            ),
            ("t", 0, Some(&[2]), true, 39, "cannot move"),
        ];
        for (topic, index, replicas, may_resize, code, text) in cases {
            let request = ask(topic, index, replicas).with_allow_replication_factor_change(may_resize);
            let response = answer(&image, &request);
            assert_eq!(
                (response.error_code, response.allow_replication_factor_change),
                (0, may_resize)
            );
            let results = &response.responses[0].partitions;
            assert_eq!(results.len(), 2, "a partition named twice is answered twice");
            for result in results {
                assert_eq!(
                    (result.partition_index, result.error_code),
                    (index, code),
                    "{replicas:?}"
                );
                let why = result.error_message.as_deref().unwrap_or_default();
                assert!(why.contains(text) && (code == 0) == why.is_empty(), "{why}");
            }
            if may_resize {
                encode_response(45, 0, 1, &response).expect("fields of the version");
            }
            encode_response(45, 1, 1, &response).expect("fields of the version");
        }
    }

    #[test]
    fn nothing_is_nothing() {
        let response = answer(
            &MetadataImage::default(),
            &AlterPartitionReassignmentsRequest::default(),
        );
        assert_eq!((response.error_code, response.responses.len()), (0, 0));
    }
}
