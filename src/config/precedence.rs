//! Which of several places decides a config, and what is told of the others.
//!
//! Invariant: [`candidates`] is the only place that knows the order: the resource's own value (a topic's, a group's),
//! this broker's dynamic value, the dynamic default of all brokers, what was configured at the start, the default. A
//! config that can only be set while brokers run has no default that could stand among the others, as in Kafka.
//! Within one place the names stand in the order in which they are given. Source: `DynamicBrokerConfig.updateCurrentConfig`
//! and `ConfigHelper.configSynonyms` of Apache Kafka.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::config::key::ConfigKey;
use crate::config::settings::Settings;
use crate::config::table;

/// Where a value comes from. The numbers are those of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    /// An override of the topic.
    Topic = 1,
    /// Set for this broker while it ran.
    DynamicBroker = 2,
    /// Set for all brokers while they ran.
    DynamicDefault = 3,
    /// The file, the environment or the command line.
    StaticBroker = 4,
    /// Nobody set it.
    Default = 5,
    /// A level of the log.
    BrokerLogger = 6,
    /// A client-metrics subscription.
    ClientMetrics = 7,
    /// An override of the group.
    Group = 8,
}

/// A value that would count if no better one stood before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The name under which it was set.
    pub name: &'a str,
    /// As written.
    pub text: Cow<'a, str>,
    /// Where.
    pub source: ConfigSource,
}

/// Everything that was said about a question that `names` ask, the deciding value first. `own` is the value that a
/// resource has itself.
pub fn candidates<'a>(
    own: Option<Candidate<'a>>,
    names: &'a [&'a str],
    settings: &'a Settings,
) -> impl Iterator<Item = Candidate<'a>> {
    let configured = names.iter().filter_map(|name| {
        settings.of(name).map(|setting| Candidate {
            name,
            text: Cow::Borrowed(setting.text.as_str()),
            source: ConfigSource::StaticBroker,
        })
    });
    let defaults = names.iter().filter_map(|name| {
        let value = table::find(name).and_then(ConfigKey::default_value)?;
        Some(Candidate {
            name,
            text: Cow::Owned(value.to_string()),
            source: ConfigSource::Default,
        })
    });
    own.into_iter()
        .chain(dynamic_values(
            names,
            settings.dynamic_broker(),
            ConfigSource::DynamicBroker,
        ))
        .chain(dynamic_values(
            names,
            settings.dynamic_default(),
            ConfigSource::DynamicDefault,
        ))
        .chain(configured)
        .chain(defaults)
}

fn dynamic_values<'a>(
    names: &'a [&'a str],
    values: &'a BTreeMap<String, String>,
    source: ConfigSource,
) -> impl Iterator<Item = Candidate<'a>> {
    names.iter().filter_map(move |name| {
        values.get(*name).map(|text| Candidate {
            name,
            text: Cow::Borrowed(text.as_str()),
            source,
        })
    })
}

/// Broker configs that answer one question, highest priority first.
const GROUPS: &[&[&str]] = &[
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
];

/// The broker configs that answer the question of `name`, if there are several.
pub fn group_of(name: &str) -> Option<&'static [&'static str]> {
    GROUPS.iter().find(|group| group.contains(&name)).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::settings::{Origin, Setting};

    const NAMES: &[&str] = &["log.retention.ms", "log.retention.minutes", "log.retention.hours"];

    fn settings(broker: &[bool; 3], default: &[bool; 3], configured: &[bool; 3]) -> Settings {
        let chosen = |chosen: &[bool; 3], word: &str| -> BTreeMap<String, String> {
            let names = NAMES.iter().zip(chosen).filter(|(_, chosen)| **chosen);
            names
                .map(|(name, _)| ((*name).to_owned(), format!("{word} {name}")))
                .collect()
        };
        let mut settings = Settings::default();
        for (name, text) in chosen(configured, "static") {
            let origin = Origin::CommandLine;
            settings.set(&name, Setting { text, origin });
        }
        settings.with_dynamic(chosen(default, "default"), chosen(broker, "broker"))
    }

    proptest! {
        #[test]
        fn the_better_place_wins_and_in_it_the_better_name(
            own: bool, broker: [bool; 3], default: [bool; 3], configured: [bool; 3],
        ) {
            let settings = settings(&broker, &default, &configured);
            let own = own.then_some(Candidate {
                name: "retention.ms",
                text: Cow::Borrowed("own"),
                source: ConfigSource::Topic,
            });
            let all: Vec<_> = candidates(own.clone(), NAMES, &settings).collect();
            let places: Vec<_> = all.iter().map(|one| one.source as i8).collect();
            prop_assert!(places.is_sorted(), "{:?}", places);
            for pair in all.windows(2).filter(|pair| pair[0].source == pair[1].source) {
                let place = |name: &str| NAMES.iter().position(|known| *known == name);
                prop_assert!(place(pair[0].name) < place(pair[1].name));
            }
            let set = broker.iter().chain(&default).chain(&configured).filter(|set| **set).count();
            // of the three only the hours have a default that is not null
            prop_assert_eq!(all.len(), usize::from(own.is_some()) + set + 1);
            prop_assert_eq!(&*all.last().expect("the default").text, "168");
        }
    }
}
