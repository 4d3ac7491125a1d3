//! The whole metadata log on the simulated disk: founding, restarts, refusals, and a hundred kills.

use storage::io::sim_fs::{CrashKind, Fault, FaultKind, SimFileSystem};
use uuid::Uuid;

use super::*;
use crate::metadata::apply::tests::creation_of;
use crate::metadata::command::ApplyError;

const LOG_DIR: &str = "/data";
const LOG_PATH: &str = "/data/__cluster_metadata-0/raft.log";

fn disk(seed: u64) -> SimFileSystem {
    let fs = SimFileSystem::new(seed);
    fs.create_dir_all(Path::new(LOG_DIR)).expect("made");
    fs.sync_dir(Path::new("/")).expect("synced");
    fs
}

fn open_with(fs: &SimFileSystem, incarnation: u128, may_found: bool, max_entries: u64) -> OpenMetadataLog {
    OpenMetadataLog {
        fs: fs.shared(),
        log_dir: PathBuf::from(LOG_DIR),
        directory_id: Uuid::from_u128(77),
        cluster_id: "cluster".to_owned(),
        may_found,
        broker: RegisterBroker {
            broker_id: 1,
            incarnation: Uuid::from_u128(incarnation),
            endpoints: Vec::new(),
            rack: None,
            clean_shutdown: false,
        },
        snapshots: SnapshotRules {
            max_entries,
            max_bytes: 1 << 20,
        },
    }
}

async fn open(fs: &SimFileSystem, incarnation: u128, may_found: bool) -> Result<RaftMetadataLog, OpenError> {
    RaftMetadataLog::open(open_with(fs, incarnation, may_found, 5_000)).await
}

fn image(log: &RaftMetadataLog) -> Arc<MetadataImage> {
    Arc::clone(&log.images().borrow())
}

#[tokio::test]
async fn a_new_cluster_is_founded_named_and_led() {
    let fs = disk(1);
    let log = open(&fs, 10, true).await.expect("founded");
    let image = image(&log);
    assert_eq!((&*image.cluster_id, image.feature_level), ("cluster", FEATURE_LEVEL));
    let broker = image.brokers.get(1).expect("registered");
    assert_eq!(
        (broker.incarnation, broker.epoch),
        (Uuid::from_u128(10), log.broker_epoch())
    );
    let proposed = log.propose(vec![creation_of("t", 7, 2)]).await.expect("leads");
    assert_eq!(proposed.results, [CommandResult::TopicsCreated(vec![Ok(())])]);
    let again = log.propose(vec![creation_of("t", 8, 2)]).await.expect("leads");
    let exists = ApplyError::TopicAlreadyExists("t".to_owned());
    assert_eq!(again.results, [CommandResult::TopicsCreated(vec![Err(exists)])]);
    assert_eq!(again.index, proposed.index + 1);
    let quorum = QuorumState {
        leader_epoch: 1,
        high_watermark: again.index + 1,
        log_end_offset: again.index + 1,
        directory_id: Uuid::from_u128(77),
    };
    assert_eq!(log.quorum(), quorum);
    log.close().await;
    assert!(matches!(log.propose(Vec::new()).await, Err(ProposeError::Stopped(_))));
}

#[tokio::test]
async fn a_founding_costs_one_sync_of_data() {
    let fs = disk(1);
    let before = fs.operations();
    let log = open(&fs, 10, true).await.expect("founded");
    // mkdir, sync of its parent; the log aside: create, write, sync, rename, sync of the directory.
    assert_eq!(fs.operations() - before, 7);
    log.close().await;
}

#[tokio::test]
async fn a_restart_keeps_everything_and_registers_again() {
    let fs = disk(1);
    let log = open(&fs, 10, true).await.expect("founded");
    log.propose(vec![creation_of("t", 7, 2)]).await.expect("leads");
    let before = image(&log);
    log.close().await;
    for incarnation in 11..15 {
        let log = open(&fs, incarnation, false).await.expect("there");
        let image = image(&log);
        assert_eq!(image.topic("t").map(|t| t.id), before.topic("t").map(|t| t.id));
        let epochs: Vec<_> = image
            .topic("t")
            .expect("there")
            .partitions
            .iter()
            .map(|p| p.leader_epoch)
            .collect();
        assert_eq!(
            epochs,
            [incarnation as i32 - 10; 2],
            "an unclean restart starts a new leader epoch"
        );
        assert_eq!(
            image.brokers.get(1).map(|broker| broker.epoch),
            Some(log.broker_epoch())
        );
        assert!(image.applied_index > before.applied_index);
        log.close().await;
    }
}

#[tokio::test]
async fn a_log_that_is_gone_emptied_or_foreign_is_refused() {
    let fs = disk(1);
    open(&fs, 10, true).await.expect("founded").close().await;
    let shared = fs.shared();
    let whole = storage::checkpoint::read_whole(shared.as_ref(), Path::new(LOG_PATH))
        .expect("read")
        .expect("there");
    let put = |bytes: &[u8]| {
        storage::checkpoint::write_atomic(shared.as_ref(), Path::new(LOG_PATH), bytes).expect("written");
    };

    shared.remove_file(Path::new(LOG_PATH)).expect("removed");
    let gone = open(&fs, 11, false).await.expect_err("gone");
    assert!(
        matches!(&gone, OpenError::Missing { path } if path == Path::new(LOG_PATH)),
        "{gone}"
    );
    for damage in [&b""[..], &whole[..8], &whole[..whole.len() / 2]] {
        put(damage);
        for may_found in [false, true] {
            let error = open(&fs, 11, may_found).await.expect_err("damaged");
            assert!(error.to_string().contains(LOG_PATH), "{error}");
        }
    }
    put(&whole);
    let mut other = open_with(&fs, 11, false, 5_000);
    other.cluster_id = "other".to_owned();
    let error = RaftMetadataLog::open(other).await.expect_err("another cluster");
    assert!(matches!(error, OpenError::OtherCluster { .. }), "{error}");
    open(&fs, 11, false).await.expect("nothing was changed").close().await;
}

#[tokio::test]
async fn a_vote_that_was_cast_but_not_won_is_won_at_the_start() {
    let fs = disk(1);
    let shared = fs.shared();
    shared
        .create_dir_all(Path::new("/data/__cluster_metadata-0"))
        .expect("made");
    let identity = LogIdentity {
        cluster_id: "cluster".to_owned(),
        raft_id: FOUNDER_RAFT_ID,
    };
    let voters = Membership::new(vec![BTreeSet::from([FOUNDER_RAFT_ID])], ());
    let entry = Entry {
        log_id: LogId::default(),
        payload: EntryPayload::Membership(voters),
    };
    let vote = Vote::new(3, FOUNDER_RAFT_ID);
    LogStore::create(&shared, Path::new(LOG_PATH), identity, Some(vote), &[entry]).expect("made");
    let log = open(&fs, 10, false).await.expect("elected");
    log.propose(vec![creation_of("t", 7, 1)]).await.expect("leads");
    assert_eq!(log.store.vote(), Some(Vote::new_committed(4, FOUNDER_RAFT_ID)));
    log.close().await;
}

/// Makes 40 topics under these rules and waits until a snapshot has replaced most of the log.
async fn fill_until_purged(fs: &SimFileSystem, snapshots: SnapshotRules) -> Arc<MetadataImage> {
    let mut open = open_with(fs, 10, true, 0);
    open.snapshots = snapshots;
    let log = RaftMetadataLog::open(open).await.expect("founded");
    for n in 0..40 {
        let creation = creation_of(&format!("t{n}"), 100 + n, 1);
        log.propose(vec![creation]).await.expect("leads");
    }
    let is_purged =
        |metrics: &openraft::RaftMetrics<u64, openraft::BasicNode>| metrics.purged.is_some_and(|id| id.index > 20);
    let purged = log.raft.wait(Some(LEAD_TIMEOUT)).metrics(is_purged, "purge").await;
    purged.expect("purged");
    assert!(log.store.last_purged_log_id().is_some_and(|id| id.index > 20));
    let image = image(&log);
    log.close().await;
    image
}

#[tokio::test]
async fn snapshots_cut_the_log_and_a_restart_starts_from_them() {
    let by_entries = SnapshotRules {
        max_entries: 10,
        max_bytes: 1 << 20,
    };
    let by_bytes = SnapshotRules {
        max_entries: 5_000,
        max_bytes: 500,
    };
    for rules in [by_entries, by_bytes] {
        let fs = disk(1);
        let before = fill_until_purged(&fs, rules).await;
        let log = open(&fs, 11, false).await.expect("there");
        let topics = |image: &MetadataImage| -> Vec<_> { image.topics().map(|topic| topic.id).collect() };
        assert_eq!(topics(&image(&log)), topics(&before));
        log.close().await;
    }
}

#[tokio::test]
async fn a_damaged_or_missing_snapshot_is_refused() {
    let fs = disk(1);
    fill_until_purged(
        &fs,
        SnapshotRules {
            max_entries: 10,
            max_bytes: 1 << 20,
        },
    )
    .await;
    let snapshot = Path::new("/data/__cluster_metadata-0/image.snapshot");
    fs.flip_bit(snapshot, 40, 1).expect("there");
    let error = open(&fs, 12, false).await.expect_err("damaged");
    assert!(error.to_string().contains("image.snapshot"), "{error}");
    fs.shared().remove_file(snapshot).expect("removed");
    let error = open(&fs, 12, false).await.expect_err("a gap");
    assert!(matches!(error, OpenError::Gap { .. }), "{error}");
}

fn within_limits(mut creation: Command) -> Command {
    if let Command::CreateTopics(create) = &mut creation {
        create.limits.max_topics = 10_000;
    }
    creation
}

/// Topics that were acknowledged, with the newest leader epoch that anybody saw.
type Acknowledged = std::collections::BTreeMap<u128, i32>;

/// Kills the process, or the machine, before the `after`-th disk operation of a life; gives what was acknowledged.
async fn live_until_killed(fs: &SimFileSystem, life: u128, after: u64, acknowledged: &mut Acknowledged) -> bool {
    fs.inject(Fault {
        operation: None,
        after,
        kind: FaultKind::Halt,
        lasting: true,
    });
    let may_found = acknowledged.is_empty();
    let log = match RaftMetadataLog::open(open_with(fs, life, may_found, 6)).await {
        Ok(log) => log,
        Err(OpenError::Storage(_) | OpenError::Raft(_)) => return false,
        Err(error) => panic!("life {life}: {error}"),
    };
    let image = image(&log);
    for (topic, leader_epoch) in acknowledged.iter_mut() {
        let Some(found) = image.topic_by_id(&Uuid::from_u128(*topic)) else {
            panic!("life {life}: topic {topic} is lost");
        };
        let now = found.partitions[0].leader_epoch;
        assert!(
            now > *leader_epoch,
            "life {life}: the leader epoch of topic {topic} was seen before"
        );
        *leader_epoch = now;
    }
    assert_eq!(&*image.cluster_id, "cluster");
    for n in 0..12 {
        let topic = life * 1_000 + n;
        let creation = within_limits(creation_of(&format!("t{topic}"), topic, 1));
        match log.propose(vec![creation]).await {
            Ok(proposed) => {
                assert_eq!(proposed.results, [CommandResult::TopicsCreated(vec![Ok(())])]);
                acknowledged.insert(topic, 0);
            }
            Err(ProposeError::Stopped(_)) => break,
            Err(error) => panic!("life {life}: {error}"),
        }
    }
    log.close().await;
    true
}

#[tokio::test]
async fn a_hundred_kills_lose_nothing_that_was_acknowledged() {
    let mut draw = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = |bound: u64| {
        draw ^= draw << 13;
        draw ^= draw >> 7;
        draw ^= draw << 17;
        draw % bound
    };
    let mut served = 0;
    for seed in 0..4 {
        let fs = disk(seed);
        let mut acknowledged = Acknowledged::new();
        for life in 1..=25 {
            served += usize::from(live_until_killed(&fs, life, next(60), &mut acknowledged).await);
            fs.crash(if next(2) == 0 {
                CrashKind::PowerLoss
            } else {
                CrashKind::ProcessKill
            });
        }
        assert!(acknowledged.len() > 50, "seed {seed}: {} topics", acknowledged.len());
    }
    assert!(served > 60, "{served} of 100 lives came as far as serving");
}

#[tokio::test]
async fn every_kill_point_of_a_founding_leaves_a_directory_that_starts() {
    for after in 0..8 {
        let fs = disk(after);
        fs.inject(Fault {
            operation: None,
            after,
            kind: FaultKind::Halt,
            lasting: true,
        });
        let first = open(&fs, 10, true).await;
        if let Ok(log) = first {
            log.close().await;
        }
        fs.crash(CrashKind::PowerLoss);
        let log = open(&fs, 11, true).await.expect("starts");
        assert!(image(&log).brokers.get(1).is_some());
        log.close().await;
    }
}
