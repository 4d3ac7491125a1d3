//! Small files that are replaced as a whole: either the old content or the new one survives a crash, never a mixture.
//!
//! Owns Kafka's text checkpoints (`0`, count, one line per entry; Kafka's `CheckpointFile`, `OffsetCheckpointFile`)
//! and one binary form with a checksum for state that must not be trusted when damaged.
//! Invariant: write to `<name>.tmp`, sync it, rename, sync the directory; only then the call returns `Ok`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IoSlice;
use std::path::{Path, PathBuf};

use crate::error::{IoContext, StorageError};
use crate::io::file_system::{FileSystem, OpenMode};

/// Offsets up to which each log is known to be on the disk.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// First offset of each log that may be read.
pub const LOG_START_OFFSET_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// High watermark of each log.
pub const REPLICATION_OFFSET_CHECKPOINT: &str = "replication-offset-checkpoint";

/// Content of an offset checkpoint: (topic, partition) to offset.
pub type OffsetCheckpoint = BTreeMap<(String, i32), i64>;

/// The only version of Kafka's text checkpoints.
const TEXT_VERSION: &str = "0";
const CHECKED_MAGIC: [u8; 8] = *b"monedula";
/// Magic, version u32, payload length u64, CRC-32C u32 of version, length and payload; all big endian.
const CHECKED_HEADER_BYTES: usize = 24;

/// Replaces `path` by `bytes`, durably.
pub fn write_atomic(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    replace(fs, path, bytes)?;
    sync_parent(fs, path)
}

/// As [`write_atomic`], without syncing the directory: until the caller does, a crash may bring the old content back.
pub(crate) fn replace(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    replace_in_steps(fs, path, bytes, true)
}

/// As [`replace`], without syncing the content either: a power loss may leave a part of it. For what can be made again.
pub(crate) fn replace_unsynced(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    replace_in_steps(fs, path, bytes, false)
}

fn replace_in_steps(fs: &dyn FileSystem, path: &Path, bytes: &[u8], sync: bool) -> Result<(), StorageError> {
    let temporary = temporary_name(path);
    let result = write_and_rename(fs, &temporary, path, bytes, sync);
    if result.is_err() {
        // The half-written file takes room, which may be what is missing; a failure to remove it changes nothing.
        let _ = fs.remove_file(&temporary);
    }
    result
}

fn write_and_rename(
    fs: &dyn FileSystem,
    temporary: &Path,
    path: &Path,
    bytes: &[u8],
    sync: bool,
) -> Result<(), StorageError> {
    let file = fs.open(temporary, OpenMode::Truncate).context("create", temporary)?;
    if !bytes.is_empty() {
        file.write_at(&[IoSlice::new(bytes)], 0).context("write", temporary)?;
    }
    if sync {
        file.sync_data().context("sync", temporary)?;
    }
    fs.rename(temporary, path).context("replace", path)
}

/// End of the names of files that are to replace others; what a crash leaves of them is worth nothing.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    PathBuf::from(name)
}

/// Makes the name of `path` durable in its directory.
pub fn sync_parent(fs: &dyn FileSystem, path: &Path) -> Result<(), StorageError> {
    let parent = parent_of(path);
    fs.sync_dir(parent).context("sync directory", parent)
}

/// The directory that has the name of `path`.
pub(crate) fn parent_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}

/// The whole file, or `None` when it does not exist. For files that were written by [`write_atomic`] or are as small.
pub fn read_whole(fs: &dyn FileSystem, path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    let file = match fs.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io("open", path, error)),
    };
    let len = file.len().context("read length of", path)?;
    let len = usize::try_from(len).map_err(|_| StorageError::corrupt(path, 0, "too long to be read"))?;
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0).context("read", path)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Writes one of Kafka's offset checkpoints.
pub fn write_offset_checkpoint(
    fs: &dyn FileSystem,
    path: &Path,
    offsets: &OffsetCheckpoint,
) -> Result<(), StorageError> {
    let lines = offsets
        .iter()
        .map(|((topic, partition), offset)| format!("{topic} {partition} {offset}"));
    write_atomic(fs, path, text_checkpoint(offsets.len(), lines).as_bytes())
}

/// Reads one of Kafka's offset checkpoints; an absent file is an empty one. A damaged file is `Corrupt`: a caller
/// that only saves work by it (recovery point) may go on with an empty one.
pub fn read_offset_checkpoint(fs: &dyn FileSystem, path: &Path) -> Result<OffsetCheckpoint, StorageError> {
    read_text_checkpoint(fs, path, |line| {
        let mut words = line.split_ascii_whitespace();
        let topic = words.next()?.to_owned();
        let partition: i32 = words.next()?.parse().ok().filter(|partition| *partition >= 0)?;
        let offset: i64 = words.next()?.parse().ok()?;
        words.next().is_none().then_some(((topic, partition), offset))
    })
    .map(|entries| entries.into_iter().collect())
}

/// The text of a checkpoint with `count` lines.
pub(crate) fn text_checkpoint(count: usize, lines: impl Iterator<Item = String>) -> String {
    let mut text = format!("{TEXT_VERSION}\n{count}\n");
    for line in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

/// Entries of a text checkpoint; absent and empty files have none.
pub(crate) fn read_text_checkpoint<T>(
    fs: &dyn FileSystem,
    path: &Path,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, StorageError> {
    let Some(bytes) = read_whole(fs, path)? else {
        return Ok(Vec::new());
    };
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let text = String::from_utf8(bytes).map_err(|_| StorageError::corrupt(path, 0, "not a text file"))?;
    let mut offset = 0;
    let mut lines = text.split_inclusive('\n').map(|line| {
        let start = offset;
        offset += line.len() as u64;
        (start, line.trim_end_matches(['\n', '\r']))
    });
    match lines.next() {
        Some((_, TEXT_VERSION)) => {}
        Some((at, other)) => return Err(StorageError::corrupt(path, at, format!("unknown version {other:?}"))),
        None => return Ok(Vec::new()),
    }
    let count = lines.next().and_then(|(_, line)| line.parse::<usize>().ok());
    let Some(count) = count else {
        return Err(StorageError::corrupt(path, 2, "no count in the second line"));
    };
    let mut entries = Vec::new();
    for (at, line) in lines {
        let entry = parse(line).ok_or_else(|| StorageError::corrupt(path, at, format!("malformed line {line:?}")))?;
        entries.push(entry);
    }
    if entries.len() != count {
        let why = format!("{count} entries announced, {} found", entries.len());
        return Err(StorageError::corrupt(path, text.len() as u64, why));
    }
    Ok(entries)
}

/// Content of a checksummed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedFile {
    /// Version of the payload's format, as given to [`write_checked`].
    pub version: u32,
    /// The bytes.
    pub payload: Vec<u8>,
}

/// Replaces `path` by a checksummed, versioned payload, durably.
pub fn write_checked(fs: &dyn FileSystem, path: &Path, version: u32, payload: &[u8]) -> Result<(), StorageError> {
    let version = version.to_be_bytes();
    let len = (payload.len() as u64).to_be_bytes();
    let mut bytes = Vec::with_capacity(CHECKED_HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&CHECKED_MAGIC);
    bytes.extend_from_slice(&version);
    bytes.extend_from_slice(&len);
    bytes.extend_from_slice(&checked_crc(&version, &len, payload).to_be_bytes());
    bytes.extend_from_slice(payload);
    write_atomic(fs, path, &bytes)
}

/// Reads a file of [`write_checked`]; `None` when absent, `Corrupt` when any bit of it is not what was written.
pub fn read_checked(fs: &dyn FileSystem, path: &Path) -> Result<Option<CheckedFile>, StorageError> {
    let Some(bytes) = read_whole(fs, path)? else {
        return Ok(None);
    };
    let parsed = parse_checked(&bytes).map_err(|(at, why)| StorageError::corrupt(path, at, why))?;
    Ok(Some(parsed))
}

fn parse_checked(bytes: &[u8]) -> Result<CheckedFile, (u64, &'static str)> {
    let rest = bytes
        .strip_prefix(&CHECKED_MAGIC)
        .ok_or((0, "does not begin with our magic number"))?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or((8, "header cut off"))?;
    let (len, rest) = rest.split_first_chunk::<8>().ok_or((12, "header cut off"))?;
    let (crc, payload) = rest.split_first_chunk::<4>().ok_or((20, "header cut off"))?;
    if u64::from_be_bytes(*len) != payload.len() as u64 {
        return Err((12, "length differs from the file's"));
    }
    if u32::from_be_bytes(*crc) != checked_crc(version, len, payload) {
        return Err((20, "checksum differs"));
    }
    Ok(CheckedFile {
        version: u32::from_be_bytes(*version),
        payload: payload.to_vec(),
    })
}

fn checked_crc(version: &[u8], len: &[u8], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(version), len);
    crc32c::crc32c_append(crc, payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sim_fs::{Fault, FaultKind, Operation, SimFileSystem};

    fn disk() -> (SimFileSystem, PathBuf) {
        let fs = SimFileSystem::new(7);
        fs.create_dir_all(Path::new("/d")).expect("made");
        (fs, PathBuf::from("/d/checkpoint"))
    }

    fn text(fs: &SimFileSystem, path: &Path) -> String {
        String::from_utf8(read_whole(fs, path).expect("readable").expect("there")).expect("text")
    }

    #[test]
    fn offsets_are_written_as_kafka_does() {
        let (fs, path) = disk();
        assert_eq!(
            read_offset_checkpoint(&fs, &path).expect("absent is empty"),
            OffsetCheckpoint::new()
        );
        let offsets = OffsetCheckpoint::from([(("b.c-d".to_owned(), 0), 7), (("a".to_owned(), 11), i64::MAX)]);
        write_offset_checkpoint(&fs, &path, &offsets).expect("written");
        assert_eq!(text(&fs, &path), "0\n2\na 11 9223372036854775807\nb.c-d 0 7\n");
        assert_eq!(read_offset_checkpoint(&fs, &path).expect("readable"), offsets);
        assert!(!fs.exists(Path::new("/d/checkpoint.tmp")).expect("looked up"));
    }

    #[test]
    fn malformed_offset_files_are_corrupt() {
        let (fs, path) = disk();
        for (content, at) in [
            ("1\n0\n", 0),
            ("0\n", 2),
            ("0\nx\n", 2),
            ("0\n2\na 0 1\n", 10),
            ("0\n0\na 0 1\n", 10),
            ("0\n1\na 0\n", 4),
            ("0\n2\na 0 1\na -1 1\n", 10),
            ("0\n1\na 0 1 2\n", 4),
            ("0\n1\na 0 x\n", 4),
        ] {
            write_atomic(&fs, &path, content.as_bytes()).expect("written");
            match read_offset_checkpoint(&fs, &path).expect_err(content) {
                StorageError::Corrupt {
                    path: named, offset, ..
                } => assert_eq!((named, offset), (path.clone(), at)),
                other => panic!("{content:?}: {other}"),
            }
        }
        write_atomic(&fs, &path, &[0xFF, 0xFE]).expect("written");
        assert!(matches!(
            read_offset_checkpoint(&fs, &path),
            Err(StorageError::Corrupt { .. })
        ));
        write_atomic(&fs, &path, b"").expect("written");
        assert_eq!(
            read_offset_checkpoint(&fs, &path).expect("empty"),
            OffsetCheckpoint::new()
        );
    }

    #[test]
    fn a_full_disk_leaves_the_old_content_and_no_rubbish() {
        let (fs, path) = disk();
        write_atomic(&fs, &path, b"old").expect("written");
        for operation in [Operation::Write, Operation::SyncData] {
            fs.inject(Fault {
                operation: Some(operation),
                after: 0,
                kind: FaultKind::NoSpace,
                lasting: false,
            });
            assert!(write_atomic(&fs, &path, b"new").expect_err("full").is_no_space());
            assert_eq!(text(&fs, &path), "old");
            assert_eq!(fs.list(Path::new("/d")).expect("listed").len(), 1);
        }
    }

    #[test]
    fn checked_files_know_every_flipped_bit_and_cut() {
        let (fs, path) = disk();
        assert_eq!(read_checked(&fs, &path).expect("absent"), None);
        let file = CheckedFile {
            version: 3,
            payload: b"term 7, vote 2".to_vec(),
        };
        write_checked(&fs, &path, file.version, &file.payload).expect("written");
        assert_eq!(read_checked(&fs, &path).expect("readable"), Some(file));
        let bytes = read_whole(&fs, &path).expect("readable").expect("there");
        for position in 0..bytes.len() as u64 {
            for bit in 0..8 {
                fs.flip_bit(&path, position, bit).expect("flipped");
                assert!(
                    matches!(read_checked(&fs, &path), Err(StorageError::Corrupt { .. })),
                    "{position}.{bit}"
                );
                fs.flip_bit(&path, position, bit).expect("flipped back");
            }
        }
        for len in 0..bytes.len() {
            write_atomic(&fs, &path, &bytes[..len]).expect("written");
            assert!(
                matches!(read_checked(&fs, &path), Err(StorageError::Corrupt { .. })),
                "{len} bytes"
            );
        }
    }
}
