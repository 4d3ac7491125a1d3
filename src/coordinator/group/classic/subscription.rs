//! The topics that the members of a consumer group subscribe to, read out of their opaque metadata.
//!
//! Invariant: metadata that cannot be read gives `None` ("may be anything"), never an error: it belongs to the clients.
//! Source: `ClassicGroup.computeSubscribedTopics`, ConsumerProtocolSubscription version 0 (a prefix of all later ones).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ClassicGroup;

impl ClassicGroup {
    /// What the members subscribe to under the chosen protocol; `None` when it cannot be told.
    pub(super) fn compute_subscribed_topics(&self) -> Option<BTreeSet<Arc<str>>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(self.protocol_name.as_deref());
            topics.extend(subscribed_topics(&metadata)?);
        }
        Some(topics)
    }
}

/// The topics of a subscription: int16 version, then an int32 count of int16-prefixed names.
fn subscribed_topics(metadata: &[u8]) -> Option<Vec<Arc<str>>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, tail) = tail.split_at_checked(length)?;
        topics.push(Arc::from(std::str::from_utf8(name).ok()?));
        rest = tail;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_the_rest_is_ignored() {
        let metadata = b"\x00\x03\x00\x00\x00\x02\x00\x01a\x00\x02bc\xff\xff\xff\xff anything";
        let topics = subscribed_topics(metadata).expect("readable");
        assert_eq!(topics, [Arc::from("a"), Arc::from("bc")]);
    }

    #[test]
    fn unreadable_metadata_tells_nothing() {
        let cut = b"\x00\x00\x00\x00\x00\x02\x00\x01a\x00\x09bc".as_slice();
        let negative = b"\x00\x00\xff\xff\xff\xff".as_slice();
        for metadata in [b"".as_slice(), b"\x00", cut, negative, b"\xff\xff\x00\x00\x00\x00"] {
            assert_eq!(subscribed_topics(metadata), None, "{metadata:?}");
        }
    }
}
