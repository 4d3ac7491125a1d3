//! Groups that go: deleted by an administrator, or because nothing is left of them.
//!
//! Invariants: a group with members never goes; its offsets go before it, so that a kill between two batches leaves a
//! smaller group and never offsets without one; what the soft state knows of it goes when the tombstones are in the log.
//! Sources: `GroupCoordinatorShard.deleteGroups`, `cleanupGroupMetadata`, `ClassicGroup.validateDeleteGroup`.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use protocol::error_code::ErrorCode;

use super::classic::{ClassicGroup, GroupState};
use super::hard::HardGroup;
use super::record::Record;
use super::timers::TimerKey;
use super::{Cx, GroupShard, OnAppend, Outcome, offsets};
use crate::coordinator::runtime::machine::Machine;

impl GroupShard {
    /// DeleteGroups: each group's tombstones as an outcome of their own, and how it goes for each.
    pub(super) fn on_delete_groups(&self, group_ids: &[Arc<str>], out: &mut Outcome) -> Vec<ErrorCode> {
        let mut errors = Vec::with_capacity(group_ids.len());
        for group_id in group_ids {
            let (live, hard) = (self.soft.groups.get(group_id), self.hard.group(group_id));
            errors.push(match (live, hard) {
                (None, None) => ErrorCode::GroupIdNotFound,
                (Some(group), _) if group.state != GroupState::Empty => ErrorCode::NonEmptyGroup,
                _ => {
                    tracing::info!(%group_id, "group is deleted");
                    out.before.push(delete_group(group_id, hard));
                    ErrorCode::None
                }
            });
        }
        errors
    }

    /// Removes expired offsets, and groups that nothing is left of.
    pub(super) fn expire_offsets(&mut self, cx: &Cx<'_>) -> Vec<Outcome> {
        let hard = &self.hard;
        // A group whose first record never came into the log.
        self.soft
            .groups
            .retain(|group_id, group| !group.is_removable() || hard.group(group_id).is_some());
        let mut outcomes = Vec::new();
        for (group_id, hard_group) in self.hard.groups() {
            let live = self.soft.groups.get(group_id);
            let (mut records, all_expired) = offsets::expired(cx, group_id, hard_group, live);
            let mut on_append = None;
            if all_expired && live.is_none_or(ClassicGroup::is_removable) {
                records.push(group_tombstone(group_id));
                on_append = Some(OnAppend::RemoveGroup);
            }
            if !records.is_empty() {
                tracing::debug!(%group_id, records = records.len(), "removing expired offsets");
                outcomes.push(Outcome {
                    records,
                    splittable: true,
                    on_append,
                    ..Outcome::of(group_id)
                });
            }
        }
        if self.key_count() > 0 {
            self.soft.schedule_offset_expiry(cx.config, cx.now);
        }
        outcomes
    }

    /// The tombstones of a group are in the log. Clients that were given an id for it must ask anew.
    pub(super) fn forget_removed(&mut self, group_id: &Arc<str>) {
        if self.hard.group(group_id).is_some() {
            return;
        }
        let empty = |group: &&ClassicGroup| group.state == GroupState::Empty;
        let Some(group) = self.soft.groups.get(group_id).filter(empty) else {
            return;
        };
        for member_id in group.pending_members() {
            self.soft.timers.cancel(&TimerKey::Session {
                group_id: Arc::clone(group_id),
                member_id: Arc::clone(member_id),
            });
        }
        self.soft.groups.remove(group_id);
    }
}

fn delete_group(group_id: &Arc<str>, hard: Option<&HardGroup>) -> Outcome {
    let mut records: Vec<Record> = hard
        .map(|hard| offsets::all_partitions(hard).collect::<Vec<_>>())
        .unwrap_or_default()
        .into_iter()
        .map(|(topic, partition)| offsets::tombstone(group_id, &topic, partition))
        .collect();
    records.push(group_tombstone(group_id));
    Outcome {
        records,
        splittable: true,
        on_append: Some(OnAppend::RemoveGroup),
        ..Outcome::of(group_id)
    }
}

fn group_tombstone(group_id: &Arc<str>) -> Record {
    Record::GroupMetadata {
        group_id: Arc::clone(group_id),
        value: None,
    }
}
