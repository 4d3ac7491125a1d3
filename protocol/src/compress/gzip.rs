//! gzip (RFC 1952) by flate2.
//!
//! Invariant: members that follow one another are read as one stream, as Java's `GZIPInputStream` does.

use std::io::{self, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{CompressError, Compression, read_limited};

pub(super) fn compress(level: Option<i32>, input: &[u8]) -> io::Result<Vec<u8>> {
    let level = level.map(|level| u32::try_from(level.clamp(1, 9)).expect("clamped"));
    let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
    let mut encoder = GzEncoder::new(Vec::with_capacity(input.len() / 2), level);
    encoder.write_all(input)?;
    encoder.finish()
}

pub(super) fn decompress(input: &[u8], max_bytes: usize) -> Result<Vec<u8>, CompressError> {
    // Text packs to a quarter; deflate cannot do better than 1:1032, so the guess is a small step.
    read_limited(
        Compression::Gzip,
        MultiGzDecoder::new(input),
        input.len().saturating_mul(4),
        max_bytes,
    )
}
