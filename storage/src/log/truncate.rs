//! Owns what takes records away from a log's end and what ends its use: truncation, closing. Also moves the log start.
//!
//! Invariants: files go from the log's end towards its begin, so that a crash in between leaves a prefix; the cut is
//! published before the files are touched; nothing that was cut counts as durable. Sources: Kafka's
//! `UnifiedLog.truncateTo`, `maybeIncrementLogStartOffset`, `close`.

use std::sync::Arc;

use crate::epoch::EpochCache;
use crate::error::{IoContext, StorageError};
use crate::io::file_system::OpenMode;
use crate::log::checkpoint::CheckpointState;
use crate::log::recovery::{remove_if_present, remove_segment_files};
use crate::log::snapshots::{RestoreLimits, list_snapshots, remove_snapshots, restore_producers};
use crate::log::txn_index::TxnIndexFile;
use crate::log::watermarks::Watermarks;
use crate::log::writer::LogWriter;
use crate::segment::active::ActiveSegment;
use crate::segment::active_index::ActiveIndex;
use crate::segment::file::{HeaderScan, INDEX_SUFFIX, LOG_SUFFIX, ScanRange, TIME_INDEX_SUFFIX, segment_path};
use crate::segment::sealed::{IndexSync, write_index_files};
use crate::segment::txn_index::TxnIndexBuilder;
use crate::segment::{SegmentList, SegmentRef, scan_for_offset};

impl LogWriter {
    /// Cuts the log: afterwards it ends at `offset`, or at the begin of the batch that contains it. Cutting before the
    /// log start empties the log, which then begins at `offset`. The high watermark falls with the end if it must.
    /// Before anything is appended again, the owner brings the lower recovery point into its checkpoint: recovery
    /// believes everything below that without a look.
    ///
    /// # Errors
    /// Disk failures, after which the log is offline.
    pub fn truncate_to(&mut self, offset: i64) -> Result<(), StorageError> {
        self.shared.check_online()?;
        let marks = self.shared.marks.load();
        if offset >= marks.log_end_offset {
            return Ok(());
        }
        let result = if offset < marks.log_start_offset {
            self.restart_at(offset.max(0))
        } else {
            self.cut(offset)
        };
        if let Err(error) = &result {
            self.shared.go_offline(error);
        }
        self.shared.request_sync(self.sync_urgency());
        result
    }

    /// Cuts the active segment's batches and its transaction index.
    fn cut_files(&self, size_bytes: u64, txn_index: Option<TxnIndexFile>) -> Result<(), StorageError> {
        let (file, path) = (self.active.file(), self.active.path());
        file.truncate(size_bytes).context("truncate", path)?;
        if let Some((index_file, count)) = txn_index {
            // Before the log goes on: a marker that was cut off must not speak for what gets its offset. But not before the
            // cut is durable: a power loss would bring the marker back, and its entry would be missed.
            file.sync_data().context("sync", path)?;
            TxnIndexBuilder::behind(index_file, self.active.txn_index_path(), count)?.finish()?;
        }
        Ok(())
    }

    fn cut(&mut self, offset: i64) -> Result<(), StorageError> {
        let shared = Arc::clone(&self.shared);
        let blocked = shared.block_syncs();
        let segments = shared.segments.load_full();
        let keep = segments.index_for(offset);
        let (kept, end_offset) = self.cut_segment(&segments, keep, offset)?;
        let txn_index = self.kept_txn_index(&segments, keep, end_offset)?;
        if let Some((file, count)) = &txn_index {
            let path = kept.txn_index_path();
            kept.txn_index().resume(Arc::clone(file), &path, *count)?;
        }
        let marks = shared.marks.load();
        let log_start_offset = marks.log_start_offset;
        // Readers stop at the new end before anything is taken away.
        // What was undecided may be so still: who reads only what is stable sees no more than before.
        let high_watermark = marks.high_watermark.min(end_offset);
        let stable = Some(marks.last_stable_offset);
        shared.marks.store(Watermarks::clamped(
            log_start_offset,
            high_watermark,
            end_offset,
            stable,
        ));
        self.producers.clear();
        shared.on_truncated(end_offset, &blocked);
        let size_bytes = u64::from(kept.index().size_bytes());
        self.install(SegmentList {
            sealed: segments.sealed[..keep].to_vec(),
            active: Arc::new(kept),
        });
        if keep < segments.sealed.len() {
            self.remove_segments(&segments, keep + 1)?;
            // Were the cut of this segment on the disk before the removal of the next ones, a power loss would leave a
            // hole that looks like compaction's.
            shared
                .fs()
                .sync_dir(shared.path())
                .context("sync directory", shared.path())?;
        }
        self.cut_files(size_bytes, txn_index)?;
        for suffix in [INDEX_SUFFIX, TIME_INDEX_SUFFIX] {
            remove_if_present(
                shared.fs(),
                &segment_path(shared.path(), self.active.base_offset(), suffix),
            )?;
        }
        remove_snapshots(shared.fs(), shared.path(), |snapshot| snapshot > end_offset)?;
        let mut epochs = EpochCache::clone(&shared.epochs.load());
        if epochs.truncate_from_end(end_offset) {
            shared.set_epochs(epochs);
        }
        let limits = RestoreLimits {
            newest_snapshot: end_offset,
            log_end_offset: end_offset,
            producer_id_expiration_ms: self.config.producer_id_expiration_ms,
            max_producer_ids: self.config.max_producer_ids,
            now: self.last_seen,
        };
        let snapshots = list_snapshots(shared.fs(), shared.path())?;
        self.producers = restore_producers(
            &shared.dir,
            &shared.segments.load(),
            &snapshots,
            limits,
            &mut |_| Ok(()),
        )?;
        self.producers.on_high_watermark(high_watermark);
        self.publish(log_start_offset, high_watermark, end_offset);
        Ok(())
    }

    /// The segment that stays the last one, as it is below `offset`, and the offset at which the log then ends.
    fn cut_segment(
        &self,
        segments: &SegmentList,
        keep: usize,
        offset: i64,
    ) -> Result<(ActiveSegment, i64), StorageError> {
        let segment = segments.get(keep).expect("an index of this list");
        let path = segment_path(self.shared.path(), segment.base_offset(), LOG_SUFFIX);
        let (file, range, created_ms) = match segment {
            SegmentRef::Active(active) => (Arc::clone(active.file()), active.range(), active.created_ms()),
            SegmentRef::Sealed(sealed) => {
                let file = self
                    .shared
                    .fs()
                    .open(&path, OpenMode::ReadWrite)
                    .context("open", &path)?;
                (file, sealed.range(), self.active.created_ms())
            }
        };
        let first_gone = scan_for_offset(file.as_ref(), &path, range, offset)?;
        let end_position = first_gone.map_or(range.end, |located| located.position);
        // The log start never falls, not even when its batch goes.
        let log_start_offset = self.shared.marks.load().log_start_offset;
        let end_offset = first_gone.map_or(offset, |located| located.base_offset.clamp(log_start_offset, offset));
        let mut index = ActiveIndex::new(segment.base_offset());
        let kept_range = ScanRange {
            end: end_position,
            ..range
        };
        let mut scan = HeaderScan::new(file.as_ref(), &path, kept_range, HeaderScan::BULK_BYTES);
        while let Some(placed) = scan.next()? {
            index.note(&placed.header, self.config.index_interval_bytes);
        }
        index.set_next_offset(end_offset);
        drop(scan);
        Ok((
            ActiveSegment::new(self.shared.path(), segment.base_offset(), created_ms, file, index),
            end_offset,
        ))
    }

    /// Removes everything; the log begins and ends at `offset`.
    fn restart_at(&mut self, offset: i64) -> Result<(), StorageError> {
        let shared = Arc::clone(&self.shared);
        let blocked = shared.block_syncs();
        let segments = shared.segments.load_full();
        self.producers.clear();
        shared.on_truncated(offset, &blocked);
        // Below the old log start: no reader can be sent there before the new bounds are published. The files of
        // segments that retention took out go too: the new one may have the name of one of them.
        let mut removals = shared.removals();
        for base_offset in removals.base_offsets.drain(..) {
            remove_segment_files(shared.fs(), shared.path(), base_offset)?;
        }
        drop(removals);
        self.remove_segments(&segments, 0)?;
        shared.dir.close_from(0);
        let path = segment_path(shared.path(), offset, LOG_SUFFIX);
        let file = shared.fs().open(&path, OpenMode::Truncate).context("create", &path)?;
        let active = ActiveSegment::new(
            shared.path(),
            offset,
            self.last_seen.wall_ms,
            file,
            ActiveIndex::new(offset),
        );
        self.install(SegmentList {
            sealed: Vec::new(),
            active: Arc::new(active),
        });
        self.publish(offset, offset, offset);
        remove_snapshots(shared.fs(), shared.path(), |_| true)?;
        shared.set_epochs(EpochCache::new());
        Ok(())
    }

    fn install(&mut self, segments: SegmentList) {
        let first_gone = segments.active.base_offset();
        self.active = Arc::clone(&segments.active);
        self.allocated_to = u64::from(self.active.index().size_bytes());
        self.written_back_to = self.allocated_to;
        self.checkpoint = CheckpointState::at(self.allocated_to);
        self.set_closed_at(None);
        self.shared.segments.store(Arc::new(segments));
        self.shared.dir.close_from(first_gone);
    }

    fn remove_segments(&self, segments: &SegmentList, from: usize) -> Result<(), StorageError> {
        self.shared.mark_names_dirty();
        for index in (from..=segments.sealed.len()).rev() {
            let base_offset = segments.get(index).expect("an index of this list").base_offset();
            remove_segment_files(self.shared.fs(), self.shared.path(), base_offset)?;
        }
        Ok(())
    }

    /// Moves the log start forward, at most to the high watermark. Records before it are no longer read; their
    /// segments go when retention looks the next time.
    ///
    /// # Errors
    /// `Offline` when the log is.
    pub fn advance_log_start(&mut self, offset: i64) -> Result<(), StorageError> {
        self.shared.check_online()?;
        let marks = self.shared.marks.load();
        let log_start_offset = offset.min(marks.high_watermark);
        if log_start_offset <= marks.log_start_offset {
            return Ok(());
        }
        self.producers.on_log_start_offset(log_start_offset);
        self.publish(log_start_offset, marks.high_watermark, marks.log_end_offset);
        let mut epochs = EpochCache::clone(&self.shared.epochs.load());
        if epochs.truncate_from_start(log_start_offset) {
            self.shared.set_epochs(epochs);
        }
        Ok(())
    }

    /// The index files and the snapshot on disk belong to a log that ends at this offset.
    pub(super) fn set_closed_at(&mut self, log_end_offset: Option<i64>) {
        self.closed_at = log_end_offset;
    }

    /// Ends the log because its files will be removed. Waits for a sync that is under way; none follows.
    pub fn discard(self) {
        self.shared.discard();
    }

    /// Ends the use of the log: everything durable, indexes and producer snapshot written so that the next start reads
    /// nothing again, surplus disk blocks given back. Returns the recovery point.
    ///
    /// # Errors
    /// Disk failures; the next start must then recover.
    pub fn close(mut self) -> Result<i64, StorageError> {
        self.shared.end_removals();
        let log_end_offset = self.shared.marks.load().log_end_offset;
        if self.closed_at == Some(log_end_offset) {
            return self.shared.sync().map(|()| log_end_offset);
        }
        self.release_surplus()?;
        if self.is_new() {
            return self.shared.sync().map(|()| log_end_offset);
        }
        let written = self.write_closing_files(log_end_offset);
        // Also when there was no room for them: the records are worth more.
        self.shared.sync()?;
        written?;
        self.remove_stray_snapshots(log_end_offset)?;
        Ok(log_end_offset)
    }

    /// Writes what the next start believes without a look. All of it, the names too, is durable with the next sync:
    /// before the stop is called clean.
    fn write_closing_files(&self, log_end_offset: i64) -> Result<(), StorageError> {
        let (fs, dir) = (self.shared.fs(), self.shared.path());
        let mut index = self.active.index().clone();
        write_index_files(fs, dir, self.active.base_offset(), &mut index, IndexSync::Now)?;
        // The records that it stands for may be gone, and older snapshots go now.
        let snapshot = self.write_snapshot(log_end_offset)?;
        snapshot.sync_data().context("sync the snapshot in", dir)?;
        self.shared.mark_names_dirty();
        self.shared.force_next_sync();
        Ok(())
    }

    /// Nothing was ever written: there is nothing to index or to remember.
    fn is_new(&self) -> bool {
        let segments = self.shared.segments.load();
        segments.sealed.is_empty() && self.active.index().size_bytes() == 0 && self.producers.is_empty()
    }

    /// Keeps the snapshots at segment begins, for truncation and recovery, and the one at the end.
    fn remove_stray_snapshots(&self, log_end_offset: i64) -> Result<(), StorageError> {
        let segments = self.shared.segments.load();
        let is_base = |offset: i64| {
            offset == self.active.base_offset() || segments.sealed.iter().any(|sealed| sealed.base_offset() == offset)
        };
        remove_snapshots(self.shared.fs(), self.shared.path(), |offset| {
            offset != log_end_offset && !is_base(offset)
        })
    }
}
