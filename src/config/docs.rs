//! `docs/configuration.md` and the list of keys in `--help`, both written from the table.
//!
//! Invariant: the committed file is exactly what [`markdown`] returns (`tests/config_golden.rs` holds it and writes it
//! anew when `MONEDULA_UPDATE_DOCS` is set).

use std::fmt::Write as _;

use crate::config::dynamic::DYNAMIC_ONLY;
use crate::config::group_table::{CLIENT_METRICS_KEYS, GROUP_KEYS};
use crate::config::key::{ConfigKey, Effect};
use crate::config::table;
use crate::config::topic_table::TOPIC_KEYS;

const INTRODUCTION: &str = "\
# Configuration

<!-- Written by `monedula config docs` from the table in src/config. Do not edit by hand. -->

Monedula needs no configuration. What is configured uses Apache Kafka's names (those of version 4.3), and comes from, later
sources winning:

1. the defaults below,
2. a properties file: `monedula server.properties`,
3. environment variables: `KAFKA_LOG_DIRS` is `log.dirs` (`_` stands for `.`, `__` for `_`, `___` for `-`), and
   `KAFKA_CFG_LOG_DIRS` is the same and wins,
4. `--override key=value` on the command line, as often as needed.

A `server.properties` written for Kafka works: all of its configs are known. Those that change something here are in the
first tables; the others are read, checked and shown to tools, and have no effect. An unknown name is a warning, a value
that cannot be used ends the start with a sentence that says what is allowed.

Configs whose *update* is `per-broker` or `cluster-wide` can be changed while the broker runs, for one broker or for all
(`kafka-configs --alter`), and so can all configs of topics, groups and client-metrics subscriptions. A change is in force
when it is answered, and survives a restart. Who wins: the topic, this broker's dynamic value, the dynamic default of all
brokers, what was configured at the start, the default. When a config without effect is given another value than its
default, the log says so once. The levels of the log (`--entity-type broker-loggers`) can be changed too; a restart
forgets them.
";

const HELP_KEYS: &[&str] = &[
    "listeners",
    "advertised.listeners",
    "log.dirs",
    "log.dir",
    "node.id",
    "num.partitions",
    "auto.create.topics.enable",
    "message.max.bytes",
    "log.segment.bytes",
    "log.flush.interval.ms",
    "log.flush.interval.messages",
];

/// The documentation of all configs.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    let (own, kafkas): (Vec<_>, Vec<_>) = table::broker_keys()
        .filter(|key| key.effect == Effect::Acts)
        .partition(|key| key.name.starts_with("monedula."));
    section(&mut text, "## Broker configs that act", kafkas.into_iter());
    text.push_str("\nConfigs that Kafka does not have:\n");
    table_of(&mut text, own.into_iter());
    fixed_configs(&mut text);
    text.push_str("\n## Defaults that differ from Kafka's\n\n| Config | Here | Kafka | Why |\n|---|---|---|---|\n");
    let all = || table::broker_keys().chain(TOPIC_KEYS);
    for key in all() {
        if let Some(difference) = key.difference {
            let kafka = code(difference.kafka_default);
            writeln_to(
                &mut text,
                format_args!(
                    "| {} | {} | {kafka} | {} |",
                    code(key.name),
                    default(key),
                    difference.reason
                ),
            );
        }
    }
    let acting = |key: &&ConfigKey| key.effect == Effect::Acts;
    section(&mut text, "## Topic configs that act", TOPIC_KEYS.iter().filter(acting));
    section(
        &mut text,
        "## Topic configs without effect",
        TOPIC_KEYS.iter().filter(|key| !acting(key)),
    );
    text.push_str("\n## Broker configs without effect\n");
    for (area, keys) in table::accepted_areas() {
        section(&mut text, &format!("### {area}"), keys.into_iter());
    }
    section(&mut text, "### Only while running", DYNAMIC_ONLY.iter());
    section(&mut text, "## Group configs without effect", GROUP_KEYS.iter());
    section(
        &mut text,
        "## Client-metrics configs without effect",
        CLIENT_METRICS_KEYS.iter(),
    );
    counts(&mut text);
    text
}

/// Configs that Kafka changes while it runs and this broker does not, and the other way round.
fn fixed_configs(text: &mut String) {
    text.push_str("\n## Configs that only a restart changes, unlike in Kafka\n\n| Config | Why |\n|---|---|\n");
    for key in table::broker_keys() {
        if let Some(why) = key.fixed {
            writeln_to(text, format_args!("| {} | {why} |", code(key.name)));
        }
    }
    text.push_str("\n## Configs that change while the broker runs, unlike in Kafka\n\n| Config | Why |\n|---|---|\n");
    for key in table::broker_keys() {
        if let Some(why) = key.live {
            writeln_to(text, format_args!("| {} | {why} |", code(key.name)));
        }
    }
}

/// How many configs act, in how many of them while the broker runs.
fn counts(text: &mut String) {
    text.push_str("\n## Counts\n\n| Configs | Act | of these while running | Without effect |\n|---|---|---|---|\n");
    let mut line = |name: &str, keys: Vec<&ConfigKey>| {
        let acting = keys.iter().filter(|key| key.effect == Effect::Acts);
        let changing = acting.clone().filter(|key| key.can_change()).count();
        let acting = acting.count();
        writeln_to(
            text,
            format_args!("| {name} | {acting} | {changing} | {} |", keys.len() - acting),
        );
    };
    let (own, kafkas): (Vec<_>, Vec<_>) = table::broker_keys().partition(|key| key.name.starts_with("monedula."));
    line("broker, Kafka's", kafkas);
    line("broker, own", own);
    line("broker, only while running", DYNAMIC_ONLY.iter().collect());
    line("topic", TOPIC_KEYS.iter().collect());
    line("group", GROUP_KEYS.iter().collect());
    line("client metrics", CLIENT_METRICS_KEYS.iter().collect());
}

/// The most important keys, for `--help`.
pub fn help() -> String {
    let mut text = String::new();
    for name in HELP_KEYS {
        let key = table::find(name).expect("help names keys of the table");
        let default = key
            .default
            .map_or(String::new(), |default| format!(" [default: {default}]"));
        writeln_to(&mut text, format_args!("  {name}{default}\n      {}", key.doc()));
    }
    text
}

fn section<'a>(text: &mut String, heading: &str, keys: impl Iterator<Item = &'a ConfigKey>) {
    writeln_to(text, format_args!("\n{heading}\n"));
    table_of(text, keys);
}

fn table_of<'a>(text: &mut String, keys: impl Iterator<Item = &'a ConfigKey>) {
    if !text.ends_with("\n\n") {
        text.push('\n');
    }
    text.push_str("| Config | Type | Default | Accepted | Update | What it is |\n|---|---|---|---|---|---|\n");
    for key in keys.filter(|key| !key.internal) {
        let accepted = key.check.to_string();
        let accepted = if accepted.is_empty() { accepted } else { code(&accepted) };
        writeln_to(
            text,
            format_args!(
                "| {} | {} | {} | {accepted} | {} | {} |",
                code(key.name),
                key.kind.name(),
                default(key),
                key.update().name(),
                key.doc().replace('|', "\\|")
            ),
        );
    }
}

fn default(key: &ConfigKey) -> String {
    match key.default {
        None => "null".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(default) => code(default),
    }
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

fn writeln_to(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_config_that_is_not_internal_is_documented_once() {
        let text = markdown();
        for key in table::broker_keys().filter(|key| !key.internal) {
            let rows = text
                .lines()
                .filter(|line| line.starts_with(&format!("| `{}` | {} |", key.name, key.kind.name())));
            let topic = TOPIC_KEYS
                .iter()
                .filter(|topic| topic.name == key.name && topic.kind == key.kind)
                .count();
            assert_eq!(rows.count(), 1 + topic, "{}", key.name);
        }
    }

    #[test]
    fn help_names_defaults() {
        assert!(help().contains("  listeners [default: PLAINTEXT://127.0.0.1:9092]\n"));
        assert!(help().contains("  log.dirs\n"));
    }
}
