//! Writes response frames field by field, for responses that kafka-protocol's encoder would copy too
//! much for.
//!
//! Invariants: the length prefix is right when the frame is finished; strings and arrays are compact
//! exactly in the flexible versions. What is too long for its length field is a mistake of ours and
//! panics.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::encode::{EncodeError, start_frame};
use crate::frame::LENGTH_BYTES;

/// A response frame in the making.
#[derive(Debug)]
pub struct FrameWriter {
    buffer: BytesMut,
    flexible: bool,
}

impl FrameWriter {
    /// Starts a frame: length prefix and response header. `capacity` = expected bytes of the body.
    pub fn new(api_key: i16, version: i16, correlation_id: i32, capacity: usize) -> Result<Self, EncodeError> {
        let api = crate::api::find(api_key).ok_or(EncodeError::UnknownApi { api_key })?;
        let buffer = start_frame(api_key, version, correlation_id, capacity)?;
        Ok(Self {
            buffer,
            flexible: api.is_flexible(version),
        })
    }

    /// Bytes written so far, with the length prefix.
    pub fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// An int8.
    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// An int16.
    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// An int32.
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// An int64.
    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.buffer.put_u8(value.into());
    }

    /// A UUID.
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.put_slice(value.as_bytes());
    }

    /// An unsigned varint.
    pub fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    /// A string that cannot be null.
    pub fn string(&mut self, value: &str) {
        self.nullable_string(Some(value));
    }

    /// A string that can be null.
    pub fn nullable_string(&mut self, value: Option<&str>) {
        match value.map(|text| i16::try_from(text.len()).expect("strings of responses are short")) {
            Some(length) if self.flexible => self.unsigned_varint(u32::from(length.unsigned_abs()) + 1),
            None if self.flexible => self.unsigned_varint(0),
            length => self.buffer.put_i16(length.unwrap_or(-1)),
        }
        self.buffer.put_slice(value.unwrap_or_default().as_bytes());
    }

    /// The count of an array; `None` = null.
    pub fn array_length(&mut self, count: Option<usize>) {
        match count.map(|count| i32::try_from(count).expect("arrays of responses fit memory many times over")) {
            Some(count) if self.flexible => self.unsigned_varint(count.unsigned_abs() + 1),
            None if self.flexible => self.unsigned_varint(0),
            count => self.buffer.put_i32(count.unwrap_or(-1)),
        }
    }

    /// The length of bytes or records; they follow.
    pub fn bytes_length(&mut self, length: usize) {
        self.array_length(Some(length));
    }

    /// The end of a struct without tagged fields.
    pub fn no_tagged_fields(&mut self) {
        self.tagged_count(0);
    }

    /// The number of tagged fields that follow at the end of a struct.
    pub(super) fn tagged_count(&mut self, count: u32) {
        if self.flexible {
            self.unsigned_varint(count);
        }
    }

    /// One tagged field; `write` writes its value.
    pub(super) fn tagged_field(&mut self, tag: u32, write: impl FnOnce(&mut Self)) {
        let mut value = Self {
            buffer: BytesMut::new(),
            flexible: true,
        };
        write(&mut value);
        self.unsigned_varint(tag);
        self.unsigned_varint(u32::try_from(value.buffer.len()).expect("tagged fields of responses are short"));
        self.buffer.put_slice(&value.buffer);
    }

    /// The finished frame.
    pub fn finish(self) -> Result<Bytes, EncodeError> {
        self.finish_with(0)
    }

    /// The finished frame when `extra_bytes` are sent in between or behind.
    pub(super) fn finish_with(mut self, extra_bytes: usize) -> Result<Bytes, EncodeError> {
        let bytes = self.buffer.len() - LENGTH_BYTES + extra_bytes;
        let length = i32::try_from(bytes).map_err(|_| EncodeError::TooLarge { bytes })?;
        self.buffer[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        Ok(self.buffer.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;
    use crate::encode::encode_response;
    use bytes::Bytes;
    use kafka_protocol::messages::{
        FindCoordinatorResponse, SyncGroupResponse, find_coordinator_response::Coordinator,
    };
    use kafka_protocol::protocol::StrBytes;

    #[test]
    fn writes_the_same_bytes_as_the_encoder() {
        let host = "h".repeat(200);
        let coordinator = Coordinator::default()
            .with_key(StrBytes::from_static_str("group"))
            .with_host(StrBytes::from_string(host.clone()))
            .with_port(9092)
            .with_error_message(None);
        let response = FindCoordinatorResponse::default().with_coordinators(vec![coordinator]);
        let mut writer = FrameWriter::new(api::FIND_COORDINATOR, 4, 9, 0).expect("served");
        writer.i32(0);
        writer.array_length(Some(1));
        writer.string("group");
        writer.i32(0);
        writer.string(&host);
        writer.i32(9092);
        writer.i16(0);
        writer.nullable_string(None);
        writer.no_tagged_fields();
        writer.no_tagged_fields();
        let expected = encode_response(api::FIND_COORDINATOR, 4, 9, &response).expect("encodes");
        assert_eq!(writer.finish().expect("short"), expected);

        let response = SyncGroupResponse::default().with_assignment(Bytes::from_static(b"abc"));
        let mut writer = FrameWriter::new(api::SYNC_GROUP, 1, 9, 0).expect("served");
        writer.i32(0);
        writer.i16(0);
        writer.bytes_length(3);
        b"abc".iter().for_each(|byte| writer.i8(*byte as i8));
        writer.no_tagged_fields();
        let expected = encode_response(api::SYNC_GROUP, 1, 9, &response).expect("encodes");
        assert_eq!(writer.finish().expect("short"), expected);
    }
}
