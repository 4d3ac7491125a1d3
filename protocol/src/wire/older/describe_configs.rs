//! DescribeConfigs 0: cannot ask for synonyms, and is told whether a config has its default instead of where its value
//! comes from.
//!
//! Invariants: those of the guard. A config has its default when no place sets it, as Kafka 1.1 to 2.6 answered; later
//! ones, which still had the version, never said so.

use bytes::Bytes;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::super::reader::Reader;
use super::super::writer::FrameWriter;
use crate::decode::DecodeError;

/// `DescribeConfigsResponse.ConfigSource.DEFAULT_CONFIG`
const DEFAULT_CONFIG: i8 = 5;

pub(super) fn read(body: &Bytes) -> Result<DescribeConfigsRequest, DecodeError> {
    let mut reader = Reader::new(body, false);
    let resources = reader.struct_count(7)?;
    let resources = (0..resources).map(|_| read_resource(&mut reader));
    Ok(DescribeConfigsRequest::default().with_resources(resources.collect::<Result<_, _>>()?))
}

fn read_resource(reader: &mut Reader<'_>) -> Result<DescribeConfigsResource, DecodeError> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(reader.i8()?)
        .with_resource_name(reader.string()?);
    let keys = match reader.nullable_struct_count(2)? {
        Some(keys) => Some((0..keys).map(|_| reader.string()).collect::<Result<_, _>>()?),
        None => None,
    };
    Ok(resource.with_configuration_keys(keys))
}

pub(super) fn write(mut writer: FrameWriter, response: &DescribeConfigsResponse) -> FrameWriter {
    writer.i32(response.throttle_time_ms);
    writer.array_length(Some(response.results.len()));
    for result in &response.results {
        writer.i16(result.error_code);
        writer.nullable_string(result.error_message.as_deref());
        writer.i8(result.resource_type);
        writer.string(&result.resource_name);
        writer.array_length(Some(result.configs.len()));
        for config in &result.configs {
            writer.string(&config.name);
            writer.nullable_string(config.value.as_deref());
            writer.bool(config.read_only);
            writer.bool(config.config_source == DEFAULT_CONFIG);
            writer.bool(config.is_sensitive);
        }
    }
    writer
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
    };
    use kafka_protocol::protocol::{Encodable, StrBytes};

    use super::*;
    use crate::api;
    use crate::decode::decode_request;
    use crate::encode::encode_response;

    const TEXT: fn(&'static str) -> StrBytes = StrBytes::from_static_str;

    #[test]
    fn requests_are_those_of_version_1_without_the_question_for_synonyms() {
        let resource = |keys| {
            DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(TEXT("t"))
                .with_configuration_keys(keys)
        };
        let resources = vec![
            resource(None),
            resource(Some(Vec::new())),
            resource(Some(vec![TEXT("a"), TEXT("b")])),
        ];
        let request = DescribeConfigsRequest::default().with_resources(resources);
        let mut body = BytesMut::new();
        request.encode(&mut body, 1).expect("fields fit the version");
        let body = body.freeze();
        let zero = body.slice(..body.len() - 1);
        assert_eq!(decode_request(api::DESCRIBE_CONFIGS, 0, zero), Ok(request));
    }

    #[test]
    fn responses_tell_what_is_a_default() {
        let config = |name, value, source| {
            DescribeConfigsResourceResult::default()
                .with_name(TEXT(name))
                .with_value(value)
                .with_config_source(source)
                .with_synonyms(vec![DescribeConfigsSynonym::default()])
        };
        let result = DescribeConfigsResult::default()
            .with_error_message(None)
            .with_resource_type(2)
            .with_resource_name(TEXT("t"))
            .with_configs(vec![
                config("a", Some(TEXT("1")), 1).with_read_only(true),
                config("b", None, DEFAULT_CONFIG).with_is_sensitive(true),
            ]);
        let refused = DescribeConfigsResult::default()
            .with_error_code(42)
            .with_error_message(Some(TEXT("no")));
        let response = DescribeConfigsResponse::default()
            .with_throttle_time_ms(9)
            .with_results(vec![result, refused]);
        let expected: &[&[u8]] = &[
            &[0, 0, 0, 58, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 2],
            &[0, 0, 255, 255, 2, 0, 1, b't', 0, 0, 0, 2],
            &[0, 1, b'a', 0, 1, b'1', 1, 0, 0],
            &[0, 1, b'b', 255, 255, 0, 1, 1],
            &[0, 42, 0, 2, b'n', b'o', 0, 0, 0, 0, 0, 0, 0],
        ];
        let frame = encode_response(api::DESCRIBE_CONFIGS, 0, 5, &response).expect("encodes");
        assert_eq!(frame[4..], expected.concat()[4..]);
        assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
    }
}
