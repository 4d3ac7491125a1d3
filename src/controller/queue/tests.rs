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

/// A feature with levels.
const FEATURES: [SupportedFeature; 1] = [SupportedFeature {
    name: "levels",
    min_level: 0,
    max_level: 3,
    initial_level: 1,
}];

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
        features: &FEATURES,
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
    let deleted = rig
        .controller
        .delete_topics(vec![target], MutationQuota::unbounded())
        .await
        .expect("running");
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
    let entries = (0..=MAX_ENTRY_BYTES / 64_000).map(|index| set(&format!("{value}.{index}"), &value));
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

fn more_partitions(topic: &str, count: i32) -> Vec<PartitionsSpec> {
    vec![PartitionsSpec {
        topic: topic.to_owned(),
        count,
        assignments: None,
    }]
}

#[tokio::test]
async fn partitions_added_at_the_same_time_add_up() {
    let rig = rig().await;
    let create = rig.controller.create_topics(vec![TopicSpec::with_defaults("t")], false);
    create.await.expect("running");
    let before = rig.log.proposals();
    let (to_5, to_4, to_7, only_asked) = tokio::join!(
        rig.controller
            .create_partitions(more_partitions("t", 5), false, MutationQuota::unbounded()),
        rig.controller
            .create_partitions(more_partitions("t", 4), false, MutationQuota::unbounded()),
        rig.controller
            .create_partitions(more_partitions("t", 7), false, MutationQuota::unbounded()),
        rig.controller
            .create_partitions(more_partitions("t", 9), true, MutationQuota::unbounded()),
    );
    let code = |outcomes: Result<Vec<PartitionsOutcome>, ControllerError>| {
        let outcomes = outcomes.expect("running");
        outcomes[0].result.as_ref().err().map(|failure| failure.code)
    };
    assert_eq!(code(to_5), None);
    assert_eq!(code(to_4), Some(ErrorCode::InvalidPartitions), "as after the first");
    assert_eq!((code(to_7), code(only_asked)), (None, None));
    let image = rig.publisher.current();
    assert_eq!(image.topic("t").expect("there").partitions.len(), 7);
    assert_eq!(rig.log.proposals(), before + 1, "they shared a proposal");
}

#[tokio::test]
async fn a_topic_can_be_deleted_and_made_again_in_one_proposal() {
    let rig = rig().await;
    let spec = || vec![TopicSpec::with_defaults("t")];
    let first = rig.controller.create_topics(spec(), false).await.expect("running");
    let before = rig.log.proposals();
    let target = DeletionTarget {
        name: Some("t".to_owned()),
        topic_id: uuid::Uuid::nil(),
    };
    let (deleted, created, grown) = tokio::join!(
        rig.controller.delete_topics(vec![target], MutationQuota::unbounded()),
        rig.controller.create_topics(spec(), false),
        rig.controller
            .create_partitions(more_partitions("t", 3), false, MutationQuota::unbounded()),
    );
    assert_eq!(deleted.expect("running")[0].result, Ok(()));
    let created = created.expect("running")[0].result.clone().expect("the name is free");
    assert_eq!(grown.expect("running")[0].result, Ok(()));
    let image = rig.publisher.current();
    let topic = image.topic("t").expect("made again");
    assert_eq!((topic.id, topic.partitions.len()), (created.topic_id, 3));
    assert_ne!(topic.id, first[0].result.as_ref().expect("created").topic_id);
    assert_eq!(rig.log.proposals(), before + 1);
}

#[tokio::test]
async fn what_is_only_validated_is_held_against_the_limits() {
    let rig = rig().await;
    let many = |name: &str| TopicSpec {
        num_partitions: 60,
        ..TopicSpec::with_defaults(name)
    };
    for n in 0..166 {
        let made = rig.controller.create_topics(vec![many(&format!("t{n}"))], false).await;
        assert_eq!(codes(&made.expect("running")), [None]);
    }
    // 9,960 of 10,000 partitions are there.
    let more = rig.controller.create_topics(vec![many("more")], true).await;
    assert_eq!(codes(&more.expect("running")), [Some(ErrorCode::PolicyViolation)]);
    let colliding = vec![TopicSpec::with_defaults("a.b"), TopicSpec::with_defaults("a_b")];
    let colliding = rig.controller.create_topics(colliding, true).await;
    assert_eq!(
        codes(&colliding.expect("running")),
        [None, Some(ErrorCode::InvalidTopicException)]
    );
    for (count, code) in [(100, None), (101, Some(ErrorCode::PolicyViolation))] {
        for validate_only in [true, false] {
            let asked = rig.controller.create_partitions(
                more_partitions("t0", count),
                validate_only,
                MutationQuota::unbounded(),
            );
            let outcome = &asked.await.expect("running")[0];
            assert_eq!(outcome.result.as_ref().err().map(|failure| failure.code), code);
        }
        assert_eq!(
            rig.publisher.current().topic("t0").expect("there").partitions.len(),
            100
        );
    }
}

#[tokio::test]
async fn features_get_their_levels() {
    use crate::controller::features::UpgradeType;

    let rig = rig().await;
    let level = || FEATURES[0].level_in(&rig.publisher.current());
    let ask = |level, upgrade_type, validate_only| {
        let spec = FeatureSpec {
            name: "levels".to_owned(),
            level,
            upgrade_type,
        };
        rig.controller.update_features(vec![spec], validate_only)
    };
    assert_eq!(level(), 1);
    assert_eq!(ask(3, UpgradeType::Upgrade, true).await.expect("running"), Ok(()));
    assert_eq!(level(), 1, "only asked");
    let (up, further, too_late) = tokio::join!(
        ask(2, UpgradeType::Upgrade, false),
        ask(3, UpgradeType::Upgrade, false),
        ask(2, UpgradeType::Upgrade, false),
    );
    assert_eq!((up.expect("running"), further.expect("running")), (Ok(()), Ok(())));
    assert!(
        too_late
            .expect("running")
            .expect_err("it is 3 by then")
            .contains("Can't downgrade")
    );
    assert_eq!(level(), 3);
    let before = rig.log.proposals();
    assert_eq!(ask(3, UpgradeType::Upgrade, false).await.expect("running"), Ok(()));
    assert_eq!(rig.log.proposals(), before, "nothing to do");
    assert_eq!(
        ask(0, UpgradeType::SafeDowngrade, false).await.expect("running"),
        Ok(())
    );
    assert_eq!(level(), 0);
}
