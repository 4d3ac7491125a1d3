//! The same log on the real file system with the real flusher thread.

use std::sync::mpsc::channel;

use super::*;
use crate::flush::Flusher;
use crate::io::std_fs::StdFileSystem;

#[test]
fn appends_sync_and_reopen_on_a_real_disk() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let flusher = Flusher::start(Arc::new(|dir, error| panic!("{}: {error}", dir.display()))).expect("a thread");
    let config = LogConfig {
        flush_ms: 1,
        segment_bytes: 100_000,
        ..LogConfig::default()
    };
    let open = |clean_shutdown, recovery_point| {
        open_log(OpenLog {
            fs: Arc::new(StdFileSystem),
            dir: dir.path().join("topic-3"),
            topic: "topic".to_owned(),
            partition: 3,
            topic_id: Uuid::from_u128(9),
            config: Arc::new(config.clone()),
            clean_shutdown,
            recovery_point,
            log_start_offset: 0,
            high_watermark: 0,
            flusher: flusher.handle(),
            now: now(),
        })
        .expect("opens")
    };
    let OpenedLog { mut writer, reader, .. } = open(false, 0);
    let (sender, durable) = channel();
    reader.on_durable(Arc::new(move |offset| _ = sender.send(offset)));
    for n in 0..100 {
        let batches = (0..30).map(|m| plain(&[n, m])).collect();
        assert!(writer.append(batches, 0, now()).iter().all(Result::is_ok));
    }
    assert!(reader.segment_count() > 2);
    // no deadline of the test's own: if the flusher never comes, neither does the end of the test
    while durable.recv().expect("the flusher is alive") < 6000 {}
    assert_eq!(reader.recovery_point(), 6000);
    assert_eq!(read_offsets(&reader).len(), 3000);
    drop((writer, reader));
    let killed = open(false, 5000);
    assert_eq!(killed.report.first_bad, None);
    assert_eq!(read_offsets(&killed.reader).len(), 3000);
    let recovery_point = killed.writer.close().expect("closed");
    let stopped = open(true, recovery_point);
    assert_eq!(stopped.report.scanned_bytes, 0);
    assert_eq!(read_offsets(&stopped.reader).len(), 3000);
    let on_disk: u64 = std::fs::read_dir(dir.path().join("topic-3"))
        .expect("listed")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".log"))
        .map(|entry| entry.metadata().expect("metadata").len())
        .sum();
    assert_eq!(on_disk, stopped.reader.size_bytes());
    flusher.stop();
}

#[test]
fn many_dirty_logs_are_synced_side_by_side() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let flusher = Flusher::start(Arc::new(|dir, error| panic!("{}: {error}", dir.display()))).expect("a thread");
    let config = Arc::new(LogConfig {
        flush_ms: 5,
        ..LogConfig::default()
    });
    let (sender, durable) = channel();
    let mut writers = Vec::new();
    for partition in 0..60 {
        let OpenedLog { writer, reader, .. } = open_log(OpenLog {
            fs: Arc::new(StdFileSystem),
            dir: dir.path().join(format!("topic-{partition}")),
            topic: "topic".to_owned(),
            partition,
            topic_id: Uuid::nil(),
            config: Arc::clone(&config),
            clean_shutdown: false,
            recovery_point: 0,
            log_start_offset: 0,
            high_watermark: 0,
            flusher: flusher.handle(),
            now: now(),
        })
        .expect("opens");
        let sender = sender.clone();
        reader.on_durable(Arc::new(move |offset| _ = sender.send((partition, offset))));
        writers.push(writer);
    }
    for writer in &mut writers {
        assert!(writer.append(vec![plain(&[1, 2])], 0, now())[0].is_ok());
    }
    let mut heard: Vec<_> = (0..60).map(|_| durable.recv().expect("the flusher is alive")).collect();
    heard.sort_unstable();
    assert_eq!(heard, (0..60).map(|partition| (partition, 2)).collect::<Vec<_>>());
}
