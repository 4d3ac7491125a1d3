//! The addresses of the broker: `listeners`, `advertised.listeners`, `listener.security.protocol.map`,
//! `controller.listener.names`, `inter.broker.listener.name`.
//!
//! Invariants: at least one listener for clients; names differ; ports differ unless one host is IPv4 and the other IPv6
//! (Kafka's rule, `AbstractKafkaConfig.validate`); what is advertised can be dialled. Without `advertised.listeners` a
//! client is told the address that it dialled itself, where Kafka would tell its own host name.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::error::ConfigError;
use crate::config::settings::{Origin, Settings};
use crate::config::value::{Listener, SecurityProtocol};

/// What the address keys say together.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    pub(super) listeners: Vec<Listener>,
    pub(super) controller_listeners: Vec<Listener>,
    pub(super) remarks: Vec<String>,
}

/// One `name://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    name: String,
    host: String,
    port: u16,
}

pub(super) fn resolve(settings: &Settings) -> Result<Addresses, Vec<ConfigError>> {
    let fail = |name: &str, why: String| vec![ConfigError::in_settings(settings, name, why)];
    let mut remarks = Vec::new();
    let protocols = protocols(settings).map_err(|why| fail("listener.security.protocol.map", why))?;
    let controllers = upper_case(settings.typed("controller.listener.names"));
    let advertised = advertised(settings, &controllers).map_err(|why| fail("advertised.listeners", why))?;
    let endpoints = match derived_from_advertised(settings, &advertised) {
        Some(derived) => {
            remarks.push("listeners is not set but advertised.listeners is: all interfaces are opened".to_owned());
            derived
        }
        None => parse_all(&settings.typed::<Vec<String>>("listeners")).map_err(|why| fail("listeners", why))?,
    };
    check_distinct(&endpoints).map_err(|why| fail("listeners", why))?;
    let (closed, open): (Vec<_>, Vec<_>) = endpoints
        .into_iter()
        .partition(|endpoint| controllers.contains(&endpoint.name));
    let mut errors = Vec::new();
    if open.is_empty() {
        errors.extend(fail(
            "listeners",
            "no listener is left for clients: add one such as PLAINTEXT://:9092".to_owned(),
        ));
    }
    for endpoint in &open {
        if let Err(why) = check_protocol(endpoint, &protocols) {
            errors.extend(fail("listeners", why));
        }
    }
    let names: Vec<&str> = open.iter().map(|endpoint| endpoint.name.as_str()).collect();
    for endpoint in advertised
        .iter()
        .flatten()
        .filter(|endpoint| !names.contains(&endpoint.name.as_str()))
    {
        let why = format!(
            "{} is no listener: add it to listeners ({})",
            endpoint.name,
            names.join(", ")
        );
        errors.extend(fail("advertised.listeners", why));
    }
    errors.extend(check_inter_broker(settings, &names));
    if !errors.is_empty() {
        return Err(errors);
    }
    let listeners: Result<Vec<_>, _> = open
        .into_iter()
        .map(|endpoint| listener(endpoint, advertised.as_deref()))
        .collect();
    let listeners = listeners.map_err(|why| fail("advertised.listeners", why))?;
    let controller_listeners: Vec<_> = closed.into_iter().map(unadvertised).collect();
    remarks.extend(controller_listeners.iter().map(|listener| {
        format!(
            "listener {listener} is named in controller.listener.names and not opened: this quorum needs no network"
        )
    }));
    Ok(Addresses {
        listeners,
        controller_listeners,
        remarks,
    })
}

fn unadvertised(endpoint: Endpoint) -> Listener {
    let Endpoint { name, host, port } = endpoint;
    Listener {
        name,
        protocol: SecurityProtocol::Plaintext,
        host,
        port,
        advertised: None,
    }
}

fn listener(endpoint: Endpoint, advertised: Option<&[Endpoint]>) -> Result<Listener, String> {
    let mut listener = unadvertised(endpoint);
    let told = advertised
        .unwrap_or_default()
        .iter()
        .find(|told| told.name == listener.name);
    match told {
        Some(told) if !told.host.is_empty() => listener.advertised = Some((told.host.clone(), told.port)),
        // Without a host the address that the client dialled is told, which has the listener's own port.
        Some(told) if told.port != listener.port => {
            return Err(format!(
                "{}://:{} names a port but no host: add the host",
                told.name, told.port
            ));
        }
        _ => {}
    }
    Ok(listener)
}

fn upper_case(names: Vec<String>) -> Vec<String> {
    names.into_iter().map(|name| name.to_uppercase()).collect()
}

/// `name:protocol,...`, names in upper case.
fn protocols(settings: &Settings) -> Result<BTreeMap<String, String>, String> {
    let text: String = settings.typed("listener.security.protocol.map");
    let mut protocols = BTreeMap::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let Some((name, protocol)) = entry.split_once(':') else {
            return Err(format!("'{entry}' is not of the form listener:protocol"));
        };
        let (name, protocol) = (name.trim().to_uppercase(), protocol.trim().to_uppercase());
        if !["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"].contains(&protocol.as_str()) {
            return Err(format!(
                "{protocol} is none of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
            ));
        }
        if protocols.insert(name.clone(), protocol).is_some() {
            return Err(format!("listener {name} is named twice"));
        }
    }
    Ok(protocols)
}

fn check_protocol(endpoint: &Endpoint, protocols: &BTreeMap<String, String>) -> Result<(), String> {
    match protocols.get(&endpoint.name).map(String::as_str) {
        Some("PLAINTEXT") => Ok(()),
        Some(protocol) => Err(format!(
            "listener {} has the protocol {protocol}, which this broker does not speak: give it PLAINTEXT",
            endpoint.name
        )),
        None => Err(format!(
            "listener {0} has no protocol: add {0}:PLAINTEXT to listener.security.protocol.map",
            endpoint.name
        )),
    }
}

/// The advertised endpoints of clients' listeners; `None` when nothing is advertised.
fn advertised(settings: &Settings, controllers: &[String]) -> Result<Option<Vec<Endpoint>>, String> {
    let Some(texts) = settings.typed::<Option<Vec<String>>>("advertised.listeners") else {
        return Ok(None);
    };
    let mut endpoints = parse_all(&texts)?;
    endpoints.retain(|endpoint| !controllers.contains(&endpoint.name));
    for endpoint in &endpoints {
        let unspecified = endpoint
            .host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_unspecified());
        if unspecified {
            return Err(format!(
                "nobody can dial {}: name an address or a host that clients reach, or leave advertised.listeners out \
                 so that each client is told the address that it dialled",
                endpoint.host
            ));
        }
        if endpoint.port == 0 {
            return Err(format!(
                "listener {} advertises port 0: name the port that clients dial",
                endpoint.name
            ));
        }
    }
    Ok(Some(endpoints))
}

/// Who advertises an address wants to be reached, so that our careful default for `listeners` gives way to Kafka's. In
/// the environment of a container, `advertised.listeners` alone opens the same ports, as Kafka's image does.
fn derived_from_advertised(settings: &Settings, advertised: &Option<Vec<Endpoint>>) -> Option<Vec<Endpoint>> {
    let advertised = advertised.as_ref().filter(|endpoints| !endpoints.is_empty())?;
    if settings.of("listeners").is_some() {
        return None;
    }
    let origin = &settings.of("advertised.listeners")?.origin;
    if matches!(origin, Origin::Environment(_)) {
        let open = |endpoint: &Endpoint| Endpoint {
            host: String::new(),
            ..endpoint.clone()
        };
        return Some(advertised.iter().map(open).collect());
    }
    Some(vec![Endpoint {
        name: "PLAINTEXT".to_owned(),
        host: String::new(),
        port: 9092,
    }])
}

fn parse_all(texts: &[String]) -> Result<Vec<Endpoint>, String> {
    texts.iter().map(|text| parse(text)).collect()
}

fn parse(text: &str) -> Result<Endpoint, String> {
    let malformed = || format!("'{text}' is not of the form name://host:port");
    let (name, address) = text.split_once("://").ok_or_else(malformed)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    let bracketed = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '%' | '.' | '_' | ':');
    if name.is_empty() || !host.chars().all(known) || (bracketed.is_none() && host.contains(':')) {
        return Err(malformed());
    }
    let port = port
        .parse()
        .map_err(|_| format!("'{port}' in '{text}' is no port: 0 to 65535 are"))?;
    Ok(Endpoint {
        name: name.to_uppercase(),
        host: host.to_owned(),
        port,
    })
}

fn check_distinct(endpoints: &[Endpoint]) -> Result<(), String> {
    for (index, endpoint) in endpoints.iter().enumerate() {
        for other in &endpoints[..index] {
            if other.name == endpoint.name {
                return Err(format!(
                    "listener {} is named twice: give each its own name",
                    endpoint.name
                ));
            }
            if other.port == endpoint.port && endpoint.port != 0 && !one_of_each_family(&other.host, &endpoint.host) {
                return Err(format!(
                    "{} and {} both want port {}: give each its own port",
                    other.name, endpoint.name, endpoint.port
                ));
            }
        }
    }
    Ok(())
}

fn one_of_each_family(left: &str, right: &str) -> bool {
    match (left.parse::<IpAddr>(), right.parse::<IpAddr>()) {
        (Ok(left), Ok(right)) => left.is_ipv4() != right.is_ipv4(),
        _ => false,
    }
}

fn check_inter_broker(settings: &Settings, names: &[&str]) -> Vec<ConfigError> {
    let key = "inter.broker.listener.name";
    let Some(name) = settings.typed::<Option<String>>(key) else {
        return Vec::new();
    };
    let mut whys = Vec::new();
    if settings.of("security.inter.broker.protocol").is_some() {
        whys.push("security.inter.broker.protocol is set as well: leave one of the two out".to_owned());
    }
    if !names.contains(&name.to_uppercase().as_str()) {
        whys.push(format!(
            "no listener for clients has this name: choose one of {}",
            names.join(", ")
        ));
    }
    whys.into_iter()
        .map(|why| ConfigError::in_settings(settings, key, why))
        .collect()
}

#[cfg(test)]
mod tests;
