//! Kafka's wire protocol and record format.
//!
//! What this crate guarantees: no input from the network makes it panic, no input makes it allocate
//! more than a fixed multiple of its own length, and every decoder and encoder is told the API
//! version it works for. It does no I/O, reads no clock and knows nothing of topics, groups or
//! connections.

pub mod api;
pub mod compress;
mod cursor;
pub mod decode;
pub mod encode;
pub mod error_code;
pub mod frame;
pub mod group;
pub mod guard;
pub mod header;
pub mod record;
pub mod throttle;
pub mod types;
pub mod wire;
