//! The leader epoch cache of one log: which leader epoch began at which offset.
//!
//! Pure. Invariant: epochs and start offsets both strictly ascend. Follows Kafka's `LeaderEpochFileCache`; the file is
//! the business of [`crate::epoch_file`].

/// "No such epoch" in [`EpochCache::end_offset_for`].
pub const UNDEFINED_EPOCH: i32 = -1;
/// "No such offset" in [`EpochCache::end_offset_for`].
pub const UNDEFINED_EPOCH_OFFSET: i64 = -1;

/// One leader epoch and the first offset written in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// The leader epoch.
    pub epoch: i32,
    /// Its first offset.
    pub start_offset: i64,
}

/// Leader epochs of one log. Methods that change it return whether they did, so that the caller knows when the file
/// has to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpochCache {
    entries: Vec<EpochEntry>,
}

impl EpochCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// A cache with the given entries assigned one behind the other, as they come from a file.
    pub fn from_entries(entries: impl IntoIterator<Item = EpochEntry>) -> Self {
        let mut cache = Self::default();
        for entry in entries {
            cache.assign(entry.epoch, entry.start_offset);
        }
        cache
    }

    /// Entries in ascending order.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest entry.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The oldest entry.
    pub fn earliest(&self) -> Option<EpochEntry> {
        self.entries.first().copied()
    }

    /// Records that `epoch` begins at `start_offset`. An epoch that is already the latest keeps its start; entries
    /// that contradict the new one (their epoch or start is not smaller) are dropped. A negative epoch (a batch
    /// written without one) or offset is not recorded.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        if epoch < 0 || start_offset < 0 {
            return false;
        }
        if self
            .latest()
            .is_some_and(|latest| latest.epoch == epoch && start_offset >= latest.start_offset)
        {
            return false;
        }
        while self
            .latest()
            .is_some_and(|latest| latest.epoch >= epoch || latest.start_offset >= start_offset)
        {
            self.entries.pop();
        }
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// Largest epoch not above `requested_epoch` and its end offset, which is the start of the next epoch or, for the
    /// latest epoch, `log_end_offset`. An epoch older than all known ones ends where the first known one begins;
    /// newer than all, or undefined, gives (-1, -1).
    pub fn end_offset_for(&self, requested_epoch: i32, log_end_offset: i64) -> (i32, i64) {
        if requested_epoch == UNDEFINED_EPOCH {
            return (UNDEFINED_EPOCH, UNDEFINED_EPOCH_OFFSET);
        }
        if self.latest().is_some_and(|latest| latest.epoch == requested_epoch) {
            return (requested_epoch, log_end_offset);
        }
        let next = self.entries.partition_point(|entry| entry.epoch <= requested_epoch);
        match (
            next.checked_sub(1).map(|floor| self.entries[floor]),
            self.entries.get(next),
        ) {
            (_, None) => (UNDEFINED_EPOCH, UNDEFINED_EPOCH_OFFSET),
            (None, Some(higher)) => (requested_epoch, higher.start_offset),
            (Some(floor), Some(higher)) => (floor.epoch, higher.start_offset),
        }
    }

    /// The epoch in which `offset` was (or would be) written.
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        let next = self.entries.partition_point(|entry| entry.start_offset <= offset);
        next.checked_sub(1).map(|index| self.entries[index].epoch)
    }

    /// The log was cut: drops epochs that began at `end_offset` or behind it.
    pub fn truncate_from_end(&mut self, end_offset: i64) -> bool {
        if end_offset < 0 {
            return false;
        }
        let keep = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        let changed = keep < self.entries.len();
        self.entries.truncate(keep);
        changed
    }

    /// The log start moved: drops epochs that ended at or before `start_offset`; the one that covers it begins there.
    pub fn truncate_from_start(&mut self, start_offset: i64) -> bool {
        let next = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(covering) = next.checked_sub(1) else {
            return false;
        };
        let changed = covering > 0 || self.entries[covering].start_offset != start_offset;
        self.entries[covering].start_offset = start_offset;
        self.entries.drain(..covering);
        changed
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests;
