//! The coordinator as handlers see it, over a log in memory, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::types::Now;
use tokio::runtime::Handle;
use tokio::time::Instant;
use uuid::Uuid;

use super::group::api::{
    CommitPartition, CommitReply, CommitRequest, CommitTopic, FetchReply, FetchRequest, FetchTopic, HeartbeatRequest,
    JoinReply, JoinRequest, LeaveRequest, LeavingMember, ListRequest, MemberProtocol, SyncRequest,
};
use super::group::config::GroupConfig;
use super::runtime::log::CoordinatorAppendError;
use super::runtime::memory_log::MemoryLog;
use super::runtime::{Clock, Limits};
use super::{GroupCoordinator, StartGroups, partition_of};

mod real_log;
mod rewriting;
mod transactions;

const PARTITIONS: i32 = 4;

/// A clock that goes with the time of tokio.
fn virtual_clock() -> Clock {
    let started = Instant::now();
    Arc::new(move || {
        let mono_ms = i64::try_from(started.elapsed().as_millis()).expect("short test");
        Now {
            mono_ms,
            wall_ms: 1_000_000 + mono_ms,
        }
    })
}

fn start(limits: Limits, log: &Arc<MemoryLog>) -> Arc<GroupCoordinator> {
    GroupCoordinator::start(StartGroups {
        config: GroupConfig {
            offsets_topic_num_partitions: PARTITIONS,
            ..GroupConfig::default()
        },
        limits,
        log: Arc::<MemoryLog>::clone(log),
        clock: virtual_clock(),
        entropy: Arc::new(Uuid::new_v4),
        runtime: Handle::current(),
    })
}

fn elect_all(groups: &GroupCoordinator) {
    for partition in 0..PARTITIONS {
        groups.on_elected(partition, 0);
    }
}

/// A coordinator that leads all partitions of an empty log.
fn fresh() -> (Arc<MemoryLog>, Arc<GroupCoordinator>) {
    let log = MemoryLog::new(PARTITIONS);
    let groups = start(Limits::default(), &log);
    elect_all(&groups);
    (log, groups)
}

fn join(group_id: &str, member_id: &str) -> JoinRequest {
    JoinRequest {
        group_id: Arc::from(group_id),
        member_id: Arc::from(member_id),
        group_instance_id: None,
        client_id: Arc::from("c"),
        client_host: Arc::from("/127.0.0.1"),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: Arc::from("consumer"),
        protocols: vec![MemberProtocol {
            name: Arc::from("range"),
            metadata: Bytes::from_static(b"m"),
        }],
        reason: None,
        requires_known_member_id: false,
        supports_skip_assignment: true,
    }
}

fn sync(group_id: &str, joined: &JoinReply) -> SyncRequest {
    let assignments = joined
        .members
        .iter()
        .map(|member| (Arc::clone(&member.member_id), Bytes::from_static(b"a")));
    SyncRequest {
        group_id: Arc::from(group_id),
        generation_id: joined.generation_id,
        member_id: Arc::clone(&joined.member_id),
        group_instance_id: None,
        protocol_type: None,
        protocol_name: None,
        assignments: assignments.collect(),
    }
}

fn heartbeat(group_id: &str, joined: &JoinReply) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: Arc::from(group_id),
        generation_id: joined.generation_id,
        member_id: Arc::clone(&joined.member_id),
        group_instance_id: None,
    }
}

fn commit(group_id: &str, offset: i64) -> CommitRequest {
    let partition = CommitPartition {
        partition_index: 0,
        committed_offset: offset,
        committed_leader_epoch: -1,
        committed_metadata: None,
    };
    CommitRequest {
        group_id: Arc::from(group_id),
        generation_id: -1,
        member_id: Arc::from(""),
        group_instance_id: None,
        retention_time_ms: None,
        knows_group_id_not_found: true,
        topics: vec![CommitTopic {
            name: Arc::from("t"),
            topic_id: Uuid::nil(),
            partitions: vec![partition],
        }],
    }
}

fn fetch(group_id: &str) -> FetchRequest {
    let topic = FetchTopic {
        name: Arc::from("t"),
        topic_id: Uuid::nil(),
        partition_indexes: vec![0],
    };
    FetchRequest {
        group_id: Arc::from(group_id),
        topics: Some(vec![topic]),
        require_stable: true,
    }
}

fn offset_of(reply: &FetchReply) -> i64 {
    assert_eq!(reply.error, ErrorCode::None);
    reply.topics[0].partitions[0].committed_offset
}

fn error_of(reply: &CommitReply) -> ErrorCode {
    if reply.error == ErrorCode::None {
        reply.topics[0].partitions[0].1
    } else {
        reply.error
    }
}

/// Whether the future has not ended after everything that could run has run.
async fn is_pending<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> bool {
    tokio::time::timeout(Duration::from_millis(1), future).await.is_err()
}

#[test]
fn groups_are_on_kafkas_partitions() {
    // Computed with Java: Math.abs("…".hashCode()) % 50.
    for (group_id, partition) in [
        ("", 0),
        ("a", 47),
        ("group", 47),
        ("console-consumer-1", 24),
        ("grüße", 23),
        ("😀", 49),
    ] {
        assert_eq!(partition_of(group_id, 50), partition, "{group_id:?}");
    }
    // The hash of this is the smallest int, which has no absolute value.
    assert_eq!(partition_of("polygenelubricants", 50), 0);
}

#[tokio::test(start_paused = true)]
async fn a_group_forms_and_goes() {
    let (_, groups) = fresh();
    let joined = groups.join_group(join("g", "")).await;
    assert_eq!(
        (joined.error, joined.generation_id, joined.members.len()),
        (ErrorCode::None, 1, 1)
    );
    assert_eq!(groups.heartbeat(heartbeat("g", &joined)).await, ErrorCode::None);
    let synced = groups.sync_group(sync("g", &joined)).await;
    assert_eq!(
        (synced.error, &synced.assignment[..]),
        (ErrorCode::None, b"a".as_slice())
    );

    let listed = groups.list_groups(ListRequest::default()).await.expect("all loaded");
    assert_eq!(
        listed
            .iter()
            .map(|group| (&*group.group_id, group.state))
            .collect::<Vec<_>>(),
        [("g", "Stable")]
    );
    let names = vec![Arc::from("g"), Arc::from("nobody"), Arc::from("g")];
    let described = groups.describe_groups(names).await;
    assert_eq!(described.len(), 2, "each group once");
    assert_eq!(
        described[0]
            .1
            .as_ref()
            .map(|group| group.as_ref().map(|group| group.members.len())),
        Ok(Some(1))
    );
    assert_eq!(described[1], (Arc::from("nobody"), Ok(None)));

    let leaving = LeavingMember {
        member_id: Arc::clone(&joined.member_id),
        group_instance_id: None,
        reason: None,
    };
    let left = groups
        .leave_group(LeaveRequest {
            group_id: Arc::from("g"),
            members: vec![leaving],
        })
        .await;
    assert_eq!((left.error, left.members[0].error), (ErrorCode::None, ErrorCode::None));
    assert_eq!(
        groups.heartbeat(heartbeat("g", &joined)).await,
        ErrorCode::UnknownMemberId
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_is_thrown_out_by_the_clock() {
    let (_, groups) = fresh();
    let joined = groups.join_group(join("g", "")).await;
    groups.sync_group(sync("g", &joined)).await;
    tokio::time::sleep(Duration::from_millis(9_990)).await;
    assert_eq!(groups.heartbeat(heartbeat("g", &joined)).await, ErrorCode::None);
    tokio::time::sleep(Duration::from_millis(10_010)).await;
    assert_eq!(
        groups.heartbeat(heartbeat("g", &joined)).await,
        ErrorCode::UnknownMemberId
    );
}

#[tokio::test(start_paused = true)]
async fn requests_are_checked_before_they_reach_a_shard() {
    let (_, groups) = fresh();
    assert_eq!(
        groups.join_group(join("", "m")).await,
        JoinReply::error(ErrorCode::InvalidGroupId, "m")
    );
    for session_timeout_ms in [5_999, 1_800_001] {
        let reply = groups
            .join_group(JoinRequest {
                session_timeout_ms,
                ..join("g", "")
            })
            .await;
        assert_eq!(reply.error, ErrorCode::InvalidSessionTimeout);
    }
    let client_id = Arc::from("c".repeat(32_767));
    assert_eq!(
        groups
            .join_group(JoinRequest {
                client_id,
                ..join("g", "")
            })
            .await
            .error,
        ErrorCode::InvalidRequest
    );
    let long = "g".repeat(32_768);
    assert_eq!(
        error_of(&groups.commit_offsets(commit(&long, 1)).await),
        ErrorCode::InvalidGroupId
    );
    // Old clients have no group and commit all the same.
    assert_eq!(error_of(&groups.commit_offsets(commit("", 1)).await), ErrorCode::None);
    assert_eq!(offset_of(&groups.fetch_offsets(fetch("")).await), 1);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_not_led_here_has_another_coordinator() {
    let (_, groups) = fresh();
    let partition = groups.partition_for("g");
    let joined = groups.join_group(join("g", "")).await;
    let mut waiting = Box::pin(groups.sync_group(SyncRequest {
        assignments: Vec::new(),
        ..sync("g", &joined)
    }));
    assert!(!is_pending(&mut waiting).await);
    let mut rejoined = Box::pin(groups.join_group(join("g", "")));
    assert!(is_pending(&mut rejoined).await);
    groups.on_resigned(partition);
    assert_eq!(rejoined.await.error, ErrorCode::NotCoordinator, "what waits is told");
    assert_eq!(
        groups.heartbeat(heartbeat("g", &joined)).await,
        ErrorCode::NotCoordinator
    );
    assert_eq!(groups.fetch_offsets(fetch("g")).await.error, ErrorCode::NotCoordinator);
    groups.on_elected(partition, 0);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        groups.heartbeat(heartbeat("g", &joined)).await,
        ErrorCode::None,
        "the group was persisted"
    );
}

#[tokio::test(start_paused = true)]
async fn everything_that_was_answered_survives_a_restart() {
    let (log, groups) = fresh();
    let joined = groups.join_group(join("g", "")).await;
    groups.sync_group(sync("g", &joined)).await;
    assert_eq!(
        error_of(&groups.commit_offsets(commit("simple", 7)).await),
        ErrorCode::None
    );
    assert_eq!(
        error_of(&groups.commit_offsets(commit("simple", 8)).await),
        ErrorCode::None
    );
    groups.shutdown().await;
    assert_eq!(
        groups.fetch_offsets(fetch("simple")).await.error,
        ErrorCode::CoordinatorNotAvailable
    );

    let groups = start(
        Limits {
            load_buffer_bytes: 1,
            ..Limits::default()
        },
        &log,
    );
    elect_all(&groups);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(offset_of(&groups.fetch_offsets(fetch("simple")).await), 8);
    assert_eq!(offset_of(&groups.fetch_offsets(fetch("other")).await), -1);
    assert_eq!(groups.heartbeat(heartbeat("g", &joined)).await, ErrorCode::None);
}

#[tokio::test(start_paused = true)]
async fn while_a_shard_loads_clients_are_asked_to_wait() {
    let (log, groups) = fresh();
    assert_eq!(error_of(&groups.commit_offsets(commit("g", 7)).await), ErrorCode::None);
    groups.shutdown().await;
    let groups = start(Limits::default(), &log);
    elect_all(&groups);
    // Nothing has run since: the shard is loading.
    let member = JoinReply::error(ErrorCode::None, "m");
    let (commit, heartbeat) = (
        groups.commit_offsets(commit("g", 8)),
        groups.heartbeat(heartbeat("g", &member)),
    );
    let (join, list) = (
        groups.join_group(join("g", "")),
        groups.list_groups(ListRequest::default()),
    );
    assert_eq!(error_of(&commit.await), ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(heartbeat.await, ErrorCode::None);
    assert_eq!(join.await.error, ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(list.await, Err(ErrorCode::CoordinatorLoadInProgress));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(offset_of(&groups.fetch_offsets(fetch("g")).await), 7);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_cannot_be_loaded_is_not_served() {
    let (log, groups) = fresh();
    assert_eq!(error_of(&groups.commit_offsets(commit("g", 7)).await), ErrorCode::None);
    groups.shutdown().await;
    log.fail_reads(groups.partition_for("g"));
    let groups = start(Limits::default(), &log);
    elect_all(&groups);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(groups.fetch_offsets(fetch("g")).await.error, ErrorCode::NotCoordinator);
    let listed = groups.list_groups(ListRequest::default()).await;
    assert_eq!(listed, Ok(Vec::new()), "the other shards are served");
}

#[tokio::test(start_paused = true)]
async fn answers_wait_until_their_records_are_committed() {
    let (log, groups) = fresh();
    let partition = groups.partition_for("g");
    log.hold_watermark(partition);
    let mut committed = Box::pin(groups.commit_offsets(commit("g", 7)));
    assert!(is_pending(&mut committed).await);
    let mut fetched = Box::pin(groups.fetch_offsets(fetch("g")));
    assert!(is_pending(&mut fetched).await, "nobody sees an offset that may be lost");
    log.release_watermark(partition);
    assert_eq!(error_of(&committed.await), ErrorCode::None);
    assert_eq!(offset_of(&fetched.await), 7);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_too_long_becomes_an_error() {
    let (log, groups) = fresh();
    let partition = groups.partition_for("g");
    log.hold_watermark(partition);
    let begun = Instant::now();
    assert_eq!(
        error_of(&groups.commit_offsets(commit("g", 7)).await),
        ErrorCode::CoordinatorNotAvailable
    );
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_refused_append_changes_nothing() {
    let (log, groups) = fresh();
    assert_eq!(error_of(&groups.commit_offsets(commit("g", 7)).await), ErrorCode::None);
    let partition = groups.partition_for("g");
    for (error, code) in [
        (
            CoordinatorAppendError::NotEnoughReplicas,
            ErrorCode::CoordinatorNotAvailable,
        ),
        (CoordinatorAppendError::NotLeader, ErrorCode::NotCoordinator),
        (CoordinatorAppendError::TooLarge, ErrorCode::UnknownServerError),
    ] {
        log.fail_appends(partition, Some(error));
        assert_eq!(error_of(&groups.commit_offsets(commit("g", 8)).await), code);
        log.fail_appends(partition, None);
        assert_eq!(offset_of(&groups.fetch_offsets(fetch("g")).await), 7);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_storage_error_the_shard_is_loaded_again() {
    let (log, groups) = fresh();
    let joined = groups.join_group(join("g", "")).await;
    groups.sync_group(sync("g", &joined)).await;
    let mut waiting = Box::pin(groups.join_group(join("g", "")));
    assert!(is_pending(&mut waiting).await);
    let partition = groups.partition_for("g");
    log.fail_appends(partition, Some(CoordinatorAppendError::Storage));
    let leaving = LeavingMember {
        member_id: Arc::clone(&joined.member_id),
        group_instance_id: None,
        reason: None,
    };
    let mut member = commit("g", 8);
    (member.generation_id, member.member_id) = (joined.generation_id, Arc::clone(&joined.member_id));
    assert_eq!(
        error_of(&groups.commit_offsets(member).await),
        ErrorCode::NotCoordinator
    );
    assert_eq!(
        waiting.await.error,
        ErrorCode::NotCoordinator,
        "parked requests do not outlive their state"
    );
    log.fail_appends(partition, None);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        groups.heartbeat(heartbeat("g", &joined)).await,
        ErrorCode::None,
        "back in the persisted generation"
    );
    let left = groups
        .leave_group(LeaveRequest {
            group_id: Arc::from("g"),
            members: vec![leaving],
        })
        .await;
    assert_eq!(left.members[0].error, ErrorCode::None);
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_together_are_written_together() {
    let (log, groups) = fresh();
    let commits: Vec<_> = (0..100)
        .map(|offset| groups.commit_offsets(commit("g", offset)))
        .collect();
    for committed in commits {
        assert_eq!(error_of(&committed.await), ErrorCode::None);
    }
    assert_eq!(
        log.size(groups.partition_for("g")),
        (1, 100),
        "one batch of a hundred records"
    );
    assert_eq!(
        offset_of(&groups.fetch_offsets(fetch("g")).await),
        99,
        "in the order of the calls"
    );
}

#[tokio::test(start_paused = true)]
async fn batches_are_no_larger_than_the_topic_allows() {
    let log = MemoryLog::new(PARTITIONS);
    let groups = start(
        Limits {
            max_batch_bytes: 400,
            ..Limits::default()
        },
        &log,
    );
    elect_all(&groups);
    let commits: Vec<_> = (0..10)
        .map(|offset| groups.commit_offsets(commit("g", offset)))
        .collect();
    for committed in commits {
        assert_eq!(error_of(&committed.await), ErrorCode::None);
    }
    let (batches, records) = log.size(groups.partition_for("g"));
    assert!(batches > 1 && records == 10, "{batches} batches of {records} records");
    let mut large = commit("g", 1);
    large.topics[0].partitions = vec![large.topics[0].partitions[0].clone(); 10];
    assert_eq!(groups.commit_offsets(large).await.error, ErrorCode::UnknownServerError);
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_turns_requests_away() {
    let log = MemoryLog::new(PARTITIONS);
    let groups = start(
        Limits {
            mailbox_size: 2,
            ..Limits::default()
        },
        &log,
    );
    elect_all(&groups);
    let commits: Vec<_> = (0..3)
        .map(|offset| groups.commit_offsets(commit("g", offset)))
        .collect();
    let mut errors = Vec::new();
    for committed in commits {
        errors.push(error_of(&committed.await));
    }
    assert_eq!(
        errors,
        [ErrorCode::None, ErrorCode::None, ErrorCode::CoordinatorNotAvailable]
    );
}

#[tokio::test(start_paused = true)]
async fn the_number_of_groups_is_limited_over_all_shards() {
    let log = MemoryLog::new(PARTITIONS);
    let groups = start(
        Limits {
            max_keys: 3,
            ..Limits::default()
        },
        &log,
    );
    elect_all(&groups);
    let mut errors = Vec::new();
    for group_id in ["a", "b", "c", "d", "e"] {
        errors.push(error_of(&groups.commit_offsets(commit(group_id, 1)).await));
    }
    let (none, full) = (ErrorCode::None, ErrorCode::PolicyViolation);
    assert_eq!(errors, [none, none, none, full, full]);
    assert_eq!(
        error_of(&groups.commit_offsets(commit("a", 2)).await),
        none,
        "groups that exist are served"
    );
}

#[tokio::test(start_paused = true)]
async fn offsets_of_deleted_topics_are_removed() {
    let (_, groups) = fresh();
    assert_eq!(error_of(&groups.commit_offsets(commit("g", 7)).await), ErrorCode::None);
    groups.on_topics_deleted(&[(Arc::from("t"), Uuid::from_u128(1))]);
    assert_eq!(offset_of(&groups.fetch_offsets(fetch("g")).await), -1);
}

#[tokio::test(start_paused = true)]
async fn partitions_without_groups_have_no_task() {
    let metrics = Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    let (_, groups) = fresh();
    assert_eq!(offset_of(&groups.fetch_offsets(fetch("g")).await), -1);
    assert_eq!(metrics.num_alive_tasks(), before + 1);
}
