//! Transactions and producer ids: Kafka's broker configs that are known, parsed, checked and shown, but change nothing here.
//!
//! Invariant: a row moves from here to `broker.rs` in the change that makes it act.
//! Names, types and accepted values are those of Apache Kafka 4.3, held by `tests/config_golden.rs`.

use crate::config::check::Check;
use crate::config::key::Importance::{High, Low};
use crate::config::key::UpdateMode::ReadOnly;
use crate::config::key::{ConfigKey, accepted};
use crate::config::value::ConfigType::{Boolean, Int, Short};

#[rustfmt::skip] // a table: facts on one line, the sentence on the next
pub(super) const KEYS: &[ConfigKey] = &[
    accepted("add.partitions.to.txn.retry.backoff.max.ms", Int, Some("100"), High, ReadOnly, Check::AtLeast(0),
        "Longest pause between two tries of the broker to add partitions to a transaction on behalf of a client."),
    accepted("add.partitions.to.txn.retry.backoff.ms", Int, Some("20"), High, ReadOnly, Check::AtLeast(1),
        "First pause before the broker tries again to add partitions to a transaction."),
    accepted("producer.id.expiration.check.interval.ms", Int, Some("600000"), Low, ReadOnly, Check::AtLeast(1),
        "Time between two searches for expired producer ids.").internal(),
    accepted("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Some("10000"), Low, ReadOnly, Check::AtLeast(1),
        "Time between two searches for transactions that timed out."),
    accepted("transaction.max.timeout.ms", Int, Some("900000"), High, ReadOnly, Check::AtLeast(1),
        "Longest transaction timeout that a client may ask for."),
    accepted("transaction.remove.expired.transaction.cleanup.interval.ms", Int, Some("3600000"), Low, ReadOnly, Check::AtLeast(1),
        "Time between two searches for expired transactional ids."),
    accepted("transaction.state.log.load.buffer.size", Int, Some("5242880"), High, ReadOnly, Check::AtLeast(1),
        "Bytes read at a time while transactions are loaded."),
    accepted("transaction.state.log.min.isr", Int, Some("1"), High, ReadOnly, Check::AtLeast(1),
        "In-sync replicas that a write of transaction state needs; one node has one.").differs("2", "one node can hold one replica"),
    accepted("transaction.state.log.num.partitions", Int, Some("50"), High, ReadOnly, Check::AtLeast(1),
        "Partitions of __transaction_state."),
    accepted("transaction.state.log.replication.factor", Short, Some("1"), High, ReadOnly, Check::AtLeast(1),
        "Replicas of __transaction_state; one node has one.").differs("3", "one node can hold one replica"),
    accepted("transaction.state.log.segment.bytes", Int, Some("104857600"), High, ReadOnly, Check::AtLeast(1),
        "Segment size of __transaction_state."),
    accepted("transaction.two.phase.commit.enable", Boolean, Some("false"), Low, ReadOnly, Check::Any,
        "Whether clients may take part in two-phase commits of others."),
    accepted("transactional.id.expiration.ms", Int, Some("604800000"), High, ReadOnly, Check::AtLeast(1),
        "Time after which an unused transactional id is forgotten."),
];
