//! Reading with or without waiting for the disk.
//!
//! Invariant: with [`Patience::MemoryOnly`] no read waits; one that would have to fails with `WouldBlock`
//! ([`crate::error::StorageError::is_cold`]), and the caller asks again from a thread that may wait.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use crate::io::file_system::File;

/// Whether a lookup may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It may.
    Disk,
    /// Only what is in memory is looked at.
    MemoryOnly,
}

impl Patience {
    /// The file, read with this patience.
    pub(crate) fn of(self, file: &dyn File) -> PatientFile<'_> {
        PatientFile { file, patience: self }
    }
}

/// A file that is read with a given patience. Everything but reading is the file's own.
#[derive(Debug)]
pub(crate) struct PatientFile<'a> {
    file: &'a dyn File,
    patience: Patience,
}

impl File for PatientFile<'_> {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match self.patience {
            Patience::Disk => self.file.read_at(buffer, position),
            Patience::MemoryOnly => {
                let read = self.file.read_at_nowait(buffer, position)?;
                read.ok_or_else(|| io::ErrorKind::WouldBlock.into())
            }
        }
    }

    fn read_at_nowait(&self, buffer: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        self.file.read_at_nowait(buffer, position)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.file.write_at(slices, position)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn modified_ms(&self) -> io::Result<i64> {
        self.file.modified_ms()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn preallocate(&self, position: u64, len: u64) -> io::Result<()> {
        self.file.preallocate(position, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn start_writeback(&self, position: u64, len: u64) -> io::Result<()> {
        self.file.start_writeback(position, len)
    }

    fn advise_dont_need(&self, position: u64, len: u64) -> io::Result<()> {
        self.file.advise_dont_need(position, len)
    }

    fn advise_will_need(&self, position: u64, len: u64) -> io::Result<()> {
        self.file.advise_will_need(position, len)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_fd()
    }
}
