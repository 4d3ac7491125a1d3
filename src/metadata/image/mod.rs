//! The metadata of the cluster at one point of its log: immutable once shared, cheap to clone and to change.
//!
//! Invariants: every map is persistent (a clone shares all nodes), so readers keep an old image as long as they like;
//! topics are found by name and by id with the same result; partitions of a topic are dense from 0;
//! only [`super::apply`] and [`super::image::snapshot`] make new images.

pub mod brokers;
pub mod configs;
pub mod snapshot;
pub mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::types::{BrokerId, PartitionIndex, ProducerId, TopicId};

use self::brokers::BrokersImage;
use self::configs::{ConfigMap, ConfigsImage};
use self::topics::{PartitionImage, TopicImage, TopicsImage};

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct MetadataImage {
    /// Kafka's 22-character id; empty before the first command.
    pub cluster_id: Arc<str>,
    /// Level of behaviour that all members support.
    pub feature_level: u32,
    /// Registered brokers.
    pub brokers: BrokersImage,
    /// Topics and their partitions.
    pub topics: TopicsImage,
    /// Values that differ from the defaults.
    pub configs: ConfigsImage,
    /// First producer id that no broker got yet.
    pub next_producer_id: ProducerId,
    /// Levels of features that were set; what was never set has its initial level ([`super::features`]).
    pub features: BTreeMap<String, i16>,
    /// Log index of the last command in this image.
    pub applied_index: u64,
}

impl Default for MetadataImage {
    fn default() -> Self {
        Self {
            cluster_id: Arc::from(""),
            feature_level: 0,
            brokers: BrokersImage::default(),
            topics: TopicsImage::default(),
            configs: ConfigsImage::default(),
            next_producer_id: 0,
            features: BTreeMap::new(),
            applied_index: 0,
        }
    }
}

impl MetadataImage {
    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.by_name(name)
    }

    /// The topic of this id.
    pub fn topic_by_id(&self, id: &TopicId) -> Option<&Arc<TopicImage>> {
        self.topics.by_id(id)
    }

    /// All topics, sorted by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.topics.iter()
    }

    /// The topics of this name and behind it, sorted by name.
    pub fn topics_from<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<TopicImage>> {
        self.topics.from(name)
    }

    /// One partition.
    pub fn partition(&self, topic: &str, index: PartitionIndex) -> Option<&PartitionImage> {
        self.topic(topic)?.partition(index)
    }

    /// What was set on the topic itself; empty for an unknown topic.
    pub fn topic_configs(&self, topic: &str) -> &ConfigMap {
        self.configs.topic(topic)
    }

    /// Whether the broker is registered and not fenced.
    pub fn is_active(&self, broker: BrokerId) -> bool {
        self.brokers.get(broker).is_some_and(|broker| !broker.fenced)
    }
}
