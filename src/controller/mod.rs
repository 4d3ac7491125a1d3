//! Changes of the metadata: what requests ask for, decided by pure code, proposed to the metadata log in batches.
//!
//! Invariants: nothing here changes an image but through [`log::MetadataLog`]; an answer is given only after the
//! change is durable and published on this node; pure files (`topics`, `partitions`, `deletion`, `features`, `configs`,
//! `placement`) do no IO and read no clock.

pub mod configs;
pub mod deletion;
pub mod features;
pub mod internal_topics;
pub mod log;
pub mod memory_log;
pub mod partitions;
pub mod placement;
pub mod producer_ids;
pub mod queue;
pub mod raft;
pub mod topics;
