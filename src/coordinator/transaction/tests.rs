//! The coordinator as handlers see it, over a log in memory, in virtual time.

use std::sync::Mutex;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use protocol::types::Now;
use tokio::time::Instant;
use uuid::Uuid;

use super::config::TransactionConfig;
use super::start::ProducerIdFuture;
use super::state::TransactionState;
use super::*;
use crate::coordinator::markers::MarkerFuture;
use crate::coordinator::runtime::Limits;
use crate::coordinator::runtime::log::CoordinatorAppendError;
use crate::coordinator::runtime::memory_log::MemoryLog;
use crate::partition::marker::Marker;

const PARTITIONS: i32 = 4;

#[derive(Debug, Default)]
struct Ids(AtomicI64);

impl ProducerIdSource for Ids {
    fn next(&self) -> ProducerIdFuture {
        let id = self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            if id < 0 {
                Err(ErrorCode::CoordinatorLoadInProgress)
            } else {
                Ok(id)
            }
        })
    }
}

/// Partitions that note their markers, or refuse them.
#[derive(Debug, Default)]
struct Partitions {
    written: Mutex<Vec<(String, i32, Marker)>>,
    refusal: Mutex<Option<ErrorCode>>,
}

impl Partitions {
    fn refuse(&self, refusal: Option<ErrorCode>) {
        *self.refusal.lock().expect("not poisoned") = refusal;
    }

    fn written(&self) -> Vec<(String, i32, Marker)> {
        self.written.lock().expect("not poisoned").clone()
    }
}

impl WriteMarkers for Partitions {
    fn write(&self, marker: Marker, topic: &Arc<str>, partition: PartitionIndex) -> MarkerFuture {
        let refusal = *self.refusal.lock().expect("not poisoned");
        if refusal.is_none() {
            let written = (topic.to_string(), partition, marker);
            self.written.lock().expect("not poisoned").push(written);
        }
        Box::pin(async move { refusal.unwrap_or(ErrorCode::None) })
    }
}

struct Broker {
    log: Arc<MemoryLog>,
    partitions: Arc<Partitions>,
    ids: Arc<Ids>,
    coordinator: Arc<TransactionCoordinator>,
}

impl Broker {
    fn start() -> Self {
        Self::over(MemoryLog::new(PARTITIONS), Arc::default())
    }

    fn over(log: Arc<MemoryLog>, ids: Arc<Ids>) -> Self {
        let started = Instant::now();
        let clock = move || {
            let mono_ms = i64::try_from(started.elapsed().as_millis()).expect("short test");
            Now {
                mono_ms,
                wall_ms: 1_000_000 + mono_ms,
            }
        };
        let partitions = Arc::<Partitions>::default();
        let coordinator = TransactionCoordinator::start(StartTransactions {
            config: TransactionConfig::default(),
            limits: Limits::default(),
            log: Arc::<MemoryLog>::clone(&log),
            clock: Arc::new(clock),
            entropy: Arc::new(Uuid::new_v4),
            runtime: Handle::current(),
            producer_ids: Arc::<Ids>::clone(&ids),
            markers: Arc::<Partitions>::clone(&partitions),
        });
        coordinator.on_topic_made(PARTITIONS);
        for partition in 0..PARTITIONS {
            coordinator.on_elected(partition, 6);
        }
        Self {
            log,
            partitions,
            ids,
            coordinator,
        }
    }

    async fn init(&self, id: &str) -> Result<ProducerIdAndEpoch, ErrorCode> {
        self.init_for(id, 60_000).await
    }

    async fn init_for(&self, id: &str, transaction_timeout_ms: i32) -> Result<ProducerIdAndEpoch, ErrorCode> {
        let request = InitRequest {
            transactional_id: id.into(),
            transaction_timeout_ms,
            expected: None,
            fresh_producer_id: None,
        };
        self.coordinator.init_producer_id(request).await
    }

    async fn add(&self, id: &str, producer: ProducerIdAndEpoch, partitions: &[i32]) -> ErrorCode {
        self.coordinator.add_partitions(adding(id, producer, partitions)).await
    }

    async fn end(&self, id: &str, producer: ProducerIdAndEpoch, version: i16) -> Result<ProducerIdAndEpoch, ErrorCode> {
        let request = EndRequest {
            transactional_id: id.into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            committed: true,
            transaction_version: version,
            fresh_producer_id: None,
        };
        self.coordinator.end_transaction(request).await
    }

    async fn state(&self, id: &str) -> Result<TransactionState, ErrorCode> {
        let mut described = self.coordinator.describe(vec![id.into()]).await;
        let (_, described) = described.remove(0);
        described.map(|described| described.state)
    }

    /// Lets everything happen that can.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn adding(id: &str, producer: ProducerIdAndEpoch, partitions: &[i32]) -> AddPartitionsRequest {
    AddPartitionsRequest {
        transactional_id: id.into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        partitions: partitions.iter().map(|index| ("p".into(), *index)).collect(),
        transaction_version: 2,
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_from_its_begin_to_its_markers() {
    let broker = Broker::start();
    let first = broker.init("t").await.expect("first");
    assert_eq!(first, (0, 0));
    assert_eq!(broker.add("t", first, &[1, 2]).await, ErrorCode::None);
    let verified = broker.coordinator.verify_partitions(adding("t", first, &[2, 3])).await;
    assert_eq!(verified, [ErrorCode::None, ErrorCode::TransactionAbortable]);
    let next = broker.end("t", first, 2).await.expect("ended");
    assert_eq!(next, (0, 1));
    broker.settle().await;
    let written = broker.partitions.written();
    let places: Vec<_> = written
        .iter()
        .map(|(topic, partition, _)| (topic.as_str(), *partition))
        .collect();
    assert_eq!(places, [("p", 1), ("p", 2)]);
    let marker = written[0].2;
    assert_eq!(
        (marker.producer_id, marker.producer_epoch, marker.coordinator_epoch),
        (0, 1, 6)
    );
    assert!(marker.committed);
    assert_eq!(broker.state("t").await, Ok(TransactionState::CompleteCommit));
    assert_eq!(broker.end("t", first, 2).await, Ok(next), "the answer was lost");
    assert_eq!(broker.init("t").await, Ok((0, 2)));
}

#[tokio::test(start_paused = true)]
async fn markers_wait_for_the_decision_to_be_committed() {
    let broker = Broker::start();
    let producer = broker.init("t").await.expect("first");
    assert_eq!(broker.add("t", producer, &[1]).await, ErrorCode::None);
    let partition = broker.coordinator.partition_for("t");
    broker.log.hold_watermark(partition);
    let ended = tokio::spawn({
        let coordinator = Arc::clone(&broker.coordinator);
        let request = EndRequest {
            transactional_id: "t".into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            committed: true,
            transaction_version: 0,
            fresh_producer_id: None,
        };
        async move { coordinator.end_transaction(request).await }
    });
    broker.settle().await;
    assert!(broker.partitions.written().is_empty() && !ended.is_finished());
    broker.log.release_watermark(partition);
    assert_eq!(ended.await.expect("no panic"), Ok((-1, -1)));
    broker.settle().await;
    assert_eq!(broker.partitions.written().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_coordinator_owes_the_next_one_does() {
    let broker = Broker::start();
    let producer = broker.init("t").await.expect("first");
    assert_eq!(broker.add("t", producer, &[1, 2]).await, ErrorCode::None);
    broker.partitions.refuse(Some(ErrorCode::NotLeaderOrFollower));
    assert_eq!(broker.end("t", producer, 2).await, Ok((0, 1)));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(broker.state("t").await, Ok(TransactionState::PrepareCommit));
    assert_eq!(broker.init("t").await, Err(ErrorCode::ConcurrentTransactions));
    broker.coordinator.shutdown().await;
    assert_eq!(broker.init("t").await, Err(ErrorCode::CoordinatorNotAvailable));

    let next = Broker::over(Arc::clone(&broker.log), Arc::clone(&broker.ids));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(next.partitions.written().len(), 2);
    assert_eq!(next.state("t").await, Ok(TransactionState::CompleteCommit));
    assert_eq!(next.init("t").await, Ok((0, 2)));
}

#[tokio::test(start_paused = true)]
async fn a_marker_that_is_refused_comes_later() {
    let broker = Broker::start();
    let producer = broker.init("t").await.expect("first");
    assert_eq!(broker.add("t", producer, &[1]).await, ErrorCode::None);
    broker.partitions.refuse(Some(ErrorCode::KafkaStorageError));
    assert_eq!(broker.end("t", producer, 2).await, Ok((0, 1)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(broker.add("t", (0, 1), &[1]).await, ErrorCode::ConcurrentTransactions);
    broker.partitions.refuse(None);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(broker.add("t", (0, 1), &[1]).await, ErrorCode::None);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_times_out_by_itself() {
    let broker = Broker::start();
    let producer = broker.init_for("t", 5_000).await.expect("first");
    assert_eq!(broker.add("t", producer, &[1]).await, ErrorCode::None);
    tokio::time::sleep(Duration::from_millis(4_990)).await;
    assert_eq!(broker.state("t").await, Ok(TransactionState::Ongoing));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(broker.state("t").await, Ok(TransactionState::CompleteAbort));
    let (_, _, marker) = broker.partitions.written()[0];
    assert!(!marker.committed && marker.producer_epoch == 1);
}

#[tokio::test(start_paused = true)]
async fn the_log_may_be_read_anew_after_a_storage_error() {
    let broker = Broker::start();
    let producer = broker.init("t").await.expect("first");
    assert_eq!(broker.add("t", producer, &[1]).await, ErrorCode::None);
    let partition = broker.coordinator.partition_for("t");
    broker
        .log
        .fail_appends(partition, Some(CoordinatorAppendError::Storage));
    assert_eq!(broker.end("t", producer, 2).await, Err(ErrorCode::NotCoordinator));
    broker.log.fail_appends(partition, None);
    broker.settle().await;
    assert!(broker.partitions.written().is_empty(), "nothing was decided");
    assert_eq!(broker.end("t", producer, 2).await, Ok((0, 1)));
    broker.settle().await;
    assert_eq!(broker.state("t").await, Ok(TransactionState::CompleteCommit));
}

#[tokio::test(start_paused = true)]
async fn what_no_shard_can_answer_is_refused_at_once() {
    let broker = Broker::start();
    assert_eq!(broker.init("").await, Err(ErrorCode::InvalidRequest));
    assert_eq!(broker.init(&"x".repeat(40_000)).await, Err(ErrorCode::InvalidRequest));
    for timeout_ms in [0, -1, 900_001] {
        let refused = broker.init_for("t", timeout_ms).await;
        assert_eq!(refused, Err(ErrorCode::InvalidTransactionTimeout));
    }
    assert!(broker.init_for("t", 900_000).await.is_ok());
    assert_eq!(broker.add("", (1, 1), &[1]).await, ErrorCode::InvalidRequest);
    assert_eq!(broker.end("", (1, 1), 2).await, Err(ErrorCode::InvalidRequest));
    let verified = broker.coordinator.verify_partitions(adding("", (1, 1), &[1, 2])).await;
    assert_eq!(verified, [ErrorCode::InvalidRequest; 2]);
    assert_eq!(broker.state("").await, Err(ErrorCode::InvalidRequest));
    broker.coordinator.on_resigned(broker.coordinator.partition_for("t"));
    assert_eq!(broker.init("t").await, Err(ErrorCode::NotCoordinator));
    assert_eq!(broker.state("t").await, Err(ErrorCode::NotCoordinator));
}

#[tokio::test(start_paused = true)]
async fn without_producer_ids_clients_are_asked_to_come_again() {
    let broker = Broker::start();
    broker.ids.0.store(-1, Ordering::Relaxed);
    assert_eq!(broker.init("t").await, Err(ErrorCode::CoordinatorLoadInProgress));
    assert_eq!(broker.init("t").await, Ok((0, 0)));
}

#[tokio::test(start_paused = true)]
async fn ids_of_all_partitions_are_described_and_listed() {
    let broker = Broker::start();
    let ids: Vec<String> = (0..10).map(|number| format!("id-{number}")).collect();
    for id in &ids {
        broker.init(id).await.expect("first");
    }
    let asked = ["id-3", "nobody", "id-3", "id-7"].map(Arc::from).to_vec();
    let described = broker.coordinator.describe(asked).await;
    let order: Vec<_> = described
        .iter()
        .map(|(id, described)| (id.as_ref(), described.is_ok()))
        .collect();
    assert_eq!(order, [("id-3", true), ("nobody", false), ("id-7", true)]);
    let filter = ListFilter {
        states: vec!["Empty".into(), "Nothing".into()],
        producer_ids: Vec::new(),
        duration_ms: -1,
        id_pattern: Some("id-[0-4]".into()),
    };
    let listed = broker.coordinator.list(filter.clone()).await.expect("loaded");
    let mut found: Vec<_> = listed
        .transactions
        .iter()
        .map(|line| line.transactional_id.to_string())
        .collect();
    found.sort();
    assert_eq!(found, ids[..5]);
    assert_eq!(listed.unknown_states, ["Nothing".into()]);
    let id_pattern = Some("(".into());
    let refused = broker.coordinator.list(ListFilter { id_pattern, ..filter }).await;
    assert_eq!(refused, Err(ErrorCode::InvalidRegularExpression));
}
