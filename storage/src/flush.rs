//! Owns the thread that brings logs to the disk: one per log directory, syncing within `flush.ms` of the first dirty
//! byte, at once for logs whose acknowledgements wait for it (group commit), and starting write-back early.
//!
//! Invariants: each of the three queues (urgent, timed, retries) holds a log at most once, so they are bounded by the
//! number of logs; urgent logs go before all others; a failed sync of the log's own files takes it offline and is never
//! tried again, whatever else goes wrong is tried again a second later; stopping waits for the sync that is under way,
//! never for a deadline. Logs are closed by their owners, not here.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::StorageError;
use crate::io::file_system::File;
use crate::log::shared::LogShared;

/// Told about a log that went offline: the partition's directory and the failure. Called once per log, on the
/// flusher's thread, with no lock of this crate held.
pub type FailureListener = Arc<dyn Fn(&Path, &StorageError) + Send + Sync>;

/// Told the new durable offset of a log, on the flusher's thread, with no lock of this crate held.
pub type DurableListener = Arc<dyn Fn(i64) + Send + Sync>;

/// Most write-back hints that wait; more are dropped, the sync that follows writes the same bytes.
const MAX_WRITE_BACKS: usize = 1024;

/// A longer `flush.ms` means never, as Kafka's default does; the queue would hold on to such logs.
const LONGEST_DELAY_MS: u64 = 24 * 3_600_000;
/// When a sync is tried again that failed without a loss (no room for a small file, no free descriptor).
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Logs taken out of the queue at once: between two turns urgent logs get their chance.
const MAX_LOGS_PER_TURN: usize = 64;
/// Syncs that run at the same time; measured on ext4, more bring nothing.
const MAX_SYNC_THREADS: usize = 8;
/// Fewer logs than this are not worth a thread.
const LOGS_PER_SYNC_THREAD: usize = 4;

/// How soon a log is to be synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Within this many milliseconds.
    Within(u64),
    /// Somebody waits.
    Now,
}

impl Urgency {
    /// The queue for this urgency; `None` when it means never.
    pub(crate) fn queue(self) -> Option<QueueKind> {
        match self {
            Self::Now => Some(QueueKind::Urgent),
            Self::Within(delay_ms) if delay_ms > LONGEST_DELAY_MS => None,
            Self::Within(_) => Some(QueueKind::Timed),
        }
    }
}

/// The queues in which a log may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueKind {
    /// Logs that somebody waits for.
    Urgent,
    /// Logs with a deadline.
    Timed,
    /// Logs that could not be synced although nothing is lost.
    Retry,
}

impl QueueKind {
    /// The bit that stands for a place in this queue.
    pub(crate) fn bit(self) -> u8 {
        match self {
            Self::Urgent => 1,
            Self::Timed => 2,
            Self::Retry => 4,
        }
    }
}

struct WriteBack {
    file: Arc<dyn File>,
    position: u64,
    len: u64,
}

#[derive(Default)]
struct Queue {
    urgent: VecDeque<Arc<LogShared>>,
    /// By deadline; the number tells entries with the same deadline apart.
    timed: BTreeMap<(Instant, u64), Arc<LogShared>>,
    next_number: u64,
    /// By deadline: all wait equally long.
    retries: VecDeque<(Instant, Arc<LogShared>)>,
    write_backs: Vec<WriteBack>,
    /// Logs that went offline, still to be reported; at most one per log.
    failures: Vec<(PathBuf, StorageError)>,
    stopping: bool,
}

/// What the thread does in one turn.
struct Turn {
    write_backs: Vec<WriteBack>,
    failures: Vec<(PathBuf, StorageError)>,
    logs: Vec<QueuedLog>,
}

/// A log and the queue that it was taken from.
type QueuedLog = (Arc<LogShared>, QueueKind);

impl Queue {
    /// Takes out what is due at `now` (`None`: everything is), at most `max_logs`. Urgent logs go alone.
    fn next_turn(&mut self, now: Option<Instant>, max_logs: usize) -> Option<Turn> {
        let urgent = self.urgent.drain(..self.urgent.len().min(max_logs));
        let mut logs: Vec<QueuedLog> = urgent.map(|log| (log, QueueKind::Urgent)).collect();
        let is_due = |deadline: Instant| now.is_none_or(|now| deadline <= now);
        while logs.len() < max_logs
            && self.urgent.is_empty()
            && let Some(first) = self.timed.first_entry()
            && is_due(first.key().0)
        {
            logs.push((first.remove(), QueueKind::Timed));
        }
        while logs.len() < max_logs
            && self.urgent.is_empty()
            && let Some((deadline, log)) = self.retries.pop_front()
        {
            if !is_due(deadline) {
                self.retries.push_front((deadline, log));
                break;
            }
            logs.push((log, QueueKind::Retry));
        }
        let turn = Turn {
            write_backs: take(&mut self.write_backs),
            failures: take(&mut self.failures),
            logs,
        };
        let is_empty = turn.logs.is_empty() && turn.write_backs.is_empty() && turn.failures.is_empty();
        (!is_empty).then_some(turn)
    }

    /// When the next log is due that is not urgent.
    fn first_deadline(&self) -> Option<Instant> {
        let timed = self.timed.first_key_value().map(|((deadline, _), _)| *deadline);
        let retry = self.retries.front().map(|(deadline, _)| *deadline);
        timed.into_iter().chain(retry).min()
    }
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    on_failure: FailureListener,
}

/// The running thread; dropping it stops it.
#[derive(Debug)]
pub struct Flusher {
    handle: FlusherHandle,
    thread: Option<JoinHandle<()>>,
}

/// How logs reach their flusher.
#[derive(Clone)]
pub struct FlusherHandle(Arc<Shared>);

impl std::fmt::Debug for FlusherHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let queue = self.queue();
        f.debug_struct("FlusherHandle")
            .field("urgent", &queue.urgent.len())
            .field("timed", &queue.timed.len())
            .field("retries", &queue.retries.len())
            .finish_non_exhaustive()
    }
}

impl Flusher {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(on_failure: FailureListener) -> io::Result<Self> {
        let handle = FlusherHandle::manual(on_failure);
        let runner = handle.clone();
        let thread = std::thread::Builder::new()
            .name("flusher".to_owned())
            .spawn(move || runner.run())?;
        Ok(Self {
            handle,
            thread: Some(thread),
        })
    }

    /// For [`crate::log::open::OpenLog`].
    #[must_use]
    pub fn handle(&self) -> FlusherHandle {
        self.handle.clone()
    }

    /// Ends the thread after the sync that it may be in.
    pub fn stop(mut self) {
        self.join();
    }

    fn join(&mut self) {
        self.handle.queue().stopping = true;
        self.handle.0.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the flusher thread panicked");
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.join();
    }
}

impl FlusherHandle {
    /// A flusher without a thread: nothing happens until [`Self::run_pending`]. For simulations and tests.
    #[must_use]
    pub fn manual(on_failure: FailureListener) -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::new(Queue::default()),
            changed: Condvar::new(),
            on_failure,
        }))
    }

    /// Syncs every queued log now, whatever its deadline; what fails and is to be tried again waits for the next call.
    /// Returns how many were tried.
    pub fn run_pending(&self) -> usize {
        let mut count = 0;
        let mut retries = take(&mut self.queue().retries);
        loop {
            let mut queue = self.queue();
            let later = std::mem::replace(&mut queue.retries, take(&mut retries));
            let turn = queue.next_turn(None, 1);
            retries = std::mem::replace(&mut queue.retries, later);
            drop(queue);
            let Some(turn) = turn else {
                return count;
            };
            count += turn.logs.len();
            self.run_turn(turn);
        }
    }

    /// Lengths of the urgent, the timed and the retry queue.
    #[cfg(test)]
    pub(crate) fn queue_lengths(&self) -> [usize; 3] {
        let queue = self.queue();
        [queue.urgent.len(), queue.timed.len(), queue.retries.len()]
    }

    /// What the thread would do now.
    #[cfg(test)]
    pub(crate) fn run_due(&self) {
        loop {
            let turn = self.queue().next_turn(Some(Instant::now()), MAX_LOGS_PER_TURN);
            let Some(turn) = turn else { return };
            self.run_turn(turn);
        }
    }

    /// Queues a log; [`LogShared::request_sync`] sees to it that it does not wait in this queue already.
    pub(crate) fn enqueue(&self, log: Arc<LogShared>, urgency: Urgency) {
        let mut queue = self.queue();
        match urgency {
            Urgency::Now => queue.urgent.push_back(log),
            Urgency::Within(delay_ms) => {
                let deadline = Instant::now() + Duration::from_millis(delay_ms.min(LONGEST_DELAY_MS));
                let number = queue.next_number;
                queue.next_number += 1;
                // the thread sleeps until its first deadline: it must know of an earlier one
                let is_first = queue.first_deadline().is_none_or(|first| deadline < first);
                queue.timed.insert((deadline, number), log);
                if !is_first {
                    return;
                }
            }
        }
        drop(queue);
        self.0.changed.notify_one();
    }

    /// Queues a log for another attempt; [`LogShared::request_retry`] sees to it that it does not wait for one already.
    pub(crate) fn enqueue_retry(&self, log: Arc<LogShared>) {
        let mut queue = self.queue();
        queue.retries.push_back((Instant::now() + RETRY_DELAY, log));
        drop(queue);
        self.0.changed.notify_one();
    }

    /// Hints that these bytes should begin their way to the disk.
    pub(crate) fn write_back(&self, file: Arc<dyn File>, position: u64, len: u64) {
        let mut queue = self.queue();
        if queue.write_backs.len() < MAX_WRITE_BACKS {
            queue.write_backs.push(WriteBack { file, position, len });
            drop(queue);
            self.0.changed.notify_one();
        }
    }

    pub(crate) fn report_failure(&self, dir: &Path, error: StorageError) {
        self.queue().failures.push((dir.to_path_buf(), error));
        self.0.changed.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut queue = self.queue();
        while !queue.stopping {
            let now = Instant::now();
            let Some(turn) = queue.next_turn(Some(now), MAX_LOGS_PER_TURN) else {
                let first = queue.first_deadline();
                queue = self.wait(queue, first.map(|deadline| deadline.saturating_duration_since(now)));
                continue;
            };
            drop(queue);
            self.run_turn(turn);
            queue = self.queue();
        }
    }

    fn run_turn(&self, turn: Turn) {
        for (dir, error) in turn.failures {
            (self.0.on_failure)(&dir, &error);
        }
        for hint in turn.write_backs {
            if let Err(error) = hint.file.start_writeback(hint.position, hint.len) {
                tracing::debug!(%error, "write-back hint refused");
            }
        }
        sync_logs(&turn.logs);
    }

    fn wait<'a>(&'a self, queue: MutexGuard<'a, Queue>, timeout: Option<Duration>) -> MutexGuard<'a, Queue> {
        match timeout {
            None => self.0.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                self.0
                    .changed
                    .wait_timeout(queue, timeout)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        }
    }
}

/// Syncs logs, several at a time when there are many: the file system's journal then commits them together.
fn sync_logs(logs: &[QueuedLog]) {
    let threads = (logs.len() / LOGS_PER_SYNC_THREAD).min(MAX_SYNC_THREADS);
    let next = AtomicUsize::new(0);
    let sync_all = || {
        while let Some((log, queue)) = logs.get(next.fetch_add(1, Ordering::Relaxed)) {
            sync_log(log, *queue);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Without another thread this one does it all.
            let spawned = std::thread::Builder::new()
                .name("flusher-helper".to_owned())
                .spawn_scoped(scope, sync_all);
            if let Err(error) = spawned {
                tracing::debug!(%error, "no thread for syncing");
            }
        }
        sync_all();
    });
}

fn sync_log(log: &Arc<LogShared>, queue: QueueKind) {
    log.on_dequeued(queue);
    match log.sync() {
        Ok(()) => log.tell_listener(),
        // An offline log is reported where it goes offline, another one is queued again.
        Err(error) => tracing::debug!(log = %log.path().display(), %error, "not synced"),
    }
}
