//! Owns what happens to the segments of a log at start: which are believed, which are read again, where the log is cut.
//!
//! Invariants: after an unclean stop everything from the recovery point on is checked (chain, offsets, CRC) and the log
//! is cut at the first thing that is wrong: a prefix of what was written stays, later segments go with the cut. Nothing
//! before the recovery point, and nothing at all after a clean stop, is ever cut: if the chain of batches is broken
//! there, opening fails and names file and position. Files are changed from the log's end towards its begin, so that a crash while recovering leaves a log that
//! recovers again. Sources: Kafka's `LogLoader`, `LogSegment.recover`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::record::{BatchHeader, NO_LEADER_EPOCH};
use protocol::types::Now;

use crate::checkpoint::read_whole;
use crate::epoch::EpochCache;
use crate::error::{IoContext, StorageError};
use crate::io::file_system::{File, FileSystem, OpenMode};
use crate::segment::SegmentDir;
use crate::segment::SegmentList;
use crate::segment::active::ActiveSegment;
use crate::segment::active_index::ActiveIndex;
use crate::segment::file::{
    HeaderScan, INDEX_SUFFIX, LOG_SUFFIX, ScanRange, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, segment_path,
};
use crate::segment::offset_index::{OffsetEntry, decode_entries as decode_offsets};
use crate::segment::sealed::{IndexSync, SealedFiles, SealedSegment, write_index_files};
use crate::segment::time_index::{TimeEntry, decode_entries as decode_times};

/// What opening a log found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Bytes whose CRC was checked.
    pub scanned_bytes: u64,
    /// Bytes that were cut off, removed segments included.
    pub truncated_bytes: u64,
    /// Segments that were removed because they lay behind the cut.
    pub removed_segments: usize,
    /// Why the log was cut; `None` also for a tail of zeros, which a power loss leaves where nothing was written.
    pub first_bad: Option<BadBatch>,
}

/// The place from which on a log was not usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadBatch {
    /// The segment's file.
    pub path: PathBuf,
    /// Position in it.
    pub position: u64,
    /// What is wrong.
    pub why: String,
}

/// A `.log` file of the directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoundSegment {
    pub(super) base_offset: i64,
    pub(super) size_bytes: u32,
}

/// What recovery depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecoveryInput {
    pub(super) clean_shutdown: bool,
    pub(super) recovery_point: i64,
    pub(super) index_interval_bytes: u32,
    pub(super) now: Now,
}

/// The segments of the log after recovery.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) segments: SegmentList,
    pub(super) report: RecoveryReport,
    /// Base offset of the first segment whose batches were looked at.
    pub(super) scanned_from: i64,
    /// There are transaction markers behind the recovery point.
    pub(super) has_new_markers: bool,
    /// Names in the directory were changed.
    pub(super) names_changed: bool,
    /// The index files of the active segment are complete: it was closed and not changed since.
    pub(super) index_files_complete: bool,
}

/// One segment after its scan.
struct Scanned {
    file: Arc<dyn File>,
    index: ActiveIndex,
    /// The index files hold all that there is to note.
    index_files_complete: bool,
    bad: Option<BadBatch>,
    /// Bytes behind the last good batch.
    surplus_bytes: u64,
}

/// Opens the found segments (ascending, at least one).
pub(super) fn recover(
    dir: &SegmentDir,
    found: &[FoundSegment],
    input: RecoveryInput,
    epochs: &mut EpochCache,
) -> Result<Recovered, StorageError> {
    let mut recovery = Recovery {
        dir,
        input,
        report: RecoveryReport::default(),
        sealed: Vec::new(),
        scanned_from: None,
        has_new_markers: false,
    };
    let mut newest: Option<(i64, Scanned)> = None;
    for (place, segment) in found.iter().enumerate() {
        let next_base = found.get(place + 1).map(|next| next.base_offset);
        if next_base.is_some_and(|next| input.clean_shutdown || next <= input.recovery_point) {
            let next_offset = next_base.expect("just seen");
            let sealed = SealedSegment::new(segment.base_offset, next_offset, segment.size_bytes, false);
            recovery.sealed.push(Arc::new(sealed));
            continue;
        }
        if let Some((base_offset, previous)) = newest.take() {
            // A roll begins the next segment exactly where the log ended; only compaction, which keeps away from what
            // is not yet durable, leaves holes.
            if previous.index.next_offset() != segment.base_offset && segment.base_offset > input.recovery_point {
                let why = format!("the segment before it ends at {}", previous.index.next_offset());
                let path = segment_path(&dir.path, segment.base_offset, LOG_SUFFIX);
                recovery.report.first_bad = Some(BadBatch { path, position: 0, why });
                newest = Some((base_offset, previous));
                recovery.remove_segments(&found[place..])?;
                break;
            }
            recovery.seal(base_offset, previous, segment.base_offset)?;
        }
        let scanned = recovery.scan(segment, next_base, epochs)?;
        let is_cut = scanned.surplus_bytes > 0;
        recovery.report.first_bad.clone_from(&scanned.bad);
        newest = Some((segment.base_offset, scanned));
        if is_cut {
            recovery.remove_segments(&found[place + 1..])?;
            break;
        }
    }
    let (base_offset, newest) = newest.expect("the last segment is always looked at");
    recovery.finish(base_offset, newest)
}

struct Recovery<'a> {
    dir: &'a SegmentDir,
    input: RecoveryInput,
    report: RecoveryReport,
    sealed: Vec<Arc<SealedSegment>>,
    scanned_from: Option<i64>,
    has_new_markers: bool,
}

impl Recovery<'_> {
    /// Reads one segment: headers up to the recovery point (or everywhere after a clean stop), everything behind it.
    fn scan(
        &mut self,
        segment: &FoundSegment,
        next_base: Option<i64>,
        epochs: &mut EpochCache,
    ) -> Result<Scanned, StorageError> {
        let (fs, base_offset) = (self.dir.fs.as_ref(), segment.base_offset);
        self.scanned_from.get_or_insert(base_offset);
        let path = segment_path(&self.dir.path, base_offset, LOG_SUFFIX);
        let file = fs.open(&path, OpenMode::ReadWrite).context("open", &path)?;
        let farthest = base_offset.saturating_add(i64::from(i32::MAX) + 1);
        let range = ScanRange {
            position: 0,
            end: segment.size_bytes.into(),
            base_offset,
            limit_offset: next_base.unwrap_or(farthest).min(farthest),
        };
        let trusted_to = if self.input.clean_shutdown {
            i64::MAX
        } else {
            self.input.recovery_point
        };
        let is_complete = self.input.clean_shutdown;
        let resumed = resume_index(fs, &self.dir.path, file.as_ref(), &path, range, trusted_to, is_complete)?;
        let from_index = resumed.is_some();
        let mut index = resumed.unwrap_or_else(|| ActiveIndex::new(base_offset));
        let rest = ScanRange {
            position: index.size_bytes().into(),
            base_offset: index.next_offset(),
            ..range
        };
        let read_ahead = if self.input.clean_shutdown {
            HeaderScan::LOOKUP_BYTES
        } else {
            HeaderScan::FULL_BYTES
        };
        let mut scan = HeaderScan::new(file.as_ref(), &path, rest, read_ahead);
        let bad = self.scan_batches(&mut scan, &mut index, epochs)?;
        let end = u64::from(index.size_bytes());
        let bad = match bad {
            // After a clean stop nothing can be torn, so it is damage too, wherever it lies.
            Some(bad) if self.input.clean_shutdown || index.next_offset() < self.input.recovery_point => {
                tracing::error!(from_index, "the log is damaged where all of it was on the disk");
                return Err(StorageError::corrupt(&bad.path, bad.position, bad.why));
            }
            Some(bad) => (!scan.is_zero_from(end)?).then_some(bad),
            None => None,
        };
        drop(scan);
        // Files with no entry for an offset are nothing to resume from, but for a small segment they are right.
        let index_files_complete =
            self.input.clean_shutdown && (from_index || index_files_match(fs, &self.dir.path, base_offset, &index)?);
        Ok(Scanned {
            file,
            index,
            index_files_complete,
            bad,
            surplus_bytes: range.end - end,
        })
    }

    fn scan_batches(
        &mut self,
        scan: &mut HeaderScan<'_>,
        index: &mut ActiveIndex,
        epochs: &mut EpochCache,
    ) -> Result<Option<BadBatch>, StorageError> {
        loop {
            let placed = match scan.next() {
                Ok(Some(placed)) => placed,
                Ok(None) => return Ok(None),
                Err(StorageError::Corrupt { path, offset, why }) => {
                    return Ok(Some(BadBatch {
                        path,
                        position: offset,
                        why,
                    }));
                }
                Err(error) => return Err(error),
            };
            let is_trusted = self.input.clean_shutdown || placed.header.next_offset() <= self.input.recovery_point;
            if !is_trusted {
                self.report.scanned_bytes += placed.header.size_bytes() as u64;
                if !scan.crc_matches(&placed)? {
                    let why = "the CRC of the batch does not match".to_owned();
                    return Ok(Some(BadBatch {
                        path: scan.path().to_path_buf(),
                        position: placed.position,
                        why,
                    }));
                }
                self.has_new_markers |= placed.header.attributes.is_control() && placed.header.has_producer_id();
                // Epochs of unsynced batches may be missing in the checkpoint.
                let epoch = placed.header.partition_leader_epoch;
                if epoch > epochs.latest().map_or(NO_LEADER_EPOCH, |latest| latest.epoch) {
                    epochs.assign(epoch, placed.header.base_offset);
                }
            }
            index.note(&placed.header, self.input.index_interval_bytes);
        }
    }

    /// A scanned segment has a successor: its index goes into files.
    fn seal(&mut self, base_offset: i64, mut scanned: Scanned, next_offset: i64) -> Result<(), StorageError> {
        let fs = self.dir.fs.as_ref();
        write_index_files(fs, &self.dir.path, base_offset, &mut scanned.index, IndexSync::Later)?;
        let size_bytes = scanned.index.size_bytes();
        self.sealed
            .push(Arc::new(SealedSegment::new(base_offset, next_offset, size_bytes, true)));
        self.dir
            .keep_open(base_offset, Arc::new(SealedFiles::new(scanned.file)));
        Ok(())
    }

    /// Removes segments behind the cut, the last one first.
    fn remove_segments(&mut self, segments: &[FoundSegment]) -> Result<(), StorageError> {
        for segment in segments.iter().rev() {
            remove_segment_files(self.dir.fs.as_ref(), &self.dir.path, segment.base_offset)?;
            self.report.truncated_bytes += u64::from(segment.size_bytes);
            self.report.removed_segments += 1;
        }
        Ok(())
    }

    /// Cuts the newest segment if need be and makes it the active one.
    fn finish(mut self, base_offset: i64, newest: Scanned) -> Result<Recovered, StorageError> {
        let (dir, fs) = (&self.dir.path, self.dir.fs.as_ref());
        if newest.surplus_bytes > 0 {
            let path = segment_path(dir, base_offset, LOG_SUFFIX);
            newest
                .file
                .truncate(newest.index.size_bytes().into())
                .context("truncate", &path)?;
            self.report.truncated_bytes += newest.surplus_bytes;
        }
        if let Some(bad) = &self.report.first_bad {
            tracing::warn!(
                segment = %bad.path.display(), position = bad.position, why = bad.why,
                log_end_offset = newest.index.next_offset(), truncated_bytes = self.report.truncated_bytes,
                removed_segments = self.report.removed_segments, "log cut at its first bad batch"
            );
        }
        // Entries behind the cut must not come back at the next start. Those of the transaction index are looked at when
        // the producers are restored.
        let is_cut = newest.surplus_bytes > 0 || self.report.removed_segments > 0;
        if is_cut {
            for suffix in [INDEX_SUFFIX, TIME_INDEX_SUFFIX] {
                remove_if_present(fs, &segment_path(dir, base_offset, suffix))?;
            }
        }
        let created_ms = self.input.now.wall_ms;
        let index_files_complete = newest.index_files_complete && !is_cut;
        let active = ActiveSegment::new(dir, base_offset, created_ms, newest.file, newest.index);
        let segments = SegmentList {
            sealed: self.sealed,
            active: Arc::new(active),
        };
        Ok(Recovered {
            segments,
            report: self.report,
            scanned_from: self.scanned_from.unwrap_or(base_offset),
            has_new_markers: self.has_new_markers,
            names_changed: is_cut,
            index_files_complete,
        })
    }
}

/// The index of a segment as far as its files hold it for batches below `trusted_to`, with the last indexed batch
/// noted; `None` when there is nothing usable.
fn resume_index(
    fs: &dyn FileSystem,
    dir: &Path,
    file: &dyn File,
    path: &Path,
    range: ScanRange,
    trusted_to: i64,
    is_complete: bool,
) -> Result<Option<ActiveIndex>, StorageError> {
    let Some((offsets, times)) = read_entries(fs, dir, range, trusted_to, is_complete)? else {
        return Ok(None);
    };
    let Some(last) = offsets.last().copied() else {
        return Ok(None);
    };
    let header_at = |position: u32| -> Result<Option<BatchHeader>, StorageError> {
        let range = ScanRange {
            position: position.into(),
            ..range
        };
        match HeaderScan::new(file, path, range, 0).next() {
            Ok(placed) => Ok(placed.map(|placed| placed.header)),
            Err(StorageError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let (Some(first_batch), Some(last_batch)) = (header_at(0)?, header_at(last.position)?) else {
        return Ok(None);
    };
    if last_batch.last_offset() != range.base_offset + i64::from(last.relative_offset) {
        return Ok(None);
    }
    let mut index = ActiveIndex::resumed(range.base_offset, offsets, times, &first_batch);
    index.note_indexed(&last_batch);
    Ok(Some(index))
}

/// Content of the two index files of a segment.
type IndexEntries = (Vec<OffsetEntry>, Vec<TimeEntry>);

/// The entries of both index files below `trusted_to`; `None` when a file is missing or broken.
fn read_entries(
    fs: &dyn FileSystem,
    dir: &Path,
    range: ScanRange,
    trusted_to: i64,
    is_complete: bool,
) -> Result<Option<IndexEntries>, StorageError> {
    let offsets_file = read_whole(fs, &segment_path(dir, range.base_offset, INDEX_SUFFIX))?;
    let times_file = read_whole(fs, &segment_path(dir, range.base_offset, TIME_INDEX_SUFFIX))?;
    let (Some(offsets), Some(times)) = (offsets_file, times_file) else {
        return Ok(None);
    };
    let size_bytes = u32::try_from(range.end).unwrap_or(u32::MAX);
    let (Some(mut offsets), Some(mut times)) = (decode_offsets(&offsets, size_bytes), decode_times(&times)) else {
        tracing::warn!(dir = %dir.display(), base_offset = range.base_offset, "index unusable, making it again");
        return Ok(None);
    };
    let relative = trusted_to
        .saturating_sub(range.base_offset)
        .clamp(0, i64::from(u32::MAX));
    let relative = u32::try_from(relative).expect("clamped");
    offsets.truncate(offsets.partition_point(|entry| entry.relative_offset < relative));
    // Time entries behind the last kept offset entry would speak of batches that are noted later.
    if !is_complete {
        // After a crash the time index may lack entries that the offset index has: what it does not reach is noted
        // again, or larger timestamps there would go unseen.
        let reached = times.last().map(|entry| entry.relative_offset);
        offsets
            .truncate(offsets.partition_point(|entry| reached.is_some_and(|reached| entry.relative_offset <= reached)));
    }
    let last_kept = offsets.last().map_or(0, |entry| entry.relative_offset);
    times.truncate(times.partition_point(|entry| entry.relative_offset <= last_kept));
    Ok(Some((offsets, times)))
}

/// Whether the index files of a segment are as they would be written now.
fn index_files_match(
    fs: &dyn FileSystem,
    dir: &Path,
    base_offset: i64,
    index: &ActiveIndex,
) -> Result<bool, StorageError> {
    let (offsets, times) = index.clone().encode_files();
    for (suffix, expected) in [(INDEX_SUFFIX, offsets), (TIME_INDEX_SUFFIX, times)] {
        if read_whole(fs, &segment_path(dir, base_offset, suffix))?.as_ref() != Some(&expected) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes all files of a segment; the batches behind the indexes that would be made again, so that what is left after a
/// crash still says what it was, but before the one whose absence says something: that nothing was aborted.
pub(super) fn remove_segment_files(fs: &dyn FileSystem, dir: &Path, base_offset: i64) -> Result<(), StorageError> {
    for suffix in [TIME_INDEX_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX] {
        remove_if_present(fs, &segment_path(dir, base_offset, suffix))?;
    }
    let txn_index = segment_path(dir, base_offset, TXN_INDEX_SUFFIX);
    if fs.exists(&txn_index).context("look for", &txn_index)? {
        fs.sync_dir(dir).context("sync directory", dir)?;
        remove_if_present(fs, &txn_index)?;
    }
    Ok(())
}

/// Removes a file; fine when it is not there.
pub(super) fn remove_if_present(fs: &dyn FileSystem, path: &Path) -> Result<(), StorageError> {
    match fs.remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StorageError::io("remove", path, error)),
        _ => Ok(()),
    }
}
