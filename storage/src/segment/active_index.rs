//! Owns the in-memory index of the segment that is being written: sparse offset and time entries as they will stand in
//! the files, and the exact boundaries of the last batches, so that reading the tail never scans.
//!
//! Pure. Invariants: batches are noted in file order without gaps between positions; `next_offset` and `size_bytes`
//! are those of the last noted batch; entries follow Kafka's `LogSegment.append` (an entry when more than
//! `index.interval.bytes` were written since the last one).

use std::collections::VecDeque;

use protocol::record::{BatchHeader, NO_TIMESTAMP};

use crate::segment::Located;
use crate::segment::offset_index::{self, OffsetEntry};
use crate::segment::time_index::{self, TimeEntry};

/// How many batches are known exactly.
const RECENT_BATCHES: usize = 64;

#[derive(Debug, Clone, Copy)]
struct RecentBatch {
    relative_base_offset: u32,
    relative_last_offset: u32,
    position: u32,
}

/// Where the first batch that ends at or behind an offset begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floor {
    /// Exactly here.
    Batch(Located),
    /// Here or behind; the batches from here on must be looked at.
    ScanFrom(u32),
    /// All batches of the segment end before the offset.
    End,
}

/// Index of the active segment.
#[derive(Debug, Clone)]
pub(crate) struct ActiveIndex {
    base_offset: i64,
    next_offset: i64,
    size_bytes: u32,
    bytes_since_entry: u32,
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
    recent: VecDeque<RecentBatch>,
    first_batch_timestamp_ms: i64,
    /// Largest timestamp so far and the last offset of the batch that has it.
    max_timestamp: Option<(i64, i64)>,
}

impl ActiveIndex {
    /// Index of an empty segment.
    pub(crate) fn new(base_offset: i64) -> Self {
        Self {
            base_offset,
            next_offset: base_offset,
            size_bytes: 0,
            bytes_since_entry: 0,
            offsets: Vec::new(),
            times: Vec::new(),
            recent: VecDeque::new(),
            first_batch_timestamp_ms: NO_TIMESTAMP,
            max_timestamp: None,
        }
    }

    /// Takes entries read from files. The batches from [`Self::size_bytes`] on (which is where the last indexed batch
    /// begins) are still to be noted, the first of them by [`Self::note_indexed`].
    pub(crate) fn resumed(
        base_offset: i64,
        offsets: Vec<OffsetEntry>,
        times: Vec<TimeEntry>,
        first_batch: &BatchHeader,
    ) -> Self {
        let mut index = Self::new(base_offset);
        index.size_bytes = offsets.last().map_or(0, |entry| entry.position);
        index.first_batch_timestamp_ms = first_batch.max_timestamp;
        let max = times.last();
        index.max_timestamp = max.map(|entry| (entry.timestamp_ms, base_offset + i64::from(entry.relative_offset)));
        index.offsets = offsets;
        index.times = times;
        index
    }

    /// Notes the batch at the end of the segment.
    pub(crate) fn note(&mut self, header: &BatchHeader, index_interval_bytes: u32) {
        let relative_last_offset = self.relative(header.last_offset());
        self.note_timestamp(header);
        if self.bytes_since_entry > index_interval_bytes {
            self.offsets.push(OffsetEntry {
                relative_offset: relative_last_offset,
                position: self.size_bytes,
            });
            self.push_time_entry();
            self.bytes_since_entry = 0;
        }
        self.note_boundary(header, relative_last_offset);
    }

    /// Notes a batch whose entry is already in the index.
    pub(crate) fn note_indexed(&mut self, header: &BatchHeader) {
        let relative_last_offset = self.relative(header.last_offset());
        self.note_timestamp(header);
        self.bytes_since_entry = 0;
        self.note_boundary(header, relative_last_offset);
    }

    fn note_timestamp(&mut self, header: &BatchHeader) {
        if self.size_bytes == 0 {
            self.first_batch_timestamp_ms = header.max_timestamp;
        }
        if header.max_timestamp
            > self
                .max_timestamp
                .map_or(NO_TIMESTAMP, |(timestamp_ms, _)| timestamp_ms)
        {
            self.max_timestamp = Some((header.max_timestamp, header.last_offset()));
        }
    }

    fn note_boundary(&mut self, header: &BatchHeader, relative_last_offset: u32) {
        let size_bytes = u32::try_from(header.size_bytes()).expect("a batch length is an i32");
        if self.recent.len() == RECENT_BATCHES {
            self.recent.pop_front();
        }
        self.recent.push_back(RecentBatch {
            relative_base_offset: self.relative(header.base_offset),
            relative_last_offset,
            position: self.size_bytes,
        });
        self.size_bytes = self
            .size_bytes
            .checked_add(size_bytes)
            .expect("a segment is smaller than 4 GiB");
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(size_bytes);
        self.next_offset = header.next_offset();
    }

    fn push_time_entry(&mut self) {
        let Some((timestamp_ms, offset)) = self.max_timestamp else {
            return;
        };
        if self.times.last().is_none_or(|last| last.timestamp_ms < timestamp_ms) {
            self.times.push(TimeEntry {
                timestamp_ms,
                relative_offset: self.relative(offset),
            });
        }
    }

    /// Contents of the two index files of the segment as it is now.
    pub(crate) fn encode_files(&mut self) -> (Vec<u8>, Vec<u8>) {
        self.push_time_entry();
        (
            offset_index::encode_entries(&self.offsets),
            time_index::encode_entries(&self.times),
        )
    }

    /// The entries behind the first so many of each index, as they stand in the files.
    pub(crate) fn encode_entries_from(&self, offset_entries: usize, time_entries: usize) -> (Vec<u8>, Vec<u8>) {
        let offsets = offset_index::encode_entries(&self.offsets[offset_entries..]);
        (offsets, time_index::encode_entries(&self.times[time_entries..]))
    }

    /// Where the first batch with a last offset at or behind `offset` begins.
    pub(crate) fn floor(&self, offset: i64) -> Floor {
        if offset >= self.next_offset {
            return Floor::End;
        }
        let relative = u32::try_from((offset - self.base_offset).max(0)).expect("below the end of the segment");
        let next = self
            .recent
            .partition_point(|batch| batch.relative_last_offset < relative);
        if let Some(batch) = self.recent.get(next) {
            // an older batch, no longer remembered, might end at or behind the offset too
            let is_exact = next > 0 || batch.position == 0 || batch.relative_base_offset <= relative;
            if is_exact {
                let end = self
                    .recent
                    .get(next + 1)
                    .map_or(self.size_bytes, |following| following.position);
                return Floor::Batch(Located {
                    base_offset: self.base_offset + i64::from(batch.relative_base_offset),
                    position: batch.position.into(),
                    size_bytes: (end - batch.position).into(),
                });
            }
        }
        Floor::ScanFrom(offset_index::floor_entry(&self.offsets, relative).map_or(0, |entry| entry.position))
    }

    /// An offset that no batch before `position` reaches: that of a batch near there.
    pub(crate) fn offset_behind(&self, position: u64) -> i64 {
        let recent = self
            .recent
            .partition_point(|batch| u64::from(batch.position) < position);
        if recent > 0
            && let Some(batch) = self.recent.get(recent)
        {
            return self.base_offset + i64::from(batch.relative_base_offset);
        }
        let entry = self
            .offsets
            .partition_point(|entry| u64::from(entry.position) < position);
        match (self.offsets.get(entry), self.recent.front()) {
            (Some(entry), _) => self.base_offset + i64::from(entry.relative_offset),
            (None, Some(batch)) if u64::from(batch.position) >= position => {
                self.base_offset + i64::from(batch.relative_base_offset)
            }
            _ => self.next_offset,
        }
    }

    /// Where to begin to look for the first record at or behind a time: no batch before this position has one.
    pub(crate) fn position_before_time(&self, timestamp_ms: i64) -> u32 {
        let Some(entry) = time_index::floor_entry(&self.times, timestamp_ms) else {
            return 0;
        };
        offset_index::floor_entry(&self.offsets, entry.relative_offset).map_or(0, |entry| entry.position)
    }

    /// The log ends here: behind the last batch, where compaction on the leader left a hole.
    pub(crate) fn set_next_offset(&mut self, next_offset: i64) {
        assert!(next_offset >= self.next_offset, "the hole lies behind the last batch");
        self.next_offset = next_offset;
    }

    /// Bytes of the segment.
    pub(crate) fn size_bytes(&self) -> u32 {
        self.size_bytes
    }

    /// The offset behind the last batch.
    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Entries in the offset and the time index.
    pub(crate) fn entry_counts(&self) -> (usize, usize) {
        (self.offsets.len(), self.times.len())
    }

    /// Largest timestamp of the first batch, if it has one.
    pub(crate) fn first_batch_timestamp_ms(&self) -> Option<i64> {
        (self.first_batch_timestamp_ms > NO_TIMESTAMP).then_some(self.first_batch_timestamp_ms)
    }

    /// Largest timestamp so far and the last offset of the batch that has it.
    pub(crate) fn max_timestamp(&self) -> Option<(i64, i64)> {
        self.max_timestamp
    }

    /// Offset relative to the base offset; the roll decision keeps it in range.
    fn relative(&self, offset: i64) -> u32 {
        u32::try_from(offset - self.base_offset).expect("rolled before the relative offset overflows")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::test_batches::header;

    /// Batches of 100 bytes with 5 offsets each, from offset 1000.
    fn index(count: usize, interval: u32) -> ActiveIndex {
        let mut index = ActiveIndex::new(1000);
        for n in 0..count as i64 {
            index.note(&header(1000 + n * 5, 5, 100, 10 * n), interval);
        }
        index
    }

    #[test]
    fn entries_follow_kafkas_interval_rule() {
        let index = index(7, 250);
        // the fourth batch is the first one with more than 250 bytes since the last entry
        let expected = [(19, 300), (34, 600)].map(|(relative_offset, position)| OffsetEntry {
            relative_offset,
            position,
        });
        assert_eq!(index.offsets, expected);
        let expected = [(30, 19), (60, 34)].map(|(timestamp_ms, relative_offset)| TimeEntry {
            timestamp_ms,
            relative_offset,
        });
        assert_eq!(index.times, expected);
    }

    #[test]
    fn timestamps_that_do_not_grow_get_no_time_entry() {
        let mut index = ActiveIndex::new(0);
        for n in 0..10 {
            index.note(&header(n, 1, 100, if n == 2 { 500 } else { 100 }), 50);
        }
        let timestamps: Vec<i64> = index.times.iter().map(|entry| entry.timestamp_ms).collect();
        assert_eq!(timestamps, [100, 500]);
        assert_eq!(index.max_timestamp(), Some((500, 2)));
    }

    #[test]
    fn recent_batches_are_found_exactly_and_older_ones_by_entry() {
        let index = index(200, 250);
        for offset in 1000..2000 {
            let batch = (offset - 1000) / 5;
            let expected = (batch * 100) as u32;
            match index.floor(offset) {
                Floor::Batch(located) => {
                    let expected = Located {
                        base_offset: 1000 + batch * 5,
                        position: expected.into(),
                        size_bytes: 100,
                    };
                    assert_eq!(located, expected);
                    assert!(batch >= 200 - RECENT_BATCHES as i64);
                }
                Floor::ScanFrom(position) => {
                    assert!(batch < 200 - RECENT_BATCHES as i64);
                    assert!(
                        position <= expected && expected - position <= 400,
                        "{offset}: {position} for {expected}"
                    );
                }
                Floor::End => panic!("{offset} is inside"),
            }
        }
        assert_eq!(index.floor(2000), Floor::End);
    }

    #[test]
    fn holes_lead_to_the_next_batch() {
        let mut index = ActiveIndex::new(0);
        index.note(&header(0, 1, 70, 1), 4096);
        index.note(&header(10, 1, 80, 1), 4096);
        let expected = Floor::Batch(Located {
            base_offset: 10,
            position: 70,
            size_bytes: 80,
        });
        assert_eq!(index.floor(1), expected);
        assert_eq!(index.floor(10), expected);
        assert_eq!(index.floor(11), Floor::End);
    }

    #[test]
    fn resuming_from_entries_equals_having_noted_everything() {
        let mut whole = index(50, 250);
        let headers: Vec<_> = (0..50).map(|n| header(1000 + n * 5, 5, 100, 10 * n)).collect();
        whole.push_time_entry();
        let mut resumed = ActiveIndex::resumed(1000, whole.offsets.clone(), whole.times.clone(), &headers[0]);
        let first = resumed.size_bytes() as usize / 100;
        resumed.note_indexed(&headers[first]);
        for header in &headers[first + 1..] {
            resumed.note(header, 250);
        }
        assert_eq!(resumed.offsets, whole.offsets);
        assert_eq!(resumed.times, whole.times);
        assert_eq!(resumed.bytes_since_entry, whole.bytes_since_entry);
        assert_eq!(resumed.max_timestamp, whole.max_timestamp);
        assert_eq!(
            (resumed.size_bytes, resumed.next_offset),
            (whole.size_bytes, whole.next_offset)
        );
        assert_eq!(resumed.first_batch_timestamp_ms, whole.first_batch_timestamp_ms);
    }
}
