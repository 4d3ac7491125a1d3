//! CreateTopics 0 and 1: version 0 cannot ask for validation alone and is told no message, neither a throttle time.
//!
//! Invariants: those of the guard.

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::{BrokerId, CreateTopicsRequest, CreateTopicsResponse, TopicName};

use super::super::reader::Reader;
use super::super::writer::FrameWriter;
use crate::decode::DecodeError;

pub(super) fn read(version: i16, body: &Bytes) -> Result<CreateTopicsRequest, DecodeError> {
    let mut reader = Reader::new(body, false);
    let topics = reader.struct_count(16)?;
    let topics = (0..topics).map(|_| read_topic(&mut reader)).collect::<Result<_, _>>()?;
    Ok(CreateTopicsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(reader.i32()?)
        .with_validate_only(version >= 1 && reader.bool()?))
}

fn read_topic(reader: &mut Reader<'_>) -> Result<CreatableTopic, DecodeError> {
    let mut topic = CreatableTopic::default()
        .with_name(TopicName(reader.string()?))
        .with_num_partitions(reader.i32()?)
        .with_replication_factor(reader.i16()?);
    let assignments = reader.struct_count(8)?;
    topic.assignments = (0..assignments)
        .map(|_| read_assignment(reader))
        .collect::<Result<_, _>>()?;
    let configs = reader.struct_count(4)?;
    topic.configs = (0..configs).map(|_| read_config(reader)).collect::<Result<_, _>>()?;
    Ok(topic)
}

fn read_assignment(reader: &mut Reader<'_>) -> Result<CreatableReplicaAssignment, DecodeError> {
    Ok(CreatableReplicaAssignment::default()
        .with_partition_index(reader.i32()?)
        .with_broker_ids(reader.i32_array()?.into_iter().map(BrokerId).collect()))
}

fn read_config(reader: &mut Reader<'_>) -> Result<CreatableTopicConfig, DecodeError> {
    Ok(CreatableTopicConfig::default()
        .with_name(reader.string()?)
        .with_value(reader.nullable_string()?))
}

pub(super) fn write(mut writer: FrameWriter, version: i16, response: &CreateTopicsResponse) -> FrameWriter {
    writer.array_length(Some(response.topics.len()));
    for topic in &response.topics {
        writer.string(&topic.name);
        writer.i16(topic.error_code);
        if version >= 1 {
            writer.nullable_string(topic.error_message.as_deref());
        }
    }
    writer
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
    use kafka_protocol::protocol::{Encodable, StrBytes};

    use super::*;
    use crate::api;
    use crate::decode::decode_request;
    use crate::encode::encode_response;

    const TEXT: fn(&'static str) -> StrBytes = StrBytes::from_static_str;

    fn request() -> CreateTopicsRequest {
        let assignment = |index, brokers: &[i32]| {
            CreatableReplicaAssignment::default()
                .with_partition_index(index)
                .with_broker_ids(brokers.iter().copied().map(BrokerId).collect())
        };
        let config = |name, value| CreatableTopicConfig::default().with_name(TEXT(name)).with_value(value);
        let assigned = CreatableTopic::default()
            .with_name(TopicName(TEXT("assigned")))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(vec![assignment(0, &[1, 2]), assignment(1, &[])]);
        let counted = CreatableTopic::default()
            .with_name(TopicName(TEXT("counted")))
            .with_num_partitions(3)
            .with_replication_factor(1)
            .with_configs(vec![config("a", Some(TEXT("1"))), config("b", None)]);
        CreateTopicsRequest::default()
            .with_topics(vec![assigned, counted])
            .with_timeout_ms(1 << 20)
    }

    /// Version 2 has the fields of version 1, and one at the end that version 0 lacks.
    #[test]
    fn requests_are_those_of_version_2() {
        let mut body = BytesMut::new();
        let request = request().with_validate_only(true);
        request.encode(&mut body, 2).expect("fields fit the version");
        let body = body.freeze();
        assert_eq!(decode_request(api::CREATE_TOPICS, 1, body.clone()), Ok(request.clone()));
        let without = body.slice(..body.len() - 1);
        let expected = request.with_validate_only(false);
        assert_eq!(decode_request(api::CREATE_TOPICS, 0, without), Ok(expected.clone()));
        // the same with a byte behind it, which is ignored
        assert_eq!(decode_request(api::CREATE_TOPICS, 0, body), Ok(expected));
    }

    #[test]
    fn responses_leave_out_what_the_versions_lack() {
        let good = CreatableTopicResult::default()
            .with_name(TopicName(TEXT("ab")))
            .with_error_message(None)
            .with_num_partitions(7)
            .with_topic_id(uuid::Uuid::from_u128(9));
        let bad = CreatableTopicResult::default()
            .with_name(TopicName(TEXT("c")))
            .with_error_code(36)
            .with_error_message(Some(TEXT("no")));
        let response = CreateTopicsResponse::default()
            .with_throttle_time_ms(99)
            .with_topics(vec![good, bad]);
        let encoded = |version| encode_response(api::CREATE_TOPICS, version, 5, &response).expect("encodes");
        let one: &[u8] = &[
            0, 0, 0, 25, 0, 0, 0, 5, 0, 0, 0, 2, 0, 2, b'a', b'b', 0, 0, 255, 255, 0, 1, b'c', 0, 36, 0, 2, b'n', b'o',
        ];
        assert_eq!(encoded(1), one);
        let zero: &[u8] = &[
            0, 0, 0, 19, 0, 0, 0, 5, 0, 0, 0, 2, 0, 2, b'a', b'b', 0, 0, 0, 1, b'c', 0, 36,
        ];
        assert_eq!(encoded(0), zero);
    }
}
