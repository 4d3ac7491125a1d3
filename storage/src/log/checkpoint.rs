//! Owns the state that a running log leaves on disk now and then so that a kill costs little: the new index entries of
//! the active segment and a producer snapshot.
//!
//! Invariants: nothing here is needed for correctness, so a failure is only told, and nothing is synced: recovery
//! believes index entries only below the recovery point and only if they fit the batches, and a snapshot has a
//! checksum. Without it a start after a kill would read the headers of the whole active segment.

use std::io::IoSlice;

use crate::error::{IoContext, StorageError};
use crate::io::file_system::OpenMode;
use crate::log::recovery::remove_if_present;
use crate::log::writer::LogWriter;
use crate::producer::snapshot::snapshot_file_name;
use crate::segment::file::{INDEX_SUFFIX, TIME_INDEX_SUFFIX, segment_path};
use crate::segment::offset_index::OFFSET_ENTRY_BYTES;
use crate::segment::time_index::TIME_ENTRY_BYTES;

/// Bytes appended between two checkpoints: reading the headers of so much takes a few milliseconds, and writing the
/// checkpoint costs about a hundredth of writing the bytes.
const CHECKPOINT_BYTES: u64 = 32 * 1024 * 1024;

/// What the last checkpoint covered.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckpointState {
    /// Position in the active segment.
    position: u64,
    /// Entries of the offset and the time index in the files; `None`: the files are not of this run.
    entries: Option<(usize, usize)>,
    /// Offset of the snapshot written last, which the next one replaces.
    snapshot: Option<i64>,
}

impl CheckpointState {
    /// No checkpoint since the segment had this size.
    pub(super) fn at(position: u64) -> Self {
        Self {
            position,
            entries: None,
            snapshot: None,
        }
    }
}

impl LogWriter {
    /// Writes a checkpoint when the active segment, now `end` bytes long, has grown enough.
    pub(super) fn checkpoint_if_due(&mut self, end: u64) {
        if end - self.checkpoint.position < CHECKPOINT_BYTES {
            return;
        }
        self.checkpoint.position = end;
        if let Err(error) = self.write_checkpoint() {
            tracing::debug!(log = %self.shared.path().display(), %error, "no checkpoint");
        }
    }

    /// A segment was begun, with a snapshot at its base offset: the one in the midst of its predecessor is not needed.
    pub(super) fn begin_checkpoints(&mut self, base_offset: i64) {
        let snapshot = self.checkpoint.snapshot.filter(|old| *old < base_offset);
        self.checkpoint = CheckpointState::at(0);
        if let Some(old) = snapshot
            && let Err(error) = remove_if_present(self.shared.fs(), &self.shared.path().join(snapshot_file_name(old)))
        {
            tracing::debug!(log = %self.shared.path().display(), %error, "old snapshot stays");
        }
    }

    /// Brings index entries and producer state into their files.
    pub(super) fn write_checkpoint(&mut self) -> Result<(), StorageError> {
        let index = self.active.index();
        let (offset_entries, time_entries) = self.checkpoint.entries.unwrap_or((0, 0));
        let (offsets, times) = index.encode_entries_from(offset_entries, time_entries);
        let entries = index.entry_counts();
        drop(index);
        let (fs, dir) = (self.shared.fs(), self.shared.path());
        let mode = if self.checkpoint.entries.is_some() {
            OpenMode::OpenOrCreate
        } else {
            OpenMode::Truncate
        };
        let files = [
            (INDEX_SUFFIX, offsets, offset_entries as u64 * OFFSET_ENTRY_BYTES),
            (TIME_INDEX_SUFFIX, times, time_entries as u64 * TIME_ENTRY_BYTES),
        ];
        for (suffix, bytes, position) in files {
            let path = segment_path(dir, self.active.base_offset(), suffix);
            let file = fs.open(&path, mode).context("open", &path)?;
            if !bytes.is_empty() {
                file.write_at(&[IoSlice::new(&bytes)], position)
                    .context("write", &path)?;
            }
        }
        self.checkpoint.entries = Some(entries);
        let log_end_offset = self.shared.marks.load().log_end_offset;
        self.write_snapshot(log_end_offset)?;
        if let Some(previous) = self
            .checkpoint
            .snapshot
            .replace(log_end_offset)
            .filter(|old| *old < log_end_offset)
        {
            remove_if_present(fs, &dir.join(snapshot_file_name(previous)))?;
        }
        Ok(())
    }
}
