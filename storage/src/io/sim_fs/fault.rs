//! Faults that a test asks the simulated disk for.

use std::io;

/// Kinds of operations, to aim a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `read_at`, `read_at_nowait`.
    Read,
    /// `write_at`.
    Write,
    /// `sync_data`.
    SyncData,
    /// `sync_dir`.
    SyncDir,
    /// Opening a file that exists without changing it.
    Open,
    /// Making, renaming and removing names, `truncate`, `preallocate`.
    Change,
}

impl Operation {
    /// Whether a crash before it and one behind it may leave different disks.
    pub(super) fn changes(self) -> bool {
        !matches!(self, Self::Read | Self::Open)
    }
}

/// What happens instead of the operation's success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// `ENOSPC`; of a write, some bytes may have been written.
    NoSpace,
    /// `EIO`; of a write, some bytes may have been written; of a sync, some may be lost for good.
    InputOutput,
    /// A sync that reports success and does nothing. Other operations are not hurt.
    LostSync,
    /// The machine stops: this and every later operation fails until [`super::SimFileSystem::crash`].
    Halt,
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Only this kind of operation counts and is hit; `None`: all that change something.
    pub operation: Option<Operation>,
    /// How many such operations succeed before.
    pub after: u64,
    /// What happens then.
    pub kind: FaultKind,
    /// Whether all later ones are hit too, until [`super::SimFileSystem::clear_faults`].
    pub lasting: bool,
}

impl Fault {
    /// The error that the operation returns; a lost sync has none.
    pub(super) fn error(kind: FaultKind) -> io::Error {
        match kind {
            FaultKind::NoSpace => io::Error::from_raw_os_error(28),
            FaultKind::InputOutput => io::Error::from_raw_os_error(5),
            FaultKind::LostSync | FaultKind::Halt => io::Error::other("the simulated machine has stopped"),
        }
    }

    /// Counts an operation; whether the fault hits it.
    pub(super) fn hits(&mut self, operation: Operation) -> bool {
        let aimed = self
            .operation
            .map_or_else(|| operation.changes(), |aimed| aimed == operation);
        if !aimed {
            return false;
        }
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        true
    }
}
