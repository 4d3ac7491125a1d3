//! The bytes named `PYTHON_…` and the file in `testdata` were made by python-snappy 0.7, lz4 4.4, zstandard 0.25 and
//! Python's gzip.

use proptest::prelude::*;

use super::*;

const PLAIN: &[u8] = b"monedula monedula monedula!";

const PYTHON_SNAPPY_RAW: &[u8] = b"\x1b monedula B\x09\x00\x00!";
/// Two blocks of 20 and 7 bytes.
const PYTHON_SNAPPY_XERIAL: &[u8] = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\
    \x00\x00\x00\x16\x14Lmonedula monedula mo\x00\x00\x00\x09\x07\x18nedula!";
/// Independent blocks, content size of 0 (unknown) in the header.
const PYTHON_LZ4: &[u8] = b"\x04\x22\x4d\x18\x68\x40\x1b\x00\x00\x00\x00\x00\x00\x00\xfa\
    \x12\x00\x00\x00\x99monedula \x09\x00\x50dula!\x00\x00\x00\x00";
/// With block and content checksums.
const PYTHON_LZ4_CHECKSUMS: &[u8] = b"\x04\x22\x4d\x18\x74\x40\xbd\
    \x12\x00\x00\x00\x99monedula \x09\x00\x50dula!\x03\x2d\x28\x59\x00\x00\x00\x00\x80\x0c\xcb\xfe";
/// With the content size in the header.
const PYTHON_ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x20\x1b\x85\x00\x00\x50monedula !\x01\x00\x9c\xcb\x11";
/// Streamed, so without it.
const PYTHON_ZSTD_STREAM: &[u8] = b"\x28\xb5\x2f\xfd\x00\x68\x85\x00\x00\x50monedula !\x01\x00\x9c\xcb\x11";
const PYTHON_GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\xcd\xcf\x4b\x4d\x29\xcd\x49\x54\xc8\x45\
    \x67\x28\x02\x00\x56\xfe\xb7\x82\x1b\x00\x00\x00";
/// 6,000 times the ten digits and the alphabet; linked blocks of 64 KiB, all checksums.
const PYTHON_LZ4_LINKED: &[u8] = include_bytes!("testdata/linked_blocks.lz4");

const PACKED: [Compression; 4] = [
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

#[test]
fn what_other_libraries_wrote_is_read() {
    for (codec, packed) in [
        (Compression::Snappy, PYTHON_SNAPPY_RAW),
        (Compression::Snappy, PYTHON_SNAPPY_XERIAL),
        (Compression::Lz4, PYTHON_LZ4),
        (Compression::Lz4, PYTHON_LZ4_CHECKSUMS),
        (Compression::Zstd, PYTHON_ZSTD),
        (Compression::Zstd, PYTHON_ZSTD_STREAM),
        (Compression::Gzip, PYTHON_GZIP),
    ] {
        assert_eq!(decompress(codec, packed, PLAIN.len()).as_deref(), Ok(PLAIN), "{codec}");
        let refused = decompress(codec, packed, PLAIN.len() - 1);
        assert_eq!(
            refused,
            Err(CompressError::TooLarge {
                max_bytes: PLAIN.len() - 1
            }),
            "{codec}"
        );
    }
    let linked = b"0123456789abcdefghijklmnopqrstuvwxyz".repeat(6_000);
    assert_eq!(decompress(Compression::Lz4, PYTHON_LZ4_LINKED, 1 << 20), Ok(linked));
}

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
        if codec != Compression::None {
            assert!(compress(codec, &text).len() < text.len() / 10, "{codec} packs");
        }
    }
}

#[test]
fn ids_and_names() {
    for codec in Compression::ALL {
        assert_eq!(Compression::from_id(codec.id()), Some(codec));
    }
    assert_eq!(Compression::ALL.map(Compression::id), [0, 1, 2, 3, 4]);
    assert_eq!(
        Compression::ALL.map(Compression::name),
        ["none", "gzip", "snappy", "lz4", "zstd"]
    );
    assert_eq!(Compression::from_id(5), None);
}

#[test]
fn java_reads_the_frames_we_write() {
    // Java's reader wants version 1 with independent blocks and no dictionary: flags 01x0_xx00 but for the size bit.
    let lz4 = compress(Compression::Lz4, PLAIN);
    assert_eq!(lz4[..4], [0x04, 0x22, 0x4d, 0x18]);
    assert_eq!(lz4[4] & 0b1110_0001, 0b0110_0000);
    let snappy = compress(Compression::Snappy, &PLAIN.repeat(2_000));
    assert_eq!(snappy[..16], *b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01");
    let first = u32::from_be_bytes([snappy[16], snappy[17], snappy[18], snappy[19]]) as usize;
    assert_eq!(snap::raw::decompress_len(&snappy[20..20 + first]), Ok(32 * 1024));
}

#[test]
fn streams_one_after_the_other() {
    let twice = PLAIN.repeat(2);
    for (codec, packed) in [
        (Compression::Gzip, PYTHON_GZIP),
        (Compression::Snappy, PYTHON_SNAPPY_XERIAL),
    ] {
        assert_eq!(
            decompress(codec, &packed.repeat(2), 1_000).as_deref(),
            Ok(&twice[..]),
            "{codec}"
        );
    }
}

#[test]
fn announced_sizes_are_not_believed() {
    // Snappy: four bytes that announce almost 2 GiB.
    let snappy = decompress(Compression::Snappy, b"\xff\xff\xff\xff\x07", usize::MAX);
    assert!(matches!(snappy, Err(CompressError::Malformed { .. })), "{snappy:?}");
    // Xerial: a block length beyond the end, a negative one, a cut one.
    for tail in [&b"\x7f\xff\xff\xff\x00"[..], b"\xff\xff\xff\xff\x00", b"\x00\x00"] {
        let bytes = [&PYTHON_SNAPPY_XERIAL[..16], tail].concat();
        assert!(matches!(
            decompress(Compression::Snappy, &bytes, 1_000),
            Err(CompressError::Malformed { .. })
        ));
    }
    // Zstd: a frame header with an eight-byte content size of 2^62, and no content.
    let zstd = decompress(
        Compression::Zstd,
        b"\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x00\x00\x40\x01\x00\x00",
        1_000,
    );
    assert!(zstd.is_err(), "{zstd:?}");
}

#[test]
fn damage_is_noticed_where_the_format_has_a_checksum() {
    for (codec, packed) in [
        (Compression::Lz4, PYTHON_LZ4_CHECKSUMS),
        (Compression::Gzip, PYTHON_GZIP),
    ] {
        let mut damaged = packed.to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        assert!(
            matches!(decompress(codec, &damaged, 1_000), Err(CompressError::Malformed { .. })),
            "{codec}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_input_round_trips(
        chunk in prop::collection::vec(any::<u8>(), 0..1_500),
        times in 1usize..60,
        codec in prop::sample::select(&Compression::ALL[..]),
    ) {
        let input = chunk.repeat(times);
        let packed = compress(codec, &input);
        prop_assert_eq!(decompress(codec, &packed, input.len()), Ok(input));
    }
}

proptest! {
    #[test]
    fn damaged_input_never_panics_or_exceeds_the_limit(
        input in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..2_000),
        codec in prop::sample::select(&PACKED[..]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut packed = compress(codec, &input);
        for (at, byte) in damage {
            let at = at.index(packed.len());
            packed[at] = byte;
        }
        packed.truncate(cut.index(packed.len() + 1));
        if let Ok(output) = decompress(codec, &packed, 3_000) {
            prop_assert!(output.len() <= 3_000);
        }
    }

    #[test]
    fn garbage_never_panics(input in prop::collection::vec(any::<u8>(), 0..500)) {
        for codec in PACKED {
            let _ = decompress(codec, &input, 3_000);
        }
        for magic in [&b"\x04\x22\x4d\x18"[..], b"\x02\x21\x4c\x18", b"\x28\xb5\x2f\xfd", b"\x82SNAPPY\x00"] {
            let bytes = [magic, &input].concat();
            for codec in PACKED {
                let _ = decompress(codec, &bytes, 3_000);
            }
        }
    }
}
