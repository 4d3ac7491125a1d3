//! Names of partition directories, and the file `partition.metadata` in them.
//!
//! Invariant: the file is written before any record, so a directory without it holds nothing that was acknowledged.
//! (Kafka's `LocalLog.parseTopicPartitionName`, `logDeleteDirName`, `PartitionMetadataFile`.)

use std::path::Path;

use uuid::Uuid;

use super::uuid_text::{uuid_from_text, uuid_to_text};
use crate::checkpoint::{read_whole, write_atomic};
use crate::error::StorageError;
use crate::io::file_system::FileSystem;

/// Name of the file with the topic id.
pub const PARTITION_METADATA: &str = "partition.metadata";

/// Longest name a directory may have on common file systems.
const MAX_NAME_BYTES: usize = 255;

/// What a partition directory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartitionDirKind {
    /// In use: `<topic>-<partition>`.
    Live,
    /// Of a deleted topic, waiting for its removal: `<topic>-<partition>.<id>-delete`.
    Deleted,
    /// Not in the cluster's metadata: `<topic>-<partition>.<id>-stray`.
    Stray,
    /// The copy of a partition that moves to this log directory: `<topic>-<partition>.<id>-future`.
    Future,
}

impl PartitionDirKind {
    const SUFFIXES: [(Self, &'static str); 3] = [
        (Self::Deleted, "-delete"),
        (Self::Stray, "-stray"),
        (Self::Future, "-future"),
    ];
}

/// A parsed directory name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionDir {
    /// The topic; may be cut off in the names of deleted and stray directories.
    pub topic: String,
    /// The partition index.
    pub partition: i32,
    /// What the directory is for.
    pub kind: PartitionDirKind,
    /// The name as it is on the disk.
    pub name: String,
}

impl PartitionDir {
    /// Parses a directory's name; `None` when it is no partition's.
    pub fn parse(name: &str) -> Option<Self> {
        let with_suffix = PartitionDirKind::SUFFIXES
            .into_iter()
            .find_map(|(kind, suffix)| name.strip_suffix(suffix).map(|rest| (kind, rest)));
        let (kind, topic_partition) = match with_suffix {
            None => (PartitionDirKind::Live, name),
            Some((kind, rest)) => {
                let (topic_partition, unique_id) = rest.rsplit_once('.')?;
                if unique_id.is_empty() {
                    return None;
                }
                (kind, topic_partition)
            }
        };
        let (topic, partition) = topic_partition.rsplit_once('-')?;
        let canonical = !topic.is_empty()
            && partition.bytes().all(|byte| byte.is_ascii_digit())
            && (partition == "0" || !partition.starts_with('0'));
        let partition = partition.parse().ok().filter(|_| canonical)?;
        Some(Self {
            topic: topic.to_owned(),
            partition,
            kind,
            name: name.to_owned(),
        })
    }

    /// Name of the directory in use.
    pub fn live_name(topic: &str, partition: i32) -> String {
        format!("{topic}-{partition}")
    }

    /// Name of a directory that waits for its removal; the topic is cut so that the name keeps within 255 bytes.
    pub fn deleted_name(topic: &str, partition: i32, unique_id: Uuid) -> String {
        capped_name(topic, partition, unique_id, "-delete")
    }

    /// Name of the copy of a partition that moves to another log directory; longer than 255 bytes for the longest topic
    /// names, which therefore cannot be moved (KAFKA-4893).
    pub fn future_name(topic: &str, partition: i32, unique_id: Uuid) -> String {
        format!("{topic}-{partition}.{}-future", unique_id.simple())
    }

    /// Whether a partition's directory can be copied under [`Self::future_name`].
    pub fn can_have_future(topic: &str, partition: i32) -> bool {
        Self::future_name(topic, partition, Uuid::nil()).len() <= MAX_NAME_BYTES
    }

    /// Name of a directory that the metadata does not know.
    pub fn stray_name(topic: &str, partition: i32, unique_id: Uuid) -> String {
        capped_name(topic, partition, unique_id, "-stray")
    }
}

fn capped_name(topic: &str, partition: i32, unique_id: Uuid, suffix: &str) -> String {
    let tail = format!("-{partition}.{}{suffix}", unique_id.simple());
    // Topic names are ASCII, so every byte is a place to cut.
    let kept = topic.get(..MAX_NAME_BYTES - tail.len()).unwrap_or(topic);
    format!("{kept}{tail}")
}

/// Writes the topic id into a partition's directory, durably.
pub fn write_partition_metadata(fs: &dyn FileSystem, partition_dir: &Path, topic_id: Uuid) -> Result<(), StorageError> {
    let text = partition_metadata_text(topic_id);
    write_atomic(fs, &partition_dir.join(PARTITION_METADATA), text.as_bytes())
}

/// The content of `partition.metadata`.
pub(crate) fn partition_metadata_text(topic_id: Uuid) -> String {
    format!("version: 0\ntopic_id: {}", uuid_to_text(topic_id))
}

/// Reads the topic id of a partition's directory; `None` when it was never written.
pub fn read_partition_metadata(fs: &dyn FileSystem, partition_dir: &Path) -> Result<Option<Uuid>, StorageError> {
    let path = partition_dir.join(PARTITION_METADATA);
    let Some(bytes) = read_whole(fs, &path)? else {
        return Ok(None);
    };
    parse_partition_metadata(&path, &bytes).map(Some)
}

/// The topic id in the content of `partition.metadata`; `Corrupt` when there is none.
pub(crate) fn parse_partition_metadata(path: &Path, bytes: &[u8]) -> Result<Uuid, StorageError> {
    let topic_id = std::str::from_utf8(bytes).ok().and_then(|text| {
        let (version, rest) = text.split_once('\n')?;
        let topic_id = rest.trim_end().strip_prefix("topic_id: ")?;
        (version.trim_end() == "version: 0").then(|| uuid_from_text(topic_id))?
    });
    match topic_id {
        Some(topic_id) if !topic_id.is_nil() => Ok(topic_id),
        _ => Err(StorageError::corrupt(path, 0, "not \"version: 0\" and a topic_id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::std_fs::StdFileSystem;

    #[test]
    fn parses_names_as_kafka_does() {
        let parsed = |name: &str| PartitionDir::parse(name).map(|dir| (dir.topic, dir.partition, dir.kind));
        let is = |topic: &str, partition, kind| Some((topic.to_owned(), partition, kind));
        assert_eq!(parsed("orders-0"), is("orders", 0, PartitionDirKind::Live));
        assert_eq!(parsed("a-b.c_d-12"), is("a-b.c_d", 12, PartitionDirKind::Live));
        assert_eq!(
            parsed("a.b-3.0123456789abcdef-delete"),
            is("a.b", 3, PartitionDirKind::Deleted)
        );
        assert_eq!(parsed("a-3.00ff-stray"), is("a", 3, PartitionDirKind::Stray));
        assert_eq!(parsed("a-3.00ff-future"), is("a", 3, PartitionDirKind::Future));
        for name in [
            "orders",
            "-0",
            "orders-",
            "orders-x",
            "orders-01",
            "orders-+1",
            "orders-99999999999",
            "x-delete",
        ] {
            assert_eq!(parsed(name), None, "{name}");
        }
        assert_eq!(parsed("a-3-delete"), None, "no unique id");
    }

    #[test]
    fn long_topics_are_cut_for_deletion() {
        let topic = "t".repeat(249);
        let unique_id = Uuid::from_u128(5);
        let name = PartitionDir::deleted_name(&topic, 17, unique_id);
        assert_eq!(name.len(), 255);
        let dir = PartitionDir::parse(&name).expect("valid");
        assert_eq!((dir.partition, dir.kind), (17, PartitionDirKind::Deleted));
        assert!(topic.starts_with(&dir.topic));
        assert_eq!(
            PartitionDir::deleted_name("short", 1, unique_id),
            "short-1.00000000000000000000000000000005-delete"
        );
    }

    #[test]
    fn topic_id_is_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(
            read_partition_metadata(&StdFileSystem, dir.path()).expect("readable"),
            None
        );
        let topic_id = Uuid::from_u128(0xABCD << 90);
        write_partition_metadata(&StdFileSystem, dir.path(), topic_id).expect("written");
        assert_eq!(
            read_partition_metadata(&StdFileSystem, dir.path()).expect("readable"),
            Some(topic_id)
        );
        for bad in [
            "",
            "version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAABAA",
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
        ] {
            std::fs::write(dir.path().join(PARTITION_METADATA), bad).expect("written");
            let error = read_partition_metadata(&StdFileSystem, dir.path()).expect_err(bad);
            assert!(matches!(error, StorageError::Corrupt { .. }));
        }
    }
}
