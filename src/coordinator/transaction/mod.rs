//! The transaction coordinator: which producer has a transactional id, what its transaction covers, how it ended.
//!
//! Transactional ids are spread over the partitions of `__transaction_state` by a hash; the leader of a partition
//! coordinates its ids. `state` is what the log says, this file what handlers call.
//!
//! Invariants: the coordinator never reads a clock; every call hands its request on before it returns, so the order of
//! calls is the order in which the shard sees the requests; a producer id is asked for only when one is needed. Source:
//! Kafka's `TransactionCoordinator`, KIP-98, KIP-360, KIP-890.

pub mod api;
pub mod state;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use protocol::error_code::ErrorCode;
use protocol::types::ProducerId;
use tokio::sync::oneshot;
use uuid::Uuid;

use self::api::{AddPartitionsRequest, EndRequest, InitRequest, ListFilter, ListQuery, ListedTransactions};
use self::api::{ProducerIdAndEpoch, Reply, Request, TransactionDescription};
use self::state::TransactionState;
use super::partition_of;

/// Ids go into the key of a record: their length is an int16 there.
const MAX_TRANSACTIONAL_ID_BYTES: usize = i16::MAX as usize;

/// A producer id that comes later.
pub type ProducerIdFuture = Pin<Box<dyn Future<Output = Result<ProducerId, ErrorCode>> + Send>>;

/// Where fresh producer ids come from.
pub trait ProducerIdSource: Send + Sync + std::fmt::Debug {
    /// An id that nobody has and nobody will get again; an error when there is none at the moment.
    fn next(&self) -> ProducerIdFuture;
}

/// A description asked for: the id, and what is known of it.
pub type DescribedTransaction = (Arc<str>, Result<TransactionDescription, ErrorCode>);

type Pending = Result<oneshot::Receiver<Result<Reply, ErrorCode>>, ErrorCode>;

/// The transactional ids that this broker coordinates.
#[derive(Debug)]
pub struct TransactionCoordinator {
    producer_ids: Arc<dyn ProducerIdSource>,
    transaction_max_timeout_ms: i32,
    num_partitions: AtomicI32,
    is_active: AtomicBool,
}

impl TransactionCoordinator {
    /// The partition of the topic of transaction state that the id belongs to. Tools that read the topic compute it as well.
    pub fn partition_for(&self, transactional_id: &str) -> i32 {
        partition_of(transactional_id, self.num_partitions.load(Ordering::Acquire))
    }

    /// This broker became leader of a partition of the topic of transaction state.
    pub fn on_elected(&self, _partition: i32, _leader_epoch: i32) {}

    /// This broker leads a partition of the topic of transaction state no longer.
    pub fn on_resigned(&self, _partition: i32) {}

    /// Topics (name and id) were deleted: no transaction waits for their partitions.
    pub fn on_topics_deleted(&self, _topics: &[(Arc<str>, Uuid)]) {}

    /// Stops: what waits is answered NOT_COORDINATOR, what comes later COORDINATOR_NOT_AVAILABLE.
    pub async fn shutdown(&self) {
        self.is_active.store(false, Ordering::Release);
    }

    /// InitProducerId with a transactional id: the producer id and epoch to use.
    pub fn init_producer_id(
        &self,
        request: InitRequest,
    ) -> impl Future<Output = Result<ProducerIdAndEpoch, ErrorCode>> + Send + use<> {
        let timeouts_ms = 1..=self.transaction_max_timeout_ms;
        let pending = check_id(&request.transactional_id).and_then(|()| {
            if timeouts_ms.contains(&request.transaction_timeout_ms) {
                self.ask(&Arc::clone(&request.transactional_id), Request::Init(request))
            } else {
                Err(ErrorCode::InvalidTransactionTimeout)
            }
        });
        async move {
            match wait(pending).await? {
                Reply::Init(result) => result,
                other => wrong_kind(&other),
            }
        }
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn, of partitions that exist: answered when they are part of the transaction.
    pub fn add_partitions(&self, request: AddPartitionsRequest) -> impl Future<Output = ErrorCode> + Send + use<> {
        let pending = check_id(&request.transactional_id)
            .and_then(|()| self.ask(&Arc::clone(&request.transactional_id), Request::AddPartitions(request)));
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
        let pending = check_id(&request.transactional_id)
            .and_then(|()| self.ask(&Arc::clone(&request.transactional_id), Request::Verify(request)));
        async move {
            match wait(pending).await {
                Ok(Reply::Verify(errors)) => errors,
                Ok(other) => wrong_kind(&other),
                Err(error) => vec![error; count],
            }
        }
    }

    /// EndTxn: answered when the outcome is decided for good; markers follow. What the producer is to use next is told from
    /// transaction version 2 on, else it is (-1, -1).
    pub fn end_transaction(
        &self,
        request: EndRequest,
    ) -> impl Future<Output = Result<ProducerIdAndEpoch, ErrorCode>> + Send + use<> {
        let pending = check_id(&request.transactional_id)
            .and_then(|()| self.ask(&Arc::clone(&request.transactional_id), Request::End(request)));
        async move {
            match wait(pending).await? {
                Reply::End(result) => result,
                other => wrong_kind(&other),
            }
        }
    }

    /// DescribeTransactions, in the order asked; an id that is named twice is described once.
    pub fn describe(
        &self,
        transactional_ids: Vec<Arc<str>>,
    ) -> impl Future<Output = Vec<DescribedTransaction>> + Send + use<> {
        let _by_partition: BTreeMap<i32, Vec<Arc<str>>> = BTreeMap::new();
        async move {
            let described = transactional_ids
                .into_iter()
                .map(|id| (id, Err(ErrorCode::NotCoordinator)));
            described.collect()
        }
    }

    /// ListTransactions: the ids of all partitions that are led here. While one of them is loading there is no list, because
    /// it would be incomplete.
    pub fn list(
        &self,
        filter: ListFilter,
    ) -> impl Future<Output = Result<ListedTransactions, ErrorCode>> + Send + use<> {
        let query = query_of(&filter);
        async move {
            query.map(|(_, unknown_states)| ListedTransactions {
                unknown_states,
                transactions: Vec::new(),
            })
        }
    }

    fn ask(&self, _transactional_id: &str, _request: Request) -> Pending {
        if self.is_active.load(Ordering::Acquire) {
            Err(ErrorCode::NotCoordinator)
        } else {
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }
}

fn check_id(transactional_id: &str) -> Result<(), ErrorCode> {
    if transactional_id.is_empty() || transactional_id.len() > MAX_TRANSACTIONAL_ID_BYTES {
        Err(ErrorCode::InvalidRequest)
    } else {
        Ok(())
    }
}

/// The filter with names resolved and the pattern compiled, and the names that are none.
fn query_of(filter: &ListFilter) -> Result<(ListQuery, Vec<Arc<str>>), ErrorCode> {
    let mut states = Vec::new();
    let mut unknown = Vec::new();
    for name in &filter.states {
        match TransactionState::from_name(name) {
            Some(state) => states.push(state),
            None => unknown.push(Arc::clone(name)),
        }
    }
    let mut producer_ids = filter.producer_ids.clone();
    producer_ids.sort_unstable();
    let compile = |pattern: &Arc<str>| {
        let whole = format!("^(?:{pattern})$");
        regex::Regex::new(&whole).map_err(|_| ErrorCode::InvalidRegularExpression)
    };
    let pattern = filter.id_pattern.as_ref().filter(|pattern| !pattern.is_empty());
    let query = ListQuery {
        states: (!filter.states.is_empty()).then_some(states),
        producer_ids,
        duration_ms: filter.duration_ms,
        id_pattern: pattern.map(compile).transpose()?,
    };
    Ok((query, unknown))
}

/// The answer of a shard; a shard that went away without one has resigned.
async fn wait(pending: Pending) -> Result<Reply, ErrorCode> {
    pending?.await.unwrap_or(Err(ErrorCode::NotCoordinator))
}

/// The machine answers each request with a reply of its kind.
fn wrong_kind(reply: &Reply) -> ! {
    unreachable!("a request was answered with another kind of reply: {reply:?}")
}
