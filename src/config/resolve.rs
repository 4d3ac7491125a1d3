//! What several keys say together, and which of them contradict each other.
//!
//! Invariants: settings were checked one by one before; every contradiction is reported, not only the first, each with
//! a sentence that says what to do. The rules are those of Kafka's `KafkaConfig.validateValues`, less what only several
//! nodes or Java could break.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::config::broker::Resolved;
use crate::config::error::ConfigError;
use crate::config::listeners::{self, Addresses};
use crate::config::precedence::group_of;
use crate::config::settings::Settings;

/// A resolved configuration, with what its user should hear about it.
#[derive(Clone, Debug)]
pub(super) struct Resolution {
    pub(super) resolved: Resolved,
    /// Sentences for the log.
    pub(super) remarks: Vec<String>,
}

/// Reads the keys that belong together. `settings` have passed their own checks.
pub(super) fn resolve(settings: &Settings) -> Result<Resolution, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let node_id = node_id(settings).unwrap_or_else(|error| {
        errors.push(error);
        0
    });
    let addresses = listeners::resolve(settings).unwrap_or_else(|found| {
        errors.extend(found);
        Addresses::default()
    });
    let overrides = connection_overrides(settings).unwrap_or_else(|error| {
        errors.push(error);
        BTreeMap::new()
    });
    errors.extend(contradictions(settings, &overrides));
    let resolved = Resolved {
        node_id,
        listeners: addresses.listeners,
        controller_listeners: addresses.controller_listeners,
        log_dirs: log_dirs(settings),
        log_retention_ms: log_retention_ms(settings),
        log_roll_ms: milliseconds(settings, "log.roll.ms"),
        log_roll_jitter_ms: milliseconds(settings, "log.roll.jitter.ms"),
        max_connections_per_ip_overrides: overrides,
    };
    errors.extend(times_out_of_range(settings, &resolved));
    if errors.is_empty() {
        Ok(Resolution {
            resolved,
            remarks: addresses.remarks,
        })
    } else {
        Err(errors)
    }
}

fn node_id(settings: &Settings) -> Result<i32, ConfigError> {
    let node_id: i32 = settings.typed("node.id");
    let broker_id: i32 = settings.typed("broker.id");
    match (settings.of("node.id"), settings.of("broker.id")) {
        (Some(_), Some(broker)) if node_id != broker_id => Err(ConfigError::of(
            "broker.id",
            broker,
            format!("node.id is {node_id}: set both to the same number, or leave broker.id out"),
        )),
        (None, Some(broker)) if broker_id < 0 => Err(ConfigError::of(
            "broker.id",
            broker,
            "Value must be at least 0".to_owned(),
        )),
        (None, Some(_)) => Ok(broker_id),
        _ => Ok(node_id),
    }
}

fn log_dirs(settings: &Settings) -> Vec<PathBuf> {
    let dirs = settings.typed::<Option<Vec<String>>>("log.dirs");
    dirs.unwrap_or_else(|| settings.typed("log.dir"))
        .into_iter()
        .map(PathBuf::from)
        .collect()
}

fn log_retention_ms(settings: &Settings) -> i64 {
    // Kafka reads every negative number as "for ever".
    milliseconds(settings, "log.retention.ms").max(-1)
}

fn milliseconds(settings: &Settings, name: &str) -> i64 {
    settings.milliseconds(group_of(name).expect("one of several configs that answer one question"))
}

/// `address:limit,...`; an IPv6 address holds colons itself, so the last one separates.
fn connection_overrides(settings: &Settings) -> Result<BTreeMap<IpAddr, i32>, ConfigError> {
    let name = "max.connections.per.ip.overrides";
    let text: String = settings.typed(name);
    let mut overrides = BTreeMap::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let parsed = entry.rsplit_once(':').and_then(|(address, limit)| {
            let address = address.trim().trim_start_matches('[').trim_end_matches(']');
            let limit: i32 = limit.trim().parse().ok()?;
            (limit >= 0).then_some((address.parse::<IpAddr>().ok()?, limit))
        });
        let Some((address, limit)) = parsed else {
            let why = format!("'{entry}' is not of the form address:limit with an IP address and a limit of 0 or more");
            return Err(ConfigError::in_settings(settings, name, why));
        };
        overrides.insert(address, limit);
    }
    Ok(overrides)
}

fn contradictions(settings: &Settings, overrides: &BTreeMap<IpAddr, i32>) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let queued: i64 = settings.typed("queued.max.request.bytes");
    let request = i64::from(settings.typed::<i32>("socket.request.max.bytes"));
    if queued > 0 && queued < request {
        let why = format!(
            "socket.request.max.bytes is {request}, so that one request would not fit: raise queued.max.request.bytes \
             to at least that, or lower socket.request.max.bytes"
        );
        errors.push(ConfigError::in_settings(settings, "queued.max.request.bytes", why));
    }
    if settings.typed::<i32>("max.connections.per.ip") == 0 && overrides.is_empty() {
        let why = "nobody could connect: 0 is allowed only together with max.connections.per.ip.overrides".to_owned();
        errors.push(ConfigError::in_settings(settings, "max.connections.per.ip", why));
    }
    let smallest: i32 = settings.typed("group.min.session.timeout.ms");
    let largest: i32 = settings.typed("group.max.session.timeout.ms");
    if smallest > largest {
        let why = format!("group.max.session.timeout.ms is {largest}: no session timeout could be both");
        errors.push(ConfigError::in_settings(settings, "group.min.session.timeout.ms", why));
    }
    if settings.typed::<Vec<String>>("process.roles") == ["controller"] {
        let why = "this process always serves clients: set process.roles=broker,controller or leave it out".to_owned();
        errors.push(ConfigError::in_settings(settings, "process.roles", why));
    }
    errors
}

fn times_out_of_range(settings: &Settings, resolved: &Resolved) -> Vec<ConfigError> {
    let at_least = |low: i64| format!("Value must be at least {low}");
    let retention = ["log.retention.ms", "log.retention.minutes", "log.retention.hours"];
    let mut out = Vec::new();
    let mut require = |holds: bool, names: &[&str], why: String| {
        if !holds {
            let name = names
                .iter()
                .copied()
                .find(|name| settings.of(name).is_some())
                .unwrap_or(names[0]);
            out.push(ConfigError::in_settings(settings, name, why));
        }
    };
    require(
        resolved.log_retention_ms != 0,
        &retention,
        "Value must be at least 1, or -1 for ever".to_owned(),
    );
    require(
        resolved.log_roll_ms >= 1,
        &["log.roll.ms", "log.roll.hours"],
        at_least(1),
    );
    require(
        resolved.log_roll_jitter_ms >= 0,
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        at_least(0),
    );
    require(
        settings.typed::<i64>("log.flush.interval.ms") >= 0,
        &["log.flush.interval.ms"],
        at_least(0),
    );
    for name in ["group.initial.rebalance.delay.ms", "offset.metadata.max.bytes"] {
        require(settings.typed::<i32>(name) >= 0, &[name], at_least(0));
    }
    require(
        settings.typed::<i32>("default.replication.factor") >= 1,
        &["default.replication.factor"],
        at_least(1),
    );
    out
}
