//! Reads OffsetCommit requests of version 10, which names topics by id (KIP-848).
//!
//! Invariants: those of the guard, which has accepted the body before. kafka-protocol 0.18 has the
//! fields, but its decoder ends with version 9.

use bytes::Bytes;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest};

use super::reader::Reader;
use crate::decode::DecodeError;

pub(super) fn read(body: &Bytes) -> Result<OffsetCommitRequest, DecodeError> {
    let mut reader = Reader::new(body, true);
    let mut request = OffsetCommitRequest::default()
        .with_group_id(GroupId(reader.string()?))
        .with_generation_id_or_member_epoch(reader.i32()?)
        .with_member_id(reader.string()?)
        .with_group_instance_id(reader.nullable_string()?);
    let topics = reader.struct_count(18)?;
    request.topics = (0..topics).map(|_| read_topic(&mut reader)).collect::<Result<_, _>>()?;
    reader.no_tagged_fields()?;
    Ok(request)
}

fn read_topic(reader: &mut Reader<'_>) -> Result<OffsetCommitRequestTopic, DecodeError> {
    let topic = OffsetCommitRequestTopic::default().with_topic_id(reader.uuid()?);
    let partitions = reader.struct_count(18)?;
    let partitions = (0..partitions)
        .map(|_| read_partition(reader))
        .collect::<Result<_, _>>()?;
    reader.no_tagged_fields()?;
    Ok(topic.with_partitions(partitions))
}

fn read_partition(reader: &mut Reader<'_>) -> Result<OffsetCommitRequestPartition, DecodeError> {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(reader.i32()?)
        .with_committed_offset(reader.i64()?)
        .with_committed_leader_epoch(reader.i32()?)
        .with_committed_metadata(reader.nullable_string()?);
    reader.no_tagged_fields()?;
    Ok(partition)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::protocol::{Encodable, StrBytes};
    use uuid::Uuid;

    use super::*;
    use crate::{api, decode::decode_request};

    /// Version 9 of the other codec, with the name (15 bytes and their length) replaced by the id.
    #[test]
    fn version_10_is_version_9_with_ids() {
        let name = "fifteen-letters";
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(3)
            .with_committed_offset(1 << 40)
            .with_committed_leader_epoch(7)
            .with_committed_metadata(Some(StrBytes::from_static_str("m")));
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(StrBytes::from_static_str(name)))
            .with_partitions(vec![
                partition,
                OffsetCommitRequestPartition::default().with_committed_metadata(None),
            ]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(StrBytes::from_static_str("group")))
            .with_generation_id_or_member_epoch(5)
            .with_member_id(StrBytes::from_static_str("member"))
            .with_group_instance_id(Some(StrBytes::from_static_str("instance")))
            .with_topics(vec![topic.clone()]);
        let mut body = BytesMut::new();
        request.encode(&mut body, 9).expect("fields fit the version");
        let at = body
            .windows(name.len())
            .position(|window| window == name.as_bytes())
            .expect("the name is there")
            - 1;
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        body[at..at + 16].copy_from_slice(id.as_bytes());

        let expected = request.with_topics(vec![topic.with_name(TopicName::default()).with_topic_id(id)]);
        assert_eq!(decode_request(api::OFFSET_COMMIT, 10, body.freeze()), Ok(expected));
    }
}
