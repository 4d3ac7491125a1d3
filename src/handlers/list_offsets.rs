//! ListOffsets (2), versions 0-11; 0 asks for something else and has a file of its own ([`v0`]).
//!
//! Versions: 2 isolation level, 4 leader epochs, 7 largest timestamp (-3), 8 local log start (-4), 9 last
//! tiered (-5), 11 first that waits to be tiered (-6). Without tiers -4 is the log start; -5 and -6
//! have no answer (offset -1). A read-committed client is told the last stable offset as the latest one, and nothing at
//! or behind it by time.
//! A special value that is newer than the request's version gets UNSUPPORTED_VERSION (35) for its partition, the same
//! partition twice INVALID_REQUEST (42) (`ReplicaManager.fetchOffset`). Lookup by time is exact to the record.

pub(super) mod v0;

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::ListOffsetsRequest;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use protocol::error_code::ErrorCode;
use tokio::sync::Semaphore;

use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;
use crate::partition::offsets::{FoundOffset, OffsetQuery};
use crate::partition::read::Isolation;
use crate::partition::registry::HostedTopic;

/// Requests of the whole broker that look up times at once. Each can read from the disk for long, and the threads that
/// wait for the disk are shared with everything else that does.
static LOOKUPS: Semaphore = Semaphore::const_new(4);

/// Answers each partition. Lookups by time may read from the disk, so they run beside the connection's next requests.
pub fn handle(cx: &Arc<RequestContext>, request: ListOffsetsRequest) -> Reply {
    let reads_records = request
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .any(|wanted| wanted.timestamp >= 0 || wanted.timestamp == -3);
    if !reads_records {
        return cx.reply(&answer(cx, request));
    }
    let context = Arc::clone(cx);
    cx.later(async move {
        let turn = LOOKUPS.acquire().await.expect("never closed");
        let lookup = tokio::task::spawn_blocking(move || {
            // given back by the thread: a client that goes away does not stop its lookup
            let _turn = turn;
            answer(&context, request)
        });
        lookup.await.expect("lookups do not panic")
    })
}

fn answer(cx: &RequestContext, request: ListOffsetsRequest) -> ListOffsetsResponse {
    // -1: a client; any replica reads up to the log's end (`ReplicaManager.fetchOffset`)
    let isolation = match (request.replica_id.0, request.isolation_level) {
        (0.., _) | (-2, _) => Isolation::LogEnd,
        (_, 1) => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for topic in &request.topics {
        for wanted in &topic.partitions {
            if !seen.insert((topic.name.clone(), wanted.partition_index)) {
                twice.insert((topic.name.clone(), wanted.partition_index));
            }
        }
    }
    let topics = request.topics.into_iter().map(|topic| {
        let hosted = cx.services.partitions.topic(&topic.name);
        let partitions = topic.partitions.iter().map(|wanted| {
            let found = if twice.contains(&(topic.name.clone(), wanted.partition_index)) {
                Err(ErrorCode::InvalidRequest)
            } else {
                find(hosted.as_deref(), wanted, isolation, cx.api_version)
            };
            partition_answer(wanted.partition_index, found, cx.api_version)
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default()
            .with_name(topic.name)
            .with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn find(
    topic: Option<&HostedTopic>,
    wanted: &ListOffsetsPartition,
    isolation: Isolation,
    version: i16,
) -> Result<FoundOffset, ErrorCode> {
    let query = query(wanted.timestamp, version).ok_or(ErrorCode::UnsupportedVersion)?;
    let partition = topic
        .ok_or(ErrorCode::UnknownTopicOrPartition)?
        .hosted(wanted.partition_index)?;
    partition
        .check_leader_epoch(wanted.current_leader_epoch)
        .map_err(|error| error.error_code())?;
    partition
        .find_offset(query, isolation)
        .map_err(|error| error.error_code())
}

/// What a timestamp field asks for in this version; `None` when it is a special value that the version lacks.
fn query(timestamp: i64, version: i16) -> Option<OffsetQuery> {
    let (query, since) = match timestamp {
        -1 => (OffsetQuery::Latest, 0),
        -2 => (OffsetQuery::Earliest, 0),
        -3 => (OffsetQuery::MaxTimestamp, 7),
        -4 => (OffsetQuery::Earliest, 8),
        -5 => (OffsetQuery::Tiered, 9),
        -6 => (OffsetQuery::Tiered, 11),
        timestamp if timestamp >= 0 => (OffsetQuery::Timestamp(timestamp), 0),
        _ => return None,
    };
    (version >= since).then_some(query)
}

fn partition_answer(index: i32, found: Result<FoundOffset, ErrorCode>, version: i16) -> ListOffsetsPartitionResponse {
    let answer = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match found {
        Ok(found) => {
            let leader_epoch = if version >= 4 { found.leader_epoch } else { -1 };
            answer
                .with_timestamp(found.timestamp_ms)
                .with_offset(found.offset)
                .with_leader_epoch(leader_epoch)
        }
        Err(code) => answer.with_error_code(code.code()).with_timestamp(-1).with_offset(-1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_values_belong_to_their_versions() {
        assert_eq!(query(-3, 6), None);
        assert_eq!(query(-3, 7), Some(OffsetQuery::MaxTimestamp));
        assert_eq!(query(-4, 8), Some(OffsetQuery::Earliest));
        assert_eq!(query(-6, 10), None);
        assert_eq!(query(-6, 11), Some(OffsetQuery::Tiered));
        assert_eq!(query(-7, 11), None);
        assert_eq!(query(-7, 10), None);
        assert_eq!(query(12, 1), Some(OffsetQuery::Timestamp(12)));
    }
}
