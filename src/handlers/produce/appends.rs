//! The batches of one or more Produce requests on their way into their partitions.
//!
//! Invariants: each partition's batches keep their order; what goes to one partition goes with one call, unless the acks
//! differ or a batch begins a transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::record::ValidatedBatch;
use protocol::types::Now;
use storage::producer::VerificationGuard;

use super::answer::Refusal;
use crate::partition::append::{AppendOptions, LeaderAppend};
use crate::partition::partition::Partition;

/// Where the result of an append goes: which request, which of its partitions.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) request: usize,
    pub(super) outcome: usize,
}

/// Batches that go to one partition with one call.
struct PartitionAppend {
    partition: Arc<Partition>,
    all_replicas: bool,
    now: Now,
    batches: Vec<ValidatedBatch>,
    /// Of the only batch, if there is one.
    guard: Option<VerificationGuard>,
    places: Vec<Place>,
}

/// Everything to be appended, in an order that keeps the order of each partition's batches.
#[derive(Default)]
pub(super) struct Appends {
    by_partition: Vec<PartitionAppend>,
    /// Address of a partition (kept alive above) to its latest entry: a request can name very many.
    latest: BTreeMap<usize, usize>,
}

/// What became of one batch.
pub(super) type Appended = Result<(Arc<Partition>, LeaderAppend), Refusal>;

impl Appends {
    /// Adds a batch behind those of its partition.
    pub(super) fn add(
        &mut self,
        partition: Arc<Partition>,
        all_replicas: bool,
        now: Now,
        batch: ValidatedBatch,
        place: Place,
    ) {
        let address = Arc::as_ptr(&partition).addr();
        let latest = self.latest.insert(address, self.by_partition.len());
        if let Some(index) = latest
            && let append = &mut self.by_partition[index]
            && append.all_replicas == all_replicas
            && append.guard.is_none()
        {
            append.batches.push(batch);
            append.places.push(place);
            self.latest.insert(address, index);
            return;
        }
        let (batches, places) = (vec![batch], vec![place]);
        self.by_partition.push(PartitionAppend {
            partition,
            all_replicas,
            now,
            batches,
            guard: None,
            places,
        });
    }

    /// Adds a batch that begins its transaction in the partition. It is written with a call of its own.
    pub(super) fn add_first(
        &mut self,
        partition: Arc<Partition>,
        all_replicas: bool,
        now: Now,
        batch: ValidatedBatch,
        guard: VerificationGuard,
        place: Place,
    ) {
        let address = Arc::as_ptr(&partition).addr();
        self.latest.insert(address, self.by_partition.len());
        self.by_partition.push(PartitionAppend {
            partition,
            all_replicas,
            now,
            batches: vec![batch],
            guard: Some(guard),
            places: vec![place],
        });
    }

    /// Writes everything.
    pub(super) fn run(self) -> Vec<(Place, Appended)> {
        let mut outcomes = Vec::with_capacity(self.by_partition.len());
        for append in self.by_partition {
            let options = AppendOptions {
                all_replicas: append.all_replicas,
                guard: append.guard,
            };
            match append.partition.append_as_leader(append.batches, options, append.now) {
                Ok(results) => outcomes.extend(append.places.into_iter().zip(results).map(|(place, result)| {
                    let outcome = result
                        .map(|done| (Arc::clone(&append.partition), done))
                        .map_err(|error| Refusal::from(error).of(&append.partition));
                    (place, outcome)
                })),
                Err(error) => {
                    let refused = |place| (place, Err(Refusal::from(error.error_code()).of(&append.partition)));
                    outcomes.extend(append.places.into_iter().map(refused));
                }
            }
        }
        outcomes
    }
}
