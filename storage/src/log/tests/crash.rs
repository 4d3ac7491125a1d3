//! Crashes at every point: what was acknowledged survives a kill, what was durable survives a power loss, and what is
//! left is always a prefix of what was written.

use super::*;
use crate::io::sim_fs::{CrashKind, Fault, FaultKind};

/// What a run left behind.
struct Run {
    /// Batches in log order, the last ones perhaps not acknowledged.
    attempted: Vec<Vec<u8>>,
    acknowledged: usize,
    /// End offset of what was reported durable.
    durable_offset: i64,
}

/// Appends, rolls, flushes, closes and reopens until the machine stops (after `halt_after` operations).
fn run_until_halt(fixture: &Fixture, halt_after: u64, rounds: i64) -> Run {
    fixture.fs.inject(Fault {
        operation: None,
        after: halt_after,
        kind: FaultKind::Halt,
        lasting: true,
    });
    let mut run = Run {
        attempted: Vec::new(),
        acknowledged: 0,
        durable_offset: 0,
    };
    let mut offset = 0;
    let Ok(mut opened) = fixture.try_open(false, 0) else {
        return run;
    };
    for n in 0..rounds {
        let count = n % 3 + 1;
        let mut batches: Vec<_> = (0..count).map(|m| plain(&[n, n * 10 + m])).collect();
        for batch in &mut batches {
            let mut copy = batch.clone();
            copy.assign(offset, 0, None);
            offset += 2;
            run.attempted.push(copy.to_bytes().to_vec());
        }
        let results = opened.writer.append(batches, 0, now());
        let written = results.iter().filter(|result| result.is_ok()).count();
        run.acknowledged += written;
        if written < results.len() {
            return run;
        }
        if n % 4 == 3 {
            fixture.flusher.run_pending();
            run.durable_offset = opened.reader.durable_offset();
        }
        if n % 11 == 10 {
            let Ok(recovery_point) = opened.writer.close() else {
                return run;
            };
            run.durable_offset = recovery_point;
            let Ok(reopened) = fixture.try_open(true, recovery_point) else {
                return run;
            };
            opened = reopened;
        }
    }
    run
}

fn check(fixture: &Fixture, run: &Run, kind: CrashKind, context: &str) {
    check_from(fixture, run, kind, run.durable_offset, context);
}

fn check_from(fixture: &Fixture, run: &Run, kind: CrashKind, recovery_point: i64, context: &str) {
    fixture.fs.crash(kind);
    let opened = fixture
        .try_open(false, recovery_point)
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let read = read_all(&opened.reader);
    let end = opened.reader.watermarks().log_end_offset;
    assert_eq!(
        read.len() as i64 * 2,
        end,
        "{context}: everything up to the end can be read"
    );
    assert!(read.len() <= run.attempted.len(), "{context}");
    for (n, (read, attempted)) in read.iter().zip(&run.attempted).enumerate() {
        assert_eq!(read, attempted, "{context}: batch {n}");
    }
    let must_survive = match kind {
        CrashKind::ProcessKill => run.acknowledged,
        CrashKind::PowerLoss => (run.durable_offset / 2) as usize,
    };
    assert!(
        read.len() >= must_survive,
        "{context}: {} of {must_survive} batches",
        read.len()
    );
    // the log goes on
    let OpenedLog { mut writer, reader, .. } = opened;
    let appended = writer
        .append(vec![plain(&[1, 2])], 1, now())
        .remove(0)
        .expect("appended");
    assert_eq!(appended.base_offset, end, "{context}");
    let recovery_point = writer.close().expect("closed");
    assert_eq!(reader.durable_offset(), recovery_point, "{context}");
    let opened = fixture.try_open(true, recovery_point).expect("opens");
    assert_eq!(read_all(&opened.reader).len(), read.len() + 1, "{context}");
}

fn crash_everywhere(kind: CrashKind, seeds: u64) {
    let config = || LogConfig {
        segment_bytes: 700,
        ..small_segments()
    };
    let total = {
        let fixture = Fixture::on(SimFileSystem::new(0), config());
        run_until_halt(&fixture, u64::MAX, 24);
        fixture.fs.operations()
    };
    assert!(total > 100, "{total} operations are no workload");
    for seed in 0..seeds {
        for halt_after in 0..total {
            let fixture = Fixture::on(SimFileSystem::new(seed * 1_000_003 + halt_after), config());
            let run = run_until_halt(&fixture, halt_after, 24);
            check(
                &fixture,
                &run,
                kind,
                &format!("{kind:?} after {halt_after}, seed {seed}"),
            );
        }
    }
}

#[test]
fn a_kill_at_any_operation_loses_nothing_acknowledged() {
    crash_everywhere(CrashKind::ProcessKill, 1);
}

#[test]
fn a_power_loss_at_any_operation_leaves_a_prefix_with_everything_durable() {
    crash_everywhere(CrashKind::PowerLoss, 6);
}

/// Recovery is interrupted at every operation, and its successor too.
#[test]
fn a_crash_during_recovery_changes_nothing() {
    let config = || LogConfig {
        segment_bytes: 700,
        ..small_segments()
    };
    for seed in 0..20 {
        for halt_after in 0..25 {
            let fixture = Fixture::on(SimFileSystem::new(seed), config());
            let run = run_until_halt(&fixture, 90 + seed * 5, 24);
            fixture.fs.crash(CrashKind::PowerLoss);
            fixture.fs.inject(Fault {
                operation: None,
                after: halt_after,
                kind: FaultKind::Halt,
                lasting: true,
            });
            drop(fixture.try_open(false, run.durable_offset));
            let run = Run { acknowledged: 0, ..run };
            check(
                &fixture,
                &run,
                CrashKind::PowerLoss,
                &format!("recovery after {halt_after}, seed {seed}"),
            );
        }
    }
}

/// Truncation must not be undone by a crash in a way that leaves a hole.
#[test]
fn a_crash_during_truncation_leaves_a_prefix_of_the_old_log() {
    for kind in [CrashKind::ProcessKill, CrashKind::PowerLoss] {
        for halt_after in 0..60 {
            let fixture = Fixture::on(
                SimFileSystem::new(halt_after),
                LogConfig {
                    segment_bytes: 700,
                    ..small_segments()
                },
            );
            let run = run_until_halt(&fixture, u64::MAX, 24);
            let mut opened = fixture.try_open(false, run.durable_offset).expect("opens");
            fixture.fs.clear_faults();
            fixture.fs.inject(Fault {
                operation: None,
                after: halt_after,
                kind: FaultKind::Halt,
                lasting: true,
            });
            let cut = opened.writer.truncate_to(20);
            if cut.is_ok() {
                assert_eq!(opened.reader.watermarks().log_end_offset, 20);
                fixture.flusher.run_pending();
            }
            // once with the recovery point as it is now, once as an older checkpoint has it
            let recovery_point = if halt_after % 2 == 0 { 20 } else { run.durable_offset };
            let left = Run {
                acknowledged: 10,
                durable_offset: 20,
                ..run
            };
            check_from(
                &fixture,
                &left,
                kind,
                recovery_point,
                &format!("{kind:?}: truncation after {halt_after}"),
            );
        }
    }
}

/// A killed process may leave names that no crash of the machine would spare: its successor must sync them before it
/// calls anything durable.
#[test]
fn what_a_successor_of_a_killed_process_calls_durable_survives_a_power_loss() {
    for seed in 0..30 {
        for killed_after in 0..12 {
            let config = LogConfig {
                flush_messages: 1,
                segment_bytes: 200,
                ..small_segments()
            };
            let context = format!("seed {seed}, killed after {killed_after} operations");
            let fixture = Fixture::on(SimFileSystem::new(seed), config);
            fixture.fs.inject(Fault {
                operation: None,
                after: killed_after,
                kind: FaultKind::Halt,
                lasting: true,
            });
            if let Ok(mut killed) = fixture.try_open(false, 0) {
                for n in 0..3 {
                    killed.writer.append(vec![plain(&[n])], 0, now());
                }
            }
            fixture.fs.crash(CrashKind::ProcessKill);
            let OpenedLog { mut writer, reader, .. } = fixture.open();
            writer.append(vec![plain(&[9])], 0, now())[0]
                .as_ref()
                .expect("appended");
            fixture.flusher.run_pending();
            let durable_offset = reader.durable_offset();
            let written = read_all(&reader);
            assert_eq!(durable_offset, written.len() as i64, "{context}");
            fixture.fs.crash(CrashKind::PowerLoss);
            assert!(fixture.names().contains(&"partition.metadata".to_owned()), "{context}");
            let opened = fixture.try_open(false, durable_offset);
            let opened = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(read_all(&opened.reader), written, "{context}");
        }
    }
}
