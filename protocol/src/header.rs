//! Reads the header of a request.
//!
//! Invariants: the first eight bytes (API key, version, correlation id) are read alike for every
//! request, known or not; what follows is read by the header version that the API table gives. The
//! client id is a nullable string with an int16 length in every header version, also in the
//! flexible one (Kafka's `RequestHeader`).

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use crate::api;
use crate::cursor::Cursor;
use crate::decode::DecodeError;
use crate::guard::skip_unknown_tagged_fields;

/// What stands in front of a request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Key of the API, served or not.
    pub api_key: i16,
    /// Version of the request, served or not.
    pub api_version: i16,
    /// What the response must repeat.
    pub correlation_id: i32,
    /// Name that the client gives itself; `None` also when the request is not one that we serve and
    /// its header cannot be read to the end.
    pub client_id: Option<StrBytes>,
}

/// Reads the header of the request in `frame` and returns what follows it.
///
/// A request whose API or version is not served is no error here: its header is read as far as it
/// can be. It is for the caller to close the connection or, for ApiVersions of an unknown version,
/// to answer without a look at the body.
pub fn peek_request_header(frame: &Bytes) -> Result<(RequestHeader, Bytes), DecodeError> {
    let mut cursor = Cursor::new(frame);
    let mut header = RequestHeader {
        api_key: cursor.i16()?,
        api_version: cursor.i16()?,
        correlation_id: cursor.i32()?,
        client_id: None,
    };
    let Some(api) = api::find(header.api_key) else {
        return Ok((header, frame.slice(cursor.position()..)));
    };
    let fixed_end = cursor.position();
    match read_rest(frame, &mut cursor, api.request_header_version(header.api_version)) {
        Ok(client_id) => header.client_id = client_id,
        Err(error) if api.serves(header.api_version) => return Err(error),
        Err(_) => return Ok((header, frame.slice(fixed_end..))),
    }
    Ok((header, frame.slice(cursor.position()..)))
}

fn read_rest(frame: &Bytes, cursor: &mut Cursor<'_>, header_version: i16) -> Result<Option<StrBytes>, DecodeError> {
    let client_id = match cursor.string_length(false)? {
        Some(length) => {
            let start = cursor.position();
            cursor.skip(length)?;
            let bytes = frame.slice(start..start + length);
            let text = StrBytes::from_utf8(bytes).map_err(|_| DecodeError::InvalidUtf8 { position: start })?;
            Some(text)
        }
        None => None,
    };
    if header_version >= 2 {
        skip_unknown_tagged_fields(cursor)?;
    }
    Ok(client_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use kafka_protocol::messages::RequestHeader as Encoded;
    use kafka_protocol::protocol::Encodable;

    fn frame(api_key: i16, version: i16, client_id: Option<&'static str>, header_version: i16) -> Bytes {
        let mut header = Encoded::default()
            .with_request_api_key(api_key)
            .with_request_api_version(version)
            .with_correlation_id(77)
            .with_client_id(client_id.map(StrBytes::from_static_str));
        if header_version == 2 {
            header.unknown_tagged_fields.insert(5, Bytes::from_static(b"later"));
        }
        let mut buffer = BytesMut::new();
        header
            .encode(&mut buffer, header_version)
            .expect("a header of this version");
        buffer.extend_from_slice(b"body");
        buffer.freeze()
    }

    #[test]
    fn every_served_version_is_read_and_cut_where_the_body_starts() {
        for api in api::APIS {
            for version in api.min_version..=api.max_version {
                for client_id in [None, Some(""), Some("rdkafka")] {
                    let frame = frame(api.key, version, client_id, api.request_header_version(version));
                    let (header, body) = peek_request_header(&frame).expect("a good header");
                    assert_eq!(
                        (header.api_key, header.api_version, header.correlation_id),
                        (api.key, version, 77)
                    );
                    assert_eq!(header.client_id.as_deref(), client_id);
                    assert_eq!(body, "body");
                    for cut in 0..frame.len() - body.len() {
                        assert!(
                            peek_request_header(&frame.slice(..cut)).is_err(),
                            "{} v{version} cut at {cut}",
                            api.name
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn unknown_apis_and_versions_give_the_fixed_part() {
        let (header, body) = peek_request_header(&frame(4, 1, Some("x"), 1)).expect("the fixed part is there");
        assert_eq!((header.api_key, header.client_id), (4, None));
        assert_eq!(&body[..], b"\0\x01xbody");

        let (header, _) = peek_request_header(&frame(api::API_VERSIONS, 99, Some("new"), 2)).expect("read");
        assert_eq!((header.api_version, header.client_id.as_deref()), (99, Some("new")));
        let bare = Bytes::from_static(&[0, 18, 0, 99, 0, 0, 0, 1]);
        let (header, body) = peek_request_header(&bare).expect("nothing behind the fixed part");
        assert_eq!((header.correlation_id, header.client_id), (1, None));
        assert!(body.is_empty());
    }

    #[test]
    fn a_client_id_must_be_text_and_fit() {
        let invalid = Bytes::from_static(&[0, 3, 0, 0, 0, 0, 0, 1, 0, 1, 0xff]);
        assert!(matches!(
            peek_request_header(&invalid),
            Err(DecodeError::InvalidUtf8 { .. })
        ));
        let long = Bytes::from_static(&[0, 3, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, b'x']);
        assert!(matches!(peek_request_header(&long), Err(DecodeError::Truncated { .. })));
        let tags = Bytes::from_static(&[0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(peek_request_header(&tags), Err(DecodeError::TooManyTaggedFields));
    }
}
