//! Owns a segment that is no longer written: looked up through its index files, opened only when somebody reads it.
//!
//! Invariants: the `.log` file has exactly `size_bytes`; a missing or broken index file is made again from the batches
//! when it is first needed, in memory if it cannot be written; an index file never has a part of its content under its
//! name; an index entry is believed only if the batch at its position has that last offset.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::checkpoint::{replace, replace_unsynced};
use crate::error::{IoContext, StorageError};
use crate::io::file_system::{File, FileSystem, OpenMode};
use crate::io::patience::Patience;
use crate::segment::active::ActiveSegment;
use crate::segment::active_index::ActiveIndex;
use crate::segment::file::{
    HeaderScan, INDEX_SUFFIX, LOG_SUFFIX, ScanRange, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, segment_path,
};
use crate::segment::index_bytes::IndexBytes;
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
    /// It is known that no batch has a timestamp, so that the time index is rightly empty.
    has_no_timestamp: AtomicBool,
    /// Largest timestamp and the last offset of the batch that has it, once somebody asked.
    max_timestamp: OnceLock<Option<(i64, i64)>>,
    /// Entries of the transaction index, once the file was looked at or when there is none.
    txn_entries: OnceLock<u64>,
    /// It was taken out of its log: its files go, and no new ones are made.
    is_removed: AtomicBool,
}

/// The opened files of a sealed segment.
#[derive(Debug)]
pub(crate) struct SealedFiles {
    log: Arc<dyn File>,
    offsets: OnceLock<OffsetIndexFile>,
    times: OnceLock<TimeIndexFile>,
    txns: OnceLock<Arc<dyn File>>,
}

impl SealedFiles {
    pub(crate) fn new(log: Arc<dyn File>) -> Self {
        Self {
            log,
            offsets: OnceLock::new(),
            times: OnceLock::new(),
            txns: OnceLock::new(),
        }
    }

    pub(crate) fn log(&self) -> &Arc<dyn File> {
        &self.log
    }

    /// The same with the opened file of the transaction index.
    pub(crate) fn with_txns(self, txns: Option<Arc<dyn File>>) -> Self {
        if let Some(txns) = txns {
            self.txns.get_or_init(|| txns);
        }
        self
    }
}

impl SealedSegment {
    pub(crate) fn new(base_offset: i64, next_offset: i64, size_bytes: u32, index_unsynced: bool) -> Self {
        Self {
            base_offset,
            next_offset,
            size_bytes,
            index_unsynced: AtomicBool::new(index_unsynced),
            has_no_timestamp: AtomicBool::new(false),
            max_timestamp: OnceLock::new(),
            txn_entries: OnceLock::new(),
            is_removed: AtomicBool::new(false),
        }
    }

    /// As [`Self::new`], of a segment whose largest timestamp is known, as [`Self::max_timestamp`] answers it.
    pub(crate) fn just_sealed(active: &ActiveSegment, index_unsynced: bool) -> Self {
        let index = active.index();
        let sealed = Self::new(
            active.base_offset(),
            index.next_offset(),
            index.size_bytes(),
            index_unsynced,
        );
        sealed.set_txn_entries(active.txn_index().count());
        sealed.max_timestamp.get_or_init(|| index.max_timestamp());
        sealed
            .has_no_timestamp
            .store(index.max_timestamp().is_none(), Ordering::Release);
        sealed
    }

    /// Entries of the transaction index; `None` when its file was not looked at yet.
    pub(crate) fn txn_entries(&self) -> Option<u64> {
        self.txn_entries.get().copied()
    }

    /// The transaction index was looked at, or is known not to be there.
    pub(crate) fn set_txn_entries(&self, entries: u64) {
        self.txn_entries.get_or_init(|| entries);
    }

    /// The file of the transaction index.
    pub(crate) fn txn_file<'a>(
        &self,
        fs: &dyn FileSystem,
        dir: &Path,
        files: &'a SealedFiles,
        patience: Patience,
    ) -> Result<&'a Arc<dyn File>, StorageError> {
        if files.txns.get().is_none() {
            let path = segment_path(dir, self.base_offset, TXN_INDEX_SUFFIX);
            if patience == Patience::MemoryOnly {
                return Err(StorageError::io("open", path, std::io::ErrorKind::WouldBlock.into()));
            }
            let file = fs.open(&path, OpenMode::ReadWrite).context("open", &path)?;
            drop(files.txns.set(file));
        }
        Ok(files.txns.get().expect("just set"))
    }

    /// An offset that no batch before `position` reaches, near to the batch at `position`.
    pub(crate) fn offset_behind(
        &self,
        fs: &dyn FileSystem,
        dir: &Path,
        files: &SealedFiles,
        position: u64,
        patience: Patience,
    ) -> Result<i64, StorageError> {
        if position >= u64::from(self.size_bytes) {
            return Ok(self.next_offset);
        }
        let path = segment_path(dir, self.base_offset, INDEX_SUFFIX);
        if patience == Patience::MemoryOnly && files.offsets.get().is_none() {
            return Err(StorageError::io("open", path, std::io::ErrorKind::WouldBlock.into()));
        }
        let entry = self.offsets(fs, dir, files)?.first_at(patience, &path, position)?;
        let offset = entry.map(|entry| self.base_offset + i64::from(entry.relative_offset));
        Ok(offset.unwrap_or(self.next_offset))
    }

    /// Whether it was taken out of its log.
    pub(crate) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Acquire)
    }

    /// The largest timestamp if somebody has asked before.
    pub(crate) fn known_max_timestamp(&self) -> Option<Option<(i64, i64)>> {
        self.max_timestamp.get().copied()
    }

    /// It was taken out of its log.
    pub(crate) fn mark_removed(&self) {
        self.is_removed.store(true, Ordering::Release);
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
        if self.is_removed.load(Ordering::Acquire) {
            return Ok(());
        }
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
            if self.txn_entries().is_some_and(|entries| entries > 0) {
                self.txn_file(fs, dir, files, Patience::Disk)
                    .map_err(SyncFailure::Again)?
                    .sync_data()
                    .context("sync", segment_path(dir, self.base_offset, TXN_INDEX_SUFFIX))
                    .map_err(SyncFailure::Final)?;
            }
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
        patience: Patience,
    ) -> Result<Option<Located>, StorageError> {
        let path = segment_path(dir, self.base_offset, LOG_SUFFIX);
        let mut from = 0;
        if offset > self.base_offset {
            // behind the base offset, so only too large a difference has no u32
            let relative = u32::try_from(offset - self.base_offset).unwrap_or(u32::MAX);
            let index_path = segment_path(dir, self.base_offset, INDEX_SUFFIX);
            if patience == Patience::MemoryOnly && files.offsets.get().is_none() {
                let would_wait = std::io::ErrorKind::WouldBlock.into();
                return Err(StorageError::io("open", index_path, would_wait));
            }
            let index = self.offsets(fs, dir, files)?;
            let entry = index.floor(patience, &index_path, relative)?;
            from = self.believed_position(&patience.of(files.log.as_ref()), &path, &index_path, entry)?;
        }
        let range = ScanRange {
            position: from,
            ..self.range()
        };
        scan_for_offset(&patience.of(files.log.as_ref()), &path, range, offset)
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
        let index = self.offsets(fs, dir, files)?;
        let entry = index.floor(Patience::Disk, &index_path, time.relative_offset)?;
        self.believed_position(
            files.log.as_ref(),
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
        log: &dyn File,
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
        let mut scan = HeaderScan::new(log, path, range, 0);
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
        if files.offsets.get().is_none() {
            let path = segment_path(dir, self.base_offset, INDEX_SUFFIX);
            let found = match open_if_present(fs, &path)? {
                Some(bytes) => OffsetIndexFile::new(bytes, &path, self.size_bytes)?,
                None => None,
            };
            match found {
                Some(index) => drop(files.offsets.set(index)),
                None => self.rebuild(fs, dir, files)?,
            }
        }
        Ok(files.offsets.get().expect("just set"))
    }

    fn times<'a>(
        &self,
        fs: &dyn FileSystem,
        dir: &Path,
        files: &'a SealedFiles,
    ) -> Result<&'a TimeIndexFile, StorageError> {
        if files.times.get().is_none() {
            let path = segment_path(dir, self.base_offset, TIME_INDEX_SUFFIX);
            let found = match open_if_present(fs, &path)? {
                Some(bytes) => TimeIndexFile::new(bytes, &path)?,
                None => None,
            };
            // The largest timestamp always has an entry, so an empty file is one that lost its content.
            let may_be_empty = self.size_bytes == 0 || self.has_no_timestamp.load(Ordering::Acquire);
            match found.filter(|index| may_be_empty || !index.is_empty()) {
                Some(index) => drop(files.times.set(index)),
                None => self.rebuild(fs, dir, files)?,
            }
        }
        Ok(files.times.get().expect("just set"))
    }

    /// Makes both indexes again from the batches and, if possible, their files.
    fn rebuild(&self, fs: &dyn FileSystem, dir: &Path, files: &SealedFiles) -> Result<(), StorageError> {
        let path = segment_path(dir, self.base_offset, LOG_SUFFIX);
        if !self.is_removed.load(Ordering::Acquire) {
            tracing::warn!(segment = %path.display(), "index missing or unusable, making it again");
        }
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
        self.has_no_timestamp
            .store(index.max_timestamp().is_none(), Ordering::Release);
        // Durable at once: the log may long be behind its recovery point, so nobody would look at the files again.
        if !self.is_removed.load(Ordering::Acquire)
            && let Err(error) = write_index_files(fs, dir, self.base_offset, &mut index, IndexSync::Now)
        {
            tracing::warn!(segment = %path.display(), %error, "index kept in memory only");
        }
        let (offsets, times) = index.encode_files();
        let (offsets_path, times_path) = index_paths(dir, self.base_offset);
        let unusable = |path: &Path| StorageError::corrupt(path, 0, "the index is unusable although just made");
        let offsets = OffsetIndexFile::new(IndexBytes::Memory(offsets), &offsets_path, self.size_bytes)?
            .ok_or_else(|| unusable(&offsets_path))?;
        let times = TimeIndexFile::new(IndexBytes::Memory(times), &times_path)?.ok_or_else(|| unusable(&times_path))?;
        // One of them may have been usable and in use all the time; it stays.
        drop(files.offsets.set(offsets));
        drop(files.times.set(times));
        Ok(())
    }
}

/// Kafka's default `index.interval.bytes`; the interval in force is not known to a reader.
const REBUILT_INDEX_INTERVAL_BYTES: u32 = 4096;

/// When index files become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexSync {
    /// Before they have their names.
    Now,
    /// With the next sync of the log.
    Later,
}

/// Replaces `.index` and `.timeindex` of a segment. Their names are durable only once the directory is synced.
pub(crate) fn write_index_files(
    fs: &dyn FileSystem,
    dir: &Path,
    base_offset: i64,
    index: &mut ActiveIndex,
    sync: IndexSync,
) -> Result<(), StorageError> {
    let (offsets, times) = index.encode_files();
    let (offsets_path, times_path) = index_paths(dir, base_offset);
    for (path, bytes) in [(offsets_path, offsets), (times_path, times)] {
        match sync {
            IndexSync::Now => replace(fs, &path, &bytes)?,
            IndexSync::Later => replace_unsynced(fs, &path, &bytes)?,
        }
    }
    Ok(())
}

fn index_paths(dir: &Path, base_offset: i64) -> (PathBuf, PathBuf) {
    (
        segment_path(dir, base_offset, INDEX_SUFFIX),
        segment_path(dir, base_offset, TIME_INDEX_SUFFIX),
    )
}

fn open_if_present(fs: &dyn FileSystem, path: &Path) -> Result<Option<IndexBytes>, StorageError> {
    match fs.open(path, OpenMode::Read) {
        Ok(file) => Ok(Some(IndexBytes::File(file))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("open", path, error)),
    }
}
