//! Owns what the writer, the readers and the flusher of one log share: published segments and watermarks, the leader
//! epochs, how far the disk has it, and whether the log is still usable.
//!
//! Invariants: the writer publishes in the order bytes, index, watermarks; `durable_offset` moves only after everything
//! below it (data, indexes, epochs, names) was synced; an offline log never becomes usable again in this process. A sync
//! of the log's own files that failed is final, as nobody knows what the disk has; a small file that could not be
//! written or a file that could not be opened is not: nothing becomes durable, and it is tried again.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;

use crate::checkpoint::parent_of;
use crate::dir::partition_dir::PARTITION_METADATA;
use crate::epoch::EpochCache;
use crate::epoch_file::write_epochs;
use crate::error::{IoContext, StorageError};
use crate::flush::{DurableListener, FlusherHandle, QueueKind, Urgency};
use crate::io::file_system::{FileSystem, OpenMode};
use crate::log::watermarks::{WatermarkCell, Watermarks};
use crate::segment::{SegmentDir, SegmentList, SyncFailure};

/// State shared by everybody who works with one log.
pub(crate) struct LogShared {
    pub(crate) dir: SegmentDir,
    pub(crate) marks: WatermarkCell,
    pub(crate) segments: ArcSwap<SegmentList>,
    pub(crate) epochs: ArcSwap<EpochCache>,
    pub(crate) flusher: FlusherHandle,
    durable_offset: AtomicI64,
    /// Durable offset that the listener has been told.
    told_durable_offset: AtomicI64,
    listener: OnceLock<DurableListener>,
    /// Names in the directory changed since it was synced.
    names_dirty: AtomicBool,
    /// `partition.metadata` is not synced.
    metadata_dirty: AtomicBool,
    /// The directory itself is new, or was made by a process that was killed.
    dir_is_new: AtomicBool,
    epochs_dirty: AtomicBool,
    /// Something besides new records waits for a sync (truncation).
    must_sync: AtomicBool,
    /// The flusher's queues in which the log waits, as bits of [`QueueKind`].
    queued: AtomicU8,
    /// The last sync failed and is tried again.
    is_retrying: AtomicBool,
    offline: AtomicBool,
    /// The last write found no room on the disk.
    lacks_room: AtomicBool,
    /// There are, or were, aborted transactions: readers look for them.
    has_aborted: AtomicBool,
    /// Held while the transaction index of a sealed segment is looked at for the first time.
    txn_index_check: Mutex<()>,
    /// Held during a sync and during anything that takes synced bytes away.
    sync_lock: Mutex<()>,
    /// Held while files of removed segments are renamed. Taken after `sync_lock` where both are.
    removals: Mutex<PendingRemovals>,
}

/// Segments that are no longer in the list and still have their files.
#[derive(Debug, Default)]
pub(crate) struct PendingRemovals {
    /// Base offsets, ascending.
    pub(crate) base_offsets: VecDeque<i64>,
    /// Where the segments begin that stay, until everything that has to be durable before others go is so.
    pub(crate) unsynced_before: Option<i64>,
    /// The names of the directory may belong to another log by now: nothing is renamed any more.
    pub(crate) ended: bool,
}

/// What [`LogShared`] begins with.
pub(crate) struct SharedStart {
    pub(crate) dir: SegmentDir,
    pub(crate) marks: Watermarks,
    pub(crate) segments: SegmentList,
    pub(crate) epochs: EpochCache,
    pub(crate) epochs_dirty: bool,
    pub(crate) durable_offset: i64,
    pub(crate) metadata_dirty: bool,
    pub(crate) names_dirty: bool,
    pub(crate) dir_is_new: bool,
    pub(crate) has_aborted: bool,
    pub(crate) flusher: FlusherHandle,
}

impl std::fmt::Debug for LogShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogShared")
            .field("dir", &self.dir.path)
            .field("marks", &self.marks.load())
            .field("durable_offset", &self.durable_offset())
            .field("offline", &self.is_offline())
            .finish_non_exhaustive()
    }
}

impl LogShared {
    pub(crate) fn new(start: SharedStart) -> Self {
        Self {
            dir: start.dir,
            marks: WatermarkCell::new(start.marks),
            segments: ArcSwap::from_pointee(start.segments),
            epochs: ArcSwap::from_pointee(start.epochs),
            flusher: start.flusher,
            durable_offset: AtomicI64::new(start.durable_offset),
            told_durable_offset: AtomicI64::new(start.durable_offset),
            listener: OnceLock::new(),
            names_dirty: AtomicBool::new(start.names_dirty),
            metadata_dirty: AtomicBool::new(start.metadata_dirty),
            dir_is_new: AtomicBool::new(start.dir_is_new),
            epochs_dirty: AtomicBool::new(start.epochs_dirty),
            must_sync: AtomicBool::new(false),
            queued: AtomicU8::new(0),
            is_retrying: AtomicBool::new(false),
            offline: AtomicBool::new(false),
            lacks_room: AtomicBool::new(false),
            has_aborted: AtomicBool::new(start.has_aborted),
            txn_index_check: Mutex::new(()),
            sync_lock: Mutex::new(()),
            removals: Mutex::new(PendingRemovals::default()),
        }
    }

    pub(crate) fn fs(&self) -> &dyn FileSystem {
        self.dir.fs.as_ref()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir.path
    }

    /// Everything below is on the disk.
    pub(crate) fn durable_offset(&self) -> i64 {
        self.durable_offset.load(Ordering::Acquire)
    }

    /// Who is told when the durable offset moves; only the first listener counts.
    pub(crate) fn set_listener(&self, listener: DurableListener) {
        if self.listener.set(listener).is_err() {
            tracing::debug!(log = %self.path().display(), "the log has a listener already");
        }
    }

    pub(crate) fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    /// Whether the last write found no room on the disk.
    pub(crate) fn lacks_room(&self) -> bool {
        self.lacks_room.load(Ordering::Relaxed)
    }

    pub(crate) fn set_lacks_room(&self, lacks_room: bool) {
        self.lacks_room.store(lacks_room, Ordering::Relaxed);
    }

    /// Whether readers have to look for aborted transactions.
    pub(crate) fn has_aborted(&self) -> bool {
        self.has_aborted.load(Ordering::Acquire)
    }

    /// There are aborted transactions from now on.
    pub(crate) fn set_has_aborted(&self) {
        self.has_aborted.store(true, Ordering::Release);
    }

    /// Lets one thread at a time look at an index that nobody has looked at. Never waited for on a thread that may not
    /// wait for the disk.
    pub(crate) fn check_txn_index(&self) -> MutexGuard<'_, ()> {
        self.txn_index_check.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Error for every call on an offline log.
    pub(crate) fn check_online(&self) -> Result<(), StorageError> {
        if self.is_offline() {
            Err(StorageError::Offline {
                dir: self.path().to_path_buf(),
            })
        } else {
            Ok(())
        }
    }

    /// Takes the log out of use for good; the flusher's owner is told why, on the flusher's thread.
    pub(crate) fn go_offline(&self, error: &StorageError) {
        if !self.offline.swap(true, Ordering::AcqRel) {
            self.flusher.report_failure(self.path(), error.clone());
        }
    }

    /// The names in the directory changed.
    pub(crate) fn mark_names_dirty(&self) {
        self.names_dirty.store(true, Ordering::Release);
    }

    /// The leader epochs changed; they reach the disk with the next sync.
    pub(crate) fn set_epochs(&self, epochs: EpochCache) {
        self.epochs.store(Arc::new(epochs));
        self.epochs_dirty.store(true, Ordering::Release);
    }

    /// Asks the flusher for a sync.
    pub(crate) fn request_sync(self: &Arc<Self>, urgency: Urgency) {
        let Some(queue) = urgency.queue() else { return };
        if self.enters(queue) {
            self.flusher.enqueue(Arc::clone(self), urgency);
        }
    }

    /// Asks the flusher for another attempt.
    fn request_retry(self: &Arc<Self>) {
        if self.enters(QueueKind::Retry) {
            self.flusher.enqueue_retry(Arc::clone(self));
        }
    }

    /// Whether the log does not wait in this queue yet; from now on it does.
    fn enters(&self, queue: QueueKind) -> bool {
        // A read-modify-write on both sides: either this sees that the flusher has taken the log out of its queue, or
        // the flusher sees the log end that was published before.
        self.queued.fetch_or(queue.bit(), Ordering::AcqRel) & queue.bit() == 0
    }

    /// The flusher has taken the log out of one of its queues.
    pub(crate) fn on_dequeued(&self, queue: QueueKind) {
        self.queued.fetch_and(!queue.bit(), Ordering::AcqRel);
    }

    /// The next sync does everything even when no record waits for it.
    pub(crate) fn force_next_sync(&self) {
        self.must_sync.store(true, Ordering::Release);
    }

    /// Whether something waits for a sync.
    pub(crate) fn is_dirty(&self) -> bool {
        self.durable_offset() < self.marks.load().log_end_offset || self.must_sync.load(Ordering::Acquire)
    }

    /// Keeps syncs out while bytes that may have been synced are taken away.
    pub(crate) fn block_syncs(&self) -> MutexGuard<'_, ()> {
        self.sync_lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log was cut: nothing behind `end_offset` is durable any more. Needs [`Self::block_syncs`].
    pub(crate) fn on_truncated(&self, end_offset: i64, _syncs_blocked: &MutexGuard<'_, ()>) {
        self.durable_offset.fetch_min(end_offset, Ordering::AcqRel);
        self.told_durable_offset.fetch_min(end_offset, Ordering::AcqRel);
        self.must_sync.store(true, Ordering::Release);
    }

    /// Takes the log out of use because its files will be removed: no sync runs or will run, nothing is reported.
    pub(crate) fn discard(&self) {
        let _one_at_a_time = self.block_syncs();
        self.offline.store(true, Ordering::Release);
        self.end_removals();
    }

    /// The segments whose files are still to go.
    pub(crate) fn removals(&self) -> MutexGuard<'_, PendingRemovals> {
        self.removals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the files of removed segments where they are; the next start takes them away.
    pub(crate) fn end_removals(&self) {
        self.removals().ended = true;
    }

    /// Makes everything appended so far durable.
    ///
    /// # Errors
    /// A failed sync of the log's own files takes it offline; after any other failure it stays in use and the flusher
    /// tries again.
    pub(crate) fn sync(self: &Arc<Self>) -> Result<(), StorageError> {
        let _one_at_a_time = self.block_syncs();
        self.check_online()?;
        // The end first, the segments second: whatever is below the end is in these segments.
        let end_offset = self.marks.load().log_end_offset;
        match self.sync_up_to(end_offset) {
            Ok(()) => {
                self.durable_offset.fetch_max(end_offset, Ordering::AcqRel);
                self.is_retrying.store(false, Ordering::Release);
                Ok(())
            }
            Err(SyncFailure::Final(error)) => {
                self.go_offline(&error);
                Err(error)
            }
            Err(SyncFailure::Again(error)) => {
                self.must_sync.store(true, Ordering::Release);
                if !self.is_retrying.swap(true, Ordering::AcqRel) {
                    tracing::warn!(log = %self.path().display(), %error, "not on the disk yet, trying again");
                }
                self.request_retry();
                Err(error)
            }
        }
    }

    fn sync_up_to(&self, end_offset: i64) -> Result<(), SyncFailure> {
        let segments = self.segments.load_full();
        let durable_offset = self.durable_offset();
        let forced = self.must_sync.swap(false, Ordering::AcqRel);
        for segment in &segments.sealed {
            if segment.next_offset() <= durable_offset && !segment.index_unsynced() {
                continue;
            }
            let synced = match self.dir.files(segment) {
                Ok(files) => segment.sync(self.fs(), self.path(), &files),
                Err(error) => Err(SyncFailure::Again(error)),
            };
            match synced {
                Err(SyncFailure::Again(error)) if error.is_not_found() && self.is_removed(segment.base_offset()) => {}
                other => other?,
            }
        }
        if end_offset <= durable_offset && !forced {
            return Ok(());
        }
        segments
            .active
            .file()
            .sync_data()
            .context("sync", segments.active.path())
            .map_err(SyncFailure::Final)?;
        segments
            .active
            .txn_index()
            .sync(&segments.active.txn_index_path())
            .map_err(SyncFailure::Final)?;
        Self::while_dirty(&self.epochs_dirty, || {
            // The directory is synced below.
            write_epochs(self.fs(), self.path(), &self.epochs.load()).map_err(SyncFailure::Again)?;
            self.names_dirty.store(true, Ordering::Release);
            Ok(())
        })?;
        Self::while_dirty(&self.metadata_dirty, || self.sync_metadata())?;
        Self::while_dirty(&self.names_dirty, || sync_directory(self.fs(), self.path()))?;
        Self::while_dirty(&self.dir_is_new, || sync_directory(self.fs(), parent_of(self.path())))
    }

    /// Does `clean` if the flag is up, and puts the flag up again when that fails.
    fn while_dirty(flag: &AtomicBool, clean: impl FnOnce() -> Result<(), SyncFailure>) -> Result<(), SyncFailure> {
        // Down before the work: who puts it up meanwhile is not forgotten.
        if !flag.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        clean().inspect_err(|_| flag.store(true, Ordering::Release))
    }

    fn sync_metadata(&self) -> Result<(), SyncFailure> {
        let path = self.path().join(PARTITION_METADATA);
        let file = self.fs().open(&path, OpenMode::ReadWrite).context("open", &path);
        let file = file.map_err(SyncFailure::Again)?;
        file.sync_data().context("sync", &path).map_err(SyncFailure::Final)
    }

    fn is_removed(&self, base_offset: i64) -> bool {
        self.segments
            .load()
            .sealed
            .iter()
            .all(|segment| segment.base_offset() != base_offset)
    }

    /// Tells the listener how far the disk has the log, if that is news. Never called with a lock held.
    pub(crate) fn tell_listener(&self) {
        let durable_offset = self.durable_offset();
        if self.told_durable_offset.fetch_max(durable_offset, Ordering::AcqRel) < durable_offset
            && let Some(listener) = self.listener.get()
        {
            listener(durable_offset);
        }
    }
}

/// Makes the names in a directory durable.
fn sync_directory(fs: &dyn FileSystem, dir: &Path) -> Result<(), SyncFailure> {
    fs.sync_dir(dir).map_err(|error| {
        // These come from opening the directory, never from the sync itself.
        let is_unopened = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
        let error = StorageError::io("sync directory", dir, error);
        if is_unopened {
            SyncFailure::Again(error)
        } else {
            SyncFailure::Final(error)
        }
    })
}
