//! Metadata answers from an image, over all versions.

use protocol::encode::encode_response;
use uuid::Uuid;

use super::*;
use crate::metadata::apply::apply;
use crate::metadata::apply::tests::{creation_of, image_of, start_of};
use crate::metadata::command::{Command, CreateTopics, Endpoint, NewTopic, RegisterBroker, TopicLimits};

fn view(version: i16) -> Viewpoint<'static> {
    Viewpoint {
        version,
        node_id: 1,
        listener: "PLAINTEXT",
        endpoint: (StrBytes::from_static_str("here"), 9092),
    }
}

/// Broker 1 (this one), broker 2 with a listener, broker 3 without; topics `a`, `b` and an internal one.
fn image() -> MetadataImage {
    let endpoint = Endpoint {
        listener: "PLAINTEXT".to_owned(),
        host: "there".to_owned(),
        port: 9093,
    };
    let second = Command::RegisterBroker(RegisterBroker {
        broker_id: 2,
        incarnation: Uuid::from_u128(2),
        endpoints: vec![endpoint],
        rack: Some("r".to_owned()),
        clean_shutdown: true,
    });
    let spread = Command::CreateTopics(CreateTopics {
        topics: vec![NewTopic {
            name: "b".to_owned(),
            topic_id: Uuid::from_u128(21),
            replicas: vec![vec![2, 1], vec![3, 1]],
            configs: BTreeMap::new(),
        }],
        limits: TopicLimits {
            max_topics: 9,
            max_partitions: 99,
        },
    });
    image_of(&[
        Command::SetClusterId {
            cluster_id: "the-cluster".to_owned(),
            feature_level: 1,
        },
        start_of(1, 1, true),
        second,
        start_of(3, 3, true),
        creation_of("a", 20, 1),
        spread,
        creation_of(topic_name::CONSUMER_OFFSETS, 22, 1),
    ])
}

fn named(names: &[&str]) -> MetadataRequest {
    let topic = |name: &&str| {
        MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_string((*name).to_owned()))))
    };
    MetadataRequest::default().with_topics(Some(names.iter().map(topic).collect()))
}

fn by_id(ids: &[u128]) -> MetadataRequest {
    let topic = |id: &u128| {
        MetadataRequestTopic::default()
            .with_name(None)
            .with_topic_id(Uuid::from_u128(*id))
    };
    MetadataRequest::default().with_topics(Some(ids.iter().map(topic).collect()))
}

fn ask(version: i16, request: &MetadataRequest) -> MetadataResponse {
    let response = answer(&view(version), &image(), request, &BTreeMap::new());
    encode_response(3, version, 1, &response).expect("fields of the version");
    response
}

/// (name, code) of every topic in the answer.
fn topics(response: &MetadataResponse) -> Vec<(Option<&str>, i16)> {
    response
        .topics
        .iter()
        .map(|topic| (topic.name.as_ref().map(|name| &***name), topic.error_code))
        .collect()
}

#[test]
fn all_topics_are_asked_for_by_an_empty_list_first_and_by_null_later() {
    let all = [(Some("__consumer_offsets"), 0), (Some("a"), 0), (Some("b"), 0)];
    assert_eq!(topics(&ask(0, &named(&[])))[1..2], all[1..2]);
    assert_eq!(ask(0, &named(&[])).topics.len(), 3);
    for version in 1..=13 {
        assert_eq!(
            topics(&ask(version, &MetadataRequest::default().with_topics(None))).len(),
            3
        );
        assert!(topics(&ask(version, &named(&[]))).is_empty(), "version {version}");
    }
}

#[test]
fn unknown_and_invalid_names_get_their_codes_and_a_topic_is_told_once() {
    for version in 0..=13 {
        let response = ask(version, &named(&["x", "a", "no/", "a", "__transaction_state"]));
        let expected = [
            (Some("__transaction_state"), 3),
            (Some("a"), 0),
            (Some("no/"), 17),
            (Some("x"), 3),
        ];
        assert_eq!(topics(&response), expected, "version {version}");
        let internal: Vec<_> = response.topics.iter().map(|topic| topic.is_internal).collect();
        assert_eq!(internal, [version >= 1, false, false, false]);
    }
}

#[test]
fn ids_are_answered_since_version_12_and_refused_before() {
    for version in 12..=13 {
        assert_eq!(topics(&ask(version, &by_id(&[20, 99]))), [(Some("a"), 0), (None, 100)]);
        let mut mixed = by_id(&[20]);
        mixed
            .topics
            .as_mut()
            .expect("there")
            .extend(named(&["b"]).topics.expect("there"));
        assert_eq!(
            topics(&ask(version, &mixed)),
            [(Some("a"), 0)],
            "names beside ids are passed over"
        );
    }
    for version in 10..=11 {
        let response = ask(version, &by_id(&[20]));
        assert_eq!((topics(&response), response.brokers.len()), (vec![(Some(""), 42)], 0));
        assert_eq!(response.topics[0].topic_id, Uuid::from_u128(20));
    }
}

#[test]
fn cluster_brokers_and_partitions_are_told_as_the_version_can() {
    let mut request = named(&["a", "b"]);
    for version in 0..=13 {
        request.include_topic_authorized_operations = version >= 8;
        request.include_cluster_authorized_operations = (8..=10).contains(&version);
        let response = ask(version, &request);
        let brokers: Vec<_> = response
            .brokers
            .iter()
            .map(|b| (b.node_id.0, &*b.host, b.port))
            .collect();
        assert_eq!(
            brokers,
            [(1, "here", 9092), (2, "there", 9093)],
            "broker 3 cannot be reached here"
        );
        assert_eq!(response.cluster_id.as_deref(), (version >= 2).then_some("the-cluster"));
        assert_eq!(response.controller_id.0, if version >= 1 { 1 } else { -1 });
        let cluster = if (8..=10).contains(&version) { 8096 } else { i32::MIN };
        assert_eq!(response.cluster_authorized_operations, cluster);
        let a = &response.topics[0];
        assert_eq!(
            a.topic_authorized_operations,
            if version >= 8 { 3576 } else { i32::MIN }
        );
        assert_eq!(a.topic_id, Uuid::from_u128(if version >= 10 { 20 } else { 0 }));
        let partition = &a.partitions[0];
        assert_eq!((partition.error_code, partition.leader_id.0), (0, 1));
        assert_eq!(partition.leader_epoch, if version >= 7 { 0 } else { -1 });
        let b = &response.topics[1].partitions;
        assert_eq!((b[0].error_code, b[0].leader_id.0, b[0].replica_nodes.len()), (0, 2, 2));
        let (code, replicas) = match version {
            0 => (5, 1),
            1..=5 => (5, 2),
            _ => (72, 2),
        };
        assert_eq!(
            (b[1].error_code, b[1].leader_id.0, b[1].replica_nodes.len()),
            (code, -1, replicas)
        );
        let offline: Vec<_> = b[1].offline_replicas.iter().map(|broker| broker.0).collect();
        assert_eq!(offline, if version >= 5 { vec![3] } else { vec![] });
    }
}

#[test]
fn version_0_calls_an_unreachable_replica_an_error() {
    let mut image = image();
    let spread = Command::CreateTopics(CreateTopics {
        topics: vec![NewTopic {
            name: "c".to_owned(),
            topic_id: Uuid::from_u128(23),
            replicas: vec![vec![1, 3]],
            configs: BTreeMap::new(),
        }],
        limits: TopicLimits {
            max_topics: 9,
            max_partitions: 99,
        },
    });
    apply(&mut image, 100, &spread);
    for (version, code, replicas) in [(0, 9, 1), (1, 0, 2)] {
        let response = answer(&view(version), &image, &named(&["c"]), &BTreeMap::new());
        let partition = &response.topics[0].partitions[0];
        assert_eq!(
            (
                partition.error_code,
                partition.leader_id.0,
                partition.replica_nodes.len()
            ),
            (code, 1, replicas)
        );
    }
}

#[test]
fn topics_are_made_only_when_named_allowed_and_legal() {
    let config = BrokerConfig::default();
    let making = |config: &BrokerConfig, request: &MetadataRequest, version| -> Vec<String> {
        let made = topics_to_make(config, &image(), request, version);
        made.into_iter().map(|spec| spec.name).collect()
    };
    let request = named(&["new", "a", "no/", "__transaction_state", "__cluster_metadata"]);
    assert_eq!(making(&config, &request, 9), ["__transaction_state", "new"]);
    assert!(making(&config, &request.clone().with_allow_auto_topic_creation(false), 9).is_empty());
    assert!(
        making(
            &BrokerConfig {
                auto_create_topics_enable: false,
                ..config.clone()
            },
            &request,
            9
        )
        .is_empty()
    );
    assert!(making(&config, &named(&[]), 0).is_empty());
    assert!(making(&config, &by_id(&[77]), 12).is_empty());
    let own = topics_to_make(
        &config,
        &MetadataImage::default(),
        &named(&[topic_name::CONSUMER_OFFSETS, topic_name::TRANSACTION_STATE]),
        9,
    );
    assert_eq!((own[0].num_partitions, own[0].configs.len()), (50, 3));
    assert_eq!((own[1].num_partitions, own[1].configs.len()), (50, 5));
}

#[test]
fn a_topic_that_could_not_be_made_says_why() {
    let failures = BTreeMap::from([
        ("x".to_owned(), ErrorCode::InvalidReplicationFactor),
        ("y".to_owned(), ErrorCode::TopicAlreadyExists),
    ]);
    let response = answer(&view(9), &image(), &named(&["x", "y"]), &failures);
    assert_eq!(topics(&response), [(Some("x"), 38), (Some("y"), 3)]);
}
