//! Kafka's primitive types as they stand in coordinator records: a bounded reader and a writer.
//!
//! Invariants: the reader never panics and never allocates more than the bytes it was given can fill; the writer refuses
//! what the format cannot hold instead of cutting it.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// What every version of the protocol can tell: the length of a string was an int16 once.
const MAX_STRING_BYTES: usize = i16::MAX as usize;

/// A record that cannot be decoded: what was wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordDecodeError(pub String);

impl fmt::Display for RecordDecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RecordDecodeError {}

/// A string or array longer than its length field can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordEncodeError;

impl fmt::Display for RecordEncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field of the record is longer than the format can hold")
    }
}

impl std::error::Error for RecordEncodeError {}

/// Reads primitives from the front of a slice.
#[derive(Debug)]
pub(in crate::coordinator) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(in crate::coordinator) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], RecordDecodeError> {
        if len > self.bytes.len() {
            return Err(RecordDecodeError(format!(
                "{len} bytes expected, {} left",
                self.bytes.len()
            )));
        }
        let (head, tail) = self.bytes.split_at(len);
        self.bytes = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordDecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(in crate::coordinator) fn int8(&mut self) -> Result<i8, RecordDecodeError> {
        self.array().map(i8::from_be_bytes)
    }

    pub(in crate::coordinator) fn int16(&mut self) -> Result<i16, RecordDecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(in crate::coordinator) fn int32(&mut self) -> Result<i32, RecordDecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(in crate::coordinator) fn int64(&mut self) -> Result<i64, RecordDecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(in crate::coordinator) fn uuid(&mut self) -> Result<Uuid, RecordDecodeError> {
        self.array().map(Uuid::from_bytes)
    }

    fn unsigned_varint(&mut self) -> Result<u32, RecordDecodeError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordDecodeError("varint longer than 32 bits".to_owned()))
    }

    /// Length of a string, byte string or array; `None` = null.
    fn length(&mut self, flexible: bool, short: bool) -> Result<Option<usize>, RecordDecodeError> {
        let length = match (flexible, short) {
            (true, _) => i64::from(self.unsigned_varint()?) - 1,
            (false, true) => i64::from(self.int16()?),
            (false, false) => i64::from(self.int32()?),
        };
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(RecordDecodeError(format!("negative length {length}"))),
        }
    }

    fn nullable_text(&mut self, flexible: bool) -> Result<Option<&'a str>, RecordDecodeError> {
        let Some(length) = self.length(flexible, true)? else {
            return Ok(None);
        };
        if length > MAX_STRING_BYTES {
            // Old versions of the protocol could not tell it to a client.
            return Err(RecordDecodeError(format!("string of {length} bytes")));
        }
        let bytes = self.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(error) => Err(RecordDecodeError(format!("string is not UTF-8: {error}"))),
        }
    }

    pub(in crate::coordinator) fn nullable_string(
        &mut self,
        flexible: bool,
    ) -> Result<Option<Arc<str>>, RecordDecodeError> {
        Ok(self.nullable_text(flexible)?.map(Arc::from))
    }

    /// A string that stays where it is.
    pub(in crate::coordinator) fn text(&mut self, flexible: bool) -> Result<&'a str, RecordDecodeError> {
        self.nullable_text(flexible)?
            .ok_or_else(|| RecordDecodeError("null where a string must be".to_owned()))
    }

    pub(in crate::coordinator) fn string(&mut self, flexible: bool) -> Result<Arc<str>, RecordDecodeError> {
        self.text(flexible).map(Arc::from)
    }

    pub(in crate::coordinator) fn byte_string(&mut self, flexible: bool) -> Result<Bytes, RecordDecodeError> {
        match self.length(flexible, false)? {
            Some(length) => Ok(Bytes::copy_from_slice(self.take(length)?)),
            None => Err(RecordDecodeError("null where bytes must be".to_owned())),
        }
    }

    /// Number of elements that follow, none for null; at most one per remaining byte, so a count cannot make anybody
    /// reserve more memory than was read.
    pub(in crate::coordinator) fn array_length(&mut self, flexible: bool) -> Result<usize, RecordDecodeError> {
        let length = self.length(flexible, false)?.unwrap_or(0);
        if length > self.bytes.len() {
            return Err(RecordDecodeError(format!(
                "{length} elements in {} bytes",
                self.bytes.len()
            )));
        }
        Ok(length)
    }

    /// The tagged fields at the end of a struct, handed to `field` one by one.
    pub(in crate::coordinator) fn tagged_fields(
        &mut self,
        mut field: impl FnMut(u32, &mut Reader<'_>) -> Result<(), RecordDecodeError>,
    ) -> Result<(), RecordDecodeError> {
        let count = self.unsigned_varint()?;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            let length = self.unsigned_varint()?;
            let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
            field(tag, &mut Reader::new(bytes))?;
        }
        Ok(())
    }
}

/// Appends primitives to a buffer.
#[derive(Debug, Default)]
pub(in crate::coordinator) struct Writer {
    bytes: BytesMut,
}

impl Writer {
    pub(in crate::coordinator) fn with_version(version: i16) -> Self {
        let mut writer = Self::default();
        writer.int16(version);
        writer
    }

    pub(in crate::coordinator) fn finish(self) -> Bytes {
        self.bytes.freeze()
    }

    pub(in crate::coordinator) fn int8(&mut self, value: i8) {
        self.bytes.put_i8(value);
    }

    pub(in crate::coordinator) fn int16(&mut self, value: i16) {
        self.bytes.put_i16(value);
    }

    pub(in crate::coordinator) fn int32(&mut self, value: i32) {
        self.bytes.put_i32(value);
    }

    pub(in crate::coordinator) fn int64(&mut self, value: i64) {
        self.bytes.put_i64(value);
    }

    pub(in crate::coordinator) fn uuid(&mut self, value: Uuid) {
        self.bytes.put_slice(value.as_bytes());
    }

    pub(in crate::coordinator) fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.put_u8(value as u8);
    }

    pub(in crate::coordinator) fn string(&mut self, text: &str) -> Result<(), RecordEncodeError> {
        self.int16(i16::try_from(text.len()).map_err(|_| RecordEncodeError)?);
        self.bytes.put_slice(text.as_bytes());
        Ok(())
    }

    pub(in crate::coordinator) fn nullable_string(&mut self, text: Option<&str>) -> Result<(), RecordEncodeError> {
        match text {
            Some(text) => self.string(text),
            None => {
                self.int16(-1);
                Ok(())
            }
        }
    }

    pub(in crate::coordinator) fn compact_string(&mut self, text: &str) -> Result<(), RecordEncodeError> {
        let length = u32::try_from(text.len())
            .ok()
            .and_then(|length| length.checked_add(1))
            .ok_or(RecordEncodeError)?;
        self.unsigned_varint(length);
        self.bytes.put_slice(text.as_bytes());
        Ok(())
    }

    pub(in crate::coordinator) fn byte_string(&mut self, bytes: &[u8]) -> Result<(), RecordEncodeError> {
        self.array_length(bytes.len())?;
        self.bytes.put_slice(bytes);
        Ok(())
    }

    pub(in crate::coordinator) fn array_length(&mut self, length: usize) -> Result<(), RecordEncodeError> {
        self.int32(i32::try_from(length).map_err(|_| RecordEncodeError)?);
        Ok(())
    }
}
