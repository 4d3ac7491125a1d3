//! The configs of single groups and of client-metrics subscriptions of Apache Kafka 4.3.
//!
//! Invariant: names, types, defaults and accepted values are those of `GroupConfig` and `ClientMetricsConfigs`. None of
//! them changes anything yet: the protocols that they are for (KIP-848, KIP-932, KIP-1071, KIP-714) are not served.

use crate::config::check::Check;
use crate::config::key::Importance::Medium;
use crate::config::key::UpdateMode::ClusterWide;
use crate::config::key::{ConfigKey, accepted};
use crate::config::value::ConfigType::{self, Boolean, Int, List, String as Text};

const fn idle(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    check: Check,
    synonyms: &'static [&'static str],
    doc: &'static str,
) -> ConfigKey {
    accepted(name, kind, Some(default), Medium, ClusterWide, check, doc).synonyms(synonyms)
}

/// The config of a group of that name.
pub fn find_group(name: &str) -> Option<&'static ConfigKey> {
    GROUP_KEYS.iter().find(|key| key.name == name)
}

/// The config of a client-metrics subscription of that name.
pub fn find_client_metrics(name: &str) -> Option<&'static ConfigKey> {
    CLIENT_METRICS_KEYS.iter().find(|key| key.name == name)
}

/// Configs of groups, by name.
#[rustfmt::skip] // a table: facts on one line, the sentence on the next
pub const GROUP_KEYS: &[ConfigKey] = &[
    idle("consumer.assignment.interval.ms", Int, "1000", Check::AtLeast(0), &["group.consumer.assignment.interval.ms"],
        "Least time between two computed assignments of the consumer group."),
    idle("consumer.heartbeat.interval.ms", Int, "5000", Check::AtLeast(1), &["group.consumer.heartbeat.interval.ms"],
        "Heartbeat interval that members of the consumer group are told."),
    idle("consumer.session.timeout.ms", Int, "45000", Check::AtLeast(1), &["group.consumer.session.timeout.ms"],
        "Time without heartbeats after which a member leaves the consumer group."),
    idle("share.assignment.interval.ms", Int, "1000", Check::AtLeast(0), &["group.share.assignment.interval.ms"],
        "Least time between two computed assignments of the share group."),
    idle("share.auto.offset.reset", Text, "latest", Check::ShareOffsetReset, &[],
        "Where the share group begins: `earliest`, `latest`, or `by_duration:` and an ISO 8601 duration before now."),
    idle("share.delivery.count.limit", Int, "5", Check::AtLeast(2), &["group.share.delivery.count.limit"],
        "How often one record is delivered to the share group before it is given up."),
    idle("share.heartbeat.interval.ms", Int, "5000", Check::AtLeast(1), &["group.share.heartbeat.interval.ms"],
        "Heartbeat interval that members of the share group are told."),
    idle("share.isolation.level", Text, "read_uncommitted", Check::OneOf(&["read_committed", "read_uncommitted"]), &[],
        "Whether the share group is given records of transactions that were not committed."),
    idle("share.partition.max.record.locks", Int, "2000", Check::AtLeast(100), &["group.share.partition.max.record.locks"],
        "Most records of one share partition that are locked at a time."),
    idle("share.record.lock.duration.ms", Int, "30000", Check::AtLeast(1000), &["group.share.record.lock.duration.ms"],
        "How long a record given to a consumer of the share group stays locked."),
    idle("share.renew.acknowledge.enable", Boolean, "true", Check::Any, &[],
        "Whether members of the share group may renew the locks of their records."),
    idle("share.session.timeout.ms", Int, "45000", Check::AtLeast(1), &["group.share.session.timeout.ms"],
        "Time without heartbeats after which a member leaves the share group."),
    idle("streams.assignment.interval.ms", Int, "1000", Check::AtLeast(0), &["group.streams.assignment.interval.ms"],
        "Least time between two computed assignments of the streams group."),
    idle("streams.heartbeat.interval.ms", Int, "5000", Check::AtLeast(1), &["group.streams.heartbeat.interval.ms"],
        "Heartbeat interval that members of the streams group are told."),
    idle("streams.initial.rebalance.delay.ms", Int, "3000", Check::AtLeast(0), &["group.streams.initial.rebalance.delay.ms"],
        "Time that the new streams group waits for more members before its first assignment."),
    idle("streams.num.standby.replicas", Int, "0", Check::AtLeast(0), &["group.streams.num.standby.replicas"],
        "Standby replicas per task of the streams group."),
    idle("streams.session.timeout.ms", Int, "45000", Check::AtLeast(1), &["group.streams.session.timeout.ms"],
        "Time without heartbeats after which a member leaves the streams group."),
];

/// Configs of client-metrics subscriptions, by name.
#[rustfmt::skip] // a table: facts on one line, the sentence on the next
pub const CLIENT_METRICS_KEYS: &[ConfigKey] = &[
    idle("interval.ms", Int, "300000", Check::Any, &[],
        "Milliseconds between two pushes of a client's metrics, 100 to 3600000."),
    idle("match", List, "", Check::Any, &[],
        "Which clients push metrics, as name=pattern; all when empty."),
    idle("metrics", List, "", Check::Any, &[],
        "Prefixes of the metrics that are pushed; `*` means all."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table;

    #[test]
    fn rows_are_sorted_and_documented_and_their_defaults_pass() {
        for keys in [GROUP_KEYS, CLIENT_METRICS_KEYS] {
            assert!(keys.windows(2).all(|pair| pair[0].name < pair[1].name));
            for key in keys {
                let default = key.default.expect("none is null");
                assert!(key.parse(default).is_ok() && key.doc().ends_with('.'), "{}", key.name);
            }
        }
        assert_eq!((GROUP_KEYS.len(), CLIENT_METRICS_KEYS.len()), (17, 3));
    }

    #[test]
    fn synonyms_are_broker_configs_with_the_same_default() {
        for key in GROUP_KEYS.iter().filter(|key| !key.synonyms.is_empty()) {
            let broker = table::find(key.synonyms[0]).expect("a broker config");
            assert_eq!((broker.default, broker.kind), (key.default, key.kind), "{}", key.name);
        }
    }
}
