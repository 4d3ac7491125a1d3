//! Owns the time index: the largest timestamp so far and the batch that brought it, at most one entry per offset
//! index entry.
//!
//! An entry is the largest timestamp of the segment up to its moment and the last offset of the batch that has it,
//! relative to the base offset (Kafka's `TimeIndex`). Invariants: timestamps strictly ascend, offsets ascend; a file
//! holds whole 12-byte entries; the last entry of a sealed segment names the segment's largest timestamp.

use std::path::Path;

use crate::error::StorageError;
use crate::segment::index_bytes::IndexBytes;

/// Size of an entry in the file.
pub(crate) const TIME_ENTRY_BYTES: u64 = 12;

/// One entry of the time index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    /// Largest timestamp so far.
    pub(crate) timestamp_ms: i64,
    /// Last offset of the batch that has it, minus the base offset of the segment.
    pub(crate) relative_offset: u32,
}

impl TimeEntry {
    pub(crate) fn encode(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.timestamp_ms.to_be_bytes());
        bytes[8..].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: [u8; 12]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Self {
            timestamp_ms: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            relative_offset: u32::from_be_bytes([i, j, k, l]),
        }
    }
}

/// The last entry with a timestamp at or before `timestamp_ms`.
pub(crate) fn floor_entry(entries: &[TimeEntry], timestamp_ms: i64) -> Option<TimeEntry> {
    let next = entries.partition_point(|entry| entry.timestamp_ms <= timestamp_ms);
    next.checked_sub(1).map(|index| entries[index])
}

/// The entries as they stand in a file.
pub(crate) fn encode_entries(entries: &[TimeEntry]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.encode()).collect()
}

/// Reads a whole index file; `None` when it breaks the invariants.
pub(crate) fn decode_entries(bytes: &[u8]) -> Option<Vec<TimeEntry>> {
    let (chunks, rest) = bytes.as_chunks::<12>();
    let entries: Vec<TimeEntry> = chunks.iter().map(|chunk| TimeEntry::decode(*chunk)).collect();
    let ascending =
        entries.is_sorted_by(|a, b| a.timestamp_ms < b.timestamp_ms && a.relative_offset <= b.relative_offset);
    (rest.is_empty() && ascending).then_some(entries)
}

/// The index file of a sealed segment, looked up by binary search with positioned reads.
#[derive(Debug)]
pub(crate) struct TimeIndexFile {
    bytes: IndexBytes,
    entries: u64,
}

impl TimeIndexFile {
    /// Takes the content of an index file; `None` when its length or its ends cannot be right.
    pub(crate) fn new(bytes: IndexBytes, path: &Path) -> Result<Option<Self>, StorageError> {
        let len = bytes.len(path)?;
        let index = Self {
            bytes,
            entries: len / TIME_ENTRY_BYTES,
        };
        if !len.is_multiple_of(TIME_ENTRY_BYTES) {
            return Ok(None);
        }
        if index.entries > 1 {
            let (first, last) = (index.entry(path, 0)?, index.entry(path, index.entries - 1)?);
            let ascending = first.timestamp_ms < last.timestamp_ms && first.relative_offset <= last.relative_offset;
            return Ok(ascending.then_some(index));
        }
        Ok(Some(index))
    }

    /// The last entry with a timestamp at or before `timestamp_ms`.
    pub(crate) fn floor(&self, path: &Path, timestamp_ms: i64) -> Result<Option<TimeEntry>, StorageError> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(path, middle)?.timestamp_ms <= timestamp_ms {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1).map(|index| self.entry(path, index)).transpose()
    }

    /// Whether there is no entry at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The last entry: the segment's largest timestamp. `None` when no batch had one.
    pub(crate) fn last(&self, path: &Path) -> Result<Option<TimeEntry>, StorageError> {
        self.entries
            .checked_sub(1)
            .map(|index| self.entry(path, index))
            .transpose()
    }

    /// Makes the file durable.
    pub(crate) fn sync(&self, path: &Path) -> Result<(), StorageError> {
        self.bytes.sync(path)
    }

    fn entry(&self, path: &Path, index: u64) -> Result<TimeEntry, StorageError> {
        let mut bytes = [0; 12];
        self.bytes.read(path, &mut bytes, index * TIME_ENTRY_BYTES)?;
        Ok(TimeEntry::decode(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::file_system::{FileSystem, OpenMode};
    use crate::io::std_fs::StdFileSystem;
    use std::io::IoSlice;

    fn entries(count: u32) -> Vec<TimeEntry> {
        (0..count)
            .map(|n| TimeEntry {
                timestamp_ms: i64::from(n) * 10,
                relative_offset: n * 3,
            })
            .collect()
    }

    #[test]
    fn layout_is_kafkas() {
        let entry = TimeEntry {
            timestamp_ms: 0x0102_0304_0506_0708,
            relative_offset: 0x090a_0b0c,
        };
        assert_eq!(entry.encode(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(TimeEntry::decode(entry.encode()), entry);
    }

    #[test]
    fn file_lookup_agrees_with_memory_lookup() {
        let dir = tempfile::tempdir().expect("temporary directory");
        for count in [0, 1, 2, 7, 100] {
            let entries = entries(count);
            let path = dir.path().join("x.timeindex");
            let file = StdFileSystem.open(&path, OpenMode::Truncate).expect("open");
            file.write_at(&[IoSlice::new(&encode_entries(&entries))], 0)
                .expect("write");
            let index = TimeIndexFile::new(IndexBytes::File(file), &path)
                .expect("read")
                .expect("valid");
            assert_eq!(index.last(&path).expect("read"), entries.last().copied());
            for target in -5..i64::from(count) * 10 + 20 {
                assert_eq!(
                    index.floor(&path, target).expect("read"),
                    floor_entry(&entries, target),
                    "{count} {target}"
                );
            }
        }
    }

    #[test]
    fn broken_files_are_refused() {
        let good = encode_entries(&entries(5));
        assert_eq!(decode_entries(&good), Some(entries(5)));
        assert_eq!(decode_entries(&good[..59]), None, "half an entry");
        assert_eq!(decode_entries(&[0; 24]), None, "zero filled");
        let mut unsorted = entries(5);
        unsorted.swap(1, 2);
        assert_eq!(decode_entries(&encode_entries(&unsorted)), None);
    }
}
