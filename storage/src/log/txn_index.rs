//! Owns the aborted transactions of one log: noting them when their markers are written, finding those that a read
//! concerns, and making an index again from the batches.
//!
//! Invariants: the log is the truth. An entry is in its file before its marker is in the log, and durable before the
//! recovery point passes the marker; so below the recovery point, and everywhere after a clean stop, a file that is not
//! there says that nothing was aborted. What lies behind the recovery point is made again at every start that was not
//! clean; a file that no log can have written is made again by who looks at it first. Nobody reads on when that fails.
//! Sources: Kafka's `UnifiedLog.append`, `LocalLog.collectAbortedTransactions`, `LogSegment.recover`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::types::Now;

use crate::checkpoint::TEMPORARY_SUFFIX;
use crate::error::{IoContext, StorageError};
use crate::io::file_system::{DirEntry, File, OpenMode};
use crate::io::patience::Patience;
use crate::log::read_plan::{ReadError, ReadPlan};
use crate::log::reader::LogReader;
use crate::log::recovery::remove_if_present;
use crate::log::snapshots::{RestoreLimits, list_snapshots, restore_producers};
use crate::log::writer::LogWriter;
use crate::producer::{CompletedTxn, DEFAULT_MAX_PRODUCER_IDS, ProducerStates};
use crate::segment::file::{TXN_INDEX_SUFFIX, base_offset_of, segment_path};
use crate::segment::sealed::{SealedFiles, SealedSegment};
use crate::segment::txn_index::{OffsetRange, TxnEntries, TxnIndexBuilder, whole_entries};
use crate::segment::{SegmentDir, SegmentList, SegmentRef};

pub use crate::segment::txn_index::AbortedTxn;

/// The entries that completed transactions leave.
pub(super) fn aborted_txns(completed: &[CompletedTxn]) -> Vec<AbortedTxn> {
    let aborted = completed.iter().filter(|completed| completed.aborted);
    aborted.map(entry_of).collect()
}

fn entry_of(completed: &CompletedTxn) -> AbortedTxn {
    AbortedTxn {
        producer_id: completed.producer_id,
        first_offset: completed.first_offset,
        last_offset: completed.last_offset,
        last_stable_offset: completed.last_stable_offset,
    }
}

impl LogWriter {
    /// Writes entries before their markers. After a failure there is nothing of them, or the log is offline.
    pub(super) fn write_txn_index(&self, aborted: &[AbortedTxn]) -> Result<(), StorageError> {
        if aborted.is_empty() {
            return Ok(());
        }
        let path = self.active.txn_index_path();
        match self.active.txn_index().write(self.shared.fs(), &path, aborted) {
            Ok(is_new) => {
                if is_new {
                    self.shared.mark_names_dirty();
                }
                Ok(())
            }
            Err(error) => {
                self.withdraw_txn_index(aborted);
                Err(error)
            }
        }
    }

    /// The markers of these entries are in the log.
    pub(super) fn publish_txn_index(&self, aborted: &[AbortedTxn]) {
        if !aborted.is_empty() {
            self.active.txn_index().publish(aborted);
            self.shared.set_has_aborted();
        }
    }

    /// The markers of these entries could not be written. Were the entries left, another batch could get the offset of a
    /// marker, and a later start believe them.
    pub(super) fn withdraw_txn_index(&self, aborted: &[AbortedTxn]) {
        if !aborted.is_empty()
            && let Err(error) = self.active.txn_index().withdraw(&self.active.txn_index_path())
        {
            self.shared.go_offline(&error);
        }
    }
}

/// The file of a transaction index, and how many of its entries count.
pub(super) type TxnIndexFile = (Arc<dyn File>, u64);

impl LogWriter {
    /// The transaction index of a segment, with the entries of markers before `end_offset`.
    pub(super) fn kept_txn_index(
        &self,
        segments: &SegmentList,
        index: usize,
        end_offset: i64,
    ) -> Result<Option<TxnIndexFile>, StorageError> {
        let (file, path, count) = match segments.get(index).expect("an index of this list") {
            SegmentRef::Active(active) => match active.txn_index().file() {
                Some(file) => (Arc::clone(file), active.txn_index_path(), active.txn_index().count()),
                None => return Ok(None),
            },
            SegmentRef::Sealed(sealed) => {
                let search = Search {
                    reader: &LogReader::new(Arc::clone(&self.shared)),
                    segments,
                    patience: Patience::Disk,
                };
                let count = search.count(sealed)?;
                if count == 0 {
                    return Ok(None);
                }
                let files = self.shared.dir.files(sealed)?;
                let path = segment_path(self.shared.path(), sealed.base_offset(), TXN_INDEX_SUFFIX);
                (Arc::clone(search.file(sealed, &files)?), path, count)
            }
        };
        let entries = TxnEntries {
            file: file.as_ref(),
            path: &path,
            count,
        };
        let kept = entries.first_ending_at(Patience::Disk, end_offset)?;
        Ok(Some((file, kept)))
    }
}

impl LogReader {
    /// The aborted transactions that have records among those of a read from `fetch_offset`, which ended at
    /// `end_offset` at the latest; sorted by first offset. They may be a few more than that: transactions that begin
    /// shortly behind the read. May wait for the disk.
    ///
    /// # Errors
    /// `OutOfRange` when the records were removed meanwhile; storage errors.
    pub fn aborted_transactions(
        &self,
        plan: &ReadPlan,
        fetch_offset: i64,
        end_offset: i64,
    ) -> Result<Vec<AbortedTxn>, ReadError> {
        self.aborted_among(plan, fetch_offset, end_offset, Patience::Disk)
    }

    /// As [`Self::aborted_transactions`], but `None` where the search would wait for the disk, or be long.
    ///
    /// # Errors
    /// As [`Self::aborted_transactions`].
    pub fn aborted_transactions_nowait(
        &self,
        plan: &ReadPlan,
        fetch_offset: i64,
        end_offset: i64,
    ) -> Result<Option<Vec<AbortedTxn>>, ReadError> {
        match self.aborted_among(plan, fetch_offset, end_offset, Patience::MemoryOnly) {
            Err(ReadError::Storage(error)) if error.is_cold() => Ok(None),
            found => found.map(Some),
        }
    }

    fn aborted_among(
        &self,
        plan: &ReadPlan,
        fetch_offset: i64,
        end_offset: i64,
        patience: Patience,
    ) -> Result<Vec<AbortedTxn>, ReadError> {
        let Some(slice) = plan.slice.as_ref().filter(|_| self.shared.has_aborted()) else {
            return Ok(Vec::new());
        };
        let read_to = slice.position + slice.length as u64;
        let segments = self.shared.segments.load();
        // After the look at the segments: the log start moves first, so the segment of the slice is among them.
        self.check_range(fetch_offset)?;
        let search = Search {
            reader: self,
            segments: &segments,
            patience,
        };
        match search.run(plan.first_offset, fetch_offset, read_to, end_offset) {
            // Removed after the look at the log start.
            Err(error) if error.is_not_found() => {
                self.check_range(fetch_offset)?;
                Err(error.into())
            }
            found => Ok(found?),
        }
    }
}

/// One search through the indexes of a log.
struct Search<'a> {
    reader: &'a LogReader,
    segments: &'a SegmentList,
    patience: Patience,
}

impl Search<'_> {
    fn run(
        &self,
        first_offset: i64,
        fetch_offset: i64,
        read_to: u64,
        end_offset: i64,
    ) -> Result<Vec<AbortedTxn>, StorageError> {
        let mut found = Vec::new();
        let first = self.segments.index_for(first_offset);
        let mut range = None;
        for index in first.. {
            let Some(segment) = self.segments.get(index) else { break };
            let is_complete = match segment {
                SegmentRef::Active(active) => {
                    let path = active.txn_index_path();
                    let Some(entries) = active.txn_index().entries_from(fetch_offset, &path) else {
                        continue;
                    };
                    let range = self.range(&mut range, first, fetch_offset, read_to, end_offset)?;
                    entries.collect(self.patience, range, &mut found)?
                }
                SegmentRef::Sealed(sealed) => {
                    let count = self.count(sealed)?;
                    if count == 0 {
                        continue;
                    }
                    let shared = &self.reader.shared;
                    let files = shared.dir.files_with(self.patience, sealed)?;
                    let file = self.file(sealed, &files)?;
                    let path = segment_path(shared.path(), sealed.base_offset(), TXN_INDEX_SUFFIX);
                    let entries = TxnEntries {
                        file: file.as_ref(),
                        path: &path,
                        count,
                    };
                    let range = self.range(&mut range, first, fetch_offset, read_to, end_offset)?;
                    entries.collect(self.patience, range, &mut found)?
                }
            };
            if is_complete {
                break;
            }
        }
        found.sort_by_key(|txn| (txn.first_offset, txn.producer_id));
        Ok(found)
    }

    /// The offsets of the read, worked out once and only for a log that has entries.
    fn range(
        &self,
        known: &mut Option<OffsetRange>,
        first: usize,
        fetch_offset: i64,
        read_to: u64,
        end_offset: i64,
    ) -> Result<OffsetRange, StorageError> {
        if let Some(known) = known {
            return Ok(*known);
        }
        let shared = &self.reader.shared;
        let behind = match self.segments.get(first).expect("the segment of the slice") {
            SegmentRef::Active(active) => active.offset_behind(read_to),
            SegmentRef::Sealed(sealed) => {
                let files = shared.dir.files_with(self.patience, sealed)?;
                sealed.offset_behind(shared.fs(), shared.path(), &files, read_to, self.patience)?
            }
        };
        let range = OffsetRange {
            from: fetch_offset,
            to: behind.min(end_offset),
        };
        Ok(*known.insert(range))
    }

    /// How many entries a sealed segment has; its file is checked by the first who asks.
    fn count(&self, sealed: &Arc<SealedSegment>) -> Result<u64, StorageError> {
        if let Some(known) = sealed.txn_entries() {
            return Ok(known);
        }
        let shared = &self.reader.shared;
        let path = segment_path(shared.path(), sealed.base_offset(), TXN_INDEX_SUFFIX);
        if self.patience == Patience::MemoryOnly {
            let would_wait = std::io::ErrorKind::WouldBlock.into();
            return Err(StorageError::io("check", path, would_wait));
        }
        let _one_at_a_time = shared.check_txn_index();
        if let Some(known) = sealed.txn_entries() {
            return Ok(known);
        }
        let file = match shared.fs().open(&path, OpenMode::Read) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(StorageError::io("open", path, error)),
        };
        let believed = match file {
            Some(file) => believed(&file, &path, sealed.base_offset(), sealed.next_offset())?,
            None => None,
        };
        let count = match believed {
            Some(count) => count,
            None => self.rebuild(sealed)?,
        };
        sealed.set_txn_entries(count);
        Ok(count)
    }

    fn file<'f>(&self, sealed: &Arc<SealedSegment>, files: &'f SealedFiles) -> Result<&'f Arc<dyn File>, StorageError> {
        let shared = &self.reader.shared;
        match sealed.txn_file(shared.fs(), shared.path(), files, self.patience) {
            Err(error) if error.is_not_found() && !sealed.is_removed() => {
                let _one_at_a_time = shared.check_txn_index();
                self.rebuild(sealed)?;
                sealed.txn_file(shared.fs(), shared.path(), files, self.patience)
            }
            opened => opened,
        }
    }

    /// Makes the index of a sealed segment again. It is durable at once: nobody would look at it again.
    fn rebuild(&self, sealed: &Arc<SealedSegment>) -> Result<u64, StorageError> {
        let shared = &self.reader.shared;
        let (fs, dir) = (shared.fs(), shared.path());
        let path = segment_path(dir, sealed.base_offset(), TXN_INDEX_SUFFIX);
        if sealed.is_removed() {
            return Err(StorageError::io("open", path, std::io::ErrorKind::NotFound.into()));
        }
        tracing::warn!(index = %path.display(), "transaction index unusable, making it again");
        let mut temporary = path.clone().into_os_string();
        temporary.push(TEMPORARY_SUFFIX);
        let temporary = PathBuf::from(temporary);
        let file = fs.open(&temporary, OpenMode::Truncate).context("create", &temporary)?;
        let mut builder = TxnIndexBuilder::behind(file, temporary.clone(), 0)?;
        let limits = RestoreLimits {
            newest_snapshot: sealed.base_offset(),
            log_end_offset: sealed.next_offset(),
            producer_id_expiration_ms: i64::MAX,
            max_producer_ids: DEFAULT_MAX_PRODUCER_IDS,
            now: Now { mono_ms: 0, wall_ms: 0 },
        };
        let snapshots = list_snapshots(fs, dir)?;
        restore_producers(&shared.dir, self.segments, &snapshots, limits, &mut |completed| {
            let is_here = completed.aborted && completed.last_offset >= sealed.base_offset();
            if is_here {
                builder.push(&entry_of(completed))
            } else {
                Ok(())
            }
        })?;
        let (_, count) = builder.finish()?;
        fs.rename(&temporary, &path).context("replace", &path)?;
        fs.sync_dir(dir).context("sync directory", dir)?;
        Ok(count)
    }
}

/// How many entries a file has, if all of them can be believed: `None` when one is such as no log has written, or has its
/// marker at or behind `end_offset`.
fn believed(file: &Arc<dyn File>, path: &Path, base_offset: i64, end_offset: i64) -> Result<Option<u64>, StorageError> {
    let (count, has_rest) = whole_entries(file.len().context("read length of", path)?);
    let entries = TxnEntries {
        file: file.as_ref(),
        path,
        count,
    };
    let believable = entries.believable(base_offset, end_offset)?;
    Ok(believable.filter(|believable| *believable == count && !has_rest))
}

/// Base offsets of the segments that have a transaction index with something in it.
pub(super) fn indexed_segments(entries: &[DirEntry]) -> Vec<i64> {
    let filled = entries.iter().filter(|entry| entry.len > 0);
    filled
        .filter_map(|entry| base_offset_of(&entry.name, TXN_INDEX_SUFFIX))
        .collect()
}

/// What recovery knows of a log whose transaction indexes are to be brought into order.
#[derive(Debug, Clone, Copy)]
pub(super) struct TxnRecovery<'a> {
    pub(super) dir: &'a SegmentDir,
    pub(super) segments: &'a SegmentList,
    /// See [`indexed_segments`].
    pub(super) indexed: &'a [i64],
    /// The segments from this one on were read by recovery.
    pub(super) scanned_from: i64,
    /// Everything below is on the disk; `i64::MAX` after a clean stop.
    pub(super) trusted_to: i64,
    /// There are markers behind that.
    pub(super) has_new_markers: bool,
}

/// The log after that.
#[derive(Debug)]
pub(super) struct RecoveredTxns {
    pub(super) producers: ProducerStates,
    pub(super) has_aborted: bool,
    /// Names in the directory were changed.
    pub(super) names_changed: bool,
}

impl TxnRecovery<'_> {
    /// Restores the producers and, on the way, makes again what the indexes may lack; takes away what they say of markers
    /// that are not in the log.
    pub(super) fn run(self, snapshots: &[i64], limits: RestoreLimits) -> Result<RecoveredTxns, StorageError> {
        for sealed in self
            .segments
            .sealed
            .iter()
            .filter(|sealed| sealed.base_offset() < self.scanned_from)
        {
            if !self.is_indexed(sealed.base_offset()) {
                sealed.set_txn_entries(0);
            }
        }
        let kept = self.kept()?;
        let rebuild_from = match &kept {
            Kept::Doubtful => Some(self.scanned_from),
            _ if self.has_new_markers => Some(self.trusted_to),
            _ => None,
        };
        let limits = RestoreLimits {
            newest_snapshot: rebuild_from.unwrap_or(limits.newest_snapshot),
            ..limits
        };
        let mut rebuild = Rebuild {
            recovery: self,
            from: rebuild_from,
            building: None,
            built: BTreeMap::new(),
        };
        if let Kept::Entries(file, count) = kept {
            rebuild.built.insert(self.scanned_from, (file, count));
        }
        let on_ended = &mut |completed: &CompletedTxn| rebuild.on_ended(completed);
        let producers = restore_producers(self.dir, self.segments, snapshots, limits, on_ended)?;
        rebuild.finish_building()?;
        let built = rebuild.built;
        let has_new_names = built.keys().any(|base_offset| !self.is_indexed(*base_offset));
        let is_trusted = |base_offset: &&i64| **base_offset < self.scanned_from;
        let has_aborted = !built.is_empty() || self.indexed.iter().any(|base_offset| is_trusted(&base_offset));
        let names_changed = self.hand_over(built)? || has_new_names;
        Ok(RecoveredTxns {
            producers,
            has_aborted,
            names_changed,
        })
    }

    /// Tells the scanned segments what they have, and removes the files of those that have nothing.
    fn hand_over(&self, mut built: BTreeMap<i64, TxnIndexFile>) -> Result<bool, StorageError> {
        let mut removed = false;
        let mut remove_stray = |base_offset: i64| {
            if !self.is_indexed(base_offset) {
                return Ok(());
            }
            removed = true;
            remove_if_present(self.dir.fs.as_ref(), &self.path(base_offset))
        };
        for sealed in self
            .segments
            .sealed
            .iter()
            .filter(|sealed| sealed.base_offset() >= self.scanned_from)
        {
            match built.remove(&sealed.base_offset()) {
                Some((_, count)) => sealed.set_txn_entries(count),
                None => {
                    remove_stray(sealed.base_offset())?;
                    sealed.set_txn_entries(0);
                }
            }
        }
        let active = &self.segments.active;
        match built.remove(&active.base_offset()) {
            Some((file, count)) => active.txn_index().resume(file, &active.txn_index_path(), count)?,
            None => remove_stray(active.base_offset())?,
        }
        Ok(removed)
    }

    /// What the first scanned segment has of markers before the trusted end; later ones have none.
    fn kept(&self) -> Result<Kept, StorageError> {
        if !self.is_indexed(self.scanned_from) {
            return Ok(Kept::Nothing);
        }
        let path = self.path(self.scanned_from);
        let file = match self.dir.fs.open(&path, OpenMode::ReadWrite) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Kept::Nothing),
            Err(error) => return Err(StorageError::io("open", path, error)),
        };
        let index = self.segments.index_for(self.scanned_from);
        let next_offset = match self.segments.get(index).expect("the first scanned segment") {
            SegmentRef::Sealed(sealed) => sealed.next_offset(),
            SegmentRef::Active(active) => active.index().next_offset(),
        };
        let end_offset = next_offset.min(self.trusted_to);
        // An entry of a marker behind the end may be right, may be one that a crash has left, or may be a damaged one: all of
        // it is made again then.
        Ok(match believed(&file, &path, self.scanned_from, end_offset)? {
            Some(0) => Kept::Nothing,
            Some(count) => Kept::Entries(file, count),
            None => Kept::Doubtful,
        })
    }

    fn is_indexed(&self, base_offset: i64) -> bool {
        self.indexed.contains(&base_offset)
    }

    fn path(&self, base_offset: i64) -> PathBuf {
        segment_path(&self.dir.path, base_offset, TXN_INDEX_SUFFIX)
    }
}

/// What can be believed of the index of the segment in which recovery began.
#[derive(Debug)]
enum Kept {
    Nothing,
    Entries(Arc<dyn File>, u64),
    Doubtful,
}

/// Indexes in the making, while the log is replayed.
struct Rebuild<'a> {
    recovery: TxnRecovery<'a>,
    /// Markers from here on get their entries.
    from: Option<i64>,
    building: Option<(i64, TxnIndexBuilder)>,
    built: BTreeMap<i64, TxnIndexFile>,
}

impl Rebuild<'_> {
    fn on_ended(&mut self, completed: &CompletedTxn) -> Result<(), StorageError> {
        if !completed.aborted || self.from.is_none_or(|from| completed.last_offset < from) {
            return Ok(());
        }
        let segments = self.recovery.segments;
        let index = segments.index_for(completed.last_offset);
        let base_offset = segments.get(index).expect("the marker's segment").base_offset();
        if self
            .building
            .as_ref()
            .is_none_or(|(building, _)| *building != base_offset)
        {
            self.finish_building()?;
            let path = self.recovery.path(base_offset);
            let (file, kept) = match self.built.remove(&base_offset) {
                Some(kept) => kept,
                None => {
                    let file = self.recovery.dir.fs.open(&path, OpenMode::Truncate);
                    (file.context("create", &path)?, 0)
                }
            };
            self.building = Some((base_offset, TxnIndexBuilder::behind(file, path, kept)?));
        }
        let (_, builder) = self.building.as_mut().expect("just set");
        builder.push(&entry_of(completed))
    }

    fn finish_building(&mut self) -> Result<(), StorageError> {
        if let Some((base_offset, builder)) = self.building.take() {
            self.built.insert(base_offset, builder.finish()?);
        }
        Ok(())
    }
}
