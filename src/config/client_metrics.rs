//! What the configs of a client-metrics subscription may be (KIP-714).
//!
//! Invariant: pure; order, sentences and kinds of refusals are those of `ClientMetricsConfigs.validate` of Apache Kafka.
//! A pattern is checked as far as its brackets and repetitions go: it is Java's, and nothing here matches by it yet.

use std::collections::BTreeMap;

use crate::config::group_table::find_client_metrics;
use crate::config::value::ConfigValue;

/// What a client can be chosen by.
const MATCHED_BY: &[&str] = &[
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// Why a subscription is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// INVALID_REQUEST in Kafka.
    Request(String),
    /// INVALID_CONFIG in Kafka.
    Config(String),
}

/// Refuses values that cannot be used.
///
/// # Errors
/// The first fault.
pub fn validate_client_metrics(values: &BTreeMap<String, String>) -> Result<(), Refusal> {
    for name in values.keys() {
        find_client_metrics(name)
            .ok_or_else(|| Refusal::Request(format!("Unknown client metrics configuration: {name}")))?;
    }
    for (name, text) in values {
        let key = find_client_metrics(name).expect("looked up above");
        let parsed = key.parse(text).and_then(|value| match value {
            ConfigValue::List(elements) if elements.iter().any(String::is_empty) => {
                Err("Configuration 'values' must not contain empty elements".to_owned())
            }
            value => Ok(value),
        });
        let value =
            parsed.map_err(|why| Refusal::Config(format!("Invalid value {text} for configuration {name}: {why}")))?;
        match (name.as_str(), value) {
            ("interval.ms", ConfigValue::Int(interval)) if !(100..=3_600_000).contains(&interval) => {
                return Err(Refusal::Request(format!(
                    "Invalid value {interval} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
                )));
            }
            ("match", ConfigValue::List(patterns)) => {
                if let Some(bad) = patterns.iter().find(|pattern| !is_pattern(pattern)) {
                    return Err(Refusal::Config(format!("Illegal client matching pattern: {bad}")));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_pattern(pattern: &str) -> bool {
    // Java's split drops what is empty at the end
    let parts: Vec<_> = pattern.trim_end_matches('=').split('=').collect();
    match parts[..] {
        [name, expression] => MATCHED_BY.contains(&name.trim()) && is_expression(expression.trim()),
        _ => false,
    }
}

/// Whether brackets are closed and repetitions have something to repeat.
fn is_expression(text: &str) -> bool {
    let (mut open, mut in_class, mut repeatable) = (0_usize, false, false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                if letters.next().is_none() {
                    return false;
                }
                repeatable = true;
            }
            ']' if in_class => (in_class, repeatable) = (false, true),
            _ if in_class => {}
            '[' => in_class = true,
            '(' => (open, repeatable) = (open + 1, false),
            ')' => match open.checked_sub(1) {
                Some(left) => (open, repeatable) = (left, true),
                None => return false,
            },
            '*' | '+' if !repeatable => return false,
            '?' if !repeatable && open == 0 => return false,
            '|' => repeatable = false,
            _ => repeatable = true,
        }
    }
    open == 0 && !in_class
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validate(name: &str, text: &str) -> Result<(), Refusal> {
        validate_client_metrics(&BTreeMap::from([(name.to_owned(), text.to_owned())]))
    }

    #[test]
    fn refusals_have_kafkas_sentences_and_kinds() {
        let request = |text: &str| Err(Refusal::Request(text.to_owned()));
        let config = |text: &str| Err(Refusal::Config(text.to_owned()));
        assert_eq!(
            validate("nope", "1"),
            request("Unknown client metrics configuration: nope")
        );
        assert_eq!(
            validate("interval.ms", "99"),
            request("Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)")
        );
        assert_eq!(
            validate("interval.ms", "x"),
            config("Invalid value x for configuration interval.ms: Not a number of type INT")
        );
        for bad in [
            "client_id",
            "nobody=a",
            "client_id=a=b",
            "client_id=(a",
            "client_id=*",
            "client_id=[a",
            "client_id=a)",
        ] {
            assert_eq!(
                validate("match", bad),
                config(&format!("Illegal client matching pattern: {bad}"))
            );
        }
        assert!(validate("metrics", "a,,b").is_err());
    }

    #[test]
    fn what_can_be_used_is_taken() {
        for (name, text) in [
            ("interval.ms", "100"),
            ("interval.ms", "3600000"),
            ("metrics", "org.apache.kafka.producer.,org.apache.kafka.consumer."),
            ("metrics", ""),
            ("match", "client_id=app-.*, client_source_address=1\\.2\\.3\\.4"),
            ("match", "client_software_name=(?i)apache-(java|kafka)?"),
        ] {
            assert_eq!(validate(name, text), Ok(()), "{name}={text}");
        }
    }
}
