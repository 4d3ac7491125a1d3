//! Metadata (3), versions 0-13.
//!
//! Versions: 0 an empty list asks for all topics, 1 null does; 1 controller, racks, internal flag; 2 cluster id;
//! 4 whether topics may be made; 5 offline replicas; 7 leader epochs; 8 authorized operations (of the cluster until 10);
//! 9 flexible; 10 topic ids in answers, 12 in requests; 13 error code of the whole.
//! Addresses are those of the listener that the request came in on. A topic is given at most once, as in Kafka, and a
//! request with ids is answered for its ids only. Without an authorizer every operation is allowed.
//!
//! A request that makes a missing topic gets UNKNOWN_TOPIC_OR_PARTITION (3) for it, as from Kafka, and the client asks again;
//! there are programs that look for a topic they have deleted and take partitions for a sign that it is still there. Other
//! than from Kafka, the topic is there when the answer comes, and an answer says why a topic could not be made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::types::TopicId;

use crate::config::broker::BrokerConfig;
use crate::controller::internal_topics;
use crate::controller::topics::TopicSpec;
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;
use crate::metadata::image::MetadataImage;
use crate::metadata::image::brokers::BrokerImage;
use crate::metadata::image::topics::{PartitionImage, TopicImage};
use crate::metadata::topic_name;

/// Bits of every operation on a cluster: create, alter, describe, cluster action, describe and alter configs,
/// idempotent write.
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
/// Bits of every operation on a topic: read, write, create, delete, alter, describe, describe and alter configs.
pub(super) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// How long an answer waits for missing topics to be made; then clients ask again.
const CREATION_LIMIT: Duration = Duration::from_secs(5);

/// Answers from the image, after making missing topics if that is wanted and allowed.
pub(super) fn handle(cx: &Arc<RequestContext>, request: MetadataRequest) -> Reply {
    let image = cx.services.publisher.current();
    let missing = topics_to_make(&cx.services.config.load(), &image, &request, cx.api_version);
    if missing.is_empty() {
        return cx.reply(&answer(&Viewpoint::of(cx), &image, &request, &BTreeMap::new()));
    }
    let context = Arc::clone(cx);
    cx.later(async move {
        let failures = make(&context, missing).await;
        // the image of before: what was made is told to those who ask next
        answer(&Viewpoint::of(&context), &image, &request, &failures)
    })
}

/// From where the cluster is looked at.
#[derive(Debug)]
pub(super) struct Viewpoint<'a> {
    /// Version of the request.
    pub(super) version: i16,
    /// This broker.
    pub(super) node_id: i32,
    /// Name of the listener that the request came in on.
    pub(super) listener: &'a str,
    /// This broker's host and port there.
    pub(super) endpoint: (StrBytes, i32),
}

impl<'a> Viewpoint<'a> {
    pub(super) fn of(cx: &'a RequestContext) -> Self {
        Self {
            version: cx.api_version,
            node_id: cx.services.node_id,
            listener: &cx.listener.name,
            endpoint: cx.advertised_endpoint(),
        }
    }

    /// Host and port of a broker on this listener, if it has them.
    pub(super) fn endpoint(&self, broker: &BrokerImage) -> Option<(StrBytes, i32)> {
        if broker.id == self.node_id {
            return Some(self.endpoint.clone());
        }
        let endpoint = broker
            .endpoints
            .iter()
            .find(|endpoint| endpoint.listener == self.listener)?;
        Some((StrBytes::from_string(endpoint.host.clone()), i32::from(endpoint.port)))
    }

    /// Whether clients of this listener can reach the broker.
    pub(super) fn can_reach(&self, image: &MetadataImage, broker: i32) -> bool {
        image
            .brokers
            .get(broker)
            .is_some_and(|broker| !broker.fenced && self.endpoint(broker).is_some())
    }
}

/// What a request asks for.
enum Wanted {
    All,
    Named(BTreeSet<TopicName>),
    ById(BTreeSet<TopicId>),
    /// Names or ids that the version does not have.
    Malformed(Vec<MetadataRequestTopic>),
}

fn wanted(request: &MetadataRequest, version: i16) -> Wanted {
    let Some(topics) = request
        .topics
        .as_ref()
        .filter(|topics| version > 0 || !topics.is_empty())
    else {
        return Wanted::All;
    };
    if version < 12
        && topics
            .iter()
            .any(|topic| topic.name.is_none() || !topic.topic_id.is_nil())
    {
        return Wanted::Malformed(topics.clone());
    }
    let ids: BTreeSet<_> = topics
        .iter()
        .map(|topic| topic.topic_id)
        .filter(|id| !id.is_nil())
        .collect();
    if ids.is_empty() {
        Wanted::Named(topics.iter().filter_map(|topic| topic.name.clone()).collect())
    } else {
        Wanted::ById(ids)
    }
}

/// The missing topics that this request may have made.
fn topics_to_make(
    config: &BrokerConfig,
    image: &MetadataImage,
    request: &MetadataRequest,
    version: i16,
) -> Vec<TopicSpec> {
    if !config.auto_create_topics_enable || !request.allow_auto_topic_creation {
        return Vec::new();
    }
    let Wanted::Named(names) = wanted(request, version) else {
        return Vec::new();
    };
    let missing = names
        .iter()
        .filter(|name| image.topic(name).is_none() && topic_name::validate(name).is_ok());
    missing.filter_map(|name| spec_of(config, name)).collect()
}

/// How a topic is made that a client only named; `None` for the broker's own that it does not make so.
fn spec_of(config: &BrokerConfig, name: &str) -> Option<TopicSpec> {
    match name {
        topic_name::CONSUMER_OFFSETS => Some(internal_topics::consumer_offsets(
            config.offsets_topic_num_partitions,
            -1,
            config.offsets_topic_segment_bytes,
        )),
        topic_name::TRANSACTION_STATE => Some(internal_topics::transaction_state(
            config.transaction_state_log_num_partitions,
            -1,
            config.transaction_state_log_min_isr,
            config.transaction_state_log_segment_bytes,
        )),
        topic_name::CLUSTER_METADATA => None,
        name if topic_name::is_internal(name) => None,
        name => Some(TopicSpec::with_defaults(name)),
    }
}

/// Makes topics; gives the codes of those that could not be made.
async fn make(cx: &RequestContext, missing: Vec<TopicSpec>) -> BTreeMap<String, ErrorCode> {
    // Kafka asks its controller in the newest version, so that the client's quota refuses
    let quota = cx.mutation_quota(0);
    let creation = cx.services.controller.create_topics_within(missing, false, quota);
    let outcomes = match tokio::time::timeout(CREATION_LIMIT, creation).await {
        Ok(Ok(outcomes)) => outcomes,
        Ok(Err(error)) => {
            tracing::warn!(%error, "missing topics could not be made");
            return BTreeMap::new();
        }
        Err(_) => return BTreeMap::new(),
    };
    let failed = outcomes
        .into_iter()
        .filter_map(|outcome| Some((outcome.name, outcome.result.err()?)));
    failed
        .map(|(topic, failure)| {
            tracing::debug!(
                topic,
                code = failure.code.name(),
                why = failure.message,
                "topic not made on first use"
            );
            (topic, failure.code)
        })
        .collect()
}

fn answer(
    view: &Viewpoint<'_>,
    image: &MetadataImage,
    request: &MetadataRequest,
    failures: &BTreeMap<String, ErrorCode>,
) -> MetadataResponse {
    let operations = if request.include_topic_authorized_operations && view.version >= 8 {
        TOPIC_OPERATIONS
    } else {
        i32::MIN
    };
    let known = |topic: &TopicImage| known_topic(view, image, topic, operations);
    let topics = match wanted(request, view.version) {
        Wanted::Malformed(topics) => return malformed(view, topics),
        Wanted::All => image.topics().map(|topic| known(topic)).collect(),
        Wanted::ById(ids) => {
            let of = |id| {
                image
                    .topic_by_id(id)
                    .map_or_else(|| unknown_id(*id), |topic| known(topic))
            };
            ids.iter().map(of).collect()
        }
        Wanted::Named(names) => {
            let of = |name: &TopicName| match image.topic(name) {
                Some(topic) => known(topic),
                None => unknown_name(view, name, failures, operations),
            };
            names.iter().map(of).collect()
        }
    };
    let mut response = MetadataResponse::default()
        .with_brokers(brokers(view, image))
        .with_topics(topics);
    if view.version >= 1 {
        response.controller_id = BrokerId(view.node_id);
    }
    if view.version >= 2 {
        response.cluster_id = Some(StrBytes::from_string(image.cluster_id.to_string()));
    }
    if (8..=10).contains(&view.version) && request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}

fn brokers(view: &Viewpoint<'_>, image: &MetadataImage) -> Vec<MetadataResponseBroker> {
    let reachable = image
        .brokers
        .active()
        .filter_map(|broker| Some((broker, view.endpoint(broker)?)));
    let broker = |(broker, (host, port)): (&Arc<BrokerImage>, _)| {
        let mut shown = MetadataResponseBroker::default()
            .with_node_id(BrokerId(broker.id))
            .with_host(host)
            .with_port(port);
        if view.version >= 1 {
            shown.rack = broker.rack.clone().map(StrBytes::from_string);
        }
        shown
    };
    reachable.map(broker).collect()
}

fn known_topic(
    view: &Viewpoint<'_>,
    image: &MetadataImage,
    topic: &TopicImage,
    operations: i32,
) -> MetadataResponseTopic {
    let partitions = (0..)
        .zip(&topic.partitions)
        .map(|(index, partition)| shown(view, image, index, partition));
    let mut answer = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.to_string()))))
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(operations);
    if view.version >= 1 {
        answer.is_internal = topic.internal;
    }
    if view.version >= 10 {
        answer.topic_id = topic.id;
    }
    answer
}

fn shown(
    view: &Viewpoint<'_>,
    image: &MetadataImage,
    index: i32,
    partition: &PartitionImage,
) -> MetadataResponsePartition {
    let reachable = |broker: &i32| view.can_reach(image, *broker);
    // Version 0 leaves unreachable brokers out and calls that an error; later versions name all.
    let told = |brokers: &[i32]| -> Vec<BrokerId> {
        brokers
            .iter()
            .filter(|broker| view.version > 0 || reachable(broker))
            .map(|broker| BrokerId(*broker))
            .collect()
    };
    let (replicas, isr) = (told(&partition.replicas), told(&partition.isr));
    let is_told_in_part = replicas.len() < partition.replicas.len() || isr.len() < partition.isr.len();
    let (leader, error) = match image.brokers.get(partition.leader) {
        Some(leader) if reachable(&leader.id) && !is_told_in_part => (leader.id, ErrorCode::None),
        Some(leader) if reachable(&leader.id) => (leader.id, ErrorCode::ReplicaNotAvailable),
        Some(_) if view.version >= 6 => (-1, ErrorCode::ListenerNotFound),
        _ => (-1, ErrorCode::LeaderNotAvailable),
    };
    let mut shown = MetadataResponsePartition::default()
        .with_error_code(error.code())
        .with_partition_index(index)
        .with_leader_id(BrokerId(leader))
        .with_replica_nodes(replicas)
        .with_isr_nodes(isr);
    if view.version >= 5 {
        let offline = partition.replicas.iter().filter(|broker| !reachable(broker));
        shown.offline_replicas = offline.map(|broker| BrokerId(*broker)).collect();
    }
    if view.version >= 7 {
        shown.leader_epoch = partition.leader_epoch;
    }
    shown
}

fn unknown_id(id: TopicId) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_name(None)
        .with_topic_id(id)
        .with_error_code(ErrorCode::UnknownTopicId.code())
}

fn unknown_name(
    view: &Viewpoint<'_>,
    name: &TopicName,
    failures: &BTreeMap<String, ErrorCode>,
    operations: i32,
) -> MetadataResponseTopic {
    let text: &str = name;
    let code = match (topic_name::validate(text), failures.get(text)) {
        (Err(_), _) => ErrorCode::InvalidTopicException,
        // Made just now, or not in time: ask again.
        (Ok(()), None | Some(ErrorCode::TopicAlreadyExists)) => ErrorCode::UnknownTopicOrPartition,
        (Ok(()), Some(code)) => *code,
    };
    let mut answer = MetadataResponseTopic::default()
        .with_name(Some(name.clone()))
        .with_error_code(code.code())
        .with_topic_authorized_operations(operations);
    if view.version >= 1 {
        answer.is_internal = topic_name::is_internal(text);
    }
    answer
}

/// Ids before version 12, or a null name there: Kafka refuses every topic of the request, and names no broker.
fn malformed(view: &Viewpoint<'_>, topics: Vec<MetadataRequestTopic>) -> MetadataResponse {
    let refused = topics.into_iter().map(|topic| {
        let mut answer = MetadataResponseTopic::default()
            .with_name(Some(topic.name.unwrap_or_default()))
            .with_error_code(ErrorCode::InvalidRequest.code());
        if view.version >= 10 {
            answer.topic_id = topic.topic_id;
        }
        answer
    });
    MetadataResponse::default().with_topics(refused.collect())
}

#[cfg(test)]
mod tests;
