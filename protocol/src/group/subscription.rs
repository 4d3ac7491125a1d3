//! What a member of a classic consumer group subscribes to: the metadata of its JoinGroup.
//!
//! Versions: 0 topics and user data; 1 adds owned partitions; 2 the generation id; 3 the rack id.
//! Invariant: fields that a version lacks have their defaults. They also have them if the bytes end exactly before
//! such a field: there are clients that claim version 1 without writing its field.

use bytes::Bytes;

use super::wire::{self, Reader};
use super::{CONSUMER_PROTOCOL_MAX_VERSION, ConsumerProtocolError, TopicPartitions};

/// One member's subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerProtocolSubscription {
    /// Names of the topics.
    pub topics: Vec<String>,
    /// For the assignor of the client.
    pub user_data: Option<Bytes>,
    /// What the member holds at the time, for cooperative rebalancing.
    pub owned_partitions: Vec<TopicPartitions>,
    /// The generation in which it got these, -1 if unknown.
    pub generation_id: i32,
    /// Where the member runs.
    pub rack_id: Option<String>,
}

impl Default for ConsumerProtocolSubscription {
    fn default() -> Self {
        Self {
            topics: Vec::new(),
            user_data: None,
            owned_partitions: Vec::new(),
            generation_id: -1,
            rack_id: None,
        }
    }
}

impl ConsumerProtocolSubscription {
    /// Reads the version and what it brings.
    pub fn decode(bytes: &[u8]) -> Result<Self, ConsumerProtocolError> {
        let mut reader = Reader::new(bytes);
        let version = reader.version()?;
        let mut subscription = Self::default();
        for _ in 0..reader.count(2, "topics")? {
            subscription.topics.push(reader.string("topics")?);
        }
        subscription.user_data = reader.nullable_bytes("user data")?;
        if version >= 1 && !reader.is_empty() {
            subscription.owned_partitions = reader.topic_partitions("owned partitions")?;
        }
        if version >= 2 && !reader.is_empty() {
            subscription.generation_id = reader.int32("generation id")?;
        }
        if version >= 3 && !reader.is_empty() {
            subscription.rack_id = reader.nullable_string("rack id")?;
        }
        Ok(subscription)
    }

    /// Writes the version, or the newest known one if it is higher, and the fields that it has.
    pub fn encode(&self, version: i16) -> Result<Bytes, ConsumerProtocolError> {
        if version < 0 {
            return Err(ConsumerProtocolError::UnsupportedVersion { version });
        }
        let version = version.min(CONSUMER_PROTOCOL_MAX_VERSION);
        let mut output = version.to_be_bytes().to_vec();
        wire::write_count(&mut output, self.topics.len(), "topics")?;
        for topic in &self.topics {
            wire::write_string(&mut output, topic, "topics")?;
        }
        wire::write_nullable_bytes(&mut output, self.user_data.as_deref(), "user data")?;
        if version >= 1 {
            wire::write_topic_partitions(&mut output, &self.owned_partitions, "owned partitions")?;
        }
        if version >= 2 {
            output.extend_from_slice(&self.generation_id.to_be_bytes());
        }
        if version >= 3 {
            wire::write_nullable_string(&mut output, self.rack_id.as_deref(), "rack id")?;
        }
        Ok(output.into())
    }
}
