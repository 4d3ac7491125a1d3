//! The controller's owner task: batches what is asked for at the same time into one proposal.
//!
//! Invariants: one proposal is in flight; a request is planned against an image that contains everything answered
//! before and what the requests before it in its proposal do, so that requests at the same time do as well as one after
//! the other; what really happened comes from applying the proposal; an answer is given after the change is published on this node, so its topics can be used at once; the queue
//! is bounded, and who finds it full waits.

mod waiting;

use std::future::Future;
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::types::BrokerId;
use storage::dir::uuid_text::fresh_uuid;
use tokio::sync::{mpsc, oneshot};

use self::waiting::Waiting;
use super::configs::{AlterationPlan, ConfigAlteration, ConfigRules, Outcome, plan_alterations, validate_new_topic};
use super::deletion::{DeletionOutcome, DeletionTarget, plan_deletion};
use super::features::{FeatureSpec, plan_features};
use super::log::{MAX_ENTRY_BYTES, MetadataLog, ProposeError, Proposed, QuorumState};
use super::partitions::{PartitionRules, PartitionsOutcome, PartitionsPlan, PartitionsSpec, plan_partitions};
use super::topics::{CreationPlan, TopicOutcome, TopicRules, TopicSpec, plan_creation};
use crate::config::live::LiveConfig;
use crate::env::Env;
use crate::metadata::apply::apply;
use crate::metadata::command::{
    AlterClientQuotas, ApplyError, Command, CommandResult, ProducerIdBlock, RegisterBroker, TopicLimits,
};
use crate::metadata::command_codec::encoded_len;
use crate::metadata::features::SupportedFeature;
use crate::metadata::image::MetadataImage;
use crate::metadata::publisher::MetadataPublisher;
use crate::quota::mutations::MutationQuota;

/// Requests that go into one proposal at most: keeps the wait of the first behind the last short.
const MAX_BATCH_REQUESTS: usize = 256;

/// What the controller goes by.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// The broker's configuration in force.
    pub broker: Arc<LiveConfig>,
    /// Partitions that one request may make (10000 in Kafka, not configurable there).
    pub max_partitions_per_request: usize,
    /// How much metadata there may be.
    pub limits: TopicLimits,
    /// Requests that may wait.
    pub max_queued_requests: usize,
    /// The features of this build.
    pub features: &'static [SupportedFeature],
}

/// Handle to the owner task. Dropping it stops the task after the requests that it has.
#[derive(Debug)]
pub struct Controller {
    requests: mpsc::Sender<Request>,
    log: Arc<dyn MetadataLog>,
}

/// Why a request got no answer of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControllerError {
    /// The proposal failed.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The broker is stopping.
    #[error("the controller has stopped")]
    Stopped,
}

impl From<&ControllerError> for ErrorCode {
    fn from(error: &ControllerError) -> Self {
        match error {
            ControllerError::Propose(error) => error.into(),
            // Retriable: the client asks again and then meets the broker that took over, or this one restarted.
            ControllerError::Stopped => Self::NotController,
        }
    }
}

type Answer<T> = oneshot::Sender<Result<T, ControllerError>>;

/// What became of a request to change levels of features: why none was changed.
pub type FeaturesOutcome = Result<(), String>;

#[derive(Debug)]
enum Request {
    Create {
        topics: Vec<TopicSpec>,
        validate_only: bool,
        quota: MutationQuota,
        answer: Answer<Vec<TopicOutcome>>,
    },
    Delete {
        targets: Vec<DeletionTarget>,
        quota: MutationQuota,
        answer: Answer<Vec<DeletionOutcome>>,
    },
    AddPartitions {
        topics: Vec<PartitionsSpec>,
        validate_only: bool,
        quota: MutationQuota,
        answer: Answer<Vec<PartitionsOutcome>>,
    },
    UpdateFeatures {
        features: Vec<FeatureSpec>,
        validate_only: bool,
        answer: Answer<FeaturesOutcome>,
    },
    AlterConfigs {
        alterations: Vec<ConfigAlteration>,
        validate_only: bool,
        answer: Answer<Vec<Outcome>>,
    },
    Command {
        command: Command,
        answer: Answer<CommandResult>,
    },
}

impl Controller {
    /// The handle, and the task to run on the control runtime.
    pub fn new(
        settings: ControllerSettings,
        env: Env,
        log: Arc<dyn MetadataLog>,
        publisher: Arc<MetadataPublisher>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (requests, queue) = mpsc::channel(settings.max_queued_requests);
        let owner = Owner {
            settings,
            env,
            log: Arc::clone(&log),
            publisher,
            queue,
        };
        (Self { requests, log }, owner.run())
    }

    /// Makes topics; one outcome per name. With `validate_only` nothing is made.
    pub async fn create_topics(
        &self,
        topics: Vec<TopicSpec>,
        validate_only: bool,
    ) -> Result<Vec<TopicOutcome>, ControllerError> {
        self.create_topics_within(topics, validate_only, MutationQuota::unbounded())
            .await
    }

    /// Makes topics as far as a quota allows, also with `validate_only`.
    pub async fn create_topics_within(
        &self,
        topics: Vec<TopicSpec>,
        validate_only: bool,
        quota: MutationQuota,
    ) -> Result<Vec<TopicOutcome>, ControllerError> {
        self.ask(|answer| Request::Create {
            topics,
            validate_only,
            quota,
            answer,
        })
        .await
    }

    /// Deletes topics by name or by id as far as a quota allows; one outcome per topic.
    pub async fn delete_topics(
        &self,
        targets: Vec<DeletionTarget>,
        quota: MutationQuota,
    ) -> Result<Vec<DeletionOutcome>, ControllerError> {
        self.ask(|answer| Request::Delete { targets, quota, answer }).await
    }

    /// Adds partitions to topics as far as a quota allows; one outcome per name. With `validate_only` nothing is added.
    pub async fn create_partitions(
        &self,
        topics: Vec<PartitionsSpec>,
        validate_only: bool,
        quota: MutationQuota,
    ) -> Result<Vec<PartitionsOutcome>, ControllerError> {
        self.ask(|answer| Request::AddPartitions {
            topics,
            validate_only,
            quota,
            answer,
        })
        .await
    }

    /// Sets the levels of features, all or none. With `validate_only` nothing is set.
    pub async fn update_features(
        &self,
        features: Vec<FeatureSpec>,
        validate_only: bool,
    ) -> Result<FeaturesOutcome, ControllerError> {
        self.ask(|answer| Request::UpdateFeatures {
            features,
            validate_only,
            answer,
        })
        .await
    }

    /// Where the metadata log stands.
    pub fn quorum(&self) -> QuorumState {
        self.log.quorum()
    }

    /// Gets a block of producer ids for a broker.
    pub async fn allocate_producer_ids(
        &self,
        broker_id: BrokerId,
        count: u32,
    ) -> Result<Result<ProducerIdBlock, ApplyError>, ControllerError> {
        match self.command(Command::AllocateProducerIds { broker_id, count }).await? {
            CommandResult::ProducerIdsAllocated(result) => Ok(result),
            other => unreachable!("{other:?} is not the result of an allocation"),
        }
    }

    /// Registers a broker process; gives its epoch.
    pub async fn register_broker(&self, broker: RegisterBroker) -> Result<Result<i64, ApplyError>, ControllerError> {
        match self.command(Command::RegisterBroker(broker)).await? {
            CommandResult::BrokerRegistered(result) => Ok(result),
            other => unreachable!("{other:?} is not the result of a registration"),
        }
    }

    /// Alters configs of resources that are not malformed; one outcome per resource. With `validate_only` nothing is
    /// altered.
    pub async fn alter_configs(
        &self,
        alterations: Vec<ConfigAlteration>,
        validate_only: bool,
    ) -> Result<Vec<Outcome>, ControllerError> {
        self.ask(|answer| Request::AlterConfigs {
            alterations,
            validate_only,
            answer,
        })
        .await
    }

    /// Sets and removes quotas that were checked before; one result per change.
    pub async fn alter_quotas(&self, alter: AlterClientQuotas) -> Result<Vec<Result<(), ApplyError>>, ControllerError> {
        match self.command(Command::AlterClientQuotas(alter)).await? {
            CommandResult::ClientQuotasAltered(results) => Ok(results),
            other => unreachable!("{other:?} is not the result of altering quotas"),
        }
    }

    async fn command(&self, command: Command) -> Result<CommandResult, ControllerError> {
        self.ask(|answer| Request::Command { command, answer }).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, ControllerError> {
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(request(answer))
            .await
            .map_err(|_| ControllerError::Stopped)?;
        answered.await.map_err(|_| ControllerError::Stopped)?
    }
}

struct Owner {
    settings: ControllerSettings,
    env: Env,
    log: Arc<dyn MetadataLog>,
    publisher: Arc<MetadataPublisher>,
    queue: mpsc::Receiver<Request>,
}

/// One proposal in the making.
#[derive(Default)]
struct Batch {
    commands: Vec<Command>,
    /// Encoded size of the commands.
    bytes: usize,
    waiting: Vec<Waiting>,
}

impl Owner {
    async fn run(mut self) {
        let mut requests = Vec::new();
        while self.queue.recv_many(&mut requests, MAX_BATCH_REQUESTS).await > 0 {
            // What the image will be when the requests so far are applied.
            let mut ahead = MetadataImage::clone(&self.publisher.current());
            let mut batch = Batch::default();
            for request in requests.drain(..) {
                let (command, request) = self.plan(&ahead, request);
                let bytes = command.as_ref().map_or(0, encoded_len);
                if bytes > MAX_ENTRY_BYTES {
                    request.fail(
                        &ProposeError::TooLarge {
                            bytes,
                            limit: MAX_ENTRY_BYTES,
                        }
                        .into(),
                    );
                    continue;
                }
                if batch.bytes + bytes > MAX_ENTRY_BYTES
                    && let Err(error) = self.propose(std::mem::take(&mut batch)).await
                {
                    // what was planned on top of it is void too
                    request.fail(&error);
                    ahead = MetadataImage::clone(&self.publisher.current());
                    continue;
                }
                if let Some(command) = &command {
                    apply_next(&mut ahead, command);
                }
                batch.add(command, bytes, request);
            }
            // those who waited were told
            let _failed = self.propose(batch).await;
        }
    }

    /// What a request asks for now; what it proposes is checked again when it is applied.
    fn plan(&self, image: &MetadataImage, request: Request) -> (Option<Command>, Waiting) {
        let now_ms = self.env.now().mono_ms;
        match request {
            Request::Create {
                topics,
                validate_only,
                quota,
                answer,
            } => {
                let mut plan = self.plan_creation(image, &topics);
                plan.charge(|partitions| Ok(quota.charge(partitions, now_ms)?));
                let mut command = plan.command(self.settings.limits).map(Command::CreateTopics);
                if let Some(CommandResult::TopicsCreated(results)) = rehearsed(image, &mut command, validate_only) {
                    let outcomes = plan.applied(&results);
                    plan = CreationPlan {
                        topics: Vec::new(),
                        outcomes,
                    };
                }
                (command, Waiting::Create { plan, at: None, answer })
            }
            Request::Delete { targets, quota, answer } => {
                let mut plan = plan_deletion(image, &targets);
                plan.charge(image, |partitions| Ok(quota.charge(partitions, now_ms)?));
                let topic_ids = plan.topic_ids.clone();
                let command = (!topic_ids.is_empty()).then_some(Command::DeleteTopics { topic_ids });
                (command, Waiting::Delete { plan, at: None, answer })
            }
            Request::AddPartitions {
                topics,
                validate_only,
                quota,
                answer,
            } => {
                let rules = self.partition_rules();
                let mut plan = plan_partitions(image, &topics, &rules);
                plan.charge(|partitions| Ok(quota.charge(partitions, now_ms)?));
                let mut command = plan.command(&rules).map(Command::CreatePartitions);
                if let Some(CommandResult::PartitionsCreated(results)) = rehearsed(image, &mut command, validate_only) {
                    let outcomes = plan.applied(&results);
                    plan = PartitionsPlan {
                        topics: Vec::new(),
                        outcomes,
                    };
                }
                (command, Waiting::AddPartitions { plan, at: None, answer })
            }
            Request::UpdateFeatures {
                features,
                validate_only,
                answer,
            } => self.plan_features(image, &features, validate_only, answer),
            Request::AlterConfigs {
                alterations,
                validate_only,
                answer,
            } => {
                let plan = self.plan_alterations(&mut image.clone(), &alterations);
                let changes = plan.changes.clone();
                let proposes = !validate_only && !changes.is_empty();
                let command = proposes.then_some(Command::AlterConfigs { changes });
                (command, Waiting::AlterConfigs { plan, at: None, answer })
            }
            Request::Command { command, answer } => (Some(command), Waiting::Command { at: 0, answer }),
        }
    }

    fn plan_features(
        &self,
        image: &MetadataImage,
        features: &[FeatureSpec],
        validate_only: bool,
        answer: Answer<FeaturesOutcome>,
    ) -> (Option<Command>, Waiting) {
        let node_id = self.settings.broker.at_start().resolved.node_id;
        let (updates, outcome) = match plan_features(image, self.settings.features, node_id, features) {
            Ok(updates) => (updates, Ok(())),
            Err(why) => (Vec::new(), Err(why)),
        };
        let command = (!updates.is_empty() && !validate_only).then_some(Command::UpdateFeatures { updates });
        let waiting = Waiting::UpdateFeatures {
            outcome,
            at: None,
            answer,
        };
        (command, waiting)
    }

    fn partition_rules(&self) -> PartitionRules {
        PartitionRules {
            max_partitions_per_request: self.settings.max_partitions_per_request,
            max_partitions: self.settings.limits.max_partitions,
            first_broker: self.settings.broker.at_start().resolved.node_id,
        }
    }

    fn plan_creation(&self, image: &MetadataImage, topics: &[TopicSpec]) -> CreationPlan {
        let broker = self.settings.broker.load();
        let rules = TopicRules {
            num_partitions: broker.num_partitions,
            // A factor beyond int16 is beyond the number of brokers as well, and is refused as that.
            default_replication_factor: i16::try_from(broker.default_replication_factor).unwrap_or(i16::MAX),
            max_partitions_per_request: self.settings.max_partitions_per_request,
            limits: self.settings.limits,
            first_broker: broker.resolved.node_id,
            validate_configs: &|configs| validate_new_topic(image, configs, &broker),
        };
        plan_creation(image, topics, &rules, &mut || fresh_uuid(|| self.env.uuid()))
    }

    fn plan_alterations(&self, image: &mut MetadataImage, alterations: &[ConfigAlteration]) -> AlterationPlan {
        let broker = &self.settings.broker;
        let rules = ConfigRules {
            at_start: broker.at_start(),
            current: &broker.load(),
        };
        plan_alterations(image, alterations, rules)
    }

    async fn propose(&self, batch: Batch) -> Result<(), ControllerError> {
        let answer = if batch.commands.is_empty() {
            Ok(Vec::new())
        } else {
            self.commit(batch.commands).await
        };
        match answer {
            Ok(results) => {
                batch.waiting.into_iter().for_each(|waiting| waiting.finish(&results));
                Ok(())
            }
            Err(error) => {
                batch.waiting.into_iter().for_each(|waiting| waiting.fail(&error));
                Err(error)
            }
        }
    }

    async fn commit(&self, commands: Vec<Command>) -> Result<Vec<CommandResult>, ControllerError> {
        let Proposed { index, results } = self.log.propose(commands).await?;
        self.publisher
            .wait_for(index)
            .await
            .map_err(|_| ControllerError::Stopped)?;
        Ok(results)
    }
}

/// Applies a command to an image that is not published.
fn apply_next(image: &mut MetadataImage, command: &Command) -> CommandResult {
    apply(image, image.applied_index + 1, command)
}

/// Of a request that only wants to know: takes the command away and gives what applying it would give.
fn rehearsed(image: &MetadataImage, command: &mut Option<Command>, validate_only: bool) -> Option<CommandResult> {
    let command = if validate_only { command.take() } else { None }?;
    Some(apply_next(&mut image.clone(), &command))
}

impl Batch {
    fn add(&mut self, command: Option<Command>, bytes: usize, mut request: Waiting) {
        if let Some(command) = command {
            request.set_place(self.commands.len());
            self.commands.push(command);
            self.bytes += bytes;
        }
        self.waiting.push(request);
    }
}

#[cfg(test)]
mod tests;
