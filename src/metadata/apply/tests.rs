//! The state machine against its invariants, and generators of commands for other tests.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::metadata::command::Endpoint;

const LIMITS: TopicLimits = TopicLimits {
    max_topics: 100,
    max_partitions: 1_000,
};

/// Commands over few names, ids and brokers, so that they meet.
pub(crate) fn any_command() -> impl Strategy<Value = Command> {
    let name = prop::sample::select(vec!["a", "a.b", "a_b", "b", "__consumer_offsets", "bad name", ""]);
    let id = || (0_u128..6).prop_map(Uuid::from_u128);
    let broker = || 1_i32..4;
    let configs = || prop::collection::btree_map("[a-c]", "[x-z]{0,2}", 0..3);
    let replicas = || prop::collection::vec(prop::collection::vec(broker(), 0..3), 0..4);
    let new_partitions =
        (id(), 0_u32..4, replicas()).prop_map(|(topic_id, partitions_before, replicas)| NewPartitions {
            topic_id,
            partitions_before,
            replicas,
        });
    let level = ("[f-g]", prop::option::of(0_i16..3), 0_i16..3).prop_map(|(name, replaces, level)| FeatureLevel {
        name,
        replaces,
        level,
    });
    let new_topic =
        (name.clone(), id(), replicas(), configs()).prop_map(|(name, topic_id, replicas, configs)| NewTopic {
            name: name.to_owned(),
            topic_id,
            replicas,
            configs,
        });
    let resource = prop_oneof![
        name.prop_map(|name| ConfigResource::Topic(name.to_owned())),
        Just(ConfigResource::ClusterDefault),
        broker().prop_map(ConfigResource::Broker),
        "[a-b]".prop_map(ConfigResource::Group),
        "[a-b]".prop_map(ConfigResource::ClientMetrics),
    ];
    let values = prop::collection::btree_map("[a-c]", prop::option::of("[x-z]{0,2}".prop_map(String::from)), 0..3);
    let change = (resource, values).prop_map(|(resource, values)| ConfigChange { resource, values });
    prop_oneof![
        1 => ("[a-b]", 0_u32..3).prop_map(|(cluster_id, feature_level)| Command::SetClusterId { cluster_id, feature_level }),
        3 => (broker(), id(), any::<bool>(), prop::option::of("[a-z]{1,3}".prop_map(String::from))).prop_map(
            |(broker_id, incarnation, clean_shutdown, rack)| Command::RegisterBroker(RegisterBroker {
                broker_id,
                incarnation,
                endpoints: vec![Endpoint { listener: "PLAINTEXT".to_owned(), host: String::new(), port: 9092 }],
                rack,
                clean_shutdown,
            })
        ),
        4 => (prop::collection::vec(new_topic, 0..3), 0_u32..6, 0_u32..12).prop_map(
            |(topics, max_topics, max_partitions)| Command::CreateTopics(CreateTopics {
                topics,
                limits: TopicLimits { max_topics, max_partitions },
            })
        ),
        2 => prop::collection::vec(id(), 0..3).prop_map(|topic_ids| Command::DeleteTopics { topic_ids }),
        1 => (broker(), 0_u32..2_000).prop_map(|(broker_id, count)| Command::AllocateProducerIds { broker_id, count }),
        2 => prop::collection::vec(change, 0..3).prop_map(|changes| Command::AlterConfigs { changes }),
        2 => (prop::collection::vec(new_partitions, 0..3), 0_u32..16).prop_map(|(topics, max_partitions)| {
            Command::CreatePartitions(CreatePartitions { topics, max_partitions })
        }),
        1 => prop::collection::vec(level, 0..3).prop_map(|updates| Command::UpdateFeatures { updates }),
    ]
}

/// The image that the commands build from nothing.
pub(crate) fn image_of(commands: &[Command]) -> MetadataImage {
    let mut image = MetadataImage::default();
    for (index, command) in (1..).zip(commands) {
        apply(&mut image, index, command);
    }
    image
}

/// A process start of a broker.
pub(crate) fn start_of(broker_id: BrokerId, incarnation: u128, clean_shutdown: bool) -> Command {
    Command::RegisterBroker(RegisterBroker {
        broker_id,
        incarnation: Uuid::from_u128(incarnation),
        endpoints: Vec::new(),
        rack: None,
        clean_shutdown,
    })
}

/// One topic on broker 1.
pub(crate) fn creation_of(name: &str, id: u128, partitions: usize) -> Command {
    Command::CreateTopics(CreateTopics {
        topics: vec![NewTopic {
            name: name.to_owned(),
            topic_id: Uuid::from_u128(id),
            replicas: vec![vec![1]; partitions],
            configs: BTreeMap::new(),
        }],
        limits: LIMITS,
    })
}

fn created(image: &mut MetadataImage, index: u64, command: &Command) -> Result<(), ApplyError> {
    match apply(image, index, command) {
        CommandResult::TopicsCreated(mut results) if results.len() == 1 => results.remove(0),
        other => panic!("{other:?} is not the result of creating one topic"),
    }
}

#[test]
fn a_topic_gets_leader_isr_and_epoch_0() {
    let image = image_of(&[start_of(1, 9, true), creation_of("t", 5, 2)]);
    let topic = image.topic("t").expect("created");
    assert_eq!(
        (topic.id, topic.internal, topic.partitions.len()),
        (Uuid::from_u128(5), false, 2)
    );
    let partition = PartitionImage {
        replicas: vec![1],
        isr: vec![1],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
    };
    assert_eq!(image.partition("t", 1), Some(&partition));
    assert_eq!(image.partition("t", 2), None);
    assert_eq!(image.partition("t", -1), None);
    assert_eq!(image.topic_by_id(&Uuid::from_u128(5)), Some(topic));
    assert_eq!(image.applied_index, 2);
}

#[test]
fn refused_creations_name_their_reason() {
    let mut image = image_of(&[start_of(1, 9, true), creation_of("a.b", 5, 2)]);
    let before = image.clone();
    let with = |change: &dyn Fn(&mut CreateTopics)| {
        let Command::CreateTopics(mut create) = creation_of("new", 6, 1) else {
            unreachable!("made so")
        };
        change(&mut create);
        Command::CreateTopics(create)
    };
    let text = String::from;
    let table = [
        (creation_of("a.b", 6, 1), ApplyError::TopicAlreadyExists(text("a.b"))),
        (
            creation_of("a_b", 6, 1),
            ApplyError::TopicNameCollision {
                name: text("a_b"),
                existing: text("a.b"),
            },
        ),
        (creation_of("no/", 6, 1), ApplyError::InvalidTopicName(text("no/"))),
        (creation_of("new", 5, 1), ApplyError::TopicIdInUse(Uuid::from_u128(5))),
        (creation_of("new", 0, 1), ApplyError::TopicIdInUse(Uuid::nil())),
        (creation_of("new", 6, 0), ApplyError::InvalidReplicas(0)),
        (with(&|c| c.limits.max_topics = 1), ApplyError::TooManyTopics(1)),
        (with(&|c| c.limits.max_partitions = 2), ApplyError::TooManyPartitions(2)),
        (
            with(&|c| c.topics[0].replicas.push(vec![])),
            ApplyError::InvalidReplicas(1),
        ),
        (
            with(&|c| c.topics[0].replicas.push(vec![1, 1])),
            ApplyError::InvalidReplicas(1),
        ),
        (
            with(&|c| c.topics[0].replicas.push(vec![1, 2])),
            ApplyError::UnknownBroker(2),
        ),
    ];
    for (command, error) in table {
        assert_eq!(created(&mut image, 2, &command), Err(error));
        assert_eq!(image, before, "a refused item changes nothing");
    }
    assert_eq!(
        created(
            &mut image,
            3,
            &with(&|c| c.limits = TopicLimits {
                max_topics: 2,
                max_partitions: 3
            })
        ),
        Ok(())
    );
}

fn added(
    image: &mut MetadataImage,
    id: u128,
    partitions_before: u32,
    replicas: &[&[BrokerId]],
) -> Result<(), ApplyError> {
    let topics = vec![NewPartitions {
        topic_id: Uuid::from_u128(id),
        partitions_before,
        replicas: replicas.iter().map(|replicas| replicas.to_vec()).collect(),
    }];
    let create = CreatePartitions {
        topics,
        max_partitions: 5,
    };
    match apply(image, image.applied_index + 1, &Command::CreatePartitions(create)) {
        CommandResult::PartitionsCreated(mut results) if results.len() == 1 => results.remove(0),
        other => panic!("{other:?} is not the result of adding partitions to one topic"),
    }
}

#[test]
fn partitions_are_added_behind_the_others() {
    let mut image = image_of(&[start_of(1, 9, true), creation_of("t", 5, 1), start_of(1, 10, false)]);
    assert_eq!(added(&mut image, 5, 1, &[&[1], &[1]]), Ok(()));
    let epochs: Vec<_> = (0..3)
        .map(|index| image.partition("t", index).expect("there").leader_epoch)
        .collect();
    assert_eq!(epochs, [1, 0, 0], "old ones are left alone, new ones start at 0");
    assert_eq!(image.topics.partition_count(), 3);
}

#[test]
fn refused_additions_change_nothing() {
    let mut image = image_of(&[start_of(1, 9, true), creation_of("t", 5, 2), creation_of("u", 6, 1)]);
    let before = image.clone();
    let exist = |partitions, wanted| ApplyError::PartitionsExist {
        topic: "t".to_owned(),
        partitions,
        wanted,
    };
    let cases: [(u128, u32, &[&[BrokerId]], ApplyError); 7] = [
        (7, 2, &[&[1]], ApplyError::UnknownTopicId(Uuid::from_u128(7))),
        (5, 1, &[&[1]], exist(2, 2)),
        (5, 3, &[&[1]], exist(2, 4)),
        (5, 2, &[], exist(2, 2)),
        (5, 2, &[&[1], &[1], &[1]], ApplyError::TooManyPartitions(5)),
        (5, 2, &[&[1], &[]], ApplyError::InvalidReplicas(3)),
        (5, 2, &[&[1], &[2]], ApplyError::UnknownBroker(2)),
    ];
    for (id, partitions_before, replicas, error) in cases {
        assert_eq!(added(&mut image, id, partitions_before, replicas), Err(error));
        image.applied_index = before.applied_index;
        assert_eq!(image, before, "half an addition");
    }
}

#[test]
fn features_are_set_together_or_not_at_all() {
    let mut image = MetadataImage::default();
    let set = |levels: &[(&str, Option<i16>, i16)]| Command::UpdateFeatures {
        updates: levels
            .iter()
            .map(|(name, replaces, level)| FeatureLevel {
                name: (*name).to_owned(),
                replaces: *replaces,
                level: *level,
            })
            .collect(),
    };
    let levels = |image: &MetadataImage| image.features.clone().into_iter().collect::<Vec<_>>();
    let done = CommandResult::FeaturesUpdated(Ok(()));
    assert_eq!(apply(&mut image, 1, &set(&[("f", None, 2), ("g", None, 1)])), done);
    let stale = CommandResult::FeaturesUpdated(Err(ApplyError::FeatureChanged("g".to_owned())));
    assert_eq!(apply(&mut image, 2, &set(&[("f", Some(2), 3), ("g", None, 2)])), stale);
    assert_eq!(levels(&image), [("f".to_owned(), 2), ("g".to_owned(), 1)]);
    assert_eq!(apply(&mut image, 3, &set(&[("f", Some(2), 0)])), done);
    assert_eq!(
        levels(&image),
        [("f".to_owned(), 0), ("g".to_owned(), 1)],
        "0 is kept: it differs from never"
    );
}

#[test]
fn an_unclean_restart_raises_leader_epochs_and_nothing_else_does() {
    let mut image = image_of(&[start_of(1, 9, true), creation_of("t", 5, 1)]);
    let epochs = |image: &MetadataImage| {
        let partition = image.partition("t", 0).expect("there");
        (partition.leader_epoch, partition.partition_epoch)
    };
    let steps = [
        (start_of(1, 9, false), 1, (0, 0), "the same process again"),
        (start_of(1, 10, true), 4, (0, 0), "a restart in order"),
        (start_of(1, 11, false), 5, (1, 1), "a restart after a crash"),
        (start_of(2, 12, false), 6, (1, 1), "another broker"),
    ];
    for ((command, epoch, expected, why), index) in steps.into_iter().zip(3..) {
        assert_eq!(
            apply(&mut image, index, &command),
            CommandResult::BrokerRegistered(Ok(epoch)),
            "{why}"
        );
        assert_eq!(epochs(&image), expected, "{why}");
    }
}

#[test]
fn deletion_forgets_configs_and_frees_the_name() {
    let mut image = image_of(&[start_of(1, 9, true), creation_of("a.b", 5, 1)]);
    let set = Command::AlterConfigs {
        changes: vec![ConfigChange {
            resource: ConfigResource::Topic("a.b".to_owned()),
            values: [("retention.ms".to_owned(), Some("1".to_owned()))].into(),
        }],
    };
    assert_eq!(apply(&mut image, 3, &set), CommandResult::ConfigsAltered(vec![Ok(())]));
    assert_eq!(image.topic_configs("a.b").len(), 1);
    let delete = Command::DeleteTopics {
        topic_ids: vec![Uuid::from_u128(5), Uuid::from_u128(5)],
    };
    let gone = ApplyError::UnknownTopicId(Uuid::from_u128(5));
    assert_eq!(
        apply(&mut image, 4, &delete),
        CommandResult::TopicsDeleted(vec![Ok(()), Err(gone)])
    );
    assert!(image.topics.is_empty() && image.topics.partition_count() == 0);
    assert!(image.topic_configs("a.b").is_empty());
    assert_eq!(
        apply(&mut image, 5, &set),
        CommandResult::ConfigsAltered(vec![Err(ApplyError::UnknownTopic("a.b".to_owned()))])
    );
    assert_eq!(
        created(&mut image, 6, &creation_of("a_b", 6, 1)),
        Ok(()),
        "the name no longer collides"
    );
}

#[test]
fn configs_are_set_and_removed() {
    let mut image = MetadataImage::default();
    let change = |values: &[(&str, Option<&str>)]| Command::AlterConfigs {
        changes: vec![ConfigChange {
            resource: ConfigResource::ClusterDefault,
            values: values
                .iter()
                .map(|(n, v)| ((*n).to_owned(), v.map(str::to_owned)))
                .collect(),
        }],
    };
    apply(&mut image, 1, &change(&[("a", Some("1")), ("b", Some("2"))]));
    apply(
        &mut image,
        2,
        &change(&[("a", None), ("b", Some("3")), ("never.set", None)]),
    );
    assert_eq!(
        image.configs.get(&ConfigResource::ClusterDefault),
        &ConfigMap::from([("b".to_owned(), "3".to_owned())])
    );
}

#[test]
fn producer_id_blocks_do_not_overlap_and_end() {
    let mut image = image_of(&[start_of(1, 9, true)]);
    let allocate = |count| Command::AllocateProducerIds { broker_id: 1, count };
    let block = |first, count| CommandResult::ProducerIdsAllocated(Ok(ProducerIdBlock { first, count }));
    assert_eq!(apply(&mut image, 2, &allocate(1_000)), block(0, 1_000));
    assert_eq!(apply(&mut image, 3, &allocate(1)), block(1_000, 1));
    image.next_producer_id = i64::MAX - 1;
    let refused = |count| CommandResult::ProducerIdsAllocated(Err(ApplyError::NoProducerIds(count)));
    assert_eq!(apply(&mut image, 4, &allocate(2)), refused(2));
    assert_eq!(apply(&mut image, 5, &allocate(0)), refused(0));
    assert_eq!(apply(&mut image, 6, &allocate(1)), block(i64::MAX - 1, 1));
    let stranger = Command::AllocateProducerIds { broker_id: 7, count: 1 };
    let unknown = CommandResult::ProducerIdsAllocated(Err(ApplyError::UnknownBroker(7)));
    assert_eq!(apply(&mut image, 7, &stranger), unknown);
}

#[test]
fn the_cluster_is_named_once() {
    let mut image = MetadataImage::default();
    let name = |id: &str| Command::SetClusterId {
        cluster_id: id.to_owned(),
        feature_level: 1,
    };
    assert_eq!(apply(&mut image, 1, &name("x")), CommandResult::ClusterIdSet(Ok(())));
    let refused = CommandResult::ClusterIdSet(Err(ApplyError::ClusterIdAlreadySet("x".to_owned())));
    assert_eq!(apply(&mut image, 2, &name("y")), refused);
    assert_eq!((&*image.cluster_id, image.feature_level), ("x", 1));
}

/// What must hold of every image, and from each image to the next.
fn check_step(before: &MetadataImage, after: &MetadataImage) {
    let mut keys = BTreeSet::new();
    for topic in after.topics() {
        assert!(
            keys.insert(topic_name::collision_key(&topic.name)),
            "{} collides",
            topic.name
        );
        assert_eq!(after.topic_by_id(&topic.id), Some(topic));
        assert_eq!(after.topic(&topic.name), Some(topic));
        let fewest = before.topic_by_id(&topic.id).map_or(1, |old| old.partitions.len());
        assert!(topic.partitions.len() >= fewest, "{} lost partitions", topic.name);
        for (index, partition) in topic.partitions.iter().enumerate() {
            assert!(partition.isr.iter().all(|broker| partition.replicas.contains(broker)));
            assert!(partition.isr.contains(&partition.leader));
            if let Some(old) = before
                .topic_by_id(&topic.id)
                .and_then(|topic| topic.partitions.get(index))
            {
                assert!(partition.leader_epoch >= old.leader_epoch && partition.partition_epoch >= old.partition_epoch);
                let moved = partition.leader_epoch != old.leader_epoch || partition.leader != old.leader;
                assert!(!moved || partition.partition_epoch > old.partition_epoch);
            }
        }
    }
    let count: usize = after.topics().map(|topic| topic.partitions.len()).sum();
    assert_eq!(after.topics.partition_count(), count);
    for (resource, values) in after.configs.iter() {
        assert!(!values.is_empty());
        if let ConfigResource::Topic(name) = resource {
            assert!(after.topic(name).is_some(), "configs of a topic that is gone");
        }
    }
    assert!(after.next_producer_id >= before.next_producer_id);
    for broker in before.brokers.iter() {
        assert!(
            after
                .brokers
                .get(broker.id)
                .is_some_and(|after| after.epoch >= broker.epoch)
        );
    }
}

proptest! {
    #[test]
    fn invariants_hold_and_replay_from_nothing_is_the_same(commands in prop::collection::vec(any_command(), 0..40)) {
        let mut image = MetadataImage::default();
        let mut results = Vec::new();
        for (index, command) in (1..).zip(&commands) {
            let before = image.clone();
            results.push(apply(&mut image, index, command));
            check_step(&before, &image);
        }
        let mut again = MetadataImage::default();
        let repeated: Vec<_> = (1..).zip(&commands).map(|(index, command)| apply(&mut again, index, command)).collect();
        prop_assert_eq!(again, image);
        prop_assert_eq!(repeated, results);
    }
}
