//! Opens, changes and removes the partitions of this broker as the metadata says.
//!
//! Invariants: a partition whose log cannot be opened is reported by name and stays offline, the others are served; a
//! directory that the metadata does not know is set aside as stray, never deleted; a deleted topic's directories are
//! renamed before the deletion is answered, their bytes go afterwards; what a directory's checkpoints said of a partition
//! stays in them until that partition is opened or deleted; a stop is marked as clean only where every partition that
//! lies in the directory was open and is closed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use protocol::types::{Offset, PartitionIndex};
use storage::checkpoint::{
    LOG_START_OFFSET_CHECKPOINT, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT,
    read_offset_checkpoint, write_offset_checkpoint,
};
use storage::dir::LogDir;
use storage::dir::partition_dir::{PartitionDir, PartitionDirKind, read_partition_metadata};
use storage::error::StorageError;
use storage::flush::Flusher;
use storage::log::open::{OpenLog, OpenedLog, open_log};

use crate::config::broker::BrokerConfig;
use crate::config::topic::resolve_topic;
use crate::env::Env;
use crate::metadata::command::ConfigResource;
use crate::metadata::delta::MetadataDelta;
use crate::metadata::image::MetadataImage;
use crate::metadata::image::topics::TopicImage;
use crate::metadata::publisher::{ImageListener, ListenerFuture};
use crate::partition::partition::{Leadership, Partition, PartitionName};
use crate::partition::registry::{HostedTopic, PartitionRegistry};
use crate::partition::settings::PartitionSettings;

/// One log directory.
#[derive(Debug)]
struct HostedDir {
    dir: Arc<LogDir>,
    flusher: Flusher,
    clean_shutdown: bool,
    /// What the checkpoints said at the start of partitions that are not open yet.
    past: Mutex<Checkpoints>,
    /// What the checkpoints on the disk say.
    written: Mutex<Checkpoints>,
}

/// The three offset checkpoints of a directory.
#[derive(Debug, Clone, Default)]
struct Checkpoints {
    recovery_points: OffsetCheckpoint,
    log_start_offsets: OffsetCheckpoint,
    high_watermarks: OffsetCheckpoint,
}

/// Partitions that were opened together, by topic name and index.
type OpenedPartitions = BTreeMap<(Arc<str>, usize), Arc<Partition>>;

/// What a partition was opened from.
type PartitionKey = (String, PartitionIndex);

#[derive(Debug)]
struct Inner {
    node_id: i32,
    env: Env,
    config: Arc<BrokerConfig>,
    registry: Arc<PartitionRegistry>,
    dirs: Vec<HostedDir>,
    /// Which directory holds which partition.
    placed: Mutex<BTreeMap<PartitionKey, usize>>,
    /// Held while partitions are opened, removed, checkpointed or closed; true once everything was closed.
    closed: Mutex<bool>,
}

/// The partitions of this broker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hosting {
    inner: Arc<Inner>,
}

impl Hosting {
    /// Takes the opened log directories, each with whether its last stop was clean; removes what was deleted before the last stop and sets strays aside.
    ///
    /// # Errors
    /// When a directory cannot be listed, or its flusher not be started.
    pub fn new(
        env: Env,
        config: Arc<BrokerConfig>,
        registry: Arc<PartitionRegistry>,
        dirs: Vec<(LogDir, bool)>,
        image: &MetadataImage,
    ) -> Result<Self, StorageError> {
        let mut placed = BTreeMap::new();
        let mut hosted = Vec::with_capacity(dirs.len());
        for (index, (dir, clean_shutdown)) in dirs.into_iter().enumerate() {
            let removed = dir.remove_deleted()?;
            if removed > 0 {
                tracing::info!(dir = %dir.path().display(), removed, "removed directories of deleted partitions");
            }
            set_strays_aside(&dir, image, &env, &mut placed, index)?;
            hosted.push(HostedDir::open(dir, clean_shutdown, &registry)?);
        }
        let node_id = config.resolved.node_id;
        let placed = Mutex::new(placed);
        Ok(Self {
            inner: Arc::new(Inner {
                node_id,
                env,
                config,
                registry,
                dirs: hosted,
                placed,
                closed: Mutex::new(false),
            }),
        })
    }

    /// Forgets expired producers and writes the checkpoints, so that a restart after a kill scans only what came later.
    pub fn checkpoint(&self) {
        let closed = self.inner.working();
        if !*closed {
            let now = self.inner.env.now();
            for topic in self.inner.registry.topics() {
                for partition in topic.partitions.iter().flatten() {
                    partition.remove_expired_producers(now);
                }
            }
            self.inner.checkpoint();
        }
    }

    /// Closes every log and marks the stop as clean, where that succeeded for all logs of a directory.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl ImageListener for Hosting {
    fn on_image<'a>(&'a self, old: &'a Arc<MetadataImage>, new: &'a Arc<MetadataImage>) -> ListenerFuture<'a> {
        let (inner, old, new) = (Arc::clone(&self.inner), Arc::clone(old), Arc::clone(new));
        Box::pin(async move {
            let working = Arc::clone(&inner);
            let applied = tokio::task::spawn_blocking(move || working.apply(&old, &new)).await;
            let renamed = applied.expect("opening and removing partitions does not panic");
            if !renamed.is_empty() {
                // not waited for: a start removes what a stop leaves behind
                tokio::task::spawn_blocking(move || inner.remove(renamed));
            }
        })
    }
}

impl HostedDir {
    fn open(dir: LogDir, clean_shutdown: bool, registry: &Arc<PartitionRegistry>) -> Result<Self, StorageError> {
        let dir = Arc::new(dir);
        let on_failure = {
            let (dir, registry) = (Arc::clone(&dir), Arc::clone(registry));
            Arc::new(move |log: &Path, error: &StorageError| {
                tracing::error!(log = %log.display(), %error, "a log went offline");
                dir.mark_offline();
                end_waits_of(&registry, log);
            })
        };
        let flusher =
            Flusher::start(on_failure).map_err(|error| StorageError::io("start a thread for", dir.path(), error))?;
        let read = |name: &str| {
            let path = dir.path().join(name);
            // without a checkpoint more is scanned, nothing is lost
            read_offset_checkpoint(&**dir.fs(), &path).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "checkpoint ignored");
                OffsetCheckpoint::new()
            })
        };
        let past = Checkpoints {
            recovery_points: read(RECOVERY_POINT_CHECKPOINT),
            log_start_offsets: read(LOG_START_OFFSET_CHECKPOINT),
            high_watermarks: read(REPLICATION_OFFSET_CHECKPOINT),
        };
        Ok(Self {
            dir,
            flusher,
            clean_shutdown,
            written: Mutex::new(past.clone()),
            past: Mutex::new(past),
        })
    }

    fn past(&self) -> MutexGuard<'_, Checkpoints> {
        self.past.lock().expect("looking at the past does not panic")
    }

    fn written(&self) -> MutexGuard<'_, Checkpoints> {
        self.written.lock().expect("looking at checkpoints does not panic")
    }
}

/// What the checkpoints say of one partition; 0 where they say nothing.
#[derive(Debug, Clone, Copy)]
struct PartitionPast {
    recovery_point: Offset,
    log_start_offset: Offset,
    high_watermark: Offset,
}

impl Checkpoints {
    fn of(&self, key: &PartitionKey) -> PartitionPast {
        let offset = |checkpoint: &OffsetCheckpoint| checkpoint.get(key).copied().unwrap_or(0);
        PartitionPast {
            recovery_point: offset(&self.recovery_points),
            log_start_offset: offset(&self.log_start_offsets),
            high_watermark: offset(&self.high_watermarks),
        }
    }

    fn remove(&mut self, key: &PartitionKey) {
        self.recovery_points.remove(key);
        self.log_start_offsets.remove(key);
        self.high_watermarks.remove(key);
    }

    /// Whether a log made anew under this name could be taken for one with a past.
    fn would_mislead(&self, key: &PartitionKey) -> bool {
        let offset = |checkpoint: &OffsetCheckpoint| checkpoint.get(key).copied().unwrap_or(0);
        offset(&self.recovery_points) > 0 || offset(&self.log_start_offsets) > 0
    }
}

/// Lets everybody who waits for the partition in this directory look again: its log takes no more writes.
fn end_waits_of(registry: &PartitionRegistry, log: &Path) {
    let found = log.file_name().and_then(|name| PartitionDir::parse(name.to_str()?));
    if let Some(found) = found
        && let Some(partition) = registry.partition(&found.topic, found.partition)
    {
        partition.end_waits();
    }
}

impl Inner {
    fn placed(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, usize>> {
        self.placed.lock().expect("placing does not panic")
    }

    /// Held by whoever works on the partitions as a whole; true once they are closed.
    fn working(&self) -> MutexGuard<'_, bool> {
        self.closed.lock().expect("work on partitions does not panic")
    }

    /// Does what leads from one image to the next. Returns the directories that are to be removed.
    fn apply(&self, old: &MetadataImage, new: &MetadataImage) -> Vec<(usize, PathBuf)> {
        let closed = self.working();
        if *closed {
            return Vec::new();
        }
        let delta = MetadataDelta::between(old, new);
        let mut renamed = Vec::new();
        let mut misleading = false;
        for topic in &delta.deleted_topics {
            misleading |= self.delete_topic(topic, &mut renamed);
        }
        if misleading {
            // before a topic of the same name can be made and written to
            self.checkpoint();
        }
        self.open_topics(&delta.created_topics, new);
        for (_, after) in &delta.changed_topics {
            self.change_topic(after, new);
        }
        for resource in &delta.changed_configs {
            if let ConfigResource::Topic(name) = resource {
                self.change_settings(name, new);
            }
        }
        renamed
    }

    fn remove(&self, renamed: Vec<(usize, PathBuf)>) {
        for (dir, path) in renamed {
            if *self.working() {
                return;
            }
            if let Err(error) = self.dirs[dir].dir.remove_dir(&path) {
                tracing::error!(path = %path.display(), %error, "cannot remove a deleted partition");
            }
        }
    }

    fn checkpoint(&self) {
        for (index, hosted) in self.dirs.iter().enumerate() {
            if let Err(error) = self.write_checkpoints(index, hosted) {
                tracing::error!(dir = %hosted.dir.path().display(), %error, "cannot write the checkpoints");
            }
        }
    }

    fn settings(&self, topic: &str, image: &MetadataImage) -> Arc<PartitionSettings> {
        let resolved = resolve_topic(image.topic_configs(topic), &self.config);
        let max_decompressed = self.config.monedula_record_decompressed_max_bytes;
        Arc::new(PartitionSettings {
            log: Arc::new(resolved.log),
            min_insync_replicas: usize::try_from(resolved.min_insync_replicas).unwrap_or(1),
            full_validation: self.config.monedula_record_validation == "full",
            max_decompressed_bytes: usize::try_from(max_decompressed).unwrap_or(usize::MAX),
        })
    }

    /// Opens the partitions of new topics, several at a time when there are many (a start).
    fn open_topics(&self, topics: &[Arc<TopicImage>], image: &MetadataImage) {
        let wanted: Vec<_> = topics
            .iter()
            .flat_map(|topic| (0..topic.partitions.len()).map(move |index| (topic, index)))
            .filter(|(topic, index)| topic.partitions[*index].replicas.contains(&self.node_id))
            .collect();
        let threads = usize::try_from(self.config.num_recovery_threads_per_data_dir).unwrap_or(1) * self.dirs.len();
        let opened: Mutex<OpenedPartitions> = Mutex::new(BTreeMap::new());
        let share = wanted.len().div_ceil(threads).max(16);
        thread::scope(|scope| {
            let open_share = |share: &[(&Arc<TopicImage>, usize)]| {
                for (topic, index) in share {
                    if let Some(partition) = self.open_partition(topic, *index, image) {
                        let mut opened = opened.lock().expect("opening does not panic");
                        opened.insert((Arc::clone(&topic.name), *index), partition);
                    }
                }
            };
            let mut shares = wanted.chunks(share);
            let first = shares.next();
            for share in shares {
                scope.spawn(move || open_share(share));
            }
            if let Some(first) = first {
                open_share(first);
            }
        });
        let mut opened = opened.into_inner().expect("opening does not panic");
        for topic in topics {
            let take = |index| opened.remove(&(Arc::clone(&topic.name), index));
            let partitions = (0..topic.partitions.len()).map(take).collect();
            self.registry.insert(HostedTopic {
                name: Arc::clone(&topic.name),
                topic_id: topic.id,
                internal: topic.internal,
                partitions,
            });
        }
    }

    fn open_partition(&self, topic: &TopicImage, index: usize, image: &MetadataImage) -> Option<Arc<Partition>> {
        let opened = self.try_open(topic, index, image);
        if let Err(error) = &opened {
            tracing::error!(topic = %topic.name, partition = index, %error, "the partition stays offline");
        }
        opened.ok()
    }

    fn try_open(
        &self,
        topic: &TopicImage,
        index: usize,
        image: &MetadataImage,
    ) -> Result<Arc<Partition>, StorageError> {
        let partition_index = PartitionIndex::try_from(index).expect("partition counts are int32 on the wire");
        let key = (topic.name.to_string(), partition_index);
        let hosted = &self.dirs[self.place(&key)];
        hosted.dir.check_online()?;
        let settings = self.settings(&topic.name, image);
        let past = hosted.past().of(&key);
        let OpenedLog {
            writer,
            reader,
            report: _,
        } = open_log(OpenLog {
            fs: self.env.fs(),
            dir: hosted.dir.partition_path(&topic.name, partition_index),
            topic: topic.name.to_string(),
            partition: partition_index,
            topic_id: topic.id,
            config: Arc::clone(&settings.log),
            clean_shutdown: hosted.clean_shutdown,
            recovery_point: past.recovery_point,
            log_start_offset: past.log_start_offset,
            high_watermark: past.high_watermark,
            flusher: hosted.flusher.handle(),
            now: self.env.now(),
        })?;
        let image = &topic.partitions[index];
        let name = PartitionName {
            topic: Arc::clone(&topic.name),
            topic_id: topic.id,
            index: partition_index,
        };
        let leadership = Leadership {
            node_id: self.node_id,
            leader_epoch: image.leader_epoch,
            isr: &image.isr,
        };
        let partition = Partition::lead(name, writer, reader, leadership, settings)?;
        hosted.past().remove(&key);
        Ok(partition)
    }

    /// The directory that holds the partition, or the one with the fewest partitions.
    fn place(&self, key: &PartitionKey) -> usize {
        let mut placed = self.placed();
        if let Some(dir) = placed.get(key) {
            return *dir;
        }
        let mut counts = vec![0_usize; self.dirs.len()];
        for dir in placed.values() {
            counts[*dir] += 1;
        }
        let fewest = (0..counts.len())
            .min_by_key(|dir| counts[*dir])
            .expect("there is a log directory");
        placed.insert(key.clone(), fewest);
        fewest
    }

    /// New partitions are opened, the others learn their leader epoch.
    fn change_topic(&self, topic: &TopicImage, image: &MetadataImage) {
        let known = self.registry.topic_by_id(&topic.id);
        let partitions = topic.partitions.iter().enumerate().map(|(index, partition_image)| {
            let known = known
                .as_ref()
                .and_then(|known| known.partitions.get(index).cloned().flatten());
            let Some(partition) = known else {
                return self.open_partition(topic, index, image);
            };
            let leadership = Leadership {
                node_id: self.node_id,
                leader_epoch: partition_image.leader_epoch,
                isr: &partition_image.isr,
            };
            if let Err(error) = partition.set_leadership(leadership) {
                // kept: it refuses by itself, and a stop must not count as clean
                tracing::error!(topic = %topic.name, partition = index, %error, "cannot record the leader epoch");
            }
            Some(partition)
        });
        self.registry.insert(HostedTopic {
            name: Arc::clone(&topic.name),
            topic_id: topic.id,
            internal: topic.internal,
            partitions: partitions.collect(),
        });
    }

    fn change_settings(&self, topic: &str, image: &MetadataImage) {
        let Some(hosted) = self.registry.topic(topic) else {
            return;
        };
        let settings = self.settings(topic, image);
        for partition in hosted.partitions.iter().flatten() {
            partition.set_settings(Arc::clone(&settings));
        }
    }

    /// Ends the partitions of a topic and renames their directories. True when the checkpoints on the disk speak of them
    /// in a way that a topic made anew must not inherit.
    fn delete_topic(&self, topic: &TopicImage, renamed: &mut Vec<(usize, PathBuf)>) -> bool {
        let hosted = self.registry.remove(&topic.name, &topic.id);
        let mut misleading = false;
        for index in 0..topic.partitions.len() {
            let partition = hosted
                .as_ref()
                .and_then(|hosted| hosted.partitions.get(index).cloned().flatten());
            if let Some(log) = partition.and_then(|partition| partition.resign()) {
                log.discard();
            }
            let index = PartitionIndex::try_from(index).expect("partition counts are int32 on the wire");
            let key = (topic.name.to_string(), index);
            let Some(dir) = self.placed().remove(&key) else {
                continue;
            };
            let hosted = &self.dirs[dir];
            hosted.past().remove(&key);
            misleading |= hosted.written().would_mislead(&key);
            match hosted.dir.rename_for_delete(&topic.name, index, self.env.uuid()) {
                Ok(path) => renamed.push((dir, path)),
                Err(error) => {
                    tracing::error!(topic = %topic.name, partition = index, %error, "cannot rename a deleted partition");
                }
            }
        }
        misleading
    }

    /// What is to be written: the past of what is not open, the present of what is.
    fn checkpoints_of(&self, index: usize, hosted: &HostedDir) -> Checkpoints {
        let placed = self.placed().clone();
        let is_here = |key: &PartitionKey| placed.get(key) == Some(&index);
        let mut now = hosted.past().clone();
        now.recovery_points.retain(|key, _| is_here(key));
        now.log_start_offsets.retain(|key, _| is_here(key));
        now.high_watermarks.retain(|key, _| is_here(key));
        for topic in self.registry.topics() {
            for partition in topic.partitions.iter().flatten() {
                let key = (topic.name.to_string(), partition.index());
                if is_here(&key) {
                    let watermarks = partition.watermarks();
                    now.recovery_points.insert(key.clone(), partition.recovery_point());
                    now.log_start_offsets.insert(key.clone(), watermarks.log_start_offset);
                    now.high_watermarks.insert(key, watermarks.high_watermark);
                }
            }
        }
        now
    }

    fn write_checkpoints(&self, index: usize, hosted: &HostedDir) -> Result<(), StorageError> {
        let now = self.checkpoints_of(index, hosted);
        let path = |name: &str| hosted.dir.path().join(name);
        let fs = &**hosted.dir.fs();
        write_offset_checkpoint(fs, &path(LOG_START_OFFSET_CHECKPOINT), &now.log_start_offsets)?;
        write_offset_checkpoint(fs, &path(REPLICATION_OFFSET_CHECKPOINT), &now.high_watermarks)?;
        write_offset_checkpoint(fs, &path(RECOVERY_POINT_CHECKPOINT), &now.recovery_points)?;
        *hosted.written() = now;
        Ok(())
    }

    fn close(&self) {
        let mut closed = self.working();
        *closed = true;
        let mut unclosed = self.placed().clone();
        for topic in self.registry.topics() {
            for partition in topic.partitions.iter().flatten() {
                let Some(log) = partition.resign() else { continue };
                match log.close() {
                    Ok(_) => _ = unclosed.remove(&(topic.name.to_string(), partition.index())),
                    Err(error) => {
                        tracing::error!(topic = %topic.name, partition = partition.index(), %error, "not closed cleanly");
                    }
                }
            }
        }
        for (index, hosted) in self.dirs.iter().enumerate() {
            let is_clean = !unclosed.values().any(|dir| *dir == index);
            let marked = self.write_checkpoints(index, hosted).and_then(|()| {
                if is_clean {
                    hosted.dir.mark_clean_shutdown(-1)
                } else {
                    Ok(())
                }
            });
            if let Err(error) = marked {
                tracing::error!(dir = %hosted.dir.path().display(), %error, "the stop is not marked as clean");
            }
        }
    }
}

/// Notes where each partition lies; sets aside what the metadata does not know (a topic deleted while the process was
/// killed, or a foreign directory).
fn set_strays_aside(
    dir: &LogDir,
    image: &MetadataImage,
    env: &Env,
    placed: &mut BTreeMap<PartitionKey, usize>,
    index: usize,
) -> Result<(), StorageError> {
    for found in dir.partition_dirs()? {
        // the metadata log is no partition of a topic
        if found.kind != PartitionDirKind::Live || found.topic == "__cluster_metadata" {
            continue;
        }
        let path = dir.path().join(&found.name);
        let topic = image
            .topic(&found.topic)
            .filter(|topic| topic.partition(found.partition).is_some());
        let topic_id = read_partition_metadata(&**dir.fs(), &path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "partition.metadata ignored");
            None
        });
        let ours = topic.is_some_and(|topic| topic_id.is_none_or(|id| id == topic.id));
        if ours {
            placed.insert((found.topic, found.partition), index);
        } else {
            let renamed = dir.rename_as_stray(&found.topic, found.partition, env.uuid())?;
            tracing::warn!(from = %path.display(), to = %renamed.display(), "no such partition in the metadata: set aside");
        }
    }
    Ok(())
}
