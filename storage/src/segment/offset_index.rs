//! Owns the offset index: which batch stands where, one entry per `index.interval.bytes` written.
//!
//! An entry is the *last* offset of a batch, relative to the segment's base offset, and the position where that batch
//! begins (Kafka's `OffsetIndex`; `kafka-dump-log` checks exactly this). Invariants: both columns strictly ascend; a
//! file holds whole 8-byte entries. A file that breaks these is never used: it is made again from the batches.

use std::path::Path;

use crate::error::StorageError;
use crate::io::patience::Patience;
use crate::segment::index_bytes::IndexBytes;

/// Size of an entry in the file.
pub(crate) const OFFSET_ENTRY_BYTES: u64 = 8;

/// One entry of the offset index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    /// Last offset of the batch minus the base offset of the segment.
    pub(crate) relative_offset: u32,
    /// Where the batch begins in the `.log` file.
    pub(crate) position: u32,
}

impl OffsetEntry {
    pub(crate) fn encode(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes[4..].copy_from_slice(&self.position.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self {
            relative_offset: u32::from_be_bytes([a, b, c, d]),
            position: u32::from_be_bytes([e, f, g, h]),
        }
    }
}

/// The last entry whose batch ends at or before `relative_offset`.
pub(crate) fn floor_entry(entries: &[OffsetEntry], relative_offset: u32) -> Option<OffsetEntry> {
    let next = entries.partition_point(|entry| entry.relative_offset <= relative_offset);
    next.checked_sub(1).map(|index| entries[index])
}

/// The entries as they stand in a file.
pub(crate) fn encode_entries(entries: &[OffsetEntry]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.encode()).collect()
}

/// Reads a whole index file; `None` when it breaks the invariants or points behind `size_bytes` of the segment.
pub(crate) fn decode_entries(bytes: &[u8], size_bytes: u32) -> Option<Vec<OffsetEntry>> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let entries: Vec<OffsetEntry> = chunks.iter().map(|chunk| OffsetEntry::decode(*chunk)).collect();
    let ascending = entries.is_sorted_by(|a, b| a.relative_offset < b.relative_offset && a.position < b.position);
    let inside = entries.last().is_none_or(|last| last.position < size_bytes);
    (rest.is_empty() && ascending && inside).then_some(entries)
}

/// The index file of a sealed segment, looked up by binary search with positioned reads: it costs no memory.
#[derive(Debug)]
pub(crate) struct OffsetIndexFile {
    bytes: IndexBytes,
    entries: u64,
}

impl OffsetIndexFile {
    /// Entries read in one go at the end of the search.
    const BLOCK_ENTRIES: u64 = 64;

    /// Takes the content of an index file; `None` when its length or its last entry cannot be right.
    pub(crate) fn new(bytes: IndexBytes, path: &Path, size_bytes: u32) -> Result<Option<Self>, StorageError> {
        let len = bytes.len(path)?;
        let index = Self {
            bytes,
            entries: len / OFFSET_ENTRY_BYTES,
        };
        if !len.is_multiple_of(OFFSET_ENTRY_BYTES) {
            return Ok(None);
        }
        if index.entries == 0 {
            return Ok(Some(index));
        }
        let entry = |entry| index.entry(Patience::Disk, path, entry);
        let (first, last) = (entry(0)?, entry(index.entries - 1)?);
        let ascending =
            index.entries == 1 || (first.position < last.position && first.relative_offset < last.relative_offset);
        Ok((ascending && last.position < size_bytes).then_some(index))
    }

    /// The last entry whose batch ends at or before `relative_offset`.
    pub(crate) fn floor(
        &self,
        patience: Patience,
        path: &Path,
        relative_offset: u32,
    ) -> Result<Option<OffsetEntry>, StorageError> {
        let (mut low, mut high) = (0, self.entries);
        while high - low > Self::BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            if self.entry(patience, path, middle)?.relative_offset <= relative_offset {
                low = middle;
            } else {
                high = middle;
            }
        }
        let mut block = [0; (Self::BLOCK_ENTRIES * OFFSET_ENTRY_BYTES) as usize];
        let block = &mut block[..((high - low) * OFFSET_ENTRY_BYTES) as usize];
        self.bytes.read_with(patience, path, block, low * OFFSET_ENTRY_BYTES)?;
        let (chunks, _) = block.as_chunks::<8>();
        let entries = chunks.iter().map(|chunk| OffsetEntry::decode(*chunk));
        Ok(entries
            .take_while(|entry| entry.relative_offset <= relative_offset)
            .last())
    }

    /// The first entry of a batch that begins at or behind `position`.
    pub(crate) fn first_at(
        &self,
        patience: Patience,
        path: &Path,
        position: u64,
    ) -> Result<Option<OffsetEntry>, StorageError> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            if u64::from(self.entry(patience, path, middle)?.position) < position {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low < self.entries)
            .then(|| self.entry(patience, path, low))
            .transpose()
    }

    /// Makes the file durable.
    pub(crate) fn sync(&self, path: &Path) -> Result<(), StorageError> {
        self.bytes.sync(path)
    }

    fn entry(&self, patience: Patience, path: &Path, index: u64) -> Result<OffsetEntry, StorageError> {
        let mut bytes = [0; 8];
        self.bytes
            .read_with(patience, path, &mut bytes, index * OFFSET_ENTRY_BYTES)?;
        Ok(OffsetEntry::decode(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::file_system::{FileSystem, OpenMode};
    use crate::io::std_fs::StdFileSystem;
    use std::io::IoSlice;

    fn entries(count: u32) -> Vec<OffsetEntry> {
        (0..count)
            .map(|n| OffsetEntry {
                relative_offset: n * 10 + 9,
                position: n * 100,
            })
            .collect()
    }

    #[test]
    fn layout_is_kafkas() {
        let entry = OffsetEntry {
            relative_offset: 0x0102_0304,
            position: 0x0506_0708,
        };
        assert_eq!(entry.encode(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(OffsetEntry::decode(entry.encode()), entry);
    }

    #[test]
    fn file_lookup_agrees_with_memory_lookup() {
        let dir = tempfile::tempdir().expect("temporary directory");
        for count in [0, 1, 2, 63, 64, 65, 500] {
            let entries = entries(count);
            let path = dir.path().join("x.index");
            let file = StdFileSystem.open(&path, OpenMode::Truncate).expect("open");
            file.write_at(&[IoSlice::new(&encode_entries(&entries))], 0)
                .expect("write");
            let index = OffsetIndexFile::new(IndexBytes::File(file), &path, 50_001)
                .expect("read")
                .expect("valid");
            for target in 0..count * 10 + 20 {
                assert_eq!(
                    index.floor(Patience::Disk, &path, target).expect("read"),
                    floor_entry(&entries, target),
                    "{count} {target}"
                );
            }
        }
    }

    #[test]
    fn broken_files_are_refused() {
        let good = encode_entries(&entries(5));
        assert_eq!(decode_entries(&good, 401), Some(entries(5)));
        assert_eq!(decode_entries(&good, 400), None, "points behind the segment");
        assert_eq!(decode_entries(&good[..39], 401), None, "half an entry");
        let mut unsorted = entries(5);
        unsorted.swap(1, 2);
        assert_eq!(decode_entries(&encode_entries(&unsorted), 401), None);
        assert_eq!(decode_entries(&[0; 16], 401), None, "zero filled");
    }
}
