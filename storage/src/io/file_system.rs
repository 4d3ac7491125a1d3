//! The door to the disk: the two traits through which this workspace reads and writes files.
//!
//! Invariants: every call is blocking and positioned (no shared cursor); `write_at` writes everything or fails;
//! data is durable only after `sync_data`, a new, renamed or removed name only after `sync_dir` of its directory.
//! Two implementations (`StdFileSystem`, `SimFileSystem`) pass one conformance suite.

use std::any::Any;
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Existing file, reading only; `NotFound` when absent.
    Read,
    /// Existing file, reading and writing; `NotFound` when absent.
    ReadWrite,
    /// Reading and writing; made when absent, kept when present.
    OpenOrCreate,
    /// Reading and writing; `AlreadyExists` when present.
    CreateNew,
    /// Reading and writing; emptied when present, made when absent.
    Truncate,
}

/// One entry of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Name without its directory.
    pub name: String,
    /// Whether the entry is a directory.
    pub is_dir: bool,
    /// Length in bytes (0 for directories).
    pub len: u64,
}

/// How much a disk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes that this process may still write.
    pub usable_bytes: u64,
}

/// Names: opening, listing, renaming, removing. All paths are absolute or relative to the process directory.
pub trait FileSystem: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Makes a directory and its missing parents; fine when present.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Removes one file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with everything in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Replaces `to` by `from` in one step (files), or moves a directory to a free name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Entries of a directory, sorted by name.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Whether the path exists, as a file or a directory.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Takes an exclusive lock on a file (made when absent), released when the guard drops or the process ends.
    /// `WouldBlock` when another process (or guard) holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>>;
    /// Space of the disk that holds `path`.
    fn space(&self, path: &Path) -> io::Result<DiskSpace>;
}

/// An open file, shared by `Arc`; its methods take `&self` and name positions.
#[allow(
    clippy::len_without_is_empty,
    reason = "an open file is never asked whether it is empty"
)]
pub trait File: Send + Sync + Debug {
    /// Fills `buffer` from `position`; fewer bytes only at the end of the file, 0 at or behind it.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Like `read_at`, but `None` when the bytes are not in memory and reading would wait for the disk. May answer
    /// fewer bytes than asked when only the first part is in memory, so a short answer does not prove the end.
    fn read_at_nowait(&self, buffer: &mut [u8], position: u64) -> io::Result<Option<usize>>;
    /// Writes all slices one behind the other at `position`.
    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// When the content was changed last, in ms since 1970.
    fn modified_ms(&self) -> io::Result<i64>;
    /// Cuts or extends (with zeros) to `len`; releases blocks preallocated behind it.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Reserves disk blocks for the range without changing the length; a no-op where unsupported.
    fn preallocate(&self, position: u64, len: u64) -> io::Result<()>;
    /// Waits until the bytes (and the length) are durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Hint: start writing the range to the disk without waiting; a no-op where unsupported.
    fn start_writeback(&self, position: u64, len: u64) -> io::Result<()>;
    /// Hint: the range will not be read soon.
    fn advise_dont_need(&self, position: u64, len: u64) -> io::Result<()>;
    /// Hint: the range will be read soon. May wait for the disk itself; a no-op where unsupported.
    fn advise_will_need(&self, position: u64, len: u64) -> io::Result<()>;
    /// The descriptor, for `sendfile`; `None` for simulated files.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;
}

/// Holds a lock taken by [`FileSystem::lock`]; dropping it releases the lock.
pub trait LockGuard: Send + Sync + Debug + Any {}
