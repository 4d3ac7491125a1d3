//! Topics and partitions, found by name and by id.
//!
//! Invariants: the two maps hold the same topics; of names that are equal up to '.' and '_' at most one exists;
//! `partition_count` is the sum over all topics.

use std::ops::Bound;
use std::sync::Arc;

use protocol::types::{BrokerId, LeaderEpoch, PartitionIndex, TopicId};
use rpds::RedBlackTreeMapSync;

use crate::metadata::topic_name;

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; a topic made again under the same name has another.
    pub id: TopicId,
    /// Whether it belongs to the broker.
    pub internal: bool,
    /// Its partitions; the position is the index.
    pub partitions: Vec<PartitionImage>,
}

impl TopicImage {
    /// The partition of this index.
    pub fn partition(&self, index: PartitionIndex) -> Option<&PartitionImage> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionImage {
    /// Its brokers, preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Those in sync.
    pub isr: Vec<BrokerId>,
    /// The leader; -1 = none.
    pub leader: BrokerId,
    /// Rises with every change of the leader, or when the leader may have lost the end of its log. Never falls.
    pub leader_epoch: LeaderEpoch,
    /// Rises with every change of the partition.
    pub partition_epoch: i32,
}

/// All topics.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TopicsImage {
    by_name: RedBlackTreeMapSync<Arc<str>, Arc<TopicImage>>,
    by_id: RedBlackTreeMapSync<TopicId, Arc<TopicImage>>,
    /// Collision key → name, for names with '.' or '_' only.
    by_collision_key: RedBlackTreeMapSync<String, Arc<str>>,
    partition_count: usize,
}

impl TopicsImage {
    /// The topic of this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.by_name.get(name)
    }

    /// The topic of this id.
    pub fn by_id(&self, id: &TopicId) -> Option<&Arc<TopicImage>> {
        self.by_id.get(id)
    }

    /// The existing topic whose name is equal to this one up to '.' and '_', if any.
    pub fn colliding(&self, name: &str) -> Option<&Arc<str>> {
        self.by_collision_key.get(&topic_name::collision_key(name))
    }

    /// All, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<TopicImage>> {
        self.by_name.values()
    }

    /// Those of this name and behind it, sorted by name.
    pub fn from<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<TopicImage>> {
        let names = (Bound::Included(name), Bound::Unbounded);
        self.by_name.range::<str, _>(names).map(|(_, topic)| topic)
    }

    /// How many topics.
    pub fn len(&self) -> usize {
        self.by_name.size()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// How many partitions, over all topics.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// Adds a topic, or replaces the one with the same name and id.
    pub(in crate::metadata) fn insert(&mut self, topic: TopicImage) {
        let topic = Arc::new(topic);
        if let Some(old) = self.by_name.get(&topic.name) {
            assert_eq!(old.id, topic.id, "a topic is removed before another takes its name");
            self.partition_count -= old.partitions.len();
        }
        self.partition_count += topic.partitions.len();
        if has_collision_characters(&topic.name) {
            self.by_collision_key
                .insert_mut(topic_name::collision_key(&topic.name), Arc::clone(&topic.name));
        }
        self.by_id.insert_mut(topic.id, Arc::clone(&topic));
        self.by_name.insert_mut(Arc::clone(&topic.name), topic);
    }

    pub(in crate::metadata) fn remove(&mut self, id: &TopicId) -> Option<Arc<TopicImage>> {
        let topic = Arc::clone(self.by_id.get(id)?);
        self.partition_count -= topic.partitions.len();
        self.by_id.remove_mut(id);
        self.by_name.remove_mut(&topic.name);
        if has_collision_characters(&topic.name) {
            self.by_collision_key
                .remove_mut(&topic_name::collision_key(&topic.name));
        }
        Some(topic)
    }
}

fn has_collision_characters(name: &str) -> bool {
    name.contains(['.', '_'])
}
