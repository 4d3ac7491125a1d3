//! DeleteTopics (20), versions 0-6.
//!
//! Versions: 1 throttle time, 4 flexible, 5 error messages, 6 by name or by id. With `delete.topic.enable=false` every topic is refused:
//! TOPIC_DELETION_DISABLED (73), before version 3 INVALID_REQUEST (42). The answer comes when the topics are gone from
//! metadata; their files go later. Other than in Kafka, internal topics cannot be deleted. Codes: `controller::deletion`.

use std::sync::Arc;

use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::types::TopicId;

use crate::controller::deletion::{DeletionOutcome, DeletionTarget};
use crate::controller::topics::TopicFailure;
use crate::handlers::context::RequestContext;
use crate::handlers::create_topics::timeout;
use crate::handlers::reply::{Reply, message};

/// From this version on clients know THROTTLING_QUOTA_EXCEEDED (89, KIP-599); older ones are only made to wait.
const STRICT_QUOTA_FROM: i16 = 5;

/// Hands the topics to the controller.
pub(super) fn handle(cx: &Arc<RequestContext>, request: DeleteTopicsRequest) -> Reply {
    let version = cx.api_version;
    let limit = timeout(request.timeout_ms);
    let targets = targets_of(request, version);
    if !cx.services.config.load().delete_topic_enable {
        let code = if version < 3 {
            ErrorCode::InvalidRequest
        } else {
            ErrorCode::TopicDeletionDisabled
        };
        return cx.reply(&refusal(
            &targets,
            code,
            ErrorCode::TopicDeletionDisabled.message(),
            version,
        ));
    }
    let context = Arc::clone(cx);
    cx.later(async move {
        let quota = context.mutation_quota(STRICT_QUOTA_FROM);
        let controller = &context.services.controller;
        let deletion = controller.delete_topics(targets.clone(), quota.clone());
        let response = match tokio::time::timeout(limit, deletion).await {
            Ok(Ok(outcomes)) => answer(outcomes, version),
            Ok(Err(error)) => refusal(&targets, (&error).into(), &error.to_string(), version),
            Err(_) => refusal(
                &targets,
                ErrorCode::RequestTimedOut,
                ErrorCode::RequestTimedOut.message(),
                version,
            ),
        };
        response.with_throttle_time_ms(context.settle_mutations(&quota))
    })
}

fn targets_of(request: DeleteTopicsRequest, version: i16) -> Vec<DeletionTarget> {
    if version < 6 {
        let by_name = |name: TopicName| DeletionTarget {
            name: Some(name.to_string()),
            topic_id: TopicId::nil(),
        };
        return request.topic_names.into_iter().map(by_name).collect();
    }
    let target = |topic: kafka_protocol::messages::delete_topics_request::DeleteTopicState| DeletionTarget {
        name: topic.name.map(|name| name.to_string()),
        topic_id: topic.topic_id,
    };
    request.topics.into_iter().map(target).collect()
}

fn answer(outcomes: Vec<DeletionOutcome>, version: i16) -> DeleteTopicsResponse {
    let result = |outcome: DeletionOutcome| {
        let name = outcome.name.map(|name| TopicName(StrBytes::from_string(name)));
        let mut result = DeletableTopicResult::default().with_name(name);
        if version >= 6 {
            result.topic_id = outcome.topic_id;
        }
        if let Err(failure) = outcome.result {
            result.error_code = failure.code.code();
            if version >= 5 {
                result.error_message = Some(message(failure.message));
            }
        }
        result
    };
    DeleteTopicsResponse::default().with_responses(outcomes.into_iter().map(result).collect())
}

fn refusal(targets: &[DeletionTarget], code: ErrorCode, why: &str, version: i16) -> DeleteTopicsResponse {
    let outcome = |target: &DeletionTarget| DeletionOutcome {
        name: target.name.clone(),
        topic_id: target.topic_id,
        result: Err(TopicFailure::new(code, why)),
    };
    answer(targets.iter().map(outcome).collect(), version)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
    use protocol::encode::encode_response;
    use uuid::Uuid;

    use super::*;

    fn name(name: &str) -> TopicName {
        TopicName(StrBytes::from_string(name.to_owned()))
    }

    #[test]
    fn names_and_ids_are_read_from_where_the_version_has_them() {
        let request = DeleteTopicsRequest::default().with_topic_names(vec![name("a")]);
        let by_name = DeletionTarget {
            name: Some("a".to_owned()),
            topic_id: Uuid::nil(),
        };
        assert_eq!(targets_of(request, 5), [by_name]);
        let id = Uuid::from_u128(4);
        let topics = vec![DeleteTopicState::default().with_name(None).with_topic_id(id)];
        let request = DeleteTopicsRequest::default().with_topics(topics);
        assert_eq!(
            targets_of(request, 6),
            [DeletionTarget {
                name: None,
                topic_id: id
            }]
        );
    }

    #[test]
    fn every_version_can_be_encoded() {
        let targets = [DeletionTarget {
            name: Some("a".to_owned()),
            topic_id: Uuid::nil(),
        }];
        for version in 0..=6 {
            let refused = refusal(&targets, ErrorCode::TopicDeletionDisabled, "no", version);
            assert_eq!(refused.responses[0].error_code, 73);
            assert_eq!(refused.responses[0].error_message.is_some(), version >= 5);
            encode_response(20, version, 1, &refused).expect("fields of the version");
            let topic_id = Uuid::from_u128(4);
            let deleted = DeletionOutcome {
                name: Some("a".to_owned()),
                topic_id,
                result: Ok(()),
            };
            let answered = answer(vec![deleted], version);
            assert_eq!(answered.responses[0].topic_id.is_nil(), version < 6);
            encode_response(20, version, 1, &answered).expect("fields of the version");
        }
    }
}
