//! Sockets: accepting, reading frames, answering in order. Knows no API but ApiVersions' fallback in the dispatcher.

pub mod connection;
pub mod limits;
pub mod listener;
pub mod memory;
pub mod outbox;
pub mod pipeline;
