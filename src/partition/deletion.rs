//! Taking records away from a partition's begin: on request, and when they have outlived the topic's retention.
//!
//! Invariants: the log start never falls and never passes the high watermark; retention holds the partition's lock only
//! while segments leave the list. Sources: Kafka's `Partition.deleteRecordsOnLeader`, `UnifiedLog.deleteOldSegments`.

use protocol::types::{Now, Offset};
use storage::error::StorageError;
use storage::log::removal::RemovedSegments;

use crate::partition::partition::{Partition, PartitionError};

/// In place of an offset: everything that is committed.
const HIGH_WATERMARK: Offset = -1;

impl Partition {
    /// Makes the log start at `offset`, or at the high watermark for -1, and returns where it starts now. Nothing happens
    /// when it starts behind `offset` already. It is not on the disk yet: the caller sees to that.
    ///
    /// # Errors
    /// `CompactedOnly`; `OffsetOutOfRange` for other negative offsets and above the high watermark; `NotLeader`; storage
    /// errors.
    pub fn delete_records(&self, offset: Offset) -> Result<Offset, PartitionError> {
        self.check_open()?;
        let log_config = &self.settings().log;
        if log_config.compact && !log_config.delete {
            return Err(PartitionError::CompactedOnly);
        }
        let mut writer = self.lock();
        let log = writer.log.as_mut().ok_or(PartitionError::NotLeader)?;
        let before = self.reader.watermarks();
        let log_start_offset = if offset == HIGH_WATERMARK {
            before.high_watermark
        } else {
            offset
        };
        if log_start_offset < 0 || log_start_offset > before.high_watermark {
            return Err(PartitionError::OffsetOutOfRange {
                offset,
                log_start_offset: before.log_start_offset,
                log_end_offset: before.high_watermark,
            });
        }
        log.advance_log_start(log_start_offset)?;
        let after = self.reader.watermarks();
        drop(writer);
        if after.log_start_offset > before.log_start_offset {
            // a fetch may wait below the new start; how much it can read now it sees for itself
            self.waiters.on_advance(after.high_watermark, usize::MAX);
        }
        Ok(after.log_start_offset)
    }

    /// Whether the last append found no room on the disk.
    pub fn lacks_room(&self) -> bool {
        self.reader.lacks_room()
    }

    /// Takes out what has outlived the topic's retention; the files are for the caller to remove. May wait for the disk.
    ///
    /// # Errors
    /// Storage errors; a partition that was closed has nothing to remove.
    pub fn retain(&self, now: Now) -> Result<Option<RemovedSegments>, StorageError> {
        if self.check_open().is_err() {
            return Ok(None);
        }
        let Some(removable) = self.reader.find_removable(&self.settings().log, now)? else {
            return Ok(None);
        };
        let removed = match &mut self.lock().log {
            Some(log) => log.take_out(&removable, now)?,
            None => None,
        };
        if removed.is_some() {
            self.tell_sessions();
        }
        Ok(removed)
    }
}
