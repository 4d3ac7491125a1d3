//! The metadata state machine: one command applied to an image.
//!
//! Invariants: deterministic (the result depends on image, index and command only); a refused command or item changes
//! nothing but `applied_index`; a leader epoch and a partition epoch never fall while a topic lives; a topic id is
//! never in use twice; producer-id blocks are disjoint; `isr ⊆ replicas`, `leader ∈ isr` or -1.
//! Everything is checked here once more although the proposer checked it: its image may have been older.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::sync::Arc;

use protocol::types::{BrokerId, PartitionIndex, TopicId};

use super::command::{
    ApplyError, Command, CommandResult, ConfigChange, ConfigResource, CreatePartitions, CreateTopics, FeatureLevel,
    NewPartitions, NewTopic, ProducerIdBlock, RegisterBroker, TopicLimits,
};
use super::image::MetadataImage;
use super::image::brokers::BrokerImage;
use super::image::configs::ConfigMap;
use super::image::topics::{PartitionImage, TopicImage};
use super::topic_name;

/// Applies the command that stands at `index` of the log.
pub fn apply(image: &mut MetadataImage, index: u64, command: &Command) -> CommandResult {
    image.applied_index = index;
    match command {
        Command::SetClusterId {
            cluster_id,
            feature_level,
        } => CommandResult::ClusterIdSet(set_cluster_id(image, cluster_id, *feature_level)),
        Command::RegisterBroker(broker) => CommandResult::BrokerRegistered(Ok(register_broker(image, index, broker))),
        Command::CreateTopics(CreateTopics { topics, limits }) => {
            CommandResult::TopicsCreated(topics.iter().map(|topic| create_topic(image, topic, *limits)).collect())
        }
        Command::DeleteTopics { topic_ids } => {
            CommandResult::TopicsDeleted(topic_ids.iter().map(|id| delete_topic(image, id)).collect())
        }
        Command::AllocateProducerIds { broker_id, count } => {
            CommandResult::ProducerIdsAllocated(allocate_producer_ids(image, *broker_id, *count))
        }
        Command::AlterConfigs { changes } => {
            CommandResult::ConfigsAltered(changes.iter().map(|change| alter_configs(image, change)).collect())
        }
        Command::CreatePartitions(CreatePartitions { topics, max_partitions }) => {
            let results = topics.iter().map(|topic| add_partitions(image, topic, *max_partitions));
            CommandResult::PartitionsCreated(results.collect())
        }
        Command::UpdateFeatures { updates } => CommandResult::FeaturesUpdated(update_features(image, updates)),
    }
}

fn set_cluster_id(image: &mut MetadataImage, cluster_id: &str, feature_level: u32) -> Result<(), ApplyError> {
    if !image.cluster_id.is_empty() {
        return Err(ApplyError::ClusterIdAlreadySet(image.cluster_id.to_string()));
    }
    image.cluster_id = Arc::from(cluster_id);
    image.feature_level = feature_level;
    Ok(())
}

/// Registers a process start and gives its broker epoch. The same incarnation registering again keeps its epoch, so a
/// repeated proposal is harmless.
fn register_broker(image: &mut MetadataImage, index: u64, broker: &RegisterBroker) -> i64 {
    let old = image.brokers.get(broker.broker_id).map(Arc::clone);
    let same_process = old.as_ref().filter(|old| old.incarnation == broker.incarnation);
    let epoch = same_process.map_or_else(
        || i64::try_from(index).expect("a log has less than 2^63 entries"),
        |old| old.epoch,
    );
    let is_restart = old.is_some() && same_process.is_none();
    image.brokers.insert(BrokerImage {
        id: broker.broker_id,
        epoch,
        incarnation: broker.incarnation,
        endpoints: broker.endpoints.clone(),
        rack: broker.rack.clone(),
        fenced: false,
    });
    if is_restart && !broker.clean_shutdown {
        raise_leader_epochs(image, broker.broker_id);
    }
    epoch
}

/// Starts a new leader epoch in every partition that the broker leads.
fn raise_leader_epochs(image: &mut MetadataImage, broker: BrokerId) {
    let led: Vec<_> = image
        .topics()
        .filter(|topic| topic.partitions.iter().any(|partition| partition.leader == broker))
        .map(Arc::clone)
        .collect();
    for topic in led {
        let mut topic = TopicImage::clone(&topic);
        for partition in topic
            .partitions
            .iter_mut()
            .filter(|partition| partition.leader == broker)
        {
            partition.leader_epoch += 1;
            partition.partition_epoch += 1;
        }
        image.topics.insert(topic);
    }
}

fn create_topic(image: &mut MetadataImage, topic: &NewTopic, limits: TopicLimits) -> Result<(), ApplyError> {
    check_name(image, &topic.name)?;
    if topic.topic_id.is_nil() || image.topic_by_id(&topic.topic_id).is_some() {
        return Err(ApplyError::TopicIdInUse(topic.topic_id));
    }
    if image.topics.len() >= limits.max_topics as usize {
        return Err(ApplyError::TooManyTopics(limits.max_topics));
    }
    if image.topics.partition_count() + topic.replicas.len() > limits.max_partitions as usize {
        return Err(ApplyError::TooManyPartitions(limits.max_partitions));
    }
    if topic.replicas.is_empty() {
        return Err(ApplyError::InvalidReplicas(0));
    }
    let partitions = (0..)
        .zip(&topic.replicas)
        .map(|(index, replicas)| new_partition(image, index, replicas))
        .collect::<Result<Vec<_>, _>>()?;
    image.topics.insert(TopicImage {
        name: Arc::from(topic.name.as_str()),
        id: topic.topic_id,
        internal: topic_name::is_internal(&topic.name),
        partitions,
    });
    image
        .configs
        .set(ConfigResource::Topic(topic.name.clone()), topic.configs.clone());
    Ok(())
}

/// Whether a topic of this name can be made.
pub fn check_name(image: &MetadataImage, name: &str) -> Result<(), ApplyError> {
    if image.topic(name).is_some() {
        return Err(ApplyError::TopicAlreadyExists(name.to_owned()));
    }
    if topic_name::validate(name).is_err() {
        return Err(ApplyError::InvalidTopicName(name.to_owned()));
    }
    match image.topics.colliding(name) {
        None => Ok(()),
        Some(existing) => Err(ApplyError::TopicNameCollision {
            name: name.to_owned(),
            existing: existing.to_string(),
        }),
    }
}

fn new_partition(image: &MetadataImage, index: i32, replicas: &[BrokerId]) -> Result<PartitionImage, ApplyError> {
    let repeated = replicas
        .iter()
        .enumerate()
        .any(|(at, broker)| replicas[..at].contains(broker));
    if replicas.is_empty() || repeated {
        return Err(ApplyError::InvalidReplicas(index));
    }
    if let Some(unknown) = replicas.iter().find(|broker| image.brokers.get(**broker).is_none()) {
        return Err(ApplyError::UnknownBroker(*unknown));
    }
    let isr: Vec<_> = replicas
        .iter()
        .copied()
        .filter(|broker| image.is_active(*broker))
        .collect();
    let leader = *isr.first().ok_or(ApplyError::NoActiveReplica(index))?;
    Ok(PartitionImage {
        replicas: replicas.to_vec(),
        isr,
        leader,
        leader_epoch: 0,
        partition_epoch: 0,
    })
}

fn add_partitions(image: &mut MetadataImage, new: &NewPartitions, max_partitions: u32) -> Result<(), ApplyError> {
    let topic = image
        .topic_by_id(&new.topic_id)
        .ok_or(ApplyError::UnknownTopicId(new.topic_id))?;
    let (before, planned_before) = (topic.partitions.len(), new.partitions_before as usize);
    if before != planned_before || new.replicas.is_empty() {
        return Err(ApplyError::PartitionsExist {
            topic: topic.name.to_string(),
            partitions: before,
            wanted: planned_before + new.replicas.len(),
        });
    }
    if image.topics.partition_count() + new.replicas.len() > max_partitions as usize {
        return Err(ApplyError::TooManyPartitions(max_partitions));
    }
    let mut topic = TopicImage::clone(topic);
    for (index, replicas) in (before..).zip(&new.replicas) {
        let index = PartitionIndex::try_from(index).map_err(|_| ApplyError::TooManyPartitions(max_partitions))?;
        topic.partitions.push(new_partition(image, index, replicas)?);
    }
    image.topics.insert(topic);
    Ok(())
}

fn update_features(image: &mut MetadataImage, updates: &[FeatureLevel]) -> Result<(), ApplyError> {
    let changed = |update: &&FeatureLevel| image.features.get(&update.name).copied() != update.replaces;
    if let Some(update) = updates.iter().find(changed) {
        return Err(ApplyError::FeatureChanged(update.name.clone()));
    }
    let levels = updates.iter().map(|update| (update.name.clone(), update.level));
    image.features.extend(levels);
    Ok(())
}

fn delete_topic(image: &mut MetadataImage, id: &TopicId) -> Result<(), ApplyError> {
    let topic = image.topics.remove(id).ok_or(ApplyError::UnknownTopicId(*id))?;
    image
        .configs
        .set(ConfigResource::Topic(topic.name.to_string()), ConfigMap::new());
    Ok(())
}

fn allocate_producer_ids(
    image: &mut MetadataImage,
    broker: BrokerId,
    count: u32,
) -> Result<ProducerIdBlock, ApplyError> {
    if image.brokers.get(broker).is_none() {
        return Err(ApplyError::UnknownBroker(broker));
    }
    let first = image.next_producer_id;
    match first.checked_add(i64::from(count)) {
        Some(next) if count > 0 => {
            image.next_producer_id = next;
            Ok(ProducerIdBlock { first, count })
        }
        _ => Err(ApplyError::NoProducerIds(count)),
    }
}

/// Sets and removes the values of one resource. Whoever plans several changes applies each to an image of its own, so
/// that the next one is planned on top of it.
pub fn alter_configs(image: &mut MetadataImage, change: &ConfigChange) -> Result<(), ApplyError> {
    match &change.resource {
        ConfigResource::Topic(name) if image.topic(name).is_none() => {
            return Err(ApplyError::UnknownTopic(name.clone()));
        }
        _ => {}
    }
    let mut values = image.configs.get(&change.resource).clone();
    for (name, value) in &change.values {
        match value {
            Some(value) => values.insert(name.clone(), value.clone()),
            None => values.remove(name),
        };
    }
    image.configs.set(change.resource.clone(), values);
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
