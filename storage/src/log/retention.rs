//! Owns the decision which segments of a log have outlived its retention. Pure.
//!
//! Invariants: what goes are the oldest segments without a gap; each lies wholly below the last stable offset, so that
//! the log start passes neither the high watermark nor an open transaction; an empty active segment stays. Timestamps
//! are asked for one by one, from the oldest segment on, and not behind the first segment that stays: on a disk each
//! may cost a read. Source: Kafka's `UnifiedLog.deleteOldSegments` and `deletableSegments`.

use crate::config::LogConfig;

/// What the decision needs to know of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentExtent {
    /// Offset behind its last record: the base offset of its successor, or the log end.
    pub(crate) next_offset: i64,
    /// Its size.
    pub(crate) size_bytes: u64,
}

/// What the decision needs to know of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetentionInput<'a> {
    /// All segments, the oldest first, the active one last.
    pub(crate) segments: &'a [SegmentExtent],
    /// First offset that may be read.
    pub(crate) log_start_offset: i64,
    /// No segment that reaches this offset goes.
    pub(crate) last_stable_offset: i64,
    /// Wall clock.
    pub(crate) now_ms: i64,
    /// `cleanup.policy`, `retention.bytes` and `retention.ms`.
    pub(crate) config: &'a LogConfig,
}

/// How many of the oldest segments are to go, by the first reason that applies to each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outlived {
    /// They lie wholly before the log start.
    pub below_log_start: usize,
    /// Without them the log still has `retention.bytes`.
    pub by_size: usize,
    /// Their newest record is older than `retention.ms`.
    pub by_time: usize,
}

impl Outlived {
    /// All of them.
    #[must_use]
    pub fn count(&self) -> usize {
        self.below_log_start + self.by_size + self.by_time
    }
}

/// Decides. `largest_timestamp_ms` of a segment is that of its newest record, or the time of its file's last change
/// where no record has one; `None` where nobody knows, which keeps the segment.
pub(crate) fn outlived(
    input: &RetentionInput<'_>,
    mut largest_timestamp_ms: impl FnMut(usize) -> Option<i64>,
) -> Outlived {
    let (segments, config) = (input.segments, input.config);
    let is_active = |index: usize| index + 1 == segments.len();
    let may_go = |index: usize| {
        segments.get(index).is_some_and(|segment| {
            segment.next_offset <= input.last_stable_offset && !(is_active(index) && segment.size_bytes == 0)
        })
    };
    let mut first = 0;
    // The active segment is not among these, even when nothing in it can be read any more: who writes on will fill it.
    while may_go(first) && !is_active(first) && segments[first].next_offset <= input.log_start_offset {
        first += 1;
    }
    let below_log_start = first;
    if config.delete
        && let Ok(retention_bytes) = u64::try_from(config.retention_bytes)
    {
        let size_bytes: u64 = segments[first..].iter().map(|segment| segment.size_bytes).sum();
        let mut surplus = size_bytes.checked_sub(retention_bytes);
        while may_go(first)
            && let Some(rest) = surplus.and_then(|surplus| surplus.checked_sub(segments[first].size_bytes))
        {
            surplus = Some(rest);
            first += 1;
        }
    }
    let by_size = first - below_log_start;
    if config.delete && config.retention_ms >= 0 {
        // A timestamp from the future gives a negative age.
        let is_old = |ms: i64| input.now_ms.saturating_sub(ms) > config.retention_ms;
        while may_go(first) && largest_timestamp_ms(first).is_some_and(is_old) {
            first += 1;
        }
    }
    Outlived {
        below_log_start,
        by_size,
        by_time: first - below_log_start - by_size,
    }
}

#[cfg(test)]
mod tests;
