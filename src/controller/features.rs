//! What an UpdateFeatures request means: checks, and the command to propose. Pure.
//!
//! Source: Kafka's `FeatureControlManager.updateFeatures` and `QuorumController.updateFeatures`. Invariant: all features
//! of a request get their levels, or none does.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;

use protocol::types::BrokerId;

use crate::metadata::command::FeatureLevel;
use crate::metadata::features::SupportedFeature;
use crate::metadata::image::MetadataImage;

/// In which direction a client means to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeType {
    /// Up, or nowhere.
    Upgrade,
    /// Down without loss.
    SafeDowngrade,
    /// Down at any price.
    UnsafeDowngrade,
    /// A number that means nothing here.
    Unknown,
}

impl UpgradeType {
    /// Reads the number of the wire.
    pub fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Upgrade,
            2 => Self::SafeDowngrade,
            3 => Self::UnsafeDowngrade,
            _ => Self::Unknown,
        }
    }
}

/// A level as a client asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureSpec {
    /// The feature.
    pub name: String,
    /// The level; 0 = off.
    pub level: i16,
    /// Up or down.
    pub upgrade_type: UpgradeType,
}

/// Works out a request: the levels to propose (those that change), or the first reason against it, which is always
/// INVALID_UPDATE_VERSION (95). Of a feature that is named twice the last level counts, as in Kafka.
pub fn plan_features(
    image: &MetadataImage,
    supported: &[SupportedFeature],
    node_id: BrokerId,
    request: &[FeatureSpec],
) -> Result<Vec<FeatureLevel>, String> {
    let wanted: BTreeMap<&str, &FeatureSpec> = request.iter().map(|spec| (spec.name.as_str(), spec)).collect();
    let mut updates = Vec::new();
    for spec in wanted.into_values() {
        let feature = check(image, supported, node_id, spec).map_err(|why| {
            format!(
                "The update failed for all features since the following feature had an error: \
                 Invalid update version {} for feature {}. {why}",
                spec.level, spec.name
            )
        })?;
        if feature.level_in(image) != spec.level {
            updates.push(FeatureLevel {
                name: spec.name.clone(),
                replaces: image.features.get(&spec.name).copied(),
                level: spec.level,
            });
        }
    }
    Ok(updates)
}

fn check<'a>(
    image: &MetadataImage,
    supported: &'a [SupportedFeature],
    node_id: BrokerId,
    spec: &FeatureSpec,
) -> Result<&'a SupportedFeature, String> {
    if spec.upgrade_type == UpgradeType::Unknown {
        return Err("The controller does not support the given upgrade type.".to_owned());
    }
    if spec.level < 0 {
        return Err("A feature version cannot be less than 0.".to_owned());
    }
    let Some(feature) = supported.iter().find(|feature| feature.name == spec.name) else {
        return Err(format!("Local controller {node_id} does not support this feature."));
    };
    let (min, max) = (feature.min_level, feature.max_level);
    if !(min..=max).contains(&spec.level) {
        let range = if min == max {
            max.to_string()
        } else {
            format!("{min}-{max}")
        };
        return Err(format!("Local controller {node_id} only supports versions {range}"));
    }
    let current = feature.level_in(image);
    match spec.upgrade_type {
        UpgradeType::Upgrade if spec.level < current => Err("Can't downgrade the version of this feature without \
             setting the upgrade type to either safe or unsafe downgrade."
            .to_owned()),
        UpgradeType::SafeDowngrade | UpgradeType::UnsafeDowngrade if spec.level > current => {
            Err("Can't downgrade to a newer version.".to_owned())
        }
        _ => Ok(feature),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUPPORTED: [SupportedFeature; 2] = [
        SupportedFeature {
            name: "one",
            min_level: 7,
            max_level: 7,
            initial_level: 7,
        },
        SupportedFeature {
            name: "three",
            min_level: 0,
            max_level: 2,
            initial_level: 1,
        },
    ];

    fn spec(name: &str, level: i16, upgrade_type: UpgradeType) -> FeatureSpec {
        FeatureSpec {
            name: name.to_owned(),
            level,
            upgrade_type,
        }
    }

    fn plan(request: &[FeatureSpec]) -> Result<Vec<FeatureLevel>, String> {
        plan_features(&MetadataImage::default(), &SUPPORTED, 4, request)
    }

    #[test]
    fn levels_change_in_the_direction_that_was_named() {
        use UpgradeType::{SafeDowngrade, UnsafeDowngrade, Upgrade};
        let set = |level| {
            vec![FeatureLevel {
                name: "three".to_owned(),
                replaces: None,
                level,
            }]
        };
        assert_eq!(plan(&[spec("three", 2, Upgrade)]), Ok(set(2)));
        assert_eq!(plan(&[spec("three", 0, SafeDowngrade)]), Ok(set(0)));
        assert_eq!(plan(&[spec("three", 0, UnsafeDowngrade)]), Ok(set(0)));
        assert_eq!(
            plan(&[spec("three", 0, SafeDowngrade), spec("three", 2, Upgrade)]),
            Ok(set(2))
        );
        for same in [Upgrade, SafeDowngrade, UnsafeDowngrade] {
            assert_eq!(plan(&[spec("three", 1, same), spec("one", 7, same)]), Ok(Vec::new()));
        }
        assert_eq!(plan(&[]), Ok(Vec::new()));
    }

    #[test]
    fn one_bad_feature_fails_all_with_kafkas_reason() {
        use UpgradeType::{SafeDowngrade, Unknown, UnsafeDowngrade, Upgrade};
        let cases = [
            (
                spec("one", 8, Upgrade),
                "8 for feature one. Local controller 4 only supports versions 7",
            ),
            (spec("three", 3, Upgrade), "only supports versions 0-2"),
            (spec("three", -1, Upgrade), "cannot be less than 0"),
            (spec("three", 1, Unknown), "does not support the given upgrade type"),
            (spec("three", 0, Upgrade), "Can't downgrade the version"),
            (spec("three", 2, SafeDowngrade), "Can't downgrade to a newer version"),
            (spec("three", 2, UnsafeDowngrade), "Can't downgrade to a newer version"),
            (spec("nobody", 1, Upgrade), "does not support this feature"),
            (spec("nobody", 0, UnsafeDowngrade), "does not support this feature"),
        ];
        for (bad, why) in cases {
            let message = plan(&[spec("one", 7, Upgrade), bad]).expect_err("bad");
            assert!(message.contains(why), "{message}");
        }
        for (code, expected) in [
            (1, Upgrade),
            (2, SafeDowngrade),
            (3, UnsafeDowngrade),
            (0, Unknown),
            (-1, Unknown),
        ] {
            assert_eq!(UpgradeType::from_code(code), expected);
        }
    }
}
