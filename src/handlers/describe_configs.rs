//! DescribeConfigs (32), versions 0-4.
//!
//! Versions: 1 synonyms and sources (0 tells only what is a default), 3 documentation and types, 4 flexible. Numbers that
//! are no type of a resource refuse the whole request, as in Kafka (`ConfigHelper`). A broker answers for itself only; the empty name asks for what
//! was changed for all brokers. Groups and client-metrics subscriptions need not exist to have configs. Null and empty
//! lists of keys both ask for all; unknown keys are passed over. Other than in Kafka, because a small request can ask for
//! very much: a resource that is named twice is answered once and then refused, and so are the resource with which the
//! answer would grow beyond [`MAX_ANSWER_BYTES`] (or `socket.request.max.bytes`, if that is less) and all behind it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::DescribeConfigsRequest;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::config::broker::BrokerConfig;
use crate::config::describe::{self, DescribedConfig};
use crate::controller::configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Messages, Reply};
use crate::metadata::command::ConfigResource;
use crate::metadata::image::MetadataImage;
use crate::metadata::topic_name;
use crate::telemetry::logging;

/// Most bytes of one answer, roughly: all configs of some thousand topics without their documentation.
const MAX_ANSWER_BYTES: usize = 32 << 20;

/// What a row counts in bytes of the answer that is looked at and not in it: a resource without an answer takes four bytes
/// of a request and all of its rows must be made.
const ROW_COST: usize = 64;

/// Why a resource is not described.
type Refusal = (ErrorCode, String);

/// Answers each resource.
pub(super) fn handle(cx: &Arc<RequestContext>, request: DescribeConfigsRequest) -> Reply {
    let image = cx.services.publisher.current();
    let describer = Describer {
        config: &cx.services.config.load(),
        image: &image,
        node_id: cx.services.node_id,
        version: cx.api_version,
        include_synonyms: request.include_synonyms,
        include_documentation: request.include_documentation,
    };
    cx.reply(&DescribeConfigsResponse::default().with_results(describer.describe_all(request.resources)))
}

/// What one request wants to know, and where it is known from.
struct Describer<'a> {
    config: &'a BrokerConfig,
    image: &'a MetadataImage,
    node_id: i32,
    version: i16,
    include_synonyms: bool,
    include_documentation: bool,
}

impl Describer<'_> {
    fn describe_all(&self, resources: Vec<DescribeConfigsResource>) -> Vec<DescribeConfigsResult> {
        let mut messages = Messages::for_one_answer();
        let known = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
        if resources
            .iter()
            .any(|resource| !known.contains(&resource.resource_type))
        {
            let why = ErrorCode::InvalidRequest.message().to_owned();
            let refusal = |resource| refused(resource, (ErrorCode::InvalidRequest, why.clone()), &mut messages);
            return resources.iter().map(refusal).collect();
        }
        let most_bytes = usize::try_from(self.config.socket_request_max_bytes).unwrap_or(0);
        let most_bytes = most_bytes.min(MAX_ANSWER_BYTES);
        // what is left of them; none once a resource did not fit
        let mut room = Some(most_bytes);
        let mut answered = BTreeSet::new();
        let mut results = Vec::with_capacity(resources.len());
        for resource in &resources {
            let is_first = answered.insert((resource.resource_type, canonical_name(resource)));
            let described = room.filter(|_| is_first).map(|room| self.describe(resource, room));
            results.push(match described {
                Some(Ok(Some((configs, left)))) => {
                    room = Some(left);
                    named(resource).with_configs(configs)
                }
                Some(Err(refusal)) => refused(resource, refusal, &mut messages),
                None if !is_first => {
                    let why = "Each resource must appear at most once.".to_owned();
                    refused(resource, (ErrorCode::InvalidRequest, why), &mut messages)
                }
                Some(Ok(None)) | None => {
                    room = None;
                    let why = format!(
                        "The answer would be larger than {most_bytes} bytes, ask for fewer resources or configs at once"
                    );
                    refused(resource, (ErrorCode::InvalidRequest, why), &mut messages)
                }
            });
        }
        results
    }

    /// The rows that are asked for, and what is left of the `room` in bytes; nothing if they take more.
    fn describe(
        &self,
        resource: &DescribeConfigsResource,
        mut room: usize,
    ) -> Result<Option<(Vec<DescribeConfigsResourceResult>, usize)>, Refusal> {
        let rows = self.rows(resource)?;
        let keys = resource.configuration_keys.iter().flatten();
        let keys: BTreeSet<&str> = keys.map(StrBytes::as_str).collect();
        let mut results = Vec::new();
        for row in rows {
            let is_wanted = keys.is_empty() || keys.contains(&*row.name);
            let result = is_wanted.then(|| self.result(row));
            let bytes = result.as_ref().map_or(ROW_COST, approximate_bytes);
            let Some(left) = room.checked_sub(bytes) else {
                return Ok(None);
            };
            room = left;
            results.extend(result);
        }
        Ok(Some((results, room)))
    }

    fn rows(&self, resource: &DescribeConfigsResource) -> Result<Vec<DescribedConfig>, Refusal> {
        Ok(match resource.resource_type {
            TOPIC => self.topic_rows(&resource.resource_name)?,
            BROKER => self.broker_rows(&resource.resource_name)?,
            BROKER_LOGGER => self.logger_rows(&resource.resource_name)?,
            CLIENT_METRICS => {
                let name = named_by(
                    &resource.resource_name,
                    "Client metrics subscription name must not be empty",
                )?;
                let own = self.image.configs.get(&ConfigResource::ClientMetrics(name));
                describe::describe_client_metrics(own)
            }
            _ => {
                let id = named_by(&resource.resource_name, "Group name must not be empty")?;
                describe::describe_group(self.image.configs.get(&ConfigResource::Group(id)), self.config)
            }
        })
    }

    fn topic_rows(&self, name: &str) -> Result<Vec<DescribedConfig>, Refusal> {
        topic_name::validate(name).map_err(|error| (ErrorCode::InvalidTopicException, error.to_string()))?;
        if self.image.topic(name).is_none() {
            // Kafka sends no message here.
            return Err((ErrorCode::UnknownTopicOrPartition, String::new()));
        }
        Ok(describe::describe_topic(self.image.topic_configs(name), self.config))
    }

    fn broker_rows(&self, name: &str) -> Result<Vec<DescribedConfig>, Refusal> {
        if name.is_empty() {
            return Ok(describe::describe_all_brokers(self.config));
        }
        self.check_id(name, " or empty string,")?;
        Ok(describe::describe_broker(self.config))
    }

    fn logger_rows(&self, name: &str) -> Result<Vec<DescribedConfig>, Refusal> {
        let name = named_by(name, "Broker id must not be empty")?;
        self.check_id(&name, "")?;
        let levels = logging::levels().map_or_else(Vec::new, logging::LogLevels::all);
        let rows = levels
            .iter()
            .map(|(part, level)| describe::describe_logger(part, level));
        Ok(rows.collect())
    }

    fn check_id(&self, name: &str, alternative: &str) -> Result<(), Refusal> {
        let expected = self.node_id;
        let why = match name.parse::<i32>() {
            Ok(id) if id == expected => return Ok(()),
            Ok(_) => format!("Unexpected broker id, expected {expected}{alternative} but received {name}"),
            Err(_) => format!("Broker id must be an integer, but it is: {name}"),
        };
        Err((ErrorCode::InvalidRequest, why))
    }

    fn result(&self, row: DescribedConfig) -> DescribeConfigsResourceResult {
        let text = |value: Option<String>| value.map(StrBytes::from_string);
        let mut result = DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_string(row.name))
            .with_value(text(row.value))
            .with_read_only(row.read_only)
            .with_config_source(row.source as i8)
            .with_is_sensitive(row.sensitive);
        if self.include_synonyms {
            let synonyms = row.synonyms.into_iter().map(|synonym| {
                DescribeConfigsSynonym::default()
                    .with_name(StrBytes::from_string(synonym.name))
                    .with_value(text(synonym.value))
                    .with_source(synonym.source as i8)
            });
            result.synonyms = synonyms.collect();
        }
        if self.version >= 3 {
            let documentation = row.documentation.filter(|_| self.include_documentation);
            result.config_type = row.config_type;
            result.documentation = documentation.map(StrBytes::from_static_str);
        }
        result
    }
}

fn named_by(name: &str, why_not_empty: &str) -> Result<String, Refusal> {
    match name {
        "" => Err((ErrorCode::InvalidRequest, why_not_empty.to_owned())),
        name => Ok(name.to_owned()),
    }
}

fn named(resource: &DescribeConfigsResource) -> DescribeConfigsResult {
    DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
}

fn refused(resource: &DescribeConfigsResource, (code, why): Refusal, messages: &mut Messages) -> DescribeConfigsResult {
    named(resource)
        .with_error_code(code.code())
        .with_error_message(messages.next(|| why))
}

/// The same for all names of a resource: a broker's number can be written in many ways.
fn canonical_name(resource: &DescribeConfigsResource) -> Cow<'_, str> {
    let name = resource.resource_name.as_str();
    match (resource.resource_type, name.parse::<i32>()) {
        (BROKER | BROKER_LOGGER, Ok(id)) => Cow::Owned(id.to_string()),
        _ => Cow::Borrowed(name),
    }
}

/// The texts of a row, and some room for its fixed fields.
fn approximate_bytes(row: &DescribeConfigsResourceResult) -> usize {
    let text = |value: &Option<StrBytes>| value.as_ref().map_or(0, |value| value.len());
    let synonyms = row
        .synonyms
        .iter()
        .map(|synonym| synonym.name.len() + text(&synonym.value) + 8);
    row.name.len() + text(&row.value) + text(&row.documentation) + synonyms.sum::<usize>() + 16
}

#[cfg(test)]
mod tests;
