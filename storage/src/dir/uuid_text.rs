//! UUIDs as Kafka writes them in files and configurations: base64 for URLs, without padding, 22 characters.
//!
//! Pure. (Kafka's `Uuid.toString`; topic ids, directory ids and generated cluster ids all look like this.)

use uuid::Uuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TEXT_LEN: usize = 22;

/// The 22 characters of a UUID.
pub fn uuid_to_text(uuid: Uuid) -> String {
    let bits = uuid.as_u128();
    // 128 bits are 21 characters of 6 bits and one of 2 bits, which base64 fills up with zeros on the right.
    (0..TEXT_LEN)
        .map(|index| {
            let six = if index < 21 {
                bits >> (122 - 6 * index)
            } else {
                bits << 4
            };
            char::from(ALPHABET[(six & 63) as usize])
        })
        .collect()
}

/// The UUID of 22 characters; `None` when they are no such text.
pub fn uuid_from_text(text: &str) -> Option<Uuid> {
    if text.len() != TEXT_LEN {
        return None;
    }
    let mut bits: u128 = 0;
    for (index, byte) in text.bytes().enumerate() {
        let six = ALPHABET.iter().position(|character| *character == byte)? as u128;
        if index < 21 {
            bits = bits << 6 | six;
        } else if six & 15 == 0 {
            bits = bits << 2 | six >> 4;
        } else {
            return None;
        }
    }
    Some(Uuid::from_u128(bits))
}

/// A random UUID whose text does not begin with `-`, which command lines would take for an option. `next` gives random
/// UUIDs.
pub fn fresh_uuid(mut next: impl FnMut() -> Uuid) -> Uuid {
    loop {
        let uuid = next();
        // 0 to 99 are reserved in Kafka: none, metadata topic, lost, migrating and unassigned directories.
        if uuid.as_u128() > 99 && !uuid_to_text(uuid).starts_with('-') {
            return uuid;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_kafkas_text() {
        assert_eq!(uuid_to_text(Uuid::nil()), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(uuid_to_text(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(uuid_to_text(Uuid::from_u128(u128::MAX)), "_____________________w");
        let mixed = Uuid::from_u128(0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210);
        assert_eq!(uuid_to_text(mixed), "ASNFZ4mrze_-3LqYdlQyEA");
    }

    #[test]
    fn refuses_what_is_no_uuid() {
        for text in [
            "",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAA+AAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(uuid_from_text(text), None, "{text:?}");
        }
    }

    #[test]
    fn fresh_ones_are_neither_reserved_nor_begin_with_a_dash() {
        let mut candidates = [0, 99, 0xF8 << 120, 7 << 64].into_iter().map(Uuid::from_u128);
        assert_eq!(
            fresh_uuid(|| candidates.next().expect("the fourth is good")),
            Uuid::from_u128(7 << 64)
        );
    }

    proptest! {
        #[test]
        fn text_and_uuid_are_one_to_one(bits: u128) {
            let uuid = Uuid::from_u128(bits);
            prop_assert_eq!(uuid_from_text(&uuid_to_text(uuid)), Some(uuid));
        }
    }
}
