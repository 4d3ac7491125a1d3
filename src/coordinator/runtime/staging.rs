//! Outcomes whose records are on their way to the log, and how they make up batches.
//!
//! Invariants: outcomes leave in the order in which they came; the records of one are in one batch unless they may be
//! split; a transactional outcome is alone in its batch. Pure.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use protocol::record::{BatchBuilder, Compression, NO_SEQUENCE, TimestampType, ValidatedBatch};

use super::log::CoordinatorAppendError;
use super::machine::{EncodedRecord, HardState, Machine, Outcome, ReplyToken, Sees, TransactionProducer};

/// Upper bound of what a batch and each of its records need besides keys and values (headers and varints).
const BATCH_OVERHEAD_BYTES: usize = 61;
const RECORD_OVERHEAD_BYTES: usize = 40;

/// An outcome, or a piece of one, whose records are not yet in the log.
#[derive(Debug)]
pub(super) struct Staged<M: Machine> {
    pub(super) key: Option<Arc<str>>,
    pub(super) records: Vec<<M::Hard as HardState>::Record>,
    /// The records as the log takes them, or why it does not.
    pub(super) encoded: Result<Vec<EncodedRecord>, CoordinatorAppendError>,
    size_bytes: usize,
    pub(super) producer: Option<TransactionProducer>,
    pub(super) replies: Vec<(ReplyToken, M::Reply)>,
    pub(super) effects: Vec<M::Effect>,
    pub(super) on_append: Option<M::OnAppend>,
}

/// How large batches may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    /// Where there is a choice.
    pub(super) preferred_bytes: usize,
    /// In any case.
    pub(super) max_bytes: usize,
}

/// The outcomes of one shard that are on their way.
#[derive(Debug)]
pub(super) struct Staging<M: Machine> {
    queue: VecDeque<Staged<M>>,
    /// Keys that have records in the queue.
    keys: BTreeSet<Arc<str>>,
    /// Whether the queue has records of no certain key.
    has_unkeyed: bool,
}

impl<M: Machine> Default for Staging<M> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            keys: BTreeSet::new(),
            has_unkeyed: false,
        }
    }
}

impl<M: Machine> Staging<M> {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether records are on their way that `sees` asks for.
    pub(super) fn holds(&self, sees: Sees<'_>) -> bool {
        match sees {
            Sees::Nothing => false,
            Sees::Key(key) => self.has_unkeyed || self.keys.contains(key),
            Sees::All => !self.queue.is_empty(),
        }
    }

    /// Queues an outcome behind what it says comes before it; a splittable one in pieces.
    pub(super) fn push(&mut self, outcome: Outcome<M>, limits: BatchLimits) {
        let Outcome {
            key,
            records,
            splittable,
            producer,
            before,
            replies,
            effects,
            on_append,
        } = outcome;
        for outcome in before {
            self.push(outcome, limits);
        }
        if !records.is_empty() {
            match &key {
                Some(key) if self.keys.contains(key) => {}
                Some(key) => drop(self.keys.insert(Arc::clone(key))),
                None => self.has_unkeyed = true,
            }
        }
        // What cannot be split has only the limit of the coordinator.
        let max_bytes = limits.max_bytes.saturating_sub(BATCH_OVERHEAD_BYTES);
        let piece_bytes = limits.preferred_bytes.saturating_sub(BATCH_OVERHEAD_BYTES);
        let mut staged = Staged::new(key.clone(), producer);
        for record in records {
            let encoded = M::Hard::encode(&record);
            let size_bytes = encoded.as_ref().map_or(0, size_of_encoded);
            if splittable && !staged.records.is_empty() && staged.size_bytes + size_bytes > piece_bytes {
                let next = Staged::new(key.clone(), producer);
                self.queue.push_back(std::mem::replace(&mut staged, next));
            }
            staged.size_bytes += size_bytes;
            staged.records.push(record);
            match (&mut staged.encoded, encoded) {
                (Ok(all), Ok(encoded)) => all.push(encoded),
                (all, Err(_)) => *all = Err(CoordinatorAppendError::TooLarge),
                (Err(_), Ok(_)) => {}
            }
            if staged.size_bytes > max_bytes {
                staged.encoded = Err(CoordinatorAppendError::TooLarge);
            }
        }
        self.queue.push_back(Staged {
            replies,
            effects,
            on_append,
            ..staged
        });
    }

    /// Takes outcomes off the queue, as many as fit into one batch; none when there are none.
    pub(super) fn next_batch(&mut self, limits: BatchLimits) -> Vec<Staged<M>> {
        let mut batch: Vec<Staged<M>> = Vec::new();
        let mut size_bytes = BATCH_OVERHEAD_BYTES;
        while let Some(staged) = self.queue.front() {
            let is_alone = batch.iter().chain([staged]).any(|staged| staged.producer.is_some());
            if !batch.is_empty() && (is_alone || size_bytes + staged.size_bytes > limits.preferred_bytes) {
                break;
            }
            size_bytes += staged.size_bytes;
            batch.extend(self.queue.pop_front());
        }
        if self.queue.is_empty() {
            self.keys.clear();
            self.has_unkeyed = false;
        }
        batch
    }

    /// Bytes of all records in the queue; `None` when one of them cannot be written.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        let sizes = self.queue.iter();
        sizes
            .map(|staged| staged.encoded.as_ref().ok().map(|_| staged.size_bytes as u64))
            .sum()
    }

    /// Gives up what is queued.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl<M: Machine> Staged<M> {
    fn new(key: Option<Arc<str>>, producer: Option<TransactionProducer>) -> Self {
        Self {
            key,
            records: Vec::new(),
            encoded: Ok(Vec::new()),
            size_bytes: 0,
            producer,
            replies: Vec::new(),
            effects: Vec::new(),
            on_append: None,
        }
    }

    /// How many of its records go into the log.
    pub(super) fn written(&self) -> usize {
        self.encoded.as_ref().map_or(0, Vec::len)
    }
}

/// The records as a batch of the log; `None` when there are none.
pub(super) fn build<M: Machine>(staged: &[Staged<M>], timestamp_ms: i64) -> Option<ValidatedBatch> {
    let mut builder = BatchBuilder::new(TimestampType::CreateTime, Compression::None);
    if let Some(producer) = staged.iter().find_map(|staged| staged.producer) {
        builder = builder
            .with_producer(producer.producer_id, producer.producer_epoch, NO_SEQUENCE)
            .transactional(true);
    }
    for encoded in staged.iter().flat_map(|staged| staged.encoded.iter().flatten()) {
        builder.append(timestamp_ms, Some(&encoded.key), encoded.value.as_deref(), &[]);
    }
    (!builder.is_empty()).then(|| builder.build())
}

fn size_of_encoded(encoded: &EncodedRecord) -> usize {
    RECORD_OVERHEAD_BYTES + encoded.key.len() + encoded.value.as_ref().map_or(0, Bytes::len)
}
