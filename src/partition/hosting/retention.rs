//! Removes what has outlived its retention from all partitions, internal ones included, and keeps the log starts on disk.
//!
//! Invariants: no lock is held over the work on a partition, so nobody waits longer than for the taking out of one
//! partition's segments; the new log starts are on the disk before the first file goes, as far as there is room for
//! them (without, what a kill leaves begins earlier, but has no hole); files vanish a few at a time.

use std::path::PathBuf;
use std::sync::{Arc, MutexGuard};

use protocol::types::{Now, Offset, PartitionIndex};
use storage::checkpoint::{LOG_START_OFFSET_CHECKPOINT, write_offset_checkpoint};
use storage::error::StorageError;
use storage::log::removal::{DeletedFiles, RemovedSegments, remove_deleted_file};

use super::dirs::HostedDir;
use super::{Hosting, Inner, PartitionKey};
use crate::partition::partition::Partition;

/// Files that are unlinked in one turn: a large one keeps the file system's journal busy for milliseconds.
const FILES_PER_TURN: usize = 16;

/// A partition whose log start was moved on request.
#[derive(Debug, Clone)]
pub struct MovedLogStart {
    /// Topic name.
    pub topic: Arc<str>,
    /// Index in the topic.
    pub index: PartitionIndex,
    /// Where the log starts now.
    pub log_start_offset: Offset,
}

impl Hosting {
    /// Looks once at every partition for segments that have outlived their retention. Waits for the disk.
    pub fn retain(&self) {
        let topics = self.inner.registry.topics();
        let partitions = topics.iter().flat_map(|topic| topic.partitions.iter().flatten());
        self.inner.retain(partitions);
    }

    /// Writes where logs start, where that has changed.
    pub fn checkpoint_log_starts(&self) {
        self.inner.checkpoint_log_starts();
    }

    /// Brings log starts that somebody will be told to the disk; requests that come together share one write. One answer
    /// per partition: whether it is there. On a full disk what lies before the log starts is removed first.
    pub fn keep_log_starts(&self, moved: &[MovedLogStart]) -> Vec<bool> {
        let inner = &self.inner;
        if !inner.are_kept(moved).contains(&false) {
            return vec![true; moved.len()];
        }
        let is_full = inner.checkpoint_log_starts();
        let partitions: Vec<_> = moved
            .iter()
            .filter_map(|moved| inner.registry.partition(&moved.topic, moved.index))
            .collect();
        if is_full || partitions.iter().any(|partition| partition.lacks_room()) {
            inner.retain(&partitions);
            while inner.remove_deleted_files(i64::MAX) > 0 {}
            inner.checkpoint_log_starts();
        }
        inner.are_kept(moved)
    }

    /// Milliseconds until the next removed file is to vanish; `None` when none waits.
    pub fn next_removal_in_ms(&self) -> Option<u64> {
        let due_ms = self.inner.deleted().first_due_ms()?;
        Some(u64::try_from(due_ms - self.inner.env.now().mono_ms).unwrap_or(0))
    }

    /// Unlinks some of the removed files whose time has come.
    pub fn remove_deleted_files(&self) {
        self.inner.remove_deleted_files(self.inner.env.now().mono_ms);
    }
}

impl Inner {
    fn retain<'a>(&self, partitions: impl IntoIterator<Item = &'a Arc<Partition>>) {
        let now = self.env.now();
        let mut removed = Vec::new();
        let mut is_full = false;
        for partition in partitions {
            is_full |= partition.lacks_room();
            match partition.retain(now) {
                Ok(found) => removed.extend(found.map(|found| (Arc::clone(partition), found))),
                Err(error) => {
                    let (topic, partition) = (partition.topic(), partition.index());
                    tracing::error!(%topic, partition, %error, "cannot look for old segments");
                }
            }
        }
        if !removed.is_empty() {
            is_full |= self.checkpoint_log_starts();
        }
        for (partition, segments) in removed {
            tracing::info!(
                topic = %partition.topic(), partition = partition.index(), segments = segments.count,
                bytes = segments.size_bytes, log_start_offset = segments.log_start_offset, "removed old segments"
            );
            self.rename(segments, now);
        }
        if is_full {
            self.deleted().make_due(now.mono_ms);
        }
    }

    fn rename(&self, mut segments: RemovedSegments, now: Now) {
        let due_ms = now.mono_ms.saturating_add(segments.delete_delay_ms);
        loop {
            match segments.rename_next() {
                Ok(Some(renamed)) => {
                    let mut deleted = self.deleted();
                    renamed.into_iter().for_each(|path| deleted.add(path, due_ms));
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(log = %segments.path().display(), %error, "old segments keep their files");
                    return;
                }
            }
        }
    }

    fn remove_deleted_files(&self, due_ms: i64) -> usize {
        let due: Vec<PathBuf> = self.deleted().take_due(due_ms, FILES_PER_TURN);
        for path in &due {
            if let Err(error) = remove_deleted_file(&*self.env.fs(), path) {
                // the next start tries again
                tracing::error!(path = %path.display(), %error, "cannot remove a file of an old segment");
            }
        }
        due.len()
    }

    fn deleted(&self) -> MutexGuard<'_, DeletedFiles> {
        self.deleted.lock().expect("listing files does not panic")
    }

    /// Writes the log starts of all directories. True when there was no room for one of them.
    fn checkpoint_log_starts(&self) -> bool {
        let closed = self.working();
        let mut is_full = false;
        if *closed {
            return false;
        }
        for (index, hosted) in self.dirs.iter().enumerate() {
            if let Err(error) = self.write_log_starts(index, hosted) {
                is_full |= error.is_no_space();
                tracing::error!(dir = %hosted.dir.path().display(), %error, "cannot write where logs start");
            }
        }
        is_full
    }

    fn write_log_starts(&self, index: usize, hosted: &HostedDir) -> Result<(), StorageError> {
        let log_start_offsets = self.checkpoints_of(index, hosted).log_start_offsets;
        if hosted.written().log_start_offsets == log_start_offsets {
            return Ok(());
        }
        hosted.dir.check_online()?;
        let _one_at_a_time = hosted.writing.lock().expect("writing checkpoints does not panic");
        let path = hosted.dir.path().join(LOG_START_OFFSET_CHECKPOINT);
        write_offset_checkpoint(&**hosted.dir.fs(), &path, &log_start_offsets)?;
        hosted.written().log_start_offsets = log_start_offsets;
        Ok(())
    }

    /// Whether the checkpoints on the disk have these log starts.
    fn are_kept(&self, moved: &[MovedLogStart]) -> Vec<bool> {
        let placed = self.placed();
        let is_kept = |moved: &MovedLogStart| {
            let key: PartitionKey = (moved.topic.to_string(), moved.index);
            placed.get(&key).is_some_and(|dir| {
                let written = self.dirs[*dir].written();
                let offset = written.log_start_offsets.get(&key).copied().unwrap_or(0);
                offset >= moved.log_start_offset
            })
        };
        moved.iter().map(is_kept).collect()
    }
}
