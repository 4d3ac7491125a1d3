//! What a group's own configs may be, beside the broker's limits for them.
//!
//! Invariant: pure; order and sentences are those of `GroupConfig.validate` of Apache Kafka.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::config::broker::BrokerConfig;
use crate::config::dynamic;
use crate::config::group_table::find_group;
use crate::config::key::ConfigKey;
use crate::config::precedence::{Candidate, ConfigSource, candidates};
use crate::config::value::ConfigValue;

/// Kinds of groups with a session timeout and a heartbeat interval.
const KINDS: &[&str] = &["consumer", "share", "streams"];

/// Group configs with a lower and an upper limit on the broker, in the order of Kafka's checks: the name, and what
/// stands behind `min.` and `max.` in the names of the limits.
const LIMITED: &[(&str, &str)] = &[
    ("consumer", "heartbeat.interval.ms"),
    ("consumer", "session.timeout.ms"),
    ("consumer", "assignment.interval.ms"),
    ("share", "heartbeat.interval.ms"),
    ("share", "session.timeout.ms"),
    ("share", "record.lock.duration.ms"),
    ("share", "delivery.count.limit"),
    ("share", "partition.max.record.locks"),
    ("share", "assignment.interval.ms"),
    ("streams", "heartbeat.interval.ms"),
    ("streams", "session.timeout.ms"),
];

/// The value of a group config: the group's own, else the broker's; an own one that cannot be read gives way.
pub(super) fn value_of(key: &ConfigKey, own: &BTreeMap<String, String>, broker: &BrokerConfig) -> Option<ConfigValue> {
    let usable = own.get(key.name).filter(|text| key.parse(text).is_ok());
    let own = usable.map(|text| Candidate {
        name: key.name,
        text: Cow::Borrowed(text.as_str()),
        source: ConfigSource::Group,
    });
    match candidates(own, key.synonyms, &broker.settings).next() {
        Some(deciding) => key.parse(&deciding.text).ok(),
        None => key.default_value(),
    }
}

/// Refuses configs of a group that cannot be used, or not together.
///
/// # Errors
/// The first fault.
pub fn validate_group_configs(own: &BTreeMap<String, String>, broker: &BrokerConfig) -> Result<(), String> {
    for name in own.keys() {
        find_group(name).ok_or_else(|| format!("Unknown group config name: {name}"))?;
    }
    for (name, text) in own {
        let key = find_group(name).expect("looked up above");
        key.parse(text)
            .map_err(|why| format!("Invalid value {text} for configuration {name}: {why}"))?;
    }
    let number = |name: &str| {
        let value = find_group(name).and_then(|key| value_of(key, own, broker));
        value
            .and_then(|value| value.as_integer())
            .expect("a number without null")
    };
    for (kind, what) in LIMITED {
        let name = format!("{kind}.{what}");
        // as in Kafka, the broker's own interval need not keep the limits
        if *what != "assignment.interval.ms" || own.contains_key(&name) {
            check_limits(kind, what, number(&name), broker)?;
        }
    }
    let standby = "streams.num.standby.replicas";
    at_most(standby, number(standby), "group.streams.max.standby.replicas", broker)?;
    let interval = "streams.assignment.interval.ms";
    if own.contains_key(interval) {
        check_limits("streams", "assignment.interval.ms", number(interval), broker)?;
    }
    for kind in KINDS {
        let (session, heartbeat) = (
            format!("{kind}.session.timeout.ms"),
            format!("{kind}.heartbeat.interval.ms"),
        );
        if number(&session) <= number(&heartbeat) {
            return Err(format!("{session} must be greater than {heartbeat}"));
        }
    }
    Ok(())
}

fn check_limits(kind: &str, what: &str, value: i64, broker: &BrokerConfig) -> Result<(), String> {
    let name = format!("{kind}.{what}");
    let lowest = format!("group.{kind}.min.{what}");
    if value < limit(&lowest, broker) {
        return Err(format!("{name} must be greater than or equal to {lowest}"));
    }
    at_most(&name, value, &format!("group.{kind}.max.{what}"), broker)
}

fn at_most(name: &str, value: i64, highest: &str, broker: &BrokerConfig) -> Result<(), String> {
    if value > limit(highest, broker) {
        return Err(format!("{name} must be less than or equal to {highest}"));
    }
    Ok(())
}

fn limit(name: &str, broker: &BrokerConfig) -> i64 {
    let value = dynamic::find(name).and_then(|key| broker.settings.value(key));
    value
        .and_then(|value| value.as_integer())
        .expect("limits are numbers of the table")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validate(pairs: &[(&str, &str)]) -> Result<(), String> {
        let own = pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        validate_group_configs(&own.collect(), &BrokerConfig::default())
    }

    #[test]
    fn refusals_are_kafkas_sentences() {
        for (pairs, expected) in [
            (&[("nope", "1")][..], "Unknown group config name: nope"),
            (
                &[("consumer.session.timeout.ms", "x")],
                "Invalid value x for configuration consumer.session.timeout.ms: Not a number of type INT",
            ),
            (
                &[("consumer.session.timeout.ms", "44999")],
                "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
            ),
            (
                &[("consumer.session.timeout.ms", "60001")],
                "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms",
            ),
            (
                &[("consumer.assignment.interval.ms", "15001")],
                "consumer.assignment.interval.ms must be less than or equal to group.consumer.max.assignment.interval.ms",
            ),
            (
                &[("share.delivery.count.limit", "11")],
                "share.delivery.count.limit must be less than or equal to group.share.max.delivery.count.limit",
            ),
            (
                &[("streams.num.standby.replicas", "3")],
                "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas",
            ),
        ] {
            assert_eq!(validate(pairs), Err(expected.to_owned()));
        }
        assert!(validate(&[("share.auto.offset.reset", "by_duration:-PT1H")]).is_err());
        for (name, text) in [
            ("share.auto.offset.reset", "by_duration:P1DT2H"),
            ("share.isolation.level", "read_committed"),
            ("streams.num.standby.replicas", "2"),
            ("consumer.session.timeout.ms", "50000"),
        ] {
            assert_eq!(validate(&[(name, text)]), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_session_outlasts_a_heartbeat() {
        let mut broker = BrokerConfig::default();
        let none = BTreeMap::new();
        assert_eq!(validate_group_configs(&none, &broker), Ok(()));
        let wide = [("group.consumer.min.session.timeout.ms", "1")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        broker.settings = broker
            .settings
            .with_dynamic(BTreeMap::new(), wide.into_iter().collect());
        let own = [("consumer.session.timeout.ms", "5000")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(
            validate_group_configs(&own.into_iter().collect(), &broker),
            Err("consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms".to_owned())
        );
    }
}
