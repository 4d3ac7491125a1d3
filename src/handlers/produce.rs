//! Produce (0), versions 3-13; listed from 0 so that old librdkafka compresses (KAFKA-18659), refused below 3.
//!
//! Exactly one batch of format 2 per partition. acks 0: no answer, and an error closes the connection so that the
//! client notices; 1: answered when appended; -1: when the high watermark passes the batch, REQUEST_TIMED_OUT (7) after
//! the request's timeout. With `flush.messages=1` every ack waits for the disk. Never creates topics. Versions: 5 log
//! start offset, 7 zstd, 8 record errors, 9 flexible, 13 topic ids (KIP-516).
//! Of transactional batches, see `transactional`: 11 knows TRANSACTION_ABORTABLE (120), 12 adds partitions to the
//! transaction (KIP-890). Sources: `KafkaApis.handleProduceRequest`, `ReplicaManager.handleProduceAppend`.

mod answer;
mod appends;
mod transactional;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::record::{BatchError, BatchHeader, Recompression, ValidatedBatch};
use protocol::types::{Now, Offset};
use protocol::wire::produce::{ProducePartition, ProduceRequest, ProduceTopic};

use self::answer::{Placed, Refusal, TextBudget, response};
use self::appends::{Appended, Appends, Place};
use self::transactional::Transactional;
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;
use crate::partition::append::LeaderAppend;
use crate::partition::partition::Partition;
use crate::partition::registry::HostedTopic;

/// The one client that may write to internal topics, as in Kafka.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// Appends the batches of consecutive requests of one connection in their order. Batches for the same partition are
/// written with one call, which is what makes pipelined small batches cheap. One reply per request, in order, up to the
/// first request that cannot be read, which closes the connection, or that waits for a coordinator, which holds it up:
/// what stands behind it is not looked at.
pub fn handle_all(requests: Vec<(Arc<RequestContext>, Bytes)>) -> Vec<Reply> {
    let mut appends = Appends::default();
    let mut prepared = Vec::with_capacity(requests.len());
    for (index, (cx, body)) in requests.into_iter().enumerate() {
        let request = match ProduceRequest::read(cx.api_version, &body) {
            Ok(request) => request,
            Err(error) => {
                tracing::debug!(peer = %cx.peer, %error, "malformed Produce request");
                prepared.push(Err(Reply::Close("malformed Produce request")));
                break;
            }
        };
        if request.transactional_id.is_none() {
            prepared.push(Ok(Prepared::plain(cx, request, index, &mut appends)));
            continue;
        }
        match transactional::prepare(cx, request, index, &mut appends) {
            Transactional::Ready(ready) => prepared.push(Ok(ready)),
            Transactional::Unverified(unverified) => {
                prepared.push(Err(Reply::Hold(Box::pin(unverified.verify()))));
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
    /// Of a request without a transactional id.
    fn plain(cx: Arc<RequestContext>, request: ProduceRequest, index: usize, appends: &mut Appends) -> Self {
        if has_transactional_records(&request) {
            return Self::refused(cx, request, ErrorCode::TransactionalIdAuthorizationFailed);
        }
        let (now, all_replicas) = (cx.now(), request.acks == -1);
        Self::checked(cx, request, now, |outcome, partition, batch| {
            let place = Place {
                request: index,
                outcome,
            };
            appends.add(partition, all_replicas, now, batch, place);
        })
    }

    /// Checks every batch; `accept` gets those that can be appended, with the number of their outcome.
    fn checked(
        cx: Arc<RequestContext>,
        request: ProduceRequest,
        now: Now,
        mut accept: impl FnMut(usize, Arc<Partition>, ValidatedBatch),
    ) -> Self {
        let mut outcomes = Vec::with_capacity(request.partitions.len());
        let mut texts = TextBudget::default();
        let mut unpacked_bytes_left = max_unpacked_bytes(&request);
        for (topic, partitions) in request.by_topic() {
            let hosted = find_topic(&cx, topic);
            for data in partitions {
                let topic = hosted.as_deref().ok_or_else(|| unknown(&cx));
                outcomes.push(match check(&cx, &request, topic, data, now, &mut unpacked_bytes_left) {
                    Ok((partition, batch)) => {
                        accept(outcomes.len(), partition, batch);
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

    /// Of a request that is refused as a whole.
    fn refused(cx: Arc<RequestContext>, request: ProduceRequest, code: ErrorCode) -> Self {
        let outcomes = request.partitions.iter().map(|_| Some(Err(code.into()))).collect();
        Self {
            cx,
            request,
            outcomes,
            texts: TextBudget::default(),
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

/// Whether a transactional batch is in the request, as far as its bytes tell: they are not checked yet.
fn has_transactional_records(request: &ProduceRequest) -> bool {
    let records = request.partitions.iter().filter_map(|data| data.records.as_ref());
    records
        .into_iter()
        .any(|records| BatchHeader::peek_transactional(records))
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
    let batch =
        check_batch(cx, partition, data, now, unpacked_bytes_left).map_err(|error| refusal(error, partition))?;
    Ok((Arc::clone(partition), batch))
}

fn refusal(error: BatchError, partition: &Partition) -> Refusal {
    use BatchError::{Incomplete, UnsupportedCompression, UnsupportedMagic};
    // Kafka sees these before it looks at the log (`ProduceRequest.validateRecords`).
    let before_the_log = matches!(
        error,
        Incomplete { .. } | UnsupportedMagic { .. } | UnsupportedCompression { .. }
    );
    let refusal = Refusal::from(error);
    if before_the_log { refusal } else { refusal.of(partition) }
}

fn check_batch(
    cx: &RequestContext,
    partition: &Partition,
    data: &ProducePartition,
    now: Now,
    unpacked_bytes_left: &mut usize,
) -> Result<ValidatedBatch, BatchError> {
    let settings = partition.settings();
    let mut limits = settings.produce_limits(now, cx.api_version >= 7);
    let records = data.records.clone().unwrap_or_default();
    let recompression = settings
        .recompression
        .filter(|target| will_be_repacked(&records, *target));
    // what is unpacked anyway is looked at
    limits.full_validation |= recompression.is_some();
    let batch = ValidatedBatch::for_produce_within(records, &limits, unpacked_bytes_left)?;
    match recompression {
        Some(target) => batch.recompressed(target, limits.max_message_bytes, limits.max_decompressed_bytes),
        None => Ok(batch),
    }
}

/// Whether the topic's codec is another than that of the batch; what is no batch is refused elsewhere.
fn will_be_repacked(records: &[u8], target: Recompression) -> bool {
    BatchHeader::parse(records).is_ok_and(|header| target.changes(header.attributes.compression()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
