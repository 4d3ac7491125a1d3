//! Builds record batches: for internal topics, control batches, tests and the benchmark.
//!
//! Invariants: offset deltas are 0, 1, 2, …; the base timestamp is the first record's, the max timestamp the largest;
//! the base offset is 0 and the CRC right. What `build` returns passes the validation of a produce, unless it is a
//! control batch. Misuse (no records, more than fits a batch) is a fault of our own and asserted.

use bytes::Bytes;

use super::varint::{varint_len, varlong_len, write_varint, write_varlong};
use super::{
    Attributes, BATCH_HEADER_BYTES, BatchHeader, Compression, LOG_OVERHEAD_BYTES, MAGIC_V2, NO_LEADER_EPOCH,
    NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, TimestampType, ValidatedBatch,
};
use crate::compress;

/// A batch being filled.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    attributes: Attributes,
    compression: Compression,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    records_count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    /// Room for the header, then the records, not compressed yet.
    bytes: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch of no producer.
    pub fn new(timestamp_type: TimestampType, compression: Compression) -> Self {
        Self {
            attributes: Attributes::default()
                .with_timestamp_type(timestamp_type)
                .with_compression(compression),
            compression,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            records_count: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            bytes: vec![0; BATCH_HEADER_BYTES],
        }
    }

    /// Names the producer and the sequence of the first record.
    #[must_use]
    pub fn with_producer(mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (producer_id, producer_epoch, base_sequence);
        self
    }

    /// Makes the batch part of a transaction, or not.
    #[must_use]
    pub fn transactional(mut self, transactional: bool) -> Self {
        self.attributes = self.attributes.with_transactional(transactional);
        self
    }

    /// Makes this a control batch.
    #[must_use]
    pub(super) fn control(mut self) -> Self {
        self.attributes = self.attributes.with_control(true);
        self
    }

    /// Adds a record behind the others.
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        if self.records_count == 0 {
            self.base_timestamp = timestamp_ms;
        }
        let timestamp_delta = timestamp_ms.wrapping_sub(self.base_timestamp);
        let offset_delta = self.records_count;
        let length = record_len(timestamp_delta, offset_delta, key, value, headers);
        write_varint(&mut self.bytes, length_of(length));
        self.bytes.push(0);
        write_varlong(&mut self.bytes, timestamp_delta);
        write_varint(&mut self.bytes, offset_delta);
        write_nullable_bytes(&mut self.bytes, key);
        write_nullable_bytes(&mut self.bytes, value);
        write_varint(&mut self.bytes, length_of(headers.len()));
        for (key, value) in headers {
            write_nullable_bytes(&mut self.bytes, Some(key.as_bytes()));
            write_nullable_bytes(&mut self.bytes, *value);
        }
        self.records_count = offset_delta
            .checked_add(1)
            .expect("a batch this long would not fit its size either");
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
    }

    /// Size of the batch so far, header included, without compression.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many records the batch has so far.
    pub fn records_count(&self) -> i32 {
        self.records_count
    }

    /// Is there no record yet?
    pub fn is_empty(&self) -> bool {
        self.records_count == 0
    }

    /// The finished batch, with base offset 0. There must be a record.
    pub fn build(self) -> ValidatedBatch {
        let (header, bytes) = self.finish();
        ValidatedBatch::built(header, bytes)
    }

    /// The finished batch as a producer would send it.
    pub fn build_bytes(self) -> Bytes {
        self.finish().1
    }

    fn finish(mut self) -> (BatchHeader, Bytes) {
        assert!(!self.is_empty(), "a batch is built of at least one record");
        if self.compression != Compression::None {
            let body = compress::compress(self.compression, &self.bytes[BATCH_HEADER_BYTES..]);
            self.bytes.truncate(BATCH_HEADER_BYTES);
            self.bytes.extend_from_slice(&body);
        }
        let mut header = BatchHeader {
            base_offset: 0,
            batch_length: length_of(self.bytes.len() - LOG_OVERHEAD_BYTES),
            partition_leader_epoch: NO_LEADER_EPOCH,
            magic: MAGIC_V2,
            crc: 0,
            attributes: self.attributes,
            last_offset_delta: self.records_count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            records_count: self.records_count,
        };
        header.crc = header.compute_crc(&self.bytes[BATCH_HEADER_BYTES..]);
        self.bytes[..BATCH_HEADER_BYTES].copy_from_slice(&header.encode());
        (header, self.bytes.into())
    }
}

/// Size of a record behind its length field.
fn record_len(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&str, Option<&[u8]>)],
) -> usize {
    let headers_len: usize = headers
        .iter()
        .map(|(key, value)| nullable_bytes_len(Some(key.as_bytes())) + nullable_bytes_len(*value))
        .sum();
    1 + varlong_len(timestamp_delta)
        + varint_len(offset_delta)
        + nullable_bytes_len(key)
        + nullable_bytes_len(value)
        + varint_len(length_of(headers.len()))
        + headers_len
}

fn nullable_bytes_len(bytes: Option<&[u8]>) -> usize {
    // Null is written as the length -1, which takes one byte.
    bytes.map_or(1, |bytes| varint_len(length_of(bytes.len())) + bytes.len())
}

fn write_nullable_bytes(output: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            write_varint(output, length_of(bytes.len()));
            output.extend_from_slice(bytes);
        }
        None => write_varint(output, -1),
    }
}

fn length_of(length: usize) -> i32 {
    i32::try_from(length).expect("batches are built far below 2 GiB")
}
