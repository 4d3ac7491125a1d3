//! Transactions in a log: what is open, what was aborted and where the last stable offset is are what the batches in the
//! log say, whatever happened to the process, the disk and the files beside the batches.

use std::collections::BTreeMap;

use protocol::record::BatchView;
use protocol::record::control::{EndTxnMarker, TransactionResult};

use super::*;
use crate::log::read_plan::ReadPlan;
use crate::log::txn_index::AbortedTxn;

mod crash;
mod files;

/// What the batches of a log say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Model {
    /// Producer id to first offset.
    open: BTreeMap<i64, i64>,
    aborted: Vec<AbortedTxn>,
    end_offset: i64,
}

impl Model {
    fn of(batches: &[Bytes]) -> Self {
        let mut model = Self::default();
        for bytes in batches {
            let view = BatchView::parse(bytes).expect("a batch");
            let header = view.header;
            model.end_offset = header.next_offset();
            let marker = EndTxnMarker::parse(&view).expect("readable");
            if let Some(marker) = marker {
                let Some(first_offset) = model.open.remove(&header.producer_id) else {
                    continue;
                };
                let undecided = model.open.values().min().copied();
                if marker.result == TransactionResult::Abort {
                    model.aborted.push(AbortedTxn {
                        producer_id: header.producer_id,
                        first_offset,
                        last_offset: header.base_offset,
                        last_stable_offset: undecided.unwrap_or_else(|| header.next_offset()),
                    });
                }
            } else if header.attributes.is_transactional() {
                model.open.entry(header.producer_id).or_insert(header.base_offset);
            }
        }
        model
    }

    fn last_stable_offset(&self) -> i64 {
        self.open.values().min().copied().unwrap_or(self.end_offset)
    }
}

/// Everything in the files of the log, also what lies before its start.
fn all_batches(opened: &OpenedLog) -> Vec<Bytes> {
    let shared = &opened.reader.shared;
    let segments = shared.segments.load();
    let mut found = Vec::new();
    for index in 0..=segments.sealed.len() {
        let base_offset = segments.get(index).expect("a segment").base_offset();
        let path = crate::segment::file::segment_path(shared.path(), base_offset, ".log");
        let bytes = crate::checkpoint::read_whole(shared.fs(), &path)
            .expect("read")
            .expect("present");
        let bytes = Bytes::from(bytes);
        let whole = batches(&bytes).map_while(Result::ok);
        // blocks that are reserved and not written are zeros
        let whole = whole.take_while(|view| view.verify_crc().is_ok());
        found.extend(whole.map(|view| bytes.slice_ref(view.bytes())));
    }
    found
}

/// The log is what its batches say.
fn check(opened: &mut OpenedLog, context: &str) {
    let model = Model::of(&all_batches(opened));
    check_against(opened, &model, context);
}

fn check_against(opened: &mut OpenedLog, model: &Model, context: &str) {
    let open: BTreeMap<i64, i64> = opened
        .writer
        .producers()
        .entries()
        .filter_map(|entry| Some((entry.producer_id, entry.current_txn_first_offset?)))
        .collect();
    assert_eq!(open, model.open, "{context}: open transactions");
    let marks = opened.writer.set_high_watermark(i64::MAX);
    if model.end_offset > 0 {
        assert_eq!(marks.log_end_offset, model.end_offset, "{context}");
    }
    let stable = model.last_stable_offset().max(marks.log_start_offset);
    assert_eq!(marks.last_stable_offset, stable, "{context}: last stable offset");
    for from in marks.log_start_offset..marks.log_end_offset {
        let max_bytes = [1, 300, 100_000][(from % 3) as usize];
        check_read(&opened.reader, model, from, max_bytes, context);
    }
}

fn check_read(reader: &LogReader, model: &Model, from: i64, max_bytes: usize, context: &str) {
    let end_offset = reader.watermarks().last_stable_offset;
    let plan = reader.plan_read(from, end_offset, max_bytes, true).expect("readable");
    let found = reader.aborted_transactions(&plan, from, end_offset).expect("readable");
    let prompt = reader
        .aborted_transactions_nowait(&plan, from, end_offset)
        .expect("readable");
    assert!(prompt.is_none_or(|prompt| prompt == found), "{context}");
    let Some(read_to) = end_of(&plan) else {
        assert_eq!(found, [], "{context}: nothing was read");
        return;
    };
    let overlapping = |to: i64| -> Vec<AbortedTxn> {
        let overlaps = |txn: &&AbortedTxn| txn.last_offset >= from && txn.first_offset < to;
        let mut txns: Vec<_> = model.aborted.iter().filter(overlaps).copied().collect();
        txns.sort_by_key(|txn| (txn.first_offset, txn.producer_id));
        txns
    };
    let context = || format!("{context}: {max_bytes} bytes from {from}, read up to {read_to}, {model:?}");
    let needed = overlapping(read_to);
    assert!(found.starts_with(&needed), "{}: {found:?}", context());
    assert!(overlapping(end_offset).starts_with(&found), "{}: {found:?}", context());
    if plan.slice.as_ref().is_some_and(|slice| slice.length < 400) {
        assert!(found.len() <= needed.len() + 6, "{}: {found:?}", context());
    }
}

/// The offset behind what a plan reads.
fn end_of(plan: &ReadPlan) -> Option<i64> {
    let bytes = plan.slice.as_ref()?.read().expect("readable");
    let whole = batches(&bytes).map_while(Result::ok).last()?;
    Some(whole.header.next_offset())
}

fn transactional(producer_id: i64, base_sequence: i32, count: i32) -> ValidatedBatch {
    let builder = BatchBuilder::new(TimestampType::CreateTime, Compression::None);
    let mut builder = builder.with_producer(producer_id, 0, base_sequence).transactional(true);
    for n in 0..count {
        builder.append(now().wall_ms, None, Some(format!("{n}").as_bytes()), &[]);
    }
    builder.build()
}

fn marker(producer_id: i64, committed: bool) -> ValidatedBatch {
    let result = if committed {
        TransactionResult::Commit
    } else {
        TransactionResult::Abort
    };
    EndTxnMarker {
        result,
        coordinator_epoch: 0,
    }
    .build(producer_id, 0, now().wall_ms)
}

/// The next sequence number of each of the workload's producers.
#[derive(Debug, Default)]
struct Workload {
    sequences: BTreeMap<i64, i32>,
    random: u64,
}

impl Workload {
    fn new(seed: u64) -> Self {
        Self {
            sequences: BTreeMap::new(),
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % limit
    }

    /// One more batch: of a transaction, plain, or a marker. False when the disk does not go along.
    fn step(&mut self, opened: &mut OpenedLog) -> bool {
        let producer_id = 1 + self.below(4) as i64;
        let written = match self.below(10) {
            0..=4 => {
                let count = 1 + self.below(3) as i32;
                let sequence = self.sequences.entry(producer_id).or_insert(0);
                let results = opened
                    .writer
                    .append(vec![transactional(producer_id, *sequence, count)], 0, now());
                if results[0].is_ok() {
                    *sequence += count;
                }
                results.into_iter().all(|result| result.is_ok())
            }
            5 => {
                let results = opened.writer.append(vec![plain(&[1, 2])], 0, now());
                results.into_iter().all(|result| result.is_ok())
            }
            6..=8 => opened
                .writer
                .append_marker(marker(producer_id, false), 0, 0, now())
                .is_ok(),
            _ => opened
                .writer
                .append_marker(marker(producer_id, true), 0, 0, now())
                .is_ok(),
        };
        opened.writer.set_high_watermark(i64::MAX);
        written
    }

    fn steps(&mut self, opened: &mut OpenedLog, count: usize) {
        for _ in 0..count {
            assert!(self.step(opened), "the disk is whole");
        }
    }
}

fn segments_of(segment_bytes: u32) -> LogConfig {
    LogConfig {
        segment_bytes,
        ..small_segments()
    }
}

#[test]
fn reads_are_told_of_the_aborted_transactions_that_concern_them() {
    for seed in 0..30 {
        let fixture = Fixture::new(segments_of(700 + 100 * (seed % 5) as u32));
        let mut opened = fixture.open();
        let mut workload = Workload::new(seed);
        for _ in 0..6 {
            workload.steps(&mut opened, 12);
            check(&mut opened, &format!("seed {seed}"));
        }
        let recovery_point = opened.writer.close().expect("closed");
        let mut opened = fixture.try_open(true, recovery_point).expect("opened");
        check(&mut opened, &format!("seed {seed}, reopened"));
        workload.steps(&mut opened, 12);
        check(&mut opened, &format!("seed {seed}, gone on"));
    }
}

#[test]
fn a_partition_without_aborted_transactions_has_no_index() {
    let fixture = Fixture::new(segments_of(700));
    let mut opened = fixture.open();
    for n in 0..20 {
        opened
            .writer
            .append(vec![transactional(1, n * 2, 2)], 0, now())
            .remove(0)
            .expect("appended");
        opened
            .writer
            .append_marker(marker(1, true), 0, 0, now())
            .expect("appended");
        opened
            .writer
            .append_marker(marker(2, false), 0, 0, now())
            .expect("a marker without records");
    }
    assert!(opened.reader.segment_count() > 3);
    assert!(!opened.reader.shared.has_aborted());
    let is_index = |name: &String| name.ends_with(".txnindex");
    assert!(!fixture.names().iter().any(is_index));
    check(&mut opened, "all committed");
    opened
        .writer
        .append(vec![transactional(1, 40, 1)], 0, now())
        .remove(0)
        .expect("appended");
    opened
        .writer
        .append_marker(marker(1, false), 0, 0, now())
        .expect("appended");
    assert_eq!(fixture.names().into_iter().filter(is_index).count(), 1);
    check(&mut opened, "one aborted");
}

#[test]
fn the_last_stable_offset_waits_for_the_high_watermark() {
    let fixture = Fixture::new(small_segments());
    let mut opened = fixture.open();
    opened
        .writer
        .append(vec![plain(&[1, 2]), transactional(1, 0, 2)], 0, now());
    assert_eq!(opened.writer.set_high_watermark(4).last_stable_offset, 2);
    opened
        .writer
        .append_marker(marker(1, false), 0, 0, now())
        .expect("appended");
    assert_eq!(
        opened.reader.watermarks().last_stable_offset,
        2,
        "the marker is not committed"
    );
    assert_eq!(opened.writer.set_high_watermark(5).last_stable_offset, 5);
    drop(opened);
    // What ended below the high watermark of the checkpoint holds nothing back, nor does what ended behind it for long.
    for (high_watermark, stable) in [(5, 5), (4, 2), (0, 0)] {
        let mut opened = fixture.try_open_at(false, 0, 0, high_watermark).expect("opened");
        assert_eq!(
            opened.reader.watermarks().last_stable_offset,
            stable,
            "{high_watermark}"
        );
        assert_eq!(
            opened.writer.set_high_watermark(5).last_stable_offset,
            5,
            "{high_watermark}"
        );
    }
}

#[test]
fn truncation_leaves_what_the_kept_batches_say() {
    for seed in 0..12 {
        let end = {
            let fixture = Fixture::new(segments_of(800));
            let mut opened = fixture.open();
            Workload::new(seed).steps(&mut opened, 40);
            opened.reader.watermarks().log_end_offset
        };
        for offset in (0..end).step_by(3) {
            let context = format!("seed {seed}, cut to {offset}");
            let fixture = Fixture::new(segments_of(800));
            let mut opened = fixture.open();
            Workload::new(seed).steps(&mut opened, 40);
            if offset % 2 == 0 {
                fixture.flusher.run_pending();
            }
            opened.writer.truncate_to(offset).expect("cut");
            assert!(opened.reader.watermarks().log_end_offset <= offset, "{context}");
            check(&mut opened, &context);
            Workload::new(seed + 100).step_plain(&mut opened);
            check(&mut opened, &format!("{context}, gone on"));
            let recovery_point = opened.writer.close().expect("closed");
            let mut opened = fixture.try_open(true, recovery_point).expect("opened");
            check(&mut opened, &format!("{context}, reopened"));
        }
    }
}

impl Workload {
    /// Batches that get the offsets of what was cut off.
    fn step_plain(&mut self, opened: &mut OpenedLog) {
        for n in 0..1 + self.below(5) as i64 {
            opened
                .writer
                .append(vec![plain(&[n, n])], 0, now())
                .remove(0)
                .expect("appended");
        }
    }
}

#[test]
fn the_last_stable_offset_never_lies_before_the_log_start() {
    let fixture = Fixture::new(segments_of(500));
    let mut opened = fixture.open();
    opened
        .writer
        .append(vec![transactional(1, 0, 3), plain(&[1, 2])], 0, now());
    opened.writer.set_high_watermark(i64::MAX);
    // As Kafka: DeleteRecords may go up to the high watermark, into and behind an open transaction.
    opened.writer.advance_log_start(5).expect("moved");
    let marks = opened.reader.watermarks();
    assert_eq!(
        (marks.log_start_offset, marks.last_stable_offset, marks.high_watermark),
        (5, 5, 5)
    );
    opened
        .writer
        .append(vec![plain(&[1, 2]), transactional(1, 3, 1)], 0, now());
    let marks = opened.writer.set_high_watermark(i64::MAX);
    assert_eq!(
        (marks.last_stable_offset, marks.high_watermark),
        (5, 8),
        "it is still open"
    );
    drop(opened);
    let mut opened = fixture.try_open_at(false, 0, 5, 8).expect("opened");
    assert_eq!(opened.writer.set_high_watermark(i64::MAX).last_stable_offset, 5);
    opened
        .writer
        .append_marker(marker(1, false), 0, 0, now())
        .expect("appended");
    assert_eq!(opened.writer.set_high_watermark(i64::MAX).last_stable_offset, 9);
    check(&mut opened, "ended");
}

/// The snapshot at a segment's begin knows a transaction that ended before the log start.
#[test]
fn what_ended_before_the_log_start_is_not_open_after_a_restart() {
    let fixture = Fixture::new(small_segments());
    let mut opened = fixture.open();
    opened.writer.append(vec![transactional(1, 0, 2)], 0, now());
    opened.writer.roll_active(now()).expect("rolled");
    opened
        .writer
        .append_marker(marker(1, false), 0, 0, now())
        .expect("appended");
    opened.writer.append(vec![plain(&[1, 2])], 0, now());
    opened.writer.set_high_watermark(i64::MAX);
    opened.writer.advance_log_start(3).expect("moved");
    drop(opened);
    let opened = fixture.try_open_at(false, 0, 3, 5).expect("opened");
    assert_eq!(opened.reader.watermarks().last_stable_offset, 5);
    assert_eq!(opened.writer.producers().first_undecided_offset(), None);
}

#[test]
fn retention_stops_before_an_open_transaction() {
    let fixture = Fixture::new(segments_of(400));
    let mut opened = fixture.open();
    let mut workload = Workload::new(5);
    for n in 0..6 {
        opened.writer.append(vec![plain(&[n, n])], 0, now());
    }
    workload.steps(&mut opened, 60);
    fixture.flusher.run_pending();
    let model = Model::of(&all_batches(&opened));
    assert!(!model.open.is_empty() && model.aborted.len() > 3);
    let config = LogConfig {
        retention_bytes: 0,
        ..no_limits()
    };
    assert!(retain(&fixture, &mut opened, &config, now()) > 0);
    let marks = opened.reader.watermarks();
    assert!(marks.log_start_offset <= model.last_stable_offset());
    check_against(&mut opened, &model, "after retention");
    let logs: Vec<String> = fixture
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".log"))
        .collect();
    for index in fixture.names().into_iter().filter(|name| name.ends_with(".txnindex")) {
        assert!(
            logs.contains(&index.replace(".txnindex", ".log")),
            "{index} goes with its segment"
        );
    }
    drop(opened);
    let mut opened = fixture
        .try_open_at(false, marks.log_end_offset, marks.log_start_offset, 0)
        .expect("opened");
    check_against(&mut opened, &model, "after a restart");
}
