//! DescribeClientQuotas (48), versions 0-1 (1 flexible).
//!
//! Every component of the filter has to be met; with `strict` an entity may have no other part. Errors for the whole
//! request: INVALID_REQUEST (42), UNSUPPORTED_VERSION (35) for an entity type that is not known. Source: Kafka's
//! `ClientQuotasImage.describe`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Reply, message};
use crate::metadata::image::quotas::{EntityKind, EntityName, QuotaEntity, QuotaImage, QuotasImage};

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

/// Answers from the published image.
pub(super) fn handle(cx: &Arc<RequestContext>, request: DescribeClientQuotasRequest) -> Reply {
    cx.reply(&describe(&cx.services.publisher.current().quotas, &request))
}

/// What a part has to be: this one, or anything.
type Filter = BTreeMap<EntityKind, Option<EntityName>>;

fn describe(quotas: &QuotasImage, request: &DescribeClientQuotasRequest) -> DescribeClientQuotasResponse {
    let filter = match filter_of(&request.components) {
        Ok(filter) => filter,
        Err((code, why)) => {
            return DescribeClientQuotasResponse::default()
                .with_error_code(code.code())
                .with_error_message(Some(message(why)))
                .with_entries(None);
        }
    };
    let entries = quotas
        .iter()
        .filter(|(entity, _)| matches(entity, &filter, request.strict))
        .map(|(entity, quotas)| entry(entity, quotas));
    DescribeClientQuotasResponse::default()
        .with_error_message(None)
        .with_entries(Some(entries.collect()))
}

fn filter_of(components: &[ComponentData]) -> Result<Filter, (ErrorCode, String)> {
    let invalid = |why: String| Err((ErrorCode::InvalidRequest, why));
    let mut filter = Filter::new();
    for component in components {
        let kind = &*component.entity_type;
        if kind.is_empty() {
            return invalid("an entity type is empty".to_owned());
        }
        let Some(kind) = EntityKind::find(kind) else {
            return Err((
                ErrorCode::UnsupportedVersion,
                format!("'{kind}' is no type of quota entities"),
            ));
        };
        let wanted = match (component.match_type, &component._match) {
            (EXACT, Some(name)) => Some(EntityName::Named(name.to_string())),
            (DEFAULT, None) => Some(EntityName::Default),
            (SPECIFIED, None) => None,
            (EXACT, None) => return invalid("an exact match needs a name".to_owned()),
            (DEFAULT | SPECIFIED, Some(_)) => return invalid("only an exact match has a name".to_owned()),
            (other, _) => return invalid(format!("there is no match type {other}")),
        };
        if filter.insert(kind, wanted).is_some() {
            return invalid(format!("the filter gives the entity type {} twice", kind.name()));
        }
    }
    if filter.len() > 1 && filter.contains_key(&EntityKind::Ip) {
        return invalid("an ip cannot be combined with a user or a client id".to_owned());
    }
    Ok(filter)
}

fn matches(entity: &QuotaEntity, filter: &Filter, strict: bool) -> bool {
    if strict && entity.parts().count() != filter.len() {
        return false;
    }
    filter.iter().all(|(kind, wanted)| match (entity.part(*kind), wanted) {
        (Some(found), Some(wanted)) => found == wanted,
        (found, None) => found.is_some(),
        (None, Some(_)) => false,
    })
}

fn entry(entity: &QuotaEntity, quotas: &QuotaImage) -> EntryData {
    let parts = entity.parts().map(|(kind, name)| {
        EntityData::default()
            .with_entity_type(StrBytes::from_static_str(kind.name()))
            .with_entity_name(name.name().map(|name| StrBytes::from_string(name.to_owned())))
    });
    let values = quotas.values.iter().map(|(key, bound)| {
        ValueData::default()
            .with_key(StrBytes::from_static_str(key.name()))
            .with_value(bound.0)
    });
    EntryData::default()
        .with_entity(parts.collect())
        .with_values(values.collect())
}

#[cfg(test)]
mod tests {
    use protocol::encode::encode_response;

    use super::*;
    use crate::metadata::image::quotas::QuotaKey;
    use crate::quota::limits::tests::image_of;

    fn component(kind: &str, match_type: i8, name: Option<&str>) -> ComponentData {
        ComponentData::default()
            .with_entity_type(StrBytes::from_string(kind.to_owned()))
            .with_match_type(match_type)
            .with_match(name.map(|name| StrBytes::from_string(name.to_owned())))
    }

    fn ask(components: Vec<ComponentData>, strict: bool) -> DescribeClientQuotasResponse {
        let named = |name: &str| EntityName::Named(name.to_owned());
        let rate = QuotaKey::ProducerByteRate;
        let image = image_of(&[
            (QuotaEntity::User(named("u")), rate, 1.0),
            (QuotaEntity::User(EntityName::Default), rate, 2.0),
            (QuotaEntity::ClientId(named("c")), rate, 3.0),
            (QuotaEntity::UserClientId(named("u"), named("c")), rate, 4.0),
            (QuotaEntity::UserClientId(named("u"), EntityName::Default), rate, 5.0),
            (
                QuotaEntity::Ip(EntityName::Default),
                QuotaKey::ConnectionCreationRate,
                6.0,
            ),
        ]);
        let request = DescribeClientQuotasRequest::default()
            .with_components(components)
            .with_strict(strict);
        let response = describe(&image, &request);
        for version in 0..=1 {
            encode_response(48, version, 1, &response).expect("fields of the version");
        }
        response
    }

    /// The bounds tell the entities apart.
    fn found(components: Vec<ComponentData>, strict: bool) -> Vec<i32> {
        let entries = ask(components, strict).entries.expect("no error");
        let mut found: Vec<_> = entries.iter().map(|entry| entry.values[0].value as i32).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn filters_match_as_in_kafka() {
        let user = |match_type, name| component("user", match_type, name);
        let client_id = |match_type, name| component("client-id", match_type, name);
        assert_eq!(found(vec![], false), [1, 2, 3, 4, 5, 6]);
        assert_eq!(found(vec![], true), [0; 0]);
        assert_eq!(found(vec![user(EXACT, Some("u"))], false), [1, 4, 5]);
        assert_eq!(found(vec![user(EXACT, Some("u"))], true), [1]);
        assert_eq!(found(vec![user(DEFAULT, None)], true), [2]);
        assert_eq!(found(vec![user(SPECIFIED, None)], true), [1, 2]);
        assert_eq!(found(vec![user(SPECIFIED, None)], false), [1, 2, 4, 5]);
        let both = vec![user(SPECIFIED, None), client_id(DEFAULT, None)];
        assert_eq!(found(both, true), [5]);
        let both = vec![client_id(SPECIFIED, None), user(EXACT, Some("u"))];
        assert_eq!(found(both, false), [4, 5]);
        assert_eq!(found(vec![component("ip", SPECIFIED, None)], true), [6]);
        assert_eq!(found(vec![component("ip", EXACT, Some("10.0.0.1"))], true), [0; 0]);
    }

    #[test]
    fn wrong_filters_have_kafkas_codes() {
        for (components, code) in [
            (vec![component("", EXACT, Some("x"))], 42),
            (vec![component("topic", EXACT, Some("x"))], 35),
            (vec![component("user", EXACT, None)], 42),
            (vec![component("user", DEFAULT, Some("x"))], 42),
            (vec![component("user", SPECIFIED, Some("x"))], 42),
            (vec![component("user", 3, None)], 42),
            (vec![component("user", -1, None)], 42),
            (
                vec![component("user", DEFAULT, None), component("user", SPECIFIED, None)],
                42,
            ),
            (
                vec![component("ip", DEFAULT, None), component("user", SPECIFIED, None)],
                42,
            ),
        ] {
            let response = ask(components, false);
            assert_eq!((response.error_code, response.entries), (code, None));
            assert!(response.error_message.is_some());
        }
    }
}
