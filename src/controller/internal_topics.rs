//! How the broker's own topics are made, whoever asks for them first.
//!
//! Source: Kafka's `AutoTopicCreationManager` and `GroupCoordinatorConfig`: group state is compacted, its compression
//! is the broker's own choice, and its segments are small so that they are cleaned and loaded fast.

use super::topics::TopicSpec;
use crate::metadata::topic_name::CONSUMER_OFFSETS;

/// The topic of group state and committed offsets.
pub fn consumer_offsets(num_partitions: i32, replication_factor: i16, segment_bytes: i32) -> TopicSpec {
    let configs = [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", segment_bytes.to_string()),
    ];
    TopicSpec {
        name: CONSUMER_OFFSETS.to_owned(),
        num_partitions,
        replication_factor,
        assignments: Vec::new(),
        configs: configs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Some(value)))
            .collect(),
    }
}
