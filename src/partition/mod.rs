//! Partitions hosted by this broker: the log, the replication state and those who wait for it.

pub mod append;
pub mod cold_reads;
pub mod deletion;
pub mod fetch_wait;
pub mod hosting;
pub mod marker;
pub mod offsets;
#[allow(clippy::module_inception, reason = "the module's main type has the module's name")]
pub mod partition;
pub mod read;
pub mod registry;
pub mod settings;
pub mod waiters;
