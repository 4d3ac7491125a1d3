//! Producer ids, handed out from a block that the controller gave to this broker.
//!
//! Invariants: an id is given once, over all brokers and restarts (what is left of a block at a stop is lost);
//! at most one block is asked for at a time. Source: Kafka's `RPCProducerIdManager`, block size 1000.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::types::{BrokerId, ProducerId};

use super::queue::{Controller, ControllerError};

/// Ids per block, as in Kafka.
const BLOCK_SIZE: u32 = 1_000;

/// See the module.
#[derive(Debug)]
pub struct ProducerIds {
    node_id: BrokerId,
    controller: Arc<Controller>,
    block: Mutex<Range<ProducerId>>,
    /// Held by the one that asks for a block.
    refill: tokio::sync::Mutex<()>,
}

impl ProducerIds {
    /// Starts without a block; the first id asks for one.
    pub fn new(node_id: BrokerId, controller: Arc<Controller>) -> Self {
        Self {
            node_id,
            controller,
            block: Mutex::new(0..0),
            refill: tokio::sync::Mutex::new(()),
        }
    }

    /// An id from the block at hand.
    pub fn try_next(&self) -> Option<ProducerId> {
        self.block.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    /// An id, after asking the controller for a block if need be.
    pub async fn next(&self) -> Result<ProducerId, ControllerError> {
        if let Some(id) = self.try_next() {
            return Ok(id);
        }
        let _refill = self.refill.lock().await;
        loop {
            if let Some(id) = self.try_next() {
                return Ok(id);
            }
            let block = match self.controller.allocate_producer_ids(self.node_id, BLOCK_SIZE).await? {
                Ok(block) => block,
                Err(error) => {
                    tracing::error!(%error, "no producer ids");
                    return Err(ControllerError::Stopped);
                }
            };
            *self.block.lock().unwrap_or_else(PoisonError::into_inner) =
                block.first..block.first + i64::from(block.count);
        }
    }
}
