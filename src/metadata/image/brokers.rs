//! Registered brokers.

use std::sync::Arc;

use protocol::types::BrokerId;
use rpds::RedBlackTreeMapSync;
use uuid::Uuid;

use crate::metadata::command::Endpoint;

/// One registered broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerImage {
    /// `node.id`.
    pub id: BrokerId,
    /// Log index of the registration: rises with every process start.
    pub epoch: i64,
    /// Drawn by the process at its start.
    pub incarnation: Uuid,
    /// Where clients reach it.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Whether it may lead partitions and is shown to clients.
    pub fenced: bool,
}

/// All registered brokers, by id.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BrokersImage {
    by_id: RedBlackTreeMapSync<BrokerId, Arc<BrokerImage>>,
}

impl BrokersImage {
    /// The broker of this id.
    pub fn get(&self, id: BrokerId) -> Option<&Arc<BrokerImage>> {
        self.by_id.get(&id)
    }

    /// All, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<BrokerImage>> {
        self.by_id.values()
    }

    /// Those that are not fenced, sorted by id.
    pub fn active(&self) -> impl Iterator<Item = &Arc<BrokerImage>> {
        self.iter().filter(|broker| !broker.fenced)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.size()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(in crate::metadata) fn insert(&mut self, broker: BrokerImage) {
        self.by_id.insert_mut(broker.id, Arc::new(broker));
    }
}
