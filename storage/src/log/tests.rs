//! Tests of the log as a whole: a fixture over the simulated disk, and one file per subject.

mod append;
mod copying;
mod crash;
mod faults;
mod flushing;
mod index_files;
mod model;
mod opening;
mod real_disk;
mod recovery;
mod removal;
mod removal_producers;
mod segment_offsets;
mod transactions;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use protocol::record::{BatchBuilder, Compression, TimestampType, ValidatedBatch, batches};
use protocol::types::Now;
use uuid::Uuid;

use crate::config::LogConfig;
use crate::error::StorageError;
use crate::flush::FlusherHandle;
use crate::io::sim_fs::SimFileSystem;
use crate::log::open::{OpenLog, OpenedLog, open_log};
use crate::log::reader::LogReader;
use crate::log::removal::{RemovedSegments, remove_deleted_file};

const DIR: &str = "/data/topic-0";

/// One log on a simulated disk, opened as often as a test wants.
struct Fixture {
    fs: SimFileSystem,
    config: LogConfig,
    flusher: FlusherHandle,
    failures: Arc<Mutex<Vec<String>>>,
    log_start_offset: i64,
}

impl Fixture {
    fn new(config: LogConfig) -> Self {
        Self::on(SimFileSystem::new(1), config)
    }

    fn on(fs: SimFileSystem, config: LogConfig) -> Self {
        fs.shared().create_dir_all(Path::new("/data")).expect("a fresh disk");
        fs.shared().sync_dir(Path::new("/")).expect("a fresh disk");
        let failures = Arc::new(Mutex::new(Vec::new()));
        let reported = Arc::clone(&failures);
        let flusher = FlusherHandle::manual(Arc::new(move |dir, error| {
            reported
                .lock()
                .expect("not poisoned")
                .push(format!("{}: {error}", dir.display()));
        }));
        Self {
            fs,
            config,
            flusher,
            failures,
            log_start_offset: 0,
        }
    }

    fn try_open(&self, clean_shutdown: bool, recovery_point: i64) -> Result<OpenedLog, StorageError> {
        self.try_open_at(clean_shutdown, recovery_point, self.log_start_offset, 0)
    }

    fn try_open_at(
        &self,
        clean_shutdown: bool,
        recovery_point: i64,
        log_start_offset: i64,
        high_watermark: i64,
    ) -> Result<OpenedLog, StorageError> {
        open_log(OpenLog {
            fs: self.fs.shared(),
            dir: PathBuf::from(DIR),
            topic: "topic".to_owned(),
            partition: 0,
            topic_id: Uuid::from_u128(7),
            config: Arc::new(self.config.clone()),
            clean_shutdown,
            recovery_point,
            log_start_offset,
            high_watermark,
            flusher: self.flusher.clone(),
            now: now(),
        })
    }

    fn open(&self) -> OpenedLog {
        self.try_open(false, 0).expect("the log opens")
    }

    fn names(&self) -> Vec<String> {
        let entries = self.fs.shared().list(Path::new(DIR)).expect("listed");
        entries.into_iter().map(|entry| entry.name).collect()
    }

    fn contents(&self, name: &str) -> Vec<u8> {
        let path = Path::new(DIR).join(name);
        crate::checkpoint::read_whole(self.fs.shared().as_ref(), &path)
            .expect("read")
            .expect("present")
    }
}

fn now() -> Now {
    Now {
        mono_ms: 0,
        wall_ms: 1_000_000,
    }
}

/// Segments of a few batches and an index entry for nearly each batch.
fn small_segments() -> LogConfig {
    LogConfig {
        segment_bytes: 1000,
        index_interval_bytes: 100,
        segment_ms: i64::MAX,
        ..LogConfig::default()
    }
}

/// A batch with one record per timestamp; the values say which record it is.
fn batch(timestamps: &[i64], compression: Compression) -> ValidatedBatch {
    let mut builder = BatchBuilder::new(TimestampType::CreateTime, compression);
    for timestamp_ms in timestamps {
        builder.append(
            *timestamp_ms,
            Some(b"key"),
            Some(format!("value at {timestamp_ms}").as_bytes()),
            &[],
        );
    }
    builder.build()
}

fn plain(timestamps: &[i64]) -> ValidatedBatch {
    batch(timestamps, Compression::None)
}

/// A batch of an idempotent producer.
fn produced(producer_id: i64, producer_epoch: i16, base_sequence: i32, count: i32) -> ValidatedBatch {
    produced_at(now().wall_ms, producer_id, producer_epoch, base_sequence, count)
}

fn produced_at(
    timestamp_ms: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    count: i32,
) -> ValidatedBatch {
    let builder = BatchBuilder::new(TimestampType::CreateTime, Compression::None);
    let mut builder = builder.with_producer(producer_id, producer_epoch, base_sequence);
    for n in 0..count {
        builder.append(
            timestamp_ms,
            None,
            Some(format!("{producer_id}/{}", base_sequence + n).as_bytes()),
            &[],
        );
    }
    builder.build()
}

/// Everything from the log start to the log end, fetched piece by piece as a consumer does.
fn read_all(reader: &LogReader) -> Vec<Bytes> {
    let marks = reader.watermarks();
    let mut offset = marks.log_start_offset;
    let mut read = Vec::new();
    while offset < marks.log_end_offset {
        let plan = reader
            .plan_read(offset, marks.log_end_offset, 300, true)
            .expect("readable");
        let Some(slice) = plan.slice else { break };
        let bytes = slice.read().expect("readable");
        for found in batches(&bytes) {
            let Ok(view) = found else { break };
            view.verify_crc().expect("an intact batch");
            offset = view.header.next_offset();
            read.push(bytes.slice_ref(view.bytes()));
        }
    }
    read
}

/// As [`read_all`], only (base offset, last offset).
fn read_offsets(reader: &LogReader) -> Vec<(i64, i64)> {
    let headers = read_all(reader)
        .into_iter()
        .map(|bytes| protocol::record::BatchHeader::parse(&bytes).expect("a batch"));
    headers
        .map(|header| (header.base_offset, header.last_offset()))
        .collect()
}

/// One look of retention, with its files renamed and removed at once. Returns how many segments went.
fn retain(fixture: &Fixture, opened: &mut OpenedLog, config: &LogConfig, now: Now) -> usize {
    let Some(mut removed) = take_out(opened, config, now) else {
        return 0;
    };
    while let Some(renamed) = removed.rename_next().expect("renamed") {
        for path in renamed {
            remove_deleted_file(fixture.fs.shared().as_ref(), &path).expect("removed");
        }
    }
    removed.count
}

fn take_out(opened: &mut OpenedLog, config: &LogConfig, now: Now) -> Option<RemovedSegments> {
    let removable = opened.reader.find_removable(config, now).expect("found")?;
    opened.writer.take_out(&removable, now).expect("taken out")
}

/// Keeps everything but what lies before the log start.
fn no_limits() -> LogConfig {
    LogConfig {
        retention_ms: -1,
        retention_bytes: -1,
        ..LogConfig::default()
    }
}
