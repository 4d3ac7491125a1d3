//! Reads Produce requests, versions 3 to 13, without a copy of the records.
//!
//! Invariants: records are slices of the frame; two allocations hold the whole request (one vector
//! of topics, one of partitions), however many there are. What the records are is not looked at
//! here. Versions: 9 is flexible, 13 names topics by id (KIP-516); 4-8 and 10-12 change nothing in
//! the request.

use std::ops::Range;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::reader::Reader;
use crate::api;
use crate::decode::DecodeError;
use crate::types::{PartitionIndex, TopicId};

/// A Produce request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceRequest {
    /// Id of the transactional producer.
    pub transactional_id: Option<StrBytes>,
    /// How many replicas must have the records: 0, 1 or -1 (all in sync); anything else was sent.
    pub acks: i16,
    /// How long to wait for them.
    pub timeout_ms: i32,
    /// The topics in the order of the request. One can be named twice.
    pub topics: Vec<ProduceTopic>,
    /// The partitions of all topics: those of the first topic first.
    pub partitions: Vec<ProducePartition>,
}

/// A topic in a Produce request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceTopic {
    /// Name; empty from version 13 on.
    pub name: StrBytes,
    /// Id; nil before version 13.
    pub topic_id: TopicId,
    /// Where its partitions are in [`ProduceRequest::partitions`].
    pub partitions: Range<usize>,
}

/// A partition in a Produce request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducePartition {
    /// Index in the topic.
    pub index: PartitionIndex,
    /// The batches, unchecked; `None` = null.
    pub records: Option<Bytes>,
}

impl ProduceRequest {
    /// Reads a request body.
    pub fn read(version: i16, body: &Bytes) -> Result<Self, DecodeError> {
        let api = api::find(api::PRODUCE).filter(|api| api.serves(version));
        let unsupported = DecodeError::UnsupportedVersion {
            api_key: api::PRODUCE,
            api_version: version,
        };
        let flexible = api.ok_or(unsupported)?.is_flexible(version);
        let mut reader = Reader::new(body, flexible);
        let mut request = Self {
            transactional_id: reader.nullable_string()?,
            acks: reader.i16()?,
            timeout_ms: reader.i32()?,
            topics: Vec::new(),
            partitions: Vec::new(),
        };
        let topics = reader.struct_count(if flexible { 3 } else { 6 })?;
        request.topics.reserve_exact(topics);
        for _ in 0..topics {
            request.read_topic(&mut reader, version, flexible)?;
        }
        reader.no_tagged_fields()?;
        Ok(request)
    }

    fn read_topic(&mut self, reader: &mut Reader<'_>, version: i16, flexible: bool) -> Result<(), DecodeError> {
        let by_id = version >= 13;
        let name = if by_id { StrBytes::new() } else { reader.string()? };
        let topic_id = if by_id { reader.uuid()? } else { TopicId::nil() };
        let count = reader.struct_count(if flexible { 6 } else { 8 })?;
        let start = self.partitions.len();
        self.partitions.reserve(count);
        for _ in 0..count {
            let index = reader.i32()?;
            let records = reader.nullable_bytes()?;
            reader.no_tagged_fields()?;
            self.partitions.push(ProducePartition { index, records });
        }
        reader.no_tagged_fields()?;
        self.topics.push(ProduceTopic {
            name,
            topic_id,
            partitions: start..self.partitions.len(),
        });
        Ok(())
    }

    /// Every topic with its partitions, in the order of the request.
    pub fn by_topic(&self) -> impl Iterator<Item = (&ProduceTopic, &[ProducePartition])> {
        self.topics
            .iter()
            .map(|topic| (topic, &self.partitions[topic.partitions.clone()]))
    }
}

#[cfg(test)]
mod tests;
