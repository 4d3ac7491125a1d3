//! Owns the names of a partition's files and the walk over the batch headers of a `.log` file.
//!
//! Invariants: a name is the base offset in 20 digits and Kafka's suffix (`LogFileUtils`); the walk never believes a
//! length before it was compared with the bytes that are there, and a broken chain of batches is an error that names
//! the file and the position, never a panic.

use std::path::{Path, PathBuf};

use protocol::record::{BATCH_HEADER_BYTES, BatchHeader};

use crate::error::{IoContext, StorageError};
use crate::io::file_system::File;

/// Record batches.
pub(crate) const LOG_SUFFIX: &str = ".log";
/// Offset index.
pub(crate) const INDEX_SUFFIX: &str = ".index";
/// Time index.
pub(crate) const TIME_INDEX_SUFFIX: &str = ".timeindex";
/// Index of aborted transactions.
pub(crate) const TXN_INDEX_SUFFIX: &str = ".txnindex";
/// The CRC covers a batch from its attributes on.
const CRC_COVERS_FROM: u64 = 21;
/// Files of a removed segment, until they are gone.
pub(crate) const DELETED_SUFFIX: &str = ".deleted";

/// Path of one of the files of the segment that begins at `base_offset`.
pub(crate) fn segment_path(dir: &Path, base_offset: i64, suffix: &str) -> PathBuf {
    dir.join(format!("{base_offset:020}{suffix}"))
}

/// Base offset of a file name with this suffix; `None` for any other name.
pub(crate) fn base_offset_of(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix)?;
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

/// Reads exactly `buffer.len()` bytes at `position`; a shorter file is an error.
pub(crate) fn read_exact_at(
    file: &dyn File,
    path: &Path,
    buffer: &mut [u8],
    position: u64,
) -> Result<(), StorageError> {
    let read = read_up_to(file, path, buffer, position)?;
    if read == buffer.len() {
        return Ok(());
    }
    let why = format!(
        "the file ends at {} but {} bytes are expected here",
        position + read as u64,
        buffer.len()
    );
    Err(StorageError::corrupt(path, position, why))
}

/// Fills `buffer` from `position` as far as the file goes.
pub(crate) fn read_up_to(
    file: &dyn File,
    path: &Path,
    buffer: &mut [u8],
    position: u64,
) -> Result<usize, StorageError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let read = file
            .read_at(&mut buffer[filled..], position + filled as u64)
            .context("read", path)?;
        if read == 0 {
            break;
        }
        filled += read;
    }
    Ok(filled)
}

/// A batch header and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacedHeader {
    /// Position of the batch in the file.
    pub(crate) position: u64,
    /// Its header.
    pub(crate) header: BatchHeader,
}

impl PlacedHeader {
    /// Position behind the batch.
    pub(crate) fn end_position(&self) -> u64 {
        self.position + self.header.size_bytes() as u64
    }
}

/// The part of a segment that is walked and the offsets that may stand there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScanRange {
    /// Begin of a batch.
    pub(crate) position: u64,
    /// End of the bytes that may be looked at.
    pub(crate) end: u64,
    /// No batch begins below this offset.
    pub(crate) base_offset: i64,
    /// No batch reaches this offset.
    pub(crate) limit_offset: i64,
}

/// Walks batch headers without interpreting the records. Reads ahead a little, so that small batches cost few system
/// calls.
#[derive(Debug)]
pub(crate) struct HeaderScan<'a> {
    file: &'a dyn File,
    path: &'a Path,
    range: ScanRange,
    buffer: Vec<u8>,
    buffer_position: u64,
    buffer_len: usize,
}

impl<'a> HeaderScan<'a> {
    /// Read-ahead of a lookup: about what one index entry stands for.
    pub(crate) const LOOKUP_BYTES: usize = 4096;
    /// Read-ahead of a walk over much of a segment.
    pub(crate) const BULK_BYTES: usize = 64 * 1024;
    /// Read-ahead of a walk that reads everything.
    pub(crate) const FULL_BYTES: usize = 256 * 1024;

    /// Begins a walk.
    pub(crate) fn new(file: &'a dyn File, path: &'a Path, range: ScanRange, read_ahead_bytes: usize) -> Self {
        let wanted = read_ahead_bytes.max(BATCH_HEADER_BYTES) as u64;
        let buffer =
            vec![0; usize::try_from(wanted.min(range.end - range.position)).expect("not above the read-ahead")];
        Self {
            file,
            path,
            range,
            buffer,
            buffer_position: 0,
            buffer_len: 0,
        }
    }

    /// The next header, `None` at the end.
    ///
    /// # Errors
    /// `Corrupt` where the chain of batches breaks; the walk then stays where it is.
    pub(crate) fn next(&mut self) -> Result<Option<PlacedHeader>, StorageError> {
        let available = self.range.end - self.range.position;
        if available == 0 {
            return Ok(None);
        }
        if available < BATCH_HEADER_BYTES as u64 {
            return Err(self.broken("the last batch is cut inside its header"));
        }
        let position = self.range.position;
        let parsed = BatchHeader::parse(self.bytes(position, BATCH_HEADER_BYTES)?);
        let header = parsed.map_err(|error| self.broken(error.to_string()))?;
        let size_bytes = header.size_bytes() as u64;
        if size_bytes > available {
            return Err(self.broken(format!("a batch of {size_bytes} bytes where the file has {available}")));
        }
        let (first, last) = (header.base_offset, header.last_offset());
        let count_fits = header.records_count >= 0 && i64::from(header.records_count) - 1 <= last - first;
        if first < self.range.base_offset || last < first || last >= self.range.limit_offset || !count_fits {
            return Err(self.broken(format!(
                "a batch with offsets {first} to {last} and {} records where {} to {} are expected",
                header.records_count, self.range.base_offset, self.range.limit_offset
            )));
        }
        self.range.position += size_bytes;
        self.range.base_offset = header.next_offset();
        Ok(Some(PlacedHeader { position, header }))
    }

    /// Whether the CRC of the batch that `next` just returned is right. Memory use does not depend on its size.
    pub(crate) fn crc_matches(&mut self, placed: &PlacedHeader) -> Result<bool, StorageError> {
        let (mut position, end) = (placed.position + CRC_COVERS_FROM, placed.end_position());
        let mut crc = 0;
        while position < end {
            let bytes = self.bytes(position, 1)?;
            let length = (bytes.len() as u64).min(end - position);
            crc = crc32c::crc32c_append(crc, &bytes[..length as usize]);
            position += length;
        }
        Ok(crc == placed.header.crc)
    }

    /// Whether everything from `position` to the end is zero.
    pub(crate) fn is_zero_from(&mut self, mut position: u64) -> Result<bool, StorageError> {
        while position < self.range.end {
            let bytes = self.bytes(position, 1)?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            position += bytes.len() as u64;
        }
        Ok(true)
    }

    /// The file that is walked.
    pub(crate) fn path(&self) -> &Path {
        self.path
    }

    fn broken(&self, why: impl Into<String>) -> StorageError {
        StorageError::corrupt(self.path, self.range.position, why)
    }

    /// At least `least` bytes from `position` on; there must be so many.
    fn bytes(&mut self, position: u64, least: usize) -> Result<&[u8], StorageError> {
        let buffered_to = self.buffer_position + self.buffer_len as u64;
        if position < self.buffer_position || position + least as u64 > buffered_to {
            let wanted = (self.range.end - position).min(self.buffer.len() as u64) as usize;
            self.buffer_len = 0;
            read_exact_at(self.file, self.path, &mut self.buffer[..wanted], position)?;
            self.buffer_position = position;
            self.buffer_len = wanted;
        }
        Ok(&self.buffer[(position - self.buffer_position) as usize..self.buffer_len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let dir = Path::new("/data/topic-0");
        assert_eq!(
            segment_path(dir, 4711, LOG_SUFFIX),
            Path::new("/data/topic-0/00000000000000004711.log")
        );
        assert_eq!(base_offset_of("00000000000000004711.log", LOG_SUFFIX), Some(4711));
        assert_eq!(base_offset_of("00000000000000004711.index", LOG_SUFFIX), None);
        assert_eq!(base_offset_of("00000000000000004711.timeindex", INDEX_SUFFIX), None);
        assert_eq!(base_offset_of("4711.log", LOG_SUFFIX), None);
        assert_eq!(base_offset_of("+0000000000000004711.log", LOG_SUFFIX), None);
        assert_eq!(base_offset_of("99999999999999999999.log", LOG_SUFFIX), None);
    }
}
