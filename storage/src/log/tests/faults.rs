//! Failing disks: what is refused, what stays, what takes the log out of use.

use protocol::error_code::ErrorCode;

use super::*;
use crate::io::sim_fs::{Fault, FaultKind, Operation};
use crate::log::read_plan::{ReadError, ReadPlan};

fn fault(operation: Operation, after: u64, kind: FaultKind, lasting: bool) -> Fault {
    Fault {
        operation: Some(operation),
        after,
        kind,
        lasting,
    }
}

#[test]
fn a_full_disk_refuses_and_works_again_when_there_is_room() {
    let fixture = Fixture::new(small_segments());
    let OpenedLog { mut writer, reader, .. } = fixture.open();
    writer.append(vec![produced(1, 0, 0, 2)], 0, now());
    fixture.fs.inject(fault(Operation::Write, 0, FaultKind::NoSpace, false));
    let results = writer.append(vec![produced(1, 0, 2, 2), produced(1, 0, 4, 2)], 0, now());
    for result in results {
        let error = result.expect_err("no room");
        assert_eq!(error.error_code(), ErrorCode::KafkaStorageError);
    }
    assert_eq!(read_offsets(&reader), [(0, 1)]);
    assert!(!reader.is_offline());
    // the refused sequence numbers are not remembered as written
    let results = writer.append(vec![produced(1, 0, 2, 2), produced(1, 0, 4, 2)], 0, now());
    assert!(
        results
            .iter()
            .all(|result| result.as_ref().is_ok_and(|appended| !appended.duplicate))
    );
    assert_eq!(read_offsets(&reader), [(0, 1), (2, 3), (4, 5)]);
    drop((writer, reader));
    assert_eq!(read_offsets(&fixture.open().reader), [(0, 1), (2, 3), (4, 5)]);
}

#[test]
fn a_full_disk_at_the_roll_keeps_what_was_written_and_recovers() {
    // every operation of the roll, one after the other
    for after in 0..12 {
        let fixture = Fixture::new(small_segments());
        let OpenedLog { mut writer, reader, .. } = fixture.open();
        for n in 0..6 {
            writer.append(vec![plain(&[n, n])], 0, now())[0]
                .as_ref()
                .expect("appended");
        }
        fixture.fs.inject(Fault {
            operation: None,
            after,
            kind: FaultKind::NoSpace,
            lasting: false,
        });
        let mut acknowledged = 6;
        for n in 0..10 {
            acknowledged += usize::from(writer.append(vec![plain(&[n, n])], 0, now())[0].is_ok());
        }
        assert!(acknowledged >= 15, "one failure, one refusal: {acknowledged} ({after})");
        assert!(reader.segment_count() > 1);
        assert_eq!(read_offsets(&reader).len(), acknowledged, "{after}");
        writer.close().expect("closed");
        assert_eq!(read_offsets(&fixture.open().reader).len(), acknowledged, "{after}");
    }
}

/// A roll that fails must not claim the offset at which it failed: the next batch may fit into the old segment.
#[test]
fn a_small_batch_after_a_failed_roll_survives_a_restart() {
    for after in 0..12 {
        for is_clean in [false, true] {
            let context = format!("operation {after} of the roll fails, clean: {is_clean}");
            let fixture = Fixture::new(small_segments());
            let OpenedLog { mut writer, reader, .. } = fixture.open();
            for n in 0..6 {
                writer.append(vec![plain(&[n, n])], 0, now())[0]
                    .as_ref()
                    .expect("appended");
            }
            fixture.fs.inject(Fault {
                operation: None,
                after,
                kind: FaultKind::NoSpace,
                lasting: false,
            });
            let is_rolled = writer.append(vec![plain(&[6; 20])], 0, now())[0].is_ok();
            fixture.fs.clear_faults();
            assert!(is_rolled || reader.segment_count() <= 2, "{context}");
            let small = writer.append(vec![plain(&[7])], 0, now())[0]
                .clone()
                .expect("room again");
            writer.flush().expect("synced");
            assert_eq!(reader.durable_offset(), small.last_offset + 1);
            let written = read_all(&reader);
            let opened = if is_clean {
                let recovery_point = writer.close().expect("closed");
                fixture.try_open(true, recovery_point)
            } else {
                fixture.try_open(false, 0)
            };
            let opened = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(read_all(&opened.reader), written, "{context}");
            assert_eq!(
                opened.reader.watermarks().log_end_offset,
                small.last_offset + 1,
                "{context}"
            );
        }
    }
}

#[test]
fn one_call_over_several_segments_acknowledges_exactly_what_is_in_the_log() {
    for after in 0..10 {
        let fixture = Fixture::new(small_segments());
        let OpenedLog { mut writer, reader, .. } = fixture.open();
        fixture
            .fs
            .inject(fault(Operation::Write, after, FaultKind::NoSpace, true));
        let batches = (0..40).map(|n| produced(3, 0, n * 2, 2)).collect();
        let results = writer.append(batches, 0, now());
        let acknowledged: Vec<_> = results
            .iter()
            .flatten()
            .map(|a| (a.base_offset, a.last_offset))
            .collect();
        assert_eq!(read_offsets(&reader), acknowledged, "{after}");
        assert!(acknowledged.len() < 40);
        fixture.fs.clear_faults();
        let next = acknowledged.len() as i32 * 2;
        let again = writer
            .append(vec![produced(3, 0, next, 2)], 0, now())
            .remove(0)
            .expect("room again");
        assert!(!again.duplicate);
        assert_eq!(read_offsets(&reader).len(), acknowledged.len() + 1);
    }
}

#[test]
fn a_failed_write_that_cannot_be_undone_takes_the_log_offline() {
    let fixture = Fixture::new(small_segments());
    let OpenedLog { mut writer, reader, .. } = fixture.open();
    writer.append(vec![plain(&[1])], 0, now());
    fixture
        .fs
        .inject(fault(Operation::Write, 0, FaultKind::InputOutput, true));
    fixture
        .fs
        .inject(fault(Operation::Change, 0, FaultKind::InputOutput, true));
    assert!(writer.append(vec![plain(&[2])], 0, now())[0].is_err());
    fixture.fs.clear_faults();
    let refused = writer
        .append(vec![plain(&[3])], 0, now())
        .remove(0)
        .expect_err("offline");
    assert!(refused.to_string().contains("offline"), "{refused}");
    assert!(matches!(
        reader.plan_read(0, 1, 10, true),
        Err(ReadError::Storage(StorageError::Offline { .. }))
    ));
    fixture.flusher.run_pending();
    assert_eq!(fixture.failures.lock().expect("not poisoned").len(), 1);
}

#[test]
fn a_failed_sync_is_reported_once_and_never_repeated() {
    let fixture = Fixture::new(small_segments());
    let OpenedLog { mut writer, reader, .. } = fixture.open();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&heard);
    reader.on_durable(Arc::new(move |offset| {
        listener.lock().expect("not poisoned").push(offset);
    }));
    writer.append(vec![plain(&[1])], 0, now());
    fixture
        .fs
        .inject(fault(Operation::SyncData, 0, FaultKind::InputOutput, false));
    fixture.flusher.run_pending();
    assert_eq!(reader.durable_offset(), 0);
    assert!(writer.flush().is_err(), "the next sync would succeed and lie");
    assert!(writer.append(vec![plain(&[1])], 0, now())[0].is_err());
    fixture.flusher.run_pending();
    let failures = fixture.failures.lock().expect("not poisoned");
    assert_eq!(failures.len(), 1);
    assert!(failures[0].starts_with(DIR), "{failures:?}");
    assert!(heard.lock().expect("not poisoned").is_empty());
}

#[test]
fn a_cold_read_is_offered_to_another_thread() {
    let fixture = Fixture::new(small_segments());
    let OpenedLog { mut writer, reader, .. } = fixture.open();
    writer.append(vec![plain(&[1])], 0, now());
    let slice = reader
        .plan_read(0, 1, 1000, true)
        .expect("in range")
        .slice
        .expect("a batch");
    assert_eq!(slice.read_nowait().expect("read"), Some(slice.read().expect("read")));
    fixture.fs.set_cold(true);
    assert_eq!(slice.read_nowait().expect("read"), None);
}

#[test]
fn a_lookup_that_would_wait_for_the_disk_says_so() {
    let fixture = Fixture::new(small_segments());
    let OpenedLog { mut writer, reader, .. } = fixture.open();
    for _ in 0..200 {
        writer.append(vec![plain(&[1, 2, 3])], 0, now())[0]
            .as_ref()
            .expect("appended");
    }
    let end = reader.watermarks().log_end_offset;
    let nowait = |reader: &LogReader, offset| reader.plan_read_nowait(offset, end, 200, true).expect("in range");
    assert!(nowait(&reader, 4).is_none(), "the old segment is not even open");
    for offset in (0..end).step_by(7) {
        let plan = reader.plan_read(offset, end, 200, true).expect("in range");
        let found = nowait(&reader, offset).expect("open and in memory now");
        let place = |plan: &ReadPlan| plan.slice.as_ref().map(|slice| (slice.position, slice.length));
        assert_eq!(place(&found), place(&plan), "offset {offset}");
        let slice = plan.slice.expect("below the end");
        let in_active = plan.first_offset >= reader.shared.segments.load().active.base_offset();
        assert_eq!(
            slice.recent, in_active,
            "offset {offset}: all of the small active segment is recent"
        );
    }
    fixture.fs.set_cold(true);
    assert!(nowait(&reader, 4).is_none(), "its bytes are not in memory");
    assert!(nowait(&reader, end - 1).is_some(), "the tail needs no file");
    assert!(reader.plan_read(4, end, 200, true).expect("in range").slice.is_some());
}

#[test]
fn what_an_earlier_process_wrote_is_not_recent() {
    let fixture = Fixture::new(small_segments());
    let OpenedLog { mut writer, .. } = fixture.open();
    writer.append(vec![plain(&[1])], 0, now());
    drop(writer);
    let OpenedLog { mut writer, reader, .. } = fixture.open();
    writer.append(vec![plain(&[2])], 0, now());
    let recent = |offset| {
        let plan = reader.plan_read(offset, 2, 1, true).expect("in range");
        plan.slice.expect("a batch").recent
    };
    assert_eq!((recent(0), recent(1)), (false, true));
}

#[test]
fn flush_ms_without_end_leaves_syncing_to_others() {
    let fixture = Fixture::new(LogConfig {
        flush_ms: i64::MAX,
        ..small_segments()
    });
    let OpenedLog { mut writer, reader, .. } = fixture.open();
    writer.append(vec![plain(&[1])], 0, now())[0]
        .as_ref()
        .expect("appended");
    assert_eq!(fixture.flusher.run_pending(), 0, "not even queued");
    writer.flush().expect("synced");
    assert_eq!(reader.durable_offset(), 1);
}
