//! Answers that are grouped by topic, put together from two sources.
//!
//! Clients look topics up by their name: an answer names each topic once, even when a part of its partitions was
//! refused before the rest was handed on (`OffsetCommitResponse.Builder.merge`).

use std::collections::BTreeMap;

/// Adds `further` answers to those that are there: the partitions of a topic that has an answer already go behind
/// that one's, other topics to the end.
pub(super) fn add_by_topic<T, K: Ord, P>(
    answers: &mut Vec<T>,
    further: Vec<T>,
    key: impl Fn(&T) -> K,
    partitions: impl Fn(&mut T) -> &mut Vec<P>,
) {
    if answers.is_empty() {
        *answers = further;
        return;
    }
    let places = answers.iter().enumerate();
    let places: BTreeMap<K, usize> = places.map(|(at, topic)| (key(topic), at)).collect();
    for mut topic in further {
        match places.get(&key(&topic)) {
            Some(&at) => partitions(&mut answers[at]).append(partitions(&mut topic)),
            None => answers.push(topic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_once() {
        let mut answers = vec![("a", vec![2]), ("b", vec![0])];
        let further = vec![("c", vec![5]), ("a", vec![0, 1])];
        add_by_topic(&mut answers, further, |topic| topic.0, |topic| &mut topic.1);
        assert_eq!(answers, [("a", vec![2, 0, 1]), ("b", vec![0]), ("c", vec![5])]);
    }
}
