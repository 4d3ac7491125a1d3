//! Offsets that are committed within transactions: when they appear, what they hold back, who may commit them
//! (group-coordinator's `OffsetMetadataManager`, KIP-447).

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{JoinGroupRequest, OffsetFetchRequest, SyncGroupRequest, TxnOffsetCommitRequest};

use compat_tests::broker::external_address;
use compat_tests::requests::{
    commit, committed, find_coordinator as find_group_coordinator, group_id, new_topic, topic_name, unique, until,
};
use compat_tests::transactions::{
    ADD_OFFSETS, COMMIT_ADDED, COMMIT_ADDING, Producer, add_offsets, end, end_raising, new_producer, open, settled,
    try_end, txn_commit, txn_commit_request,
};
use compat_tests::wire::{Connection, text};

use crate::Bench;

/// Error code and offset of partition 0, as version 7 tells them.
fn stable(connection: &mut Connection, group: &str, topic: &str, require_stable: bool) -> (i16, i64) {
    let asked = OffsetFetchRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_topics(Some(vec![asked]))
        .with_require_stable(require_stable);
    until("the group's coordinator answers", || {
        let mut answer = connection.call(7, &request);
        (![14, 15, 16].contains(&answer.error_code)).then(|| {
            assert_eq!(answer.error_code, 0);
            let partition = answer.topics.remove(0).partitions.remove(0);
            (partition.error_code, partition.committed_offset)
        })
    })
}

/// A group, a topic and a producer, all new.
fn players(bench: &mut Bench) -> (String, String, Producer) {
    let group = unique("group");
    find_group_coordinator(bench, &group);
    (group, new_topic(bench), new_producer(bench))
}

#[test]
fn offsets_appear_with_the_commit() {
    let mut bench = Bench::new();
    let (group, topic, producer) = players(&mut bench);
    assert_eq!(commit(&mut bench, &group, ("", -1), &topic, 3), 0);
    assert_eq!(add_offsets(&mut bench, ADD_OFFSETS, &producer, &group), 0);
    assert_eq!(
        stable(&mut bench, &group, &topic, true),
        (0, 3),
        "what is added is not yet written"
    );
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDED, &producer, &group, &topic, 10), 0);
    assert_eq!(stable(&mut bench, &group, &topic, false), (0, 3), "the old one is told");
    assert_eq!(
        stable(&mut bench, &group, &topic, true),
        (88, -1),
        "or that it will change"
    );
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDED, &producer, &group, &topic, 11), 0);
    end(&mut bench, &producer, true);
    assert_eq!(stable(&mut bench, &group, &topic, true), (0, 11), "the last one counts");
    assert_eq!(stable(&mut bench, &group, &topic, false), (0, 11));
}

#[test]
fn aborted_offsets_never_were() {
    let mut bench = Bench::new();
    let (group, topic, producer) = players(&mut bench);
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &producer, &group, &topic, 10), 0);
    assert_eq!(stable(&mut bench, &group, &topic, false), (0, -1));
    assert_eq!(stable(&mut bench, &group, &topic, true), (88, -1));
    let raised = end_raising(&mut bench, &producer, false);
    assert_eq!(stable(&mut bench, &group, &topic, true), (0, -1));
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &raised, &group, &topic, 20), 0);
    let raised = end_raising(&mut bench, &raised, true);
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &raised, &group, &topic, 30), 0);
    end_raising(&mut bench, &raised, false);
    assert_eq!(stable(&mut bench, &group, &topic, true), (0, 20));
}

/// An offset is as new as its record in the log, not as its marker.
#[test]
fn a_later_plain_commit_wins() {
    let mut bench = Bench::new();
    let (group, topic, producer) = players(&mut bench);
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &producer, &group, &topic, 10), 0);
    assert_eq!(commit(&mut bench, &group, ("", -1), &topic, 5), 0);
    assert_eq!(stable(&mut bench, &group, &topic, false), (0, 5));
    end_raising(&mut bench, &producer, true);
    assert_eq!(stable(&mut bench, &group, &topic, true), (0, 5));
}

#[test]
fn two_producers_wait_for_each_other() {
    let mut bench = Bench::new();
    let (group, topic, first) = players(&mut bench);
    let second = new_producer(&mut bench);
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &first, &group, &topic, 10), 0);
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &second, &group, &topic, 20), 0);
    end_raising(&mut bench, &second, true);
    assert_eq!(stable(&mut bench, &group, &topic, false), (0, 20));
    assert_eq!(
        stable(&mut bench, &group, &topic, true),
        (88, -1),
        "the first one is still open"
    );
    end_raising(&mut bench, &first, true);
    assert_eq!(
        stable(&mut bench, &group, &topic, true),
        (0, 20),
        "the later record wins, not the later marker"
    );
}

#[test]
fn one_transaction_over_several_groups() {
    let mut bench = Bench::new();
    let (first, topic, producer) = players(&mut bench);
    let others: Vec<_> = (0..10).map(|_| unique("group")).collect();
    for group in others.iter().chain([&first]) {
        find_group_coordinator(&mut bench, group);
        assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &producer, group, &topic, 7), 0);
    }
    for group in others.iter().chain([&first]) {
        assert_eq!(stable(&mut bench, group, &topic, true), (88, -1));
    }
    end_raising(&mut bench, &producer, true);
    for group in others.iter().chain([&first]) {
        assert_eq!(stable(&mut bench, group, &topic, true), (0, 7));
    }
}

/// Only the partition that is not stable is told so, in every version that can ask.
#[test]
fn unstable_partitions_do_not_hide_the_others() {
    let mut bench = Bench::new();
    let (group, topic, producer) = players(&mut bench);
    let (other, stranger) = (new_topic(&mut bench), unique("stranger"));
    assert_eq!(commit(&mut bench, &group, ("", -1), &other, 4), 0);
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &producer, &group, &topic, 10), 0);
    for version in 8..=9 {
        let asked = |topic: &str| {
            OffsetFetchRequestTopics::default()
                .with_name(topic_name(topic))
                .with_partition_indexes(vec![0])
        };
        for everything in [false, true] {
            let topics = (!everything).then(|| vec![asked(&topic), asked(&other), asked(&stranger)]);
            let group = OffsetFetchRequestGroup::default()
                .with_group_id(group_id(&group))
                .with_topics(topics);
            let group = if version == 9 {
                group.with_member_epoch(-1)
            } else {
                group
            };
            let request = OffsetFetchRequest::default()
                .with_groups(vec![group])
                .with_require_stable(true);
            let answer = bench.call(version, &request);
            assert_eq!(answer.groups[0].error_code, 0);
            let told = |topic: &str| {
                let topics = &answer.groups[0].topics;
                topics
                    .iter()
                    .find(|found| found.name.0.as_str() == topic)
                    .map(|found| (found.partitions[0].error_code, found.partitions[0].committed_offset))
            };
            assert_eq!(told(&other), Some((0, 4)), "version {version}");
            if everything {
                // Apache Kafka lists what has an offset, and this one has none yet.
                assert!([None, Some((88, -1))].contains(&told(&topic)), "version {version}");
            } else {
                assert_eq!(told(&topic), Some((88, -1)), "version {version}");
                assert_eq!(told(&stranger), Some((0, -1)), "version {version}");
            }
        }
    }
    end_raising(&mut bench, &producer, false);
}

/// A second instance may not read offsets that the first one's open transaction will still change.
#[test]
fn a_new_instance_ends_what_held_the_offsets_back() {
    let mut bench = Bench::new();
    let (group, topic, old) = players(&mut bench);
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &old, &group, &topic, 10), 0);
    let new = open(&mut bench, &old.transactional_id, 60_000);
    assert_eq!(stable(&mut bench, &group, &topic, true), (0, -1));
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &old, &group, &topic, 11), 47);
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &new, &group, &topic, 12), 0);
    end_raising(&mut bench, &new, true);
    assert_eq!(stable(&mut bench, &group, &topic, true), (0, 12));
}

/// A group with one member; its id and generation.
fn join_alone(connection: &mut Connection, group: &str) -> (String, i32) {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"m"));
    let request = JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let member = connection.call(7, &request).member_id;
    let joined = connection.call(7, &request.with_member_id(member));
    assert_eq!(joined.error_code, 0);
    let sync = SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(joined.member_id.clone())
        .with_generation_id(joined.generation_id)
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")));
    assert_eq!(connection.call(5, &sync).error_code, 0);
    (joined.member_id.to_string(), joined.generation_id)
}

fn code(connection: &mut Connection, version: i16, request: &TxnOffsetCommitRequest) -> i16 {
    connection.call(version, request).topics[0].partitions[0].error_code
}

#[test]
fn members_and_generations_are_checked() {
    let mut bench = Bench::new();
    let (group, topic, producer) = players(&mut bench);
    let (member, generation) = join_alone(&mut bench, &group);
    let nobody = unique("nobody");
    let of = |group: &str, member: &str, generation: i32| {
        txn_commit_request(&producer, group, &topic, 10)
            .with_member_id(text(member))
            .with_generation_id(generation)
    };
    for group in [&group, &nobody] {
        assert_eq!(add_offsets(&mut bench, ADD_OFFSETS, &producer, group), 0);
    }
    for version in 3..=5 {
        let mut asked =
            |group: &str, member: &str, generation: i32| code(&mut bench, version, &of(group, member, generation));
        assert_eq!(asked(&group, &member, generation), 0, "version {version}");
        assert_eq!(
            asked(&group, &member, generation + 1),
            22,
            "another generation, version {version}"
        );
        assert_eq!(
            asked(&group, "stranger", generation),
            25,
            "another member, version {version}"
        );
        assert_eq!(
            asked(&group, "", generation),
            25,
            "a generation without a member, version {version}"
        );
        assert_eq!(
            asked(&nobody, &member, 5),
            22,
            "a group that is not there, version {version}"
        );
        let named = of(&group, &member, generation).with_group_instance_id(Some(text("stranger")));
        assert_eq!(
            code(&mut bench, version, &named),
            25,
            "an unknown instance, version {version}"
        );
    }
    // Before version 3 there was nothing to check, and a client without a member may still commit.
    for version in 0..=5 {
        let plain = txn_commit_request(&producer, &group, &topic, 20 + i64::from(version));
        assert_eq!(code(&mut bench, version, &plain), 0, "version {version}");
    }
    end(&mut bench, &producer, true);
    assert_eq!(stable(&mut bench, &group, &topic, true), (0, 25));
}

/// The offsets' own topic is read like any other: markers and transactional batches are there.
#[test]
fn the_topic_of_offsets_holds_readers_back_as_well() {
    let mut bench = Bench::new();
    let (group, topic, producer) = players(&mut bench);
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &producer, &group, &topic, 10), 0);
    let state = settled(&mut bench, &producer.transactional_id);
    let place = state.topics[0].partitions[0];
    assert_eq!(state.topics[0].topic.0.as_str(), "__consumer_offsets");
    let mut request = compat_tests::transactions::committed_fetch_request("__consumer_offsets", 0, 0);
    request.topics[0].partitions[0].partition = place;
    let ends = |connection: &mut Connection| {
        let answer = connection.call(compat_tests::requests::FETCH_BY_NAME, &request);
        let data = &answer.responses[0].partitions[0];
        (data.last_stable_offset, data.high_watermark)
    };
    let (lso, high_watermark) = ends(&mut bench);
    assert!(lso < high_watermark, "{lso} {high_watermark}");
    end_raising(&mut bench, &producer, false);
    // Other tests may have something open there as well.
    until("readers go on", || (ends(&mut bench).0 > lso).then_some(()));
}

#[test]
fn a_restart_changes_nothing_for_offsets() {
    if external_address().is_some() {
        return;
    }
    let mut bench = Bench::new();
    let (group, topic, done) = players(&mut bench);
    let (gone, open) = (new_producer(&mut bench), new_producer(&mut bench));
    let (aborted, pending) = (unique("aborted"), unique("pending"));
    for group in [&aborted, &pending] {
        find_group_coordinator(&mut bench, group);
        assert_eq!(commit(&mut bench, group, ("", -1), &topic, 1), 0);
    }
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &done, &group, &topic, 10), 0);
    end_raising(&mut bench, &done, true);
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &gone, &aborted, &topic, 20), 0);
    end_raising(&mut bench, &gone, false);
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &open, &pending, &topic, 30), 0);
    for kill in [true, false, true] {
        if kill {
            bench.broker.kill();
        } else {
            bench.broker.stop();
        }
        bench.broker.restart();
        bench.connection = bench.broker.connect();
        bench.bystander = bench.broker.connect();
        assert_eq!(stable(&mut bench, &group, &topic, true), (0, 10), "kill {kill}");
        assert_eq!(stable(&mut bench, &aborted, &topic, true), (0, 1), "kill {kill}");
        assert_eq!(stable(&mut bench, &pending, &topic, false), (0, 1), "kill {kill}");
        assert_eq!(stable(&mut bench, &pending, &topic, true), (88, -1), "kill {kill}");
        assert_eq!(
            settled(&mut bench, &open.transactional_id).transaction_state.as_str(),
            "Ongoing"
        );
    }
    let answer = try_end(&mut bench, 5, &open, true);
    assert_eq!(answer.error_code, 0);
    settled(&mut bench, &open.transactional_id);
    assert_eq!(stable(&mut bench, &pending, &topic, true), (0, 30));
    assert_eq!(committed(&mut bench, &pending, &topic).committed_offset, 30);
}
