//! Writes response frames field by field, for responses that kafka-protocol's encoder would copy too
//! much for.
//!
//! Invariants: the length prefix is right when the frame is finished; strings and arrays are compact
//! exactly in the flexible versions. What is too long for its length field is a mistake of ours; it is
//! left out, and finishing the frame then fails.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::encode::{EncodeError, start_frame};
use crate::frame::LENGTH_BYTES;

/// A response frame in the making.
#[derive(Debug)]
pub struct FrameWriter {
    buffer: BytesMut,
    flexible: bool,
    api_key: i16,
    /// Length of the first field that did not fit.
    too_long: Option<usize>,
}

impl FrameWriter {
    /// Starts a frame: length prefix and response header. `capacity` = expected bytes of the body.
    pub fn new(api_key: i16, version: i16, correlation_id: i32, capacity: usize) -> Result<Self, EncodeError> {
        let api = crate::api::find(api_key).ok_or(EncodeError::UnknownApi { api_key })?;
        let buffer = start_frame(api_key, version, correlation_id, capacity)?;
        Ok(Self {
            buffer,
            flexible: api.is_flexible(version),
            api_key,
            too_long: None,
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
        let length = value.map(|text| i16::try_from(text.len()));
        match length {
            Some(Err(_)) => return self.leave_out(value.map_or(0, str::len)),
            Some(Ok(length)) if self.flexible => self.unsigned_varint(u32::from(length.unsigned_abs()) + 1),
            Some(Ok(length)) => self.buffer.put_i16(length),
            None if self.flexible => self.unsigned_varint(0),
            None => self.buffer.put_i16(-1),
        }
        self.buffer.put_slice(value.unwrap_or_default().as_bytes());
    }

    /// The count of an array; `None` = null.
    pub fn array_length(&mut self, count: Option<usize>) {
        match count.map(|count| i32::try_from(count).map_err(|_| count)) {
            Some(Err(count)) => self.leave_out(count),
            Some(Ok(count)) if self.flexible => self.unsigned_varint(count.unsigned_abs() + 1),
            Some(Ok(count)) => self.buffer.put_i32(count),
            None if self.flexible => self.unsigned_varint(0),
            None => self.buffer.put_i32(-1),
        }
    }

    fn leave_out(&mut self, length: usize) {
        self.too_long.get_or_insert(length);
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
            api_key: self.api_key,
            too_long: None,
        };
        write(&mut value);
        self.too_long = self.too_long.or(value.too_long);
        let Ok(length) = u32::try_from(value.buffer.len()) else {
            return self.leave_out(value.buffer.len());
        };
        self.unsigned_varint(tag);
        self.unsigned_varint(length);
        self.buffer.put_slice(&value.buffer);
    }

    /// The finished frame.
    pub fn finish(self) -> Result<Bytes, EncodeError> {
        self.finish_with(0)
    }

    /// The finished frame when `extra_bytes` are sent in between or behind.
    pub(super) fn finish_with(mut self, extra_bytes: usize) -> Result<Bytes, EncodeError> {
        if let Some(length) = self.too_long {
            let api_key = self.api_key;
            return Err(EncodeError::FieldTooLong { api_key, length });
        }
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
    fn what_does_not_fit_its_length_field_makes_the_frame_fail() {
        let longest = "x".repeat(i16::MAX as usize);
        for version in [2, 4] {
            for (text, fits) in [(longest.clone(), true), (format!("{longest}x"), false)] {
                let mut writer = FrameWriter::new(api::FIND_COORDINATOR, version, 9, 0).expect("served");
                writer.string(&text);
                assert_eq!(writer.finish().is_ok(), fits, "version {version}, {} bytes", text.len());
                let mut writer = FrameWriter::new(api::FIND_COORDINATOR, version, 9, 0).expect("served");
                writer.tagged_field(0, |field| field.string(&text));
                assert_eq!(writer.finish().is_ok(), fits, "version {version}, {} bytes", text.len());
            }
            let mut writer = FrameWriter::new(api::FIND_COORDINATOR, version, 9, 0).expect("served");
            writer.array_length(Some(1 << 31));
            let api_key = api::FIND_COORDINATOR;
            let expected = EncodeError::FieldTooLong {
                api_key,
                length: 1 << 31,
            };
            assert_eq!(writer.finish(), Err(expected));
        }
    }

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
