//! Owns the segment that is being written, as readers and the flusher see it: its file and its in-memory index.
//!
//! Invariants: only the log's one writer changes the index, and only after the bytes were written; the lock around the
//! index is never held while the disk is touched, so readers never wait for it longer than for a few comparisons.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::StorageError;
use crate::io::file_system::File;
use crate::segment::active_index::{ActiveIndex, Floor};
use crate::segment::file::{LOG_SUFFIX, segment_path};
use crate::segment::{Located, scan_for_offset};

/// The active segment.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    base_offset: i64,
    created_ms: i64,
    path: PathBuf,
    file: Arc<dyn File>,
    index: RwLock<ActiveIndex>,
}

impl ActiveSegment {
    pub(crate) fn new(dir: &Path, base_offset: i64, created_ms: i64, file: Arc<dyn File>, index: ActiveIndex) -> Self {
        Self { base_offset, created_ms, path: segment_path(dir, base_offset, LOG_SUFFIX), file, index: RwLock::new(index) }
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
    pub(crate) fn locate(&self, offset: i64) -> Result<Option<Located>, StorageError> {
        let index = self.index();
        let (floor, end) = (index.floor(offset), index.size_bytes());
        drop(index);
        match floor {
            Floor::End => Ok(None),
            Floor::Batch { base_offset, position, size_bytes } => {
                Ok(Some(Located { base_offset, position: position.into(), size_bytes: size_bytes.into() }))
            }
            Floor::ScanFrom(position) => {
                scan_for_offset(self.file.as_ref(), &self.path, position.into(), end.into(), offset)
            }
        }
    }
}
