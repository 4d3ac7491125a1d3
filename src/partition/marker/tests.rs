//! Transactions in a partition as clients, coordinators and waiting readers see them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::record::{BatchBuilder, Compression, TimestampType, ValidatedBatch};
use storage::config::LogConfig;
use storage::flush::FlusherHandle;
use storage::io::sim_fs::SimFileSystem;
use storage::log::open::{OpenLog, open_log};

use super::*;
use crate::partition::append::AppendOptions;
use crate::partition::fetch_wait::FetchWaiter;
use crate::partition::offsets::OffsetQuery;
use crate::partition::partition::{Leadership, PartitionName};
use crate::partition::read::Isolation;
use crate::partition::settings::PartitionSettings;

const NOW: Now = Now {
    mono_ms: 0,
    wall_ms: 5_000,
};

fn settings(transaction_verification: bool) -> Arc<PartitionSettings> {
    Arc::new(PartitionSettings {
        log: Arc::new(LogConfig::default()),
        min_insync_replicas: 1,
        recompression: None,
        full_validation: false,
        transaction_verification,
        max_decompressed_bytes: 1 << 20,
    })
}

fn partition() -> Arc<Partition> {
    let fs = SimFileSystem::new(1).shared();
    fs.create_dir_all(Path::new("/data")).expect("a fresh disk");
    let topic_id = uuid::Uuid::from_u128(7);
    let opened = open_log(OpenLog {
        fs,
        dir: PathBuf::from("/data/t-0"),
        topic: "t".to_owned(),
        partition: 0,
        topic_id,
        config: Arc::new(LogConfig::default()),
        clean_shutdown: false,
        recovery_point: 0,
        log_start_offset: 0,
        high_watermark: 0,
        flusher: FlusherHandle::manual(Arc::new(|_, _| {})),
        now: NOW,
    })
    .expect("opened");
    let name = PartitionName {
        topic: Arc::from("t"),
        topic_id,
        index: 0,
    };
    let leadership = Leadership {
        node_id: 1,
        leader_epoch: 0,
        replicas: &[1],
        isr: &[1],
    };
    Partition::lead(name, opened.writer, opened.reader, leadership, settings(true)).expect("led")
}

fn batch(producer_id: i64, base_sequence: i32, transactional: bool) -> ValidatedBatch {
    let builder = BatchBuilder::new(TimestampType::CreateTime, Compression::None);
    let builder = builder.with_producer(producer_id, 0, base_sequence);
    let mut builder = builder.transactional(transactional);
    builder.append(1_000 + i64::from(base_sequence), None, Some(b"value"), &[]);
    builder.build()
}

fn append(partition: &Partition, batch: ValidatedBatch, guard: Option<VerificationGuard>) -> Result<i64, ErrorCode> {
    let options = AppendOptions {
        all_replicas: true,
        guard,
    };
    let mut results = partition.append_as_leader(vec![batch], options, NOW).expect("led here");
    let appended = results.pop().expect("one result");
    appended
        .map(|append| append.appended.base_offset)
        .map_err(|error| error.error_code())
}

/// One transactional record of each producer, verified.
fn begin(partition: &Partition, producer_id: i64) -> i64 {
    let guard = partition
        .begin_verification(producer_id, 0, 0, false)
        .expect("led here");
    append(partition, batch(producer_id, 0, true), guard).expect("verified")
}

fn marker(producer_id: i64, committed: bool) -> Marker {
    Marker {
        producer_id,
        producer_epoch: 0,
        coordinator_epoch: 3,
        committed,
        transaction_version: 0,
    }
}

#[test]
fn a_transaction_begins_verified_and_ends_with_its_marker() {
    let partition = partition();
    assert_eq!(
        append(&partition, batch(1, 0, true), None),
        Err(ErrorCode::InvalidTxnState)
    );
    assert_eq!(begin(&partition, 1), 0);
    assert_eq!(partition.begin_verification(1, 0, 1, false).expect("led here"), None);
    assert_eq!(append(&partition, batch(1, 1, true), None), Ok(1));
    assert_eq!(
        append(&partition, batch(1, 2, false), None),
        Err(ErrorCode::InvalidTxnState)
    );
    let late = partition.begin_verification(1, 1, 0, true).expect("a newer epoch");
    assert!(late.is_some());
    let ended = partition.append_marker(&marker(1, true), NOW).expect("appended");
    assert_eq!((ended.appended.base_offset, ended.committed), (2, true));
    let old_coordinator = Marker {
        coordinator_epoch: 2,
        ..marker(1, true)
    };
    let refused = partition.append_marker(&old_coordinator, NOW).expect_err("fenced");
    assert_eq!(refused.error_code(), ErrorCode::TransactionCoordinatorFenced);
    let old = Marker {
        producer_epoch: -1,
        ..marker(1, true)
    };
    let refused = partition.append_marker(&old, NOW).expect_err("an old epoch");
    assert_eq!(refused.error_code(), ErrorCode::InvalidProducerEpoch);
    let entry = partition.active_producers().expect("led here").remove(0);
    assert_eq!((entry.current_txn_first_offset, entry.coordinator_epoch), (None, 3));
    assert_eq!(entry.last_timestamp_ms, NOW.wall_ms);
}

#[test]
fn the_switch_of_verification_acts_at_once() {
    let partition = partition();
    assert_eq!(
        append(&partition, batch(1, 0, true), None),
        Err(ErrorCode::InvalidTxnState)
    );
    partition.set_settings(settings(false));
    assert_eq!(append(&partition, batch(1, 0, true), None), Ok(0));
    partition.set_settings(settings(true));
    assert_eq!(append(&partition, batch(1, 1, true), None), Ok(1), "it is open");
    assert_eq!(
        append(&partition, batch(2, 0, true), None),
        Err(ErrorCode::InvalidTxnState)
    );
}

#[test]
fn markers_of_version_2_need_a_newer_epoch() {
    let partition = partition();
    begin(&partition, 1);
    let version_2 = |producer_epoch| Marker {
        producer_epoch,
        transaction_version: 2,
        ..marker(1, false)
    };
    let refused = partition
        .append_marker(&version_2(0), NOW)
        .expect_err("the transaction's own");
    assert_eq!(refused.error_code(), ErrorCode::InvalidProducerEpoch);
    partition.append_marker(&version_2(1), NOW).expect("newer");
    partition
        .append_marker(&version_2(1), NOW)
        .expect("again, as its answer may be lost");
}

#[test]
fn readers_of_committed_records_are_told_what_was_aborted() {
    let partition = partition();
    append(&partition, batch(9, 0, false), None).expect("appended");
    begin(&partition, 1);
    begin(&partition, 2);
    let read = |isolation| {
        let read = partition.read_nowait(0, isolation, 100_000, true).expect("led here");
        let read = read.expect("in memory");
        let aborted: Vec<_> = read
            .aborted
            .iter()
            .map(|txn| (txn.producer_id, txn.first_offset))
            .collect();
        (read.size_bytes(), aborted)
    };
    let one = read(Isolation::ReadCommitted).0;
    assert!(one > 0 && read(Isolation::ReadUncommitted).0 == one * 3);
    partition.append_marker(&marker(2, false), NOW).expect("appended");
    assert_eq!(read(Isolation::ReadCommitted), (one, vec![]), "the first is undecided");
    partition.append_marker(&marker(1, true), NOW).expect("appended");
    let (bytes, aborted) = read(Isolation::ReadCommitted);
    assert_eq!((bytes, aborted), (read(Isolation::ReadUncommitted).0, vec![(2, 2)]));
    assert_eq!(read(Isolation::ReadUncommitted).1, vec![]);
}

#[test]
fn offsets_for_committed_readers_end_at_the_last_stable_one() {
    let partition = partition();
    append(&partition, batch(9, 0, false), None).expect("appended");
    begin(&partition, 1);
    append(&partition, batch(9, 1, false), None).expect("appended");
    let found = |query, isolation| partition.find_offset(query, isolation).expect("found").offset;
    for (query, uncommitted, committed) in [
        (OffsetQuery::Latest, 3, 1),
        (OffsetQuery::Earliest, 0, 0),
        (OffsetQuery::Timestamp(1_000), 0, 0),
        (OffsetQuery::Timestamp(1_001), 2, -1),
        (OffsetQuery::MaxTimestamp, 2, -1),
    ] {
        assert_eq!(found(query, Isolation::ReadUncommitted), uncommitted, "{query:?}");
        assert_eq!(found(query, Isolation::ReadCommitted), committed, "{query:?}");
    }
    partition.append_marker(&marker(1, true), NOW).expect("appended");
    assert_eq!(found(OffsetQuery::Latest, Isolation::ReadCommitted), 4);
    assert_eq!(found(OffsetQuery::Timestamp(1_001), Isolation::ReadCommitted), 2);
}

#[tokio::test]
async fn a_marker_wakes_those_who_wait_for_what_it_lets_go() {
    let partition = partition();
    begin(&partition, 1);
    begin(&partition, 2);
    let waiter = Arc::new(FetchWaiter::default());
    let wait = waiter.begin();
    let _registration = partition.watch(&waiter, 0);
    let is_over = || {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let mut waiting = std::pin::pin!(wait.wait_for(1 << 40));
        waiting.as_mut().poll(&mut cx).is_ready()
    };
    append(&partition, batch(9, 0, false), None).expect("appended");
    partition.append_marker(&marker(2, true), NOW).expect("appended");
    assert!(
        !is_over(),
        "the first is undecided, nothing became readable that was not before"
    );
    partition.append_marker(&marker(1, true), NOW).expect("appended");
    assert!(is_over());
}

#[test]
fn the_log_start_goes_into_open_transactions_on_request_only() {
    let partition = partition();
    append(&partition, batch(9, 0, false), None).expect("appended");
    begin(&partition, 1);
    append(&partition, batch(9, 1, false), None).expect("appended");
    partition.forget_before(3).expect("led here");
    let marks = partition.watermarks();
    assert_eq!((marks.log_start_offset, marks.last_stable_offset), (1, 1));
    // As in Kafka: who deletes records may delete those of a transaction, which goes on.
    assert_eq!(partition.delete_records(-1).expect("led here"), 3);
    append(&partition, batch(9, 2, false), None).expect("appended");
    let marks = partition.watermarks();
    assert_eq!((marks.last_stable_offset, marks.high_watermark), (3, 4));
    partition.append_marker(&marker(1, false), NOW).expect("appended");
    assert_eq!(partition.watermarks().last_stable_offset, 5);
}

#[test]
fn a_partition_that_was_given_up_refuses() {
    let partition = partition();
    assert!(partition.resign().is_some());
    let refused = partition.begin_verification(1, 0, 0, false).expect_err("given up");
    assert_eq!(refused.error_code(), ErrorCode::NotLeaderOrFollower);
    let refused = partition.append_marker(&marker(1, true), NOW).expect_err("given up");
    assert_eq!(refused.error_code(), ErrorCode::NotLeaderOrFollower);
}
