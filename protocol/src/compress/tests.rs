use super::*;

#[test]
fn round_trip() {
    let text = b"the quick brown fox jumps over the lazy dog ".repeat(5_000);
    for codec in Compression::ALL {
        for input in [&text[..], b"", b"x"] {
            let packed = compress(codec, input);
            assert_eq!(decompress(codec, &packed, input.len()).as_deref(), Ok(input), "{codec}");
            if let Some(one_less) = input.len().checked_sub(1) {
                let refused = decompress(codec, &packed, one_less);
                assert_eq!(refused, Err(CompressError::TooLarge { max_bytes: one_less }), "{codec}");
            }
        }
    }
}
