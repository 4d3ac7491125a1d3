//! The configuration: one table of all of Kafka's broker and topic configs, and what is read from it.
//!
//! Order of sources, later ones win: defaults, the properties file, `KAFKA_*` environment variables, `--override`.
//! Invariants: this module reads no clock and, but for the properties file in `load`, touches no outside; every
//! value in a `BrokerConfig` was checked.

pub mod broker;
pub mod check;
pub mod describe;
pub mod docs;
pub mod environment;
pub mod error;
pub mod key;
mod listeners;
pub mod load;
pub mod nearest;
pub mod properties;
pub mod remarks;
mod resolve;
pub mod settings;
pub mod table;
pub mod topic;
pub mod topic_table;
pub mod value;
