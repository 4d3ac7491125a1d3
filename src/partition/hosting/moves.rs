//! Moves partitions from one log directory of this broker to another (AlterReplicaLogDirs), and says what lies where.
//!
//! Invariants: a partition is served from its old directory until the copy is whole and durable, and from the new one
//! afterwards; in between it refuses for as long as the last bytes take (NOT_LEADER_OR_FOLLOWER, which clients repeat).
//! A move that fails leaves the partition where it was; one that a stop or a kill cut off begins anew at the next start.
//! The copy takes its final name before the old directory loses its own, so a kill leaves at least one of two equals.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};
use std::thread::{self, JoinHandle};

use protocol::error_code::ErrorCode;
use protocol::types::{Offset, PartitionIndex};
use storage::dir::partition_dir::PartitionDir;
use storage::error::StorageError;
use storage::io::file_system::DiskSpace;
use storage::log::copy::{LogCopy, remove_copy};

use super::dirs::PartitionPast;
use super::{Hosting, Inner, PartitionKey};
use crate::partition::partition::Partition;

/// An active segment up to this size is copied while the partition refuses.
const LAST_BYTES: u64 = 1 << 20;
/// Segments begun in the hope that little remains to be copied; a producer that is faster than the disk ends this.
const MAX_ROLLS: usize = 16;

/// The moves of all partitions.
#[derive(Debug, Default)]
pub(super) struct Moves {
    wanted: BTreeMap<PartitionKey, Move>,
    /// Directories named for partitions that are not here yet.
    preferred: BTreeMap<PartitionKey, usize>,
    workers: Vec<JoinHandle<()>>,
    running: usize,
    stopping: bool,
}

/// One partition on its way.
#[derive(Debug, Clone, Copy)]
struct Move {
    to: usize,
    began: bool,
    size_bytes: u64,
    end_offset: Offset,
}

/// Why a partition is not moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// The name of the copy would be longer than file systems take.
    #[error("the topic name is too long")]
    NameTooLong,
    /// Not among `log.dirs`.
    #[error("no such log directory")]
    UnknownDir,
    /// A directory, or the partition, is out of use after a disk failure.
    #[error("offline after a disk failure")]
    Offline,
    /// The directory takes no new replicas.
    #[error("the log directory is cordoned")]
    Cordoned,
    /// No such partition here; when it comes, it is made in the directory.
    #[error("this broker holds no such partition")]
    NotHosted,
}

impl MoveError {
    /// Kafka's code for this error.
    pub fn error_code(self) -> ErrorCode {
        match self {
            Self::NameTooLong => ErrorCode::InvalidTopicException,
            Self::UnknownDir => ErrorCode::LogDirNotFound,
            Self::Offline => ErrorCode::KafkaStorageError,
            Self::Cordoned => ErrorCode::InvalidReplicaAssignment,
            Self::NotHosted => ErrorCode::UnknownTopicOrPartition,
        }
    }
}

/// What lies in one log directory.
#[derive(Debug)]
pub struct LogDirReport {
    /// Absolute path.
    pub path: String,
    /// Whether it takes no new replicas.
    pub is_cordoned: bool,
    /// Its disk and its partitions; an error when the directory is out of use.
    pub content: Result<(DiskSpace, Vec<ReplicaReport>), StorageError>,
}

/// One partition in a log directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaReport {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition index.
    pub partition: PartitionIndex,
    /// Bytes of its segments.
    pub size_bytes: u64,
    /// Of a copy: records that it lacks.
    pub offset_lag: i64,
    /// A copy that is on its way here.
    pub is_future: bool,
}

impl Hosting {
    /// What lies where. Asks the disk; blocking.
    pub fn log_dirs(&self) -> Vec<LogDirReport> {
        let inner = &self.inner;
        let mut replicas: Vec<Vec<ReplicaReport>> = inner.dirs.iter().map(|_| Vec::new()).collect();
        let placed = inner.placed().clone();
        let wanted = inner.moves().wanted.clone();
        for topic in inner.registry.topics() {
            for partition in topic.partitions.iter().flatten() {
                let key = (topic.name.to_string(), partition.index());
                let report = |size_bytes, offset_lag, is_future| ReplicaReport {
                    topic: Arc::clone(&topic.name),
                    partition: partition.index(),
                    size_bytes,
                    offset_lag,
                    is_future,
                };
                if let Some(dir) = placed.get(&key) {
                    replicas[*dir].push(report(partition.size_bytes(), 0, false));
                }
                if let Some(on_its_way) = wanted.get(&key) {
                    let lag = partition.watermarks().log_end_offset - on_its_way.end_offset;
                    replicas[on_its_way.to].push(report(on_its_way.size_bytes, lag.max(0), true));
                }
            }
        }
        let dirs = inner.dirs.iter().zip(replicas).map(|(hosted, mut replicas)| {
            replicas.sort_unstable_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
            let path = hosted.dir.path();
            let space = hosted.dir.check_online().and_then(|()| {
                let space = hosted.dir.fs().space(path);
                space.map_err(|error| StorageError::io("ask for the space of", path, error))
            });
            LogDirReport {
                path: absolute(path),
                is_cordoned: inner.is_cordoned(path),
                content: space.map(|space| (space, replicas)),
            }
        });
        dirs.collect()
    }

    /// Wants a partition in the log directory with this absolute path; the move itself goes on in the background.
    ///
    /// # Errors
    /// See [`MoveError`].
    pub fn alter_replica_log_dir(&self, topic: &str, partition: PartitionIndex, path: &str) -> Result<(), MoveError> {
        Inner::want(&self.inner, topic, partition, path)
    }
}

impl Inner {
    fn moves(&self) -> MutexGuard<'_, Moves> {
        self.moves.lock().expect("noting moves does not panic")
    }

    fn want(inner: &Arc<Self>, topic: &str, partition: PartitionIndex, path: &str) -> Result<(), MoveError> {
        if !PartitionDir::can_have_future(topic, partition) {
            return Err(MoveError::NameTooLong);
        }
        let to = inner.dirs.iter().position(|hosted| absolute(hosted.dir.path()) == path);
        let to = to.ok_or(MoveError::UnknownDir)?;
        inner.dirs[to].dir.check_online().map_err(|_| MoveError::Offline)?;
        if inner.is_cordoned(inner.dirs[to].dir.path()) {
            return Err(MoveError::Cordoned);
        }
        let key = (topic.to_owned(), partition);
        let hosted = inner.registry.topic(topic);
        match hosted.as_ref().map(|hosted| hosted.hosted(partition)) {
            Some(Ok(_)) => {}
            Some(Err(ErrorCode::KafkaStorageError)) => return Err(MoveError::Offline),
            None | Some(Err(_)) => {
                let mut moves = inner.moves();
                let limit = usize::try_from(inner.config.load().monedula_max_partitions).unwrap_or(usize::MAX);
                if partition >= 0 && (moves.preferred.len() < limit || moves.preferred.contains_key(&key)) {
                    moves.preferred.insert(key, to);
                }
                return Err(MoveError::NotHosted);
            }
        }
        if inner.placed().get(&key) == Some(&to) {
            // also the way to call a move off
            inner.moves().wanted.remove(&key);
            return Ok(());
        }
        if inner.dirs.iter().any(|hosted| hosted.dir.check_online().is_err()) {
            // the partition might lie in the one that cannot be seen
            return Err(MoveError::Offline);
        }
        Self::begin(inner, key, to);
        Ok(())
    }

    /// Notes a move and sees to it that somebody does it.
    pub(super) fn begin(inner: &Arc<Self>, key: PartitionKey, to: usize) {
        let mut moves = inner.moves();
        if moves.stopping || moves.wanted.get(&key).is_some_and(|on_its_way| on_its_way.to == to) {
            return;
        }
        let fresh = Move {
            to,
            began: false,
            size_bytes: 0,
            end_offset: 0,
        };
        moves.wanted.insert(key, fresh);
        let configured = inner.config.load().num_replica_alter_log_dirs_threads;
        let threads = configured.and_then(|threads| usize::try_from(threads).ok());
        if moves.running < threads.unwrap_or(inner.dirs.len()).max(1) {
            moves.workers.retain(|worker| !worker.is_finished());
            moves.running += 1;
            let working = Arc::clone(inner);
            let worker = thread::Builder::new().name("move-replicas".to_owned());
            match worker.spawn(move || working.work()) {
                Ok(worker) => moves.workers.push(worker),
                Err(error) => {
                    moves.running -= 1;
                    tracing::error!(%error, "no thread for moving partitions");
                }
            }
        }
    }

    /// Begins anew the moves that the last stop cut off; once, when the partitions are open.
    pub(super) fn take_up_moves(self: &Arc<Self>) {
        let cut_off = std::mem::take(&mut *self.cut_off.lock().expect("noting moves does not panic"));
        for (key, to) in cut_off {
            if self.placed().get(&key).is_some_and(|dir| *dir != to) {
                Self::begin(self, key, to);
            }
        }
    }

    /// Whether a directory takes no new replicas (`cordoned.log.dirs`, `*` = all).
    pub(super) fn is_cordoned(&self, path: &Path) -> bool {
        let config = self.config.load();
        let cordoned = &config.cordoned_log_dirs;
        !cordoned.is_empty() && {
            let path = absolute(path);
            cordoned.iter().any(|cordoned| cordoned == "*" || *cordoned == path)
        }
    }

    /// The directory that was named for a partition before it came.
    pub(super) fn preferred_dir(&self, key: &PartitionKey) -> Option<usize> {
        self.moves().preferred.remove(key)
    }

    /// Calls all moves off and waits for those who work on them.
    pub(super) fn end_moves(&self) {
        let workers = {
            let mut moves = self.moves();
            moves.stopping = true;
            std::mem::take(&mut moves.workers)
        };
        for worker in workers {
            worker.join().expect("moving partitions does not panic");
        }
    }

    fn work(&self) {
        loop {
            let next = {
                let mut moves = self.moves();
                let stopping = moves.stopping;
                let mut waiting = moves.wanted.iter_mut().filter(|(_, wanted)| !wanted.began && !stopping);
                match waiting.next() {
                    Some((key, wanted)) => {
                        wanted.began = true;
                        (key.clone(), wanted.to)
                    }
                    None => {
                        moves.running -= 1;
                        return;
                    }
                }
            };
            let (key, to) = next;
            let path = self.dirs[to].dir.path().display();
            match self.move_partition(&key, to) {
                Ok(true) => tracing::info!(topic = key.0, partition = key.1, to = %path, "moved"),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(topic = key.0, partition = key.1, to = %path, %error, "not moved");
                }
            }
            let mut moves = self.moves();
            if moves.wanted.get(&key).is_some_and(|wanted| wanted.to == to) {
                moves.wanted.remove(&key);
            }
        }
    }

    /// Whether the move is still wanted; notes how far it is.
    fn goes_on(&self, key: &PartitionKey, to: usize, bytes: u64) -> bool {
        let mut moves = self.moves();
        let stopping = moves.stopping;
        match moves.wanted.get_mut(key) {
            Some(wanted) if wanted.to == to && !stopping => {
                wanted.size_bytes += bytes;
                true
            }
            _ => false,
        }
    }

    /// False when the move was called off.
    fn move_partition(&self, key: &PartitionKey, to: usize) -> Result<bool, StorageError> {
        let Some(partition) = self.registry.partition(&key.0, key.1) else {
            return Ok(false);
        };
        let Some(from) = self.placed().get(key).copied().filter(|from| *from != to) else {
            return Ok(false);
        };
        let future = self.dirs[to].dir.future_path(&key.0, key.1, self.env.uuid());
        let moved = self.copy_and_swap(key, &partition, (from, to), &future);
        if !matches!(moved, Ok(true)) {
            remove_copy(&**self.dirs[to].dir.fs(), &future)?;
        }
        moved
    }

    fn copy_and_swap(
        &self,
        key: &PartitionKey,
        partition: &Arc<Partition>,
        (from, to): (usize, usize),
        future: &Path,
    ) -> Result<bool, StorageError> {
        let source = self.dirs[from].dir.partition_path(&key.0, key.1);
        let mut copy = LogCopy::begin(Arc::clone(self.dirs[to].dir.fs()), source, future.to_path_buf())?;
        for roll in 0..=MAX_ROLLS {
            let active_base_offset = partition.active_base_offset();
            let mut go_on = |bytes: usize| self.goes_on(key, to, bytes as u64);
            if !copy.copy_sealed(active_base_offset, &mut go_on)? {
                return Ok(false);
            }
            if let Some(wanted) = self.moves().wanted.get_mut(key) {
                wanted.end_offset = active_base_offset;
            }
            if partition.active_size_bytes() <= LAST_BYTES || roll == MAX_ROLLS {
                break;
            }
            partition.roll(self.env.now())?;
        }
        let renamed = {
            let closed = self.working();
            let is_same = self
                .registry
                .partition(&key.0, key.1)
                .is_some_and(|hosted| Arc::ptr_eq(&hosted, partition));
            if *closed || !is_same || !self.goes_on(key, to, 0) {
                return Ok(false);
            }
            self.swap(key, partition, (from, to), copy, future)?
        };
        if let Some(path) = renamed {
            self.dirs[from].dir.remove_dir(&path)?;
        }
        Ok(true)
    }

    /// Takes the partition out of use, finishes the copy, and puts the partition into use again, from the copy if that
    /// worked. Called with the lock of [`Inner::working`] held. Returns what is left of the old directory.
    fn swap(
        &self,
        key: &PartitionKey,
        partition: &Arc<Partition>,
        (from, to): (usize, usize),
        copy: LogCopy,
        future: &Path,
    ) -> Result<Option<PathBuf>, StorageError> {
        let Some(log) = partition.resign() else {
            return Ok(None);
        };
        let marks = partition.watermarks();
        let recovery_point = partition.recovery_point();
        let closed = log.close();
        let finished = closed.as_ref().map_err(StorageError::clone).and_then(|_| {
            copy.finish()?;
            let target = &self.dirs[to].dir;
            target.promote_future(future, &key.0, key.1).inspect_err(|_| {
                // if it did get its name, it must lose it again: the old directory goes on being written
                _ = target.rename_for_delete(&key.0, key.1, self.env.uuid());
            })
        });
        let dir = if finished.is_ok() { to } else { from };
        let past = PartitionPast {
            recovery_point: closed.unwrap_or(recovery_point),
            log_start_offset: marks.log_start_offset,
            high_watermark: marks.high_watermark,
        };
        self.dirs[dir].past().insert(key, past);
        let renamed = finished.as_ref().ok().and_then(|()| {
            self.placed().insert(key.clone(), to);
            let renamed = self.dirs[from].dir.rename_for_delete(&key.0, key.1, self.env.uuid());
            renamed
                .inspect_err(|error| tracing::error!(topic = key.0, partition = key.1, %error, "the old copy stays"))
                .ok()
        });
        // before anything is written to the log: what the checkpoints say must be of the directory that is used
        self.checkpoint();
        self.put_into_use(key);
        finished.map(|()| renamed)
    }

    /// Opens the partition where it lies now and puts it in the place of the one that resigned.
    fn put_into_use(&self, key: &PartitionKey) {
        let image = self.latest();
        let Some((topic, hosted)) = image.topic(&key.0).zip(self.registry.topic(&key.0)) else {
            return;
        };
        let index = usize::try_from(key.1).expect("a hosted partition has a valid index");
        let mut hosted = (*hosted).clone();
        hosted.partitions[index] = self.open_partition(topic, index, &image);
        self.registry.insert(hosted);
    }
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_path_buf())
        .display()
        .to_string()
}
