//! Offsets in transactions, from the request to the marker, and what is read of them from the log.

use protocol::record::NO_SEQUENCE;

use super::*;
use crate::coordinator::group::api::TransactionalCommitRequest;
use crate::coordinator::runtime::log::CoordinatorLog;
use crate::partition::marker::Marker;

fn in_transaction(producer_id: i64, commit: CommitRequest) -> TransactionalCommitRequest {
    TransactionalCommitRequest {
        commit,
        transactional_id: Arc::from("transactional"),
        producer_id,
        producer_epoch: 3,
        guard: None,
    }
}

fn marker(producer_id: i64, committed: bool) -> Marker {
    Marker {
        producer_id,
        producer_epoch: 4,
        coordinator_epoch: 0,
        committed,
        transaction_version: 2,
    }
}

async fn commit_transactional(groups: &GroupCoordinator, producer_id: i64, commit: CommitRequest) -> ErrorCode {
    error_of(&groups.commit_transactional(in_transaction(producer_id, commit)).await)
}

async fn end(groups: &GroupCoordinator, group_id: &str, producer_id: i64, committed: bool) -> ErrorCode {
    let partition = groups.partition_for(group_id);
    groups.write_marker(partition, marker(producer_id, committed)).await
}

/// Error and offset, with and without the wish for a stable one.
async fn told(groups: &GroupCoordinator, group_id: &str) -> [(ErrorCode, i64); 2] {
    let mut told = [(ErrorCode::None, -1); 2];
    for (require_stable, told) in [true, false].into_iter().zip(&mut told) {
        let request = FetchRequest {
            require_stable,
            ..fetch(group_id)
        };
        let reply = groups.fetch_offsets(request).await;
        let partition = &reply.topics[0].partitions[0];
        *told = (partition.error, partition.committed_offset);
    }
    told
}

async fn restarted(groups: &GroupCoordinator, log: &Arc<MemoryLog>) -> Arc<GroupCoordinator> {
    groups.shutdown().await;
    let limits = Limits {
        load_buffer_bytes: 1,
        ..Limits::default()
    };
    let groups = start(limits, log);
    elect_all(&groups);
    tokio::time::sleep(Duration::from_millis(1)).await;
    groups
}

const NONE: ErrorCode = ErrorCode::None;
const UNSTABLE: [(ErrorCode, i64); 2] = [(ErrorCode::UnstableOffsetCommit, -1), (NONE, 1)];

/// A group that is on the same shard as "g".
fn neighbours() -> impl Iterator<Item = String> {
    let names = (0..).map(|number| format!("neighbour-{number}"));
    names.filter(|name| partition_of(name, PARTITIONS) == partition_of("g", PARTITIONS))
}

#[tokio::test(start_paused = true)]
async fn committed_aborted_and_open_transactions_are_told_the_same_after_a_load() {
    let (log, mut groups) = fresh();
    let names: Vec<String> = neighbours().take(3).collect();
    for name in &names {
        assert_eq!(error_of(&groups.commit_offsets(commit(name, 1)).await), NONE);
    }
    for (producer_id, name) in (7..).zip(&names) {
        assert_eq!(commit_transactional(&groups, producer_id, commit(name, 5)).await, NONE);
    }
    let [committed, aborted, open] = [&names[0], &names[1], &names[2]];
    assert_eq!(end(&groups, committed, 7, true).await, NONE);
    assert_eq!(end(&groups, aborted, 8, false).await, NONE);
    for _ in 0..2 {
        assert_eq!(told(&groups, committed).await, [(NONE, 5); 2]);
        assert_eq!(told(&groups, aborted).await, [(NONE, 1); 2]);
        assert_eq!(told(&groups, open).await, UNSTABLE);
        groups = restarted(&groups, &log).await;
    }
    assert_eq!(end(&groups, open, 9, true).await, NONE);
    for _ in 0..2 {
        assert_eq!(told(&groups, open).await, [(NONE, 5); 2]);
        groups = restarted(&groups, &log).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_commit_in_a_transaction_is_a_batch_of_its_producer() {
    let (log, groups) = fresh();
    let plain = groups.commit_offsets(commit("g", 1));
    let first = groups.commit_transactional(in_transaction(7, commit("g", 2)));
    let second = groups.commit_transactional(in_transaction(8, commit("g", 3)));
    let ended = groups.write_marker(groups.partition_for("g"), marker(7, true));
    let last = groups.commit_offsets(commit("g", 4));
    assert_eq!(error_of(&plain.await), NONE);
    assert_eq!((error_of(&first.await), error_of(&second.await)), (NONE, NONE));
    assert_eq!((ended.await, error_of(&last.await)), (NONE, NONE));
    let headers = log.headers(groups.partition_for("g"));
    let batches: Vec<_> = headers
        .iter()
        .map(|header| {
            let attributes = header.attributes;
            (
                header.producer_id,
                header.producer_epoch,
                attributes.is_transactional(),
                attributes.is_control(),
            )
        })
        .collect();
    assert_eq!(
        batches,
        [
            (-1, -1, false, false),
            (7, 3, true, false),
            (8, 3, true, false),
            (7, 4, true, true),
            (-1, -1, false, false)
        ],
        "all in order of arrival"
    );
    assert!(headers.iter().all(|header| header.base_sequence == NO_SEQUENCE));
}

#[tokio::test(start_paused = true)]
async fn a_marker_is_answered_when_it_is_committed() {
    let (log, groups) = fresh();
    let partition = groups.partition_for("g");
    assert_eq!(commit_transactional(&groups, 7, commit("g", 5)).await, NONE);
    log.hold_watermark(partition);
    let mut ended = Box::pin(groups.write_marker(partition, marker(7, true)));
    assert!(is_pending(&mut ended).await);
    let mut fetched = Box::pin(groups.fetch_offsets(fetch("g")));
    assert!(is_pending(&mut fetched).await, "nobody sees an offset that may be lost");
    log.release_watermark(partition);
    assert_eq!(ended.await, NONE);
    assert_eq!(offset_of(&fetched.await), 5);

    log.hold_watermark(partition);
    let begun = Instant::now();
    assert_eq!(end(&groups, "g", 7, true).await, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_marker_is_written_for_whoever_has_nothing_here() {
    let (log, groups) = fresh();
    let partition = groups.partition_for("g");
    assert_eq!(end(&groups, "g", 7, true).await, NONE);
    assert_eq!(end(&groups, "g", 7, true).await, NONE);
    assert_eq!(log.size(partition), (2, 2));
    // The records of what follows stand behind it.
    assert_eq!(error_of(&groups.commit_offsets(commit("g", 5)).await), NONE);
    let groups = restarted(&groups, &log).await;
    assert_eq!(told(&groups, "g").await, [(NONE, 5); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_not_there_refuses_markers_and_commits() {
    let (log, groups) = fresh();
    let partition = groups.partition_for("g");
    assert_eq!(commit_transactional(&groups, 7, commit("g", 5)).await, NONE);
    groups.shutdown().await;
    let not_available = ErrorCode::CoordinatorNotAvailable;
    assert_eq!(end(&groups, "g", 7, true).await, not_available);
    assert_eq!(commit_transactional(&groups, 7, commit("g", 6)).await, not_available);
    let groups = start(Limits::default(), &log);
    elect_all(&groups);
    let marker_while_loading = groups.write_marker(partition, marker(7, true));
    let commit_while_loading = groups.commit_transactional(in_transaction(7, commit("g", 6)));
    let loading = ErrorCode::CoordinatorLoadInProgress;
    assert_eq!(marker_while_loading.await, loading);
    assert_eq!(error_of(&commit_while_loading.await), loading);
    tokio::time::sleep(Duration::from_millis(1)).await;
    groups.on_resigned(partition);
    assert_eq!(end(&groups, "g", 7, true).await, ErrorCode::NotCoordinator);
    assert_eq!(
        groups.write_marker(PARTITIONS, marker(7, true)).await,
        ErrorCode::NotCoordinator
    );
    assert_eq!(
        commit_transactional(&groups, 7, commit("", 6)).await,
        ErrorCode::InvalidGroupId
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_has_no_transaction() {
    let (log, groups) = fresh();
    let partition = groups.partition_for("g");
    for (producer_id, producer_epoch, error) in [
        (-1, 0, ErrorCode::InvalidProducerIdMapping),
        (i64::MIN, 0, ErrorCode::InvalidProducerIdMapping),
        (7, -1, ErrorCode::InvalidProducerEpoch),
    ] {
        let request = TransactionalCommitRequest {
            producer_epoch,
            ..in_transaction(producer_id, commit("g", 5))
        };
        assert_eq!(error_of(&groups.commit_transactional(request).await), error);
        let marker = Marker {
            producer_epoch,
            ..marker(producer_id, true)
        };
        assert_eq!(
            groups.write_marker(partition, marker).await,
            ErrorCode::UnknownServerError
        );
    }
    assert_eq!(log.size(partition), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_log_refuses_concerns_its_producer_only() {
    let (log, groups) = fresh();
    assert_eq!(commit_transactional(&groups, 8, commit("g", 5)).await, NONE);
    log.refuse_transactions(groups.partition_for("g"));
    let refused = groups.commit_transactional(in_transaction(7, commit("g", 6)));
    let plain = groups.commit_offsets(commit("g", 1));
    assert_eq!(error_of(&refused.await), ErrorCode::InvalidTxnState);
    assert_eq!(error_of(&plain.await), NONE);
    assert_eq!(end(&groups, "g", 7, true).await, NONE);
    assert_eq!(told(&groups, "g").await, UNSTABLE);
}

#[tokio::test(start_paused = true)]
async fn refused_transactions_do_not_keep_the_log_from_being_written_again() {
    let log = MemoryLog::new(PARTITIONS);
    let limits = Limits {
        rewrite_bytes: 2_000,
        ..Limits::default()
    };
    let groups = start(limits, &log);
    elect_all(&groups);
    let partition = groups.partition_for("g");
    log.refuse_transactions(partition);
    let mut plain = Vec::new();
    let mut refused = Vec::new();
    // More than one turn takes, so that refusals come while a pass is under way.
    for offset in 1..=2_000 {
        plain.push(groups.commit_offsets(commit("g", offset)));
        refused.push(groups.commit_transactional(in_transaction(7, commit("g", offset))));
    }
    for (plain, refused) in plain.into_iter().zip(refused) {
        assert_eq!(error_of(&plain.await), NONE);
        assert_eq!(error_of(&refused.await), ErrorCode::InvalidTxnState);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(log.offsets(partition).expect("there").log_start_offset > 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_storage_error_pending_offsets_are_as_the_log_says() {
    let (log, groups) = fresh();
    let partition = groups.partition_for("g");
    assert_eq!(error_of(&groups.commit_offsets(commit("g", 1)).await), NONE);
    assert_eq!(commit_transactional(&groups, 7, commit("g", 5)).await, NONE);
    log.fail_appends(partition, Some(CoordinatorAppendError::Storage));
    assert_eq!(end(&groups, "g", 7, true).await, ErrorCode::NotCoordinator);
    log.fail_appends(partition, None);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(told(&groups, "g").await, UNSTABLE);
    assert_eq!(end(&groups, "g", 7, true).await, NONE, "the marker is tried again");
    assert_eq!(told(&groups, "g").await, [(NONE, 5); 2]);
}
