//! CreatePartitions, and paging through partitions with DescribeTopicPartitions (metadata's `ReplicationControlManager`,
//! server's `DescribeTopicPartitionsRequestHandler`).

use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic;
use kafka_protocol::messages::{BrokerId, CreatePartitionsRequest, DescribeTopicPartitionsRequest};

use compat_tests::admin::{broker_id, create_partitions, describe_topic, partitions_request, sorted};
use compat_tests::batch::Batch;
use compat_tests::broker::external_address;
use compat_tests::requests::{create_topic, fetch, new_topic, produce, topic_name, unique, until, values};
use compat_tests::wire::Connection;

use crate::Bench;

fn grow(connection: &mut Connection, topic: &str, count: i32) -> i16 {
    let answers = create_partitions(connection, &[(topic, count)]);
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers[0].1
}

fn becomes(connection: &mut Connection, topic: &str, count: usize) {
    until("the partitions are known", || {
        (describe_topic(connection, topic).partitions.len() == count).then_some(())
    });
}

#[test]
fn every_version_adds_partitions_that_serve() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce(&mut bench, &topic, 0, Batch::of(&["old"]).encode());
    for (version, count) in (0..=3).zip(2..) {
        let results = bench.call(version, &partitions_request(&[(&topic, count)])).results;
        assert_eq!(results.len(), 1);
        assert_eq!((&results[0].name, results[0].error_code), (&topic_name(&topic), 0));
        assert_eq!(results[0].error_message, None);
    }
    becomes(&mut bench, &topic, 5);
    for index in 1..5 {
        until("the new partition takes records", || {
            let answer = produce(&mut bench, &topic, index, Batch::of(&["new"]).encode());
            (answer.error_code == 0).then(|| assert_eq!(answer.base_offset, 0))
        });
        assert_eq!(values(&fetch(&mut bench, &topic, index, 0)), ["new"]);
    }
    assert_eq!(values(&fetch(&mut bench, &topic, 0, 0)), ["old"]);
    let described = describe_topic(&mut bench, &topic);
    let mut partitions = described.partitions;
    partitions.sort_by_key(|partition| partition.partition_index);
    for (index, partition) in (0..).zip(&partitions) {
        assert_eq!((partition.partition_index, partition.leader_epoch), (index, 0));
        assert_eq!(partition.isr_nodes, [partition.leader_id]);
    }
}

#[test]
fn only_more_is_more() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 3, &[]);
    for count in [3, 2, 0, -1, i32::MIN] {
        assert_eq!(grow(&mut bench, &topic, count), 37, "{count}");
    }
    for name in [
        &unique("stranger"),
        "",
        "a/b",
        "..",
        &"x".repeat(300),
        "__cluster_metadata",
    ] {
        assert_eq!(grow(&mut bench, name, 4), 3, "{name:?}");
    }
    assert_eq!(describe_topic(&mut bench, &topic).partitions.len(), 3);
}

#[test]
fn one_bad_topic_does_not_spoil_the_others() {
    let mut bench = Bench::new();
    let (first, twice, last) = (new_topic(&mut bench), new_topic(&mut bench), new_topic(&mut bench));
    let stranger = unique("stranger");
    let asked = [
        (&first[..], 2),
        (&twice, 2),
        (&stranger, 2),
        (&twice, 3),
        (&bench.topic.clone(), 1),
        (&last, 4),
    ];
    let answers = create_partitions(&mut bench, &asked);
    let due = [
        (&first, 0),
        (&twice, 42),
        (&stranger, 3),
        (&bench.topic, 37),
        (&last, 0),
    ];
    assert_eq!(answers, sorted(due.map(|(name, code)| (name.clone(), code))));
    becomes(&mut bench, &first, 2);
    becomes(&mut bench, &last, 4);
    assert_eq!(describe_topic(&mut bench, &twice).partitions.len(), 1);
    assert!(create_partitions(&mut bench, &[]).is_empty());
}

#[test]
fn more_partitions_than_anybody_can_have() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let good = new_topic(&mut bench);
    let answers = create_partitions(&mut bench, &[(&topic, i32::MAX), (&good, 2)]);
    let code = |name: &str| answers.iter().find(|answer| answer.0 == name).expect("an answer").1;
    assert_ne!(code(&topic), 0);
    assert_eq!(describe_topic(&mut bench, &topic).partitions.len(), 1);
    if external_address().is_some() {
        return; // Apache Kafka fails the whole request with -1
    }
    assert_eq!(code(&good), 0);
    assert_eq!(describe_topic(&mut bench, &good).partitions.len(), 2);
    assert_ne!(grow(&mut bench, &topic, 1_000_000), 0);
    assert_eq!(describe_topic(&mut bench, &topic).partitions.len(), 1);
}

#[test]
fn validate_only_adds_nothing() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let mut validate = |count| {
        let request = partitions_request(&[(&topic, count)]).with_validate_only(true);
        bench.call(3, &request).results[0].error_code
    };
    assert_eq!((validate(5), validate(1), validate(0)), (0, 37, 37));
    assert_eq!(describe_topic(&mut bench, &topic).partitions.len(), 1);
}

fn assigned(topic: &str, count: i32, brokers: &[&[BrokerId]]) -> CreatePartitionsRequest {
    let one = |&brokers: &&[BrokerId]| CreatePartitionsAssignment::default().with_broker_ids(brokers.to_vec());
    let topic = CreatePartitionsTopic::default()
        .with_name(topic_name(topic))
        .with_count(count)
        .with_assignments(Some(brokers.iter().map(one).collect()));
    CreatePartitionsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000)
}

#[test]
fn assignments_by_hand() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let here = broker_id(&mut bench);
    let stranger = BrokerId(here.0 + 77);
    let mut code = |count, brokers: &[&[BrokerId]]| {
        let answer = bench.call(3, &assigned(&topic, count, brokers));
        answer.results[0].error_code
    };
    assert_eq!(code(2, &[]), 39, "an empty list is not the same as none");
    assert_eq!(code(3, &[&[here]]), 39, "too few");
    assert_eq!(code(2, &[&[here], &[here]]), 39, "too many");
    assert_eq!(code(2, &[&[]]), 39, "no broker");
    assert_eq!(code(2, &[&[stranger]]), 39, "nobody by that id");
    assert_eq!(code(2, &[&[BrokerId(-1)]]), 39, "-1");
    assert_eq!(code(2, &[&[here, here]]), 39, "the same broker twice");
    assert_eq!(code(2, &[&[here, stranger]]), 39, "another replication factor");
    assert_eq!(code(1, &[&[here]]), 37, "not more");
    assert_eq!(code(3, &[&[here], &[here]]), 0);
    becomes(&mut bench, &topic, 3);
}

fn describe(
    connection: &mut Connection,
    topics: &[&str],
    limit: i32,
    cursor: Option<(&str, i32)>,
) -> (Vec<DescribeTopicPartitionsResponseTopic>, Option<(String, i32)>) {
    let cursor = cursor.map(|(topic, index)| {
        Cursor::default()
            .with_topic_name(topic_name(topic))
            .with_partition_index(index)
    });
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(
            topics
                .iter()
                .map(|topic| TopicRequest::default().with_name(topic_name(topic)))
                .collect(),
        )
        .with_response_partition_limit(limit)
        .with_cursor(cursor);
    let answer = connection.call(0, &request);
    let next = answer
        .next_cursor
        .map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index));
    (answer.topics, next)
}

/// Code, name and partitions of each topic.
fn outline(topics: &[DescribeTopicPartitionsResponseTopic]) -> Vec<(i16, String, Vec<i32>)> {
    let one = |topic: &DescribeTopicPartitionsResponseTopic| {
        let name = topic.name.as_ref().map(|name| name.0.to_string()).unwrap_or_default();
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        (topic.error_code, name, indexes.collect())
    };
    topics.iter().map(one).collect()
}

/// All partitions, in pages of `limit`.
fn walk(connection: &mut Connection, topics: &[&str], limit: i32) -> Vec<(String, i32)> {
    let mut seen = Vec::new();
    let mut cursor: Option<(String, i32)> = None;
    loop {
        let here = cursor.as_ref().map(|(topic, index)| (&topic[..], *index));
        let (found, next) = describe(connection, topics, limit, here);
        for (code, name, indexes) in outline(&found) {
            assert_eq!(code, 0, "{name}");
            seen.extend(indexes.into_iter().map(|index| (name.clone(), index)));
        }
        if next.is_none() {
            return seen;
        }
        assert_ne!(next, cursor, "the same page again");
        cursor = next;
    }
}

#[test]
fn a_topic_is_described_in_full() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 2, &[]);
    let (topics, next) = describe(&mut bench, &[&topic], 2_000, None);
    assert_eq!(outline(&topics), [(0, topic.clone(), vec![0, 1])]);
    assert_eq!(next, None);
    assert_eq!(topics[0].topic_id, describe_topic(&mut bench, &topic).topic_id);
    assert!(!topics[0].is_internal);
    assert_eq!(
        topics[0].topic_authorized_operations, 3_576,
        "read, write, create, delete, alter, describe, both configs"
    );
    let here = broker_id(&mut bench);
    for partition in &topics[0].partitions {
        assert_eq!(
            (partition.error_code, partition.leader_id, partition.leader_epoch),
            (0, here, 0)
        );
        assert_eq!(
            (&partition.replica_nodes[..], &partition.isr_nodes[..]),
            (&[here][..], &[here][..])
        );
        assert!(partition.offline_replicas.is_empty());
        assert_eq!(partition.eligible_leader_replicas, Some(Vec::new()));
        assert_eq!(partition.last_known_elr, Some(Vec::new()));
    }
}

#[test]
fn pages_end_where_the_limit_says() {
    let mut bench = Bench::new();
    let base = unique("paged");
    let (first, second) = (format!("{base}-a"), format!("{base}-b"));
    create_topic(&mut bench, &first, 3, &[]);
    create_topic(&mut bench, &second, 2, &[]);
    let both = [&second[..], &first[..], &second[..]]; // sorted, and each once, by the broker
    let one = |indexes: &[i32]| (0, first.clone(), indexes.to_vec());
    let two = |indexes: &[i32]| (0, second.clone(), indexes.to_vec());
    let mut page = |limit, cursor| {
        let (topics, next) = describe(&mut bench, &both, limit, cursor);
        (outline(&topics), next)
    };
    let at = |topic: &String, index| Some((topic.clone(), index));
    assert_eq!(page(1, None), (vec![one(&[0])], at(&first, 1)));
    assert_eq!(
        page(3, None),
        (vec![one(&[0, 1, 2])], at(&second, 0)),
        "a page that ends with a topic"
    );
    assert_eq!(page(4, None), (vec![one(&[0, 1, 2]), two(&[0])], at(&second, 1)));
    assert_eq!(page(5, None), (vec![one(&[0, 1, 2]), two(&[0, 1])], None));
    for limit in [0, -1, i32::MIN] {
        assert_eq!(page(limit, None), (vec![one(&[0])], at(&first, 1)), "limit {limit}");
    }
    assert_eq!(page(i32::MAX, None), (vec![one(&[0, 1, 2]), two(&[0, 1])], None));
    assert_eq!(page(2, Some((&first, 1))), (vec![one(&[1, 2])], at(&second, 0)));
    assert_eq!(page(2, Some((&second, 0))), (vec![two(&[0, 1])], None));
    assert_eq!(page(2, Some((&second, 1))), (vec![two(&[1])], None));
    assert_eq!(
        page(9, Some((&first, 9))),
        (vec![one(&[]), two(&[0, 1])], None),
        "behind the last"
    );
    let seen = walk(&mut bench, &both, 1);
    let due = (0..3)
        .map(|index| (first.clone(), index))
        .chain((0..2).map(|index| (second.clone(), index)));
    assert_eq!(seen, due.collect::<Vec<_>>(), "page by page, each once");
}

#[test]
fn strangers_and_bad_names_beside_a_good_one() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let (stranger, long) = (unique("stranger"), "x".repeat(300));
    let (topics, next) = describe(&mut bench, &[&stranger, &topic, "a b", "..", &long], 2_000, None);
    let due = [
        (3, stranger, vec![]),
        (0, topic.clone(), vec![0]),
        (17, "a b".to_owned(), vec![]),
        (17, "..".to_owned(), vec![]),
        (17, long, vec![]),
    ];
    assert_eq!(sorted(outline(&topics)), sorted(due));
    assert_eq!(next, None);
    if external_address().is_none() {
        // Apache Kafka answers -1 for all of them.
        let (topics, _) = describe(&mut bench, &["", &topic], 2_000, None);
        assert_eq!(
            sorted(outline(&topics)),
            sorted([(17, String::new(), vec![]), (0, topic.clone(), vec![0])])
        );
    }
}

#[test]
fn cursors_that_lead_nowhere() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let mut code = |cursor| outline(&describe(&mut bench, &[&topic], 2, Some(cursor)).0);
    for cursor in [(&topic[..], -1), ("", 0), (&topic[..topic.len() - 1], 1), ("zzz", 0)] {
        assert_eq!(code(cursor), [(42, topic.clone(), vec![])], "{cursor:?}");
    }
    let gone = format!("{topic}-z");
    let (topics, next) = describe(&mut bench, &[&topic, &gone], 2, Some((&gone, 0)));
    assert_eq!(
        (outline(&topics), next),
        (vec![(3, gone, vec![])], None),
        "listed, but not there"
    );
}

#[test]
fn no_names_mean_all_topics() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let names: Vec<String> = walk(&mut bench, &[], 3).into_iter().map(|(name, _)| name).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert!(names.contains(&topic) && names.contains(&bench.topic), "{names:?}");
}
