//! Committed offsets: what is kept, told and removed when.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use uuid::Uuid;

use crate::coordinator::group::api::{CommitPartition, CommitRequest, FetchTopic, Request};
use crate::coordinator::group::config::GroupConfig;
use crate::coordinator::group::record::Record;
use crate::coordinator::group::testing::{
    World, commit, commit_of, fetch, join_request, leave_request, offsets, stable_member,
};
use crate::coordinator::runtime::machine::Machine;

mod transactions;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

fn world() -> World {
    World::new(GroupConfig::default())
}

fn topic(name: &str, topic_id: u128, partition_indexes: &[i32]) -> FetchTopic {
    FetchTopic {
        name: Arc::from(name),
        topic_id: Uuid::from_u128(topic_id),
        partition_indexes: partition_indexes.to_vec(),
    }
}

fn commit_as(member_id: &Arc<str>, request: CommitRequest) -> CommitRequest {
    CommitRequest {
        generation_id: 1,
        member_id: Arc::clone(member_id),
        ..request
    }
}

#[test]
fn everything_that_was_committed_is_told_again() {
    let mut world = world();
    assert_eq!(
        commit(&mut world, commit_of("t", 2, 42)).topics[0].partitions,
        [(2, ErrorCode::None)]
    );
    for _ in 0..2 {
        let reply = fetch(&mut world, Some(vec![topic("t", 0, &[2, 3, 2]), topic("u", 0, &[0])]));
        let partitions = &reply.topics[0].partitions;
        assert_eq!(
            (partitions[0].committed_offset, partitions[0].committed_leader_epoch),
            (42, 3)
        );
        assert_eq!(
            (&*partitions[0].metadata, partitions[0].error),
            ("text", ErrorCode::None)
        );
        assert_eq!(
            (partitions[1].committed_offset, partitions[1].error),
            (-1, ErrorCode::None)
        );
        assert_eq!(partitions.len(), 2, "a repeated partition is told once");
        assert_eq!(reply.topics[1].partitions[0].committed_offset, -1);
        world.restart();
    }
    assert_eq!(fetch(&mut world, None).topics.len(), 1);
}

#[test]
fn a_topic_that_is_asked_for_twice_is_named_once() {
    let mut world = world();
    commit(&mut world, commit_of("t", 2, 42));
    let asked = vec![topic("t", 0, &[2]), topic("u", 0, &[0]), topic("t", 0, &[2, 3])];
    let reply = fetch(&mut world, Some(asked));
    let told: Vec<_> = reply
        .topics
        .iter()
        .map(|topic| (&*topic.name, topic.partitions.len()))
        .collect();
    assert_eq!(told, [("t", 2), ("u", 1)]);
    assert_eq!(reply.topics[0].partitions[0].committed_offset, 42);
}

#[test]
fn an_offset_of_another_incarnation_of_the_topic_is_not_told() {
    let mut world = world();
    commit(&mut world, commit_of("t", 0, 42));
    for (topic_id, offset) in [(0, 42), (1, 42), (2, -1)] {
        let reply = fetch(&mut world, Some(vec![topic("t", topic_id, &[0])]));
        assert_eq!(
            reply.topics[0].partitions[0].committed_offset, offset,
            "topic id {topic_id}"
        );
    }
}

#[test]
fn too_long_metadata_fails_its_partition_only() {
    let mut world = world();
    let mut request = commit_of("t", 0, 1);
    let mut add = |partition_index: i32, metadata: String| {
        let partition = CommitPartition {
            partition_index,
            committed_metadata: Some(metadata.into_boxed_str()),
            ..request.topics[0].partitions[0].clone()
        };
        request.topics[0].partitions.push(partition);
    };
    add(1, "x".repeat(4_097));
    // Kafka counts UTF-16 units: this has 4096 of them and 8192 bytes.
    add(2, "é".repeat(4_096));
    add(3, "é".repeat(4_097));
    let reply = commit(&mut world, request);
    let (none, large) = (ErrorCode::None, ErrorCode::OffsetMetadataTooLarge);
    assert_eq!(
        reply.topics[0].partitions,
        [(0, none), (1, large), (2, none), (3, large)]
    );
    assert_eq!(offsets(&mut world), ["t-0=1", "t-2=1"]);
}

#[test]
fn offsets_of_a_simple_group_expire_seven_days_after_their_commit() {
    let mut world = world();
    commit(&mut world, commit_of("t", 0, 1));
    world.advance(DAY_MS);
    commit(&mut world, commit_of("t", 1, 2));
    world.advance(6 * DAY_MS - 1);
    assert_eq!(offsets(&mut world), ["t-0=1", "t-1=2"]);
    // The next look is due now.
    world.advance(1);
    assert_eq!(offsets(&mut world), ["t-1=2"]);
    world.advance(DAY_MS);
    assert_eq!(offsets(&mut world), Vec::<String>::new());
    assert_eq!(world.shard.key_count(), 0);
    world.advance(DAY_MS);
    assert_eq!(world.shard.next_deadline(), None, "nothing is left to look for");
}

#[test]
fn a_retention_that_the_client_asked_for_counts() {
    let mut world = world();
    commit(
        &mut world,
        CommitRequest {
            retention_time_ms: Some(60_000),
            ..commit_of("t", 0, 1)
        },
    );
    let long = CommitRequest {
        retention_time_ms: Some(30 * DAY_MS),
        ..commit_of("t", 1, 2)
    };
    commit(&mut world, long);
    world.advance(600_000);
    assert_eq!(offsets(&mut world), ["t-1=2"]);
    world.advance(29 * DAY_MS);
    assert_eq!(offsets(&mut world), ["t-1=2"]);
    world.advance(DAY_MS);
    assert_eq!(offsets(&mut world), Vec::<String>::new());
}

#[test]
fn offsets_of_a_group_with_members_expire_only_when_nobody_reads_the_topic() {
    let mut world = world();
    let member_id = stable_member(&mut world);
    commit(&mut world, commit_as(&member_id, commit_of("read", 0, 1)));
    commit(&mut world, commit_as(&member_id, commit_of("left", 0, 2)));
    world.advance(8 * DAY_MS);
    assert_eq!(offsets(&mut world), ["read-0=1"]);
}

#[test]
fn after_the_last_member_left_offsets_are_kept_for_seven_days() {
    let mut world = world();
    let member_id = stable_member(&mut world);
    commit(&mut world, commit_as(&member_id, commit_of("read", 0, 1)));
    world.advance(6 * DAY_MS);
    world.request(&Request::Leave(leave_request("g", &member_id)));
    world.advance(6 * DAY_MS);
    world.restart();
    assert_eq!(offsets(&mut world), ["read-0=1"]);
    world.advance(DAY_MS + 600_000);
    assert_eq!(offsets(&mut world), Vec::<String>::new());
    assert_eq!(world.shard.key_count(), 0, "the group went with its offsets");
    assert_eq!(
        world.records(0).last(),
        Some(&Record::GroupMetadata {
            group_id: Arc::from("g"),
            value: None
        })
    );
}

#[test]
fn a_group_without_offsets_goes_at_the_next_look() {
    let mut world = world();
    world.request(&Request::Join(join_request("g", "")));
    assert_eq!(world.shard.key_count(), 1);
    world.advance(600_000);
    assert_eq!(world.shard.key_count(), 0);
    assert_eq!(*world.shard.hard(), world.fold_log());
}

#[test]
fn a_group_whose_first_record_failed_goes_without_a_trace() {
    let mut world = world();
    world.append_error = Some(ErrorCode::CoordinatorNotAvailable);
    world.request(&Request::Join(join_request("g", "")));
    world.append_error = None;
    commit(
        &mut world,
        CommitRequest {
            group_id: Arc::from("other"),
            ..commit_of("t", 0, 1)
        },
    );
    world.advance(600_000);
    assert_eq!((world.shard.key_count(), world.log.len()), (1, 1));
}

#[test]
fn offsets_of_deleted_topics_go() {
    let mut world = world();
    commit(&mut world, commit_of("t", 0, 1));
    commit(&mut world, commit_of("u", 0, 2));
    world.topics_deleted(&[
        (Arc::from("t"), Uuid::from_u128(2)),
        (Arc::from("u"), Uuid::from_u128(1)),
    ]);
    assert_eq!(
        offsets(&mut world),
        ["t-0=1"],
        "the other topic of this name was deleted"
    );
}
