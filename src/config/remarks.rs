//! What a user should hear about a configuration that is valid: unknown names, configs of other Kafka versions, and
//! configs that change nothing here.
//!
//! Invariants: a warning means that the broker does not do what was asked for; a stock `server.properties` of Kafka
//! causes none.

use crate::config::dynamic;
use crate::config::key::Effect;
use crate::config::nearest::nearest;
use crate::config::settings::{Setting, Settings};
use crate::config::table;

/// One sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// Somebody should look at it.
    Warning(String),
    /// Good to know.
    Info(String),
}

/// Writes remarks to the log.
pub fn log(remarks: &[Remark]) {
    for remark in remarks {
        match remark {
            Remark::Warning(sentence) => tracing::warn!("{sentence}"),
            Remark::Info(sentence) => tracing::info!("{sentence}"),
        }
    }
}

/// Names and families of names that Kafka's plugins read beside the table, with what they would do.
const OF_PLUGINS: &[(&str, &str)] = &[
    ("super.users", "there is no authorizer, every client may do everything"),
    (
        "allow.everyone.if.no.acl.found",
        "there is no authorizer, every client may do everything",
    ),
    ("config.providers.", "values are taken as they are written"),
    ("rlmm.config.", "there is no tiered storage"),
    ("rsm.config.", "there is no tiered storage"),
    ("confluent.", "it is not a config of Apache Kafka"),
];

/// Configs that Kafka 4 has removed.
const REMOVED: &[&str] = &[
    "advertised.host.name",
    "advertised.port",
    "broker.id.generation.enable",
    "control.plane.listener.name",
    "delegation.token.master.key",
    "host.name",
    "inter.broker.protocol.version",
    "log.message.format.version",
    "log.message.timestamp.difference.max.ms",
    "message.format.version",
    "password.encoder.",
    "port",
    "reserved.broker.max.id",
    "zookeeper.",
];

/// Configs that act for a single listener, too.
const OF_LISTENERS: &[&str] = &["max.connection.creation.rate"];

/// Remarks on settings that have passed their checks.
pub(super) fn on(settings: &Settings) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut idle = Vec::new();
    for (name, setting) in settings.iter() {
        match table::find(base_name(name)) {
            None => remarks.push(Remark::Warning(stranger(name, setting))),
            Some(key) if key.effect == Effect::Accepted && key.parse(&setting.text).ok() != key.default_value() => {
                match unmet(name, setting) {
                    Some(warning) => remarks.push(Remark::Warning(warning)),
                    None => idle.push(name),
                }
            }
            Some(key) if base_name(name) != name && !OF_LISTENERS.contains(&key.name) => idle.push(name),
            Some(_) => {}
        }
    }
    if !idle.is_empty() {
        remarks.push(Remark::Info(format!(
            "known configs that change nothing in this broker: {}",
            idle.join(", ")
        )));
    }
    remarks
}

/// A sentence on a dynamic value of a broker config that changes nothing; `None` for one that acts or is the default.
pub(super) fn on_dynamic(name: &str, text: &str) -> Option<String> {
    let Some(key) = dynamic::find(base_name(name)) else {
        return Some(format!("dynamic config {name} has no effect: nothing is known of it"));
    };
    let acts = key.effect == Effect::Acts && base_name(name) == name;
    if acts || key.parse(text).ok() == key.default_value() {
        return None;
    }
    let shown = if key.is_sensitive() { "[hidden]" } else { text };
    Some(format!("dynamic config {name}={shown} has no effect"))
}

/// The config behind a listener's own one: `listener.name.external.ssl.keystore.type` is `ssl.keystore.type`, and a
/// SASL mechanism may stand between. Other names are returned as they are.
pub(super) fn base_name(name: &str) -> &str {
    let Some((_, rest)) = name
        .strip_prefix("listener.name.")
        .and_then(|rest| rest.split_once('.'))
    else {
        return name;
    };
    if table::find(rest).is_some() {
        return rest;
    }
    match rest.split_once('.') {
        Some((_, after_mechanism)) if table::find(after_mechanism).is_some() => after_mechanism,
        _ => name,
    }
}

fn stranger(name: &str, setting: &Setting) -> String {
    let origin = &setting.origin;
    let begins = |start: &str| name == start || (start.ends_with('.') && name.starts_with(start));
    if let Some((_, why)) = OF_PLUGINS.iter().find(|(start, _)| begins(start)) {
        return format!("config {name} has no effect: {why} ({origin})");
    }
    if REMOVED.iter().any(|start| begins(start)) {
        return format!("config {name} has no effect: Kafka 4 has removed it ({origin})");
    }
    match nearest(name, table::broker_keys().map(|key| key.name)) {
        Some(known) => format!("unknown config {name} is ignored, did you mean {known}? ({origin})"),
        None => format!("unknown config {name} is ignored ({origin})"),
    }
}

/// Why a known config that was set should not pass quietly.
fn unmet(name: &str, setting: &Setting) -> Option<String> {
    let text = setting.text.trim();
    let why = match name {
        "authorizer.class.name" => "there is no authorizer, every client may do everything",
        "controller.quorum.voters" | "controller.quorum.bootstrap.servers" if text.contains(',') => {
            "this broker is a quorum of one and joins no other node"
        }
        // in any order
        "process.roles" if text.contains("broker") && text.contains("controller") => return None,
        "process.roles" => "this process is always broker and controller",
        "unclean.leader.election.enable" | "security.inter.broker.protocol" => "there is one node",
        "create.topic.policy.class.name" | "alter.config.policy.class.name" | "client.quota.callback.class" => {
            "Java classes cannot be loaded"
        }
        "remote.log.storage.system.enable" => "there is no tiered storage",
        _ => return None,
    };
    Some(format!(
        "config {name}={text} has no effect: {why} ({})",
        setting.origin
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Origin;

    fn remarks(pairs: &[(&str, &str)]) -> Vec<Remark> {
        let mut settings = Settings::default();
        for (name, text) in pairs {
            settings.set(
                name,
                Setting {
                    text: (*text).to_owned(),
                    origin: Origin::CommandLine,
                },
            );
        }
        on(&settings)
    }

    fn warning(text: &str) -> Vec<Remark> {
        vec![Remark::Warning(format!("{text} (--override)"))]
    }

    #[test]
    fn an_unknown_name_is_told_with_the_nearest_one() {
        assert_eq!(
            remarks(&[("log.retension.hours", "1")]),
            warning("unknown config log.retension.hours is ignored, did you mean log.retention.hours?")
        );
        assert_eq!(
            remarks(&[("my.own.thing", "1")]),
            warning("unknown config my.own.thing is ignored")
        );
    }

    #[test]
    fn names_of_plugins_and_of_old_kafkas_are_told_apart() {
        assert_eq!(
            remarks(&[("zookeeper.connect", "localhost:2181")]),
            warning("config zookeeper.connect has no effect: Kafka 4 has removed it")
        );
        assert_eq!(
            remarks(&[("super.users", "User:admin")]),
            warning("config super.users has no effect: there is no authorizer, every client may do everything")
        );
    }

    #[test]
    fn configs_without_effect_are_told_in_one_line_unless_they_say_the_default() {
        assert_eq!(remarks(&[("num.io.threads", "8"), ("num.partitions", "3")]), []);
        let idle = "known configs that change nothing in this broker: \
                    listener.name.external.plain.sasl.jaas.config, listener.name.external.ssl.protocol, num.io.threads";
        assert_eq!(
            remarks(&[
                ("num.io.threads", "9"),
                ("listener.name.external.ssl.protocol", "TLSv1.2"),
                ("listener.name.external.plain.sasl.jaas.config", "secret"),
            ]),
            [Remark::Info(idle.to_owned())]
        );
    }

    #[test]
    fn what_was_asked_for_in_vain_is_a_warning() {
        assert_eq!(
            remarks(&[("authorizer.class.name", "a.B")]),
            warning(
                "config authorizer.class.name=a.B has no effect: there is no authorizer, every client may do everything"
            )
        );
        assert_eq!(remarks(&[("log.retention.hours", "24")]), []);
        assert!(matches!(remarks(&[("process.roles", "broker")])[0], Remark::Warning(_)));
        assert!(matches!(
            remarks(&[("process.roles", "controller,broker")])[0],
            Remark::Info(_)
        ));
        assert_eq!(remarks(&[("controller.quorum.voters", "1@localhost:9093")]).len(), 1);
        assert!(matches!(
            remarks(&[("controller.quorum.voters", "1@a:9093")])[0],
            Remark::Info(_)
        ));
        assert!(matches!(
            remarks(&[("controller.quorum.voters", "1@a:9093,2@b:9093")])[0],
            Remark::Warning(_)
        ));
    }
}
