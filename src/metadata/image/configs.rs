//! Configuration values that were set at run time: of topics, of the cluster's default, of single brokers.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use rpds::RedBlackTreeMapSync;

use crate::metadata::command::ConfigResource;

/// Values by name.
pub type ConfigMap = BTreeMap<String, String>;

static NOTHING_SET: LazyLock<ConfigMap> = LazyLock::new(ConfigMap::new);

/// Values by resource. A resource without values is not in the map.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConfigsImage {
    by_resource: RedBlackTreeMapSync<ConfigResource, Arc<ConfigMap>>,
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

    pub(in crate::metadata) fn set(&mut self, resource: ConfigResource, values: ConfigMap) {
        if values.is_empty() {
            self.by_resource.remove_mut(&resource);
        } else {
            self.by_resource.insert_mut(resource, Arc::new(values));
        }
    }
}
