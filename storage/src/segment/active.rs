//! Owns the segment that is being written, as readers and the flusher see it: its file and its in-memory index.
//!
//! Invariants: only the log's one writer changes the index, and only after the bytes were written; the lock around the
//! index is never held while the disk is touched, so readers never wait for it longer than for a few comparisons.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::StorageError;
use crate::io::file_system::File;
use crate::io::patience::Patience;
use crate::segment::active_index::{ActiveIndex, Floor};
use crate::segment::file::{LOG_SUFFIX, ScanRange, TXN_INDEX_SUFFIX, segment_path};
use crate::segment::txn_index::ActiveTxnIndex;
use crate::segment::{Located, scan_for_offset};

/// The active segment.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    base_offset: i64,
    created_ms: i64,
    path: PathBuf,
    file: Arc<dyn File>,
    /// What lies behind was written by this process, through the page cache.
    written_from: u32,
    index: RwLock<ActiveIndex>,
    txn_index: ActiveTxnIndex,
}

/// What was appended last is in memory: a system that drops the newest pages first could not run a log.
const RECENT_BYTES: u64 = 4 << 20;

impl ActiveSegment {
    pub(crate) fn new(dir: &Path, base_offset: i64, created_ms: i64, file: Arc<dyn File>, index: ActiveIndex) -> Self {
        Self {
            base_offset,
            created_ms,
            path: segment_path(dir, base_offset, LOG_SUFFIX),
            file,
            written_from: index.size_bytes(),
            index: RwLock::new(index),
            txn_index: ActiveTxnIndex::default(),
        }
    }

    /// The aborted transactions that have their marker in the segment.
    pub(crate) fn txn_index(&self) -> &ActiveTxnIndex {
        &self.txn_index
    }

    pub(crate) fn txn_index_path(&self) -> PathBuf {
        let dir = self.path.parent().expect("a segment lies in a directory");
        segment_path(dir, self.base_offset, TXN_INDEX_SUFFIX)
    }

    pub(crate) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    pub(crate) fn created_ms(&self) -> i64 {
        self.created_ms
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// The index, for looking something up.
    pub(crate) fn index(&self) -> RwLockReadGuard<'_, ActiveIndex> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index, for the writer.
    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, ActiveIndex> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first batch with a last offset at or behind `offset`.
    pub(crate) fn locate(&self, offset: i64, patience: Patience) -> Result<Option<Located>, StorageError> {
        let index = self.index();
        let (floor, range) = (index.floor(offset), self.range_of(&index));
        drop(index);
        match floor {
            Floor::End => Ok(None),
            Floor::Batch(located) => Ok(Some(located)),
            Floor::ScanFrom(position) => {
                let range = ScanRange {
                    position: position.into(),
                    ..range
                };
                scan_for_offset(&patience.of(self.file.as_ref()), &self.path, range, offset)
            }
        }
    }

    /// Position of the first batch that is not wholly below `end_offset`. It need not be exact, only not too small,
    /// where the exact one lies behind `enough`.
    pub(crate) fn end_position(&self, end_offset: i64, enough: u64, patience: Patience) -> Result<u64, StorageError> {
        let index = self.index();
        let (floor, range) = (index.floor(end_offset), self.range_of(&index));
        drop(index);
        match floor {
            Floor::End => Ok(range.end),
            Floor::Batch(located) => Ok(located.position),
            Floor::ScanFrom(position) if u64::from(position) >= enough => Ok(position.into()),
            Floor::ScanFrom(position) => {
                let range = ScanRange {
                    position: position.into(),
                    ..range
                };
                let found = scan_for_offset(&patience.of(self.file.as_ref()), &self.path, range, end_offset)?;
                Ok(found.map_or(range.end, |located| located.position))
            }
        }
    }

    /// An offset that no batch before `position` reaches, near to the batch at `position`.
    pub(crate) fn offset_behind(&self, position: u64) -> i64 {
        self.index().offset_behind(position)
    }

    /// Whether everything from `position` on was appended by this process a short while ago.
    pub(crate) fn is_recent(&self, position: u64) -> bool {
        let end: u64 = self.index().size_bytes().into();
        position >= self.written_from.into() && position + RECENT_BYTES >= end
    }

    /// Everything that is in the segment now.
    pub(crate) fn range(&self) -> ScanRange {
        self.range_of(&self.index())
    }

    fn range_of(&self, index: &ActiveIndex) -> ScanRange {
        ScanRange {
            position: 0,
            end: index.size_bytes().into(),
            base_offset: self.base_offset,
            limit_offset: index.next_offset(),
        }
    }
}
