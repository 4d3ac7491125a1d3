//! Opens, changes and removes the partitions of this broker as the metadata says.
//!
//! Invariants: a partition whose log cannot be opened is reported by name and stays offline, the others are served; a
//! directory that the metadata does not know is set aside as stray, never deleted; a deleted topic's directories are
//! renamed before the deletion is answered, their bytes go afterwards; every log is closed before the clean-stop mark is
//! written.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use protocol::types::PartitionIndex;
use storage::checkpoint::{
    LOG_START_OFFSET_CHECKPOINT, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT,
    read_offset_checkpoint, write_offset_checkpoint,
};
use storage::dir::LogDir;
use storage::dir::partition_dir::{PartitionDirKind, read_partition_metadata};
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

/// One log directory with what its checkpoints said at the start.
#[derive(Debug)]
struct HostedDir {
    dir: LogDir,
    flusher: Flusher,
    clean_shutdown: bool,
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
            hosted.push(HostedDir::open(dir, clean_shutdown)?);
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
            }),
        })
    }

    /// Writes the checkpoints, so that a restart after a kill scans only what came later.
    pub fn checkpoint(&self) {
        for (index, hosted) in self.inner.dirs.iter().enumerate() {
            if let Err(error) = self.inner.write_checkpoints(index, hosted) {
                tracing::error!(dir = %hosted.dir.path().display(), %error, "cannot write the checkpoints");
            }
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
            let applied = tokio::task::spawn_blocking(move || inner.apply(&old, &new)).await;
            applied.expect("opening and removing partitions does not panic");
        })
    }
}

impl HostedDir {
    fn open(dir: LogDir, clean_shutdown: bool) -> Result<Self, StorageError> {
        let on_failure = {
            let path = dir.path().to_path_buf();
            Arc::new(move |log: &Path, error: &StorageError| {
                tracing::error!(dir = %path.display(), log = %log.display(), %error, "a log went offline");
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
        let recovery_points = read(RECOVERY_POINT_CHECKPOINT);
        let log_start_offsets = read(LOG_START_OFFSET_CHECKPOINT);
        let high_watermarks = read(REPLICATION_OFFSET_CHECKPOINT);
        Ok(Self {
            dir,
            flusher,
            clean_shutdown,
            recovery_points,
            log_start_offsets,
            high_watermarks,
        })
    }
}

impl Inner {
    fn placed(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, usize>> {
        self.placed.lock().expect("placing does not panic")
    }

    fn apply(&self, old: &MetadataImage, new: &MetadataImage) {
        let delta = MetadataDelta::between(old, new);
        for topic in &delta.deleted_topics {
            self.delete_topic(topic);
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
        let offset = |checkpoint: &OffsetCheckpoint| checkpoint.get(&key).copied().unwrap_or(0);
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
            recovery_point: offset(&hosted.recovery_points),
            log_start_offset: offset(&hosted.log_start_offsets),
            high_watermark: offset(&hosted.high_watermarks),
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
        Partition::lead(name, writer, reader, leadership, settings)
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
                tracing::error!(topic = %topic.name, partition = index, %error, "cannot record the leader epoch");
                return None;
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

    fn delete_topic(&self, topic: &TopicImage) {
        let hosted = self.registry.remove(&topic.name, &topic.id);
        let indexes = 0..topic.partitions.len();
        for index in indexes {
            let partition = hosted
                .as_ref()
                .and_then(|hosted| hosted.partitions.get(index).cloned().flatten());
            if let Some(log) = partition.and_then(|partition| partition.resign()) {
                log.discard();
            }
            let index = PartitionIndex::try_from(index).expect("partition counts are int32 on the wire");
            let Some(dir) = self.placed().remove(&(topic.name.to_string(), index)) else {
                continue;
            };
            let dir = &self.dirs[dir].dir;
            let removed = dir
                .rename_for_delete(&topic.name, index, self.env.uuid())
                .and_then(|renamed| dir.remove_dir(&renamed));
            if let Err(error) = removed {
                tracing::error!(topic = %topic.name, partition = index, %error, "cannot remove a deleted partition");
            }
        }
    }

    fn write_checkpoints(&self, index: usize, hosted: &HostedDir) -> Result<(), StorageError> {
        let (mut recovery_points, mut starts, mut marks) = (
            OffsetCheckpoint::new(),
            OffsetCheckpoint::new(),
            OffsetCheckpoint::new(),
        );
        let placed = self.placed().clone();
        for topic in self.registry.topics() {
            for partition in topic.partitions.iter().flatten() {
                let key = (topic.name.to_string(), partition.index());
                if placed.get(&key) != Some(&index) {
                    continue;
                }
                let watermarks = partition.watermarks();
                recovery_points.insert(key.clone(), partition.recovery_point());
                starts.insert(key.clone(), watermarks.log_start_offset);
                marks.insert(key, watermarks.high_watermark);
            }
        }
        let path = |name: &str| hosted.dir.path().join(name);
        let fs = &**hosted.dir.fs();
        write_offset_checkpoint(fs, &path(LOG_START_OFFSET_CHECKPOINT), &starts)?;
        write_offset_checkpoint(fs, &path(REPLICATION_OFFSET_CHECKPOINT), &marks)?;
        write_offset_checkpoint(fs, &path(RECOVERY_POINT_CHECKPOINT), &recovery_points)
    }

    fn close(&self) {
        let mut failed = vec![false; self.dirs.len()];
        let placed = self.placed().clone();
        for topic in self.registry.topics() {
            for partition in topic.partitions.iter().flatten() {
                let Some(log) = partition.resign() else { continue };
                if let Err(error) = log.close() {
                    tracing::error!(topic = %topic.name, partition = partition.index(), %error, "not closed cleanly");
                    if let Some(dir) = placed.get(&(topic.name.to_string(), partition.index())) {
                        failed[*dir] = true;
                    }
                }
            }
        }
        for (index, hosted) in self.dirs.iter().enumerate() {
            let marked = self.write_checkpoints(index, hosted).and_then(|()| {
                if failed[index] {
                    Ok(())
                } else {
                    hosted.dir.mark_clean_shutdown(-1)
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
