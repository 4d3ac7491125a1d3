//! IncrementalAlterConfigs (44), versions 0-1; 1 flexible.
//!
//! Changes single configs of a resource: 0 sets, 1 removes, 2 appends to a list, 3 removes from a list. Topics, brokers,
//! groups, client-metrics subscriptions, and the levels of the log, which are not kept over a restart. The checks and
//! their codes are those of `controller::configs`; the way is that of AlterConfigs.

use std::sync::Arc;

use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use crate::controller::configs::{ConfigAlteration, ConfigEntry};
use crate::handlers::alter_configs::{alter, told};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Messages, Reply};

/// Hands the resources to the controller.
pub(super) fn handle(cx: &Arc<RequestContext>, request: IncrementalAlterConfigsRequest) -> Reply {
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
        IncrementalAlterConfigsResponse::default().with_responses(answers.collect())
    })
}

fn alteration_of(resource: &AlterConfigsResource) -> ConfigAlteration {
    let entries = resource.configs.iter().map(|config| ConfigEntry {
        name: config.name.to_string(),
        operation: config.config_operation,
        value: config.value.as_ref().map(ToString::to_string),
    });
    ConfigAlteration {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.to_string(),
        replaces_all: false,
        entries: entries.collect(),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    #[test]
    fn requests_are_read_whole() {
        let text = StrBytes::from_static_str;
        let config = AlterableConfig::default()
            .with_name(text("a"))
            .with_config_operation(3)
            .with_value(Some(text("1")));
        let resource = AlterConfigsResource::default()
            .with_resource_type(32)
            .with_resource_name(text("g"))
            .with_configs(vec![config]);
        let expected = ConfigAlteration {
            resource_type: 32,
            resource_name: "g".to_owned(),
            replaces_all: false,
            entries: vec![ConfigEntry {
                name: "a".to_owned(),
                operation: 3,
                value: Some("1".to_owned()),
            }],
        };
        assert_eq!(alteration_of(&resource), expected);
    }
}
