//! What differs between two images: what a listener has to open, change and delete.
//!
//! Invariants: pure; applying the delta to the older image gives the newer one; topics are told apart by id, so a
//! topic deleted and made again under its name is one deletion and one creation.

use std::cmp::Ordering;
use std::sync::Arc;

use super::command::ConfigResource;
use super::image::MetadataImage;
use super::image::topics::TopicImage;

/// The difference; lists are sorted by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetadataDelta {
    /// Topics that are gone, as they were.
    pub deleted_topics: Vec<Arc<TopicImage>>,
    /// Topics that are new.
    pub created_topics: Vec<Arc<TopicImage>>,
    /// Topics of which partitions changed or were added: before and after.
    pub changed_topics: Vec<(Arc<TopicImage>, Arc<TopicImage>)>,
    /// Resources whose values changed, were set first, or were removed. A new topic with values is among them.
    pub changed_configs: Vec<ConfigResource>,
    /// Whether a broker registered or changed.
    pub brokers_changed: bool,
}

impl MetadataDelta {
    /// What leads from `old` to `new`. Costs a walk over both; topics that did not change are told by their address.
    pub fn between(old: &MetadataImage, new: &MetadataImage) -> Self {
        let mut delta = Self {
            brokers_changed: old.brokers != new.brokers,
            ..Self::default()
        };
        merge(
            old.topics(),
            new.topics(),
            |topic| &topic.name,
            |before, after| match (before, after) {
                (Some(before), Some(after)) if Arc::ptr_eq(before, after) => {}
                (Some(before), Some(after)) if before.id == after.id => {
                    if before != after {
                        delta.changed_topics.push((Arc::clone(before), Arc::clone(after)));
                    }
                }
                (before, after) => {
                    delta.deleted_topics.extend(before.map(|topic| Arc::clone(topic)));
                    delta.created_topics.extend(after.map(|topic| Arc::clone(topic)));
                }
            },
        );
        merge(
            old.configs.iter(),
            new.configs.iter(),
            |(resource, _)| *resource,
            |before, after| {
                let unchanged = matches!((before, after), (Some(a), Some(b)) if Arc::ptr_eq(a.1, b.1) || a.1 == b.1);
                if let (false, Some((resource, _))) = (unchanged, after.or(before)) {
                    delta.changed_configs.push((*resource).clone());
                }
            },
        );
        delta
    }

    /// Whether the images are alike in everything that a delta tells.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Walks two sequences sorted by the same key and pairs equal keys.
fn merge<T, K: Ord + ?Sized>(
    old: impl Iterator<Item = T>,
    new: impl Iterator<Item = T>,
    key: impl for<'a> Fn(&'a T) -> &'a K,
    mut visit: impl FnMut(Option<&T>, Option<&T>),
) {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) => key(before).cmp(key(after)),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        visit(before.as_ref(), after.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metadata::apply::apply;
    use crate::metadata::apply::tests::{any_command, image_of};

    /// Applies a delta the way a listener would, and says which topics it then holds.
    fn follow(old: &MetadataImage, delta: &MetadataDelta) -> Vec<Arc<TopicImage>> {
        let mut held: std::collections::BTreeMap<_, _> = old.topics().map(|t| (t.id, Arc::clone(t))).collect();
        for topic in &delta.deleted_topics {
            assert!(held.remove(&topic.id).is_some(), "deleted topics were there");
        }
        for topic in &delta.created_topics {
            assert!(
                held.insert(topic.id, Arc::clone(topic)).is_none(),
                "created topics were not there"
            );
        }
        for (before, after) in &delta.changed_topics {
            assert_eq!(held.insert(after.id, Arc::clone(after)).as_ref(), Some(before));
        }
        let mut topics: Vec<_> = held.into_values().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics
    }

    proptest! {
        #[test]
        fn following_the_delta_gives_the_new_image(
            first in proptest::collection::vec(any_command(), 0..12),
            second in proptest::collection::vec(any_command(), 0..12),
        ) {
            let old = image_of(&first);
            let mut new = old.clone();
            for (index, command) in (1_000..).zip(&second) {
                apply(&mut new, index, command);
            }
            let delta = MetadataDelta::between(&old, &new);
            let topics: Vec<_> = new.topics().map(Arc::clone).collect();
            prop_assert_eq!(follow(&old, &delta), topics);
            for (resource, _) in old.configs.iter().chain(new.configs.iter()) {
                let differs = old.configs.get(resource) != new.configs.get(resource);
                prop_assert_eq!(delta.changed_configs.contains(resource), differs, "{:?}", resource);
            }
            prop_assert_eq!(delta.brokers_changed, old.brokers != new.brokers);
            prop_assert!(MetadataDelta::between(&new, &new).is_empty());
        }
    }
}
