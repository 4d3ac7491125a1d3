//! The worker of the rdkafka crate; `_serve.py` says what a worker does, `../_rust` has the loop.
//!
//! **Invariant:** everything is done with the crate's synchronous clients; futures of its admin client are waited for.

mod cluster;
mod command;
mod producing;
mod reading;
mod serve;
mod transform;

use std::env;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::cluster::RdCluster;
use crate::producing::RdProducer;
use crate::reading::RdReader;
use crate::serve::{
    Answer, Cluster, ConsumerOptions, Failure, Library, MemberOptions, Producer, ProducerOptions, Reader,
    TransformOptions, serve,
};

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        let code = error.rdkafka_error_code();
        Self::of(code, error.to_string())
    }
}

impl From<RDKafkaErrorCode> for Failure {
    fn from(code: RDKafkaErrorCode) -> Self {
        Self::of(Some(code), code.to_string())
    }
}

impl Failure {
    fn of(code: Option<RDKafkaErrorCode>, message: String) -> Self {
        use RDKafkaErrorCode as Code;
        let kind = match code {
            Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => "fenced",
            Some(Code::MessageSizeTooLarge) => "too_large",
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => "unknown_topic",
            Some(Code::TopicAlreadyExists) => "topic_exists",
            Some(Code::UnknownMemberId | Code::IllegalGeneration | Code::FencedInstanceId) => "stale_member",
            _ => "other",
        };
        let name = code.map_or_else(|| "KafkaError".to_owned(), |code| format!("{code:?}"));
        Self::Refused { kind, name, message }
    }
}

struct Rdkafka {
    config: ClientConfig,
}

impl Library for Rdkafka {
    fn producer(&self, options: ProducerOptions) -> Answer<Box<dyn Producer>> {
        Ok(Box::new(RdProducer::open(&self.config, &options)?))
    }

    fn consumer(&self, options: ConsumerOptions) -> Answer<Box<dyn Reader>> {
        Ok(Box::new(RdReader::of_partitions(&self.config, &options)?))
    }

    fn member(&self, options: MemberOptions) -> Answer<Box<dyn Reader>> {
        Ok(Box::new(RdReader::of_group(&self.config, &options)?))
    }

    fn cluster(&self) -> Answer<Box<dyn Cluster>> {
        Ok(Box::new(RdCluster::open(&self.config)?))
    }

    fn transform(&self, options: TransformOptions) -> Answer<()> {
        transform::run(&self.config, options)
    }
}

fn main() {
    let address = env::args().nth(1).expect("an address");
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address)
        .set("allow.auto.create.topics", "false");
    config.set("reconnect.backoff.max.ms", "500").set("log_level", "0");
    serve(&Rdkafka { config });
}
