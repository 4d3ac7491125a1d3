//! The one table of features: what of a cluster's behaviour has levels, and which of them this build can follow.
//!
//! A feature is in the table only with the behaviour that its levels promise. Invariants: an initial level never
//! changes, since clusters that never set a level live by it; it lies within the range of every build that can still
//! read such a cluster. Source: Kafka's `Feature` and `MetadataVersion`.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::image::MetadataImage;

/// A feature and its levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupportedFeature {
    /// Kafka's name.
    pub name: &'static str,
    /// Lowest level that this build can follow; 0 = the feature can be off.
    pub min_level: i16,
    /// Highest level.
    pub max_level: i16,
    /// Level of a cluster in which none was ever set.
    pub initial_level: i16,
}

/// The features of this build, by name.
pub static SUPPORTED: &[SupportedFeature] = &[
    // 30 is Kafka 4.3's own. Kafka's lower levels only stand for older formats of its metadata log, of which there is
    // none here; and Kafka itself refuses to go back from 30.
    SupportedFeature {
        name: "metadata.version",
        min_level: 30,
        max_level: 30,
        initial_level: 30,
    },
    // The flow that clients choose: from 2 on an end of a transaction bumps the epoch, and Produce and TxnOffsetCommit add
    // partitions (KIP-890). Requests of both flows are served at every level: their versions tell them apart.
    SupportedFeature {
        name: "transaction.version",
        min_level: 0,
        max_level: 2,
        initial_level: 2,
    },
];

impl SupportedFeature {
    /// The level that the cluster lives by.
    pub fn level_in(&self, image: &MetadataImage) -> i16 {
        image.features.get(self.name).copied().unwrap_or(self.initial_level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_initial_levels_can_be_followed() {
        assert!(SUPPORTED.windows(2).all(|pair| pair[0].name < pair[1].name));
        for feature in SUPPORTED {
            let levels = feature.min_level..=feature.max_level;
            assert!(feature.min_level >= 0 && feature.max_level > 0, "{feature:?}");
            assert!(levels.contains(&feature.initial_level), "{feature:?}");
        }
    }

    #[test]
    fn what_was_set_holds() {
        let feature = SUPPORTED[0];
        let mut image = MetadataImage::default();
        assert_eq!(feature.level_in(&image), feature.initial_level);
        image.features.insert(feature.name.to_owned(), 31);
        assert_eq!(feature.level_in(&image), 31);
    }
}
