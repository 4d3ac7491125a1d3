//! The coordinator over a partition on a simulated disk: what the log itself lets through, and what a restart finds.

use std::path::{Path, PathBuf};

use storage::config::LogConfig;
use storage::flush::FlusherHandle;
use storage::io::sim_fs::SimFileSystem;
use storage::log::open::{OpenLog, open_log};

use super::*;
use crate::coordinator::group::api::TransactionalCommitRequest;
use crate::coordinator::partition_log::PartitionLog;
use crate::env::{Env, ManualClock, SeededEntropy};
use crate::partition::marker::Marker;
use crate::partition::partition::{Leadership, Partition, PartitionName};
use crate::partition::registry::{HostedTopic, PartitionRegistry};
use crate::partition::settings::PartitionSettings;

const LEADERSHIP: Leadership<'static> = Leadership {
    node_id: 1,
    leader_epoch: 0,
    replicas: &[1],
    isr: &[1],
};

const TOPIC: &str = "__consumer_offsets";
const NONE: ErrorCode = ErrorCode::None;

/// A broker's disk with one partition of the offsets topic.
struct Disk {
    fs: SimFileSystem,
    flusher: FlusherHandle,
}

/// A broker that runs.
struct Running {
    partition: Arc<Partition>,
    groups: Arc<GroupCoordinator>,
}

impl Disk {
    fn new() -> Self {
        let fs = SimFileSystem::new(1);
        fs.shared().create_dir_all(Path::new("/data")).expect("a fresh disk");
        Self {
            fs,
            flusher: FlusherHandle::manual(Arc::new(|dir, error| panic!("{}: {error}", dir.display()))),
        }
    }

    /// Starts after a kill; the log begins at `log_start_offset`.
    async fn start(&self, log_start_offset: i64, limits: Limits) -> Running {
        let env = Env::new(
            Arc::new(ManualClock::new(1_000_000)),
            Arc::new(SeededEntropy::new(1)),
            self.fs.shared(),
        );
        let config = LogConfig {
            segment_bytes: 4_096,
            compact: true,
            ..LogConfig::default()
        };
        let settings = Arc::new(PartitionSettings {
            log: Arc::new(config),
            min_insync_replicas: 1,
            recompression: None,
            full_validation: false,
            transaction_verification: true,
            max_decompressed_bytes: 1 << 20,
        });
        let (topic, topic_id): (Arc<str>, _) = (Arc::from(TOPIC), Uuid::from_u128(1));
        let opened = open_log(OpenLog {
            fs: self.fs.shared(),
            dir: PathBuf::from("/data/__consumer_offsets-0"),
            topic: TOPIC.to_owned(),
            partition: 0,
            topic_id,
            config: Arc::clone(&settings.log),
            clean_shutdown: false,
            recovery_point: 0,
            log_start_offset,
            high_watermark: 0,
            flusher: self.flusher.clone(),
            now: env.now(),
        });
        let opened = opened.expect("the log opens");
        let name = PartitionName {
            topic: Arc::clone(&topic),
            topic_id,
            index: 0,
        };
        let partition = Partition::lead(name, opened.writer, opened.reader, LEADERSHIP, settings).expect("leads");
        let registry = Arc::new(PartitionRegistry::default());
        registry.insert(HostedTopic {
            name: topic,
            topic_id,
            internal: true,
            partitions: vec![Some(Arc::clone(&partition))],
        });
        let groups = GroupCoordinator::start(StartGroups {
            config: GroupConfig {
                offsets_topic_num_partitions: 1,
                ..GroupConfig::default()
            },
            limits,
            log: Arc::new(PartitionLog::new(TOPIC, registry, env)),
            clock: virtual_clock(),
            entropy: Arc::new(Uuid::new_v4),
            runtime: Handle::current(),
        });
        groups.on_elected(0, 0);
        while groups.list_groups(ListRequest::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Running { partition, groups }
    }
}

impl Running {
    /// Commits in a transaction; `verified`: its coordinator was asked before.
    async fn commit(&self, producer: (i64, i16), offset: i64, verified: bool) -> ErrorCode {
        let (producer_id, producer_epoch) = producer;
        let guard = if verified {
            let begun = self.partition.begin_verification(producer_id, producer_epoch, -1, true);
            begun.expect("a producer of today")
        } else {
            None
        };
        let request = TransactionalCommitRequest {
            commit: commit("g", offset),
            transactional_id: Arc::from("transactional"),
            producer_id,
            producer_epoch,
            guard,
        };
        error_of(&self.groups.commit_transactional(request).await)
    }

    async fn end(&self, producer: (i64, i16), coordinator_epoch: i32, committed: bool) -> ErrorCode {
        let marker = Marker {
            producer_id: producer.0,
            producer_epoch: producer.1,
            coordinator_epoch,
            committed,
            transaction_version: 2,
        };
        self.groups.write_marker(0, marker).await
    }

    /// The offset of "g"; an error while a transaction has one.
    async fn told(&self) -> Result<i64, ErrorCode> {
        let reply = self.groups.fetch_offsets(fetch("g")).await;
        let partition = &reply.topics[0].partitions[0];
        match partition.error {
            NONE => Ok(partition.committed_offset),
            error => Err(error),
        }
    }

    fn log_start_offset(&self) -> i64 {
        self.partition.watermarks().log_start_offset
    }
}

const UNSTABLE: Result<i64, ErrorCode> = Err(ErrorCode::UnstableOffsetCommit);

#[tokio::test(start_paused = true)]
async fn a_transaction_begins_when_verified_and_goes_on_by_itself() {
    let disk = Disk::new();
    let broker = disk.start(0, Limits::default()).await;
    assert_eq!(broker.commit((7, 0), 1, false).await, ErrorCode::InvalidTxnState);
    assert_eq!(broker.told().await, Ok(-1), "nothing of it was written");
    assert_eq!(broker.commit((7, 0), 1, true).await, NONE);
    assert_eq!(broker.commit((7, 0), 2, false).await, NONE, "the transaction is open");
    assert_eq!(broker.commit((8, 0), 3, false).await, ErrorCode::InvalidTxnState);
    assert_eq!(broker.told().await, UNSTABLE);
    assert_eq!(broker.end((7, 1), 5, true).await, NONE);
    assert_eq!(broker.told().await, Ok(2));
    assert_eq!(broker.commit((7, 0), 9, false).await, ErrorCode::InvalidProducerEpoch);
    assert_eq!(
        broker.end((7, 1), 5, true).await,
        NONE,
        "the answer was lost, it is sent again"
    );
    assert_eq!(broker.end((7, 0), 5, true).await, ErrorCode::InvalidProducerEpoch);
    assert_eq!(
        broker.end((7, 2), 4, true).await,
        ErrorCode::TransactionCoordinatorFenced
    );
    assert_eq!(broker.told().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn after_a_kill_open_transactions_are_still_open() {
    let disk = Disk::new();
    let broker = disk.start(0, Limits::default()).await;
    assert_eq!(broker.commit((7, 0), 1, true).await, NONE);
    assert_eq!(broker.commit((8, 0), 2, true).await, NONE);
    assert_eq!(broker.end((8, 1), 0, true).await, NONE);
    assert_eq!(broker.told().await, UNSTABLE);
    broker.groups.shutdown().await;
    drop(broker);

    let broker = disk.start(0, Limits::default()).await;
    assert_eq!(broker.told().await, UNSTABLE);
    assert_eq!(
        broker.commit((7, 0), 3, false).await,
        NONE,
        "its transaction needs no new verification"
    );
    assert_eq!(broker.end((7, 1), 0, false).await, NONE);
    assert_eq!(broker.told().await, Ok(2));
    broker.groups.shutdown().await;
    drop(broker);
    let broker = disk.start(0, Limits::default()).await;
    assert_eq!(broker.told().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_written_again_keeps_its_open_transactions() {
    let disk = Disk::new();
    let limits = Limits {
        rewrite_bytes: 2_000,
        ..Limits::default()
    };
    let mut broker = disk.start(0, limits.clone()).await;
    let commit_often = async |broker: &Running| {
        for offset in 1..=300 {
            let request = commit("other", offset);
            assert_eq!(error_of(&broker.groups.commit_offsets(request).await), NONE);
            disk.flusher.run_pending();
        }
        // Until what was written again is seen to be safe.
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    commit_often(&broker).await;
    assert!(broker.log_start_offset() > 0, "the state was written again");
    let begins_at = broker.partition.watermarks().log_end_offset;
    assert_eq!(broker.commit((7, 0), 5, true).await, NONE);
    commit_often(&broker).await;
    let log_start_offset = broker.log_start_offset();
    assert!(log_start_offset <= begins_at, "the pending offset is at {begins_at}");
    broker.groups.shutdown().await;
    drop(broker);

    broker = disk.start(log_start_offset, limits.clone()).await;
    assert_eq!(broker.told().await, UNSTABLE);
    assert_eq!(broker.end((7, 1), 0, true).await, NONE);
    assert_eq!(broker.told().await, Ok(5));
    commit_often(&broker).await;
    commit_often(&broker).await;
    let log_start_offset = broker.log_start_offset();
    assert!(log_start_offset > begins_at, "the log begins behind the transaction");
    assert_eq!(
        broker.end((7, 1), 0, true).await,
        NONE,
        "also when its marker comes again"
    );
    broker.groups.shutdown().await;
    drop(broker);
    broker = disk.start(log_start_offset, limits).await;
    assert_eq!(broker.told().await, Ok(5));
}
