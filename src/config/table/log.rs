//! Logs and compaction: Kafka's broker configs that are known, parsed, checked and shown, but change nothing here.
//!
//! Invariant: a row moves from here to `broker.rs` in the change that makes it act.
//! Names, types and accepted values are those of Apache Kafka 4.3, held by `tests/config_golden.rs`.

use crate::config::check::Check;
use crate::config::key::Importance::{High, Low, Medium};
use crate::config::key::UpdateMode::{ClusterWide, ReadOnly};
use crate::config::key::{ConfigKey, accepted};
use crate::config::value::ConfigType::{Boolean, Double, Int, Long};

#[rustfmt::skip] // a table: facts on one line, the sentence on the next
pub(super) const KEYS: &[ConfigKey] = &[
    accepted("compression.lz4.level", Int, Some("9"), Medium, ClusterWide, Check::Between(1, 17),
        "Level used when the broker compresses with lz4; the one of its library is used."),
    accepted("log.cleaner.backoff.ms", Long, Some("15000"), Medium, ClusterWide, Check::AtLeast(0),
        "Pause of the cleaner when there is nothing to clean."),
    accepted("log.cleaner.dedupe.buffer.size", Long, Some("134217728"), Medium, ClusterWide, Check::Any,
        "Memory of all cleaner threads together for finding older records of a key."),
    accepted("log.cleaner.delete.retention.ms", Long, Some("86400000"), Medium, ClusterWide, Check::AtLeast(0),
        "How long a tombstone stays readable in a compacted topic."),
    accepted("log.cleaner.enable", Boolean, Some("true"), Medium, ReadOnly, Check::Any,
        "Whether compaction runs at all."),
    accepted("log.cleaner.io.buffer.load.factor", Double, Some("0.9"), Medium, ClusterWide, Check::Any,
        "How full the cleaner's key table may get."),
    accepted("log.cleaner.io.buffer.size", Int, Some("524288"), Medium, ClusterWide, Check::AtLeast(0),
        "Memory of all cleaner threads together for reading and writing."),
    accepted("log.cleaner.io.max.bytes.per.second", Double, Some("1.7976931348623157E308"), Medium, ClusterWide, Check::Any,
        "Most bytes per second that the cleaner reads and writes."),
    accepted("log.cleaner.max.compaction.lag.ms", Long, Some("9223372036854775807"), Medium, ClusterWide, Check::AtLeast(1),
        "Longest time that a record stays out of reach of compaction."),
    accepted("log.cleaner.min.cleanable.ratio", Double, Some("0.5"), Medium, ClusterWide, Check::Fraction(0.0, 1.0),
        "Share of a log that must be uncompacted before the cleaner takes it."),
    accepted("log.cleaner.min.compaction.lag.ms", Long, Some("0"), Medium, ClusterWide, Check::AtLeast(0),
        "Shortest time that a record stays as written before it may be compacted away."),
    accepted("log.cleaner.threads", Int, Some("1"), Medium, ClusterWide, Check::AtLeast(0),
        "Threads that compact logs."),
    accepted("log.dir.failure.timeout.ms", Long, Some("30000"), Low, ReadOnly, Check::AtLeast(1),
        "Longest wait for telling the controller of a failed log directory before the broker stops."),
    accepted("log.flush.scheduler.interval.ms", Long, Some("9223372036854775807"), High, ReadOnly, Check::Any,
        "Kafka's period of looking for logs to flush; here every directory has its own flusher, which needs no period."),
];
