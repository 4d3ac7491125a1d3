//! Which brokers hold a partition: chosen by the broker, or checked when a client chose them. Pure.
//!
//! Source: Kafka's `ReplicationControlManager.validateManualPartitionAssignment` and `StripedReplicaPlacer` (codes and
//! what is said; the striping is our own). Invariant: placement comes from the image alone.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use protocol::error_code::ErrorCode;
use protocol::types::{BrokerId, PartitionIndex};

use super::topics::TopicFailure;
use crate::metadata::image::MetadataImage;

/// Partitions that the broker places.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Index of the first of them: those of one topic go on where the last ones ended.
    pub first_partition: usize,
    /// How many.
    pub count: usize,
    /// Replicas of each.
    pub replication_factor: usize,
}

/// Placement by the broker: round robin over active brokers, the replicas of a partition on neighbours. Partition 0
/// starts at `first_broker`.
pub fn place(
    image: &MetadataImage,
    wanted: Wanted,
    first_broker: BrokerId,
) -> Result<Vec<Vec<BrokerId>>, TopicFailure> {
    let factor = wanted.replication_factor;
    let refused = |why: String| {
        let message = format!("Unable to replicate the partition {factor} time(s): {why}");
        Err(TopicFailure::new(ErrorCode::InvalidReplicationFactor, message))
    };
    let brokers: Vec<_> = image.brokers.active().map(|broker| broker.id).collect();
    if factor == 0 {
        return refused("Invalid replication factor 0: the replication factor must be positive.".to_owned());
    }
    if brokers.is_empty() {
        return refused("All brokers are currently fenced.".to_owned());
    }
    if factor > brokers.len() {
        return refused(format!(
            "The target replication factor of {factor} cannot be reached because only {} broker(s) are registered.",
            brokers.len()
        ));
    }
    let first = brokers.iter().position(|broker| *broker == first_broker).unwrap_or(0);
    let brokers = brokers.as_slice();
    let replicas =
        |partition: usize| (0..factor).map(move |replica| brokers[(first + partition + replica) % brokers.len()]);
    let partitions = (wanted.first_partition..).take(wanted.count);
    Ok(partitions.map(|partition| replicas(partition).collect()).collect())
}

/// Checks the brokers that a client chose for one partition; `replication_factor` is that of the topic's others.
pub fn check_assignment(
    image: &MetadataImage,
    replicas: &[BrokerId],
    replication_factor: Option<usize>,
) -> Result<(), TopicFailure> {
    let invalid = |why: String| {
        let message = format!("The manual partition assignment includes {why}");
        Err(TopicFailure::new(ErrorCode::InvalidReplicaAssignment, message))
    };
    if replicas.is_empty() {
        return invalid("an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut previous = None;
    for broker in &sorted {
        if image.brokers.get(*broker).is_none() {
            return invalid(format!("broker {broker}, but no such broker is registered."));
        }
        if previous == Some(broker) {
            return invalid(format!("the broker {broker} more than once."));
        }
        previous = Some(broker);
    }
    match replication_factor {
        Some(factor) if factor != replicas.len() => invalid(format!(
            "a partition with {} replica(s), but this is not consistent with previous partitions, which have {factor} \
             replica(s).",
            replicas.len()
        )),
        _ => Ok(()),
    }
}

/// Refuses a partition that nobody could lead.
pub fn check_that_one_is_active(
    image: &MetadataImage,
    index: PartitionIndex,
    replicas: &[BrokerId],
) -> Result<(), TopicFailure> {
    if replicas.iter().any(|broker| image.is_active(*broker)) {
        return Ok(());
    }
    let message = format!("All brokers specified in the manual partition assignment for partition {index} are fenced.");
    Err(TopicFailure::new(ErrorCode::InvalidReplicaAssignment, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::apply::tests::{image_of, start_of};

    fn brokers(ids: &[BrokerId]) -> MetadataImage {
        let starts: Vec<_> = ids.iter().map(|id| start_of(*id, 7, true)).collect();
        image_of(&starts)
    }

    #[test]
    fn partitions_go_on_where_the_last_ones_ended() {
        let image = brokers(&[1, 2, 3]);
        let wanted = |first_partition, count, replication_factor| Wanted {
            first_partition,
            count,
            replication_factor,
        };
        let all = place(&image, wanted(0, 5, 2), 2).expect("three brokers");
        assert_eq!(all, [[2, 3], [3, 1], [1, 2], [2, 3], [3, 1]]);
        let later = place(&image, wanted(3, 2, 2), 2).expect("three brokers");
        assert_eq!(later, all[3..]);
        for (image, factor) in [(&image, 4), (&image, 0), (&brokers(&[]), 1)] {
            let refused = place(image, wanted(0, 1, factor), 2).expect_err("not enough brokers");
            assert_eq!(refused.code, ErrorCode::InvalidReplicationFactor);
        }
    }

    #[test]
    fn assignments_by_hand_are_checked() {
        let image = brokers(&[1, 2]);
        let cases: [(&[BrokerId], Option<usize>, Option<&str>); 8] = [
            (&[1], None, None),
            (&[2, 1], Some(2), None),
            (&[], None, Some("an empty replica list")),
            (&[1, 7], None, Some("broker 7, but no such broker")),
            (&[-1], None, Some("broker -1")),
            (&[1, 2, 1], None, Some("the broker 1 more than once")),
            (&[1], Some(2), Some("1 replica(s)")),
            (&[7, 7], Some(1), Some("broker 7, but no such broker")),
        ];
        for (replicas, factor, refused) in cases {
            match (check_assignment(&image, replicas, factor), refused) {
                (Ok(()), None) => {}
                (Err(failure), Some(text)) => {
                    assert_eq!(failure.code, ErrorCode::InvalidReplicaAssignment);
                    assert!(failure.message.contains(text), "{}", failure.message);
                }
                other => panic!("{replicas:?}: {other:?}"),
            }
        }
        assert!(check_that_one_is_active(&image, 0, &[7, 2]).is_ok());
        assert!(check_that_one_is_active(&image, 0, &[7]).is_err());
    }
}
