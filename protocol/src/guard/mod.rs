//! The check that stands before kafka-protocol: walks a request body by its schema and compares
//! every length and count with the bytes that remain.
//!
//! Invariants: nothing is allocated while a body is checked; the work is linear in its length;
//! recursion is no deeper than the schema (no request refers to itself). What passes is well formed
//! to its last field: nulls only where the version allows them, strings in UTF-8, tagged fields of
//! the announced size. Bytes behind the last field are ignored, as in Kafka. So the decoder behind it cannot fail, and what it
//! reserves is bounded by the length of the body and by the limits below.

mod layout;
#[cfg(test)]
mod tests;

pub use layout::{Layout, Shape};

use crate::cursor::Cursor;
use crate::decode::DecodeError;

/// Limit of array elements (other than plain numbers) in one request. An element can be as short as
/// one byte and takes up to 128 bytes of memory. A request that names a million partitions, more
/// than Kafka supports in a cluster, passes.
pub const MAX_ELEMENTS: usize = 1 << 20;

/// Limit of plain numbers in arrays (as partitions that are named by their index) in one request. Each may get a result of
/// its own in the answer, which takes many times its four bytes.
pub const MAX_NUMBERS: usize = 1 << 20;

/// Limit of unknown tagged fields in one request. Each can be as short as two bytes and takes a map
/// node of some hundred bytes. Clients send none; a future client would send a few per struct.
pub const MAX_UNKNOWN_TAGGED_FIELDS: usize = 4096;

/// The layout of a request body, if the API and version have one.
pub fn layout(api_key: i16, version: i16) -> Option<&'static Layout> {
    layout::find(api_key, version)
}

/// Checks a whole request body (what follows the request header).
pub fn check(api_key: i16, version: i16, body: &[u8]) -> Result<(), DecodeError> {
    let layout = layout(api_key, version).ok_or(DecodeError::UnsupportedVersion {
        api_key,
        api_version: version,
    })?;
    let mut walk = Walk::new(body);
    walk.layout(layout)
}

/// Skips the tagged fields of a request header, none of which are known.
pub(crate) fn skip_unknown_tagged_fields(cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
    let count = cursor.unsigned_varint()? as usize;
    if count > MAX_UNKNOWN_TAGGED_FIELDS {
        return Err(DecodeError::TooManyTaggedFields);
    }
    for _ in 0..count {
        cursor.unsigned_varint()?;
        let size = cursor.unsigned_varint()? as usize;
        cursor.skip(size)?;
    }
    Ok(())
}

struct Walk<'a> {
    cursor: Cursor<'a>,
    elements_left: usize,
    numbers_left: usize,
    unknown_tags_left: usize,
}

impl<'a> Walk<'a> {
    const fn new(body: &'a [u8]) -> Self {
        Self {
            cursor: Cursor::new(body),
            elements_left: MAX_ELEMENTS,
            numbers_left: MAX_NUMBERS,
            unknown_tags_left: MAX_UNKNOWN_TAGGED_FIELDS,
        }
    }

    fn layout(&mut self, layout: &Layout) -> Result<(), DecodeError> {
        for shape in &layout.fields {
            self.shape(shape, layout.flexible)?;
        }
        if layout.flexible {
            self.tagged_fields(layout)
        } else {
            Ok(())
        }
    }

    fn shape(&mut self, shape: &Shape, flexible: bool) -> Result<(), DecodeError> {
        match shape {
            Shape::Fixed(length) => self.cursor.skip(*length),
            Shape::String { nullable } => match self.cursor.string_length(flexible)? {
                Some(length) => self.utf8(length),
                None => self.null(*nullable),
            },
            Shape::Bytes { nullable } => match self.cursor.bytes_length(flexible)? {
                Some(length) => self.cursor.skip(length),
                None => self.null(*nullable),
            },
            Shape::Array { nullable, element } => {
                match self.cursor.array_length(flexible, element.min_bytes(flexible))? {
                    Some(count) => self.elements(element, count, flexible),
                    None => self.null(*nullable),
                }
            }
            Shape::Struct(layout) => self.layout(layout),
            Shape::NullableStruct(layout) => match self.cursor.i8()? {
                1 => self.layout(layout),
                -1 => Ok(()),
                _ => Err(DecodeError::InvalidPresence {
                    position: self.cursor.position(),
                }),
            },
        }
    }

    fn elements(&mut self, element: &Shape, count: usize, flexible: bool) -> Result<(), DecodeError> {
        if let Shape::Fixed(length) = element {
            self.numbers_left = self
                .numbers_left
                .checked_sub(count)
                .ok_or(DecodeError::TooManyElements)?;
            return self.cursor.skip(length * count);
        }
        self.elements_left = self
            .elements_left
            .checked_sub(count)
            .ok_or(DecodeError::TooManyElements)?;
        for _ in 0..count {
            self.shape(element, flexible)?;
        }
        Ok(())
    }

    fn tagged_fields(&mut self, layout: &Layout) -> Result<(), DecodeError> {
        let count = self.cursor.unsigned_varint()?;
        for _ in 0..count {
            let tag = self.cursor.unsigned_varint()?;
            let size = self.cursor.unsigned_varint()? as usize;
            let known = layout.tagged.iter().find(|(known, _)| *known == tag);
            match known {
                Some((_, Some(shape))) => self.tagged_field(tag, size, shape)?,
                Some((_, None)) => return Err(DecodeError::InvalidTag { tag }),
                None => {
                    self.unknown_tags_left = self
                        .unknown_tags_left
                        .checked_sub(1)
                        .ok_or(DecodeError::TooManyTaggedFields)?;
                    self.cursor.skip(size)?;
                }
            }
        }
        Ok(())
    }

    /// The decoder reads the value and ignores the announced size, so they must be the same.
    fn tagged_field(&mut self, tag: u32, size: usize, shape: &Shape) -> Result<(), DecodeError> {
        let start = self.cursor.position();
        self.shape(shape, true)?;
        if self.cursor.position() - start == size {
            Ok(())
        } else {
            Err(DecodeError::TagSizeMismatch { tag })
        }
    }

    fn utf8(&mut self, length: usize) -> Result<(), DecodeError> {
        let bytes = self.cursor.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err(DecodeError::InvalidUtf8 {
                position: self.cursor.position(),
            }),
        }
    }

    const fn null(&self, nullable: bool) -> Result<(), DecodeError> {
        if nullable { Ok(()) } else { Err(self.cursor.null()) }
    }
}
