//! Sockets, threads, quotas, metrics, policies: Kafka's broker configs that are known, parsed, checked and shown, but change nothing here.
//!
//! Invariant: a row moves from here to `broker.rs` in the change that makes it act.
//! Names, types and accepted values are those of Apache Kafka 4.3, held by `tests/config_golden.rs`.

use crate::config::check::Check;
use crate::config::key::Importance::{High, Low, Medium};
use crate::config::key::UpdateMode::{ClusterWide, ReadOnly};
use crate::config::key::{ConfigKey, accepted};
use crate::config::value::ConfigType::{Class, Int, List, Long, String};

#[rustfmt::skip] // a table: facts on one line, the sentence on the next
pub(super) const KEYS: &[ConfigKey] = &[
    accepted("alter.config.policy.class.name", Class, None, Low, ReadOnly, Check::Any,
        "Java class that may refuse changes of configs."),
    accepted("alter.log.dirs.replication.quota.window.num", Int, Some("11"), Low, ReadOnly, Check::AtLeast(1),
        "Number of samples kept for the quota on moving replicas between directories."),
    accepted("alter.log.dirs.replication.quota.window.size.seconds", Int, Some("1"), Low, ReadOnly, Check::AtLeast(1),
        "Length of one sample of the quota on moving replicas between directories."),
    accepted("background.threads", Int, Some("10"), High, ClusterWide, Check::AtLeast(1),
        "Threads for background work."),
    accepted("client.quota.callback.class", Class, None, Low, ReadOnly, Check::Any,
        "Java class that decides the quotas of clients."),
    accepted("config.providers", List, Some(""), Low, ClusterWide, Check::Any,
        "Names of the providers that fill in variables in this file."),
    accepted("create.topic.policy.class.name", Class, None, Low, ReadOnly, Check::Any,
        "Java class that may refuse the creation of topics."),
    accepted("delete.records.purgatory.purge.interval.requests", Int, Some("1"), Medium, ReadOnly, Check::Any,
        "Number of finished DeleteRecords requests after which their leftovers are cleared."),
    accepted("fetch.purgatory.purge.interval.requests", Int, Some("1000"), Medium, ReadOnly, Check::Any,
        "Number of finished fetches after which their leftovers are cleared."),
    accepted("kafka.metrics.polling.interval.secs", Int, Some("10"), Low, ReadOnly, Check::AtLeast(1),
        "Time between two polls of the metrics reporters."),
    accepted("kafka.metrics.reporters", List, Some(""), Low, ReadOnly, Check::Any,
        "Java classes that report Yammer metrics."),
    accepted("metric.reporters", List, Some("org.apache.kafka.common.metrics.JmxReporter"), Low, ClusterWide, Check::Any,
        "Java classes that report metrics."),
    accepted("metrics.num.samples", Int, Some("2"), Low, ReadOnly, Check::AtLeast(1),
        "Samples kept for computing a metric."),
    accepted("metrics.recording.level", String, Some("INFO"), Low, ReadOnly, Check::Any,
        "How detailed the recorded metrics are."),
    accepted("metrics.sample.window.ms", Long, Some("30000"), Low, ReadOnly, Check::AtLeast(1),
        "Length of one metric sample."),
    accepted("num.io.threads", Int, Some("8"), High, ClusterWide, Check::AtLeast(1),
        "Kafka's request handler threads; here connections are tasks on a runtime with one thread per core."),
    accepted("num.network.threads", Int, Some("3"), High, ClusterWide, Check::AtLeast(1),
        "Kafka's network threads per listener; here connections are tasks on a runtime with one thread per core."),
    accepted("producer.purgatory.purge.interval.requests", Int, Some("1000"), Medium, ReadOnly, Check::Any,
        "Number of finished produce requests after which their leftovers are cleared."),
    accepted("queued.max.requests", Int, Some("500"), High, ReadOnly, Check::AtLeast(1),
        "Requests that may wait for a handler; here queued.max.request.bytes bounds what waits."),
    accepted("replication.quota.window.num", Int, Some("11"), Low, ReadOnly, Check::AtLeast(1),
        "Number of samples kept for replication quotas."),
    accepted("replication.quota.window.size.seconds", Int, Some("1"), Low, ReadOnly, Check::AtLeast(1),
        "Length of one sample of replication quotas."),
    accepted("socket.connection.setup.timeout.max.ms", Long, Some("30000"), Medium, ReadOnly, Check::Any,
        "Longest wait for an outgoing connection after failures."),
    accepted("socket.connection.setup.timeout.ms", Long, Some("10000"), Medium, ReadOnly, Check::Any,
        "First wait for an outgoing connection."),
    accepted("telemetry.max.bytes", Int, Some("1048576"), Low, ReadOnly, Check::AtLeast(1),
        "Largest push of client metrics, before compression."),
];
