//! What can be configured about transactions, as plain values.
//!
//! Invariant: every limit of the coordinator is here, under Kafka's name where Kafka has it.

/// Values of the transaction coordinator; the defaults are Kafka 4.3's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionConfig {
    /// `transaction.state.log.num.partitions`: over how many shards the ids are spread.
    pub transaction_state_log_num_partitions: i32,
    /// `transaction.max.timeout.ms`.
    pub transaction_max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`: after this time without a transaction an id is forgotten.
    pub transactional_id_expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`: transactions are aborted when their timeout is over;
    /// where that fails it is tried again after this time.
    pub transaction_abort_timed_out_transaction_cleanup_interval_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`: how often ids that expired are looked for.
    pub transaction_remove_expired_transaction_cleanup_interval_ms: i64,
    /// Partitions of one transaction (`monedula.transaction.max.partitions`).
    pub max_partitions: usize,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        Self {
            transaction_state_log_num_partitions: 50,
            transaction_max_timeout_ms: 15 * 60 * 1_000,
            transactional_id_expiration_ms: 7 * 24 * 60 * 60 * 1_000,
            transaction_abort_timed_out_transaction_cleanup_interval_ms: 10_000,
            transaction_remove_expired_transaction_cleanup_interval_ms: 60 * 60 * 1_000,
            max_partitions: 10_000,
        }
    }
}
