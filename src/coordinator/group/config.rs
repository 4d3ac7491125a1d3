//! What can be configured about groups, as plain values.
//!
//! Invariant: every limit of the coordinator is here, under Kafka's name where Kafka has it.

/// Values of the group coordinator; the defaults are Kafka 4.3's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `offsets.topic.num.partitions`: over how many shards the groups are spread.
    pub offsets_topic_num_partitions: i32,
    /// `group.min.session.timeout.ms`.
    pub group_min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub group_max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long the first rebalance of an empty group waits for more members.
    pub group_initial_rebalance_delay_ms: i32,
    /// `group.max.size`: members of one group.
    pub group_max_size: usize,
    /// Member ids given out to clients that have not come back with them, per group (`monedula.group.max.pending.members`).
    pub group_max_pending_members: usize,
    /// Groups over all shards of this broker (`monedula.max.groups`).
    pub max_groups: usize,
    /// How long a JoinGroup of a new member may be parked: it has no heartbeat that could tell that the client is gone.
    pub new_member_join_timeout_ms: i64,
    /// `offset.metadata.max.bytes`: the client's own text of one offset, in UTF-16 units as in Kafka.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: i64,
    /// `offsets.commit.timeout.ms`: how long an answer waits for its record to be committed.
    pub offsets_commit_timeout_ms: i64,
    /// `offsets.load.buffer.size`: bytes read at once while a shard is loaded.
    pub offsets_load_buffer_size: usize,
    /// No batch is larger. `max.message.bytes` and `segment.bytes` of the offsets topic, where they are smaller, split
    /// what can be split.
    pub max_batch_bytes: usize,
    /// By how much the log of a shard grows, at the least, before its state is written again and what lies before is given
    /// up (`monedula.coordinator.rewrite.bytes`).
    pub rewrite_bytes: u64,
    /// Requests that may wait for one shard (`monedula.coordinator.mailbox.size`); more are answered
    /// COORDINATOR_NOT_AVAILABLE.
    pub mailbox_size: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            offsets_topic_num_partitions: 50,
            group_min_session_timeout_ms: 6_000,
            group_max_session_timeout_ms: 1_800_000,
            group_initial_rebalance_delay_ms: 3_000,
            group_max_size: usize::try_from(i32::MAX).unwrap_or(usize::MAX),
            group_max_pending_members: 10_000,
            max_groups: 100_000,
            new_member_join_timeout_ms: 5 * 60 * 1_000,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            offsets_retention_check_interval_ms: 600_000,
            offsets_commit_timeout_ms: 5_000,
            offsets_load_buffer_size: 5 * 1024 * 1024,
            max_batch_bytes: 1_048_588,
            rewrite_bytes: 4 * 1024 * 1024,
            mailbox_size: 10_000,
        }
    }
}
