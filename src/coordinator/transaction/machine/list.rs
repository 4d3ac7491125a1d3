//! What tools are told: DescribeTransactions and ListTransactions.
//!
//! Invariant: read only. In a Prepare state the partitions are those whose markers are outstanding, as in Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::error_code::ErrorCode;

use super::TransactionMachine;
use crate::coordinator::transaction::api::{ListQuery, ListedTransaction, TransactionDescription};
use crate::coordinator::transaction::state::Transaction;

impl TransactionMachine {
    pub(super) fn describe(&self, transactional_id: &str) -> Result<TransactionDescription, ErrorCode> {
        let logged = self.hard.get(transactional_id);
        let transaction = &logged.ok_or(ErrorCode::TransactionalIdNotFound)?.transaction;
        let partitions = match self.completions.get(transactional_id) {
            Some(completion) => &completion.outstanding,
            None => &transaction.partitions,
        };
        let topics: BTreeMap<_, _> = partitions
            .topics()
            .map(|(topic, indexes)| (Arc::clone(topic), indexes.to_vec()))
            .collect();
        Ok(TransactionDescription {
            state: transaction.state,
            transaction_timeout_ms: transaction.transaction_timeout_ms,
            transaction_start_timestamp_ms: transaction.start_timestamp_ms,
            producer_id: transaction.producer_id,
            producer_epoch: transaction.producer_epoch,
            topics,
        })
    }

    pub(super) fn list(&self, query: &ListQuery, now_ms: i64) -> Vec<ListedTransaction> {
        let fitting = self
            .hard
            .iter()
            .filter(|(_, logged)| fits(query, &logged.transaction, now_ms));
        let line = |(id, logged): (&Arc<str>, &crate::coordinator::transaction::hard::Logged)| ListedTransaction {
            transactional_id: Arc::clone(id),
            producer_id: logged.transaction.producer_id,
            state: logged.transaction.state,
        };
        fitting.map(line).collect()
    }
}

fn fits(query: &ListQuery, transaction: &Transaction, now_ms: i64) -> bool {
    // An id without a transaction began at -1 and so is listed as an old one; Kafka does the same.
    let duration_ms = now_ms.saturating_sub(transaction.start_timestamp_ms);
    (query.producer_ids.is_empty() || query.producer_ids.binary_search(&transaction.producer_id).is_ok())
        && query
            .states
            .as_ref()
            .is_none_or(|states| states.contains(&transaction.state))
        && (query.duration_ms < 0 || duration_ms > query.duration_ms)
}
