//! Produce (0), versions 3-13; listed from 0 so that old librdkafka compresses (KAFKA-18659), refused below 3.
//!
//! Exactly one batch of format 2 per partition. acks 0: no answer, and an error closes the connection so that the
//! client notices; 1: answered when appended; -1: when the high watermark passes the batch, REQUEST_TIMED_OUT (7) after
//! the request's timeout. With `flush.messages=1` every ack waits for the disk. Never creates topics. Versions: 5 log
//! start offset, 7 zstd, 8 record errors, 9 flexible, 13 topic ids (KIP-516).
//! Transactional batches are refused: (53) without a transactional id, else (48) ((120) from version 11 on, KIP-890),
//! since no transaction can be open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::record::{BatchError, BatchHeader, Recompression, ValidatedBatch};
use protocol::types::{Now, Offset};
use protocol::wire::produce::{ProducePartition, ProduceRequest, ProduceTopic};

use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Reply, message};
use crate::partition::append::{AppendOptions, LeaderAppend};
use crate::partition::partition::{Partition, PartitionError};
use crate::partition::registry::HostedTopic;

/// The one client that may write to internal topics, as in Kafka.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// Appends the batches of consecutive requests of one connection in their order. Batches for the same partition are
/// written with one call, which is what makes pipelined small batches cheap. One reply per request, in order, up to the
/// first request that cannot be read: it closes the connection, and what stands behind it is not looked at.
pub fn handle_all(requests: Vec<(Arc<RequestContext>, Bytes)>) -> Vec<Reply> {
    let mut appends = Appends::default();
    let mut prepared = Vec::with_capacity(requests.len());
    for (index, (cx, body)) in requests.into_iter().enumerate() {
        match ProduceRequest::read(cx.api_version, &body) {
            Ok(request) => prepared.push(Ok(Prepared::new(cx, request, index, &mut appends))),
            Err(error) => {
                tracing::debug!(peer = %cx.peer, %error, "malformed Produce request");
                prepared.push(Err(Reply::Close("malformed Produce request")));
                break;
            }
        }
    }
    for (place, appended) in appends.run() {
        if let Ok(prepared) = &mut prepared[place.request] {
            prepared.on_appended(place.outcome, appended);
        }
    }
    prepared
        .into_iter()
        .map(|prepared| prepared.map_or_else(|reply| reply, Prepared::reply))
        .collect()
}

/// Where the result of an append goes: which request, which of its partitions.
#[derive(Clone, Copy)]
struct Place {
    request: usize,
    outcome: usize,
}

/// Batches that go to one partition with one call.
struct PartitionAppend {
    partition: Arc<Partition>,
    all_replicas: bool,
    now: Now,
    batches: Vec<ValidatedBatch>,
    places: Vec<Place>,
}

/// Everything to be appended, in an order that keeps the order of each partition's batches.
#[derive(Default)]
struct Appends {
    by_partition: Vec<PartitionAppend>,
    /// Address of a partition (kept alive above) to its latest entry: a request can name very many.
    latest: BTreeMap<usize, usize>,
}

type Appended = Result<(Arc<Partition>, LeaderAppend), Refusal>;

impl Appends {
    fn add(&mut self, partition: Arc<Partition>, all_replicas: bool, now: Now, batch: ValidatedBatch, place: Place) {
        let address = Arc::as_ptr(&partition).addr();
        let latest = self.latest.insert(address, self.by_partition.len());
        if let Some(index) = latest
            && let append = &mut self.by_partition[index]
            && append.all_replicas == all_replicas
        {
            append.batches.push(batch);
            append.places.push(place);
            self.latest.insert(address, index);
            return;
        }
        let (batches, places) = (vec![batch], vec![place]);
        self.by_partition.push(PartitionAppend {
            partition,
            all_replicas,
            now,
            batches,
            places,
        });
    }

    fn run(self) -> Vec<(Place, Appended)> {
        let mut outcomes = Vec::with_capacity(self.by_partition.len());
        for append in self.by_partition {
            let options = AppendOptions {
                all_replicas: append.all_replicas,
                guard: None,
            };
            match append.partition.append_as_leader(append.batches, options, append.now) {
                Ok(results) => outcomes.extend(append.places.into_iter().zip(results).map(|(place, result)| {
                    let outcome = result
                        .map(|done| (Arc::clone(&append.partition), done))
                        .map_err(Refusal::from);
                    (place, outcome)
                })),
                Err(error) => {
                    let refused = |place| (place, Err(Refusal::from(error.error_code())));
                    outcomes.extend(append.places.into_iter().map(refused));
                }
            }
        }
        outcomes
    }
}

/// How many times its own size a request may be unpacked to.
const MAX_UNPACKED_RATIO: usize = 64;

/// What every request may be unpacked to, however small it is.
const MIN_UNPACKED_BYTES: usize = 16 << 20;

/// A request whose batches were checked.
struct Prepared {
    cx: Arc<RequestContext>,
    request: ProduceRequest,
    /// One per partition in the order of the request; `None` until its append is done.
    outcomes: Vec<Option<Result<Placed, Refusal>>>,
    texts: TextBudget,
    waits: Vec<Wait>,
}

/// A partition whose high watermark has to pass the batch before it is acknowledged.
struct Wait {
    outcome: usize,
    partition: Arc<Partition>,
    end_offset: Offset,
}

impl Prepared {
    fn new(cx: Arc<RequestContext>, request: ProduceRequest, index: usize, appends: &mut Appends) -> Self {
        let mut outcomes = Vec::with_capacity(request.partitions.len());
        let mut texts = TextBudget::default();
        let now = cx.now();
        let mut unpacked_bytes_left = max_unpacked_bytes(&request);
        for (topic, partitions) in request.by_topic() {
            let hosted = find_topic(&cx, topic);
            for data in partitions {
                let place = Place {
                    request: index,
                    outcome: outcomes.len(),
                };
                let topic = hosted.as_deref().ok_or_else(|| unknown(&cx));
                outcomes.push(match check(&cx, &request, topic, data, now, &mut unpacked_bytes_left) {
                    Ok((partition, batch)) => {
                        appends.add(partition, request.acks == -1, now, batch, place);
                        None
                    }
                    Err(refusal) => Some(Err(texts.spend(refusal))),
                });
            }
        }
        Self {
            cx,
            request,
            outcomes,
            texts,
            waits: Vec::new(),
        }
    }

    fn on_appended(&mut self, outcome: usize, appended: Appended) {
        self.outcomes[outcome] = Some(match appended {
            Ok((partition, append)) => Ok(self.place(outcome, partition, append)),
            Err(refusal) => Err(self.texts.spend(refusal)),
        });
    }

    fn place(&mut self, outcome: usize, partition: Arc<Partition>, append: LeaderAppend) -> Placed {
        let placed = Placed {
            base_offset: append.appended.base_offset,
            log_append_time_ms: append.appended.log_append_time_ms,
            log_start_offset: partition.watermarks().log_start_offset,
        };
        let acks = self.request.acks;
        let waits = acks == -1 || (acks == 1 && partition.settings().acks_are_durable());
        if waits && !append.committed {
            self.waits.push(Wait {
                outcome,
                partition,
                end_offset: append.appended.last_offset + 1,
            });
        }
        placed
    }

    fn reply(self) -> Reply {
        let throttle_time_ms = self.cx.charge_produce();
        if self.request.acks == 0 {
            let failed = self.outcomes.iter().flatten().any(Result::is_err);
            return if failed {
                Reply::Close("a write with acks=0 failed")
            } else {
                Reply::Silent
            };
        }
        if self.waits.is_empty() {
            let response = response(self.cx.api_version, &self.request, self.outcomes);
            return self.cx.reply(&response.with_throttle_time_ms(throttle_time_ms));
        }
        self.reply_later(throttle_time_ms)
    }

    /// Waits without the frame that the request came in: nothing of it is kept but copies of the names.
    fn reply_later(self, throttle_time_ms: i32) -> Reply {
        let Self {
            request: whole,
            mut outcomes,
            waits,
            ..
        } = self;
        let cx = Arc::new(self.cx.without_frame());
        let version = cx.api_version;
        let request = without_frame(whole);
        cx.later(async move {
            let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
            let deadline = tokio::time::Instant::now() + timeout;
            for wait in waits {
                let committed = tokio::time::timeout_at(deadline, wait.partition.wait_committed(wait.end_offset)).await;
                let code = match committed {
                    Ok(true) => continue,
                    Ok(false) => ErrorCode::NotLeaderOrFollower,
                    Err(_elapsed) => ErrorCode::RequestTimedOut,
                };
                outcomes[wait.outcome] = Some(Err(code.into()));
            }
            response(version, &request, outcomes).with_throttle_time_ms(throttle_time_ms)
        })
    }
}

/// What the answer needs of a request, as copies.
fn without_frame(request: ProduceRequest) -> ProduceRequest {
    let topics = request.topics.into_iter().map(|topic| ProduceTopic {
        name: StrBytes::from_string(topic.name.to_string()),
        ..topic
    });
    let partitions = request.partitions.into_iter().map(|partition| ProducePartition {
        index: partition.index,
        records: None,
    });
    ProduceRequest {
        transactional_id: None,
        topics: topics.collect(),
        partitions: partitions.collect(),
        ..request
    }
}

/// How many texts the answer to one request may still carry. A request can name very many partitions, and a few bytes
/// unpack to a batch of very many bad records.
#[derive(Debug)]
struct TextBudget {
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
    fn spend(&mut self, mut refusal: Refusal) -> Refusal {
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
        Self {
            code,
            message: None,
            record_errors: Vec::new(),
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
        }
    }
}

fn find_topic(cx: &RequestContext, topic: &ProduceTopic) -> Option<Arc<HostedTopic>> {
    let partitions = &cx.services.partitions;
    if cx.api_version >= 13 {
        partitions.topic_by_id(&topic.topic_id)
    } else {
        partitions.topic(&topic.name)
    }
}

fn unknown(cx: &RequestContext) -> ErrorCode {
    if cx.api_version >= 13 {
        ErrorCode::UnknownTopicId
    } else {
        ErrorCode::UnknownTopicOrPartition
    }
}

/// What the batches of a request may be unpacked to in all: much more than records shrink by, and not a thousand times as
/// much, which zeros would be. It is done by a thread that others wait for.
fn max_unpacked_bytes(request: &ProduceRequest) -> usize {
    let records = request.partitions.iter().filter_map(|data| data.records.as_ref());
    let packed: usize = records.map(Bytes::len).sum();
    packed.saturating_mul(MAX_UNPACKED_RATIO).max(MIN_UNPACKED_BYTES)
}

/// Everything that can be said about a partition's batch before its partition is locked.
fn check(
    cx: &RequestContext,
    request: &ProduceRequest,
    topic: Result<&HostedTopic, ErrorCode>,
    data: &ProducePartition,
    now: Now,
    unpacked_bytes_left: &mut usize,
) -> Result<(Arc<Partition>, ValidatedBatch), Refusal> {
    if !matches!(request.acks, -1..=1) {
        return Err(ErrorCode::InvalidRequiredAcks.into());
    }
    let topic = topic?;
    let partition = topic.hosted(data.index)?;
    if topic.internal && *cx.client_id != *ADMIN_CLIENT_ID {
        return Err(ErrorCode::InvalidTopicException.into());
    }
    let settings = partition.settings();
    let mut limits = settings.produce_limits(now, cx.api_version >= 7);
    let records = data.records.clone().unwrap_or_default();
    let recompression = settings
        .recompression
        .filter(|target| will_be_repacked(&records, *target));
    // what is unpacked anyway is looked at
    limits.full_validation |= recompression.is_some();
    let batch = ValidatedBatch::for_produce_within(records, &limits, unpacked_bytes_left)?;
    if batch.header().attributes.is_transactional() {
        return Err(match (&request.transactional_id, cx.api_version) {
            (None, _) => ErrorCode::TransactionalIdAuthorizationFailed,
            (Some(_), ..=10) => ErrorCode::InvalidTxnState,
            (Some(_), _) => ErrorCode::TransactionAbortable,
        }
        .into());
    }
    let batch = match recompression {
        Some(target) => batch.recompressed(target, limits.max_message_bytes, limits.max_decompressed_bytes)?,
        None => batch,
    };
    Ok((Arc::clone(partition), batch))
}

/// Whether the topic's codec is another than that of the batch; what is no batch is refused elsewhere.
fn will_be_repacked(records: &[u8], target: Recompression) -> bool {
    BatchHeader::parse(records).is_ok_and(|header| target.changes(header.attributes.compression()))
}

fn response(version: i16, request: &ProduceRequest, outcomes: Vec<Option<Result<Placed, Refusal>>>) -> ProduceResponse {
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
    use super::*;

    fn refusal(record_errors: usize) -> Refusal {
        Refusal {
            code: ErrorCode::InvalidRecord,
            message: Some("why".to_owned()),
            record_errors: vec![(7, "which".to_owned()); record_errors],
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
    fn a_waiting_request_keeps_nothing_of_its_frame() {
        let frame = Bytes::from(b"name and records".to_vec());
        let request = ProduceRequest {
            transactional_id: Some(StrBytes::from_utf8(frame.slice(..4)).expect("text")),
            acks: -1,
            timeout_ms: 9,
            topics: vec![ProduceTopic {
                name: StrBytes::from_utf8(frame.slice(..4)).expect("text"),
                topic_id: uuid::Uuid::from_u128(3),
                partitions: 0..1,
            }],
            partitions: vec![ProducePartition {
                index: 5,
                records: Some(frame.slice(5..)),
            }],
        };
        let kept = without_frame(request);
        assert!(frame.is_unique(), "no slice is left");
        assert_eq!((&*kept.topics[0].name, kept.partitions[0].index), ("name", 5));
        let refused = response(3, &kept, vec![Some(Err(ErrorCode::RequestTimedOut.into()))]);
        let answer = &refused.responses[0];
        assert_eq!((&**answer.name, answer.partition_responses[0].error_code), ("name", 7));
    }

    #[test]
    fn every_version_can_tell_a_place_and_a_refusal() {
        let (name, topic_id) = (StrBytes::from_static_str("t"), uuid::Uuid::from_u128(3));
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
