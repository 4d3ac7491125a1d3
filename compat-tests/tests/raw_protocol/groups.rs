//! Groups and committed offsets without a client: wrong members, wrong generations, wrong protocols (group-coordinator's
//! `GroupMetadataManager` and `OffsetMetadataManager`).

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest,
    OffsetFetchRequest, SyncGroupRequest,
};

use compat_tests::requests::{commit, commit_request, committed, find_coordinator, group_id, new_topic, unique};
use compat_tests::wire::{Connection, text};

use crate::Bench;

const JOIN: i16 = 7;

fn join_request(group: &str, member: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"m"));
    JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// Joins as the only member and brings the group to Stable; returns member id and generation.
fn join_alone(connection: &mut Connection, group: &str) -> (String, i32) {
    find_coordinator(connection, group);
    let first = connection.call(JOIN, &join_request(group, ""));
    assert_eq!(first.error_code, 79, "a member id is given first");
    let joined: JoinGroupResponse = connection.call(JOIN, &join_request(group, &first.member_id));
    assert_eq!((joined.error_code, &joined.leader), (0, &joined.member_id));
    assert_eq!(joined.members.len(), 1);
    let synced = connection.call(
        5,
        &sync_request(group, &joined.member_id, joined.generation_id, b"mine"),
    );
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"mine"[..]));
    (joined.member_id.to_string(), joined.generation_id)
}

fn sync_request(group: &str, member: &str, generation: i32, assignment: &'static [u8]) -> SyncGroupRequest {
    let mine = SyncGroupRequestAssignment::default()
        .with_member_id(text(member))
        .with_assignment(Bytes::from_static(assignment));
    SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(text(member))
        .with_generation_id(generation)
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(vec![mine])
}

fn heartbeat(connection: &mut Connection, group: &str, member: &str, generation: i32) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(text(member))
        .with_generation_id(generation);
    connection.call(4, &request).error_code
}

fn leave(connection: &mut Connection, group: &str, member: &str) -> i16 {
    let request = LeaveGroupRequest::default()
        .with_group_id(group_id(group))
        .with_members(vec![MemberIdentity::default().with_member_id(text(member))]);
    let answer = connection.call(5, &request);
    assert_eq!(answer.error_code, 0);
    answer.members[0].error_code
}

#[test]
fn strangers_and_wrong_generations() {
    let mut bench = Bench::new();
    let (topic, group) = (new_topic(&mut bench), unique("group"));
    let (member, generation) = join_alone(&mut bench, &group);
    assert_eq!(heartbeat(&mut bench, &group, &member, generation), 0);
    assert_eq!(heartbeat(&mut bench, &group, "stranger", generation), 25);
    assert_eq!(heartbeat(&mut bench, &group, &member, generation + 1), 22);
    assert_eq!(
        bench
            .call(5, &sync_request(&group, "stranger", generation, b""))
            .error_code,
        25
    );
    assert_eq!(
        bench
            .call(5, &sync_request(&group, &member, generation + 1, b""))
            .error_code,
        22
    );
    assert_eq!(bench.call(JOIN, &join_request(&group, "stranger")).error_code, 25);
    assert_eq!(leave(&mut bench, &group, "stranger"), 25);
    assert_eq!(commit(&mut bench, &group, (&member, generation), &topic, 5), 0);
    assert_eq!(commit(&mut bench, &group, (&member, generation + 1), &topic, 6), 22);
    assert_eq!(commit(&mut bench, &group, ("stranger", generation), &topic, 7), 25);
    assert_eq!(
        commit(&mut bench, &group, ("", -1), &topic, 8),
        25,
        "no simple commits into a living group"
    );
    assert_eq!(committed(&mut bench, &group, &topic).committed_offset, 5);
    assert_eq!(
        heartbeat(&mut bench, &group, &member, generation),
        0,
        "the member noticed nothing"
    );
    assert_eq!(leave(&mut bench, &group, &member), 0);
    assert_eq!(heartbeat(&mut bench, &group, &member, generation), 25);
    assert_eq!(
        commit(&mut bench, &group, ("", -1), &topic, 9),
        0,
        "an empty group takes simple commits"
    );
}

#[test]
fn groups_that_do_not_exist() {
    let mut bench = Bench::new();
    let (topic, group) = (new_topic(&mut bench), unique("group"));
    find_coordinator(&mut bench, &group);
    assert_eq!(heartbeat(&mut bench, &group, "stranger", 0), 25);
    assert_eq!(leave(&mut bench, &group, "stranger"), 25);
    assert_eq!(bench.call(5, &sync_request(&group, "stranger", 0, b"")).error_code, 25);
    assert_eq!(bench.call(JOIN, &join_request(&group, "stranger")).error_code, 25);
    assert_eq!(commit(&mut bench, &group, ("stranger", 3), &topic, 1), 22);
    let newer = bench.call(9, &commit_request(&group, ("stranger", 3), &topic, 1, ""));
    assert_eq!(newer.topics[0].partitions[0].error_code, 69);
    let never = committed(&mut bench, &group, &topic);
    assert_eq!(
        (never.error_code, never.committed_offset, never.metadata.as_deref()),
        (0, -1, Some(""))
    );
    let describe = DescribeGroupsRequest::default().with_groups(vec![group_id(&group)]);
    let described = bench.call(5, &describe).groups.remove(0);
    assert_eq!((described.error_code, &described.group_state[..]), (0, "Dead"));
    assert_eq!(bench.call(6, &describe).groups[0].error_code, 69);
}

#[test]
fn empty_group_ids_and_session_timeouts() {
    let mut bench = Bench::new();
    let group = unique("group");
    find_coordinator(&mut bench, &group);
    assert_eq!(bench.call(JOIN, &join_request("", "")).error_code, 24);
    assert_eq!(bench.call(5, &sync_request("", "m", 1, b"")).error_code, 24);
    assert_eq!(heartbeat(&mut bench, "", "m", 1), 24);
    for timeout in [0, -1, 1, i32::MAX] {
        let request = join_request(&group, "").with_session_timeout_ms(timeout);
        assert_eq!(bench.call(JOIN, &request).error_code, 26, "{timeout} ms");
    }
}

#[test]
fn protocols_must_fit() {
    let mut bench = Bench::new();
    let group = unique("group");
    let (member, generation) = join_alone(&mut bench, &group);
    let other_type = join_request(&group, "").with_protocol_type(text("connect"));
    assert_eq!(bench.call(3, &other_type).error_code, 23, "another type");
    let mut other_name = join_request(&group, "");
    other_name.protocols[0].name = text("unheard-of");
    assert_eq!(bench.call(3, &other_name).error_code, 23, "no common protocol");
    let none = join_request(&unique("group"), "").with_protocols(Vec::new());
    assert_eq!(bench.call(3, &none).error_code, 23, "no protocol at all");
    let wrong = sync_request(&group, &member, generation, b"").with_protocol_name(Some(text("other")));
    assert_eq!(bench.call(5, &wrong).error_code, 23, "another name in SyncGroup");
}

/// Version 3 joins without being given a member id first; the second join makes the first member come back.
#[test]
fn a_second_member_rebalances_the_first() {
    let mut bench = Bench::new();
    let group = unique("group");
    let (leader, generation) = join_alone(&mut bench, &group);
    let mut second = bench.connect();
    let waiting = second.send(3, &join_request(&group, ""));
    let mut code = 0;
    while code == 0 {
        code = heartbeat(&mut bench, &group, &leader, generation);
    }
    assert_eq!(code, 27);
    let rejoined = bench.call(JOIN, &join_request(&group, &leader));
    let joined = second.receive::<JoinGroupRequest>(3, waiting);
    assert_eq!((rejoined.error_code, joined.error_code), (0, 0));
    assert_eq!(rejoined.generation_id, generation + 1);
    assert_eq!(joined.generation_id, generation + 1);
    assert_eq!(
        (rejoined.members.len(), joined.members.len()),
        (2, 0),
        "only the leader learns of the members"
    );
    assert_eq!(joined.leader, rejoined.leader);
    // The follower's SyncGroup waits for the leader's.
    let follower = second.send(5, &sync_request(&group, &joined.member_id, generation + 1, b""));
    let mut assign = sync_request(&group, &leader, generation + 1, b"leader's");
    let theirs = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(Bytes::from_static(b"follower's"));
    assign.assignments.push(theirs);
    assert_eq!(&bench.call(5, &assign).assignment[..], b"leader's");
    assert_eq!(
        &second.receive::<SyncGroupRequest>(5, follower).assignment[..],
        b"follower's"
    );
}

#[test]
fn a_static_member_takes_its_place_back_and_fences_its_predecessor() {
    let mut bench = Bench::new();
    let group = unique("group");
    find_coordinator(&mut bench, &group);
    let request = join_request(&group, "").with_group_instance_id(Some(text("one")));
    let first = bench.call(JOIN, &request);
    assert_eq!(first.error_code, 0, "a static member needs no id first");
    let assign =
        sync_request(&group, &first.member_id, first.generation_id, b"kept").with_group_instance_id(Some(text("one")));
    assert_eq!(bench.call(5, &assign).error_code, 0);
    let second = bench.call(JOIN, &request);
    assert_eq!(
        (second.error_code, second.generation_id),
        (0, first.generation_id),
        "no rebalance"
    );
    assert_ne!(second.member_id, first.member_id);
    let beat = |member: &str| {
        HeartbeatRequest::default()
            .with_group_id(group_id(&group))
            .with_member_id(text(member))
            .with_group_instance_id(Some(text("one")))
            .with_generation_id(first.generation_id)
    };
    assert_eq!(bench.call(4, &beat(&first.member_id)).error_code, 82);
    assert_eq!(bench.call(4, &beat(&second.member_id)).error_code, 0);
}

#[test]
fn commits_keep_their_notes_and_are_refused_one_by_one() {
    let mut bench = Bench::new();
    let (topic, group) = (new_topic(&mut bench), unique("group"));
    find_coordinator(&mut bench, &group);
    let mut code = |topic: &str, note: &str| {
        bench.call(8, &commit_request(&group, ("", -1), topic, 3, note)).topics[0].partitions[0].error_code
    };
    assert_eq!(code(&topic, "a note"), 0);
    assert_eq!(code(&unique("stranger"), ""), 3);
    assert_eq!(code(&topic, &"x".repeat(4097)), 12);
    let stored = committed(&mut bench, &group, &topic);
    assert_eq!(
        (stored.committed_offset, stored.metadata.as_deref()),
        (3, Some("a note"))
    );
    let all = OffsetFetchRequest::default()
        .with_group_id(group_id(&group))
        .with_topics(None);
    let all = bench.call(5, &all);
    assert_eq!((all.topics.len(), all.topics[0].partitions[0].committed_offset), (1, 3));
}

#[test]
fn groups_are_listed_and_described() {
    let mut bench = Bench::new();
    let group = unique("group");
    let (member, _) = join_alone(&mut bench, &group);
    let listed = bench.call(4, &ListGroupsRequest::default());
    let found = listed
        .groups
        .iter()
        .find(|listed| listed.group_id == group_id(&group))
        .expect("the group is listed");
    assert_eq!(
        (&found.protocol_type[..], &found.group_state[..]),
        ("consumer", "Stable")
    );
    let empty = bench.call(4, &ListGroupsRequest::default().with_states_filter(vec![text("Empty")]));
    assert!(empty.groups.iter().all(|listed| listed.group_id != group_id(&group)));
    let described = bench
        .call(5, &DescribeGroupsRequest::default().with_groups(vec![group_id(&group)]))
        .groups
        .remove(0);
    assert_eq!(
        (&described.group_state[..], &described.protocol_data[..]),
        ("Stable", "range")
    );
    let only = &described.members[0];
    assert_eq!(
        (&only.member_id[..], &only.client_id[..]),
        (&member[..], "compat-tests")
    );
    assert_eq!(
        (&only.member_metadata[..], &only.member_assignment[..]),
        (&b"m"[..], &b"mine"[..])
    );
    assert!(only.client_host.starts_with('/'), "{}", only.client_host);
}
