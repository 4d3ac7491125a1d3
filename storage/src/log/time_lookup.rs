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
        let mut newest_in_part: Option<TimestampOffset> = None;
        for index in segments.index_for(log_start_offset).. {
            let Some(segment) = segments.get(index) else { break };
            if segment.base_offset() < log_start_offset {
                // The index speaks of deleted records too.
                newest_in_part = self.max_timestamp_from(segment, log_start_offset)?;
            } else if let Some((largest_ms, _)) = self.max_timestamp_of(segment)?
                && newest.is_none_or(|(_, newest_ms)| largest_ms > newest_ms)
            {
                newest = Some((segment, largest_ms));
            }
        }
        let found = match (newest, newest_in_part) {
            (Some((_, largest_ms)), Some(found)) if found.timestamp_ms >= largest_ms => Some(found),
            (Some((segment, largest_ms)), _) => {
                let path = segment_path(self.shared.path(), segment.base_offset(), LOG_SUFFIX);
                let (file, range) = self.range_from_time(segment, largest_ms)?;
                first_record(file.as_ref(), &path, range, largest_ms, |_, record_ms| {
                    record_ms >= largest_ms
                })?
            }
            (None, found) => found,
        };
        Ok(found.filter(|found| found.offset < end_offset))
    }

    /// The first record with the largest timestamp among those of a segment from `offset` on, by reading them.
    fn max_timestamp_from(
        &self,
        segment: SegmentRef<'_>,
        offset: i64,
    ) -> Result<Option<TimestampOffset>, StorageError> {
        let (file, range) = self.range_from_time(segment, i64::MIN)?;
        let path = segment_path(self.shared.path(), segment.base_offset(), LOG_SUFFIX);
        let mut scan = HeaderScan::new(file.as_ref(), &path, range, HeaderScan::BULK_BYTES);
        let mut newest: Option<TimestampOffset> = None;
        while let Some(placed) = scan.next()? {
            let is_newer = |ms: i64| newest.is_none_or(|newest| ms > newest.timestamp_ms);
            if placed.header.last_offset() < offset || !is_newer(placed.header.max_timestamp) {
                continue;
            }
            let mut largest: Option<(i64, i64)> = None;
            visit_records(file.as_ref(), &path, &placed, |record, ms| {
                if record >= offset && is_newer(ms) && largest.is_none_or(|(_, largest_ms)| ms > largest_ms) {
                    largest = Some((record, ms));
                }
                true
            })?;
            let leader_epoch = placed.header.partition_leader_epoch;
            newest = largest
                .map(|(offset, timestamp_ms)| TimestampOffset {
                    offset,
                    timestamp_ms,
                    leader_epoch,
                })
                .or(newest);
        }
        Ok(newest)
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
        let mut found = None;
        visit_records(file, path, &placed, |offset, record_ms| {
            if wanted(offset, record_ms) {
                found = Some((offset, record_ms));
            }
            found.is_none()
        })?;
        if let Some((offset, timestamp_ms)) = found {
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

/// Calls `visit(offset, timestamp)` for the records of a batch until it answers `false`.
fn visit_records(
    file: &dyn File,
    path: &Path,
    placed: &PlacedHeader,
    mut visit: impl FnMut(i64, i64) -> bool,
) -> Result<(), StorageError> {
    let mut bytes = vec![0; placed.header.size_bytes()];
    read_exact_at(file, path, &mut bytes, placed.position)?;
    let corrupt = |error: BatchError| StorageError::corrupt(path, placed.position, error.to_string());
    let view = BatchView::parse(&bytes).map_err(corrupt)?;
    // What is damaged is reported before it is decompressed.
    view.verify_crc().map_err(corrupt)?;
    let records = view.records(MAX_DECOMPRESSED_BYTES).map_err(corrupt)?;
    for record in &records {
        let record = record.map_err(corrupt)?;
        let offset = view.header.record_offset(record.offset_delta);
        if !visit(offset, view.header.record_timestamp(record.timestamp_delta)) {
            break;
        }
    }
    Ok(())
}
