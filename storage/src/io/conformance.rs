//! What every [`FileSystem`] promises, checked on the real disk and on the simulated one.
//!
//! A case that only one of them can pass belongs to that one's own tests.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::file_system::{DirEntry, File, FileSystem, OpenMode};
use super::sim_fs::SimFileSystem;
use super::std_fs::StdFileSystem;

type Case = fn(&dyn FileSystem, &Path);

const CASES: [(&str, Case); 13] = [
    ("open_modes", open_modes),
    ("positioned_reads_and_writes", positioned_reads_and_writes),
    ("many_slices", many_slices),
    ("truncate_and_len", truncate_and_len),
    ("a_change_sets_the_time", a_change_sets_the_time),
    ("preallocate_keeps_the_length", preallocate_keeps_the_length),
    ("rename_replaces_files", rename_replaces_files),
    ("rename_moves_directories", rename_moves_directories),
    ("listing", listing),
    ("removing", removing),
    ("open_files_survive_their_name", open_files_survive_their_name),
    ("locks_exclude_each_other", locks_exclude_each_other),
    ("disks_have_space", disks_have_space),
];

#[test]
fn the_real_disk_conforms() {
    for (name, case) in CASES {
        eprintln_case(name);
        let temp = tempfile::tempdir().expect("a temporary directory");
        case(&StdFileSystem, temp.path());
    }
}

#[test]
fn the_simulated_disk_conforms() {
    for (name, case) in CASES {
        eprintln_case(name);
        let fs = SimFileSystem::new(1);
        let root = Path::new("/disk");
        fs.create_dir_all(root).expect("made");
        case(&fs, root);
    }
}

/// Shown by the test runner when the case fails.
#[allow(clippy::print_stderr, reason = "names the failing case")]
fn eprintln_case(name: &str) {
    eprintln!("case {name}");
}

fn put(file: &dyn File, position: u64, bytes: &[u8]) {
    file.write_at(&[IoSlice::new(bytes)], position).expect("written");
}

fn content(file: &dyn File) -> Vec<u8> {
    let mut buffer = vec![0; usize::try_from(file.len().expect("length")).expect("small")];
    assert_eq!(file.read_at(&mut buffer, 0).expect("read"), buffer.len());
    buffer
}

fn a_change_sets_the_time(fs: &dyn FileSystem, root: &Path) {
    let older = create(fs, &root.join("older"), b"1");
    let newer = create(fs, &root.join("newer"), b"1");
    put(&*newer, 0, b"2");
    let (older_ms, newer_ms) = (older.modified_ms().expect("told"), newer.modified_ms().expect("told"));
    assert!(0 <= older_ms && older_ms <= newer_ms, "{older_ms} {newer_ms}");
    let opened = fs.open(&root.join("newer"), OpenMode::Read).expect("opened");
    assert_eq!(opened.modified_ms().expect("told"), newer_ms, "reading is no change");
}

fn create(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Arc<dyn File> {
    let file = fs.open(path, OpenMode::CreateNew).expect("created");
    put(&*file, 0, bytes);
    file
}

fn open_error(fs: &dyn FileSystem, path: &Path, mode: OpenMode) -> ErrorKind {
    fs.open(path, mode).expect_err("refused").kind()
}

fn open_modes(fs: &dyn FileSystem, root: &Path) {
    let path = root.join("f");
    assert_eq!(open_error(fs, &path, OpenMode::Read), ErrorKind::NotFound);
    assert_eq!(open_error(fs, &path, OpenMode::ReadWrite), ErrorKind::NotFound);
    assert_eq!(
        open_error(fs, &root.join("absent/f"), OpenMode::OpenOrCreate),
        ErrorKind::NotFound
    );
    create(fs, &path, b"abc");
    assert_eq!(open_error(fs, &path, OpenMode::CreateNew), ErrorKind::AlreadyExists);
    assert_eq!(content(&*fs.open(&path, OpenMode::OpenOrCreate).expect("kept")), b"abc");
    assert_eq!(content(&*fs.open(&path, OpenMode::ReadWrite).expect("kept")), b"abc");
    let reader = fs.open(&path, OpenMode::Read).expect("kept");
    assert!(reader.write_at(&[IoSlice::new(b"x")], 0).is_err(), "opened for reading");
    assert!(reader.truncate(0).is_err(), "opened for reading");
    assert_eq!(content(&*fs.open(&path, OpenMode::Truncate).expect("emptied")), b"");
    assert_eq!(open_error(fs, root, OpenMode::Read), ErrorKind::IsADirectory);
    assert_eq!(open_error(fs, root, OpenMode::OpenOrCreate), ErrorKind::IsADirectory);
    assert_eq!(
        open_error(fs, &path.join("below"), OpenMode::Read),
        ErrorKind::NotADirectory
    );
}

fn positioned_reads_and_writes(fs: &dyn FileSystem, root: &Path) {
    let file = create(fs, &root.join("f"), b"0123456789");
    put(&*file, 4, b"XY");
    put(&*file, 14, b"end");
    assert_eq!(content(&*file), b"0123XY6789\0\0\0\0end");
    let mut buffer = [0; 4];
    assert_eq!(file.read_at(&mut buffer, 15).expect("read"), 2, "short only at the end");
    assert_eq!(&buffer[..2], b"nd");
    assert_eq!(file.read_at(&mut buffer, 17).expect("read"), 0);
    assert_eq!(file.read_at(&mut buffer, 1000).expect("read"), 0);
    // Just written bytes are in memory; a file system without the call reads plainly.
    assert_eq!(file.read_at_nowait(&mut buffer, 4).expect("read"), Some(4));
    assert_eq!(&buffer, b"XY67");
    assert_eq!(file.read_at_nowait(&mut buffer, 17).expect("read"), Some(0));
    let other = fs.open(&root.join("f"), OpenMode::Read).expect("opened");
    put(&*file, 0, b"Z");
    assert_eq!(content(&*other)[0], b'Z', "all handles see one content");
}

fn many_slices(fs: &dyn FileSystem, root: &Path) {
    // More slices than one system call takes, with empty ones between.
    let parts: Vec<Vec<u8>> = (0..2500_usize).map(|n| vec![n.to_le_bytes()[0]; n % 7]).collect();
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let file = fs.open(&root.join("f"), OpenMode::CreateNew).expect("created");
    file.write_at(&slices, 3).expect("written");
    let mut expected = vec![0; 3];
    expected.extend(parts.concat());
    assert_eq!(content(&*file), expected);
    file.write_at(&[], 0).expect("nothing to write");
    file.write_at(&[IoSlice::new(b"")], 9_000_000)
        .expect("nothing to write");
    assert_eq!(content(&*file), expected);
}

fn truncate_and_len(fs: &dyn FileSystem, root: &Path) {
    let file = create(fs, &root.join("f"), b"0123456789");
    file.truncate(4).expect("cut");
    assert_eq!((file.len().expect("length"), content(&*file)), (4, b"0123".to_vec()));
    file.truncate(6).expect("extended");
    assert_eq!(content(&*file), b"0123\0\0", "cut bytes do not come back");
    file.sync_data().expect("synced");
}

fn preallocate_keeps_the_length(fs: &dyn FileSystem, root: &Path) {
    let file = create(fs, &root.join("f"), b"abc");
    file.preallocate(0, 1 << 16).expect("reserved");
    file.preallocate(0, 0).expect("nothing to reserve");
    assert_eq!(content(&*file), b"abc");
    file.truncate(3).expect("released");
    file.start_writeback(0, 3).expect("hint");
    file.advise_dont_need(0, 3).expect("hint");
    file.advise_dont_need(0, 0).expect("hint");
    file.advise_will_need(0, 3).expect("hint");
    file.advise_will_need(9, 0).expect("hint");
    assert_eq!(content(&*file), b"abc");
}

fn rename_replaces_files(fs: &dyn FileSystem, root: &Path) {
    let (from, to) = (root.join("from"), root.join("to"));
    create(fs, &from, b"new");
    create(fs, &to, b"old");
    fs.rename(&from, &to).expect("replaced");
    assert!(!fs.exists(&from).expect("looked up"));
    assert_eq!(content(&*fs.open(&to, OpenMode::Read).expect("there")), b"new");
    assert_eq!(fs.rename(&from, &to).expect_err("gone").kind(), ErrorKind::NotFound);
    fs.rename(&to, &to).expect("onto itself");
    assert_eq!(content(&*fs.open(&to, OpenMode::Read).expect("there")), b"new");
    fs.sync_dir(root).expect("synced");
    assert_eq!(
        fs.sync_dir(&root.join("absent")).expect_err("absent").kind(),
        ErrorKind::NotFound
    );
}

fn rename_moves_directories(fs: &dyn FileSystem, root: &Path) {
    let (from, to) = (root.join("from"), root.join("to"));
    fs.create_dir_all(&from.join("deep")).expect("made");
    create(fs, &from.join("deep/f"), b"abc");
    fs.rename(&from, &to).expect("moved");
    assert!(!fs.exists(&from).expect("looked up"));
    assert_eq!(
        content(&*fs.open(&to.join("deep/f"), OpenMode::Read).expect("there")),
        b"abc"
    );
    fs.create_dir_all(&from).expect("made");
    assert!(fs.rename(&from, &to).is_err(), "not onto a directory with files");
}

fn listing(fs: &dyn FileSystem, root: &Path) {
    create(fs, &root.join("b"), b"12345");
    create(fs, &root.join(".a"), b"");
    fs.create_dir_all(&root.join("c/d")).expect("made");
    fs.create_dir_all(&root.join("c/d")).expect("present is fine");
    let entry = |name: &str, is_dir, len| DirEntry {
        name: name.to_owned(),
        is_dir,
        len,
    };
    assert_eq!(
        fs.list(root).expect("listed"),
        [entry(".a", false, 0), entry("b", false, 5), entry("c", true, 0)]
    );
    assert_eq!(
        fs.list(&root.join("x")).expect_err("absent").kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        fs.list(&root.join("b")).expect_err("a file").kind(),
        ErrorKind::NotADirectory
    );
    assert_eq!(
        fs.create_dir_all(&root.join("b")).expect_err("a file").kind(),
        ErrorKind::AlreadyExists
    );
}

fn removing(fs: &dyn FileSystem, root: &Path) {
    create(fs, &root.join("f"), b"abc");
    fs.remove_file(&root.join("f")).expect("removed");
    assert_eq!(
        fs.remove_file(&root.join("f")).expect_err("gone").kind(),
        ErrorKind::NotFound
    );
    fs.create_dir_all(&root.join("d/e")).expect("made");
    create(fs, &root.join("d/e/f"), b"abc");
    assert!(fs.remove_file(&root.join("d")).is_err(), "a directory");
    fs.remove_dir_all(&root.join("d")).expect("removed");
    assert!(!fs.exists(&root.join("d")).expect("looked up"));
    assert_eq!(
        fs.remove_dir_all(&root.join("d")).expect_err("gone").kind(),
        ErrorKind::NotFound
    );
}

fn open_files_survive_their_name(fs: &dyn FileSystem, root: &Path) {
    let file = create(fs, &root.join("f"), b"abc");
    fs.remove_file(&root.join("f")).expect("removed");
    create(fs, &root.join("f"), b"other");
    put(&*file, 3, b"def");
    assert_eq!(content(&*file), b"abcdef");
}

fn locks_exclude_each_other(fs: &dyn FileSystem, root: &Path) {
    let path = root.join(".lock");
    let guard = fs.lock(&path).expect("taken");
    assert_eq!(fs.lock(&path).expect_err("held").kind(), ErrorKind::WouldBlock);
    assert!(fs.exists(&path).expect("looked up"));
    drop(guard);
    drop(fs.lock(&path).expect("taken again"));
}

fn disks_have_space(fs: &dyn FileSystem, root: &Path) {
    let space = fs.space(root).expect("known");
    assert!(space.total_bytes > 0 && space.usable_bytes <= space.total_bytes);
    let absent = fs.space(&root.join("absent")).map_err(|error| error.kind());
    assert_eq!(absent, Err(ErrorKind::NotFound));
}
