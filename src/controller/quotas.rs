//! What an AlterClientQuotas request means: checks, and the changes to propose. Pure.
//!
//! Source: Kafka's `ClientQuotaControlManager` and `AlterClientQuotasRequest.entries` (a part named twice in an entry
//! has the later name). Invariants: every entity of the request is answered once; an entity that is wrong does not
//! hinder the others. Unlike in Kafka, an entity that the request gives twice is not changed at all (there the first
//! change is made and refused), and a bound that is no number is refused.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use protocol::error_code::ErrorCode;

use crate::metadata::command::{ApplyError, QuotaChange};
use crate::metadata::image::quotas::{EntityKind, EntityName, QuotaBound, QuotaEntity, QuotaKey};

/// Longest name of an entity; real ones are far shorter, and all of them are held in memory.
const NAME_BYTES: usize = 1_024;

/// The parts of an entity as a client names them, by type.
pub type EntityParts = BTreeMap<String, Option<String>>;

/// One entity of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaSpec {
    /// Whose quotas.
    pub entity: EntityParts,
    /// Keys with their new bounds; `None` removes.
    pub values: Vec<(String, Option<f64>)>,
}

/// Why the quotas of an entity were not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaFailure {
    /// Kafka's code.
    pub code: ErrorCode,
    /// For humans.
    pub message: String,
}

impl From<&ApplyError> for QuotaFailure {
    fn from(error: &ApplyError) -> Self {
        Self {
            code: error.into(),
            message: error.to_string(),
        }
    }
}

/// What became of one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaOutcome {
    /// As the client named it.
    pub entity: EntityParts,
    /// Why nothing changed.
    pub result: Result<(), QuotaFailure>,
}

/// A request, worked out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuotaPlan {
    /// What to propose; its order is that of the successful outcomes.
    pub changes: Vec<QuotaChange>,
    /// One per entity.
    pub outcomes: Vec<QuotaOutcome>,
}

impl QuotaPlan {
    /// The outcomes after the changes were applied with these results.
    ///
    /// # Panics
    /// When there are more or fewer results than changes.
    pub fn applied(self, results: &[Result<(), ApplyError>]) -> Vec<QuotaOutcome> {
        assert_eq!(results.len(), self.changes.len(), "apply gives one result per change");
        let mut results = results.iter();
        let settle = |outcome: QuotaOutcome| match outcome.result {
            Err(_) => outcome,
            Ok(()) => {
                let result = results.next().expect("as many results as planned changes");
                let result = result.as_ref().copied().map_err(QuotaFailure::from);
                QuotaOutcome { result, ..outcome }
            }
        };
        self.outcomes.into_iter().map(settle).collect()
    }
}

/// Works out a request. `address_of` knows the addresses of host names.
pub fn plan_alteration(specs: Vec<QuotaSpec>, address_of: &dyn Fn(&str) -> Option<IpAddr>) -> QuotaPlan {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<EntityParts> = specs
        .iter()
        .filter(|spec| !seen.insert(&spec.entity))
        .map(|spec| spec.entity.clone())
        .collect();
    let mut answered = BTreeSet::new();
    let mut plan = QuotaPlan::default();
    for spec in specs {
        let planned = if !twice.contains(&spec.entity) {
            change_of(&spec, address_of)
        } else if answered.insert(spec.entity.clone()) {
            invalid("the request gives the entity twice")
        } else {
            continue;
        };
        let result = planned.map(|change| plan.changes.push(change));
        plan.outcomes.push(QuotaOutcome {
            entity: spec.entity,
            result,
        });
    }
    plan
}

fn invalid<T>(message: impl Into<String>) -> Result<T, QuotaFailure> {
    Err(QuotaFailure {
        code: ErrorCode::InvalidRequest,
        message: message.into(),
    })
}

fn change_of(spec: &QuotaSpec, address_of: &dyn Fn(&str) -> Option<IpAddr>) -> Result<QuotaChange, QuotaFailure> {
    let keys: BTreeSet<_> = spec.values.iter().map(|(key, _)| key).collect();
    if keys.len() < spec.values.len() {
        return invalid("the request gives a quota of the entity twice");
    }
    let entity = entity_of(&spec.entity)?;
    let address = match &entity {
        QuotaEntity::Ip(EntityName::Named(name)) => match address_of(name) {
            Some(address) => Some(address),
            None => return invalid(format!("{name} is no IP address, and no host name with one")),
        },
        _ => None,
    };
    let mut values = BTreeMap::new();
    for (name, value) in &spec.values {
        match (QuotaKey::find(name).filter(|key| key.suits(&entity)), value) {
            (Some(key), Some(value)) => drop(values.insert(key, Some(bound(key, *value)?))),
            (Some(key), None) => drop(values.insert(key, None)),
            // as in Kafka: what is not there can be removed, whatever it is called
            (None, None) => {}
            (None, Some(_)) => return invalid(format!("'{name}' is no quota of such an entity")),
        }
    }
    Ok(QuotaChange {
        entity,
        address,
        values,
    })
}

fn entity_of(parts: &EntityParts) -> Result<QuotaEntity, QuotaFailure> {
    let mut by_kind = BTreeMap::new();
    for (kind, name) in parts {
        let Some(kind) = EntityKind::find(kind) else {
            return invalid(format!("'{kind}' is no type of quota entities"));
        };
        match name.as_deref() {
            Some("") => return invalid(format!("the name of the {} is empty", kind.name())),
            Some(name) if name.len() > NAME_BYTES => {
                return invalid(format!(
                    "the name of the {} is longer than {NAME_BYTES} bytes",
                    kind.name()
                ));
            }
            _ => {}
        }
        by_kind.insert(kind, EntityName::from(name.clone()));
    }
    let mut take = |kind| by_kind.remove(&kind);
    let (user, client_id, ip) = (take(EntityKind::User), take(EntityKind::ClientId), take(EntityKind::Ip));
    match (user, client_id, ip) {
        (Some(user), Some(client_id), None) => Ok(QuotaEntity::UserClientId(user, client_id)),
        (Some(user), None, None) => Ok(QuotaEntity::User(user)),
        (None, Some(client_id), None) => Ok(QuotaEntity::ClientId(client_id)),
        (None, None, Some(ip)) => Ok(QuotaEntity::Ip(ip)),
        (None, None, None) => invalid("the quota entity is empty"),
        (_, _, Some(_)) => invalid("an ip cannot be combined with a user or a client id"),
    }
}

fn bound(key: QuotaKey, value: f64) -> Result<QuotaBound, QuotaFailure> {
    let name = key.name();
    if value.is_nan() || value <= 0.0 {
        return invalid(format!("quota {name} must be greater than 0"));
    }
    let largest = match key {
        QuotaKey::ProducerByteRate | QuotaKey::ConsumerByteRate => i64::MAX as f64,
        QuotaKey::ConnectionCreationRate => f64::from(i32::MAX),
        QuotaKey::RequestPercentage | QuotaKey::ControllerMutationRate => return Ok(QuotaBound(value)),
    };
    if value > largest {
        return invalid(format!("quota {name} must not be above {largest}"));
    }
    if value % 1.0 > 1e-6 {
        return invalid(format!("quota {name} must be a whole number"));
    }
    Ok(QuotaBound(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &[(&str, Option<&str>)]) -> EntityParts {
        parts
            .iter()
            .map(|(kind, name)| ((*kind).to_owned(), name.map(str::to_owned)))
            .collect()
    }

    fn spec(entity: &[(&str, Option<&str>)], values: &[(&str, Option<f64>)]) -> QuotaSpec {
        QuotaSpec {
            entity: parts(entity),
            values: values.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect(),
        }
    }

    fn planned(specs: Vec<QuotaSpec>) -> QuotaPlan {
        let known = |name: &str| {
            name.parse()
                .ok()
                .or_else(|| (name == "host").then(|| [10, 0, 0, 9].into()))
        };
        plan_alteration(specs, &known)
    }

    fn why(entity: &[(&str, Option<&str>)], values: &[(&str, Option<f64>)]) -> Option<String> {
        let plan = planned(vec![spec(entity, values)]);
        assert_eq!(plan.outcomes.len(), 1);
        let failure = plan.outcomes[0].result.as_ref().err()?;
        assert_eq!((failure.code, plan.changes.len()), (ErrorCode::InvalidRequest, 0));
        Some(failure.message.clone())
    }

    #[test]
    fn entities_of_every_kind_are_planned() {
        let (user, client) = (("user", Some("u")), ("client-id", None));
        let rate = [("producer_byte_rate", Some(1_024.0)), ("request_percentage", Some(0.5))];
        let plan = planned(vec![
            spec(&[user, client], &rate),
            spec(&[user], &[("consumer_byte_rate", None)]),
            spec(&[client], &[]),
            spec(&[("ip", Some("host"))], &[("connection_creation_rate", Some(5.0))]),
            spec(&[("ip", None)], &[("connection_creation_rate", None)]),
        ]);
        assert!(plan.outcomes.iter().all(|outcome| outcome.result.is_ok()));
        let named = |name: &str| EntityName::Named(name.to_owned());
        assert_eq!(
            plan.changes[0].entity,
            QuotaEntity::UserClientId(named("u"), EntityName::Default)
        );
        let expected = [
            (QuotaKey::ProducerByteRate, Some(QuotaBound(1_024.0))),
            (QuotaKey::RequestPercentage, Some(QuotaBound(0.5))),
        ];
        assert_eq!(plan.changes[0].values, BTreeMap::from(expected));
        assert_eq!(plan.changes[1].entity, QuotaEntity::User(named("u")));
        assert_eq!(plan.changes[2].entity, QuotaEntity::ClientId(EntityName::Default));
        assert_eq!(plan.changes[3].entity, QuotaEntity::Ip(named("host")));
        assert_eq!(plan.changes[3].address, Some([10, 0, 0, 9].into()));
        assert_eq!(plan.changes[4].address, None);
        let refused = ApplyError::TooManyQuotaEntities(3);
        let results = [Ok(()), Ok(()), Err(refused), Ok(()), Ok(())];
        let codes: Vec<_> = plan
            .applied(&results)
            .into_iter()
            .map(|outcome| outcome.result.err().map(|failure| failure.code))
            .collect();
        assert_eq!(codes, [None, None, Some(ErrorCode::PolicyViolation), None, None]);
    }

    #[test]
    fn wrong_entities_are_refused() {
        let ok = [("producer_byte_rate", Some(1.0))];
        let long = "x".repeat(NAME_BYTES + 1);
        for entity in [
            &[][..],
            &[("topic", Some("t"))],
            &[("user", Some("u")), ("", None)],
            &[("user", Some(""))],
            &[("user", Some(&long))],
            &[("user", None), ("ip", None)],
            &[("client-id", None), ("ip", Some("10.0.0.1"))],
            &[("ip", Some("no such host"))],
        ] {
            assert!(why(entity, &ok).is_some(), "{entity:?}");
        }
        assert_eq!(why(&[("user", Some(&long[1..]))], &ok), None);
    }

    #[test]
    fn wrong_values_are_refused() {
        let user = [("user", None)];
        for (key, value) in [
            ("producer_byte_rate", 0.0),
            ("producer_byte_rate", -1.0),
            ("producer_byte_rate", 1.5),
            ("producer_byte_rate", 1e19),
            ("producer_byte_rate", f64::NAN),
            ("producer_byte_rate", f64::INFINITY),
            ("request_percentage", f64::NAN),
            ("request_percentage", -0.0),
            ("connection_creation_rate", 1.0),
            ("SCRAM-SHA-256", 1.0),
            ("", 1.0),
        ] {
            assert!(why(&user, &[(key, Some(value))]).is_some(), "{key} = {value}");
        }
        for (key, value) in [
            ("consumer_byte_rate", 9.223_372_036_854_776e18),
            ("request_percentage", f64::INFINITY),
            ("controller_mutation_rate", 1e-9),
        ] {
            assert_eq!(why(&user, &[(key, Some(value))]), None, "{key} = {value}");
        }
        assert_eq!(why(&user, &[("nonsense", None)]), None, "it is not there");
        let ip = [("ip", Some("::1"))];
        assert!(why(&ip, &[("connection_creation_rate", Some(3e9))]).is_some());
        assert!(why(&ip, &[("producer_byte_rate", Some(3.0))]).is_some());
        assert!(
            why(
                &user,
                &[("producer_byte_rate", Some(3.0)), ("producer_byte_rate", None)]
            )
            .is_some()
        );
    }

    #[test]
    fn an_entity_that_is_given_twice_is_answered_once_and_left_alone() {
        let rate = [("producer_byte_rate", Some(1.0))];
        let plan = planned(vec![
            spec(&[("user", None)], &rate),
            spec(&[("user", Some("u"))], &rate),
            spec(&[("user", None)], &rate),
            spec(&[("user", None)], &rate),
        ]);
        assert_eq!(plan.changes.len(), 1);
        let answered: Vec<_> = plan.outcomes.iter().map(|outcome| outcome.result.is_ok()).collect();
        assert_eq!(answered, [false, true]);
    }
}
