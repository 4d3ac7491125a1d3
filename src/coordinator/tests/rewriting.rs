//! The log of a shard stays in proportion to its state, and says the same at every moment.

use protocol::record::{BatchBuilder, Compression, TimestampType};

use super::*;
use crate::coordinator::runtime::log::CoordinatorLog;

/// With this a shard writes its state again every few commits.
fn limits() -> Limits {
    Limits {
        rewrite_bytes: 2_000,
        ..Limits::default()
    }
}

async fn coordinator(log: &Arc<MemoryLog>) -> Arc<GroupCoordinator> {
    coordinator_with(limits(), log).await
}

async fn coordinator_with(limits: Limits, log: &Arc<MemoryLog>) -> Arc<GroupCoordinator> {
    let groups = start(limits, log);
    elect_all(&groups);
    while groups.list_groups(ListRequest::default()).await == Err(ErrorCode::CoordinatorLoadInProgress) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    groups
}

fn log_start(log: &MemoryLog, group_id: &str) -> i64 {
    let offsets = log.offsets(partition_of(group_id, PARTITIONS));
    offsets.expect("a partition of the test").log_start_offset
}

async fn commit_often(groups: &GroupCoordinator, group_id: &str, times: i64) {
    for offset in 1..=times {
        let mut request = commit(group_id, offset);
        // every other one is of another partition, so that the state is more than one record
        request.topics[0].partitions[0].partition_index = i32::try_from(offset % 2).expect("small");
        assert_eq!(error_of(&groups.commit_offsets(request).await), ErrorCode::None);
    }
}

async fn told(groups: &GroupCoordinator, group_id: &str) -> Vec<(i32, i64)> {
    let request = FetchRequest {
        topics: None,
        ..fetch(group_id)
    };
    let reply = groups.fetch_offsets(request).await;
    assert_eq!(reply.error, ErrorCode::None);
    let topics = reply.topics.iter().flat_map(|topic| &topic.partitions);
    topics
        .map(|partition| (partition.partition_index, partition.committed_offset))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_log_stays_small_and_tells_everything() {
    let log = MemoryLog::new(PARTITIONS);
    let groups = coordinator(&log).await;
    let joined = groups.join_group(join("g", "")).await;
    groups.sync_group(sync("g", &joined)).await;
    let member = CommitRequest {
        member_id: Arc::clone(&joined.member_id),
        generation_id: 1,
        ..commit("g", 77)
    };
    assert_eq!(error_of(&groups.commit_offsets(member).await), ErrorCode::None);
    // On the shard of "g" as well.
    let other = (0..).map(|number| format!("other-{number}"));
    let other = other
        .into_iter()
        .find(|name| partition_of(name, PARTITIONS) == partition_of("g", PARTITIONS))
        .expect("some name");
    commit_often(&groups, &other, 500).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (batches, records) = log.size(partition_of("g", PARTITIONS));
    assert!(
        records > 500 && batches < 60,
        "{batches} batches of {records} records are left"
    );
    groups.shutdown().await;
    for _ in 0..2 {
        let groups = coordinator(&log).await;
        assert_eq!(told(&groups, &other).await, [(0, 500), (1, 499)]);
        assert_eq!(told(&groups, "g").await, [(0, 77)]);
        assert_eq!(groups.heartbeat(heartbeat("g", &joined)).await, ErrorCode::None);
        groups.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_up_before_the_new_is_safe() {
    let log = MemoryLog::new(PARTITIONS);
    let groups = coordinator(&log).await;
    log.set_durable(partition_of("g", PARTITIONS), false);
    commit_often(&groups, "g", 200).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(log_start(&log, "g"), 0);
    log.set_durable(partition_of("g", PARTITIONS), true);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(log_start(&log, "g") > 0);
    assert_eq!(told(&groups, "g").await, [(0, 200), (1, 199)]);
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_cannot_be_written_is_begun_again() {
    let log = MemoryLog::new(PARTITIONS);
    let groups = start(
        Limits {
            rewrite_bytes: 1 << 20,
            ..limits()
        },
        &log,
    );
    elect_all(&groups);
    commit_often(&groups, "g", 200).await;
    groups.shutdown().await;
    let partition = partition_of("g", PARTITIONS);
    log.fail_appends(partition, Some(CoordinatorAppendError::NotEnoughReplicas));
    // The log is too long already: the pass begins when it is loaded.
    let groups = coordinator(&log).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(log_start(&log, "g"), 0);
    log.fail_appends(partition, None);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(log_start(&log, "g") > 0);
    assert_eq!(told(&groups, "g").await, [(0, 200), (1, 199)]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_not_understood_stays_as_it_is() {
    let log = MemoryLog::new(PARTITIONS);
    let mut foreign = BatchBuilder::new(TimestampType::CreateTime, Compression::None);
    foreign.append(
        0,
        Some(b"\x00\x03\x00\x01x"),
        Some(b"a record of another kind of group"),
        &[],
    );
    let appended = log.append(partition_of("g", PARTITIONS), foreign.build(), None);
    assert_eq!(appended, Ok(0));
    let groups = coordinator(&log).await;
    commit_often(&groups, "g", 200).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(log_start(&log, "g"), 0);
}

/// The limit of the coordinator was smaller once, or a record has grown in another version.
#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_written_again_is_not_given_up() {
    let log = MemoryLog::new(PARTITIONS);
    let groups = start(Limits::default(), &log);
    elect_all(&groups);
    let mut request = join("g", "");
    request.protocols[0].metadata = Bytes::from(vec![7; 2_000]);
    let joined = groups.join_group(request).await;
    groups.sync_group(sync("g", &joined)).await;
    groups.shutdown().await;
    let limits = Limits {
        max_batch_bytes: 1_000,
        ..limits()
    };
    let groups = coordinator_with(limits, &log).await;
    // On the shard of "g" as well.
    let mut names = (0..).map(|number| format!("other-{number}"));
    let other = names.find(|name| partition_of(name, PARTITIONS) == partition_of("g", PARTITIONS));
    commit_often(&groups, &other.expect("some name"), 400).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(log_start(&log, "g"), 0);
    groups.shutdown().await;
    let groups = coordinator(&log).await;
    assert_eq!(groups.heartbeat(heartbeat("g", &joined)).await, ErrorCode::None);
}

/// The topic takes over the broker's `message.max.bytes`.
#[tokio::test(start_paused = true)]
async fn a_small_limit_of_the_topic_splits_and_refuses_nothing() {
    let log = MemoryLog::new(PARTITIONS);
    let groups = coordinator(&log).await;
    let partition = partition_of("g", PARTITIONS);
    log.set_max_batch_bytes(partition, 400);
    let together: Vec<_> = (1..=100)
        .map(|offset| groups.commit_offsets(commit("g", offset)))
        .collect();
    for committed in together {
        assert_eq!(error_of(&committed.await), ErrorCode::None);
    }
    commit_often(&groups, "g", 200).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(log_start(&log, "g") > 0, "the state was written again");
    assert!(log.largest_batch_bytes(partition) <= 400);
    // One request is one batch, as large as it is.
    let mut large = commit("g", 1_000);
    large.topics[0].partitions = vec![large.topics[0].partitions[0].clone(); 10];
    assert_eq!(error_of(&groups.commit_offsets(large).await), ErrorCode::None);
    assert!(log.largest_batch_bytes(partition) > 400);
}
