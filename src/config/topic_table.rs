//! The topic configs of Apache Kafka 4.3.
//!
//! Invariant: the same rows serve CreateTopics, DescribeConfigs, the documentation and the logs; names, types and
//! accepted values are Kafka's, held by `tests/config_golden.rs`.

use crate::config::check::Check;
use crate::config::key::Importance::Medium;
use crate::config::key::UpdateMode::ClusterWide;
use crate::config::key::{ConfigKey, accepted, acting};
use crate::config::value::ConfigType::{self, Boolean, Double, Int, List, Long, String as Text};

/// All of them, by name.
pub const TOPIC_KEYS: &[ConfigKey] = &TABLE;

/// The topic config of that name.
pub fn find(name: &str) -> Option<&'static ConfigKey> {
    TOPIC_KEYS.iter().find(|key| key.name == name)
}

const fn acts(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    check: Check,
    synonyms: &'static [&'static str],
    doc: &'static str,
) -> ConfigKey {
    acting(name, kind, Some(default), Medium, ClusterWide, check)
        .synonyms(synonyms)
        .documented(doc)
}

const fn taken(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    check: Check,
    synonyms: &'static [&'static str],
    doc: &'static str,
) -> ConfigKey {
    accepted(name, kind, Some(default), Medium, ClusterWide, check, doc).synonyms(synonyms)
}

const COMPRESSION: Check = Check::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);

#[rustfmt::skip] // a table: facts on one line, the sentence on the next
const TABLE: [ConfigKey; 34] = [
    acts("cleanup.policy", List, "delete", Check::ListOf(&["compact", "delete"]), &["log.cleanup.policy"],
        "What the topic does with old data: `delete` removes it by age and size, empty keeps it; records need a key where it contains `compact`, but nothing is compacted."),
    acts("compression.gzip.level", Int, "-1", Check::BetweenOr(1, 9, -1), &["compression.gzip.level"],
        "Level used when the broker compresses with gzip; -1 is the library's own default."),
    taken("compression.lz4.level", Int, "9", Check::Between(1, 17), &["compression.lz4.level"],
        "Level used when the broker compresses with lz4; the one of its library is used."),
    acts("compression.type", Text, "producer", COMPRESSION, &["compression.type"],
        "Codec in which batches are stored; `producer` keeps the codec of the producer, everything else compresses anew what comes in another codec."),
    acts("compression.zstd.level", Int, "3", Check::Between(-131_072, 22), &["compression.zstd.level"],
        "Level used when the broker compresses with zstd."),
    taken("delete.retention.ms", Long, "86400000", Check::AtLeast(0), &["log.cleaner.delete.retention.ms"],
        "Milliseconds that a tombstone stays readable in a compacted topic."),
    acts("file.delete.delay.ms", Long, "60000", Check::AtLeast(0), &["log.segment.delete.delay.ms"],
        "Milliseconds between taking a segment out of its log and deleting its files; a full disk does not wait."),
    acts("flush.messages", Long, "9223372036854775807", Check::AtLeast(1), &["log.flush.interval.messages"],
        "Records after which the log is flushed to disk; with 1 an acknowledgement means that the records are on disk."),
    acts("flush.ms", Long, "100", Check::AtLeast(0), &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "Milliseconds after which records that were written are flushed to disk, in the background.")
        .differs("9223372036854775807", "Kafka leaves flushing to the operating system; here a power failure costs one node at most this time"),
    taken("follower.replication.throttled.replicas", List, "", Check::ThrottledReplicas, &[],
        "Replicas whose replication is throttled on the follower's side."),
    acts("index.interval.bytes", Int, "4096", Check::AtLeast(0), &["log.index.interval.bytes"],
        "Bytes of records between two entries of the offset index."),
    accepted("internal.segment.bytes", Int, None, Medium, ClusterWide, Check::Any,
        "Segment size below what segment.bytes allows, for tests.").internal(),
    taken("leader.replication.throttled.replicas", List, "", Check::ThrottledReplicas, &[],
        "Replicas whose replication is throttled on the leader's side."),
    taken("local.retention.bytes", Long, "-2", Check::AtLeast(-2), &["log.local.retention.bytes"],
        "Bytes of a tiered partition that stay on local disk; -2 follows retention.bytes."),
    taken("local.retention.ms", Long, "-2", Check::AtLeast(-2), &["log.local.retention.ms"],
        "Milliseconds that data of a tiered partition stays on local disk; -2 follows retention.ms."),
    taken("max.compaction.lag.ms", Long, "9223372036854775807", Check::AtLeast(1), &["log.cleaner.max.compaction.lag.ms"],
        "Longest time that a record stays out of reach of compaction."),
    acts("max.message.bytes", Int, "1048588", Check::AtLeast(0), &["message.max.bytes"],
        "Largest record batch that is taken, as it is on the wire."),
    acts("message.timestamp.after.max.ms", Long, "3600000", Check::AtLeast(0), &["log.message.timestamp.after.max.ms"],
        "How far a producer's timestamp may lie after the broker's clock, in milliseconds."),
    acts("message.timestamp.before.max.ms", Long, "9223372036854775807", Check::AtLeast(0), &["log.message.timestamp.before.max.ms"],
        "How far a producer's timestamp may lie before the broker's clock, in milliseconds."),
    acts("message.timestamp.type", Text, "CreateTime", Check::OneOf(&["CreateTime", "LogAppendTime"]), &["log.message.timestamp.type"],
        "Whether records carry the time of the producer or that of the append."),
    taken("min.cleanable.dirty.ratio", Double, "0.5", Check::Fraction(0.0, 1.0), &["log.cleaner.min.cleanable.ratio"],
        "Share of a log that must be uncompacted before it is compacted again."),
    taken("min.compaction.lag.ms", Long, "0", Check::AtLeast(0), &["log.cleaner.min.compaction.lag.ms"],
        "Shortest time that a record stays as written before it may be compacted away."),
    acts("min.insync.replicas", Int, "1", Check::AtLeast(1), &["min.insync.replicas"],
        "In-sync replicas that a write with acks=all needs."),
    acts("preallocate", Boolean, "false", Check::Any, &["log.preallocate"],
        "Whether the whole size of a segment is reserved on disk when it is begun."),
    taken("remote.log.copy.disable", Boolean, "false", Check::Any, &[],
        "Whether a tiered topic stops copying to remote storage."),
    taken("remote.log.delete.on.disable", Boolean, "false", Check::Any, &[],
        "Whether remote data is deleted when tiering of the topic is turned off."),
    taken("remote.storage.enable", Boolean, "false", Check::Any, &[],
        "Whether the topic is tiered; there is no tiered storage, so that true is refused."),
    acts("retention.bytes", Long, "-1", Check::Any, &["log.retention.bytes"],
        "Bytes of a partition above which the oldest segments are removed, -1 for no limit; the rest is never smaller."),
    acts("retention.ms", Long, "604800000", Check::AtLeast(-1), &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
        "Milliseconds after its newest record that a segment is removed, -1 never."),
    acts("segment.bytes", Int, "1073741824", Check::AtLeast(1_048_576), &["log.segment.bytes"],
        "Bytes after which a new segment is begun."),
    acts("segment.index.bytes", Int, "10485760", Check::AtLeast(4), &["log.index.size.max.bytes"],
        "Largest size of an index file."),
    acts("segment.jitter.ms", Long, "0", Check::AtLeast(0), &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        "Milliseconds of which a random part is taken off segment.ms, so that not all logs roll at once."),
    acts("segment.ms", Long, "604800000", Check::AtLeast(1), &["log.roll.ms", "log.roll.hours"],
        "Milliseconds after which a new segment is begun."),
    taken("unclean.leader.election.enable", Boolean, "false", Check::Any, &["unclean.leader.election.enable"],
        "Whether a replica that is not in sync may become leader, at the price of lost records."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table;

    #[test]
    fn rows_are_sorted_and_documented_and_their_defaults_pass() {
        assert!(TOPIC_KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for key in TOPIC_KEYS {
            assert!(key.doc().ends_with('.'), "{}", key.name);
            assert!(
                key.default.is_none_or(|default| key.parse(default).is_ok()),
                "{}",
                key.name
            );
        }
    }

    #[test]
    fn synonyms_are_broker_configs_with_the_same_default() {
        for key in TOPIC_KEYS.iter().filter(|key| !key.synonyms.is_empty()) {
            let synonyms: Vec<_> = key
                .synonyms
                .iter()
                .map(|name| table::find(name).expect("a broker config"))
                .collect();
            // A null default gives way to the next synonym, which may count in another unit.
            if synonyms[0].default.is_some() {
                assert_eq!(synonyms[0].default, key.default, "{}", key.name);
                assert_eq!(synonyms[0].kind, key.kind, "{}", key.name);
                assert_eq!(synonyms[0].effect, key.effect, "{}", key.name);
            }
        }
    }
}
