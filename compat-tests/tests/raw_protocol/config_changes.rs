//! IncrementalAlterConfigs and AlterConfigs (core's `ConfigAdminManager`, metadata's `ConfigurationControlManager`).
//!
//! Changes of a broker's configs are taken back, since the broker may be one that other tests run against at the same time.

use kafka_protocol::messages::AlterConfigsRequest;
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};

use compat_tests::admin::{
    APPEND, BROKER, BROKER_LOGGER, CLIENT_METRICS, Change, DELETE, GROUP, Resource, SET, SUBTRACT, TOPIC, alter,
    alter_all, alter_request, broker_id, config, sorted, value_of,
};
use compat_tests::batch::Batch;
use compat_tests::broker::external_address;
use compat_tests::requests::{create_topic, new_topic, produce, unique, until};
use compat_tests::wire::{Connection, text};

use crate::Bench;

/// Waits until a config has a value, or no value of its own (`None`).
fn becomes(connection: &mut Connection, resource: Resource<'_>, key: &str, wanted: Option<&str>) {
    until(&format!("{resource:?} {key} becomes {wanted:?}"), || {
        let (value, source) = value_of(connection, resource, key);
        let own = [1, 2, 3, 7, 8].contains(&source).then_some(value).flatten();
        (own.as_deref() == wanted).then_some(())
    });
}

/// Asserts that a config still has what it had, after some change to the resource that was seen.
fn stays(connection: &mut Connection, resource: Resource<'_>, key: &str, wanted: Option<&str>) {
    let (value, source) = value_of(connection, resource, key);
    let own = (source == 1).then_some(value).flatten();
    assert_eq!(own.as_deref(), wanted, "{key}");
}

#[test]
fn lists_are_set_appended_to_and_subtracted_from() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let resource = (TOPIC, &topic[..]);
    let key = "cleanup.policy";
    let steps = [
        (APPEND, Some("compact"), Some("delete,compact")), // the default counts
        (APPEND, Some("compact"), Some("delete,compact")),
        (SUBTRACT, Some("delete"), Some("compact")),
        (SUBTRACT, Some("delete"), Some("compact")),
        (SUBTRACT, Some("compact"), Some("")),
        (SET, Some("compact,delete"), Some("compact,delete")),
        (DELETE, Some("ignored"), None),
        (DELETE, None, None),
    ];
    for (operation, value, wanted) in steps {
        assert_eq!(
            alter(&mut bench, resource, &[(key, operation, value)]),
            0,
            "{operation} {value:?}"
        );
        becomes(&mut bench, resource, key, wanted);
    }
}

#[test]
fn every_version_changes_what_it_names_and_nothing_else() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 1, &[("segment.ms", "99999999")]);
    let resource = (TOPIC, &topic[..]);
    for (version, value) in [(0, "70"), (1, "71")] {
        let changes = [("flush.ms", SET, Some(value)), ("segment.jitter.ms", SET, Some(value))];
        let answer = bench.call(version, &alter_request(&[(resource, &changes)]));
        assert_eq!((answer.responses.len(), answer.responses[0].error_code), (1, 0));
        assert_eq!(answer.responses[0].error_message, None);
        becomes(&mut bench, resource, "flush.ms", Some(value));
        becomes(&mut bench, resource, "segment.jitter.ms", Some(value));
    }
    stays(&mut bench, resource, "segment.ms", Some("99999999"));
}

#[test]
fn what_incremental_changes_are_refused_for() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 1, &[("flush.ms", "1234")]);
    let resource = (TOPIC, &topic[..]);
    let due: [(&[Change<'_>], i16); 16] = [
        (&[("no.such", SET, Some("1"))], 40),
        (&[("", SET, Some("1"))], 40),
        (&[("flush.ms", SET, None)], 42),
        (&[("cleanup.policy", APPEND, None)], 42),
        (&[("cleanup.policy", SUBTRACT, None)], 42),
        (&[("flush.ms", APPEND, Some("5"))], 40),
        (&[("flush.ms", SUBTRACT, Some("5"))], 40),
        (&[("cleanup.policy", APPEND, Some("burn"))], 40),
        (&[("flush.ms", SET, Some(""))], 40),
        (&[("flush.ms", SET, Some("soon"))], 40),
        (&[("flush.ms", SET, Some("5")), ("segment.bytes", SET, Some("x"))], 40),
        (&[("flush.ms", SET, Some("5")), ("flush.ms", SET, Some("6"))], 42),
        (&[("flush.ms", SET, Some("5")), ("flush.ms", DELETE, None)], 42),
        (&[("no.such", DELETE, None)], 0),
        (&[("segment.ms", DELETE, None)], 0),
        (&[], 0),
    ];
    for (changes, code) in due {
        assert_eq!(alter(&mut bench, resource, changes), code, "{changes:?}");
    }
    assert_eq!(alter(&mut bench, resource, &[("segment.ms", SET, Some("77777"))]), 0);
    becomes(&mut bench, resource, "segment.ms", Some("77777"));
    stays(&mut bench, resource, "flush.ms", Some("1234"));
    assert!(alter_all(&mut bench, &[]).is_empty());
}

#[test]
fn operations_that_are_not_there() {
    let mut bench = Bench::new();
    let (topic, good) = (new_topic(&mut bench), new_topic(&mut bench));
    let asked: [(Resource<'_>, &[Change<'_>]); 2] = [
        ((TOPIC, &topic), &[("flush.ms", 9, Some("5"))]),
        ((TOPIC, &good), &[("flush.ms", SET, Some("5"))]),
    ];
    let answers = alter_all(&mut bench, &asked);
    let code = |name: &str| answers.iter().find(|answer| answer.1 == name).expect("an answer").2;
    assert_ne!(code(&topic), 0, "Apache Kafka answers -1");
    if external_address().is_none() {
        assert_eq!(code(&good), 0, "Apache Kafka fails them all");
    }
}

#[test]
fn one_bad_resource_does_not_spoil_the_others() {
    let mut bench = Bench::new();
    let (topic, twice, last) = (new_topic(&mut bench), new_topic(&mut bench), new_topic(&mut bench));
    let here = broker_id(&mut bench).0;
    let (stranger, long, other) = (unique("stranger"), "x".repeat(300), (here + 77).to_string());
    let flush: &[Change<'_>] = &[("flush.ms", SET, Some("77"))];
    let broker: &[Change<'_>] = &[("log.retention.bytes", SET, Some("-1"))];
    let due: [(Resource<'_>, &[Change<'_>], i16); 14] = [
        ((TOPIC, &topic), flush, 0),
        ((TOPIC, &stranger), flush, 3),
        ((TOPIC, "a b"), flush, 17),
        ((TOPIC, &long), flush, 17),
        ((TOPIC, ""), flush, 42),
        ((BROKER, &other), broker, 42),
        ((BROKER, "x"), broker, 42),
        ((BROKER, "99999999999"), broker, 42),
        ((0, "x"), flush, 42),
        ((1, "x"), flush, 42),
        ((3, "x"), flush, 42),
        ((99, "x"), flush, 42),
        ((-1, "y"), flush, 42),
        ((TOPIC, &last), flush, 0),
    ];
    let asked: Vec<_> = due.iter().map(|(resource, changes, _)| (*resource, *changes)).collect();
    let wanted = due
        .iter()
        .map(|((kind, name), _, code)| (*kind, (*name).to_owned(), *code));
    assert_eq!(alter_all(&mut bench, &asked), sorted(wanted));
    becomes(&mut bench, (TOPIC, &topic), "flush.ms", Some("77"));
    becomes(&mut bench, (TOPIC, &last), "flush.ms", Some("77"));

    let segment: &[Change<'_>] = &[("segment.ms", SET, Some("77"))];
    let asked = [
        ((TOPIC, &twice[..]), flush),
        ((TOPIC, &twice), segment),
        ((TOPIC, &last), segment),
    ];
    let mut answers = alter_all(&mut bench, &asked);
    answers.dedup();
    assert_eq!(answers, sorted([(TOPIC, twice.clone(), 42), (TOPIC, last.clone(), 0)]));
    becomes(&mut bench, (TOPIC, &last), "segment.ms", Some("77"));
    stays(&mut bench, (TOPIC, &twice), "flush.ms", None);
    stays(&mut bench, (TOPIC, &twice), "segment.ms", None);
}

#[test]
fn validate_only_changes_nothing() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let mut validate = |value| {
        let request = alter_request(&[((TOPIC, &topic), &[("flush.ms", SET, Some(value))])]);
        bench.call(1, &request.with_validate_only(true)).responses[0].error_code
    };
    assert_eq!((validate("5"), validate("soon")), (0, 40));
    assert_eq!(
        alter(&mut bench, (TOPIC, &topic), &[("segment.ms", SET, Some("77"))]),
        0
    );
    becomes(&mut bench, (TOPIC, &topic), "segment.ms", Some("77"));
    stays(&mut bench, (TOPIC, &topic), "flush.ms", None);
}

/// A resource with all the values that it is to have.
type Replacement<'a> = (Resource<'a>, &'a [(&'a str, Option<&'a str>)]);

fn replace_request(resources: &[Replacement<'_>]) -> AlterConfigsRequest {
    let entry = |&(key, value): &(&str, Option<&str>)| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_value(value.map(text))
    };
    let one = |&((kind, name), configs): &Replacement<'_>| {
        AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configs(configs.iter().map(entry).collect())
    };
    AlterConfigsRequest::default().with_resources(resources.iter().map(one).collect())
}

fn replace(connection: &mut Connection, resource: Resource<'_>, configs: &[(&str, Option<&str>)]) -> i16 {
    connection.call(2, &replace_request(&[(resource, configs)])).responses[0].error_code
}

#[test]
fn alter_configs_replaces_all_of_them() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let resource = (TOPIC, &topic[..]);
    for (version, value) in [(0, "70"), (1, "71"), (2, "72")] {
        let request = replace_request(&[(resource, &[("flush.ms", Some(value)), ("segment.ms", Some("5"))])]);
        let answer = bench.call(version, &request);
        assert_eq!(
            (answer.responses.len(), answer.responses[0].error_code),
            (1, 0),
            "version {version}"
        );
        becomes(&mut bench, resource, "flush.ms", Some(value));
    }
    assert_eq!(replace(&mut bench, resource, &[("flush.ms", Some("80"))]), 0);
    becomes(&mut bench, resource, "flush.ms", Some("80"));
    stays(&mut bench, resource, "segment.ms", None);
    for (configs, code) in [
        (&[("segment.ms", Some("6")), ("flush.ms", Some("soon"))][..], 40),
        (&[("segment.ms", Some("6")), ("flush.ms", None)], 42),
        (&[("segment.ms", Some("6")), ("segment.ms", Some("7"))], 42),
        (&[("no.such", Some("6"))], 40),
        (&[("", Some("6"))], 40),
    ] {
        assert_eq!(replace(&mut bench, resource, configs), code, "{configs:?}");
    }
    let validated = replace_request(&[(resource, &[("segment.ms", Some("6"))])]).with_validate_only(true);
    assert_eq!(bench.call(2, &validated).responses[0].error_code, 0);
    assert_eq!(alter(&mut bench, resource, &[("segment.jitter.ms", SET, Some("1"))]), 0);
    becomes(&mut bench, resource, "segment.jitter.ms", Some("1"));
    stays(&mut bench, resource, "flush.ms", Some("80"));
    stays(&mut bench, resource, "segment.ms", None);
    assert_eq!(replace(&mut bench, resource, &[]), 0);
    becomes(&mut bench, resource, "flush.ms", None);
    becomes(&mut bench, resource, "segment.jitter.ms", None);
}

#[test]
fn alter_configs_answers_each_resource() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let here = broker_id(&mut bench).0;
    let (stranger, other) = (unique("stranger"), (here + 77).to_string());
    let flush: &[(&str, Option<&str>)] = &[("flush.ms", Some("77"))];
    let due = [
        ((TOPIC, &topic[..]), 0),
        ((TOPIC, &stranger), 3),
        ((TOPIC, "a b"), 17),
        ((TOPIC, ""), 42),
        ((BROKER, &other), 42),
        ((BROKER, "x"), 42),
        ((0, "x"), 42),
        ((99, "y"), 42),
    ];
    let asked: Vec<_> = due.iter().map(|(resource, _)| (*resource, flush)).collect();
    let answer = bench.call(2, &replace_request(&asked));
    let one = |response: &kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse| {
        (
            (response.resource_type, response.resource_name.to_string()),
            response.error_code,
        )
    };
    let wanted = due
        .iter()
        .map(|((kind, name), code)| ((*kind, (*name).to_owned()), *code));
    assert_eq!(sorted(answer.responses.iter().map(one)), sorted(wanted));
    becomes(&mut bench, (TOPIC, &topic), "flush.ms", Some("77"));
    assert!(bench.call(2, &replace_request(&[])).responses.is_empty());
    if external_address().is_none() {
        // Apache Kafka never answers a request that has a resource twice.
        let asked = [
            ((TOPIC, &topic[..]), flush),
            ((TOPIC, &topic), &[("segment.ms", Some("77"))]),
        ];
        let answer = bench.call(2, &replace_request(&asked));
        assert!(
            answer.responses.iter().all(|response| response.error_code == 42),
            "{answer:?}"
        );
        stays(&mut bench, (TOPIC, &topic), "segment.ms", None);
    }
}

#[test]
fn broker_configs_lie_above_the_defaults_of_the_cluster() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let here = broker_id(&mut bench).0.to_string();
    let (one, all, of_topic) = ((BROKER, &here[..]), (BROKER, ""), (TOPIC, &topic[..]));
    let (key, topic_key) = ("log.index.interval.bytes", "index.interval.bytes");
    assert_eq!(alter(&mut bench, all, &[(key, SET, Some("5000"))]), 0);
    becomes(&mut bench, one, key, Some("5000"));
    becomes(&mut bench, of_topic, topic_key, Some("5000"));
    assert_eq!(value_of(&mut bench, all, key), (Some("5000".to_owned()), 3));
    assert_eq!(value_of(&mut bench, one, key).1, 3);
    assert_eq!(alter(&mut bench, one, &[(key, SET, Some("6000"))]), 0);
    becomes(&mut bench, of_topic, topic_key, Some("6000"));
    assert_eq!(alter(&mut bench, of_topic, &[(topic_key, SET, Some("7000"))]), 0);
    becomes(&mut bench, of_topic, topic_key, Some("7000"));
    let found = config(&mut bench, of_topic, topic_key).expect("it is told");
    let synonyms: Vec<_> = found
        .synonyms
        .iter()
        .map(|synonym| {
            (
                &synonym.name[..],
                synonym.value.as_deref().unwrap_or_default(),
                synonym.source,
            )
        })
        .collect();
    let due = [
        (topic_key, "7000", 1),
        (key, "6000", 2),
        (key, "5000", 3),
        (key, "4096", 5),
    ];
    assert_eq!(synonyms, due);
    assert_eq!(alter(&mut bench, of_topic, &[(topic_key, DELETE, None)]), 0);
    becomes(&mut bench, of_topic, topic_key, Some("6000"));
    assert_eq!(alter(&mut bench, one, &[(key, DELETE, None)]), 0);
    becomes(&mut bench, of_topic, topic_key, Some("5000"));
    assert_eq!(alter(&mut bench, all, &[(key, DELETE, None)]), 0);
    becomes(&mut bench, of_topic, topic_key, None);
    assert_eq!(
        config(&mut bench, all, key),
        None,
        "nothing is set for the cluster any more"
    );
}

#[test]
fn broker_configs_that_do_not_change_while_running() {
    let mut bench = Bench::new();
    let here = broker_id(&mut bench).0.to_string();
    let mut check = |name: &str, key: &str, value: &str| {
        let request = alter_request(&[((BROKER, name), &[(key, SET, Some(value))])]);
        bench.call(1, &request.with_validate_only(true)).responses[0].error_code
    };
    for name in [&here[..], ""] {
        for key in [
            "node.id",
            "broker.id",
            "log.dirs",
            "auto.create.topics.enable",
            "log.retention.hours",
            "log.roll.hours",
            "queued.max.requests",
            "group.initial.rebalance.delay.ms",
        ] {
            assert_eq!(check(name, key, "5"), 42, "{key} of {name:?}");
        }
        for (key, value) in [
            ("num.io.threads", "0"),
            ("log.cleaner.threads", "-1"),
            ("log.retention.ms", "soon"),
            ("max.connections", "-5"),
            ("message.max.bytes", "-1"),
            ("log.cleanup.policy", "burn"),
            ("follower.replication.throttled.rate", "x"),
        ] {
            assert_eq!(check(name, key, value), 42, "{key}={value} of {name:?}");
        }
        for (key, value) in [
            ("log.retention.ms", "5"),
            ("log.cleanup.policy", "compact"),
            ("compression.type", "gzip"),
            ("message.max.bytes", "5000000"),
            ("num.io.threads", "9"),
            ("leader.replication.throttled.rate", "100"),
        ] {
            assert_eq!(check(name, key, value), 0, "{key}={value} of {name:?}");
        }
    }
    assert_eq!(check("", "listeners", "PLAINTEXT://:1"), 42, "of one broker only");
}

#[test]
fn a_changed_limit_acts_at_once_and_so_does_its_end() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let resource = (TOPIC, &topic[..]);
    let large = || Batch::of(&[vec![b'x'; 5_000]]).encode();
    assert_eq!(produce(&mut bench, &topic, 0, large()).error_code, 0);
    assert_eq!(
        alter(&mut bench, resource, &[("max.message.bytes", SET, Some("4000"))]),
        0
    );
    until("the limit acts", || {
        (produce(&mut bench, &topic, 0, large()).error_code == 10).then_some(())
    });
    assert_eq!(
        produce(&mut bench, &topic, 0, Batch::of(&["small"]).encode()).error_code,
        0
    );
    assert_eq!(alter(&mut bench, resource, &[("max.message.bytes", DELETE, None)]), 0);
    until("the limit is gone", || {
        (produce(&mut bench, &topic, 0, large()).error_code == 0).then_some(())
    });
}

#[test]
fn metrics_groups_and_loggers() {
    let mut bench = Bench::new();
    let here = broker_id(&mut bench).0.to_string();
    let (metrics, group) = (unique("metrics"), unique("group"));
    let due: [(Resource<'_>, Change<'_>, i16); 11] = [
        ((CLIENT_METRICS, &metrics), ("interval.ms", SET, Some("100000")), 0),
        ((CLIENT_METRICS, &metrics), ("interval.ms", SET, Some("1")), 42),
        ((CLIENT_METRICS, &metrics), ("no.such", SET, Some("1")), 42),
        ((CLIENT_METRICS, &metrics), ("match", SET, Some("x=y")), 40),
        ((CLIENT_METRICS, ""), ("interval.ms", SET, Some("100000")), 42),
        ((GROUP, &group), ("consumer.session.timeout.ms", SET, Some("46000")), 0),
        ((GROUP, &group), ("consumer.session.timeout.ms", SET, Some("1")), 40),
        ((GROUP, &group), ("no.such", SET, Some("1")), 40),
        ((GROUP, ""), ("consumer.session.timeout.ms", SET, Some("46000")), 42),
        ((BROKER_LOGGER, &here), ("no.such.logger", SET, Some("INFO")), 40),
        ((BROKER_LOGGER, &here), ("root", APPEND, Some("INFO")), 42),
    ];
    for (resource, change, code) in due {
        assert_eq!(alter(&mut bench, resource, &[change]), code, "{resource:?} {change:?}");
    }
    becomes(&mut bench, (CLIENT_METRICS, &metrics), "interval.ms", Some("100000"));
    becomes(
        &mut bench,
        (GROUP, &group),
        "consumer.session.timeout.ms",
        Some("46000"),
    );
    assert_eq!(
        value_of(&mut bench, (GROUP, &group), "consumer.session.timeout.ms").1,
        8
    );
    assert_eq!(
        alter(&mut bench, (CLIENT_METRICS, &metrics), &[("interval.ms", DELETE, None)]),
        0
    );
    assert_eq!(
        alter(
            &mut bench,
            (GROUP, &group),
            &[("consumer.session.timeout.ms", DELETE, None)]
        ),
        0
    );
    becomes(&mut bench, (CLIENT_METRICS, &metrics), "interval.ms", None);
    becomes(&mut bench, (GROUP, &group), "consumer.session.timeout.ms", None);
}
