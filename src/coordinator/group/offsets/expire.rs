//! Which offsets of a group are too old to keep.
//!
//! The retention counts from the moment the group became empty, or from the commit when no members ever were; while a
//! group has members, only topics that nobody subscribes to any more can expire, and only when the subscriptions can be
//! read. A retention that the client asked for itself counts in any case. Source: `ClassicGroup.offsetExpirationCondition`,
//! `OffsetMetadataManager.cleanupExpiredOffsets`.

use std::sync::Arc;

use crate::coordinator::group::Cx;
use crate::coordinator::group::classic::{ClassicGroup, GroupState};
use crate::coordinator::group::hard::HardGroup;
use crate::coordinator::group::offsets::tombstone;
use crate::coordinator::group::record::{OffsetAndMetadata, Record};

/// From when the retention of a group's offsets counts.
#[derive(Clone, Copy)]
enum RetentionStart {
    /// From their commit.
    Commit,
    /// From this time.
    At(i64),
    /// They are kept.
    Never,
}

/// Tombstones of the expired offsets of a group, and whether no offset is left after them.
pub(in crate::coordinator::group) fn expired(
    cx: &Cx<'_>,
    group_id: &Arc<str>,
    hard: &HardGroup,
    live: Option<&ClassicGroup>,
) -> (Vec<Record>, bool) {
    let mut records = Vec::new();
    let mut all_expired = !hard.has_open_transactions();
    let start = retention_start(live);
    for (topic, partitions) in hard.offsets() {
        let subscribed = live.is_some_and(|group| group.is_subscribed_to(topic));
        for (partition, committed) in partitions {
            let keep = subscribed || !is_expired(cx, &committed.value, start) || hard.is_unstable(topic, *partition);
            if keep {
                all_expired = false;
            } else {
                records.push(tombstone(group_id, topic, *partition));
            }
        }
    }
    (records, all_expired)
}

fn retention_start(live: Option<&ClassicGroup>) -> RetentionStart {
    let Some(group) = live.filter(|group| group.protocol_type.is_some()) else {
        return RetentionStart::Commit;
    };
    match group.state {
        GroupState::Empty if group.current_state_timestamp_ms >= 0 => {
            RetentionStart::At(group.current_state_timestamp_ms)
        }
        GroupState::Empty => RetentionStart::Commit,
        GroupState::Stable if group.uses_consumer_protocol() && group.knows_subscribed_topics() => {
            RetentionStart::Commit
        }
        GroupState::Stable | GroupState::PreparingRebalance | GroupState::CompletingRebalance => RetentionStart::Never,
    }
}

fn is_expired(cx: &Cx<'_>, value: &OffsetAndMetadata, start: RetentionStart) -> bool {
    let now_ms = cx.now.wall_ms;
    let start_ms = match start {
        RetentionStart::Never => return false,
        RetentionStart::Commit => value.commit_timestamp_ms,
        RetentionStart::At(start_ms) => start_ms,
    };
    match value.expire_timestamp_ms {
        Some(expire_timestamp_ms) => now_ms >= expire_timestamp_ms,
        None => now_ms.saturating_sub(start_ms) >= cx.config.offsets_retention_ms,
    }
}
