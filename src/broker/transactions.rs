//! Starts the transaction coordinator, and tells it which partitions of `__transaction_state` are led here.
//!
//! Invariant: a partition is told of after its log was opened, and before clients can find its coordinator. The topic is
//! made with the first transaction, so it may come while the broker runs.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::types::BrokerId;
use tokio::runtime::Handle;

use crate::config::broker::BrokerConfig;
use crate::controller::producer_ids::ProducerIds;
use crate::coordinator::markers::MarkerWriter;
use crate::coordinator::partition_log::PartitionLog;
use crate::coordinator::transaction::TransactionCoordinator;
use crate::coordinator::transaction::start::{ProducerIdFuture, ProducerIdSource, StartTransactions};
use crate::env::Env;
use crate::metadata::image::MetadataImage;
use crate::metadata::topic_name::TRANSACTION_STATE;
use crate::partition::registry::PartitionRegistry;

/// Producer ids of the controller, for the coordinator.
#[derive(Debug)]
struct FreshProducerIds(Arc<ProducerIds>);

impl ProducerIdSource for FreshProducerIds {
    fn next(&self) -> ProducerIdFuture {
        let ids = Arc::clone(&self.0);
        Box::pin(async move {
            ids.next().await.map_err(|error| {
                tracing::warn!(%error, "no producer id");
                // What Kafka answers while it waits for a block of ids: clients ask again.
                ErrorCode::CoordinatorLoadInProgress
            })
        })
    }
}

pub(super) fn start(
    config: &BrokerConfig,
    env: &Env,
    partitions: &Arc<PartitionRegistry>,
    producer_ids: &Arc<ProducerIds>,
    markers: &Arc<MarkerWriter>,
) -> Arc<TransactionCoordinator> {
    let log = PartitionLog::new(TRANSACTION_STATE, Arc::clone(partitions), env.clone());
    TransactionCoordinator::start(StartTransactions::new(
        config,
        Arc::new(log),
        env.clone(),
        Handle::current(),
        Arc::new(FreshProducerIds(Arc::clone(producer_ids))),
        Arc::clone(markers) as _,
    ))
}

/// What changed for the coordinator from one image to the next.
pub(super) fn on_image(
    coordinator: &TransactionCoordinator,
    node_id: BrokerId,
    old: Option<&MetadataImage>,
    new: &MetadataImage,
) {
    let partitions = |image: &MetadataImage| image.topic(TRANSACTION_STATE).map(|topic| topic.partitions.clone());
    let before = old.and_then(partitions).unwrap_or_default();
    let now = partitions(new).unwrap_or_default();
    if before == now {
        return;
    }
    if let Some(count) = i32::try_from(now.len()).ok().filter(|count| *count > 0) {
        coordinator.on_topic_made(count);
    }
    for index in 0..before.len().max(now.len()) {
        let led_under = |partitions: &[crate::metadata::image::topics::PartitionImage]| {
            let partition = partitions.get(index).filter(|partition| partition.leader == node_id);
            partition.map(|partition| partition.leader_epoch)
        };
        let partition = i32::try_from(index).expect("partition counts are int32 on the wire");
        match (led_under(&before), led_under(&now)) {
            (before, Some(leader_epoch)) if before != Some(leader_epoch) => {
                coordinator.on_elected(partition, leader_epoch);
            }
            (Some(_), None) => coordinator.on_resigned(partition),
            _ => {}
        }
    }
}
