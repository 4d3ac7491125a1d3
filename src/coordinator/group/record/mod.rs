//! Records of `__consumer_offsets` in Kafka's byte format.
//!
//! A key is an int16 record type followed by the fields of that type; a value is an int16 version followed by its
//! fields; a null value deletes the key. Read: offset commits (types 0 and 1) and classic group metadata (type 2), value
//! versions 0 to 4. Written: what Kafka 4.3 writes. Tools read this topic, so no byte may differ.
//!
//! Invariants: a record type that we do not know is no error ([`decode`] gives `None`), an unknown value version is:
//! it may carry state that would be lost. Bytes behind the last field are ignored, as Kafka does. Sources: `GroupCoordinatorRecordHelpers`, `CoordinatorRecordSerde`,
//! the schemas `OffsetCommit{Key,Value}`, `GroupMetadata{Key,Value}`, `LegacyOffsetCommit{Key,Value}`.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::coordinator::runtime::machine::EncodedRecord;
use crate::coordinator::wire::{Reader, RecordDecodeError, RecordEncodeError, Writer};

const LEGACY_OFFSET_COMMIT: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;

/// Highest value version of both record types; also the first with compact strings and tagged fields.
const NEWEST_VALUE_VERSION: i16 = 4;
/// Kafka 4.3 still writes group metadata in this version, so that older brokers can read it.
const GROUP_METADATA_WRITE_VERSION: i16 = 3;
/// The only version that has an expire timestamp.
const EXPIRING_OFFSET_COMMIT_VERSION: i16 = 1;

/// One change of a coordinator's hard state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A committed offset, or its removal.
    OffsetCommit {
        /// The group that committed.
        group_id: Arc<str>,
        /// The topic.
        topic: Arc<str>,
        /// The partition of the topic.
        partition: i32,
        /// What was committed; `None` removes it.
        value: Option<OffsetAndMetadata>,
    },
    /// The persisted state of a classic group, or its removal.
    GroupMetadata {
        /// The group.
        group_id: Arc<str>,
        /// Its state; `None` removes it.
        value: Option<GroupMetadata>,
    },
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// The next offset to read.
    pub committed_offset: i64,
    /// Epoch of the leader of the last read record; -1 = not told.
    pub leader_epoch: i32,
    /// The client's own text.
    pub metadata: Box<str>,
    /// When it was committed.
    pub commit_timestamp_ms: i64,
    /// When it goes, if the client asked for its own retention (OffsetCommit versions 2 to 4).
    pub expire_timestamp_ms: Option<i64>,
    /// Id of the topic at the time of the commit; nil = not known.
    pub topic_id: Uuid,
}

/// The persisted state of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// "consumer", "connect", …; `None` when nobody ever joined.
    pub protocol_type: Option<Arc<str>>,
    /// Number of the last completed rebalance.
    pub generation_id: i32,
    /// The assignor or other protocol that the members chose.
    pub protocol_name: Option<Arc<str>>,
    /// Member id of the leader.
    pub leader: Option<Arc<str>>,
    /// When the group came into its present state; -1 = not known.
    pub current_state_timestamp_ms: i64,
    /// The members of this generation.
    pub members: Vec<MemberMetadata>,
}

/// A member as it is persisted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Given by the coordinator.
    pub member_id: Arc<str>,
    /// Given by the user to static members.
    pub group_instance_id: Option<Arc<str>>,
    /// The client's name for itself.
    pub client_id: Arc<str>,
    /// Where the client is.
    pub client_host: Arc<str>,
    /// How long the member may take to rejoin.
    pub rebalance_timeout_ms: i32,
    /// How long the member may be silent.
    pub session_timeout_ms: i32,
    /// Its metadata for the chosen protocol.
    pub subscription: Bytes,
    /// What the leader assigned to it.
    pub assignment: Bytes,
}

impl Record {
    /// The group that the record is about.
    pub fn group_id(&self) -> &Arc<str> {
        match self {
            Self::OffsetCommit { group_id, .. } | Self::GroupMetadata { group_id, .. } => group_id,
        }
    }

    /// The record as Kafka 4.3 writes it.
    ///
    /// # Errors
    /// When a string is longer than the format can hold.
    pub fn encode(&self) -> Result<EncodedRecord, RecordEncodeError> {
        match self {
            Self::OffsetCommit {
                group_id,
                topic,
                partition,
                value,
            } => {
                let mut key = Writer::with_version(OFFSET_COMMIT);
                key.string(group_id)?;
                key.string(topic)?;
                key.int32(*partition);
                let value = value.as_ref().map(encode_offset_commit).transpose()?;
                Ok(EncodedRecord {
                    key: key.finish(),
                    value,
                })
            }
            Self::GroupMetadata { group_id, value } => {
                let mut key = Writer::with_version(GROUP_METADATA);
                key.string(group_id)?;
                let value = value.as_ref().map(encode_group_metadata).transpose()?;
                Ok(EncodedRecord {
                    key: key.finish(),
                    value,
                })
            }
        }
    }
}

/// The names in the last record: the next one mostly has the same.
#[derive(Debug)]
pub struct Names {
    group_id: Arc<str>,
    topic: Arc<str>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            group_id: Arc::from(""),
            topic: Arc::from(""),
        }
    }
}

fn shared(last: &mut Arc<str>, text: &str) -> Arc<str> {
    if **last != *text {
        *last = Arc::from(text);
    }
    Arc::clone(last)
}

/// Decodes a record; `None` for a record type of some other kind of group.
///
/// # Errors
/// When the record is cut or malformed, or its value has a version that we do not know.
pub fn decode(
    names: &mut Names,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<Option<Record>, RecordDecodeError> {
    let mut key = Reader::new(key.ok_or_else(|| RecordDecodeError("record without a key".to_owned()))?);
    match key.int16()? {
        record_type @ (LEGACY_OFFSET_COMMIT | OFFSET_COMMIT) => {
            let group_id = shared(&mut names.group_id, key.text(false)?);
            let topic = shared(&mut names.topic, key.text(false)?);
            let partition = key.int32()?;
            let value = value
                .map(|value| decode_offset_commit(record_type, value))
                .transpose()?;
            Ok(Some(Record::OffsetCommit {
                group_id,
                topic,
                partition,
                value,
            }))
        }
        GROUP_METADATA => {
            let group_id = shared(&mut names.group_id, key.text(false)?);
            let value = value.map(decode_group_metadata).transpose()?;
            Ok(Some(Record::GroupMetadata { group_id, value }))
        }
        _ => Ok(None),
    }
}

fn encode_offset_commit(value: &OffsetAndMetadata) -> Result<Bytes, RecordEncodeError> {
    if let Some(expire_timestamp_ms) = value.expire_timestamp_ms {
        let mut writer = Writer::with_version(EXPIRING_OFFSET_COMMIT_VERSION);
        writer.int64(value.committed_offset);
        writer.string(&value.metadata)?;
        writer.int64(value.commit_timestamp_ms);
        writer.int64(expire_timestamp_ms);
        return Ok(writer.finish());
    }
    let mut writer = Writer::with_version(NEWEST_VALUE_VERSION);
    writer.int64(value.committed_offset);
    writer.int32(value.leader_epoch);
    writer.compact_string(&value.metadata)?;
    writer.int64(value.commit_timestamp_ms);
    if value.topic_id.is_nil() {
        writer.unsigned_varint(0);
    } else {
        writer.unsigned_varint(1);
        writer.unsigned_varint(0);
        writer.unsigned_varint(16);
        writer.uuid(value.topic_id);
    }
    Ok(writer.finish())
}

fn decode_offset_commit(record_type: i16, value: &[u8]) -> Result<OffsetAndMetadata, RecordDecodeError> {
    let mut reader = Reader::new(value);
    let version = value_version(
        &mut reader,
        if record_type == LEGACY_OFFSET_COMMIT {
            0
        } else {
            NEWEST_VALUE_VERSION
        },
    )?;
    let flexible = version >= 4;
    let committed_offset = reader.int64()?;
    let leader_epoch = if version >= 3 { reader.int32()? } else { -1 };
    let metadata = Box::from(reader.text(flexible)?);
    let commit_timestamp_ms = reader.int64()?;
    let expire_timestamp_ms = if version == EXPIRING_OFFSET_COMMIT_VERSION {
        reader.int64()?
    } else {
        -1
    };
    let mut topic_id = Uuid::nil();
    if flexible {
        reader.tagged_fields(|tag, field| {
            if tag == 0 {
                topic_id = field.uuid()?;
            }
            Ok(())
        })?;
    }
    Ok(OffsetAndMetadata {
        committed_offset,
        leader_epoch,
        metadata,
        commit_timestamp_ms,
        expire_timestamp_ms: (expire_timestamp_ms != -1).then_some(expire_timestamp_ms),
        topic_id,
    })
}

fn encode_group_metadata(value: &GroupMetadata) -> Result<Bytes, RecordEncodeError> {
    let mut writer = Writer::with_version(GROUP_METADATA_WRITE_VERSION);
    writer.string(value.protocol_type.as_deref().unwrap_or(""))?;
    writer.int32(value.generation_id);
    writer.nullable_string(value.protocol_name.as_deref())?;
    writer.nullable_string(value.leader.as_deref())?;
    writer.int64(value.current_state_timestamp_ms);
    writer.array_length(value.members.len())?;
    for member in &value.members {
        writer.string(&member.member_id)?;
        writer.nullable_string(member.group_instance_id.as_deref())?;
        writer.string(&member.client_id)?;
        writer.string(&member.client_host)?;
        writer.int32(member.rebalance_timeout_ms);
        writer.int32(member.session_timeout_ms);
        writer.byte_string(&member.subscription)?;
        writer.byte_string(&member.assignment)?;
    }
    Ok(writer.finish())
}

fn decode_group_metadata(value: &[u8]) -> Result<GroupMetadata, RecordDecodeError> {
    let mut reader = Reader::new(value);
    let version = value_version(&mut reader, NEWEST_VALUE_VERSION)?;
    let flexible = version >= 4;
    let protocol_type = reader.string(flexible)?;
    let generation_id = reader.int32()?;
    let protocol_name = reader.nullable_string(flexible)?;
    let leader = reader.nullable_string(flexible)?;
    let current_state_timestamp_ms = if version >= 2 { reader.int64()? } else { -1 };
    let count = reader.array_length(flexible)?;
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(decode_member(&mut reader, version)?);
    }
    if flexible {
        reader.tagged_fields(|_, _| Ok(()))?;
    }
    let protocol_type = (!protocol_type.is_empty()).then_some(protocol_type);
    Ok(GroupMetadata {
        protocol_type,
        generation_id,
        protocol_name,
        leader,
        current_state_timestamp_ms,
        members,
    })
}

fn decode_member(reader: &mut Reader<'_>, version: i16) -> Result<MemberMetadata, RecordDecodeError> {
    let flexible = version >= 4;
    let member_id = reader.string(flexible)?;
    let group_instance_id = if version >= 3 {
        reader.nullable_string(flexible)?
    } else {
        None
    };
    let client_id = reader.string(flexible)?;
    let client_host = reader.string(flexible)?;
    let rebalance_timeout_ms = if version >= 1 { reader.int32()? } else { -1 };
    let session_timeout_ms = reader.int32()?;
    let subscription = reader.byte_string(flexible)?;
    let assignment = reader.byte_string(flexible)?;
    if flexible {
        reader.tagged_fields(|_, _| Ok(()))?;
    }
    Ok(MemberMetadata {
        member_id,
        group_instance_id,
        client_id,
        client_host,
        // Version 0 had one timeout for both.
        rebalance_timeout_ms: if rebalance_timeout_ms == -1 {
            session_timeout_ms
        } else {
            rebalance_timeout_ms
        },
        session_timeout_ms,
        subscription,
        assignment,
    })
}

fn value_version(reader: &mut Reader<'_>, newest: i16) -> Result<i16, RecordDecodeError> {
    let version = reader.int16()?;
    if (0..=newest).contains(&version) {
        Ok(version)
    } else {
        Err(RecordDecodeError(format!("value version {version} is not known")))
    }
}
