//! DeleteGroups and OffsetDelete, the limits of groups, and offsets that expire (group-coordinator's
//! `GroupCoordinatorShard.deleteGroups`, `OffsetMetadataManager.deleteOffsets`, `cleanupExpiredOffsets`).

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_delete_response::OffsetDeleteResponse;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    ListGroupsRequest, OffsetDeleteRequest, SyncGroupRequest,
};

use compat_tests::broker::{Broker, QUICK, external_address};
use compat_tests::requests::{
    commit, commit_request, committed, create_topic, find_coordinator, group_id, new_topic, topic_name, unique, until,
};
use compat_tests::wire::{Connection, text};

use crate::Bench;

const JOIN: i16 = 7;

/// Deletes the groups and returns the answers, by name.
fn delete(connection: &mut Connection, version: i16, groups: &[&str]) -> Vec<(String, i16)> {
    let names = groups.iter().map(|group| group_id(group)).collect();
    let answer = connection.call(version, &DeleteGroupsRequest::default().with_groups_names(names));
    let mut results: Vec<_> = answer
        .results
        .iter()
        .map(|result| (result.group_id.to_string(), result.error_code))
        .collect();
    results.sort();
    results
}

fn delete_one(connection: &mut Connection, group: &str) -> i16 {
    let results = delete(connection, 2, &[group]);
    assert_eq!((results.len(), &results[0].0[..]), (1, group));
    results[0].1
}

fn delete_offsets(connection: &mut Connection, group: &str, topics: &[(&str, &[i32])]) -> OffsetDeleteResponse {
    let topics = topics.iter().map(|(topic, partitions)| {
        let partitions = partitions
            .iter()
            .map(|index| OffsetDeleteRequestPartition::default().with_partition_index(*index));
        OffsetDeleteRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(partitions.collect())
    });
    let request = OffsetDeleteRequest::default()
        .with_group_id(group_id(group))
        .with_topics(topics.collect());
    connection.call(0, &request)
}

/// Partition and error code of all answers for a topic, in order.
fn codes(answer: &OffsetDeleteResponse, topic: &str) -> Vec<(i32, i16)> {
    let topics = answer
        .topics
        .iter()
        .filter(|answered| answered.name == topic_name(topic));
    let mut codes: Vec<_> = topics
        .flat_map(|topic| &topic.partitions)
        .map(|partition| (partition.partition_index, partition.error_code))
        .collect();
    codes.sort_unstable();
    codes
}

/// What a consumer of one topic says of itself.
fn subscription(topic: &str) -> Bytes {
    let length = u16::try_from(topic.len()).expect("a short name");
    Bytes::from(
        [
            &[0, 0, 0, 0, 0, 1][..],
            &length.to_be_bytes(),
            topic.as_bytes(),
            &[0xff; 4],
        ]
        .concat(),
    )
}

fn join_request(group: &str, member: &str, kind: &str, metadata: Bytes) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(metadata);
    JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(text(member))
        .with_protocol_type(text(kind))
        .with_protocols(vec![protocol])
}

/// Joins as the only member, reading `topic`, and brings the group to Stable.
fn join_alone(connection: &mut Connection, group: &str, kind: &str, topic: &str) -> JoinGroupResponse {
    find_coordinator(connection, group);
    let first = connection.call(JOIN, &join_request(group, "", kind, subscription(topic)));
    assert_eq!(first.error_code, 79, "a member id is given first");
    let joined = connection.call(JOIN, &join_request(group, &first.member_id, kind, subscription(topic)));
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
    let mine = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(Bytes::from_static(b"mine"));
    let sync = SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(joined.member_id.clone())
        .with_generation_id(joined.generation_id)
        .with_assignments(vec![mine]);
    assert_eq!(connection.call(3, &sync).error_code, 0);
    joined
}

fn leave(connection: &mut Connection, group: &str, joined: &JoinGroupResponse) {
    let request = LeaveGroupRequest::default()
        .with_group_id(group_id(group))
        .with_members(vec![MemberIdentity::default().with_member_id(joined.member_id.clone())]);
    assert_eq!(connection.call(5, &request).members[0].error_code, 0);
}

fn is_listed(connection: &mut Connection, group: &str) -> bool {
    let listed = connection.call(4, &ListGroupsRequest::default());
    listed.groups.iter().any(|listed| listed.group_id == group_id(group))
}

#[test]
fn groups_are_deleted_one_by_one() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let (simple, busy, left, nobody) = (unique("simple"), unique("busy"), unique("left"), unique("nobody"));
    find_coordinator(&mut bench, &simple);
    assert_eq!(commit(&mut bench, &simple, ("", -1), &topic, 5), 0);
    join_alone(&mut bench, &busy, "consumer", &topic);
    let joined = join_alone(&mut bench, &left, "consumer", &topic);
    let member = (&*joined.member_id, joined.generation_id);
    assert_eq!(commit(&mut bench, &left, member, &topic, 6), 0);
    assert_eq!(delete_one(&mut bench, &left), 68);
    leave(&mut bench, &left, &joined);
    let mut expected = vec![
        (simple.clone(), 0),
        (busy.clone(), 68),
        (left.clone(), 0),
        (nobody.clone(), 69),
    ];
    expected.sort();
    assert_eq!(
        delete(&mut bench, 2, &[&simple, &busy, &nobody, &left, &simple]),
        expected,
        "each group once, whatever becomes of the others"
    );
    for gone in [&simple, &left] {
        assert_eq!(delete_one(&mut bench, gone), 69);
        assert!(!is_listed(&mut bench, gone));
        assert_eq!(committed(&mut bench, gone, &topic).committed_offset, -1);
    }
    assert!(is_listed(&mut bench, &busy));
    let described = bench.call(5, &DescribeGroupsRequest::default().with_groups(vec![group_id(&left)]));
    assert_eq!(&described.groups[0].group_state[..], "Dead");
}

#[test]
fn deleting_nothing_and_the_group_without_a_name() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    find_coordinator(&mut bench, "");
    for version in 0..=2 {
        assert_eq!(delete(&mut bench, version, &[]), []);
        assert_eq!(commit(&mut bench, "", ("", -1), &topic, 1), 0);
        assert_eq!(delete(&mut bench, version, &["", ""]), [(String::new(), 0)]);
        assert_eq!(delete(&mut bench, version, &[""]), [(String::new(), 69)]);
    }
}

#[test]
fn an_id_given_out_before_the_group_was_deleted_is_unknown() {
    let mut bench = Bench::new();
    let group = unique("group");
    find_coordinator(&mut bench, &group);
    let request = |member: &str| join_request(&group, member, "consumer", Bytes::new());
    let given = bench.call(JOIN, &request(""));
    assert_eq!(given.error_code, 79);
    assert_eq!(delete_one(&mut bench, &group), 0);
    assert_eq!(bench.call(JOIN, &request(&given.member_id)).error_code, 25);
}

#[test]
fn offsets_are_deleted_partition_by_partition() {
    let mut bench = Bench::new();
    let (topic, other, group) = (unique("topic"), new_topic(&mut bench), unique("group"));
    create_topic(&mut bench, &topic, 2, &[]);
    find_coordinator(&mut bench, &group);
    assert_eq!(commit(&mut bench, &group, ("", -1), &topic, 5), 0);
    assert_eq!(commit(&mut bench, &group, ("", -1), &other, 6), 0);
    let stranger = unique("stranger");
    let answer = delete_offsets(
        &mut bench,
        &group,
        &[(&topic, &[0, 1, 7, -1]), (&stranger, &[0]), (&other, &[])],
    );
    assert_eq!(answer.error_code, 0);
    assert_eq!(codes(&answer, &topic), [(-1, 3), (0, 0), (1, 0), (7, 3)]);
    assert_eq!(codes(&answer, &stranger), [(0, 3)]);
    assert_eq!(codes(&answer, &other), []);
    assert_eq!(committed(&mut bench, &group, &topic).committed_offset, -1);
    assert_eq!(committed(&mut bench, &group, &other).committed_offset, 6);
    let twice = delete_offsets(&mut bench, &group, &[(&other, &[0, 0]), (&other, &[0])]);
    assert_eq!((twice.error_code, codes(&twice, &other)), (0, vec![(0, 0); 3]));
    assert!(
        is_listed(&mut bench, &group),
        "a group outlives its offsets for a while"
    );
    assert_eq!(delete_one(&mut bench, &group), 0);
}

#[test]
fn offsets_of_groups_that_do_not_exist_or_have_no_name() {
    let mut bench = Bench::new();
    let (topic, group) = (new_topic(&mut bench), unique("group"));
    find_coordinator(&mut bench, &group);
    for topics in [&[(&*topic, &[0, 9][..])][..], &[]] {
        let answer = delete_offsets(&mut bench, &group, topics);
        assert_eq!((answer.error_code, answer.topics.len()), (69, 0));
        let answer = delete_offsets(&mut bench, "", topics);
        assert_eq!((answer.error_code, answer.topics.len()), (24, 0));
    }
}

#[test]
fn offsets_that_members_need_stay() {
    let mut bench = Bench::new();
    let (read, left) = (new_topic(&mut bench), new_topic(&mut bench));
    let (consumers, connect) = (unique("consumers"), unique("connect"));
    let joined = join_alone(&mut bench, &consumers, "consumer", &read);
    let member = (&*joined.member_id, joined.generation_id);
    for topic in [&read, &left] {
        assert_eq!(commit(&mut bench, &consumers, member, topic, 5), 0);
    }
    let answer = delete_offsets(&mut bench, &consumers, &[(&read, &[0, 9]), (&left, &[0])]);
    assert_eq!(
        (answer.error_code, codes(&answer, &read), codes(&answer, &left)),
        (0, vec![(0, 86), (9, 3)], vec![(0, 0)])
    );
    assert_eq!(committed(&mut bench, &consumers, &read).committed_offset, 5);
    assert_eq!(committed(&mut bench, &consumers, &left).committed_offset, -1);
    join_alone(&mut bench, &connect, "connect", &read);
    assert_eq!(delete_offsets(&mut bench, &connect, &[(&read, &[0])]).error_code, 68);
    leave(&mut bench, &consumers, &joined);
    let answer = delete_offsets(&mut bench, &consumers, &[(&read, &[0])]);
    assert_eq!(codes(&answer, &read), [(0, 0)]);
}

#[test]
fn what_was_deleted_stays_deleted_after_a_kill() {
    if external_address().is_some() {
        return;
    }
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 2, &[]);
    let (group, kept) = (unique("group"), unique("kept"));
    find_coordinator(&mut bench, &group);
    for group in [&group, &kept] {
        assert_eq!(commit(&mut bench, group, ("", -1), &topic, 5), 0);
    }
    assert_eq!(delete_one(&mut bench, &group), 0);
    let answer = delete_offsets(&mut bench, &kept, &[(&topic, &[0])]);
    assert_eq!(codes(&answer, &topic), [(0, 0)]);
    bench.broker.kill();
    bench.broker.restart();
    bench.connection = bench.broker.connect();
    bench.bystander = bench.broker.connect();
    for group in [&group, &kept] {
        assert_eq!(committed(&mut bench, group, &topic).committed_offset, -1);
    }
    assert!(!is_listed(&mut bench, &group));
    assert_eq!(delete_one(&mut bench, &kept), 0, "the group is still there");
}

/// Old clients may say how long an offset is to be kept; the group goes with its last offset, also after a restart.
#[test]
fn offsets_expire_and_their_group_with_them() {
    if external_address().is_some() {
        return;
    }
    let mut bench = Bench::on(Broker::start(
        &[QUICK, &["offsets.retention.check.interval.ms=50"]].concat(),
    ));
    let (topic, left) = (new_topic(&mut bench), unique("left"));
    let (first, second) = (unique("first"), unique("second"));
    find_coordinator(&mut bench, &first);
    let expiring =
        |group: &str, retention_ms| commit_request(group, ("", -1), &topic, 5, "").with_retention_time_ms(retention_ms);
    let joined = join_alone(&mut bench, &left, "consumer", &topic);
    leave(&mut bench, &left, &joined);
    let code = bench.call(4, &expiring(&first, 1)).topics[0].partitions[0].error_code;
    assert_eq!(code, 0);
    for gone in [&first, &left] {
        until("the group goes", || (!is_listed(&mut bench, gone)).then_some(()));
    }
    assert_eq!(committed(&mut bench, &first, &topic).committed_offset, -1);
    let code = bench.call(4, &expiring(&second, 1_000)).topics[0].partitions[0].error_code;
    assert_eq!(code, 0);
    bench.broker.kill();
    bench.broker.restart();
    bench.connection = bench.broker.connect();
    bench.bystander = bench.broker.connect();
    // while groups are loaded none is listed
    until("the offset goes after the restart", || {
        (committed(&mut bench, &second, &topic).committed_offset == -1).then_some(())
    });
    until("the group goes after the restart", || {
        (!is_listed(&mut bench, &second)).then_some(())
    });
}

#[test]
fn the_limits_of_groups_hold() {
    if external_address().is_some() {
        return;
    }
    let limits = [
        "group.max.size=1",
        "group.max.session.timeout.ms=20000",
        "monedula.max.groups=3",
        "monedula.group.max.pending.members=2",
        "offset.metadata.max.bytes=5",
    ];
    let mut bench = Bench::on(Broker::start(&[QUICK, &limits].concat()));
    let (topic, group) = (new_topic(&mut bench), unique("group"));
    let joined = join_alone(&mut bench, &group, "consumer", &topic);
    let second = join_request(&group, "", "consumer", Bytes::new());
    assert_eq!(bench.call(JOIN, &second).error_code, 81, "group.max.size");
    for (timeout, code) in [(20_001, 26), (999, 26), (20_000, 81)] {
        let request = second.clone().with_session_timeout_ms(timeout);
        assert_eq!(bench.call(JOIN, &request).error_code, code, "{timeout} ms");
    }
    let waiting = unique("waiting");
    for expected in [79, 79, 81] {
        let request = join_request(&waiting, "", "consumer", Bytes::new());
        assert_eq!(bench.call(JOIN, &request).error_code, expected, "ids given out");
    }
    let mut note = |note: &str| {
        let request = commit_request(&group, (&joined.member_id, joined.generation_id), &topic, 3, note);
        bench.call(8, &request).topics[0].partitions[0].error_code
    };
    assert_eq!((note("12345"), note("123456"), note("ééééé")), (0, 12, 0));
    assert_eq!(commit(&mut bench, &unique("third"), ("", -1), &topic, 1), 0);
    assert_eq!(
        commit(&mut bench, &unique("fourth"), ("", -1), &topic, 1),
        44,
        "monedula.max.groups"
    );
    let fifth = join_request(&unique("fifth"), "", "consumer", Bytes::new());
    assert_eq!(bench.call(JOIN, &fifth).error_code, 81, "monedula.max.groups");
    assert_eq!(delete_one(&mut bench, &waiting), 0);
    assert_eq!(
        commit(&mut bench, &unique("fifth"), ("", -1), &topic, 1),
        0,
        "a place is free again"
    );
}
