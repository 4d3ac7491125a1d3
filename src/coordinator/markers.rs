//! The one way in which the ends of transactions reach the partitions of this broker.
//!
//! Invariants: when [`MarkerWriter::write`] returns, the marker is in the log, or has its place in the queue of the group
//! coordinator, or will never be written: a marker that is late could end the producer's next transaction. Markers of
//! `__consumer_offsets` go through the group coordinator, which has to see them in the order of its records. Source:
//! Kafka's `KafkaApis.handleWriteTxnMarkersRequest`.

use std::pin::Pin;
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::types::PartitionIndex;

use super::GroupCoordinator;
use crate::env::Env;
use crate::metadata::publisher::MetadataPublisher;
use crate::metadata::topic_name::CONSUMER_OFFSETS;
use crate::partition::marker::Marker;
use crate::partition::registry::PartitionRegistry;
use crate::planted;

/// What became of a marker, when it is known.
pub type MarkerFuture = Pin<Box<dyn Future<Output = ErrorCode> + Send>>;

/// See the module.
#[derive(Debug)]
pub struct MarkerWriter {
    publisher: Arc<MetadataPublisher>,
    partitions: Arc<PartitionRegistry>,
    groups: Arc<GroupCoordinator>,
    env: Env,
}

impl MarkerWriter {
    /// For the partitions of this broker.
    pub fn new(
        publisher: Arc<MetadataPublisher>,
        partitions: Arc<PartitionRegistry>,
        groups: Arc<GroupCoordinator>,
        env: Env,
    ) -> Self {
        Self {
            publisher,
            partitions,
            groups,
            env,
        }
    }

    /// Ends the producer's transaction in a partition; answered when the marker is committed. UNKNOWN_TOPIC_OR_PARTITION:
    /// there is no such partition. NOT_LEADER_OR_FOLLOWER and KAFKA_STORAGE_ERROR: not here, or not now.
    pub fn write(
        &self,
        marker: Marker,
        topic: &Arc<str>,
        partition: PartitionIndex,
    ) -> impl Future<Output = ErrorCode> + Send + use<> {
        let pending = self.start(marker, topic, partition);
        async move {
            match pending {
                Ok(written) => written.await,
                Err(error) => error,
            }
        }
    }

    fn start(&self, marker: Marker, topic: &str, partition: PartitionIndex) -> Result<MarkerFuture, ErrorCode> {
        if self.publisher.current().partition(topic, partition).is_none() {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        if topic == CONSUMER_OFFSETS {
            let written = self.groups.write_marker(partition, marker);
            return Ok(Box::pin(async move { as_partition_error(written.await) }));
        }
        if planted::skips_marker() {
            return Ok(Box::pin(async { ErrorCode::None }));
        }
        let hosted = self.partitions.topic(topic).ok_or(ErrorCode::NotLeaderOrFollower)?;
        let partition = Arc::clone(hosted.hosted(partition)?);
        let append = partition
            .append_marker(&marker, self.env.now())
            .map_err(|error| error.error_code())?;
        let end_offset = append.appended.last_offset + 1;
        Ok(Box::pin(async move {
            if append.committed || partition.wait_committed(end_offset).await {
                ErrorCode::None
            } else {
                ErrorCode::NotLeaderOrFollower
            }
        }))
    }
}

/// Whoever writes markers knows partitions, not coordinators: one that is not ready is tried again.
fn as_partition_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::CoordinatorNotAvailable | ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator => {
            ErrorCode::NotLeaderOrFollower
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinator_that_is_not_ready_is_a_partition_that_is_led_elsewhere() {
        for error in [
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::NotCoordinator,
        ] {
            assert_eq!(as_partition_error(error), ErrorCode::NotLeaderOrFollower);
        }
        for error in [
            ErrorCode::None,
            ErrorCode::InvalidProducerEpoch,
            ErrorCode::KafkaStorageError,
        ] {
            assert_eq!(as_partition_error(error), error);
        }
    }
}
