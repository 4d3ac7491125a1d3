//! One partition's log: a writer with one owner, readers without locks, recovery at start.
//!
//! [`open::open_log`] makes a [`writer::LogWriter`] and a [`reader::LogReader`] that share published state; nothing
//! else
//! here is entered from outside.

pub mod append;
mod checkpoint;
pub mod copy;
pub mod open;
pub mod read_plan;
pub mod reader;
pub mod recovery;
pub mod removal;
pub mod retention;
pub mod segment_offsets;
pub(crate) mod shared;
mod snapshots;
mod time_lookup;
mod truncate;
pub mod txn_index;
pub mod watermarks;
pub mod writer;

#[cfg(test)]
mod tests;
