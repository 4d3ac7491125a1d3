//! Owns the decision when a segment is full. Pure.
//!
//! Source: Kafka `LogSegment.shouldRoll`, `LogConfig.randomSegmentJitter`. A roll never happens on an empty segment:
//! the new one would
//! have the same base offset and so the same name.

use crate::config::LogConfig;

/// What the decision needs to know of the active segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentFill {
    /// Base offset of the segment.
    pub(crate) base_offset: i64,
    /// Bytes in it.
    pub(crate) size_bytes: u32,
    /// Entries of its offset index.
    pub(crate) offset_entries: usize,
    /// Entries of its time index.
    pub(crate) time_entries: usize,
    /// Largest timestamp of its first batch, if that has one.
    pub(crate) first_batch_timestamp_ms: Option<i64>,
    /// When the segment was made.
    pub(crate) created_ms: i64,
    /// What this segment takes off `segment.ms`.
    pub(crate) jitter_ms: i64,
}

/// The batch that is to be appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NextBatch {
    /// Its size on disk.
    pub(crate) size_bytes: usize,
    /// Its last offset.
    pub(crate) last_offset: i64,
    /// Its largest timestamp.
    pub(crate) max_timestamp_ms: i64,
}

/// Why a segment is rolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RollReason {
    /// The batch would make the segment larger than `segment.bytes`.
    Size,
    /// The first batch is older than `segment.ms`.
    Age,
    /// An index reached `segment.index.bytes`.
    IndexFull,
    /// The offset can no longer be written relative to the base offset.
    OffsetRange,
    /// The owner asked for it.
    Requested,
}

/// Whether the segment must be rolled before the batch is appended.
pub(crate) fn roll_reason(
    fill: &SegmentFill,
    batch: &NextBatch,
    config: &LogConfig,
    now_ms: i64,
) -> Option<RollReason> {
    if fill.size_bytes == 0 {
        return None;
    }
    if fill.size_bytes as usize + batch.size_bytes > config.segment_bytes as usize {
        return Some(RollReason::Size);
    }
    let waited_ms = match fill.first_batch_timestamp_ms {
        Some(first_ms) => batch.max_timestamp_ms.saturating_sub(first_ms),
        None => now_ms.saturating_sub(fill.created_ms),
    };
    if waited_ms > config.segment_ms.saturating_sub(fill.jitter_ms) {
        return Some(RollReason::Age);
    }
    // the time index keeps one place free for the entry written when the segment is sealed
    let offset_entries_full = config.segment_index_bytes as usize / 8;
    let time_entries_full = (config.segment_index_bytes as usize / 12).saturating_sub(1);
    if fill.offset_entries >= offset_entries_full.max(1) || fill.time_entries >= time_entries_full.max(1) {
        return Some(RollReason::IndexFull);
    }
    if batch.last_offset - fill.base_offset > i64::from(i32::MAX) {
        return Some(RollReason::OffsetRange);
    }
    None
}

/// What a segment takes off `segment.ms`, so that the segments of many partitions do not roll in the same moment.
/// `seed` differs per segment; the same segment always gets the same answer.
pub(crate) fn segment_jitter_ms(config: &LogConfig, seed: u32) -> i64 {
    let bound = config.segment_jitter_ms.min(config.segment_ms);
    if bound <= 0 { 0 } else { i64::from(seed) % bound }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill() -> SegmentFill {
        SegmentFill {
            base_offset: 100,
            size_bytes: 500,
            offset_entries: 1,
            time_entries: 1,
            first_batch_timestamp_ms: Some(1_000),
            created_ms: 0,
            jitter_ms: 0,
        }
    }

    fn batch() -> NextBatch {
        NextBatch {
            size_bytes: 500,
            last_offset: 120,
            max_timestamp_ms: 2_000,
        }
    }

    fn config() -> LogConfig {
        LogConfig {
            segment_bytes: 1000,
            segment_ms: 5_000,
            segment_index_bytes: 120,
            ..LogConfig::default()
        }
    }

    #[test]
    fn rolls_by_size_only_when_the_batch_does_not_fit() {
        assert_eq!(roll_reason(&fill(), &batch(), &config(), 0), None);
        let larger = NextBatch {
            size_bytes: 501,
            ..batch()
        };
        assert_eq!(roll_reason(&fill(), &larger, &config(), 0), Some(RollReason::Size));
    }

    #[test]
    fn rolls_by_timestamps_of_the_batches_and_not_by_the_clock() {
        assert_eq!(roll_reason(&fill(), &batch(), &config(), i64::MAX), None);
        let late = NextBatch {
            max_timestamp_ms: 6_001,
            ..batch()
        };
        assert_eq!(roll_reason(&fill(), &late, &config(), 0), Some(RollReason::Age));
        let jittered = SegmentFill {
            jitter_ms: 4_500,
            ..fill()
        };
        assert_eq!(roll_reason(&jittered, &batch(), &config(), 0), Some(RollReason::Age));
    }

    #[test]
    fn rolls_by_the_clock_when_the_first_batch_has_no_timestamp() {
        let untimed = SegmentFill {
            first_batch_timestamp_ms: None,
            ..fill()
        };
        assert_eq!(roll_reason(&untimed, &batch(), &config(), 5_000), None);
        assert_eq!(roll_reason(&untimed, &batch(), &config(), 5_001), Some(RollReason::Age));
    }

    #[test]
    fn rolls_when_an_index_is_full() {
        let offsets = SegmentFill {
            offset_entries: 15,
            ..fill()
        };
        assert_eq!(
            roll_reason(&offsets, &batch(), &config(), 0),
            Some(RollReason::IndexFull)
        );
        let times = SegmentFill {
            time_entries: 9,
            ..fill()
        };
        assert_eq!(roll_reason(&times, &batch(), &config(), 0), Some(RollReason::IndexFull));
    }

    #[test]
    fn rolls_when_the_relative_offset_does_not_fit() {
        let last = NextBatch {
            last_offset: 100 + i64::from(i32::MAX),
            ..batch()
        };
        assert_eq!(roll_reason(&fill(), &last, &config(), 0), None);
        let beyond = NextBatch {
            last_offset: last.last_offset + 1,
            ..last
        };
        assert_eq!(
            roll_reason(&fill(), &beyond, &config(), 0),
            Some(RollReason::OffsetRange)
        );
    }

    #[test]
    fn an_empty_segment_is_never_rolled() {
        let empty = SegmentFill {
            size_bytes: 0,
            ..fill()
        };
        let huge = NextBatch {
            size_bytes: 10_000,
            last_offset: i64::MAX,
            max_timestamp_ms: i64::MAX,
        };
        assert_eq!(roll_reason(&empty, &huge, &config(), i64::MAX), None);
    }

    #[test]
    fn jitter_stays_below_its_bound() {
        assert_eq!(segment_jitter_ms(&config(), 77), 0);
        let jittered = LogConfig {
            segment_jitter_ms: 10,
            ..config()
        };
        assert_eq!(segment_jitter_ms(&jittered, 77), 7);
        let shorter = LogConfig {
            segment_jitter_ms: i64::MAX,
            segment_ms: 50,
            ..config()
        };
        assert_eq!(segment_jitter_ms(&shorter, 77), 27);
    }
}
