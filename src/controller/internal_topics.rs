//! How the broker's own topics are made, whoever asks for them first.
//!
//! Source: Kafka's `AutoTopicCreationManager`, `GroupCoordinatorConfig` and `TransactionStateManager`: state is
//! compacted, its compression is the broker's own choice or none, and its segments are small so that they are cleaned
//! and loaded fast.

use super::topics::TopicSpec;
use crate::metadata::topic_name::{CONSUMER_OFFSETS, TRANSACTION_STATE};

/// The topic of group state and committed offsets.
pub fn consumer_offsets(num_partitions: i32, replication_factor: i16, segment_bytes: i32) -> TopicSpec {
    let configs = [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", segment_bytes.to_string()),
    ];
    compacted(CONSUMER_OFFSETS, num_partitions, replication_factor, configs.into())
}

/// The topic of the state of transactions.
pub fn transaction_state(num_partitions: i32, replication_factor: i16, min_isr: i32, segment_bytes: i32) -> TopicSpec {
    let configs = [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "uncompressed".to_owned()),
        ("min.insync.replicas", min_isr.to_string()),
        ("segment.bytes", segment_bytes.to_string()),
        ("unclean.leader.election.enable", "false".to_owned()),
    ];
    compacted(TRANSACTION_STATE, num_partitions, replication_factor, configs.into())
}

fn compacted(
    name: &str,
    num_partitions: i32,
    replication_factor: i16,
    configs: Vec<(&'static str, String)>,
) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        num_partitions,
        replication_factor,
        assignments: Vec::new(),
        configs: configs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Some(value)))
            .collect(),
    }
}
