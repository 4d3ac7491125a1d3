//! Owns the names of a partition's files and the walk over the batch headers of a `.log` file.
//!
//! Invariants: a name is the base offset in 20 digits and Kafka's suffix (`LogFileUtils`); the walk never believes a
//! length before it was compared with the bytes that are there, and a broken chain of batches is an error that names
//! the file and the position, never a panic.

use std::path::{Path, PathBuf};

use protocol::record::{BATCH_HEADER_BYTES, BatchError, BatchHeader};

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
/// Producer state.
pub(crate) const SNAPSHOT_SUFFIX: &str = ".snapshot";
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
pub(crate) fn read_exact_at(file: &dyn File, path: &Path, buffer: &mut [u8], position: u64) -> Result<(), StorageError> {
    let read = read_up_to(file, path, buffer, position)?;
    if read == buffer.len() {
        return Ok(());
    }
    let why = format!("the file ends at {} but {} bytes are expected here", position + read as u64, buffer.len());
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
        let read = file.read_at(&mut buffer[filled..], position + filled as u64).context("read", path)?;
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

/// Walks batch headers without reading the records. Reads ahead a little, so that small batches cost few system calls.
#[derive(Debug)]
pub(crate) struct HeaderScan<'a> {
    file: &'a dyn File,
    path: &'a Path,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_position: u64,
    buffer_len: usize,
}

impl<'a> HeaderScan<'a> {
    /// Read-ahead of a lookup: about what one index entry stands for.
    pub(crate) const LOOKUP_BYTES: usize = 4096;
    /// Read-ahead of a walk over much of a segment.
    pub(crate) const BULK_BYTES: usize = 64 * 1024;

    /// Walks `[position, end)`; `position` must be the begin of a batch.
    pub(crate) fn new(file: &'a dyn File, path: &'a Path, position: u64, end: u64, read_ahead_bytes: usize) -> Self {
        let read_ahead_bytes = read_ahead_bytes.max(BATCH_HEADER_BYTES);
        Self { file, path, position, end, buffer: vec![0; read_ahead_bytes], buffer_position: 0, buffer_len: 0 }
    }

    /// The next header, `None` at the end.
    ///
    /// # Errors
    /// `Corrupt` where the chain of batches breaks; the walk then stays where it is.
    pub(crate) fn next(&mut self) -> Result<Option<PlacedHeader>, StorageError> {
        let available = self.end - self.position;
        if available == 0 {
            return Ok(None);
        }
        if available < BATCH_HEADER_BYTES as u64 {
            return Err(self.broken("the last batch is cut inside its header".to_owned()));
        }
        let start = self.fill()?;
        let header = match BatchHeader::parse(&self.buffer[start..start + BATCH_HEADER_BYTES]) {
            Ok(header) => header,
            Err(error) => return Err(self.broken(error.to_string())),
        };
        let size_bytes = header.size_bytes() as u64;
        if size_bytes > available {
            let cut = BatchError::Incomplete { needed: header.size_bytes(), available: available as usize };
            return Err(self.broken(cut.to_string()));
        }
        if header.base_offset < 0 || header.last_offset_delta < 0 {
            return Err(self.broken(format!("impossible offsets {} + {}", header.base_offset, header.last_offset_delta)));
        }
        let placed = PlacedHeader { position: self.position, header };
        self.position += size_bytes;
        Ok(Some(placed))
    }

    /// Where the walk stands: the position of the header that `next` reads.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    fn broken(&self, why: String) -> StorageError {
        StorageError::corrupt(self.path, self.position, why)
    }

    /// Makes the header at `position` available; returns its place in the buffer.
    fn fill(&mut self) -> Result<usize, StorageError> {
        let buffered_to = self.buffer_position + self.buffer_len as u64;
        if self.position < self.buffer_position || self.position + BATCH_HEADER_BYTES as u64 > buffered_to {
            let wanted = (self.end - self.position).min(self.buffer.len() as u64) as usize;
            self.buffer_len = 0;
            read_exact_at(self.file, self.path, &mut self.buffer[..wanted], self.position)?;
            self.buffer_position = self.position;
            self.buffer_len = wanted;
        }
        Ok((self.position - self.buffer_position) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let dir = Path::new("/data/topic-0");
        assert_eq!(segment_path(dir, 4711, LOG_SUFFIX), Path::new("/data/topic-0/00000000000000004711.log"));
        assert_eq!(base_offset_of("00000000000000004711.log", LOG_SUFFIX), Some(4711));
        assert_eq!(base_offset_of("00000000000000004711.index", LOG_SUFFIX), None);
        assert_eq!(base_offset_of("00000000000000004711.timeindex", INDEX_SUFFIX), None);
        assert_eq!(base_offset_of("4711.log", LOG_SUFFIX), None);
        assert_eq!(base_offset_of("+0000000000000004711.log", LOG_SUFFIX), None);
        assert_eq!(base_offset_of("99999999999999999999.log", LOG_SUFFIX), None);
    }
}
