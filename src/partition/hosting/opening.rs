//! Opens partitions: finds or chooses their directory, recovers the log, takes the leadership.
//!
//! Invariant: a partition whose log cannot be opened is reported by name and stays offline, the others are served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;

use protocol::types::PartitionIndex;
use storage::error::StorageError;
use storage::log::open::{OpenLog, OpenedLog, open_log};

use super::{Inner, OpenedPartitions, PartitionKey};
use crate::metadata::image::MetadataImage;
use crate::metadata::image::topics::TopicImage;
use crate::partition::partition::{Leadership, Partition, PartitionName};
use crate::partition::registry::HostedTopic;

impl Inner {
    /// Opens the partitions of new topics, several at a time when there are many (a start).
    pub(super) fn open_topics(&self, topics: &[Arc<TopicImage>], image: &MetadataImage) {
        let wanted: Vec<_> = topics
            .iter()
            .flat_map(|topic| (0..topic.partitions.len()).map(move |index| (topic, index)))
            .filter(|(topic, index)| topic.partitions[*index].replicas.contains(&self.node_id))
            .collect();
        let threads =
            usize::try_from(self.config.load().num_recovery_threads_per_data_dir).unwrap_or(1) * self.dirs.len();
        let opened: Mutex<OpenedPartitions> = Mutex::new(BTreeMap::new());
        let share = wanted.len().div_ceil(threads).max(16);
        thread::scope(|scope| {
            let open_share = |share: &[(&Arc<TopicImage>, usize)]| {
                for (topic, index) in share {
                    if let Some(partition) = self.open_partition(topic, *index, image, None) {
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

    pub(super) fn open_partition(
        &self,
        topic: &TopicImage,
        index: usize,
        image: &MetadataImage,
        was_closed: Option<bool>,
    ) -> Option<Arc<Partition>> {
        let opened = self.try_open(topic, index, image, was_closed);
        if let Err(error) = &opened {
            tracing::error!(topic = %topic.name, partition = index, %error, "the partition stays offline");
        }
        opened.ok()
    }

    /// `was_closed`: whether the log was closed in order, where that is known better than by how the last process ended.
    fn try_open(
        &self,
        topic: &TopicImage,
        index: usize,
        image: &MetadataImage,
        was_closed: Option<bool>,
    ) -> Result<Arc<Partition>, StorageError> {
        let partition_index = PartitionIndex::try_from(index).expect("partition counts are int32 on the wire");
        let key = (topic.name.to_string(), partition_index);
        let is_new = !self.placed().contains_key(&key);
        let place = self.place(&key);
        let hosted = &self.dirs[place];
        hosted.dir.check_online()?;
        if is_new && hosted.written().would_mislead(&key) {
            // of a deleted topic of this name: believed at the start after next, it would take records away
            hosted.past().remove(&key);
            self.write_checkpoints(place, hosted)?;
        }
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
            clean_shutdown: was_closed.unwrap_or(hosted.clean_shutdown),
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
            replicas: &image.replicas,
            isr: &image.isr,
        };
        let partition = Partition::lead(name, writer, reader, leadership, settings)?;
        hosted.past().remove(&key);
        Ok(partition)
    }

    /// The directory that holds the partition; of a new one the directory that was named for it, or that with the fewest
    /// partitions among those in use.
    pub(super) fn place(&self, key: &PartitionKey) -> usize {
        let preferred = self.preferred_dir(key);
        let mut placed = self.placed();
        if let Some(dir) = placed.get(key) {
            return *dir;
        }
        let chosen = preferred.unwrap_or_else(|| {
            let mut counts = vec![0_usize; self.dirs.len()];
            if counts.len() > 1 {
                for dir in placed.values() {
                    counts[*dir] += 1;
                }
            }
            let rank = |dir: &usize| {
                let dir_in_use = &self.dirs[*dir].dir;
                let unfit = dir_in_use.check_online().is_err() || self.is_cordoned(&self.dirs[*dir].path);
                (unfit, counts[*dir])
            };
            (0..counts.len()).min_by_key(rank).expect("there is a log directory")
        });
        placed.insert(key.clone(), chosen);
        chosen
    }
}
