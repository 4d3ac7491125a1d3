//! Described rows against what Apache Kafka 4.3.1 answered for the same settings.

use super::*;
use crate::config::load::{Sources, load};

fn overrides(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn broker(pairs: &[(&str, &str)]) -> BrokerConfig {
    let overrides = overrides(pairs).into_iter().collect();
    load(&Sources {
        overrides,
        ..Sources::default()
    })
    .expect("valid")
    .config
}

fn find<'a>(rows: &'a [DescribedConfig], name: &str) -> &'a DescribedConfig {
    rows.iter()
        .find(|row| row.name == name)
        .unwrap_or_else(|| panic!("{name} is described"))
}

/// Name, value and source of each synonym.
fn synonyms(row: &DescribedConfig) -> Vec<(&str, Option<&str>, i8)> {
    row.synonyms
        .iter()
        .map(|one| (one.name.as_str(), one.value.as_deref(), one.source as i8))
        .collect()
}

#[test]
fn a_topic_shows_its_overrides_before_the_brokers_values() {
    let broker = broker(&[
        ("log.cleanup.policy", "delete"),
        ("log.retention.ms", "5"),
        ("log.retention.hours", "1"),
    ]);
    let rows = describe_topic(
        &overrides(&[
            ("cleanup.policy", "compact, delete"),
            ("min.cleanable.dirty.ratio", "0.10"),
        ]),
        &broker,
    );
    let policy = find(&rows, "cleanup.policy");
    assert_eq!(
        (policy.value.as_deref(), policy.source as i8),
        (Some("compact,delete"), 1)
    );
    assert_eq!(
        synonyms(policy),
        [
            ("cleanup.policy", Some("compact,delete"), 1),
            ("log.cleanup.policy", Some("delete"), 4),
            ("log.cleanup.policy", Some("delete"), 5)
        ]
    );
    assert_eq!(find(&rows, "min.cleanable.dirty.ratio").value.as_deref(), Some("0.1"));
    let retention = find(&rows, "retention.ms");
    assert_eq!((retention.value.as_deref(), retention.source as i8), (Some("5"), 4));
    assert_eq!(
        synonyms(retention),
        [
            ("log.retention.ms", Some("5"), 4),
            ("log.retention.hours", Some("1"), 4),
            ("log.retention.hours", Some("168"), 5)
        ]
    );
    assert_eq!(rows.len(), 33);
    assert!(
        rows.iter()
            .all(|row| !row.read_only && !row.sensitive && row.documentation.is_some())
    );
}

#[test]
fn what_hides_behind_a_null_synonym_is_not_shown() {
    let rows = describe_topic(&BTreeMap::new(), &broker(&[("log.retention.hours", "1")]));
    let retention = find(&rows, "retention.ms");
    assert_eq!(
        (retention.value.as_deref(), retention.source as i8),
        (Some("3600000"), 5)
    );
    assert_eq!(synonyms(retention), []);
}

#[test]
fn a_broker_shows_all_of_its_configs() {
    let rows = describe_broker(&broker(&[
        ("num.partitions", "4"),
        ("ssl.key.password", "secret"),
        ("super.users", "User:admin"),
        ("listener.name.a.ssl.protocol", "TLSv1.2"),
        ("listener.name.a.ssl.key.password", "secret"),
        ("unstable.api.versions.enable", "false"),
        ("node.id", "7"),
    ]));
    let partitions = find(&rows, "num.partitions");
    assert_eq!(
        (
            partitions.value.as_deref(),
            partitions.read_only,
            partitions.config_type
        ),
        (Some("4"), true, 3)
    );
    assert_eq!(
        synonyms(partitions),
        [("num.partitions", Some("4"), 4), ("num.partitions", Some("1"), 5)]
    );
    for name in ["ssl.key.password", "super.users", "listener.name.a.ssl.key.password"] {
        let secret = find(&rows, name);
        assert!(
            secret.sensitive && secret.value.is_none() && secret.source == ConfigSource::StaticBroker,
            "{name}"
        );
        assert!(secret.synonyms.iter().all(|synonym| synonym.value.is_none()), "{name}");
    }
    assert_eq!(find(&rows, "super.users").config_type, 0);
    assert_eq!(
        synonyms(find(&rows, "listener.name.a.ssl.protocol")),
        [
            ("listener.name.a.ssl.protocol", Some("TLSv1.2"), 4),
            ("ssl.protocol", Some("TLSv1.3"), 5)
        ]
    );
    assert!(find(&rows, "listeners").read_only, "unlike in Kafka");
    assert!(
        find(&rows, "advertised.listeners").read_only,
        "as in Kafka, though it can be changed"
    );
    assert_eq!(find(&rows, "broker.id").value.as_deref(), Some("7"));
    assert_eq!(
        find(&rows, "unstable.api.versions.enable").value.as_deref(),
        Some("false")
    );
    assert!(
        rows.iter().all(|row| row.name != "unstable.feature.versions.enable"),
        "internal and not set"
    );
    assert_eq!(find(&rows, "log.dirs").value, None);
    assert_eq!(find(&rows, "log.dirs").source, ConfigSource::Default);
}

fn with_dynamic(start: &[(&str, &str)], all: &[(&str, &str)], own: &[(&str, &str)]) -> BrokerConfig {
    broker(start)
        .with_dynamic(overrides(all), overrides(own))
        .expect("valid")
}

#[test]
fn dynamic_values_stand_before_those_of_the_start() {
    let broker = with_dynamic(
        &[("message.max.bytes", "1000"), ("log.retention.hours", "1")],
        &[("message.max.bytes", "2000"), ("log.retention.ms", "7")],
        &[("message.max.bytes", "3000"), ("max.connections", "5")],
    );
    let rows = describe_broker(&broker);
    let row = find(&rows, "message.max.bytes");
    assert_eq!(
        (row.value.as_deref(), row.source as i8, row.read_only),
        (Some("3000"), 2, false)
    );
    let name = "message.max.bytes";
    let expected = [
        (name, Some("3000"), 2),
        (name, Some("2000"), 3),
        (name, Some("1000"), 4),
        (name, Some("1048588"), 5),
    ];
    assert_eq!(synonyms(row), expected);
    let topic = describe_topic(&overrides(&[("max.message.bytes", "9")]), &broker);
    let row = find(&topic, "max.message.bytes");
    assert_eq!((row.value.as_deref(), row.source as i8), (Some("9"), 1));
    assert_eq!(synonyms(row)[1..], expected);
    let row = find(&topic, "retention.ms");
    assert_eq!((row.value.as_deref(), row.source as i8), (Some("7"), 3));
    assert_eq!(
        synonyms(row),
        [
            ("log.retention.ms", Some("7"), 3),
            ("log.retention.hours", Some("1"), 4),
            ("log.retention.hours", Some("168"), 5)
        ]
    );
}

#[test]
fn all_brokers_have_what_was_set_for_them_only() {
    let broker = with_dynamic(
        &[("max.connections", "4")],
        &[
            ("max.connections", "5"),
            ("my.plugin", "secret"),
            ("leader.replication.throttled.rate", "7"),
        ],
        &[("max.connections", "6"), ("max.connections.per.ip", "7")],
    );
    let rows = describe_all_brokers(&broker);
    assert_eq!(rows.len(), 3);
    let row = find(&rows, "max.connections");
    assert_eq!((row.value.as_deref(), row.source as i8), (Some("5"), 3));
    assert_eq!(synonyms(row), [("max.connections", Some("5"), 3)]);
    let row = find(&rows, "my.plugin");
    assert_eq!(
        (row.value.as_deref(), row.sensitive, row.read_only),
        (None, true, false)
    );
    assert_eq!(
        find(&rows, "leader.replication.throttled.rate").value.as_deref(),
        Some("7")
    );
    let own = describe_broker(&broker);
    assert_eq!(find(&own, "my.plugin").value, None);
    assert_eq!(
        find(&own, "leader.replication.throttled.rate").value.as_deref(),
        Some("7")
    );
    assert!(find(&own, "num.partitions").read_only);
    // What can only be set while brokers run has no default among its synonyms.
    let rate = "leader.replication.throttled.rate";
    assert_eq!(synonyms(find(&own, rate)), [(rate, Some("7"), 3)]);
}

#[test]
fn secrets_of_a_listener_are_not_shown() {
    let name = "listener.name.a.ssl.keystore.password";
    let rows = describe_broker(&with_dynamic(&[], &[], &[(name, "secret")]));
    let row = find(&rows, name);
    assert_eq!(
        (row.value.as_deref(), row.sensitive, row.source as i8, row.read_only),
        (None, true, 2, false)
    );
    assert!(row.synonyms.iter().all(|synonym| synonym.value.is_none()));
}
