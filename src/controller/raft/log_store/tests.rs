//! openraft's own suite for log stores and state machines, and what it does not ask: restarts and rewriting.

use openraft::storage::RaftLogStorageExt;
use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, EntryPayload};
use storage::io::sim_fs::{CrashKind, SimFileSystem};

use super::*;
use crate::controller::raft::snapshot_store::SnapshotStore;
use crate::controller::raft::state_machine::StateMachine;
use crate::controller::raft::types::Proposal;
use crate::metadata::apply::tests::creation_of;

const PATH: &str = "/m/raft.log";

fn disk() -> (SimFileSystem, Arc<dyn FileSystem>) {
    let fs = SimFileSystem::new(1);
    fs.create_dir_all(Path::new("/m")).expect("made");
    fs.sync_dir(Path::new("/")).expect("synced");
    let shared = fs.shared();
    (fs, shared)
}

fn create(fs: &Arc<dyn FileSystem>) -> LogStore {
    let identity = LogIdentity {
        cluster_id: "c".to_owned(),
        raft_id: 1,
    };
    LogStore::create(fs, Path::new(PATH), identity, None, &[]).expect("made")
}

fn reopen(fs: &Arc<dyn FileSystem>) -> LogStore {
    LogStore::open(fs, Path::new(PATH))
        .expect("readable")
        .expect("there")
        .store
}

struct FreshStores;

impl StoreBuilder<TypeConfig, LogStore, StateMachine> for FreshStores {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<u64>> {
        let (_, fs) = disk();
        let store = create(&fs);
        let (snapshots, newest) = SnapshotStore::open(fs, PathBuf::from("/m/image.snapshot")).expect("opened");
        Ok(((), store, StateMachine::new(snapshots, newest)))
    }
}

#[test]
fn the_suite_of_openraft_passes() {
    Suite::test_all(FreshStores).expect("conforming");
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, 1), index)
}

fn entry(index: u64, topic: &str) -> Entry {
    let commands = vec![creation_of(topic, u128::from(index), 1)];
    Entry {
        log_id: id(1, index),
        payload: EntryPayload::Normal(Proposal { commands }),
    }
}

/// Everything that openraft can ask a store.
async fn content(store: &mut LogStore) -> (Vec<Entry>, Option<Vote>, Option<LogId>, LogState<TypeConfig>) {
    (
        store.try_get_log_entries(..).await.expect("readable"),
        store.read_vote().await.expect("readable"),
        store.read_committed().await.expect("readable"),
        store.get_log_state().await.expect("readable"),
    )
}

#[tokio::test]
async fn a_restart_finds_everything_in_its_order() {
    let (sim, fs) = disk();
    let mut store = create(&fs);
    store
        .blocking_append((1..=6).map(|index| entry(index, "a")))
        .await
        .expect("written");
    store.save_vote(&Vote::new(2, 1)).await.expect("written");
    store.truncate(id(1, 5)).await.expect("written");
    store.blocking_append([entry(5, "b")]).await.expect("written");
    store.purge(id(1, 2)).await.expect("written");
    store.save_committed(Some(id(1, 4))).await.expect("written");
    store.save_vote(&Vote::new_committed(3, 1)).await.expect("written");
    let before = content(&mut store).await;
    assert_eq!(before.0, [entry(3, "a"), entry(4, "a"), entry(5, "b")]);
    assert_eq!((before.1, before.2), (Some(Vote::new_committed(3, 1)), Some(id(1, 4))));
    assert_eq!(
        (before.3.last_purged_log_id, before.3.last_log_id),
        (Some(id(1, 2)), Some(id(1, 5)))
    );
    sim.crash(CrashKind::PowerLoss);
    let mut again = reopen(&fs);
    assert_eq!(content(&mut again).await, before);
    assert_eq!(again.entry_bytes(), store.entry_bytes());
}

#[tokio::test]
async fn the_file_is_written_anew_when_most_of_it_is_dead() {
    let (sim, fs) = disk();
    let mut store = create(&fs);
    let name = "x".repeat(200);
    for round in 0..20 {
        let first = round * 100 + 1;
        store
            .blocking_append((first..first + 100).map(|index| entry(index, &name)))
            .await
            .expect("written");
        store.save_committed(Some(id(1, first + 99))).await.expect("written");
        store.purge(id(1, first + 97)).await.expect("written");
        let len = fs
            .open(Path::new(PATH), storage::io::file_system::OpenMode::Read)
            .expect("there")
            .len()
            .expect("len");
        assert!(len < 3 * REWRITE_BYTES, "{len} bytes after round {round}");
    }
    sim.crash(CrashKind::ProcessKill);
    let mut again = reopen(&fs);
    let (entries, _, _, state) = content(&mut again).await;
    assert_eq!(
        entries.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>(),
        [1999, 2000]
    );
    assert_eq!(state.last_purged_log_id, Some(id(1, 1998)));
}

#[tokio::test]
async fn a_failed_disk_fails_the_append() {
    use storage::io::sim_fs::{Fault, FaultKind, Operation};

    let (sim, fs) = disk();
    let mut store = create(&fs);
    sim.inject(Fault {
        operation: Some(Operation::SyncData),
        after: 0,
        kind: FaultKind::InputOutput,
        lasting: false,
    });
    store.blocking_append([entry(1, "a")]).await.expect_err("not durable");
    store
        .save_vote(&Vote::new(1, 1))
        .await
        .expect_err("nothing is written after a failure");
}
