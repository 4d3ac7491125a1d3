//! What opening costs: with thousands of partitions each call to the disk counts.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::io::file_system::{DirEntry, DiskSpace, File, FileSystem, LockGuard, OpenMode};

/// A disk that counts the listings of directories and the openings of `partition.metadata`.
#[derive(Debug)]
struct Counting {
    fs: Arc<dyn FileSystem>,
    lists: AtomicUsize,
    metadata_opens: AtomicUsize,
}

impl FileSystem for Counting {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        if path.ends_with("partition.metadata") {
            self.metadata_opens.fetch_add(1, Ordering::Relaxed);
        }
        self.fs.open(path, mode)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.fs.list(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.fs.create_dir_all(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.fs.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.fs.remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.fs.sync_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.fs.exists(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        self.fs.lock(path)
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        self.fs.space(path)
    }
}

#[test]
fn a_directory_is_listed_and_its_metadata_read_at_most_once() {
    let fixture = Fixture::new(small_segments());
    // new, after a clean stop, after a kill, with a metadata file that a power loss has emptied
    for (turn, lists) in [0, 1, 1, 1].into_iter().enumerate() {
        if turn == 3 {
            let path = Path::new(DIR).join("partition.metadata");
            fixture.fs.shared().open(&path, OpenMode::Truncate).expect("emptied");
        }
        let counting = Arc::new(Counting {
            fs: fixture.fs.shared(),
            lists: AtomicUsize::new(0),
            metadata_opens: AtomicUsize::new(0),
        });
        let opened = open_log(OpenLog {
            fs: Arc::clone(&counting) as Arc<dyn FileSystem>,
            dir: PathBuf::from(DIR),
            topic: "topic".to_owned(),
            partition: 0,
            topic_id: Uuid::from_u128(7),
            config: Arc::new(fixture.config.clone()),
            clean_shutdown: turn == 1,
            recovery_point: 0,
            log_start_offset: 0,
            high_watermark: 0,
            flusher: fixture.flusher.clone(),
            now: now(),
        });
        let OpenedLog { mut writer, reader, .. } = opened.expect("opens");
        assert_eq!(counting.lists.load(Ordering::Relaxed), lists, "turn {turn}");
        let written = usize::from(turn == 3);
        assert_eq!(
            counting.metadata_opens.load(Ordering::Relaxed),
            1 + written,
            "turn {turn}"
        );
        assert_eq!(read_offsets(&reader).len(), turn * 20);
        for n in 0..20 {
            writer.append(vec![plain(&[n, n])], 0, now())[0]
                .as_ref()
                .expect("appended");
        }
        if turn == 0 {
            writer.close().expect("closed");
        }
    }
}
