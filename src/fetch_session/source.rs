//! What a session keeps beside each partition: where it is, and the watch on it.
//!
//! Invariants: a session holds no partition alive (a deleted topic gives its disk back while sessions still name it);
//! what it holds is used only as long as the partition is open, else it is looked up again, so that deletion,
//! recreation and moves are noticed.

use std::sync::{Arc, Weak};

use protocol::error_code::ErrorCode;

use crate::fetch_session::session::{PartitionKey, SessionPartition, TopicKey};
use crate::partition::fetch_wait::FetchWaiter;
use crate::partition::partition::Partition;
use crate::partition::registry::PartitionRegistry;
use crate::partition::waiters::FetchRegistration;

/// Where a partition of a session is.
#[derive(Debug, Default)]
pub struct PartitionSource {
    partition: Weak<Partition>,
    /// The topic's name, once it was found: of a topic that is named by id it tells what became of that.
    topic_name: Option<Arc<str>>,
    registration: Option<FetchRegistration>,
}

impl PartitionSource {
    /// What is known of a partition that was found.
    pub fn of(partition: &Arc<Partition>) -> Self {
        Self {
            partition: Arc::downgrade(partition),
            topic_name: Some(Arc::clone(partition.topic())),
            registration: None,
        }
    }
}

impl SessionPartition<PartitionSource> {
    /// The partition, or Kafka's code for why there is none.
    ///
    /// # Errors
    /// Those of [`find`]; of a topic that was there before, UNKNOWN_TOPIC_OR_PARTITION (3) when it is gone and
    /// INCONSISTENT_TOPIC_ID (103) when another one has its name.
    pub fn resolve(&mut self, registry: &PartitionRegistry) -> Result<Arc<Partition>, ErrorCode> {
        if let Some(partition) = self.source.partition.upgrade().filter(|known| !known.is_closed()) {
            return Ok(partition);
        }
        let found = find(registry, &self.key).map_err(|code| match (&self.source.topic_name, code) {
            (Some(name), ErrorCode::UnknownTopicId) => match registry.partition(name, self.key.partition) {
                Some(_) => ErrorCode::InconsistentTopicId,
                None => ErrorCode::UnknownTopicOrPartition,
            },
            _ => code,
        });
        self.watched = false;
        self.source.registration = None;
        if let Ok(partition) = &found {
            self.source = PartitionSource::of(partition);
        }
        found
    }

    /// Lets the partition tell `waiter` of what happens from now on.
    pub fn watch(&mut self, partition: &Partition, waiter: &Arc<FetchWaiter>, slot: u32) {
        if self.watched {
            return;
        }
        let known = self.source.registration.as_ref();
        match known.filter(|registration| partition.is_watched_by(registration)) {
            Some(registration) => registration.renew(),
            None => self.source.registration = Some(partition.watch(waiter, slot)),
        }
        self.watched = true;
    }
}

/// The partition with this name.
///
/// # Errors
/// UNKNOWN_TOPIC_ID (100) or UNKNOWN_TOPIC_OR_PARTITION (3), as the topic is named; KAFKA_STORAGE_ERROR when its log is
/// offline.
pub fn find(registry: &PartitionRegistry, key: &PartitionKey) -> Result<Arc<Partition>, ErrorCode> {
    let topic = match &key.topic {
        TopicKey::Name(name) => registry.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)?,
        TopicKey::Id(topic_id) => registry.topic_by_id(topic_id).ok_or(ErrorCode::UnknownTopicId)?,
    };
    topic.hosted(key.partition).map(Arc::clone)
}
