//! What can be configured about groups, as plain values.
//!
//! Invariant: every limit of the machine is here, under Kafka's name where Kafka has it; those of its shell are `Limits`.

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
    /// Offsets of open transactions in one shard (`monedula.group.max.pending.offsets`).
    pub group_max_pending_offsets: usize,
    /// How long a JoinGroup of a new member may be parked: it has no heartbeat that could tell that the client is gone.
    pub new_member_join_timeout_ms: i64,
    /// `offset.metadata.max.bytes`: the client's own text of one offset, in UTF-16 units as in Kafka.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: i64,
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
            group_max_pending_offsets: 50_000,
            new_member_join_timeout_ms: 5 * 60 * 1_000,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            offsets_retention_check_interval_ms: 600_000,
        }
    }
}
