//! Writes the offset checkpoints, regularly and at the stop.
//!
//! Invariants: what a directory's checkpoints said of a partition stays in them until that partition is opened or
//! deleted; a stop is marked as clean only where every partition that lies in the directory was open and is closed.

use storage::checkpoint::{
    LOG_START_OFFSET_CHECKPOINT, RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT, write_offset_checkpoint,
};
use storage::error::StorageError;

use super::dirs::{Checkpoints, HostedDir};
use super::{Inner, PartitionKey};

impl Inner {
    pub(super) fn checkpoint(&self) {
        for (index, hosted) in self.dirs.iter().enumerate() {
            if let Err(error) = self.write_checkpoints(index, hosted) {
                tracing::error!(dir = %hosted.dir.path().display(), %error, "cannot write the checkpoints");
            }
        }
    }

    /// What is to be written: the past of what is not open, the present of what is.
    pub(super) fn checkpoints_of(&self, index: usize, hosted: &HostedDir) -> Checkpoints {
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

    pub(super) fn write_checkpoints(&self, index: usize, hosted: &HostedDir) -> Result<(), StorageError> {
        hosted.dir.check_online()?;
        let _one_at_a_time = hosted.writing.lock().expect("writing checkpoints does not panic");
        let now = self.checkpoints_of(index, hosted);
        let path = |name: &str| hosted.dir.path().join(name);
        let fs = &**hosted.dir.fs();
        write_offset_checkpoint(fs, &path(LOG_START_OFFSET_CHECKPOINT), &now.log_start_offsets)?;
        write_offset_checkpoint(fs, &path(REPLICATION_OFFSET_CHECKPOINT), &now.high_watermarks)?;
        write_offset_checkpoint(fs, &path(RECOVERY_POINT_CHECKPOINT), &now.recovery_points)?;
        *hosted.written() = now;
        Ok(())
    }

    pub(super) fn close(&self) {
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
