//! Committed offsets: the map from group, topic and partition to the next offset to read.
//!
//! Invariants: all of it is hard state; what is read here is what the log says; a commit never changes a group's
//! membership. Source: `OffsetMetadataManager`.

mod commit;
mod delete;
mod expire;
mod fetch;

#[cfg(test)]
mod tests;

pub(super) use self::delete::{all_partitions, on_topics_deleted, tombstone};
pub(super) use self::expire::expired;
pub(super) use self::fetch::fetch;
