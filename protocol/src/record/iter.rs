//! Walks the records of a batch in place (record format v2, Kafka's `DefaultRecord`).
//!
//! Invariants: nothing is allocated per record and nothing read outside the payload. A record is handed out only if
//! all of it, headers included, is well formed, so walking its headers cannot fail. The first malformed record ends
//! the iteration, and so do bytes left over behind the last one.

use std::borrow::Cow;

use super::BatchError;
use super::varint::{read_varint, read_varlong};

/// The records of one batch; owns their bytes if they had to be decompressed.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    payload: Cow<'a, [u8]>,
    records_count: i32,
}

impl<'a> Records<'a> {
    pub(super) fn new(payload: Cow<'a, [u8]>, records_count: i32) -> Self {
        Self { payload, records_count }
    }

    /// The records in order; each borrows from `self`.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter::new(&self.payload, self.records_count)
    }

    /// The bytes of the records without compression.
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Size of the records without compression.
    pub fn size_bytes(&self) -> usize {
        self.payload.len()
    }
}

impl<'a> IntoIterator for &'a Records<'_> {
    type Item = Result<Record<'a>, BatchError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// One record; keys, values and headers lie in the batch's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// To be added to the batch's base offset.
    pub offset_delta: i32,
    /// To be added to the batch's base timestamp, unless the batch is LogAppendTime.
    pub timestamp_delta: i64,
    /// The key, if there is one.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone for compaction.
    pub value: Option<&'a [u8]>,
    /// The headers in order, duplicate keys included.
    pub headers: RecordHeaders<'a>,
}

/// The headers of one record, known to be well formed.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordHeaders<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> RecordHeaders<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers in order.
    pub fn iter(&self) -> RecordHeaderIter<'a> {
        RecordHeaderIter { remaining: self.bytes }
    }
}

impl<'a> IntoIterator for RecordHeaders<'a> {
    type Item = RecordHeader<'a>;
    type IntoIter = RecordHeaderIter<'a>;

    fn into_iter(self) -> RecordHeaderIter<'a> {
        self.iter()
    }
}

/// One header of a record. Kafka's brokers do not look into the key, so it may be something other than UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// The key's bytes.
    pub key: &'a [u8],
    /// The value, which may be null.
    pub value: Option<&'a [u8]>,
}

/// See [`RecordHeaders::iter`].
#[derive(Clone, Debug)]
pub struct RecordHeaderIter<'a> {
    remaining: &'a [u8],
}

impl<'a> Iterator for RecordHeaderIter<'a> {
    type Item = RecordHeader<'a>;

    fn next(&mut self) -> Option<RecordHeader<'a>> {
        if self.remaining.is_empty() {
            return None;
        }
        read_header(&mut self.remaining)
    }
}

/// See [`Records::iter`].
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    remaining: &'a [u8],
    records_left: i32,
}

impl<'a> RecordIter<'a> {
    pub(super) fn new(payload: &'a [u8], records_count: i32) -> Self {
        Self {
            remaining: payload,
            records_left: records_count.max(0),
        }
    }

    #[cold]
    fn end(&mut self, message: &str) -> Option<Result<Record<'a>, BatchError>> {
        self.remaining = &[];
        self.records_left = 0;
        Some(Err(BatchError::invalid(message)))
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.records_left == 0 {
            if self.remaining.is_empty() {
                return None;
            }
            return self.end("the batch holds more bytes than its records need");
        }
        self.records_left -= 1;
        match read_record(&mut self.remaining) {
            Ok(record) => Some(Ok(record)),
            Err(message) => self.end(message),
        }
    }
}

#[inline(always)]
fn read_record<'a>(input: &mut &'a [u8]) -> Result<Record<'a>, &'static str> {
    const CUT: &str = "the batch ends before its last record";
    const MALFORMED: &str = "a record is malformed";

    if input.is_empty() {
        return Err("the batch holds fewer records than it counts");
    }
    let length = read_varint(input).ok_or(MALFORMED)?;
    let length = usize::try_from(length).map_err(|_| "a record has a negative length")?;
    let (mut record, rest) = input.split_at_checked(length).ok_or(CUT)?;
    *input = rest;
    // The attributes of a record are unused, whatever they hold.
    let (_attributes, after) = record.split_first().ok_or(MALFORMED)?;
    record = after;
    let timestamp_delta = read_varlong(&mut record).ok_or(MALFORMED)?;
    let offset_delta = read_varint(&mut record).ok_or(MALFORMED)?;
    let key = read_nullable_bytes(&mut record).ok_or(MALFORMED)?;
    let value = read_nullable_bytes(&mut record).ok_or(MALFORMED)?;
    let count = read_varint(&mut record).ok_or(MALFORMED)?;
    let count = usize::try_from(count).map_err(|_| "a record has a negative number of headers")?;
    let headers = RecordHeaders { count, bytes: record };
    for _ in 0..count {
        // Each header takes two bytes at least, so this loop is bounded by the record, whatever it counts.
        read_header(&mut record).ok_or("a record header is malformed")?;
    }
    if !record.is_empty() {
        return Err("a record is longer than its fields");
    }
    Ok(Record {
        offset_delta,
        timestamp_delta,
        key,
        value,
        headers,
    })
}

fn read_header<'a>(input: &mut &'a [u8]) -> Option<RecordHeader<'a>> {
    let key = read_nullable_bytes(input)??;
    let value = read_nullable_bytes(input)?;
    Some(RecordHeader { key, value })
}

/// `None` if malformed, `Some(None)` for null.
#[inline(always)]
fn read_nullable_bytes<'a>(input: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match read_varint(input)? {
        -1 => Some(None),
        length => {
            let (bytes, rest) = input.split_at_checked(usize::try_from(length).ok()?)?;
            *input = rest;
            Some(Some(bytes))
        }
    }
}
