//! Which partitions this broker hosts: topic name or id and index to `Arc<Partition>`.
//!
//! Invariant: a registry only. The `Arc` is cloned out and the map's guard dropped in the same expression; no second
//! map operation happens while a guard lives.

use std::sync::Arc;

use dashmap::DashMap;
use protocol::error_code::ErrorCode;
use protocol::types::{PartitionIndex, TopicId};

use crate::partition::partition::Partition;

/// The hosted partitions of one topic. Replaced as a whole when a partition comes or goes.
#[derive(Debug, Clone)]
pub struct HostedTopic {
    /// Topic name.
    pub name: Arc<str>,
    /// Topic id.
    pub topic_id: TopicId,
    /// Whether clients may not write to it (`__consumer_offsets` and its like).
    pub internal: bool,
    /// By index; `None` where this broker hosts no replica or its log could not be opened.
    pub partitions: Vec<Option<Arc<Partition>>>,
}

impl HostedTopic {
    /// The partition with this index, if it is hosted here.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)?.as_ref()
    }

    /// The partition with this index, or why there is none.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION when the topic has no such partition, KAFKA_STORAGE_ERROR when its log is offline.
    pub fn hosted(&self, index: PartitionIndex) -> Result<&Arc<Partition>, ErrorCode> {
        let slot = usize::try_from(index).ok().and_then(|index| self.partitions.get(index));
        slot.ok_or(ErrorCode::UnknownTopicOrPartition)?
            .as_ref()
            .ok_or(ErrorCode::KafkaStorageError)
    }
}

/// All hosted topics, by name and by id.
#[derive(Debug, Default)]
pub struct PartitionRegistry {
    by_name: DashMap<Arc<str>, Arc<HostedTopic>>,
    by_id: DashMap<TopicId, Arc<HostedTopic>>,
}

impl PartitionRegistry {
    /// The topic with this name.
    pub fn topic(&self, name: &str) -> Option<Arc<HostedTopic>> {
        self.by_name.get(name).map(|topic| Arc::clone(topic.value()))
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, topic_id: &TopicId) -> Option<Arc<HostedTopic>> {
        self.by_id.get(topic_id).map(|topic| Arc::clone(topic.value()))
    }

    /// One partition by topic name and index.
    pub fn partition(&self, name: &str, index: PartitionIndex) -> Option<Arc<Partition>> {
        self.topic(name)?.partition(index).map(Arc::clone)
    }

    /// Adds or replaces a topic.
    pub fn insert(&self, topic: HostedTopic) {
        let topic = Arc::new(topic);
        self.by_id.insert(topic.topic_id, Arc::clone(&topic));
        self.by_name.insert(Arc::clone(&topic.name), topic);
    }

    /// Takes a topic out, if the name still stands for this id.
    pub fn remove(&self, name: &str, topic_id: &TopicId) -> Option<Arc<HostedTopic>> {
        self.by_name.remove_if(name, |_, topic| topic.topic_id == *topic_id);
        self.by_id.remove(topic_id).map(|(_, topic)| topic)
    }

    /// All topics at this moment, in no order.
    pub fn topics(&self) -> Vec<Arc<HostedTopic>> {
        self.by_id.iter().map(|topic| Arc::clone(topic.value())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, topic_id: u128) -> HostedTopic {
        let topic_id = TopicId::from_u128(topic_id);
        HostedTopic {
            name: name.into(),
            topic_id,
            internal: false,
            partitions: vec![None],
        }
    }

    #[test]
    fn a_recreated_topic_is_not_removed_by_its_old_id() {
        let registry = PartitionRegistry::default();
        registry.insert(topic("orders", 1));
        registry.insert(topic("orders", 2));
        registry.remove("orders", &TopicId::from_u128(1));
        assert_eq!(
            registry.topic("orders").map(|topic| topic.topic_id),
            Some(TopicId::from_u128(2))
        );
        assert!(registry.topic_by_id(&TopicId::from_u128(1)).is_none());
        assert!(registry.partition("orders", 0).is_none());
        assert!(registry.partition("orders", -1).is_none());
    }
}
