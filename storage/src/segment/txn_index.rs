//! Owns the transaction index of a segment: which aborted transactions have their marker in it, in the order of the markers.
//!
//! Kafka's `TransactionIndex` and `AbortedTxn`: 34 bytes per entry, big endian: version i16 = 0, producer id, first offset,
//! last offset (the marker's), last stable offset at that moment, each i64. A segment without aborted transactions has no
//! file. Invariants: last offsets ascend and lie in the segment; an entry is in the file before its marker is in the log,
//! and counts only once the marker is written: what lies behind the counted entries belongs to nobody. A file that breaks
//! this is never used: it is made again from the batches.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::{IoContext, StorageError};
use crate::io::file_system::{File, FileSystem, OpenMode};
use crate::io::patience::Patience;
use crate::segment::file::read_exact_at;

/// Size of an entry.
pub(crate) const ABORTED_TXN_BYTES: usize = 34;
const ENTRY_BYTES: u64 = ABORTED_TXN_BYTES as u64;
/// Entries read in one go.
const BLOCK_ENTRIES: u64 = 256;
/// Entries looked at without leave to wait for the disk: a transaction that stays open for long makes a search long, and
/// that is not for a thread that serves connections.
const MAX_PROMPT_ENTRIES: u64 = 4096;

/// A transaction that was aborted in this partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Its producer.
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: i64,
    /// Offset of its marker.
    pub last_offset: i64,
    /// First offset of what was undecided when the marker was written, or the offset behind the marker.
    pub last_stable_offset: i64,
}

impl AbortedTxn {
    pub(crate) fn encode(&self) -> [u8; ABORTED_TXN_BYTES] {
        let mut bytes = [0; ABORTED_TXN_BYTES];
        bytes[2..10].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[10..18].copy_from_slice(&self.first_offset.to_be_bytes());
        bytes[18..26].copy_from_slice(&self.last_offset.to_be_bytes());
        bytes[26..34].copy_from_slice(&self.last_stable_offset.to_be_bytes());
        bytes
    }

    /// `None` for another version than 0.
    fn decode(bytes: &[u8; ABORTED_TXN_BYTES]) -> Option<Self> {
        let field =
            |at: usize| i64::from_be_bytes(*bytes[at..].first_chunk().expect("the field lies inside the entry"));
        (bytes[..2] == [0, 0]).then(|| Self {
            producer_id: field(2),
            first_offset: field(10),
            last_offset: field(18),
            last_stable_offset: field(26),
        })
    }

    /// Whether a log could have written this as the entry that follows one with its marker at `previous`.
    fn is_possible(&self, previous: i64) -> bool {
        self.producer_id >= 0
            && self.first_offset >= 0
            && self.first_offset < self.last_offset
            && self.last_offset > previous
            && (0..=self.last_offset.saturating_add(1)).contains(&self.last_stable_offset)
    }
}

/// Which aborted transactions are asked for: those with a record in these offsets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OffsetRange {
    /// First offset.
    pub(crate) from: i64,
    /// Offset behind the last one.
    pub(crate) to: i64,
}

/// The first entries of an index file, as many as count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TxnEntries<'a> {
    pub(crate) file: &'a dyn File,
    pub(crate) path: &'a Path,
    pub(crate) count: u64,
}

impl TxnEntries<'_> {
    /// Adds the transactions that have a record in `range`; true when no entry that follows, here or in later segments, can
    /// be one of them.
    pub(crate) fn collect(
        &self,
        patience: Patience,
        range: OffsetRange,
        found: &mut Vec<AbortedTxn>,
    ) -> Result<bool, StorageError> {
        let first = self.first_ending_at(patience, range.from)?;
        let mut next = first;
        while next < self.count {
            if patience == Patience::MemoryOnly && next - first >= MAX_PROMPT_ENTRIES {
                let would_wait = std::io::ErrorKind::WouldBlock.into();
                return Err(StorageError::io("search", self.path, would_wait));
            }
            for txn in self.block(patience, next)? {
                if txn.last_offset >= range.from && txn.first_offset < range.to {
                    found.push(txn);
                }
                if txn.last_stable_offset >= range.to {
                    return Ok(true);
                }
                next += 1;
            }
        }
        Ok(false)
    }

    /// How many entries have their marker before `offset`.
    pub(crate) fn first_ending_at(&self, patience: Patience, offset: i64) -> Result<u64, StorageError> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(patience, middle)?.last_offset < offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// How many of the entries can be believed: those with their marker in `[base_offset, end_offset)`. `None` when an
    /// entry before these ends is one that no log has written.
    pub(crate) fn believable(&self, base_offset: i64, end_offset: i64) -> Result<Option<u64>, StorageError> {
        let mut previous = base_offset - 1;
        let mut next = 0;
        while next < self.count {
            let mut bytes = [0; BLOCK_ENTRIES as usize * ABORTED_TXN_BYTES];
            for entry in self.read_block(Patience::Disk, next, &mut bytes)? {
                let Some(txn) = AbortedTxn::decode(entry).filter(|txn| txn.is_possible(previous)) else {
                    return Ok(None);
                };
                if txn.last_offset >= end_offset {
                    return Ok(Some(next));
                }
                previous = txn.last_offset;
                next += 1;
            }
        }
        Ok(Some(next))
    }

    fn entry(&self, patience: Patience, index: u64) -> Result<AbortedTxn, StorageError> {
        let mut bytes = [0; ABORTED_TXN_BYTES];
        let position = index * ENTRY_BYTES;
        read_exact_at(&patience.of(self.file), self.path, &mut bytes, position)?;
        self.decode(&bytes, position)
    }

    fn block(&self, patience: Patience, first: u64) -> Result<Vec<AbortedTxn>, StorageError> {
        let mut bytes = [0; BLOCK_ENTRIES as usize * ABORTED_TXN_BYTES];
        let entries = self.read_block(patience, first, &mut bytes)?.iter();
        entries.map(|entry| self.decode(entry, first * ENTRY_BYTES)).collect()
    }

    fn read_block<'b>(
        &self,
        patience: Patience,
        first: u64,
        bytes: &'b mut [u8],
    ) -> Result<&'b [[u8; ABORTED_TXN_BYTES]], StorageError> {
        let count = (self.count - first).min(BLOCK_ENTRIES);
        let len = usize::try_from(count * ENTRY_BYTES).expect("a block is small");
        read_exact_at(
            &patience.of(self.file),
            self.path,
            &mut bytes[..len],
            first * ENTRY_BYTES,
        )?;
        Ok(bytes[..len].as_chunks().0)
    }

    fn decode(&self, bytes: &[u8; ABORTED_TXN_BYTES], position: u64) -> Result<AbortedTxn, StorageError> {
        AbortedTxn::decode(bytes)
            .ok_or_else(|| StorageError::corrupt(self.path, position, "unknown version of an entry"))
    }
}

/// The index of the segment that is written.
#[derive(Debug)]
pub(crate) struct ActiveTxnIndex {
    file: OnceLock<Arc<dyn File>>,
    count: AtomicU64,
    /// Offset of the last counted marker, -1 for none: a reader behind it need not look.
    last_offset: AtomicI64,
    unsynced: AtomicBool,
}

impl Default for ActiveTxnIndex {
    fn default() -> Self {
        Self {
            file: OnceLock::new(),
            count: AtomicU64::new(0),
            last_offset: AtomicI64::new(-1),
            unsynced: AtomicBool::new(false),
        }
    }
}

impl ActiveTxnIndex {
    /// Goes on with the first `count` entries of a file, behind which there is nothing. Once, before anything is written.
    pub(crate) fn resume(&self, file: Arc<dyn File>, path: &Path, count: u64) -> Result<(), StorageError> {
        if count > 0 {
            let entries = TxnEntries {
                file: file.as_ref(),
                path,
                count,
            };
            let last = entries.entry(Patience::Disk, count - 1)?;
            self.last_offset.store(last.last_offset, Ordering::Release);
        }
        assert!(self.file.set(file).is_ok(), "an index is resumed before it is written");
        self.count.store(count, Ordering::Release);
        Ok(())
    }

    /// How many entries count.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// The file, once there was an entry.
    pub(crate) fn file(&self) -> Option<&Arc<dyn File>> {
        self.file.get()
    }

    /// The entries, unless all markers lie before `from`.
    pub(crate) fn entries_from<'a>(&'a self, from: i64, path: &'a Path) -> Option<TxnEntries<'a>> {
        let count = self.count();
        if self.last_offset.load(Ordering::Acquire) < from {
            return None;
        }
        let file = self.file.get()?.as_ref();
        Some(TxnEntries { file, path, count })
    }

    /// Writes entries that do not count yet. True when that made the file.
    pub(crate) fn write(&self, fs: &dyn FileSystem, path: &Path, txns: &[AbortedTxn]) -> Result<bool, StorageError> {
        let is_new = self.file.get().is_none();
        let file = match self.file.get() {
            Some(file) => file,
            None => {
                // Only what a kill left could be there, and recovery would have taken it up.
                let file = fs.open(path, OpenMode::Truncate).context("create", path)?;
                self.file.get_or_init(|| file)
            }
        };
        let bytes: Vec<u8> = txns.iter().flat_map(AbortedTxn::encode).collect();
        let position = self.count() * ENTRY_BYTES;
        file.write_at(&[IoSlice::new(&bytes)], position)
            .context("write", path)?;
        self.unsynced.store(true, Ordering::Release);
        Ok(is_new)
    }

    /// The markers of the entries written last are in the log: they count.
    pub(crate) fn publish(&self, txns: &[AbortedTxn]) {
        let Some(last) = txns.last() else { return };
        // The count first: who sees the offset finds the entry.
        self.count.fetch_add(txns.len() as u64, Ordering::AcqRel);
        self.last_offset.store(last.last_offset, Ordering::Release);
    }

    /// Takes away entries that do not count: their markers could not be written.
    pub(crate) fn withdraw(&self, path: &Path) -> Result<(), StorageError> {
        match self.file.get() {
            Some(file) => file.truncate(self.count() * ENTRY_BYTES).context("truncate", path),
            None => Ok(()),
        }
    }

    /// Makes the entries durable.
    pub(crate) fn sync(&self, path: &Path) -> Result<(), StorageError> {
        match self.file.get() {
            Some(file) if self.unsynced.swap(false, Ordering::AcqRel) => file.sync_data().context("sync", path),
            _ => Ok(()),
        }
    }
}

/// Writes an index anew, some entries at a time.
#[derive(Debug)]
pub(crate) struct TxnIndexBuilder {
    file: Arc<dyn File>,
    path: PathBuf,
    count: u64,
    waiting: Vec<u8>,
}

impl TxnIndexBuilder {
    /// Goes on behind the first `count` entries of a file; what follows them is taken away.
    pub(crate) fn behind(file: Arc<dyn File>, path: PathBuf, count: u64) -> Result<Self, StorageError> {
        file.truncate(count * ENTRY_BYTES).context("truncate", &path)?;
        Ok(Self {
            file,
            path,
            count,
            waiting: Vec::new(),
        })
    }

    pub(crate) fn push(&mut self, txn: &AbortedTxn) -> Result<(), StorageError> {
        self.waiting.extend_from_slice(&txn.encode());
        if self.waiting.len() >= BLOCK_ENTRIES as usize * ABORTED_TXN_BYTES {
            self.write()?;
        }
        Ok(())
    }

    /// Writes the rest and makes all of it durable, but for the name; the file and how many entries it has.
    pub(crate) fn finish(mut self) -> Result<(Arc<dyn File>, u64), StorageError> {
        self.write()?;
        self.file.sync_data().context("sync", &self.path)?;
        Ok((self.file, self.count))
    }

    fn write(&mut self) -> Result<(), StorageError> {
        if !self.waiting.is_empty() {
            let slice = [IoSlice::new(&self.waiting)];
            self.file
                .write_at(&slice, self.count * ENTRY_BYTES)
                .context("write", &self.path)?;
            self.count += (self.waiting.len() / ABORTED_TXN_BYTES) as u64;
            self.waiting.clear();
        }
        Ok(())
    }
}

/// How many whole entries a file of this length has, and whether there are bytes behind them.
pub(crate) fn whole_entries(len: u64) -> (u64, bool) {
    (len / ENTRY_BYTES, !len.is_multiple_of(ENTRY_BYTES))
}

#[cfg(test)]
mod tests;
