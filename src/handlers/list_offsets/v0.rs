//! ListOffsets version 0: offsets at which reading may begin, as of a time.
//!
//! What clients asked for before records had timestamps (Kafka up to 0.10.0), and some still do to learn the two ends.
//! Only -1 and -2 mean something special, other negative times get UNSUPPORTED_VERSION (35). Source: Kafka 3.9's
//! `KafkaApis.handleListOffsetRequestV0`. Other than there, the same partition twice gets INVALID_REQUEST (42), as in the
//! later versions, since a small request could ask for very much, and so does a negative number of offsets, with which
//! Kafka fails.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::types::{Offset, PartitionIndex};
use protocol::wire::older::list_offsets::{
    ListOffsetsRequestV0, ToldPartition, ToldTopic, WantedPartition, write_response,
};
use storage::log::segment_offsets::AsOf;

use super::LOOKUPS;
use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Reply, ResponseFrame};
use crate::partition::read::Isolation;
use crate::partition::registry::HostedTopic;

/// Answers each partition. Times of files are asked of the disk, beside the connection's next requests.
pub(in crate::handlers) fn handle(cx: &Arc<RequestContext>, request: ListOffsetsRequestV0) -> Reply {
    let mut wanted = request.topics.iter().flat_map(|topic| &topic.partitions);
    if !wanted.any(|wanted| matches!(as_of(wanted.timestamp), Some(AsOf::Time(_)))) {
        return Reply::Now(answer(cx, request));
    }
    let context = Arc::clone(cx);
    Reply::Later(Box::pin(async move {
        let turn = LOOKUPS.acquire().await.expect("never closed");
        let lookup = tokio::task::spawn_blocking(move || {
            // given back by the thread: a client that goes away does not stop its lookup
            let _turn = turn;
            answer(&context, request)
        });
        lookup.await.expect("lookups do not panic")
    }))
}

fn answer(cx: &RequestContext, request: ListOffsetsRequestV0) -> ResponseFrame {
    let isolation = match request.replica_id {
        -1 => Isolation::ReadUncommitted,
        _ => Isolation::LogEnd,
    };
    let twice = named_twice(&request);
    let topics = request.topics.into_iter().map(|topic| {
        let hosted = cx.services.partitions.topic(&topic.name);
        let partition = |wanted: &WantedPartition| {
            let found = if twice.contains(&(topic.name.clone(), wanted.partition_index)) {
                Err(ErrorCode::InvalidRequest)
            } else {
                find(cx, hosted.as_deref(), wanted, isolation)
            };
            ToldPartition {
                partition_index: wanted.partition_index,
                error_code: found.as_ref().err().map_or(0, |code| code.code()),
                old_style_offsets: found.unwrap_or_default(),
            }
        };
        ToldTopic {
            partitions: topic.partitions.iter().map(partition).collect(),
            name: topic.name,
        }
    });
    let topics: Vec<_> = topics.collect();
    match write_response(cx.correlation_id, &topics) {
        Ok(frame) => ResponseFrame::Whole(frame),
        Err(error) => cx.unencodable(&error),
    }
}

fn named_twice(request: &ListOffsetsRequestV0) -> BTreeSet<(StrBytes, PartitionIndex)> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for topic in &request.topics {
        for wanted in &topic.partitions {
            let partition = (topic.name.clone(), wanted.partition_index);
            if !seen.insert(partition.clone()) {
                twice.insert(partition);
            }
        }
    }
    twice
}

fn find(
    cx: &RequestContext,
    topic: Option<&HostedTopic>,
    wanted: &WantedPartition,
    isolation: Isolation,
) -> Result<Vec<Offset>, ErrorCode> {
    let as_of = as_of(wanted.timestamp).ok_or(ErrorCode::UnsupportedVersion)?;
    let max_count = usize::try_from(wanted.max_num_offsets).map_err(|_| ErrorCode::InvalidRequest)?;
    topic
        .ok_or(ErrorCode::UnknownTopicOrPartition)?
        .hosted(wanted.partition_index)?
        .segment_offsets(as_of, max_count, isolation, cx.now())
        .map_err(|error| error.error_code())
}

/// What a timestamp field asks for.
fn as_of(timestamp: i64) -> Option<AsOf> {
    match timestamp {
        -1 => Some(AsOf::Latest),
        -2 => Some(AsOf::Earliest),
        0.. => Some(AsOf::Time(timestamp)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use protocol::wire::older::list_offsets::WantedTopic;

    use super::*;

    #[test]
    fn only_two_special_values_are_known() {
        assert_eq!(as_of(-1), Some(AsOf::Latest));
        assert_eq!(as_of(-2), Some(AsOf::Earliest));
        assert_eq!(as_of(0), Some(AsOf::Time(0)));
        assert_eq!(as_of(-3), None);
        assert_eq!(as_of(i64::MIN), None);
    }

    #[test]
    fn a_partition_is_found_twice_in_topics_named_twice() {
        let topic = |name, partitions: &[i32]| WantedTopic {
            name: StrBytes::from_static_str(name),
            partitions: partitions
                .iter()
                .map(|&partition_index| WantedPartition {
                    partition_index,
                    ..WantedPartition::default()
                })
                .collect(),
        };
        let request = ListOffsetsRequestV0 {
            replica_id: -1,
            topics: vec![topic("a", &[0, 1]), topic("b", &[0, 2, 2]), topic("a", &[1])],
        };
        let twice: Vec<_> = named_twice(&request).into_iter().collect();
        let named = |name, index| (StrBytes::from_static_str(name), index);
        assert_eq!(twice, [named("a", 1), named("b", 2)]);
    }
}
