//! A partition that moves to another directory: at every crash one of the two directories holds it whole.

use super::*;
use crate::dir::partition_dir::PartitionDir;
use crate::io::sim_fs::{CrashKind, Fault, FaultKind};
use crate::log::append::AppendError;
use crate::log::copy::LogCopy;

const FUTURE: &str = "/other/topic-0.00000000000000000000000000000005-future";
const MOVED: &str = "/other/topic-0";
const GONE: &str = "/data/topic-0.00000000000000000000000000000006-delete";

fn open_in(fixture: &Fixture, dir: &str, recovery_point: i64) -> OpenedLog {
    open_log(OpenLog {
        fs: fixture.fs.shared(),
        dir: PathBuf::from(dir),
        topic: "topic".to_owned(),
        partition: 0,
        topic_id: Uuid::from_u128(7),
        config: Arc::new(fixture.config.clone()),
        clean_shutdown: false,
        recovery_point,
        log_start_offset: 0,
        high_watermark: 0,
        flusher: fixture.flusher.clone(),
        now: now(),
    })
    .expect("the log opens")
}

fn try_append(opened: &mut OpenedLog, first: i32, count: i32) -> Result<(), StorageError> {
    for n in first..first + count {
        let mut results = opened.writer.append(vec![produced(9, 0, n, 1)], 3, now());
        results.remove(0).map_err(|error| match error {
            AppendError::Storage(error) => error,
            other => panic!("{other}"),
        })?;
    }
    Ok(())
}

fn append(opened: &mut OpenedLog, first: i32, count: i32) {
    try_append(opened, first, count).expect("appended");
}

fn fixture(seed: u64) -> Fixture {
    let fixture = Fixture::on(SimFileSystem::new(seed), small_segments());
    fixture.fs.shared().create_dir_all(Path::new("/other")).expect("made");
    fixture.fs.shared().sync_dir(Path::new("/")).expect("synced");
    fixture
}

/// Copies while the log grows, closes it, and swaps the directories, as far as the disk goes along.
fn relocate(fixture: &Fixture, mut opened: OpenedLog) -> Result<i64, StorageError> {
    let fs = fixture.fs.shared();
    let mut copy = LogCopy::begin(Arc::clone(&fs), PathBuf::from(DIR), PathBuf::from(FUTURE))?;
    assert!(copy.copy_sealed(opened.reader.active_base_offset(), &mut |_| true)?);
    try_append(&mut opened, 60, 20)?;
    opened.writer.roll_active(now())?;
    try_append(&mut opened, 80, 3)?;
    assert!(copy.copy_sealed(opened.reader.active_base_offset(), &mut |_| true)?);
    let end_offset = opened.writer.close()?;
    copy.finish()?;
    let rename = |from: &str, to: &str, parent: &str| {
        fs.rename(Path::new(from), Path::new(to))
            .map_err(|error| StorageError::io("rename", from, error))?;
        fs.sync_dir(Path::new(parent))
            .map_err(|error| StorageError::io("sync", parent, error))
    };
    rename(FUTURE, MOVED, "/other")?;
    rename(DIR, GONE, "/data")?;
    Ok(end_offset)
}

#[test]
fn the_copy_is_the_log() {
    let fixture = fixture(1);
    let mut opened = fixture.open();
    opened.writer.assign_epoch(3).expect("recorded");
    append(&mut opened, 0, 60);
    let end_offset = relocate(&fixture, opened).expect("moved");
    let list = |dir: &str| fixture.fs.shared().list(Path::new(dir)).expect("listed");
    assert_eq!(list(MOVED), list(GONE), "the same files with the same lengths");
    let mut moved = open_in(&fixture, MOVED, end_offset);
    assert_eq!(moved.report.scanned_bytes, 0, "nothing is read again");
    assert_eq!(read_offsets(&moved.reader).len(), 83);
    assert_eq!(moved.reader.latest_epoch(), Some(3));
    // producer state came along: the next sequence is taken, a duplicate is known
    let repeated = moved
        .writer
        .append(vec![produced(9, 0, 82, 1)], 3, now())
        .remove(0)
        .expect("known");
    assert!(repeated.duplicate);
    append(&mut moved, 83, 1);
}

#[test]
fn copying_can_be_called_off_and_does_not_copy_the_active_segment() {
    let fixture = fixture(1);
    let mut opened = fixture.open();
    append(&mut opened, 0, 60);
    let fs = fixture.fs.shared();
    let mut copy = LogCopy::begin(Arc::clone(&fs), PathBuf::from(DIR), PathBuf::from(FUTURE)).expect("begun");
    let mut steps = 0;
    let whole = copy.copy_sealed(opened.reader.active_base_offset(), &mut |_| {
        steps += 1;
        steps < 3
    });
    assert!(!whole.expect("no failure"), "called off");
    assert!(
        copy.copy_sealed(opened.reader.active_base_offset(), &mut |_| true)
            .expect("copied")
    );
    let active = format!("{:020}.log", opened.reader.active_base_offset());
    assert!(
        fs.list(Path::new(FUTURE))
            .expect("listed")
            .iter()
            .all(|entry| entry.name != active)
    );
    assert_eq!(
        copy.size_bytes(),
        opened.reader.size_bytes() - opened.reader.active_size_bytes()
    );
}

#[test]
fn segments_that_go_meanwhile_go_from_the_copy() {
    let fixture = fixture(1);
    let mut opened = fixture.open();
    append(&mut opened, 0, 60);
    let fs = fixture.fs.shared();
    let mut copy = LogCopy::begin(Arc::clone(&fs), PathBuf::from(DIR), PathBuf::from(FUTURE)).expect("begun");
    assert!(
        copy.copy_sealed(opened.reader.active_base_offset(), &mut |_| true)
            .expect("copied")
    );
    opened.writer.set_high_watermark(60);
    opened.writer.advance_log_start(50).expect("moved");
    let removable = opened.reader.find_removable(&fixture.config, now()).expect("looked");
    let removed = opened.writer.take_out(&removable.expect("old segments"), now());
    let mut removed = removed.expect("online").expect("taken out");
    while removed.rename_next().expect("renamed").is_some() {}
    opened.writer.close().expect("closed");
    copy.finish().expect("finished");
    let logs = |dir: &str| -> Vec<String> {
        let entries = fs.list(Path::new(dir)).expect("listed").into_iter();
        entries
            .map(|entry| entry.name)
            .filter(|name| !name.ends_with(".deleted"))
            .collect()
    };
    assert_eq!(logs(FUTURE), logs(DIR));
}

#[test]
fn at_every_crash_one_directory_holds_everything_durable() {
    let total = {
        let fixture = fixture(0);
        let mut opened = fixture.open();
        append(&mut opened, 0, 60);
        let before = fixture.fs.operations();
        relocate(&fixture, opened).expect("moved");
        fixture.fs.operations() - before
    };
    assert!(total > 50, "{total}");
    for kind in [CrashKind::ProcessKill, CrashKind::PowerLoss] {
        for halt_after in 0..=total {
            let fixture = fixture(halt_after);
            let mut opened = fixture.open();
            append(&mut opened, 0, 60);
            opened.writer.flush().expect("durable");
            fixture.fs.inject(Fault {
                operation: None,
                after: halt_after,
                kind: FaultKind::Halt,
                lasting: true,
            });
            let moved = relocate(&fixture, opened);
            fixture.fs.crash(kind);
            let fs = fixture.fs.shared();
            let live: Vec<_> = [DIR, MOVED]
                .into_iter()
                .filter(|dir| fs.exists(Path::new(dir)).expect("known"))
                .collect();
            assert!(!live.is_empty(), "{kind:?} after {halt_after}");
            let ends: Vec<usize> = live
                .iter()
                .map(|dir| read_offsets(&open_in(&fixture, dir, 0).reader).len())
                .collect();
            assert!(
                ends.iter().all(|end| *end >= 60),
                "{kind:?} after {halt_after}: {live:?} {ends:?}"
            );
            assert!(
                ends.windows(2).all(|pair| pair[0] == pair[1]),
                "both are equal: {ends:?}"
            );
            if moved.is_ok() {
                assert_eq!((live, ends), (vec![MOVED], vec![83]));
            }
        }
    }
}

#[test]
fn a_future_name_is_parsed_back() {
    let name = PartitionDir::future_name("topic", 0, Uuid::from_u128(5));
    assert!(FUTURE.ends_with(&name));
    assert!(PartitionDir::can_have_future(&"t".repeat(209), 0) && !PartitionDir::can_have_future(&"t".repeat(249), 0));
}
