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
/// What may be left after all attempts; more would keep the partition, and everybody who works on partitions, waiting.
const MOST_LAST_BYTES: u64 = 64 << 20;
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
    /// Moves wanted so far.
    count: u64,
    stopping: bool,
}

/// One partition on its way.
#[derive(Debug, Clone, Copy)]
struct Move {
    /// Tells it from another that was wanted of the same partition before.
    id: u64,
    to: usize,
    began: bool,
    size_bytes: u64,
    end_offset: Offset,
}

/// Between which directories a move goes.
#[derive(Debug, Clone, Copy)]
struct Route {
    id: u64,
    from: usize,
    to: usize,
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
    /// What lies where, of the partitions that are asked for. Waits for its turn: each looks at every partition, on a
    /// thread that others need too.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn log_dirs(
        &self,
        is_asked: impl Fn(&str, PartitionIndex) -> bool + Send + 'static,
    ) -> Vec<LogDirReport> {
        let _turn = self.inner.describing.acquire().await.expect("never closed");
        let hosting = self.clone();
        let reports = tokio::task::spawn_blocking(move || hosting.inner.log_dirs(&is_asked)).await;
        reports.expect("describing log directories does not panic")
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

    /// Asks the disks; blocking.
    fn log_dirs(&self, is_asked: &dyn Fn(&str, PartitionIndex) -> bool) -> Vec<LogDirReport> {
        let mut replicas: Vec<Vec<ReplicaReport>> = self.dirs.iter().map(|_| Vec::new()).collect();
        let placed = self.placed().clone();
        let wanted = self.moves().wanted.clone();
        for topic in self.registry.topics() {
            for partition in topic.partitions.iter().flatten() {
                if !is_asked(&topic.name, partition.index()) {
                    continue;
                }
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
        let dirs = self.dirs.iter().zip(replicas).map(|(hosted, mut replicas)| {
            replicas.sort_unstable_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
            let path = hosted.dir.path();
            let space = hosted.dir.check_online().and_then(|()| {
                let space = hosted.dir.fs().space(path);
                space.map_err(|error| StorageError::io("ask for the space of", path, error))
            });
            LogDirReport {
                path: hosted.path.clone(),
                is_cordoned: self.is_cordoned(&hosted.path),
                content: space.map(|space| (space, replicas)),
            }
        });
        dirs.collect()
    }

    fn want(inner: &Arc<Self>, topic: &str, partition: PartitionIndex, path: &str) -> Result<(), MoveError> {
        if !PartitionDir::can_have_future(topic, partition) {
            return Err(MoveError::NameTooLong);
        }
        let to = inner.dirs.iter().position(|hosted| hosted.path == path);
        let to = to.ok_or(MoveError::UnknownDir)?;
        inner.dirs[to].dir.check_online().map_err(|_| MoveError::Offline)?;
        if inner.is_cordoned(&inner.dirs[to].path) {
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
        moves.count += 1;
        let fresh = Move {
            id: moves.count,
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
    pub(super) fn is_cordoned(&self, path: &str) -> bool {
        let config = self.config.load();
        let mut cordoned = config.cordoned_log_dirs.iter();
        cordoned.any(|cordoned| cordoned == "*" || cordoned == path)
    }

    /// The partition is deleted.
    pub(super) fn forget_move(&self, key: &PartitionKey) {
        self.moves().wanted.remove(key);
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
                        (key.clone(), wanted.id, wanted.to)
                    }
                    None => {
                        moves.running -= 1;
                        return;
                    }
                }
            };
            let (key, id, to) = next;
            let path = self.dirs[to].dir.path().display();
            match self.move_partition(&key, id, to) {
                Ok(true) => tracing::info!(topic = key.0, partition = key.1, to = %path, "moved"),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(topic = key.0, partition = key.1, to = %path, %error, "not moved");
                }
            }
            let mut moves = self.moves();
            if moves.wanted.get(&key).is_some_and(|wanted| wanted.id == id) {
                moves.wanted.remove(&key);
            }
        }
    }

    /// Whether the move is still wanted; notes how far it is.
    fn goes_on(&self, key: &PartitionKey, id: u64, bytes: u64) -> bool {
        let mut moves = self.moves();
        let stopping = moves.stopping;
        match moves.wanted.get_mut(key) {
            Some(wanted) if wanted.id == id && !stopping => {
                wanted.size_bytes += bytes;
                true
            }
            _ => false,
        }
    }

    /// False when the move was called off.
    fn move_partition(&self, key: &PartitionKey, id: u64, to: usize) -> Result<bool, StorageError> {
        let Some(partition) = self.registry.partition(&key.0, key.1) else {
            return Ok(false);
        };
        let Some(from) = self.placed().get(key).copied().filter(|from| *from != to) else {
            return Ok(false);
        };
        let future = self.dirs[to].dir.future_path(&key.0, key.1, self.env.uuid());
        let moved = self.copy_and_swap(key, &partition, Route { id, from, to }, &future);
        if !matches!(moved, Ok(true)) {
            remove_copy(&**self.dirs[to].dir.fs(), &future)?;
        }
        moved
    }

    fn copy_and_swap(
        &self,
        key: &PartitionKey,
        partition: &Arc<Partition>,
        route: Route,
        future: &Path,
    ) -> Result<bool, StorageError> {
        let Route { id, from, to } = route;
        let source = self.dirs[from].dir.partition_path(&key.0, key.1);
        let mut copy = LogCopy::begin(Arc::clone(self.dirs[to].dir.fs()), source, future.to_path_buf())?;
        for roll in 0..=MAX_ROLLS {
            let active_base_offset = partition.active_base_offset();
            let mut go_on = |bytes: usize| self.goes_on(key, id, bytes as u64);
            if !copy.copy_sealed(active_base_offset, &mut go_on)? {
                return Ok(false);
            }
            if let Some(wanted) = self.moves().wanted.get_mut(key).filter(|wanted| wanted.id == id) {
                wanted.end_offset = active_base_offset;
            }
            if partition.active_size_bytes() <= LAST_BYTES {
                break;
            }
            if roll == MAX_ROLLS {
                if partition.active_size_bytes() > MOST_LAST_BYTES {
                    tracing::warn!(
                        topic = key.0,
                        partition = key.1,
                        "not moved: it is written faster than it is copied"
                    );
                    return Ok(false);
                }
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
            if *closed || !is_same || !self.goes_on(key, id, 0) {
                return Ok(false);
            }
            self.swap(key, partition, route, copy, future)?
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
        route: Route,
        copy: LogCopy,
        future: &Path,
    ) -> Result<Option<PathBuf>, StorageError> {
        let Some(log) = partition.resign() else {
            return Ok(None);
        };
        let marks = partition.watermarks();
        let mut past = PartitionPast {
            recovery_point: partition.recovery_point(),
            log_start_offset: marks.log_start_offset,
            high_watermark: marks.high_watermark,
        };
        let closed = log.close();
        let is_clean = closed.is_ok();
        let renamed = match closed {
            Ok(end_offset) => {
                past.recovery_point = end_offset;
                self.promote(key, route, copy, future, past)
            }
            Err(error) => {
                if !error.is_passing() {
                    // at once: nobody may open the log again over pages of which nobody knows whether the disk has them
                    self.dirs[route.from].dir.mark_offline();
                }
                Err(error)
            }
        };
        if renamed.is_err() {
            self.dirs[route.from].past().insert(key, past);
        }
        // before anything is written to the log: what the checkpoints say must be of the directory that is used
        self.checkpoint();
        self.put_into_use(key, is_clean);
        renamed.map(Some)
    }

    /// Makes the copy of a closed log the one that counts: it gets its name, then the checkpoints that speak for it, then
    /// the original loses its name. Whatever fails, the original counts again.
    fn promote(
        &self,
        key: &PartitionKey,
        route: Route,
        copy: LogCopy,
        future: &Path,
        past: PartitionPast,
    ) -> Result<PathBuf, StorageError> {
        copy.finish()?;
        let (source, target) = (&self.dirs[route.from], &self.dirs[route.to]);
        let promoted = target.dir.promote_future(future, &key.0, key.1).and_then(|()| {
            target.past().insert(key, past);
            self.placed().insert(key.clone(), route.to);
            // what DeleteRecords promised must be known here before the other directory is forgotten
            self.write_checkpoints(route.to, target)?;
            source.dir.rename_for_delete(&key.0, key.1, self.env.uuid())
        });
        promoted.inspect_err(|_| {
            target.past().remove(key);
            self.placed().insert(key.clone(), route.from);
            // the original goes on being written: the copy must not be found at the next start
            let _gone_or_never_named = target.dir.rename_for_delete(&key.0, key.1, self.env.uuid());
        })
    }

    /// Opens the partition where it lies now and puts it in the place of the one that resigned.
    fn put_into_use(&self, key: &PartitionKey, was_closed: bool) {
        let image = self.latest();
        let Some((topic, hosted)) = image.topic(&key.0).zip(self.registry.topic(&key.0)) else {
            return;
        };
        let index = usize::try_from(key.1).expect("a hosted partition has a valid index");
        let mut hosted = (*hosted).clone();
        hosted.partitions[index] = self.open_partition(topic, index, &image, Some(was_closed));
        self.registry.insert(hosted);
    }
}
