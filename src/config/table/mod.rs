//! The one table of broker configs: the rows that act (`crate::config::broker`) and those that are only accepted.
//!
//! Invariants: every broker config of Apache Kafka 4.3 is here exactly once (`tests/config_golden.rs`); parser, defaults,
//! `--help`, DescribeConfigs and `docs/configuration.md` read this table and nothing else.

mod cluster;
mod groups;
mod log;
mod security;
mod server;
mod tiered;
mod transactions;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::config::broker;
use crate::config::key::ConfigKey;

/// Areas of the accepted configs, in the order of the documentation.
const AREAS: &[(&str, &[ConfigKey])] = &[
    ("Sockets, threads, quotas, metrics, policies", server::KEYS),
    ("Logs and compaction", log::KEYS),
    ("Group coordinator, share groups, offsets", groups::KEYS),
    ("Transactions and producer ids", transactions::KEYS),
    ("Quorum, metadata log, replication between brokers", cluster::KEYS),
    ("Security", security::KEYS),
    ("Tiered storage", tiered::KEYS),
];

static BY_NAME: LazyLock<BTreeMap<&'static str, &'static ConfigKey>> = LazyLock::new(|| {
    let accepted = AREAS.iter().flat_map(|(_, keys)| keys.iter());
    broker::KEYS.iter().chain(accepted).map(|key| (key.name, key)).collect()
});

/// All broker configs, by name.
pub fn broker_keys() -> impl Iterator<Item = &'static ConfigKey> {
    BY_NAME.values().copied()
}

/// The broker config of that name.
pub fn find(name: &str) -> Option<&'static ConfigKey> {
    BY_NAME.get(name).copied()
}

/// The configs that are only accepted, by area.
pub(super) fn accepted_areas() -> impl Iterator<Item = (&'static str, Vec<&'static ConfigKey>)> {
    AREAS.iter().map(|(area, keys)| (*area, keys.iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::Effect;

    fn all_rows() -> impl Iterator<Item = &'static ConfigKey> {
        broker::KEYS
            .iter()
            .chain(AREAS.iter().flat_map(|(_, keys)| keys.iter()))
    }

    #[test]
    fn no_name_stands_twice() {
        assert_eq!(all_rows().count(), broker_keys().count());
    }

    #[test]
    fn rows_that_are_only_accepted_are_not_in_the_typed_configuration_but_for_these() {
        let idle: Vec<_> = broker::KEYS
            .iter()
            .filter(|key| key.effect == Effect::Accepted)
            .map(|key| key.name)
            .collect();
        assert_eq!(idle, [""; 0], "what is read also acts");
        assert!(
            AREAS
                .iter()
                .flat_map(|(_, keys)| keys.iter())
                .all(|key| key.effect == Effect::Accepted)
        );
    }

    #[test]
    fn defaults_pass_their_own_checks() {
        for key in all_rows() {
            if let Some(default) = key.default {
                let empty_list =
                    default.is_empty() && matches!(key.default_value(), Some(value) if value.to_string().is_empty());
                assert!(
                    empty_list || key.parse(default).is_ok(),
                    "{}: {:?}",
                    key.name,
                    key.parse(default)
                );
            }
        }
    }

    #[test]
    fn every_row_has_one_sentence() {
        for key in all_rows() {
            assert!(
                key.doc().ends_with('.') && key.doc().len() > 10,
                "{}: {:?}",
                key.name,
                key.doc()
            );
            assert!(
                !key.doc().contains("  ") && !key.doc().contains('\n'),
                "{}: {:?}",
                key.name,
                key.doc()
            );
        }
    }

    #[test]
    fn only_internal_names_of_ours_carry_our_prefix() {
        for key in all_rows().filter(|key| key.name.starts_with("monedula.")) {
            assert_eq!(key.difference, None, "{}", key.name);
        }
    }
}
