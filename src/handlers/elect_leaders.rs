//! ElectLeaders (43), versions 0-2.
//!
//! Versions: 1 the type of the election (0 = preferred, else unclean) and an error of the whole, 2 flexible. The only
//! broker leads whatever it can lead, so ELECTION_NOT_NEEDED (84) is the answer for every partition that exists; null
//! topics ask for all, and then partitions without a need are left out. A partition that had need of a leader could not
//! get one here: PREFERRED_LEADER_NOT_AVAILABLE (80) or ELIGIBLE_LEADERS_NOT_AVAILABLE (83). An unknown type is
//! INVALID_REQUEST (42) for everything. Source: `ReplicationControlManager.electLeaders`.

use std::sync::Arc;

use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Messages, Reply};
use crate::metadata::image::MetadataImage;
use crate::metadata::image::topics::PartitionImage;

/// Answers from the image.
pub(super) fn handle(cx: &Arc<RequestContext>, request: ElectLeadersRequest) -> Reply {
    cx.reply(&answer(&cx.services.publisher.current(), &request, cx.api_version))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ElectionType {
    Preferred,
    Unclean,
}

/// What a message says; it is made only if the answer still has room for it.
#[derive(Debug, Clone, Copy)]
enum Why<'a> {
    Standard,
    UnknownElection(i8),
    UnknownTopic(&'a str),
    UnknownPartition(&'a str, i32),
}

type Refusal<'a> = (ErrorCode, Why<'a>);

fn answer(image: &MetadataImage, request: &ElectLeadersRequest, version: i16) -> ElectLeadersResponse {
    let election = match request.election_type {
        0 => Ok(ElectionType::Preferred),
        1 => Ok(ElectionType::Unclean),
        unknown => Err((ErrorCode::InvalidRequest, Why::UnknownElection(unknown))),
    };
    let mut messages = Messages::for_one_answer();
    let results = match &request.topic_partitions {
        None => match election {
            Ok(election) => all_topics(image, election, &mut messages),
            Err(_) => Vec::new(),
        },
        Some(topics) => {
            let topic_result = |topic: &kafka_protocol::messages::elect_leaders_request::TopicPartitions| {
                let partition_result = |index: &i32| {
                    let refusal = match &election {
                        Ok(election) => elect(image, &topic.topic, *index, *election),
                        Err(refusal) => *refusal,
                    };
                    partition(*index, refusal, &mut messages)
                };
                ReplicaElectionResult::default()
                    .with_topic(topic.topic.clone())
                    .with_partition_result(topic.partitions.iter().map(partition_result).collect())
            };
            topics.iter().map(topic_result).collect()
        }
    };
    let mut response = ElectLeadersResponse::default().with_replica_election_results(results);
    if let (Err((code, _)), true) = (election, version >= 1) {
        response.error_code = code.code();
    }
    response
}

/// Every topic, with those of its partitions that need a leader.
fn all_topics(image: &MetadataImage, election: ElectionType, messages: &mut Messages) -> Vec<ReplicaElectionResult> {
    let topics = image.topics().map(|topic| {
        let partitions = (0..)
            .zip(&topic.partitions)
            .map(|(index, image)| (index, need(image, election)));
        let needed = partitions.filter(|(_, code)| *code != ErrorCode::ElectionNotNeeded);
        let needed = needed.map(|(index, code)| partition(index, (code, Why::Standard), messages));
        ReplicaElectionResult::default()
            .with_topic(TopicName(StrBytes::from_string(topic.name.to_string())))
            .with_partition_result(needed.collect())
    });
    topics.collect()
}

/// Why no leader is elected.
fn elect<'a>(image: &MetadataImage, topic: &'a str, index: i32, election: ElectionType) -> Refusal<'a> {
    let unknown = |why| (ErrorCode::UnknownTopicOrPartition, why);
    let Some(known) = image.topic(topic) else {
        return unknown(Why::UnknownTopic(topic));
    };
    let Some(partition) = known.partition(index) else {
        return unknown(Why::UnknownPartition(topic, index));
    };
    (need(partition, election), Why::Standard)
}

fn need(partition: &PartitionImage, election: ElectionType) -> ErrorCode {
    match election {
        ElectionType::Preferred if partition.replicas.first() != Some(&partition.leader) => {
            ErrorCode::PreferredLeaderNotAvailable
        }
        ElectionType::Unclean if partition.leader < 0 => ErrorCode::EligibleLeadersNotAvailable,
        _ => ErrorCode::ElectionNotNeeded,
    }
}

fn partition(index: i32, (code, why): Refusal<'_>, messages: &mut Messages) -> PartitionResult {
    let text = || match why {
        Why::Standard => code.message().to_owned(),
        Why::UnknownElection(election) => format!("Unknown election type {election}"),
        Why::UnknownTopic(topic) => format!("No such topic as {topic}"),
        Why::UnknownPartition(topic, index) => format!("No such partition as {topic}-{index}"),
    };
    PartitionResult::default()
        .with_partition_id(index)
        .with_error_code(code.code())
        .with_error_message(messages.next(text))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
    use protocol::encode::encode_response;

    use super::*;
    use crate::metadata::apply::tests::{creation_of, image_of, start_of};

    fn image() -> MetadataImage {
        image_of(&[start_of(1, 1, true), creation_of("t", 5, 2), creation_of("u", 6, 1)])
    }

    fn ask(election_type: i8, topics: Option<&[(&str, &[i32])]>) -> ElectLeadersRequest {
        let topic = |(name, partitions): &(&str, &[i32])| {
            TopicPartitions::default()
                .with_topic(TopicName(StrBytes::from_string((*name).to_owned())))
                .with_partitions(partitions.to_vec())
        };
        ElectLeadersRequest::default()
            .with_election_type(election_type)
            .with_topic_partitions(topics.map(|topics| topics.iter().map(topic).collect()))
    }

    /// (topic, partition, code) of every result.
    fn codes(response: &ElectLeadersResponse) -> Vec<(String, i32, i16)> {
        let topics = response.replica_election_results.iter();
        topics
            .flat_map(|topic| {
                let name = topic.topic.to_string();
                let result = move |result: &PartitionResult| (name.clone(), result.partition_id, result.error_code);
                topic.partition_result.iter().map(result)
            })
            .collect()
    }

    #[test]
    fn existing_partitions_need_no_election_and_others_are_unknown() {
        let text = |name: &str| name.to_owned();
        for version in 0..=2 {
            for election_type in if version == 0 { 0..=0 } else { 0..=1 } {
                let request = ask(election_type, Some(&[("t", &[1, 2, -1, 1]), ("nobody", &[0])]));
                let response = answer(&image(), &request, version);
                let expected = [
                    (text("t"), 1, 84),
                    (text("t"), 2, 3),
                    (text("t"), -1, 3),
                    (text("t"), 1, 84),
                    (text("nobody"), 0, 3),
                ];
                assert_eq!(codes(&response), expected);
                assert_eq!(response.error_code, 0);
                encode_response(43, version, 1, &response).expect("fields of the version");
            }
        }
    }

    #[test]
    fn of_all_partitions_only_those_in_need_are_told() {
        let response = answer(&image(), &ask(0, None), 2);
        let topics: Vec<_> = response
            .replica_election_results
            .iter()
            .map(|topic| &*topic.topic.0)
            .collect();
        assert_eq!(topics, ["t", "u"]);
        assert_eq!(codes(&response), []);
        assert_eq!(codes(&answer(&image(), &ask(0, Some(&[])), 2)), []);
    }

    #[test]
    fn an_unknown_type_is_refused_as_a_whole() {
        for unknown in [2, -1] {
            let response = answer(&image(), &ask(unknown, Some(&[("t", &[0])])), 2);
            assert_eq!(
                (response.error_code, codes(&response)),
                (42, vec![("t".to_owned(), 0, 42)])
            );
            assert_eq!(answer(&image(), &ask(unknown, None), 1).error_code, 42);
        }
    }

    #[test]
    fn a_partition_without_its_leader_is_in_need() {
        let partition = |leader| PartitionImage {
            replicas: vec![2, 1],
            isr: vec![1],
            leader,
            leader_epoch: 0,
            partition_epoch: 0,
        };
        let needs = |leader| {
            [ElectionType::Preferred, ElectionType::Unclean].map(|election| need(&partition(leader), election).code())
        };
        assert_eq!(needs(2), [84, 84]);
        assert_eq!(needs(1), [80, 84]);
        assert_eq!(needs(-1), [80, 83]);
    }
}
