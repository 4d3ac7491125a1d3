//! FindCoordinator (10), versions 0-6.
//!
//! Versions: 1 key types (group 0, transaction 1) and error messages, 3 flexible, 4 many keys, 6 share groups (2).
//! Behaviour that differs from Apache Kafka: the offsets topic exists from the first start, so COORDINATOR_NOT_AVAILABLE
//! (15) is not the usual first answer. A key that is named twice is answered once. Transactions and share groups are not served: such keys get INVALID_REQUEST (42)
//! with a message, because 15 would be retried for ever.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Reply, message};
use crate::metadata::topic_name::CONSUMER_OFFSETS;

const KEY_TYPE_GROUP: i8 = 0;

/// A coordinator, or why there is none and what to tell the user.
type Found = Result<Endpoint, (ErrorCode, &'static str)>;

/// Where a coordinator listens.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    node_id: i32,
    host: StrBytes,
    port: i32,
}

/// Answers with the leader of the key's partition of the offsets topic.
pub fn handle(cx: &Arc<RequestContext>, request: FindCoordinatorRequest) -> Reply {
    let find = |key: &StrBytes| match request.key_type {
        KEY_TYPE_GROUP => find_group_coordinator(cx, key),
        1 => Err((ErrorCode::InvalidRequest, "transactions are not served by this broker")),
        2 => Err((ErrorCode::InvalidRequest, "share groups are not served by this broker")),
        _ => Err((ErrorCode::InvalidRequest, "there is no coordinator of this type")),
    };
    let response = if cx.api_version < 4 {
        single(cx.api_version, find(&request.key))
    } else {
        let coordinators = distinct(&request.coordinator_keys).map(|key| coordinator(key.clone(), find(key)));
        FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
    };
    cx.reply(&response)
}

/// Every key once, in the order of their first mention: a key can take one byte, its answer takes a hundred.
fn distinct(keys: &[StrBytes]) -> impl Iterator<Item = &StrBytes> {
    let mut seen = BTreeSet::new();
    keys.iter().filter(move |key| seen.insert(key.as_str()))
}

fn find_group_coordinator(cx: &RequestContext, group_id: &str) -> Found {
    let services = &cx.services;
    let image = services.publisher.current();
    match image.partition(CONSUMER_OFFSETS, services.groups.partition_for(group_id)) {
        Some(partition) if partition.leader == services.node_id => {
            let (host, port) = cx.advertised_endpoint();
            Ok(Endpoint {
                node_id: services.node_id,
                host,
                port,
            })
        }
        _ => Err((
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::CoordinatorNotAvailable.message(),
        )),
    }
}

fn single(version: i16, found: Found) -> FindCoordinatorResponse {
    let response = FindCoordinatorResponse::default();
    match found {
        Ok(endpoint) => response
            .with_node_id(BrokerId(endpoint.node_id))
            .with_host(endpoint.host)
            .with_port(endpoint.port),
        Err((error, why)) => {
            let response = response
                .with_error_code(error.code())
                .with_node_id(BrokerId(-1))
                .with_port(-1);
            if version >= 1 {
                response.with_error_message(Some(message(why)))
            } else {
                response
            }
        }
    }
}

fn coordinator(key: StrBytes, found: Found) -> Coordinator {
    let coordinator = Coordinator::default().with_key(key);
    match found {
        Ok(endpoint) => coordinator
            .with_node_id(BrokerId(endpoint.node_id))
            .with_host(endpoint.host)
            .with_port(endpoint.port),
        Err((error, why)) => coordinator
            .with_error_code(error.code())
            .with_error_message(Some(message(why)))
            .with_node_id(BrokerId(-1))
            .with_port(-1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::encode::encode_response;

    #[test]
    fn a_key_is_answered_once() {
        let keys = ["b", "a", "b", "b"].map(StrBytes::from_static_str);
        let answered: Vec<_> = distinct(&keys).map(StrBytes::as_str).collect();
        assert_eq!(answered, ["b", "a"]);
    }

    #[test]
    fn all_versions_can_tell_a_coordinator_and_an_error() {
        let endpoint = Endpoint {
            node_id: 7,
            host: StrBytes::from_static_str("h"),
            port: 9092,
        };
        for found in [Ok(endpoint), Err((ErrorCode::InvalidRequest, "why"))] {
            for version in 0..=6 {
                let response = if version < 4 {
                    single(version, found.clone())
                } else {
                    let coordinators = vec![coordinator(StrBytes::from_static_str("g"), found.clone())];
                    FindCoordinatorResponse::default().with_coordinators(coordinators)
                };
                encode_response(10, version, 1, &response).expect("all fields exist in the version");
            }
        }
    }
}
