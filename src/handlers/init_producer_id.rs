//! InitProducerId (22), versions 0-5.
//!
//! Versions: 2 flexible, 3 the producer's own id and epoch (used with a transactional id only). Without a transactional
//! id the answer is a fresh id with epoch 0, whatever else the request says (`TransactionCoordinator`). An empty
//! transactional id is INVALID_REQUEST (42).
//! Transactions are not served. A transactional id gets TRANSACTIONAL_ID_AUTHORIZATION_FAILED (53), the one code that
//! the Java client, librdkafka and kafka-python all take as final; others are retried without end by some of them.

use std::sync::Arc;

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use protocol::error_code::ErrorCode;

use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;

/// Answers at once while the block of ids lasts.
pub(super) fn handle(cx: &Arc<RequestContext>, request: InitProducerIdRequest) -> Reply {
    match request.transactional_id.as_deref().map(|id| id.is_empty()) {
        Some(true) => return cx.reply(&answer(Err(ErrorCode::InvalidRequest))),
        Some(false) => return cx.reply(&answer(Err(ErrorCode::TransactionalIdAuthorizationFailed))),
        None => {}
    }
    if let Some(id) = cx.services.producer_ids.try_next() {
        return cx.reply(&answer(Ok(id)));
    }
    let context = Arc::clone(cx);
    cx.later(async move {
        let next = context.services.producer_ids.next().await;
        answer(next.map_err(|error| {
            tracing::warn!(%error, "no producer id");
            // What Kafka answers while it waits for a block of ids: clients ask again.
            ErrorCode::CoordinatorLoadInProgress
        }))
    })
}

fn answer(id: Result<protocol::types::ProducerId, ErrorCode>) -> InitProducerIdResponse {
    let response = InitProducerIdResponse::default();
    match id {
        Ok(id) => response.with_producer_id(ProducerId(id)).with_producer_epoch(0),
        Err(code) => response
            .with_error_code(code.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

#[cfg(test)]
mod tests {
    use protocol::encode::encode_response;

    use super::*;

    #[test]
    fn every_version_can_be_encoded() {
        for version in 0..=5 {
            for response in [answer(Ok(7)), answer(Err(ErrorCode::InvalidRequest))] {
                encode_response(22, version, 1, &response).expect("fields of the version");
            }
        }
        let refused = answer(Err(ErrorCode::InvalidRequest));
        assert_eq!(
            (refused.error_code, refused.producer_id.0, refused.producer_epoch),
            (42, -1, -1)
        );
        let given = answer(Ok(7));
        assert_eq!((given.error_code, given.producer_id.0, given.producer_epoch), (0, 7, 0));
    }
}
