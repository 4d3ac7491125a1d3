//! Reads Fetch requests, versions 4 to 18.
//!
//! Invariants: a field that the version lacks has the default of Kafka's schema; `replica_id` is -1
//! (a consumer) unless the request says otherwise, in the plain field up to version 14 and in the
//! tagged replica state from 15 on, so that leaving it out never gives a client the rights of a
//! follower. Versions: 5 log start offset, 7 sessions (KIP-227), 9 leader epoch (KIP-320), 11 rack
//! (KIP-392), 12 flexible and last fetched epoch (KIP-595), 13 topic ids (KIP-516), 15 replica state
//! (KIP-903), 17 directory id (KIP-853), 18 high watermark of the replica (KIP-1166).

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::reader::Reader;
use crate::api;
use crate::decode::DecodeError;
use crate::types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId};

/// A Fetch request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// Cluster that a replica believes to be in.
    pub cluster_id: Option<StrBytes>,
    /// Id of the follower that fetches; -1 for a consumer.
    pub replica_id: BrokerId,
    /// Epoch of the follower; -1 when not given.
    pub replica_epoch: i64,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// How much to wait for.
    pub min_bytes: i32,
    /// Limit of the whole response.
    pub max_bytes: i32,
    /// 0 = read uncommitted, 1 = read committed.
    pub isolation_level: i8,
    /// Id of the fetch session; 0 = none.
    pub session_id: i32,
    /// Epoch of the fetch session; -1 = sessionless, 0 = new session.
    pub session_epoch: i32,
    /// What to fetch, in order of priority.
    pub topics: Vec<FetchTopic>,
    /// What to take out of the session.
    pub forgotten_topics: Vec<ForgottenTopic>,
    /// Rack of the consumer; empty when not given.
    pub rack_id: StrBytes,
}

/// A topic in a Fetch request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic {
    /// Name; empty from version 13 on.
    pub name: StrBytes,
    /// Id; nil before version 13.
    pub topic_id: TopicId,
    /// The partitions in the order of the request.
    pub partitions: Vec<FetchPartition>,
}

/// A partition in a Fetch request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    /// Index in the topic.
    pub partition: PartitionIndex,
    /// Leader epoch that the fetcher believes to be current; -1 = no check.
    pub current_leader_epoch: LeaderEpoch,
    /// Where to read from.
    pub fetch_offset: Offset,
    /// Epoch of the last record that the fetcher has; -1 = no check.
    pub last_fetched_epoch: LeaderEpoch,
    /// Log start offset of a follower; -1 for a consumer.
    pub log_start_offset: Offset,
    /// Limit of this partition.
    pub partition_max_bytes: i32,
    /// Directory of a follower's replica; nil when not given.
    pub replica_directory_id: Uuid,
    /// High watermark of a follower; `i64::MAX` when not given.
    pub high_watermark: Offset,
}

/// A topic to take out of a fetch session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgottenTopic {
    /// Name; empty from version 13 on.
    pub name: StrBytes,
    /// Id; nil before version 13.
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

impl FetchRequest {
    /// Reads a request body.
    pub fn read(version: i16, body: &Bytes) -> Result<Self, DecodeError> {
        let api = api::find(api::FETCH).filter(|api| api.serves(version));
        let unsupported = DecodeError::UnsupportedVersion {
            api_key: api::FETCH,
            api_version: version,
        };
        let flexible = api.ok_or(unsupported)?.is_flexible(version);
        let mut reader = Reader::new(body, flexible);
        let mut request = Self {
            cluster_id: None,
            replica_id: if version <= 14 { reader.i32()? } else { -1 },
            replica_epoch: -1,
            max_wait_ms: reader.i32()?,
            min_bytes: reader.i32()?,
            max_bytes: reader.i32()?,
            isolation_level: reader.i8()?,
            session_id: if version >= 7 { reader.i32()? } else { 0 },
            session_epoch: if version >= 7 { reader.i32()? } else { -1 },
            topics: read_topics(&mut reader, version, flexible)?,
            forgotten_topics: if version >= 7 {
                read_forgotten(&mut reader, version, flexible)?
            } else {
                Vec::new()
            },
            rack_id: if version >= 11 {
                reader.string()?
            } else {
                StrBytes::new()
            },
        };
        reader.tagged_fields(|reader, tag| match tag {
            0 => {
                request.cluster_id = reader.nullable_string()?;
                Ok(true)
            }
            1 if version >= 15 => {
                request.replica_id = reader.i32()?;
                request.replica_epoch = reader.i64()?;
                reader.no_tagged_fields()?;
                Ok(true)
            }
            1 => Err(DecodeError::InvalidTag { tag }),
            _ => Ok(false),
        })?;
        Ok(request)
    }
}

/// The fewest bytes of a topic: a short name or an id, no partitions.
const fn min_topic_bytes(flexible: bool) -> usize {
    if flexible { 3 } else { 6 }
}

fn read_topics(reader: &mut Reader<'_>, version: i16, flexible: bool) -> Result<Vec<FetchTopic>, DecodeError> {
    let count = reader.struct_count(min_topic_bytes(flexible))?;
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let (name, topic_id) = read_topic_name(reader, version)?;
        let count = reader.struct_count(min_partition_bytes(version))?;
        let mut partitions = Vec::with_capacity(count);
        for _ in 0..count {
            partitions.push(read_partition(reader, version)?);
        }
        reader.no_tagged_fields()?;
        topics.push(FetchTopic {
            name,
            topic_id,
            partitions,
        });
    }
    Ok(topics)
}

fn read_topic_name(reader: &mut Reader<'_>, version: i16) -> Result<(StrBytes, TopicId), DecodeError> {
    if version >= 13 {
        Ok((StrBytes::new(), reader.uuid()?))
    } else {
        Ok((reader.string()?, TopicId::nil()))
    }
}

/// Index, offset and limit, which every version has, and the fields of fixed length that came later.
const fn min_partition_bytes(version: i16) -> usize {
    match version {
        ..=4 => 16,
        5..=8 => 24,
        9..=11 => 28,
        12.. => 33,
    }
}

fn read_partition(reader: &mut Reader<'_>, version: i16) -> Result<FetchPartition, DecodeError> {
    let mut partition = FetchPartition {
        partition: reader.i32()?,
        current_leader_epoch: if version >= 9 { reader.i32()? } else { -1 },
        fetch_offset: reader.i64()?,
        last_fetched_epoch: if version >= 12 { reader.i32()? } else { -1 },
        log_start_offset: if version >= 5 { reader.i64()? } else { -1 },
        partition_max_bytes: reader.i32()?,
        replica_directory_id: Uuid::nil(),
        high_watermark: Offset::MAX,
    };
    reader.tagged_fields(|reader, tag| match tag {
        0 if version >= 17 => {
            partition.replica_directory_id = reader.uuid()?;
            Ok(true)
        }
        1 if version >= 18 => {
            partition.high_watermark = reader.i64()?;
            Ok(true)
        }
        0 | 1 => Err(DecodeError::InvalidTag { tag }),
        _ => Ok(false),
    })?;
    Ok(partition)
}

fn read_forgotten(reader: &mut Reader<'_>, version: i16, flexible: bool) -> Result<Vec<ForgottenTopic>, DecodeError> {
    let count = reader.struct_count(min_topic_bytes(flexible))?;
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let (name, topic_id) = read_topic_name(reader, version)?;
        let partitions = reader.i32_array()?;
        reader.no_tagged_fields()?;
        topics.push(ForgottenTopic {
            name,
            topic_id,
            partitions,
        });
    }
    Ok(topics)
}

#[cfg(test)]
mod tests;
