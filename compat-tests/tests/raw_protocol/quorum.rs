//! What one node honestly answers about leaders, reassignments, its quorum, features and registrations (metadata's
//! `ReplicationControlManager`, `FeatureControlManager` and `ClusterControlManager`, raft's `KafkaRaftClient`).

use std::collections::BTreeMap;

use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, ApiVersionsRequest, BrokerId, DescribeQuorumRequest, ElectLeadersRequest,
    ListPartitionReassignmentsRequest, UnregisterBrokerRequest, UpdateFeaturesRequest,
};

use compat_tests::admin::{broker_id, create_partitions, describe_topic, sorted};
use compat_tests::requests::{create_topic, new_topic, topic_name, unique, until};
use compat_tests::wire::{Connection, text};

use crate::Bench;

/// The log of the metadata.
const METADATA: &str = "__cluster_metadata";

fn election(topics: Option<&[(&str, &[i32])]>) -> ElectLeadersRequest {
    let one = |&(name, partitions): &(&str, &[i32])| {
        TopicPartitions::default()
            .with_topic(topic_name(name))
            .with_partitions(partitions.to_vec())
    };
    ElectLeadersRequest::default()
        .with_topic_partitions(topics.map(|topics| topics.iter().map(one).collect()))
        .with_timeout_ms(30_000)
}

/// Code at the top, and topic, partition and code of each result.
fn elect(connection: &mut Connection, version: i16, request: &ElectLeadersRequest) -> (i16, Vec<(String, i32, i16)>) {
    let answer = connection.call(version, request);
    let results = answer.replica_election_results.iter().flat_map(|topic| {
        let name = topic.topic.0.to_string();
        let partitions = topic.partition_result.iter();
        partitions.map(move |partition| (name.clone(), partition.partition_id, partition.error_code))
    });
    (answer.error_code, sorted(results))
}

#[test]
fn leaders_need_no_election() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 2, &[]);
    let needless = |index| (topic.clone(), index, 84);
    for version in 0..=2 {
        let request = election(Some(&[(&topic, &[0, 1])]));
        assert_eq!(
            elect(&mut bench, version, &request),
            (0, vec![needless(0), needless(1)]),
            "version {version}"
        );
        let all = elect(&mut bench, version, &election(None));
        assert_eq!(all, (0, vec![]), "where none is needed nothing is told");
    }
    let unclean = election(Some(&[(&topic, &[0])])).with_election_type(1);
    assert_eq!(elect(&mut bench, 2, &unclean), (0, vec![needless(0)]));
    assert_eq!(
        describe_topic(&mut bench, &topic).partitions[0].leader_epoch,
        0,
        "nothing was elected"
    );
    let strange = election(Some(&[(&topic, &[0])])).with_election_type(7);
    assert_eq!(
        elect(&mut bench, 2, &strange),
        (42, vec![(topic.clone(), 0, 42)]),
        "no such type of election"
    );
    assert_eq!(elect(&mut bench, 2, &election(None).with_election_type(-1)).0, 42);
}

#[test]
fn elections_of_strangers() {
    let mut bench = Bench::new();
    let (topic, stranger) = (new_topic(&mut bench), unique("stranger"));
    let mixed = election(Some(&[
        (&stranger, &[0]),
        (&topic, &[9, 0, -1]),
        ("", &[0]),
        ("a b", &[0]),
    ]));
    let due = [
        (&stranger[..], 0, 3),
        (&topic, 9, 3),
        (&topic, 0, 84),
        (&topic, -1, 3),
        ("", 0, 3),
        ("a b", 0, 3),
    ];
    let due = due.map(|(name, index, code)| (name.to_owned(), index, code));
    assert_eq!(elect(&mut bench, 2, &mixed), (0, sorted(due)));
    let twice = election(Some(&[(&topic, &[0, 0]), (&topic, &[0])]));
    let (code, mut results) = elect(&mut bench, 2, &twice);
    results.dedup();
    assert_eq!((code, results), (0, vec![(topic.clone(), 0, 84)]));
    assert_eq!(elect(&mut bench, 2, &election(Some(&[]))), (0, vec![]));
    assert_eq!(elect(&mut bench, 2, &election(Some(&[(&topic, &[])]))), (0, vec![]));
}

type TopicMoves<'a> = (&'a str, &'a [(i32, Option<&'a [BrokerId]>)]);
/// See [`TopicMoves`].
type Moves<'a> = &'a [TopicMoves<'a>];

fn reassignment(topics: Moves<'_>) -> AlterPartitionReassignmentsRequest {
    let partition = |&(index, replicas): &(i32, Option<&[BrokerId]>)| {
        ReassignablePartition::default()
            .with_partition_index(index)
            .with_replicas(replicas.map(<[_]>::to_vec))
    };
    let topic = |&(name, partitions): &TopicMoves<'_>| {
        ReassignableTopic::default()
            .with_name(topic_name(name))
            .with_partitions(partitions.iter().map(partition).collect())
    };
    AlterPartitionReassignmentsRequest::default()
        .with_topics(topics.iter().map(topic).collect())
        .with_timeout_ms(30_000)
}

fn reassign(connection: &mut Connection, version: i16, topics: Moves<'_>) -> (i16, Vec<(String, i32, i16)>) {
    let answer = connection.call(version, &reassignment(topics));
    let results = answer.responses.iter().flat_map(|topic| {
        let name = topic.name.0.to_string();
        let partitions = topic.partitions.iter();
        partitions.map(move |partition| (name.clone(), partition.partition_index, partition.error_code))
    });
    (answer.error_code, sorted(results))
}

#[test]
fn reassignments_to_the_only_broker() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let here = broker_id(&mut bench);
    let elsewhere = BrokerId(here.0 + 77);
    for version in 0..=1 {
        let moved = reassign(&mut bench, version, &[(&topic, &[(0, Some(&[here]))])]);
        assert_eq!(
            moved,
            (0, vec![(topic.clone(), 0, 0)]),
            "where it is already, version {version}"
        );
    }
    let refused: [&[BrokerId]; 5] = [&[elsewhere], &[], &[here, here], &[here, elsewhere], &[BrokerId(-1)]];
    for replicas in refused {
        let moved = reassign(&mut bench, 1, &[(&topic, &[(0, Some(replicas))])]);
        assert_eq!(moved, (0, vec![(topic.clone(), 0, 39)]), "{replicas:?}");
    }
    assert_eq!(
        reassign(&mut bench, 1, &[(&topic, &[(0, None)])]),
        (0, vec![(topic.clone(), 0, 85)])
    );
    let fixed = reassignment(&[(&topic, &[(0, Some(&[here]))])]).with_allow_replication_factor_change(false);
    let answer = bench.call(1, &fixed);
    assert_eq!(answer.responses[0].partitions[0].error_code, 0);
    assert!(!answer.allow_replication_factor_change, "told again");
    let described = describe_topic(&mut bench, &topic);
    assert_eq!(described.partitions[0].replica_nodes, [here]);
}

#[test]
fn reassignments_of_strangers() {
    let mut bench = Bench::new();
    let (topic, stranger) = (new_topic(&mut bench), unique("stranger"));
    let here: &[BrokerId] = &[broker_id(&mut bench)];
    let mixed: Moves<'_> = &[
        (&stranger, &[(0, Some(here))]),
        (&topic, &[(0, Some(here)), (9, Some(here)), (-1, None)]),
        ("", &[(0, Some(here))]),
        ("a b", &[(0, None)]),
    ];
    let due = [
        (&stranger[..], 0, 3),
        (&topic, 0, 0),
        (&topic, 9, 3),
        (&topic, -1, 3),
        ("", 0, 3),
        ("a b", 0, 3),
    ];
    let due = due.map(|(name, index, code)| (name.to_owned(), index, code));
    assert_eq!(reassign(&mut bench, 1, mixed), (0, sorted(due)));
    let twice = [
        (&topic[..], &[(0, Some(here)), (0, Some(here))][..]),
        (&topic, &[(0, Some(here))]),
    ];
    let (code, mut results) = reassign(&mut bench, 1, &twice);
    results.dedup();
    assert_eq!((code, results), (0, vec![(topic.clone(), 0, 0)]));
    assert_eq!(reassign(&mut bench, 1, &[]), (0, vec![]));
    assert_eq!(reassign(&mut bench, 1, &[(&topic, &[])]), (0, vec![]));
}

#[test]
fn no_reassignment_is_under_way() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let stranger = unique("stranger");
    let one = |name: &str, indexes: &[i32]| {
        ListPartitionReassignmentsTopics::default()
            .with_name(topic_name(name))
            .with_partition_indexes(indexes.to_vec())
    };
    let asked = [
        None,
        Some(vec![]),
        Some(vec![one(&topic, &[0])]),
        Some(vec![one(&stranger, &[0]), one(&topic, &[9, 0, 0]), one("", &[])]),
    ];
    for topics in asked {
        let request = ListPartitionReassignmentsRequest::default().with_topics(topics);
        let answer = bench.call(0, &request);
        assert_eq!((answer.error_code, answer.topics.len()), (0, 0), "{request:?}");
    }
}

fn quorum_request(topics: &[(&str, &[i32])]) -> DescribeQuorumRequest {
    let one = |&(name, partitions): &(&str, &[i32])| {
        let partitions = partitions
            .iter()
            .map(|index| PartitionData::default().with_partition_index(*index));
        TopicData::default()
            .with_topic_name(topic_name(name))
            .with_partitions(partitions.collect())
    };
    DescribeQuorumRequest::default().with_topics(topics.iter().map(one).collect())
}

#[test]
fn the_quorum_is_one_voter() {
    let mut bench = Bench::new();
    let here = broker_id(&mut bench);
    let mut high_watermark = 0;
    for version in 0..=2 {
        let answer = bench.call(version, &quorum_request(&[(METADATA, &[0])]));
        assert_eq!((answer.error_code, answer.topics.len()), (0, 1), "version {version}");
        let partition = &answer.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.partition_index), (0, 0));
        assert_eq!(partition.leader_id, here);
        assert!(partition.leader_epoch >= 1, "{partition:?}");
        assert!(partition.observers.is_empty(), "a voter observes nobody");
        let [voter] = &partition.current_voters[..] else {
            panic!("{partition:?}");
        };
        assert_eq!(voter.replica_id, here);
        assert!(
            voter.log_end_offset >= partition.high_watermark && partition.high_watermark > 0,
            "{partition:?}"
        );
        assert!(partition.high_watermark >= high_watermark);
        high_watermark = partition.high_watermark;
        assert_eq!(
            voter.last_caught_up_timestamp > 1_600_000_000_000,
            version >= 1,
            "{voter:?}"
        );
        assert_eq!(!voter.replica_directory_id.is_nil(), version >= 2, "{voter:?}");
        if version >= 2 {
            assert!(
                answer
                    .nodes
                    .iter()
                    .any(|node| node.node_id == here && !node.listeners.is_empty()),
                "{answer:?}"
            );
        }
    }
    let topic = new_topic(&mut bench);
    assert_eq!(create_partitions(&mut bench, &[(&topic, 2)]), [(topic, 0)]);
    let answer = bench.call(2, &quorum_request(&[(METADATA, &[0])]));
    assert!(
        answer.topics[0].partitions[0].high_watermark > high_watermark,
        "it grows with what changes"
    );
}

#[test]
fn no_other_partition_has_a_quorum() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    for version in 0..=2 {
        for (name, index) in [(&topic[..], 0), (METADATA, 1), (METADATA, -1), ("", 0)] {
            let answer = bench.call(version, &quorum_request(&[(name, &[index])]));
            assert_eq!((answer.error_code, answer.topics.len()), (0, 1), "{name:?} {index}");
            let partition = &answer.topics[0].partitions[0];
            assert_eq!(
                (partition.error_code, partition.partition_index),
                (3, index),
                "{name:?} {index}"
            );
            assert!(partition.current_voters.is_empty());
        }
    }
    let answer = bench.call(2, &quorum_request(&[]));
    assert_eq!((answer.error_code, answer.topics.len()), (0, 0));
}

fn finalized(connection: &mut Connection) -> BTreeMap<String, i16> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("compat-tests"))
        .with_client_software_version(text("1"));
    let features = connection.call(3, &request).finalized_features;
    let one = |feature: &kafka_protocol::messages::api_versions_response::FinalizedFeatureKey| {
        (feature.name.to_string(), feature.max_version_level)
    };
    features.iter().map(one).collect()
}

fn features_request(updates: &[(&str, i16, i8)]) -> UpdateFeaturesRequest {
    let one = |&(feature, level, upgrade_type): &(&str, i16, i8)| {
        FeatureUpdateKey::default()
            .with_feature(text(feature))
            .with_max_version_level(level)
            .with_upgrade_type(upgrade_type)
    };
    UpdateFeaturesRequest::default()
        .with_feature_updates(updates.iter().map(one).collect())
        .with_timeout_ms(30_000)
}

#[test]
fn features_stay_where_they_are() {
    let mut bench = Bench::new();
    let before = finalized(&mut bench);
    let level = before["metadata.version"];
    let same = features_request(&[("metadata.version", level, 1)]);
    for version in 0..=2 {
        let answer = bench.call(version, &same);
        assert_eq!(answer.error_code, 0, "version {version}");
        let results: Vec<_> = answer
            .results
            .iter()
            .map(|result| (&result.feature[..], result.error_code))
            .collect();
        let due: &[(&str, i16)] = if version < 2 { &[("metadata.version", 0)] } else { &[] };
        assert_eq!(results, due, "version {version}");
    }
    assert_eq!(bench.call(1, &features_request(&[])).error_code, 0);
    let refused: [&[(&str, i16, i8)]; 9] = [
        &[("no.such", 1, 1)],
        &[("", 1, 1)],
        &[("metadata.version", 999, 1)],
        &[("metadata.version", -1, 1)],
        &[("metadata.version", level - 1, 1)],
        &[("metadata.version", 0, 2)],
        &[("metadata.version", level, 9)],
        &[("metadata.version", level, 0)],
        &[("no.such", 1, 1), ("metadata.version", level, 1)],
    ];
    for updates in refused {
        for version in 1..=2 {
            let answer = bench.call(version, &features_request(updates).with_validate_only(true));
            assert_eq!(
                (answer.error_code, answer.results.len()),
                (95, 0),
                "{updates:?}, version {version}"
            );
            let message = answer.error_message.expect("kafka-features shows it");
            assert!(!message.is_empty());
        }
    }
    assert_eq!(finalized(&mut bench), before);
}

#[test]
fn strangers_are_not_registered() {
    let mut bench = Bench::new();
    let here = broker_id(&mut bench);
    for stranger in [here.0 + 77, -1, i32::MIN, i32::MAX] {
        let request = UnregisterBrokerRequest::default().with_broker_id(BrokerId(stranger));
        assert_eq!(bench.call(0, &request).error_code, 102, "{stranger}");
    }
    until("the broker is still there", || {
        (broker_id(&mut bench) == here).then_some(())
    });
}
