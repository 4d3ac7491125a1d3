//! The 61-byte header of a record batch, format v2 (KIP-98, Kafka's `DefaultRecordBatch`).
//!
//! Invariants: `parse` accepts only magic 2 and a length that can hold the header, so `size_bytes` is never smaller
//! than the header; `encode` is its exact inverse. The CRC (CRC-32C) covers everything from the attributes on: base
//! offset, length, leader epoch and magic lie outside it, which is why assigning offsets leaves it valid.

use super::BatchError;
use crate::compress::Compression;

/// Size of the header, which is also the size of a batch without records.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Base offset and length, which `batch_length` does not count.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// Where the bytes covered by the CRC begin.
pub(super) const ATTRIBUTES_AT: usize = 21;
/// The only format that is read or written.
pub const MAGIC_V2: i8 = 2;
/// The timestamp of a record or batch that has none.
pub const NO_TIMESTAMP: i64 = -1;
/// The sequence of a batch that has none.
pub const NO_SEQUENCE: i32 = -1;
/// The producer id of a batch whose producer is not idempotent.
pub const NO_PRODUCER_ID: i64 = -1;
/// The epoch that goes with [`NO_PRODUCER_ID`].
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// The leader epoch of a batch that no leader has touched.
pub const NO_LEADER_EPOCH: i32 = -1;

/// Bytes up to and with the magic; these have the same place in every format there has been.
const BYTES_TO_MAGIC: usize = 17;

/// What the timestamps of a topic or batch mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// Each record carries the time its producer gave it.
    CreateTime,
    /// Every record has the time of the append, kept in the header's `max_timestamp`.
    LogAppendTime,
}

/// The attribute bits of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const COMPRESSION_MASK: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// The codec of the records, `None` if the bits name no known one.
    pub const fn compression(self) -> Option<Compression> {
        Compression::from_id(self.compression_id())
    }

    /// The codec bits as they are.
    pub const fn compression_id(self) -> u8 {
        (self.0 & Self::COMPRESSION_MASK) as u8
    }

    /// Are the records' own timestamps replaced by the header's `max_timestamp`?
    pub const fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// What the timestamps of this batch mean.
    pub const fn timestamp_type(self) -> TimestampType {
        if self.is_log_append_time() {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Does the batch belong to a transaction?
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Does the batch hold control records, which consumers do not show?
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Is `base_timestamp` the time from which compaction may drop tombstones and markers?
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same bits with another codec.
    #[must_use]
    pub const fn with_compression(self, compression: Compression) -> Self {
        Self((self.0 & !Self::COMPRESSION_MASK) | compression.id() as i16)
    }

    /// The same bits with another timestamp type.
    #[must_use]
    pub const fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with_bit(
            Self::LOG_APPEND_TIME,
            matches!(timestamp_type, TimestampType::LogAppendTime),
        )
    }

    /// The same bits, in a transaction or not.
    #[must_use]
    pub const fn with_transactional(self, transactional: bool) -> Self {
        self.with_bit(Self::TRANSACTIONAL, transactional)
    }

    /// The same bits, control batch or not.
    #[must_use]
    pub const fn with_control(self, control: bool) -> Self {
        self.with_bit(Self::CONTROL, control)
    }

    /// The same bits, with a delete horizon or not.
    #[must_use]
    pub const fn with_delete_horizon(self, delete_horizon: bool) -> Self {
        self.with_bit(Self::DELETE_HORIZON, delete_horizon)
    }

    const fn with_bit(self, bit: i16, on: bool) -> Self {
        if on { Self(self.0 | bit) } else { Self(self.0 & !bit) }
    }
}

/// The fields before the records of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, or of the first one there was before compaction.
    pub base_offset: i64,
    /// Size of the batch without its first 12 bytes.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch, for the detection of diverging logs.
    pub partition_leader_epoch: i32,
    /// The format; always 2.
    pub magic: i8,
    /// CRC-32C of all that follows this field.
    pub crc: u32,
    /// Codec, timestamp type and kind of the batch.
    pub attributes: Attributes,
    /// Offset of the last record, counted from `base_offset`. Compaction leaves it as it is.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from; the first record's timestamp in a produced batch.
    pub base_timestamp: i64,
    /// The largest timestamp, or the time of the append.
    pub max_timestamp: i64,
    /// The idempotent producer, -1 if it is none.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 if there is none.
    pub base_sequence: i32,
    /// How many records follow.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`. Checks the magic and that `batch_length` covers the header, no more.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let incomplete = BatchError::Incomplete {
            needed: BATCH_HEADER_BYTES,
            available: bytes.len(),
        };
        if bytes.len() < BYTES_TO_MAGIC {
            return Err(incomplete);
        }
        // Before the length: a message of an old format may be shorter than this header.
        let magic = bytes[16] as i8;
        if magic != MAGIC_V2 {
            return Err(BatchError::UnsupportedMagic { magic });
        }
        let Some(bytes) = bytes.first_chunk::<BATCH_HEADER_BYTES>() else {
            return Err(incomplete);
        };
        let header = Self {
            base_offset: i64::from_be_bytes(field(bytes, 0)),
            batch_length: i32::from_be_bytes(field(bytes, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(bytes, 12)),
            magic,
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: Attributes(i16::from_be_bytes(field(bytes, ATTRIBUTES_AT))),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            records_count: i32::from_be_bytes(field(bytes, 57)),
        };
        if header.batch_length < (BATCH_HEADER_BYTES - LOG_OVERHEAD_BYTES) as i32 {
            return Err(BatchError::Corrupt {
                reason: "the batch length is smaller than the batch header",
            });
        }
        Ok(header)
    }

    /// The header as it stands in the log.
    pub fn encode(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        bytes[16] = self.magic as u8;
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.records_count.to_be_bytes());
        bytes
    }

    /// Size of the whole batch, header included.
    pub fn size_bytes(&self) -> usize {
        // `parse` let no smaller length through; a header made by hand has one from `size_bytes` of real bytes.
        LOG_OVERHEAD_BYTES + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// Offset of the last record, or of the last one there was before compaction. Inclusive.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset that follows this batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Sequence of the last record; sequences wrap from 2^31-1 to 0. -1 if the batch has none.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// Whether the first of these batches calls itself transactional. Nothing else of it is looked at.
    pub fn peek_transactional(records: &[u8]) -> bool {
        let is_format_2 = records.get(BYTES_TO_MAGIC - 1) == Some(&2);
        let attributes = records.get(ATTRIBUTES_AT..).and_then(<[u8]>::first_chunk);
        is_format_2 && attributes.is_some_and(|bytes| Attributes(i16::from_be_bytes(*bytes)).is_transactional())
    }

    /// Does an idempotent or transactional producer stand behind this batch?
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// The offset of a record of this batch.
    pub fn record_offset(&self, offset_delta: i32) -> i64 {
        self.base_offset.saturating_add(i64::from(offset_delta))
    }

    /// The timestamp of a record of this batch; with LogAppendTime that is the batch's own.
    pub fn record_timestamp(&self, timestamp_delta: i64) -> i64 {
        if self.attributes.is_log_append_time() {
            self.max_timestamp
        } else {
            // Java wraps here, and every client must see the same number.
            self.base_timestamp.wrapping_add(timestamp_delta)
        }
    }

    /// The CRC that a batch with this header and these bytes behind it must carry.
    pub(super) fn compute_crc(&self, body: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.encode()[ATTRIBUTES_AT..]), body)
    }
}

/// `N` bytes at a fixed place of the header; out of bounds would be a wrong constant in this file.
fn field<const N: usize>(bytes: &[u8; BATCH_HEADER_BYTES], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("the field lies inside the header")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: 0x0102_0304_0506_0708,
            batch_length: 0x1112_1314,
            partition_leader_epoch: 0x2122_2324,
            magic: 2,
            crc: 0x3132_3334,
            attributes: Attributes(0x4142),
            last_offset_delta: 0x5152_5354,
            base_timestamp: 0x6162_6364_6566_6768,
            max_timestamp: 0x7172_7374_7576_7778,
            producer_id: 0x0a0b_0c0d_0e0f_1a1b,
            producer_epoch: 0x1c1d,
            base_sequence: 0x2a2b_2c2d,
            records_count: 0x3a3b_3c3d,
        }
    }

    #[test]
    fn fields_have_kafkas_places() {
        let expected: [u8; 61] = [
            1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24, 2, 0x31, 0x32, 0x33, 0x34, 0x41,
            0x42, 0x51, 0x52, 0x53, 0x54, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x71, 0x72, 0x73, 0x74, 0x75,
            0x76, 0x77, 0x78, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x1a, 0x1b, 0x1c, 0x1d, 0x2a, 0x2b, 0x2c, 0x2d, 0x3a,
            0x3b, 0x3c, 0x3d,
        ];
        assert_eq!(header().encode(), expected);
        assert_eq!(BatchHeader::parse(&expected), Ok(header()));
    }

    #[test]
    fn bad_headers_are_refused() {
        let bytes = header().encode();
        for length in 0..BATCH_HEADER_BYTES {
            let parsed = BatchHeader::parse(&bytes[..length]);
            assert_eq!(
                parsed,
                Err(BatchError::Incomplete {
                    needed: 61,
                    available: length
                })
            );
        }
        for magic in [-1i8, 0, 1, 3] {
            let bytes = BatchHeader { magic, ..header() }.encode();
            assert_eq!(BatchHeader::parse(&bytes), Err(BatchError::UnsupportedMagic { magic }));
            assert_eq!(
                BatchHeader::parse(&bytes[..30]),
                Err(BatchError::UnsupportedMagic { magic })
            );
        }
        for batch_length in [i32::MIN, -1, 0, 48] {
            let bytes = BatchHeader {
                batch_length,
                ..header()
            }
            .encode();
            assert!(matches!(BatchHeader::parse(&bytes), Err(BatchError::Corrupt { .. })));
        }
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let with = |base_sequence, last_offset_delta| BatchHeader {
            base_sequence,
            last_offset_delta,
            ..header()
        };
        assert_eq!(with(5, 3).last_sequence(), 8);
        assert_eq!(with(i32::MAX, 0).last_sequence(), i32::MAX);
        assert_eq!(with(i32::MAX, 1).last_sequence(), 0);
        assert_eq!(with(i32::MAX - 1, 4).last_sequence(), 2);
        assert_eq!(with(-1, 4).last_sequence(), -1);
    }

    #[test]
    fn attribute_bits() {
        let plain = Attributes::default();
        assert_eq!(plain.compression(), Some(Compression::None));
        let all = plain
            .with_compression(Compression::Zstd)
            .with_timestamp_type(TimestampType::LogAppendTime)
            .with_transactional(true)
            .with_control(true)
            .with_delete_horizon(true);
        assert_eq!(all.0, 0b111_1100);
        assert!(all.is_log_append_time() && all.is_transactional() && all.is_control() && all.has_delete_horizon());
        let cleared = all
            .with_compression(Compression::None)
            .with_timestamp_type(TimestampType::CreateTime)
            .with_transactional(false)
            .with_control(false)
            .with_delete_horizon(false);
        assert_eq!(cleared, plain);
        assert_eq!(Attributes(5).compression(), None);
    }

    proptest! {
        #[test]
        fn any_parsed_header_encodes_to_its_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 61)) {
            bytes[16] = 2;
            if let Ok(header) = BatchHeader::parse(&bytes) {
                prop_assert_eq!(&header.encode()[..], &bytes[..]);
                prop_assert!(header.size_bytes() >= BATCH_HEADER_BYTES);
                let _ = (header.last_offset(), header.next_offset(), header.record_timestamp(i64::MAX));
            }
        }
    }
}
