//! One log directory with its flusher and its checkpoints, and what is found in it at a start.
//!
//! Invariant: a directory of a partition that the metadata does not know is set aside, never deleted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use protocol::types::Offset;
use storage::checkpoint::{
    LOG_START_OFFSET_CHECKPOINT, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT,
    read_offset_checkpoint,
};
use storage::dir::LogDir;
use storage::dir::partition_dir::{PartitionDir, PartitionDirKind, read_partition_metadata};
use storage::error::StorageError;
use storage::flush::Flusher;
use storage::log::copy::remove_copy;

use super::PartitionKey;
use crate::env::Env;
use crate::metadata::image::MetadataImage;
use crate::partition::registry::PartitionRegistry;

/// One log directory.
#[derive(Debug)]
pub(super) struct HostedDir {
    pub(super) dir: Arc<LogDir>,
    /// Its absolute path.
    pub(super) path: String,
    pub(super) flusher: Flusher,
    pub(super) clean_shutdown: bool,
    /// What the checkpoints said at the start of partitions that are not open yet.
    pub(super) past: Mutex<Checkpoints>,
    /// What the checkpoints on the disk say.
    pub(super) written: Mutex<Checkpoints>,
    /// Held while checkpoints are written.
    pub(super) writing: Mutex<()>,
}

/// The three offset checkpoints of a directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Checkpoints {
    pub(super) recovery_points: OffsetCheckpoint,
    pub(super) log_start_offsets: OffsetCheckpoint,
    pub(super) high_watermarks: OffsetCheckpoint,
}

impl HostedDir {
    pub(super) fn open(
        dir: LogDir,
        clean_shutdown: bool,
        registry: &Arc<PartitionRegistry>,
    ) -> Result<Self, StorageError> {
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
            // without this one records would come back which somebody was told are gone
            log_start_offsets: read_offset_checkpoint(&**dir.fs(), &dir.path().join(LOG_START_OFFSET_CHECKPOINT))?,
            high_watermarks: read(REPLICATION_OFFSET_CHECKPOINT),
        };
        let path = std::path::absolute(dir.path()).unwrap_or_else(|_| dir.path().to_path_buf());
        Ok(Self {
            path: path.display().to_string(),
            dir,
            flusher,
            clean_shutdown,
            written: Mutex::new(past.clone()),
            past: Mutex::new(past),
            writing: Mutex::new(()),
        })
    }

    pub(super) fn past(&self) -> MutexGuard<'_, Checkpoints> {
        self.past.lock().expect("looking at the past does not panic")
    }

    pub(super) fn written(&self) -> MutexGuard<'_, Checkpoints> {
        self.written.lock().expect("looking at checkpoints does not panic")
    }
}

/// What the checkpoints say of one partition; 0 where they say nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartitionPast {
    pub(super) recovery_point: Offset,
    pub(super) log_start_offset: Offset,
    pub(super) high_watermark: Offset,
}

impl Checkpoints {
    pub(super) fn of(&self, key: &PartitionKey) -> PartitionPast {
        let offset = |checkpoint: &OffsetCheckpoint| checkpoint.get(key).copied().unwrap_or(0);
        PartitionPast {
            recovery_point: offset(&self.recovery_points),
            log_start_offset: offset(&self.log_start_offsets),
            high_watermark: offset(&self.high_watermarks),
        }
    }

    pub(super) fn insert(&mut self, key: &PartitionKey, past: PartitionPast) {
        self.recovery_points.insert(key.clone(), past.recovery_point);
        self.log_start_offsets.insert(key.clone(), past.log_start_offset);
        self.high_watermarks.insert(key.clone(), past.high_watermark);
    }

    pub(super) fn remove(&mut self, key: &PartitionKey) {
        self.recovery_points.remove(key);
        self.log_start_offsets.remove(key);
        self.high_watermarks.remove(key);
    }

    /// Whether a log made anew under this name could be taken for one with a past.
    pub(super) fn would_mislead(&self, key: &PartitionKey) -> bool {
        let offset = |checkpoint: &OffsetCheckpoint| checkpoint.get(key).copied().unwrap_or(0);
        offset(&self.recovery_points) > 0 || offset(&self.log_start_offsets) > 0
    }
}

/// Lets everybody who waits for the partition in this directory look again: its log takes no more writes.
pub(super) fn end_waits_of(registry: &PartitionRegistry, log: &Path) {
    let found = log.file_name().and_then(|name| PartitionDir::parse(name.to_str()?));
    if let Some(found) = found
        && let Some(partition) = registry.partition(&found.topic, found.partition)
    {
        partition.end_waits();
    }
}

/// Notes where each partition lies in the last of these directories; sets aside what the metadata does not know (a topic
/// deleted while the process was killed, or a foreign directory), and the one of two equals that a kill during a move
/// leaves behind.
pub(super) fn set_strays_aside(
    dirs: &[HostedDir],
    image: &MetadataImage,
    env: &Env,
    placed: &mut BTreeMap<PartitionKey, usize>,
) -> Result<(), StorageError> {
    let index = dirs.len() - 1;
    let dir = &dirs[index].dir;
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
        let key = (found.topic, found.partition);
        let loser = if ours {
            placed.insert(key.clone(), index)
        } else {
            Some(index)
        };
        let Some(mut loser) = loser else { continue };
        // the checkpoints speak of a partition only where it is in use
        let is_used = |index: usize| dirs[index].past().recovery_points.contains_key(&key);
        if loser != index && (is_used(loser) || !is_used(index)) {
            placed.insert(key.clone(), loser);
            loser = index;
        }
        let renamed = dirs[loser].dir.rename_as_stray(&key.0, key.1, env.uuid())?;
        let from = dirs[loser].dir.partition_path(&key.0, key.1);
        tracing::warn!(from = %from.display(), to = %renamed.display(), "not of use: set aside");
    }
    Ok(())
}

/// Removes copies of partitions that were on their way here when the process ended. Returns which.
pub(super) fn remove_futures(dir: &LogDir) -> Result<Vec<PartitionKey>, StorageError> {
    let mut removed = Vec::new();
    let found = dir.partition_dirs()?.into_iter();
    for found in found.filter(|found| found.kind == PartitionDirKind::Future) {
        remove_copy(&**dir.fs(), &dir.path().join(&found.name))?;
        removed.push((found.topic, found.partition));
    }
    Ok(removed)
}
