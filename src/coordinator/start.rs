//! What a [`GroupCoordinator`](super::GroupCoordinator) is started with, and how the broker's configuration gives it.
//!
//! Invariant: the number of partitions is that of the topic as it was made, whatever the configuration says now.

use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::group::config::GroupConfig;
use super::runtime::log::CoordinatorLog;
use super::runtime::{Clock, Entropy, Limits};
use crate::config::broker::BrokerConfig;
use crate::env::Env;

/// The parts of a group coordinator.
pub struct StartGroups {
    /// Values of the configuration.
    pub config: GroupConfig,
    /// Bounds of the shards.
    pub limits: Limits,
    /// The offsets topic.
    pub log: Arc<dyn CoordinatorLog>,
    /// Tells the time.
    pub clock: Clock,
    /// Makes ids.
    pub entropy: Entropy,
    /// Where the shards' tasks run.
    pub runtime: Handle,
}

impl fmt::Debug for StartGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartGroups")
            .field("config", &self.config)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

impl StartGroups {
    /// For a broker whose offsets topic has `partitions`.
    pub fn new(
        config: &BrokerConfig,
        partitions: i32,
        log: Arc<dyn CoordinatorLog>,
        env: Env,
        runtime: Handle,
    ) -> Self {
        let entropy = env.clone();
        Self {
            config: group_config(config, partitions),
            limits: limits(config),
            log,
            clock: Arc::new(move || env.now()),
            entropy: Arc::new(move || entropy.uuid()),
            runtime,
        }
    }
}

fn group_config(config: &BrokerConfig, partitions: i32) -> GroupConfig {
    GroupConfig {
        offsets_topic_num_partitions: partitions,
        group_min_session_timeout_ms: config.group_min_session_timeout_ms,
        group_max_session_timeout_ms: config.group_max_session_timeout_ms,
        group_initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
        group_max_size: count(config.group_max_size),
        group_max_pending_members: count(config.monedula_group_max_pending_members),
        group_max_pending_offsets: count(config.monedula_group_max_pending_offsets),
        offset_metadata_max_bytes: count(config.offset_metadata_max_bytes),
        offsets_retention_ms: i64::from(config.offsets_retention_minutes) * 60_000,
        offsets_retention_check_interval_ms: config.offsets_retention_check_interval_ms,
        ..GroupConfig::default()
    }
}

fn limits(config: &BrokerConfig) -> Limits {
    Limits {
        max_keys: count(config.monedula_max_groups),
        commit_timeout_ms: i64::from(config.offsets_commit_timeout_ms),
        load_buffer_bytes: count(config.offsets_load_buffer_size),
        rewrite_bytes: u64::try_from(config.monedula_coordinator_rewrite_bytes).unwrap_or(0),
        mailbox_size: count(config.monedula_coordinator_mailbox_size),
        ..Limits::default()
    }
}

/// The table of configs admits no negative values for what is counted.
fn count(value: i32) -> usize {
    usize::try_from(value).unwrap_or(0)
}
