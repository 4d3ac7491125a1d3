//! Partitions of the model: what a log checks of producers, transactions and markers, without the records.
//!
//! Invariant: these are the rules of Kafka's `ProducerAppendInfo` and `UnifiedLog` that decide who is heard, no more.

use std::collections::BTreeMap;

use protocol::error_code::ErrorCode;

use super::Fault;

/// One transaction of one client.
pub(super) type Tag = (usize, u8);

/// What became of the records of a tag in a partition, and whether some of them must not be committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Fate {
    pub(super) open: bool,
    pub(super) committed: bool,
    pub(super) aborted: bool,
    pub(super) forbidden: bool,
}

/// A marker as it reaches a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ModelMarker {
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) coordinator_epoch: i32,
    pub(super) committed: bool,
    pub(super) transaction_version: i16,
    /// Which transaction of the id it ends.
    pub(super) serial: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Producer {
    epoch: i16,
    coordinator_epoch: i32,
    /// The transaction that is open: which of the id it is, and whose records it has.
    open: Option<(u8, Tag)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct DataPartition {
    producers: BTreeMap<i64, Producer>,
    pub(super) fates: BTreeMap<Tag, Fate>,
}

/// A batch of a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) tag: Tag,
    /// The transaction of the id for which the coordinator confirmed it; `None`: nobody asked.
    pub(super) verified: Option<u8>,
    /// Whether a client that was replaced writes it.
    pub(super) is_fenced: bool,
}

impl DataPartition {
    /// Whether the coordinator must be asked before the producer's batch is taken.
    pub(super) fn needs_verification(&self, producer_id: i64, epoch: i16) -> Result<bool, ErrorCode> {
        match self.producers.get(&producer_id) {
            Some(producer) if epoch < producer.epoch => Err(ErrorCode::InvalidProducerEpoch),
            Some(producer) => Ok(producer.open.is_none() || producer.epoch != epoch),
            None => Ok(true),
        }
    }

    /// Takes a batch; `has_guard`: it comes with a guard that is still good.
    pub(super) fn append(&mut self, batch: Batch, has_guard: bool) -> Result<Result<(), ErrorCode>, Fault> {
        match self.needs_verification(batch.producer_id, batch.producer_epoch) {
            Err(code) => return Ok(Err(code)),
            Ok(true) if !has_guard => return Ok(Err(ErrorCode::InvalidTxnState)),
            Ok(_) => {}
        }
        let producer = self.producers.entry(batch.producer_id).or_insert(Producer {
            epoch: batch.producer_epoch,
            coordinator_epoch: -1,
            open: None,
        });
        producer.epoch = batch.producer_epoch;
        match (producer.open, batch.verified) {
            (Some((_, tag)), _) if tag != batch.tag => return Err(Fault::Mixed),
            (Some((serial, _)), Some(verified)) if serial != verified => return Err(Fault::Mixed),
            (Some(_), _) => {}
            (None, verified) => producer.open = Some((verified.unwrap_or(u8::MAX), batch.tag)),
        }
        let fate = self.fates.entry(batch.tag).or_default();
        fate.open = true;
        fate.forbidden |= batch.is_fenced;
        Ok(Ok(()))
    }

    /// Takes a marker.
    pub(super) fn end(&mut self, marker: ModelMarker) -> Result<ErrorCode, Fault> {
        let producer = self.producers.entry(marker.producer_id).or_insert(Producer {
            epoch: -1,
            coordinator_epoch: -1,
            open: None,
        });
        let is_old = if marker.transaction_version >= 2 {
            marker.producer_epoch < producer.epoch
                || (marker.producer_epoch == producer.epoch && producer.open.is_some())
        } else {
            marker.producer_epoch < producer.epoch
        };
        if is_old {
            return Ok(ErrorCode::InvalidProducerEpoch);
        }
        if marker.coordinator_epoch < producer.coordinator_epoch {
            return Ok(ErrorCode::TransactionCoordinatorFenced);
        }
        producer.epoch = marker.producer_epoch;
        producer.coordinator_epoch = marker.coordinator_epoch;
        let Some((serial, tag)) = producer.open.take() else {
            return Ok(ErrorCode::None);
        };
        let fate = self.fates.get_mut(&tag).expect("its records are there");
        fate.open = false;
        fate.committed |= marker.committed;
        fate.aborted |= !marker.committed;
        if marker.committed && fate.forbidden {
            return Err(Fault::FencedCommit);
        }
        if serial != marker.serial {
            return Err(Fault::WrongMarker);
        }
        Ok(ErrorCode::None)
    }

    pub(super) fn has_open(&self) -> bool {
        self.producers.values().any(|producer| producer.open.is_some())
    }

    /// A newer client has the id now: what this one left open must not be committed.
    pub(super) fn forbid(&mut self, client: usize) {
        for (tag, fate) in &mut self.fates {
            fate.forbidden |= tag.0 == client && fate.open;
        }
    }
}
