//! Owns what the oldest clients ask of a log: the offsets at which its segments begin, as of some time.
//!
//! Invariants: offsets descend, each is told once, none lies before the log start; no more are told than were asked for.
//! A segment is as old as the last change of its file, and the log end is as old as now: that is all that brokers knew of
//! time before records had timestamps. Source: Kafka 3.9's `UnifiedLog.legacyFetchOffsetsBefore`.

use protocol::types::Now;

use crate::error::{IoContext, StorageError};
use crate::io::file_system::OpenMode;
use crate::log::reader::LogReader;
use crate::segment::file::{LOG_SUFFIX, segment_path};
use crate::segment::{SegmentList, SegmentRef};

/// As of when offsets are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// From the log end on down.
    Latest,
    /// The log start alone.
    Earliest,
    /// From the newest segment on down that was not changed after this time, in ms since 1970.
    Time(i64),
}

impl LogReader {
    /// At most `max_count` offsets at which segments begin, the newest first; before them the log end, if there is a
    /// record in the newest segment. May wait for the disk if a time is given.
    ///
    /// # Errors
    /// Storage errors.
    pub fn segment_offsets(&self, as_of: AsOf, max_count: usize, now: Now) -> Result<Vec<i64>, StorageError> {
        self.shared.check_online()?;
        let segments = self.shared.segments.load_full();
        let marks = self.watermarks();
        let has_end = segments.active.index().size_bytes() > 0;
        // counted like segments: the one behind the active is the log end
        let newest = match as_of {
            AsOf::Latest if has_end => Some(segments.sealed.len() + 1),
            AsOf::Latest => Some(segments.sealed.len()),
            AsOf::Earliest => Some(0),
            AsOf::Time(ms) if has_end && now.wall_ms <= ms => Some(segments.sealed.len() + 1),
            AsOf::Time(ms) => self.newest_unchanged_since(&segments, ms)?,
        };
        let Some(newest) = newest else {
            return Ok(Vec::new());
        };
        let descending = (0..=newest).rev().map(|index| {
            let begin = segments.get(index).map(|segment| segment.base_offset());
            begin.map_or(marks.log_end_offset, |begin| begin.max(marks.log_start_offset))
        });
        let mut offsets: Vec<i64> = Vec::with_capacity(max_count.min(newest + 1));
        for offset in descending {
            if offsets.len() == max_count {
                break;
            }
            // Segments before the log start, and an end that was reached meanwhile, have the offset of a neighbour.
            if offsets.last() != Some(&offset) {
                offsets.push(offset);
            }
        }
        Ok(offsets)
    }

    fn newest_unchanged_since(&self, segments: &SegmentList, ms: i64) -> Result<Option<usize>, StorageError> {
        for index in (0..=segments.sealed.len()).rev() {
            let changed_ms = match segments.get(index) {
                Some(SegmentRef::Active(active)) => active.file().modified_ms().context("look at", active.path()),
                Some(SegmentRef::Sealed(sealed)) => self.file_changed_ms(sealed.base_offset()),
                None => continue,
            };
            match changed_ms {
                Ok(changed_ms) if changed_ms <= ms => return Ok(Some(index)),
                Ok(_) => {}
                // Removed meanwhile, and with it all before it.
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Not among the files that are kept open: those are for readers of records.
    fn file_changed_ms(&self, base_offset: i64) -> Result<i64, StorageError> {
        let path = segment_path(self.shared.path(), base_offset, LOG_SUFFIX);
        let file = self
            .shared
            .fs()
            .open(&path, OpenMode::ReadWrite)
            .context("open", &path)?;
        file.modified_ms().context("look at", &path)
    }
}
