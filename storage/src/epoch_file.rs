//! The file `leader-epoch-checkpoint` of a partition directory: Kafka's text form of [`EpochCache`].
//!
//! Invariant: a missing entry cannot be found again, a stale one is cut by the log's recovery; so the file is written
//! before any record of an epoch counts as durable, and may lag behind truncations. (Kafka's `LeaderEpochCheckpointFile`.)

use std::path::Path;

use crate::checkpoint::{read_text_checkpoint, replace, text_checkpoint};
use crate::epoch::{EpochCache, EpochEntry};
use crate::error::StorageError;
use crate::io::file_system::FileSystem;

/// Name of the file in the partition's directory.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";

/// Replaces the checkpoint in `partition_dir`. Its content is on the disk then, its name once the caller has synced the
/// directory.
pub fn write_epochs(fs: &dyn FileSystem, partition_dir: &Path, cache: &EpochCache) -> Result<(), StorageError> {
    let lines = cache
        .entries()
        .iter()
        .map(|entry| format!("{} {}", entry.epoch, entry.start_offset));
    let text = text_checkpoint(cache.entries().len(), lines);
    replace(fs, &partition_dir.join(LEADER_EPOCH_CHECKPOINT), text.as_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::std_fs::StdFileSystem;

    #[test]
    fn the_text_is_kafkas() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(
            read_epochs(&StdFileSystem, temp.path()).expect("absent is empty"),
            EpochCache::new()
        );
        let mut cache = EpochCache::new();
        cache.assign(0, 0);
        cache.assign(3, 1200);
        write_epochs(&StdFileSystem, temp.path(), &cache).expect("written");
        let text = std::fs::read_to_string(temp.path().join("leader-epoch-checkpoint")).expect("there");
        assert_eq!(text, "0\n2\n0 0\n3 1200\n");
        assert_eq!(read_epochs(&StdFileSystem, temp.path()).expect("readable"), cache);
    }

    #[test]
    fn impossible_entries_are_corrupt() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        for line in ["-1 0", "0 -5", "0", "0 1 2", "a b", "99999999999 0"] {
            let text = format!("0\n1\n{line}\n");
            std::fs::write(temp.path().join(LEADER_EPOCH_CHECKPOINT), text).expect("written");
            let error = read_epochs(&StdFileSystem, temp.path()).expect_err(line);
            assert!(matches!(error, StorageError::Corrupt { offset: 4, .. }), "{error}");
        }
    }
}
