//! CreateTopics and DeleteTopics, version by version and check by check: one bad topic of a request costs the others nothing
//! (metadata's `ReplicationControlManager` and `ConfigurationControlManager`, core's `ControllerApis`).

use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{BrokerId, CreateTopicsRequest, DeleteTopicsRequest};
use uuid::Uuid;

use compat_tests::admin::{TOPIC, broker_id, delete_topics_request, describe_topic, sorted, value_of};
use compat_tests::broker::external_address;
use compat_tests::requests::{CREATE_TOPICS, creatable, fetch, new_topic, produce_values, topic_name, unique, until};
use compat_tests::wire::Connection;

use crate::Bench;

fn request(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(30_000)
}

fn codes(results: &[CreatableTopicResult]) -> Vec<(String, i16)> {
    sorted(
        results
            .iter()
            .map(|result| (result.name.0.to_string(), result.error_code)),
    )
}

fn create(connection: &mut Connection, topics: Vec<CreatableTopic>) -> Vec<(String, i16)> {
    codes(&connection.call(CREATE_TOPICS, &request(topics)).topics)
}

/// What a request that changes nothing would answer for one topic.
fn check(connection: &mut Connection, topic: CreatableTopic) -> i16 {
    let answers = connection
        .call(CREATE_TOPICS, &request(vec![topic]).with_validate_only(true))
        .topics;
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers[0].error_code
}

#[test]
fn every_version_creates() {
    let mut bench = Bench::new();
    for version in 2..=7 {
        let name = unique("made");
        let topic = creatable(&name, if version < 4 { 2 } else { -1 }, &[("flush.ms", "777")]);
        let mut results = bench.call(version, &request(vec![topic])).topics;
        assert_eq!(results.len(), 1);
        let result = results.remove(0);
        assert_eq!(
            (result.name, result.error_code, result.error_message),
            (topic_name(&name), 0, None)
        );
        if version >= 5 {
            assert!(result.num_partitions >= 1, "version {version}");
            let configs = result.configs.expect("configs are told");
            assert!(
                configs
                    .iter()
                    .any(|config| &config.name[..] == "flush.ms" && config.config_source == 1)
            );
        }
        assert_eq!(result.topic_id.is_nil(), version < 7, "version {version}");
        until("the topic is known", || {
            (describe_topic(&mut bench, &name).error_code == 0).then_some(())
        });
        assert_eq!(
            value_of(&mut bench, (TOPIC, &name), "flush.ms"),
            (Some("777".to_owned()), 1)
        );
    }
}

#[test]
fn one_bad_topic_does_not_spoil_the_others() {
    let mut bench = Bench::new();
    let there = new_topic(&mut bench);
    let names: Vec<String> = (0..7).map(|_| unique("t")).collect();
    let topics = vec![
        creatable(&names[0], 1, &[]),
        creatable("a b", 1, &[]),
        creatable(&there, 1, &[]),
        creatable(&names[1], 0, &[]),
        creatable(&names[2], 1, &[]).with_replication_factor(7),
        creatable(&names[3], 1, &[("no.such", "1")]),
        creatable(&names[4], 1, &[]),
        creatable(&names[5], 2, &[]),
        creatable(&names[4], 1, &[]),
        creatable("", 1, &[]),
        creatable(&names[6], 1, &[]).with_replication_factor(0),
    ];
    let due = [
        (&names[0][..], 0),
        ("a b", 17),
        (&there, 36),
        (&names[1], 37),
        (&names[2], 38),
        (&names[3], 40),
        (&names[4], 42),
        (&names[5], 0),
        ("", 17),
        (&names[6], 38),
    ];
    let mut answers = create(&mut bench, topics);
    answers.dedup(); // a name that was sent twice may be answered once or twice
    assert_eq!(answers, sorted(due.map(|(name, code)| (name.to_owned(), code))));
    for (name, code) in due {
        if code == 0 {
            until("the topic is known", || {
                (describe_topic(&mut bench, name).error_code == 0).then_some(())
            });
        } else if name != there {
            assert_ne!(describe_topic(&mut bench, name).error_code, 0, "{name:?}");
        }
    }
    assert!(create(&mut bench, Vec::new()).is_empty());
    let twice = create(&mut bench, vec![creatable(&there, 1, &[]), creatable(&there, 1, &[])]);
    assert!(twice.iter().all(|(_, code)| *code == 42), "{twice:?}");
}

/// Values that no topic can have.
const BAD_CONFIGS: &[(&str, &str)] = &[
    ("", "1"),
    ("retention.ms", ""),
    ("retention.ms", "-2"),
    ("retention.ms", "1.5"),
    ("retention.bytes", "99999999999999999999"),
    ("cleanup.policy", "compact,burn"),
    ("compression.type", "brotli"),
    ("compression.gzip.level", "0"),
    ("compression.gzip.level", "10"),
    ("compression.lz4.level", "18"),
    ("min.insync.replicas", "0"),
    ("max.message.bytes", "-1"),
    ("message.timestamp.type", "Created"),
    ("message.format.version", "3.0"),
    ("unclean.leader.election.enable", "maybe"),
    ("preallocate", "1"),
    ("follower.replication.throttled.replicas", "x"),
    ("segment.ms", "0"),
    ("segment.bytes", "1048575"),
    ("segment.index.bytes", "3"),
    ("file.delete.delay.ms", "-1"),
    ("min.cleanable.dirty.ratio", "1.5"),
    ("min.compaction.lag.ms", "-1"),
    ("max.compaction.lag.ms", "0"),
    ("delete.retention.ms", "-1"),
    ("flush.messages", "0"),
    ("flush.ms", "-1"),
    ("index.interval.bytes", "-1"),
    ("remote.storage.enable", "true"),
];

/// Values at the edge that a topic can have.
const GOOD_CONFIGS: &[(&str, &str)] = &[
    ("retention.ms", "-1"),
    ("retention.ms", " 5 "),
    ("retention.bytes", "0"),
    ("cleanup.policy", "compact,delete"),
    ("cleanup.policy", "delete,delete"),
    ("cleanup.policy", ""),
    ("compression.type", "zstd"),
    ("compression.gzip.level", "-1"),
    ("compression.zstd.level", "22"),
    ("compression.zstd.level", "-1"),
    ("min.insync.replicas", "2"),
    ("max.message.bytes", "0"),
    ("message.timestamp.type", "LogAppendTime"),
    ("unclean.leader.election.enable", "TRUE"),
    ("leader.replication.throttled.replicas", "0:1,1:1"),
    ("follower.replication.throttled.replicas", "*"),
    ("segment.bytes", "1048576"),
    ("file.delete.delay.ms", "0"),
    ("min.cleanable.dirty.ratio", "0"),
    ("flush.messages", "1"),
    ("local.retention.ms", "5"),
];

#[test]
fn values_that_configs_do_not_take() {
    let mut bench = Bench::new();
    for config in BAD_CONFIGS {
        assert_eq!(
            check(&mut bench, creatable(&unique("t"), 1, &[*config])),
            40,
            "{config:?}"
        );
    }
    for config in GOOD_CONFIGS {
        assert_eq!(
            check(&mut bench, creatable(&unique("t"), 1, &[*config])),
            0,
            "{config:?}"
        );
    }
    let contradictory = [("min.compaction.lag.ms", "100"), ("max.compaction.lag.ms", "50")];
    assert_eq!(check(&mut bench, creatable(&unique("t"), 1, &contradictory)), 40);
    let twice = [("flush.ms", "1"), ("flush.ms", "2")];
    let name = unique("t");
    assert_eq!(
        create(&mut bench, vec![creatable(&name, 1, &twice)]),
        [(name.clone(), 0)]
    );
    until("the topic is known", || {
        (describe_topic(&mut bench, &name).error_code == 0).then_some(())
    });
    assert_eq!(
        value_of(&mut bench, (TOPIC, &name), "flush.ms").0.as_deref(),
        Some("2"),
        "the last one counts"
    );
}

#[test]
fn more_partitions_than_a_request_may_make() {
    let mut bench = Bench::new();
    let name = unique("t");
    assert_eq!(
        create(&mut bench, vec![creatable(&name, 10_001, &[])]),
        [(name.clone(), 44)]
    );
    let two = vec![creatable(&unique("t"), 6_000, &[]), creatable(&unique("t"), 6_000, &[])];
    let answers = create(&mut bench, two);
    assert!(answers.iter().all(|(_, code)| *code == 44), "{answers:?}");
    let answers = create(&mut bench, vec![creatable(&name, i32::MAX, &[])]);
    assert_ne!(answers[0].1, 0, "Apache Kafka answers -1");
    assert_eq!(describe_topic(&mut bench, &name).error_code, 3);
}

#[test]
fn the_metadata_log_is_no_topic() {
    let mut bench = Bench::new();
    assert_eq!(check(&mut bench, creatable("__cluster_metadata", 1, &[])), 42);
    assert_eq!(describe_topic(&mut bench, "__cluster_metadata").error_code, 3);
}

#[test]
fn names_that_collide_within_a_request() {
    let mut bench = Bench::new();
    let base = unique("x");
    let (dots, lines) = (format!("{base}.y_z"), format!("{base}_y.z"));
    let answers = create(&mut bench, vec![creatable(&dots, 1, &[]), creatable(&lines, 1, &[])]);
    let refused = answers.iter().filter(|(_, code)| *code == 17).count();
    let made = answers.iter().filter(|(_, code)| *code == 0).count();
    if external_address().is_some() {
        assert_eq!(
            (made, refused),
            (2, 0),
            "Apache Kafka compares with the topics that were there before"
        );
    } else {
        assert!((made, refused) == (2, 0) || (made, refused) == (1, 1), "{answers:?}");
    }
}

#[test]
fn assignments_that_contradict() {
    let mut bench = Bench::new();
    let here = broker_id(&mut bench);
    let mut code = |partitions: &[(i32, &[BrokerId])]| {
        let one = |&(index, brokers): &(i32, &[BrokerId])| {
            CreatableReplicaAssignment::default()
                .with_partition_index(index)
                .with_broker_ids(brokers.to_vec())
        };
        let topic = creatable(&unique("t"), -1, &[])
            .with_replication_factor(-1)
            .with_assignments(partitions.iter().map(one).collect());
        let both = topic.clone().with_replication_factor(1);
        assert_eq!(check(&mut bench, both), 42, "a factor and assignments");
        check(&mut bench, topic)
    };
    let alone = &[here][..];
    assert_eq!(code(&[(1, alone), (0, alone)]), 0, "in any order");
    assert_eq!(code(&[(-1, alone), (0, alone)]), 39);
    assert_eq!(code(&[(1, alone)]), 39, "not from 0");
    assert_eq!(code(&[(0, alone), (0, alone)]), 39, "a partition twice");
    assert_eq!(code(&[(0, &[])]), 39, "nobody");
    assert_eq!(code(&[(0, alone), (1, &[])]), 39, "different factors");
}

#[test]
fn every_version_deletes() {
    let mut bench = Bench::new();
    for version in 1..=6 {
        let topic = new_topic(&mut bench);
        let stranger = unique("stranger");
        let asked = [&topic[..], &stranger];
        let request = if version < 6 {
            DeleteTopicsRequest::default()
                .with_topic_names(asked.iter().map(|name| topic_name(name)).collect())
                .with_timeout_ms(30_000)
        } else {
            delete_topics_request(&asked)
        };
        let answer = bench.call(version, &request);
        let one = |name: &str| {
            let found = answer
                .responses
                .iter()
                .find(|result| result.name == Some(topic_name(name)));
            found.map(|result| result.error_code)
        };
        assert_eq!((one(&topic), one(&stranger)), (Some(0), Some(3)), "version {version}");
        until("the deletion is known", || {
            (describe_topic(&mut bench, &topic).error_code == 3).then_some(())
        });
    }
}

#[test]
fn deletes_that_contradict() {
    let mut bench = Bench::new();
    let (twice, good) = (new_topic(&mut bench), new_topic(&mut bench));
    let id = describe_topic(&mut bench, &twice).topic_id;
    let named = |name: &str| DeleteTopicState::default().with_name(Some(topic_name(name)));
    let with_id = |id| DeleteTopicState::default().with_name(None).with_topic_id(id);
    let stranger: Uuid = "0123456789abcdef0123456789abcdef".parse().expect("a UUID");
    let mut delete = |topics: Vec<DeleteTopicState>| {
        let request = DeleteTopicsRequest::default()
            .with_topics(topics)
            .with_timeout_ms(30_000);
        let mut codes: Vec<i16> = bench
            .call(6, &request)
            .responses
            .iter()
            .map(|result| result.error_code)
            .collect();
        codes.sort_unstable();
        codes.dedup(); // what was sent twice may be answered once or twice
        codes
    };
    assert!(delete(Vec::new()).is_empty());
    assert_eq!(delete(vec![with_id(Uuid::nil())]), [42], "neither name nor id");
    assert_eq!(delete(vec![named("")]), [3]);
    assert_eq!(delete(vec![named(&twice).with_topic_id(id)]), [42], "name and id");
    assert_eq!(delete(vec![named(&twice), named(&twice)]), [42]);
    assert_eq!(delete(vec![with_id(id), with_id(id)]), [42]);
    assert_eq!(
        delete(vec![named(&twice), with_id(id)]),
        [42],
        "the same topic both ways"
    );
    let mixed = vec![
        named(&twice),
        named(&good),
        named("no topic"),
        with_id(stranger),
        named(&twice),
    ];
    assert_eq!(delete(mixed), [0, 3, 42, 100]);
    until("the deletion is known", || {
        (describe_topic(&mut bench, &good).error_code == 3).then_some(())
    });
    assert_eq!(describe_topic(&mut bench, &twice).error_code, 0, "still there");
    assert_eq!(produce_values(&mut bench, &twice, &["still serves"]), 0);
}

#[test]
fn a_reader_of_a_deleted_topic_is_told() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce_values(&mut bench, &topic, &["old"; 100]);
    let mut reader = bench.connect();
    assert_eq!(fetch(&mut reader, &topic, 0, 0).error_code, 0);
    let answer = bench.call(6, &delete_topics_request(&[&topic]));
    assert_eq!(answer.responses[0].error_code, 0);
    until("the reader is told", || {
        (fetch(&mut reader, &topic, 0, 0).error_code == 3).then_some(())
    });
}
