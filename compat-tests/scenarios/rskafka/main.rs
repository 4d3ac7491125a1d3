//! The worker of the rskafka crate; `_serve.py` says what a worker does, `../_rust` has the loop.
//!
//! **Invariant:** the crate has clients of single partitions and little else: what is missing is said, not made up.

mod command;
mod partitions;
mod serve;

use std::env;
use std::rc::Rc;
use std::time::Duration;

use rskafka::BackoffConfig;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use tokio::runtime::{Builder, Runtime};

use crate::partitions::{RsProducer, RsReader, offset_at};
use crate::serve::{
    Answer, Cluster, ConsumerOptions, Failure, Library, MemberOptions, Producer, ProducerOptions, Reader,
    TransformOptions, serve,
};

const PATIENCE: Duration = Duration::from_secs(30);
const ADMIN_TIMEOUT_MS: i32 = 30_000;
const NO_GROUPS: Failure = Failure::Unsupported("rskafka knows no groups");
const NO_CONFIGS: Failure = Failure::Unsupported("rskafka can neither set nor read configs of topics");

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (kind, name) = match &error {
            Error::ServerError { protocol_error, .. } => {
                let kind = match protocol_error {
                    ProtocolError::MessageTooLarge => "too_large",
                    ProtocolError::UnknownTopicOrPartition => "unknown_topic",
                    ProtocolError::TopicAlreadyExists => "topic_exists",
                    _ => "other",
                };
                (kind, format!("{protocol_error:?}"))
            }
            _ => ("other", "Error".to_owned()),
        };
        let message = error.to_string();
        Self::Refused { kind, name, message }
    }
}

/// A client and what runs its futures.
#[derive(Clone)]
pub struct Connection {
    runtime: Rc<Runtime>,
    client: Rc<Client>,
}

impl Connection {
    fn open(runtime: &Rc<Runtime>, address: &str, patience: Duration) -> Answer<Self> {
        let retries = BackoffConfig {
            max_backoff: Duration::from_millis(500),
            deadline: Some(patience),
            ..BackoffConfig::default()
        };
        let client = ClientBuilder::new(vec![address.to_owned()]).backoff_config(retries);
        let client = Rc::new(runtime.block_on(client.build())?);
        Ok(Self {
            runtime: Rc::clone(runtime),
            client,
        })
    }

    pub fn run<T>(&self, future: impl Future<Output = Result<T, Error>>) -> Answer<T> {
        Ok(self.runtime.block_on(future)?)
    }

    pub fn partition(&self, topic: &str, partition: i32) -> Answer<PartitionClient> {
        self.run(
            self.client
                .partition_client(topic, partition, UnknownTopicHandling::Retry),
        )
    }
}

struct Rskafka {
    runtime: Rc<Runtime>,
    address: String,
}

impl Rskafka {
    fn connect(&self, patience: Duration) -> Answer<Connection> {
        Connection::open(&self.runtime, &self.address, patience)
    }
}

impl Library for Rskafka {
    fn producer(&self, options: ProducerOptions) -> Answer<Box<dyn Producer>> {
        Ok(Box::new(RsProducer::open(self.connect(options.patience)?, &options)?))
    }

    fn consumer(&self, options: ConsumerOptions) -> Answer<Box<dyn Reader>> {
        if options.committed {
            return Err(Failure::Unsupported("rskafka reads uncommitted records only"));
        }
        Ok(Box::new(RsReader::open(self.connect(PATIENCE)?, &options)?))
    }

    fn member(&self, _: MemberOptions) -> Answer<Box<dyn Reader>> {
        Err(NO_GROUPS)
    }

    fn cluster(&self) -> Answer<Box<dyn Cluster>> {
        Ok(Box::new(RsCluster(self.connect(PATIENCE)?)))
    }

    fn transform(&self, _: TransformOptions) -> Answer<()> {
        Err(partitions::NO_TRANSACTIONS)
    }
}

struct RsCluster(Connection);

impl Cluster for RsCluster {
    fn make_topic(&mut self, topic: &str, partitions: i32, configs: Vec<(String, String)>) -> Answer<()> {
        if !configs.is_empty() {
            return Err(NO_CONFIGS);
        }
        let controller = self.0.client.controller_client()?;
        self.0
            .run(controller.create_topic(topic, partitions, 1, ADMIN_TIMEOUT_MS))
    }

    fn delete_topic(&mut self, topic: &str) -> Answer<()> {
        let controller = self.0.client.controller_client()?;
        self.0.run(controller.delete_topic(topic, ADMIN_TIMEOUT_MS))
    }

    fn topics(&mut self) -> Answer<Vec<String>> {
        let found = self.0.run(self.0.client.list_topics())?;
        Ok(found.into_iter().map(|topic| topic.name).collect())
    }

    fn partitions(&mut self, topic: &str) -> Answer<usize> {
        let found = self.0.run(self.0.client.list_topics())?;
        let found = found.into_iter().find(|listed| listed.name == topic);
        found
            .map(|listed| listed.partitions.len())
            .ok_or_else(|| Failure::other("it is not among the topics"))
    }

    fn grow(&mut self, _: &str, _: usize) -> Answer<()> {
        Err(Failure::Unsupported("rskafka has no CreatePartitions request"))
    }

    fn config(&mut self, _: &str, _: &str) -> Answer<String> {
        Err(NO_CONFIGS)
    }

    fn alter(&mut self, _: &str, _: &str, _: &str) -> Answer<()> {
        Err(NO_CONFIGS)
    }

    fn offset(&mut self, topic: &str, partition: i32, wanted: &str) -> Answer<Option<i64>> {
        let client = self.0.partition(topic, partition)?;
        let offset = self.0.run(client.get_offset(offset_at(wanted)?))?;
        Ok((offset >= 0).then_some(offset))
    }

    fn delete_records(&mut self, topic: &str, partition: i32, offset: i64) -> Answer<i64> {
        let client = self.0.partition(topic, partition)?;
        self.0.run(client.delete_records(offset, ADMIN_TIMEOUT_MS))?;
        self.0.run(client.get_offset(offset_at("earliest")?)) // the library keeps the answer to itself
    }

    fn groups(&mut self) -> Answer<Vec<String>> {
        Err(NO_GROUPS)
    }

    fn group(&mut self, _: &str) -> Answer<(String, usize)> {
        Err(NO_GROUPS)
    }

    fn delete_group(&mut self, _: &str) -> Answer<()> {
        Err(NO_GROUPS)
    }
}

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = env::args().nth(1).expect("an address");
    serve(&Rskafka {
        runtime: Rc::new(runtime),
        address,
    });
}
