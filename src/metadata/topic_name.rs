//! Which topic names are legal, which collide, which belong to the broker itself.
//!
//! Source: Kafka's `Topic` class. Metrics turn '.' into '_', so two names that differ only there must not coexist.

/// Longest legal topic name.
pub const MAX_NAME_LEN: usize = 249;

/// The topic of group state and committed offsets.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// The topic of transaction state.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// The topic of share-group state.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";
/// The directory name of the metadata log; never a topic that clients can make.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Why a topic name is not legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTopicName {
    /// No characters.
    #[error("a topic name must not be empty")]
    Empty,
    /// "." or "..".
    #[error("a topic name must not be \".\" or \"..\"")]
    Dots,
    /// Too long.
    #[error("a topic name has at most {MAX_NAME_LEN} characters")]
    TooLong,
    /// A character outside the allowed set.
    #[error("a topic name holds only ASCII letters, digits, '.', '_' and '-'")]
    BadCharacter,
}

/// Checks a name for a new topic.
pub fn validate(name: &str) -> Result<(), BadTopicName> {
    match name {
        "" => Err(BadTopicName::Empty),
        "." | ".." => Err(BadTopicName::Dots),
        _ if name.len() > MAX_NAME_LEN => Err(BadTopicName::TooLong),
        _ if !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) =>
        {
            Err(BadTopicName::BadCharacter)
        }
        _ => Ok(()),
    }
}

/// The form in which colliding names are equal.
pub fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}

/// Whether the topic belongs to the broker: clients see it flagged and may not write to it.
pub fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_and_illegal_names() {
        let longest = "x".repeat(MAX_NAME_LEN);
        for name in ["a", "a.b", "A_b-9", "...", "__consumer_offsets", &longest] {
            assert_eq!(validate(name), Ok(()), "{name}");
        }
        let too_long = "x".repeat(MAX_NAME_LEN + 1);
        for (name, why) in [
            ("", BadTopicName::Empty),
            (".", BadTopicName::Dots),
            ("..", BadTopicName::Dots),
            (too_long.as_str(), BadTopicName::TooLong),
            ("a b", BadTopicName::BadCharacter),
            ("a/b", BadTopicName::BadCharacter),
            ("é", BadTopicName::BadCharacter),
            ("a\0", BadTopicName::BadCharacter),
        ] {
            assert_eq!(validate(name), Err(why), "{name}");
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert_eq!(collision_key("a.b_c"), collision_key("a_b.c"));
        assert_ne!(collision_key("a-b"), collision_key("a_b"));
    }

    #[test]
    fn internal_topics_are_kafkas_three() {
        assert!(is_internal(CONSUMER_OFFSETS) && is_internal(TRANSACTION_STATE) && is_internal(SHARE_GROUP_STATE));
        assert!(!is_internal(CLUSTER_METADATA) && !is_internal("__mine"));
    }
}
