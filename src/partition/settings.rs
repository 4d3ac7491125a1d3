//! What a topic's configuration means for one of its partitions.
//!
//! Invariant: immutable; a changed topic configuration makes a new value.

use std::sync::Arc;

use protocol::record::{ProduceLimits, Recompression};
use protocol::types::Now;
use storage::config::LogConfig;

/// Settings of one partition, resolved from topic, broker and defaults.
#[derive(Debug, Clone)]
pub struct PartitionSettings {
    /// What the log needs.
    pub log: Arc<LogConfig>,
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// `compression.type` and its level; `None` keeps batches as they come.
    pub recompression: Option<Recompression>,
    /// `monedula.record.validation=full`: compressed batches are opened and every record is checked.
    pub full_validation: bool,
    /// `transaction.partition.verification.enable`
    pub transaction_verification: bool,
    /// Most bytes a compressed batch may have when opened, in bytes.
    pub max_decompressed_bytes: usize,
}

impl PartitionSettings {
    /// Whether an acknowledgement means that the bytes are on the disk (`flush.messages=1`).
    pub fn acks_are_durable(&self) -> bool {
        self.log.flush_messages <= 1
    }

    /// The limits that a produced batch has to keep. `allow_zstd`: the request's version knows zstd (v7 and later).
    pub fn produce_limits(&self, now: Now, allow_zstd: bool) -> ProduceLimits {
        ProduceLimits {
            max_message_bytes: self.log.max_message_bytes as usize,
            timestamp_type: self.log.message_timestamp_type,
            timestamp_before_max_ms: self.log.message_timestamp_before_max_ms,
            timestamp_after_max_ms: self.log.message_timestamp_after_max_ms,
            now_ms: now.wall_ms,
            require_keys: self.log.compact,
            allow_zstd,
            full_validation: self.full_validation,
            max_decompressed_bytes: self.max_decompressed_bytes,
        }
    }
}
