//! What happens to the files beside the batches: lost, damaged, older than the batches, not written for lack of room.

use super::*;
use crate::io::file_system::OpenMode;
use crate::io::sim_fs::{Fault, FaultKind, Operation};
use crate::log::copy::LogCopy;

/// A log of several segments, closed. Its end.
fn closed_log(fixture: &Fixture, seed: u64) -> i64 {
    let mut opened = fixture.open();
    Workload::new(seed).steps(&mut opened, 60);
    assert!(opened.reader.segment_count() > 3);
    opened.writer.close().expect("closed")
}

fn names_with(fixture: &Fixture, suffix: &str) -> Vec<String> {
    fixture
        .names()
        .into_iter()
        .filter(|name| name.ends_with(suffix))
        .collect()
}

fn remove(fixture: &Fixture, name: &str) {
    fixture
        .fs
        .shared()
        .remove_file(&Path::new(DIR).join(name))
        .expect("removed");
}

fn write(fixture: &Fixture, name: &str, position: u64, bytes: &[u8]) {
    let file = fixture
        .fs
        .shared()
        .open(&Path::new(DIR).join(name), OpenMode::ReadWrite)
        .expect("opened");
    file.write_at(&[std::io::IoSlice::new(bytes)], position)
        .expect("written");
}

fn truncate(fixture: &Fixture, name: &str, len: u64) {
    let file = fixture
        .fs
        .shared()
        .open(&Path::new(DIR).join(name), OpenMode::ReadWrite)
        .expect("opened");
    file.truncate(len).expect("truncated");
}

/// Replay from any snapshot is replay from the start: each one in turn is the newest that is left.
#[test]
fn any_snapshot_leads_to_the_same_transactions() {
    for seed in 0..10 {
        let snapshots = {
            let fixture = Fixture::new(segments_of(800));
            closed_log(&fixture, seed);
            names_with(&fixture, ".snapshot")
        };
        assert!(snapshots.len() > 3);
        for kept in 0..=snapshots.len() {
            for clean in [false, true] {
                let fixture = Fixture::new(segments_of(800));
                let end = closed_log(&fixture, seed);
                snapshots[kept..].iter().for_each(|name| remove(&fixture, name));
                let recovery_point = if clean { end } else { end / 2 };
                let mut opened = fixture.try_open(clean, recovery_point).expect("opened");
                check(
                    &mut opened,
                    &format!("seed {seed}, {kept} snapshots left, clean: {clean}"),
                );
            }
        }
    }
}

#[test]
fn a_damaged_index_is_made_again() {
    type Damage = fn(&Fixture, &str, u64);
    let damages: [(&str, Damage); 5] = [
        ("half an entry", |fixture, name, len| truncate(fixture, name, len - 5)),
        ("zeros", |fixture, name, len| {
            write(fixture, name, 0, &vec![0; len as usize]);
        }),
        ("another version", |fixture, name, len| {
            write(fixture, name, len - 34, &[0, 1]);
        }),
        ("an entry twice", |fixture, name, len| {
            let last = &fixture.contents(name)[(len - 34) as usize..];
            write(fixture, name, len, last);
        }),
        ("a marker of another segment", |fixture, name, len| {
            write(fixture, name, len - 16, &i64::MAX.to_be_bytes());
        }),
    ];
    let (mut active_damaged, mut sealed_damaged) = (false, false);
    for seed in 0..6 {
        for (what, damage) in damages {
            for clean in [true, false] {
                let fixture = Fixture::new(segments_of(800));
                let end = closed_log(&fixture, seed);
                let before: Vec<_> = names_with(&fixture, ".txnindex")
                    .into_iter()
                    .map(|name| (fixture.contents(&name), name))
                    .collect();
                assert!(!before.is_empty());
                before
                    .iter()
                    .for_each(|(bytes, name)| damage(&fixture, name, bytes.len() as u64));
                let newest = names_with(&fixture, ".log")
                    .pop()
                    .expect("a segment")
                    .replace(".log", "");
                active_damaged |= before.iter().any(|(_, name)| name.starts_with(&newest));
                sealed_damaged |= before.iter().any(|(_, name)| !name.starts_with(&newest));
                let mut opened = fixture.try_open(clean, end).expect("opened");
                let context = format!("seed {seed}, {what}, clean: {clean}");
                check(&mut opened, &context);
                for (bytes, name) in &before {
                    assert_eq!(&fixture.contents(name), bytes, "{context}: {name} as it was");
                }
                drop(opened);
                let mut opened = fixture.try_open(clean, end).expect("opened");
                check(&mut opened, &format!("{context}, again"));
            }
        }
    }
    assert!(active_damaged && sealed_damaged);
}

#[test]
fn behind_the_recovery_point_lost_indexes_are_made_again() {
    for seed in 0..6 {
        for share in 0..4 {
            let fixture = Fixture::new(segments_of(800));
            let end = closed_log(&fixture, seed);
            let recovery_point = {
                let opened = fixture.try_open(true, end).expect("opened");
                let segments = opened.reader.shared.segments.load();
                segments
                    .get(segments.sealed.len() * share / 3)
                    .expect("a segment")
                    .base_offset()
            };
            for name in names_with(&fixture, ".txnindex") {
                if crate::segment::file::base_offset_of(&name, ".txnindex") >= Some(recovery_point) {
                    remove(&fixture, &name);
                }
            }
            let mut opened = fixture.try_open(false, recovery_point).expect("opened");
            check(
                &mut opened,
                &format!("seed {seed}, recovery point {recovery_point} of {end}"),
            );
            assert!(!names_with(&fixture, ".txnindex").is_empty());
        }
    }
}

/// Whatever write fails, nothing is lost and nothing that was not aborted is called so.
#[test]
fn a_marker_that_cannot_be_written_leaves_no_entry() {
    for kind in [FaultKind::NoSpace, FaultKind::InputOutput] {
        for after in 0..2 {
            let context = format!("{kind:?} after {after} writes");
            let fixture = Fixture::new(small_segments());
            let mut opened = fixture.open();
            opened
                .writer
                .append(vec![transactional(1, 0, 2), transactional(2, 0, 2)], 0, now());
            opened
                .writer
                .append_marker(marker(2, false), 0, 0, now())
                .expect("the file is there");
            fixture.fs.inject(Fault {
                operation: Some(Operation::Write),
                after,
                kind,
                lasting: false,
            });
            let refused = opened.writer.append_marker(marker(1, false), 0, 0, now());
            assert_eq!(refused.expect_err("refused").error_code().code(), 56, "{context}");
            fixture.fs.clear_faults();
            if kind == FaultKind::InputOutput {
                assert!(opened.reader.is_offline());
                drop(opened);
                opened = fixture.try_open(false, 0).expect("opened");
            }
            check(&mut opened, &context);
            // This takes the offset that the marker would have had.
            opened
                .writer
                .append(vec![plain(&[1, 2])], 0, now())
                .remove(0)
                .expect("appended");
            opened
                .writer
                .append_marker(marker(1, true), 0, 0, now())
                .expect("appended");
            check(&mut opened, &context);
            let end = opened.writer.close().expect("closed");
            let mut opened = fixture.try_open(true, end).expect("opened");
            check(&mut opened, &context);
        }
    }
}

#[test]
fn a_moved_partition_keeps_its_indexes() {
    let fixture = Fixture::new(segments_of(800));
    fixture.fs.shared().create_dir_all(Path::new("/other")).expect("made");
    let mut opened = fixture.open();
    let mut workload = Workload::new(3);
    workload.steps(&mut opened, 50);
    let fs = fixture.fs.shared();
    let to = PathBuf::from("/other/topic-0");
    let mut copy = LogCopy::begin(Arc::clone(&fs), PathBuf::from(DIR), to.clone()).expect("begun");
    assert!(
        copy.copy_sealed(opened.reader.active_base_offset(), &mut |_| true)
            .expect("copied")
    );
    workload.steps(&mut opened, 30);
    let model = Model::of(&all_batches(&opened));
    let end = opened.writer.close().expect("closed");
    copy.finish().expect("finished");
    let mut moved = open_log(OpenLog {
        fs,
        dir: to,
        topic: "topic".to_owned(),
        partition: 0,
        topic_id: Uuid::from_u128(7),
        config: Arc::new(fixture.config.clone()),
        clean_shutdown: false,
        recovery_point: end,
        log_start_offset: 0,
        high_watermark: 0,
        flusher: fixture.flusher.clone(),
        now: now(),
    })
    .expect("the copy opens");
    check_against(&mut moved, &model, "moved");
}

#[test]
fn who_may_not_wait_for_the_disk_is_told_to_come_back() {
    let fixture = Fixture::new(segments_of(800));
    let end = closed_log(&fixture, 1);
    let opened = fixture.try_open(true, end).expect("opened");
    let plan = opened.reader.plan_read(0, end, 1000, true).expect("readable");
    let prompt = |to: i64| {
        opened
            .reader
            .aborted_transactions_nowait(&plan, 0, to)
            .expect("readable")
    };
    assert_eq!(prompt(end), None, "nobody has looked at the index yet");
    let found = opened.reader.aborted_transactions(&plan, 0, end).expect("readable");
    assert!(!found.is_empty());
    assert_eq!(prompt(end), Some(found));
    fixture.fs.set_cold(true);
    assert_eq!(prompt(end), None, "not in memory");
}

/// An expiry or a limit of producers must not end a transaction.
#[test]
fn producers_with_open_transactions_are_never_forgotten() {
    let config = LogConfig {
        max_producer_ids: 8,
        producer_id_expiration_ms: 10,
        ..small_segments()
    };
    let fixture = Fixture::new(config);
    let mut opened = fixture.open();
    opened
        .writer
        .append(vec![transactional(1, 0, 1)], 0, now())
        .remove(0)
        .expect("appended");
    for producer_id in 100..200 {
        opened
            .writer
            .append(vec![produced(producer_id, 0, 0, 1)], 0, now())
            .remove(0)
            .expect("appended");
    }
    assert!(opened.writer.producers().len() <= 10);
    let later = Now {
        mono_ms: 0,
        wall_ms: now().wall_ms + 1000,
    };
    opened.writer.remove_expired_producers(later);
    assert_eq!(opened.writer.producers().len(), 1);
    assert_eq!(opened.writer.set_high_watermark(i64::MAX).last_stable_offset, 0);
    let end = opened.writer.close().expect("closed");
    let mut opened = fixture.try_open(true, end).expect("opened");
    opened
        .writer
        .append_marker(marker(1, false), 0, 0, later)
        .expect("appended");
    check(&mut opened, "ended");
}
