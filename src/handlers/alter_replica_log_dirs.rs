//! AlterReplicaLogDirs (34), versions 1-2.
//!
//! Answered when a move is accepted; it goes on in the background and shows in DescribeLogDirs. Where one partition is
//! named twice the last directory counts, as in Kafka (`AlterReplicaLogDirsRequest.partitionDirs`). Codes per partition:
//! LOG_DIR_NOT_FOUND (57), KAFKA_STORAGE_ERROR (56), UNKNOWN_TOPIC_OR_PARTITION (3, the directory is remembered for when
//! the partition comes), INVALID_REPLICA_ASSIGNMENT (39, cordoned), INVALID_TOPIC_EXCEPTION (17, the copy's name would be too
//! long). Source: `ReplicaManager.alterReplicaLogDirs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, TopicName};
use protocol::error_code::ErrorCode;
use protocol::types::PartitionIndex;

use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;
use crate::partition::hosting::moves::MoveError;

/// Notes the moves that are wanted.
pub(super) fn handle(cx: &Arc<RequestContext>, request: AlterReplicaLogDirsRequest) -> Reply {
    let hosting = &cx.services.hosting;
    cx.reply(&answer(&request, |topic, partition, path| {
        hosting
            .alter_replica_log_dir(topic, partition, path)
            .map_or_else(MoveError::error_code, |()| ErrorCode::None)
    }))
}

fn answer(
    request: &AlterReplicaLogDirsRequest,
    mut alter: impl FnMut(&str, PartitionIndex, &str) -> ErrorCode,
) -> AlterReplicaLogDirsResponse {
    let mut wanted: BTreeMap<&TopicName, BTreeMap<PartitionIndex, &str>> = BTreeMap::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            let partitions = wanted.entry(&topic.name).or_default();
            partitions.extend(topic.partitions.iter().map(|partition| (*partition, dir.path.as_str())));
        }
    }
    let results = wanted.into_iter().map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|(partition, path)| {
            AlterReplicaLogDirPartitionResult::default()
                .with_partition_index(partition)
                .with_error_code(alter(topic, partition, path).code())
        });
        AlterReplicaLogDirTopicResult::default()
            .with_topic_name(topic.clone())
            .with_partitions(partitions.collect())
    });
    AlterReplicaLogDirsResponse::default().with_results(results.collect())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    #[test]
    fn the_last_directory_of_a_partition_counts_and_each_is_answered_once() {
        let dir = |path, topic, partitions: &[i32]| {
            let topic = AlterReplicaLogDirTopic::default()
                .with_name(TopicName(StrBytes::from_static_str(topic)))
                .with_partitions(partitions.to_vec());
            AlterReplicaLogDir::default()
                .with_path(StrBytes::from_static_str(path))
                .with_topics(vec![topic])
        };
        let dirs = vec![dir("/a", "t", &[0, 1]), dir("/b", "t", &[1, 1]), dir("/b", "s", &[0])];
        let mut asked = Vec::new();
        let response = answer(
            &AlterReplicaLogDirsRequest::default().with_dirs(dirs),
            |topic, partition, path| {
                asked.push(format!("{topic}-{partition} {path}"));
                if topic == "s" {
                    ErrorCode::UnknownTopicOrPartition
                } else {
                    ErrorCode::None
                }
            },
        );
        assert_eq!(asked, ["s-0 /b", "t-0 /a", "t-1 /b"]);
        let codes: Vec<Vec<i16>> = response
            .results
            .iter()
            .map(|topic| topic.partitions.iter().map(|partition| partition.error_code).collect())
            .collect();
        assert_eq!(codes, [vec![3], vec![0, 0]]);
    }
}
