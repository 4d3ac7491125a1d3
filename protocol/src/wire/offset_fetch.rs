//! Reads OffsetFetch requests of version 10, which names topics by id (KIP-848).
//!
//! Invariants: those of the guard, which has accepted the body before. kafka-protocol 0.18 has the
//! fields, but its decoder ends with version 9.

use bytes::Bytes;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest};

use super::reader::Reader;
use crate::decode::DecodeError;

pub(super) fn read(body: &Bytes) -> Result<OffsetFetchRequest, DecodeError> {
    let mut reader = Reader::new(body, true);
    let groups = reader.struct_count(8)?;
    let groups = (0..groups).map(|_| read_group(&mut reader)).collect::<Result<_, _>>()?;
    let request = OffsetFetchRequest::default()
        .with_groups(groups)
        .with_require_stable(reader.bool()?);
    reader.no_tagged_fields()?;
    Ok(request)
}

fn read_group(reader: &mut Reader<'_>) -> Result<OffsetFetchRequestGroup, DecodeError> {
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(reader.string()?))
        .with_member_id(reader.nullable_string()?)
        .with_member_epoch(reader.i32()?);
    let topics = match reader.nullable_struct_count(18)? {
        Some(count) => Some((0..count).map(|_| read_topic(reader)).collect::<Result<_, _>>()?),
        None => None,
    };
    reader.no_tagged_fields()?;
    Ok(group.with_topics(topics))
}

fn read_topic(reader: &mut Reader<'_>) -> Result<OffsetFetchRequestTopics, DecodeError> {
    let topic = OffsetFetchRequestTopics::default()
        .with_topic_id(reader.uuid()?)
        .with_partition_indexes(reader.i32_array()?);
    reader.no_tagged_fields()?;
    Ok(topic)
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
        let topic = OffsetFetchRequestTopics::default()
            .with_name(TopicName(StrBytes::from_static_str(name)))
            .with_partition_indexes(vec![0, 5]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(StrBytes::from_static_str("group")))
            .with_member_id(Some(StrBytes::from_static_str("member")))
            .with_member_epoch(4)
            .with_topics(Some(vec![topic.clone()]));
        let all_topics = OffsetFetchRequestGroup::default()
            .with_member_id(None)
            .with_topics(None);
        let request = OffsetFetchRequest::default()
            .with_groups(vec![group.clone(), all_topics.clone()])
            .with_require_stable(true);
        let mut body = BytesMut::new();
        request.encode(&mut body, 9).expect("fields fit the version");
        let at = body
            .windows(name.len())
            .position(|window| window == name.as_bytes())
            .expect("the name is there")
            - 1;
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        body[at..at + 16].copy_from_slice(id.as_bytes());

        let topic = topic.with_name(TopicName::default()).with_topic_id(id);
        let expected = request.with_groups(vec![group.with_topics(Some(vec![topic])), all_topics]);
        assert_eq!(decode_request(api::OFFSET_FETCH, 10, body.freeze()), Ok(expected));
    }
}
