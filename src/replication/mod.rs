//! Kafka's in-sync-replica protocol as pure state machines. One node is the smallest cluster: the same leader with an
//! in-sync set of one.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod leader;
