//! Tests of validation: each rule with a batch that breaks it, and batches that keep all.

use crate::error_code::ErrorCode;
use crate::record::{Attributes, BatchBuilder, LOG_OVERHEAD_BYTES, NO_SEQUENCE};

use super::*;

const NOW_MS: i64 = 1_800_000_000_000;

fn limits() -> ProduceLimits {
    ProduceLimits {
        max_message_bytes: 1_048_588,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        now_ms: NOW_MS,
        require_keys: false,
        allow_zstd: true,
        full_validation: false,
        max_decompressed_bytes: 1 << 20,
    }
}

fn builder(compression: Compression, timestamps: &[i64]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(TimestampType::CreateTime, compression);
    for (index, &timestamp) in timestamps.iter().enumerate() {
        // Every second record has no key.
        let key = (index % 2 == 0).then_some(&b"key"[..]);
        builder.append(timestamp, key, Some(b"value"), &[("h", None), ("h", Some(b"2"))]);
    }
    builder
}

fn three(compression: Compression) -> Bytes {
    builder(compression, &[NOW_MS, NOW_MS + 5, NOW_MS - 5]).build_bytes()
}

/// The batch with a changed header and the CRC that belongs to it.
fn edited(bytes: &Bytes, edit: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(bytes).expect("a built batch");
    edit(&mut header);
    header.crc = header.compute_crc(&bytes[BATCH_HEADER_BYTES..]);
    [&header.encode(), &bytes[BATCH_HEADER_BYTES..]].concat().into()
}

/// The batch with another body and all that belongs to it.
fn with_body(bytes: &Bytes, body: &[u8]) -> Bytes {
    let bytes = [&bytes[..BATCH_HEADER_BYTES], body].concat().into();
    edited(&bytes, |header| {
        header.batch_length = (BATCH_HEADER_BYTES - LOG_OVERHEAD_BYTES + body.len()) as i32;
    })
}

fn code(bytes: &Bytes, limits: &ProduceLimits) -> ErrorCode {
    match ValidatedBatch::for_produce(bytes.clone(), limits) {
        Ok(_) => ErrorCode::None,
        Err(error) => error.error_code(),
    }
}

#[test]
fn a_good_batch_passes_untouched() {
    for compression in Compression::ALL {
        for full_validation in [false, true] {
            let bytes = three(compression);
            let limits = ProduceLimits {
                full_validation,
                ..limits()
            };
            let batch = ValidatedBatch::for_produce(bytes.clone(), &limits).expect("a valid batch");
            assert_eq!(batch.to_bytes(), bytes);
            assert_eq!(batch.bytes(), &bytes);
            assert_eq!(batch.size_bytes(), bytes.len());
            assert_eq!(batch.header().max_timestamp, NOW_MS + 5);
        }
    }
}

#[test]
fn not_exactly_one_whole_batch() {
    let bytes = three(Compression::None);
    assert_eq!(code(&Bytes::new(), &limits()), ErrorCode::InvalidRecord);
    for cut in [1, 16, 17, 60, 61, bytes.len() - 1] {
        assert_eq!(
            code(&bytes.slice(..cut), &limits()),
            ErrorCode::InvalidRecord,
            "cut to {cut}"
        );
    }
    let two = Bytes::from([&bytes[..], &bytes[..]].concat());
    assert_eq!(code(&two, &limits()), ErrorCode::InvalidRecord);
    let longer = Bytes::from([&bytes[..], &[0]].concat());
    assert_eq!(code(&longer, &limits()), ErrorCode::InvalidRecord);
}

#[test]
fn header_faults_have_kafkas_codes() {
    let bytes = three(Compression::None);
    let fault = |edit: fn(&mut BatchHeader)| code(&edited(&bytes, edit), &limits());
    assert_eq!(fault(|_| ()), ErrorCode::None);
    assert_eq!(fault(|header| header.magic = 0), ErrorCode::InvalidRecord);
    assert_eq!(fault(|header| header.magic = 1), ErrorCode::InvalidRecord);
    assert_eq!(fault(|header| header.magic = 3), ErrorCode::CorruptMessage);
    assert_eq!(fault(|header| header.batch_length = -1), ErrorCode::CorruptMessage);
    assert_eq!(fault(|header| header.batch_length = 48), ErrorCode::CorruptMessage);
    assert_eq!(fault(|header| header.batch_length += 1), ErrorCode::InvalidRecord);
    assert_eq!(fault(|header| header.base_offset = 1), ErrorCode::InvalidRecord);
    assert_eq!(fault(|header| header.base_offset = -1), ErrorCode::InvalidRecord);
    assert_eq!(fault(|header| header.records_count = 0), ErrorCode::InvalidRecord);
    assert_eq!(fault(|header| header.records_count = -1), ErrorCode::InvalidRecord);
    assert_eq!(fault(|header| header.records_count = 2), ErrorCode::InvalidRecord);
    assert_eq!(fault(|header| header.last_offset_delta = 3), ErrorCode::InvalidRecord);
    assert_eq!(
        fault(|header| header.last_offset_delta = i32::MAX),
        ErrorCode::InvalidRecord
    );
    let both = |header: &mut BatchHeader| (header.records_count, header.last_offset_delta) = (4, 3);
    assert_eq!(fault(both), ErrorCode::InvalidRecord, "more counted than there are");
    let both = |header: &mut BatchHeader| (header.records_count, header.last_offset_delta) = (2, 1);
    assert_eq!(fault(both), ErrorCode::InvalidRecord, "fewer counted than there are");
    let none = |header: &mut BatchHeader| (header.records_count, header.last_offset_delta) = (0, -1);
    assert_eq!(fault(none), ErrorCode::InvalidRecord);
    assert_eq!(
        fault(|header| header.attributes = Attributes(0x20)),
        ErrorCode::InvalidRecord,
        "control"
    );
    assert_eq!(
        fault(|header| header.attributes = Attributes(0x10)),
        ErrorCode::None,
        "transactional"
    );
    assert_eq!(
        fault(|header| header.attributes = Attributes(7)),
        ErrorCode::UnsupportedCompressionType
    );
    assert_eq!(
        fault(|header| header.producer_id = 1),
        ErrorCode::InvalidRecord,
        "no sequence"
    );
    assert_eq!(fault(|header| header.base_sequence = 1), ErrorCode::None, "no producer");
}

#[test]
fn idempotent_batches_need_a_sequence() {
    let build = |sequence| {
        builder(Compression::None, &[NOW_MS])
            .with_producer(7, 0, sequence)
            .build_bytes()
    };
    assert_eq!(code(&build(0), &limits()), ErrorCode::None);
    assert_eq!(code(&build(i32::MAX), &limits()), ErrorCode::None);
    assert_eq!(code(&build(NO_SEQUENCE), &limits()), ErrorCode::InvalidRecord);
}

#[test]
fn every_covered_bit_is_under_the_crc() {
    let bytes = three(Compression::None);
    for at in 17..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0x10;
        assert_eq!(code(&damaged.into(), &limits()), ErrorCode::CorruptMessage, "byte {at}");
    }
}

#[test]
fn size_is_that_of_the_batch_as_sent() {
    let bytes = three(Compression::None);
    let with = |max_message_bytes| ProduceLimits {
        max_message_bytes,
        ..limits()
    };
    assert_eq!(code(&bytes, &with(bytes.len())), ErrorCode::None);
    let expected = BatchError::TooLarge {
        size_bytes: bytes.len(),
        max_bytes: bytes.len() - 1,
    };
    let refused = ValidatedBatch::for_produce(bytes.clone(), &with(bytes.len() - 1));
    assert_eq!(refused.expect_err("too large"), expected);
    assert_eq!(expected.error_code(), ErrorCode::MessageTooLarge);
}

#[test]
fn zstd_needs_a_request_that_knows_it() {
    let limits = ProduceLimits {
        allow_zstd: false,
        ..limits()
    };
    for compression in Compression::ALL {
        let expected = if compression == Compression::Zstd {
            ErrorCode::UnsupportedCompressionType
        } else {
            ErrorCode::None
        };
        assert_eq!(code(&three(compression), &limits), expected, "{compression}");
    }
}

#[test]
fn max_timestamp_is_the_records_one() {
    for (timestamps, expected) in [
        (&[NOW_MS, NOW_MS + 5, NOW_MS - 5][..], NOW_MS + 5),
        (&[-1, -1], -1),
        (&[-7], -1),
        (&[NOW_MS, -1], NOW_MS),
    ] {
        let right = builder(Compression::None, timestamps).build_bytes();
        let wrong = edited(&right, |header| header.max_timestamp = 12_345);
        let batch = ValidatedBatch::for_produce(wrong.clone(), &limits()).expect("a valid batch");
        assert_eq!(batch.header().max_timestamp, expected);
        // The CRC follows, and what goes to the log is what the right header would have been.
        assert_eq!(batch.to_bytes(), right);
        assert_eq!(batch.bytes(), &wrong);
    }
}

#[test]
fn timestamps_have_limits() {
    let limits = ProduceLimits {
        timestamp_before_max_ms: 1_000,
        ..limits()
    };
    for compression in Compression::ALL {
        let at_the_limits = builder(compression, &[NOW_MS - 1_000, NOW_MS + 3_600_000, -1]).build_bytes();
        assert_eq!(code(&at_the_limits, &limits), ErrorCode::None, "{compression}");
        for bad in [NOW_MS - 1_001, NOW_MS + 3_600_001, i64::MIN, i64::MAX, -2] {
            let bytes = builder(compression, &[bad, NOW_MS, bad]).build_bytes();
            let error = ValidatedBatch::for_produce(bytes, &limits).expect_err("out of range");
            assert_eq!(error.error_code(), ErrorCode::InvalidTimestamp, "{compression} {bad}");
            let indexes: Vec<_> = error.record_errors().iter().map(|(index, _)| *index).collect();
            assert_eq!(indexes, [0, 2], "{compression} {bad}");
        }
        // The log's time replaces them, so a topic with LogAppendTime takes any.
        let limits = ProduceLimits {
            timestamp_type: TimestampType::LogAppendTime,
            ..limits.clone()
        };
        let bytes = builder(compression, &[i64::MIN, i64::MAX]).build_bytes();
        assert_eq!(code(&bytes, &limits), ErrorCode::None, "{compression}");
    }
}

/// With the limits of a topic without any.
#[test]
fn a_timestamp_whose_age_no_number_tells_is_refused() {
    for compression in Compression::ALL {
        let oldest = builder(compression, &[NOW_MS - i64::MAX]).build_bytes();
        assert_eq!(code(&oldest, &limits()), ErrorCode::None, "{compression}");
        let older = builder(compression, &[i64::MIN]).build_bytes();
        assert_eq!(code(&older, &limits()), ErrorCode::InvalidTimestamp, "{compression}");
    }
}

#[test]
fn a_header_that_hides_its_timestamps_is_looked_behind() {
    // The records are compressed, so only a doubtful header makes them be read.
    let bytes = builder(Compression::Lz4, &[NOW_MS, NOW_MS + 9]).build_bytes();
    for doubtful in [NOW_MS - 1, -1, NOW_MS + 3_600_001] {
        let wrong = edited(&bytes, |header| header.max_timestamp = doubtful);
        let batch = ValidatedBatch::for_produce(wrong, &limits()).expect("its records are good");
        assert_eq!(batch.to_bytes(), bytes);
    }
    // A believable one is believed, unless all records are to be checked.
    let wrong = edited(&bytes, |header| header.max_timestamp = NOW_MS + 1);
    let batch = ValidatedBatch::for_produce(wrong.clone(), &limits()).expect("a valid batch");
    assert_eq!(batch.to_bytes(), wrong);
    let full = ProduceLimits {
        full_validation: true,
        ..limits()
    };
    let batch = ValidatedBatch::for_produce(wrong, &full).expect("a valid batch");
    assert_eq!(batch.to_bytes(), bytes);
}

/// As `LogValidator.validateTimestamp` of Kafka 4.3.1 does it.
#[test]
fn a_claim_of_log_append_time_is_cleared_or_refused() {
    for compression in [Compression::None, Compression::Gzip] {
        let claiming = |max_timestamp| {
            edited(&three(compression), |header| {
                header.attributes.0 |= 8;
                header.max_timestamp = max_timestamp;
            })
        };
        let refused = |max_timestamp, limits: &ProduceLimits| {
            let error = ValidatedBatch::for_produce(claiming(max_timestamp), limits).expect_err("refused");
            assert_eq!(error.error_code(), ErrorCode::InvalidTimestamp);
            assert_eq!(error.record_errors().len(), 1, "a fault of the batch as a whole");
        };
        let (now, limits) = (limits().now_ms, limits());
        let append_time = ProduceLimits {
            timestamp_type: TimestampType::LogAppendTime,
            ..limits.clone()
        };
        refused(now, &append_time);
        refused(NO_TIMESTAMP, &limits);
        refused(now + limits.timestamp_after_max_ms + 1, &limits);
        let batch = ValidatedBatch::for_produce(claiming(now), &limits).expect("in range");
        assert!(!batch.header().attributes.is_log_append_time());
        assert_eq!(batch.header().max_timestamp, now);
        let bytes = batch.to_bytes();
        BatchView::parse(&bytes)
            .expect("a batch")
            .verify_crc()
            .expect("a new CRC");
    }
}

#[test]
fn a_claimed_count_makes_no_errors() {
    let header_only = three(Compression::None).slice(..BATCH_HEADER_BYTES);
    for compression_id in [0, 1] {
        for attributes in [compression_id, compression_id | 8] {
            let bytes = edited(&header_only, |header| {
                header.batch_length = (BATCH_HEADER_BYTES - 12) as i32;
                header.attributes.0 = attributes;
                header.records_count = i32::MAX;
                header.last_offset_delta = i32::MAX - 1;
            });
            let full = ProduceLimits {
                full_validation: true,
                ..limits()
            };
            let error = ValidatedBatch::for_produce(bytes, &full).expect_err("there are no records");
            assert!(error.record_errors().len() <= 1, "{error:?}");
        }
    }
}

#[test]
fn compacted_topics_need_keys() {
    let limits = ProduceLimits {
        require_keys: true,
        ..limits()
    };
    for compression in Compression::ALL {
        let error = ValidatedBatch::for_produce(three(compression), &limits).expect_err("no key");
        assert_eq!(error.error_code(), ErrorCode::InvalidRecord);
        assert_eq!(error.record_errors().len(), 1);
        assert_eq!(error.record_errors()[0].0, 1, "{compression}");
        let keyed = builder(compression, &[NOW_MS]).build_bytes();
        assert_eq!(code(&keyed, &limits), ErrorCode::None);
    }
    // One bad timestamp decides the code of the batch; both records are named.
    let both = builder(Compression::None, &[i64::MAX, NOW_MS]).build_bytes();
    let error = ValidatedBatch::for_produce(both, &limits).expect_err("two faults");
    assert_eq!(error.error_code(), ErrorCode::InvalidTimestamp);
    assert_eq!(error.record_errors().len(), 2);
}

#[test]
fn named_records_are_bounded() {
    let bytes = builder(Compression::None, &vec![i64::MAX; 5_000]).build_bytes();
    let error = ValidatedBatch::for_produce(bytes.clone(), &limits()).expect_err("out of range");
    assert_eq!(error.record_errors().len(), MAX_RECORD_ERRORS);
    assert!(error.to_string().starts_with("5000 records"), "{error}");
}

#[test]
fn offset_deltas_must_count_up() {
    // Two records of nothing; the fourth byte of each is its offset delta.
    let body = |first, second| [12, 0, 0, first, 1, 1, 0, 12, 0, 0, second, 1, 1, 0];
    let bytes = builder(Compression::None, &[NOW_MS, NOW_MS]).build_bytes();
    assert_eq!(code(&with_body(&bytes, &body(0, 2)), &limits()), ErrorCode::None);
    for (first, second) in [(0, 0), (2, 4), (2, 0), (0, 1), (0, 4)] {
        let bytes = with_body(&bytes, &body(first, second));
        assert_eq!(code(&bytes, &limits()), ErrorCode::InvalidRecord, "{first} {second}");
    }
    assert_eq!(
        code(&with_body(&bytes, &body(0, 2)[..13]), &limits()),
        ErrorCode::InvalidRecord
    );
}

#[test]
fn compressed_records_are_checked_when_asked_for() {
    let full = ProduceLimits {
        full_validation: true,
        ..limits()
    };
    let small = ProduceLimits {
        max_decompressed_bytes: 10,
        ..full.clone()
    };
    for compression in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let garbage = with_body(&three(compression), b"no compressed stream");
        assert_eq!(code(&garbage, &full), ErrorCode::InvalidRecord, "{compression}");
        assert_eq!(
            code(&garbage, &limits()),
            ErrorCode::None,
            "{compression}: left to the consumers"
        );
        assert_eq!(
            code(&three(compression), &small),
            ErrorCode::MessageTooLarge,
            "{compression}"
        );
    }
}

#[test]
fn assigning_offsets_keeps_the_crc() {
    let bytes = three(Compression::None);
    let mut batch = ValidatedBatch::for_produce(bytes.clone(), &limits()).expect("a valid batch");
    batch.assign(1_000, 7, None);
    let header = *batch.header();
    assert_eq!(
        (header.base_offset, header.partition_leader_epoch, header.last_offset()),
        (1_000, 7, 1_002)
    );
    assert_eq!(header.crc, BatchHeader::parse(&bytes).expect("a built batch").crc);
    let written = batch.to_bytes();
    assert_eq!(BatchView::parse(&written).expect("a whole batch").verify_crc(), Ok(()));
    assert_eq!(written[16..], bytes[16..]);
}

#[test]
fn log_append_time_makes_a_new_crc() {
    for compression in Compression::ALL {
        let limits = ProduceLimits {
            timestamp_type: TimestampType::LogAppendTime,
            ..limits()
        };
        let mut batch = ValidatedBatch::for_produce(three(compression), &limits).expect("a valid batch");
        batch.assign(1_000, 7, Some(NOW_MS + 99));
        let written = batch.to_bytes();
        let view = BatchView::parse(&written).expect("a whole batch");
        assert_eq!(view.verify_crc(), Ok(()));
        assert!(view.header.attributes.is_log_append_time());
        assert_eq!(view.header.attributes.compression(), Some(compression));
        assert_eq!(view.header.max_timestamp, NOW_MS + 99);
        assert_eq!(view.body(), batch.body());
    }
}

#[test]
fn batches_from_a_log_keep_their_place() {
    let bytes = edited(&three(Compression::None), |header| {
        (header.base_offset, header.partition_leader_epoch) = (500, 3);
        header.attributes.0 |= 0x28;
    });
    let batch = ValidatedBatch::from_log(bytes.clone()).expect("a control batch with LogAppendTime at 500");
    assert_eq!(batch.to_bytes(), bytes);

    let refused = |edit: fn(&mut BatchHeader)| {
        let error = ValidatedBatch::from_log(edited(&bytes, edit)).expect_err("refused");
        assert_eq!(error.error_code(), ErrorCode::CorruptMessage);
    };
    refused(|header| header.base_offset = -1);
    refused(|header| header.base_offset = i64::MAX);
    refused(|header| header.base_offset = i64::MAX - 2);
    refused(|header| header.last_offset_delta = -1);
    refused(|header| header.records_count = 4);
    refused(|header| header.records_count = -1);
    // What compaction leaves.
    let sparse = edited(&bytes, |header| {
        (header.last_offset_delta, header.base_offset) = (900, i64::MAX - 901);
    });
    assert!(ValidatedBatch::from_log(sparse).is_ok());

    let mut damaged = bytes.to_vec();
    damaged[70] ^= 1;
    let damaged = ValidatedBatch::from_log(damaged.into());
    assert!(matches!(damaged, Err(BatchError::CrcMismatch { .. })), "{damaged:?}");
    let cut = ValidatedBatch::from_log(bytes.slice(..bytes.len() - 1));
    assert!(matches!(cut, Err(BatchError::Incomplete { .. })), "{cut:?}");
    let longer = ValidatedBatch::from_log([&bytes[..], &[0]].concat().into());
    assert!(matches!(longer, Err(BatchError::Corrupt { .. })), "{longer:?}");
}

#[test]
fn the_batches_of_a_request_are_unpacked_within_one_limit() {
    let packed = |compression| {
        let mut builder = BatchBuilder::new(TimestampType::CreateTime, compression);
        builder.append(NOW_MS, Some(b"key"), Some(&[0; 10_000]), &[]);
        builder.build_bytes()
    };
    let limits = ProduceLimits {
        full_validation: true,
        ..limits()
    };
    let mut left = 25_000;
    let mut check =
        |records: &Bytes| ValidatedBatch::for_produce_within(records.clone(), &limits, &mut left).map(|_| ());
    let (zeros, plain) = (packed(Compression::Gzip), packed(Compression::None));
    for records in [&zeros, &plain, &zeros, &plain] {
        assert_eq!(check(records), Ok(()));
    }
    assert!(matches!(
        check(&zeros),
        Err(BatchError::DecompressedTooLarge { max_bytes: 1..5_000 })
    ));
    assert!(matches!(
        check(&zeros),
        Err(BatchError::DecompressedTooLarge { max_bytes: 0 })
    ));
    assert_eq!(check(&plain), Ok(()), "what is not packed costs nothing");
}
