//! The config table against Apache Kafka 4.3 (`tests/data/kafka-4.3-configs.txt`), and the documentation against the
//! table. Run with `MONEDULA_UPDATE_DOCS=1` to write `docs/configuration.md` anew.

use std::collections::{BTreeMap, BTreeSet};

use monedula::config::check::Check;
use monedula::config::docs;
use monedula::config::key::ConfigKey;
use monedula::config::table;
use monedula::config::topic_table::{self, TOPIC_KEYS};

const KAFKA: &str = include_str!("data/kafka-4.3-configs.txt");

/// Defaults that differ on purpose; why is in the table and in the documentation.
const OTHER_DEFAULTS: &[&str] = &[
    "broker.id",
    "controller.listener.names",
    "listeners",
    "log.dir",
    "log.flush.interval.ms",
    "node.id",
    "offsets.topic.replication.factor",
    "process.roles",
    "queued.max.request.bytes",
    "share.coordinator.state.topic.min.isr",
    "share.coordinator.state.topic.replication.factor",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "transaction.state.log.min.isr",
    "transaction.state.log.replication.factor",
];

/// Accepted values that Kafka's own notation leaves out or writes unlike what it checks: lists that it refuses when
/// empty, and the two address lists of the quorum, which may be empty and whose elements it parses.
fn accepted_in_kafkas_notation(key: &ConfigKey) -> String {
    match key.check {
        Check::NonEmptyList => String::new(),
        Check::QuorumVoters | Check::HostPorts => "non-empty list".to_owned(),
        _ => key.check.to_string(),
    }
}

#[derive(Debug, Default)]
struct KafkaConfig {
    kind: String,
    default: String,
    importance: String,
    accepted: String,
    update: String,
    internal: bool,
}

fn section(name: &str) -> impl Iterator<Item = &'static str> {
    let begins = format!("[{name}]");
    KAFKA
        .lines()
        .skip_while(move |line| !line.starts_with(&begins))
        .skip(1)
        .take_while(|line| !line.is_empty())
}

fn kafka_configs(name: &str) -> BTreeMap<&'static str, KafkaConfig> {
    section(name).map(parse).collect()
}

fn parse(line: &'static str) -> (&'static str, KafkaConfig) {
    let mut columns = line.split(" | ");
    let mut next = || columns.next().expect("four columns");
    let name = next();
    let (kind, default, importance) = (next().to_owned(), next().to_owned(), next().to_owned());
    let update = "read-only".to_owned();
    let mut config = KafkaConfig {
        kind,
        default,
        importance,
        update,
        ..KafkaConfig::default()
    };
    for column in columns {
        match column {
            "internal" => config.internal = true,
            "per-broker" | "cluster-wide" => config.update = column.to_owned(),
            accepted => config.accepted = accepted.to_owned(),
        }
    }
    (name, config)
}

/// The table's default as Kafka's documentation writes it.
fn default_in_kafkas_notation(key: &ConfigKey) -> String {
    use monedula::config::value::ConfigType;
    match (key.kind, key.default) {
        (_, None) => "null".to_owned(),
        (ConfigType::List, Some(elements)) => format!("[{}]", elements.replace(',', ", ")),
        (ConfigType::Class, Some(class)) => format!("class {class}"),
        (_, Some("")) => "\"\"".to_owned(),
        (_, Some(default)) => default.to_owned(),
    }
}

fn assert_same_facts(key: &ConfigKey, kafka: &KafkaConfig) {
    let name = key.name;
    assert_eq!(key.kind.name(), kafka.kind, "type of {name}");
    assert_eq!(key.importance.name(), kafka.importance, "importance of {name}");
    assert_eq!(key.internal, kafka.internal, "{name} is internal");
    let accepted = if kafka.accepted == "non-null string" {
        ""
    } else {
        &kafka.accepted
    };
    assert_eq!(accepted_in_kafkas_notation(key), accepted, "accepted values of {name}");
    let ours = default_in_kafkas_notation(key);
    match key.difference {
        None => assert_eq!(ours, kafka.default, "default of {name}"),
        Some(difference) => {
            assert_eq!(
                difference.kafka_default, kafka.default,
                "Kafka's default of {name}, as the table knows it"
            );
            assert_ne!(
                ours, kafka.default,
                "{name} gives a reason for a difference that is none"
            );
            assert!(difference.reason.len() > 20, "{name} differs without a reason");
        }
    }
}

#[test]
fn broker_configs_are_kafkas_and_ours() {
    let kafka = kafka_configs("broker");
    assert_eq!(kafka.len(), 360);
    for (name, facts) in &kafka {
        let key = table::find(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_same_facts(key, facts);
        assert_eq!(key.kafka_update.name(), facts.update, "update mode of {name}");
    }
    for key in table::broker_keys().filter(|key| !kafka.contains_key(key.name)) {
        assert!(
            key.name.starts_with("monedula."),
            "{} is neither Kafka's nor ours by name",
            key.name
        );
    }
}

#[test]
fn topic_configs_are_kafkas() {
    let kafka = kafka_configs("topic");
    let names: BTreeSet<_> = TOPIC_KEYS.iter().map(|key| key.name).collect();
    assert_eq!(names, kafka.keys().copied().collect());
    for key in TOPIC_KEYS {
        assert_same_facts(key, &kafka[key.name]);
    }
}

#[test]
fn only_the_listed_defaults_differ() {
    let differing: Vec<_> = table::broker_keys()
        .filter(|key| key.difference.is_some())
        .map(|key| key.name)
        .collect();
    assert_eq!(differing, OTHER_DEFAULTS);
    let differing: Vec<_> = TOPIC_KEYS
        .iter()
        .filter(|key| key.difference.is_some())
        .map(|key| key.name)
        .collect();
    assert_eq!(differing, ["flush.ms"]);
}

#[test]
fn synonyms_of_topic_configs_are_kafkas() {
    let mut with_synonyms = BTreeSet::new();
    for line in section("synonyms") {
        let (name, synonyms) = line.split_once(": ").expect("name and synonyms");
        let key = topic_table::find(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(key.synonyms, synonyms.split(", ").collect::<Vec<_>>(), "{name}");
        with_synonyms.insert(name);
    }
    assert_eq!(with_synonyms.len(), 28);
    let others = TOPIC_KEYS.iter().filter(|key| !with_synonyms.contains(key.name));
    assert!(others.into_iter().all(|key| key.synonyms.is_empty()));
}

#[test]
fn the_documentation_is_up_to_date() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let expected = docs::markdown();
    if std::env::var_os("MONEDULA_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a file in docs")).expect("docs can be made");
        std::fs::write(&path, &expected).expect("docs can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == expected,
        "docs/configuration.md is stale: run MONEDULA_UPDATE_DOCS=1 cargo test --test config_golden"
    );
}
