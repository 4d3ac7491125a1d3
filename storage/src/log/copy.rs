//! Owns the copying of a partition's files into another log directory while the log is in use.
//!
//! Invariants: only files that no longer change are copied while the log is written ([`LogCopy::copy_sealed`]); the
//! rest follows when the log is closed ([`LogCopy::finish`]); after `finish` the copy holds the same files with the same
//! bytes as the closed log, all of them durable, and nothing else. (Kafka moves replicas by fetching from itself,
//! `ReplicaAlterLogDirsThread`; copying files keeps what is in them as it is, indexes and snapshots included.)

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint::sync_parent;
use crate::error::{IoContext, StorageError};
use crate::io::file_system::{FileSystem, OpenMode};
use crate::producer::snapshot::SNAPSHOT_SUFFIX;
use crate::segment::file::{INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, base_offset_of};

/// Bytes between two questions whether to go on.
const CHUNK_BYTES: usize = 1 << 20;
/// Files that belong to a segment, or to the log as it was where a segment begins.
const SEGMENT_SUFFIXES: [&str; 5] = [
    LOG_SUFFIX,
    INDEX_SUFFIX,
    TIME_INDEX_SUFFIX,
    TXN_INDEX_SUFFIX,
    SNAPSHOT_SUFFIX,
];

/// A copy in the making.
#[derive(Debug)]
pub struct LogCopy {
    fs: Arc<dyn FileSystem>,
    from: PathBuf,
    to: PathBuf,
    /// Files that are in the copy, with their size.
    copied: BTreeMap<String, u64>,
}

impl LogCopy {
    /// Makes the empty directory `to` for a copy of `from`.
    ///
    /// # Errors
    /// Disk failures.
    pub fn begin(fs: Arc<dyn FileSystem>, from: PathBuf, to: PathBuf) -> Result<Self, StorageError> {
        fs.create_dir_all(&to).context("create", &to)?;
        Ok(Self {
            fs,
            from,
            to,
            copied: BTreeMap::new(),
        })
    }

    /// Bytes of segments in the copy.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let logs = self.copied.iter().filter(|(name, _)| name.ends_with(LOG_SUFFIX));
        logs.map(|(_, bytes)| bytes).sum()
    }

    /// Copies what is missing of the segments that begin below `active_base_offset`, the base offset of the active
    /// segment. Asks `go_on` with the bytes of every step; false ends the copying, which may be taken up again. True when
    /// everything is there.
    ///
    /// # Errors
    /// Disk failures. A segment that is removed meanwhile is none.
    pub fn copy_sealed(
        &mut self,
        active_base_offset: i64,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<bool, StorageError> {
        for entry in self.fs.list(&self.from).context("list", &self.from)? {
            let is_sealed = segment_of(&entry.name).is_some_and(|base_offset| base_offset < active_base_offset);
            if !is_sealed || self.copied.contains_key(&entry.name) {
                continue;
            }
            match self.copy_file(&entry.name, go_on) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Copies the rest of a log that was closed, takes away what is not in it any more, and makes the copy durable.
    ///
    /// # Errors
    /// Disk failures.
    pub fn finish(mut self) -> Result<(), StorageError> {
        let entries = self.fs.list(&self.from).context("list", &self.from)?;
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let is_current = self.copied.get(&entry.name) == Some(&entry.len);
            let belongs =
                segment_of(&entry.name).is_some() || !entry.name.starts_with(|first: char| first.is_ascii_digit());
            if !belongs || is_current {
                continue;
            }
            match self.copy_file(&entry.name, &mut |_| true) {
                // an old segment whose removal was under way
                Err(error) if error.is_not_found() => self.remove(&entry.name)?,
                other => _ = other?,
            }
        }
        for entry in self.fs.list(&self.to).context("list", &self.to)? {
            if entries.iter().all(|source| source.name != entry.name) {
                self.remove(&entry.name)?;
            }
        }
        self.fs.sync_dir(&self.to).context("sync directory", &self.to)?;
        sync_parent(self.fs.as_ref(), &self.to)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let path = self.to.join(name);
        match self.fs.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StorageError::io("remove", path, error)),
            _ => Ok(()),
        }
    }

    fn copy_file(&mut self, name: &str, go_on: &mut dyn FnMut(usize) -> bool) -> Result<bool, StorageError> {
        let (from, to) = (self.from.join(name), self.to.join(name));
        let source = self.fs.open(&from, OpenMode::Read).context("open", &from)?;
        let target = self.fs.open(&to, OpenMode::Truncate).context("create", &to)?;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut position = 0;
        loop {
            let read = source.read_at(&mut buffer, position).context("read", &from)?;
            if read == 0 {
                break;
            }
            let slice = [IoSlice::new(&buffer[..read])];
            target.write_at(&slice, position).context("write", &to)?;
            position += read as u64;
            if !go_on(read) {
                return Ok(false);
            }
        }
        target.sync_data().context("sync", &to)?;
        // not read soon, and must not push out what is
        target.advise_dont_need(0, position).context("advise", &to)?;
        self.copied.insert(name.to_owned(), position);
        Ok(true)
    }
}

/// The offset in the name of a segment's file.
fn segment_of(name: &str) -> Option<i64> {
    SEGMENT_SUFFIXES.iter().find_map(|suffix| base_offset_of(name, suffix))
}

/// Removes a copy that was given up.
///
/// # Errors
/// Disk failures; one that is gone already is none.
pub fn remove_copy(fs: &dyn FileSystem, path: &Path) -> Result<(), StorageError> {
    match fs.remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StorageError::io("remove", path, error)),
        _ => Ok(()),
    }
}
