//! Builder, views and iteration together, and against kafka-protocol's own encoder and decoder.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as peer;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, PartialEq)]
struct OwnedRecord {
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn build(timestamp_type: TimestampType, compression: Compression, records: &[OwnedRecord]) -> ValidatedBatch {
    let mut builder = BatchBuilder::new(timestamp_type, compression)
        .with_producer(9, 1, 5)
        .transactional(true);
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()))
            .collect();
        builder.append(
            record.timestamp_ms,
            record.key.as_deref(),
            record.value.as_deref(),
            &headers,
        );
    }
    builder.build()
}

fn read(batch: &BatchView<'_>) -> Result<Vec<OwnedRecord>, BatchError> {
    let records = batch.records(1 << 20)?;
    let mut read = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let record = record?;
        assert_eq!(record.offset_delta as usize, index);
        let header = |header: RecordHeader<'_>| {
            let key = String::from_utf8(header.key.to_vec()).expect("built from strings");
            (key, header.value.map(<[u8]>::to_vec))
        };
        assert_eq!(record.headers.len(), record.headers.iter().count());
        read.push(OwnedRecord {
            timestamp_ms: batch.header.record_timestamp(record.timestamp_delta),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(header).collect(),
        });
    }
    Ok(read)
}

fn bytes(max: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..max))
}

prop_compose! {
    fn record()(
        timestamp_ms in prop_oneof![Just(NO_TIMESTAMP), 0..2_000_000_000_000i64, any::<i64>()],
        key in bytes(80),
        value in bytes(300),
        headers in prop::collection::vec(("[a-c]{0,2}", bytes(10)), 0..4),
    ) -> OwnedRecord {
        OwnedRecord { timestamp_ms, key, value, headers }
    }
}

fn records() -> impl Strategy<Value = Vec<OwnedRecord>> {
    prop::collection::vec(record(), 1..20)
}

/// kafka-protocol computes timestamps without care for overflow.
fn plausible_records() -> impl Strategy<Value = Vec<OwnedRecord>> {
    records().prop_map(|mut records| {
        for record in &mut records {
            record.timestamp_ms &= 0xff_ffff_ffff;
        }
        records
    })
}

fn compression() -> impl Strategy<Value = Compression> {
    prop::sample::select(&Compression::ALL[..])
}

proptest! {
    #[test]
    fn what_is_built_is_read(records in records(), compression in compression()) {
        let built = build(TimestampType::CreateTime, compression, &records);
        prop_assert_eq!(&built.to_bytes(), built.bytes());
        let view = BatchView::parse(built.bytes()).expect("a whole batch");
        prop_assert_eq!(view.verify_crc(), Ok(()));
        prop_assert_eq!(&view.header, built.header());
        prop_assert_eq!(view.header.records_count as usize, records.len());
        let max_timestamp = records.iter().map(|record| record.timestamp_ms).max().unwrap_or(NO_TIMESTAMP);
        prop_assert_eq!(view.header.max_timestamp, max_timestamp.max(NO_TIMESTAMP));
        prop_assert_eq!(read(&view), Ok(records));
    }

    #[test]
    fn a_cut_batch_is_incomplete(records in records(), compression in compression(), cut in any::<prop::sample::Index>()) {
        let bytes = build(TimestampType::CreateTime, compression, &records).to_bytes();
        let cut = cut.index(bytes.len());
        let needed = if cut < BATCH_HEADER_BYTES { BATCH_HEADER_BYTES } else { bytes.len() };
        let incomplete = BatchError::Incomplete { needed, available: cut };
        prop_assert_eq!(BatchView::parse(&bytes[..cut]).expect_err("cut"), incomplete);
    }

    #[test]
    fn damage_never_panics_and_fails_the_crc(
        records in records(),
        compression in compression(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        let mut bytes = build(TimestampType::CreateTime, compression, &records).to_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(view) = BatchView::parse(&bytes) {
            // Offset, leader epoch and magic are outside the CRC; the length decides what it is made of.
            let covered = at >= 17 || (8..12).contains(&at);
            prop_assert_eq!(view.verify_crc().is_err(), covered);
            // Read it all the same: the walk must hold without the CRC's protection.
            if let Ok(records) = view.records(1 << 16) {
                let mut seen = 0;
                for record in &records {
                    seen += 1;
                    if let Ok(record) = record {
                        let _ = record.headers.iter().count();
                    }
                }
                prop_assert!(seen <= view.header.records_count.max(0) as usize + 1);
            }
        }
    }

    #[test]
    fn garbage_records_never_panic(body in prop::collection::vec(any::<u8>(), 0..200), count in any::<i32>()) {
        let mut faults = 0;
        for record in RecordIter::new(&body, count) {
            match record {
                Ok(record) => { let _ = record.headers.iter().count(); }
                Err(_) => faults += 1,
            }
        }
        prop_assert!(faults <= 1);
    }

    #[test]
    fn kafka_protocol_reads_what_is_built(records in plausible_records()) {
        let built = build(TimestampType::CreateTime, Compression::None, &records);
        let set = peer::RecordBatchDecoder::decode(&mut built.to_bytes()).expect("well formed");
        prop_assert_eq!(set.records.len(), records.len());
        for (index, (theirs, ours)) in set.records.iter().zip(&records).enumerate() {
            prop_assert_eq!(theirs.offset, index as i64);
            prop_assert_eq!(theirs.sequence, 5 + index as i32);
            prop_assert_eq!((theirs.producer_id, theirs.producer_epoch, theirs.transactional), (9, 1, true));
            prop_assert_eq!(theirs.timestamp, ours.timestamp_ms);
            prop_assert_eq!(theirs.key.as_deref(), ours.key.as_deref());
            prop_assert_eq!(theirs.value.as_deref(), ours.value.as_deref());
            // Its map keeps one header of each key; these are all there nevertheless.
            for (key, value) in &theirs.headers {
                let same = |(ours, our_value): &(String, Option<Vec<u8>>)| *ours == **key && our_value.as_deref() == value.as_deref();
                prop_assert!(ours.headers.iter().any(same));
            }
        }
    }

    #[test]
    fn what_kafka_protocol_writes_is_read(records in plausible_records()) {
        let theirs: Vec<_> = records.iter().enumerate().map(|(index, record)| peer_record(index, record)).collect();
        let options = peer::RecordEncodeOptions { version: 2, compression: peer::Compression::None };
        let mut bytes = bytes::BytesMut::new();
        peer::RecordBatchEncoder::encode(&mut bytes, &theirs, &options).expect("it fits");
        let view = BatchView::parse(&bytes).expect("a whole batch");
        prop_assert_eq!(view.bytes().len(), bytes.len());
        prop_assert_eq!(view.verify_crc(), Ok(()));
        let read = read(&view).expect("well formed");
        prop_assert_eq!(read.len(), records.len());
        for (read, theirs) in read.iter().zip(&theirs) {
            prop_assert_eq!(read.timestamp_ms, theirs.timestamp);
            prop_assert_eq!(read.key.as_deref(), theirs.key.as_deref());
            prop_assert_eq!(read.value.as_deref(), theirs.value.as_deref());
            let headers: Vec<_> = theirs.headers.iter().map(|(key, value)| (key.to_string(), value.as_ref().map(|value| value.to_vec()))).collect();
            prop_assert_eq!(&read.headers, &headers);
        }
    }
}

fn peer_record(index: usize, record: &OwnedRecord) -> peer::Record {
    peer::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: peer::NO_PRODUCER_ID,
        producer_epoch: peer::NO_PRODUCER_EPOCH,
        timestamp_type: peer::TimestampType::Creation,
        offset: index as i64,
        // Its encoder starts a new batch where offset and sequence do not count up together.
        sequence: index as i32,
        timestamp: record.timestamp_ms,
        key: record.key.clone().map(Bytes::from),
        value: record.value.clone().map(Bytes::from),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| (StrBytes::from_string(key.clone()), value.clone().map(Bytes::from)))
            .collect(),
    }
}

fn one(key: Option<&[u8]>, value: Option<&[u8]>) -> OwnedRecord {
    let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
    OwnedRecord {
        timestamp_ms: 1_000,
        key,
        value,
        headers: Vec::new(),
    }
}

/// A batch around any record bytes, with a right CRC.
fn batch_of(body: &[u8], records_count: i32, attributes: Attributes) -> Vec<u8> {
    let mut header = *build(TimestampType::CreateTime, Compression::None, &[one(None, None)]).header();
    header.batch_length = (BATCH_HEADER_BYTES - LOG_OVERHEAD_BYTES + body.len()) as i32;
    header.attributes = attributes;
    header.records_count = records_count;
    header.crc = header.compute_crc(body);
    [&header.encode(), body].concat()
}

#[test]
fn batches_iterates_until_the_first_fault() {
    let first = build(TimestampType::CreateTime, Compression::None, &[one(None, None)]).to_bytes();
    let second = build(
        TimestampType::CreateTime,
        Compression::Gzip,
        &[one(Some(b"k"), Some(b"v"))],
    )
    .to_bytes();
    let run = [&first[..], &second[..], &first[..65]].concat();
    let sizes: Vec<_> = batches(&run)
        .map(|batch| batch.map(|view| view.bytes().len()))
        .collect();
    let cut = BatchError::Incomplete {
        needed: first.len(),
        available: 65,
    };
    assert_eq!(sizes, [Ok(first.len()), Ok(second.len()), Err(cut)]);
}

#[test]
fn malformed_records_end_the_iteration() {
    // Length 6: attributes, deltas, null key and value, no headers.
    let empty = [12, 0, 0, 0, 1, 1, 0];
    let cases: [(&str, &[u8], i32); 13] = [
        ("fewer records than counted", &empty, 2),
        ("more bytes than records", &[12, 0, 0, 0, 1, 1, 0, 0], 1),
        ("no records but bytes", &empty, 0),
        ("length beyond the end", &[14, 0, 0, 0, 1, 1, 0], 1),
        ("negative length", &[1, 0, 0, 0, 1, 1, 0], 1),
        ("length zero", &[0], 1),
        ("length cut", &[0x80], 1),
        ("key beyond the record", &[12, 0, 0, 0, 8, 1, 0], 1),
        ("key length -2", &[12, 0, 0, 0, 3, 1, 0], 1),
        ("negative header count", &[12, 0, 0, 0, 1, 1, 1], 1),
        ("headers missing", &[12, 0, 0, 0, 1, 1, 2], 1),
        ("null header key", &[16, 0, 0, 0, 1, 1, 2, 1, 1], 1),
        ("bytes behind the headers", &[14, 0, 0, 0, 1, 1, 0, 0], 1),
    ];
    for (what, body, records_count) in cases {
        let bytes = batch_of(body, records_count, Attributes::default());
        let view = BatchView::parse(&bytes).expect("a whole batch");
        let records = view.records(1_000).expect("not compressed");
        let read: Vec<_> = records.iter().collect();
        assert!(
            matches!(read.last(), Some(Err(BatchError::InvalidRecord { .. }))),
            "{what}: {read:?}"
        );
        assert!(read.iter().rev().skip(1).all(Result::is_ok), "{what}");
    }
    let bytes = batch_of(&empty, 1, Attributes::default());
    let view = BatchView::parse(&bytes).expect("a whole batch");
    assert_eq!(
        view.records(1_000)
            .expect("not compressed")
            .iter()
            .filter(Result::is_ok)
            .count(),
        1
    );
}

#[test]
fn a_batch_emptied_by_compaction_has_no_records() {
    for compression in Compression::ALL {
        let bytes = batch_of(&[], 0, Attributes::default().with_compression(compression));
        let view = BatchView::parse(&bytes).expect("a whole batch");
        assert_eq!(view.bytes().len(), BATCH_HEADER_BYTES);
        let records = view.records(1_000).expect("nothing to decompress");
        assert_eq!(records.iter().count(), 0, "{compression}");
        assert!(ValidatedBatch::from_log(bytes.into()).is_ok());
    }
}

#[test]
fn unknown_codecs_and_limits_are_errors() {
    let bytes = batch_of(&[12, 0, 0, 0, 1, 1, 0], 1, Attributes(6));
    let view = BatchView::parse(&bytes).expect("a whole batch");
    assert_eq!(
        view.records(1_000).expect_err("no codec"),
        BatchError::UnsupportedCompression { id: 6 }
    );

    let value = vec![7; 10_000];
    let batch = build(TimestampType::CreateTime, Compression::Zstd, &[one(None, Some(&value))]);
    let view = BatchView::parse(batch.bytes()).expect("a whole batch");
    assert_eq!(
        view.records(9_999).expect_err("too large"),
        BatchError::DecompressedTooLarge { max_bytes: 9_999 }
    );
    assert!(view.records(10_100).is_ok());
}

#[test]
fn log_append_time_covers_all_records() {
    let mut batch = build(TimestampType::LogAppendTime, Compression::None, &[one(None, None)]);
    batch.assign(100, 3, Some(77));
    let bytes = batch.to_bytes();
    let view = BatchView::parse(&bytes).expect("a whole batch");
    assert_eq!(view.header.record_timestamp(12), 77);
    assert_eq!(view.header.record_offset(2), 102);
}

#[test]
#[should_panic(expected = "at least one record")]
fn a_batch_without_records_is_not_built() {
    let _ = BatchBuilder::new(TimestampType::CreateTime, Compression::None).build();
}
