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
    accepted("producer.id.expiration.check.interval.ms", Int, Some("600000"), Low, ReadOnly, Check::AtLeast(1),
        "Time between two searches for expired producer ids.").internal(),
    accepted("transaction.state.log.replication.factor", Short, Some("1"), High, ReadOnly, Check::AtLeast(1),
        "Replicas of __transaction_state; one node has one.").differs("3", "one node can hold one replica"),
    accepted("transaction.two.phase.commit.enable", Boolean, Some("false"), Low, ReadOnly, Check::Any,
        "Whether clients may take part in two-phase commits of others."),
];
