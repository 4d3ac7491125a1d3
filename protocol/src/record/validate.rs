//! Validation of record batches: the only way to a [`ValidatedBatch`], and so into a log.
//!
//! Invariants: `header` and `bytes` describe the same batch, but only `header` is ever corrected; what goes to the log
//! is `encoded_header` followed by `body`, and the CRC in `header` is right for these. Offsets and the leader epoch
//! lie outside the CRC, so assigning them changes nothing else.
//! Uncompressed records are always walked, in place. Compressed ones only where a rule needs it: decompressing costs
//! more than all else on the produce path together, and consumers check what they read anyway.
//! Sources: Kafka's `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords`, `LogValidator`.
//! Stricter than Kafka, all seen on 4.3.1: bytes behind the batch are refused, Kafka cuts them off if they are no whole
//! batch; offset deltas must be 0, 1, 2, …, Kafka ignores or renumbers others; a null has length -1, Kafka takes any
//! negative one. Unknown codecs and streams that do not unpack get a code of their own, not -1.

use bytes::Bytes;

use super::{
    BATCH_HEADER_BYTES, BatchError, BatchHeader, BatchView, Compression, NO_TIMESTAMP, Records, TimestampType,
};

/// How many offending records an error names; a batch can hold millions.
const MAX_RECORD_ERRORS: usize = 1_000;

/// What a topic and a broker allow a producer to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceLimits {
    /// `max.message.bytes`: the batch as sent, header included.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// Wall clock at arrival.
    pub now_ms: i64,
    /// Whether every record needs a key, as in a compacted topic.
    pub require_keys: bool,
    /// Whether the request's version knows zstd.
    pub allow_zstd: bool,
    /// Decompress and walk compressed batches too.
    pub full_validation: bool,
    /// Limit for decompressed records.
    pub max_decompressed_bytes: usize,
}

/// One checked batch, ready to get its offsets.
#[derive(Clone, Debug)]
pub struct ValidatedBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl ValidatedBatch {
    /// Checks what a producer sent for one partition: exactly one batch that keeps all rules.
    pub fn for_produce(records: Bytes, limits: &ProduceLimits) -> Result<Self, BatchError> {
        Self::for_produce_within(records, limits, &mut { usize::MAX })
    }

    /// As [`Self::for_produce`], with what the batches of one request may be unpacked to in all. What is unpacked is taken
    /// from it; a stream that does not unpack takes everything, because nobody knows how far it came.
    ///
    /// # Errors
    /// When the batch breaks a rule, or is unpacked to more than is left.
    pub fn for_produce_within(
        records: Bytes,
        limits: &ProduceLimits,
        unpacked_bytes_left: &mut usize,
    ) -> Result<Self, BatchError> {
        if records.is_empty() {
            return Err(BatchError::invalid(
                "a produce request must have exactly one record batch per partition",
            ));
        }
        let view = BatchView::parse(&records)?;
        let mut header = view.header;
        if header.attributes.compression() == Some(Compression::Zstd) && !limits.allow_zstd {
            return Err(BatchError::UnsupportedCompression {
                id: Compression::Zstd.id(),
            });
        }
        if view.bytes().len() != records.len() {
            return Err(BatchError::invalid(
                "a produce request must have no more than one record batch per partition",
            ));
        }
        if header.base_offset != 0 {
            let message = format!(
                "the base offset of a produced batch must be 0, not {}",
                header.base_offset
            );
            return Err(BatchError::invalid(message));
        }
        if header.size_bytes() > limits.max_message_bytes {
            let (size_bytes, max_bytes) = (header.size_bytes(), limits.max_message_bytes);
            return Err(BatchError::TooLarge { size_bytes, max_bytes });
        }
        view.verify_crc()?;
        check_produced_header(&header)?;
        let is_stamped = header.attributes.is_log_append_time();
        if is_stamped {
            check_stamped(&header, limits)?;
        }
        if must_walk(&header, limits) {
            let records = unpack(&view, limits, unpacked_bytes_left)?;
            let max_timestamp = check_records(&header, &records, limits)?;
            // Time lookup and retention rely on this field, so it is ours, not the client's.
            if limits.timestamp_type == TimestampType::CreateTime && max_timestamp != header.max_timestamp {
                header.max_timestamp = max_timestamp;
                header.crc = header.compute_crc(view.body());
            }
        }
        if is_stamped {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::CreateTime);
            header.crc = header.compute_crc(view.body());
        }
        Ok(Self { header, bytes: records })
    }

    /// Checks one batch that a log held, here or on another broker: sizes, CRC, the header's ranges. Offsets, control
    /// batches and batches emptied by compaction are as they are.
    pub fn from_log(bytes: Bytes) -> Result<Self, BatchError> {
        let view = BatchView::parse(&bytes)?;
        if view.bytes().len() != bytes.len() {
            return Err(BatchError::Corrupt {
                reason: "there are bytes behind the batch",
            });
        }
        view.verify_crc()?;
        let header = view.header;
        if header.base_offset < 0 || header.last_offset_delta < 0 {
            return Err(BatchError::Corrupt {
                reason: "an offset is negative",
            });
        }
        if header
            .base_offset
            .checked_add(i64::from(header.last_offset_delta))
            .is_none_or(|last| last == i64::MAX)
        {
            return Err(BatchError::Corrupt {
                reason: "the offsets exceed their range",
            });
        }
        // Compaction leaves fewer records than offsets, never more.
        if header.records_count < 0 || i64::from(header.records_count) > i64::from(header.last_offset_delta) + 1 {
            return Err(BatchError::Corrupt {
                reason: "the record count does not fit the offsets",
            });
        }
        Ok(Self { header, bytes })
    }

    /// Wraps a batch that this crate built itself.
    pub(super) fn built(header: BatchHeader, bytes: Bytes) -> Self {
        debug_assert_eq!(header.size_bytes(), bytes.len());
        Self { header, bytes }
    }

    /// The header as it will be written.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch as received: the header in front may lack later corrections, the body behind it is the same.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Size of the batch, header included.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Gives the batch its place in the log. `Some` time makes it LogAppendTime, which needs a new CRC.
    pub fn assign(&mut self, base_offset: i64, leader_epoch: i32, log_append_time_ms: Option<i64>) {
        self.header.base_offset = base_offset;
        self.header.partition_leader_epoch = leader_epoch;
        if let Some(now_ms) = log_append_time_ms {
            self.header.attributes = self.header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
            self.header.max_timestamp = now_ms;
            self.header.crc = self.header.compute_crc(self.body());
        }
    }

    /// The first part of what is written to the log.
    pub fn encoded_header(&self) -> [u8; BATCH_HEADER_BYTES] {
        self.header.encode()
    }

    /// The second part of what is written to the log.
    pub fn body(&self) -> &[u8] {
        &self.bytes[BATCH_HEADER_BYTES..]
    }

    /// Both parts in one piece; copies the body, so not for the way into the log.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.size_bytes());
        bytes.extend_from_slice(&self.encoded_header());
        bytes.extend_from_slice(self.body());
        bytes.into()
    }
}

/// What the header of a client's batch must be like, whatever the topic.
fn check_produced_header(header: &BatchHeader) -> Result<(), BatchError> {
    if header.attributes.compression().is_none() {
        return Err(BatchError::UnsupportedCompression {
            id: header.attributes.compression_id(),
        });
    }
    let count_from_offsets = i64::from(header.last_offset_delta) + 1;
    if header.records_count <= 0 || count_from_offsets != i64::from(header.records_count) {
        let message = format!(
            "the batch counts {} records, but its last offset delta is {}",
            header.records_count, header.last_offset_delta
        );
        return Err(BatchError::invalid(message));
    }
    if header.attributes.is_control() {
        return Err(BatchError::invalid("clients are not allowed to write control records"));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        let message = format!(
            "a batch of producer id {} has sequence {}",
            header.producer_id, header.base_sequence
        );
        return Err(BatchError::invalid(message));
    }
    Ok(())
}

/// A batch whose producer claims LogAppendTime: every record then has the header's largest timestamp, and Kafka takes that
/// as the producer's own, clearing the claim, where the topic is CreateTime and the timestamp in range.
fn check_stamped(header: &BatchHeader, limits: &ProduceLimits) -> Result<(), BatchError> {
    let is_create_time = limits.timestamp_type == TimestampType::CreateTime;
    let timestamp = header.max_timestamp;
    let message = if !is_create_time || timestamp == NO_TIMESTAMP {
        "producers may not set the timestamp type to LogAppendTime".to_owned()
    } else if !timestamp_allowed(timestamp, limits) {
        out_of_range(timestamp, limits)
    } else {
        return Ok(());
    };
    // Kafka names every record; but nobody has counted them yet, and the count is the client's word only.
    let record_errors = vec![(0, message.clone())];
    Err(BatchError::InvalidTimestamp { message, record_errors })
}

fn out_of_range(timestamp: i64, limits: &ProduceLimits) -> String {
    let first = limits.now_ms.saturating_sub(limits.timestamp_before_max_ms);
    let last = limits.now_ms.saturating_add(limits.timestamp_after_max_ms);
    format!("timestamp {timestamp} is out of range, it should be within [{first}, {last}]")
}

/// Are the records to be looked at?
fn unpack<'a>(
    view: &BatchView<'a>,
    limits: &ProduceLimits,
    unpacked_bytes_left: &mut usize,
) -> Result<Records<'a>, BatchError> {
    if view.header.attributes.compression() == Some(Compression::None) {
        return view.records(limits.max_decompressed_bytes);
    }
    let left = std::mem::take(unpacked_bytes_left);
    let records = view.records(limits.max_decompressed_bytes.min(left))?;
    *unpacked_bytes_left = left.saturating_sub(records.payload().len());
    Ok(records)
}

fn must_walk(header: &BatchHeader, limits: &ProduceLimits) -> bool {
    if header.attributes.compression() == Some(Compression::None) || limits.full_validation || limits.require_keys {
        return true;
    }
    // Without the records, the header's two timestamps stand for them all: the first record's and the largest. If
    // these cannot be believed or are out of range, the records must show what is true and which one is at fault.
    limits.timestamp_type == TimestampType::CreateTime
        && (header.max_timestamp < header.base_timestamp
            || !timestamp_allowed(header.base_timestamp, limits)
            || !timestamp_allowed(header.max_timestamp, limits))
}

/// Walks the records and returns the largest timestamp.
fn check_records(header: &BatchHeader, records: &Records<'_>, limits: &ProduceLimits) -> Result<i64, BatchError> {
    let check_timestamps = limits.timestamp_type == TimestampType::CreateTime;
    let mut max_timestamp = NO_TIMESTAMP;
    let mut faults = Faults::default();
    for (index, record) in (0i32..).zip(records.iter()) {
        let record = record?;
        if record.offset_delta != index {
            let message = format!("record {index} has offset delta {}", record.offset_delta);
            return Err(BatchError::invalid(message));
        }
        let timestamp = header.record_timestamp(record.timestamp_delta);
        max_timestamp = max_timestamp.max(timestamp);
        if limits.require_keys && record.key.is_none() {
            faults.record(index, || {
                "a compacted topic does not accept a record without a key".to_owned()
            });
        } else if check_timestamps && !timestamp_allowed(timestamp, limits) {
            faults.timestamp(index, || out_of_range(timestamp, limits));
        }
    }
    faults.into_result()?;
    Ok(max_timestamp)
}

fn timestamp_allowed(timestamp: i64, limits: &ProduceLimits) -> bool {
    if timestamp == NO_TIMESTAMP {
        return true;
    }
    // An age that no number tells is out of every range.
    let Some(age_ms) = limits.now_ms.checked_sub(timestamp) else {
        return false;
    };
    age_ms <= limits.timestamp_before_max_ms && age_ms.saturating_neg() <= limits.timestamp_after_max_ms
}

/// Collects the offending records of one batch; all are counted, the first thousand named.
#[derive(Default)]
struct Faults {
    total: u64,
    any_timestamp: bool,
    record_errors: Vec<(i32, String)>,
}

impl Faults {
    fn record(&mut self, index: i32, message: impl FnOnce() -> String) {
        self.total += 1;
        if self.record_errors.len() < MAX_RECORD_ERRORS {
            self.record_errors.push((index, message()));
        }
    }

    fn timestamp(&mut self, index: i32, message: impl FnOnce() -> String) {
        self.any_timestamp = true;
        self.record(index, message);
    }

    fn into_result(self) -> Result<(), BatchError> {
        let Self {
            total,
            any_timestamp,
            record_errors,
        } = self;
        let Some((index, first)) = record_errors.first() else {
            return Ok(());
        };
        let message = format!("{total} records were rejected, the first at index {index}: {first}");
        // As in Kafka, one bad timestamp decides the code for the batch.
        if any_timestamp {
            Err(BatchError::InvalidTimestamp { message, record_errors })
        } else {
            Err(BatchError::InvalidRecord { message, record_errors })
        }
    }
}

#[cfg(test)]
mod tests;
