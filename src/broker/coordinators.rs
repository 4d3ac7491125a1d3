//! Starts the coordinators, in the order in which they need each other: groups, the writer of markers, transactions.
//!
//! Invariant: they are told of every image that is published after they were started.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{OnImage, transactions};
use crate::config::broker::BrokerConfig;
use crate::controller::producer_ids::ProducerIds;
use crate::controller::queue::Controller;
use crate::coordinator::GroupCoordinator;
use crate::coordinator::markers::MarkerWriter;
use crate::coordinator::partition_log::PartitionLog;
use crate::coordinator::start::StartGroups;
use crate::coordinator::transaction::TransactionCoordinator;
use crate::env::Env;
use crate::metadata::publisher::MetadataPublisher;
use crate::metadata::topic_name::CONSUMER_OFFSETS;
use crate::partition::registry::PartitionRegistry;

/// What coordinates clients, and what it is made of.
pub(super) struct Coordinators {
    pub(super) groups: Arc<GroupCoordinator>,
    pub(super) producer_ids: Arc<ProducerIds>,
    pub(super) markers: Arc<MarkerWriter>,
    pub(super) transactions: Arc<TransactionCoordinator>,
}

impl Coordinators {
    /// Starts all of them; what is led here is loaded.
    pub(super) fn start(
        config: &BrokerConfig,
        env: &Env,
        partitions: &Arc<PartitionRegistry>,
        publisher: &Arc<MetadataPublisher>,
        controller: &Arc<Controller>,
        listener: &OnImage,
    ) -> Self {
        let node_id = config.resolved.node_id;
        let groups = start_groups(config, env, partitions, publisher);
        listener.groups.set(Arc::clone(&groups)).expect("set once");
        let producer_ids = Arc::new(ProducerIds::new(node_id, Arc::clone(controller)));
        let markers = Arc::new(MarkerWriter::new(
            Arc::clone(publisher),
            Arc::clone(partitions),
            Arc::clone(&groups),
            env.clone(),
        ));
        let transactions = transactions::start(config, env, partitions, &producer_ids, &markers);
        transactions::on_image(&transactions, node_id, None, &publisher.current());
        listener.transactions.set(Arc::clone(&transactions)).expect("set once");
        Self {
            groups,
            producer_ids,
            markers,
            transactions,
        }
    }
}

fn start_groups(
    config: &BrokerConfig,
    env: &Env,
    partitions: &Arc<PartitionRegistry>,
    publisher: &MetadataPublisher,
) -> Arc<GroupCoordinator> {
    let log = Arc::new(PartitionLog::new(CONSUMER_OFFSETS, Arc::clone(partitions), env.clone()));
    let image = publisher.current();
    let topic = image.topic(CONSUMER_OFFSETS).expect("made before");
    // the count that the topic was made with holds, whatever the configuration says now
    let count = i32::try_from(topic.partitions.len()).expect("partition counts are int32 on the wire");
    let groups = GroupCoordinator::start(StartGroups::new(config, count, log, env.clone(), Handle::current()));
    for (partition, state) in (0..).zip(&topic.partitions) {
        groups.on_elected(partition, state.leader_epoch);
    }
    groups
}
