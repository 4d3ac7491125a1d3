//! Builds the hard state of a shard from its log.
//!
//! Invariants: the whole log is read, start to end, before the shard serves; whatever cannot be understood for certain
//! fails the load instead of being left out, except kinds of records that the state passes over. It blocks: run it on a thread
//! that may. Source: `CoordinatorLoaderImpl`.

use protocol::record::control::{EndTxnMarker, TransactionResult};
use protocol::record::{BatchError, BatchView, batches};

use super::log::{CoordinatorLog, CoordinatorReadError};
use super::machine::{Decoded, HardState};
use crate::coordinator::wire::RecordDecodeError;

/// Memory that the records of one compressed batch may take; far above what any coordinator writes.
const MAX_DECOMPRESSED_BYTES: usize = 64 * 1024 * 1024;

/// Why a shard could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Read(#[from] CoordinatorReadError),
    #[error("batch at offset {offset}: {source}")]
    Batch { offset: i64, source: BatchError },
    #[error("record at offset {offset}: {source}")]
    Record { offset: i64, source: RecordDecodeError },
    #[error("no batch at offset {offset}, before the end {log_end_offset} of the log")]
    Gap { offset: i64, log_end_offset: i64 },
}

/// What a log says, and how much of it there is.
#[derive(Debug, Default)]
pub(super) struct Loaded<S> {
    pub(super) hard: S,
    /// Length of the log.
    pub(super) size_bytes: u64,
    /// Whether it holds records that were not understood.
    pub(super) has_foreign_records: bool,
}

/// Replays the log of a partition, read in pieces of about `max_bytes`.
pub(super) fn load<S: HardState>(
    log: &dyn CoordinatorLog,
    partition: i32,
    max_bytes: usize,
) -> Result<Loaded<S>, LoadError> {
    let mut loaded = Loaded::<S>::default();
    let mut decode = S::decoder();
    let offsets = log.offsets(partition).ok_or(CoordinatorReadError::NotLeader)?;
    let (mut offset, log_end_offset) = (offsets.log_start_offset, offsets.log_end_offset);
    while offset < log_end_offset {
        let bytes = log.read(partition, offset, max_bytes)?;
        let start = offset;
        for batch in batches(&bytes) {
            let batch = match batch {
                Ok(batch) => batch,
                // The read may end inside a batch; the next one begins there.
                Err(BatchError::Incomplete { .. }) if offset > start => break,
                Err(source) => return Err(LoadError::Batch { offset, source }),
            };
            offset = offset.max(batch.header.next_offset());
            loaded.replay(&batch, &mut decode)?;
            loaded.size_bytes += batch.bytes().len() as u64;
        }
        if offset == start {
            return Err(LoadError::Gap { offset, log_end_offset });
        }
    }
    Ok(loaded)
}

impl<S: HardState> Loaded<S> {
    fn replay(
        &mut self,
        batch: &BatchView<'_>,
        decode: &mut impl FnMut(Option<&[u8]>, Option<&[u8]>) -> Decoded<S::Record>,
    ) -> Result<(), LoadError> {
        let header = &batch.header;
        let in_batch = |source| LoadError::Batch {
            offset: header.base_offset,
            source,
        };
        batch.verify_crc().map_err(in_batch)?;
        let attributes = header.attributes;
        if attributes.is_control() {
            if let Some(marker) = EndTxnMarker::parse(batch).map_err(in_batch)? {
                let committed = marker.result == TransactionResult::Commit;
                self.hard
                    .replay_marker(header.last_offset(), header.producer_id, committed);
            }
            return Ok(());
        }
        let transaction = attributes.is_transactional().then_some(header.producer_id);
        let records = batch.records(MAX_DECOMPRESSED_BYTES).map_err(in_batch)?;
        for record in records.iter() {
            let record = record.map_err(in_batch)?;
            let offset = header.record_offset(record.offset_delta);
            let decoded = decode(record.key, record.value);
            match decoded.map_err(|source| LoadError::Record { offset, source })? {
                Some(decoded) => self.hard.replay(offset, transaction, decoded),
                None => {
                    self.has_foreign_records = true;
                    tracing::warn!(offset, "skipping a record of an unknown type");
                }
            }
        }
        Ok(())
    }
}
