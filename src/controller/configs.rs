//! What AlterConfigs and IncrementalAlterConfigs mean: checks, and the values to propose. Pure.
//!
//! Source: Kafka's `ConfigAdminManager`, `ControllerConfigurationValidator` and `ConfigurationControlManager` (order of the
//! checks, codes and sentences). Invariants: a resource that fails changes nothing and does not hinder the others; what
//! is planned are final values, so a plan must be made against an image that holds everything that was planned before.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::{BTreeMap, BTreeSet};

use protocol::error_code::ErrorCode;
use protocol::types::BrokerId;

use super::topics::TopicFailure;
use crate::config::broker::BrokerConfig;
use crate::config::client_metrics::{Refusal, validate_client_metrics};
use crate::config::dynamic::{self, MAX_VALUE_BYTES, Scope, refuse, refuse_step, usable};
use crate::config::group::validate_group_configs;
use crate::config::group_table::{find_client_metrics, find_group};
use crate::config::key::ConfigKey;
use crate::config::topic::validate_topic_configs;
use crate::config::topic_table;
use crate::config::value::ConfigType;
use crate::metadata::apply::alter_configs;
use crate::metadata::command::{ApplyError, ConfigChange, ConfigResource};
use crate::metadata::image::MetadataImage;
use crate::metadata::image::configs::{ConfigMap, bytes_of};
use crate::metadata::topic_name;

/// Resource type: a topic.
pub const TOPIC: i8 = 2;
/// Resource type: a broker, or all of them.
pub const BROKER: i8 = 4;
/// Resource type: the log's levels of a broker.
pub const BROKER_LOGGER: i8 = 8;
/// Resource type: a client-metrics subscription.
pub const CLIENT_METRICS: i8 = 16;
/// Resource type: a group.
pub const GROUP: i8 = 32;

/// Operation: set the value.
pub const SET: i8 = 0;
/// Operation: remove the value.
pub const DELETE: i8 = 1;
/// Operation: add elements to a list.
pub const APPEND: i8 = 2;
/// Operation: remove elements from a list.
pub const SUBTRACT: i8 = 3;

/// Most dynamic configs of one broker, and of all brokers. All that are known, for several listeners, are a few hundred;
/// but names that nobody knows may be set too, and every change parses all of them and makes a configuration of them.
pub const MAX_BROKER_CONFIGS: usize = 1_000;

/// One config of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The config.
    pub name: String,
    /// What to do, as on the wire.
    pub operation: i8,
    /// With what.
    pub value: Option<String>,
}

/// One resource of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigAlteration {
    /// Its type, as on the wire.
    pub resource_type: i8,
    /// Its name; a broker's number, or nothing for all brokers.
    pub resource_name: String,
    /// What is not named is removed (AlterConfigs).
    pub replaces_all: bool,
    /// The configs.
    pub entries: Vec<ConfigEntry>,
}

/// What became of a resource.
pub type Outcome = Result<(), TopicFailure>;

/// What the broker's configuration says about changes of configs.
#[derive(Debug, Clone, Copy)]
pub struct ConfigRules<'a> {
    /// The configuration of the start.
    pub at_start: &'a BrokerConfig,
    /// The configuration in force.
    pub current: &'a BrokerConfig,
}

impl ConfigRules<'_> {
    fn node_id(&self) -> BrokerId {
        self.at_start.resolved.node_id
    }
}

/// A request, worked out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlterationPlan {
    /// What to propose.
    pub changes: Vec<ConfigChange>,
    /// One per resource, in the order of the request: refused, or the place of its change if there is one.
    planned: Vec<Result<Option<usize>, TopicFailure>>,
}

impl AlterationPlan {
    /// The outcomes if nothing is proposed.
    pub fn outcomes(self) -> Vec<Outcome> {
        self.planned.into_iter().map(|planned| planned.map(|_| ())).collect()
    }

    /// The outcomes after the changes were applied with these results.
    pub fn applied(self, results: &[Result<(), ApplyError>]) -> Vec<Outcome> {
        assert_eq!(results.len(), self.changes.len(), "apply gives one result per change");
        let settle = |planned: Result<Option<usize>, TopicFailure>| match planned? {
            None => Ok(()),
            Some(at) => results[at].clone().map_err(|error| TopicFailure::from(&error)),
        };
        self.planned.into_iter().map(settle).collect()
    }
}

fn bad_request(message: impl Into<String>) -> TopicFailure {
    TopicFailure::new(ErrorCode::InvalidRequest, message)
}

fn bad_config(message: impl Into<String>) -> TopicFailure {
    TopicFailure::new(ErrorCode::InvalidConfig, message)
}

/// What is wrong with resources whatever they are about: named twice, configs named twice, values missing, unknown types.
pub fn malformed(request: &[ConfigAlteration]) -> Vec<Option<TopicFailure>> {
    let mut times: BTreeMap<(i8, &str), usize> = BTreeMap::new();
    for alteration in request {
        *times
            .entry((alteration.resource_type, &alteration.resource_name))
            .or_default() += 1;
    }
    let fault = |alteration: &ConfigAlteration| {
        if times[&(alteration.resource_type, alteration.resource_name.as_str())] > 1 {
            return Some(bad_request("Each resource must appear at most once."));
        }
        malformed_entries(alteration)
    };
    request.iter().map(fault).collect()
}

fn malformed_entries(alteration: &ConfigAlteration) -> Option<TopicFailure> {
    let mut names = BTreeSet::new();
    if !alteration.entries.iter().all(|entry| names.insert(&entry.name)) {
        return Some(bad_request("Error due to duplicate config keys"));
    }
    let nulls = alteration
        .entries
        .iter()
        .filter(|entry| entry.value.is_none() && entry.operation != DELETE);
    let nulls: Vec<_> = nulls.map(|entry| entry.name.as_str()).collect();
    if !nulls.is_empty() {
        return Some(bad_request(format!(
            "Null value not supported for : {}",
            nulls.join(", ")
        )));
    }
    match alteration.resource_type {
        TOPIC | BROKER | CLIENT_METRICS | GROUP => None,
        // only levels can be altered one by one
        BROKER_LOGGER if !alteration.replaces_all => None,
        other => Some(bad_request(format!("Unknown resource type {other}"))),
    }
}

/// Works out resources that are not [`malformed`], one after the other. `image` is the planner's own: it takes each
/// change, so that limits count and nothing that is planned next can lose it.
pub fn plan_alterations(
    image: &mut MetadataImage,
    request: &[ConfigAlteration],
    rules: ConfigRules<'_>,
) -> AlterationPlan {
    let mut plan = AlterationPlan::default();
    for alteration in request {
        plan.planned.push(match plan_one(image, alteration, rules) {
            Err(failure) => Err(failure),
            Ok(change) if change.values.is_empty() => Ok(None),
            Ok(change) => {
                alter_configs(image, &change).expect("that the topic is there was checked");
                plan.changes.push(change);
                Ok(Some(plan.changes.len() - 1))
            }
        });
    }
    plan
}

fn plan_one(
    image: &MetadataImage,
    alteration: &ConfigAlteration,
    rules: ConfigRules<'_>,
) -> Result<ConfigChange, TopicFailure> {
    let resource = resource_of(alteration, rules.node_id())?;
    let stored = image.configs.get(&resource);
    let (after, touched) = if alteration.resource_type == BROKER {
        broker_values(image, alteration, &resource, rules)?
    } else {
        let after = values_after(stored, alteration)?;
        check_sizes(&after)?;
        validate(image, alteration, &after, rules)?;
        let touched = stored.keys().chain(after.keys()).cloned().collect();
        (after, touched)
    };
    check_limits(image, &resource, &after, rules.at_start)?;
    let changed = |name: &String| {
        let value = after.get(name);
        (stored.get(name) != value).then(|| (name.clone(), value.cloned()))
    };
    Ok(ConfigChange {
        values: touched.iter().filter_map(changed).collect(),
        resource,
    })
}

fn resource_of(alteration: &ConfigAlteration, node_id: BrokerId) -> Result<ConfigResource, TopicFailure> {
    let name = &alteration.resource_name;
    if name.len() > MAX_VALUE_BYTES {
        return Err(bad_request("The name of the resource is too long"));
    }
    match alteration.resource_type {
        TOPIC => Ok(ConfigResource::Topic(name.clone())),
        GROUP => Ok(ConfigResource::Group(name.clone())),
        CLIENT_METRICS => Ok(ConfigResource::ClientMetrics(name.clone())),
        _ if name.is_empty() => Ok(ConfigResource::ClusterDefault),
        _ => match name.parse::<BrokerId>() {
            Ok(id) if id == node_id => Ok(ConfigResource::Broker(id)),
            Ok(_) => Err(bad_request(format!(
                "Unexpected broker id, expected {node_id}, but received {name}"
            ))),
            Err(_) => Err(bad_request(format!("Node id must be an integer, but it is: {name}"))),
        },
    }
}

/// The values of a broker or of all brokers after the request, and the names that it may change. What is stored and cannot
/// be used is neither counted nor touched, unless it is named.
fn broker_values(
    image: &MetadataImage,
    alteration: &ConfigAlteration,
    resource: &ConfigResource,
    rules: ConfigRules<'_>,
) -> Result<(ConfigMap, Vec<String>), TopicFailure> {
    let scope = match resource {
        ConfigResource::ClusterDefault => Scope::ClusterDefault,
        _ => Scope::Broker,
    };
    let stored = image.configs.get(resource);
    let (before, _) = usable(stored, scope);
    let after = values_after(&before, alteration)?;
    check_sizes(&after)?;
    refuse(&after, scope).map_err(bad_request)?;
    let usable_of = |other: &ConfigResource, scope| usable(image.configs.get(other), scope).0;
    let (cluster_default, broker) = match scope {
        Scope::ClusterDefault => {
            let own = ConfigResource::Broker(rules.node_id());
            (after.clone(), usable_of(&own, Scope::Broker))
        }
        Scope::Broker => (
            usable_of(&ConfigResource::ClusterDefault, Scope::ClusterDefault),
            after.clone(),
        ),
    };
    let config = rules
        .at_start
        .with_dynamic(cluster_default, broker)
        .map_err(bad_request)?;
    refuse_step(rules.current, &config).map_err(bad_request)?;
    let named = alteration.entries.iter().map(|entry| entry.name.clone());
    let touched = if alteration.replaces_all {
        named.chain(stored.keys().cloned()).collect()
    } else {
        named.collect()
    };
    Ok((after, touched))
}

/// The resource's values after the request's operations.
fn values_after(before: &ConfigMap, alteration: &ConfigAlteration) -> Result<ConfigMap, TopicFailure> {
    let mut after = match alteration.replaces_all {
        true => ConfigMap::new(),
        false => before.clone(),
    };
    for entry in &alteration.entries {
        let value = entry.value.as_deref().unwrap_or("");
        match entry.operation {
            SET => _ = after.insert(entry.name.clone(), value.to_owned()),
            DELETE => _ = after.remove(&entry.name),
            APPEND | SUBTRACT => {
                let key = list_key(alteration.resource_type, entry)?;
                let old = after.get(&entry.name).map(String::as_str).or(key.default).unwrap_or("");
                let list = list_after(old, entry.operation, value);
                after.insert(entry.name.clone(), list);
            }
            other => return Err(bad_request(format!("Unknown operations type {other}"))),
        }
    }
    Ok(after)
}

/// A list after [`APPEND`] of the elements that it lacks, or after [`SUBTRACT`], which takes out the first of its kind for
/// each element that is named. Both lists may have thousands of elements.
fn list_after(old: &str, operation: i8, named: &str) -> String {
    let mut parts: Vec<&str> = old.split(',').filter(|part| !part.is_empty()).collect();
    let named = named.trim_end_matches(',').split(',');
    if operation == APPEND {
        let mut known: BTreeSet<&str> = parts.iter().copied().collect();
        parts.extend(named.filter(|part| known.insert(part)));
    } else {
        let mut to_remove: BTreeMap<&str, usize> = BTreeMap::new();
        for part in named {
            *to_remove.entry(part).or_default() += 1;
        }
        parts.retain(|part| match to_remove.get_mut(part) {
            Some(times) if *times > 0 => {
                *times -= 1;
                false
            }
            _ => true,
        });
    }
    parts.join(",")
}

/// The config whose elements are to be added or removed.
fn list_key(resource_type: i8, entry: &ConfigEntry) -> Result<&'static ConfigKey, TopicFailure> {
    let name = &entry.name;
    let key = match resource_type {
        TOPIC => topic_table::find(name),
        GROUP => find_group(name),
        CLIENT_METRICS => find_client_metrics(name),
        _ => dynamic::find(name),
    };
    let is_list = |key: &&ConfigKey| key.kind == ConfigType::List;
    let (upper, lower) = match entry.operation {
        APPEND => ("APPEND", "append"),
        _ => ("SUBTRACT", "subtract"),
    };
    match (key.filter(is_list), resource_type) {
        (Some(key), _) => Ok(key),
        (None, BROKER) if key.is_none() => Err(bad_config(format!("Unknown config name: {name}"))),
        (None, BROKER) => Err(bad_config(format!(
            "Config value {lower} is not allowed for config key: {name}"
        ))),
        (None, _) => Err(bad_config(format!(
            "Can't {upper} to key {name} because its type is not LIST."
        ))),
    }
}

/// Refuses the configs of a topic that is to be made.
///
/// # Errors
/// With the reason.
pub fn validate_new_topic(image: &MetadataImage, configs: &ConfigMap, config: &BrokerConfig) -> Result<(), String> {
    validate_topic_configs(configs, config)?;
    let resource = ConfigResource::Topic(String::new());
    check_limits(image, &resource, configs, config).map_err(|failure| failure.message)
}

fn check_sizes(values: &ConfigMap) -> Result<(), TopicFailure> {
    match values
        .iter()
        .any(|(name, text)| name.len() > MAX_VALUE_BYTES || text.len() > MAX_VALUE_BYTES)
    {
        false => Ok(()),
        true => Err(bad_config(format!(
            "The configuration value cannot be added because it exceeds the maximum value size of {MAX_VALUE_BYTES} bytes."
        ))),
    }
}

fn validate(
    image: &MetadataImage,
    alteration: &ConfigAlteration,
    after: &ConfigMap,
    rules: ConfigRules<'_>,
) -> Result<(), TopicFailure> {
    let name = &alteration.resource_name;
    match alteration.resource_type {
        TOPIC if name.is_empty() => Err(bad_request("Default topic resources are not allowed.")),
        TOPIC => {
            topic_name::validate(name)
                .map_err(|error| TopicFailure::new(ErrorCode::InvalidTopicException, error.to_string()))?;
            validate_topic_configs(after, rules.current).map_err(bad_config)?;
            let missing = || format!("The topic '{name}' does not exist.");
            match image.topic(name) {
                Some(_) => Ok(()),
                None => Err(TopicFailure::new(ErrorCode::UnknownTopicOrPartition, missing())),
            }
        }
        GROUP if name.is_empty() => Err(bad_request("Default group resources are not allowed.")),
        GROUP => validate_group_configs(after, rules.current).map_err(bad_config),
        _ if name.is_empty() => Err(bad_request("Subscription name can't be empty")),
        _ => validate_client_metrics(after).map_err(|refusal| match refusal {
            Refusal::Request(why) => bad_request(why),
            Refusal::Config(why) => bad_config(why),
        }),
    }
}

/// Keeps what is stored within the broker's limits; what makes it smaller is always let through.
fn check_limits(
    image: &MetadataImage,
    resource: &ConfigResource,
    after: &ConfigMap,
    config: &BrokerConfig,
) -> Result<(), TopicFailure> {
    let refused = |message: String| Err(TopicFailure::new(ErrorCode::PolicyViolation, message));
    let before = image.configs.get(resource);
    let is_of_brokers = matches!(resource, ConfigResource::ClusterDefault | ConfigResource::Broker(_));
    if is_of_brokers && after.len() > MAX_BROKER_CONFIGS && after.len() > before.len() {
        return refused(format!(
            "a broker, or all of them, may have at most {MAX_BROKER_CONFIGS} dynamic configs"
        ));
    }
    let most = usize::try_from(config.monedula_config_max_resources).unwrap_or(usize::MAX);
    let is_new = before.is_empty() && !after.is_empty() && !matches!(resource, ConfigResource::Topic(_));
    if is_new && image.configs.others() >= most {
        return refused(format!(
            "the cluster may hold configs of {most} resources (monedula.config.max.resources)"
        ));
    }
    let size = |values: &ConfigMap| match values.is_empty() {
        true => 0,
        false => bytes_of(resource, values),
    };
    let most = usize::try_from(config.monedula_config_max_bytes).unwrap_or(usize::MAX);
    let bytes = image.configs.bytes() - size(before) + size(after);
    if bytes > most && size(after) > size(before) {
        return refused(format!(
            "the cluster may hold {most} bytes of configs (monedula.config.max.bytes)"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
