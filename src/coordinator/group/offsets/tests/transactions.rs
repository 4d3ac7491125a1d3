//! Offsets that are committed in transactions: pending, then told, or gone.

use super::*;
use crate::coordinator::group::api::{CommitReply, FetchReply, FetchRequest, Reply, ReplyToken};
use crate::coordinator::group::hard::Hard;
use crate::coordinator::group::record::OffsetAndMetadata;
use crate::coordinator::group::testing::{Entry, commit_transactional, in_transaction};
use crate::coordinator::runtime::machine::{HardState, TransactionProducer};

const NONE: ErrorCode = ErrorCode::None;
const UNSTABLE: ErrorCode = ErrorCode::UnstableOffsetCommit;

/// Error and offset of each partition, asked for as a consumer does that wants no offset that may change.
fn stable(world: &mut World, topics: Option<Vec<FetchTopic>>) -> Vec<(ErrorCode, i64)> {
    world.request(&Request::Fetch(FetchRequest {
        group_id: Arc::from("g"),
        topics,
        require_stable: true,
    }));
    let Some((_, Reply::Fetch(FetchReply { error: NONE, topics }))) = world.answered.pop() else {
        panic!("no answer to a fetch")
    };
    let partitions = topics.into_iter().flat_map(|topic| topic.partitions);
    partitions
        .map(|partition| (partition.error, partition.committed_offset))
        .collect()
}

fn errors(reply: &CommitReply) -> Vec<ErrorCode> {
    assert_eq!(reply.error, NONE);
    let partitions = reply.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|(_, error)| *error).collect()
}

#[test]
fn pending_offsets_are_hidden_until_the_transaction_is_committed() {
    for committed in [true, false] {
        let mut world = world();
        commit(&mut world, commit_of("t", 0, 1));
        for partition in [0, 1] {
            assert_eq!(
                errors(&commit_transactional(&mut world, 7, commit_of("t", partition, 5))),
                [NONE]
            );
        }
        for _ in 0..2 {
            assert_eq!(offsets(&mut world), ["t-0=1"]);
            assert_eq!(
                stable(&mut world, Some(vec![topic("t", 0, &[0, 1, 2])])),
                [(UNSTABLE, -1), (UNSTABLE, -1), (NONE, -1)]
            );
            assert_eq!(
                stable(&mut world, None),
                [(UNSTABLE, -1)],
                "only what was committed is listed"
            );
            world.restart();
        }
        world.marker(8, true);
        assert_eq!(offsets(&mut world), ["t-0=1"], "the transaction of somebody else");
        world.marker(7, committed);
        for _ in 0..2 {
            let told = if committed {
                vec!["t-0=5", "t-1=5"]
            } else {
                vec!["t-0=1"]
            };
            assert_eq!(offsets(&mut world), told);
            let stable = stable(&mut world, None);
            assert!(stable.iter().all(|(error, _)| *error == NONE), "{stable:?}");
            world.restart();
        }
        assert_eq!(world.shard.hard().pending_count(), 0);
    }
}

#[test]
fn the_records_are_a_batch_of_the_transaction_and_carry_what_kafka_writes() {
    let mut world = world();
    let mut request = commit_of("t", 0, 5);
    request.retention_time_ms = Some(1);
    commit_transactional(&mut world, 7, request.clone());
    let [Entry::Record(Some(7), Record::OffsetCommit { value: Some(value), .. })] = &world.log[..] else {
        panic!("{:?}", world.log)
    };
    assert_eq!((value.expire_timestamp_ms, value.topic_id), (None, Uuid::nil()));
    // The runtime is told whose batch it is.
    let mut transactional = in_transaction(8, request);
    transactional.producer_epoch = 3;
    let request = Request::CommitTransactional(transactional);
    let outcome = world.with_cx(|shard, cx| shard.handle(cx, ReplyToken(99), &request));
    let producer = TransactionProducer {
        producer_id: 8,
        producer_epoch: 3,
        guard: None,
    };
    assert_eq!((outcome.producer, outcome.splittable), (Some(producer), false));
}

#[test]
fn what_cannot_be_committed_leaves_the_rest_of_the_transaction_alone() {
    let mut world = world();
    let mut request = commit_of("t", 0, 1);
    let too_large = CommitPartition {
        partition_index: 1,
        committed_metadata: Some("x".repeat(4_097).into_boxed_str()),
        ..request.topics[0].partitions[0].clone()
    };
    request.topics[0].partitions.push(too_large);
    let reply = commit_transactional(&mut world, 7, request);
    assert_eq!(errors(&reply), [NONE, ErrorCode::OffsetMetadataTooLarge]);
    world.append_error = Some(ErrorCode::InvalidTxnState);
    commit_transactional(&mut world, 7, commit_of("t", 2, 1));
    world.append_error = None;
    world.marker(7, true);
    assert_eq!(offsets(&mut world), ["t-0=1"]);
}

#[test]
fn pending_offsets_have_a_limit() {
    let mut world = World::new(GroupConfig {
        group_max_pending_offsets: 3,
        ..GroupConfig::default()
    });
    for partition in 0..3 {
        let reply = commit_transactional(&mut world, i64::from(partition), commit_of("t", partition, 1));
        assert_eq!(errors(&reply), [NONE]);
    }
    let refused = commit_transactional(&mut world, 9, commit_of("t", 0, 1));
    assert_eq!(refused, CommitReply::error(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(world.log.len(), 3);
    assert_eq!(
        errors(&commit(&mut world, commit_of("t", 0, 1))),
        [NONE],
        "others are not held up"
    );
    world.marker(1, false);
    assert_eq!(
        errors(&commit_transactional(&mut world, 9, commit_of("t", 0, 1))),
        [NONE]
    );
    // Also what was committed again, or deleted, is counted once.
    world.restart();
    assert_eq!(world.shard.hard().pending_count(), 3);
}

#[test]
fn neither_an_offset_nor_a_group_with_an_open_transaction_expires() {
    let mut world = world();
    commit(&mut world, commit_of("t", 0, 1));
    commit(&mut world, commit_of("t", 1, 1));
    commit_transactional(&mut world, 7, commit_of("t", 0, 5));
    let only_pending = CommitRequest {
        group_id: Arc::from("h"),
        ..commit_of("t", 0, 1)
    };
    commit_transactional(&mut world, 7, only_pending);
    world.advance(20 * DAY_MS);
    assert_eq!(offsets(&mut world), ["t-0=1"]);
    assert_eq!(world.shard.key_count(), 2);
    world.marker(7, false);
    world.advance(600_000);
    assert_eq!((offsets(&mut world), world.shard.key_count()), (Vec::new(), 0));
    assert_eq!(*world.shard.hard(), world.fold_log());
}

#[test]
fn pending_offsets_of_deleted_topics_go() {
    let mut world = world();
    commit_transactional(&mut world, 7, commit_of("t", 0, 1));
    commit_transactional(&mut world, 7, commit_of("u", 0, 2));
    world.topics_deleted(&[(Arc::from("t"), Uuid::from_u128(2))]);
    world.marker(7, true);
    assert_eq!(
        offsets(&mut world),
        ["u-0=2"],
        "a transaction does not know the topic's id"
    );
}

/// What an offset record of a transaction holds.
fn pending(offset: i64) -> Record {
    let value = OffsetAndMetadata {
        committed_offset: offset,
        leader_epoch: -1,
        metadata: Box::from(""),
        commit_timestamp_ms: 0,
        expire_timestamp_ms: None,
        topic_id: Uuid::nil(),
    };
    Record::OffsetCommit {
        group_id: Arc::from("g"),
        topic: Arc::from("t"),
        partition: 0,
        value: Some(value),
    }
}

fn offset_in(hard: &Hard) -> Option<i64> {
    Some(hard.group("g")?.offset("t", 0)?.committed_offset)
}

#[test]
fn offsets_of_a_transaction_count_from_its_commit() {
    let topic = Arc::from("t");
    let mut hard = Hard::default();
    hard.replay(0, None, pending(1));
    hard.replay(1, Some(7), pending(2));
    assert_eq!(offset_in(&hard), Some(1));
    assert!(hard.group("g").is_some_and(|group| group.is_unstable(&topic, 0)));
    hard.replay_marker(2, 7, true);
    assert_eq!(offset_in(&hard), Some(2));
    assert!(hard.group("g").is_some_and(|group| !group.is_unstable(&topic, 0)));

    hard.replay(3, Some(7), pending(3));
    hard.replay_marker(4, 7, false);
    assert_eq!(offset_in(&hard), Some(2), "aborted");

    hard.replay(5, Some(7), pending(4));
    hard.replay(6, None, pending(5));
    hard.replay_marker(7, 7, true);
    assert_eq!(offset_in(&hard), Some(5), "the plain commit was written later");
}

#[test]
fn a_group_goes_with_the_tombstone_of_its_metadata() {
    let mut hard = Hard::default();
    hard.replay(0, Some(7), pending(1));
    assert_eq!((hard.len(), hard.last_written_offset(Some("g"))), (1, 0));
    hard.replay_marker(1, 7, false);
    assert_eq!((hard.len(), hard.last_written_offset(Some("g"))), (1, 1), "aborted");
    let group_id = Arc::from("g");
    hard.replay(2, None, Record::GroupMetadata { group_id, value: None });
    assert!(hard.is_empty());
    assert_eq!(
        hard.last_written_offset(Some("g")),
        2,
        "who is told of its absence waits for the tombstone"
    );
}
