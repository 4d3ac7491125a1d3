//! When the flusher syncs a log, and what happens when it cannot.

use super::*;
use crate::epoch_file::LEADER_EPOCH_CHECKPOINT;
use crate::io::sim_fs::{Fault, FaultKind, Operation};

fn appended(writer: &mut crate::log::writer::LogWriter, timestamps: &[i64]) {
    writer.append(vec![plain(timestamps)], 0, now())[0]
        .as_ref()
        .expect("appended");
}

fn durable_offsets(reader: &LogReader) -> Arc<Mutex<Vec<i64>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&heard);
    reader.on_durable(Arc::new(move |offset| {
        listener.lock().expect("not poisoned").push(offset);
    }));
    heard
}

#[test]
fn no_room_for_a_small_file_is_tried_again_and_keeps_the_log_in_use() {
    for operation in [Operation::Write, Operation::Change] {
        let fixture = Fixture::new(small_segments());
        let OpenedLog { mut writer, reader, .. } = fixture.open();
        let heard = durable_offsets(&reader);
        appended(&mut writer, &[1, 2]);
        // the first of their kind in a sync: the file of the leader epochs
        fixture.fs.inject(Fault {
            operation: Some(operation),
            after: 0,
            kind: FaultKind::NoSpace,
            lasting: true,
        });
        for _ in 0..3 {
            assert_eq!(fixture.flusher.run_pending(), 1, "one attempt at a time");
            assert_eq!(fixture.flusher.queue_lengths(), [0, 0, 1]);
            assert!(writer.flush().is_err());
        }
        assert!(!reader.is_offline());
        assert_eq!(reader.durable_offset(), 0);
        assert!(heard.lock().expect("not poisoned").is_empty());
        assert_eq!(read_offsets(&reader), [(0, 1)]);
        fixture.fs.clear_faults();
        appended(&mut writer, &[3]);
        fixture.flusher.run_pending();
        assert_eq!(reader.durable_offset(), 3);
        assert_eq!(*heard.lock().expect("not poisoned"), [3]);
        assert_eq!(fixture.contents(LEADER_EPOCH_CHECKPOINT), b"0\n1\n0 0\n");
        assert!(fixture.failures.lock().expect("not poisoned").is_empty());
        fixture.fs.crash(crate::io::sim_fs::CrashKind::PowerLoss);
        assert_eq!(read_offsets(&fixture.open().reader), [(0, 1), (2, 2)]);
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_tried_again() {
    // sealed segments that are no longer open, their indexes, the metadata file
    for after in 0..8 {
        let fixture = Fixture::new(small_segments());
        let OpenedLog { mut writer, reader, .. } = fixture.open();
        for n in 0..80 {
            appended(&mut writer, &[n, n]);
        }
        assert!(reader.segment_count() > 6);
        fixture.fs.inject(Fault {
            operation: Some(Operation::Open),
            after,
            kind: FaultKind::InputOutput,
            lasting: false,
        });
        assert!(writer.flush().is_err(), "{after}");
        assert!(!reader.is_offline());
        assert_eq!(reader.durable_offset(), 0);
        fixture.flusher.run_pending();
        assert_eq!(reader.durable_offset(), 160);
        assert_eq!(read_offsets(&reader).len(), 80);
    }
}

#[test]
fn a_failed_sync_of_any_file_of_the_log_is_final() {
    for operation in [Operation::SyncData, Operation::SyncDir] {
        let fixture = Fixture::new(small_segments());
        let OpenedLog { mut writer, reader, .. } = fixture.open();
        appended(&mut writer, &[1]);
        fixture.fs.inject(Fault {
            operation: Some(operation),
            after: 0,
            kind: FaultKind::InputOutput,
            lasting: false,
        });
        fixture.flusher.run_pending();
        assert!(reader.is_offline());
        assert_eq!(fixture.flusher.queue_lengths(), [0, 0, 0]);
        assert_eq!(fixture.failures.lock().expect("not poisoned").len(), 1);
    }
}

#[test]
fn a_log_waits_once_in_each_queue_however_often_it_is_synced() {
    let fixture = Fixture::new(LogConfig {
        flush_messages: 10,
        flush_ms: 60_000,
        ..small_segments()
    });
    let OpenedLog { mut writer, reader, .. } = fixture.open();
    for n in 0..100 {
        appended(&mut writer, &[n]);
        fixture.flusher.run_due();
        let [urgent, timed, retries] = fixture.flusher.queue_lengths();
        assert_eq!((urgent, retries), (0, 0));
        assert!(timed <= 1, "{timed} entries of one log");
    }
    assert_eq!(reader.durable_offset(), 100);
}

#[test]
fn a_shorter_delay_holds_for_what_is_already_written() {
    for flush_ms in [i64::MAX, 3_600_000] {
        let config = LogConfig {
            flush_ms,
            ..small_segments()
        };
        let fixture = Fixture::new(config.clone());
        let OpenedLog { mut writer, reader, .. } = fixture.open();
        let with_delay = |flush_ms| {
            Arc::new(LogConfig {
                flush_ms,
                ..config.clone()
            })
        };
        writer.set_config(with_delay(flush_ms - 1));
        assert_eq!(fixture.flusher.queue_lengths(), [0, 0, 0], "nothing is written");
        appended(&mut writer, &[1]);
        fixture.flusher.run_due();
        assert_eq!(reader.durable_offset(), 0, "not yet");
        writer.set_config(with_delay(100));
        fixture.flusher.run_due();
        assert_eq!(reader.durable_offset(), 1);
        appended(&mut writer, &[2]);
        assert_eq!(fixture.flusher.queue_lengths(), [0, 1, 0], "the delay in force counts");
    }
}

#[test]
fn a_discarded_log_is_neither_synced_nor_reported() {
    let fixture = Fixture::new(small_segments());
    let OpenedLog { mut writer, reader, .. } = fixture.open();
    let heard = durable_offsets(&reader);
    appended(&mut writer, &[1]);
    fixture.fs.inject(Fault {
        operation: None,
        after: 0,
        kind: FaultKind::InputOutput,
        lasting: true,
    });
    let operations = fixture.fs.operations();
    writer.discard();
    fixture.flusher.run_pending();
    assert_eq!(fixture.fs.operations(), operations, "the disk is left alone");
    assert_eq!(fixture.flusher.queue_lengths(), [0, 0, 0]);
    assert!(reader.is_offline());
    assert_eq!(reader.durable_offset(), 0);
    assert!(fixture.failures.lock().expect("not poisoned").is_empty());
    assert!(heard.lock().expect("not poisoned").is_empty());
}
