//! Kills and power losses at every operation, with open, committed and aborted transactions: what is open, what was
//! aborted and the last stable offset are afterwards what the surviving batches say.

use super::*;
use crate::io::sim_fs::{CrashKind, Fault, FaultKind};

/// Appends, rolls, syncs, checkpoints, closes and reopens until the machine stops. What was durable then.
fn run_until_halt(fixture: &Fixture, halt_after: u64, seed: u64) -> i64 {
    fixture.fs.inject(Fault {
        operation: None,
        after: halt_after,
        kind: FaultKind::Halt,
        lasting: true,
    });
    let mut durable_offset = 0;
    let mut workload = Workload::new(seed);
    let Ok(mut opened) = fixture.try_open(false, 0) else {
        return durable_offset;
    };
    for n in 0..46 {
        if !workload.step(&mut opened) {
            return durable_offset;
        }
        if n % 5 == 4 {
            fixture.flusher.run_pending();
            durable_offset = opened.reader.durable_offset();
        }
        if n % 13 == 12 {
            let Ok(()) = opened.writer.write_checkpoint() else {
                return durable_offset;
            };
        }
        if n % 23 == 22 {
            let Ok(recovery_point) = opened.writer.close() else {
                return durable_offset;
            };
            durable_offset = recovery_point;
            let Ok(reopened) = fixture.try_open(true, recovery_point) else {
                return durable_offset;
            };
            opened = reopened;
        }
    }
    durable_offset
}

fn operations(seed: u64) -> u64 {
    let fixture = Fixture::on(SimFileSystem::new(0), segments_of(900));
    run_until_halt(&fixture, u64::MAX, seed);
    let is_index = |name: &String| name.ends_with(".txnindex");
    assert!(fixture.names().iter().filter(|name| is_index(name)).count() > 1);
    fixture.fs.operations()
}

fn recover_and_check(fixture: &Fixture, recovery_point: i64, context: &str) {
    let mut opened = fixture
        .try_open(false, recovery_point)
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    check(&mut opened, context);
    // and the log goes on
    let producer_id = 77;
    opened
        .writer
        .append(vec![transactional(producer_id, 0, 2)], 0, now())
        .remove(0)
        .expect("appended");
    opened
        .writer
        .append_marker(marker(producer_id, false), 0, 0, now())
        .expect("appended");
    check(&mut opened, &format!("{context}, gone on"));
    let recovery_point = opened.writer.close().expect("closed");
    let mut opened = fixture.try_open(true, recovery_point).expect("opened");
    check(&mut opened, &format!("{context}, reopened"));
}

#[test]
fn a_crash_at_any_operation_leaves_what_the_surviving_log_says() {
    for kind in [CrashKind::ProcessKill, CrashKind::PowerLoss] {
        for seed in 0..1 {
            for halt_after in 0..operations(seed) {
                let fixture = Fixture::on(SimFileSystem::new(seed * 10_007 + halt_after), segments_of(900));
                let durable_offset = run_until_halt(&fixture, halt_after, seed);
                fixture.fs.crash(kind);
                recover_and_check(
                    &fixture,
                    durable_offset,
                    &format!("{kind:?} after {halt_after}, seed {seed}"),
                );
            }
        }
    }
}

#[test]
fn a_crash_during_recovery_is_recovered_from() {
    for seed in 0..6 {
        let operations = operations(seed);
        for halt_after in 0..30 {
            let fixture = Fixture::on(SimFileSystem::new(seed * 31 + halt_after), segments_of(900));
            let stop_at = operations / 2 + seed * 7 + halt_after;
            let durable_offset = run_until_halt(&fixture, stop_at, seed);
            fixture.fs.crash(CrashKind::PowerLoss);
            fixture.fs.inject(Fault {
                operation: None,
                after: halt_after,
                kind: FaultKind::Halt,
                lasting: true,
            });
            drop(fixture.try_open(false, durable_offset));
            fixture.fs.crash(CrashKind::PowerLoss);
            recover_and_check(
                &fixture,
                durable_offset,
                &format!("recovery after {halt_after}, seed {seed}"),
            );
        }
    }
}

#[test]
fn a_crash_during_truncation_leaves_what_the_surviving_log_says() {
    for kind in [CrashKind::ProcessKill, CrashKind::PowerLoss] {
        for seed in 0..4 {
            for halt_after in 0..30 {
                let fixture = Fixture::on(SimFileSystem::new(halt_after), segments_of(900));
                let end = run_until_halt(&fixture, u64::MAX, seed);
                fixture.fs.clear_faults();
                let mut opened = fixture.try_open(false, end).expect("opens");
                fixture.fs.inject(Fault {
                    operation: None,
                    after: halt_after,
                    kind: FaultKind::Halt,
                    lasting: true,
                });
                let cut_to = end / 3;
                drop(opened.writer.truncate_to(cut_to));
                drop(opened);
                fixture.fs.crash(kind);
                // the checkpoint is still the old one, but for once in a while
                let recovery_point = if halt_after % 4 == 0 { cut_to / 2 } else { end };
                let context =
                    format!("{kind:?}: truncation after {halt_after}, seed {seed}, recovery point {recovery_point}");
                recover_and_check(&fixture, recovery_point, &context);
            }
        }
    }
}

/// Where the log starts is not on the disk: what comes back has its index.
#[test]
fn a_crash_during_retention_takes_no_index_without_its_batches() {
    for kind in [CrashKind::ProcessKill, CrashKind::PowerLoss] {
        for seed in 0..4 {
            for halt_after in 0..30 {
                let fixture = Fixture::on(SimFileSystem::new(seed * 101 + halt_after), segments_of(600));
                let mut opened = fixture.open();
                let mut workload = Workload::new(seed);
                workload.steps(&mut opened, 60);
                for producer_id in 1..4 {
                    opened
                        .writer
                        .append_marker(marker(producer_id, false), 0, 0, now())
                        .expect("appended");
                }
                opened.writer.set_high_watermark(i64::MAX);
                fixture.flusher.run_pending();
                let model = Model::of(&all_batches(&opened));
                let config = LogConfig {
                    retention_bytes: 0,
                    ..no_limits()
                };
                let mut removed = take_out(&mut opened, &config, now()).expect("segments to remove");
                assert!(removed.count > 1);
                fixture.fs.inject(Fault {
                    operation: None,
                    after: halt_after,
                    kind: FaultKind::Halt,
                    lasting: true,
                });
                while let Ok(Some(renamed)) = removed.rename_next() {
                    for path in renamed {
                        drop(remove_deleted_file(fixture.fs.shared().as_ref(), &path));
                    }
                }
                drop(opened);
                fixture.fs.crash(kind);
                let context = format!("{kind:?}: retention after {halt_after}, seed {seed}");
                let mut opened = fixture.try_open(false, model.end_offset).expect("opened");
                check_against(&mut opened, &model, &context);
            }
        }
    }
}
