//! Snappy in xerial's framing, the one Java clients write, and raw, which some others write.
//!
//! Framing: 16 bytes (magic, version, oldest compatible version), then blocks of an int32 length and raw snappy.
//! Invariant: a block's announced size is believed only as far as snappy can expand the bytes at hand.

use super::{CompressError, Compression};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_BYTES: usize = 16;
/// Version and oldest compatible version that xerial's library writes.
const VERSION: i32 = 1;
/// Input of one block, as xerial's library has it by default.
const BLOCK_BYTES: usize = 32 * 1024;
/// The shortest encoding of a copy takes 3 bytes for 64.
const MAX_EXPANSION: usize = 22;

pub(super) fn compress(input: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(HEADER_BYTES + input.len() / 2);
    output.extend_from_slice(&MAGIC);
    output.extend_from_slice(&VERSION.to_be_bytes());
    output.extend_from_slice(&VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for chunk in input.chunks(BLOCK_BYTES) {
        let block = encoder
            .compress_vec(chunk)
            .expect("blocks are far smaller than snappy's limit");
        let length = u32::try_from(block.len()).expect("blocks are far smaller than 4 GiB");
        output.extend_from_slice(&length.to_be_bytes());
        output.extend_from_slice(&block);
    }
    output
}

pub(super) fn decompress(input: &[u8], max_bytes: usize) -> Result<Vec<u8>, CompressError> {
    let mut output = Vec::new();
    if !input.starts_with(&MAGIC) {
        append_block(input, &mut output, max_bytes)?;
        return Ok(output);
    }
    let mut remaining = input;
    while !remaining.is_empty() {
        // Streams may follow one another, each with its header.
        if remaining.starts_with(&MAGIC) {
            remaining = remaining
                .get(HEADER_BYTES..)
                .ok_or_else(|| malformed("the header is cut"))?;
            continue;
        }
        let (length, rest) = remaining
            .split_first_chunk()
            .ok_or_else(|| malformed("a block length is cut"))?;
        let length =
            usize::try_from(i32::from_be_bytes(*length)).map_err(|_| malformed("a block length is negative"))?;
        let (block, rest) = rest
            .split_at_checked(length)
            .ok_or_else(|| malformed("a block is cut"))?;
        append_block(block, &mut output, max_bytes)?;
        remaining = rest;
    }
    Ok(output)
}

fn append_block(block: &[u8], output: &mut Vec<u8>, max_bytes: usize) -> Result<(), CompressError> {
    let announced = snap::raw::decompress_len(block).map_err(malformed)?;
    if announced > max_bytes - output.len() {
        return Err(CompressError::TooLarge { max_bytes });
    }
    if announced > block.len().saturating_mul(MAX_EXPANSION) {
        return Err(malformed("a block announces more than it can hold"));
    }
    let start = output.len();
    output.resize(start + announced, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut output[start..])
        .map_err(malformed)?;
    output.truncate(start + written);
    Ok(())
}

fn malformed(reason: impl std::fmt::Display) -> CompressError {
    CompressError::malformed(Compression::Snappy, reason)
}
