//! Owns the reading side of one log: which bytes answer a fetch, where the log ends, which epoch an offset belongs to.
//!
//! Invariants: no call waits for the writer, and none that may not wait for the disk takes a lock that is held while the
//! disk is touched; every answer is
//! bounded by one consistent set of watermarks. Clones are cheap and see the same log. Sources: Kafka's
//! `LocalLog.read`,
//! `LeaderEpochFileCache`.

use std::sync::Arc;

use crate::flush::DurableListener;
use crate::io::file_system::File;
use crate::io::patience::Patience;
use crate::log::read_plan::{FileSlice, ReadError, ReadPlan, read_length};
use crate::log::shared::LogShared;
use crate::log::watermarks::Watermarks;
use crate::segment::{Located, SegmentList, SegmentRef};

/// A batch and the file it is in.
type FoundBatch = (Located, Arc<dyn File>);

/// The reading side of a log.
#[derive(Debug, Clone)]
pub struct LogReader {
    pub(super) shared: Arc<LogShared>,
}

/// What a read asks for.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    fetch_offset: i64,
    end_offset: i64,
    max_bytes: usize,
    min_one_batch: bool,
}

impl Wanted {
    fn nothing(self) -> ReadPlan {
        ReadPlan {
            slice: None,
            first_offset: self.fetch_offset,
            goes_on: false,
        }
    }
}

/// Answer of a lookup by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Offset of the record.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp_ms: i64,
    /// Leader epoch of its batch; -1 = none.
    pub leader_epoch: i32,
}

impl LogReader {
    pub(super) fn new(shared: Arc<LogShared>) -> Self {
        Self { shared }
    }

    /// The bounds of the log, valid together.
    #[must_use]
    pub fn watermarks(&self) -> Watermarks {
        self.shared.marks.load()
    }

    /// Finds what lies from the batch that contains `fetch_offset` on, below `end_offset`. At most `max_bytes`; with
    /// `min_one_batch` the first batch comes whole however large it is, without it nothing comes when it does not fit.
    /// One segment at a time: the next fetch continues in the next segment.
    ///
    /// # Errors
    /// `OutOfRange` before the log start or behind the log end; storage errors.
    pub fn plan_read(
        &self,
        fetch_offset: i64,
        end_offset: i64,
        max_bytes: usize,
        min_one_batch: bool,
    ) -> Result<ReadPlan, ReadError> {
        let wanted = Wanted {
            fetch_offset,
            end_offset,
            max_bytes,
            min_one_batch,
        };
        self.plan(wanted, Patience::Disk)
    }

    /// As [`Self::plan_read`], but `None` where the lookup would wait for the disk.
    ///
    /// # Errors
    /// As [`Self::plan_read`].
    pub fn plan_read_nowait(
        &self,
        fetch_offset: i64,
        end_offset: i64,
        max_bytes: usize,
        min_one_batch: bool,
    ) -> Result<Option<ReadPlan>, ReadError> {
        let wanted = Wanted {
            fetch_offset,
            end_offset,
            max_bytes,
            min_one_batch,
        };
        match self.plan(wanted, Patience::MemoryOnly) {
            Err(ReadError::Storage(error)) if error.is_cold() => Ok(None),
            planned => planned.map(Some),
        }
    }

    fn plan(&self, wanted: Wanted, patience: Patience) -> Result<ReadPlan, ReadError> {
        self.shared.check_online()?;
        let marks = self.check_range(wanted.fetch_offset)?;
        let wanted = Wanted {
            end_offset: wanted.end_offset.min(marks.log_end_offset),
            ..wanted
        };
        if wanted.fetch_offset >= wanted.end_offset {
            return Ok(wanted.nothing());
        }
        let segments = self.shared.segments.load();
        if wanted.fetch_offset < segments.first_base_offset() {
            // Removed since the look at the log start, which moves first; reading would skip to what is left.
            self.check_range(wanted.fetch_offset)?;
        }
        match self.plan_in(&segments, wanted, patience) {
            // Removed between the look at the log start and the opening of the file.
            Err(ReadError::Storage(error)) if error.is_not_found() => {
                self.check_range(wanted.fetch_offset)?;
                let segments = self.shared.segments.load();
                self.plan_in(&segments, wanted, patience)
            }
            other => other,
        }
    }

    fn plan_in(&self, segments: &SegmentList, wanted: Wanted, patience: Patience) -> Result<ReadPlan, ReadError> {
        for index in segments.index_for(wanted.fetch_offset).. {
            let before_end = |segment: &SegmentRef<'_>| segment.base_offset() < wanted.end_offset;
            let Some(segment) = segments.get(index).filter(before_end) else {
                break;
            };
            // Nothing at or behind the offset: it is the end of the segment, or compaction took the rest.
            let Some((first, file)) = self.locate(segment, wanted.fetch_offset, patience)? else {
                continue;
            };
            let enough = first.position + first.size_bytes.max(wanted.max_bytes as u64);
            let end_position = self.end_position(segment, wanted.end_offset, enough, patience)?;
            let length = read_length(&first, end_position, wanted.max_bytes, wanted.min_one_batch);
            if length == 0 {
                break;
            }
            let recent = matches!(segment, SegmentRef::Active(active) if active.is_recent(first.position));
            let slice = FileSlice {
                file,
                position: first.position,
                length,
                recent,
            };
            let next = segments.get(index + 1);
            return Ok(ReadPlan {
                goes_on: slice.position + length as u64 == end_position && next.is_some_and(|next| before_end(&next)),
                slice: Some(slice),
                first_offset: first.base_offset,
            });
        }
        Ok(wanted.nothing())
    }

    pub(super) fn check_range(&self, offset: i64) -> Result<Watermarks, ReadError> {
        let marks = self.watermarks();
        let (log_start_offset, log_end_offset) = (marks.log_start_offset, marks.log_end_offset);
        if offset < log_start_offset || offset > log_end_offset {
            return Err(ReadError::OutOfRange {
                offset,
                log_start_offset,
                log_end_offset,
            });
        }
        Ok(marks)
    }

    fn locate(
        &self,
        segment: SegmentRef<'_>,
        offset: i64,
        patience: Patience,
    ) -> Result<Option<FoundBatch>, ReadError> {
        match segment {
            SegmentRef::Active(active) => Ok(active
                .locate(offset, patience)?
                .map(|located| (located, Arc::clone(active.file())))),
            SegmentRef::Sealed(sealed) => {
                let files = self.shared.dir.files_with(patience, sealed)?;
                let located = sealed.locate(self.shared.fs(), self.shared.path(), &files, offset, patience)?;
                Ok(located.map(|located| (located, Arc::clone(files.log()))))
            }
        }
    }

    /// Position behind the last batch that lies wholly below `end_offset`, or anything from `enough` on up to there.
    fn end_position(
        &self,
        segment: SegmentRef<'_>,
        end_offset: i64,
        enough: u64,
        patience: Patience,
    ) -> Result<u64, ReadError> {
        match segment {
            SegmentRef::Active(active) => Ok(active.end_position(end_offset, enough, patience)?),
            SegmentRef::Sealed(sealed) if end_offset >= sealed.next_offset() => Ok(sealed.size_bytes().into()),
            SegmentRef::Sealed(sealed) => {
                let files = self.shared.dir.files_with(patience, sealed)?;
                let located = sealed.locate(self.shared.fs(), self.shared.path(), &files, end_offset, patience)?;
                Ok(located.map_or_else(|| u64::from(sealed.size_bytes()), |located| located.position))
            }
        }
    }

    /// Leader epoch in which `offset` was written, or would be.
    #[must_use]
    pub fn leader_epoch_for_offset(&self, offset: i64) -> Option<i32> {
        self.shared.epochs.load().epoch_for_offset(offset)
    }

    /// Largest known epoch not above the requested one and where it ends; (-1, -1) when the epoch is not known. The
    /// caller answers for the epoch in which it leads now, which may have no entry yet.
    #[must_use]
    pub fn end_offset_for_epoch(&self, requested_epoch: i32) -> (i32, i64) {
        let log_end_offset = self.watermarks().log_end_offset;
        self.shared
            .epochs
            .load()
            .end_offset_for(requested_epoch, log_end_offset)
    }

    /// Newest leader epoch of the log.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<i32> {
        self.shared.epochs.load().latest().map(|latest| latest.epoch)
    }

    /// Everything below needs no scan after a crash; what the recovery point checkpoint is to say.
    #[must_use]
    pub fn recovery_point(&self) -> i64 {
        self.durable_offset()
    }

    /// Everything below is on the disk.
    #[must_use]
    pub fn durable_offset(&self) -> i64 {
        self.shared.durable_offset()
    }

    /// Calls `listener` whenever the durable offset moved forward, on the flusher's thread and with no lock of the log
    /// held. Set once; a second listener is ignored.
    pub fn on_durable(&self, listener: DurableListener) {
        self.shared.set_listener(listener);
    }

    /// Bytes in all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.shared.segments.load().size_bytes()
    }

    /// Base offset of the segment that is written; files of older ones do not change any more.
    #[must_use]
    pub fn active_base_offset(&self) -> i64 {
        self.shared.segments.load().active.base_offset()
    }

    /// Bytes in the segment that is written.
    #[must_use]
    pub fn active_size_bytes(&self) -> u64 {
        self.shared.segments.load().active.index().size_bytes().into()
    }

    /// Number of segments.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.shared.segments.load().sealed.len() + 1
    }

    /// Whether the last append found no room on the disk.
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        self.shared.lacks_room()
    }

    /// Whether a disk failure took the log out of use.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.shared.is_offline()
    }
}
