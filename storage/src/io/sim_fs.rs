//! A disk in memory for tests and simulations, with everything that goes wrong with disks.
//!
//! Invariants: the same seed and the same calls give the same result. Written bytes are durable only after `sync_data`,
//! names only after `sync_dir`; [`SimFileSystem::crash`] shows what is left otherwise. Handles and locks from before a
//! crash are dead. It is meant for one thread at a time: with more, results depend on their order.

mod content;
mod fault;
mod names;
mod random;

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

pub use fault::{Fault, FaultKind, Operation};

use self::content::{Content, to_index};
use self::names::{FileNode, Names, Node};
use self::random::Random;
use super::file_system::{DirEntry, DiskSpace, File, FileSystem, LockGuard, OpenMode};

/// How a crash ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashKind {
    /// The process is killed: everything written stays.
    ProcessKill,
    /// Power is lost: synced data stays, of the rest a seeded random part, torn at sectors of 512 bytes.
    PowerLoss,
}

/// The simulated disk; clones share it.
#[derive(Debug, Clone)]
pub struct SimFileSystem {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    names: Names,
    random: Random,
    faults: Vec<Fault>,
    operations: u64,
    halted: bool,
    cold: bool,
    clock_ms: i64,
    capacity_bytes: Option<u64>,
    /// Counts crashes: handles and locks of an older one are dead.
    generation: u64,
    locks: BTreeMap<PathBuf, u64>,
    next_lock: u64,
}

impl SimFileSystem {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        let state = State {
            names: Names::new(),
            random: Random::new(seed),
            faults: Vec::new(),
            operations: 0,
            halted: false,
            cold: false,
            clock_ms: 0,
            capacity_bytes: None,
            generation: 0,
            locks: BTreeMap::new(),
            next_lock: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The disk as the rest of the program takes it.
    pub fn shared(&self) -> Arc<dyn FileSystem> {
        Arc::new(self.clone())
    }

    /// Stops everything and starts again with what is left. Faults that were asked for are forgotten.
    pub fn crash(&self, kind: CrashKind) {
        let mut state = self.lock_state();
        state.generation += 1;
        state.locks.clear();
        state.faults.clear();
        state.halted = false;
        if kind == CrashKind::PowerLoss {
            let State { names, random, .. } = &mut *state;
            for file in names.lose_power(random) {
                lock_content(&file).lose_power(random);
            }
        }
    }

    /// Asks for a fault.
    pub fn inject(&self, fault: Fault) {
        self.lock_state().faults.push(fault);
    }

    /// Takes back all faults that have not happened, and lasting ones.
    pub fn clear_faults(&self) {
        self.lock_state().faults.clear();
    }

    /// Operations so far, those that change nothing not counted: a test that halts at each of them sees every crash point.
    pub fn operations(&self) -> u64 {
        self.lock_state().operations
    }

    /// Limits the sum of all file lengths; more is `ENOSPC`.
    pub fn set_capacity(&self, capacity_bytes: Option<u64>) {
        self.lock_state().capacity_bytes = capacity_bytes;
    }

    /// Whether reads without waiting find nothing in memory.
    pub fn set_cold(&self, cold: bool) {
        self.lock_state().cold = cold;
    }

    /// The time at which files are changed from now on, in ms since 1970.
    pub fn set_clock_ms(&self, clock_ms: i64) {
        self.lock_state().clock_ms = clock_ms;
    }

    /// Flips a bit of a file, as an old disk does.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) -> io::Result<()> {
        let file = self.lock_state().file(path)?;
        lock_content(&file).flip_bit(to_index(position), bit);
        Ok(())
    }

    /// Flips a random bit of a file and returns its position; `None` for an empty file.
    pub fn flip_random_bit(&self, path: &Path) -> io::Result<Option<u64>> {
        let mut state = self.lock_state();
        let file = state.file(path)?;
        let mut content = lock_content(&file);
        if content.cached.is_empty() {
            return Ok(None);
        }
        let position = state.random.below(content.cached.len());
        content.flip_bit(position, u8::try_from(state.random.below(8)).expect("below 8"));
        Ok(Some(position as u64))
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the simulation's lock panics")
    }
}

fn lock_content(file: &FileNode) -> MutexGuard<'_, Content> {
    file.lock().expect("no holder of the simulation's lock panics")
}

impl State {
    /// Counts an operation and answers whether it fails. `Ok(true)`: it is to pretend success.
    fn begin(&mut self, operation: Operation) -> Result<bool, FaultKind> {
        if self.halted {
            return Err(FaultKind::Halt);
        }
        if operation.changes() {
            self.operations += 1;
        }
        let hits: Vec<bool> = self.faults.iter_mut().map(|fault| fault.hits(operation)).collect();
        let Some(hit) = hits.iter().position(|hit| *hit) else {
            return Ok(false);
        };
        let fault = self.faults[hit];
        if !fault.lasting {
            self.faults.remove(hit);
        }
        match fault.kind {
            FaultKind::LostSync => Ok(matches!(operation, Operation::SyncData | Operation::SyncDir)),
            FaultKind::Halt => {
                self.halted = true;
                Err(FaultKind::Halt)
            }
            kind => Err(kind),
        }
    }

    fn file(&self, path: &Path) -> io::Result<FileNode> {
        match self.names.find(path)? {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn used_bytes(&self, dir: u64) -> u64 {
        self.names
            .entries(dir)
            .map(|(_, node)| match node {
                Node::File(file) => lock_content(file).cached.len() as u64,
                Node::Dir(below) => self.used_bytes(*below),
            })
            .sum()
    }

    fn check_room(&self, growth: u64) -> io::Result<()> {
        match self.capacity_bytes {
            Some(capacity) if growth > 0 && self.used_bytes(0) + growth > capacity => {
                Err(Fault::error(FaultKind::NoSpace))
            }
            _ => Ok(()),
        }
    }
}

impl FileSystem for SimFileSystem {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.lock_state();
        if state.halted {
            return Err(Fault::error(FaultKind::Halt));
        }
        let present = match state.file(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let node = match (present, mode) {
            (None, OpenMode::Read | OpenMode::ReadWrite) => return Err(io::ErrorKind::NotFound.into()),
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(file), OpenMode::Read | OpenMode::ReadWrite | OpenMode::OpenOrCreate) => {
                state.begin(Operation::Open).map_err(Fault::error)?;
                file
            }
            (Some(file), OpenMode::Truncate) => {
                state.begin(Operation::Change).map_err(Fault::error)?;
                lock_content(&file).set_len(0);
                file
            }
            (None, OpenMode::OpenOrCreate | OpenMode::CreateNew | OpenMode::Truncate) => {
                state.begin(Operation::Change).map_err(Fault::error)?;
                let file = state.names.add_file(path)?;
                lock_content(&file).modified_ms = state.clock_ms;
                file
            }
        };
        let generation = state.generation;
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(SimFile {
            fs: self.clone(),
            node,
            generation,
            writable,
        }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        state.begin(Operation::Change).map_err(Fault::error)?;
        state.names.create_dir_all(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        state.begin(Operation::Change).map_err(Fault::error)?;
        state.names.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        state.begin(Operation::Change).map_err(Fault::error)?;
        state.names.remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        state.begin(Operation::Change).map_err(Fault::error)?;
        state.names.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        let pretend = state.begin(Operation::SyncDir).map_err(Fault::error)?;
        let dir = state.names.find_dir(path)?;
        if !pretend {
            state.names.sync_dir(dir);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut state = self.lock_state();
        state.begin(Operation::Read).map_err(Fault::error)?;
        let dir = state.names.find_dir(path)?;
        let entry = |(name, node): (&String, &Node)| match node {
            Node::Dir(_) => DirEntry {
                name: name.clone(),
                is_dir: true,
                len: 0,
            },
            Node::File(file) => {
                let len = lock_content(file).cached.len() as u64;
                DirEntry {
                    name: name.clone(),
                    is_dir: false,
                    len,
                }
            }
        };
        Ok(state.names.entries(dir).map(entry).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.lock_state();
        state.begin(Operation::Read).map_err(Fault::error)?;
        match state.names.find(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        if !self.exists(path)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(DiskSpace {
            total_bytes: 1 << 40,
            usable_bytes: 1 << 39,
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        drop(self.open(path, OpenMode::OpenOrCreate)?);
        let mut state = self.lock_state();
        if state.locks.contains_key(path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let id = state.next_lock;
        state.next_lock += 1;
        state.locks.insert(path.to_path_buf(), id);
        Ok(Box::new(SimLock {
            fs: self.clone(),
            path: path.to_path_buf(),
            id,
        }))
    }
}

#[derive(Debug)]
struct SimLock {
    fs: SimFileSystem,
    path: PathBuf,
    id: u64,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.fs.lock_state();
        // After a crash the lock may belong to somebody else.
        if state.locks.get(&self.path) == Some(&self.id) {
            state.locks.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct SimFile {
    fs: SimFileSystem,
    node: FileNode,
    generation: u64,
    writable: bool,
}

impl SimFile {
    /// The disk, if this handle is from after the last crash.
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.fs.lock_state();
        if state.generation != self.generation {
            return Err(Fault::error(FaultKind::Halt));
        }
        Ok(state)
    }

    fn alive_to_write(&self) -> io::Result<MutexGuard<'_, State>> {
        if !self.writable {
            // What Linux answers for a descriptor opened for reading: EBADF, and EINVAL for truncation.
            return Err(io::Error::from_raw_os_error(9));
        }
        self.alive()
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.alive()?.begin(Operation::Read).map_err(Fault::error)?;
        let content = lock_content(&self.node);
        let rest = content.cached.get(to_index(position)..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn read_at_nowait(&self, buffer: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        if self.alive()?.cold {
            return Ok(None);
        }
        self.read_at(buffer, position).map(Some)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut state = self.alive_to_write()?;
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let len = lock_content(&self.node).cached.len() as u64;
        let growth = (position + bytes.len() as u64).saturating_sub(len);
        let failed = match state.begin(Operation::Write) {
            Ok(_) => state.check_room(growth).err(),
            Err(kind) => Some(Fault::error(kind)),
        };
        let Some(error) = failed else {
            let mut content = lock_content(&self.node);
            content.write(position, &bytes);
            content.modified_ms = state.clock_ms;
            return Ok(());
        };
        // A write fails in its middle as well as at its start.
        let mut part = state.random.below(bytes.len() + 1);
        if let Some(capacity) = state.capacity_bytes {
            let room = capacity.saturating_sub(state.used_bytes(0));
            part = part.min(to_index((len + room).saturating_sub(position)));
        }
        lock_content(&self.node).write(position, &bytes[..part]);
        Err(error)
    }

    fn len(&self) -> io::Result<u64> {
        drop(self.alive()?);
        Ok(lock_content(&self.node).cached.len() as u64)
    }

    fn modified_ms(&self) -> io::Result<i64> {
        drop(self.alive()?);
        Ok(lock_content(&self.node).modified_ms)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.alive_to_write()?;
        state.begin(Operation::Change).map_err(Fault::error)?;
        let mut content = lock_content(&self.node);
        if len != content.cached.len() as u64 {
            content.set_len(len);
            content.modified_ms = state.clock_ms;
        }
        Ok(())
    }

    fn preallocate(&self, position: u64, len: u64) -> io::Result<()> {
        let mut state = self.alive_to_write()?;
        state.begin(Operation::Change).map_err(Fault::error)?;
        let present = lock_content(&self.node).cached.len() as u64;
        state.check_room((position + len).saturating_sub(present))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.alive()?;
        let mut content = lock_content(&self.node);
        match state.begin(Operation::SyncData) {
            Ok(false) => content.sync(),
            Ok(true) => {}
            Err(kind) => {
                if kind == FaultKind::InputOutput {
                    content.fail_sync(&mut state.random);
                }
                return Err(Fault::error(kind));
            }
        }
        Ok(())
    }

    fn start_writeback(&self, _position: u64, _len: u64) -> io::Result<()> {
        self.alive().map(drop)
    }

    fn advise_dont_need(&self, _position: u64, _len: u64) -> io::Result<()> {
        self.alive().map(drop)
    }

    fn advise_will_need(&self, _position: u64, _len: u64) -> io::Result<()> {
        self.alive().map(drop)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[cfg(test)]
mod tests;
