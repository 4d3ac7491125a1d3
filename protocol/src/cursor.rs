//! Checked reads of the primitive wire types.
//!
//! Invariants: no read goes past the end, no read panics, no read allocates; a length or a count is
//! returned only after it was compared with the bytes that remain. Every reader of this crate that
//! does not go through kafka-protocol reads through this.

use crate::decode::DecodeError;

/// Longest string in any version, compact or not.
const MAX_STRING_BYTES: usize = i16::MAX as usize;

/// A read position in a frame.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(crate) const fn position(&self) -> usize {
        self.position
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        match self.bytes[self.position..].get(..length) {
            Some(taken) => {
                self.position += length;
                Ok(taken)
            }
            None => Err(self.truncated(length)),
        }
    }

    pub(crate) fn skip(&mut self, length: usize) -> Result<(), DecodeError> {
        self.take(length).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.bytes[self.position..].first_chunk::<N>() {
            Some(chunk) => {
                self.position += N;
                Ok(*chunk)
            }
            None => Err(self.truncated(N)),
        }
    }

    pub(crate) fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array().map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn uuid(&mut self) -> Result<uuid::Uuid, DecodeError> {
        self.array().map(uuid::Uuid::from_bytes)
    }

    /// At most five bytes, and no bits beyond the 32nd.
    pub(crate) fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong {
            position: self.position,
        })
    }

    /// Length of a string, checked against what remains; `None` = null. Kafka's readers refuse more than an int16 can
    /// say in the compact form too, and an answer of an older version could not repeat it.
    pub(crate) fn string_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        let length = if flexible {
            self.compact_length()?
        } else {
            self.signed_length(Self::i16)?
        };
        if length.is_some_and(|length| length > MAX_STRING_BYTES) {
            return Err(DecodeError::StringTooLong {
                position: self.position,
            });
        }
        self.check_room(length, 1)
    }

    /// Length of bytes or records, checked against what remains; `None` = null.
    pub(crate) fn bytes_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        self.array_length(flexible, 1)
    }

    /// Count of an array, checked against what remains when every element takes at least
    /// `min_element_bytes`; `None` = null.
    pub(crate) fn array_length(
        &mut self,
        flexible: bool,
        min_element_bytes: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let length = if flexible {
            self.compact_length()?
        } else {
            self.signed_length(Self::i32)?
        };
        self.check_room(length, min_element_bytes)
    }

    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(self.unsigned_varint()?.checked_sub(1).map(|length| length as usize))
    }

    fn signed_length<T: Into<i32>>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<usize>, DecodeError> {
        match read(self)?.into() {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(DecodeError::NegativeLength {
                    position: self.position,
                }),
            },
        }
    }

    fn check_room(&self, count: Option<usize>, min_element_bytes: usize) -> Result<Option<usize>, DecodeError> {
        match count {
            Some(count) if count > self.remaining() / min_element_bytes => {
                Err(self.truncated(count.saturating_mul(min_element_bytes)))
            }
            count => Ok(count),
        }
    }

    /// The error for a null where the schema allows none.
    pub(crate) const fn null(&self) -> DecodeError {
        DecodeError::UnexpectedNull {
            position: self.position,
        }
    }

    const fn truncated(&self, needed: usize) -> DecodeError {
        DecodeError::Truncated {
            position: self.position,
            needed,
            remaining: self.remaining(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_read_like_they_are_written_and_bounded() {
        for value in [0_u32, 1, 127, 128, 300, 16_383, 16_384, 1 << 28, u32::MAX] {
            let mut bytes = Vec::new();
            let mut rest = value;
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.unsigned_varint(), Ok(value));
            assert_eq!(cursor.remaining(), 0);
            for cut in 0..bytes.len() {
                assert!(matches!(
                    Cursor::new(&bytes[..cut]).unsigned_varint(),
                    Err(DecodeError::Truncated { .. })
                ));
            }
        }
        for too_long in [[0xff, 0xff, 0xff, 0xff, 0x1f], [0x80, 0x80, 0x80, 0x80, 0x80]] {
            assert!(matches!(
                Cursor::new(&too_long).unsigned_varint(),
                Err(DecodeError::VarintTooLong { .. })
            ));
        }
    }

    #[test]
    fn compact_strings_are_no_longer_than_others() {
        let body = |length: usize| {
            let announced = length + 1;
            let mut bytes = vec![
                announced as u8 | 0x80,
                (announced >> 7) as u8 | 0x80,
                (announced >> 14) as u8,
            ];
            bytes.resize(3 + length, b'x');
            bytes
        };
        let longest = i16::MAX as usize;
        assert_eq!(
            Cursor::new(&body(longest)).string_length(true),
            Ok(Some(longest)),
            "the longest"
        );
        assert_eq!(
            Cursor::new(&body(longest + 1)).string_length(true),
            Err(DecodeError::StringTooLong { position: 3 })
        );
        assert_eq!(
            Cursor::new(&body(longest + 1)).bytes_length(true),
            Ok(Some(longest + 1)),
            "bytes may be longer"
        );
    }

    #[test]
    fn lengths_beyond_the_end_are_refused() {
        assert_eq!(Cursor::new(&[0, 2, 1, 1]).string_length(false), Ok(Some(2)));
        assert!(matches!(
            Cursor::new(&[0, 3, 1, 1]).string_length(false),
            Err(DecodeError::Truncated { needed: 3, .. })
        ));
        assert_eq!(Cursor::new(&[0xff, 0xff]).string_length(false), Ok(None));
        assert!(matches!(
            Cursor::new(&[0xff, 0xfe]).string_length(false),
            Err(DecodeError::NegativeLength { .. })
        ));
        assert_eq!(Cursor::new(&[0]).string_length(true), Ok(None));
        assert_eq!(Cursor::new(&[1]).string_length(true), Ok(Some(0)));
        assert!(Cursor::new(&[2]).string_length(true).is_err());
        assert!(
            Cursor::new(&[0x7f, 0xff, 0xff, 0xff, 0, 0])
                .array_length(false, 1)
                .is_err()
        );
        assert!(Cursor::new(&[0, 0, 0, 2, 0, 0, 0]).array_length(false, 2).is_err());
        assert_eq!(
            Cursor::new(&[0, 0, 0, 2, 0, 0, 0, 0]).array_length(false, 2),
            Ok(Some(2))
        );
    }
}
