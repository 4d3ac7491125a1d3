//! Owns a segment that is no longer written: looked up through its index files, opened only when somebody reads it.
//!
//! Invariants: the `.log` file has exactly `size_bytes`; a missing or broken index file is made again from the batches
//! when it is first needed; an index entry is believed only if the batch at its position has that last offset.

use std::io::IoSlice;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::{IoContext, StorageError};
use crate::io::file_system::{File, FileSystem, OpenMode};
use crate::segment::active_index::ActiveIndex;
use crate::segment::file::{HeaderScan, INDEX_SUFFIX, LOG_SUFFIX, ScanRange, TIME_INDEX_SUFFIX, segment_path};
use crate::segment::offset_index::{OffsetEntry, OffsetIndexFile};
use crate::segment::time_index::TimeIndexFile;
use crate::segment::{Located, SyncFailure, scan_for_offset};

/// A sealed segment.
#[derive(Debug)]
pub(crate) struct SealedSegment {
    base_offset: i64,
    next_offset: i64,
    size_bytes: u32,
    /// The index files were written but not made durable yet.
    index_unsynced: AtomicBool,
    /// Largest timestamp and the last offset of the batch that has it, once somebody asked.
    max_timestamp: OnceLock<Option<(i64, i64)>>,
}

/// The opened files of a sealed segment.
#[derive(Debug)]
pub(crate) struct SealedFiles {
    log: Arc<dyn File>,
    offsets: OnceLock<OffsetIndexFile>,
    times: OnceLock<TimeIndexFile>,
}

impl SealedFiles {
    pub(crate) fn new(log: Arc<dyn File>) -> Self {
        Self {
            log,
            offsets: OnceLock::new(),
            times: OnceLock::new(),
        }
    }

    pub(crate) fn log(&self) -> &Arc<dyn File> {
        &self.log
    }
}

impl SealedSegment {
    pub(crate) fn new(base_offset: i64, next_offset: i64, size_bytes: u32, index_unsynced: bool) -> Self {
        Self {
            base_offset,
            next_offset,
            size_bytes,
            index_unsynced: AtomicBool::new(index_unsynced),
            max_timestamp: OnceLock::new(),
        }
    }

    pub(crate) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// The base offset of the segment that follows; the last record may lie before it (compaction).
    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    pub(crate) fn size_bytes(&self) -> u32 {
        self.size_bytes
    }

    /// Whether the index files wait for their sync.
    pub(crate) fn index_unsynced(&self) -> bool {
        self.index_unsynced.load(Ordering::Acquire)
    }

    /// Makes data and indexes durable.
    pub(crate) fn sync(&self, fs: &dyn FileSystem, dir: &Path, files: &SealedFiles) -> Result<(), SyncFailure> {
        files
            .log
            .sync_data()
            .context("sync", segment_path(dir, self.base_offset, LOG_SUFFIX))
            .map_err(SyncFailure::Final)?;
        if self.index_unsynced() {
            self.offsets(fs, dir, files)
                .map_err(SyncFailure::Again)?
                .sync(&segment_path(dir, self.base_offset, INDEX_SUFFIX))
                .map_err(SyncFailure::Final)?;
            self.times(fs, dir, files)
                .map_err(SyncFailure::Again)?
                .sync(&segment_path(dir, self.base_offset, TIME_INDEX_SUFFIX))
                .map_err(SyncFailure::Final)?;
            self.index_unsynced.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// The first batch with a last offset at or behind `offset`.
    pub(crate) fn locate(
        &self,
        fs: &dyn FileSystem,
        dir: &Path,
        files: &SealedFiles,
        offset: i64,
    ) -> Result<Option<Located>, StorageError> {
        let path = segment_path(dir, self.base_offset, LOG_SUFFIX);
        let mut from = 0;
        if offset > self.base_offset {
            // behind the base offset, so only too large a difference has no u32
            let relative = u32::try_from(offset - self.base_offset).unwrap_or(u32::MAX);
            let index_path = segment_path(dir, self.base_offset, INDEX_SUFFIX);
            let entry = self.offsets(fs, dir, files)?.floor(&index_path, relative)?;
            from = self.believed_position(files, &path, &index_path, entry)?;
        }
        let range = ScanRange {
            position: from,
            ..self.range()
        };
        scan_for_offset(files.log.as_ref(), &path, range, offset)
    }

    /// All of the segment.
    pub(crate) fn range(&self) -> ScanRange {
        ScanRange {
            position: 0,
            end: self.size_bytes.into(),
            base_offset: self.base_offset,
            limit_offset: self.next_offset,
        }
    }

    /// Where to begin to look for the first record at or behind a time: no batch before this position has one.
    pub(crate) fn position_before_time(
        &self,
        fs: &dyn FileSystem,
        dir: &Path,
        files: &SealedFiles,
        timestamp_ms: i64,
    ) -> Result<u64, StorageError> {
        let time_path = segment_path(dir, self.base_offset, TIME_INDEX_SUFFIX);
        let Some(time) = self.times(fs, dir, files)?.floor(&time_path, timestamp_ms)? else {
            return Ok(0);
        };
        let index_path = segment_path(dir, self.base_offset, INDEX_SUFFIX);
        let entry = self.offsets(fs, dir, files)?.floor(&index_path, time.relative_offset)?;
        self.believed_position(
            files,
            &segment_path(dir, self.base_offset, LOG_SUFFIX),
            &index_path,
            entry,
        )
    }

    /// Largest timestamp of the segment and the last offset of the batch that has it.
    pub(crate) fn max_timestamp(
        &self,
        fs: &dyn FileSystem,
        dir: &Path,
        files: &SealedFiles,
    ) -> Result<Option<(i64, i64)>, StorageError> {
        if let Some(known) = self.max_timestamp.get() {
            return Ok(*known);
        }
        let path = segment_path(dir, self.base_offset, TIME_INDEX_SUFFIX);
        let last = self.times(fs, dir, files)?.last(&path)?;
        let max = last.map(|entry| (entry.timestamp_ms, self.base_offset + i64::from(entry.relative_offset)));
        Ok(*self.max_timestamp.get_or_init(|| max))
    }

    /// The entry's position if the batch there is the one that the entry means, else the begin of the segment.
    fn believed_position(
        &self,
        files: &SealedFiles,
        path: &Path,
        index_path: &Path,
        entry: Option<OffsetEntry>,
    ) -> Result<u64, StorageError> {
        let Some(entry) = entry else { return Ok(0) };
        let position = u64::from(entry.position);
        if entry.position >= self.size_bytes {
            tracing::warn!(index = %index_path.display(), position, "index entry points behind the segment");
            return Ok(0);
        }
        let range = ScanRange {
            position,
            ..self.range()
        };
        let mut scan = HeaderScan::new(files.log.as_ref(), path, range, 0);
        let meant = self.base_offset + i64::from(entry.relative_offset);
        match scan.next() {
            Ok(Some(placed)) if placed.header.last_offset() == meant => Ok(position),
            Ok(_) | Err(StorageError::Corrupt { .. }) => {
                tracing::warn!(index = %index_path.display(), position, "index entry points at no such batch");
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    fn offsets<'a>(
        &self,
        fs: &dyn FileSystem,
        dir: &Path,
        files: &'a SealedFiles,
    ) -> Result<&'a OffsetIndexFile, StorageError> {
        if let Some(index) = files.offsets.get() {
            return Ok(index);
        }
        let path = segment_path(dir, self.base_offset, INDEX_SUFFIX);
        let open = || match open_if_present(fs, &path)? {
            Some(file) => OffsetIndexFile::new(file, &path, self.size_bytes),
            None => Ok(None),
        };
        let index = match open()? {
            Some(index) => index,
            None => {
                self.rebuild(fs, dir, files)?;
                open()?.ok_or_else(|| StorageError::corrupt(&path, 0, "the index is unusable although just made"))?
            }
        };
        Ok(files.offsets.get_or_init(|| index))
    }

    fn times<'a>(
        &self,
        fs: &dyn FileSystem,
        dir: &Path,
        files: &'a SealedFiles,
    ) -> Result<&'a TimeIndexFile, StorageError> {
        if let Some(index) = files.times.get() {
            return Ok(index);
        }
        let path = segment_path(dir, self.base_offset, TIME_INDEX_SUFFIX);
        let open = || match open_if_present(fs, &path)? {
            Some(file) => TimeIndexFile::new(file, &path),
            None => Ok(None),
        };
        let index = match open()? {
            Some(index) => index,
            None => {
                self.rebuild(fs, dir, files)?;
                open()?.ok_or_else(|| StorageError::corrupt(&path, 0, "the index is unusable although just made"))?
            }
        };
        Ok(files.times.get_or_init(|| index))
    }

    /// Makes both index files again from the batches.
    fn rebuild(&self, fs: &dyn FileSystem, dir: &Path, files: &SealedFiles) -> Result<(), StorageError> {
        let path = segment_path(dir, self.base_offset, LOG_SUFFIX);
        tracing::warn!(segment = %path.display(), "index missing or unusable, making it again");
        let mut index = ActiveIndex::new(self.base_offset);
        let mut scan = HeaderScan::new(files.log.as_ref(), &path, self.range(), HeaderScan::BULK_BYTES);
        loop {
            match scan.next() {
                Ok(Some(placed)) => index.note(&placed.header, REBUILT_INDEX_INTERVAL_BYTES),
                Ok(None) => break,
                // What lies before the damage stays readable; who reads on will meet it.
                Err(error @ StorageError::Corrupt { .. }) => {
                    tracing::warn!(%error, "index ends before damaged batch");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.index_unsynced.store(true, Ordering::Release);
        write_index_files(fs, dir, self.base_offset, &mut index)
    }
}

/// Kafka's default `index.interval.bytes`; the interval in force is not known to a reader.
const REBUILT_INDEX_INTERVAL_BYTES: u32 = 4096;

/// Writes `.index` and `.timeindex` of a segment; not durable until synced.
pub(crate) fn write_index_files(
    fs: &dyn FileSystem,
    dir: &Path,
    base_offset: i64,
    index: &mut ActiveIndex,
) -> Result<(), StorageError> {
    let (offsets, times) = index.encode_files();
    for (suffix, bytes) in [(INDEX_SUFFIX, offsets), (TIME_INDEX_SUFFIX, times)] {
        let path = segment_path(dir, base_offset, suffix);
        let file = fs.open(&path, OpenMode::Truncate).context("create", &path)?;
        if !bytes.is_empty() {
            file.write_at(&[IoSlice::new(&bytes)], 0).context("write", &path)?;
        }
    }
    Ok(())
}

fn open_if_present(fs: &dyn FileSystem, path: &Path) -> Result<Option<Arc<dyn File>>, StorageError> {
    match fs.open(path, OpenMode::Read) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("open", path, error)),
    }
}
