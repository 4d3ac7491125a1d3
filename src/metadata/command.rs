//! What changes the metadata: intents with everything that is not deterministic already decided by the proposer
//! (ids, placement), and the typed result of applying each.
//!
//! Invariant: a command says all that [`super::apply`] needs; limits travel inside it, so that a node with another
//! configuration applies it the same way.

use std::collections::BTreeMap;

use protocol::error_code::ErrorCode;
use protocol::types::{BrokerId, PartitionIndex, ProducerId, TopicId};
use uuid::Uuid;

/// One change of the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Names the cluster; the first command of every log.
    SetClusterId {
        /// The cluster's id in Kafka's text form.
        cluster_id: String,
        /// Level of behaviour that all members support.
        feature_level: u32,
    },
    /// A broker process started and wants to serve.
    RegisterBroker(RegisterBroker),
    /// Makes topics.
    CreateTopics(CreateTopics),
    /// Removes topics.
    DeleteTopics {
        /// Ids of the topics; ids, not names, so that a topic made again meanwhile survives.
        topic_ids: Vec<TopicId>,
    },
    /// Hands a block of producer ids to a broker.
    AllocateProducerIds {
        /// Who gets the block.
        broker_id: BrokerId,
        /// Size of the block.
        count: u32,
    },
    /// Sets and removes configuration values.
    AlterConfigs {
        /// The changes, each with its own result.
        changes: Vec<ConfigChange>,
    },
    /// Adds partitions to topics.
    CreatePartitions(CreatePartitions),
    /// Sets the levels of features, all or none.
    UpdateFeatures {
        /// The features, each once.
        updates: Vec<FeatureLevel>,
    },
}

/// See [`Command::RegisterBroker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterBroker {
    /// `node.id`.
    pub broker_id: BrokerId,
    /// Drawn once per process start.
    pub incarnation: Uuid,
    /// Where clients reach it.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Whether the logs were closed in order before. After an unclean stop the leader epochs of the broker's
    /// partitions rise, so that clients notice that the end of a log may have been cut.
    pub clean_shutdown: bool,
}

/// One listener of a broker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Name of the listener.
    pub listener: String,
    /// Host that clients are told; empty = the address that they dialled.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// See [`Command::CreateTopics`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTopics {
    /// The topics, each with its own result.
    pub topics: Vec<NewTopic>,
    /// Limits of the proposer's configuration.
    pub limits: TopicLimits,
}

/// How much metadata there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicLimits {
    /// Topics in the cluster.
    pub max_topics: u32,
    /// Partitions in the cluster.
    pub max_partitions: u32,
}

/// A topic to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Its id, drawn by the proposer.
    pub topic_id: TopicId,
    /// Brokers of each partition, preferred leader first.
    pub replicas: Vec<Vec<BrokerId>>,
    /// Values that differ from the defaults.
    pub configs: BTreeMap<String, String>,
}

/// See [`Command::CreatePartitions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatePartitions {
    /// The topics, each with its own result.
    pub topics: Vec<NewPartitions>,
    /// Partitions that the cluster may hold, by the proposer's configuration.
    pub max_partitions: u32,
}

/// Partitions to be added to one topic, all or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartitions {
    /// The topic; its id, not its name, so that a topic made again meanwhile is left alone.
    pub topic_id: TopicId,
    /// How many partitions the topic had when this was planned: the index of the first new one.
    pub partitions_before: u32,
    /// Brokers of each new partition, preferred leader first.
    pub replicas: Vec<Vec<BrokerId>>,
}

/// The level that a feature gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureLevel {
    /// Its name.
    pub name: String,
    /// What was set when this was planned; `None` = nothing ever was.
    pub replaces: Option<i16>,
    /// The level from now on.
    pub level: i16,
}

/// Whose configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// The default of all brokers.
    ClusterDefault,
    /// One broker.
    Broker(BrokerId),
    /// A group, by its id.
    Group(String),
    /// A client-metrics subscription, by name.
    ClientMetrics(String),
}

/// Values to set and names to remove, all or none. What a request asks for (replace all, append, subtract) was worked
/// out against the image before it by the one who proposes, who has one proposal in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// Whose.
    pub resource: ConfigResource,
    /// New values; `None` removes the name.
    pub values: BTreeMap<String, Option<String>>,
}

/// What applying a command gave. The variant belongs to the command's; lists are in the command's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandResult {
    /// Of [`Command::SetClusterId`].
    ClusterIdSet(Result<(), ApplyError>),
    /// Of [`Command::RegisterBroker`]: the broker's epoch.
    BrokerRegistered(Result<i64, ApplyError>),
    /// Of [`Command::CreateTopics`].
    TopicsCreated(Vec<Result<(), ApplyError>>),
    /// Of [`Command::DeleteTopics`].
    TopicsDeleted(Vec<Result<(), ApplyError>>),
    /// Of [`Command::AllocateProducerIds`].
    ProducerIdsAllocated(Result<ProducerIdBlock, ApplyError>),
    /// Of [`Command::AlterConfigs`].
    ConfigsAltered(Vec<Result<(), ApplyError>>),
    /// Of [`Command::CreatePartitions`].
    PartitionsCreated(Vec<Result<(), ApplyError>>),
    /// Of [`Command::UpdateFeatures`].
    FeaturesUpdated(Result<(), ApplyError>),
}

/// Producer ids `first .. first + count`, given to one broker only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// First id.
    pub first: ProducerId,
    /// How many.
    pub count: u32,
}

/// Why a command, or one item of it, changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The cluster has another id already.
    #[error("the cluster has the id {0} already")]
    ClusterIdAlreadySet(String),
    /// The name is taken.
    #[error("Topic '{0}' already exists.")]
    TopicAlreadyExists(String),
    /// Another topic's name differs only in '.' and '_'.
    #[error("Topic '{name}' collides with existing topic: {existing} ('.' and '_' count as the same character)")]
    TopicNameCollision {
        /// The wanted name.
        name: String,
        /// The name that is there.
        existing: String,
    },
    /// No legal name.
    #[error("topic name '{0}' is not valid")]
    InvalidTopicName(String),
    /// Another topic has this id.
    #[error("topic id {0} is in use")]
    TopicIdInUse(TopicId),
    /// There is no topic with this id.
    #[error("there is no topic with id {0}")]
    UnknownTopicId(TopicId),
    /// There is no topic with this name.
    #[error("there is no topic '{0}'")]
    UnknownTopic(String),
    /// The cluster holds as many topics as it may.
    #[error("the cluster may hold {0} topics")]
    TooManyTopics(u32),
    /// The cluster would hold more partitions than it may.
    #[error("the cluster may hold {0} partitions")]
    TooManyPartitions(u32),
    /// A partition without a replica, or with a broker named twice.
    #[error("partition {0} of the new topic has no valid list of replicas")]
    InvalidReplicas(PartitionIndex),
    /// A broker that is not registered.
    #[error("broker {0} is not registered")]
    UnknownBroker(BrokerId),
    /// None of a partition's brokers is active.
    #[error("no broker of partition {0} is active")]
    NoActiveReplica(PartitionIndex),
    /// A topic got partitions meanwhile.
    #[error("The topic {topic} currently has {partitions} partition(s); {wanted} would not be an increase.")]
    PartitionsExist {
        /// The topic.
        topic: String,
        /// How many it has.
        partitions: usize,
        /// How many it should have got.
        wanted: usize,
    },
    /// A feature got another level meanwhile.
    #[error("the level of feature {0} was changed by another request")]
    FeatureChanged(String),
    /// All 2^63 ids were handed out, or a block of size 0 was asked for.
    #[error("no block of {0} producer ids can be given")]
    NoProducerIds(u32),
}

impl From<&ApplyError> for ErrorCode {
    fn from(error: &ApplyError) -> Self {
        match error {
            ApplyError::ClusterIdAlreadySet(_) => Self::InconsistentClusterId,
            ApplyError::TopicAlreadyExists(_) => Self::TopicAlreadyExists,
            ApplyError::TopicNameCollision { .. } | ApplyError::InvalidTopicName(_) => Self::InvalidTopicException,
            ApplyError::TopicIdInUse(_) | ApplyError::NoProducerIds(_) => Self::UnknownServerError,
            ApplyError::UnknownTopicId(_) => Self::UnknownTopicId,
            ApplyError::UnknownTopic(_) => Self::UnknownTopicOrPartition,
            ApplyError::TooManyTopics(_) | ApplyError::TooManyPartitions(_) => Self::PolicyViolation,
            ApplyError::InvalidReplicas(_) | ApplyError::NoActiveReplica(_) => Self::InvalidReplicaAssignment,
            ApplyError::UnknownBroker(_) => Self::BrokerIdNotRegistered,
            ApplyError::PartitionsExist { .. } => Self::InvalidPartitions,
            ApplyError::FeatureChanged(_) => Self::InvalidUpdateVersion,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_apply_error_has_its_code() {
        let text = || String::from("t");
        let table = [
            (ApplyError::ClusterIdAlreadySet(text()), 104),
            (ApplyError::TopicAlreadyExists(text()), 36),
            (
                ApplyError::TopicNameCollision {
                    name: text(),
                    existing: text(),
                },
                17,
            ),
            (ApplyError::InvalidTopicName(text()), 17),
            (ApplyError::TopicIdInUse(Uuid::nil()), -1),
            (ApplyError::UnknownTopicId(Uuid::nil()), 100),
            (ApplyError::UnknownTopic(text()), 3),
            (ApplyError::TooManyTopics(1), 44),
            (ApplyError::TooManyPartitions(1), 44),
            (ApplyError::InvalidReplicas(0), 39),
            (ApplyError::UnknownBroker(1), 102),
            (ApplyError::NoActiveReplica(0), 39),
            (ApplyError::NoProducerIds(0), -1),
            (
                ApplyError::PartitionsExist {
                    topic: text(),
                    partitions: 2,
                    wanted: 2,
                },
                37,
            ),
            (ApplyError::FeatureChanged(text()), 95),
        ];
        for (error, code) in table {
            assert_eq!(ErrorCode::from(&error).code(), code, "{error}");
        }
    }
}
