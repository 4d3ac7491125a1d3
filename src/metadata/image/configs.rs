//! Configuration values that were set at run time: of topics, of the cluster's default, of single brokers, of groups, of
//! client-metrics subscriptions.
//!
//! Invariants: a resource without values is not in the map; the counts are those of what is in it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use rpds::RedBlackTreeMapSync;

use crate::metadata::command::ConfigResource;

/// Values by name.
pub type ConfigMap = BTreeMap<String, String>;

static NOTHING_SET: LazyLock<ConfigMap> = LazyLock::new(ConfigMap::new);

/// Values by resource.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConfigsImage {
    by_resource: RedBlackTreeMapSync<ConfigResource, Arc<ConfigMap>>,
    /// Resources that are not topics.
    others: usize,
    /// Bytes of all resources' names, and of their values' names and texts.
    bytes: usize,
}

impl ConfigsImage {
    /// The resource's values; empty when nothing is set.
    pub fn get(&self, resource: &ConfigResource) -> &ConfigMap {
        self.by_resource.get(resource).map_or(&NOTHING_SET, |map| map)
    }

    /// The topic's values; empty when nothing is set.
    pub fn topic(&self, name: &str) -> &ConfigMap {
        self.get(&ConfigResource::Topic(name.to_owned()))
    }

    /// All resources that have values, with them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&ConfigResource, &Arc<ConfigMap>)> {
        self.by_resource.iter()
    }

    /// The groups that have values.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.by_resource.keys().filter_map(|resource| match resource {
            ConfigResource::Group(id) => Some(id.as_str()),
            _ => None,
        })
    }

    /// The client-metrics subscriptions.
    pub fn client_metrics(&self) -> impl Iterator<Item = &str> {
        self.by_resource.keys().filter_map(|resource| match resource {
            ConfigResource::ClientMetrics(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// How many resources other than topics have values.
    pub fn others(&self) -> usize {
        self.others
    }

    /// What all of it takes: bytes of names and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(in crate::metadata) fn set(&mut self, resource: ConfigResource, values: ConfigMap) {
        if let Some(old) = self.by_resource.get(&resource) {
            self.bytes -= bytes_of(&resource, old);
            self.others -= is_other(&resource);
            self.by_resource.remove_mut(&resource);
        }
        if !values.is_empty() {
            self.bytes += bytes_of(&resource, &values);
            self.others += is_other(&resource);
            self.by_resource.insert_mut(resource, Arc::new(values));
        }
    }
}

/// What these values of a resource count in [`ConfigsImage::bytes`].
pub fn bytes_of(resource: &ConfigResource, values: &ConfigMap) -> usize {
    let name = match resource {
        ConfigResource::Topic(name) | ConfigResource::Group(name) | ConfigResource::ClientMetrics(name) => name.len(),
        ConfigResource::ClusterDefault | ConfigResource::Broker(_) => 0,
    };
    name + values.iter().map(|(name, text)| name.len() + text.len()).sum::<usize>()
}

fn is_other(resource: &ConfigResource) -> usize {
    usize::from(!matches!(resource, ConfigResource::Topic(_)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_counts_are_those_of_what_is_there(
            steps in prop::collection::vec((0_u8..4, 0_i32..3, prop::collection::btree_map("[a-c]", "[x-z]{0,3}", 0..3)), 0..20),
        ) {
            let mut image = ConfigsImage::default();
            for (kind, name, values) in steps {
                let text = name.to_string();
                image.set(match kind {
                    0 => ConfigResource::Topic(text),
                    1 => ConfigResource::Group(text),
                    2 => ConfigResource::ClientMetrics(text),
                    _ => ConfigResource::Broker(name),
                }, values);
            }
            let bytes: usize = image.iter().map(|(resource, values)| bytes_of(resource, values)).sum();
            prop_assert_eq!(image.bytes(), bytes);
            let topics = image.iter().filter(|(resource, _)| matches!(resource, ConfigResource::Topic(_))).count();
            prop_assert_eq!(image.others(), image.iter().len() - topics);
            prop_assert_eq!(image.groups().count() + image.client_metrics().count() <= image.others(), true);
        }
    }
}
