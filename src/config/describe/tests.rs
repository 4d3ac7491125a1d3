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
    assert!(!find(&rows, "listeners").read_only);
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
