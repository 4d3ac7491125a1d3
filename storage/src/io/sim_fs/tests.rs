//! What the simulated disk does beyond the conformance suite: crashes and faults.

use super::*;
use crate::checkpoint::{read_whole, write_atomic};

const ROOT: &str = "/d";

fn disk(seed: u64) -> SimFileSystem {
    let fs = SimFileSystem::new(seed);
    fs.create_dir_all(Path::new(ROOT)).expect("made");
    fs.sync_dir(Path::new("/")).expect("synced");
    fs
}

fn path(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

fn put(file: &dyn File, position: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_at(&[IoSlice::new(bytes)], position)
}

fn read(fs: &SimFileSystem, name: &str) -> Option<Vec<u8>> {
    read_whole(fs, &path(name)).expect("readable")
}

fn fault(operation: Operation, after: u64, kind: FaultKind) -> Fault {
    Fault {
        operation: Some(operation),
        after,
        kind,
        lasting: false,
    }
}

#[test]
fn a_killed_process_loses_nothing_but_its_handles_and_locks() {
    let fs = disk(1);
    let file = fs.open(&path("f"), OpenMode::CreateNew).expect("created");
    let guard = fs.lock(&path(".lock")).expect("taken");
    put(&*file, 0, b"abc").expect("written");
    fs.crash(CrashKind::ProcessKill);
    assert_eq!(read(&fs, "f").as_deref(), Some(&b"abc"[..]));
    assert!(
        put(&*file, 0, b"x").is_err() && file.len().is_err(),
        "an old handle is dead"
    );
    let again = fs.lock(&path(".lock")).expect("free again");
    drop(guard);
    assert!(
        fs.lock(&path(".lock")).is_err(),
        "the old guard does not release the new lock"
    );
    drop(again);
}

#[test]
fn power_loss_keeps_what_was_synced_and_maybe_more() {
    let (mut lost, mut kept, mut nameless) = (0, 0, 0);
    for seed in 0..200 {
        let fs = disk(seed);
        let file = fs.open(&path("f"), OpenMode::CreateNew).expect("created");
        put(&*file, 0, b"durable").expect("written");
        file.sync_data().expect("synced");
        fs.sync_dir(Path::new(ROOT)).expect("synced");
        put(&*file, 7, b" and not").expect("written");
        fs.open(&path("g"), OpenMode::CreateNew)
            .expect("created")
            .sync_data()
            .expect("synced");
        fs.crash(CrashKind::PowerLoss);
        match read(&fs, "f").expect("its name was synced").as_slice() {
            b"durable" => lost += 1,
            b"durable and not" => kept += 1,
            other => panic!("{other:?}: both writes fit in one sector"),
        }
        nameless += usize::from(read(&fs, "g").is_none());
    }
    assert!(lost > 20 && kept > 20 && nameless > 20, "{lost} {kept} {nameless}");
}

#[test]
fn a_rename_is_old_or_new_and_needs_the_directory_sync() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..100 {
        let fs = disk(seed);
        write_atomic(&fs, &path("f"), b"old").expect("written");
        let next = fs.open(&path("f.tmp"), OpenMode::CreateNew).expect("created");
        put(&*next, 0, b"new").expect("written");
        next.sync_data().expect("synced");
        fs.rename(&path("f.tmp"), &path("f")).expect("renamed");
        fs.crash(CrashKind::PowerLoss);
        match read(&fs, "f").as_deref() {
            Some(b"old") => old += 1,
            Some(b"new") => {
                new += 1;
                assert!(read(&fs, "f.tmp").is_none(), "a rename is one step");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(old > 20 && new > 20, "{old} {new}");
}

#[test]
fn an_atomic_write_survives_a_halt_at_every_operation() {
    for crash in [CrashKind::ProcessKill, CrashKind::PowerLoss] {
        for seed in 0..20 {
            for halt_at in 0.. {
                let fs = disk(seed);
                write_atomic(&fs, &path("f"), b"old").expect("written");
                fs.inject(Fault {
                    operation: None,
                    after: halt_at,
                    kind: FaultKind::Halt,
                    lasting: false,
                });
                let done = write_atomic(&fs, &path("f"), b"the new content").is_ok();
                fs.crash(crash);
                let content = read(&fs, "f").expect("never absent");
                assert!(
                    content == b"the new content" || !done && content == b"old",
                    "{halt_at}: {content:?}"
                );
                if done {
                    assert!(halt_at >= 4, "create, write, sync, rename, sync directory");
                    break;
                }
            }
        }
    }
}

#[test]
fn a_synced_rename_takes_the_creation_with_it() {
    for seed in 0..50 {
        let fs = disk(seed);
        fs.create_dir_all(&path("a")).expect("made");
        fs.create_dir_all(&path("b")).expect("made");
        fs.sync_dir(Path::new(ROOT)).expect("synced");
        fs.open(&path("a/f"), OpenMode::CreateNew).expect("created");
        fs.rename(&path("a/f"), &path("b/f")).expect("renamed");
        fs.sync_dir(&path("b")).expect("synced");
        fs.crash(CrashKind::PowerLoss);
        assert!(fs.exists(&path("b/f")).expect("looked up"));
        assert!(!fs.exists(&path("a/f")).expect("looked up"), "one file, one name");
    }
}

#[test]
fn faults_hit_the_operation_they_are_aimed_at() {
    let fs = disk(3);
    let file = fs.open(&path("f"), OpenMode::CreateNew).expect("created");
    fs.inject(fault(Operation::Write, 1, FaultKind::NoSpace));
    put(&*file, 0, b"abc").expect("the first write succeeds");
    file.sync_data().expect("other operations do not count");
    assert_eq!(put(&*file, 3, b"def").expect_err("hit").raw_os_error(), Some(28));
    put(&*file, 3, b"def").expect("once");
    fs.inject(Fault {
        lasting: true,
        ..fault(Operation::SyncData, 0, FaultKind::InputOutput)
    });
    for _ in 0..2 {
        assert_eq!(file.sync_data().expect_err("hit").raw_os_error(), Some(5));
    }
    fs.clear_faults();
    file.sync_data().expect("cleared");
    fs.inject(fault(Operation::Read, 0, FaultKind::InputOutput));
    assert_eq!(file.read_at(&mut [0; 1], 0).expect_err("hit").raw_os_error(), Some(5));
}

#[test]
fn a_lost_sync_reports_success() {
    let mut lost = 0;
    for seed in 0..50 {
        let fs = disk(seed);
        let file = fs.open(&path("f"), OpenMode::CreateNew).expect("created");
        fs.sync_dir(Path::new(ROOT)).expect("synced");
        put(&*file, 0, b"abc").expect("written");
        fs.inject(fault(Operation::SyncData, 0, FaultKind::LostSync));
        file.sync_data().expect("it says");
        fs.crash(CrashKind::PowerLoss);
        lost += usize::from(read(&fs, "f").expect("its name was synced").is_empty());
    }
    assert!(lost > 10, "{lost}");
}

#[test]
fn a_full_disk_refuses_growth_only() {
    let fs = disk(5);
    let file = fs.open(&path("f"), OpenMode::CreateNew).expect("created");
    fs.set_capacity(Some(8));
    put(&*file, 0, b"12345678").expect("fits");
    let other = fs.open(&path("g"), OpenMode::CreateNew).expect("created");
    assert_eq!(
        put(&*other, 0, b"9").expect_err("full").kind(),
        io::ErrorKind::StorageFull
    );
    assert_eq!(other.len().expect("length"), 0);
    put(&*file, 2, b"xx").expect("overwrites");
    file.truncate(4).expect("shrinks");
    put(&*other, 0, b"9").expect("there is room again");
}

#[test]
fn bits_rot_and_cold_reads_find_nothing() {
    let fs = disk(6);
    let file = fs.open(&path("f"), OpenMode::CreateNew).expect("created");
    assert_eq!(fs.flip_random_bit(&path("f")).expect("there"), None);
    put(&*file, 0, &[0; 100]).expect("written");
    let position = fs.flip_random_bit(&path("f")).expect("there").expect("not empty");
    let content = read(&fs, "f").expect("there");
    let flipped: Vec<usize> = (0..100).filter(|index| content[*index] != 0).collect();
    assert_eq!(flipped, [to_index(position)]);
    assert_eq!(content[to_index(position)].count_ones(), 1);
    fs.set_cold(true);
    assert_eq!(file.read_at_nowait(&mut [0; 4], 0).expect("answered"), None);
    assert_eq!(file.read_at(&mut [0; 4], 0).expect("read"), 4);
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let fs = disk(seed);
        for n in 0_u8..20 {
            let file = fs.open(&path(&format!("f{n}")), OpenMode::CreateNew).expect("created");
            put(&*file, 0, &[n; 3000]).expect("written");
        }
        fs.sync_dir(Path::new(ROOT)).expect("synced");
        fs.crash(CrashKind::PowerLoss);
        (0..20).map(|n| read(&fs, &format!("f{n}"))).collect::<Vec<_>>()
    };
    assert_eq!(run(9), run(9));
    assert_ne!(run(9), run(10));
}
