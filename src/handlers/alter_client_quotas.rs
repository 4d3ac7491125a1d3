//! AlterClientQuotas (49), versions 0-1 (1 flexible).
//!
//! The answer comes when the quotas hold on this broker. Host names of `ip` entities are looked up here, once; what has
//! no address is refused. Checks and codes: `controller::quotas`; above `monedula.quota.max.entities` POLICY_VIOLATION (44).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::alter_client_quotas_request::EntryData as EntryRequest;
use kafka_protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use kafka_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use kafka_protocol::protocol::StrBytes;

use crate::controller::quotas::{EntityParts, QuotaFailure, QuotaOutcome, QuotaPlan, QuotaSpec, plan_alteration};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Reply, message};
use crate::metadata::apply::apply;
use crate::metadata::command::{AlterClientQuotas, Command, CommandResult};
use crate::metadata::image::MetadataImage;

/// How long all name servers together may take.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// Hands the changes to the controller.
pub(super) fn handle(cx: &Arc<RequestContext>, request: AlterClientQuotasRequest) -> Reply {
    let context = Arc::clone(cx);
    cx.later(async move {
        let specs: Vec<_> = request.entries.into_iter().map(spec_of).collect();
        let addresses = addresses_of(&specs).await;
        let plan = plan_alteration(specs, &|name| addresses.get(name).copied());
        answer(alter(&context, plan, request.validate_only).await)
    })
}

fn spec_of(entry: EntryRequest) -> QuotaSpec {
    let parts = entry.entity.into_iter().map(|part| {
        let name = part.entity_name.map(|name| name.to_string());
        (part.entity_type.to_string(), name)
    });
    let values = entry.ops.into_iter().map(|op| {
        let value = (!op.remove).then_some(op.value);
        (op.key.to_string(), value)
    });
    QuotaSpec {
        entity: parts.collect(),
        values: values.collect(),
    }
}

/// The addresses of all `ip` entities that have one.
async fn addresses_of(specs: &[QuotaSpec]) -> BTreeMap<String, IpAddr> {
    let names: BTreeSet<_> = specs
        .iter()
        .filter_map(|spec| spec.entity.get("ip")?.as_deref())
        .collect();
    let deadline = tokio::time::Instant::now() + LOOKUP_LIMIT;
    let mut addresses = BTreeMap::new();
    for name in names {
        let address = match name.parse() {
            Ok(address) => Some(address),
            Err(_) => match tokio::time::timeout_at(deadline, tokio::net::lookup_host((name, 0))).await {
                Ok(Ok(mut found)) => found.next().map(|found| found.ip()),
                Ok(Err(_)) | Err(_) => None,
            },
        };
        addresses.extend(address.map(|address| (name.to_owned(), address)));
    }
    addresses
}

async fn alter(cx: &RequestContext, plan: QuotaPlan, validate_only: bool) -> Vec<QuotaOutcome> {
    if plan.changes.is_empty() {
        return plan.outcomes;
    }
    let limit = cx.services.config.at_start().monedula_quota_max_entities;
    let command = AlterClientQuotas {
        changes: plan.changes.clone(),
        max_entities: u32::try_from(limit).expect("checked to be positive"),
    };
    if validate_only {
        return plan.applied(&would_give(&cx.services.publisher.current(), command));
    }
    match cx.services.controller.alter_quotas(command).await {
        Ok(results) => plan.applied(&results),
        Err(error) => {
            let failure = QuotaFailure {
                code: (&error).into(),
                message: error.to_string(),
            };
            let refused = |outcome: QuotaOutcome| QuotaOutcome {
                result: outcome.result.and_then(|()| Err(failure.clone())),
                ..outcome
            };
            plan.outcomes.into_iter().map(refused).collect()
        }
    }
}

/// What the command would give now: applied to a copy, which is cheap.
fn would_give(
    image: &MetadataImage,
    command: AlterClientQuotas,
) -> Vec<Result<(), crate::metadata::command::ApplyError>> {
    let mut image = image.clone();
    let index = image.applied_index;
    match apply(&mut image, index, &Command::AlterClientQuotas(command)) {
        CommandResult::ClientQuotasAltered(results) => results,
        other => unreachable!("{other:?} is not the result of altering quotas"),
    }
}

fn answer(outcomes: Vec<QuotaOutcome>) -> AlterClientQuotasResponse {
    let entries = outcomes.into_iter().map(|outcome| {
        let entry = EntryData::default().with_entity(entity_of(outcome.entity));
        match outcome.result {
            Ok(()) => entry.with_error_message(None),
            Err(failure) => entry
                .with_error_code(failure.code.code())
                .with_error_message(Some(message(failure.message))),
        }
    });
    AlterClientQuotasResponse::default().with_entries(entries.collect())
}

fn entity_of(parts: EntityParts) -> Vec<EntityData> {
    let part = |(kind, name): (String, Option<String>)| {
        EntityData::default()
            .with_entity_type(StrBytes::from_string(kind))
            .with_entity_name(name.map(StrBytes::from_string))
    };
    parts.into_iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::alter_client_quotas_request::{EntityData as EntityRequest, OpData};
    use protocol::encode::encode_response;
    use protocol::error_code::ErrorCode;

    use super::*;

    fn text(text: &str) -> StrBytes {
        StrBytes::from_string(text.to_owned())
    }

    #[test]
    fn entries_are_read_and_a_part_named_twice_has_the_later_name() {
        let part = |kind: &str, name: Option<&str>| {
            EntityRequest::default()
                .with_entity_type(text(kind))
                .with_entity_name(name.map(text))
        };
        let op = |key: &str, value: f64, remove: bool| {
            OpData::default()
                .with_key(text(key))
                .with_value(value)
                .with_remove(remove)
        };
        let entry = EntryRequest::default()
            .with_entity(vec![
                part("user", Some("a")),
                part("client-id", None),
                part("user", Some("b")),
            ])
            .with_ops(vec![op("x", 5.0, false), op("y", 6.0, true)]);
        let spec = spec_of(entry);
        let entity = [("user", Some("b")), ("client-id", None)];
        let owned = |(kind, name): (&str, Option<&str>)| (kind.to_owned(), name.map(str::to_owned));
        assert_eq!(spec.entity, entity.map(owned).into());
        assert_eq!(spec.values, [("x".to_owned(), Some(5.0)), ("y".to_owned(), None)]);
    }

    #[tokio::test]
    async fn only_addresses_and_hosts_that_have_one_are_known() {
        let spec = |kind: &str, name: Option<&str>| QuotaSpec {
            entity: [(kind.to_owned(), name.map(str::to_owned))].into(),
            values: Vec::new(),
        };
        let specs = [
            spec("ip", Some("10.0.0.1")),
            spec("ip", Some("::1")),
            spec("ip", Some("localhost")),
            spec("ip", Some("no host has this name")),
            spec("ip", None),
            spec("user", Some("10.0.0.2")),
        ];
        let addresses = addresses_of(&specs).await;
        let known: Vec<_> = addresses.keys().map(String::as_str).collect();
        assert_eq!(known, ["10.0.0.1", "::1", "localhost"]);
        assert!(addresses["localhost"].is_loopback());
    }

    #[test]
    fn both_versions_can_tell_successes_and_failures() {
        let failure = QuotaFailure {
            code: ErrorCode::InvalidRequest,
            message: "é".repeat(40_000),
        };
        let entity: EntityParts = [
            ("user".to_owned(), None),
            ("client-id".to_owned(), Some("c".to_owned())),
        ]
        .into();
        let outcome = |result| QuotaOutcome {
            entity: entity.clone(),
            result,
        };
        let response = answer(vec![outcome(Ok(())), outcome(Err(failure))]);
        let codes: Vec<_> = response.entries.iter().map(|entry| entry.error_code).collect();
        assert_eq!(codes, [0, 42]);
        assert_eq!(response.entries[0].error_message, None);
        for version in 0..=1 {
            encode_response(49, version, 1, &response).expect("the message is cut");
        }
    }
}
