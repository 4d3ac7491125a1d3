//! Batch headers for tests that need no records.

use protocol::record::{Attributes, BatchHeader};

/// A header that claims `size_bytes` in all and `count` offsets.
pub(crate) fn header(base_offset: i64, count: i32, size_bytes: i32, max_timestamp: i64) -> BatchHeader {
    BatchHeader {
        base_offset,
        batch_length: size_bytes - 12,
        partition_leader_epoch: 0,
        magic: 2,
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: count - 1,
        base_timestamp: max_timestamp,
        max_timestamp,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records_count: count,
    }
}
