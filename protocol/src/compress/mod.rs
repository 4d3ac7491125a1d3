//! The codecs of record batches. What is read comes from strangers.
//!
//! Invariants: `decompress` returns at most `max_bytes` and never allocates more than a small multiple of what it
//! really decoded, whatever size the input announces. It does not panic on any input. Beside the output, zstd and lz4
//! keep a window or block buffer whose size their formats bound (128 MiB and 8 MiB of address space, touched as used).

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::fmt;
use std::io::{self, Read};

/// The codecs a batch can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// Records as they are.
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy in xerial's framing; raw snappy is read too.
    Snappy = 2,
    /// The LZ4 frame format.
    Lz4 = 3,
    /// RFC 8878.
    Zstd = 4,
}

impl Compression {
    /// All codecs, in the order of their ids.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The value of the attribute bits.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The codec of the attribute bits, if there is one.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The name that configurations use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why bytes cannot be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    /// The output would exceed the caller's limit.
    #[error("more than {max_bytes} bytes when decompressed")]
    TooLarge {
        /// The limit.
        max_bytes: usize,
    },
    /// Not the format it should be.
    #[error("malformed {codec} data: {reason}")]
    Malformed {
        /// The codec that was tried.
        codec: Compression,
        /// What it had to say.
        reason: String,
    },
}

impl CompressError {
    fn malformed(codec: Compression, reason: impl fmt::Display) -> Self {
        Self::Malformed {
            codec,
            reason: reason.to_string(),
        }
    }
}

/// Compresses with the codec's default level.
pub fn compress(codec: Compression, input: &[u8]) -> Vec<u8> {
    compress_with(codec, None, input)
}

/// Compresses with a level of the codec, 1 to 9 for gzip and -131072 to 22 for zstd; `None` is the library's own. Snappy
/// has no levels, and the library for lz4 has one.
pub fn compress_with(codec: Compression, level: Option<i32>, input: &[u8]) -> Vec<u8> {
    let compressed = match codec {
        Compression::None => return input.to_vec(),
        Compression::Snappy => return snappy::compress(input),
        Compression::Gzip => gzip::compress(level, input),
        Compression::Lz4 => lz4::compress(input),
        Compression::Zstd => zstd::compress(level, input),
    };
    compressed.expect("writing to memory does not fail")
}

/// Decompresses into at most `max_bytes`.
pub fn decompress(codec: Compression, input: &[u8], max_bytes: usize) -> Result<Vec<u8>, CompressError> {
    match codec {
        Compression::None if input.len() > max_bytes => Err(CompressError::TooLarge { max_bytes }),
        Compression::None => Ok(input.to_vec()),
        Compression::Gzip => gzip::decompress(input, max_bytes),
        Compression::Snappy => snappy::decompress(input, max_bytes),
        Compression::Lz4 => lz4::decompress(input, max_bytes),
        Compression::Zstd => zstd::decompress(input, max_bytes),
    }
}

/// Reads all of `reader`, growing the output as data comes and never beyond `max_bytes`.
fn read_limited(
    codec: Compression,
    mut reader: impl Read,
    expected_bytes: usize,
    max_bytes: usize,
) -> Result<Vec<u8>, CompressError> {
    const MIN_STEP_BYTES: usize = 4 * 1024;
    let mut output = vec![0; expected_bytes.max(MIN_STEP_BYTES).min(max_bytes)];
    let mut filled = 0;
    loop {
        if filled == output.len() {
            if filled == max_bytes {
                return match read_some(codec, &mut reader, &mut [0])? {
                    0 => Ok(output),
                    _ => Err(CompressError::TooLarge { max_bytes }),
                };
            }
            let grown = output.len().saturating_mul(2).max(MIN_STEP_BYTES).min(max_bytes);
            output.resize(grown, 0);
        }
        match read_some(codec, &mut reader, &mut output[filled..])? {
            0 => {
                output.truncate(filled);
                return Ok(output);
            }
            read => filled += read,
        }
    }
}

fn read_some(codec: Compression, reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize, CompressError> {
    loop {
        match reader.read(buffer) {
            Ok(read) => return Ok(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CompressError::malformed(codec, error)),
        }
    }
}

#[cfg(test)]
mod tests;
