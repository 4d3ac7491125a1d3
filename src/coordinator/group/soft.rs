//! The soft state of a shard: what is lost with the process and harmless to lose. Live groups with their members'
//! sessions, parked requests and deadlines.
//!
//! Invariant: every group with persisted metadata is here; a group that only has committed offsets is not, until somebody
//! joins it.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::types::Now;

use super::classic::ClassicGroup;
use super::config::GroupConfig;
use super::hard::Hard;
use super::timers::{TimerKey, Timers};

/// Live groups and deadlines.
#[derive(Debug, Default)]
pub(super) struct Soft {
    pub(super) groups: BTreeMap<Arc<str>, ClassicGroup>,
    pub(super) timers: Timers,
}

impl Soft {
    /// The soft state that follows a load: members are as persisted, and each has a whole session from now on, because
    /// nobody knows when it was heard last.
    pub(super) fn after_load(hard: &Hard, config: &GroupConfig, now: Now) -> Self {
        let mut soft = Self::default();
        for (group_id, hard_group) in hard.groups() {
            let Some(metadata) = hard_group.metadata() else {
                continue;
            };
            let group = ClassicGroup::from_metadata(group_id, metadata);
            for member in group.members.values() {
                soft.timers.schedule(
                    TimerKey::Session {
                        group_id: Arc::clone(group_id),
                        member_id: Arc::clone(&member.member_id),
                    },
                    now.mono_ms + i64::from(member.session_timeout_ms),
                );
            }
            soft.groups.insert(Arc::clone(group_id), group);
        }
        if !hard.is_empty() {
            soft.schedule_offset_expiry(config, now);
        }
        soft
    }

    pub(super) fn schedule_offset_expiry(&mut self, config: &GroupConfig, now: Now) {
        self.timers.schedule(
            TimerKey::OffsetExpiry,
            now.mono_ms + config.offsets_retention_check_interval_ms,
        );
    }
}
