//! Owns the removal of old segments from a log's begin: what may go is prepared without a lock, taken out of the list
//! under the writer's lock for a few microseconds, and its files are renamed and unlinked afterwards, step by step.
//!
//! Invariants, for a kill or a power loss between any two steps:
//! - what goes lies below the last stable offset and is durable, so that no torn segment before the new begin can take
//!   durable records behind it along when a start recovers;
//! - what is known of the producers of what goes is durable before, as far as there was room for it;
//! - files go in ascending order, the batches before their indexes, so that what is left begins later and has no hole;
//! - a transaction index goes when it is durable that its batches are gone: without it nothing would count as aborted;
//! - what is left of segments before a checkpointed log start, of files named `.deleted` and of indexes without
//!   batches goes at the next start;
//! - a reader that holds a file reads on; nobody keeps one open on behalf of readers to come;
//! - no file is renamed after the log was closed or discarded, when its directory may belong to another log.
//!
//! Nothing here needs room on the disk, except a new active segment where the old one goes.
//! Sources: Kafka's `UnifiedLog.deleteSegments`, `LocalLog.deleteSegmentFiles`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::types::Now;

use crate::config::LogConfig;
use crate::error::{IoContext, StorageError};
use crate::io::file_system::{FileSystem, OpenMode};
use crate::log::reader::LogReader;
use crate::log::recovery::remove_if_present;
use crate::log::retention::{Outlived, RetentionInput, SegmentExtent, outlived};
use crate::log::shared::LogShared;
use crate::log::snapshots::{remove_snapshots_before, sync_newest_snapshot};
use crate::log::writer::LogWriter;
use crate::producer::snapshot::snapshot_file_name;
use crate::segment::SegmentList;
use crate::segment::active::ActiveSegment;
use crate::segment::active_index::ActiveIndex;
use crate::segment::file::{
    DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, segment_path,
};
use crate::segment::sealed::{SealedFiles, SealedSegment};

/// In the order in which they go.
const FILES_OF_SEGMENT: [&str; 4] = [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX];

/// Segments that may go, found at one moment; [`LogWriter::take_out`] looks again.
#[derive(Debug)]
pub struct Removable {
    segments: Arc<SegmentList>,
    /// How many, and why.
    pub outlived: Outlived,
    /// The offset behind the last of them.
    end_offset: i64,
}

impl LogReader {
    /// Finds the segments that have outlived the log's retention and makes them durable; `None` when there are none.
    /// May read from the disk.
    ///
    /// # Errors
    /// `Offline` when the log is.
    pub fn find_removable(&self, config: &LogConfig, now: Now) -> Result<Option<Removable>, StorageError> {
        self.shared.check_online()?;
        let segments = self.shared.segments.load_full();
        let active = {
            let index = segments.active.index();
            SegmentExtent {
                next_offset: index.next_offset(),
                size_bytes: index.size_bytes().into(),
            }
        };
        let sealed = segments.sealed.iter().map(|segment| SegmentExtent {
            next_offset: segment.next_offset(),
            size_bytes: segment.size_bytes().into(),
        });
        let extents: Vec<_> = sealed.chain([active]).collect();
        let marks = self.shared.marks.load();
        let input = RetentionInput {
            segments: &extents,
            log_start_offset: marks.log_start_offset,
            last_stable_offset: marks.last_stable_offset,
            now_ms: now.wall_ms,
            config,
        };
        let outlived = outlived(&input, |index| self.largest_timestamp_ms(&segments, index));
        let Some(last) = outlived.count().checked_sub(1) else {
            return Ok(None);
        };
        let end_offset = extents[last].next_offset;
        if self.shared.durable_offset() < end_offset
            && let Err(error) = self.shared.sync()
        {
            // On a full disk, for one. What is durable can go all the same, and that makes room.
            tracing::warn!(log = %self.shared.path().display(), %error, "the newest records stay");
        }
        Ok(Some(Removable {
            segments,
            outlived,
            end_offset,
        }))
    }

    /// The largest timestamp of a segment's records, or when its file was changed last.
    fn largest_timestamp_ms(&self, segments: &SegmentList, index: usize) -> Option<i64> {
        let found = match segments.sealed.get(index) {
            Some(sealed) => self.largest_sealed_timestamp_ms(sealed),
            None => match segments.active.index().max_timestamp() {
                Some((ms, _)) if ms >= 0 => Ok(ms),
                _ => segments
                    .active
                    .file()
                    .modified_ms()
                    .context("look at", segments.active.path()),
            },
        };
        match found {
            Ok(ms) => Some(ms),
            // Gone meanwhile, or unreadable: then it stays.
            Err(error) => {
                tracing::warn!(log = %self.shared.path().display(), %error, "the age of a segment is not known");
                None
            }
        }
    }

    fn largest_sealed_timestamp_ms(&self, sealed: &SealedSegment) -> Result<i64, StorageError> {
        let (fs, dir) = (self.shared.fs(), self.shared.path());
        let path = segment_path(dir, sealed.base_offset(), LOG_SUFFIX);
        if let Some(known) = sealed.known_max_timestamp()
            && let Some((ms, _)) = known.filter(|(ms, _)| *ms >= 0)
        {
            return Ok(ms);
        }
        // Not among the files that are kept open: those are for readers.
        let files = SealedFiles::new(fs.open(&path, OpenMode::ReadWrite).context("open", &path)?);
        match sealed.max_timestamp(fs, dir, &files)? {
            Some((ms, _)) if ms >= 0 => Ok(ms),
            _ => files.log().modified_ms().context("look at", &path),
        }
    }
}

impl LogWriter {
    /// Takes segments out of the log and moves its start behind them. What was appended, truncated or became unstable
    /// since they were found stays. Their files go with [`RemovedSegments::rename_next`]; `None` when nothing goes.
    ///
    /// # Errors
    /// `Offline` when the log is.
    pub fn take_out(&mut self, removable: &Removable, now: Now) -> Result<Option<RemovedSegments>, StorageError> {
        self.shared.check_online()?;
        self.last_seen = now;
        let marks = self.shared.marks.load();
        let safe_to = marks.last_stable_offset.min(self.shared.durable_offset());
        let found = &removable.segments;
        let takes_active = removable.outlived.count() > found.sealed.len()
            && Arc::ptr_eq(&found.active, &self.active)
            && marks.log_end_offset == removable.end_offset
            && safe_to == removable.end_offset;
        let sealed_active = match takes_active.then(|| self.replace_active(now)) {
            None => None,
            Some(Ok(sealed)) => Some(sealed),
            Some(Err(error)) => {
                tracing::warn!(log = %self.shared.path().display(), %error, "the newest segment stays");
                None
            }
        };
        let segments = self.shared.segments.load_full();
        let known = found
            .sealed
            .iter()
            .take(removable.outlived.count())
            .chain(&sealed_active);
        let gone = known
            .zip(&segments.sealed)
            .take_while(|(found, now)| Arc::ptr_eq(found, now) && now.next_offset() <= safe_to)
            .count();
        if gone == 0 {
            return Ok(None);
        }
        let kept = SegmentList {
            sealed: segments.sealed[gone..].to_vec(),
            active: Arc::clone(&segments.active),
        };
        let first_base_offset = kept.first_base_offset();
        // First the log start, then the segments: who still sees an offset finds it.
        self.advance_log_start(first_base_offset)?;
        self.shared.segments.store(Arc::new(kept));
        let removed = &segments.sealed[..gone];
        removed.iter().for_each(|segment| segment.mark_removed());
        self.shared.dir.close_before(first_base_offset);
        let mut removals = self.shared.removals();
        removals.unsynced_before = Some(first_base_offset);
        removals
            .base_offsets
            .extend(removed.iter().map(|segment| segment.base_offset()));
        drop(removals);
        Ok(Some(RemovedSegments {
            shared: Arc::clone(&self.shared),
            count: gone,
            size_bytes: removed.iter().map(|segment| u64::from(segment.size_bytes())).sum(),
            log_start_offset: self.shared.marks.load().log_start_offset,
            first_base_offset,
            delete_delay_ms: self.config.file_delete_delay_ms,
        }))
    }

    /// Begins a new segment at the log end so that the active one can go. Its indexes are not written any more.
    fn replace_active(&mut self, now: Now) -> Result<Arc<SealedSegment>, StorageError> {
        let next_offset = self.shared.marks.load().log_end_offset;
        let old = Arc::clone(&self.active);
        assert!(next_offset > old.base_offset(), "an empty segment is not replaced");
        match self.write_snapshot(next_offset) {
            // Removing makes the room. Until the next snapshot a kill loses what producers did since the last one.
            Err(error) if error.is_no_space() => {
                tracing::warn!(log = %self.shared.path().display(), %error, "no snapshot of the producers");
                // Half a snapshot must not pass for the one that lets the older ones go.
                let path = self.shared.path().join(snapshot_file_name(next_offset));
                remove_if_present(self.shared.fs(), &path)?;
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        let path = segment_path(self.shared.path(), next_offset, LOG_SUFFIX);
        let file = self
            .shared
            .fs()
            .open(&path, OpenMode::Truncate)
            .context("create", &path)?;
        self.shared.mark_names_dirty();
        let sealed = Arc::new(SealedSegment::just_sealed(&old, false));
        let index = ActiveIndex::new(next_offset);
        let active = ActiveSegment::new(self.shared.path(), next_offset, now.wall_ms, file, index);
        let mut segments = SegmentList::clone(&self.shared.segments.load());
        segments.sealed.push(Arc::clone(&sealed));
        segments.active = Arc::new(active);
        self.begin_segment(segments);
        self.set_closed_at(None);
        Ok(sealed)
    }
}

/// Segments that were taken out of a log and whose files are still there. Dropped before all were renamed, the rest goes
/// with the next segments of this log, or at the next start.
#[derive(Debug)]
pub struct RemovedSegments {
    shared: Arc<LogShared>,
    /// How many.
    pub count: usize,
    /// Their size.
    pub size_bytes: u64,
    /// Where the log now starts.
    pub log_start_offset: i64,
    first_base_offset: i64,
    /// `file.delete.delay.ms`
    pub delete_delay_ms: i64,
}

impl RemovedSegments {
    /// The log's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.path()
    }

    /// Renames the files of the oldest segment and returns their new names; `None` when there is none left.
    ///
    /// # Errors
    /// What the system says; unless it passes, the log is offline. The files stay for the next call.
    pub fn rename_next(&mut self) -> Result<Option<Vec<PathBuf>>, StorageError> {
        let (fs, dir) = (self.shared.fs(), self.shared.path());
        let mut removals = self.shared.removals();
        if removals.ended {
            return Ok(None);
        }
        if let Some(first_base_offset) = removals.unsynced_before {
            // Nothing can be replayed once the batches are gone. And were the new segment's name lost and the old one's
            // gone, the log would begin anew.
            self.shared.sync_before_removal(first_base_offset)?;
            removals.unsynced_before = None;
        }
        let Some(base_offset) = removals.base_offsets.front().copied() else {
            remove_snapshots_before(fs, dir, self.first_base_offset)?;
            return Ok(None);
        };
        self.shared.mark_names_dirty();
        let mut renamed = Vec::with_capacity(3);
        for suffix in FILES_OF_SEGMENT {
            let from = segment_path(dir, base_offset, suffix);
            if suffix == TXN_INDEX_SUFFIX && self.shared.has_aborted() {
                // Were the batches to come back without it, they would seem to have nothing aborted among them.
                let is_there = self.shared.lasting(fs.exists(&from).context("look for", &from))?;
                if is_there {
                    self.shared.lasting(fs.sync_dir(dir).context("sync directory", dir))?;
                }
            }
            let mut to = from.clone().into_os_string();
            to.push(DELETED_SUFFIX);
            match fs.rename(&from, Path::new(&to)) {
                Ok(()) => renamed.push(to.into()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return self.shared.lasting(Err(StorageError::io("rename", &from, error))),
            }
        }
        removals.base_offsets.pop_front();
        Ok(Some(renamed))
    }
}

impl LogShared {
    /// Makes durable what a start needs once the segments before `first_base_offset` are gone.
    fn sync_before_removal(&self, first_base_offset: i64) -> Result<(), StorageError> {
        let (fs, dir) = (self.fs(), self.path());
        let synced = sync_newest_snapshot(fs, dir, first_base_offset)
            .and_then(|()| fs.sync_dir(dir).context("sync directory", dir));
        self.lasting(synced)
    }

    /// Takes the log offline when this failed and will not pass: what a failed sync did not write, a second one does not
    /// write either.
    fn lasting<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        result.inspect_err(|error| {
            if !error.is_passing() {
                self.go_offline(error);
            }
        })
    }
}

/// Renamed files that wait for their end, by the time at which it comes.
#[derive(Debug, Default)]
pub struct DeletedFiles {
    by_deadline: BTreeMap<(i64, u64), PathBuf>,
    next_number: u64,
}

impl DeletedFiles {
    /// Adds a file that is to vanish at this monotonic time.
    pub fn add(&mut self, path: PathBuf, due_ms: i64) {
        self.by_deadline.insert((due_ms, self.next_number), path);
        self.next_number += 1;
    }

    /// When the next one is due.
    #[must_use]
    pub fn first_due_ms(&self) -> Option<i64> {
        self.by_deadline.first_key_value().map(|((due_ms, _), _)| *due_ms)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_deadline.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_deadline.is_empty()
    }

    /// Lets all that wait vanish from `now_ms` on: their room is needed.
    pub fn make_due(&mut self, now_ms: i64) {
        let waiting = std::mem::take(&mut self.by_deadline);
        for (_, path) in waiting {
            self.add(path, now_ms);
        }
    }

    /// Takes out at most `max_files` that are due at `now_ms`.
    pub fn take_due(&mut self, now_ms: i64, max_files: usize) -> Vec<PathBuf> {
        let mut due = Vec::new();
        while due.len() < max_files
            && let Some(first) = self.by_deadline.first_entry()
            && first.key().0 <= now_ms
        {
            due.push(first.remove());
        }
        due
    }
}

/// Removes a renamed file; fine when it is gone, with its topic or at a start.
///
/// # Errors
/// What the system says.
pub fn remove_deleted_file(fs: &dyn FileSystem, path: &Path) -> Result<(), StorageError> {
    remove_if_present(fs, path)
}
