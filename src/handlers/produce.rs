//! Produce (0), versions 3-13; listed from 0 so that old librdkafka compresses (KAFKA-18659), refused below 3.
//!
//! Exactly one batch of format 2 per partition. acks 0: no answer, and an error closes the connection so that the
//! client notices; 1: answered when appended; -1: when the high watermark passes the batch, REQUEST_TIMED_OUT [7] after
//! the request's timeout. With `flush.messages=1` every ack waits for the disk. Never creates topics. Versions: 5 log
//! start offset, 7 zstd, 8 record errors, 9 flexible, 13 topic ids (KIP-516).
//! Transactional batches are refused: [53] without a transactional id, else [48] ([120] from version 11 on, KIP-890),
//! since no transaction can be open.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::record::{BatchError, ValidatedBatch};
use protocol::types::{Now, Offset};
use protocol::wire::produce::{ProducePartition, ProduceRequest, ProduceTopic};

use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;
use crate::partition::append::LeaderAppend;
use crate::partition::partition::{Partition, PartitionError};
use crate::partition::registry::HostedTopic;

/// The one client that may write to internal topics, as in Kafka.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// Appends every partition's batch in the order of the request.
pub fn handle(cx: &Arc<RequestContext>, body: Bytes) -> Reply {
    let request = match ProduceRequest::read(cx.api_version, &body) {
        Ok(request) => request,
        Err(error) => {
            tracing::debug!(peer = %cx.peer, %error, "malformed Produce request");
            return Reply::Close("malformed Produce request");
        }
    };
    let mut produced = Produced { outcomes: Vec::with_capacity(request.partitions.len()), waits: Vec::new() };
    let now = cx.now();
    for (topic, partitions) in request.by_topic() {
        let hosted = find_topic(cx, topic);
        for partition in partitions {
            let outcome = append(cx, &request, hosted.as_deref().ok_or_else(|| unknown(cx)), partition, now);
            produced.add(request.acks, outcome);
        }
    }
    answer(cx, request, produced)
}

/// What became of all partitions, in the order of the request.
struct Produced {
    outcomes: Vec<Result<Placed, Refusal>>,
    /// Which outcomes still wait for the high watermark.
    waits: Vec<Wait>,
}

struct Wait {
    outcome: usize,
    partition: Arc<Partition>,
    end_offset: Offset,
}

#[derive(Clone, Copy)]
struct Placed {
    base_offset: Offset,
    log_append_time_ms: i64,
    log_start_offset: Offset,
}

struct Refusal {
    code: ErrorCode,
    message: Option<String>,
    record_errors: Vec<(i32, String)>,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, record_errors: Vec::new() }
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        let record_errors = error.record_errors().to_vec();
        Self { code: error.error_code(), message: Some(error.to_string()), record_errors }
    }
}

impl From<PartitionError> for Refusal {
    fn from(error: PartitionError) -> Self {
        if matches!(error.error_code(), ErrorCode::KafkaStorageError) {
            tracing::error!(%error, "append failed");
        }
        Self { code: error.error_code(), message: Some(error.to_string()), record_errors: Vec::new() }
    }
}

impl Produced {
    fn add(&mut self, acks: i16, outcome: Result<(Arc<Partition>, LeaderAppend), Refusal>) {
        let outcome = outcome.map(|(partition, append)| {
            let placed = Placed {
                base_offset: append.appended.base_offset,
                log_append_time_ms: append.appended.log_append_time_ms,
                log_start_offset: partition.watermarks().log_start_offset,
            };
            let waits = acks == -1 || (acks == 1 && partition.settings().acks_are_durable());
            if waits && !append.committed {
                let end_offset = append.appended.last_offset + 1;
                self.waits.push(Wait { outcome: self.outcomes.len(), partition, end_offset });
            }
            placed
        });
        self.outcomes.push(outcome);
    }
}

fn find_topic(cx: &RequestContext, topic: &ProduceTopic) -> Option<Arc<HostedTopic>> {
    let partitions = &cx.services.partitions;
    if cx.api_version >= 13 { partitions.topic_by_id(&topic.topic_id) } else { partitions.topic(&topic.name) }
}

fn unknown(cx: &RequestContext) -> ErrorCode {
    if cx.api_version >= 13 { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition }
}

fn append(
    cx: &RequestContext,
    request: &ProduceRequest,
    topic: Result<&HostedTopic, ErrorCode>,
    data: &ProducePartition,
    now: Now,
) -> Result<(Arc<Partition>, LeaderAppend), Refusal> {
    if !matches!(request.acks, -1..=1) {
        return Err(ErrorCode::InvalidRequiredAcks.into());
    }
    let topic = topic?;
    let partition = topic.hosted(data.index)?;
    if topic.internal && *cx.client_id != *ADMIN_CLIENT_ID {
        return Err(ErrorCode::InvalidTopicException.into());
    }
    let limits = partition.settings().produce_limits(now, cx.api_version >= 7);
    let batch = ValidatedBatch::for_produce(data.records.clone().unwrap_or_default(), &limits)?;
    if batch.header().attributes.is_transactional() {
        return Err(match (&request.transactional_id, cx.api_version) {
            (None, _) => ErrorCode::TransactionalIdAuthorizationFailed,
            (Some(_), ..=10) => ErrorCode::InvalidTxnState,
            (Some(_), _) => ErrorCode::TransactionAbortable,
        }
        .into());
    }
    let mut results = partition.append_as_leader(vec![batch], request.acks == -1, now)?;
    let append = results.pop().expect("one result per batch")?;
    Ok((Arc::clone(partition), append))
}

fn answer(cx: &Arc<RequestContext>, request: ProduceRequest, mut produced: Produced) -> Reply {
    if request.acks == 0 {
        let failed = produced.outcomes.iter().any(Result::is_err);
        return if failed { Reply::Close("a write with acks=0 failed") } else { Reply::Silent };
    }
    if produced.waits.is_empty() {
        return cx.reply(&response(cx.api_version, &request, produced.outcomes));
    }
    let context = Arc::clone(cx);
    cx.later(async move {
        let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        let deadline = tokio::time::Instant::now() + timeout;
        for wait in std::mem::take(&mut produced.waits) {
            let committed = tokio::time::timeout_at(deadline, wait.partition.wait_committed(wait.end_offset)).await;
            match committed {
                Ok(true) => {}
                Ok(false) => produced.outcomes[wait.outcome] = Err(ErrorCode::NotLeaderOrFollower.into()),
                Err(_elapsed) => produced.outcomes[wait.outcome] = Err(ErrorCode::RequestTimedOut.into()),
            }
        }
        response(context.api_version, &request, produced.outcomes)
    })
}

fn response(version: i16, request: &ProduceRequest, outcomes: Vec<Result<Placed, Refusal>>) -> ProduceResponse {
    let mut outcomes = outcomes.into_iter();
    let topics = request.by_topic().map(|(topic, partitions)| {
        let answers = partitions.iter().map(|partition| {
            let outcome = outcomes.next().expect("one outcome per partition");
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
    match outcome {
        Ok(placed) => {
            let log_start_offset = if version >= 5 { placed.log_start_offset } else { -1 };
            answer
                .with_base_offset(placed.base_offset)
                .with_log_append_time_ms(placed.log_append_time_ms)
                .with_log_start_offset(log_start_offset)
        }
        Err(refusal) => {
            let answer = answer.with_error_code(refusal.code.code()).with_base_offset(-1);
            if version < 8 {
                return answer;
            }
            let text = |message: String| Some(StrBytes::from_string(message));
            let record_errors = refusal.record_errors.into_iter().map(|(batch_index, message)| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(batch_index)
                    .with_batch_index_error_message(text(message))
            });
            answer.with_record_errors(record_errors.collect()).with_error_message(refusal.message.and_then(text))
        }
    }
}
