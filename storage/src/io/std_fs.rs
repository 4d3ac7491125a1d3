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

use super::file_system::{DirEntry, DiskSpace, File, FileSystem, LockGuard, OpenMode};

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

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        let disk = rustix::fs::statvfs(path)?;
        Ok(DiskSpace {
            total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
            usable_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        })
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
        // The process id only serves the message that a second process prints: on a full disk the lock holds as well.
        let pid = format!("{}\n", std::process::id());
        if let Err(error) = file.set_len(0).and_then(|()| file.write_all_at(pid.as_bytes(), 0)) {
            tracing::debug!(path = %path.display(), %error, "process id not written");
        }
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

    #[cfg(target_os = "linux")]
    fn advise(&self, position: u64, len: u64, hint: Hint) -> io::Result<()> {
        let Some(len) = std::num::NonZeroU64::new(len) else {
            return Ok(());
        };
        let advice = match hint {
            Hint::DontNeed => rustix::fs::Advice::DontNeed,
            Hint::WillNeed => rustix::fs::Advice::WillNeed,
        };
        Ok(rustix::fs::fadvise(&self.file, position, Some(len), advice)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn advise(&self, _position: u64, _len: u64, _hint: Hint) -> io::Result<()> {
        Ok(())
    }
}

/// What the system is told about a range.
#[derive(Debug, Clone, Copy)]
enum Hint {
    DontNeed,
    WillNeed,
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
        write_fully(slices, position, |slices, position| {
            Ok(rustix::io::retry_on_intr(|| {
                rustix::io::pwritev(&self.file, slices, position)
            })?)
        })
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

    fn modified_ms(&self) -> io::Result<i64> {
        let modified = self.file.metadata()?.modified()?;
        // A file from before 1970 is as old as one can be.
        let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
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

    fn advise_dont_need(&self, position: u64, len: u64) -> io::Result<()> {
        self.advise(position, len, Hint::DontNeed)
    }

    fn advise_will_need(&self, position: u64, len: u64) -> io::Result<()> {
        self.advise(position, len, Hint::WillNeed)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

/// Calls `write`, which takes some of the bytes it is given, until all are written.
#[cfg(target_os = "linux")]
fn write_fully(
    slices: &[IoSlice<'_>],
    mut position: u64,
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut rest = slices;
    // Bytes of the first slice of `rest` that are written already.
    let mut done = 0;
    while let Some(first) = rest.first() {
        if done == first.len() {
            rest = &rest[1..];
            done = 0;
            continue;
        }
        let mut written = match done {
            0 => write(&rest[..rest.len().min(MAX_SLICES)], position)?,
            _ => write(&[IoSlice::new(&first[done..])], position)?,
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        position += written as u64;
        while written > 0 {
            let step = written.min(rest[0].len() - done);
            written -= step;
            done += step;
            if done == rest[0].len() {
                rest = &rest[1..];
                done = 0;
            }
        }
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn short_writes_are_continued_where_they_ended() {
        let parts: Vec<Vec<u8>> = (0..3000_usize).map(|n| vec![n.to_le_bytes()[0]; n % 5]).collect();
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        for most in [1, 2, 7, 1000, usize::MAX] {
            let mut file = Vec::new();
            write_fully(&slices, 10, |slices, position| {
                assert_eq!(position, 10 + file.len() as u64);
                assert!(slices.len() <= MAX_SLICES);
                let bytes: Vec<u8> = slices
                    .iter()
                    .flat_map(|slice| slice.iter().copied())
                    .take(most)
                    .collect();
                file.extend_from_slice(&bytes);
                Ok(bytes.len())
            })
            .expect("every call takes something");
            assert_eq!(file, parts.concat(), "{most} bytes a call");
        }
        let stuck = write_fully(&slices, 0, |_, _| Ok(0)).expect_err("takes nothing");
        assert_eq!(stuck.kind(), io::ErrorKind::WriteZero);
    }
}
