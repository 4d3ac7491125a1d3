//! The `.snapshot` file: producer state of a partition up to the offset in its name, in Kafka's bytes.
//!
//! Pure codec (file access is the log's). Layout, big endian: version i16 = 1, CRC-32C u32 of what follows, count i32,
//! then per producer id: producer id i64, epoch i16, last sequence i32, last offset i64, offset delta i32, timestamp
//! i64, coordinator epoch i32, first offset of the open transaction i64 (-1 = none). Only the last batch of a producer
//! id is kept; the older ones come back when the log behind the snapshot is replayed. (Kafka's `ProducerSnapshot.json`.)

use super::ProducerStates;
use super::entry::{NO_SEQUENCE, ProducerEntry, WrittenBatch};

/// End of the file's name.
pub const SNAPSHOT_SUFFIX: &str = ".snapshot";

const VERSION: i16 = 1;
const HEADER_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;

/// Why a snapshot cannot be used; it is deleted and an older one (or the log) takes its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The file ends early or has bytes behind its end.
    #[error("snapshot of {actual} bytes, expected {expected}")]
    Length {
        /// Bytes found.
        actual: usize,
        /// Bytes that the count asks for.
        expected: usize,
    },
    /// Another version than 1.
    #[error("unknown snapshot version {0}")]
    Version(i16),
    /// Checksum mismatch.
    #[error("snapshot checksum differs")]
    Crc,
    /// An entry that no log can produce.
    #[error("snapshot has an impossible entry for producer id {0}")]
    Entry(i64),
}

/// Name of the snapshot of the state before `offset`.
pub fn snapshot_file_name(offset: i64) -> String {
    format!("{offset:020}{SNAPSHOT_SUFFIX}")
}

/// The offset in a snapshot's name; `None` when it is no such name.
pub fn snapshot_offset(file_name: &str) -> Option<i64> {
    let digits = file_name.strip_suffix(SNAPSHOT_SUFFIX)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The bytes of a snapshot.
pub fn encode_snapshot(states: &ProducerStates) -> Vec<u8> {
    let count = i32::try_from(states.len()).expect("the number of producer ids is limited far below 2^31");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + states.len() * ENTRY_BYTES);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&count.to_be_bytes());
    for entry in states.entries() {
        let batch = entry.last_batch();
        bytes.extend_from_slice(&entry.producer_id.to_be_bytes());
        bytes.extend_from_slice(&entry.producer_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.last_sequence().to_be_bytes());
        bytes.extend_from_slice(&batch.map_or(-1, |batch| batch.last_offset).to_be_bytes());
        bytes.extend_from_slice(&batch.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        bytes.extend_from_slice(&entry.last_timestamp_ms.to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.current_txn_first_offset.unwrap_or(-1).to_be_bytes());
    }
    let crc = crc32c::crc32c(&bytes[6..]);
    bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The entries of a snapshot, for [`ProducerStates::load`] (which the caller skips for expired ones).
pub fn decode_snapshot(bytes: &[u8]) -> Result<Vec<ProducerEntry>, SnapshotError> {
    let length = |expected| SnapshotError::Length {
        actual: bytes.len(),
        expected,
    };
    let (header, body) = bytes
        .split_at_checked(HEADER_BYTES)
        .ok_or_else(|| length(HEADER_BYTES))?;
    let mut header = Reader(header);
    let version = i16::from_be_bytes(header.take());
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let crc = u32::from_be_bytes(header.take());
    if crc != crc32c::crc32c(&bytes[6..]) {
        return Err(SnapshotError::Crc);
    }
    let count = usize::try_from(i32::from_be_bytes(header.take())).map_err(|_| length(HEADER_BYTES))?;
    if body.len() != count.saturating_mul(ENTRY_BYTES) {
        return Err(length(count.saturating_mul(ENTRY_BYTES).saturating_add(HEADER_BYTES)));
    }
    body.chunks_exact(ENTRY_BYTES).map(decode_entry).collect()
}

fn decode_entry(bytes: &[u8]) -> Result<ProducerEntry, SnapshotError> {
    let mut reader = Reader(bytes);
    let mut entry = ProducerEntry::new(i64::from_be_bytes(reader.take()));
    let producer_epoch = i16::from_be_bytes(reader.take());
    let last_sequence = i32::from_be_bytes(reader.take());
    let last_offset = i64::from_be_bytes(reader.take());
    let offset_delta = i32::from_be_bytes(reader.take());
    let timestamp_ms = i64::from_be_bytes(reader.take());
    let coordinator_epoch = i32::from_be_bytes(reader.take());
    let current_txn_first_offset = i64::from_be_bytes(reader.take());
    if entry.producer_id < 0
        || last_sequence < NO_SEQUENCE
        || offset_delta < 0
        || (last_offset >= 0 && i64::from(offset_delta) > last_offset)
    {
        return Err(SnapshotError::Entry(entry.producer_id));
    }
    entry.end_transaction(producer_epoch, coordinator_epoch, timestamp_ms);
    if last_offset >= 0 {
        entry.add_batch(
            producer_epoch,
            WrittenBatch {
                last_sequence,
                last_offset,
                offset_delta,
                timestamp_ms,
            },
        );
    }
    entry.current_txn_first_offset = (current_txn_first_offset >= 0).then_some(current_txn_first_offset);
    Ok(entry)
}

/// Takes fixed fields off a slice whose length has been checked.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the caller has checked the length");
        self.0 = rest;
        *field
    }
}
