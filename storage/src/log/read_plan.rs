//! Owns the answer to a read: which bytes of which file. The bytes themselves are read (or sent by the kernel) later.
//!
//! Invariant: a plan begins at a batch and never reaches over the batch boundary of its end offset; it may end inside a
//! batch only because of the byte limit, and its first batch is whole. (KIP-74, Kafka's `LocalLog.read`.)

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::StorageError;
use crate::io::file_system::File;
use crate::segment::Located;

/// What a read found.
#[derive(Debug, Clone)]
pub struct ReadPlan {
    /// Bytes to deliver; `None` when nothing can be delivered within the limits.
    pub slice: Option<FileSlice>,
    /// Base offset of the first batch in `slice`, else the offset asked for.
    pub first_offset: i64,
    /// `slice` ends only because its segment does: below the end offset there is more, in the next segment.
    pub goes_on: bool,
}

/// A range of a segment's file.
#[derive(Debug, Clone)]
pub struct FileSlice {
    /// The file; stays readable even if the segment is removed meanwhile.
    pub file: Arc<dyn File>,
    /// Where the range begins.
    pub position: u64,
    /// How long it is.
    pub length: usize,
    /// It is in memory by construction: this process has just appended it.
    pub recent: bool,
}

impl FileSlice {
    /// Reads the range; may wait for the disk.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` when the range is no longer there (the log was truncated meanwhile).
    pub fn read(&self) -> io::Result<Bytes> {
        let mut buffer = vec![0; self.length];
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .file
                .read_at(&mut buffer[filled..], self.position + filled as u64)?
            {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        Ok(buffer.into())
    }

    /// Reads the range if it is in memory, `None` if that would wait for the disk.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_nowait(&self) -> io::Result<Option<Bytes>> {
        let mut buffer = vec![0; self.length];
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .file
                .read_at_nowait(&mut buffer[filled..], self.position + filled as u64)?
            {
                None => return Ok(None),
                Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(read) => filled += read,
            }
        }
        Ok(Some(buffer.into()))
    }
}

/// Why a read has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The offset is not in `[log_start_offset, log_end_offset]`.
    #[error("offset {offset} is outside of the log [{log_start_offset}, {log_end_offset}]")]
    OutOfRange {
        /// What was asked for.
        offset: i64,
        /// First offset of the log.
        log_start_offset: i64,
        /// The offset behind the last record.
        log_end_offset: i64,
    },
    /// The disk failed or holds something unreadable.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How many bytes to deliver from the batch at `first` when everything before `end_position` may be delivered.
pub(crate) fn read_length(first: &Located, end_position: u64, max_bytes: usize, min_one_batch: bool) -> usize {
    let available = end_position.saturating_sub(first.position);
    if available < first.size_bytes {
        return 0;
    }
    let limited = available.min(max_bytes as u64);
    let length = match limited {
        limited if limited >= first.size_bytes => limited,
        _ if min_one_batch => first.size_bytes,
        _ => 0,
    };
    usize::try_from(length).expect("a segment is smaller than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Located = Located {
        base_offset: 7,
        position: 1000,
        size_bytes: 100,
    };

    #[test]
    fn limits_cut_later_batches_but_never_the_first() {
        assert_eq!(read_length(&FIRST, 5000, 250, false), 250);
        assert_eq!(read_length(&FIRST, 5000, 100, false), 100);
        assert_eq!(read_length(&FIRST, 5000, 99, false), 0);
        assert_eq!(read_length(&FIRST, 5000, 99, true), 100);
        assert_eq!(read_length(&FIRST, 5000, 0, true), 100);
    }

    #[test]
    fn the_end_is_never_passed() {
        assert_eq!(read_length(&FIRST, 1300, 1 << 20, true), 300);
        assert_eq!(
            read_length(&FIRST, 1000, 1 << 20, true),
            0,
            "the first batch is not below the end"
        );
        assert_eq!(read_length(&FIRST, 900, 1 << 20, true), 0);
    }
}
