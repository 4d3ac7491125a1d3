//! Owns the producer snapshots of one log on disk: writing, choosing and removing them, and the replay after one.
//!
//! Invariants: a snapshot named N holds the producer state before offset N; one that cannot be read is removed and an
//! older one takes its place; with none, everything from the log start on is replayed. A snapshot is not synced when it is
//! written: it has a checksum, and what is lost can be replayed. Before batches go that could be replayed, the snapshot
//! that stands for them is synced, and it stays. (Kafka's `ProducerStateManager`.)

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use protocol::record::BatchView;
use protocol::types::Now;

use crate::checkpoint::read_whole;
use crate::error::{IoContext, StorageError};
use crate::io::file_system::{DirEntry, File, FileSystem, OpenMode};
use crate::io::patience::Patience;
use crate::log::append::{marker_of, replay_producer};
use crate::log::recovery::remove_if_present;
use crate::log::writer::LogWriter;
use crate::producer::snapshot::{decode_snapshot, encode_snapshot, snapshot_file_name, snapshot_offset};
use crate::producer::{CompletedTxn, ProducerStates, is_expired};
use crate::segment::file::{HeaderScan, LOG_SUFFIX, PlacedHeader, ScanRange, read_exact_at, segment_path};
use crate::segment::{SegmentDir, SegmentList, SegmentRef};

/// A transaction marker has one small record; anything larger is none.
const MAX_CONTROL_BATCH_BYTES: usize = 64 * 1024;

impl LogWriter {
    /// Writes the producer state as it is at `offset`, the log end.
    pub(super) fn write_snapshot(&self, offset: i64) -> Result<Arc<dyn File>, StorageError> {
        let path = self.shared.path().join(snapshot_file_name(offset));
        let bytes = encode_snapshot(&self.producers);
        let file = self
            .shared
            .fs()
            .open(&path, OpenMode::Truncate)
            .context("create", &path)?;
        file.write_at(&[IoSlice::new(&bytes)], 0).context("write", &path)?;
        Ok(file)
    }
}

/// Offsets of the snapshots among the entries of a directory, ascending as these are.
pub(super) fn snapshot_offsets(entries: &[DirEntry]) -> Vec<i64> {
    entries
        .iter()
        .filter_map(|entry| snapshot_offset(&entry.name))
        .collect()
}

/// Offsets of the snapshots in a directory, ascending.
pub(super) fn list_snapshots(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<i64>, StorageError> {
    Ok(snapshot_offsets(&fs.list(dir).context("list", dir)?))
}

/// Removes the snapshots for which `unwanted` says so.
pub(super) fn remove_snapshots(
    fs: &dyn FileSystem,
    dir: &Path,
    unwanted: impl Fn(i64) -> bool,
) -> Result<(), StorageError> {
    remove_snapshots_of(fs, dir, &list_snapshots(fs, dir)?, unwanted)
}

/// As [`remove_snapshots`], of those that are known to be there.
pub(super) fn remove_snapshots_of(
    fs: &dyn FileSystem,
    dir: &Path,
    snapshots: &[i64],
    unwanted: impl Fn(i64) -> bool,
) -> Result<(), StorageError> {
    for offset in snapshots.iter().filter(|offset| unwanted(**offset)) {
        remove_if_present(fs, &dir.join(snapshot_file_name(*offset)))?;
    }
    Ok(())
}

/// Makes the newest snapshot that is not above `offset` durable, but for its name; one for which there is no room goes
/// and an older one takes its place.
pub(super) fn sync_newest_snapshot(fs: &dyn FileSystem, dir: &Path, offset: i64) -> Result<(), StorageError> {
    let snapshots = list_snapshots(fs, dir)?;
    for snapshot in snapshots.iter().rev().filter(|snapshot| **snapshot <= offset) {
        let path = dir.join(snapshot_file_name(*snapshot));
        let file = fs.open(&path, OpenMode::ReadWrite).context("open", &path);
        match file.and_then(|file| file.sync_data().context("sync", &path)) {
            Err(error) if error.is_no_space() => {
                tracing::warn!(snapshot = %path.display(), %error, "an older snapshot of the producers has to do");
                remove_if_present(fs, &path)?;
            }
            // cut off meanwhile
            Err(error) if error.is_not_found() => {}
            synced => return synced,
        }
    }
    Ok(())
}

/// Removes the snapshots that are older than the newest that is not above `offset`.
pub(super) fn remove_snapshots_before(fs: &dyn FileSystem, dir: &Path, offset: i64) -> Result<(), StorageError> {
    let snapshots = list_snapshots(fs, dir)?;
    let newest = snapshots.iter().copied().rfind(|snapshot| *snapshot <= offset);
    remove_snapshots_of(fs, dir, &snapshots, |snapshot| {
        newest.is_some_and(|newest| snapshot < newest)
    })
}

/// What restoring depends on besides the files.
#[derive(Debug, Clone, Copy)]
pub(super) struct RestoreLimits {
    /// Snapshots above are of no use.
    pub(super) newest_snapshot: i64,
    /// Where the log, or the part of it that is replayed, ends.
    pub(super) log_end_offset: i64,
    pub(super) producer_id_expiration_ms: i64,
    pub(super) max_producer_ids: usize,
    pub(super) now: Now,
}

/// What becomes of the transactions that end while batches are replayed.
pub(super) type OnEnded<'a> = dyn FnMut(&CompletedTxn) -> Result<(), StorageError> + 'a;

/// Producer state at the log end: newest usable one of the snapshots (ascending) and the batches behind it. Those before
/// the log start are replayed too, while they are there: what they ended would seem to be open.
pub(super) fn restore_producers(
    dir: &SegmentDir,
    segments: &SegmentList,
    snapshots: &[i64],
    limits: RestoreLimits,
    ended: &mut OnEnded<'_>,
) -> Result<ProducerStates, StorageError> {
    let first_base_offset = segments.first_base_offset();
    let mut states = ProducerStates::new(limits.max_producer_ids.max(1));
    let mut from = first_base_offset;
    for offset in snapshots
        .iter()
        .copied()
        .rev()
        .filter(|offset| *offset <= limits.log_end_offset.min(limits.newest_snapshot))
    {
        if load_snapshot(dir, offset, &mut states, limits)? {
            if offset < first_base_offset {
                // What was removed of the log had no undecided records: what began there has ended, perhaps there.
                states.forget_transactions_before(first_base_offset);
            }
            from = offset.max(first_base_offset);
            break;
        }
    }
    for index in segments.index_for(from).. {
        let Some(segment) = segments.get(index) else { break };
        if segment.base_offset() >= limits.log_end_offset {
            break;
        }
        replay_segment(dir, segment, from, &mut states, ended)?;
    }
    Ok(states)
}

/// Loads a snapshot into the empty states; `false` when it is unusable, which also removes it.
fn load_snapshot(
    dir: &SegmentDir,
    offset: i64,
    states: &mut ProducerStates,
    limits: RestoreLimits,
) -> Result<bool, StorageError> {
    let path = dir.path.join(snapshot_file_name(offset));
    let Some(bytes) = read_whole(dir.fs.as_ref(), &path)? else {
        return Ok(false);
    };
    match decode_snapshot(&bytes) {
        Ok(entries) => {
            let expired = |entry: &_| is_expired(entry, limits.now.wall_ms, limits.producer_id_expiration_ms);
            entries
                .into_iter()
                .filter(|entry| !expired(entry))
                .for_each(|entry| states.load(entry));
            Ok(true)
        }
        Err(error) => {
            tracing::warn!(snapshot = %path.display(), %error, "removing unusable producer snapshot");
            dir.fs.remove_file(&path).context("remove", &path)?;
            Ok(false)
        }
    }
}

fn replay_segment(
    dir: &SegmentDir,
    segment: SegmentRef<'_>,
    from: i64,
    states: &mut ProducerStates,
    ended: &mut OnEnded<'_>,
) -> Result<(), StorageError> {
    let path = segment_path(&dir.path, segment.base_offset(), LOG_SUFFIX);
    let (file, range) = match segment {
        SegmentRef::Active(active) if active.index().next_offset() <= from => return Ok(()),
        SegmentRef::Active(active) => {
            let position = active
                .locate(from, Patience::Disk)?
                .map_or_else(|| active.range().end, |located| located.position);
            (
                Arc::clone(active.file()),
                ScanRange {
                    position,
                    ..active.range()
                },
            )
        }
        SegmentRef::Sealed(sealed) => {
            let files = dir.files(sealed)?;
            let located = sealed.locate(dir.fs.as_ref(), &dir.path, &files, from, Patience::Disk)?;
            let Some(located) = located else { return Ok(()) };
            (
                Arc::clone(files.log()),
                ScanRange {
                    position: located.position,
                    ..sealed.range()
                },
            )
        }
    };
    let mut scan = HeaderScan::new(file.as_ref(), &path, range, HeaderScan::BULK_BYTES);
    while let Some(placed) = scan.next()? {
        let marker = match placed.header.attributes.is_control() && placed.header.has_producer_id() {
            true => read_marker(file.as_ref(), &path, &placed)?,
            false => None,
        };
        if let Some(completed) = replay_producer(states, &placed.header, marker.as_ref()) {
            ended(&completed)?;
        }
    }
    Ok(())
}

fn read_marker(
    file: &dyn File,
    path: &Path,
    placed: &PlacedHeader,
) -> Result<Option<crate::producer::ProducerMarker>, StorageError> {
    let size_bytes = placed.header.size_bytes();
    if size_bytes > MAX_CONTROL_BATCH_BYTES {
        return Ok(None);
    }
    let mut bytes = vec![0; size_bytes];
    read_exact_at(file, path, &mut bytes, placed.position)?;
    let corrupt = |error: protocol::record::BatchError| StorageError::corrupt(path, placed.position, error.to_string());
    let view = BatchView::parse(&bytes).map_err(corrupt)?;
    marker_of(&placed.header, &view).map_err(corrupt)
}
