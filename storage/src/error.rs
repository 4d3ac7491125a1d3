//! What can go wrong on a disk, in the few kinds that callers treat differently.
//!
//! Invariants: a full disk is always `NoSpace` (retriable after room was made), never `Io`; bytes that contradict
//! themselves are `Corrupt` with the file and position; every message names the path and reads as one sentence.

use std::io;
use std::path::{Path, PathBuf};

/// Failure of a storage operation.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused or failed; the log directory is to be taken offline.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb phrase (`read`, `write`, `sync`, …).
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Stored bytes contradict their format or checksum.
    #[error("{} is corrupt at byte {offset}: {why}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Position of the bad part.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// The log directory was taken offline by an earlier failure.
    #[error("log directory {} is offline after a disk failure", dir.display())]
    Offline {
        /// The log directory.
        dir: PathBuf,
    },
    /// No room left on the disk (or in the quota).
    #[error("no space left on the disk of {}", path.display())]
    NoSpace {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// Another process, or another part of this one, uses the log directory.
    #[error("log directory {} is in use by {}", dir.display(), holder_name(*holder))]
    Locked {
        /// The log directory.
        dir: PathBuf,
        /// Process id of the holder, when it wrote one.
        holder: Option<u32>,
    },
    /// The directory cannot serve as a log directory.
    #[error("cannot use {} as log directory: {why}", dir.display())]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// Why, and what would help.
        why: String,
    },
}

fn holder_name(holder: Option<u32>) -> String {
    holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl StorageError {
    /// Wraps a system error; a full disk or quota becomes [`StorageError::NoSpace`].
    pub fn io(op: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path },
            _ => Self::Io { op, path, source },
        }
    }

    /// Names bytes that cannot be what we wrote.
    pub fn corrupt(path: impl AsRef<Path>, offset: u64, why: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.as_ref().to_path_buf(),
            offset,
            why: why.into(),
        }
    }

    /// Whether the disk is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }

    /// Whether a read was not made because it would have waited for the disk.
    pub fn is_cold(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the same call may succeed later without anybody repairing the disk: it is full, or the process or the
    /// system is out of descriptors or memory.
    pub fn is_passing(&self) -> bool {
        let passing = [
            rustix::io::Errno::MFILE,
            rustix::io::Errno::NFILE,
            rustix::io::Errno::NOMEM,
        ];
        match self {
            Self::NoSpace { .. } => true,
            Self::Io { source, .. } => passing
                .iter()
                .any(|errno| source.raw_os_error() == Some(errno.raw_os_error())),
            _ => false,
        }
    }

    /// Whether the named file or directory does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// One failed write answers many batches, so the error is copied; the system's error number survives.
impl Clone for StorageError {
    fn clone(&self) -> Self {
        match self {
            Self::Io { op, path, source } => {
                let source = source.raw_os_error().map_or_else(
                    || io::Error::new(source.kind(), source.to_string()),
                    io::Error::from_raw_os_error,
                );
                Self::Io {
                    op,
                    path: path.clone(),
                    source,
                }
            }
            Self::Corrupt { path, offset, why } => Self::Corrupt {
                path: path.clone(),
                offset: *offset,
                why: why.clone(),
            },
            Self::Offline { dir } => Self::Offline { dir: dir.clone() },
            Self::NoSpace { path } => Self::NoSpace { path: path.clone() },
            Self::Locked { dir, holder } => Self::Locked {
                dir: dir.clone(),
                holder: *holder,
            },
            Self::Unusable { dir, why } => Self::Unusable {
                dir: dir.clone(),
                why: why.clone(),
            },
        }
    }
}

/// Attaches operation and path to the `io::Error`s of the [`crate::io`] traits.
pub trait IoContext<T> {
    /// `file.sync_data().context("sync", &path)?`
    fn context(self, op: &'static str, path: impl AsRef<Path>) -> Result<T, StorageError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, op: &'static str, path: impl AsRef<Path>) -> Result<T, StorageError> {
        self.map_err(|source| StorageError::io(op, path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_no_space_and_other_errors_are_io() {
        for errno in [28 /* ENOSPC */, 122 /* EDQUOT */] {
            assert!(StorageError::io("write", "/d/f", io::Error::from_raw_os_error(errno)).is_no_space());
        }
        let eio = StorageError::io("sync", "/d/f", io::Error::from_raw_os_error(5));
        assert!(matches!(&eio, StorageError::Io { op: "sync", source, .. } if source.raw_os_error() == Some(5)));
        assert!(matches!(eio.clone(), StorageError::Io { source, .. } if source.raw_os_error() == Some(5)));
    }

    #[test]
    fn messages_are_sentences_with_the_path() {
        let locked = StorageError::Locked {
            dir: "/data".into(),
            holder: Some(7),
        };
        assert_eq!(locked.to_string(), "log directory /data is in use by process 7");
        let corrupt = StorageError::corrupt("/data/x", 12, "bad checksum");
        assert_eq!(corrupt.to_string(), "/data/x is corrupt at byte 12: bad checksum");
    }
}
