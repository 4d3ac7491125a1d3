//! What a [`TransactionCoordinator`](super::TransactionCoordinator) is started with, and how the broker's configuration
//! gives it.
//!
//! Invariant: the way markers are written and producer ids are found is given, so that the coordinator knows neither
//! partitions nor the controller.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::types::{PartitionIndex, ProducerId};
use tokio::runtime::Handle;

use super::config::TransactionConfig;
use crate::config::broker::BrokerConfig;
use crate::coordinator::markers::{MarkerFuture, MarkerWriter};
use crate::coordinator::runtime::log::CoordinatorLog;
use crate::coordinator::runtime::{Clock, Entropy, Limits};
use crate::env::Env;
use crate::partition::marker::Marker;

/// How long an answer waits until its record is committed.
const COMMIT_TIMEOUT_MS: i64 = 30_000;

/// A producer id that comes later.
pub type ProducerIdFuture = Pin<Box<dyn Future<Output = Result<ProducerId, ErrorCode>> + Send>>;

/// Where fresh producer ids come from.
pub trait ProducerIdSource: Send + Sync + fmt::Debug {
    /// An id that nobody has and nobody will get again; an error when there is none at the moment.
    fn next(&self) -> ProducerIdFuture;
}

/// How markers are written; see [`MarkerWriter::write`].
pub trait WriteMarkers: Send + Sync + fmt::Debug {
    /// Writes one. It has its place in the order of the partition when this returns.
    fn write(&self, marker: Marker, topic: &Arc<str>, partition: PartitionIndex) -> MarkerFuture;
}

impl WriteMarkers for MarkerWriter {
    fn write(&self, marker: Marker, topic: &Arc<str>, partition: PartitionIndex) -> MarkerFuture {
        Box::pin(Self::write(self, marker, topic, partition))
    }
}

/// The parts of a transaction coordinator.
pub struct StartTransactions {
    /// Values of the configuration.
    pub config: TransactionConfig,
    /// Bounds of the shards.
    pub limits: Limits,
    /// The topic of transaction state.
    pub log: Arc<dyn CoordinatorLog>,
    /// Tells the time.
    pub clock: Clock,
    /// Random ids, which every coordinator is given.
    pub entropy: Entropy,
    /// Where the shards' tasks run.
    pub runtime: Handle,
    /// Fresh producer ids.
    pub producer_ids: Arc<dyn ProducerIdSource>,
    /// The way to the partitions.
    pub markers: Arc<dyn WriteMarkers>,
}

impl fmt::Debug for StartTransactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartTransactions")
            .field("config", &self.config)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

impl StartTransactions {
    /// For a broker with this configuration.
    pub fn new(
        config: &BrokerConfig,
        log: Arc<dyn CoordinatorLog>,
        env: Env,
        runtime: Handle,
        producer_ids: Arc<dyn ProducerIdSource>,
        markers: Arc<dyn WriteMarkers>,
    ) -> Self {
        let entropy = env.clone();
        Self {
            config: transaction_config(config),
            limits: limits(config),
            log,
            clock: Arc::new(move || env.now()),
            entropy: Arc::new(move || entropy.uuid()),
            runtime,
            producer_ids,
            markers,
        }
    }
}

fn transaction_config(config: &BrokerConfig) -> TransactionConfig {
    TransactionConfig {
        transaction_state_log_num_partitions: config.transaction_state_log_num_partitions,
        transaction_max_timeout_ms: config.transaction_max_timeout_ms,
        transactional_id_expiration_ms: config.transactional_id_expiration_ms.into(),
        transaction_abort_timed_out_transaction_cleanup_interval_ms: config
            .transaction_abort_timed_out_transaction_cleanup_interval_ms
            .into(),
        transaction_remove_expired_transaction_cleanup_interval_ms: config
            .transaction_remove_expired_transaction_cleanup_interval_ms
            .into(),
        max_partitions: count(config.monedula_transaction_max_partitions),
    }
}

fn limits(config: &BrokerConfig) -> Limits {
    Limits {
        max_keys: count(config.monedula_max_transactional_ids),
        commit_timeout_ms: COMMIT_TIMEOUT_MS,
        load_buffer_bytes: count(config.transaction_state_log_load_buffer_size),
        rewrite_bytes: u64::try_from(config.monedula_coordinator_rewrite_bytes).unwrap_or(0),
        mailbox_size: count(config.monedula_coordinator_mailbox_size),
        ..Limits::default()
    }
}

/// The table of configs admits no negative values for what is counted.
fn count(value: i32) -> usize {
    usize::try_from(value).unwrap_or(0)
}
