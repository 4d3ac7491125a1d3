//! Torn ends are cut, damage is refused, on the simulated disk.

use storage::io::sim_fs::{CrashKind, Fault, FaultKind, Operation, SimFileSystem};

use super::*;

const PATH: &str = "/d/file";

fn disk(seed: u64) -> SimFileSystem {
    let fs = SimFileSystem::new(seed);
    fs.create_dir_all(Path::new("/d")).expect("made");
    fs.sync_dir(Path::new("/")).expect("synced");
    fs
}

fn frame(kind: u8, body: &[u8]) -> Frame {
    (kind, body.to_vec())
}

fn open(fs: &SimFileSystem) -> Opened {
    FrameFile::open(fs, Path::new(PATH)).expect("readable").expect("there")
}

#[test]
fn frames_are_read_back_in_order() {
    let fs = disk(1);
    assert!(FrameFile::open(&fs, Path::new(PATH)).expect("readable").is_none());
    let mut file = FrameFile::create(&fs, Path::new(PATH), &[frame(1, b"a")]).expect("made");
    file.append(&[frame(2, b""), frame(3, &[7; 5_000])]).expect("written");
    file.seal().expect("sealed");
    let opened = open(&fs);
    assert_eq!(opened.frames, [frame(1, b"a"), frame(2, b""), frame(3, &[7; 5_000])]);
    assert_eq!((opened.cut_bytes, opened.file.size_bytes()), (0, file.size_bytes()));
}

#[test]
fn every_cut_of_an_unsynced_end_leaves_a_prefix() {
    let whole = {
        let fs = disk(1);
        let mut file = FrameFile::create(&fs, Path::new(PATH), &[frame(1, b"first")]).expect("made");
        file.append(&[frame(2, b"second")]).expect("written");
        file.append(&[frame(3, b"third")]).expect("written");
        read_whole(&fs, Path::new(PATH)).expect("readable").expect("there")
    };
    let start = {
        let fs = disk(1);
        FrameFile::create(&fs, Path::new(PATH), &[frame(1, b"first")])
            .expect("made")
            .size_bytes() as usize
    };
    for cut in start..whole.len() {
        let fs = disk(1);
        write_atomic(&fs, Path::new(PATH), &whole[..cut]).expect("written");
        let mut opened = open(&fs);
        let bodies: Vec<_> = opened.frames.iter().map(|(kind, _)| *kind).collect();
        assert!(
            [1, 2, 3].starts_with(&bodies) && !bodies.is_empty(),
            "{bodies:?} at {cut}"
        );
        opened.file.append(&[frame(4, b"new")]).expect("written");
        let again = open(&fs);
        assert_eq!(again.frames.len(), bodies.len() + 1, "appended behind the cut");
    }
}

#[test]
fn any_damaged_bit_of_what_was_durable_is_refused() {
    let fs = disk(1);
    let mut file = FrameFile::create(&fs, Path::new(PATH), &[frame(1, b"first")]).expect("made");
    file.append(&[frame(2, b"second")]).expect("written");
    file.sync().expect("synced");
    let durable = file.size_bytes();
    file.append(&[frame(3, b"third")]).expect("written");
    for position in 0..durable {
        fs.flip_bit(Path::new(PATH), position, 3).expect("there");
        let error = FrameFile::open(&fs, Path::new(PATH)).expect_err("damage");
        assert!(
            matches!(&error, StorageError::Corrupt { path, .. } if path == Path::new(PATH)),
            "{error}"
        );
        fs.flip_bit(Path::new(PATH), position, 3).expect("there");
    }
    assert_eq!(open(&fs).frames.len(), 3);
}

#[test]
fn a_fresh_file_is_refused_when_damaged_cut_or_emptied() {
    let fs = disk(1);
    let file = FrameFile::create(&fs, Path::new(PATH), &[frame(1, b"first")]).expect("made");
    let whole = read_whole(&fs, Path::new(PATH)).expect("readable").expect("there");
    assert_eq!(whole.len() as u64, file.size_bytes());
    for cut in 0..whole.len() {
        write_atomic(&fs, Path::new(PATH), &whole[..cut]).expect("written");
        FrameFile::open(&fs, Path::new(PATH)).expect_err("cut");
    }
    write_atomic(&fs, Path::new(PATH), &whole).expect("written");
    for position in 0..file.size_bytes() {
        fs.flip_bit(Path::new(PATH), position, 0).expect("there");
        FrameFile::open(&fs, Path::new(PATH)).expect_err("damage");
        fs.flip_bit(Path::new(PATH), position, 0).expect("there");
    }
    assert_eq!(open(&fs).frames, [frame(1, b"first")]);
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_written() {
    for operation in [Operation::Write, Operation::SyncData] {
        let fs = disk(1);
        let mut file = FrameFile::create(&fs, Path::new(PATH), &[frame(1, b"first")]).expect("made");
        fs.inject(Fault {
            operation: Some(operation),
            after: 0,
            kind: FaultKind::InputOutput,
            lasting: false,
        });
        let failed = file.append(&[frame(2, b"second")]).and_then(|()| file.sync());
        assert!(matches!(failed, Err(StorageError::Io { .. })));
        let end = read_whole(&fs, Path::new(PATH))
            .expect("readable")
            .expect("there")
            .len();
        assert!(matches!(
            file.append(&[frame(3, b"third")]),
            Err(StorageError::Offline { .. })
        ));
        assert!(matches!(file.sync(), Err(StorageError::Offline { .. })));
        assert_eq!(
            read_whole(&fs, Path::new(PATH))
                .expect("readable")
                .expect("there")
                .len(),
            end
        );
    }
}

#[test]
fn power_loss_keeps_what_was_synced_and_a_prefix_of_the_rest() {
    for seed in 0..200 {
        let fs = disk(seed);
        let mut file = FrameFile::create(&fs, Path::new(PATH), &[]).expect("made");
        let mut synced = 0;
        for number in 0..(seed % 9) as u8 {
            file.append(&[frame(1, &vec![number; usize::from(number) * 300])])
                .expect("written");
            if number % 3 == 1 {
                file.sync().expect("synced");
                synced = number + 1;
            }
        }
        fs.crash(CrashKind::PowerLoss);
        let opened = open(&fs);
        let numbers = opened.frames.len();
        assert!(numbers >= usize::from(synced), "seed {seed}: lost a synced frame");
        for (number, (_, body)) in opened.frames.iter().enumerate() {
            assert_eq!(body, &vec![number as u8; number * 300], "seed {seed}");
        }
    }
}
