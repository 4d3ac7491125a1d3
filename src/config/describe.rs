//! Rows of DescribeConfigs, as `ConfigHelper` of Apache Kafka makes them.
//!
//! Invariants: a sensitive value is never in a row; the source of a row is that of its first synonym. A config whose
//! first synonym is null has no synonyms (`log.retention.hours` set alone does not show under `retention.ms`), because
//! Kafka drops what stands before the config's own name.

use std::collections::BTreeMap;

use crate::config::broker::BrokerConfig;
use crate::config::dynamic;
use crate::config::group;
use crate::config::group_table::{CLIENT_METRICS_KEYS, GROUP_KEYS};
use crate::config::key::ConfigKey;
pub use crate::config::precedence::ConfigSource;
use crate::config::precedence::{candidates, group_of};
use crate::config::remarks::base_name;
use crate::config::table;
use crate::config::topic::value_of;
use crate::config::topic_table::TOPIC_KEYS;

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

/// All configs of this broker: the table, and what else was configured or set.
pub fn describe_broker(broker: &BrokerConfig) -> Vec<DescribedConfig> {
    let known = table::broker_keys().filter(|key| !key.internal || broker.settings.is_set(key.name));
    let mut rows: Vec<_> = known.map(|key| broker_row(key, broker)).collect();
    let settings = &broker.settings;
    let configured = settings.iter().map(|(name, _)| name);
    let dynamic = settings
        .dynamic_default()
        .keys()
        .chain(settings.dynamic_broker().keys());
    let mut strangers: Vec<_> = configured
        .chain(dynamic.map(String::as_str))
        .filter(|name| table::find(name).is_none())
        .collect();
    strangers.sort_unstable();
    strangers.dedup();
    rows.extend(strangers.into_iter().map(|name| stranger_row(name, broker)));
    rows
}

/// The configs that were changed for all brokers at once, and nothing else.
pub fn describe_all_brokers(broker: &BrokerConfig) -> Vec<DescribedConfig> {
    let rows = broker.settings.dynamic_default().iter().map(|(name, text)| {
        let mut row = match table::find(name) {
            Some(key) => broker_row(key, broker),
            None => stranger_row(name, broker),
        };
        row.synonyms
            .retain(|synonym| synonym.source == ConfigSource::DynamicDefault);
        row.source = ConfigSource::DynamicDefault;
        row.value = (!row.sensitive).then(|| text.clone());
        row
    });
    rows.collect()
}

/// All configs of a group with these values of its own; groups need not exist.
pub fn describe_group(own: &BTreeMap<String, String>, broker: &BrokerConfig) -> Vec<DescribedConfig> {
    let rows = GROUP_KEYS.iter().map(|key| {
        let value = group::value_of(key, own, broker).map(|value| value.to_string());
        let mut synonyms = match key.synonyms.first() {
            Some(name) => synonyms_of(name, false, broker),
            None => vec![Synonym {
                name: key.name.to_owned(),
                value: key.default_value().map(|value| value.to_string()),
                source: ConfigSource::Default,
            }],
        };
        if own.contains_key(key.name) {
            synonyms.insert(0, own_synonym(key, &value, ConfigSource::Group));
        }
        row(key, value, false, synonyms)
    });
    rows.collect()
}

/// All configs of a client-metrics subscription with these values; subscriptions need not exist.
pub fn describe_client_metrics(own: &BTreeMap<String, String>) -> Vec<DescribedConfig> {
    let rows = CLIENT_METRICS_KEYS.iter().map(|key| {
        let text = own.get(key.name).and_then(|text| key.parse(text).ok());
        let value = text.or_else(|| key.default_value()).map(|value| value.to_string());
        let synonyms = match own.contains_key(key.name) {
            true => vec![own_synonym(key, &value, ConfigSource::ClientMetrics)],
            false => Vec::new(),
        };
        row(key, value, false, synonyms)
    });
    rows.collect()
}

/// The level of one part of the log.
pub fn describe_logger(name: &str, level: &str) -> DescribedConfig {
    DescribedConfig {
        name: name.to_owned(),
        value: Some(level.to_owned()),
        read_only: false,
        source: ConfigSource::BrokerLogger,
        sensitive: false,
        synonyms: Vec::new(),
        config_type: 0,
        documentation: None,
    }
}

fn own_synonym(key: &ConfigKey, value: &Option<String>, source: ConfigSource) -> Synonym {
    Synonym {
        name: key.name.to_owned(),
        value: value.clone(),
        source,
    }
}

fn topic_row(key: &ConfigKey, overrides: &BTreeMap<String, String>, broker: &BrokerConfig) -> DescribedConfig {
    let value = value_of(key, overrides, broker).map(|value| value.to_string());
    let mut synonyms = key
        .synonyms
        .first()
        .map_or_else(Vec::new, |name| synonyms_of(name, false, broker));
    if overrides.contains_key(key.name) {
        synonyms.insert(0, own_synonym(key, &value, ConfigSource::Topic));
    }
    row(key, value, false, synonyms)
}

fn broker_row(key: &ConfigKey, broker: &BrokerConfig) -> DescribedConfig {
    let value = broker.settings.value(key).map(|value| value.to_string());
    let synonyms = synonyms_of(key.name, key.is_sensitive(), broker);
    // What only this broker can change is told as Kafka tells it: programs compare.
    row(key, value, !key.can_change() || key.live.is_some(), synonyms)
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

/// A name outside of the table: a listener's own config, one that can only be set while brokers run, or one that nothing
/// is known of, whose value may be a secret.
fn stranger_row(name: &str, broker: &BrokerConfig) -> DescribedConfig {
    let key = dynamic::find(base_name(name));
    let sensitive = key.is_none_or(ConfigKey::is_sensitive);
    let mut synonyms = synonyms_of(name, sensitive, broker);
    if let Some(key) = key.filter(|key| key.name != name) {
        synonyms.extend(synonyms_of(key.name, sensitive, broker));
    }
    let source = synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source);
    DescribedConfig {
        name: name.to_owned(),
        value: synonyms.first().and_then(|synonym| synonym.value.clone()),
        // a listener's own values and unknown ones are dynamic only where they were set so
        read_only: source == ConfigSource::StaticBroker || key.is_some_and(|key| !key.can_change()),
        source,
        sensitive,
        synonyms,
        config_type: key.map_or(0, |key| key.kind as i8),
        documentation: key.map(ConfigKey::doc),
    }
}

fn synonyms_of(name: &str, sensitive: bool, broker: &BrokerConfig) -> Vec<Synonym> {
    let own = [name];
    let names: &[&str] = match group_of(name) {
        Some(group) => group,
        None if name == "log.flush.interval.ms" => &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        None => &own,
    };
    let synonyms = candidates(None, names, &broker.settings).map(|candidate| Synonym {
        name: candidate.name.to_owned(),
        value: (!sensitive).then(|| candidate.text.into_owned()),
        source: candidate.source,
    });
    synonyms.skip_while(|synonym| synonym.name != name).collect()
}

#[cfg(test)]
mod tests;
