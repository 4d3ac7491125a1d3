//! Incremental fetch sessions (KIP-227): what a client has told of its partitions, so that it need not tell again, and
//! what it was told, so that only changes are answered.
//!
//! The session itself is pure; the cache keeps many within limits. Sources: Kafka 4.3's `FetchSession`, `FetchContext`,
//! `FetchManager` and `FetchSessionCacheShard`.

pub mod cache;
pub mod session;
pub mod source;
