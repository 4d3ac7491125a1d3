//! Compressed payloads: the first byte chooses the codec, the second one bit of the limit.
//!
//! Must hold: no panic, never more output than the limit, and what was compressed comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::compress::{Compression, compress, decompress};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fuzz_target!(|data: &[u8]| {
    let [choice, limit, payload @ ..] = data else { return };
    let codec = CODECS[usize::from(*choice) % CODECS.len()];
    let max_bytes = 1_usize << (limit % 21);
    if let Ok(output) = decompress(codec, payload, max_bytes) {
        assert!(output.len() <= max_bytes);
    }
    let compressed = compress(codec, payload);
    assert_eq!(decompress(codec, &compressed, payload.len()).as_deref(), Ok(payload));
});
