//! The configuration: one table of all of Kafka's broker and topic configs, and what is read from it.
//!
//! Order of sources, later ones win: defaults, the properties file, `KAFKA_*` environment variables, `--override`,
//! dynamic values of all brokers, dynamic values of this one, values of the topic (`precedence`).
//! Invariants: this module reads no clock and, but for the properties file in `load`, touches no outside; every
//! value in a `BrokerConfig` was checked.

pub mod broker;
pub mod check;
pub mod client_metrics;
pub mod describe;
pub mod docs;
pub mod dynamic;
pub mod environment;
pub mod error;
pub mod group;
pub mod group_table;
pub mod key;
mod listeners;
pub mod live;
pub mod load;
pub mod nearest;
pub mod precedence;
pub mod properties;
pub mod remarks;
mod resolve;
pub mod settings;
pub mod table;
pub mod topic;
pub mod topic_table;
pub mod value;
