//! Turns a response into one frame: length, response header, body.
//!
//! Invariants: the frame is allocated once, at its final size; the response header version comes
//! from the API table. Versions that kafka-protocol has dropped are written by [`crate::wire`]. kafka-protocol refuses a response that sets a field which the version lacks;
//! that is a mistake of the handler and comes back as [`EncodeError::Refused`].

use std::any::Any;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::Encodable;

use crate::api;
use crate::frame::LENGTH_BYTES;
use crate::wire;

/// Why a response cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The API is not served.
    #[error("API key {api_key} is not served")]
    UnknownApi {
        /// The API key.
        api_key: i16,
    },
    /// The response does not fit the version.
    #[error("response of API key {api_key} does not fit version {api_version}: {reason}")]
    Refused {
        /// The API key.
        api_key: i16,
        /// The version asked for.
        api_version: i16,
        /// What kafka-protocol says.
        reason: String,
    },
    /// A string, array or tagged field does not fit its length field.
    #[error("a field of {length} bytes or elements in a response of API key {api_key}")]
    FieldTooLong {
        /// The API key.
        api_key: i16,
        /// Its length.
        length: usize,
    },
    /// The frame's length does not fit its prefix.
    #[error("response frame of {bytes} bytes")]
    TooLarge {
        /// Length of the frame.
        bytes: usize,
    },
}

/// Encodes a response as a complete frame.
pub fn encode_response<R: Encodable + Any>(
    api_key: i16,
    version: i16,
    correlation_id: i32,
    response: &R,
) -> Result<Bytes, EncodeError> {
    if let Some(frame) = wire::older::write(api_key, version, correlation_id, response)? {
        return Ok(frame);
    }
    let refused = |reason: String| EncodeError::Refused {
        api_key,
        api_version: version,
        reason,
    };
    let fields = api::find(api_key).map_or(version, |api| api.version_of_fields(version));
    let body_bytes = response
        .compute_size(fields)
        .map_err(|error| refused(error.to_string()))?;
    let mut buffer = start_frame(api_key, version, correlation_id, body_bytes)?;
    let expected = buffer.len() + body_bytes;
    response
        .encode(&mut buffer, fields)
        .map_err(|error| refused(error.to_string()))?;
    if buffer.len() != expected {
        return Err(refused(format!(
            "{expected} bytes were computed, {} written",
            buffer.len()
        )));
    }
    Ok(buffer.freeze())
}

/// A buffer with the length prefix and the response header of a body of `body_bytes`, and room for it.
pub(crate) fn start_frame(
    api_key: i16,
    version: i16,
    correlation_id: i32,
    body_bytes: usize,
) -> Result<BytesMut, EncodeError> {
    let header_bytes = response_header_bytes(api_key, version)?;
    let bytes = header_bytes + body_bytes;
    let length = i32::try_from(bytes).map_err(|_| EncodeError::TooLarge { bytes })?;
    let mut buffer = BytesMut::with_capacity(LENGTH_BYTES + bytes);
    buffer.put_i32(length);
    buffer.put_i32(correlation_id);
    if header_bytes > 4 {
        buffer.put_u8(0); // no tagged fields
    }
    Ok(buffer)
}

fn response_header_bytes(api_key: i16, version: i16) -> Result<usize, EncodeError> {
    let api = api::find(api_key).ok_or(EncodeError::UnknownApi { api_key })?;
    Ok(if api.response_header_version(version) >= 1 {
        5
    } else {
        4
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::split_frame;
    use kafka_protocol::messages::{
        ApiVersionsResponse, HeartbeatResponse, MetadataResponse, ResponseHeader,
        metadata_response::MetadataResponseBroker,
    };
    use kafka_protocol::protocol::Decodable;

    #[test]
    fn a_frame_holds_length_header_and_body() {
        let response = HeartbeatResponse::default().with_error_code(27);
        for version in 0..=4 {
            let frame = encode_response(api::HEARTBEAT, version, 42, &response).expect("encodes");
            let mut buffer = BytesMut::from(&frame[..]);
            let mut payload = split_frame(&mut buffer, 1000)
                .expect("a good length")
                .expect("complete");
            assert!(buffer.is_empty());
            let header = ResponseHeader::decode(&mut payload, i16::from(version >= 4)).expect("header");
            assert_eq!(header.correlation_id, 42);
            assert_eq!(
                HeartbeatResponse::decode(&mut payload, version).expect("body"),
                response
            );
            assert!(payload.is_empty());
        }
    }

    #[test]
    fn api_versions_never_has_tagged_fields_in_its_header() {
        let frame = encode_response(api::API_VERSIONS, 3, 7, &ApiVersionsResponse::default()).expect("encodes");
        let mut body = frame.slice(8..);
        ApiVersionsResponse::decode(&mut body, 3).expect("the body follows the correlation id");
        assert!(body.is_empty());
    }

    #[test]
    fn a_field_that_the_version_lacks_is_an_error() {
        let response = MetadataResponse::default().with_cluster_authorized_operations(1);
        let result = encode_response(api::METADATA, 1, 0, &response);
        assert!(
            matches!(
                result,
                Err(EncodeError::Refused {
                    api_key: 3,
                    api_version: 1,
                    ..
                })
            ),
            "{result:?}"
        );
        let result = encode_response(4, 0, 0, &HeartbeatResponse::default());
        assert_eq!(result, Err(EncodeError::UnknownApi { api_key: 4 }));
    }

    #[test]
    fn the_frame_is_allocated_once() {
        let response = MetadataResponse::default().with_brokers(vec![MetadataResponseBroker::default(); 500]);
        let frame = encode_response(api::METADATA, 13, 0, &response).expect("encodes");
        let buffer = frame.try_into_mut().expect("nobody else has it");
        assert_eq!(buffer.capacity(), buffer.len());
    }
}
