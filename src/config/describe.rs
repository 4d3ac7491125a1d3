//! Rows of DescribeConfigs, as `ConfigHelper` of Apache Kafka makes them.
//!
//! Invariants: a sensitive value is never in a row; the source of a row is that of its first synonym. A config whose
//! first synonym is null has no synonyms (`log.retention.hours` set alone does not show under `retention.ms`), because
//! Kafka drops what stands before the config's own name.

use std::collections::BTreeMap;

use crate::config::broker::BrokerConfig;
use crate::config::key::{ConfigKey, UpdateMode};
use crate::config::remarks::base_name;
use crate::config::table;
use crate::config::topic::value_of;
use crate::config::topic_table::TOPIC_KEYS;

/// Where a value comes from. The numbers are those of DescribeConfigs; 2 and 3 (dynamic broker configs) do not occur,
/// because no broker config can be changed while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    /// An override of the topic.
    Topic = 1,
    /// The file, the environment or the command line.
    StaticBroker = 4,
    /// Nobody set it.
    Default = 5,
}

/// A name under which a value was or could have been set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// A topic or broker config.
    pub name: String,
    /// `None` when sensitive.
    pub value: Option<String>,
    /// Who set it.
    pub source: ConfigSource,
}

/// One described config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConfig {
    /// The config.
    pub name: String,
    /// `None` when null or sensitive.
    pub value: Option<String>,
    /// Whether it cannot be changed while the broker runs.
    pub read_only: bool,
    /// Who set the value.
    pub source: ConfigSource,
    /// Whether the value is withheld.
    pub sensitive: bool,
    /// Highest priority first.
    pub synonyms: Vec<Synonym>,
    /// Kafka's number of the type, 0 for unknown configs.
    pub config_type: i8,
    /// One sentence, for known configs.
    pub documentation: Option<&'static str>,
}

/// All configs of a topic with these overrides.
pub fn describe_topic(overrides: &BTreeMap<String, String>, broker: &BrokerConfig) -> Vec<DescribedConfig> {
    let shown = TOPIC_KEYS
        .iter()
        .filter(|key| !key.internal || overrides.contains_key(key.name));
    shown.map(|key| topic_row(key, overrides, broker)).collect()
}

/// All configs of this broker: the table, and what else was configured.
pub fn describe_broker(broker: &BrokerConfig) -> Vec<DescribedConfig> {
    let known = table::broker_keys().filter(|key| !key.internal || broker.settings.of(key.name).is_some());
    let mut rows: Vec<_> = known.map(|key| broker_row(key, broker)).collect();
    let strangers = broker.settings.iter().filter(|(name, _)| table::find(name).is_none());
    rows.extend(strangers.map(|(name, _)| stranger_row(name, broker)));
    rows
}

/// The configs that were changed for all brokers at once: none can be.
pub fn describe_all_brokers() -> Vec<DescribedConfig> {
    Vec::new()
}

fn topic_row(key: &ConfigKey, overrides: &BTreeMap<String, String>, broker: &BrokerConfig) -> DescribedConfig {
    let value = value_of(key, overrides, broker).map(|value| value.to_string());
    let mut synonyms = key
        .synonyms
        .first()
        .map_or_else(Vec::new, |name| synonyms_of(name, false, broker));
    if overrides.contains_key(key.name) {
        let own = Synonym {
            name: key.name.to_owned(),
            value: value.clone(),
            source: ConfigSource::Topic,
        };
        synonyms.insert(0, own);
    }
    row(key, value, false, synonyms)
}

fn broker_row(key: &ConfigKey, broker: &BrokerConfig) -> DescribedConfig {
    let value = broker.settings.value(key).map(|value| value.to_string());
    let synonyms = synonyms_of(key.name, key.is_sensitive(), broker);
    row(key, value, key.update == UpdateMode::ReadOnly, synonyms)
}

fn row(key: &ConfigKey, value: Option<String>, read_only: bool, synonyms: Vec<Synonym>) -> DescribedConfig {
    DescribedConfig {
        name: key.name.to_owned(),
        value: value.filter(|_| !key.is_sensitive()),
        read_only,
        source: synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source),
        sensitive: key.is_sensitive(),
        synonyms,
        config_type: key.kind as i8,
        documentation: Some(key.doc()),
    }
}

/// A name outside of the table: a listener's own config, or one that nothing is known of, whose value may be a secret.
fn stranger_row(name: &str, broker: &BrokerConfig) -> DescribedConfig {
    let Some(key) = table::find(base_name(name)) else {
        let synonyms = synonyms_of(name, true, broker);
        return DescribedConfig {
            name: name.to_owned(),
            value: None,
            read_only: true,
            source: ConfigSource::StaticBroker,
            sensitive: true,
            synonyms,
            config_type: 0,
            documentation: None,
        };
    };
    let value = broker.settings.of(name).map(|setting| setting.text.clone());
    let mut synonyms = synonyms_of(name, key.is_sensitive(), broker);
    synonyms.extend(synonyms_of(key.name, key.is_sensitive(), broker));
    DescribedConfig {
        name: name.to_owned(),
        ..row(key, value, true, synonyms)
    }
}

/// Broker configs that answer the same question, highest priority first.
const GROUPS: &[&[&str]] = &[
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
];

fn synonyms_of(name: &str, sensitive: bool, broker: &BrokerConfig) -> Vec<Synonym> {
    let own = [name];
    let names: &[&str] = match GROUPS.iter().find(|group| group.contains(&name)) {
        Some(group) => group,
        None if name == "log.flush.interval.ms" => &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        None => &own,
    };
    let synonym = |name: &str, text: &str, source| Synonym {
        name: name.to_owned(),
        value: (!sensitive).then(|| text.to_owned()),
        source,
    };
    let set = names.iter().filter_map(|name| {
        broker
            .settings
            .of(name)
            .map(|setting| synonym(name, &setting.text, ConfigSource::StaticBroker))
    });
    let defaults = names.iter().filter_map(|name| {
        let default = table::find(name).and_then(ConfigKey::default_value);
        default.map(|value| synonym(name, &value.to_string(), ConfigSource::Default))
    });
    set.chain(defaults).skip_while(|synonym| synonym.name != name).collect()
}

#[cfg(test)]
mod tests;
