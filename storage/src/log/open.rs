//! Owns the opening of one log: its directory, recovery, log start, leader epochs, producer state, in this order.
//!
//! Invariants: opening makes the directory when it is absent; it fails on a directory of another topic id; watermarks
//! that checkpoints claim are pressed into what the files hold; only what the given recovery point covered counts as
//! durable afterwards.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::types::Now;
use uuid::Uuid;

use crate::checkpoint::{TEMPORARY_SUFFIX, read_whole};
use crate::config::LogConfig;
use crate::dir::partition_dir::{PARTITION_METADATA, parse_partition_metadata, partition_metadata_text};
use crate::epoch::EpochCache;
use crate::epoch_file::read_epochs;
use crate::error::{IoContext, StorageError};
use crate::flush::FlusherHandle;
use crate::io::file_system::{DirEntry, FileSystem, OpenMode};
use crate::log::reader::LogReader;
use crate::log::recovery::{
    FoundSegment, Recovered, RecoveryInput, RecoveryReport, recover, remove_if_present, remove_segment_files,
};
use crate::log::shared::{LogShared, SharedStart};
use crate::log::snapshots::{RestoreLimits, remove_snapshots, remove_snapshots_of, snapshot_offsets};
use crate::log::txn_index::{RecoveredTxns, TxnRecovery, indexed_segments};
use crate::log::watermarks::Watermarks;
use crate::log::writer::LogWriter;
use crate::segment::SegmentDir;
use crate::segment::SegmentList;
use crate::segment::active::ActiveSegment;
use crate::segment::active_index::ActiveIndex;
use crate::segment::file::{
    DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, base_offset_of, segment_path,
};

/// How a log is opened.
#[derive(Debug, Clone)]
pub struct OpenLog {
    /// Where files live.
    pub fs: Arc<dyn FileSystem>,
    /// The partition's directory; made when absent.
    pub dir: PathBuf,
    /// Topic name, for messages.
    pub topic: String,
    /// Partition index, for messages.
    pub partition: i32,
    /// Topic id, kept in `partition.metadata`; nil = none is kept or checked.
    pub topic_id: Uuid,
    /// Settings in force.
    pub config: Arc<LogConfig>,
    /// The last stop was clean: what is on the disk is believed.
    pub clean_shutdown: bool,
    /// Everything below is known to be on the disk (`recovery-point-offset-checkpoint`); 0 = unknown.
    pub recovery_point: i64,
    /// `log-start-offset-checkpoint`; 0 = unknown.
    pub log_start_offset: i64,
    /// `replication-offset-checkpoint`; 0 = unknown.
    pub high_watermark: i64,
    /// Who brings the log to the disk.
    pub flusher: FlusherHandle,
    /// Current time.
    pub now: Now,
}

/// An opened log.
#[derive(Debug)]
pub struct OpenedLog {
    /// The one writer.
    pub writer: LogWriter,
    /// For any number of readers.
    pub reader: LogReader,
    /// What recovery did.
    pub report: RecoveryReport,
}

/// Opens a log, recovering it if need be.
///
/// # Errors
/// Disk failures; `Corrupt` when the directory belongs to another topic or the log is damaged below its recovery point.
pub fn open_log(mut open: OpenLog) -> Result<OpenedLog, StorageError> {
    let fs = Arc::clone(&open.fs);
    let Prepared {
        dir_is_new,
        metadata_is_new,
    } = prepare_dir(fs.as_ref(), &open)?;
    if dir_is_new {
        // It has no past: what the checkpoints say is of a deleted topic of this name.
        (open.recovery_point, open.log_start_offset, open.high_watermark) = (0, 0, 0);
    }
    // A killed process may not have come to sync the names that it made, and nobody else ever would.
    let names_are_unsynced = dir_is_new || !open.clean_shutdown;
    let dir = SegmentDir::new(Arc::clone(&fs), &open.dir);
    // Listed once: with thousands of partitions on a disk this is what a start waits for.
    let entries = if dir_is_new {
        Vec::new()
    } else {
        fs.list(&open.dir).context("list", &open.dir)?
    };
    let mut found = find_segments(fs.as_ref(), &open.dir, &entries)?;
    let removed = remove_below(fs.as_ref(), &open.dir, &mut found, open.log_start_offset)?;
    let mut epochs = if dir_is_new {
        EpochCache::new()
    } else {
        read_epochs(fs.as_ref(), &open.dir)?
    };
    let known_epochs = epochs.clone();
    let (recovered, log_start_offset) = open_segments(&open, &dir, &found, &mut epochs)?;
    let log_end_offset = recovered.segments.active.index().next_offset();
    epochs.truncate_from_end(log_end_offset);
    epochs.truncate_from_start(log_start_offset);
    let RecoveredTxns {
        mut producers,
        has_aborted,
        names_changed,
    } = restore_transactions(&open, &dir, &entries, &recovered)?;
    let high_watermark = open.high_watermark.clamp(log_start_offset, log_end_offset);
    producers.on_high_watermark(high_watermark);
    let unstable = producers.first_unstable_offset();
    let start = SharedStart {
        dir,
        marks: Watermarks::clamped(log_start_offset, high_watermark, log_end_offset, unstable),
        has_aborted,
        segments: recovered.segments,
        epochs_dirty: epochs != known_epochs,
        epochs,
        durable_offset: open.recovery_point.clamp(log_start_offset, log_end_offset),
        metadata_dirty: metadata_is_new || (names_are_unsynced && !open.topic_id.is_nil()),
        names_dirty: metadata_is_new
            || names_are_unsynced
            || recovered.names_changed
            || names_changed
            || removed > 0
            || found.is_empty(),
        dir_is_new: names_are_unsynced,
        flusher: open.flusher,
    };
    let shared = Arc::new(LogShared::new(start));
    let mut writer = LogWriter::new(Arc::clone(&shared), open.config, producers, open.now);
    if shared.durable_offset() < log_end_offset {
        shared.request_sync(writer.sync_urgency());
    }
    writer.set_closed_at(recovered.index_files_complete.then_some(log_end_offset));
    Ok(OpenedLog {
        writer,
        reader: LogReader::new(shared),
        report: recovered.report,
    })
}

/// The producers and their transactions as the log has them, and its transaction indexes in order.
fn restore_transactions(
    open: &OpenLog,
    dir: &SegmentDir,
    entries: &[DirEntry],
    recovered: &Recovered,
) -> Result<RecoveredTxns, StorageError> {
    let log_end_offset = recovered.segments.active.index().next_offset();
    let mut snapshots = snapshot_offsets(entries);
    remove_snapshots_of(open.fs.as_ref(), &open.dir, &snapshots, |offset| {
        offset > log_end_offset
    })?;
    snapshots.retain(|offset| *offset <= log_end_offset);
    let limits = RestoreLimits {
        newest_snapshot: log_end_offset,
        log_end_offset,
        producer_id_expiration_ms: open.config.producer_id_expiration_ms,
        max_producer_ids: open.config.max_producer_ids,
        now: open.now,
    };
    let txns = TxnRecovery {
        dir,
        segments: &recovered.segments,
        indexed: &indexed_segments(entries),
        scanned_from: recovered.scanned_from,
        trusted_to: if open.clean_shutdown {
            i64::MAX
        } else {
            open.recovery_point
        },
        has_new_markers: recovered.has_new_markers,
    };
    txns.run(&snapshots, limits)
}

/// The segments of the log and the offset at which it starts.
fn open_segments(
    open: &OpenLog,
    dir: &SegmentDir,
    found: &[FoundSegment],
    epochs: &mut EpochCache,
) -> Result<(Recovered, i64), StorageError> {
    let mut recovered = if found.is_empty() {
        begin_at(dir, open.log_start_offset.max(0), open.now)?
    } else {
        let input = RecoveryInput {
            clean_shutdown: open.clean_shutdown,
            recovery_point: open.recovery_point,
            index_interval_bytes: open.config.index_interval_bytes,
            now: open.now,
        };
        recover(dir, found, input, epochs)?
    };
    let log_start_offset = open.log_start_offset.max(recovered.segments.first_base_offset());
    if log_start_offset > recovered.segments.active.index().next_offset() {
        tracing::warn!(log = %open.dir.display(), log_start_offset, "log ends before its start, beginning anew");
        recovered = restart_at(dir, found, log_start_offset, recovered.report, open.now)?;
    }
    Ok((recovered, log_start_offset))
}

/// What was made of the directory.
struct Prepared {
    dir_is_new: bool,
    /// `partition.metadata` was written just now.
    metadata_is_new: bool,
}

/// Makes the directory and its metadata file. Neither is synced here, so that a topic of many partitions is made
/// quickly: the first sync of the log does it before any record counts as durable.
fn prepare_dir(fs: &dyn FileSystem, open: &OpenLog) -> Result<Prepared, StorageError> {
    let exists = fs.exists(&open.dir).context("look for", &open.dir)?;
    if !exists {
        fs.create_dir_all(&open.dir).context("create directory", &open.dir)?;
    }
    let is_right = open.topic_id.is_nil() || (exists && is_metadata_right(fs, open)?);
    let metadata_is_new = !is_right;
    if metadata_is_new {
        let path = open.dir.join(PARTITION_METADATA);
        let text = partition_metadata_text(open.topic_id);
        let file = fs.open(&path, OpenMode::Truncate).context("create", &path)?;
        file.write_at(&[IoSlice::new(text.as_bytes())], 0)
            .context("write", &path)?;
    }
    Ok(Prepared {
        dir_is_new: !exists,
        metadata_is_new,
    })
}

/// Whether the directory says that it belongs to this topic id; `false` when it does not say.
fn is_metadata_right(fs: &dyn FileSystem, open: &OpenLog) -> Result<bool, StorageError> {
    let path = open.dir.join(PARTITION_METADATA);
    let Some(bytes) = read_whole(fs, &path)? else {
        return Ok(false);
    };
    match parse_partition_metadata(&path, &bytes) {
        Ok(known) if known == open.topic_id => Ok(true),
        Ok(known) => {
            let why = format!("the directory belongs to topic id {known}, not to {}", open.topic_id);
            Err(StorageError::corrupt(path, 0, why))
        }
        Err(error) => {
            // A crash before the first sync may leave a part of it, with zeros where nothing arrived.
            let expected = partition_metadata_text(open.topic_id);
            let arrived = |(byte, expected): (&u8, &u8)| *byte == 0 || byte == expected;
            let is_part = bytes.len() <= expected.len() && bytes.iter().zip(expected.as_bytes()).all(arrived);
            if is_part { Ok(false) } else { Err(error) }
        }
    }
}

/// The `.log` files of the directory, ascending. Removes what an interrupted removal or replacement has left: files that
/// were to vanish, and indexes of segments that have.
fn find_segments(fs: &dyn FileSystem, dir: &Path, entries: &[DirEntry]) -> Result<Vec<FoundSegment>, StorageError> {
    let mut found = Vec::new();
    for entry in entries {
        if entry.name.ends_with(DELETED_SUFFIX) || entry.name.ends_with(TEMPORARY_SUFFIX) {
            remove_if_present(fs, &dir.join(&entry.name))?;
        }
        let Some(base_offset) = base_offset_of(&entry.name, LOG_SUFFIX) else {
            continue;
        };
        let size_bytes = u32::try_from(entry.len)
            .ok()
            .filter(|size| i32::try_from(*size).is_ok())
            .ok_or_else(|| {
                let why = format!("{} bytes are more than a segment can have", entry.len);
                StorageError::corrupt(dir.join(&entry.name), 0, why)
            })?;
        found.push(FoundSegment {
            base_offset,
            size_bytes,
        });
    }
    found.sort_by_key(|segment| segment.base_offset);
    for entry in entries {
        let suffixes = [INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX];
        let index_of = suffixes.iter().find_map(|suffix| base_offset_of(&entry.name, suffix));
        if index_of.is_some_and(|base| {
            found
                .binary_search_by_key(&base, |segment| segment.base_offset)
                .is_err()
        }) {
            remove_if_present(fs, &dir.join(&entry.name))?;
        }
    }
    Ok(found)
}

/// Removes segments that lie wholly before the log start, the oldest first: their removal was interrupted. Returns how
/// many.
fn remove_below(
    fs: &dyn FileSystem,
    dir: &Path,
    found: &mut Vec<FoundSegment>,
    log_start_offset: i64,
) -> Result<usize, StorageError> {
    let begins = found.partition_point(|segment| segment.base_offset <= log_start_offset);
    let removed = begins.saturating_sub(1);
    for segment in found.drain(..removed) {
        remove_segment_files(fs, dir, segment.base_offset)?;
    }
    Ok(removed)
}

/// A log without records that begins at `base_offset`.
fn begin_at(dir: &SegmentDir, base_offset: i64, now: Now) -> Result<Recovered, StorageError> {
    let path = segment_path(&dir.path, base_offset, LOG_SUFFIX);
    let file = dir.fs.open(&path, OpenMode::Truncate).context("create", &path)?;
    let active = ActiveSegment::new(&dir.path, base_offset, now.wall_ms, file, ActiveIndex::new(base_offset));
    Ok(Recovered {
        segments: SegmentList {
            sealed: Vec::new(),
            active: Arc::new(active),
        },
        report: RecoveryReport::default(),
        scanned_from: base_offset,
        has_new_markers: false,
        names_changed: true,
        index_files_complete: false,
    })
}

/// Replaces everything by an empty log at `base_offset`.
fn restart_at(
    dir: &SegmentDir,
    found: &[FoundSegment],
    base_offset: i64,
    report: RecoveryReport,
    now: Now,
) -> Result<Recovered, StorageError> {
    dir.close_from(0);
    for segment in found.iter().rev() {
        remove_segment_files(dir.fs.as_ref(), &dir.path, segment.base_offset)?;
    }
    remove_snapshots(dir.fs.as_ref(), &dir.path, |_| true)?;
    Ok(Recovered {
        report,
        ..begin_at(dir, base_offset, now)?
    })
}
