//! The byte-level writer and reader under every durable format of the metadata log.
//!
//! Integers are LEB128 (signed ones zigzag), strings and byte strings carry their length, collections their count.
//! Invariants: the reader never panics and never allocates more than the bytes it was given could hold;
//! what the writer wrote, the reader reads back to the same value with nothing left over.

use uuid::Uuid;

/// Why bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end inside a value.
    #[error("ends inside a value")]
    Truncated,
    /// Bytes are left behind the last value.
    #[error("{0} bytes are left behind the last value")]
    Trailing(usize),
    /// A value outside its range.
    #[error("bad value for {0}")]
    BadValue(&'static str),
    /// Written by a newer version of this program, which must read it.
    #[error("{what} has version or kind {found}, newer than this program knows")]
    Unknown {
        /// The format or field.
        what: &'static str,
        /// The number found.
        found: u64,
    },
}

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// An unsigned integer, one to ten bytes.
    pub fn u64(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// A signed integer, small when near zero.
    pub fn i64(&mut self, value: i64) {
        self.u64(((value << 1) ^ (value >> 63)) as u64);
    }

    /// A signed 32-bit integer.
    pub fn i32(&mut self, value: i32) {
        self.i64(i64::from(value));
    }

    /// A UUID, sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.bytes.extend_from_slice(value.as_bytes());
    }

    /// Bytes with their length.
    pub fn bytes(&mut self, value: &[u8]) {
        self.u64(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// A string with its length in bytes.
    pub fn str(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// A value that may be absent.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// A count and the items.
    pub fn list<I>(&mut self, items: I, mut write: impl FnMut(&mut Self, I::Item))
    where
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator,
    {
        let items = items.into_iter();
        self.u64(items.len() as u64);
        for item in items {
            write(self, item);
        }
    }
}

/// Reads values from the front of a slice.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Succeeds when everything was read.
    pub fn finish(self) -> Result<(), CodecError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(CodecError::Trailing(self.rest.len()))
        }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, CodecError> {
        Ok(self.take(1)?[0])
    }

    /// A truth value.
    pub fn bool(&mut self) -> Result<bool, CodecError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::BadValue("truth value")),
        }
    }

    /// An unsigned integer.
    pub fn u64(&mut self) -> Result<u64, CodecError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CodecError::BadValue("integer"))
    }

    /// A signed integer.
    pub fn i64(&mut self) -> Result<i64, CodecError> {
        let raw = self.u64()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A signed 32-bit integer.
    pub fn i32(&mut self) -> Result<i32, CodecError> {
        i32::try_from(self.i64()?).map_err(|_| CodecError::BadValue("32-bit integer"))
    }

    /// A UUID.
    pub fn uuid(&mut self) -> Result<Uuid, CodecError> {
        let bytes = self.take(16)?;
        Ok(Uuid::from_slice(bytes).expect("sixteen bytes were taken"))
    }

    /// Bytes with their length.
    pub fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let len = usize::try_from(self.u64()?).map_err(|_| CodecError::Truncated)?;
        self.take(len)
    }

    /// A string.
    pub fn str(&mut self) -> Result<&'a str, CodecError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| CodecError::BadValue("text"))
    }

    /// A value that may be absent.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    /// A count and the items; a count that the remaining bytes cannot hold (every item takes a byte) is refused
    /// before memory is reserved for it.
    pub fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, CodecError>) -> Result<Vec<T>, CodecError> {
        let count = usize::try_from(self.u64()?).map_err(|_| CodecError::Truncated)?;
        if count > self.rest.len() {
            return Err(CodecError::Truncated);
        }
        // The count bounds items, not their size in memory: reserve little and let the vector grow with real items.
        let mut items = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn edges_of_integers_survive() {
        for value in [0, 1, 127, 128, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut writer = Writer::new();
            writer.u64(value);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.u64(), Ok(value));
            assert_eq!(reader.finish(), Ok(()));
        }
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            let mut writer = Writer::new();
            writer.i64(value);
            assert_eq!(Reader::new(&writer.into_bytes()).i64(), Ok(value));
        }
    }

    #[test]
    fn bad_bytes_are_errors() {
        assert_eq!(Reader::new(&[0x80]).u64(), Err(CodecError::Truncated));
        assert_eq!(Reader::new(&[0xff; 11]).u64(), Err(CodecError::BadValue("integer")));
        assert_eq!(Reader::new(&[2]).bool(), Err(CodecError::BadValue("truth value")));
        assert_eq!(Reader::new(&[5, b'a']).str(), Err(CodecError::Truncated));
        assert_eq!(Reader::new(&[1, 0xff]).str(), Err(CodecError::BadValue("text")));
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1]).list(Reader::u8),
            Err(CodecError::Truncated)
        );
        assert_eq!(Reader::new(&[1]).finish(), Err(CodecError::Trailing(1)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            while reader.remaining() > 0 {
                if reader.list(|r| r.option(|r| r.str().map(str::to_owned))).is_err() {
                    break;
                }
            }
        }

        #[test]
        fn values_round_trip(a in any::<i32>(), b in ".*", c in any::<u128>(), d in any::<Option<u64>>()) {
            let mut writer = Writer::new();
            writer.i32(a);
            writer.str(&b);
            writer.uuid(Uuid::from_u128(c));
            writer.option(d, Writer::u64);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.i32(), Ok(a));
            prop_assert_eq!(reader.str(), Ok(b.as_str()));
            prop_assert_eq!(reader.uuid(), Ok(Uuid::from_u128(c)));
            prop_assert_eq!(reader.option(Reader::u64), Ok(d));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }
}
