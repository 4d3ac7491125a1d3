//! FindCoordinator (10), versions 0-6.
//!
//! Versions: 1 key types (group 0, transaction 1) and error messages, 3 flexible, 4 many keys, 6 share groups (2).
//! Behaviour that differs from Apache Kafka: the offsets topic exists from the first start, and the first one to ask for the
//! coordinator of a transaction waits until the topic of transaction state is made, so that COORDINATOR_NOT_AVAILABLE (15)
//! is not the usual first answer. A key that is named twice is answered once. Share groups are not served: such keys get
//! INVALID_REQUEST (42) with a message, because 15 would be retried for ever.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::controller::internal_topics;
use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Reply, message};
use crate::metadata::topic_name::{CONSUMER_OFFSETS, TRANSACTION_STATE};

const KEY_TYPE_GROUP: i8 = 0;
const KEY_TYPE_TRANSACTION: i8 = 1;

/// Longest wait for the topic of transaction state; clients ask again.
const CREATION_LIMIT: Duration = Duration::from_secs(5);

/// A coordinator, or why there is none and what to tell the user.
type Found = Result<Endpoint, (ErrorCode, &'static str)>;

/// Where a coordinator listens.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    node_id: i32,
    host: StrBytes,
    port: i32,
}

/// Answers with the leader of the key's partition of the topic that its state is in.
pub fn handle(cx: &Arc<RequestContext>, request: FindCoordinatorRequest) -> Reply {
    let is_made = || cx.services.publisher.current().topic(TRANSACTION_STATE).is_some();
    if request.key_type != KEY_TYPE_TRANSACTION || is_made() {
        return cx.reply(&find(cx, &request));
    }
    let context = Arc::clone(cx);
    cx.later(async move {
        make_transaction_state(&context).await;
        find(&context, &request)
    })
}

/// Makes the topic of transaction state. It may be that somebody else did meanwhile.
async fn make_transaction_state(cx: &RequestContext) {
    let config = cx.services.config.load().clone();
    let topic = internal_topics::transaction_state(
        config.transaction_state_log_num_partitions,
        1,
        config.transaction_state_log_min_isr,
        config.transaction_state_log_segment_bytes,
    );
    let creation = cx.services.controller.create_topics(vec![topic], false);
    match tokio::time::timeout(CREATION_LIMIT, creation).await {
        Ok(Ok(outcomes)) => {
            for failure in outcomes.into_iter().filter_map(|outcome| outcome.result.err()) {
                if failure.code != ErrorCode::TopicAlreadyExists {
                    let (code, why) = (failure.code.name(), failure.message);
                    tracing::warn!(code, why, "no topic for transactions");
                }
            }
        }
        Ok(Err(error)) => tracing::warn!(%error, "no topic for transactions"),
        Err(_) => tracing::warn!("no topic for transactions in time"),
    }
}

fn find(cx: &RequestContext, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    let services = &cx.services;
    let find = |key: &StrBytes| match request.key_type {
        KEY_TYPE_GROUP => led(cx, CONSUMER_OFFSETS, services.groups.partition_for(key)),
        KEY_TYPE_TRANSACTION => led(cx, TRANSACTION_STATE, services.transactions.partition_for(key)),
        2 => Err((ErrorCode::InvalidRequest, "share groups are not served by this broker")),
        _ => Err((ErrorCode::InvalidRequest, "there is no coordinator of this type")),
    };
    if cx.api_version < 4 {
        single(cx.api_version, find(&request.key))
    } else {
        let coordinators = distinct(&request.coordinator_keys).map(|key| coordinator(key.clone(), find(key)));
        FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
    }
}

/// Every key once, in the order of their first mention: a key can take one byte, its answer takes a hundred.
fn distinct(keys: &[StrBytes]) -> impl Iterator<Item = &StrBytes> {
    let mut seen = BTreeSet::new();
    keys.iter().filter(move |key| seen.insert(key.as_str()))
}

/// The leader of a partition.
fn led(cx: &RequestContext, topic: &str, partition: i32) -> Found {
    let services = &cx.services;
    match services.publisher.current().partition(topic, partition) {
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
