//! Finding offsets: by time, at the ends, by leader epoch.
//!
//! Invariant: an answer never names an offset at or above what the asking reader may see. Sources:
//! `UnifiedLog.fetchOffsetByTimestamp`, `Partition.fetchOffsetForTimestamp`, `LeaderEpochFileCache.endOffsetFor`.

use protocol::types::{LeaderEpoch, Now, Offset};
use storage::log::read_plan::ReadError;
use storage::log::segment_offsets::AsOf;

use crate::partition::partition::{Partition, PartitionError};
use crate::partition::read::Isolation;

/// What a client wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetQuery {
    /// First offset of the log (-2), which without tiers is the first on local disk too (-4).
    Earliest,
    /// The offset behind the last readable record (-1).
    Latest,
    /// The record with the largest timestamp (-3).
    MaxTimestamp,
    /// Offsets in a remote tier, of which there is none (-5, -6).
    Tiered,
    /// First record at or after this time, in ms since 1970.
    Timestamp(i64),
}

/// Answer to an [`OffsetQuery`]; -1 in each field means "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The record's timestamp; -1 for the ends of the log.
    pub timestamp_ms: i64,
    /// The offset.
    pub offset: Offset,
    /// Leader epoch of that offset.
    pub leader_epoch: LeaderEpoch,
}

impl FoundOffset {
    const NONE: Self = Self {
        timestamp_ms: -1,
        offset: -1,
        leader_epoch: -1,
    };
}

impl Partition {
    /// Answers an offset query under `isolation`.
    ///
    /// # Errors
    /// Storage errors.
    pub fn find_offset(&self, query: OffsetQuery, isolation: Isolation) -> Result<FoundOffset, PartitionError> {
        self.check_open()?;
        let watermarks = self.watermarks();
        let end_offset = isolation.end_offset(&watermarks);
        let found = match query {
            OffsetQuery::Earliest => {
                let offset = watermarks.log_start_offset;
                let leader_epoch = self.reader.leader_epoch_for_offset(offset).unwrap_or(-1);
                return Ok(FoundOffset {
                    timestamp_ms: -1,
                    offset,
                    leader_epoch,
                });
            }
            OffsetQuery::Latest => {
                return Ok(FoundOffset {
                    timestamp_ms: -1,
                    offset: end_offset,
                    leader_epoch: self.leader_epoch(),
                });
            }
            OffsetQuery::Tiered => return Ok(FoundOffset::NONE),
            OffsetQuery::MaxTimestamp => self.reader.max_timestamp(end_offset),
            OffsetQuery::Timestamp(timestamp_ms) => self.reader.offset_for_timestamp(timestamp_ms, end_offset),
        };
        let found = found.map_err(|error| match error {
            ReadError::Storage(error) => PartitionError::Storage(error),
            ReadError::OutOfRange { .. } => PartitionError::OffsetOutOfRange {
                offset: end_offset,
                log_start_offset: watermarks.log_start_offset,
                log_end_offset: watermarks.log_end_offset,
            },
        })?;
        Ok(found.map_or(FoundOffset::NONE, |found| FoundOffset {
            timestamp_ms: found.timestamp_ms,
            offset: found.offset,
            leader_epoch: found.leader_epoch,
        }))
    }

    /// At most `max_count` offsets at which reading may begin, the newest first, as of a time: what clients could ask for
    /// before records had timestamps. Of those above what a reader under `isolation` may see only its end is told. Source:
    /// Kafka 3.9's `Partition.legacyFetchOffsetsForTimestamp`.
    ///
    /// # Errors
    /// Storage errors.
    pub fn segment_offsets(
        &self,
        as_of: AsOf,
        max_count: usize,
        isolation: Isolation,
        now: Now,
    ) -> Result<Vec<Offset>, PartitionError> {
        self.check_open()?;
        let offsets = self.reader.segment_offsets(as_of, max_count, now);
        let end_offset = isolation.end_offset(&self.watermarks());
        Ok(cut_at(offsets.map_err(PartitionError::Storage)?, end_offset))
    }

    /// Where the requested leader epoch ends: (largest epoch that is not above it, end offset of that epoch);
    /// (-1, -1) when the epoch is not known. Source: KIP-101, KIP-320.
    pub fn end_offset_for_epoch(&self, requested_epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        let current = self.leader_epoch();
        if requested_epoch == current {
            (current, self.watermarks().log_end_offset)
        } else {
            self.reader.end_offset_for_epoch(requested_epoch)
        }
    }
}

/// Descending offsets with `end_offset` in the place of those above it.
fn cut_at(mut offsets: Vec<Offset>, end_offset: Offset) -> Vec<Offset> {
    let above = offsets.partition_point(|offset| *offset > end_offset);
    if above > 0 {
        offsets.splice(..above, [end_offset]);
        offsets.dedup();
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_end_stands_for_all_offsets_above_it() {
        let cut = |end_offset| cut_at(vec![9, 6, 3, 0], end_offset);
        assert_eq!(cut(9), [9, 6, 3, 0]);
        assert_eq!(cut(8), [8, 6, 3, 0]);
        assert_eq!(cut(6), [6, 3, 0]);
        assert_eq!(cut(4), [4, 3, 0]);
        assert_eq!(cut(0), [0]);
        assert_eq!(cut_at(Vec::new(), 5), Vec::<Offset>::new());
    }
}
