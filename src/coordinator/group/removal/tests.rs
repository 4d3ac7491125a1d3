//! Groups and offsets that are deleted, and what stays.

use std::sync::Arc;

use protocol::error_code::ErrorCode;

use crate::coordinator::group::api::{
    DeleteOffsetsReply, DeleteOffsetsRequest, JoinReply, JoinRequest, ListRequest, Reply, Request,
};
use crate::coordinator::group::config::GroupConfig;
use crate::coordinator::group::record::Record;
use crate::coordinator::group::testing::{
    World, commit, commit_of, commit_transactional, join_request, leave_request, offsets, stable_member, sync_request,
};
use crate::coordinator::runtime::machine::Machine;

fn world() -> World {
    World::new(GroupConfig::default())
}

fn delete(world: &mut World, group_ids: &[&str]) -> Vec<ErrorCode> {
    let group_ids = group_ids.iter().map(|group_id| Arc::from(*group_id)).collect();
    world.request(&Request::DeleteGroups(group_ids));
    match world.answered.pop() {
        Some((_, Reply::DeleteGroups(errors))) => errors,
        other => panic!("no answer to a deletion: {other:?}"),
    }
}

fn delete_offsets(world: &mut World, group_id: &str, topics: &[(&str, &[i32])]) -> DeleteOffsetsReply {
    let topics = topics
        .iter()
        .map(|(topic, partitions)| (Arc::from(*topic), partitions.to_vec()));
    world.request(&Request::DeleteOffsets(DeleteOffsetsRequest {
        group_id: Arc::from(group_id),
        topics: topics.collect(),
    }));
    match world.answered.pop() {
        Some((_, Reply::DeleteOffsets(reply))) => reply,
        other => panic!("no answer to a deletion: {other:?}"),
    }
}

fn join(world: &mut World, request: JoinRequest) -> JoinReply {
    world.request(&Request::Join(request));
    match world.answered.pop() {
        Some((_, Reply::Join(reply))) => reply,
        other => panic!("no answer to a join: {other:?}"),
    }
}

/// What the group's tombstones in the log are, from record `from` on.
fn tombstones(world: &World, from: usize) -> Vec<String> {
    let told = |record: &Record| match record {
        Record::OffsetCommit {
            topic,
            partition,
            value: None,
            ..
        } => format!("{topic}-{partition}"),
        Record::GroupMetadata { value: None, .. } => "group".to_owned(),
        other => panic!("no tombstone: {other:?}"),
    };
    world.records(from).iter().map(told).collect()
}

#[test]
fn a_group_of_offsets_goes_with_all_of_them() {
    let mut world = world();
    commit(&mut world, commit_of("t", 0, 1));
    commit(&mut world, commit_of("u", 3, 1));
    commit(&mut world, commit_of("t", 1, 1));
    assert_eq!(delete(&mut world, &["g"]), [ErrorCode::None]);
    assert_eq!(tombstones(&world, 3), ["t-0", "t-1", "u-3", "group"]);
    for _ in 0..2 {
        assert_eq!(offsets(&mut world), Vec::<String>::new());
        assert_eq!(world.shard.key_count(), 0);
        assert_eq!(delete(&mut world, &["g"]), [ErrorCode::GroupIdNotFound]);
        world.restart();
    }
    commit(&mut world, commit_of("t", 0, 7));
    assert_eq!(offsets(&mut world), ["t-0=7"], "the name is free again");
}

#[test]
fn each_group_of_a_request_is_judged_by_itself() {
    let mut world = world();
    stable_member(&mut world);
    commit(&mut world, commit_of("t", 0, 1));
    let mut old = commit_of("t", 0, 1);
    old.group_id = Arc::from("");
    commit(&mut world, old);
    assert_eq!(
        delete(&mut world, &["nobody", "g", ""]),
        [ErrorCode::GroupIdNotFound, ErrorCode::NonEmptyGroup, ErrorCode::None]
    );
    assert_eq!(world.shard.key_count(), 1);
    assert_eq!(delete(&mut world, &[]), []);
}

#[test]
fn a_group_with_members_stays_in_every_state() {
    let mut world = world();
    let mut request = join_request("g", "");
    request.requires_known_member_id = false;
    world.request(&Request::Join(request));
    assert_eq!(
        delete(&mut world, &["g"]),
        [ErrorCode::NonEmptyGroup],
        "PreparingRebalance"
    );
    world.advance(3_000);
    let Some((_, Reply::Join(joined))) = world.answered.pop() else {
        panic!("not joined")
    };
    assert_eq!(
        delete(&mut world, &["g"]),
        [ErrorCode::NonEmptyGroup],
        "CompletingRebalance"
    );
    world.request(&Request::Sync(sync_request("g", &joined.member_id)));
    assert_eq!(delete(&mut world, &["g"]), [ErrorCode::NonEmptyGroup], "Stable");
    world.restart();
    assert_eq!(delete(&mut world, &["g"]), [ErrorCode::NonEmptyGroup], "Stable, loaded");
    world.request(&Request::Leave(leave_request("g", &joined.member_id)));
    assert_eq!(delete(&mut world, &["g"]), [ErrorCode::None], "Empty");
    assert_eq!((world.shard.key_count(), &world.fold_log()), (0, world.shard.hard()));
}

#[test]
fn an_id_that_was_given_out_for_a_deleted_group_is_worth_nothing() {
    let mut world = world();
    let given = join(&mut world, join_request("g", ""));
    assert_eq!(given.error, ErrorCode::MemberIdRequired);
    assert_eq!(delete(&mut world, &["g"]), [ErrorCode::None]);
    assert_eq!(world.shard.key_count(), 0);
    let again = join(&mut world, join_request("g", &given.member_id));
    assert_eq!(again.error, ErrorCode::UnknownMemberId);
    world.advance(600_000);
    assert_eq!(world.shard.next_deadline(), None, "no deadline of the member is left");
}

#[test]
fn a_deletion_that_cannot_be_written_changes_nothing() {
    let mut world = world();
    let member_id = stable_member(&mut world);
    world.request(&Request::Leave(leave_request("g", &member_id)));
    commit(&mut world, commit_of("t", 0, 1));
    world.append_error = Some(ErrorCode::CoordinatorNotAvailable);
    delete(&mut world, &["g"]);
    delete_offsets(&mut world, "g", &[("t", &[0])]);
    world.append_error = None;
    assert_eq!(offsets(&mut world), ["t-0=1"]);
    assert_eq!(delete(&mut world, &["g"]), [ErrorCode::None]);
}

#[test]
fn offsets_of_open_transactions_go_with_their_group() {
    let mut world = world();
    commit(&mut world, commit_of("t", 0, 1));
    for partition in [0, 5, 6] {
        commit_transactional(&mut world, 9, commit_of("t", partition, 7));
    }
    let reply = delete_offsets(&mut world, "g", &[("t", &[5])]);
    assert_eq!(reply.topics, [ErrorCode::None]);
    assert_eq!(delete(&mut world, &["g"]), [ErrorCode::None]);
    assert_eq!(
        tombstones(&world, 4),
        ["t-5", "t-0", "t-6", "group"],
        "each partition once"
    );
    assert_eq!((world.shard.key_count(), world.shard.hard().pending_count()), (0, 0));
    world.marker(9, true);
    assert_eq!(
        offsets(&mut world),
        Vec::<String>::new(),
        "the transaction has nothing left here"
    );
    assert_eq!((world.shard.key_count(), &world.fold_log()), (0, world.shard.hard()));
}

#[test]
fn what_is_there_loses_its_offsets_and_the_rest_had_none() {
    let mut world = world();
    commit(&mut world, commit_of("t", 0, 1));
    commit(&mut world, commit_of("t", 1, 1));
    let reply = delete_offsets(
        &mut world,
        "g",
        &[("t", &[1, 1, 9]), ("t", &[1]), ("u", &[0]), ("v", &[])],
    );
    assert_eq!((reply.error, reply.topics), (ErrorCode::None, vec![ErrorCode::None; 4]));
    assert_eq!(tombstones(&world, 2), ["t-1"], "one tombstone for one offset");
    for _ in 0..2 {
        assert_eq!(offsets(&mut world), ["t-0=1"]);
        world.restart();
    }
    assert_eq!(
        delete_offsets(&mut world, "nobody", &[("t", &[1])]).error,
        ErrorCode::GroupIdNotFound
    );
}

#[test]
fn a_group_without_its_last_offset_can_be_deleted_and_goes_by_itself() {
    let mut world = world();
    commit(&mut world, commit_of("t", 0, 1));
    delete_offsets(&mut world, "g", &[("t", &[0])]);
    world.restart();
    assert_eq!(world.shard.key_count(), 1);
    assert_eq!(delete(&mut world, &["g"]), [ErrorCode::None]);
    commit(&mut world, commit_of("t", 0, 1));
    delete_offsets(&mut world, "g", &[("t", &[0])]);
    world.advance(600_000);
    assert_eq!((world.shard.key_count(), &world.fold_log()), (0, world.shard.hard()));
}

#[test]
fn topics_that_members_read_keep_their_offsets() {
    let mut world = world();
    let member_id = stable_member(&mut world);
    for topic in ["read", "left"] {
        let mut request = commit_of(topic, 0, 1);
        request.member_id = Arc::clone(&member_id);
        request.generation_id = 1;
        commit(&mut world, request);
    }
    let reply = delete_offsets(&mut world, "g", &[("read", &[0]), ("left", &[0])]);
    assert_eq!(reply.topics, [ErrorCode::GroupSubscribedToTopic, ErrorCode::None]);
    assert_eq!(offsets(&mut world), ["read-0=1"]);
    world.request(&Request::Leave(leave_request("g", &member_id)));
    let reply = delete_offsets(&mut world, "g", &[("read", &[0])]);
    assert_eq!(reply.topics, [ErrorCode::None], "nobody reads it any more");
}

#[test]
fn a_living_group_that_is_not_of_consumers_keeps_its_offsets() {
    let mut world = world();
    let mut request = join_request("g", "");
    request.requires_known_member_id = false;
    request.protocol_type = Arc::from("connect");
    world.request(&Request::Join(request));
    let reply = delete_offsets(&mut world, "g", &[("t", &[0])]);
    assert_eq!((reply.error, reply.topics.len()), (ErrorCode::NonEmptyGroup, 0));
}

#[test]
fn filters_of_a_list_are_names_in_any_case() {
    let mut world = world();
    stable_member(&mut world);
    let mut other = commit_of("t", 0, 1);
    other.group_id = Arc::from("simple");
    commit(&mut world, other);
    let mut list = |states: &[&str], types: &[&str]| {
        let texts = |texts: &[&str]| texts.iter().map(|text| Arc::from(*text)).collect();
        let request = ListRequest {
            states_filter: texts(states),
            types_filter: texts(types),
        };
        world.request(&Request::List(Arc::new(request)));
        match world.answered.pop() {
            Some((_, Reply::List(groups))) => groups.len(),
            other => panic!("no list: {other:?}"),
        }
    };
    assert_eq!(
        (list(&[], &[]), list(&["sTable"], &[]), list(&[" empty "], &["Classic"])),
        (2, 1, 1)
    );
    assert_eq!(
        (
            list(&["Stable", "Empty"], &[]),
            list(&["Dead"], &[]),
            list(&[], &["consumer"])
        ),
        (2, 0, 0)
    );
}
