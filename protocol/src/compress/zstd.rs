//! Zstandard (RFC 8878) by the zstd crate.
//!
//! Invariant: decoded as a stream, so the content size a frame announces is never allocated. Windows up to the
//! library's 128 MiB must be read: the Java client at its highest level announces that much for small batches too.

use std::io;

use super::{CompressError, Compression, read_limited};

pub(super) fn compress(level: Option<i32>, input: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(input, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))
}

pub(super) fn decompress(input: &[u8], max_bytes: usize) -> Result<Vec<u8>, CompressError> {
    let codec = Compression::Zstd;
    let decoder = zstd::stream::read::Decoder::with_buffer(input);
    let decoder = decoder.map_err(|error| CompressError::malformed(codec, error))?;
    read_limited(codec, decoder, input.len().saturating_mul(4), max_bytes)
}
