//! CreateTopics, DeleteTopics and Metadata (metadata's `ReplicationControlManager`, core's `KafkaApis`).

use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{BrokerId, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest};
use uuid::Uuid;

use compat_tests::requests::{CREATE_TOPICS, creatable, fetch, new_topic, produce_values, topic_name, unique, until};
use compat_tests::wire::{Connection, text};

use crate::Bench;
use crate::offsets::topic_id;

fn create(connection: &mut Connection, topics: Vec<CreatableTopic>) -> Vec<CreatableTopicResult> {
    let request = CreateTopicsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(30_000);
    connection.call(CREATE_TOPICS, &request).topics
}

fn refusal(connection: &mut Connection, topic: CreatableTopic) -> i16 {
    create(connection, vec![topic]).remove(0).error_code
}

fn describe(connection: &mut Connection, topic: &str) -> MetadataResponseTopic {
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![asked]))
        .with_allow_auto_topic_creation(false);
    connection.call(12, &request).topics.remove(0)
}

#[test]
fn a_created_topic_is_described_in_full() {
    let mut bench = Bench::new();
    let topic = unique("made");
    let result = create(&mut bench, vec![creatable(&topic, 3, &[("retention.ms", "1234")])]).remove(0);
    assert_eq!(
        (result.error_code, result.num_partitions, result.replication_factor),
        (0, 3, 1)
    );
    assert!(!result.topic_id.is_nil());
    let configs = result.configs.expect("configs are told");
    let retention = configs
        .iter()
        .find(|config| &config.name[..] == "retention.ms")
        .expect("retention.ms is told");
    assert_eq!((retention.value.as_deref(), retention.config_source), (Some("1234"), 1));
    let cleanup = configs
        .iter()
        .find(|config| &config.name[..] == "cleanup.policy")
        .expect("defaults are told");
    assert_eq!((cleanup.value.as_deref(), cleanup.config_source), (Some("delete"), 5));
    let described = until("the topic is known", || {
        Some(describe(&mut bench, &topic)).filter(|topic| topic.error_code == 0)
    });
    assert_eq!(
        (described.topic_id, described.partitions.len(), described.is_internal),
        (result.topic_id, 3, false)
    );
    for partition in described.partitions {
        assert_eq!((partition.error_code, partition.leader_epoch), (0, 0));
        assert_eq!(
            (&partition.replica_nodes, &partition.isr_nodes),
            (&vec![partition.leader_id], &vec![partition.leader_id])
        );
    }
}

#[test]
fn names_that_no_topic_may_have() {
    let mut bench = Bench::new();
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a/b", "../up", "a b", "a\0b", "ü", &long] {
        assert_eq!(refusal(&mut bench, creatable(name, 1, &[])), 17, "{name:?}");
        let asked = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default().with_topics(Some(vec![asked]));
        assert_eq!(
            bench.call(9, &request).topics[0].error_code,
            17,
            "{name:?} by first use"
        );
    }
    assert_eq!(
        refusal(&mut bench, creatable(&unique("x").repeat(30)[..249], 1, &[])),
        0,
        "249 characters"
    );
}

#[test]
fn names_that_differ_in_a_dot_collide() {
    let mut bench = Bench::new();
    let name = unique("with.dot");
    assert_eq!(refusal(&mut bench, creatable(&name, 1, &[])), 0);
    assert_eq!(refusal(&mut bench, creatable(&name.replace('.', "_"), 1, &[])), 17);
}

#[test]
fn what_create_topics_refuses() {
    let mut bench = Bench::new();
    let there = new_topic(&mut bench);
    assert_eq!(refusal(&mut bench, creatable(&there, 1, &[])), 36);
    for partitions in [0, -2] {
        assert_eq!(refusal(&mut bench, creatable(&unique("t"), partitions, &[])), 37);
    }
    for factor in [0, -2, 3] {
        assert_eq!(
            refusal(
                &mut bench,
                creatable(&unique("t"), 1, &[]).with_replication_factor(factor)
            ),
            38
        );
    }
    for config in [
        ("retention.ms", "soon"),
        ("no.such.config", "1"),
        ("cleanup.policy", "burn"),
        ("segment.bytes", "1"),
    ] {
        assert_eq!(
            refusal(&mut bench, creatable(&unique("t"), 1, &[config])),
            40,
            "{config:?}"
        );
    }
    let null = CreatableTopicConfig::default()
        .with_name(text("retention.ms"))
        .with_value(None);
    assert_eq!(
        refusal(&mut bench, creatable(&unique("t"), 1, &[]).with_configs(vec![null])),
        40
    );
    let name = unique("t");
    let twice = create(&mut bench, vec![creatable(&name, 1, &[]), creatable(&name, 2, &[])]);
    assert!(twice.iter().all(|result| result.error_code == 42), "{twice:?}");
    assert_eq!(describe(&mut bench, &name).error_code, 3);
}

#[test]
fn assignments_by_hand() {
    let mut bench = Bench::new();
    let there = new_topic(&mut bench);
    let broker = describe(&mut bench, &there).partitions[0].leader_id;
    let assigned = |partitions: &[(i32, Vec<BrokerId>)]| {
        let assignment = |(index, brokers): &(i32, Vec<BrokerId>)| {
            CreatableReplicaAssignment::default()
                .with_partition_index(*index)
                .with_broker_ids(brokers.clone())
        };
        creatable(&unique("t"), -1, &[])
            .with_replication_factor(-1)
            .with_assignments(partitions.iter().map(assignment).collect())
    };
    assert_eq!(
        refusal(&mut bench, assigned(&[(0, vec![broker]), (1, vec![broker])])),
        0
    );
    assert_eq!(
        refusal(&mut bench, assigned(&[(0, vec![broker]), (2, vec![broker])])),
        39,
        "a hole"
    );
    assert_eq!(
        refusal(&mut bench, assigned(&[(0, vec![BrokerId(broker.0 + 77)])])),
        39,
        "nobody by that id"
    );
    assert_eq!(
        refusal(&mut bench, assigned(&[(0, vec![broker, broker])])),
        39,
        "the same broker twice"
    );
    assert_eq!(
        refusal(&mut bench, assigned(&[(0, vec![broker])]).with_num_partitions(1)),
        42,
        "both ways at once"
    );
}

#[test]
fn defaults_and_validate_only() {
    let mut bench = Bench::new();
    let topic = creatable(&unique("t"), -1, &[]).with_replication_factor(-1);
    let result = create(&mut bench, vec![topic]).remove(0);
    assert_eq!((result.error_code, result.replication_factor), (0, 1));
    assert!(result.num_partitions >= 1);
    let name = unique("t");
    let request = CreateTopicsRequest::default()
        .with_topics(vec![creatable(&name, 2, &[])])
        .with_timeout_ms(30_000)
        .with_validate_only(true);
    let result = bench.call(CREATE_TOPICS, &request).topics.remove(0);
    assert_eq!((result.error_code, result.num_partitions), (0, 2));
    assert_eq!(describe(&mut bench, &name).error_code, 3);
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let mut bench = Bench::new();
    let (by_name, by_id) = (new_topic(&mut bench), new_topic(&mut bench));
    produce_values(&mut bench, &by_name, &["old"]);
    let id = topic_id(&mut bench, &by_id);
    let delete = |connection: &mut Connection, state: DeleteTopicState| {
        let request = DeleteTopicsRequest::default()
            .with_topics(vec![state])
            .with_timeout_ms(30_000);
        connection.call(6, &request).responses.remove(0)
    };
    let named = |name: &str| DeleteTopicState::default().with_name(Some(topic_name(name)));
    let with_id = |id| DeleteTopicState::default().with_name(None).with_topic_id(id);
    assert_eq!(delete(&mut bench, named(&by_name)).error_code, 0);
    let deleted = delete(&mut bench, with_id(id));
    assert_eq!((deleted.error_code, deleted.name), (0, Some(topic_name(&by_id))));
    assert_eq!(delete(&mut bench, named(&by_name)).error_code, 3);
    assert_eq!(delete(&mut bench, with_id(id)).error_code, 100);
    let stranger: Uuid = "0123456789abcdef0123456789abcdef".parse().expect("a UUID");
    assert_eq!(delete(&mut bench, with_id(stranger)).error_code, 100);
    let both = DeleteTopicState::default()
        .with_name(Some(topic_name("x")))
        .with_topic_id(stranger);
    assert_eq!(delete(&mut bench, both).error_code, 42);
    until("the deletion is known", || {
        (describe(&mut bench, &by_name).error_code == 3).then_some(())
    });
    assert_eq!(
        refusal(&mut bench, creatable(&by_name, 1, &[])),
        0,
        "the name is free again"
    );
    until("the new one serves", || {
        (fetch(&mut bench, &by_name, 0, 0).error_code == 0).then_some(())
    });
    assert_eq!(
        fetch(&mut bench, &by_name, 0, 0).high_watermark,
        0,
        "and nothing of the old one is left"
    );
}

#[test]
fn all_topics_no_topics_and_first_use() {
    let mut bench = Bench::new();
    let there = new_topic(&mut bench);
    let has = |topics: &[MetadataResponseTopic]| topics.iter().any(|topic| topic.name == Some(topic_name(&there)));
    let empty = MetadataRequest::default().with_topics(Some(Vec::new()));
    assert!(has(&bench.call(0, &empty).topics), "version 0: an empty list means all");
    for version in 1..=13 {
        assert!(
            bench.call(version, &empty).topics.is_empty(),
            "version {version}: an empty list means none"
        );
        assert!(
            has(&bench
                .call(version, &MetadataRequest::default().with_topics(None))
                .topics),
            "{version}: null"
        );
    }
    let stranger = unique("stranger");
    assert_eq!(describe(&mut bench, &stranger).error_code, 3, "not made without leave");
    assert_eq!(describe(&mut bench, &stranger).error_code, 3);
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(&stranger)));
    let request = MetadataRequest::default().with_topics(Some(vec![asked]));
    let first = bench.call(9, &request).topics.remove(0);
    assert_eq!(
        (first.error_code, first.partitions.len()),
        (3, 0),
        "a client has to ask again for what its request makes"
    );
    until("first use made it", || {
        (describe(&mut bench, &stranger).error_code == 0).then_some(())
    });
}

#[test]
fn metadata_by_id() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let id = topic_id(&mut bench, &topic);
    let stranger: Uuid = "0123456789abcdef0123456789abcdef".parse().expect("a UUID");
    let by_id = |id| MetadataRequestTopic::default().with_name(None).with_topic_id(id);
    let request = MetadataRequest::default().with_topics(Some(vec![by_id(id), by_id(stranger)]));
    let mut topics = bench.call(12, &request).topics;
    topics.sort_by_key(|topic| topic.error_code);
    assert_eq!(
        (topics[0].error_code, topics[0].name.clone()),
        (0, Some(topic_name(&topic)))
    );
    assert_eq!((topics[1].error_code, topics[1].topic_id), (100, stranger));
}

#[test]
fn clients_are_told_the_address_they_dialled() {
    let mut bench = Bench::new();
    let answer = bench.call(9, &MetadataRequest::default().with_topics(Some(Vec::new())));
    let address = bench.broker.address();
    assert_eq!(answer.brokers.len(), 1);
    assert_eq!(
        (&answer.brokers[0].host[..], answer.brokers[0].port),
        (&address.ip().to_string()[..], i32::from(address.port()))
    );
    assert_eq!(answer.controller_id, answer.brokers[0].node_id);
    assert!(answer.cluster_id.is_some_and(|id| !id.is_empty()));
    assert_eq!(answer.cluster_authorized_operations, i32::MIN);
}
