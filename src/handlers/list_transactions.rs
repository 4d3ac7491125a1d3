//! ListTransactions (66), versions 0-2 (KIP-664, KIP-994, KIP-1152).
//!
//! The transactional ids that this broker coordinates, by state, producer id and, with version 1, for how long their
//! transaction has been open; 2 a regular expression for the whole id (INVALID_REGULAR_EXPRESSION (128)). While a shard
//! is loading the answer is an error, because the list would be incomplete. Names of states that are none are told back.

use std::sync::Arc;

use kafka_protocol::messages::list_transactions_response::TransactionState;
use kafka_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::coordinator::transaction::api::{ListFilter, ListedTransactions};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;

/// Asks all shards of this broker.
pub(super) fn handle(cx: &Arc<RequestContext>, request: ListTransactionsRequest) -> Reply {
    let listed = cx.services.transactions.list(filter(&request));
    cx.later(async move { response(listed.await) })
}

/// What a version lacks has its default.
fn filter(request: &ListTransactionsRequest) -> ListFilter {
    let text = |text: &StrBytes| Arc::from(text.as_str());
    ListFilter {
        states: request.state_filters.iter().map(text).collect(),
        producer_ids: request.producer_id_filters.iter().map(|id| id.0).collect(),
        duration_ms: request.duration_filter,
        id_pattern: request.transactional_id_pattern.as_ref().map(text),
    }
}

fn response(listed: Result<ListedTransactions, ErrorCode>) -> ListTransactionsResponse {
    let response = ListTransactionsResponse::default();
    let listed = match listed {
        Ok(listed) => listed,
        Err(code) => return response.with_error_code(code.code()),
    };
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let states = listed.transactions.iter().map(|listed| {
        TransactionState::default()
            .with_transactional_id(text(&listed.transactional_id).into())
            .with_producer_id(listed.producer_id.into())
            .with_transaction_state(StrBytes::from_static_str(listed.state.name()))
    });
    response
        .with_unknown_state_filters(listed.unknown_states.iter().map(|name| text(name)).collect())
        .with_transaction_states(states.collect())
}

#[cfg(test)]
mod tests {
    use protocol::encode::encode_response;

    use super::*;
    use crate::coordinator::transaction::api::ListedTransaction;
    use crate::coordinator::transaction::state::TransactionState;

    #[test]
    fn every_version_can_tell_a_list_and_an_error() {
        let listed = ListedTransactions {
            unknown_states: vec![Arc::from("Nowhere")],
            transactions: vec![ListedTransaction {
                transactional_id: Arc::from("t"),
                producer_id: 4,
                state: TransactionState::PrepareCommit,
            }],
        };
        for version in 0..=2 {
            for listed in [Ok(listed.clone()), Err(ErrorCode::CoordinatorLoadInProgress)] {
                let response = response(listed);
                encode_response(66, version, 1, &response).expect("fields of the version");
            }
        }
        let told = response(Ok(listed));
        assert_eq!(
            (
                &*told.unknown_state_filters[0],
                &*told.transaction_states[0].transaction_state
            ),
            ("Nowhere", "PrepareCommit")
        );
    }

    #[test]
    fn what_the_client_leaves_out_filters_nothing() {
        let all = filter(&ListTransactionsRequest::default());
        assert_eq!((all.duration_ms, all.id_pattern), (-1, None));
        assert!(all.states.is_empty() && all.producer_ids.is_empty());
    }
}
