//! Which broker configs may be changed while brokers run, for whom, and to what.
//!
//! Invariants: pure; a value that [`refuse`] lets through can be read by everybody; what is stored and no longer usable
//! (written by another version) is left out by [`usable`], never a reason not to start. Source: `DynamicBrokerConfig`,
//! `DynamicConfig`, `DynamicThreadPool`, `LogCleaner.validateReconfiguration` of Apache Kafka.

use std::collections::BTreeMap;

use crate::config::broker::BrokerConfig;
use crate::config::check::Check;
use crate::config::key::Importance::Medium;
use crate::config::key::{ConfigKey, UpdateMode, accepted};
use crate::config::remarks::base_name;
use crate::config::table;
use crate::config::value::ConfigType::Long;

/// Longest value of a config: the older versions of DescribeConfigs can say no more.
pub const MAX_VALUE_BYTES: usize = i16::MAX as usize;

/// Broker configs that cannot be configured at the start, only set while brokers run.
#[rustfmt::skip] // a table: facts on one line, the sentence on the next
pub const DYNAMIC_ONLY: &[ConfigKey] = &[
    accepted("follower.replication.throttled.rate", Long, Some("9223372036854775807"), Medium, UpdateMode::ClusterWide, Check::AtLeast(0),
        "Most bytes per second that a follower replicates of throttled replicas; there are no followers."),
    accepted("leader.replication.throttled.rate", Long, Some("9223372036854775807"), Medium, UpdateMode::ClusterWide, Check::AtLeast(0),
        "Most bytes per second that a leader sends to followers of throttled replicas; there are no followers."),
    accepted("replica.alter.log.dirs.io.max.bytes.per.second", Long, Some("9223372036854775807"), Medium, UpdateMode::ClusterWide, Check::AtLeast(0),
        "Most bytes per second with which replicas move between log directories."),
];

/// Security configs that Kafka changes for one listener only.
const ONLY_PER_LISTENER: &[&str] = &[
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// Listener configs that may be set for all brokers.
const OF_ALL_LISTENERS: &[&str] = &["max.connection.creation.rate", "max.connections", "num.network.threads"];

/// Whose dynamic values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Of one broker.
    Broker,
    /// Of all brokers.
    ClusterDefault,
}

/// The broker config of that name, those included that cannot be configured at the start.
pub fn find(name: &str) -> Option<&'static ConfigKey> {
    table::find(name).or_else(|| DYNAMIC_ONLY.iter().find(|key| key.name == name))
}

/// Whether a broker config can be changed while the broker runs. Unknown names can, as in Kafka, where they may belong
/// to a plugin.
pub fn can_change(name: &str) -> bool {
    find(base_name(name)).is_none_or(ConfigKey::can_change)
}

fn only_per_broker(name: &str) -> bool {
    let base = base_name(name);
    if base != name {
        return !OF_ALL_LISTENERS.contains(&base);
    }
    find(name).is_some_and(|key| key.update() == UpdateMode::PerBroker)
}

/// Refuses dynamic values in Kafka's words and order.
///
/// # Errors
/// The first fault.
pub fn refuse(values: &BTreeMap<String, String>, scope: Scope) -> Result<(), String> {
    let named = |wrong: &dyn Fn(&str) -> bool| {
        let names: Vec<_> = values.keys().map(String::as_str).filter(|name| wrong(name)).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(names) = named(&|name| !can_change(name)) {
        return Err(format!("Cannot update these configs dynamically: [{names}]"));
    }
    if let Some(names) = named(&|name| ONLY_PER_LISTENER.contains(&name)) {
        return Err(format!(
            "These security configs can be dynamically updated only per-listener using the listener prefix: [{names}]"
        ));
    }
    for (name, text) in values {
        unreadable(name, text).map_or(Ok(()), Err)?;
    }
    match named(&only_per_broker) {
        Some(names) if scope == Scope::ClusterDefault => Err(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: [{names}]"
        )),
        _ => Ok(()),
    }
}

/// Why `text` is no value of the broker config `name`.
fn unreadable(name: &str, text: &str) -> Option<String> {
    if text.len() > MAX_VALUE_BYTES {
        return Some(format!(
            "The configuration value cannot be added because it exceeds the maximum value size of {MAX_VALUE_BYTES} bytes."
        ));
    }
    let key = find(base_name(name))?;
    let why = key.parse(text).err()?;
    let shown = if key.is_sensitive() { "[hidden]" } else { text };
    Some(format!("Invalid value {shown} for configuration {name}: {why}"))
}

/// The stored values that count, and the names of those that do not.
pub fn usable(values: &BTreeMap<String, String>, scope: Scope) -> (BTreeMap<String, String>, Vec<String>) {
    let counts = |name: &String, text: &String| refuse(&BTreeMap::from([(name.clone(), text.clone())]), scope).is_ok();
    let (mut kept, mut ignored) = (BTreeMap::new(), Vec::new());
    for (name, text) in values {
        if counts(name, text) {
            kept.insert(name.clone(), text.clone());
        } else {
            ignored.push(name.clone());
        }
    }
    (kept, ignored)
}

/// Numbers of threads that may at most double or halve at a time.
const THREADS: &[&str] = &[
    "background.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

/// Refuses steps that Kafka does not take at once.
///
/// # Errors
/// The first fault, in Kafka's words.
pub fn refuse_step(from: &BrokerConfig, to: &BrokerConfig) -> Result<(), String> {
    let number = |config: &BrokerConfig, name: &str| {
        let value = find(name).and_then(|key| config.settings.value(key));
        value.and_then(|value| value.as_integer()).unwrap_or(0)
    };
    for name in THREADS {
        let (old, new) = (number(from, name), number(to, name));
        let refused =
            |why: String| format!("Dynamic thread count update validation failed for {name}={new}, value should {why}");
        if new < old / 2 {
            return Err(refused(format!("be at least half the current value {old}")));
        }
        if new > old.saturating_mul(2) {
            return Err(refused(format!("not be greater than double the current value {old}")));
        }
    }
    let (old, new) = (number(from, "log.cleaner.threads"), number(to, "log.cleaner.threads"));
    if new != old && new < 1 {
        return Err("Log cleaner threads should be at least 1".to_owned());
    }
    if new < old / 2 {
        return Err(format!(
            "Log cleaner threads cannot be reduced to less than half the current value {old}"
        ));
    }
    if new > old.saturating_mul(2) {
        return Err(format!(
            "Log cleaner threads cannot be increased to more than double the current value {old}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        pairs.collect()
    }

    #[test]
    fn refusals_are_kafkas_sentences() {
        for (pairs, scope, expected) in [
            (
                &[("node.id", "3"), ("log.dirs", "x"), ("max.connections", "5")][..],
                Scope::Broker,
                "Cannot update these configs dynamically: [log.dirs, node.id]",
            ),
            (
                &[("ssl.keystore.type", "PEM")],
                Scope::Broker,
                "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.type]",
            ),
            (
                &[("max.connections", "x")],
                Scope::Broker,
                "Invalid value x for configuration max.connections: Not a number of type INT",
            ),
            (
                &[("listener.name.a.ssl.keystore.type", "PEM")],
                Scope::ClusterDefault,
                "Cannot update these configs at default cluster level, broker id must be specified: [listener.name.a.ssl.keystore.type]",
            ),
            (
                &[("cordoned.log.dirs", "*")],
                Scope::ClusterDefault,
                "Cannot update these configs at default cluster level, broker id must be specified: [cordoned.log.dirs]",
            ),
            (
                &[("monedula.max.topics", "1")],
                Scope::Broker,
                "Cannot update these configs dynamically: [monedula.max.topics]",
            ),
        ] {
            assert_eq!(refuse(&values(pairs), scope), Err(expected.to_owned()));
        }
    }

    #[test]
    fn what_may_be_set_is_let_through() {
        for (name, text) in [
            ("log.retention.ms", "1000"),
            ("my.plugin.key", "anything"),
            ("leader.replication.throttled.rate", "7"),
            ("listener.name.a.max.connections", "7"),
        ] {
            let one = values(&[(name, text)]);
            assert_eq!(refuse(&one, Scope::ClusterDefault), Ok(()), "{name}");
            assert_eq!(refuse(&one, Scope::Broker), Ok(()), "{name}");
        }
        let listener = values(&[("listener.name.a.ssl.keystore.type", "PEM")]);
        assert_eq!(refuse(&listener, Scope::Broker), Ok(()));
    }

    #[test]
    fn secrets_are_not_repeated_and_long_values_neither() {
        let long = "9".repeat(MAX_VALUE_BYTES + 1);
        let refused = refuse(&values(&[("max.connections", &long)]), Scope::Broker).expect_err("too long");
        assert!(refused.len() < 200, "{refused}");
    }

    #[test]
    fn what_cannot_be_used_is_left_out() {
        let stored = values(&[
            ("max.connections", "x"),
            ("max.connections.per.ip", "5"),
            ("node.id", "9"),
        ]);
        let (kept, ignored) = usable(&stored, Scope::Broker);
        assert_eq!(kept, values(&[("max.connections.per.ip", "5")]));
        assert_eq!(ignored, ["max.connections", "node.id"]);
    }

    #[test]
    fn threads_double_or_halve_at_most() {
        let start = BrokerConfig::default();
        let with = |name: &str, text: &str| {
            start
                .with_dynamic(BTreeMap::new(), values(&[(name, text)]))
                .expect("valid")
        };
        assert_eq!(refuse_step(&start, &with("num.io.threads", "16")), Ok(()));
        assert_eq!(refuse_step(&start, &with("num.io.threads", "4")), Ok(()));
        let more = "Dynamic thread count update validation failed for num.io.threads=17, value should not be greater than double the current value 8";
        assert_eq!(refuse_step(&start, &with("num.io.threads", "17")), Err(more.to_owned()));
        let less = "Dynamic thread count update validation failed for num.io.threads=3, value should be at least half the current value 8";
        assert_eq!(refuse_step(&start, &with("num.io.threads", "3")), Err(less.to_owned()));
        let cleaners = "Log cleaner threads cannot be increased to more than double the current value 1";
        assert_eq!(
            refuse_step(&start, &with("log.cleaner.threads", "3")),
            Err(cleaners.to_owned())
        );
        let none = "Log cleaner threads should be at least 1";
        assert_eq!(
            refuse_step(&start, &with("log.cleaner.threads", "0")),
            Err(none.to_owned())
        );
    }
}
