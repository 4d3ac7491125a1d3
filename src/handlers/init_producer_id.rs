//! InitProducerId (22), versions 0-5.
//!
//! Without a transactional id the answer is a fresh producer id with epoch 0. With one it comes from the coordinator of
//! the id: the epoch rises, so that the producer before is fenced, and its open transaction is aborted first. "" is
//! INVALID_REQUEST (42), and so is a producer id without an epoch or the other way round.
//! Versions: 2 flexible; 3 the producer's own id and epoch (KIP-360); 4 PRODUCER_FENCED (90), which older clients see as
//! INVALID_PRODUCER_EPOCH (47); 5 TRANSACTION_ABORTABLE (120). Sources: `KafkaApis.handleInitProducerIdRequest`,
//! `TransactionCoordinator`.

use std::sync::Arc;

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use protocol::error_code::ErrorCode;

use crate::coordinator::transaction::api::{InitRequest, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, ProducerIdAndEpoch};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;

/// Answers at once without a transactional id, while the block of ids lasts.
pub(super) fn handle(cx: &Arc<RequestContext>, request: InitProducerIdRequest) -> Reply {
    let version = cx.api_version;
    let expected = match expected(&request) {
        Ok(expected) => expected,
        Err(code) => return cx.reply(&answer(version, Err(code))),
    };
    let Some(transactional_id) = &request.transactional_id else {
        return fresh(cx);
    };
    let given = cx.services.transactions.init_producer_id(InitRequest {
        transactional_id: Arc::from(transactional_id.as_str()),
        transaction_timeout_ms: request.transaction_timeout_ms,
        expected,
        fresh_producer_id: None,
    });
    cx.later(async move { answer(version, given.await) })
}

/// An id for a producer that is only idempotent.
fn fresh(cx: &Arc<RequestContext>) -> Reply {
    let version = cx.api_version;
    if let Some(id) = cx.services.producer_ids.try_next() {
        return cx.reply(&answer(version, Ok((id, 0))));
    }
    let context = Arc::clone(cx);
    cx.later(async move {
        let next = context.services.producer_ids.next().await.map_err(|error| {
            tracing::warn!(%error, "no producer id");
            // What Kafka answers while it waits for a block of ids: clients ask again.
            ErrorCode::CoordinatorLoadInProgress
        });
        answer(version, next.map(|id| (id, 0)))
    })
}

/// What the producer says it has; versions that cannot say it say nothing.
fn expected(request: &InitProducerIdRequest) -> Result<Option<ProducerIdAndEpoch>, ErrorCode> {
    match (request.producer_id.0, request.producer_epoch) {
        (NO_PRODUCER_ID, NO_PRODUCER_EPOCH) => Ok(None),
        (NO_PRODUCER_ID, _) | (_, NO_PRODUCER_EPOCH) => Err(ErrorCode::InvalidRequest),
        both => Ok(Some(both)),
    }
}

fn answer(version: i16, given: Result<ProducerIdAndEpoch, ErrorCode>) -> InitProducerIdResponse {
    let (code, (producer_id, producer_epoch)) = match given {
        Ok(given) => (ErrorCode::None, given),
        Err(ErrorCode::ProducerFenced) if version < 4 => {
            (ErrorCode::InvalidProducerEpoch, (NO_PRODUCER_ID, NO_PRODUCER_EPOCH))
        }
        Err(code) => (code, (NO_PRODUCER_ID, NO_PRODUCER_EPOCH)),
    };
    InitProducerIdResponse::default()
        .with_error_code(code.code())
        .with_producer_id(producer_id.into())
        .with_producer_epoch(producer_epoch)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ProducerId;
    use protocol::encode::encode_response;

    use super::*;

    #[test]
    fn every_version_tells_what_its_clients_know() {
        for version in 0..=5 {
            let told = |given| {
                let answer = answer(version, given);
                encode_response(22, version, 1, &answer).expect("fields of the version");
                (answer.error_code, answer.producer_id.0, answer.producer_epoch)
            };
            assert_eq!(told(Ok((7, 3))), (0, 7, 3));
            assert_eq!(told(Err(ErrorCode::InvalidRequest)), (42, -1, -1));
            let code = if version < 4 { 47 } else { 90 };
            assert_eq!(told(Err(ErrorCode::ProducerFenced)), (code, -1, -1));
        }
    }

    #[test]
    fn a_producer_has_both_id_and_epoch_or_neither() {
        let said = |producer_id, producer_epoch| {
            let request = InitProducerIdRequest::default()
                .with_producer_id(ProducerId(producer_id))
                .with_producer_epoch(producer_epoch);
            expected(&request)
        };
        assert_eq!(expected(&InitProducerIdRequest::default()), Ok(None));
        assert_eq!(said(7, 0), Ok(Some((7, 0))));
        assert_eq!(said(7, -1), Err(ErrorCode::InvalidRequest));
        assert_eq!(said(-1, 0), Err(ErrorCode::InvalidRequest));
    }
}
