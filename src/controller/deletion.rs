//! What a DeleteTopics request means: which topics go, and what is wrong with the others. Pure.
//!
//! Source: Kafka's `ControllerApis.deleteTopics`. Invariant: every topic of the request is answered once, however
//! often it was given.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::{BTreeMap, BTreeSet};

use protocol::error_code::ErrorCode;
use protocol::types::TopicId;

use super::topics::TopicFailure;
use crate::metadata::command::ApplyError;
use crate::metadata::image::MetadataImage;

/// A topic to be deleted, as a client names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionTarget {
    /// By name.
    pub name: Option<String>,
    /// By id; nil = none.
    pub topic_id: TopicId,
}

/// What became of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionOutcome {
    /// Name of the topic, as far as known.
    pub name: Option<String>,
    /// Id of the topic, as far as known.
    pub topic_id: TopicId,
    /// Why it was not deleted.
    pub result: Result<(), TopicFailure>,
}

/// A request, worked out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeletionPlan {
    /// The topics to delete; their order is that of the successful outcomes.
    pub topic_ids: Vec<TopicId>,
    /// The outcomes if the deletion goes through.
    pub outcomes: Vec<DeletionOutcome>,
}

impl DeletionPlan {
    /// The outcomes after the command was applied with these results.
    pub fn applied(self, results: &[Result<(), ApplyError>]) -> Vec<DeletionOutcome> {
        assert_eq!(results.len(), self.topic_ids.len(), "apply gives one result per topic");
        let mut results = results.iter();
        let settle = |outcome: DeletionOutcome| match outcome.result {
            Err(_) => outcome,
            Ok(()) => {
                let result = results.next().expect("as many results as planned topics");
                DeletionOutcome {
                    result: result.as_ref().copied().map_err(TopicFailure::from),
                    ..outcome
                }
            }
        };
        self.outcomes.into_iter().map(settle).collect()
    }

    fn refuse(&mut self, name: Option<&str>, topic_id: TopicId, code: ErrorCode, message: &str) {
        let result = Err(TopicFailure::new(code, message));
        self.outcomes.push(DeletionOutcome {
            name: name.map(str::to_owned),
            topic_id,
            result,
        });
    }

    fn accept(&mut self, name: &str, topic_id: TopicId) {
        self.topic_ids.push(topic_id);
        self.outcomes.push(DeletionOutcome {
            name: Some(name.to_owned()),
            topic_id,
            result: Ok(()),
        });
    }
}

/// Kafka deletes these when asked to, and its groups are gone.
const INTERNAL: &str = "the topic holds the broker's own state and cannot be deleted";

/// Works out a request against an image.
pub fn plan_deletion(image: &MetadataImage, targets: &[DeletionTarget]) -> DeletionPlan {
    let mut plan = DeletionPlan::default();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ids: BTreeMap<TopicId, usize> = BTreeMap::new();
    for target in targets {
        match (target.name.as_deref(), target.topic_id) {
            (None, id) if id.is_nil() => {
                plan.refuse(
                    None,
                    id,
                    ErrorCode::InvalidRequest,
                    "Neither topic name nor id were specified.",
                );
            }
            (None, id) => *ids.entry(id).or_default() += 1,
            (Some(name), id) if id.is_nil() => *names.entry(name).or_default() += 1,
            (Some(name), id) => {
                plan.refuse(
                    Some(name),
                    id,
                    ErrorCode::InvalidRequest,
                    "You may not specify both topic name and topic id.",
                );
            }
        }
    }
    // A topic given both ways is left alone and answered once, under its name.
    let named: BTreeSet<_> = names
        .keys()
        .filter_map(|name| image.topic(name))
        .map(|topic| topic.id)
        .filter(|id| ids.contains_key(id))
        .collect();
    for (id, count) in ids {
        match image.topic_by_id(&id) {
            _ if named.contains(&id) => {}
            _ if count > 1 => plan.refuse(None, id, ErrorCode::InvalidRequest, "Duplicate topic id."),
            None => plan.refuse(None, id, ErrorCode::UnknownTopicId, ErrorCode::UnknownTopicId.message()),
            Some(topic) if topic.internal => plan.refuse(None, id, ErrorCode::InvalidRequest, INTERNAL),
            Some(topic) => plan.accept(&topic.name, id),
        }
    }
    for (name, count) in names {
        let nil = TopicId::nil();
        match image.topic(name) {
            Some(topic) if named.contains(&topic.id) => {
                let message = "The provided topic name maps to an ID that was already supplied.";
                plan.refuse(Some(name), topic.id, ErrorCode::InvalidRequest, message);
            }
            _ if count > 1 => {
                plan.refuse(Some(name), nil, ErrorCode::InvalidRequest, "Duplicate topic name.");
            }
            None => {
                let code = ErrorCode::UnknownTopicOrPartition;
                plan.refuse(Some(name), nil, code, code.message());
            }
            Some(topic) if topic.internal => plan.refuse(Some(name), nil, ErrorCode::InvalidRequest, INTERNAL),
            Some(topic) => plan.accept(name, topic.id),
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::metadata::apply::tests::{creation_of, image_of, start_of};
    use crate::metadata::topic_name::CONSUMER_OFFSETS;

    fn name(name: &str) -> DeletionTarget {
        DeletionTarget {
            name: Some(name.to_owned()),
            topic_id: Uuid::nil(),
        }
    }

    fn id(id: u128) -> DeletionTarget {
        DeletionTarget {
            name: None,
            topic_id: Uuid::from_u128(id),
        }
    }

    /// (name, id, code or 0) of every outcome.
    fn outcomes(targets: &[DeletionTarget]) -> Vec<(Option<String>, u128, i16)> {
        let own = creation_of(CONSUMER_OFFSETS, 8, 1);
        let image = image_of(&[
            start_of(1, 1, true),
            creation_of("a", 5, 1),
            creation_of("b", 6, 1),
            own,
        ]);
        let plan = plan_deletion(&image, targets);
        let accepted: Vec<_> = plan
            .outcomes
            .iter()
            .filter(|outcome| outcome.result.is_ok())
            .map(|outcome| outcome.topic_id)
            .collect();
        assert_eq!(accepted, plan.topic_ids);
        let code = |outcome: &DeletionOutcome| outcome.result.as_ref().err().map_or(0, |failure| failure.code.code());
        plan.outcomes
            .iter()
            .map(|o| (o.name.clone(), o.topic_id.as_u128(), code(o)))
            .collect()
    }

    #[test]
    fn every_target_is_answered_once_with_kafkas_code() {
        let a = || Some("a".to_owned());
        assert_eq!(outcomes(&[name("a")]), [(a(), 5, 0)]);
        assert_eq!(outcomes(&[id(5)]), [(a(), 5, 0)]);
        assert_eq!(outcomes(&[name("x")]), [(Some("x".to_owned()), 0, 3)]);
        assert_eq!(outcomes(&[id(7)]), [(None, 7, 100)]);
        assert_eq!(outcomes(&[id(8)]), [(None, 8, 42)]);
        assert_eq!(
            outcomes(&[name(CONSUMER_OFFSETS)]),
            [(Some(CONSUMER_OFFSETS.to_owned()), 0, 42)]
        );
        assert_eq!(outcomes(&[id(0)]), [(None, 0, 42)]);
        assert_eq!(outcomes(&[DeletionTarget { name: a(), ..id(5) }]), [(a(), 5, 42)]);
        assert_eq!(outcomes(&[name("a"), name("a"), name("a")]), [(a(), 0, 42)]);
        assert_eq!(outcomes(&[id(5), id(5)]), [(None, 5, 42)]);
        assert_eq!(
            outcomes(&[name("a"), id(6)]),
            [(Some("b".to_owned()), 6, 0), (a(), 5, 0)]
        );
    }

    #[test]
    fn a_topic_given_by_name_and_by_id_is_left_alone() {
        let a = || Some("a".to_owned());
        assert_eq!(outcomes(&[name("a"), id(5)]), [(a(), 5, 42)]);
    }

    #[test]
    fn what_apply_refuses_is_told() {
        let image = image_of(&[start_of(1, 1, true), creation_of("a", 5, 1)]);
        let plan = plan_deletion(&image, &[name("x"), name("a")]);
        let outcomes = plan.applied(&[Err(ApplyError::UnknownTopicId(Uuid::from_u128(5)))]);
        let codes: Vec<_> = outcomes
            .iter()
            .map(|o| o.result.as_ref().err().map(|failure| failure.code))
            .collect();
        assert_eq!(
            codes,
            [
                Some(ErrorCode::UnknownTopicId),
                Some(ErrorCode::UnknownTopicOrPartition)
            ]
        );
    }
}
