//! What the leader of a classic consumer group assigns to a member: the assignment of SyncGroup.
//!
//! Versions 0 to 3 have the same fields; they only keep step with the subscription's.

use bytes::Bytes;

use super::wire::{self, Reader};
use super::{CONSUMER_PROTOCOL_MAX_VERSION, ConsumerProtocolError, TopicPartitions};

/// One member's assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerProtocolAssignment {
    /// The partitions, by topic.
    pub assigned_partitions: Vec<TopicPartitions>,
    /// From the assignor of the client.
    pub user_data: Option<Bytes>,
}

impl ConsumerProtocolAssignment {
    /// Reads the version and the fields behind it.
    pub fn decode(bytes: &[u8]) -> Result<Self, ConsumerProtocolError> {
        let mut reader = Reader::new(bytes);
        reader.version()?;
        let assigned_partitions = reader.topic_partitions("assigned partitions")?;
        let user_data = reader.nullable_bytes("user data")?;
        Ok(Self {
            assigned_partitions,
            user_data,
        })
    }

    /// Writes the version, or the newest known one if it is higher, and the fields.
    pub fn encode(&self, version: i16) -> Result<Bytes, ConsumerProtocolError> {
        if version < 0 {
            return Err(ConsumerProtocolError::UnsupportedVersion { version });
        }
        let mut output = version.min(CONSUMER_PROTOCOL_MAX_VERSION).to_be_bytes().to_vec();
        wire::write_topic_partitions(&mut output, &self.assigned_partitions, "assigned partitions")?;
        wire::write_nullable_bytes(&mut output, self.user_data.as_deref(), "user data")?;
        Ok(output.into())
    }
}
