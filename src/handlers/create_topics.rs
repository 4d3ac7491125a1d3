//! CreateTopics (19), versions 0-7.
//!
//! Versions: 1 messages and validation alone, 2 throttle time, 4 defaults by -1, 5 the resulting configs, counts and
//! flexible encoding, 7 topic ids. Other than Kafka, the answer comes when the topics can be used: Kafka's may name topics
//! whose leaders do not serve yet.
//! `timeout_ms` bounds the wait; what was not answered in time is REQUEST_TIMED_OUT (7) and may still be made. The
//! checks and their codes are those of `controller::topics`; the client's quota on changes of partitions comes last.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::config::broker::BrokerConfig;
use crate::config::describe::describe_topic;
use crate::controller::topics::{CreatedTopic, TopicOutcome, TopicSpec};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Reply, message};

/// Waits of clients that set no sensible timeout end as Kafka's default `request.timeout.ms` would.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// From this version on clients know THROTTLING_QUOTA_EXCEEDED (89, KIP-599); older ones are only made to wait.
const STRICT_QUOTA_FROM: i16 = 6;

/// Hands the topics to the controller.
pub(super) fn handle(cx: &Arc<RequestContext>, request: CreateTopicsRequest) -> Reply {
    let context = Arc::clone(cx);
    cx.later(async move {
        let limit = timeout(request.timeout_ms);
        let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let specs = request.topics.iter().map(spec_of).collect();
        let quota = context.mutation_quota(STRICT_QUOTA_FROM);
        let controller = &context.services.controller;
        let creation = controller.create_topics_within(specs, request.validate_only, quota.clone());
        let response = match tokio::time::timeout(limit, creation).await {
            Ok(Ok(outcomes)) => answer(&outcomes, &context.services.config.load(), context.api_version),
            Ok(Err(error)) => refusal(&names, (&error).into(), &error.to_string()),
            Err(_) => refusal(&names, ErrorCode::RequestTimedOut, ErrorCode::RequestTimedOut.message()),
        };
        response.with_throttle_time_ms(context.settle_mutations(&quota))
    })
}

/// How long a request that changes topics may wait.
pub(super) fn timeout(timeout_ms: i32) -> Duration {
    match u64::try_from(timeout_ms) {
        Ok(ms @ 1..) => Duration::from_millis(ms),
        _ => DEFAULT_TIMEOUT,
    }
}

fn spec_of(topic: &CreatableTopic) -> TopicSpec {
    let brokers = |ids: &[kafka_protocol::messages::BrokerId]| ids.iter().map(|id| id.0).collect();
    TopicSpec {
        name: topic.name.to_string(),
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|a| (a.partition_index, brokers(&a.broker_ids)))
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|c| (c.name.to_string(), c.value.as_ref().map(ToString::to_string)))
            .collect(),
    }
}

fn answer(outcomes: &[TopicOutcome], config: &BrokerConfig, version: i16) -> CreateTopicsResponse {
    let results = outcomes.iter().map(|outcome| {
        let result = CreatableTopicResult::default()
            .with_name(topic_name(&outcome.name))
            .with_error_message(None);
        match &outcome.result {
            Ok(created) => describe(result, created, config, version),
            Err(failure) => result
                .with_error_code(failure.code.code())
                .with_error_message(Some(message(failure.message.as_str()))),
        }
    });
    CreateTopicsResponse::default().with_topics(results.collect())
}

fn describe(
    mut result: CreatableTopicResult,
    created: &CreatedTopic,
    config: &BrokerConfig,
    version: i16,
) -> CreatableTopicResult {
    if version >= 5 {
        let rows = describe_topic(&created.configs, config).into_iter().map(|row| {
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_string(row.name))
                .with_value(row.value.map(StrBytes::from_string))
                .with_read_only(row.read_only)
                .with_config_source(row.source as i8)
                .with_is_sensitive(row.sensitive)
        });
        result.configs = Some(rows.collect());
        result.num_partitions = created.num_partitions;
        result.replication_factor = created.replication_factor;
    }
    if version >= 7 {
        result.topic_id = created.topic_id;
    }
    result
}

fn refusal(names: &[TopicName], code: ErrorCode, why: &str) -> CreateTopicsResponse {
    let results = names.iter().map(|name| {
        CreatableTopicResult::default()
            .with_name(name.clone())
            .with_error_code(code.code())
            .with_error_message(Some(message(why)))
    });
    CreateTopicsResponse::default().with_topics(results.collect())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::encode::encode_response;

    use super::*;
    use crate::controller::topics::TopicFailure;

    fn outcomes() -> Vec<TopicOutcome> {
        let configs = BTreeMap::from([("retention.ms".to_owned(), "77".to_owned())]);
        let topic_id = uuid::Uuid::from_u128(9);
        let created = CreatedTopic {
            topic_id,
            num_partitions: 3,
            replication_factor: 1,
            configs,
        };
        let failure = TopicFailure::new(ErrorCode::TopicAlreadyExists, "is there");
        vec![
            TopicOutcome {
                name: "good".to_owned(),
                result: Ok(created),
            },
            TopicOutcome {
                name: "bad".to_owned(),
                result: Err(failure),
            },
        ]
    }

    #[test]
    fn every_version_can_be_encoded() {
        for version in 0..=7 {
            let config = BrokerConfig::default();
            encode_response(19, version, 1, &answer(&outcomes(), &config, version)).expect("fields of the version");
            let names = [topic_name("a")];
            let refused = refusal(&names, ErrorCode::NotController, "no");
            encode_response(19, version, 1, &refused).expect("fields of the version");
        }
    }

    #[test]
    fn what_a_client_sent_can_be_repeated_in_every_version() {
        let longest = "é".repeat(16_383);
        let failure = TopicFailure::new(
            ErrorCode::InvalidTopicException,
            format!("topic name '{longest}' is not valid"),
        );
        let outcomes = [TopicOutcome {
            name: longest.clone(),
            result: Err(failure),
        }];
        for version in 0..=7 {
            let response = answer(&outcomes, &BrokerConfig::default(), version);
            encode_response(19, version, 1, &response).expect("the message is cut");
            let response = refusal(&[topic_name(&longest)], ErrorCode::InvalidRequest, &longest.repeat(2));
            encode_response(19, version, 1, &response).expect("the message is cut");
        }
    }

    #[test]
    fn newer_versions_tell_counts_configs_and_ids() {
        let config = BrokerConfig::default();
        let response = answer(&outcomes(), &config, 7);
        let good = &response.topics[0];
        assert_eq!(
            (good.error_code, good.num_partitions, good.replication_factor),
            (0, 3, 1)
        );
        assert_eq!(good.topic_id, uuid::Uuid::from_u128(9));
        let rows = good.configs.as_ref().expect("there");
        let retention = rows
            .iter()
            .find(|row| &*row.name == "retention.ms")
            .expect("a topic config");
        assert_eq!((retention.value.as_deref(), retention.config_source), (Some("77"), 1));
        let bad = &response.topics[1];
        assert_eq!(
            (bad.error_code, bad.num_partitions, bad.error_message.as_deref()),
            (36, -1, Some("is there"))
        );
        let old = &answer(&outcomes(), &config, 4).topics[0];
        assert_eq!((old.num_partitions, old.configs.as_ref().map(Vec::len)), (-1, Some(0)));
    }

    #[test]
    fn requests_are_read_whole() {
        use kafka_protocol::messages::BrokerId;
        use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopicConfig};

        let text = StrBytes::from_static_str;
        let assignment = CreatableReplicaAssignment::default()
            .with_partition_index(2)
            .with_broker_ids(vec![BrokerId(7)]);
        let configs = vec![
            CreatableTopicConfig::default()
                .with_name(text("a"))
                .with_value(Some(text("1"))),
            CreatableTopicConfig::default().with_name(text("b")).with_value(None),
        ];
        let topic = CreatableTopic::default()
            .with_name(topic_name("t"))
            .with_num_partitions(-1)
            .with_replication_factor(4)
            .with_assignments(vec![assignment])
            .with_configs(configs);
        let expected = TopicSpec {
            name: "t".to_owned(),
            num_partitions: -1,
            replication_factor: 4,
            assignments: vec![(2, vec![7])],
            configs: vec![("a".to_owned(), Some("1".to_owned())), ("b".to_owned(), None)],
        };
        assert_eq!(spec_of(&topic), expected);
    }

    #[test]
    fn only_a_positive_timeout_is_taken_as_it_is() {
        assert_eq!(timeout(1_500), Duration::from_millis(1_500));
        assert_eq!(timeout(0), DEFAULT_TIMEOUT);
        assert_eq!(timeout(-1), DEFAULT_TIMEOUT);
    }
}
