//! What a Produce request is told: where its batches stand, or why not.
//!
//! Invariant: codes are always told, texts as far as there is room.

use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use protocol::error_code::ErrorCode;
use protocol::record::BatchError;
use protocol::types::Offset;
use protocol::wire::produce::ProduceRequest;

use crate::handlers::reply::message;
use crate::partition::partition::{Partition, PartitionError};

/// How many texts the answer to one request may still carry. A request can name very many partitions, and a few bytes
/// unpack to a batch of very many bad records.
#[derive(Debug)]
pub(super) struct TextBudget {
    record_errors: usize,
    messages: usize,
}

impl Default for TextBudget {
    fn default() -> Self {
        Self {
            record_errors: 1_000,
            messages: 1_000,
        }
    }
}

impl TextBudget {
    /// The refusal with the texts that there is room for; its code always stays.
    pub(super) fn spend(&mut self, mut refusal: Refusal) -> Refusal {
        refusal.record_errors.truncate(self.record_errors);
        refusal.record_errors.shrink_to_fit();
        self.record_errors -= refusal.record_errors.len();
        match self.messages.checked_sub(usize::from(refusal.message.is_some())) {
            Some(left) => self.messages = left,
            None => refusal.message = None,
        }
        refusal
    }
}

/// Where a batch stands.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    pub(super) base_offset: Offset,
    pub(super) log_append_time_ms: i64,
    pub(super) log_start_offset: Offset,
}

/// Why a batch was not taken.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) message: Option<String>,
    pub(super) record_errors: Vec<(i32, String)>,
    /// Where the log begins, -1 where that is not told. Producers before 2.5 ask it of UNKNOWN_PRODUCER_ID.
    pub(super) log_start_offset: Offset,
}

impl Refusal {
    /// Of a partition that is here: Kafka tells where its log begins, but with a few codes
    /// (`ReplicaManager.appendRecordsToLocalLog`).
    pub(super) fn of(mut self, partition: &Partition) -> Self {
        self.log_start_offset = match self.code {
            ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::CorruptMessage
            | ErrorCode::KafkaStorageError => -1,
            _ => partition.watermarks().log_start_offset,
        };
        self
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            message: None,
            record_errors: Vec::new(),
            log_start_offset: -1,
        }
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        let record_errors = error.record_errors().to_vec();
        Self {
            code: error.error_code(),
            message: Some(error.to_string()),
            record_errors,
            log_start_offset: -1,
        }
    }
}

impl From<PartitionError> for Refusal {
    fn from(error: PartitionError) -> Self {
        if matches!(error.error_code(), ErrorCode::KafkaStorageError) {
            tracing::error!(%error, "append failed");
        }
        Self {
            code: error.error_code(),
            message: Some(error.to_string()),
            record_errors: Vec::new(),
            log_start_offset: -1,
        }
    }
}

/// The answer to a request, from one outcome per partition.
///
/// # Panics
/// When an outcome is missing.
pub(super) fn response(
    version: i16,
    request: &ProduceRequest,
    outcomes: Vec<Option<Result<Placed, Refusal>>>,
) -> ProduceResponse {
    let mut outcomes = outcomes.into_iter();
    let topics = request.by_topic().map(|(topic, partitions)| {
        let answers = partitions.iter().map(|partition| {
            let outcome = outcomes.next().flatten().expect("one outcome per partition");
            partition_response(version, partition.index, outcome)
        });
        let answer = TopicProduceResponse::default().with_partition_responses(answers.collect());
        if version >= 13 {
            answer.with_topic_id(topic.topic_id)
        } else {
            answer.with_name(TopicName(topic.name.clone()))
        }
    });
    let topics = topics.collect();
    ProduceResponse::default().with_responses(topics)
}

fn partition_response(version: i16, index: i32, outcome: Result<Placed, Refusal>) -> PartitionProduceResponse {
    let answer = PartitionProduceResponse::default().with_index(index);
    let told_since_5 = |log_start_offset| if version >= 5 { log_start_offset } else { -1 };
    match outcome {
        Ok(placed) => answer
            .with_base_offset(placed.base_offset)
            .with_log_append_time_ms(placed.log_append_time_ms)
            .with_log_start_offset(told_since_5(placed.log_start_offset)),
        Err(refusal) => {
            let answer = answer
                .with_error_code(refusal.code.code())
                .with_base_offset(-1)
                .with_log_start_offset(told_since_5(refusal.log_start_offset));
            if version < 8 {
                return answer;
            }
            let record_errors = refusal.record_errors.into_iter().map(|(batch_index, why)| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(batch_index)
                    .with_batch_index_error_message(Some(message(why)))
            });
            answer
                .with_record_errors(record_errors.collect())
                .with_error_message(refusal.message.map(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::wire::produce::{ProducePartition, ProduceTopic};

    use super::*;

    fn refusal(record_errors: usize) -> Refusal {
        Refusal {
            code: ErrorCode::InvalidRecord,
            message: Some("why".to_owned()),
            record_errors: vec![(7, "which".to_owned()); record_errors],
            log_start_offset: 4,
        }
    }

    #[test]
    fn the_texts_of_one_answer_are_bounded_and_its_codes_are_not() {
        let mut texts = TextBudget::default();
        let spent: Vec<_> = (0..2_000).map(|_| texts.spend(refusal(300))).collect();
        let named: Vec<_> = spent
            .iter()
            .take(5)
            .map(|refusal| refusal.record_errors.len())
            .collect();
        assert_eq!(named, [300, 300, 300, 100, 0]);
        assert_eq!(spent.iter().filter(|refusal| refusal.message.is_some()).count(), 1_000);
        assert!(spent.iter().all(|refusal| refusal.code == ErrorCode::InvalidRecord));
    }

    #[test]
    fn every_version_can_tell_a_place_and_a_refusal() {
        let (name, topic_id) = (
            kafka_protocol::protocol::StrBytes::from_static_str("t"),
            uuid::Uuid::from_u128(3),
        );
        for version in 3..=13 {
            let partition = |index| ProducePartition { index, records: None };
            let request = ProduceRequest {
                transactional_id: None,
                acks: 1,
                timeout_ms: 0,
                topics: vec![ProduceTopic {
                    name: name.clone(),
                    topic_id,
                    partitions: 0..2,
                }],
                partitions: vec![partition(0), partition(1)],
            };
            let placed = Placed {
                base_offset: 5,
                log_append_time_ms: -1,
                log_start_offset: 2,
            };
            let mut long = refusal(2);
            long.message = Some("é".repeat(40_000));
            let response = response(version, &request, vec![Some(Ok(placed)), Some(Err(long))]);
            protocol::encode::encode_response(0, version, 1, &response).expect("fields of the version");
        }
    }
}
