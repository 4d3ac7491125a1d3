//! What is asked of the cluster and changed in it with rdkafka.
//!
//! **Invariant:** each question goes to the broker; nothing is kept here.

use std::time::Duration;

use futures_executor::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::command::number;
use crate::serve::{Answer, Cluster, Failure};

const PATIENCE: Duration = Duration::from_secs(30);

pub struct RdCluster {
    admin: AdminClient<DefaultClientContext>,
    /// Asks for what the admin client has no call for.
    consumer: BaseConsumer,
    options: AdminOptions,
}

impl RdCluster {
    pub fn open(config: &ClientConfig) -> Answer<Self> {
        let options = AdminOptions::new()
            .operation_timeout(Some(PATIENCE))
            .request_timeout(Some(PATIENCE));
        Ok(Self {
            admin: config.create()?,
            consumer: config.create()?,
            options,
        })
    }

    fn describe(&self, topic: &str) -> Answer<ConfigResource> {
        let described = block_on(
            self.admin
                .describe_configs(&[ResourceSpecifier::Topic(topic)], &self.options),
        )?;
        Ok(only(described)??)
    }
}

/// The only answer of several.
fn only<T>(answers: Vec<T>) -> Answer<T> {
    answers
        .into_iter()
        .next()
        .ok_or_else(|| Failure::other("an answer without contents"))
}

impl Cluster for RdCluster {
    fn make_topic(&mut self, topic: &str, partitions: i32, configs: Vec<(String, String)>) -> Answer<()> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = configs.iter().fold(new, |new, (key, value)| new.set(key, value));
        let made = only(block_on(self.admin.create_topics(&[new], &self.options))?)?;
        Ok(made.map(drop).map_err(|(_, code)| code)?)
    }

    fn delete_topic(&mut self, topic: &str) -> Answer<()> {
        let deleted = only(block_on(self.admin.delete_topics(&[topic], &self.options))?)?;
        Ok(deleted.map(drop).map_err(|(_, code)| code)?)
    }

    fn topics(&mut self) -> Answer<Vec<String>> {
        let found = self.consumer.fetch_metadata(None, PATIENCE)?;
        Ok(found.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    fn partitions(&mut self, topic: &str) -> Answer<usize> {
        let found = self.consumer.fetch_metadata(Some(topic), PATIENCE)?;
        found
            .topics()
            .first()
            .map(|topic| topic.partitions().len())
            .ok_or_else(|| Failure::other("no topic in the answer"))
    }

    fn grow(&mut self, topic: &str, partitions: usize) -> Answer<()> {
        let new = NewPartitions::new(topic, partitions);
        let grown = only(block_on(self.admin.create_partitions(&[new], &self.options))?)?;
        Ok(grown.map(drop).map_err(|(_, code)| code)?)
    }

    fn config(&mut self, topic: &str, key: &str) -> Answer<String> {
        let described = self.describe(topic)?;
        let value = described.get(key).and_then(|entry| entry.value.clone());
        value.ok_or_else(|| Failure::other("no such config"))
    }

    /// The crate can only set all configs at once: what it does not name goes back to its default.
    fn alter(&mut self, topic: &str, key: &str, value: &str) -> Answer<()> {
        let described = self.describe(topic)?;
        let mut wanted = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
        for entry in &described.entries {
            if entry.source == ConfigSource::DynamicTopic && entry.name != key {
                wanted = wanted.set(&entry.name, entry.value.as_deref().unwrap_or_default());
            }
        }
        let altered = only(block_on(self.admin.alter_configs(&[wanted], &self.options))?)?;
        Ok(altered.map(drop).map_err(|(_, code)| code)?)
    }

    fn offset(&mut self, topic: &str, partition: i32, wanted: &str) -> Answer<Option<i64>> {
        let (first, end) = self.consumer.fetch_watermarks(topic, partition, PATIENCE)?;
        if wanted == "earliest" || wanted == "latest" {
            return Ok(Some(if wanted == "earliest" { first } else { end }));
        }
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset(topic, partition, Offset::Offset(number(wanted)?))?;
        let found = self.consumer.offsets_for_times(asked, PATIENCE)?;
        Ok(
            match found.find_partition(topic, partition).map(|element| element.offset()) {
                Some(Offset::Offset(offset)) => Some(offset),
                _ => None,
            },
        )
    }

    fn delete_records(&mut self, topic: &str, partition: i32, offset: i64) -> Answer<i64> {
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        let deleted = block_on(self.admin.delete_records(&wanted, &self.options))?;
        let element = deleted.find_partition(topic, partition);
        let element = element.ok_or_else(|| Failure::other("no partition in the answer"))?;
        element.error()?;
        element
            .offset()
            .to_raw()
            .ok_or_else(|| Failure::other("no offset in the answer"))
    }

    fn groups(&mut self) -> Answer<Vec<String>> {
        let found = self.consumer.fetch_group_list(None, PATIENCE)?;
        Ok(found.groups().iter().map(|group| group.name().to_owned()).collect())
    }

    fn group(&mut self, group: &str) -> Answer<(String, usize)> {
        let found = self.consumer.fetch_group_list(Some(group), PATIENCE)?;
        let found = found
            .groups()
            .first()
            .map(|group| (group.state().to_owned(), group.members().len()));
        found.ok_or_else(|| Failure::other("no group in the answer"))
    }

    fn delete_group(&mut self, group: &str) -> Answer<()> {
        let deleted = only(block_on(self.admin.delete_groups(&[group], &self.options))?)?;
        Ok(deleted.map(drop).map_err(|(_, code)| code)?)
    }
}
