//! Opening, refusing and cleaning log directories on the real file system.

use std::fs;

use super::*;
use crate::io::sim_fs::{CrashKind, Fault, FaultKind, SimFileSystem};
use crate::io::std_fs::StdFileSystem;

fn open_as(path: &Path, cluster_id: Option<&str>, node_id: Option<i32>) -> Result<LogDir, StorageError> {
    open_on(StdFileSystem::shared(), path, cluster_id, node_id)
}

fn open_on(
    fs: Arc<dyn FileSystem>,
    path: &Path,
    cluster_id: Option<&str>,
    node_id: Option<i32>,
) -> Result<LogDir, StorageError> {
    LogDir::open(OpenLogDir {
        fs,
        path: path.to_path_buf(),
        expected_cluster_id: cluster_id.map(str::to_owned),
        expected_node_id: node_id,
        fresh: MetaProperties {
            cluster_id: "fresh-cluster".into(),
            node_id: 1,
            directory_id: Uuid::from_u128(0xD1 << 64),
        },
    })
}

fn open(path: &Path) -> Result<LogDir, StorageError> {
    open_as(path, None, None)
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn an_absent_directory_is_made_and_keeps_its_identity() {
    let temp = temporary();
    let path = temp.path().join("a/b");
    let dir = open(&path).expect("formatted");
    assert!(dir.formatted_now());
    let meta = dir.meta().clone();
    drop(dir);
    let again = open_as(&path, Some("fresh-cluster"), Some(1)).expect("reopened");
    assert!(!again.formatted_now());
    assert_eq!(*again.meta(), meta);
}

#[test]
fn a_missing_directory_id_is_added() {
    let temp = temporary();
    let file = temp.path().join(META_PROPERTIES);
    fs::write(&file, "version=1\ncluster.id=old\nnode.id=4\n").expect("written");
    let meta = open(temp.path()).expect("opened").meta().clone();
    assert_eq!((meta.cluster_id.as_str(), meta.node_id), ("old", 4));
    assert!(fs::read_to_string(&file).expect("readable").contains("directory.id="));
    assert_eq!(*open(temp.path()).expect("opened").meta(), meta);
}

#[test]
fn a_second_opening_is_refused_with_the_holder() {
    let temp = temporary();
    let first = open(temp.path()).expect("opened");
    let message = open(temp.path()).expect_err("locked").to_string();
    assert!(
        message.contains(&format!("in use by process {}", std::process::id())),
        "{message}"
    );
    drop(first);
    open(temp.path()).expect("free again");
}

#[test]
fn foreign_directories_are_refused_untouched() {
    let temp = temporary();
    fs::write(temp.path().join("thesis.txt"), "precious").expect("written");
    let message = open(temp.path()).expect_err("foreign").to_string();
    assert!(
        message.contains("\"thesis.txt\"") && message.contains("no meta.properties"),
        "{message}"
    );
    assert_eq!(fs::read_dir(temp.path()).expect("listed").count(), 1);
    fs::remove_file(temp.path().join("thesis.txt")).expect("removed");
    fs::create_dir(temp.path().join("lost+found")).expect("made");
    open(temp.path()).expect("an empty mount point is empty");
}

#[test]
fn other_nodes_clusters_versions_and_files_are_refused() {
    let temp = temporary();
    let path = temp.path().join("dir");
    drop(open(&path).expect("formatted"));
    let refused = |result: Result<LogDir, StorageError>| match result.expect_err("refused") {
        StorageError::Unusable { why, .. } => why,
        other => panic!("{other}"),
    };
    assert!(refused(open_as(&path, Some("other"), None)).contains("belongs to the cluster \"fresh-cluster\""));
    assert!(refused(open_as(&path, None, Some(9))).contains("belongs to the node 1, but node.id is 9"));
    fs::write(path.join(META_PROPERTIES), "version=7\n").expect("written");
    assert!(refused(open(&path)).contains("unknown version \"7\""));
    assert!(refused(open(&path.join(META_PROPERTIES))).contains("not a directory"));
    assert!(refused(open(&path.join(META_PROPERTIES).join("below"))).contains("not a directory"));
}

#[test]
fn the_clean_shutdown_mark_is_taken_once() {
    let temp = temporary();
    let dir = open(temp.path()).expect("opened");
    assert!(!dir.take_clean_shutdown().expect("read"));
    dir.mark_clean_shutdown(12).expect("marked");
    let text = fs::read_to_string(temp.path().join(CLEAN_SHUTDOWN_FILE)).expect("readable");
    assert_eq!(text, r#"{"version":0,"brokerEpoch":12}"#);
    assert!(dir.take_clean_shutdown().expect("read"));
    assert!(!dir.take_clean_shutdown().expect("read"));
    dir.mark_offline();
    assert!(matches!(dir.mark_clean_shutdown(12), Err(StorageError::Offline { .. })));
}

#[test]
fn partitions_are_listed_renamed_and_removed() {
    let temp = temporary();
    let dir = open(temp.path()).expect("opened");
    for name in ["a-0", "a-1", "b-0", "__cluster_metadata", "a-9.ff-stray"] {
        fs::create_dir(temp.path().join(name)).expect("made");
    }
    fs::write(temp.path().join("c-0"), "a file is no partition").expect("written");
    let names = || -> Vec<String> {
        dir.partition_dirs()
            .expect("listed")
            .into_iter()
            .map(|dir| dir.name)
            .collect()
    };
    assert_eq!(names(), ["a-0", "a-1", "a-9.ff-stray", "b-0"]);
    let deleted = dir.rename_for_delete("a", 1, Uuid::from_u128(1)).expect("renamed");
    dir.rename_as_stray("b", 0, Uuid::from_u128(2)).expect("renamed");
    assert!(
        dir.rename_for_delete("a", 1, Uuid::from_u128(1))
            .expect_err("gone")
            .is_not_found()
    );
    assert!(deleted.is_dir());
    assert_eq!(dir.remove_deleted().expect("removed"), 1);
    assert_eq!(dir.remove_deleted().expect("removed"), 0);
    dir.remove_dir(&deleted).expect("gone already is fine");
    assert_eq!(
        names(),
        ["a-0", "a-9.ff-stray", "b-0.00000000000000000000000000000002-stray"]
    );
}

#[test]
fn formatting_survives_a_halt_at_every_operation() {
    let path = Path::new("/data/kafka/logs");
    for crash in [CrashKind::ProcessKill, CrashKind::PowerLoss] {
        for seed in 0..20 {
            for halt_at in 0.. {
                let fs = SimFileSystem::new(seed);
                fs.inject(Fault {
                    operation: None,
                    after: halt_at,
                    kind: FaultKind::Halt,
                    lasting: false,
                });
                let formatted = open_on(fs.shared(), path, None, None).is_ok();
                fs.crash(crash);
                let again = open_on(fs.shared(), path, None, None).expect("never taken for a foreign directory");
                assert!(!(formatted && again.formatted_now()), "a directory is formatted once");
                if formatted {
                    assert!(halt_at > 5, "{halt_at}");
                    break;
                }
            }
        }
    }
}

#[test]
fn a_clean_mark_that_was_taken_does_not_come_back() {
    let path = Path::new("/data");
    for seed in 0..20 {
        let fs = SimFileSystem::new(seed);
        let dir = open_on(fs.shared(), path, None, None).expect("formatted");
        dir.mark_clean_shutdown(1).expect("marked");
        drop(dir);
        fs.crash(CrashKind::PowerLoss);
        let dir = open_on(fs.shared(), path, None, None).expect("opened");
        assert!(dir.take_clean_shutdown().expect("read"), "the mark is durable");
        fs.crash(CrashKind::PowerLoss);
        let dir = open_on(fs.shared(), path, None, None).expect("opened");
        assert!(!dir.take_clean_shutdown().expect("read"), "and so is its removal");
    }
}
