//! The transaction coordinator: which producer has a transactional id, what its transaction covers, how it ended.
//!
//! Transactional ids are spread over the partitions of `__transaction_state` by a hash; the leader of a partition
//! coordinates its ids. `machine` is the pure machine of one partition, `record` its log's format; this file is what
//! handlers call.
//!
//! Invariants: the coordinator never reads a clock; every call hands its request on before it returns, so the order of
//! calls is the order in which the shard sees the requests; a producer id is asked for only when one is needed. Source:
//! Kafka's `TransactionCoordinator`, KIP-98, KIP-360, KIP-890.

pub mod api;
pub mod config;
mod deadlines;
pub mod hard;
pub mod machine;
#[cfg(test)]
mod model;
mod query;
mod record;
pub mod start;
pub mod state;
#[cfg(test)]
mod tests;
mod transition;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use protocol::error_code::ErrorCode;
use protocol::types::{LeaderEpoch, PartitionIndex, ProducerId};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use self::api::{AddPartitionsRequest, EndRequest, InitRequest, ListFilter, ListedTransactions};
use self::api::{ProducerIdAndEpoch, Reply, Request, TransactionDescription};
use self::machine::{Effect, Event, TransactionMachine, WrittenMarkers};
use self::query::Searches;
use self::start::{ProducerIdSource, StartTransactions, WriteMarkers};
use super::partition_of;
use super::runtime::events::EventSender;
use super::runtime::{Answer, Parts, Perform, Shards};

/// Ids go into the key of a record: their length is an int16 there.
const MAX_TRANSACTIONAL_ID_BYTES: usize = i16::MAX as usize;

/// A description asked for: the id, and what is known of it.
pub type DescribedTransaction = (Arc<str>, Result<TransactionDescription, ErrorCode>);

type Pending = Result<oneshot::Receiver<Answer<Reply>>, ErrorCode>;

/// The transactional ids that this broker coordinates.
#[derive(Debug)]
pub struct TransactionCoordinator {
    shards: Arc<Shards<TransactionMachine>>,
    producer_ids: Arc<dyn ProducerIdSource>,
    num_partitions: AtomicI32,
    is_active: AtomicBool,
    searches: Searches,
}

impl TransactionCoordinator {
    /// A coordinator without partitions; they come with [`Self::on_elected`].
    pub fn start(parts: StartTransactions) -> Arc<Self> {
        let num_partitions = AtomicI32::new(parts.config.transaction_state_log_num_partitions);
        let producer_ids = Arc::clone(&parts.producer_ids);
        let perform = perform(parts.markers, parts.producer_ids, parts.runtime.clone());
        let shards = Arc::new(Shards::new(Parts {
            config: parts.config,
            limits: parts.limits,
            log: parts.log,
            clock: parts.clock,
            entropy: parts.entropy,
            runtime: parts.runtime,
            perform,
        }));
        Arc::new(Self {
            shards,
            producer_ids,
            num_partitions,
            is_active: AtomicBool::new(true),
            searches: Searches::default(),
        })
    }

    /// The partition of the topic of transaction state that the id belongs to. Tools that read the topic compute it as
    /// well.
    pub fn partition_for(&self, transactional_id: &str) -> PartitionIndex {
        partition_of(transactional_id, self.num_partitions.load(Ordering::Acquire))
    }

    /// The topic of transaction state is there, and has so many partitions, whatever the configuration says. To be called
    /// before any of them is elected.
    pub fn on_topic_made(&self, num_partitions: i32) {
        self.num_partitions.store(num_partitions, Ordering::Release);
    }

    /// This broker became leader of a partition of the topic of transaction state, under this epoch.
    pub fn on_elected(&self, partition: PartitionIndex, leader_epoch: LeaderEpoch) {
        if self.is_active.load(Ordering::Acquire) {
            self.shards.on_elected(partition, leader_epoch);
        }
    }

    /// This broker leads a partition of the topic of transaction state no longer.
    pub fn on_resigned(&self, partition: PartitionIndex) {
        self.shards.on_resigned(partition);
    }

    /// Stops: what waits is answered NOT_COORDINATOR, what comes later COORDINATOR_NOT_AVAILABLE.
    pub async fn shutdown(&self) {
        self.is_active.store(false, Ordering::Release);
        self.shards.shutdown().await;
    }

    /// InitProducerId with a transactional id: the producer id and epoch to use.
    pub fn init_producer_id(
        &self,
        request: InitRequest,
    ) -> impl Future<Output = Result<ProducerIdAndEpoch, ErrorCode>> + Send + use<> {
        let timeouts_ms = 1..=self.shards.config().transaction_max_timeout_ms;
        let is_allowed = timeouts_ms.contains(&request.transaction_timeout_ms);
        let id = Arc::clone(&request.transactional_id);
        let timeout = if is_allowed {
            Ok(())
        } else {
            Err(ErrorCode::InvalidTransactionTimeout)
        };
        let checked = check_id(&id).and(timeout);
        let asked = checked.map(|()| {
            self.ask_with_producer_id(&id, move |fresh_producer_id| {
                Request::Init(InitRequest {
                    fresh_producer_id,
                    ..request.clone()
                })
            })
        });
        async move {
            match asked?.await? {
                Reply::Init(result) => result,
                other => wrong_kind(&other),
            }
        }
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn, of partitions that exist: answered when they are part of the transaction.
    pub fn add_partitions(&self, request: AddPartitionsRequest) -> impl Future<Output = ErrorCode> + Send + use<> {
        let id = Arc::clone(&request.transactional_id);
        let pending = check_id(&id).and_then(|()| self.ask(&id, Request::AddPartitions(request)));
        async move {
            match wait(pending).await {
                Ok(Reply::AddPartitions(error)) | Err(error) => error,
                Ok(other) => wrong_kind(&other),
            }
        }
    }

    /// Whether partitions are in the open transaction of this id, producer and epoch; one code per partition, in the order
    /// asked.
    pub fn verify_partitions(
        &self,
        request: AddPartitionsRequest,
    ) -> impl Future<Output = Vec<ErrorCode>> + Send + use<> {
        let count = request.partitions.len();
        let id = Arc::clone(&request.transactional_id);
        let pending = check_id(&id).and_then(|()| self.ask(&id, Request::Verify(request)));
        async move {
            match wait(pending).await {
                Ok(Reply::Verify(errors)) => errors,
                Ok(other) => wrong_kind(&other),
                Err(error) => vec![error; count],
            }
        }
    }

    /// EndTxn: answered when the outcome is decided for good; markers follow. What the producer is to use next is told
    /// from transaction version 2 on, else it is (-1, -1).
    pub fn end_transaction(
        &self,
        request: EndRequest,
    ) -> impl Future<Output = Result<ProducerIdAndEpoch, ErrorCode>> + Send + use<> {
        let id = Arc::clone(&request.transactional_id);
        let asked = check_id(&id).map(|()| {
            self.ask_with_producer_id(&id, move |fresh_producer_id| {
                Request::End(EndRequest {
                    fresh_producer_id,
                    ..request.clone()
                })
            })
        });
        async move {
            match asked?.await? {
                Reply::End(result) => result,
                other => wrong_kind(&other),
            }
        }
    }

    /// DescribeTransactions, in the order asked; an id that is named twice is described once.
    pub fn describe(
        &self,
        mut transactional_ids: Vec<Arc<str>>,
    ) -> impl Future<Output = Vec<DescribedTransaction>> + Send + use<> {
        let mut seen = BTreeSet::new();
        transactional_ids.retain(|id| seen.insert(Arc::clone(id)));
        let mut described: BTreeMap<Arc<str>, Result<TransactionDescription, ErrorCode>> = BTreeMap::new();
        let mut by_partition: BTreeMap<PartitionIndex, Vec<Arc<str>>> = BTreeMap::new();
        for id in &transactional_ids {
            match check_id(id) {
                Ok(()) => by_partition
                    .entry(self.partition_for(id))
                    .or_default()
                    .push(Arc::clone(id)),
                Err(error) => {
                    described.insert(Arc::clone(id), Err(error));
                }
            }
        }
        let mut pending = Vec::new();
        for (partition, ids) in by_partition {
            let answer = self.ask_partition(partition, Request::Describe(ids.clone()));
            pending.push((ids, answer));
        }
        async move {
            for (ids, answer) in pending {
                match wait(answer).await {
                    Ok(Reply::Describe(answers)) => described.extend(ids.into_iter().zip(answers)),
                    Ok(other) => wrong_kind(&other),
                    Err(error) => described.extend(ids.into_iter().map(|id| (id, Err(error)))),
                }
            }
            let in_order = transactional_ids.into_iter();
            in_order.filter_map(|id| described.remove_entry(&id)).collect()
        }
    }

    /// ListTransactions: the ids of all partitions that are led here. While one of them is loading there is no list,
    /// because it would be incomplete.
    pub fn list(
        &self,
        filter: ListFilter,
    ) -> impl Future<Output = Result<ListedTransactions, ErrorCode>> + Send + use<> {
        let resolved = self.check_active().and_then(|()| query::resolve(&filter));
        let pending = resolved.and_then(|resolved| {
            let answers = self.shards.submit_to_all(&Request::List(Arc::new(resolved.query)))?;
            Ok((answers, resolved.pattern, resolved.unknown_states))
        });
        let searches = self.searches.clone();
        async move {
            let (answers, pattern, unknown_states) = pending?;
            let mut transactions = Vec::new();
            for answer in answers {
                match wait(Ok(answer)).await {
                    Ok(Reply::List(listed)) => transactions.extend(listed),
                    Ok(other) => wrong_kind(&other),
                    // The partition moved meanwhile; its new leader lists it.
                    Err(ErrorCode::NotCoordinator) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(ListedTransactions {
                unknown_states,
                transactions: searches.keep(pattern, transactions).await?,
            })
        }
    }

    fn check_active(&self) -> Result<(), ErrorCode> {
        if self.is_active.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }

    fn ask(&self, transactional_id: &str, request: Request) -> Pending {
        self.ask_partition(self.partition_for(transactional_id), request)
    }

    fn ask_partition(&self, partition: PartitionIndex, request: Request) -> Pending {
        self.check_active()?;
        self.shards.submit(partition, request)
    }

    /// Hands a request on, and once more with a fresh producer id when one is needed for it.
    fn ask_with_producer_id<R>(
        &self,
        transactional_id: &str,
        request: R,
    ) -> impl Future<Output = Result<Reply, ErrorCode>> + Send + use<R>
    where
        R: Fn(Option<ProducerId>) -> Request + Send,
    {
        let partition = self.partition_for(transactional_id);
        let pending = self.ask_partition(partition, request(None));
        let (shards, producer_ids) = (Arc::clone(&self.shards), Arc::clone(&self.producer_ids));
        async move {
            match wait(pending).await? {
                Reply::NeedsProducerId => {
                    let fresh = producer_ids.next().await?;
                    wait(shards.submit(partition, request(Some(fresh)))).await
                }
                reply => Ok(reply),
            }
        }
    }
}

/// Does what the machines ask for. Markers have their places when this returns: those of a machine whose state is loaded
/// anew must not be late.
fn perform(
    markers: Arc<dyn WriteMarkers>,
    producer_ids: Arc<dyn ProducerIdSource>,
    runtime: Handle,
) -> Perform<TransactionMachine> {
    Arc::new(move |effect, events: EventSender<TransactionMachine>| match effect {
        Effect::WriteMarkers {
            transactional_id,
            attempt,
            marker,
            partitions,
        } => {
            let write = |(topic, partition)| {
                let written = markers.write(marker, &topic, partition);
                (topic, partition, written)
            };
            let written: Vec<_> = partitions.into_iter().map(write).collect();
            runtime.spawn(async move {
                let mut results = Vec::with_capacity(written.len());
                for (topic, partition, written) in written {
                    results.push((topic, partition, written.await));
                }
                let written = WrittenMarkers {
                    transactional_id,
                    attempt,
                    results,
                };
                // A shard that has ended needs no news.
                events.send(Event::MarkersWritten(written)).await
            });
        }
        Effect::GetProducerId => {
            let producer_id = producer_ids.next();
            runtime.spawn(async move { events.send(Event::ProducerId(producer_id.await)).await });
        }
    })
}

fn check_id(transactional_id: &str) -> Result<(), ErrorCode> {
    if transactional_id.is_empty() || transactional_id.len() > MAX_TRANSACTIONAL_ID_BYTES {
        Err(ErrorCode::InvalidRequest)
    } else {
        Ok(())
    }
}

/// The answer of a shard; a shard that went away without one has resigned.
async fn wait(pending: Pending) -> Result<Reply, ErrorCode> {
    pending?.await.unwrap_or(Err(ErrorCode::NotCoordinator))
}

/// The machine answers each request with a reply of its kind.
fn wrong_kind(reply: &Reply) -> ! {
    unreachable!("a request was answered with another kind of reply: {reply:?}")
}
