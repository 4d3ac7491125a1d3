//! AlterConfigs (33), versions 0-2; 2 flexible.
//!
//! Replaces all configs of a resource. Topics, brokers, groups and client-metrics subscriptions; the checks and their
//! codes are those of `controller::configs`. Also here: what it shares with IncrementalAlterConfigs.

use std::sync::Arc;

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::controller::configs::{BROKER_LOGGER, ConfigAlteration, ConfigEntry, DELETE, Outcome, SET, malformed};
use crate::controller::topics::TopicFailure;
use crate::handlers::context::RequestContext;
use crate::handlers::create_topics::timeout;
use crate::handlers::reply::{Messages, Reply};
use crate::telemetry::logging::{self, LevelChange, LogLevels, ROOT, parse_level};

/// Hands the resources to the controller.
pub(super) fn handle(cx: &Arc<RequestContext>, request: AlterConfigsRequest) -> Reply {
    let context = Arc::clone(cx);
    cx.later(async move {
        let alterations = request.resources.iter().map(alteration_of).collect();
        let outcomes = alter(&context, alterations, request.validate_only).await;
        let mut messages = Messages::for_one_answer();
        let answers = request.resources.into_iter().zip(outcomes).map(|(resource, outcome)| {
            let (code, why) = told(outcome, &mut messages);
            AlterConfigsResourceResponse::default()
                .with_error_code(code)
                .with_error_message(why)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name)
        });
        AlterConfigsResponse::default().with_responses(answers.collect())
    })
}

fn alteration_of(resource: &AlterConfigsResource) -> ConfigAlteration {
    let entries = resource.configs.iter().map(|config| ConfigEntry {
        name: config.name.to_string(),
        operation: SET,
        value: config.value.as_ref().map(ToString::to_string),
    });
    ConfigAlteration {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.to_string(),
        replaces_all: true,
        entries: entries.collect(),
    }
}

/// Code and message of one resource.
pub(super) fn told(outcome: Outcome, messages: &mut Messages) -> (i16, Option<StrBytes>) {
    match outcome {
        Ok(()) => (0, None),
        Err(failure) => (failure.code.code(), messages.next(|| failure.message)),
    }
}

/// Alters; one outcome per resource, in order. The levels of the log are altered here, the rest is for the controller.
pub(super) async fn alter(
    cx: &RequestContext,
    alterations: Vec<ConfigAlteration>,
    validate_only: bool,
) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = malformed(&alterations)
        .into_iter()
        .map(|fault| fault.map(Err))
        .collect();
    let mut rest = Vec::new();
    for (alteration, outcome) in alterations.into_iter().zip(&mut outcomes) {
        if outcome.is_some() {
            continue;
        }
        if alteration.resource_type == BROKER_LOGGER {
            *outcome = Some(alter_levels(
                logging::levels(),
                cx.services.node_id,
                &alteration,
                validate_only,
            ));
        } else {
            rest.push(alteration);
        }
    }
    let mut answered = if rest.is_empty() {
        Vec::new()
    } else {
        ask_controller(cx, rest, validate_only).await
    }
    .into_iter();
    let settled = outcomes.into_iter().map(|outcome| {
        let from_controller = || answered.next().expect("one outcome per resource");
        outcome.unwrap_or_else(from_controller)
    });
    settled.collect()
}

async fn ask_controller(cx: &RequestContext, rest: Vec<ConfigAlteration>, validate_only: bool) -> Vec<Outcome> {
    let count = rest.len();
    let asked = cx.services.controller.alter_configs(rest, validate_only);
    let failure = match tokio::time::timeout(timeout(0), asked).await {
        Ok(Ok(outcomes)) => return outcomes,
        Ok(Err(error)) => TopicFailure::new((&error).into(), error.to_string()),
        Err(_) => TopicFailure::new(ErrorCode::RequestTimedOut, ErrorCode::RequestTimedOut.message()),
    };
    vec![Err(failure); count]
}

/// Source: `RuntimeLoggerManager` of Apache Kafka. All levels of the resource change, or none.
fn alter_levels(
    levels: Option<&LogLevels>,
    node_id: i32,
    alteration: &ConfigAlteration,
    validate_only: bool,
) -> Outcome {
    let bad_request = |why: String| Err(TopicFailure::new(ErrorCode::InvalidRequest, why));
    let bad_config = |why: String| TopicFailure::new(ErrorCode::InvalidConfig, why);
    match alteration.resource_name.parse::<i32>() {
        Ok(id) if id == node_id => {}
        Ok(id) => return bad_request(format!("Unexpected node id. Expected {node_id}, but received {id}")),
        Err(_) => {
            return bad_request(format!(
                "Node id must be an integer, but it is: {}",
                alteration.resource_name
            ));
        }
    }
    let mut changes = Vec::with_capacity(alteration.entries.len());
    for ConfigEntry { name, operation, value } in &alteration.entries {
        if !matches!(*operation, SET | DELETE) {
            let what = match operation {
                2 => "APPEND operation".to_owned(),
                3 => "SUBTRACT operation".to_owned(),
                other => format!("Unknown operation type {other}"),
            };
            return bad_request(format!("{what} is not allowed for the BROKER_LOGGER resource"));
        }
        if !levels.is_some_and(|levels| levels.knows(name)) {
            return Err(bad_config(format!("Logger {name} does not exist!")));
        }
        changes.push(match (*operation, value.as_deref()) {
            (SET, Some(text)) => {
                let level = parse_level(text).map_err(|valid| {
                    bad_config(format!(
                        "Cannot set the log level of {name} to {text} as it is not a supported log level. \
                         Valid log levels are {valid}"
                    ))
                })?;
                (name.clone(), LevelChange::Set(level))
            }
            _ if name == ROOT => {
                return bad_request(format!("Removing the log level of the {ROOT} logger is not allowed"));
            }
            _ => (name.clone(), LevelChange::Unset),
        });
    }
    if let Some(levels) = levels.filter(|_| !validate_only) {
        levels.change(&changes);
        tracing::warn!(?changes, "levels of the log were changed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::alter_configs_request::AlterableConfig;
    use protocol::encode::encode_response;

    use super::*;

    #[test]
    fn requests_are_read_whole() {
        let text = StrBytes::from_static_str;
        let configs = vec![
            AlterableConfig::default()
                .with_name(text("a"))
                .with_value(Some(text("1"))),
            AlterableConfig::default().with_name(text("b")).with_value(None),
        ];
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t"))
            .with_configs(configs);
        let entry = |name: &str, value: Option<&str>| ConfigEntry {
            name: name.to_owned(),
            operation: SET,
            value: value.map(str::to_owned),
        };
        let expected = ConfigAlteration {
            resource_type: 2,
            resource_name: "t".to_owned(),
            replaces_all: true,
            entries: vec![entry("a", Some("1")), entry("b", None)],
        };
        assert_eq!(alteration_of(&resource), expected);
    }

    #[test]
    fn every_version_can_be_encoded() {
        for version in 0..=2 {
            let failure = TopicFailure::new(ErrorCode::InvalidConfig, "é".repeat(40_000));
            let (code, why) = told(Err(failure), &mut Messages::for_one_answer());
            let answer = AlterConfigsResourceResponse::default()
                .with_error_code(code)
                .with_error_message(why)
                .with_resource_type(4)
                .with_resource_name(StrBytes::from_string("z".repeat(32_767)));
            let response = AlterConfigsResponse::default().with_responses(vec![answer]);
            encode_response(33, version, 1, &response).expect("fields of the version");
        }
    }

    #[test]
    fn many_refusals_have_few_texts() {
        let mut messages = Messages::for_one_answer();
        let refusals = (0..3_000).map(|_| told(Err(TopicFailure::new(ErrorCode::InvalidConfig, "no")), &mut messages));
        let refusals: Vec<_> = refusals.collect();
        assert!(refusals.iter().all(|(code, _)| *code == 40));
        assert_eq!(refusals.iter().filter(|(_, why)| why.is_some()).count(), 1_000);
    }

    #[test]
    fn levels_are_refused_in_kafkas_words() {
        let refused = |name: &str, entry: (&str, i8, Option<&str>)| {
            let alteration = ConfigAlteration {
                resource_type: BROKER_LOGGER,
                resource_name: name.to_owned(),
                replaces_all: false,
                entries: vec![ConfigEntry {
                    name: entry.0.to_owned(),
                    operation: entry.1,
                    value: entry.2.map(str::to_owned),
                }],
            };
            let failure = alter_levels(None, 1, &alteration, false).expect_err("refused");
            (failure.code.code(), failure.message)
        };
        let set = ("nobody", SET, Some("INFO"));
        assert_eq!(
            refused("x", set),
            (42, "Node id must be an integer, but it is: x".to_owned())
        );
        assert_eq!(
            refused("2", set),
            (42, "Unexpected node id. Expected 1, but received 2".to_owned())
        );
        assert_eq!(refused("1", set), (40, "Logger nobody does not exist!".to_owned()));
        assert_eq!(
            refused("1", ("root", 2, Some("INFO"))).1,
            "APPEND operation is not allowed for the BROKER_LOGGER resource"
        );
        assert_eq!(
            refused("1", ("root", 9, Some("INFO"))).1,
            "Unknown operation type 9 is not allowed for the BROKER_LOGGER resource"
        );
    }
}
