//! ListConfigResources (74), versions 0-1 (KIP-1000, KIP-1142).
//!
//! Version 0 lists client-metrics subscriptions; 1 all types, or those that are asked for. A type that the version does
//! not list refuses the request with UNSUPPORTED_VERSION (35), as in Kafka. Groups and subscriptions are listed when they
//! have configs of their own; topics and brokers always.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::controller::configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;
use crate::metadata::image::MetadataImage;

/// Answers from the published metadata.
pub(super) fn handle(cx: &Arc<RequestContext>, request: ListConfigResourcesRequest) -> Reply {
    let image = cx.services.publisher.current();
    cx.reply(&list(&image, &request.resource_types, cx.api_version))
}

fn list(image: &MetadataImage, asked: &[i8], version: i16) -> ListConfigResourcesResponse {
    let listed: &[i8] = match version {
        0 => &[CLIENT_METRICS],
        _ => &[TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP],
    };
    if asked.iter().any(|kind| !listed.contains(kind)) {
        return ListConfigResourcesResponse::default().with_error_code(ErrorCode::UnsupportedVersion.code());
    }
    let wanted: BTreeSet<i8> = match asked {
        [] => listed.iter().copied().collect(),
        asked => asked.iter().copied().collect(),
    };
    let mut resources = Vec::new();
    let mut add = |kind: i8, name: String| {
        let resource = ConfigResource::default().with_resource_name(StrBytes::from_string(name));
        // version 0 has no types
        resources.push(if version == 0 {
            resource
        } else {
            resource.with_resource_type(kind)
        });
    };
    if wanted.contains(&GROUP) {
        image.configs.groups().for_each(|id| add(GROUP, id.to_owned()));
    }
    if wanted.contains(&CLIENT_METRICS) {
        image
            .configs
            .client_metrics()
            .for_each(|name| add(CLIENT_METRICS, name.to_owned()));
    }
    for kind in [BROKER_LOGGER, BROKER] {
        if wanted.contains(&kind) {
            image
                .brokers
                .active()
                .for_each(|broker| add(kind, broker.id.to_string()));
        }
    }
    if wanted.contains(&TOPIC) {
        image.topics().for_each(|topic| add(TOPIC, topic.name.to_string()));
    }
    ListConfigResourcesResponse::default().with_config_resources(resources)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::encode::encode_response;

    use super::*;
    use crate::metadata::apply::alter_configs;
    use crate::metadata::apply::tests::{creation_of, image_of, start_of};
    use crate::metadata::command::{ConfigChange, ConfigResource as Resource};

    fn listed(asked: &[i8], version: i16) -> Result<Vec<(i8, String)>, i16> {
        let mut image = image_of(&[start_of(1, 9, true), creation_of("t", 5, 1)]);
        for resource in [
            Resource::Group("g".to_owned()),
            Resource::ClientMetrics("m".to_owned()),
            Resource::ClusterDefault,
        ] {
            let values = BTreeMap::from([("a".to_owned(), Some("1".to_owned()))]);
            alter_configs(&mut image, &ConfigChange { resource, values }).expect("nothing to miss");
        }
        let response = list(&image, asked, version);
        encode_response(74, version, 1, &response).expect("fields of the version");
        match response.error_code {
            0 => {
                let resources = response.config_resources.into_iter();
                Ok(resources
                    .map(|one| (one.resource_type, one.resource_name.to_string()))
                    .collect())
            }
            code => Err(code),
        }
    }

    #[test]
    fn the_first_version_lists_subscriptions_only() {
        assert_eq!(
            listed(&[], 0).map(|all| all.into_iter().map(|(_, name)| name).collect::<Vec<_>>()),
            Ok(vec!["m".to_owned()])
        );
    }

    #[test]
    fn all_or_what_is_asked_for_is_listed_once() {
        let text = str::to_owned;
        let all = [
            (32, text("g")),
            (16, text("m")),
            (8, text("1")),
            (4, text("1")),
            (2, text("t")),
        ];
        assert_eq!(listed(&[], 1), Ok(all.to_vec()));
        assert_eq!(listed(&[32, 2, 32], 1), Ok(vec![(32, text("g")), (2, text("t"))]));
        assert_eq!(listed(&[2, 3], 1), Err(35));
        assert_eq!(listed(&[0], 1), Err(35));
    }
}
