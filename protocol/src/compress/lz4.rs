//! The LZ4 frame format by lz4_flex.
//!
//! Invariants: written frames have independent blocks of 64 KiB, the only kind that Java's `Lz4BlockInputStream` reads.
//! Read are also linked blocks, all block sizes, checksums and content sizes, as other clients make them.

use std::io::{self, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{CompressError, Compression, read_limited};

pub(super) fn compress(input: &[u8]) -> io::Result<Vec<u8>> {
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::with_capacity(input.len() / 2));
    encoder.write_all(input)?;
    encoder.finish().map_err(io::Error::other)
}

pub(super) fn decompress(input: &[u8], max_bytes: usize) -> Result<Vec<u8>, CompressError> {
    read_limited(
        Compression::Lz4,
        FrameDecoder::new(input),
        input.len().saturating_mul(4),
        max_bytes,
    )
}
