//! Kafka's text form of a UUID: base64 for URLs without padding, 22 characters. Cluster and directory ids look so.

use uuid::Uuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The text form.
pub fn to_text(id: Uuid) -> String {
    let bits = id.as_u128();
    // 21 characters hold 6 bits each, the last one 2 bits and four zeros.
    (0..22)
        .map(|place| {
            let sextet = if place < 21 { bits >> (122 - 6 * place) } else { bits << 4 };
            char::from(ALPHABET[(sextet & 63) as usize])
        })
        .collect()
}

/// A new cluster id from a source of random UUIDs. Ids that start with '-' are passed over, as in Kafka: on a
/// command line they would look like an option.
pub fn generate(mut uuid: impl FnMut() -> Uuid) -> String {
    loop {
        let text = to_text(uuid());
        if !text.starts_with('-') {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_base64url_of_the_bytes() {
        assert_eq!(to_text(Uuid::nil()), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(to_text(Uuid::from_u128(u128::MAX)), "_____________________w");
        // Checked with `base64.urlsafe_b64encode(bytes(range(16)))`.
        assert_eq!(to_text(Uuid::from_bytes(std::array::from_fn(|i| i as u8))), "AAECAwQFBgcICQoLDA0ODw");
    }

    #[test]
    fn a_leading_dash_is_drawn_again() {
        let mut draws = [Uuid::from_u128(0b111110 << 122), Uuid::nil()].into_iter();
        assert!(to_text(Uuid::from_u128(0b111110 << 122)).starts_with('-'));
        assert_eq!(generate(|| draws.next().expect("two draws")), "AAAAAAAAAAAAAAAAAAAAAA");
    }
}
