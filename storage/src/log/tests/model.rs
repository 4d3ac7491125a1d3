//! Random histories against a plain list of batches.

use proptest::prelude::*;
use protocol::record::BatchHeader;

use super::*;
use crate::io::sim_fs::CrashKind;

#[derive(Debug, Clone)]
enum Step {
    Append {
        batches: Vec<Vec<i64>>,
        compressed: bool,
    },
    Truncate {
        part: u8,
    },
    AdvanceStart {
        part: u8,
    },
    Retain {
        keep_bytes: u16,
        max_age_ms: i64,
        renames: usize,
    },
    RaiseHighWatermark {
        part: u8,
    },
    Flush,
    CloseAndOpen,
    KillAndOpen,
}

fn step() -> impl Strategy<Value = Step> {
    let batch = proptest::collection::vec(0..1000i64, 1..5);
    prop_oneof![
        12 => (proptest::collection::vec(batch, 1..6), proptest::bool::weighted(0.1))
            .prop_map(|(batches, compressed)| Step::Append { batches, compressed }),
        1 => any::<u8>().prop_map(|part| Step::Truncate { part }),
        1 => any::<u8>().prop_map(|part| Step::AdvanceStart { part }),
        2 => (0..3000u16, -1..600i64, 0..5usize)
            .prop_map(|(keep_bytes, max_age_ms, renames)| Step::Retain { keep_bytes, max_age_ms, renames }),
        2 => any::<u8>().prop_map(|part| Step::RaiseHighWatermark { part }),
        2 => Just(Step::Flush),
        1 => Just(Step::CloseAndOpen),
        1 => Just(Step::KillAndOpen),
    ]
}

/// The log as it should be.
#[derive(Debug, Default)]
struct Model {
    batches: Vec<Vec<u8>>,
    /// (offset, timestamp) of all records.
    records: Vec<(i64, i64)>,
    log_start_offset: i64,
    high_watermark: i64,
    log_end_offset: i64,
}

fn header(bytes: &[u8]) -> BatchHeader {
    BatchHeader::parse(bytes).expect("a batch")
}

impl Model {
    fn append(&mut self, mut batch: ValidatedBatch, timestamps: &[i64]) {
        batch.assign(self.log_end_offset, 0, None);
        self.records
            .extend((self.log_end_offset..).zip(timestamps.iter().copied()));
        self.log_end_offset += timestamps.len() as i64;
        self.batches.push(batch.to_bytes().to_vec());
    }

    /// The offset at which a log cut at `offset` ends.
    fn truncate(&mut self, offset: i64) {
        if offset >= self.log_end_offset {
            return;
        }
        if offset < self.log_start_offset {
            *self = Self {
                log_start_offset: offset,
                high_watermark: offset,
                log_end_offset: offset,
                ..Self::default()
            };
            return;
        }
        self.batches.retain(|bytes| header(bytes).last_offset() < offset);
        let last = self.batches.last().map_or(0, |bytes| header(bytes).next_offset());
        self.log_end_offset = last.max(self.log_start_offset);
        self.records.retain(|(record, _)| *record < self.log_end_offset);
        self.high_watermark = self.high_watermark.min(self.log_end_offset);
    }

    fn check(&self, reader: &LogReader, fetch: i64, end: i64, max_bytes: usize, whole: bool) {
        let marks = reader.watermarks();
        assert_eq!(marks.log_start_offset, self.log_start_offset);
        assert_eq!(marks.log_end_offset, self.log_end_offset);
        let span = self.log_end_offset - self.log_start_offset + 1;
        let fetch = self.log_start_offset + fetch % span;
        let end = self.log_start_offset + end % span;
        let visible: Vec<&Vec<u8>> = self
            .batches
            .iter()
            .filter(|bytes| header(bytes).last_offset() >= fetch && header(bytes).last_offset() < end)
            .collect();
        let starts_visible = self
            .batches
            .iter()
            .find(|bytes| header(bytes).last_offset() >= fetch)
            .is_some_and(|bytes| header(bytes).last_offset() < end);
        let plan = reader.plan_read(fetch, end, max_bytes, whole).expect("in range");
        let got = plan
            .slice
            .map(|slice| slice.read().expect("readable"))
            .unwrap_or_default();
        let expected: Vec<u8> = if starts_visible {
            visible.into_iter().flatten().copied().collect()
        } else {
            Vec::new()
        };
        assert!(expected.starts_with(&got), "bytes of {fetch}..{end}");
        if expected.is_empty() {
            return;
        }
        let first = header(&expected).size_bytes();
        if max_bytes >= first {
            assert!(got.len() >= first && got.len() <= max_bytes);
        } else {
            assert_eq!(got.len(), if whole { first } else { 0 });
        }
    }

    fn check_times(&self, reader: &LogReader, timestamp_ms: i64, end: i64) {
        let end = self.log_start_offset + end % (self.log_end_offset - self.log_start_offset + 1);
        let visible = || {
            self.records
                .iter()
                .copied()
                .filter(|(offset, _)| *offset >= self.log_start_offset)
        };
        let expected = visible()
            .find(|(_, ms)| *ms >= timestamp_ms)
            .filter(|(offset, _)| *offset < end);
        let found = reader.offset_for_timestamp(timestamp_ms, end).expect("looked up");
        assert_eq!(found.map(|found| (found.offset, found.timestamp_ms)), expected);
        let largest = visible().map(|(_, ms)| ms).max();
        let expected = visible().find(|(_, ms)| Some(*ms) == largest);
        let found = reader.max_timestamp(self.log_end_offset).expect("looked up");
        assert_eq!(found.map(|found| (found.offset, found.timestamp_ms)), expected);
    }
}

fn apply(fixture: &mut Fixture, opened: OpenedLog, model: &mut Model, step: &Step) -> OpenedLog {
    let OpenedLog {
        mut writer,
        reader,
        report,
    } = opened;
    let at = |part: u8, from: i64, to: i64| from + (to - from) * i64::from(part) / 255;
    match step {
        Step::Append { batches, compressed } => {
            let codec = if *compressed {
                Compression::Lz4
            } else {
                Compression::None
            };
            let built: Vec<_> = batches.iter().map(|timestamps| batch(timestamps, codec)).collect();
            for (batch, timestamps) in built.iter().zip(batches) {
                model.append(batch.clone(), timestamps);
            }
            writer
                .append(built, 0, now())
                .into_iter()
                .for_each(|result| _ = result.expect("appended"));
        }
        Step::Truncate { part } => {
            let offset = at(*part, (model.log_start_offset - 3).max(0), model.log_end_offset);
            writer.truncate_to(offset).expect("cut");
            model.truncate(offset);
        }
        Step::AdvanceStart { part } => {
            let offset = at(*part, model.log_start_offset, model.high_watermark);
            writer.advance_log_start(offset).expect("advanced");
            model.log_start_offset = offset;
        }
        Step::Retain {
            keep_bytes,
            max_age_ms,
            renames,
        } => {
            let mut opened = OpenedLog { writer, reader, report };
            retain(&mut opened, model, *keep_bytes, *max_age_ms, *renames);
            return opened;
        }
        Step::RaiseHighWatermark { part } => {
            model.high_watermark = at(*part, model.high_watermark, model.log_end_offset);
            assert_eq!(
                writer.set_high_watermark(model.high_watermark).high_watermark,
                model.high_watermark
            );
        }
        Step::Flush => writer.flush().expect("synced"),
        Step::CloseAndOpen => {
            let recovery_point = writer.close().expect("closed");
            fixture.log_start_offset = model.log_start_offset;
            model.high_watermark = model.log_start_offset;
            return fixture.try_open(true, recovery_point).expect("opens");
        }
        Step::KillAndOpen => {
            let recovery_point = reader.recovery_point();
            fixture.fs.crash(CrashKind::ProcessKill);
            fixture.log_start_offset = model.log_start_offset;
            model.high_watermark = model.log_start_offset;
            return fixture.try_open(false, recovery_point).expect("opens");
        }
    }
    OpenedLog { writer, reader, report }
}

fn retain(opened: &mut OpenedLog, model: &mut Model, keep_bytes: u16, max_age_ms: i64, renames: usize) {
    let config = LogConfig {
        retention_bytes: i64::from(keep_bytes),
        retention_ms: max_age_ms,
        ..LogConfig::default()
    };
    let end = opened.reader.watermarks().log_end_offset;
    // the model's timestamps are below 1,000
    let removed = take_out(
        opened,
        &config,
        Now {
            wall_ms: 1_000,
            ..now()
        },
    );
    let log_start_offset = opened.reader.watermarks().log_start_offset;
    assert!((model.log_start_offset..=model.high_watermark).contains(&log_start_offset));
    if log_start_offset > model.log_start_offset {
        let is_boundary = |bytes: &Vec<u8>| header(bytes).base_offset == log_start_offset;
        assert!(log_start_offset == end || model.batches.iter().any(is_boundary));
        let removed = removed.as_ref().expect("the log start moved");
        assert_eq!(removed.log_start_offset, log_start_offset);
    }
    model.log_start_offset = log_start_offset;
    if let Some(mut removed) = removed {
        for _ in 0..renames {
            removed.rename_next().expect("renamed");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn behaves_like_a_list_of_batches(
        steps in proptest::collection::vec(step(), 1..40),
        probes in proptest::collection::vec((any::<u16>(), any::<u16>(), 0..2000usize, any::<bool>(), 0..1100i64), 12),
    ) {
        let mut fixture = Fixture::new(small_segments());
        let mut opened = fixture.open();
        let mut model = Model::default();
        for step in &steps {
            opened = apply(&mut fixture, opened, &mut model, step);
            for (fetch, end, max_bytes, whole, timestamp) in &probes {
                model.check(&opened.reader, i64::from(*fetch), i64::from(*end), *max_bytes, *whole);
                model.check_times(&opened.reader, *timestamp, i64::from(*end));
            }
        }
        fixture.flusher.run_pending();
        prop_assert_eq!(opened.reader.durable_offset(), model.log_end_offset);
    }
}
