//! What is known of producers outlives their records: a stop at every operation of retention of a whole log.

use super::*;
use crate::io::sim_fs::{CrashKind, Fault, FaultKind};

/// Retention by time, one millisecond after everything was written.
fn later() -> (LogConfig, Now) {
    let config = LogConfig {
        retention_ms: 0,
        ..no_limits()
    };
    let wall_ms = now().wall_ms + 1;
    (config, Now { mono_ms: 0, wall_ms })
}

fn segments() -> LogConfig {
    LogConfig {
        segment_bytes: 400,
        ..small_segments()
    }
}

/// Retention of the whole log until the machine stops, on a full disk or not. Producer 7 wrote at the begin, before a
/// segment was rolled, producer 9 at the end. Whether all of their records were on the disk.
fn forget_all_until_halt(fixture: &Fixture, halt_after: u64, is_full: bool) -> bool {
    let Ok(mut opened) = fixture.try_open(false, 0) else {
        return false;
    };
    let batches = [produced(7, 0, 0, 2)]
        .into_iter()
        .chain((1..14).map(|n| plain(&[n, n])))
        .chain([produced(9, 0, 0, 2)]);
    for batch in batches {
        opened.writer.append(vec![batch], 0, now())[0]
            .as_ref()
            .expect("appended");
    }
    assert!(opened.reader.segment_count() > 2);
    opened.writer.set_high_watermark(i64::MAX);
    opened.writer.flush().expect("synced");
    fixture.fs.set_capacity(is_full.then_some(0));
    fixture.fs.inject(Fault {
        operation: None,
        after: halt_after,
        kind: FaultKind::Halt,
        lasting: true,
    });
    let (config, later) = later();
    let Ok(Some(found)) = opened.reader.find_removable(&config, later) else {
        return true;
    };
    let Ok(Some(mut removed)) = opened.writer.take_out(&found, later) else {
        return true;
    };
    while let Ok(Some(renamed)) = removed.rename_next() {
        for path in renamed {
            // once the machine has stopped this fails, as does whatever follows
            drop(remove_deleted_file(fixture.fs.shared().as_ref(), &path));
        }
    }
    true
}

#[test]
fn producers_are_known_after_a_stop_at_any_operation_that_removes_all_of_their_records() {
    for is_full in [false, true] {
        for kind in [CrashKind::ProcessKill, CrashKind::PowerLoss] {
            let fixture = Fixture::new(segments());
            assert!(forget_all_until_halt(&fixture, u64::MAX, is_full));
            let total = fixture.fs.operations();
            for (halt_after, seed) in (0..=total).flat_map(|halt| (0..8).map(move |seed| (halt, seed))) {
                let fixture = Fixture::on(SimFileSystem::new(seed * 1_000_003 + halt_after), segments());
                assert!(forget_all_until_halt(&fixture, halt_after, is_full));
                fixture.fs.crash(kind);
                fixture.fs.set_capacity(None);
                let mut reopened = fixture.try_open(false, 30).expect("opens");
                let context = format!("{kind:?} after {halt_after}, seed {seed}, full: {is_full}");
                assert_eq!(reopened.reader.watermarks().log_end_offset, 30, "{context}");
                let mut again = |id| {
                    let appended = reopened.writer.append(vec![produced(id, 0, 0, 2)], 0, now()).remove(0);
                    appended.is_ok_and(|appended| appended.duplicate)
                };
                assert!(again(7), "{context}");
                // on a full disk nothing can be written down about what came after the last snapshot
                assert!(is_full || again(9), "{context}");
            }
        }
    }
}
