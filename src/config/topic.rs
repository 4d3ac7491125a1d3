//! The configuration of one topic: its own overrides over the broker's values.
//!
//! Invariant: everything here is pure. Overrides were validated when the topic was created; one that cannot be read
//! all the same (written by another version) gives way to the broker's value instead of making the topic unusable.

use std::collections::BTreeMap;

use protocol::record::{Compression, Recompression, TimestampType};
use storage::config::LogConfig;

use crate::config::broker::BrokerConfig;
use crate::config::dynamic::MAX_VALUE_BYTES;
use crate::config::key::ConfigKey;
use crate::config::table;
use crate::config::topic_table;
use crate::config::value::ConfigValue;

/// What a topic's partitions go by.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// What their logs go by.
    pub log: LogConfig,
    /// In-sync replicas that a write with acks=all needs.
    pub min_insync_replicas: i32,
    /// How batches are to be compressed that come in another codec; `None` keeps them as they come.
    pub recompression: Option<Recompression>,
}

/// The configuration of a topic with these overrides.
pub fn resolve_topic(overrides: &BTreeMap<String, String>, broker: &BrokerConfig) -> TopicConfig {
    let values = TopicValues { overrides, broker };
    let policy = match values.value("cleanup.policy") {
        Some(ConfigValue::List(policy)) => policy,
        other => unreachable!("cleanup.policy is a list: {other:?}"),
    };
    let log = LogConfig {
        segment_bytes: values.size("segment.bytes"),
        segment_ms: values.long("segment.ms"),
        segment_jitter_ms: values.long("segment.jitter.ms"),
        segment_index_bytes: values.size("segment.index.bytes"),
        index_interval_bytes: values.size("index.interval.bytes"),
        max_message_bytes: values.size("max.message.bytes"),
        flush_messages: values.long("flush.messages"),
        flush_ms: values.long("flush.ms"),
        preallocate: values.value("preallocate") == Some(ConfigValue::Boolean(true)),
        message_timestamp_type: match values.value("message.timestamp.type") {
            Some(ConfigValue::Text(kind)) if kind == "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        },
        message_timestamp_before_max_ms: values.long("message.timestamp.before.max.ms"),
        message_timestamp_after_max_ms: values.long("message.timestamp.after.max.ms"),
        retention_ms: values.long("retention.ms"),
        retention_bytes: values.long("retention.bytes"),
        file_delete_delay_ms: values.long("file.delete.delay.ms"),
        compact: policy.iter().any(|word| word == "compact"),
        delete: policy.iter().any(|word| word == "delete"),
        producer_id_expiration_ms: i64::from(broker.producer_id_expiration_ms),
        max_producer_ids: usize::try_from(broker.monedula_partition_max_producer_ids).unwrap_or(1),
    };
    let min_insync_replicas = i32::try_from(values.long("min.insync.replicas")).expect("the config is an int");
    TopicConfig {
        log,
        min_insync_replicas,
        recompression: values.recompression(),
    }
}

/// Refuses an unknown name or a value that cannot be used, in the words of Kafka's INVALID_CONFIG.
pub fn validate_topic_config(name: &str, value: &str) -> Result<(), String> {
    let Some(key) = topic_table::find(name) else {
        return Err(format!("Unknown topic config name: {name}"));
    };
    if value.len() > MAX_VALUE_BYTES {
        return Err(format!(
            "The value for configuration {name} has {} bytes, more than {MAX_VALUE_BYTES}",
            value.len()
        ));
    }
    if let Err(why) = key.parse(value) {
        return Err(format!("Invalid value {value} for configuration {name}: {why}"));
    }
    if name == "remote.storage.enable" && value.trim().eq_ignore_ascii_case("true") {
        let why = "Tiered Storage functionality is disabled in the broker. \
                   Topic cannot be configured with remote log storage.";
        return Err(why.to_owned());
    }
    Ok(())
}

/// Refuses overrides that contradict each other, or one of which cannot be used.
pub fn validate_topic_configs(overrides: &BTreeMap<String, String>, broker: &BrokerConfig) -> Result<(), String> {
    overrides
        .iter()
        .try_for_each(|(name, value)| validate_topic_config(name, value))?;
    let values = TopicValues { overrides, broker };
    let (shortest, longest) = (
        values.long("min.compaction.lag.ms"),
        values.long("max.compaction.lag.ms"),
    );
    if shortest > longest {
        return Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({shortest}) > max.compaction.lag.ms ({longest})"
        ));
    }
    Ok(())
}

/// The broker's value for a topic config that has no override; `None` is null.
pub(super) fn inherited(key: &ConfigKey, broker: &BrokerConfig) -> Option<ConfigValue> {
    match key.name {
        // several broker configs in different units answer these
        "retention.ms" => Some(ConfigValue::Long(broker.resolved.log_retention_ms)),
        "segment.ms" => Some(ConfigValue::Long(broker.resolved.log_roll_ms)),
        "segment.jitter.ms" => Some(ConfigValue::Long(broker.resolved.log_roll_jitter_ms)),
        _ => match key.synonyms.first() {
            Some(name) => broker
                .settings
                .value(table::find(name).expect("synonyms are broker configs")),
            None => key.default_value(),
        },
    }
}

/// The value of a topic config; `None` is null.
pub(super) fn value_of(
    key: &ConfigKey,
    overrides: &BTreeMap<String, String>,
    broker: &BrokerConfig,
) -> Option<ConfigValue> {
    let usable = overrides.get(key.name).filter(|text| text.len() <= MAX_VALUE_BYTES);
    match usable.map(|text| key.parse(text)) {
        Some(Ok(value)) => Some(value),
        Some(Err(_)) | None => inherited(key, broker),
    }
}

struct TopicValues<'a> {
    overrides: &'a BTreeMap<String, String>,
    broker: &'a BrokerConfig,
}

impl TopicValues<'_> {
    fn recompression(&self) -> Option<Recompression> {
        let Some(ConfigValue::Text(kind)) = self.value("compression.type") else {
            unreachable!("compression.type is a text that is never null");
        };
        let level = |name| i32::try_from(self.long(name)).expect("the config is an int");
        let (compression, level) = match kind.as_str() {
            "uncompressed" => (Compression::None, None),
            "gzip" => (
                Compression::Gzip,
                Some(level("compression.gzip.level")).filter(|level| *level != -1),
            ),
            "snappy" => (Compression::Snappy, None),
            "lz4" => (Compression::Lz4, None),
            "zstd" => (Compression::Zstd, Some(level("compression.zstd.level"))),
            _ => return None,
        };
        Some(Recompression { compression, level })
    }

    fn value(&self, name: &str) -> Option<ConfigValue> {
        let key = topic_table::find(name).expect("only names of the table are asked for");
        value_of(key, self.overrides, self.broker)
    }

    fn long(&self, name: &str) -> i64 {
        self.value(name)
            .and_then(|value| value.as_integer())
            .expect("a number without null")
    }

    fn size(&self, name: &str) -> u32 {
        u32::try_from(self.long(name)).expect("checked to be an int of 0 or more")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn a_topic_without_overrides_of_a_broker_without_configuration_is_the_default() {
        let config = resolve_topic(&BTreeMap::new(), &BrokerConfig::default());
        assert_eq!(config.log, LogConfig::default());
        assert_eq!(config.min_insync_replicas, 1);
    }

    #[test]
    fn overrides_win_over_the_broker_and_the_broker_over_defaults() {
        let broker = broker(&[
            ("log.retention.hours", "1"),
            ("log.roll.ms", "5000"),
            ("log.roll.jitter.hours", "2"),
            ("log.segment.bytes", "2097152"),
            ("log.message.timestamp.type", "LogAppendTime"),
            ("log.cleanup.policy", "compact"),
            ("producer.id.expiration.ms", "7"),
        ]);
        let config = resolve_topic(
            &overrides(&[("segment.ms", "6000"), ("cleanup.policy", "delete")]),
            &broker,
        )
        .log;
        assert_eq!(config.retention_ms, 3_600_000);
        assert_eq!(config.segment_ms, 6000);
        assert_eq!(config.segment_jitter_ms, 7_200_000);
        assert_eq!(config.segment_bytes, 2_097_152);
        assert_eq!(config.message_timestamp_type, TimestampType::LogAppendTime);
        assert!(config.delete && !config.compact);
        assert_eq!(config.producer_id_expiration_ms, 7);
    }

    #[test]
    fn no_stored_override_is_worse_than_none() {
        let (least, rubbish) = (resolve_topic(&BTreeMap::new(), &broker(&[])), "\u{0}rubbish".to_owned());
        let all = |text: &str| {
            let keys = topic_table::TOPIC_KEYS.iter();
            keys.map(|key| (key.name.to_owned(), text.to_owned())).collect()
        };
        assert_eq!(resolve_topic(&all(&rubbish), &broker(&[])), least);
        let long = "9".repeat(MAX_VALUE_BYTES + 1);
        assert_eq!(resolve_topic(&all(&long), &broker(&[])), least);
        for text in [
            "",
            " ",
            ",",
            "null",
            "-1",
            "-2",
            "0",
            "2147483648",
            "-9223372036854775808",
            "1e3",
            "NaN",
            "true",
        ] {
            resolve_topic(&all(text), &broker(&[]));
            for key in topic_table::TOPIC_KEYS {
                resolve_topic(&overrides(&[(key.name, text)]), &broker(&[]));
            }
        }
    }

    #[test]
    fn an_override_that_cannot_be_read_gives_way() {
        let config = resolve_topic(
            &overrides(&[("segment.bytes", "10"), ("retention.ms", "x")]),
            &broker(&[]),
        );
        assert_eq!(config.log, LogConfig::default());
    }

    #[test]
    fn refusals_are_kafkas_sentences() {
        for (name, value, expected) in [
            ("bogus", "1", "Unknown topic config name: bogus"),
            (
                "segment.bytes",
                "10",
                "Invalid value 10 for configuration segment.bytes: Value must be at least 1048576",
            ),
            (
                "retention.ms",
                "abc",
                "Invalid value abc for configuration retention.ms: Not a number of type LONG",
            ),
            (
                "cleanup.policy",
                "foo",
                "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete",
            ),
        ] {
            assert_eq!(validate_topic_config(name, value), Err(expected.to_owned()));
        }
        assert!(validate_topic_config("remote.storage.enable", "TRUE").is_err());
        for (name, value) in [
            ("cleanup.policy", ""),
            ("cleanup.policy", "delete, delete"),
            ("retention.bytes", "-5"),
        ] {
            assert_eq!(validate_topic_config(name, value), Ok(()), "{name} {value}");
        }
    }

    #[test]
    fn a_value_is_no_longer_than_every_answer_can_say() {
        let policy = |count: usize| vec!["delete"; count].join(",");
        let (long, too_long) = (policy(4_681), policy(4_682));
        assert!(long.len() <= MAX_VALUE_BYTES && too_long.len() > MAX_VALUE_BYTES);
        assert_eq!(validate_topic_config("cleanup.policy", &long), Ok(()));
        let refused = validate_topic_config("cleanup.policy", &too_long).expect_err("too long");
        assert!(refused.len() < 200, "the value is not repeated: {refused}");
        // one that was stored all the same gives way
        let key = topic_table::find("cleanup.policy").expect("a topic config");
        let stored = overrides(&[("cleanup.policy", &too_long)]);
        let shown = value_of(key, &stored, &broker(&[])).expect("not null");
        assert_eq!(shown.to_string(), "delete");
    }

    #[test]
    fn compaction_lags_may_not_cross() {
        let crossed = overrides(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]);
        let expected = "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)";
        assert_eq!(validate_topic_configs(&crossed, &broker(&[])), Err(expected.to_owned()));
        assert_eq!(
            validate_topic_configs(&overrides(&[("min.compaction.lag.ms", "10")]), &broker(&[])),
            Ok(())
        );
    }

    proptest! {
        #[test]
        fn whatever_passes_validation_is_resolved_as_it_is_written(
            index in 0..topic_table::TOPIC_KEYS.len(),
            value in prop_oneof!["-?[0-9]{1,19}", "true|false", "[0-9]\\.[0-9]", "compact|delete|compact,delete", "LogAppendTime"],
        ) {
            let key = &topic_table::TOPIC_KEYS[index];
            let overrides = overrides(&[(key.name, &value)]);
            let broker = BrokerConfig::default();
            let resolved = resolve_topic(&overrides, &broker);
            if validate_topic_configs(&overrides, &broker).is_ok() {
                prop_assert_eq!(value_of(key, &overrides, &broker), ConfigValue::parse(key.kind, &value).ok());
            } else if validate_topic_config(key.name, &value).is_err() && key.name != "remote.storage.enable" {
                prop_assert_eq!(resolved, resolve_topic(&BTreeMap::new(), &broker));
            }
        }
    }
}
