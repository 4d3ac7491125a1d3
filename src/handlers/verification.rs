//! What a partition's coordinator says of a transaction before the partition takes its first records.
//!
//! Invariant: clients are told what their version of the protocol can take (KIP-890). Source: Kafka's
//! `AddPartitionsToTxnManager`, whose request from broker to broker is a call here.

use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::types::{PartitionIndex, ProducerEpoch, ProducerId};

use crate::coordinator::transaction::api::AddPartitionsRequest;
use crate::handlers::context::RequestContext;
use crate::metadata::topic_name::TRANSACTION_STATE;

/// What a client's version of Produce or TxnOffsetCommit knows of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransactionSupport {
    /// Partitions are added by requests of their own, and only the errors of old are known.
    Classic,
    /// TRANSACTION_ABORTABLE (120) is known too.
    Abortable,
    /// The request itself adds the partition, and the epoch rises with every transaction.
    AddsPartitions,
}

impl TransactionSupport {
    pub(super) fn of_produce(version: i16) -> Self {
        match version {
            ..=10 => Self::Classic,
            11 => Self::Abortable,
            _ => Self::AddsPartitions,
        }
    }

    pub(super) fn of_txn_offset_commit(version: i16) -> Self {
        match version {
            ..=3 => Self::Classic,
            4 => Self::Abortable,
            _ => Self::AddsPartitions,
        }
    }

    /// Whether the coordinator is asked to add the partition, not only whether it is there.
    pub(super) fn adds_partitions(self) -> bool {
        self == Self::AddsPartitions
    }

    /// A code of the coordinator as the client is to see it.
    fn translate(self, code: ErrorCode) -> ErrorCode {
        match code {
            ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
            ErrorCode::TransactionAbortable if self == Self::Classic => ErrorCode::InvalidTxnState,
            code => code,
        }
    }
}

/// Whose transaction, as the client says.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) transactional_id: StrBytes,
    pub(super) producer_id: ProducerId,
    pub(super) producer_epoch: ProducerEpoch,
}

/// Has the coordinator add these partitions to the client's transaction, or say whether they are in it. One code for
/// each, in order. The request is handed on when this returns.
pub(super) fn ask(
    cx: &RequestContext,
    support: TransactionSupport,
    claim: &Claim,
    partitions: Vec<(Arc<str>, PartitionIndex)>,
) -> impl Future<Output = Vec<ErrorCode>> + Send + use<> {
    let count = partitions.len();
    let transactions = &cx.services.transactions;
    let request = AddPartitionsRequest {
        transactional_id: Arc::from(claim.transactional_id.as_str()),
        producer_id: claim.producer_id,
        producer_epoch: claim.producer_epoch,
        partitions,
        transaction_version: if support.adds_partitions() { 2 } else { 0 },
    };
    let has_coordinator = cx.services.publisher.current().topic(TRANSACTION_STATE).is_some();
    let (added, verified) = match (has_coordinator, support.adds_partitions()) {
        (false, _) => (None, None),
        (true, true) => (Some(transactions.add_partitions(request)), None),
        (true, false) => (None, Some(transactions.verify_partitions(request))),
    };
    async move {
        let codes = match (added, verified) {
            (Some(added), _) => vec![added.await; count],
            (None, Some(verified)) => verified.await,
            (None, None) => vec![ErrorCode::CoordinatorNotAvailable; count],
        };
        codes.into_iter().map(|code| support.translate(code)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_says_what_the_client_knows() {
        use TransactionSupport::{Abortable, AddsPartitions, Classic};
        for (version, support) in [
            (3, Classic),
            (10, Classic),
            (11, Abortable),
            (12, AddsPartitions),
            (13, AddsPartitions),
        ] {
            assert_eq!(TransactionSupport::of_produce(version), support);
        }
        for (version, support) in [(0, Classic), (3, Classic), (4, Abortable), (5, AddsPartitions)] {
            assert_eq!(TransactionSupport::of_txn_offset_commit(version), support);
        }
    }

    #[test]
    fn what_a_client_does_not_know_is_told_in_words_of_old() {
        use TransactionSupport::{Abortable, AddsPartitions, Classic};
        for support in [Classic, Abortable, AddsPartitions] {
            let told = |code| support.translate(code);
            assert_eq!(told(ErrorCode::None), ErrorCode::None);
            assert_eq!(
                told(ErrorCode::ConcurrentTransactions),
                ErrorCode::ConcurrentTransactions
            );
            assert_eq!(told(ErrorCode::ProducerFenced), ErrorCode::InvalidProducerEpoch);
            let abortable = if support == Classic {
                ErrorCode::InvalidTxnState
            } else {
                ErrorCode::TransactionAbortable
            };
            assert_eq!(told(ErrorCode::TransactionAbortable), abortable);
        }
    }
}
