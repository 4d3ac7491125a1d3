//! The file system of the machine.
//!
//! Invariants: positioned calls only, interrupted calls are repeated, a write is complete or an error. On Linux the
//! calls of the design are used (`preadv2(RWF_NOWAIT)`, `pwritev`, `fallocate(KEEP_SIZE)`, `fadvise`); elsewhere the
//! portable ones, and hints do nothing. `start_writeback` does nothing anywhere: no safe wrapper of
//! `sync_file_range` exists, so the flusher's regular `fdatasync` keeps the amount of dirty data small instead.

use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::file_system::{DirEntry, File, FileSystem, LockGuard, OpenMode};

/// Most slices one `pwritev` takes (Linux `IOV_MAX`).
#[cfg(target_os = "linux")]
const MAX_SLICES: usize = 1024;

/// The real disk.
#[derive(Debug, Default, Clone, Copy)]
pub struct StdFileSystem;

impl StdFileSystem {
    /// The real disk, ready for [`crate::dir::LogDir`] and the logs.
    pub fn shared() -> Arc<dyn FileSystem> {
        Arc::new(Self)
    }
}

impl FileSystem for StdFileSystem {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::OpenOrCreate => {
                options.write(true).create(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
            OpenMode::Truncate => {
                options.write(true).create(true).truncate(true);
            }
        }
        let file = options.open(path)?;
        // Opening a directory for reading succeeds on Unix; the failure would come at the first read.
        if mode == OpenMode::Read && file.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        Ok(Arc::new(StdFile {
            file,
            nowait_unsupported: AtomicBool::new(false),
        }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // Follows symbolic links (a partition may be moved to another disk by one); a dangling one is a file.
            let metadata = match fs::metadata(entry.path()).or_else(|_| entry.metadata()) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_dir = metadata.is_dir();
            let len = if is_dir { 0 } else { metadata.len() };
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir,
                len,
            });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        fs::exists(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        // flock belongs to the open file description: a second opening in this process conflicts as well.
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        // The process id only serves the message that a second process prints.
        let pid = format!("{}\n", std::process::id());
        file.set_len(0)?;
        file.write_all_at(pid.as_bytes(), 0)?;
        Ok(Box::new(StdLock { _file: file }))
    }
}

/// Releases the lock when its descriptor closes.
#[derive(Debug)]
struct StdLock {
    _file: fs::File,
}

impl LockGuard for StdLock {}

#[derive(Debug)]
struct StdFile {
    file: fs::File,
    /// Set once the file system has answered that it cannot read without waiting.
    nowait_unsupported: AtomicBool,
}

impl StdFile {
    fn read_plain(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(buffer, position) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl File for StdFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_plain(&mut buffer[filled..], position + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    #[cfg(target_os = "linux")]
    fn read_at_nowait(&self, buffer: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        use rustix::io::{Errno, ReadWriteFlags};

        if buffer.is_empty() {
            return Ok(Some(0));
        }
        if !self.nowait_unsupported.load(Ordering::Relaxed) {
            let mut slices = [io::IoSliceMut::new(buffer)];
            let read = rustix::io::retry_on_intr(|| {
                rustix::io::preadv2(&self.file, &mut slices, position, ReadWriteFlags::NOWAIT)
            });
            match read {
                Ok(read) => return Ok(Some(read)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.nowait_unsupported.store(true, Ordering::Relaxed),
                Err(error) => return Err(error.into()),
            }
        }
        self.read_at(buffer, position).map(Some)
    }

    #[cfg(not(target_os = "linux"))]
    fn read_at_nowait(&self, buffer: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        let _ = &self.nowait_unsupported;
        self.read_at(buffer, position).map(Some)
    }

    #[cfg(target_os = "linux")]
    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut rest = slices;
        let mut position = position;
        while !rest.is_empty() {
            let chunk = &rest[..rest.len().min(MAX_SLICES)];
            let wanted: usize = chunk.iter().map(|slice| slice.len()).sum();
            let mut written = rustix::io::retry_on_intr(|| rustix::io::pwritev(&self.file, chunk, position))?;
            position += written as u64;
            if written < wanted {
                // A short write is rare (a signal, or the disk nearly full): finish slice by slice.
                for slice in chunk {
                    let done = written.min(slice.len());
                    written -= done;
                    self.file.write_all_at(&slice[done..], position)?;
                    position += (slice.len() - done) as u64;
                }
            }
            rest = &rest[chunk.len()..];
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut position = position;
        for slice in slices {
            self.file.write_all_at(slice, position)?;
            position += slice.len() as u64;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    #[cfg(target_os = "linux")]
    fn preallocate(&self, position: u64, len: u64) -> io::Result<()> {
        use rustix::fs::FallocateFlags;
        use rustix::io::Errno;

        if len == 0 {
            return Ok(());
        }
        match rustix::io::retry_on_intr(|| rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, position, len))
        {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn preallocate(&self, _position: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn start_writeback(&self, _position: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn advise_dont_need(&self, position: u64, len: u64) -> io::Result<()> {
        let Some(len) = std::num::NonZeroU64::new(len) else {
            return Ok(());
        };
        rustix::fs::fadvise(&self.file, position, Some(len), rustix::fs::Advice::DontNeed)?;
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn advise_dont_need(&self, _position: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}
