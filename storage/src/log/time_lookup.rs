//! Owns lookups by time in one log.
//!
//! Invariants: answers are exact to the record and never at or behind the given end; a compressed batch is
//! decompressed into bounded memory. Sources: Kafka's `UnifiedLog.fetchOffsetByTimestamp`,
//! `FileRecords.searchForTimestamp`, `RecordBatch.offsetOfMaxTimestamp`.

use std::path::Path;
use std::sync::Arc;

use protocol::record::{BatchError, BatchView};

use crate::error::StorageError;
use crate::io::file_system::File;
use crate::log::read_plan::ReadError;
use crate::log::reader::{LogReader, TimestampOffset};
use crate::segment::SegmentRef;
use crate::segment::file::{HeaderScan, LOG_SUFFIX, PlacedHeader, ScanRange, read_exact_at, segment_path};

/// Most bytes that the records of one batch may take when they are decompressed for a lookup. Producers' batches are
/// checked against the broker's own limit before they are appended; this one only keeps a damaged file harmless.
const MAX_DECOMPRESSED_BYTES: usize = 256 * 1024 * 1024;

impl LogReader {
    /// The first record with a timestamp at or behind `timestamp_ms`; `None` when there is none below `end_offset`.
    ///
    /// # Errors
    /// Storage errors.
    pub fn offset_for_timestamp(
        &self,
        timestamp_ms: i64,
        end_offset: i64,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        self.shared.check_online()?;
        let marks = self.watermarks();
        let segments = self.shared.segments.load();
        for index in segments.index_for(marks.log_start_offset).. {
            let Some(segment) = segments.get(index) else { break };
            let largest = self.max_timestamp_of(segment)?;
            if largest.is_none_or(|(largest_ms, _)| largest_ms < timestamp_ms) {
                continue;
            }
            let (file, range) = self.range_from_time(segment, timestamp_ms)?;
            let path = segment_path(self.shared.path(), segment.base_offset(), LOG_SUFFIX);
            let wanted = |offset: i64, record_ms: i64| offset >= marks.log_start_offset && record_ms >= timestamp_ms;
            if let Some(found) = first_record(file.as_ref(), &path, range, timestamp_ms, wanted)? {
                return Ok((found.offset < end_offset).then_some(found));
            }
        }
        Ok(None)
    }

    /// The first record that has the largest timestamp of the log; `None` when it is not below `end_offset`.
    ///
    /// # Errors
    /// Storage errors.
    pub fn max_timestamp(&self, end_offset: i64) -> Result<Option<TimestampOffset>, ReadError> {
        self.shared.check_online()?;
        let segments = self.shared.segments.load();
        let log_start_offset = self.watermarks().log_start_offset;
        let mut newest: Option<(SegmentRef<'_>, i64)> = None;
        for index in segments.index_for(log_start_offset).. {
            let Some(segment) = segments.get(index) else { break };
            if let Some((largest_ms, _)) = self.max_timestamp_of(segment)?
                && newest.is_none_or(|(_, newest_ms)| largest_ms > newest_ms)
            {
                newest = Some((segment, largest_ms));
            }
        }
        let Some((segment, largest_ms)) = newest else {
            return Ok(None);
        };
        let path = segment_path(self.shared.path(), segment.base_offset(), LOG_SUFFIX);
        let (file, range) = self.range_from_time(segment, largest_ms)?;
        let wanted = |offset: i64, record_ms: i64| offset >= log_start_offset && record_ms >= largest_ms;
        let found = first_record(file.as_ref(), &path, range, largest_ms, wanted)?;
        Ok(found.filter(|found| found.offset < end_offset))
    }

    /// Largest timestamp of a segment and the last offset of the batch that has it.
    fn max_timestamp_of(&self, segment: SegmentRef<'_>) -> Result<Option<(i64, i64)>, StorageError> {
        match segment {
            SegmentRef::Active(active) => Ok(active.index().max_timestamp()),
            SegmentRef::Sealed(sealed) => {
                let files = self.shared.dir.files(sealed)?;
                sealed.max_timestamp(self.shared.fs(), self.shared.path(), &files)
            }
        }
    }

    /// The part of a segment in which the first record at or behind a time must lie.
    fn range_from_time(
        &self,
        segment: SegmentRef<'_>,
        timestamp_ms: i64,
    ) -> Result<(Arc<dyn File>, ScanRange), StorageError> {
        match segment {
            SegmentRef::Active(active) => {
                let position = active.index().position_before_time(timestamp_ms).into();
                Ok((
                    Arc::clone(active.file()),
                    ScanRange {
                        position,
                        ..active.range()
                    },
                ))
            }
            SegmentRef::Sealed(sealed) => {
                let files = self.shared.dir.files(sealed)?;
                let (fs, dir) = (self.shared.fs(), self.shared.path());
                let position = sealed.position_before_time(fs, dir, &files, timestamp_ms)?;
                Ok((
                    Arc::clone(files.log()),
                    ScanRange {
                        position,
                        ..sealed.range()
                    },
                ))
            }
        }
    }
}

/// The first record for which `wanted(offset, timestamp)` holds, in batches that reach `timestamp_ms`.
fn first_record(
    file: &dyn File,
    path: &Path,
    range: ScanRange,
    timestamp_ms: i64,
    wanted: impl Fn(i64, i64) -> bool,
) -> Result<Option<TimestampOffset>, StorageError> {
    let mut scan = HeaderScan::new(file, path, range, HeaderScan::LOOKUP_BYTES);
    while let Some(placed) = scan.next()? {
        if placed.header.max_timestamp < timestamp_ms {
            continue;
        }
        if let Some((offset, timestamp_ms)) = first_record_of(file, path, &placed, &wanted)? {
            let leader_epoch = placed.header.partition_leader_epoch;
            return Ok(Some(TimestampOffset {
                offset,
                timestamp_ms,
                leader_epoch,
            }));
        }
    }
    Ok(None)
}

fn first_record_of(
    file: &dyn File,
    path: &Path,
    placed: &PlacedHeader,
    wanted: &impl Fn(i64, i64) -> bool,
) -> Result<Option<(i64, i64)>, StorageError> {
    let mut bytes = vec![0; placed.header.size_bytes()];
    read_exact_at(file, path, &mut bytes, placed.position)?;
    let corrupt = |error: BatchError| StorageError::corrupt(path, placed.position, error.to_string());
    let view = BatchView::parse(&bytes).map_err(corrupt)?;
    // What compaction emptied has no records; what is damaged is reported before it is decompressed.
    view.verify_crc().map_err(corrupt)?;
    let records = view.records(MAX_DECOMPRESSED_BYTES).map_err(corrupt)?;
    for record in &records {
        let record = record.map_err(corrupt)?;
        let offset = view.header.record_offset(record.offset_delta);
        let record_ms = view.header.record_timestamp(record.timestamp_delta);
        if wanted(offset, record_ms) {
            return Ok(Some((offset, record_ms)));
        }
    }
    Ok(None)
}
