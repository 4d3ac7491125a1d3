//! A record batch where it lies, without copying.
//!
//! Invariants: `bytes` is exactly one batch (`header.size_bytes()` long) and `header` is its parsed beginning.
//! Nothing but sizes and the magic is checked until `verify_crc` or `records` is called.

use std::borrow::Cow;

use super::{BATCH_HEADER_BYTES, BatchError, BatchHeader, Records};
use crate::compress::{self, Compression};

/// One record batch of a longer run of bytes.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    /// The parsed header.
    pub header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// The first batch of `bytes`; what follows it is left alone. A cut batch gives `Incomplete` with the needed size.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let needed = header.size_bytes();
        match bytes.get(..needed) {
            Some(batch) => Ok(Self { header, bytes: batch }),
            None => Err(BatchError::Incomplete {
                needed,
                available: bytes.len(),
            }),
        }
    }

    /// The batch, header included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header: the records, compressed or not.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[BATCH_HEADER_BYTES..]
    }

    /// Compares the stored CRC with that of the bytes.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c::crc32c(&self.bytes[super::header::ATTRIBUTES_AT..]);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::CrcMismatch {
                stored: self.header.crc,
                computed,
            })
        }
    }

    /// The records, decompressed if need be into at most `max_decompressed_bytes`.
    pub fn records(&self, max_decompressed_bytes: usize) -> Result<Records<'a>, BatchError> {
        let attributes = self.header.attributes;
        let compression = attributes
            .compression()
            .ok_or_else(|| BatchError::UnsupportedCompression {
                id: attributes.compression_id(),
            })?;
        // A batch emptied by compaction has no compressed stream either.
        let payload = if compression == Compression::None || self.header.records_count == 0 {
            Cow::Borrowed(self.body())
        } else {
            Cow::Owned(compress::decompress(compression, self.body(), max_decompressed_bytes)?)
        };
        Ok(Records::new(payload, self.header.records_count))
    }
}

/// The batches of `bytes` one after the other; the first fault, a cut batch included, is the last item.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { remaining: bytes }
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    remaining: &'a [u8],
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining.is_empty() {
            return None;
        }
        let parsed = BatchView::parse(self.remaining);
        self.remaining = match &parsed {
            Ok(view) => &self.remaining[view.bytes.len()..],
            Err(_) => &[],
        };
        Some(parsed)
    }
}
