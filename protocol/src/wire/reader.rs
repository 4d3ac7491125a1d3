//! Reads fields of a request body as shared slices of its frame.
//!
//! Invariants: those of the guard: lengths and counts are checked against the bytes that remain,
//! array elements and unknown tagged fields are limited over the whole request.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::cursor::Cursor;
use crate::decode::DecodeError;
use crate::guard::{MAX_ELEMENTS, MAX_UNKNOWN_TAGGED_FIELDS};

pub(super) struct Reader<'a> {
    body: &'a Bytes,
    cursor: Cursor<'a>,
    flexible: bool,
    elements_left: usize,
    unknown_tags_left: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a Bytes, flexible: bool) -> Self {
        Self {
            body,
            cursor: Cursor::new(body),
            flexible,
            elements_left: MAX_ELEMENTS,
            unknown_tags_left: MAX_UNKNOWN_TAGGED_FIELDS,
        }
    }

    pub(super) fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    pub(super) fn i8(&mut self) -> Result<i8, DecodeError> {
        self.cursor.i8()
    }

    pub(super) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.cursor.i16()
    }

    pub(super) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.cursor.i32()
    }

    pub(super) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.cursor.i64()
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.cursor.uuid()
    }

    pub(super) fn nullable_string(&mut self) -> Result<Option<StrBytes>, DecodeError> {
        let Some(length) = self.cursor.string_length(self.flexible)? else {
            return Ok(None);
        };
        let text = self.slice(length)?;
        match StrBytes::from_utf8(text) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(DecodeError::InvalidUtf8 {
                position: self.cursor.position(),
            }),
        }
    }

    pub(super) fn string(&mut self) -> Result<StrBytes, DecodeError> {
        self.nullable_string()?.ok_or_else(|| self.cursor.null())
    }

    pub(super) fn nullable_bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        match self.cursor.bytes_length(self.flexible)? {
            Some(length) => self.slice(length).map(Some),
            None => Ok(None),
        }
    }

    fn slice(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        let start = self.cursor.position();
        self.cursor.skip(length)?;
        Ok(self.body.slice(start..start + length))
    }

    /// Count of an array of structs that take at least `min_element_bytes` each.
    pub(super) fn struct_count(&mut self, min_element_bytes: usize) -> Result<usize, DecodeError> {
        self.nullable_struct_count(min_element_bytes)?
            .ok_or_else(|| self.cursor.null())
    }

    /// The same for an array that may be null.
    pub(super) fn nullable_struct_count(&mut self, min_element_bytes: usize) -> Result<Option<usize>, DecodeError> {
        let count = self.cursor.array_length(self.flexible, min_element_bytes)?;
        let taken = count.unwrap_or_default();
        self.elements_left = self
            .elements_left
            .checked_sub(taken)
            .ok_or(DecodeError::TooManyElements)?;
        Ok(count)
    }

    /// An array of int32.
    pub(super) fn i32_array(&mut self) -> Result<Vec<i32>, DecodeError> {
        let count = self
            .cursor
            .array_length(self.flexible, 4)?
            .ok_or_else(|| self.cursor.null())?;
        (0..count).map(|_| self.cursor.i32()).collect()
    }

    /// The tagged fields at the end of a struct, if this version has them. `read` reads the value of
    /// a tag that it knows and says whether it did; others are skipped.
    pub(super) fn tagged_fields(
        &mut self,
        mut read: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.cursor.unsigned_varint()? {
            let tag = self.cursor.unsigned_varint()?;
            let size = self.cursor.unsigned_varint()? as usize;
            let start = self.cursor.position();
            if read(self, tag)? {
                if self.cursor.position() - start != size {
                    return Err(DecodeError::TagSizeMismatch { tag });
                }
            } else {
                self.unknown_tags_left = self
                    .unknown_tags_left
                    .checked_sub(1)
                    .ok_or(DecodeError::TooManyTaggedFields)?;
                self.cursor.skip(size)?;
            }
        }
        Ok(())
    }

    /// The tagged fields of a struct that has none of its own.
    pub(super) fn no_tagged_fields(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields(|_, _| Ok(false))
    }
}
