//! ListOffsets 0: asks for so many offsets at which reading may begin, instead of for one record.
//!
//! Invariants: those of the guard, which accepts a body before.

use bytes::Bytes;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::super::reader::Reader;
use super::super::writer::FrameWriter;
use crate::decode::DecodeError;
use crate::encode::EncodeError;
use crate::types::{Offset, PartitionIndex};
use crate::{api, guard};

/// A ListOffsets request of version 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOffsetsRequestV0 {
    /// A broker that asks, -1 for a client, -2 for a tool that compares replicas.
    pub replica_id: i32,
    /// Topics in the order of the request. One can be named twice.
    pub topics: Vec<WantedTopic>,
}

/// A topic of such a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedTopic {
    /// Name.
    pub name: StrBytes,
    /// Its partitions in the order of the request.
    pub partitions: Vec<WantedPartition>,
}

/// A partition of such a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedPartition {
    /// Which.
    pub partition_index: PartitionIndex,
    /// A time in ms since 1970, or -1 for the latest offset, -2 for the earliest.
    pub timestamp: i64,
    /// The most offsets that are to be told.
    pub max_num_offsets: i32,
}

/// A topic of the response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldTopic {
    /// Name.
    pub name: StrBytes,
    /// Its partitions in the order of the request.
    pub partitions: Vec<ToldPartition>,
}

/// A partition of the response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldPartition {
    /// Which.
    pub partition_index: PartitionIndex,
    /// 0, or why there are no offsets.
    pub error_code: i16,
    /// Offsets, the newest first.
    pub old_style_offsets: Vec<Offset>,
}

impl ListOffsetsRequestV0 {
    /// Reads a request body.
    pub fn read(body: &Bytes) -> Result<Self, DecodeError> {
        guard::check(api::LIST_OFFSETS, 0, body)?;
        let mut reader = Reader::new(body, false);
        let replica_id = reader.i32()?;
        let topics = reader.struct_count(6)?;
        Ok(Self {
            replica_id,
            topics: (0..topics).map(|_| read_topic(&mut reader)).collect::<Result<_, _>>()?,
        })
    }

    /// The request in the fields that kafka-protocol knows.
    pub(super) fn in_their_fields(self) -> ListOffsetsRequest {
        let partition = |wanted: WantedPartition| {
            ListOffsetsPartition::default()
                .with_partition_index(wanted.partition_index)
                .with_timestamp(wanted.timestamp)
        };
        let topic = |topic: WantedTopic| {
            ListOffsetsTopic::default()
                .with_name(TopicName(topic.name))
                .with_partitions(topic.partitions.into_iter().map(partition).collect())
        };
        ListOffsetsRequest::default()
            .with_replica_id(BrokerId(self.replica_id))
            .with_topics(self.topics.into_iter().map(topic).collect())
    }
}

fn read_topic(reader: &mut Reader<'_>) -> Result<WantedTopic, DecodeError> {
    let name = reader.string()?;
    let partitions = reader.struct_count(16)?;
    let partition = |_| {
        Ok(WantedPartition {
            partition_index: reader.i32()?,
            timestamp: reader.i64()?,
            max_num_offsets: reader.i32()?,
        })
    };
    Ok(WantedTopic {
        name,
        partitions: (0..partitions).map(partition).collect::<Result<_, _>>()?,
    })
}

/// The frame of a response.
pub fn write_response(correlation_id: i32, topics: &[ToldTopic]) -> Result<Bytes, EncodeError> {
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    let offsets: usize = partitions
        .map(|partition| 10 + 8 * partition.old_style_offsets.len())
        .sum();
    let mut writer = FrameWriter::new(api::LIST_OFFSETS, 0, correlation_id, offsets + 32 * topics.len())?;
    writer.array_length(Some(topics.len()));
    for topic in topics {
        writer.string(&topic.name);
        writer.array_length(Some(topic.partitions.len()));
        for partition in &topic.partitions {
            writer.i32(partition.partition_index);
            writer.i16(partition.error_code);
            writer.array_length(Some(partition.old_style_offsets.len()));
            for offset in &partition.old_style_offsets {
                writer.i64(*offset);
            }
        }
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode_request;

    #[test]
    fn requests_are_read_whole() {
        let body: &[&[u8]] = &[
            &[255, 255, 255, 255, 0, 0, 0, 2],
            &[0, 1, b'a', 0, 0, 0, 2],
            &[0, 0, 0, 3, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 1],
            &[0, 0, 0, 4, 0, 0, 1, 0, 0, 0, 0, 0, 255, 255, 255, 255],
            &[0, 2, b'b', b'c', 0, 0, 0, 0],
        ];
        let body = Bytes::from(body.concat());
        let partition = |partition_index, timestamp, max_num_offsets| WantedPartition {
            partition_index,
            timestamp,
            max_num_offsets,
        };
        let topic = |name, partitions| WantedTopic {
            name: StrBytes::from_static_str(name),
            partitions,
        };
        let expected = ListOffsetsRequestV0 {
            replica_id: -1,
            topics: vec![
                topic("a", vec![partition(3, -1, 1), partition(4, 1 << 40, -1)]),
                topic("bc", Vec::new()),
            ],
        };
        assert_eq!(ListOffsetsRequestV0::read(&body), Ok(expected.clone()));
        assert_eq!(
            decode_request(api::LIST_OFFSETS, 0, body.clone()),
            Ok(expected.in_their_fields())
        );
        for cut in 0..body.len() {
            assert!(ListOffsetsRequestV0::read(&body.slice(..cut)).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn responses_tell_offsets_in_their_order() {
        let topic = ToldTopic {
            name: StrBytes::from_static_str("a"),
            partitions: vec![
                ToldPartition {
                    partition_index: 3,
                    error_code: 0,
                    old_style_offsets: vec![256, 0],
                },
                ToldPartition {
                    partition_index: 4,
                    error_code: 3,
                    old_style_offsets: Vec::new(),
                },
            ],
        };
        let expected: &[&[u8]] = &[
            &[0, 0, 0, 51, 0, 0, 0, 7, 0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 2],
            &[0, 0, 0, 3, 0, 0, 0, 0, 0, 2],
            &[0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, 4, 0, 3, 0, 0, 0, 0],
        ];
        assert_eq!(write_response(7, &[topic]).expect("encodes"), expected.concat());
    }
}
