//! One log directory: its lock, its identity, and the directories of partitions in it.
//!
//! Invariants: at most one process (and one `LogDir`) uses a directory; an empty or absent one is formatted in place,
//! one that holds other people's files or belongs to another node or cluster is refused before anything is written;
//! the clean-shutdown mark is removed durably before it is believed, so a crash right after counts as unclean.

pub mod meta_properties;
pub mod partition_dir;
pub mod uuid_text;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

use crate::checkpoint::{read_whole, sync_parent, write_atomic};
use crate::error::{IoContext, StorageError};
use crate::io::file_system::{FileSystem, LockGuard};
use meta_properties::{META_PROPERTIES, MetaProperties, StoredProperties};
use partition_dir::{PartitionDir, PartitionDirKind};

/// Kafka's name for the mark of a clean stop.
pub const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";
const LOCK_FILE: &str = ".lock";
/// What a directory may hold and still count as empty: our lock, a write that was cut off, and what mkfs leaves.
const ALLOWED_IN_EMPTY: [&str; 3] = [LOCK_FILE, "meta.properties.tmp", "lost+found"];

/// How to open a log directory.
#[derive(Debug)]
pub struct OpenLogDir {
    /// The file system.
    pub fs: Arc<dyn FileSystem>,
    /// The directory; made when absent.
    pub path: PathBuf,
    /// `cluster.id` that must be in the directory, when one is configured.
    pub expected_cluster_id: Option<String>,
    /// `node.id` that must be in the directory, when one is configured.
    pub expected_node_id: Option<i32>,
    /// Identity for an empty directory.
    pub fresh: MetaProperties,
}

/// An open, locked log directory.
#[derive(Debug)]
pub struct LogDir {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    meta: MetaProperties,
    formatted_now: bool,
    offline: AtomicBool,
    /// Held until the end; dropped last.
    _lock: Box<dyn LockGuard>,
}

impl LogDir {
    /// Opens, locks and, when empty, formats a log directory.
    pub fn open(open: OpenLogDir) -> Result<Self, StorageError> {
        let OpenLogDir {
            fs,
            path,
            expected_cluster_id,
            expected_node_id,
            fresh,
        } = open;
        fs.create_dir_all(&path)
            .map_err(|error| refusal(&path, "create", error))?;
        refuse_foreign(&*fs, &path)?;
        let lock = take_lock(&*fs, &path)?;
        let stored = read_meta(&*fs, &path)?;
        if let Some(stored) = &stored {
            check_identity(&path, stored, expected_cluster_id.as_deref(), expected_node_id)?;
        }
        let formatted_now = stored.is_none();
        let (meta, changed) = match stored {
            Some(StoredProperties {
                cluster_id,
                node_id,
                directory_id: Some(directory_id),
            }) => (
                MetaProperties {
                    cluster_id,
                    node_id,
                    directory_id,
                },
                false,
            ),
            Some(StoredProperties {
                cluster_id,
                node_id,
                directory_id: None,
            }) => (
                MetaProperties {
                    cluster_id,
                    node_id,
                    directory_id: fresh.directory_id,
                },
                true,
            ),
            None => (fresh, true),
        };
        if changed {
            sync_ancestors(&*fs, &path)?;
            write_atomic(&*fs, &path.join(META_PROPERTIES), meta.to_text().as_bytes())?;
        }
        Ok(Self {
            fs,
            path,
            meta,
            formatted_now,
            offline: AtomicBool::new(false),
            _lock: lock,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file system it lies on.
    pub fn fs(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }

    /// Its identity.
    pub fn meta(&self) -> &MetaProperties {
        &self.meta
    }

    /// Whether it was empty and was formatted by this opening.
    pub fn formatted_now(&self) -> bool {
        self.formatted_now
    }

    /// Path of a partition's directory in use.
    pub fn partition_path(&self, topic: &str, partition: i32) -> PathBuf {
        self.path.join(PartitionDir::live_name(topic, partition))
    }

    /// Path for the copy of a partition that moves here from another log directory.
    pub fn future_path(&self, topic: &str, partition: i32, unique_id: Uuid) -> PathBuf {
        self.path.join(PartitionDir::future_name(topic, partition, unique_id))
    }

    /// Turns a finished copy into the partition's directory in use.
    pub fn promote_future(&self, future: &Path, topic: &str, partition: i32) -> Result<(), StorageError> {
        let to = self.partition_path(topic, partition);
        self.fs.rename(future, &to).context("rename", future)?;
        self.fs.sync_dir(&self.path).context("sync directory", &self.path)
    }

    /// Stops all use after a disk failure; there is no way back but a restart.
    pub fn mark_offline(&self) {
        self.offline.store(true, Ordering::Release);
    }

    /// `Offline` after [`LogDir::mark_offline`].
    pub fn check_online(&self) -> Result<(), StorageError> {
        if self.offline.load(Ordering::Acquire) {
            return Err(StorageError::Offline { dir: self.path.clone() });
        }
        Ok(())
    }

    /// Whether the last stop was clean. Takes the mark away: the second call answers `false`.
    pub fn take_clean_shutdown(&self) -> Result<bool, StorageError> {
        let path = self.path.join(CLEAN_SHUTDOWN_FILE);
        match self.fs.remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StorageError::io("remove", path, error)),
        }
        self.fs.sync_dir(&self.path).context("sync directory", &self.path)?;
        Ok(true)
    }

    /// Marks a clean stop: all logs are flushed and closed. `broker_epoch` is -1 when there was none.
    pub fn mark_clean_shutdown(&self, broker_epoch: i64) -> Result<(), StorageError> {
        self.check_online()?;
        let json = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        write_atomic(&*self.fs, &self.path.join(CLEAN_SHUTDOWN_FILE), json.as_bytes())
    }

    /// The partition directories, sorted by name. Other entries are left alone and not listed.
    pub fn partition_dirs(&self) -> Result<Vec<PartitionDir>, StorageError> {
        let entries = self.fs.list(&self.path).context("list", &self.path)?;
        Ok(entries
            .iter()
            .filter(|entry| entry.is_dir)
            .filter_map(|entry| PartitionDir::parse(&entry.name))
            .collect())
    }

    /// Renames a partition's directory so that a restart does not bring it back, and returns the new path. The bytes
    /// go with [`LogDir::remove_dir`] once nobody reads them.
    pub fn rename_for_delete(&self, topic: &str, partition: i32, unique_id: Uuid) -> Result<PathBuf, StorageError> {
        let name = PartitionDir::deleted_name(topic, partition, unique_id);
        self.rename_partition(topic, partition, &name)
    }

    /// Renames a partition's directory that the cluster's metadata does not know; nothing in it is deleted.
    pub fn rename_as_stray(&self, topic: &str, partition: i32, unique_id: Uuid) -> Result<PathBuf, StorageError> {
        let name = PartitionDir::stray_name(topic, partition, unique_id);
        self.rename_partition(topic, partition, &name)
    }

    fn rename_partition(&self, topic: &str, partition: i32, name: &str) -> Result<PathBuf, StorageError> {
        let from = self.partition_path(topic, partition);
        let to = self.path.join(name);
        self.fs.rename(&from, &to).context("rename", &from)?;
        self.fs.sync_dir(&self.path).context("sync directory", &self.path)?;
        Ok(to)
    }

    /// Removes a directory renamed by [`LogDir::rename_for_delete`]; fine when it is gone already.
    pub fn remove_dir(&self, deleted: &Path) -> Result<(), StorageError> {
        let kind = deleted
            .file_name()
            .and_then(|name| PartitionDir::parse(name.to_str()?))
            .map(|dir| dir.kind);
        assert!(
            kind == Some(PartitionDirKind::Deleted) && deleted.parent() == Some(self.path.as_path()),
            "only directories marked as deleted are removed"
        );
        match self.fs.remove_dir_all(deleted) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StorageError::io("remove", deleted, error)),
        }
    }

    /// Removes all directories marked as deleted, as a start does. Returns how many.
    pub fn remove_deleted(&self) -> Result<usize, StorageError> {
        let mut removed = 0;
        for dir in self
            .partition_dirs()?
            .iter()
            .filter(|dir| dir.kind == PartitionDirKind::Deleted)
        {
            self.remove_dir(&self.path.join(&dir.name))?;
            removed += 1;
        }
        Ok(removed)
    }
}

/// Makes the directory's own name, and those of directories made on the way to it, durable.
fn sync_ancestors(fs: &dyn FileSystem, dir: &Path) -> Result<(), StorageError> {
    for ancestor in dir.ancestors().filter(|ancestor| ancestor.file_name().is_some()) {
        match sync_parent(fs, ancestor) {
            // A directory that we may not read is one that we have not made.
            Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {}
            result => result?,
        }
    }
    Ok(())
}

fn unusable(dir: &Path, why: impl Into<String>) -> StorageError {
    StorageError::Unusable {
        dir: dir.to_path_buf(),
        why: why.into(),
    }
}

/// Turns the errors that a user can repair into one sentence.
fn refusal(dir: &Path, op: &'static str, error: io::Error) -> StorageError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => unusable(dir, "no permission to read and write there"),
        io::ErrorKind::ReadOnlyFilesystem => unusable(dir, "its file system is mounted read-only"),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            unusable(dir, "it, or a part of its path, is not a directory")
        }
        _ => StorageError::io(op, dir, error),
    }
}

/// Refuses a directory with files but without identity: formatting it could destroy what somebody keeps there.
fn refuse_foreign(fs: &dyn FileSystem, dir: &Path) -> Result<(), StorageError> {
    let entries = fs.list(dir).map_err(|error| refusal(dir, "list", error))?;
    if entries.iter().any(|entry| entry.name == META_PROPERTIES) {
        return Ok(());
    }
    match entries
        .iter()
        .find(|entry| !ALLOWED_IN_EMPTY.contains(&entry.name.as_str()))
    {
        None => Ok(()),
        Some(foreign) => Err(unusable(
            dir,
            format!(
                "it holds {:?} but no {META_PROPERTIES}; name an empty directory instead",
                foreign.name
            ),
        )),
    }
}

fn take_lock(fs: &dyn FileSystem, dir: &Path) -> Result<Box<dyn LockGuard>, StorageError> {
    let path = dir.join(LOCK_FILE);
    fs.lock(&path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            let text = read_whole(fs, &path)
                .ok()
                .flatten()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            let holder = text.and_then(|text| text.trim().parse().ok());
            StorageError::Locked {
                dir: dir.to_path_buf(),
                holder,
            }
        }
        _ => refusal(dir, "lock", error),
    })
}

fn read_meta(fs: &dyn FileSystem, dir: &Path) -> Result<Option<StoredProperties>, StorageError> {
    let path = dir.join(META_PROPERTIES);
    let Some(bytes) = read_whole(fs, &path)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes).map_err(|_| unusable(dir, "its meta.properties is not a text file"))?;
    StoredProperties::parse(&text)
        .map(Some)
        .map_err(|why| unusable(dir, format!("its {META_PROPERTIES} {why}")))
}

fn check_identity(
    dir: &Path,
    stored: &StoredProperties,
    cluster_id: Option<&str>,
    node_id: Option<i32>,
) -> Result<(), StorageError> {
    if let Some(expected) = cluster_id.filter(|expected| *expected != stored.cluster_id) {
        let why = format!(
            "it belongs to the cluster {:?}, not to {expected:?} as configured",
            stored.cluster_id
        );
        return Err(unusable(dir, why));
    }
    if let Some(expected) = node_id.filter(|expected| *expected != stored.node_id) {
        let why = format!("it belongs to the node {}, but node.id is {expected}", stored.node_id);
        return Err(unusable(dir, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
