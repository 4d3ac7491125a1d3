//! Owns the settings of one partition log, already resolved (topic over broker over default).
//!
//! Names are Kafka's topic configs; their texts, ranges and where a value came from are known to the broker's config
//! table, not here.
//! Invariant: values were checked by whoever resolved them; this crate still never divides by or allocates after one of
//! them.

use protocol::record::TimestampType;

use crate::producer::DEFAULT_MAX_PRODUCER_IDS;

/// Settings of one log, immutable; a change replaces the whole value ([`crate::log::writer::LogWriter::set_config`]).
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is rolled before it would grow beyond this.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is rolled when its first batch is older than this.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: upper bound of what is taken off `segment.ms`, different for each segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment is rolled when its offset or time index would grow beyond this.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: one index entry per so many bytes written.
    pub index_interval_bytes: u32,
    /// `max.message.bytes`: largest batch taken from a producer (checked before the log sees the batch).
    pub max_message_bytes: u32,
    /// `flush.messages`: messages after which a sync is asked for at once; 1 = acknowledgements wait for the disk.
    pub flush_messages: i64,
    /// `flush.ms`: how long after the first dirty byte a sync follows.
    pub flush_ms: i64,
    /// `preallocate`: reserve the whole segment when it is made, instead of step by step.
    pub preallocate: bool,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub message_timestamp_after_max_ms: i64,
    /// `retention.ms`; -1 = no limit.
    pub retention_ms: i64,
    /// `retention.bytes`; -1 = no limit.
    pub retention_bytes: i64,
    /// `file.delete.delay.ms`: how long the files of a removed segment stay under the `.deleted` suffix.
    pub file_delete_delay_ms: i64,
    /// `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `producer.id.expiration.ms` (a broker config).
    pub producer_id_expiration_ms: i64,
    /// `monedula.partition.max.producer.ids` (a broker config): producer ids that are remembered, and verifications of
    /// transactions that are under way.
    pub max_producer_ids: usize,
}

impl Default for LogConfig {
    /// Kafka 4.3's defaults, except `flush_ms`: Kafka leaves syncing to the kernel, we follow within 100 ms.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            max_message_bytes: 1_048_588,
            flush_messages: i64::MAX,
            flush_ms: 100,
            preallocate: false,
            message_timestamp_type: TimestampType::CreateTime,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: 3_600_000,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            file_delete_delay_ms: 60_000,
            compact: false,
            delete: true,
            producer_id_expiration_ms: 86_400_000,
            max_producer_ids: DEFAULT_MAX_PRODUCER_IDS,
        }
    }
}

impl LogConfig {
    /// Whether an acknowledgement has to wait until the bytes are on the disk (group commit).
    #[must_use]
    pub fn acks_wait_for_disk(&self) -> bool {
        self.flush_messages <= 1 || self.flush_ms <= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_message_or_no_delay_makes_acks_wait() {
        let config = LogConfig::default();
        assert!(!config.acks_wait_for_disk());
        assert!(
            LogConfig {
                flush_messages: 1,
                ..config.clone()
            }
            .acks_wait_for_disk()
        );
        assert!(
            LogConfig {
                flush_ms: 0,
                ..config.clone()
            }
            .acks_wait_for_disk()
        );
        assert!(
            !LogConfig {
                flush_messages: 2,
                ..config
            }
            .acks_wait_for_disk()
        );
    }
}
