//! Paging: its limits, its cursors, and that pages joined together give everything once.

use kafka_protocol::messages::describe_topic_partitions_request::{self, TopicRequest};
use proptest::prelude::*;
use protocol::encode::encode_response;

use super::*;
use crate::metadata::apply::tests::{creation_of, image_of, start_of};

/// Topics `a` (3 partitions), `b` (1), `c` (2) and the offsets topic (1).
fn image() -> MetadataImage {
    image_of(&[
        start_of(1, 1, true),
        creation_of("a", 11, 3),
        creation_of("b", 12, 1),
        creation_of("c", 13, 2),
        creation_of(topic_name::CONSUMER_OFFSETS, 14, 1),
    ])
}

fn ask(topics: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> DescribeTopicPartitionsRequest {
    let cursor = cursor.map(|(topic, partition)| {
        describe_topic_partitions_request::Cursor::default()
            .with_topic_name(topic_of(topic))
            .with_partition_index(partition)
    });
    let topics = topics
        .iter()
        .map(|name| TopicRequest::default().with_name(topic_of(name)));
    DescribeTopicPartitionsRequest::default()
        .with_topics(topics.collect())
        .with_response_partition_limit(limit)
        .with_cursor(cursor)
}

fn respond(request: &DescribeTopicPartitionsRequest, limit: i32) -> DescribeTopicPartitionsResponse {
    let view = Viewpoint {
        version: 0,
        node_id: 1,
        listener: "PLAINTEXT",
        endpoint: (StrBytes::from_static_str("here"), 9092),
    };
    let response = answer(&view, &image(), request, limit);
    encode_response(75, 0, 1, &response).expect("fields of the version");
    response
}

/// (topic, code, partitions) of every topic, and the cursor.
type Told = (Vec<(String, i16, Vec<i32>)>, Option<(String, i32)>);

fn told(response: &DescribeTopicPartitionsResponse) -> Told {
    let topic = |topic: &DescribeTopicPartitionsResponseTopic| {
        let name = topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index);
        (name, topic.error_code, partitions.collect())
    };
    let cursor = response.next_cursor.as_ref();
    (
        response.topics.iter().map(topic).collect(),
        cursor.map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index)),
    )
}

fn page(topics: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> Told {
    told(&respond(&ask(topics, limit, cursor), 2_000))
}

fn row(name: &str, code: i16, partitions: &[i32]) -> (String, i16, Vec<i32>) {
    (name.to_owned(), code, partitions.to_vec())
}

#[test]
fn all_topics_come_sorted_and_whole() {
    let response = respond(&ask(&[], 2_000, None), 2_000);
    let expected = vec![
        row(topic_name::CONSUMER_OFFSETS, 0, &[0]),
        row("a", 0, &[0, 1, 2]),
        row("b", 0, &[0]),
        row("c", 0, &[0, 1]),
    ];
    assert_eq!(told(&response), (expected, None));
    let topic = &response.topics[1];
    assert_eq!((topic.topic_id.as_u128(), topic.is_internal), (11, false));
    assert_eq!(topic.topic_authorized_operations, 3576);
    assert!(response.topics[0].is_internal);
    let partition = &topic.partitions[2];
    let brokers = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
    assert_eq!((partition.leader_id.0, partition.leader_epoch), (1, 0));
    assert_eq!(brokers(&partition.replica_nodes), [1]);
    assert_eq!(brokers(&partition.isr_nodes), [1]);
    assert!(partition.offline_replicas.is_empty());
    assert_eq!(partition.eligible_leader_replicas.as_deref(), Some(&[][..]));
    assert_eq!(partition.last_known_elr.as_deref(), Some(&[][..]));
}

#[test]
fn a_page_ends_inside_or_between_topics() {
    let cursor = |topic: &str, partition| Some((topic.to_owned(), partition));
    let named = &["c", "a", "b", "a"];
    assert_eq!(page(named, 2, None), (vec![row("a", 0, &[0, 1])], cursor("a", 2)));
    assert_eq!(
        page(named, 2, Some(("a", 2))),
        (vec![row("a", 0, &[2]), row("b", 0, &[0])], cursor("c", 0))
    );
    assert_eq!(page(named, 2, Some(("c", 0))), (vec![row("c", 0, &[0, 1])], None));
    assert_eq!(page(named, 3, None).1, cursor("b", 0));
}

#[test]
fn the_smaller_limit_holds_and_at_least_one_partition_is_told() {
    let count = |limit, configured| {
        let response = respond(&ask(&["a"], limit, None), configured);
        response.topics[0].partitions.len()
    };
    assert_eq!(
        [count(2, 2_000), count(2_000, 2), count(0, 2_000), count(-5, 2_000)],
        [2, 2, 1, 1]
    );
}

#[test]
fn missing_topics_take_no_place() {
    let told = page(&["b", "aa", "no good", ""], 1, None);
    let expected = vec![row("", 17, &[]), row("aa", 3, &[]), row("b", 0, &[0])];
    assert_eq!(told, (expected, Some(("no good".to_owned(), 0))));
}

#[test]
fn cursors_beyond_what_is_there_are_taken() {
    let after = || vec![row("b", 0, &[0]), row("c", 0, &[0, 1])];
    let whole = |first: (String, i16, Vec<i32>)| (std::iter::once(first).chain(after()).collect::<Vec<_>>(), None);
    assert_eq!(page(&[], 9, Some(("a", 3))), whole(row("a", 0, &[])));
    assert_eq!(page(&[], 9, Some(("a", i32::MAX))), whole(row("a", 0, &[])));
    assert_eq!(page(&[], 9, Some(("aaa", 1))), (after(), None), "a topic deleted since");
    assert_eq!(page(&[], 9, Some(("zzz", 0))), (vec![], None));
    assert_eq!(
        page(&["gone", "b"], 9, Some(("gone", 1))),
        (vec![row("gone", 3, &[])], None)
    );
}

#[test]
fn cursors_that_cannot_be_are_refused_for_each_named_topic() {
    for cursor in [("c", 0), ("a", -1), ("b", i32::MIN), ("", 0)] {
        let refused = page(&["b", "a"], 9, Some(cursor));
        assert_eq!(
            refused,
            (vec![row("b", 42, &[]), row("a", 42, &[])], None),
            "{cursor:?}"
        );
    }
    assert_eq!(page(&[], 9, Some(("a", -1))), (vec![], None));
}

proptest! {
    #[test]
    fn pages_joined_give_every_partition_once(named in any::<bool>(), limit in 1..8) {
        let topics: &[&str] = if named { &["a", "b", "c", "gone"] } else { &[] };
        let mut seen = Vec::new();
        let mut cursor: Option<(String, i32)> = None;
        for _ in 0..20 {
            let at = cursor.as_ref().map(|(topic, partition)| (topic.as_str(), *partition));
            let (topics, next) = page(topics, limit, at);
            let told = topics.into_iter().flat_map(|(name, _, partitions)| {
                partitions.into_iter().map(move |partition| (name.clone(), partition))
            });
            let before = seen.len();
            seen.extend(told);
            prop_assert!(seen.len() - before <= usize::try_from(limit).expect("positive"));
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        prop_assert!(cursor.is_none(), "no end");
        let all = page(topics, 2_000, None).0;
        let expected: Vec<_> = all
            .into_iter()
            .flat_map(|(name, _, partitions)| partitions.into_iter().map(move |partition| (name.clone(), partition)))
            .collect();
        prop_assert_eq!(seen, expected);
    }
}
