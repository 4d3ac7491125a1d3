//! CreatePartitions (37), versions 0-3.
//!
//! Versions: 2 flexible; 1 and 3 changed nothing on the wire. The count is the new total. The answer comes when the new
//! partitions serve. `timeout_ms` bounds the wait; what was not answered in time is REQUEST_TIMED_OUT (7) and may still
//! be made. Other than in Kafka, internal topics keep their count. Checks and codes: `controller::partitions`.

use std::sync::Arc;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;

use crate::controller::partitions::{PartitionsOutcome, PartitionsSpec};
use crate::controller::topics::TopicFailure;
use crate::handlers::context::RequestContext;
use crate::handlers::create_topics::timeout;
use crate::handlers::reply::{Messages, Reply};

/// From this version on clients know THROTTLING_QUOTA_EXCEEDED (89, KIP-599); older ones are only made to wait.
const STRICT_QUOTA_FROM: i16 = 3;

/// Hands the topics to the controller.
pub(super) fn handle(cx: &Arc<RequestContext>, request: CreatePartitionsRequest) -> Reply {
    let context = Arc::clone(cx);
    cx.later(async move {
        let limit = timeout(request.timeout_ms);
        let specs: Vec<_> = request.topics.iter().map(spec_of).collect();
        let quota = context.mutation_quota(STRICT_QUOTA_FROM);
        let controller = &context.services.controller;
        let addition = controller.create_partitions(specs, request.validate_only, quota.clone());
        let response = match tokio::time::timeout(limit, addition).await {
            Ok(Ok(outcomes)) => answer(outcomes),
            Ok(Err(error)) => refusal(&request, (&error).into(), &error.to_string()),
            Err(_) => refusal(
                &request,
                ErrorCode::RequestTimedOut,
                ErrorCode::RequestTimedOut.message(),
            ),
        };
        response.with_throttle_time_ms(context.settle_mutations(&quota))
    })
}

fn spec_of(topic: &CreatePartitionsTopic) -> PartitionsSpec {
    let assignments = topic.assignments.as_ref().map(|assignments| {
        let brokers = |ids: &[kafka_protocol::messages::BrokerId]| ids.iter().map(|id| id.0).collect();
        assignments.iter().map(|given| brokers(&given.broker_ids)).collect()
    });
    PartitionsSpec {
        topic: topic.name.to_string(),
        count: topic.count,
        assignments,
    }
}

fn answer(outcomes: Vec<PartitionsOutcome>) -> CreatePartitionsResponse {
    let mut messages = Messages::for_one_answer();
    let results = outcomes.into_iter().map(|outcome| {
        let result = CreatePartitionsTopicResult::default()
            .with_name(TopicName(StrBytes::from_string(outcome.topic)))
            .with_error_message(None);
        match outcome.result {
            Ok(()) => result,
            Err(failure) => result
                .with_error_code(failure.code.code())
                .with_error_message(messages.next(|| failure.message)),
        }
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn refusal(request: &CreatePartitionsRequest, code: ErrorCode, why: &str) -> CreatePartitionsResponse {
    let outcome = |topic: &CreatePartitionsTopic| PartitionsOutcome {
        topic: topic.name.to_string(),
        result: Err(TopicFailure::new(code, why)),
    };
    answer(request.topics.iter().map(outcome).collect())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::BrokerId;
    use kafka_protocol::messages::create_partitions_request::CreatePartitionsAssignment;
    use protocol::encode::encode_response;

    use super::*;

    #[test]
    fn requests_are_read_whole() {
        let topic = CreatePartitionsTopic::default()
            .with_name(TopicName(StrBytes::from_static_str("t")))
            .with_count(3);
        let spec = |assignments| PartitionsSpec {
            topic: "t".to_owned(),
            count: 3,
            assignments,
        };
        assert_eq!(spec_of(&topic.clone().with_assignments(None)), spec(None));
        let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(7), BrokerId(8)]);
        assert_eq!(
            spec_of(&topic.with_assignments(Some(vec![assignment]))),
            spec(Some(vec![vec![7, 8]]))
        );
    }

    #[test]
    fn many_refusals_have_few_texts() {
        let refused = |index: usize| PartitionsOutcome {
            topic: index.to_string(),
            result: Err(TopicFailure::new(ErrorCode::InvalidPartitions, "no")),
        };
        let response = answer((0..3_000).map(refused).collect());
        assert!(response.results.iter().all(|result| result.error_code == 37));
        let texts = response.results.iter().filter(|result| result.error_message.is_some());
        assert_eq!((response.results.len(), texts.count()), (3_000, 1_000));
    }

    #[test]
    fn every_version_can_be_encoded() {
        let outcome = |topic: &str, result| PartitionsOutcome {
            topic: topic.to_owned(),
            result,
        };
        let failure = TopicFailure::new(ErrorCode::InvalidPartitions, "é".repeat(40_000));
        let response = answer(vec![outcome("good", Ok(())), outcome("bad", Err(failure))]);
        let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [0, 37]);
        assert_eq!(response.results[0].error_message, None);
        for version in 0..=3 {
            encode_response(37, version, 1, &response).expect("fields of the version");
        }
    }
}
