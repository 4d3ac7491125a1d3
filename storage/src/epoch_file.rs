//! The file `leader-epoch-checkpoint` of a partition directory: Kafka's text form of [`EpochCache`].
//!
//! Invariant: a missing entry cannot be found again, a stale one is cut by the log's recovery; so the file is written
//! durably before an assigned epoch is used, and may lag behind truncations. (Kafka's `LeaderEpochCheckpointFile`.)

use std::path::Path;

use crate::checkpoint::{read_text_checkpoint, text_checkpoint, write_atomic};
use crate::epoch::{EpochCache, EpochEntry};
use crate::error::StorageError;
use crate::io::file_system::FileSystem;

/// Name of the file in the partition's directory.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";

/// Replaces the checkpoint in `partition_dir`, durably.
pub fn write_epochs(fs: &dyn FileSystem, partition_dir: &Path, cache: &EpochCache) -> Result<(), StorageError> {
    let lines = cache
        .entries()
        .iter()
        .map(|entry| format!("{} {}", entry.epoch, entry.start_offset));
    let text = text_checkpoint(cache.entries().len(), lines);
    write_atomic(fs, &partition_dir.join(LEADER_EPOCH_CHECKPOINT), text.as_bytes())
}

/// Reads the checkpoint in `partition_dir`; an absent file is an empty cache.
pub fn read_epochs(fs: &dyn FileSystem, partition_dir: &Path) -> Result<EpochCache, StorageError> {
    let entries = read_text_checkpoint(fs, &partition_dir.join(LEADER_EPOCH_CHECKPOINT), |line| {
        let (epoch, start_offset) = line.split_once(' ')?;
        let epoch = epoch.parse().ok().filter(|epoch: &i32| *epoch >= 0)?;
        let start_offset = start_offset.parse().ok().filter(|offset: &i64| *offset >= 0)?;
        Some(EpochEntry { epoch, start_offset })
    })?;
    Ok(EpochCache::from_entries(entries))
}
