//! DeleteGroups and OffsetDelete (group-coordinator's `GroupMetadataManager` and `OffsetMetadataManager`).

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, OffsetDeleteRequest, SyncGroupRequest,
};

use compat_tests::admin::{delete_groups, delete_topics_request, sorted};
use compat_tests::requests::{
    commit, commit_request, committed, find_coordinator, group_id, new_topic, topic_name, unique, until,
};
use compat_tests::wire::{Connection, text};

use crate::Bench;

/// A group that has committed an offset and has no members.
fn simple_group(connection: &mut Connection, topic: &str) -> String {
    let group = unique("group");
    find_coordinator(connection, &group);
    assert_eq!(commit(connection, &group, ("", -1), topic, 5), 0);
    group
}

/// What a consumer says it subscribes to (version 0 of `ConsumerProtocolSubscription`).
fn subscription(topic: &str) -> Bytes {
    let length = i16::try_from(topic.len()).expect("a short name");
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend(length.to_be_bytes());
    bytes.extend(topic.as_bytes());
    bytes.extend((-1_i32).to_be_bytes());
    Bytes::from(bytes)
}

/// Joins as the only member and brings the group to Stable; member id and generation.
fn join(connection: &mut Connection, group: &str, protocol_type: &str, topic: &str) -> (String, i32) {
    find_coordinator(connection, group);
    let mut request = JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(20_000)
        .with_rebalance_timeout_ms(20_000)
        .with_protocol_type(text(protocol_type))
        .with_protocols(vec![
            JoinGroupRequestProtocol::default()
                .with_name(text("range"))
                .with_metadata(subscription(topic)),
        ]);
    let first = connection.call(7, &request);
    assert_eq!(first.error_code, 79);
    request.member_id = first.member_id;
    let joined = connection.call(7, &request);
    assert_eq!(joined.error_code, 0);
    let mine = SyncGroupRequestAssignment::default().with_member_id(joined.member_id.clone());
    let sync = SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(joined.member_id.clone())
        .with_generation_id(joined.generation_id)
        .with_protocol_type(Some(text(protocol_type)))
        .with_protocol_name(Some(text("range")))
        .with_assignments(vec![mine]);
    assert_eq!(connection.call(5, &sync).error_code, 0);
    (joined.member_id.to_string(), joined.generation_id)
}

fn leave(connection: &mut Connection, group: &str, member: &str) {
    let request = LeaveGroupRequest::default()
        .with_group_id(group_id(group))
        .with_members(vec![MemberIdentity::default().with_member_id(text(member))]);
    assert_eq!(connection.call(5, &request).members[0].error_code, 0);
}

fn delete(connection: &mut Connection, group: &str) -> i16 {
    let answers = delete_groups(connection, &[group]);
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers[0].1
}

fn is_listed(connection: &mut Connection, group: &str) -> bool {
    let answer = connection.call(5, &ListGroupsRequest::default());
    answer.groups.iter().any(|found| &found.group_id.0[..] == group)
}

#[test]
fn every_version_deletes_a_group_and_its_offsets() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    for version in 0..=2 {
        let group = simple_group(&mut bench, &topic);
        assert!(is_listed(&mut bench, &group));
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(&group)]);
        let answer = bench.call(version, &request);
        assert_eq!(
            (answer.results.len(), answer.results[0].error_code),
            (1, 0),
            "version {version}"
        );
        assert_eq!(committed(&mut bench, &group, &topic).committed_offset, -1);
        assert!(!is_listed(&mut bench, &group));
        assert_eq!(delete(&mut bench, &group), 69, "gone already");
        assert_eq!(commit(&mut bench, &group, ("", -1), &topic, 1), 0, "and may begin anew");
        assert_eq!(committed(&mut bench, &group, &topic).committed_offset, 1);
    }
}

#[test]
fn a_group_with_members_is_not_deleted() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let group = unique("group");
    let (member, generation) = join(&mut bench, &group, "consumer", &topic);
    assert_eq!(commit(&mut bench, &group, (&member, generation), &topic, 7), 0);
    assert_eq!(delete(&mut bench, &group), 68);
    assert_eq!(committed(&mut bench, &group, &topic).committed_offset, 7);
    assert_eq!(
        commit(&mut bench, &group, (&member, generation), &topic, 8),
        0,
        "the member notices nothing"
    );
    leave(&mut bench, &group, &member);
    assert_eq!(delete(&mut bench, &group), 0);
    assert_eq!(committed(&mut bench, &group, &topic).committed_offset, -1);
}

#[test]
fn one_bad_group_does_not_spoil_the_others() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let (first, last) = (simple_group(&mut bench, &topic), simple_group(&mut bench, &topic));
    let (busy, stranger, long) = (unique("busy"), unique("stranger"), "x".repeat(30_000));
    join(&mut bench, &busy, "consumer", &topic);
    let mut answers = delete_groups(&mut bench, &[&first, &stranger, "", &busy, &long, &first, &last]);
    answers.dedup();
    let due = [
        (&first[..], 0),
        (&stranger, 69),
        ("", 69),
        (&busy, 68),
        (&long, 69),
        (&last, 0),
    ];
    assert_eq!(answers, sorted(due.map(|(group, code)| (group.to_owned(), code))));
    for group in [&first, &last] {
        assert_eq!(committed(&mut bench, group, &topic).committed_offset, -1);
    }
    assert!(delete_groups(&mut bench, &[]).is_empty());
}

/// Code at the top, and topic, partition and code of each result.
fn delete_offsets(
    connection: &mut Connection,
    group: &str,
    topics: &[(&str, &[i32])],
) -> (i16, Vec<(String, i32, i16)>) {
    let one = |&(name, partitions): &(&str, &[i32])| {
        let partition = |index: &i32| OffsetDeleteRequestPartition::default().with_partition_index(*index);
        OffsetDeleteRequestTopic::default()
            .with_name(topic_name(name))
            .with_partitions(partitions.iter().map(partition).collect())
    };
    let request = OffsetDeleteRequest::default()
        .with_group_id(group_id(group))
        .with_topics(topics.iter().map(one).collect());
    let answer = connection.call(0, &request);
    let results = answer.topics.iter().flat_map(|topic| {
        let name = topic.name.0.to_string();
        let partitions = topic.partitions.iter();
        partitions.map(move |partition| (name.clone(), partition.partition_index, partition.error_code))
    });
    (answer.error_code, sorted(results))
}

#[test]
fn single_offsets_are_deleted() {
    let mut bench = Bench::new();
    let (topic, other, stranger) = (new_topic(&mut bench), new_topic(&mut bench), unique("stranger"));
    let group = simple_group(&mut bench, &topic);
    assert_eq!(commit(&mut bench, &group, ("", -1), &other, 6), 0);
    let one = |code| (0, vec![(topic.clone(), 0, code)]);
    assert_eq!(delete_offsets(&mut bench, &group, &[(&topic, &[0])]), one(0));
    assert_eq!(committed(&mut bench, &group, &topic).committed_offset, -1);
    assert_eq!(committed(&mut bench, &group, &other).committed_offset, 6);
    assert_eq!(
        delete_offsets(&mut bench, &group, &[(&topic, &[0])]),
        one(0),
        "nothing is there any more"
    );
    let mixed = [
        (&topic[..], &[0, 9, -1][..]),
        (&stranger, &[0]),
        ("", &[0]),
        ("a b", &[0]),
        (&other, &[0]),
    ];
    let due = [
        (&topic[..], 0, 0),
        (&topic, 9, 3),
        (&topic, -1, 3),
        (&stranger, 0, 3),
        ("", 0, 3),
        ("a b", 0, 3),
        (&other, 0, 0),
    ];
    let due = due.map(|(name, index, code)| (name.to_owned(), index, code));
    assert_eq!(delete_offsets(&mut bench, &group, &mixed), (0, sorted(due)));
    assert_eq!(committed(&mut bench, &group, &other).committed_offset, -1);
}

#[test]
fn offsets_named_twice_or_not_at_all() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let group = simple_group(&mut bench, &topic);
    assert_eq!(delete_offsets(&mut bench, &group, &[]), (0, vec![]));
    assert_eq!(delete_offsets(&mut bench, &group, &[(&topic, &[])]), (0, vec![]));
    assert_eq!(committed(&mut bench, &group, &topic).committed_offset, 5);
    let (code, mut results) = delete_offsets(&mut bench, &group, &[(&topic, &[0, 0]), (&topic, &[0])]);
    results.dedup();
    assert_eq!((code, results), (0, vec![(topic.clone(), 0, 0)]));
    assert_eq!(committed(&mut bench, &group, &topic).committed_offset, -1);
    assert_eq!(
        delete_offsets(&mut bench, &unique("stranger"), &[(&topic, &[0])]),
        (69, vec![])
    );
    assert_eq!(delete_offsets(&mut bench, "", &[(&topic, &[0])]), (24, vec![]));
}

#[test]
fn offsets_of_subscribed_topics_stay() {
    let mut bench = Bench::new();
    let (subscribed, other) = (new_topic(&mut bench), new_topic(&mut bench));
    let group = unique("group");
    let (member, generation) = join(&mut bench, &group, "consumer", &subscribed);
    for topic in [&subscribed, &other] {
        let answer = bench.call(8, &commit_request(&group, (&member, generation), topic, 7, ""));
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    }
    let answers = delete_offsets(&mut bench, &group, &[(&subscribed, &[0]), (&other, &[0])]);
    let due = [(subscribed.clone(), 0, 86), (other.clone(), 0, 0)];
    assert_eq!(answers, (0, sorted(due)));
    assert_eq!(committed(&mut bench, &group, &subscribed).committed_offset, 7);
    assert_eq!(committed(&mut bench, &group, &other).committed_offset, -1);
    leave(&mut bench, &group, &member);
    let answers = delete_offsets(&mut bench, &group, &[(&subscribed, &[0])]);
    assert_eq!(answers, (0, vec![(subscribed.clone(), 0, 0)]));
}

#[test]
fn groups_that_are_no_consumers() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let group = unique("workers");
    let (member, generation) = join(&mut bench, &group, "connect", &topic);
    assert_eq!(commit(&mut bench, &group, (&member, generation), &topic, 7), 0);
    assert_eq!(
        delete_offsets(&mut bench, &group, &[(&topic, &[0])]),
        (68, vec![]),
        "while it has members"
    );
    leave(&mut bench, &group, &member);
    assert_eq!(
        delete_offsets(&mut bench, &group, &[(&topic, &[0])]),
        (0, vec![(topic.clone(), 0, 0)])
    );
}

#[test]
fn offsets_go_with_their_topic() {
    let mut bench = Bench::new();
    let (topic, other) = (new_topic(&mut bench), new_topic(&mut bench));
    let group = simple_group(&mut bench, &topic);
    assert_eq!(commit(&mut bench, &group, ("", -1), &other, 6), 0);
    assert_eq!(
        bench.call(6, &delete_topics_request(&[&topic])).responses[0].error_code,
        0
    );
    until("the offsets are gone", || {
        (committed(&mut bench, &group, &topic).committed_offset == -1).then_some(())
    });
    assert_eq!(committed(&mut bench, &group, &other).committed_offset, 6);
}
