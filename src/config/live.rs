//! The configuration in force: what was configured at the start under what was set since.
//!
//! Invariants: there is one value at a time and it is whole and consistent; it changes only by [`LiveConfig::apply`],
//! which is given all dynamic values, so that a restart with the same stored values gives the same configuration;
//! dynamic values that cannot be used change nothing and are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use arc_swap::{ArcSwap, Guard};

use crate::config::broker::BrokerConfig;
use crate::config::dynamic::{Scope, usable};
use crate::config::key::{ConfigKey, Effect};
use crate::config::remarks::{self, Remark};
use crate::config::topic_table;

/// How many names are remembered as told: clients can invent names without end.
const MAX_TOLD: usize = 10_000;

/// Those of all brokers, and those of this one.
type DynamicValues = (BTreeMap<String, String>, BTreeMap<String, String>);

/// See the module. Shared by everybody who goes by the configuration.
#[derive(Debug)]
pub struct LiveConfig {
    at_start: Arc<BrokerConfig>,
    current: ArcSwap<BrokerConfig>,
    /// What was last applied, as it was given: most metadata images change none of it.
    applied: Mutex<DynamicValues>,
    /// Names of which the log was told that they have no effect.
    told: Mutex<BTreeSet<String>>,
}

impl LiveConfig {
    /// Begins with what was configured.
    pub fn new(at_start: Arc<BrokerConfig>) -> Self {
        Self {
            current: ArcSwap::new(Arc::clone(&at_start)),
            at_start,
            applied: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// The configuration in force, for a look at a few values.
    pub fn load(&self) -> Guard<Arc<BrokerConfig>> {
        self.current.load()
    }

    /// The configuration in force, to keep.
    pub fn current(&self) -> Arc<BrokerConfig> {
        self.current.load_full()
    }

    /// What was configured, without what was set since.
    pub fn at_start(&self) -> &Arc<BrokerConfig> {
        &self.at_start
    }

    /// Puts other dynamic values in force: those of all brokers and those of this one. Returns what the log should say.
    pub fn apply(&self, cluster_default: &BTreeMap<String, String>, broker: &BTreeMap<String, String>) -> Vec<Remark> {
        let mut applied = self.applied.lock().expect("applying does not panic");
        if applied.0 == *cluster_default && applied.1 == *broker {
            return Vec::new();
        }
        *applied = (cluster_default.clone(), broker.clone());
        self.apply_changed(cluster_default, broker)
    }

    fn apply_changed(
        &self,
        cluster_default: &BTreeMap<String, String>,
        broker: &BTreeMap<String, String>,
    ) -> Vec<Remark> {
        let (cluster_default, ignored_default) = usable(cluster_default, Scope::ClusterDefault);
        let (broker, ignored_broker) = usable(broker, Scope::Broker);
        let mut said = Vec::new();
        for name in ignored_default.iter().chain(&ignored_broker) {
            said.extend(self.tell_once(name, || {
                format!("the stored dynamic value of {name} cannot be used and is ignored")
            }));
        }
        for (name, text) in cluster_default.iter().chain(&broker) {
            if let Some(sentence) = remarks::on_dynamic(name, text) {
                said.extend(self.tell_once(name, || sentence));
            }
        }
        let now = self.load();
        if *now.settings.dynamic_default() == cluster_default && *now.settings.dynamic_broker() == broker {
            return said;
        }
        match self.at_start.with_dynamic(cluster_default, broker) {
            Ok(config) => self.current.store(Arc::new(config)),
            Err(why) => {
                let sentence = format!(
                    "the dynamic broker configs contradict each other and are ignored, what was in force stays: {why}"
                );
                said.extend(self.tell_once(&sentence, || sentence.clone()));
            }
        }
        said
    }

    /// What the log should say of a topic with these overrides: the first time for each config.
    pub fn remarks_on_topic(&self, overrides: &BTreeMap<String, String>) -> Vec<Remark> {
        let mut said = Vec::new();
        for (name, text) in overrides {
            let Some(key) = topic_table::find(name) else { continue };
            if is_idle(key, text) {
                said.extend(self.tell_once(&format!("topic {name}"), || {
                    format!("topic config {name}={text} has no effect; told once for all topics")
                }));
            }
            if name == "cleanup.policy" && text.contains("compact") {
                said.extend(self.tell_once("topic cleanup.policy", || {
                    "cleanup.policy=compact: records need a key, but nothing is compacted away; told once for all topics"
                        .to_owned()
                }));
            }
        }
        said
    }

    /// What the log should say of a kind of resource of which nothing acts yet.
    pub fn remark_on_idle_resource(&self, kind: &str) -> Option<Remark> {
        self.tell_once(kind, || {
            format!("{kind} configs are kept and shown, but have no effect")
        })
    }

    fn tell_once(&self, name: &str, sentence: impl FnOnce() -> String) -> Option<Remark> {
        let mut told = self.told.lock().expect("remembering does not panic");
        (told.len() < MAX_TOLD && told.insert(name.to_owned())).then(|| Remark::Warning(sentence()))
    }
}

fn is_idle(key: &ConfigKey, text: &str) -> bool {
    key.effect == Effect::Accepted && key.parse(text).ok() != key.default_value()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::key::UpdateMode;
    use crate::config::load::{Sources, load};
    use crate::config::table;
    use crate::config::topic::resolve_topic;

    fn live(pairs: &[(&str, &str)]) -> LiveConfig {
        let overrides = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let sources = Sources {
            overrides,
            ..Sources::default()
        };
        LiveConfig::new(Arc::new(load(&sources).expect("valid").config))
    }

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        pairs.collect()
    }

    const NOTHING: &[(&str, &str)] = &[];

    #[test]
    fn the_broker_wins_over_the_cluster_and_that_over_the_start() {
        let live = live(&[("max.connections", "1"), ("message.max.bytes", "1000")]);
        let all = values(&[("max.connections", "2"), ("max.connections.per.ip", "20")]);
        assert_eq!(live.apply(&all, &values(NOTHING)), []);
        assert_eq!(
            (live.load().max_connections, live.load().max_connections_per_ip),
            (2, 20)
        );
        live.apply(&all, &values(&[("max.connections", "3")]));
        assert_eq!(
            (live.load().max_connections, live.load().max_connections_per_ip),
            (3, 20)
        );
        live.apply(&values(NOTHING), &values(NOTHING));
        assert_eq!(*live.current(), **live.at_start());
        assert_eq!(live.load().message_max_bytes, 1000);
    }

    #[test]
    fn a_dynamic_time_wins_over_configured_minutes_and_hours() {
        let live = live(&[("log.retention.minutes", "3"), ("log.roll.hours", "1")]);
        assert_eq!(live.load().resolved.log_retention_ms, 180_000);
        live.apply(&values(&[("log.retention.ms", "5")]), &values(NOTHING));
        assert_eq!(live.load().resolved.log_retention_ms, 5);
        assert_eq!(live.load().resolved.log_roll_ms, 3_600_000);
        assert_eq!(resolve_topic(&values(NOTHING), &live.load()).log.retention_ms, 5);
        let own = values(&[("retention.ms", "9")]);
        assert_eq!(resolve_topic(&own, &live.load()).log.retention_ms, 9);
    }

    #[test]
    fn a_running_broker_tells_another_address() {
        let told = |live: &LiveConfig| live.load().resolved.listeners[0].advertised.clone();
        let live = live(&[("advertised.listeners", "PLAINTEXT://first:1")]);
        assert_eq!(told(&live), Some(("first".to_owned(), 1)));
        let other = values(&[("advertised.listeners", "PLAINTEXT://second:2")]);
        assert_eq!(live.apply(&values(NOTHING), &other), []);
        assert_eq!(told(&live), Some(("second".to_owned(), 2)));
        let stranger = values(&[("advertised.listeners", "OTHER://third:3")]);
        assert_eq!(live.apply(&values(NOTHING), &stranger).len(), 1);
        assert_eq!(told(&live), Some(("second".to_owned(), 2)));
        live.apply(&values(NOTHING), &values(NOTHING));
        assert_eq!(told(&live), Some(("first".to_owned(), 1)));
    }

    #[test]
    fn what_contradicts_itself_changes_nothing() {
        let live = live(&[]);
        live.apply(&values(&[("max.connections", "7")]), &values(NOTHING));
        let said = live.apply(&values(&[("max.connections.per.ip", "0")]), &values(NOTHING));
        assert_eq!(said.len(), 1);
        assert_eq!(live.load().max_connections, 7);
    }

    #[test]
    fn values_that_cannot_be_used_are_told_even_if_they_come_alone() {
        let live = live(&[]);
        let unusable = values(&[("node.id", "9"), ("max.connections", "x")]);
        let before = live.current();
        assert_eq!(live.apply(&values(NOTHING), &unusable).len(), 2);
        assert_eq!(live.apply(&values(NOTHING), &unusable), []);
        assert!(Arc::ptr_eq(&before, &live.current()));
    }

    #[test]
    fn configs_without_effect_are_told_once() {
        let live = live(&[]);
        let idle = values(&[("num.io.threads", "9"), ("my.own", "1"), ("max.connections", "9")]);
        let said = live.apply(&idle, &values(NOTHING));
        assert_eq!(said.len(), 2, "{said:?}");
        live.apply(&values(NOTHING), &values(NOTHING));
        assert_eq!(live.apply(&values(NOTHING), &idle), []);
        let topic = values(&[
            ("delete.retention.ms", "5"),
            ("cleanup.policy", "compact"),
            ("retention.ms", "5"),
        ]);
        assert!(!live.remarks_on_topic(&topic).is_empty());
        assert_eq!(live.remarks_on_topic(&topic), []);
        assert!(live.remark_on_idle_resource("group").is_some());
        assert!(live.remark_on_idle_resource("group").is_none());
    }

    /// Read where they act whenever they are needed; all others reach the logs by the settings of their topics.
    const READ_LIVE: &[&str] = &[
        "advertised.listeners",
        "cordoned.log.dirs",
        "max.connection.creation.rate",
        "max.connections",
        "max.connections.per.ip",
        "max.connections.per.ip.overrides",
        "num.recovery.threads.per.data.dir",
        "transaction.partition.verification.enable",
    ];

    /// A value that is neither the default nor refused.
    fn another_value(key: &ConfigKey) -> String {
        if key.name == "max.connections.per.ip.overrides" {
            return "1.2.3.4:5".to_owned();
        }
        if key.name == "advertised.listeners" {
            return "PLAINTEXT://example.org:19092".to_owned();
        }
        let candidates = [
            "4096",
            "7",
            "2000000",
            "true",
            "false",
            "compact",
            "LogAppendTime",
            "gzip",
        ];
        let differs = |text: &&&str| key.parse(text).is_ok_and(|value| Some(value) != key.default_value());
        (*candidates.iter().find(differs).expect("one of them fits")).to_string()
    }

    #[test]
    fn every_dynamic_config_that_acts_changes_what_topics_go_by_or_is_read_live() {
        let acting = table::broker_keys().filter(|key| key.effect == Effect::Acts && key.can_change());
        for key in acting {
            let codec = if key.name == "compression.gzip.level" {
                "gzip"
            } else {
                "zstd"
            };
            let live = live(&[("compression.type", codec)]);
            let before = live.current();
            let value = another_value(key);
            for scope in [Scope::ClusterDefault, Scope::Broker] {
                if scope == Scope::ClusterDefault && key.update() == UpdateMode::PerBroker {
                    continue;
                }
                let values = values(&[(key.name, value.as_str())]);
                let nothing = BTreeMap::new();
                let (all, own) = match scope {
                    Scope::ClusterDefault => (&values, &nothing),
                    Scope::Broker => (&nothing, &values),
                };
                assert_eq!(live.apply(all, own), [], "{} acts", key.name);
                let after = live.current();
                let topic = |config: &BrokerConfig| resolve_topic(&BTreeMap::new(), config);
                let reaches_topics = topic(&before) != topic(&after);
                assert_eq!(reaches_topics, !READ_LIVE.contains(&key.name), "{}={value}", key.name);
                live.apply(&nothing, &nothing);
                assert_eq!(live.current(), before, "{} is gone again", key.name);
            }
        }
        for name in READ_LIVE {
            assert!(table::find(name).is_some_and(|key| key.effect == Effect::Acts && key.can_change()));
        }
    }

    #[test]
    fn every_topic_config_that_acts_changes_what_its_topic_goes_by() {
        let broker = BrokerConfig::default();
        for key in topic_table::TOPIC_KEYS {
            let value = another_value_of_topic(key);
            let codec = if key.name.contains("gzip") { "gzip" } else { "zstd" };
            let with = |pairs: &[(&str, &str)]| resolve_topic(&values(pairs), &broker);
            let base = if key.name == "compression.type" {
                "producer"
            } else {
                codec
            };
            let (before, after) = match key.name {
                "compression.type" => (with(&[(key.name, base)]), with(&[(key.name, &value)])),
                name => (
                    with(&[("compression.type", base)]),
                    with(&[("compression.type", base), (name, &value)]),
                ),
            };
            // `Accepted` ones may be carried to the logs already, but nothing goes by them
            assert!(
                key.effect == Effect::Accepted || before != after,
                "{}={value}",
                key.name
            );
        }
    }

    fn another_value_of_topic(key: &ConfigKey) -> String {
        match key.name {
            name if name.ends_with("throttled.replicas") => "0:1".to_owned(),
            "min.cleanable.dirty.ratio" => "0.25".to_owned(),
            _ => another_value(key),
        }
    }

    proptest! {
        /// A restart sees the start's configuration and the stored values only: the way to them must not matter.
        #[test]
        fn only_the_last_values_count(
            steps in prop::collection::vec(
                (prop::bool::ANY, prop::sample::select(vec!["max.connections", "log.retention.ms", "log.roll.ms", "node.id"]), 0_i32..9),
                0..12,
            ),
        ) {
            let walked = live(&[("log.roll.hours", "2")]);
            let (mut all, mut own) = (values(NOTHING), values(NOTHING));
            for (broker, name, value) in steps {
                let map = if broker { &mut own } else { &mut all };
                if value == 8 { map.remove(name); } else { map.insert(name.to_owned(), value.to_string()); }
                walked.apply(&all, &own);
            }
            let restarted = live(&[("log.roll.hours", "2")]);
            let said = restarted.apply(&all, &own);
            let contradicts = said.iter().any(|remark| matches!(remark, Remark::Warning(text) if text.contains("contradict")));
            if !contradicts {
                prop_assert_eq!(&*walked.current(), &*restarted.current());
            }
        }
    }
}
