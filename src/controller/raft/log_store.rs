//! openraft's log, vote and commit position in one file, `<log dir>/__cluster_metadata-0/raft.log`.
//!
//! Invariants: entries, votes and truncations stand in the file in the order in which openraft asked for them; an
//! append or a vote is answered after `fdatasync`, with one write and one sync for all entries of the call; the commit
//! position is written without a sync and rides on the next one. After a snapshot the file is written anew when most
//! of it is dead. The entries since the last snapshot are also kept in memory, encoded.
//! A storage error is final: openraft's core stops on it, and the process has to.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, ErrorSubject, ErrorVerb, OptionalSend, RaftLogReader, StorageError, StorageIOError};
use storage::io::file_system::FileSystem;

use super::frame_file::{Frame, FrameFile};
use super::types::{
    Entry, LogId, TypeConfig, Vote, decode_entry, decode_log_id, decode_vote, encode_entry, encode_log_id, encode_vote,
};
use crate::metadata::codec::{CodecError, Reader, Writer};

/// Dead bytes below which the file is not written anew.
const REWRITE_BYTES: u64 = 64 << 10;

const IDENTITY: u8 = 1;
const ENTRY: u8 = 2;
const VOTE: u8 = 3;
const COMMITTED: u8 = 4;
const TRUNCATED_FROM: u8 = 5;
const PURGED: u8 = 6;

const FORMAT_VERSION: u64 = 1;

/// Whose log it is; the first frame of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogIdentity {
    /// The cluster.
    pub cluster_id: String,
    /// This disk among the voters.
    pub raft_id: u64,
}

/// Handle to the log; clones share it.
#[derive(Debug, Clone)]
pub struct LogStore {
    memory: Arc<Mutex<Memory>>,
    disk: Arc<Mutex<Disk>>,
}

/// What the file says, replayed.
#[derive(Debug, Default)]
struct Memory {
    entries: BTreeMap<u64, StoredEntry>,
    entry_bytes: u64,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
}

#[derive(Debug, Clone)]
struct StoredEntry {
    log_id: LogId,
    encoded: Bytes,
}

#[derive(Debug)]
struct Disk {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    identity: LogIdentity,
    file: FrameFile,
}

/// A log that was found on the disk.
#[derive(Debug)]
pub struct FoundLog {
    /// The log.
    pub store: LogStore,
    /// Whose it is.
    pub identity: LogIdentity,
}

impl LogStore {
    /// Makes a log that holds these entries, all committed, under a vote; durable when it returns.
    pub fn create(
        fs: &Arc<dyn FileSystem>,
        path: &Path,
        identity: LogIdentity,
        vote: Option<Vote>,
        entries: &[Entry],
    ) -> Result<Self, storage::error::StorageError> {
        let mut memory = Memory {
            vote,
            ..Memory::default()
        };
        entries.iter().for_each(|entry| memory.insert(entry));
        memory.committed = memory.last_log_id();
        let file = FrameFile::create(fs.as_ref(), path, &memory.frames(&identity))?;
        Ok(Self::of(
            memory,
            Disk {
                fs: Arc::clone(fs),
                path: path.to_path_buf(),
                identity,
                file,
            },
        ))
    }

    /// Opens the log; `None` when there is none.
    pub fn open(fs: &Arc<dyn FileSystem>, path: &Path) -> Result<Option<FoundLog>, storage::error::StorageError> {
        let Some(opened) = FrameFile::open(fs.as_ref(), path)? else {
            return Ok(None);
        };
        if opened.cut_bytes > 0 {
            tracing::warn!(
                path = %path.display(),
                cut_bytes = opened.cut_bytes,
                "cut off the end of the metadata log: the last write before the stop had not finished"
            );
        }
        let corrupt = |error: CodecError| storage::error::StorageError::corrupt(path, 0, error.to_string());
        let mut frames = opened.frames.iter();
        let identity = match frames.next() {
            Some((IDENTITY, body)) => decode_identity(body).map_err(corrupt)?,
            _ => return Err(corrupt(CodecError::BadValue("the first frame"))),
        };
        let mut memory = Memory::default();
        for frame in frames {
            memory.replay(frame).map_err(corrupt)?;
        }
        let disk = Disk {
            fs: Arc::clone(fs),
            path: path.to_path_buf(),
            identity: identity.clone(),
            file: opened.file,
        };
        Ok(Some(FoundLog {
            store: Self::of(memory, disk),
            identity,
        }))
    }

    fn of(memory: Memory, disk: Disk) -> Self {
        Self {
            memory: Arc::new(Mutex::new(memory)),
            disk: Arc::new(Mutex::new(disk)),
        }
    }

    /// Bytes of the entries that no snapshot covers yet.
    pub fn entry_bytes(&self) -> u64 {
        self.memory().entry_bytes
    }

    /// The newest entry, also when it was purged.
    pub fn last_log_id(&self) -> Option<LogId> {
        self.memory().last_log_id()
    }

    /// The vote.
    pub fn vote(&self) -> Option<Vote> {
        self.memory().vote
    }

    /// The newest entry that only a snapshot holds.
    pub fn last_purged_log_id(&self) -> Option<LogId> {
        self.memory().purged
    }

    /// Makes everything durable at a stop in order.
    pub fn seal(&self) -> Result<(), storage::error::StorageError> {
        lock(&self.disk).file.seal()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    /// Writes frames and, if asked to, waits for the disk on a thread that may wait.
    async fn write(&self, frames: Vec<Frame>) -> Result<(), storage::error::StorageError> {
        self.on_disk(move |disk| {
            disk.file.append(&frames)?;
            disk.file.sync()
        })
        .await
    }

    async fn on_disk(
        &self,
        work: impl FnOnce(&mut Disk) -> Result<(), storage::error::StorageError> + Send + 'static,
    ) -> Result<(), storage::error::StorageError> {
        let disk = Arc::clone(&self.disk);
        let worked = tokio::task::spawn_blocking(move || work(&mut lock(&disk))).await;
        worked.unwrap_or_else(|error| {
            // The task was cancelled because the runtime stops, or it panicked: either way nothing is known.
            let source = std::io::Error::other(error);
            Err(storage::error::StorageError::io("write the metadata log", "", source))
        })
    }
}

/// A panic while holding the lock aborts the process in production; in tests the state is still whole, because it is
/// changed only after the disk agreed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    fn insert(&mut self, entry: &Entry) {
        let mut out = Writer::new();
        encode_entry(entry, &mut out);
        self.insert_encoded(entry.log_id, Bytes::from(out.into_bytes()));
    }

    fn insert_encoded(&mut self, log_id: LogId, encoded: Bytes) {
        self.entry_bytes += encoded.len() as u64;
        if let Some(old) = self.entries.insert(log_id.index, StoredEntry { log_id, encoded }) {
            self.entry_bytes -= old.encoded.len() as u64;
        }
    }

    fn truncate(&mut self, from: u64) {
        let cut = self.entries.split_off(&from);
        self.entry_bytes -= cut.values().map(|entry| entry.encoded.len() as u64).sum::<u64>();
    }

    fn purge(&mut self, upto: LogId) {
        if self.purged.is_some_and(|purged| purged >= upto) {
            return;
        }
        let kept = self.entries.split_off(&(upto.index + 1));
        let purged = std::mem::replace(&mut self.entries, kept);
        self.entry_bytes -= purged.values().map(|entry| entry.encoded.len() as u64).sum::<u64>();
        self.purged = Some(upto);
    }

    fn last_log_id(&self) -> Option<LogId> {
        self.entries
            .values()
            .next_back()
            .map(|entry| entry.log_id)
            .or(self.purged)
    }

    fn replay(&mut self, (kind, body): &Frame) -> Result<(), CodecError> {
        let mut input = Reader::new(body);
        match *kind {
            ENTRY => {
                let entry = decode_entry(&mut input)?;
                self.insert_encoded(entry.log_id, Bytes::copy_from_slice(body));
            }
            VOTE => self.vote = Some(decode_vote(&mut input)?),
            COMMITTED => self.committed = input.option(decode_log_id)?,
            TRUNCATED_FROM => self.truncate(input.u64()?),
            PURGED => self.purge(decode_log_id(&mut input)?),
            found => {
                return Err(CodecError::Unknown {
                    what: "a frame",
                    found: u64::from(found),
                });
            }
        }
        input.finish()
    }

    /// The shortest file that says all this.
    fn frames(&self, identity: &LogIdentity) -> Vec<Frame> {
        let mut frames = vec![(IDENTITY, encode_identity(identity))];
        frames.extend(self.vote.as_ref().map(vote_frame));
        frames.extend(self.purged.as_ref().map(purged_frame));
        frames.extend(self.entries.values().map(|entry| (ENTRY, entry.encoded.to_vec())));
        frames.push(committed_frame(self.committed.as_ref()));
        frames
    }
}

fn encode_identity(identity: &LogIdentity) -> Vec<u8> {
    let mut out = Writer::new();
    out.u64(FORMAT_VERSION);
    out.str(&identity.cluster_id);
    out.u64(identity.raft_id);
    out.into_bytes()
}

fn decode_identity(body: &[u8]) -> Result<LogIdentity, CodecError> {
    let mut input = Reader::new(body);
    match input.u64()? {
        FORMAT_VERSION => {
            let identity = LogIdentity {
                cluster_id: input.str()?.to_owned(),
                raft_id: input.u64()?,
            };
            input.finish()?;
            Ok(identity)
        }
        found => Err(CodecError::Unknown {
            what: "the metadata log",
            found,
        }),
    }
}

fn vote_frame(vote: &Vote) -> Frame {
    let mut out = Writer::new();
    encode_vote(vote, &mut out);
    (VOTE, out.into_bytes())
}

fn committed_frame(committed: Option<&LogId>) -> Frame {
    let mut out = Writer::new();
    out.option(committed, |out, id| encode_log_id(id, out));
    (COMMITTED, out.into_bytes())
}

fn purged_frame(upto: &LogId) -> Frame {
    let mut out = Writer::new();
    encode_log_id(upto, &mut out);
    (PURGED, out.into_bytes())
}

fn truncated_frame(from: u64) -> Frame {
    let mut out = Writer::new();
    out.u64(from);
    (TRUNCATED_FROM, out.into_bytes())
}

fn io_error(
    subject: ErrorSubject<u64>,
    verb: ErrorVerb,
    error: &(impl std::error::Error + 'static),
) -> StorageError<u64> {
    StorageIOError::new(subject, verb, AnyError::new(error)).into()
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError<u64>> {
        let encoded: Vec<_> = self
            .memory()
            .entries
            .range(range)
            .map(|(_, entry)| entry.encoded.clone())
            .collect();
        let decoded: Result<Vec<_>, _> = encoded
            .iter()
            .map(|bytes| decode_entry(&mut Reader::new(bytes)))
            .collect();
        decoded.map_err(|error| io_error(ErrorSubject::Logs, ErrorVerb::Read, &error))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError<u64>> {
        let memory = self.memory();
        Ok(LogState {
            last_purged_log_id: memory.purged,
            last_log_id: memory.last_log_id(),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError<u64>> {
        let written = self.write(vec![vote_frame(vote)]).await;
        written.map_err(|error| io_error(ErrorSubject::Vote, ErrorVerb::Write, &error))?;
        self.memory().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError<u64>> {
        Ok(self.memory().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError<u64>> {
        // A short write to memory pages; the sync that makes it durable is that of the next append.
        let written = lock(&self.disk).file.append(&[committed_frame(committed.as_ref())]);
        written.map_err(|error| io_error(ErrorSubject::Store, ErrorVerb::Write, &error))?;
        self.memory().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError<u64>> {
        Ok(self.memory().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut frames = Vec::new();
        {
            // openraft wants to read the entries as soon as this returns, so they are in memory before they are on the
            // disk; if the disk fails, the core stops and the memory goes with it.
            let mut memory = self.memory();
            for entry in entries {
                let mut out = Writer::new();
                encode_entry(&entry, &mut out);
                let encoded = out.into_bytes();
                memory.insert_encoded(entry.log_id, Bytes::copy_from_slice(&encoded));
                frames.push((ENTRY, encoded));
            }
        }
        let written = self.write(frames).await;
        callback.log_io_completed(written.map_err(std::io::Error::other));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError<u64>> {
        let written = self.write(vec![truncated_frame(log_id.index)]).await;
        written.map_err(|error| io_error(ErrorSubject::Log(log_id), ErrorVerb::Delete, &error))?;
        self.memory().truncate(log_id.index);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError<u64>> {
        self.memory().purge(log_id);
        let memory = Arc::clone(&self.memory);
        let written = self.on_disk(move |disk| disk.forget(&log_id, &lock(&memory))).await;
        written.map_err(|error| io_error(ErrorSubject::Log(log_id), ErrorVerb::Delete, &error))
    }
}

impl Disk {
    /// Notes that entries are gone, or writes the file anew without them. Neither needs to be durable at once: entries
    /// that come back after a crash are covered by the snapshot.
    fn forget(&mut self, upto: &LogId, memory: &Memory) -> Result<(), storage::error::StorageError> {
        let dead = self.file.size_bytes().saturating_sub(memory.entry_bytes);
        if dead < REWRITE_BYTES || dead < memory.entry_bytes {
            return self.file.append(&[purged_frame(upto)]);
        }
        self.file = FrameFile::create(self.fs.as_ref(), &self.path, &memory.frames(&self.identity))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
