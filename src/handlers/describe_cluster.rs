//! DescribeCluster (60), versions 0-2.
//!
//! Versions: 1 endpoint type, 2 fenced brokers. Only brokers can be described here: asking for controllers is
//! MISMATCHED_ENDPOINT_TYPE (114), for anything else UNSUPPORTED_ENDPOINT_TYPE (115) (`AuthHelper`). Without an
//! authorizer every operation is allowed.

use std::sync::Arc;

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::handlers::context::RequestContext;
use crate::handlers::metadata::{CLUSTER_OPERATIONS, Viewpoint};
use crate::handlers::reply::{Reply, message};
use crate::metadata::image::MetadataImage;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers from the image.
pub(super) fn handle(cx: &Arc<RequestContext>, request: DescribeClusterRequest) -> Reply {
    cx.reply(&answer(&Viewpoint::of(cx), &cx.services.publisher.current(), &request))
}

fn answer(view: &Viewpoint<'_>, image: &MetadataImage, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default();
    let refusal = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((
            ErrorCode::MismatchedEndpointType,
            "this endpoint belongs to a broker, not to a controller",
        )),
        _ => Some((
            ErrorCode::UnsupportedEndpointType,
            "the endpoint type is neither 1 (brokers) nor 2 (controllers)",
        )),
    };
    if let Some((code, why)) = refusal {
        return response
            .with_error_code(code.code())
            .with_error_message(Some(message(why)));
    }
    let shown = image
        .brokers
        .iter()
        .filter(|broker| !broker.fenced || request.include_fenced_brokers);
    let brokers = shown.filter_map(|broker| {
        let (host, port) = view.endpoint(broker)?;
        let mut described = DescribeClusterBroker::default()
            .with_broker_id(BrokerId(broker.id))
            .with_host(host)
            .with_port(port)
            .with_rack(broker.rack.clone().map(StrBytes::from_string));
        if view.version >= 2 {
            described.is_fenced = broker.fenced;
        }
        Some(described)
    });
    let response = response
        .with_cluster_id(StrBytes::from_string(image.cluster_id.to_string()))
        .with_controller_id(BrokerId(view.node_id))
        .with_brokers(brokers.collect());
    if request.include_cluster_authorized_operations {
        response.with_cluster_authorized_operations(CLUSTER_OPERATIONS)
    } else {
        response
    }
}

#[cfg(test)]
mod tests {
    use protocol::encode::encode_response;

    use super::*;
    use crate::metadata::apply::tests::{image_of, start_of};
    use crate::metadata::command::Command;

    fn view(version: i16) -> Viewpoint<'static> {
        let endpoint = (StrBytes::from_static_str("here"), 9092);
        Viewpoint {
            version,
            node_id: 1,
            listener: "PLAINTEXT",
            endpoint,
        }
    }

    fn image() -> MetadataImage {
        let name = Command::SetClusterId {
            cluster_id: "the-cluster".to_owned(),
            feature_level: 1,
        };
        image_of(&[name, start_of(1, 1, true)])
    }

    fn ask(endpoint_type: i8) -> DescribeClusterRequest {
        DescribeClusterRequest::default().with_endpoint_type(endpoint_type)
    }

    #[test]
    fn the_cluster_is_described_in_every_version() {
        for version in 0..=2 {
            let request = ask(BROKERS).with_include_cluster_authorized_operations(true);
            let response = answer(&view(version), &image(), &request);
            assert_eq!(
                (response.error_code, response.controller_id.0, &*response.cluster_id),
                (0, 1, "the-cluster")
            );
            assert_eq!(response.cluster_authorized_operations, 8096);
            let broker = &response.brokers[0];
            assert_eq!((broker.broker_id.0, &*broker.host, broker.port), (1, "here", 9092));
            encode_response(60, version, 1, &response).expect("fields of the version");
        }
        let unasked = answer(&view(2), &image(), &ask(BROKERS));
        assert_eq!(unasked.cluster_authorized_operations, i32::MIN);
    }

    #[test]
    fn only_brokers_can_be_described() {
        for (endpoint_type, code) in [(CONTROLLERS, 114), (0, 115), (3, 115)] {
            let response = answer(&view(1), &image(), &ask(endpoint_type));
            assert_eq!((response.error_code, response.brokers.len()), (code, 0));
            encode_response(60, 1, 1, &response).expect("fields of the version");
        }
    }
}
