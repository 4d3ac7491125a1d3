//! DeleteTopics 0: the request of version 1, and its response without a throttle time.
//!
//! Invariants: those of the guard.

use bytes::Bytes;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};

use super::super::reader::Reader;
use super::super::writer::FrameWriter;
use crate::decode::DecodeError;

pub(super) fn read(body: &Bytes) -> Result<DeleteTopicsRequest, DecodeError> {
    let mut reader = Reader::new(body, false);
    let names = reader.struct_count(2)?;
    let names = (0..names).map(|_| reader.string().map(TopicName));
    let names = names.collect::<Result<_, _>>()?;
    Ok(DeleteTopicsRequest::default()
        .with_topic_names(names)
        .with_timeout_ms(reader.i32()?))
}

pub(super) fn write(mut writer: FrameWriter, response: &DeleteTopicsResponse) -> FrameWriter {
    writer.array_length(Some(response.responses.len()));
    for result in &response.responses {
        // by name, as it was asked for
        writer.string(result.name.as_ref().map_or("", |name| name.as_str()));
        writer.i16(result.error_code);
    }
    writer
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
    use kafka_protocol::protocol::{Encodable, StrBytes};

    use super::*;
    use crate::api;
    use crate::decode::decode_request;
    use crate::encode::encode_response;

    fn name(name: &'static str) -> TopicName {
        TopicName(StrBytes::from_static_str(name))
    }

    #[test]
    fn requests_are_those_of_version_1() {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![name("a"), name("bc")])
            .with_timeout_ms(-1);
        let mut body = BytesMut::new();
        request.encode(&mut body, 1).expect("fields fit the version");
        assert_eq!(decode_request(api::DELETE_TOPICS, 0, body.freeze()), Ok(request));
    }

    #[test]
    fn responses_are_those_of_version_1_without_its_throttle_time() {
        let result = |topic, code| {
            DeletableTopicResult::default()
                .with_name(Some(name(topic)))
                .with_error_code(code)
        };
        let response = DeleteTopicsResponse::default()
            .with_throttle_time_ms(99)
            .with_responses(vec![result("a", 0), result("bc", 3)]);
        let one = encode_response(api::DELETE_TOPICS, 1, 5, &response).expect("encodes");
        let zero = encode_response(api::DELETE_TOPICS, 0, 5, &response).expect("encodes");
        assert_eq!(zero[..4], (zero.len() as u32 - 4).to_be_bytes());
        assert_eq!(zero[4..8], one[4..8]);
        assert_eq!(zero[8..], one[12..]);
    }
}
