//! Appending and reading back: offsets, producers, rolls, limits of reads, layout of the files.

use protocol::error_code::ErrorCode;
use protocol::record::control::{EndTxnMarker, TransactionResult};
use protocol::record::{BatchHeader, BatchView};

use super::*;
use crate::log::read_plan::ReadError;
use crate::segment::offset_index::decode_entries;

#[test]
fn offsets_follow_each_other_and_reads_give_the_bytes_back() {
    let fixture = Fixture::new(small_segments());
    let OpenedLog { mut writer, reader, .. } = fixture.open();
    let results = writer.append(vec![plain(&[1, 2, 3]), plain(&[4]), plain(&[5, 6])], 9, now());
    let bases: Vec<_> = results
        .into_iter()
        .map(|result| result.expect("appended"))
        .map(|a| (a.base_offset, a.last_offset))
        .collect();
    assert_eq!(bases, [(0, 2), (3, 3), (4, 5)]);
    assert_eq!(reader.watermarks().log_end_offset, 6);
    assert_eq!(reader.watermarks().high_watermark, 0, "the owner moves it");
    assert_eq!(read_offsets(&reader), [(0, 2), (3, 3), (4, 5)]);
    let header = BatchHeader::parse(&read_all(&reader)[1]).expect("a batch");
    assert_eq!(header.partition_leader_epoch, 9);
    assert_eq!(reader.leader_epoch_for_offset(4), Some(9));
}

#[test]
fn log_append_time_is_stamped_and_reported() {
    let config = LogConfig {
        message_timestamp_type: TimestampType::LogAppendTime,
        ..small_segments()
    };
    let OpenedLog { mut writer, reader, .. } = Fixture::new(config).open();
    let appended = writer
        .append(vec![plain(&[1, 2])], 0, now())
        .remove(0)
        .expect("appended");
    assert_eq!(appended.log_append_time_ms, now().wall_ms);
    let bytes = read_all(&reader).remove(0);
    let view = BatchView::parse(&bytes).expect("a batch");
    assert!(view.header.attributes.is_log_append_time());
    assert_eq!(view.header.max_timestamp, now().wall_ms);
    let found = reader
        .offset_for_timestamp(3, 2)
        .expect("looked up")
        .expect("every record has the append time");
    assert_eq!((found.offset, found.timestamp_ms), (0, now().wall_ms));
}

#[test]
fn duplicates_get_the_original_offsets_even_within_one_call() {
    let OpenedLog { mut writer, reader, .. } = Fixture::new(small_segments()).open();
    let batches = vec![
        produced(5, 0, 0, 2),
        produced(5, 0, 2, 1),
        produced(5, 0, 0, 2),
        produced(5, 0, 4, 1),
    ];
    let results = writer.append(batches, 0, now());
    let first = results[0].as_ref().expect("new");
    let again = results[2].as_ref().expect("duplicate");
    assert!(!first.duplicate && again.duplicate);
    assert_eq!(
        (again.base_offset, again.last_offset),
        (first.base_offset, first.last_offset)
    );
    let gap = results[3].as_ref().expect_err("sequence 3 is missing");
    assert_eq!(gap.error_code(), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(read_offsets(&reader), [(0, 1), (2, 2)]);
    let old_epoch = writer.append(vec![produced(5, 1, 0, 1), produced(5, 0, 3, 1)], 0, now());
    assert!(old_epoch[0].is_ok());
    assert_eq!(
        old_epoch[1].as_ref().expect_err("fenced").error_code(),
        ErrorCode::InvalidProducerEpoch
    );
}

#[test]
fn a_batch_larger_than_a_segment_is_refused_and_its_neighbours_are_not() {
    let OpenedLog { mut writer, reader, .. } = Fixture::new(small_segments()).open();
    let large = plain(&(0..100).collect::<Vec<_>>());
    assert!(large.size_bytes() > 1000);
    let results = writer.append(vec![plain(&[1]), large, plain(&[2])], 0, now());
    assert_eq!(
        results[1].as_ref().expect_err("too large").error_code(),
        ErrorCode::RecordListTooLarge
    );
    assert_eq!(results[2].as_ref().expect("appended").base_offset, 1);
    assert_eq!(read_offsets(&reader), [(0, 0), (1, 1)]);
}

#[test]
fn open_transactions_hold_the_last_stable_offset_back() {
    let OpenedLog { mut writer, reader, .. } = Fixture::new(small_segments()).open();
    let mut builder = BatchBuilder::new(TimestampType::CreateTime, Compression::None)
        .with_producer(8, 0, 0)
        .transactional(true);
    builder.append(1, None, Some(b"in a transaction"), &[]);
    writer.append(vec![plain(&[1]), builder.build(), plain(&[2])], 0, now());
    writer.set_high_watermark(3);
    assert_eq!(reader.watermarks().last_stable_offset, 1);
    let marker = EndTxnMarker {
        result: TransactionResult::Abort,
        coordinator_epoch: 0,
    };
    let results = writer.append(vec![marker.build(8, 0, 5)], 0, now());
    assert_eq!(results[0].as_ref().expect("appended").base_offset, 3);
    assert_eq!(
        reader.watermarks().last_stable_offset,
        1,
        "the marker is not committed yet"
    );
    let marks = writer.set_high_watermark(4);
    assert_eq!((marks.last_stable_offset, marks.high_watermark), (4, 4));
}

#[test]
fn the_high_watermark_only_rises_and_not_above_the_end() {
    let OpenedLog { mut writer, reader, .. } = Fixture::new(small_segments()).open();
    writer.append(vec![plain(&[1, 2, 3])], 0, now());
    assert_eq!(writer.set_high_watermark(2).high_watermark, 2);
    assert_eq!(writer.set_high_watermark(1).high_watermark, 2);
    assert_eq!(writer.set_high_watermark(99).high_watermark, 3);
    assert_eq!(reader.watermarks().high_watermark, 3);
}

#[test]
fn reads_keep_to_limits_ends_and_segments() {
    let OpenedLog { mut writer, reader, .. } = Fixture::new(small_segments()).open();
    for n in 0..40 {
        writer.append(vec![plain(&[n, n])], 0, now())[0]
            .as_ref()
            .expect("appended");
    }
    assert!(reader.segment_count() > 3);
    let size_bytes = plain(&[1, 1]).size_bytes();
    let length = |plan: crate::log::read_plan::ReadPlan| plan.slice.map_or(0, |slice| slice.length);
    let plan = |offset, end, max, whole| reader.plan_read(offset, end, max, whole).expect("in range");
    // the batch that contains the offset comes first
    assert_eq!(plan(5, 80, 10_000, true).first_offset, 4);
    assert_eq!(
        length(plan(4, 80, size_bytes + 10, false)),
        size_bytes + 10,
        "a later batch may be cut"
    );
    assert_eq!(length(plan(4, 80, size_bytes - 1, false)), 0);
    assert_eq!(length(plan(4, 80, 0, true)), size_bytes);
    assert_eq!(
        length(plan(4, 8, 10_000, true)),
        2 * size_bytes,
        "the end is a batch boundary"
    );
    assert_eq!(
        length(plan(4, 7, 10_000, true)),
        size_bytes,
        "an end inside of a batch leaves the batch out"
    );
    assert_eq!(length(plan(4, 5, 10_000, true)), 0);
    assert_eq!(length(plan(80, 80, 10_000, true)), 0, "the log end is no error");
    assert!(plan(0, 80, 10_000, true).goes_on, "the rest is in the next segment");
    assert!(!plan(0, 80, size_bytes, true).goes_on, "the limit ends it");
    assert!(!plan(0, 4, 10_000, true).goes_on, "the end offset ends it");
    assert!(!plan(78, 80, 10_000, true).goes_on, "there is no more");
    assert_eq!(
        length(plan(8, 4, 10_000, true)),
        0,
        "between high watermark and log end is no error"
    );
    for offset in [-1, 81] {
        let refused = reader.plan_read(offset, 80, 10_000, true);
        assert!(matches!(
            refused,
            Err(ReadError::OutOfRange {
                log_start_offset: 0,
                log_end_offset: 80,
                ..
            })
        ));
    }
    assert_eq!(read_offsets(&reader).len(), 40);
}

#[test]
fn files_have_kafkas_layout() {
    let fixture = Fixture::new(small_segments());
    let OpenedLog { mut writer, reader, .. } = fixture.open();
    let mut written = Vec::new();
    for n in 0..12 {
        writer.append(vec![plain(&[100 + n, 50])], 3, now())[0]
            .as_ref()
            .expect("appended");
    }
    for bytes in read_all(&reader) {
        written.extend_from_slice(&bytes);
    }
    writer.close().expect("closed");
    let size_bytes = plain(&[100, 50]).size_bytes();
    let per_segment = 1000 / size_bytes;
    let second = format!("{:020}", per_segment * 2);
    let mut expected = vec!["leader-epoch-checkpoint".to_owned(), "partition.metadata".to_owned()];
    for base in ["00000000000000000000", &second] {
        expected.extend(["index", "log", "timeindex"].map(|suffix| format!("{base}.{suffix}")));
    }
    expected.extend([format!("{second}.snapshot"), "00000000000000000024.snapshot".to_owned()]);
    expected.sort();
    assert_eq!(fixture.names(), expected);
    let first_log = fixture.contents("00000000000000000000.log");
    assert_eq!(
        first_log.len(),
        per_segment * size_bytes,
        "no preallocated bytes are left"
    );
    assert_eq!(
        [first_log.clone(), fixture.contents(&format!("{second}.log"))].concat(),
        written
    );
    // base offset 0, length, epoch 3, magic 2
    let length = (size_bytes - 12) as u8;
    assert_eq!(
        &first_log[..17],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, length, 0, 0, 0, 3, 2]
    );
    let entries = decode_entries(&fixture.contents("00000000000000000000.index"), 1000).expect("ascending");
    assert!(entries.len() > 2);
    for entry in &entries {
        let header = BatchHeader::parse(&first_log[entry.position as usize..]).expect("points at a batch");
        assert_eq!(header.last_offset(), i64::from(entry.relative_offset));
    }
    assert_eq!(fixture.contents("leader-epoch-checkpoint"), b"0\n1\n3 0\n");
    let times = fixture.contents("00000000000000000000.timeindex");
    let last = &times[times.len() - 12..];
    let last_offset = (per_segment * 2 - 1) as u8;
    assert_eq!(
        last[..8],
        (100 + per_segment as i64 - 1).to_be_bytes(),
        "the segment's largest timestamp"
    );
    assert_eq!(last[8..], [0, 0, 0, last_offset]);
}

#[test]
fn times_are_found_to_the_record() {
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let OpenedLog { mut writer, reader, .. } = Fixture::new(small_segments()).open();
        for n in 0..30 {
            // 10 later than 5: timestamps need not ascend
            writer.append(
                vec![batch(&[n * 100, n * 100 + 10, n * 100 + 5], compression)],
                4,
                now(),
            );
        }
        let end = reader.watermarks().log_end_offset;
        let at = |timestamp, end| reader.offset_for_timestamp(timestamp, end).expect("looked up");
        let found = at(1207, end).expect("a later record");
        assert_eq!((found.offset, found.timestamp_ms, found.leader_epoch), (37, 1210, 4));
        assert_eq!(at(1211, end).map(|found| found.offset), Some(39));
        assert_eq!(at(-5, end).map(|found| found.offset), Some(0));
        assert_eq!(at(1207, 37), None, "not below the end");
        assert_eq!(at(2911, end), None);
        let newest = reader.max_timestamp(end).expect("looked up").expect("not empty");
        assert_eq!((newest.offset, newest.timestamp_ms), (88, 2910));
        assert_eq!(reader.max_timestamp(88).expect("looked up"), None);
        writer.set_high_watermark(end);
        writer.advance_log_start(38).expect("advanced");
        assert_eq!(
            at(0, end).map(|found| found.offset),
            Some(38),
            "nothing before the log start"
        );
    }
    let OpenedLog { reader, .. } = Fixture::new(small_segments()).open();
    assert_eq!(reader.max_timestamp(0).expect("looked up"), None);
    assert_eq!(reader.offset_for_timestamp(0, 0).expect("looked up"), None);
}

#[test]
fn the_log_start_takes_old_segments_and_epochs_along() {
    let fixture = Fixture::new(small_segments());
    let mut opened = fixture.open();
    for n in 0..40 {
        opened.writer.append(vec![plain(&[n, n])], (n / 10) as i32, now());
    }
    opened.writer.set_high_watermark(60);
    let before = opened.reader.size_bytes();
    opened.writer.advance_log_start(70).expect("advanced");
    let marks = opened.reader.watermarks();
    assert_eq!(marks.log_start_offset, 60, "not above the high watermark");
    assert!(retain(&fixture, &mut opened, &no_limits(), now()) > 0);
    let OpenedLog { writer, reader, .. } = opened;
    assert!(reader.size_bytes() < before);
    assert!(
        fixture
            .names()
            .iter()
            .all(|name| !name.contains("00000000000000000000"))
    );
    assert!(matches!(
        reader.plan_read(59, 80, 10, true),
        Err(ReadError::OutOfRange { .. })
    ));
    assert_eq!(read_offsets(&reader)[0], (60, 61));
    assert_eq!(reader.end_offset_for_epoch(1), (1, 60));
    assert_eq!(reader.end_offset_for_epoch(3), (3, 80));
    writer.close().expect("closed");
    let reopened = Fixture {
        log_start_offset: 60,
        ..fixture
    }
    .try_open(true, 80)
    .expect("opens");
    assert_eq!(read_offsets(&reopened.reader)[0], (60, 61));
}

#[test]
fn the_listener_hears_of_every_advance_and_acks_can_wait_for_the_disk() {
    let fixture = Fixture::new(LogConfig {
        flush_messages: 1,
        ..small_segments()
    });
    let OpenedLog { mut writer, reader, .. } = fixture.open();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&heard);
    reader.on_durable(Arc::new(move |offset| {
        listener.lock().expect("not poisoned").push(offset);
    }));
    writer.append(vec![plain(&[1, 2])], 0, now());
    writer.append(vec![plain(&[3])], 0, now());
    assert_eq!(reader.durable_offset(), 0);
    assert_eq!(fixture.flusher.run_pending(), 1, "queued once for both");
    assert_eq!(*heard.lock().expect("not poisoned"), [3]);
    writer.append(vec![plain(&[4])], 0, now());
    writer.flush().expect("synced");
    assert_eq!(reader.durable_offset(), 4);
    assert_eq!(
        *heard.lock().expect("not poisoned"),
        [3],
        "never told by the writer's own thread"
    );
    fixture.flusher.run_pending();
    assert_eq!(*heard.lock().expect("not poisoned"), [3, 4]);
}

#[test]
fn an_idle_log_takes_little_memory_and_no_disk_blocks() {
    let fixture = Fixture::new(LogConfig::default());
    let OpenedLog { writer, reader, .. } = fixture.open();
    assert_eq!(fixture.contents("00000000000000000000.log").len(), 0);
    assert!(size_of_val(&writer) + size_of_val(&*reader.shared) < 1024);
    assert_eq!(writer.allocated_to, 0);
    assert_eq!(writer.close().expect("closed"), 0);
    assert!(
        !fixture.names().iter().any(|name| name.ends_with(".index")),
        "nothing to index"
    );
}
