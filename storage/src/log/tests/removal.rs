//! Removal of old segments: what goes and what stays, readers that hold on, full disks, and crashes at every operation.

use protocol::record::{BatchHeader, NO_TIMESTAMP};

use super::*;
use crate::io::sim_fs::{CrashKind, Fault, FaultKind};
use crate::log::read_plan::ReadError;
use crate::log::removal::DeletedFiles;

fn at(wall_ms: i64) -> Now {
    Now { mono_ms: 0, wall_ms }
}

fn by_size(retention_bytes: i64) -> LogConfig {
    LogConfig {
        retention_bytes,
        ..no_limits()
    }
}

fn by_time(retention_ms: i64) -> LogConfig {
    LogConfig {
        retention_ms,
        ..no_limits()
    }
}

/// A log of several segments; the batch of two records at offset 2 n has the timestamp n. All of it is committed.
fn filled(fixture: &Fixture, batches: i64) -> OpenedLog {
    let mut opened = fixture.open();
    fill(&mut opened, 0, batches);
    opened
}

fn fill(opened: &mut OpenedLog, from: i64, to: i64) {
    for n in from..to {
        let appended = &opened.writer.append(vec![plain(&[n, n])], 0, now())[0];
        assert_eq!(appended.as_ref().expect("appended").base_offset, n * 2);
    }
    opened.writer.set_high_watermark(i64::MAX);
}

fn log_files(fixture: &Fixture) -> usize {
    let names = fixture.names();
    names.iter().filter(|name| name.ends_with(".log")).count()
}

#[test]
fn the_oldest_segments_go_and_who_reads_them_reads_on() {
    let fixture = Fixture::new(small_segments());
    let mut opened = filled(&fixture, 40);
    assert!(opened.reader.segment_count() >= 5, "{}", opened.reader.segment_count());
    let held = opened
        .reader
        .plan_read(0, 80, 1, true)
        .expect("readable")
        .slice
        .expect("a batch");
    let before = held.read().expect("readable");

    let mut removed = take_out(&mut opened, &by_size(2_000), now()).expect("too large");
    assert!(removed.count >= 2);
    assert_eq!(opened.reader.watermarks().log_start_offset, removed.log_start_offset);
    assert!(
        (2_000..3_000).contains(&opened.reader.size_bytes()),
        "{}",
        opened.reader.size_bytes()
    );
    assert!(matches!(
        opened.reader.plan_read(0, 80, 1, true),
        Err(ReadError::OutOfRange { .. })
    ));
    assert!(
        opened
            .reader
            .shared
            .dir
            .open_segments()
            .iter()
            .all(|base| *base >= removed.log_start_offset)
    );
    assert_eq!(held.read().expect("still readable"), before);

    let mut deleted = DeletedFiles::default();
    let mut segments = 0;
    while let Some(renamed) = removed.rename_next().expect("renamed") {
        assert!(renamed.len() >= 3);
        segments += 1;
        renamed.into_iter().for_each(|path| deleted.add(path, 500));
    }
    assert_eq!(segments, removed.count);
    assert_eq!(log_files(&fixture), opened.reader.segment_count());
    assert!(deleted.take_due(499, 100).is_empty());
    assert_eq!(deleted.first_due_ms(), Some(500));
    let mut gone = 0;
    while !deleted.is_empty() {
        for path in deleted.take_due(500, 2) {
            remove_deleted_file(fixture.fs.shared().as_ref(), &path).expect("removed");
            gone += 1;
        }
    }
    assert!(gone >= segments * 3);
    assert!(fixture.names().iter().all(|name| !name.ends_with(".deleted")));
    assert_eq!(held.read().expect("a file without a name"), before);
    assert_eq!(read_offsets(&opened.reader)[0].0, removed.log_start_offset);
    fill(&mut opened, 40, 60);
}

/// Opening a file may take as long as it likes; nobody closes what is kept open then.
#[test]
fn a_file_that_is_opened_while_its_segment_goes_is_not_kept_open() {
    let fixture = Fixture::new(small_segments());
    let mut opened = filled(&fixture, 40);
    let shared = Arc::clone(&opened.reader.shared);
    let first = Arc::clone(&shared.segments.load().sealed[0]);
    shared.dir.close_from(0);
    let files = shared.dir.files(&first).expect("opened");
    assert!(retain(&fixture, &mut opened, &by_size(1_000), now()) > 0);
    shared.dir.keep_open(first.base_offset(), files);
    assert!(!shared.dir.open_segments().contains(&first.base_offset()));
}

#[test]
fn the_active_segment_goes_too_and_the_log_goes_on() {
    for is_killed in [false, true] {
        let fixture = Fixture::new(small_segments());
        let mut opened = fixture.open();
        for n in 0..10 {
            opened.writer.append(vec![produced(7, 0, n * 2, 2)], 0, now())[0]
                .as_ref()
                .expect("appended");
        }
        opened.writer.set_high_watermark(20);
        assert_eq!(
            retain(&fixture, &mut opened, &by_time(0), now()),
            0,
            "no older than now"
        );
        let later = at(now().wall_ms + 1);
        assert!(retain(&fixture, &mut opened, &by_time(0), later) >= 1);
        assert_eq!((opened.reader.segment_count(), opened.reader.size_bytes()), (1, 0));
        assert_eq!(
            retain(&fixture, &mut opened, &by_time(0), later),
            0,
            "an empty segment stays"
        );
        let marks = opened.reader.watermarks();
        assert_eq!((marks.log_start_offset, marks.log_end_offset), (20, 20));
        assert_eq!(log_files(&fixture), 1);
        let mut reopened = if is_killed {
            fixture.fs.crash(CrashKind::ProcessKill);
            fixture.try_open(false, 20).expect("opens")
        } else {
            let recovery_point = opened.writer.close().expect("closed");
            fixture.try_open(true, recovery_point).expect("opens")
        };
        let again = reopened.writer.append(vec![produced(7, 0, 18, 2)], 0, now()).remove(0);
        assert!(
            again.expect("known").duplicate,
            "the producer's last batch is remembered"
        );
        let next = reopened.writer.append(vec![produced(7, 0, 20, 2)], 0, now()).remove(0);
        assert_eq!(next.expect("in order").base_offset, 20);
    }
}

#[test]
fn what_is_appended_meanwhile_keeps_the_active_segment() {
    let fixture = Fixture::new(small_segments());
    let mut opened = filled(&fixture, 20);
    let removable = opened
        .reader
        .find_removable(&by_time(0), at(9_999))
        .expect("found")
        .expect("old");
    assert_eq!(removable.outlived.count(), opened.reader.segment_count());
    let before = opened.reader.segment_count();
    fill(&mut opened, 20, 21);
    opened.writer.flush().expect("synced");
    let removed = opened
        .writer
        .take_out(&removable, at(9_999))
        .expect("taken out")
        .expect("the others");
    assert_eq!(removed.count, before - 1);
    let read = read_offsets(&opened.reader);
    assert_eq!(read.last(), Some(&(40, 41)));
    assert_eq!(read[0].0, removed.log_start_offset);
}

#[test]
fn a_log_that_was_truncated_meanwhile_keeps_what_it_got_since() {
    let fixture = Fixture::new(small_segments());
    let mut opened = filled(&fixture, 40);
    let removable = opened
        .reader
        .find_removable(&by_size(0), now())
        .expect("found")
        .expect("too large");
    opened.writer.truncate_to(6).expect("cut");
    fill(&mut opened, 3, 60);
    opened.writer.flush().expect("synced");
    assert!(
        opened
            .writer
            .take_out(&removable, now())
            .expect("looked again")
            .is_none()
    );
    assert_eq!(read_offsets(&opened.reader).len(), 60);
}

#[test]
fn nothing_above_the_high_watermark_or_of_an_open_transaction_goes() {
    let fixture = Fixture::new(small_segments());
    let mut opened = fixture.open();
    for n in 0..40 {
        opened.writer.append(vec![plain(&[n, n])], 0, now());
    }
    assert_eq!(
        retain(&fixture, &mut opened, &by_size(0), now()),
        0,
        "nothing is committed"
    );
    opened.writer.set_high_watermark(30);
    assert!(retain(&fixture, &mut opened, &by_size(0), now()) > 0);
    assert!(opened.reader.watermarks().log_start_offset <= 30);

    let fixture = Fixture::new(small_segments());
    let mut opened = filled(&fixture, 15);
    let builder = BatchBuilder::new(TimestampType::CreateTime, Compression::None);
    let mut builder = builder.with_producer(5, 0, 0).transactional(true);
    builder.append(1, None, Some(b"open"), &[]);
    opened.writer.append(vec![builder.build()], 0, now())[0]
        .as_ref()
        .expect("appended");
    for n in 0..20 {
        opened.writer.append(vec![plain(&[n, n])], 0, now())[0]
            .as_ref()
            .expect("appended");
    }
    opened.writer.set_high_watermark(i64::MAX);
    assert_eq!(opened.reader.watermarks().last_stable_offset, 30);
    assert!(retain(&fixture, &mut opened, &by_size(0), now()) > 0);
    assert!(opened.reader.watermarks().log_start_offset <= 30);
    assert!(read_offsets(&opened.reader).contains(&(30, 30)));
}

#[test]
fn records_without_timestamps_are_as_old_as_their_file() {
    let fixture = Fixture::new(small_segments());
    let mut opened = fixture.open();
    for n in 0..40 {
        fixture.fs.set_clock_ms(n * 10);
        opened
            .writer
            .append(vec![plain(&[NO_TIMESTAMP, NO_TIMESTAMP])], 0, now());
    }
    opened.writer.set_high_watermark(i64::MAX);
    assert_eq!(retain(&fixture, &mut opened, &by_time(1_000), at(1_000)), 0);
    let segments = opened.reader.segment_count();
    assert!(retain(&fixture, &mut opened, &by_time(200), at(410)) >= 1);
    assert!((2..segments).contains(&opened.reader.segment_count()));
    assert!(retain(&fixture, &mut opened, &by_time(0), at(391)) >= 1);
    assert_eq!(opened.reader.size_bytes(), 0);
}

/// The newest record of each sealed segment is found again without reading its batches.
#[test]
fn a_restart_knows_how_old_segments_are() {
    for is_clean in [true, false] {
        let fixture = Fixture::new(small_segments());
        let opened = filled(&fixture, 40);
        let bases: Vec<i64> = {
            let segments = opened.reader.shared.segments.load();
            segments.sealed.iter().map(|segment| segment.next_offset()).collect()
        };
        let recovery_point = if is_clean {
            opened.writer.close().expect("closed")
        } else {
            fixture.flusher.run_pending();
            let durable_offset = opened.reader.durable_offset();
            fixture.fs.crash(CrashKind::ProcessKill);
            durable_offset
        };
        let mut opened = fixture.try_open(is_clean, recovery_point).expect("opens");
        opened.writer.set_high_watermark(i64::MAX);
        for (n, next_offset) in bases.iter().enumerate() {
            // the last batch below next_offset has the timestamp next_offset / 2 - 1
            let newest_ms = next_offset / 2 - 1;
            assert_eq!(
                retain(&fixture, &mut opened, &by_time(10), at(newest_ms + 10)),
                0,
                "{n}"
            );
            assert_eq!(
                retain(&fixture, &mut opened, &by_time(10), at(newest_ms + 11)),
                1,
                "{n}"
            );
            assert_eq!(opened.reader.watermarks().log_start_offset, *next_offset);
        }
    }
}

#[test]
fn a_full_disk_does_not_hinder_removal_and_appends_go_on_when_there_is_room() {
    for config in [by_size(500), by_time(0)] {
        let fixture = Fixture::new(small_segments());
        let mut opened = filled(&fixture, 40);
        fixture.flusher.run_pending();
        fixture.fs.set_capacity(Some(0));
        let refused = opened.writer.append(vec![plain(&[9, 9])], 0, now()).remove(0);
        assert!(matches!(
            refused,
            Err(crate::log::append::AppendError::Storage(StorageError::NoSpace { .. }))
        ));
        assert!(!opened.reader.is_offline() && opened.reader.lacks_room());
        let before = opened.reader.segment_count();
        let removed = retain(&fixture, &mut opened, &config, at(9_999));
        assert!(removed >= before - 2, "{removed} of {before}");
        fixture.fs.set_capacity(Some(6_000));
        fill(&mut opened, 40, 45);
        assert!(!opened.reader.lacks_room());
        let start = opened.reader.watermarks().log_start_offset;
        assert_eq!(read_offsets(&opened.reader).len() as i64, (90 - start) / 2);
        fixture.flusher.run_pending();
        fixture.fs.crash(CrashKind::ProcessKill);
        let reopened = fixture.try_open(false, 0).expect("opens");
        assert_eq!(read_offsets(&reopened.reader).first(), Some(&(start, start + 1)));
        assert_eq!(read_offsets(&reopened.reader).last(), Some(&(88, 89)));
    }
}

#[test]
fn a_log_that_has_ended_renames_nothing_and_a_start_removes_the_rest() {
    for is_discarded in [false, true] {
        let fixture = Fixture::new(small_segments());
        let mut opened = filled(&fixture, 40);
        let mut removed = take_out(&mut opened, &by_size(500), now()).expect("too large");
        assert!(removed.count >= 3, "{}", removed.count);
        assert!(removed.rename_next().expect("renamed").is_some());
        let log_start_offset = removed.log_start_offset;
        let read = read_all(&opened.reader);
        let kept = opened.reader.segment_count();
        if is_discarded {
            opened.writer.discard();
        } else {
            opened.writer.close().expect("closed");
        }
        let names = fixture.names();
        assert_eq!(removed.rename_next().expect("nothing to do"), None);
        assert_eq!(fixture.names(), names);
        let fixture = Fixture {
            log_start_offset,
            ..fixture
        };
        let reopened = fixture.try_open(true, 80).expect("opens");
        assert_eq!((log_files(&fixture), reopened.reader.segment_count()), (kept, kept));
        let is_old = |name: &String| name.ends_with(".deleted") || name.starts_with("00000000000000000000.");
        assert!(!fixture.names().iter().any(is_old), "{:?}", fixture.names());
        assert_eq!(read_all(&reopened.reader), read);
    }
}

#[test]
fn a_new_segment_with_the_name_of_a_removed_one_is_not_removed() {
    let fixture = Fixture::new(small_segments());
    let mut opened = filled(&fixture, 40);
    let mut removed = take_out(&mut opened, &by_size(1_500), now()).expect("too large");
    // a follower that is told to begin at 0
    opened.writer.truncate_to(0).expect("restarted");
    fill(&mut opened, 0, 5);
    while removed.rename_next().expect("renamed").is_some() {}
    assert_eq!(read_offsets(&opened.reader).len(), 5);
    let shared = Arc::clone(&opened.reader.shared);
    assert!(shared.dir.open_segments().is_empty());
    fill(&mut opened, 5, 30);
    assert_eq!(read_offsets(&opened.reader).len(), 30);
    assert!(!shared.dir.open_segments().is_empty(), "files are kept open again");
    opened.writer.flush().expect("synced");
    fixture.fs.crash(CrashKind::ProcessKill);
    assert_eq!(read_offsets(&fixture.open().reader).len(), 30);
}

#[test]
fn indexes_without_batches_go_at_a_start() {
    let fixture = Fixture::new(small_segments());
    drop(filled(&fixture, 40));
    fixture
        .fs
        .shared()
        .remove_file(&Path::new(DIR).join("00000000000000000000.log"))
        .expect("removed");
    let reopened = fixture.open();
    assert!(reopened.reader.watermarks().log_start_offset > 0);
    let orphan = |name: &String| name.starts_with("00000000000000000000.");
    assert!(!fixture.names().iter().any(orphan), "{:?}", fixture.names());
}

/// What a run with retention left behind.
#[derive(Default)]
struct Run {
    attempted: Vec<Vec<u8>>,
    acknowledged: i64,
    durable_offset: i64,
    /// What a durable checkpoint says of the log start, and what it may say as it is being written.
    checkpointed: i64,
    /// The last log start that anybody was told.
    told: i64,
}

/// Appends, flushes, deletes records and retains until the machine stops.
fn run_until_halt(fixture: &Fixture, halt_after: u64, rounds: i64) -> Run {
    let mut run = Run::default();
    let mut deleted = DeletedFiles::default();
    let mut waiting = Vec::new();
    let halt = Fault {
        operation: None,
        after: halt_after,
        kind: FaultKind::Halt,
        lasting: true,
    };
    fixture.fs.inject(halt);
    let Ok(mut opened) = fixture.try_open(false, 0) else {
        return run;
    };
    for n in 0..rounds {
        let mut copy = plain(&[n, n]);
        copy.assign(n * 2, 0, None);
        run.attempted.push(copy.to_bytes().to_vec());
        if opened.writer.append(vec![plain(&[n, n])], 0, now())[0].is_err() {
            return run;
        }
        run.acknowledged = n * 2 + 2;
        opened.writer.set_high_watermark(i64::MAX);
        if n % 5 == 3 {
            fixture.flusher.run_pending();
            run.durable_offset = opened.reader.durable_offset();
        }
        if n % 17 == 16 && opened.writer.advance_log_start(n * 2 - 3).is_err() {
            return run;
        }
        if n % 7 == 6 {
            let config = if n % 3 == 2 { by_time(4) } else { by_size(1_200) };
            // every record is old on one of the looks, so that the active segment goes too
            let now = if n % 21 == 20 { at(9_999) } else { at(n) };
            let Ok(found) = opened.reader.find_removable(&config, now) else {
                return run;
            };
            run.durable_offset = run.durable_offset.max(opened.reader.durable_offset());
            let removed = found.and_then(|found| opened.writer.take_out(&found, now).ok().flatten());
            run.told = opened.reader.watermarks().log_start_offset;
            // with every second look the checkpoint is late
            if n % 2 == 0 {
                run.checkpointed = run.told;
            }
            waiting.extend(removed);
        }
        // the files wait for others: much is appended and flushed before they go
        if n % 7 == 5 || n % 14 == 6 {
            for mut removed in waiting.drain(..) {
                loop {
                    match removed.rename_next() {
                        Ok(Some(renamed)) => renamed.into_iter().for_each(|path| deleted.add(path, n)),
                        Ok(None) => break,
                        Err(_) => return run,
                    }
                }
            }
            for path in deleted.take_due(n - 1, 5) {
                if remove_deleted_file(fixture.fs.shared().as_ref(), &path).is_err() {
                    return run;
                }
            }
        }
        run.told = opened.reader.watermarks().log_start_offset;
    }
    run
}

fn check(fixture: &Fixture, run: &Run, kind: CrashKind, recovery_point: i64, context: &str) {
    fixture.fs.crash(kind);
    let opened = fixture.try_open_at(false, recovery_point, run.checkpointed, 0);
    let mut opened = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
    let marks = opened.reader.watermarks();
    let survives = match kind {
        CrashKind::ProcessKill => run.acknowledged,
        CrashKind::PowerLoss => run.durable_offset,
    };
    assert!(
        marks.log_end_offset >= survives,
        "{context}: {marks:?}, {survives} must survive"
    );
    // where not even the directory was durable there is nothing that could come back
    let has_begun_anew = marks.log_end_offset == 0 && run.durable_offset == 0;
    assert!(
        marks.log_start_offset >= run.checkpointed || has_begun_anew,
        "{context}: deleted records are back"
    );
    let highest = run.told.max(run.checkpointed);
    assert!(
        marks.log_start_offset <= highest,
        "{context}: starts at {} although nobody was told more than {highest}",
        marks.log_start_offset
    );
    // from the batch that contains the log start to the end, nothing is missing and nothing is strange
    let mut expected = marks.log_start_offset / 2;
    for bytes in read_all(&opened.reader) {
        let header = BatchHeader::parse(&bytes).expect("a batch");
        assert_eq!(header.base_offset, expected * 2, "{context}: a hole");
        assert_eq!(bytes, run.attempted[expected as usize], "{context}: batch {expected}");
        expected += 1;
    }
    let is_empty = marks.log_start_offset == marks.log_end_offset;
    assert!(
        is_empty || expected * 2 == marks.log_end_offset,
        "{context}: {expected}"
    );
    assert!(
        fixture.names().iter().all(|name| !name.ends_with(".deleted")),
        "{context}"
    );
    // the log goes on, and so does retention
    let appended = opened.writer.append(vec![plain(&[1, 2])], 1, now()).remove(0);
    assert_eq!(
        appended.expect("appended").base_offset,
        marks.log_end_offset,
        "{context}"
    );
    opened.writer.set_high_watermark(i64::MAX);
    retain(fixture, &mut opened, &by_size(0), now());
    assert_eq!(opened.reader.size_bytes(), 0, "{context}");
    assert_eq!(log_files(fixture), 1, "{context}");
    opened.writer.close().expect("closed");
}

fn crash_everywhere(kind: CrashKind, seeds: u64) {
    let config = || LogConfig {
        segment_bytes: 400,
        ..small_segments()
    };
    let total = {
        let fixture = Fixture::on(SimFileSystem::new(0), config());
        let run = run_until_halt(&fixture, u64::MAX, 60);
        assert!(
            run.told > 80 && run.checkpointed > 40,
            "{} {}",
            run.told,
            run.checkpointed
        );
        fixture.fs.operations()
    };
    for seed in 0..seeds {
        for halt_after in 0..total {
            let fixture = Fixture::on(SimFileSystem::new(seed * 1_000_003 + halt_after), config());
            let run = run_until_halt(&fixture, halt_after, 60);
            // once with the recovery point of now, once with that of an old checkpoint
            let recovery_point = if halt_after % 2 == 0 { run.durable_offset } else { 0 };
            let context = format!("{kind:?} after {halt_after}, seed {seed}");
            check(&fixture, &run, kind, recovery_point, &context);
        }
    }
}

#[test]
fn a_kill_at_any_operation_of_retention_loses_nothing_and_brings_nothing_back() {
    crash_everywhere(CrashKind::ProcessKill, 1);
}

#[test]
fn a_power_loss_at_any_operation_of_retention_leaves_no_hole() {
    crash_everywhere(CrashKind::PowerLoss, 5);
}
