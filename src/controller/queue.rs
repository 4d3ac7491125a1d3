//! The controller's owner task: batches what is asked for at the same time into one proposal.
//!
//! Invariants: one proposal is in flight; a request is planned against an image that contains everything answered
//! before; an answer is given after the change is published on this node, so its topics can be used at once; the queue
//! is bounded, and who finds it full waits.

use std::future::Future;
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::types::BrokerId;
use storage::dir::uuid_text::fresh_uuid;
use tokio::sync::{mpsc, oneshot};

use super::configs::{AlterationPlan, ConfigAlteration, ConfigRules, Outcome, plan_alterations, validate_new_topic};
use super::deletion::{DeletionOutcome, DeletionPlan, DeletionTarget, plan_deletion};
use super::log::{MAX_ENTRY_BYTES, MetadataLog, ProposeError, Proposed};
use super::topics::{CreationPlan, TopicOutcome, TopicRules, TopicSpec, plan_creation};
use crate::config::live::LiveConfig;
use crate::env::Env;
use crate::metadata::command::{ApplyError, Command, CommandResult, ProducerIdBlock, RegisterBroker, TopicLimits};
use crate::metadata::command_codec::encoded_len;
use crate::metadata::image::MetadataImage;
use crate::metadata::publisher::MetadataPublisher;

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
}

/// Handle to the owner task. Dropping it stops the task after the requests that it has.
#[derive(Debug)]
pub struct Controller {
    requests: mpsc::Sender<Request>,
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

#[derive(Debug)]
enum Request {
    Create {
        topics: Vec<TopicSpec>,
        validate_only: bool,
        answer: Answer<Vec<TopicOutcome>>,
    },
    Delete {
        targets: Vec<DeletionTarget>,
        answer: Answer<Vec<DeletionOutcome>>,
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
            log,
            publisher,
            queue,
        };
        (Self { requests }, owner.run())
    }

    /// Makes topics; one outcome per name. With `validate_only` nothing is made.
    pub async fn create_topics(
        &self,
        topics: Vec<TopicSpec>,
        validate_only: bool,
    ) -> Result<Vec<TopicOutcome>, ControllerError> {
        self.ask(|answer| Request::Create {
            topics,
            validate_only,
            answer,
        })
        .await
    }

    /// Deletes topics by name or by id; one outcome per topic.
    pub async fn delete_topics(&self, targets: Vec<DeletionTarget>) -> Result<Vec<DeletionOutcome>, ControllerError> {
        self.ask(|answer| Request::Delete { targets, answer }).await
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

/// A planned request; `at` is the place of its command in the proposal, if it has one.
enum Waiting {
    Create {
        plan: CreationPlan,
        at: Option<usize>,
        answer: Answer<Vec<TopicOutcome>>,
    },
    Delete {
        plan: DeletionPlan,
        at: Option<usize>,
        answer: Answer<Vec<DeletionOutcome>>,
    },
    AlterConfigs {
        plan: AlterationPlan,
        at: Option<usize>,
        answer: Answer<Vec<Outcome>>,
    },
    Command {
        at: usize,
        answer: Answer<CommandResult>,
    },
}

impl Owner {
    async fn run(mut self) {
        let mut requests = Vec::new();
        while self.queue.recv_many(&mut requests, MAX_BATCH_REQUESTS).await > 0 {
            let mut image = MetadataImage::clone(&self.publisher.current());
            let mut batch = Batch::default();
            for request in requests.drain(..) {
                let before = image.clone();
                let (command, request) = self.plan(&mut image, request);
                let bytes = command.as_ref().map_or(0, encoded_len);
                if bytes > MAX_ENTRY_BYTES {
                    request.fail(
                        &ProposeError::TooLarge {
                            bytes,
                            limit: MAX_ENTRY_BYTES,
                        }
                        .into(),
                    );
                    image = before;
                    continue;
                }
                if batch.bytes + bytes > MAX_ENTRY_BYTES
                    && let Err(error) = self.propose(std::mem::take(&mut batch)).await
                {
                    // what was planned on top of it is void too
                    request.fail(&error);
                    image = MetadataImage::clone(&self.publisher.current());
                    continue;
                }
                batch.add(command, bytes, request);
            }
            // those who waited were told
            let _failed = self.propose(batch).await;
        }
    }

    /// What a request asks for now; what it proposes is checked again when it is applied. `image` takes changes of
    /// configs, so that the next plan is made on top of them.
    fn plan(&self, image: &mut MetadataImage, request: Request) -> (Option<Command>, Waiting) {
        match request {
            Request::Create {
                topics,
                validate_only,
                answer,
            } => {
                let plan = self.plan_creation(image, &topics);
                let command = if validate_only {
                    None
                } else {
                    plan.command(self.settings.limits)
                };
                (
                    command.map(Command::CreateTopics),
                    Waiting::Create { plan, at: None, answer },
                )
            }
            Request::Delete { targets, answer } => {
                let plan = plan_deletion(image, &targets);
                let topic_ids = plan.topic_ids.clone();
                let command = (!topic_ids.is_empty()).then_some(Command::DeleteTopics { topic_ids });
                (command, Waiting::Delete { plan, at: None, answer })
            }
            Request::AlterConfigs {
                alterations,
                validate_only,
                answer,
            } => {
                let plan = if validate_only {
                    self.plan_alterations(&mut image.clone(), &alterations)
                } else {
                    self.plan_alterations(image, &alterations)
                };
                let changes = plan.changes.clone();
                let proposes = !validate_only && !changes.is_empty();
                let command = proposes.then_some(Command::AlterConfigs { changes });
                (command, Waiting::AlterConfigs { plan, at: None, answer })
            }
            Request::Command { command, answer } => (Some(command), Waiting::Command { at: 0, answer }),
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

impl Waiting {
    fn set_place(&mut self, place: usize) {
        match self {
            Self::Create { at, .. } | Self::Delete { at, .. } | Self::AlterConfigs { at, .. } => *at = Some(place),
            Self::Command { at, .. } => *at = place,
        }
    }

    /// Answers; that nobody waits any more (a timeout, a closed connection) is no fault.
    fn finish(self, results: &[CommandResult]) {
        match self {
            Self::Create { plan, at, answer } => {
                let outcomes = match at.map(|at| &results[at]) {
                    None => plan.outcomes,
                    Some(CommandResult::TopicsCreated(results)) => plan.applied(results),
                    Some(other) => unreachable!("{other:?} is not the result of creating topics"),
                };
                let _ = answer.send(Ok(outcomes));
            }
            Self::Delete { plan, at, answer } => {
                let outcomes = match at.map(|at| &results[at]) {
                    None => plan.outcomes,
                    Some(CommandResult::TopicsDeleted(results)) => plan.applied(results),
                    Some(other) => unreachable!("{other:?} is not the result of deleting topics"),
                };
                let _ = answer.send(Ok(outcomes));
            }
            Self::AlterConfigs { plan, at, answer } => {
                let outcomes = match at.map(|at| &results[at]) {
                    None => plan.outcomes(),
                    Some(CommandResult::ConfigsAltered(results)) => plan.applied(results),
                    Some(other) => unreachable!("{other:?} is not the result of altering configs"),
                };
                let _ = answer.send(Ok(outcomes));
            }
            Self::Command { at, answer } => {
                let _ = answer.send(Ok(results[at].clone()));
            }
        }
    }

    fn fail(self, error: &ControllerError) {
        match self {
            Self::Create { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::Delete { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::AlterConfigs { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::Command { answer, .. } => drop(answer.send(Err(error.clone()))),
        }
    }
}

#[cfg(test)]
mod tests;
