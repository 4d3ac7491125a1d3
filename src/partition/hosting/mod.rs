//! Opens, changes and removes the partitions of this broker as the metadata says.
//!
//! Invariants: a partition whose log cannot be opened is reported by name and stays offline, the others are served; a
//! directory that the metadata does not know is set aside as stray, never deleted; a deleted topic's directories are
//! renamed before the deletion is answered, their bytes go afterwards; what a directory's checkpoints said of a partition
//! stays in them until that partition is opened or deleted; a stop is marked as clean only where every partition that
//! lies in the directory was open and is closed.

mod checkpoints;
mod dirs;
pub mod moves;
mod opening;
pub mod retention;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use protocol::types::PartitionIndex;
use storage::dir::LogDir;
use storage::error::StorageError;
use storage::log::removal::DeletedFiles;
use tokio::sync::Semaphore;

use self::dirs::{HostedDir, remove_futures, set_strays_aside};
use self::moves::Moves;
use crate::config::broker::BrokerConfig;
use crate::config::live::LiveConfig;
use crate::config::remarks;
use crate::config::topic::resolve_topic;
use crate::env::Env;
use crate::metadata::command::ConfigResource;
use crate::metadata::delta::MetadataDelta;
use crate::metadata::image::MetadataImage;
use crate::metadata::image::topics::TopicImage;
use crate::metadata::publisher::{ImageListener, ListenerFuture};
use crate::metadata::topic_name;
use crate::partition::partition::{Leadership, Partition};
use crate::partition::registry::{HostedTopic, PartitionRegistry};
use crate::partition::settings::PartitionSettings;

/// Descriptions of all log directories at a time; further ones wait, on no thread.
const DESCRIPTIONS: usize = 2;

/// Partitions that were opened together, by topic name and index.
type OpenedPartitions = BTreeMap<(Arc<str>, usize), Arc<Partition>>;

/// What a partition was opened from.
type PartitionKey = (String, PartitionIndex);

#[derive(Debug)]
struct Inner {
    node_id: i32,
    env: Env,
    config: Arc<LiveConfig>,
    /// The configuration that the settings of the open partitions were made from.
    resolved_from: Mutex<Arc<BrokerConfig>>,
    registry: Arc<PartitionRegistry>,
    dirs: Vec<HostedDir>,
    /// Which directory holds which partition.
    placed: Mutex<BTreeMap<PartitionKey, usize>>,
    /// Partitions on their way from one directory to another.
    moves: Mutex<Moves>,
    /// Looks at all partitions that go on at a time.
    describing: Semaphore,
    /// Moves that the last stop cut off, until the partitions are open.
    cut_off: Mutex<Vec<(PartitionKey, usize)>>,
    /// The image that was applied last.
    latest: Mutex<Arc<MetadataImage>>,
    /// Files of removed segments that are still to vanish.
    deleted: Mutex<DeletedFiles>,
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
        config: Arc<LiveConfig>,
        registry: Arc<PartitionRegistry>,
        dirs: Vec<(LogDir, bool)>,
        image: &MetadataImage,
    ) -> Result<Self, StorageError> {
        let mut placed = BTreeMap::new();
        let mut cut_off = Vec::new();
        let mut hosted = Vec::with_capacity(dirs.len());
        for (index, (dir, clean_shutdown)) in dirs.into_iter().enumerate() {
            let removed = dir.remove_deleted()?;
            if removed > 0 {
                tracing::info!(dir = %dir.path().display(), removed, "removed directories of deleted partitions");
            }
            cut_off.extend(remove_futures(&dir)?.into_iter().map(|key| (key, index)));
            hosted.push(HostedDir::open(dir, clean_shutdown, &registry)?);
            set_strays_aside(&hosted, image, &env, &mut placed)?;
        }
        let node_id = config.at_start().resolved.node_id;
        let placed = Mutex::new(placed);
        Ok(Self {
            inner: Arc::new(Inner {
                node_id,
                env,
                resolved_from: Mutex::new(config.current()),
                config,
                registry,
                dirs: hosted,
                placed,
                moves: Mutex::new(Moves::default()),
                describing: Semaphore::new(DESCRIPTIONS),
                cut_off: Mutex::new(cut_off),
                latest: Mutex::new(Arc::new(MetadataImage::default())),
                deleted: Mutex::new(DeletedFiles::default()),
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
        self.inner.end_moves();
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
            inner.take_up_moves();
            if !renamed.is_empty() {
                // not waited for: a start removes what a stop leaves behind
                tokio::task::spawn_blocking(move || inner.remove(renamed));
            }
        })
    }
}

impl Inner {
    fn placed(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, usize>> {
        self.placed.lock().expect("placing does not panic")
    }

    fn latest(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.latest.lock().expect("noting an image does not panic"))
    }

    /// Held by whoever works on the partitions as a whole; true once they are closed.
    fn working(&self) -> MutexGuard<'_, bool> {
        self.closed.lock().expect("work on partitions does not panic")
    }

    /// Does what leads from one image to the next. Returns the directories that are to be removed.
    fn apply(&self, old: &MetadataImage, new: &Arc<MetadataImage>) -> Vec<(usize, PathBuf)> {
        let closed = self.working();
        if *closed {
            return Vec::new();
        }
        *self.latest.lock().expect("noting an image does not panic") = Arc::clone(new);
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
        if self.has_another_configuration() {
            for topic in new.topics() {
                self.change_settings(&topic.name, new);
            }
        }
        for resource in &delta.changed_configs {
            if let ConfigResource::Topic(name) = resource {
                self.change_settings(name, new);
                if !topic_name::is_internal(name) {
                    remarks::log(&self.config.remarks_on_topic(new.topic_configs(name)));
                }
            }
        }
        renamed
    }

    /// Whether the broker's configuration is not the one that the partitions go by; from now on it is.
    fn has_another_configuration(&self) -> bool {
        let mut resolved_from = self.resolved_from.lock().expect("comparing does not panic");
        let current = self.config.current();
        let is_another = !Arc::ptr_eq(&current, &resolved_from);
        *resolved_from = current;
        is_another
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

    fn settings(&self, topic: &str, image: &MetadataImage) -> Arc<PartitionSettings> {
        let config = self.config.load();
        let resolved = resolve_topic(image.topic_configs(topic), &config);
        let max_decompressed = config.monedula_record_decompressed_max_bytes;
        Arc::new(PartitionSettings {
            log: Arc::new(resolved.log),
            min_insync_replicas: usize::try_from(resolved.min_insync_replicas).unwrap_or(1),
            recompression: resolved.recompression,
            full_validation: config.is_full_record_validation(),
            transaction_verification: config.transaction_partition_verification_enable,
            max_decompressed_bytes: usize::try_from(max_decompressed).unwrap_or(usize::MAX),
        })
    }

    /// New partitions are opened, the others learn their leader epoch.
    fn change_topic(&self, topic: &TopicImage, image: &MetadataImage) {
        let known = self.registry.topic_by_id(&topic.id);
        let partitions = topic.partitions.iter().enumerate().map(|(index, partition_image)| {
            let known = known
                .as_ref()
                .and_then(|known| known.partitions.get(index).cloned().flatten());
            let Some(partition) = known else {
                return self.open_partition(topic, index, image, None);
            };
            let leadership = Leadership {
                node_id: self.node_id,
                leader_epoch: partition_image.leader_epoch,
                replicas: &partition_image.replicas,
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
            self.forget_move(&key);
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
}
