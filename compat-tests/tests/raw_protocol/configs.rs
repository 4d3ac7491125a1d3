//! DescribeConfigs and ListConfigResources (core's `ConfigHelper`, `KafkaApis`).

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::{DescribeConfigsRequest, ListConfigResourcesRequest};

use compat_tests::admin::{
    BROKER, BROKER_LOGGER, CLIENT_METRICS, DELETE, GROUP, Resource, SET, TOPIC, alter, broker_id, config,
    describe_request, sorted, value_of,
};
use compat_tests::requests::{create_topic, new_topic, unique, until};
use compat_tests::wire::Connection;

use crate::Bench;

/// Everything that a topic can be set to in Kafka 4.3, with its type.
const TOPIC_CONFIGS: &[(&str, i8)] = &[
    ("cleanup.policy", 7),
    ("compression.gzip.level", 3),
    ("compression.lz4.level", 3),
    ("compression.type", 2),
    ("compression.zstd.level", 3),
    ("delete.retention.ms", 5),
    ("file.delete.delay.ms", 5),
    ("flush.messages", 5),
    ("flush.ms", 5),
    ("follower.replication.throttled.replicas", 7),
    ("index.interval.bytes", 3),
    ("leader.replication.throttled.replicas", 7),
    ("local.retention.bytes", 5),
    ("local.retention.ms", 5),
    ("max.compaction.lag.ms", 5),
    ("max.message.bytes", 3),
    ("message.timestamp.after.max.ms", 5),
    ("message.timestamp.before.max.ms", 5),
    ("message.timestamp.type", 2),
    ("min.cleanable.dirty.ratio", 6),
    ("min.compaction.lag.ms", 5),
    ("min.insync.replicas", 3),
    ("preallocate", 1),
    ("remote.log.copy.disable", 1),
    ("remote.log.delete.on.disable", 1),
    ("remote.storage.enable", 1),
    ("retention.bytes", 5),
    ("retention.ms", 5),
    ("segment.bytes", 3),
    ("segment.index.bytes", 3),
    ("segment.jitter.ms", 5),
    ("segment.ms", 5),
    ("unclean.leader.election.enable", 1),
];

/// The code and the number of configs of one resource.
fn describe(connection: &mut Connection, resource: Resource<'_>, keys: Option<&[&str]>) -> (i16, usize) {
    let answer = connection.call(4, &describe_request(&[(resource, keys)]));
    assert_eq!(answer.results.len(), 1);
    let result = &answer.results[0];
    assert_eq!((result.resource_type, &result.resource_name[..]), resource);
    (result.error_code, result.configs.len())
}

fn synonyms(config: &DescribeConfigsResourceResult) -> Vec<(String, Option<String>, i8)> {
    let one = |synonym: &kafka_protocol::messages::describe_configs_response::DescribeConfigsSynonym| {
        (
            synonym.name.to_string(),
            synonym.value.as_ref().map(ToString::to_string),
            synonym.source,
        )
    };
    config.synonyms.iter().map(one).collect()
}

fn synonym(name: &str, value: &str, source: i8) -> (String, Option<String>, i8) {
    (name.to_owned(), Some(value.to_owned()), source)
}

#[test]
fn every_version_tells_what_it_has_fields_for() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 1, &[("retention.ms", "12345")]);
    for version in 1..=4 {
        let asked = |keys| describe_request(&[((TOPIC, &topic), keys)]);
        let answer = bench.call(
            version,
            &asked(Some(&["retention.ms"])).with_include_documentation(version >= 3),
        );
        let result = &answer.results[0];
        assert_eq!((result.error_code, result.configs.len()), (0, 1), "version {version}");
        let found = &result.configs[0];
        assert_eq!((found.value.as_deref(), found.config_source), (Some("12345"), 1));
        assert_eq!((found.read_only, found.is_sensitive), (false, false));
        assert_eq!(synonyms(found), [synonym("retention.ms", "12345", 1)]);
        if version >= 3 {
            assert_eq!(found.config_type, 5);
            assert!(found.documentation.as_ref().is_some_and(|text| text.len() > 20));
        }
        let plain = bench.call(version, &asked(None).with_include_synonyms(false));
        for config in &plain.results[0].configs {
            assert!(config.synonyms.is_empty(), "version {version}: {config:?}");
            assert!(version < 3 || config.documentation.is_none(), "version {version}");
        }
    }
}

#[test]
fn a_topic_has_these_configs() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    for keys in [None, Some(&[][..])] {
        let answer = bench.call(4, &describe_request(&[((TOPIC, &topic), keys)]));
        let found = sorted(
            answer.results[0]
                .configs
                .iter()
                .map(|config| (&config.name[..], config.config_type)),
        );
        assert_eq!(found, TOPIC_CONFIGS);
        for config in &answer.results[0].configs {
            assert!(!config.read_only && !config.is_sensitive, "{config:?}");
            assert!(config.value.is_some(), "{config:?}");
        }
    }
    for (key, value, broker_key) in [
        ("cleanup.policy", "delete", "log.cleanup.policy"),
        ("max.message.bytes", "1048588", "message.max.bytes"),
        ("index.interval.bytes", "4096", "log.index.interval.bytes"),
        ("retention.bytes", "-1", "log.retention.bytes"),
        ("segment.bytes", "1073741824", "log.segment.bytes"),
        ("compression.type", "producer", "compression.type"),
    ] {
        let found = config(&mut bench, (TOPIC, &topic), key).expect("it is told");
        assert_eq!((found.value.as_deref(), found.config_source), (Some(value), 5), "{key}");
        assert_eq!(synonyms(&found), [synonym(broker_key, value, 5)], "{key}");
    }
    let found = config(&mut bench, (TOPIC, &topic), "retention.ms").expect("it is told");
    assert_eq!((found.value.as_deref(), found.config_source), (Some("604800000"), 5));
    assert_eq!(
        synonyms(&found),
        [],
        "hours are no synonym as long as log.retention.ms is not set"
    );
}

#[test]
fn keys_that_are_not_there_are_left_out() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let resource = (TOPIC, &topic[..]);
    assert_eq!(describe(&mut bench, resource, Some(&["no.such"])), (0, 0));
    assert_eq!(
        describe(&mut bench, resource, Some(&["no.such", "flush.ms", ""])),
        (0, 1)
    );
    assert_eq!(
        describe(&mut bench, resource, Some(&["flush.ms", "flush.ms"])),
        (0, 1),
        "each once"
    );
    let answer = bench.call(
        4,
        &describe_request(&[(resource, Some(&["flush.ms"])), (resource, Some(&["segment.ms"]))]),
    );
    assert!((1..=2).contains(&answer.results.len()), "{answer:?}");
    assert!(bench.call(4, &DescribeConfigsRequest::default()).results.is_empty());
}

#[test]
fn resources_that_are_not_there() {
    let mut bench = Bench::new();
    let here = broker_id(&mut bench).0;
    let (stranger, long, other) = (unique("stranger"), "x".repeat(300), (here + 77).to_string());
    let due = [
        ((TOPIC, &stranger[..]), 3),
        ((TOPIC, "a b"), 17),
        ((TOPIC, ""), 17),
        ((TOPIC, &long), 17),
        ((BROKER, &other), 42),
        ((BROKER, "x"), 42),
        ((BROKER, "99999999999"), 42),
        ((BROKER_LOGGER, &other), 42),
        ((BROKER_LOGGER, ""), 42),
        ((CLIENT_METRICS, ""), 42),
        ((GROUP, ""), 42),
        ((0, "x"), 42),
        ((1, "x"), 42),
        ((3, "x"), 42),
        ((64, "x"), 42),
        ((99, "x"), 42),
        ((-1, "x"), 42),
    ];
    for (resource, code) in due {
        assert_eq!(describe(&mut bench, resource, None), (code, 0), "{resource:?}");
    }
    // In one request; unknown types only beside each other, since one of them makes Apache Kafka answer 42 for all.
    let known: Vec<_> = due
        .iter()
        .filter(|((kind, _), _)| [TOPIC, BROKER].contains(kind))
        .collect();
    let mut asked: Vec<_> = known.iter().map(|(resource, _)| (*resource, None)).collect();
    let good = bench.topic.clone();
    asked.push(((TOPIC, &good), None));
    let answer = bench.call(4, &describe_request(&asked));
    let found = sorted(
        answer
            .results
            .iter()
            .map(|result| (&result.resource_name[..], result.error_code)),
    );
    let wanted = known
        .iter()
        .map(|((_, name), code)| (*name, *code))
        .chain([(&good[..], 0)]);
    assert_eq!(found, sorted(wanted));
}

#[test]
fn a_broker_tells_its_configs() {
    let mut bench = Bench::new();
    let here = broker_id(&mut bench).0.to_string();
    let answer = bench.call(
        4,
        &describe_request(&[((BROKER, &here), None)]).with_include_documentation(true),
    );
    let configs: BTreeMap<String, DescribeConfigsResourceResult> = answer.results[0]
        .configs
        .iter()
        .map(|config| (config.name.to_string(), config.clone()))
        .collect();
    assert!(configs.len() >= 250, "{}", configs.len());
    let told = |key: &str| configs.get(key).unwrap_or_else(|| panic!("{key} is not told"));
    for (key, read_only, kind) in [
        ("node.id", true, 3),
        ("log.dirs", true, 7),
        ("log.retention.hours", true, 3),
        ("auto.create.topics.enable", true, 1),
        ("queued.max.requests", true, 3),
        ("group.initial.rebalance.delay.ms", true, 3),
        ("num.io.threads", false, 3),
        ("log.retention.ms", false, 5),
        ("log.retention.bytes", false, 5),
        ("message.max.bytes", false, 3),
        ("log.cleanup.policy", false, 7),
        ("compression.type", false, 2),
        ("max.connections.per.ip", false, 3),
        ("unclean.leader.election.enable", false, 1),
        ("log.cleaner.min.cleanable.ratio", false, 6),
    ] {
        let config = told(key);
        assert_eq!((config.read_only, config.config_type), (read_only, kind), "{key}");
        assert!(
            config.documentation.as_ref().is_some_and(|text| !text.is_empty()),
            "{key}"
        );
    }
    assert_eq!(told("node.id").value.as_deref(), Some(&here[..]));
    assert_eq!(told("log.dirs").config_source, 4, "set from outside");
    let unset = told("log.retention.ms");
    assert_eq!((unset.value.as_deref(), unset.config_source), (None, 5));
    for key in [
        "ssl.keystore.password",
        "ssl.key.password",
        "sasl.jaas.config",
        "ssl.truststore.password",
    ] {
        assert!(told(key).is_sensitive, "{key}");
        assert_eq!((told(key).value.as_deref(), told(key).config_type), (None, 9), "{key}");
    }
    for config in configs.values().filter(|config| config.is_sensitive) {
        assert_eq!(config.value, None, "{}", config.name);
        assert!(
            config.synonyms.iter().all(|synonym| synonym.value.is_none()),
            "{}",
            config.name
        );
    }
    let (code, defaults) = describe(&mut bench, (BROKER, ""), None);
    assert_eq!(code, 0);
    assert!(defaults < 10, "only what was set for the whole cluster, not {defaults}");
}

#[test]
fn other_resources() {
    let mut bench = Bench::new();
    let here = broker_id(&mut bench).0.to_string();
    let group = unique("group");
    let (code, count) = describe(&mut bench, (GROUP, &group), None);
    assert_eq!(code, 0, "a group need not be there");
    assert!(count > 2, "{count}");
    let found = config(&mut bench, (GROUP, &group), "consumer.session.timeout.ms").expect("it is told");
    assert_eq!((found.value.as_deref(), found.config_source), (Some("45000"), 5));
    assert_eq!(describe(&mut bench, (CLIENT_METRICS, "nobody's"), None).0, 0);
    assert_eq!(describe(&mut bench, (BROKER_LOGGER, &here), None).0, 0);
}

#[test]
fn resources_are_listed_by_type() {
    let mut bench = Bench::new();
    let here = broker_id(&mut bench).0.to_string();
    let (topic, metrics) = (new_topic(&mut bench), unique("metrics"));
    let resource = (CLIENT_METRICS, &metrics[..]);
    assert_eq!(alter(&mut bench, resource, &[("interval.ms", SET, Some("100000"))]), 0);
    until("the subscription is known", || {
        (value_of(&mut bench, resource, "interval.ms").1 == 7).then_some(())
    });
    let list = |connection: &mut Connection, types: &[i8]| {
        let answer = connection.call(
            1,
            &ListConfigResourcesRequest::default().with_resource_types(types.to_vec()),
        );
        let one = |found: &kafka_protocol::messages::list_config_resources_response::ConfigResource| {
            (found.resource_type, found.resource_name.to_string())
        };
        (answer.error_code, sorted(answer.config_resources.iter().map(one)))
    };
    assert_eq!(list(&mut bench, &[BROKER]), (0, vec![(BROKER, here.clone())]));
    assert_eq!(list(&mut bench, &[BROKER, BROKER]), (0, vec![(BROKER, here.clone())]));
    let both = vec![(BROKER, here.clone()), (BROKER_LOGGER, here.clone())];
    assert_eq!(list(&mut bench, &[BROKER_LOGGER, BROKER]), (0, both));
    let (code, topics) = list(&mut bench, &[TOPIC]);
    assert_eq!(code, 0);
    assert!(
        topics.contains(&(TOPIC, topic.clone())),
        "also without configs of its own"
    );
    assert!(topics.iter().all(|(kind, _)| *kind == TOPIC));
    let (code, all) = list(&mut bench, &[]);
    assert_eq!(code, 0);
    for wanted in [
        (TOPIC, &topic),
        (BROKER, &here),
        (BROKER_LOGGER, &here),
        (CLIENT_METRICS, &metrics),
    ] {
        assert!(all.contains(&(wanted.0, wanted.1.clone())), "{wanted:?}");
    }
    for types in [&[0][..], &[99], &[-1], &[BROKER, 99]] {
        assert_eq!(list(&mut bench, types), (35, vec![]), "{types:?}");
    }
    let old = bench.call(0, &ListConfigResourcesRequest::default());
    assert_eq!(old.error_code, 0);
    assert!(
        old.config_resources
            .iter()
            .any(|found| found.resource_name[..] == metrics)
    );
    assert!(
        old.config_resources
            .iter()
            .all(|found| found.resource_name[..] != topic),
        "client metrics only"
    );
    assert_eq!(alter(&mut bench, resource, &[("interval.ms", DELETE, None)]), 0);
}
