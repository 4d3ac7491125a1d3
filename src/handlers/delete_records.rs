//! DeleteRecords (21), versions 0-2.
//!
//! The log start moves while the request is handled; the answer waits until that is on the disk, so that no kill brings
//! records back which somebody was told are gone (Kafka writes it within a minute). Their files go when retention looks
//! the next time. The same partition twice: the last one counts. `timeout_ms` is for replicas on other nodes.
//! Sources: `KafkaApis.handleDeleteRecordsRequest`, `ReplicaManager.deleteRecords`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName};
use protocol::error_code::ErrorCode;
use protocol::types::{Offset, PartitionIndex};

use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;
use crate::partition::hosting::retention::MovedLogStart;
use crate::partition::partition::PartitionError;
use crate::partition::registry::{HostedTopic, PartitionRegistry};

/// What became of the partitions of each topic: the new log start, or why not.
type Outcomes = BTreeMap<TopicName, BTreeMap<PartitionIndex, Result<Offset, ErrorCode>>>;

/// In place of a low watermark.
const NO_LOW_WATERMARK: Offset = -1;

/// Moves the log starts now, answers when they are on the disk.
pub fn handle(cx: &Arc<RequestContext>, request: DeleteRecordsRequest) -> Reply {
    let mut outcomes = delete(&cx.services.partitions, request);
    let moved = moved(&outcomes);
    if moved.is_empty() {
        return cx.reply(&answer(outcomes));
    }
    let hosting = cx.services.hosting.clone();
    cx.later(async move {
        let keeping = tokio::task::spawn_blocking(move || {
            let kept = hosting.keep_log_starts(&moved);
            refuse_lost(&mut outcomes, &moved, &kept);
            outcomes
        });
        answer(keeping.await.expect("writing checkpoints does not panic"))
    })
}

fn delete(registry: &PartitionRegistry, request: DeleteRecordsRequest) -> Outcomes {
    let mut wanted: BTreeMap<TopicName, BTreeMap<PartitionIndex, Offset>> = BTreeMap::new();
    for topic in request.topics {
        let partitions = topic
            .partitions
            .iter()
            .map(|asked| (asked.partition_index, asked.offset));
        wanted.entry(topic.name).or_default().extend(partitions);
    }
    let delete_all = |(name, partitions): (TopicName, BTreeMap<PartitionIndex, Offset>)| {
        let hosted = registry.topic(&name);
        let results = partitions
            .into_iter()
            .map(|(index, offset)| (index, delete_one(hosted.as_deref(), index, offset)))
            .collect();
        (name, results)
    };
    wanted.into_iter().map(delete_all).collect()
}

fn delete_one(topic: Option<&HostedTopic>, index: PartitionIndex, offset: Offset) -> Result<Offset, ErrorCode> {
    let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = topic.hosted(index);
    if topic.internal && !matches!(partition, Err(ErrorCode::UnknownTopicOrPartition)) {
        return Err(ErrorCode::InvalidTopicException);
    }
    partition?
        .delete_records(offset)
        .map_err(|error: PartitionError| error.error_code())
}

/// The log starts that the answer will tell. One at 0 needs no checkpoint.
fn moved(outcomes: &Outcomes) -> Vec<MovedLogStart> {
    let mut moved = Vec::new();
    for (topic, partitions) in outcomes.iter().filter(|(_, partitions)| !partitions.is_empty()) {
        let topic: Arc<str> = topic.as_str().into();
        let successes = partitions
            .iter()
            .filter_map(|(index, result)| Some((*index, result.ok().filter(|offset| *offset > 0)?)));
        moved.extend(successes.map(|(index, log_start_offset)| MovedLogStart {
            topic: Arc::clone(&topic),
            index,
            log_start_offset,
        }));
    }
    moved
}

/// What could not be written is refused, although it is in force until a restart; the client may try again.
fn refuse_lost(outcomes: &mut Outcomes, moved: &[MovedLogStart], kept: &[bool]) {
    let results = outcomes.values_mut().flat_map(BTreeMap::values_mut);
    let successes = results.filter(|result| result.is_ok_and(|offset| offset > 0));
    assert_eq!(moved.len(), kept.len(), "one answer per log start");
    for (result, is_kept) in successes.zip(kept) {
        if !is_kept {
            *result = Err(ErrorCode::KafkaStorageError);
        }
    }
}

fn answer(outcomes: Outcomes) -> DeleteRecordsResponse {
    let partition = |(index, result): (PartitionIndex, Result<Offset, ErrorCode>)| {
        let answer = DeleteRecordsPartitionResult::default().with_partition_index(index);
        match result {
            Ok(log_start_offset) => answer.with_low_watermark(log_start_offset),
            Err(code) => answer.with_low_watermark(NO_LOW_WATERMARK).with_error_code(code.code()),
        }
    };
    let topic = |(name, partitions): (TopicName, BTreeMap<PartitionIndex, Result<Offset, ErrorCode>>)| {
        DeleteRecordsTopicResult::default()
            .with_name(name)
            .with_partitions(partitions.into_iter().map(partition).collect())
    };
    // a topic without partitions has no answer, as in Kafka
    let asked = outcomes.into_iter().filter(|(_, partitions)| !partitions.is_empty());
    DeleteRecordsResponse::default().with_topics(asked.map(topic).collect())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    use kafka_protocol::protocol::StrBytes;
    use protocol::encode::encode_response;

    use super::*;

    fn name(name: &'static str) -> TopicName {
        TopicName(StrBytes::from_static_str(name))
    }

    fn asked(topic: &'static str, partitions: &[(i32, i64)]) -> DeleteRecordsTopic {
        let partition = |(index, offset): &(i32, i64)| {
            DeleteRecordsPartition::default()
                .with_partition_index(*index)
                .with_offset(*offset)
        };
        DeleteRecordsTopic::default()
            .with_name(name(topic))
            .with_partitions(partitions.iter().map(partition).collect())
    }

    #[test]
    fn each_partition_is_answered_once_and_every_version_can_say_it() {
        let registry = PartitionRegistry::default();
        registry.insert(HostedTopic {
            name: "offline".into(),
            topic_id: uuid::Uuid::from_u128(1),
            internal: false,
            partitions: vec![None],
        });
        registry.insert(HostedTopic {
            name: "internal".into(),
            topic_id: uuid::Uuid::from_u128(2),
            internal: true,
            partitions: vec![None],
        });
        let topics = vec![
            asked("unknown", &[(1, 0), (0, 0), (1, 5)]),
            asked("offline", &[(0, -1), (-1, 0)]),
            asked("unknown", &[(0, 7)]),
            asked("none", &[]),
            asked("internal", &[(0, -1), (1, -1)]),
        ];
        let outcomes = delete(&registry, DeleteRecordsRequest::default().with_topics(topics));
        assert!(moved(&outcomes).is_empty());
        let answer = answer(outcomes);
        let told = |topic: &DeleteRecordsTopicResult| -> Vec<_> {
            let told = topic.partitions.iter();
            told.map(|partition| (partition.partition_index, partition.low_watermark, partition.error_code))
                .collect()
        };
        let names: Vec<_> = answer.topics.iter().map(|topic| topic.name.to_string()).collect();
        assert_eq!(names, ["internal", "offline", "unknown"]);
        assert_eq!(told(&answer.topics[0]), [(0, -1, 17), (1, -1, 3)]);
        assert_eq!(told(&answer.topics[1]), [(-1, -1, 3), (0, -1, 56)]);
        assert_eq!(told(&answer.topics[2]), [(0, -1, 3), (1, -1, 3)]);
        for version in 0..=2 {
            encode_response(21, version, 1, &answer).expect("fields of the version");
        }
    }

    #[test]
    fn what_is_not_on_the_disk_is_refused() {
        let mut outcomes = Outcomes::new();
        outcomes.insert(
            name("a"),
            BTreeMap::from([(0, Ok(0)), (1, Ok(5)), (2, Err(ErrorCode::OffsetOutOfRange))]),
        );
        outcomes.insert(name("b"), BTreeMap::from([(0, Ok(6)), (1, Ok(7))]));
        let told = moved(&outcomes);
        let offsets: Vec<_> = told
            .iter()
            .map(|moved| (&*moved.topic, moved.log_start_offset))
            .collect();
        assert_eq!(offsets, [("a", 5), ("b", 6), ("b", 7)]);
        refuse_lost(&mut outcomes, &told, &[true, false, true]);
        assert_eq!(outcomes[&name("a")][&1], Ok(5));
        assert_eq!(outcomes[&name("b")][&0], Err(ErrorCode::KafkaStorageError));
        assert_eq!(outcomes[&name("b")][&1], Ok(7));
    }
}
