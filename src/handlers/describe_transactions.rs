//! DescribeTransactions (65), version 0 (KIP-664).
//!
//! How far the transactions of these ids are, from their coordinators; an id that is named twice is described once. Codes
//! per id: INVALID_REQUEST (42) for "", TRANSACTIONAL_ID_NOT_FOUND (105), those of a coordinator that is elsewhere or
//! loading. Source: `KafkaApis.handleDescribeTransactionsRequest`.

use std::sync::Arc;

use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::coordinator::transaction::DescribedTransaction;
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;

/// Asks the coordinators.
pub(super) fn handle(cx: &Arc<RequestContext>, request: DescribeTransactionsRequest) -> Reply {
    let ids = request.transactional_ids.iter().map(|id| Arc::from(id.as_str()));
    let described = cx.services.transactions.describe(ids.collect());
    cx.later(async move { response(&described.await) })
}

fn response(described: &[DescribedTransaction]) -> DescribeTransactionsResponse {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let states = described.iter().map(|(id, described)| {
        let state = TransactionState::default().with_transactional_id(text(id).into());
        let described = match described {
            Ok(described) => described,
            Err(code) => return state.with_error_code(code.code()),
        };
        let topics = described.topics.iter().map(|(topic, partitions)| {
            TopicData::default()
                .with_topic(text(topic).into())
                .with_partitions(partitions.clone())
        });
        state
            .with_transaction_state(StrBytes::from_static_str(described.state.name()))
            .with_transaction_timeout_ms(described.transaction_timeout_ms)
            .with_transaction_start_time_ms(described.transaction_start_timestamp_ms)
            .with_producer_id(described.producer_id.into())
            .with_producer_epoch(described.producer_epoch)
            .with_topics(topics.collect())
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::encode::encode_response;
    use protocol::error_code::ErrorCode;

    use super::*;
    use crate::coordinator::transaction::api::TransactionDescription;
    use crate::coordinator::transaction::state::TransactionState;

    #[test]
    fn a_transaction_and_an_error_can_be_told() {
        let description = TransactionDescription {
            state: TransactionState::Ongoing,
            transaction_timeout_ms: 60_000,
            transaction_start_timestamp_ms: 77,
            producer_id: 5,
            producer_epoch: 2,
            topics: BTreeMap::from([(Arc::from("a"), vec![0, 3])]),
        };
        let response = response(&[
            (Arc::from("t"), Ok(description)),
            (Arc::from("u"), Err(ErrorCode::TransactionalIdNotFound)),
        ]);
        encode_response(65, 0, 1, &response).expect("fields of the version");
        let [known, unknown] = &response.transaction_states[..] else {
            panic!("two");
        };
        assert_eq!(
            (&*known.transaction_state, &*known.topics[0].partitions),
            ("Ongoing", &[0, 3][..])
        );
        assert_eq!((unknown.error_code, &**unknown.transactional_id), (105, "u"));
    }
}
