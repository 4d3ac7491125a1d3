//! Guarded decoding of any request into kafka-protocol's type, and the error of all readers here.
//! Versions that kafka-protocol has a type but no decoder for are read by [`crate::wire`].
//!
//! Invariants: kafka-protocol sees a body only after [`guard::check`] accepted all of it, because
//! its array decoders reserve memory by a count read from the wire; its error type (which may
//! capture a backtrace) does not leave this file; making a [`DecodeError`] costs nothing.

use bytes::Bytes;
use kafka_protocol::protocol::Request;

use crate::{api, guard, wire};

/// Why a request cannot be read. The connection it came on is closed: without knowing where the
/// request went wrong there is nothing to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No schema for this API and version.
    #[error("no schema for API key {api_key} version {api_version}")]
    UnsupportedVersion {
        /// API key of the request.
        api_key: i16,
        /// API version of the request.
        api_version: i16,
    },
    /// A value, length or count reaches beyond the end.
    #[error("{needed} bytes needed at position {position}, {remaining} left")]
    Truncated {
        /// Where in the body.
        position: usize,
        /// The least number of bytes that the value takes.
        needed: usize,
        /// How many are left.
        remaining: usize,
    },
    /// A length below -1.
    #[error("negative length before position {position}")]
    NegativeLength {
        /// Where in the body.
        position: usize,
    },
    /// A null in a field that this version does not allow it for.
    #[error("null before position {position} in a field that cannot be null")]
    UnexpectedNull {
        /// Where in the body.
        position: usize,
    },
    /// An unsigned varint of more than 32 bits.
    #[error("varint before position {position} has more than 32 bits")]
    VarintTooLong {
        /// Where in the body.
        position: usize,
    },
    /// A string of more bytes than an int16 can say.
    #[error("string before position {position} is longer than 32767 bytes")]
    StringTooLong {
        /// Where in the body.
        position: usize,
    },
    /// A string that is not UTF-8.
    #[error("string before position {position} is not UTF-8")]
    InvalidUtf8 {
        /// Where in the body.
        position: usize,
    },
    /// The presence byte of a struct is neither 1 nor -1.
    #[error("presence byte before position {position} is neither 1 nor -1")]
    InvalidPresence {
        /// Where in the body.
        position: usize,
    },
    /// A tagged field that other versions have and this one has not.
    #[error("tagged field {tag} is not valid in this version")]
    InvalidTag {
        /// The tag.
        tag: u32,
    },
    /// A tagged field whose value does not take the bytes it announced.
    #[error("tagged field {tag} takes a different number of bytes than announced")]
    TagSizeMismatch {
        /// The tag.
        tag: u32,
    },
    /// More array elements than [`guard::MAX_ELEMENTS`].
    #[error("more than {} array elements in one request", guard::MAX_ELEMENTS)]
    TooManyElements,
    /// More unknown tagged fields than [`guard::MAX_UNKNOWN_TAGGED_FIELDS`].
    #[error(
        "more than {} unknown tagged fields in one request",
        guard::MAX_UNKNOWN_TAGGED_FIELDS
    )]
    TooManyTaggedFields,
    /// kafka-protocol refused a body that fits the schema: our table and its code disagree.
    #[error("the decoder refused a body that fits the schema")]
    Refused,
}

/// Decodes the body (what follows the request header) of a request.
///
/// Bytes behind the last field are ignored, as in Kafka: librdkafka 2.16 sends three behind Metadata v13 for all topics.
///
/// `api_key` must be that of `R`: the body is checked against the schema of the one and decoded as
/// the other.
pub fn decode_request<R: Request + 'static>(api_key: i16, version: i16, mut body: Bytes) -> Result<R, DecodeError> {
    assert_eq!(api_key, R::KEY, "a request is decoded as the type of its own API");
    guard::check(api_key, version, &body)?;
    if let Some(request) = wire::read_by_hand(version, &body)? {
        return Ok(request);
    }
    let fields = api::find(api_key).map_or(version, |api| api.version_of_fields(version));
    R::decode(&mut body, fields).map_err(|_| DecodeError::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{ListOffsetsRequest, MetadataRequest};

    #[test]
    fn a_count_beyond_the_body_is_refused_before_memory_is_reserved() {
        let huge = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
        let result = decode_request::<MetadataRequest>(api::METADATA, 0, huge);
        assert!(matches!(result, Err(DecodeError::Truncated { .. })), "{result:?}");
    }

    #[test]
    fn trailing_bytes_are_ignored() {
        let result = decode_request::<MetadataRequest>(api::METADATA, 0, Bytes::from_static(&[0, 0, 0, 0, 9]));
        assert_eq!(
            result.map(|request| request.topics.map(|topics| topics.len())),
            Ok(Some(0))
        );
    }

    #[test]
    fn a_null_is_refused_where_the_version_has_none() {
        let null = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff]);
        let result = decode_request::<MetadataRequest>(api::METADATA, 0, null.clone());
        assert!(matches!(result, Err(DecodeError::UnexpectedNull { .. })), "{result:?}");
        let all_topics = decode_request::<MetadataRequest>(api::METADATA, 1, null).expect("null means all topics");
        assert_eq!(all_topics.topics, None);
    }

    /// Version 11 of ListOffsets has the fields of version 10.
    #[test]
    fn a_version_with_the_fields_of_another_is_read_as_that() {
        use kafka_protocol::protocol::Encodable;

        let request = ListOffsetsRequest::default().with_isolation_level(1).with_timeout_ms(7);
        let mut body = bytes::BytesMut::new();
        request.encode(&mut body, 10).expect("fields fit the version");
        for version in [10, 11] {
            let decoded = decode_request(api::LIST_OFFSETS, version, body.clone().freeze());
            assert_eq!(decoded, Ok(request.clone()), "version {version}");
        }
    }

    #[test]
    fn a_version_without_schema_is_refused() {
        for version in [-1, 12, 100] {
            let result = decode_request::<ListOffsetsRequest>(api::LIST_OFFSETS, version, Bytes::new());
            assert_eq!(
                result,
                Err(DecodeError::UnsupportedVersion {
                    api_key: 2,
                    api_version: version
                })
            );
        }
    }
}
