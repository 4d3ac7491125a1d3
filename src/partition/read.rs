//! Reading from a partition: which bytes answer a fetch.
//!
//! Invariant: a consumer gets nothing at or above the high watermark, a read-committed one nothing at or above the last
//! stable offset; the bounds are those of one consistent set of watermarks, which is returned beside the bytes.

use protocol::types::Offset;
use storage::log::read_plan::{FileSlice, ReadError, ReadPlan};
use storage::log::reader::LogReader;
use storage::log::txn_index::AbortedTxn;
use storage::log::watermarks::Watermarks;

use crate::partition::partition::{Partition, PartitionError};
use crate::planted;

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Everything committed by replication.
    ReadUncommitted,
    /// Nothing of a transaction that is still open.
    ReadCommitted,
    /// Everything in the log (tools that compare replicas).
    LogEnd,
}

/// Result of one read.
#[derive(Debug)]
pub struct PartitionRead {
    /// The watermarks under which was read.
    pub watermarks: Watermarks,
    /// Records, still in their file; `None` when there is nothing to read.
    pub records: Option<FileSlice>,
    /// Something lies at or behind the offset, whether the limits let it through or not.
    pub readable: bool,
    /// There is more to read, but in another segment: the reader should come back at once.
    pub goes_on: bool,
    /// For a read-committed reader, the aborted transactions that have records among these, by first offset.
    pub aborted: Vec<AbortedTxn>,
}

impl PartitionRead {
    /// Bytes of records.
    pub fn size_bytes(&self) -> usize {
        self.records.as_ref().map_or(0, |slice| slice.length)
    }
}

impl Isolation {
    /// The offset below which the reader may read.
    pub fn end_offset(self, watermarks: &Watermarks) -> Offset {
        match self {
            Self::ReadUncommitted => watermarks.high_watermark,
            Self::ReadCommitted if planted::forgets_last_stable_offset() => watermarks.high_watermark,
            Self::ReadCommitted => watermarks.last_stable_offset,
            Self::LogEnd => watermarks.log_end_offset,
        }
    }
}

impl Partition {
    /// Finds what lies from `fetch_offset` on, at most `max_bytes`; with `min_one_batch` the first batch comes whole
    /// however large it is. May wait for the disk.
    ///
    /// # Errors
    /// `OffsetOutOfRange` below the log start or above the log end; storage errors.
    pub fn read(
        &self,
        fetch_offset: Offset,
        isolation: Isolation,
        max_bytes: usize,
        min_one_batch: bool,
    ) -> Result<PartitionRead, PartitionError> {
        let read = self.read_with(fetch_offset, isolation, |reader, end_offset| {
            let plan = reader.plan_read(fetch_offset, end_offset, max_bytes, min_one_batch)?;
            let aborted = match isolation {
                Isolation::ReadCommitted => reader.aborted_transactions(&plan, fetch_offset, end_offset)?,
                _ => Vec::new(),
            };
            Ok(Some((plan, aborted)))
        });
        read.map(|read| read.expect("a read that may wait is made"))
    }

    /// As [`Self::read`], but `None` where the lookup would wait for the disk.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_nowait(
        &self,
        fetch_offset: Offset,
        isolation: Isolation,
        max_bytes: usize,
        min_one_batch: bool,
    ) -> Result<Option<PartitionRead>, PartitionError> {
        self.read_with(fetch_offset, isolation, |reader, end_offset| {
            let Some(plan) = reader.plan_read_nowait(fetch_offset, end_offset, max_bytes, min_one_batch)? else {
                return Ok(None);
            };
            let aborted = match isolation {
                Isolation::ReadCommitted => reader.aborted_transactions_nowait(&plan, fetch_offset, end_offset)?,
                _ => Some(Vec::new()),
            };
            Ok(aborted.map(|aborted| (plan, aborted)))
        })
    }

    fn read_with(
        &self,
        fetch_offset: Offset,
        isolation: Isolation,
        plan: impl FnOnce(&LogReader, Offset) -> Result<Option<(ReadPlan, Vec<AbortedTxn>)>, ReadError>,
    ) -> Result<Option<PartitionRead>, PartitionError> {
        self.check_open()?;
        let watermarks = self.watermarks();
        if fetch_offset < watermarks.log_start_offset || fetch_offset > watermarks.log_end_offset {
            return Err(out_of_range(fetch_offset, &watermarks));
        }
        let end_offset = isolation.end_offset(&watermarks);
        let mut read = PartitionRead {
            watermarks,
            records: None,
            readable: fetch_offset < end_offset,
            goes_on: false,
            aborted: Vec::new(),
        };
        if !read.readable {
            return Ok(Some(read));
        }
        match plan(&self.reader, end_offset) {
            Ok(Some((plan, aborted))) => {
                read.records = plan.slice;
                read.goes_on = plan.goes_on;
                read.aborted = aborted;
                Ok(Some(read))
            }
            Ok(None) => Ok(None),
            Err(ReadError::Storage(error)) => Err(error.into()),
            Err(ReadError::OutOfRange { .. }) => Err(out_of_range(fetch_offset, &self.watermarks())),
        }
    }
}

fn out_of_range(offset: Offset, watermarks: &Watermarks) -> PartitionError {
    PartitionError::OffsetOutOfRange {
        offset,
        log_start_offset: watermarks.log_start_offset,
        log_end_offset: watermarks.log_end_offset,
    }
}
