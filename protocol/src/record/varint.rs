//! Zigzag variable-length integers as records use them (KIP-98, Kafka's `ByteUtils`).
//!
//! Invariants: reading never looks past the slice, takes at most 5 (32 bit) or 10 (64 bit) bytes, and refuses an
//! encoding whose last byte carries bits that do not fit; such bytes would mean different numbers to different readers.

/// Longest encoding of a 32-bit number.
const MAX_VARINT_BYTES: usize = 5;
/// Longest encoding of a 64-bit number.
const MAX_VARLONG_BYTES: usize = 10;

/// Takes a 32-bit number from the front of `input`; `None` if it is cut or malformed.
// Six of them are read for every record that is produced: as calls they cost more than all the rest of the walk.
#[inline(always)]
pub(crate) fn read_varint(input: &mut &[u8]) -> Option<i32> {
    let raw = match read_short(input) {
        Some(raw) => raw,
        None => u32::try_from(read_unsigned(input, MAX_VARINT_BYTES)?).ok()?,
    };
    Some(zigzag_decode_32(raw))
}

/// Takes a 64-bit number from the front of `input`; `None` if it is cut or malformed.
#[inline(always)]
pub(crate) fn read_varlong(input: &mut &[u8]) -> Option<i64> {
    let raw = match read_short(input) {
        Some(raw) => u64::from(raw),
        None => read_unsigned(input, MAX_VARLONG_BYTES)?,
    };
    Some(((raw >> 1) as i64) ^ -((raw & 1) as i64))
}

/// Takes a number of one or two bytes, the usual case: deltas, short keys, values below 8 KiB, no headers.
#[inline(always)]
fn read_short(input: &mut &[u8]) -> Option<u32> {
    match **input {
        [first, ref rest @ ..] if first < 0x80 => {
            *input = rest;
            Some(u32::from(first))
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *input = rest;
            Some(u32::from(first & 0x7f) | u32::from(second) << 7)
        }
        _ => None,
    }
}

/// Appends a 32-bit number.
pub(crate) fn write_varint(output: &mut Vec<u8>, value: i32) {
    write_unsigned(output, u64::from(zigzag_encode_32(value)));
}

/// Appends a 64-bit number.
pub(crate) fn write_varlong(output: &mut Vec<u8>, value: i64) {
    write_unsigned(output, zigzag_encode_64(value));
}

/// How many bytes `write_varint` appends.
pub(crate) fn varint_len(value: i32) -> usize {
    unsigned_len(u64::from(zigzag_encode_32(value)))
}

/// How many bytes `write_varlong` appends.
pub(crate) fn varlong_len(value: i64) -> usize {
    unsigned_len(zigzag_encode_64(value))
}

#[inline(never)]
fn read_unsigned(input: &mut &[u8], max_bytes: usize) -> Option<u64> {
    let mut value = 0u64;
    for (index, &byte) in input.iter().take(max_bytes).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * index as u32;
        // Only the tenth byte can carry bits beyond the 64th.
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            *input = &input[index + 1..];
            return Some(value);
        }
    }
    None
}

fn write_unsigned(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

fn unsigned_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn zigzag_decode_32(raw: u32) -> i32 {
    ((raw >> 1) as i32) ^ -((raw & 1) as i32)
}

fn zigzag_encode_32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

fn zigzag_encode_64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_encodings() {
        // From the definition: 0, -1, 1, -2 become 0, 1, 2, 3; 64 is the first that needs two bytes.
        for (value, bytes) in [
            (0, &[0u8][..]),
            (-1, &[1]),
            (1, &[2]),
            (-2, &[3]),
            (63, &[126]),
            (64, &[0x80, 1]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut output = Vec::new();
            write_varint(&mut output, value);
            assert_eq!(output, bytes);
            assert_eq!(read_varint(&mut &output[..]), Some(value));
        }
    }

    #[test]
    fn malformed_encodings_are_refused() {
        assert_eq!(read_varint(&mut &[][..]), None);
        assert_eq!(read_varint(&mut &[0x80][..]), None);
        assert_eq!(read_varint(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), None, "33rd bit");
        assert_eq!(
            read_varint(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0][..]),
            None,
            "six bytes"
        );
        assert_eq!(read_varlong(&mut &[0xff; 9][..]), None);
        let mut too_wide = [0xff; 10];
        too_wide[9] = 2;
        assert_eq!(read_varlong(&mut &too_wide[..]), None, "65th bit");
    }

    proptest! {
        #[test]
        fn round_trip(small in any::<i32>(), large in any::<i64>()) {
            let mut output = Vec::new();
            write_varint(&mut output, small);
            prop_assert_eq!(output.len(), varint_len(small));
            write_varlong(&mut output, large);
            prop_assert_eq!(output.len(), varint_len(small) + varlong_len(large));
            let mut input = &output[..];
            prop_assert_eq!(read_varint(&mut input), Some(small));
            prop_assert_eq!(read_varlong(&mut input), Some(large));
            prop_assert!(input.is_empty());
        }
    }
}
