//! The owner task over a metadata log in memory.

use std::time::Duration;

use storage::io::std_fs::StdFileSystem;

use super::*;
use crate::config::broker::BrokerConfig;
use crate::controller::configs::{APPEND, BROKER, ConfigEntry, SET, TOPIC};
use crate::controller::memory_log::MemoryMetadataLog;
use crate::env::{ManualClock, SeededEntropy};
use crate::metadata::command::ConfigResource;
use crate::metadata::publisher::{ImageListener, ListenerFuture};

#[derive(Debug)]
struct Nobody;

impl ImageListener for Nobody {
    fn on_image<'a>(&'a self, _: &'a Arc<MetadataImage>, _: &'a Arc<MetadataImage>) -> ListenerFuture<'a> {
        Box::pin(std::future::ready(()))
    }
}

struct Rig {
    controller: Arc<Controller>,
    log: Arc<MemoryMetadataLog>,
    publisher: Arc<MetadataPublisher>,
}

/// A controller with broker 1 registered.
async fn rig() -> Rig {
    let settings = ControllerSettings {
        broker: Arc::new(LiveConfig::new(Arc::new(BrokerConfig {
            num_partitions: 2,
            ..BrokerConfig::default()
        }))),
        max_partitions_per_request: 100,
        limits: TopicLimits {
            max_topics: 1_000,
            max_partitions: 10_000,
        },
        max_queued_requests: 500,
    };
    let fs = Arc::new(StdFileSystem);
    let env = Env::new(Arc::new(ManualClock::new(0)), Arc::new(SeededEntropy::new(1)), fs);
    let log = Arc::new(MemoryMetadataLog::default());
    let publisher = Arc::new(MetadataPublisher::new());
    let (controller, task) = Controller::new(settings, env, Arc::clone(&log) as _, Arc::clone(&publisher));
    tokio::spawn(task);
    tokio::spawn({
        let (publisher, images) = (Arc::clone(&publisher), log.images());
        async move { publisher.run(images, Arc::new(Nobody)).await }
    });
    let incarnation = uuid::Uuid::from_u128(1);
    let broker = RegisterBroker {
        broker_id: 1,
        incarnation,
        endpoints: Vec::new(),
        rack: None,
        clean_shutdown: true,
    };
    controller
        .register_broker(broker)
        .await
        .expect("running")
        .expect("accepted");
    Rig {
        controller: Arc::new(controller),
        log,
        publisher,
    }
}

fn codes(outcomes: &[TopicOutcome]) -> Vec<Option<ErrorCode>> {
    outcomes
        .iter()
        .map(|outcome| outcome.result.as_ref().err().map(|failure| failure.code))
        .collect()
}

#[tokio::test]
async fn an_answer_comes_after_the_image_is_published() {
    let rig = rig().await;
    let outcomes = rig
        .controller
        .create_topics(vec![TopicSpec::with_defaults("t")], false)
        .await
        .expect("running");
    let created = outcomes[0].result.as_ref().expect("created");
    let image = rig.publisher.current();
    let topic = image.topic("t").expect("published");
    assert_eq!((topic.id, topic.partitions.len()), (created.topic_id, 2));

    let again = rig
        .controller
        .create_topics(vec![TopicSpec::with_defaults("t")], false)
        .await
        .expect("running");
    assert_eq!(codes(&again), [Some(ErrorCode::TopicAlreadyExists)]);

    let target = DeletionTarget {
        name: Some("t".to_owned()),
        topic_id: uuid::Uuid::nil(),
    };
    let deleted = rig.controller.delete_topics(vec![target]).await.expect("running");
    assert_eq!(deleted[0].result, Ok(()));
    assert_eq!(deleted[0].topic_id, created.topic_id);
    assert!(rig.publisher.current().topic("t").is_none());
}

#[tokio::test]
async fn validate_only_proposes_nothing() {
    let rig = rig().await;
    let before = rig.log.proposals();
    let request = vec![TopicSpec::with_defaults("t"), TopicSpec::with_defaults("no good")];
    let outcomes = rig.controller.create_topics(request, true).await.expect("running");
    assert_eq!(codes(&outcomes), [None, Some(ErrorCode::InvalidTopicException)]);
    assert_eq!(rig.log.proposals(), before);
    assert!(rig.publisher.current().topic("t").is_none());
}

#[tokio::test]
async fn requests_at_the_same_time_share_a_proposal_and_meet_in_apply() {
    let rig = rig().await;
    let before = rig.log.proposals();
    let ask = |name: &str| {
        let (controller, spec) = (Arc::clone(&rig.controller), TopicSpec::with_defaults(name));
        tokio::spawn(async move { codes(&controller.create_topics(vec![spec], false).await.expect("running")) })
    };
    let tasks: Vec<_> = (0..50).map(|n| ask(&format!("t{}", n % 10))).collect();
    let mut created = 0;
    for task in tasks {
        match task.await.expect("no panic").as_slice() {
            [None] => created += 1,
            [Some(ErrorCode::TopicAlreadyExists)] => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(created, 10);
    assert_eq!(rig.publisher.current().topics.len(), 10);
    // All tasks were runnable before the owner was: it finds them together.
    assert_eq!(rig.log.proposals(), before + 1);
}

#[tokio::test]
async fn a_change_too_large_for_an_entry_is_refused_and_hinders_nobody() {
    let rig = rig().await;
    let value = "x".repeat(32_000);
    let entries = (0..=MAX_ENTRY_BYTES / 32_000).map(|index| set(&format!("my.{index}"), &value));
    let alterations = vec![altering(BROKER, "", entries.collect())];
    let (refused, created, small) = tokio::join!(
        rig.controller.alter_configs(alterations, false),
        rig.controller.create_topics(vec![TopicSpec::with_defaults("t")], false),
        rig.controller
            .alter_configs(vec![altering(BROKER, "", vec![set("my.own", "1")])], false),
    );
    let error = refused.expect_err("too large");
    assert_eq!(ErrorCode::from(&error), ErrorCode::PolicyViolation);
    assert_eq!(codes(&created.expect("running")), [None]);
    assert_eq!(small.expect("running"), [Ok(())]);
    let image = rig.publisher.current();
    let stored: Vec<_> = image.configs.get(&ConfigResource::ClusterDefault).keys().collect();
    assert_eq!(stored, ["my.own"], "nothing of the refused request");
}

fn set(name: &str, value: &str) -> ConfigEntry {
    ConfigEntry {
        name: name.to_owned(),
        operation: SET,
        value: Some(value.to_owned()),
    }
}

fn altering(resource_type: i8, name: &str, entries: Vec<ConfigEntry>) -> ConfigAlteration {
    ConfigAlteration {
        resource_type,
        resource_name: name.to_owned(),
        replaces_all: false,
        entries,
    }
}

#[tokio::test]
async fn requests_of_one_batch_do_not_lose_each_others_configs() {
    let rig = rig().await;
    rig.controller
        .create_topics(vec![TopicSpec::with_defaults("t")], false)
        .await
        .expect("running");
    let before = rig.log.proposals();
    let name = "leader.replication.throttled.replicas";
    let tasks: Vec<_> = (0..20)
        .map(|index| {
            let controller = Arc::clone(&rig.controller);
            let entry = ConfigEntry {
                operation: APPEND,
                ..set(name, &format!("{index}:1"))
            };
            tokio::spawn(async move {
                controller
                    .alter_configs(vec![altering(TOPIC, "t", vec![entry])], false)
                    .await
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("no panic").expect("running"), [Ok(())]);
    }
    assert_eq!(rig.log.proposals(), before + 1, "they were one batch");
    let image = rig.publisher.current();
    assert_eq!(image.topic_configs("t")[name].split(',').count(), 20);
}

#[tokio::test]
async fn configs_that_are_only_validated_change_nothing() {
    let rig = rig().await;
    let before = rig.log.proposals();
    let alterations = || vec![altering(BROKER, "1", vec![set("max.connections", "5")])];
    let validated = rig.controller.alter_configs(alterations(), true).await;
    assert_eq!(validated.expect("running"), [Ok(())]);
    assert_eq!(rig.log.proposals(), before);
    assert_eq!(
        rig.controller
            .alter_configs(alterations(), false)
            .await
            .expect("running"),
        [Ok(())]
    );
    assert_eq!(rig.log.proposals(), before + 1);
    assert_eq!(
        rig.controller
            .alter_configs(alterations(), false)
            .await
            .expect("running"),
        [Ok(())]
    );
    assert_eq!(rig.log.proposals(), before + 1, "what changes nothing is not proposed");
}

#[tokio::test]
async fn a_closed_log_fails_requests_instead_of_keeping_them() {
    let rig = rig().await;
    rig.log.close().await;
    let asked = rig.controller.create_topics(vec![TopicSpec::with_defaults("t")], false);
    let error = tokio::time::timeout(Duration::from_secs(30), asked)
        .await
        .expect("an answer")
        .expect_err("closed");
    assert!(matches!(error, ControllerError::Propose(ProposeError::Stopped(_))));
}

#[tokio::test]
async fn producer_ids_are_distinct_and_come_in_blocks() {
    use crate::controller::producer_ids::ProducerIds;

    let rig = rig().await;
    let before = rig.log.proposals();
    let ids = Arc::new(ProducerIds::new(1, Arc::clone(&rig.controller)));
    assert_eq!(ids.try_next(), None);
    let tasks: Vec<_> = (0..1_500)
        .map(|_| {
            let ids = Arc::clone(&ids);
            tokio::spawn(async move { ids.next().await.expect("running") })
        })
        .collect();
    let mut given = std::collections::BTreeSet::new();
    for task in tasks {
        assert!(given.insert(task.await.expect("no panic")), "given twice");
    }
    assert_eq!(given.len(), 1_500);
    assert_eq!(rig.log.proposals(), before + 2);
    // Another process of the same broker never gets an id of the first.
    let other = ProducerIds::new(1, Arc::clone(&rig.controller));
    assert_eq!(other.next().await.expect("running"), 2_000);
}
