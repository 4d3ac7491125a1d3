//! Monedula, a Kafka-wire-compatible broker.
//!
//! Modules in the order of their layers; each may use only those above it (held by `tests/tidy.rs`).

pub mod planted;

pub mod env;

pub mod config;

pub mod telemetry;

pub mod metadata;

pub mod quota;

pub mod replication;

pub mod partition;

pub mod coordinator;

pub mod controller;

pub mod fetch_session;

pub mod handlers;

pub mod dispatch;

pub mod network;

pub mod broker;

pub mod cli;
