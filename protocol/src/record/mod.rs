//! Record batches, format v2: the header, views over bytes, validation of what producers send, iteration, building.
//!
//! Invariants: nothing here panics on bytes from outside or allocates more than the caller's limit. A
//! [`ValidatedBatch`] is the proof that a batch was checked; the log appends nothing else. Batches are not
//! re-encoded between socket and log (only the header is corrected, and it is kept apart from the body) unless the topic
//! names a codec of its own.
//! Sources: KIP-98, Kafka's `DefaultRecordBatch`, `DefaultRecord`, `LogValidator`.

mod batch;
mod builder;
pub mod control;
mod error;
mod header;
mod iter;
mod recompress;
mod validate;
mod varint;

pub use batch::{BatchView, Batches, batches};
pub use builder::BatchBuilder;
pub use error::BatchError;
pub use header::{
    Attributes, BATCH_HEADER_BYTES, BatchHeader, LOG_OVERHEAD_BYTES, MAGIC_V2, NO_LEADER_EPOCH, NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, TimestampType,
};
pub use iter::{Record, RecordHeader, RecordHeaderIter, RecordHeaders, RecordIter, Records};
pub use recompress::Recompression;
pub use validate::{ProduceLimits, ValidatedBatch};

pub use crate::compress::Compression;

#[cfg(test)]
mod tests;
