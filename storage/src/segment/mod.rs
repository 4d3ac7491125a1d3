//! Segments: the files of a log and how a batch is found in them.
//!
//! Exactly one segment of a log is active (written), all older ones are sealed. Readers hold a [`SegmentList`], an
//! immutable value that is replaced as a whole on roll, truncation and removal.

pub(crate) mod active;
pub(crate) mod active_index;
pub(crate) mod file;
pub(crate) mod index_bytes;
pub(crate) mod offset_index;
pub(crate) mod roll;
pub(crate) mod sealed;
pub(crate) mod time_index;
pub(crate) mod txn_index;

#[cfg(test)]
pub(crate) mod test_batches;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{IoContext, StorageError};
use crate::io::file_system::{File, FileSystem, OpenMode};
use crate::io::patience::Patience;
use crate::segment::active::ActiveSegment;
use crate::segment::file::{HeaderScan, LOG_SUFFIX, ScanRange, segment_path};
use crate::segment::sealed::{SealedFiles, SealedSegment};

/// A batch that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Located {
    /// Its base offset.
    pub(crate) base_offset: i64,
    /// Where it begins.
    pub(crate) position: u64,
    /// Its size.
    pub(crate) size_bytes: u64,
}

/// Walks to the first batch with a last offset at or behind `offset`.
pub(crate) fn scan_for_offset(
    file: &dyn File,
    path: &Path,
    range: ScanRange,
    offset: i64,
) -> Result<Option<Located>, StorageError> {
    let mut scan = HeaderScan::new(file, path, range, HeaderScan::LOOKUP_BYTES);
    while let Some(placed) = scan.next()? {
        if placed.header.last_offset() >= offset {
            return Ok(Some(Located {
                base_offset: placed.header.base_offset,
                position: placed.position,
                size_bytes: placed.header.size_bytes() as u64,
            }));
        }
    }
    Ok(None)
}

/// Why files could not be made durable.
#[derive(Debug)]
pub(crate) enum SyncFailure {
    /// A sync failed: nobody knows what the disk has, and the next sync would succeed and lie.
    Final(StorageError),
    /// Something failed that can be done again: nothing that counts as written is lost.
    Again(StorageError),
}

/// The segments of a log, oldest first.
#[derive(Debug, Clone)]
pub(crate) struct SegmentList {
    /// Sealed ones, ascending; `next_offset` of each is the base offset of its successor.
    pub(crate) sealed: Vec<Arc<SealedSegment>>,
    /// The one that is written.
    pub(crate) active: Arc<ActiveSegment>,
}

impl SegmentList {
    /// Index of the segment that holds `offset`: the last one that begins at or before it (`sealed.len()` = active).
    pub(crate) fn index_for(&self, offset: i64) -> usize {
        if offset >= self.active.base_offset() {
            return self.sealed.len();
        }
        self.sealed
            .partition_point(|segment| segment.base_offset() <= offset)
            .saturating_sub(1)
    }

    /// The segment at an index of [`Self::index_for`].
    pub(crate) fn get(&self, index: usize) -> Option<SegmentRef<'_>> {
        match self.sealed.get(index) {
            Some(segment) => Some(SegmentRef::Sealed(segment)),
            None if index == self.sealed.len() => Some(SegmentRef::Active(&self.active)),
            None => None,
        }
    }

    /// Base offset of the oldest segment.
    pub(crate) fn first_base_offset(&self) -> i64 {
        self.sealed
            .first()
            .map_or_else(|| self.active.base_offset(), |segment| segment.base_offset())
    }

    /// Bytes in all segments.
    pub(crate) fn size_bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|segment| u64::from(segment.size_bytes())).sum();
        sealed + u64::from(self.active.index().size_bytes())
    }
}

impl SegmentRef<'_> {
    /// Offset of the first record that may be in the segment.
    pub(crate) fn base_offset(&self) -> i64 {
        match self {
            Self::Sealed(segment) => segment.base_offset(),
            Self::Active(segment) => segment.base_offset(),
        }
    }
}

/// One segment of a [`SegmentList`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum SegmentRef<'a> {
    /// Written no more.
    Sealed(&'a Arc<SealedSegment>),
    /// Being written.
    Active(&'a Arc<ActiveSegment>),
}

/// A partition's directory with the files of sealed segments that are open, at most [`OPEN_SEALED_SEGMENTS`] of them.
#[derive(Debug)]
pub(crate) struct SegmentDir {
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) path: Box<Path>,
    open: Mutex<OpenFiles>,
}

#[derive(Debug, Default)]
struct OpenFiles {
    /// Most recently used last.
    files: Vec<(i64, Arc<SealedFiles>)>,
    /// Segments below were removed: a reader that opened one just before must not keep its bytes on the disk.
    removed_below: i64,
}

/// Sealed segments of one log that stay open: three file descriptors each.
const OPEN_SEALED_SEGMENTS: usize = 4;

impl SegmentDir {
    pub(crate) fn new(fs: Arc<dyn FileSystem>, path: &Path) -> Self {
        Self {
            fs,
            path: path.into(),
            open: Mutex::new(OpenFiles::default()),
        }
    }

    /// The files of a sealed segment. Opening them may wait for the disk.
    pub(crate) fn files_with(
        &self,
        patience: Patience,
        segment: &SealedSegment,
    ) -> Result<Arc<SealedFiles>, StorageError> {
        match patience {
            Patience::Disk => self.files(segment),
            Patience::MemoryOnly => self.opened(segment.base_offset()).ok_or_else(|| {
                let path = segment_path(&self.path, segment.base_offset(), LOG_SUFFIX);
                StorageError::io("open", path, std::io::ErrorKind::WouldBlock.into())
            }),
        }
    }

    /// The files of a sealed segment, opened if need be.
    pub(crate) fn files(&self, segment: &SealedSegment) -> Result<Arc<SealedFiles>, StorageError> {
        if let Some(files) = self.opened(segment.base_offset()) {
            return Ok(files);
        }
        let path = segment_path(&self.path, segment.base_offset(), LOG_SUFFIX);
        let log = self.fs.open(&path, OpenMode::ReadWrite).context("open", &path)?;
        let files = Arc::new(SealedFiles::new(log));
        self.keep_open(segment.base_offset(), Arc::clone(&files));
        Ok(files)
    }

    /// Remembers the open files of a segment, and lets go of those used longest ago.
    pub(crate) fn keep_open(&self, base_offset: i64, files: Arc<SealedFiles>) {
        let mut open = self.open_files();
        if base_offset < open.removed_below {
            return;
        }
        open.files.retain(|(known, _)| *known != base_offset);
        if open.files.len() >= OPEN_SEALED_SEGMENTS {
            open.files.remove(0);
        }
        open.files.push((base_offset, files));
    }

    /// Forgets the open files of segments from `base_offset` on; others may take their names.
    pub(crate) fn close_from(&self, base_offset: i64) {
        let mut open = self.open_files();
        open.files.retain(|(known, _)| *known < base_offset);
        open.removed_below = open.removed_below.min(base_offset);
    }

    /// Forgets the open files of segments before `base_offset`, which are gone.
    pub(crate) fn close_before(&self, base_offset: i64) {
        let mut open = self.open_files();
        open.files.retain(|(known, _)| *known >= base_offset);
        open.removed_below = base_offset;
    }

    fn opened(&self, base_offset: i64) -> Option<Arc<SealedFiles>> {
        let mut open = self.open_files();
        let index = open.files.iter().position(|(known, _)| *known == base_offset)?;
        let entry = open.files.remove(index);
        let files = Arc::clone(&entry.1);
        open.files.push(entry);
        Some(files)
    }

    fn open_files(&self) -> MutexGuard<'_, OpenFiles> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Base offsets of the segments whose files are open.
    #[cfg(test)]
    pub(crate) fn open_segments(&self) -> Vec<i64> {
        self.open_files()
            .files
            .iter()
            .map(|(base_offset, _)| *base_offset)
            .collect()
    }
}
