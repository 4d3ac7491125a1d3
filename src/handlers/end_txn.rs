//! EndTxn (26), versions 0-5.
//!
//! Answered when the outcome is decided for good; the markers follow, so that what comes next may see
//! CONCURRENT_TRANSACTIONS (51) for a while. Versions: 2 PRODUCER_FENCED (90), which older clients see as
//! INVALID_PRODUCER_EPOCH (47); 3 flexible; 4 TRANSACTION_ABORTABLE (120); 5 the epoch rises, and the answer tells the
//! producer id and epoch to use next (KIP-890). Source: `KafkaApis.handleEndTxnRequest`.

use std::sync::Arc;

use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse};
use protocol::error_code::ErrorCode;

use crate::coordinator::transaction::api::{EndRequest, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, ProducerIdAndEpoch};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;

/// First version of transactions version 2.
const EPOCH_BUMP_SINCE: i16 = 5;

/// Hands the request to the coordinator of the transactional id.
pub(super) fn handle(cx: &Arc<RequestContext>, request: EndTxnRequest) -> Reply {
    let version = cx.api_version;
    let ended = cx.services.transactions.end_transaction(EndRequest {
        transactional_id: Arc::from(request.transactional_id.as_str()),
        producer_id: request.producer_id.0,
        producer_epoch: request.producer_epoch,
        committed: request.committed,
        transaction_version: if version >= EPOCH_BUMP_SINCE { 2 } else { 0 },
        fresh_producer_id: None,
    });
    cx.later(async move { response(version, ended.await) })
}

/// The code of AddPartitionsToTxn, AddOffsetsToTxn and EndTxn that a version knows: clients below 2 have not heard of
/// PRODUCER_FENCED.
pub(super) fn fenced_for(version: i16, code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced if version < 2 => ErrorCode::InvalidProducerEpoch,
        code => code,
    }
}

fn response(version: i16, ended: Result<ProducerIdAndEpoch, ErrorCode>) -> EndTxnResponse {
    let (code, (producer_id, producer_epoch)) = match ended {
        Ok(next) => (ErrorCode::None, next),
        Err(code) => (fenced_for(version, code), (NO_PRODUCER_ID, NO_PRODUCER_EPOCH)),
    };
    let response = EndTxnResponse::default().with_error_code(code.code());
    if version < EPOCH_BUMP_SINCE {
        return response;
    }
    response
        .with_producer_id(producer_id.into())
        .with_producer_epoch(producer_epoch)
}

#[cfg(test)]
mod tests {
    use protocol::encode::encode_response;

    use super::*;

    #[test]
    fn every_version_tells_what_it_can() {
        for version in 0..=5 {
            let committed = response(version, Ok((7, 3)));
            let fenced = response(version, Err(ErrorCode::ProducerFenced));
            for response in [&committed, &fenced] {
                encode_response(26, version, 1, response).expect("fields of the version");
            }
            let told = |response: &EndTxnResponse| (response.producer_id.0, response.producer_epoch);
            let next = if version >= 5 { (7, 3) } else { (-1, -1) };
            assert_eq!((committed.error_code, told(&committed)), (0, next));
            let code = if version < 2 { 47 } else { 90 };
            assert_eq!((fenced.error_code, told(&fenced)), (code, (-1, -1)));
        }
    }

    #[test]
    fn only_one_code_is_told_otherwise() {
        for code in ErrorCode::ALL.iter().filter(|code| **code != ErrorCode::ProducerFenced) {
            assert_eq!((fenced_for(0, *code), fenced_for(5, *code)), (*code, *code));
        }
    }
}
