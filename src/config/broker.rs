//! The typed broker configuration, and the rows of the config table that act: one field per key, or one field for
//! several keys that answer one question together.
//!
//! Invariants: a key that acts stands here, and what stands here acts; a `BrokerConfig` is whole and consistent (`load` and `resolve`
//! refuse everything else) and never changes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use protocol::types::BrokerId;

use crate::config::check::Check::{Any, AtLeast, Between, BetweenOr, ClusterId, ListOf, NonEmptyList, OneOf};
use crate::config::key::Importance::{High, Low, Medium};
use crate::config::key::UpdateMode::{ClusterWide, PerBroker, ReadOnly};
use crate::config::key::{ConfigKey, acting};
use crate::config::resolve::resolve;
use crate::config::settings::Settings;
use crate::config::value::ConfigType::{Boolean, Int, List, Long, String as Text};
use crate::config::value::Listener;

/// `keys` become one field each; the rows under `resolved` are read together by [`resolve`].
macro_rules! broker_config {
    (
        keys { $( $(#[doc = $doc:literal])+ $field:ident: $ty:ty = $row:expr; )+ }
        resolved { $( $(#[doc = $resolved_doc:literal])+ $resolved_row:expr; )+ }
    ) => {
        /// Everything that was configured, checked and read. `Default` is a broker without any configuration.
        #[derive(Clone, Debug, PartialEq)]
        pub struct BrokerConfig {
            $( $(#[doc = $doc])+ pub $field: $ty, )+
            /// What several keys say together.
            pub resolved: Resolved,
            /// Every configured key with its text and origin.
            pub settings: Settings,
        }

        /// The rows that act.
        pub(super) const KEYS: &[ConfigKey] = &[
            $( $row.documented(concat!($($doc),+)), )+
            $( $resolved_row.documented(concat!($($resolved_doc),+)), )+
        ];

        impl BrokerConfig {
            /// `settings` have been checked and have given `resolved`.
            pub(super) fn read(settings: Settings, resolved: Resolved) -> Self {
                Self { $( $field: settings.typed($row.name), )+ resolved, settings }
            }
        }
    };
}

/// What several keys say together.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// `node.id` or `broker.id`.
    pub node_id: BrokerId,
    /// The listeners that clients use, in the order of the configuration; at least one.
    pub listeners: Vec<Listener>,
    /// Listeners named in `controller.listener.names`. They are not opened: the quorum needs none.
    pub controller_listeners: Vec<Listener>,
    /// `log.dirs` or `log.dir`; at least one.
    pub log_dirs: Vec<PathBuf>,
    /// `log.retention.ms`, else `log.retention.minutes`, else `log.retention.hours`; -1 keeps for ever.
    pub log_retention_ms: i64,
    /// `log.roll.ms`, else `log.roll.hours`.
    pub log_roll_ms: i64,
    /// `log.roll.jitter.ms`, else `log.roll.jitter.hours`.
    pub log_roll_jitter_ms: i64,
    /// `listener.name.<name>.max.connection.creation.rate`, by the listener's name in upper case.
    pub listener_connection_creation_rates: BTreeMap<String, i32>,
    /// `max.connections.per.ip.overrides`.
    pub max_connections_per_ip_overrides: BTreeMap<IpAddr, i32>,
}

broker_config! {
    keys {
        /// Milliseconds for which a produce that brings its partitions into a transaction tries again while the one before it is still being ended.
        add_partitions_to_txn_retry_backoff_max_ms: i32 =
            acting("add.partitions.to.txn.retry.backoff.max.ms", Int, Some("100"), High, ReadOnly, AtLeast(0));
        /// Milliseconds between two of these tries.
        add_partitions_to_txn_retry_backoff_ms: i32 =
            acting("add.partitions.to.txn.retry.backoff.ms", Int, Some("20"), High, ReadOnly, AtLeast(1));
        /// Level used when the broker compresses with gzip; -1 is the library's own default.
        compression_gzip_level: i32 =
            acting("compression.gzip.level", Int, Some("-1"), Medium, ClusterWide, BetweenOr(1, 9, -1));
        /// Codec in which batches are stored; `producer` keeps the codec of the producer, everything else compresses anew what comes in another codec.
        compression_type: String = acting("compression.type", Text, Some("producer"), High, ClusterWide,
            OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]));
        /// Level used when the broker compresses with zstd.
        compression_zstd_level: i32 =
            acting("compression.zstd.level", Int, Some("3"), Medium, ClusterWide, Between(-131_072, 22));
        /// Whether a topic is created when a client asks for it or produces to it and it does not exist.
        auto_create_topics_enable: bool = acting("auto.create.topics.enable", Boolean, Some("true"), High, ReadOnly, Any);
        /// Name of the rack or zone of this broker, which clients are told.
        broker_rack: Option<String> = acting("broker.rack", Text, None, Medium, ReadOnly, Any);
        /// Milliseconds without a request after which a connection is closed; negative never closes one.
        connections_max_idle_ms: i64 = acting("connections.max.idle.ms", Long, Some("600000"), Medium, ReadOnly, Any);
        /// Samples over which changes of partitions are counted for their quota; all of them together are its burst.
        controller_quota_window_num: i32 =
            acting("controller.quota.window.num", Int, Some("11"), Low, ReadOnly, AtLeast(1));
        /// Seconds of one sample of the quota on changes of partitions.
        controller_quota_window_size_seconds: i32 =
            acting("controller.quota.window.size.seconds", Int, Some("1"), Low, ReadOnly, AtLeast(1));
        /// Log directories that take no new partitions, by absolute path; `*` means all.
        cordoned_log_dirs: Vec<String> = acting("cordoned.log.dirs", List, Some(""), Medium, PerBroker, Any);
        /// Replicas of a topic that is created without saying how many.
        default_replication_factor: i32 =
            acting("default.replication.factor", Int, Some("1"), Medium, ReadOnly, Any);
        /// Whether topics can be deleted.
        delete_topic_enable: bool = acting("delete.topic.enable", Boolean, Some("true"), High, ReadOnly, Any);
        /// Most bytes of records in one fetch response; a first batch that is larger is still sent.
        fetch_max_bytes: i32 = acting("fetch.max.bytes", Int, Some("57671680"), Medium, ReadOnly, AtLeast(1024));
        /// Milliseconds that a new group waits for more members before its first assignment.
        group_initial_rebalance_delay_ms: i32 =
            acting("group.initial.rebalance.delay.ms", Int, Some("3000"), Medium, ReadOnly, Any);
        /// Largest session timeout that a member of a classic group may ask for.
        group_max_session_timeout_ms: i32 =
            acting("group.max.session.timeout.ms", Int, Some("1800000"), Medium, ReadOnly, Any);
        /// Most members of one classic group.
        group_max_size: i32 = acting("group.max.size", Int, Some("2147483647"), Medium, ReadOnly, AtLeast(1));
        /// Smallest session timeout that a member of a classic group may ask for.
        group_min_session_timeout_ms: i32 =
            acting("group.min.session.timeout.ms", Int, Some("6000"), Medium, ReadOnly, Any);
        /// What topics without own policy do with old data: `delete` removes it by age and size, empty keeps it; records need a key where it contains `compact`, but nothing is compacted.
        log_cleanup_policy: Vec<String> =
            acting("log.cleanup.policy", List, Some("delete"), Medium, ClusterWide, ListOf(&["compact", "delete"]));
        /// Records after which a log is flushed to disk; with 1 an acknowledgement means that the records are on disk.
        log_flush_interval_messages: i64 =
            acting("log.flush.interval.messages", Long, Some("9223372036854775807"), High, ClusterWide, AtLeast(1));
        /// Milliseconds after which records that were written are flushed to disk, in the background.
        log_flush_interval_ms: i64 = acting("log.flush.interval.ms", Long, Some("100"), High, ClusterWide, Any)
            .differs("null", "Kafka leaves flushing to the operating system; here a power failure costs one node at most this time");
        /// Milliseconds between two writes of the offsets up to which logs are on disk.
        log_flush_offset_checkpoint_interval_ms: i32 =
            acting("log.flush.offset.checkpoint.interval.ms", Int, Some("60000"), High, ReadOnly, AtLeast(0));
        /// Milliseconds between two writes of the offsets at which logs start; those that DeleteRecords and retention move are written at once.
        log_flush_start_offset_checkpoint_interval_ms: i32 =
            acting("log.flush.start.offset.checkpoint.interval.ms", Int, Some("60000"), High, ReadOnly, AtLeast(0));
        /// Bytes of records between two entries of the offset index.
        log_index_interval_bytes: i32 =
            acting("log.index.interval.bytes", Int, Some("4096"), Medium, ClusterWide, AtLeast(0));
        /// Largest size of an index file.
        log_index_size_max_bytes: i32 =
            acting("log.index.size.max.bytes", Int, Some("10485760"), Medium, ClusterWide, AtLeast(4));
        /// Milliseconds after the start before retention looks for the first time.
        log_initial_task_delay_ms: i64 =
            acting("log.initial.task.delay.ms", Long, Some("30000"), Low, ReadOnly, AtLeast(0)).internal();
        /// How far a producer's timestamp may lie after the broker's clock, in milliseconds.
        log_message_timestamp_after_max_ms: i64 =
            acting("log.message.timestamp.after.max.ms", Long, Some("3600000"), Medium, ClusterWide, AtLeast(0));
        /// How far a producer's timestamp may lie before the broker's clock, in milliseconds.
        log_message_timestamp_before_max_ms: i64 = acting(
            "log.message.timestamp.before.max.ms", Long, Some("9223372036854775807"), Medium, ClusterWide, AtLeast(0));
        /// Whether records carry the time of the producer or that of the append.
        log_message_timestamp_type: String = acting(
            "log.message.timestamp.type", Text, Some("CreateTime"), Medium, ClusterWide,
            OneOf(&["CreateTime", "LogAppendTime"]));
        /// Whether the whole size of a segment is reserved on disk when it is begun.
        log_preallocate: bool = acting("log.preallocate", Boolean, Some("false"), Medium, ClusterWide, Any);
        /// Bytes of a partition above which the oldest segments are removed, -1 for no limit; the rest is never smaller.
        log_retention_bytes: i64 = acting("log.retention.bytes", Long, Some("-1"), High, ClusterWide, Any);
        /// Milliseconds between two looks for segments to remove.
        log_retention_check_interval_ms: i64 =
            acting("log.retention.check.interval.ms", Long, Some("300000"), Medium, ReadOnly, AtLeast(1));
        /// Bytes after which a new segment is begun.
        log_segment_bytes: i32 =
            acting("log.segment.bytes", Int, Some("1073741824"), High, ClusterWide, AtLeast(1_048_576));
        /// Milliseconds between taking a segment out of its log and deleting its files; a full disk does not wait.
        log_segment_delete_delay_ms: i64 =
            acting("log.segment.delete.delay.ms", Long, Some("60000"), High, ClusterWide, AtLeast(0));
        /// Most connections per second; more wait to be accepted. A listener may have its own under `listener.name.<name>.`.
        max_connection_creation_rate: i32 =
            acting("max.connection.creation.rate", Int, Some("2147483647"), Medium, ClusterWide, AtLeast(0));
        /// Most connections at a time.
        max_connections: i32 = acting("max.connections", Int, Some("2147483647"), Medium, ClusterWide, AtLeast(0));
        /// Most connections at a time from one address.
        max_connections_per_ip: i32 =
            acting("max.connections.per.ip", Int, Some("2147483647"), Medium, ClusterWide, AtLeast(0));
        /// Most incremental fetch sessions that are kept; who gets none is answered in full each time.
        max_incremental_fetch_session_cache_slots: i32 =
            acting("max.incremental.fetch.session.cache.slots", Int, Some("1000"), Medium, ReadOnly, AtLeast(0));
        /// Most partitions in one response that describes topics page by page.
        max_request_partition_size_limit: i32 =
            acting("max.request.partition.size.limit", Int, Some("2000"), Medium, ReadOnly, AtLeast(1));
        /// Largest record batch that is taken, as it is on the wire.
        message_max_bytes: i32 = acting("message.max.bytes", Int, Some("1048588"), High, ClusterWide, AtLeast(0));
        /// In-sync replicas that a write with acks=all needs.
        min_insync_replicas: i32 = acting("min.insync.replicas", Int, Some("1"), High, ClusterWide, AtLeast(1));
        /// Reads of old data from the disks at a time; further ones wait, on no thread.
        monedula_cold_read_threads: i32 =
            acting("monedula.cold.read.threads", Int, Some("8"), Low, ReadOnly, AtLeast(1));
        /// Most bytes of all values that are set on topics, groups, brokers and client-metrics subscriptions; setting more is refused.
        monedula_config_max_bytes: i64 =
            acting("monedula.config.max.bytes", Long, Some("67108864"), Low, ReadOnly, AtLeast(1));
        /// Most resources other than topics that have configs of their own: brokers, groups, client-metrics subscriptions.
        monedula_config_max_resources: i32 =
            acting("monedula.config.max.resources", Int, Some("100000"), Low, ReadOnly, AtLeast(1));
        /// Id of the cluster that the first start begins, and the one that the log directories must belong to; unset makes one up and takes any.
        monedula_cluster_id: Option<String> =
            acting("monedula.cluster.id", Text, None, Low, ReadOnly, ClusterId);
        /// Connections above the rate of their address that are held before they are closed; further ones are closed at once.
        monedula_connections_max_throttled: i32 =
            acting("monedula.connections.max.throttled", Int, Some("1000"), Low, ReadOnly, AtLeast(0));
        /// Requests that may wait for one group coordinator shard before further ones are refused.
        monedula_coordinator_mailbox_size: i32 =
            acting("monedula.coordinator.mailbox.size", Int, Some("10000"), Low, ReadOnly, AtLeast(1));
        /// By how much a partition of __consumer_offsets grows, at the least, before its live state is written again and
        /// what lies before is given up; with much state, three times the state.
        monedula_coordinator_rewrite_bytes: i64 =
            acting("monedula.coordinator.rewrite.bytes", Long, Some("4194304"), Low, ReadOnly, AtLeast(1024));
        /// Bytes of small slices of records that all fetch responses together hold as copies until they are sent; beyond it they are sent from the files.
        monedula_fetch_copies_max_bytes: i64 =
            acting("monedula.fetch.copies.max.bytes", Long, Some("33554432"), Low, ReadOnly, AtLeast(0));
        /// Memory for all incremental fetch sessions, some 300 bytes for each partition in one, and at most an eighth for each session; who finds no room is answered in full each time.
        monedula_fetch_session_cache_max_bytes: i64 =
            acting("monedula.fetch.session.cache.max.bytes", Long, Some("67108864"), Low, ReadOnly, AtLeast(0));
        /// Member ids of one group that were given out to clients which have not joined with them yet.
        monedula_group_max_pending_members: i32 =
            acting("monedula.group.max.pending.members", Int, Some("10000"), Low, ReadOnly, AtLeast(1));
        /// Offsets that open transactions have committed to the groups of one partition of `__consumer_offsets`; more are refused until a transaction ends.
        monedula_group_max_pending_offsets: i32 =
            acting("monedula.group.max.pending.offsets", Int, Some("50000"), Low, ReadOnly, AtLeast(1));
        /// Whether the lines by which scripts and test libraries know that a Kafka broker is ready are printed to standard output, too.
        monedula_kafka_ready_lines: bool =
            acting("monedula.kafka.ready.lines", Boolean, Some("false"), Low, ReadOnly, Any);
        /// Most groups on this broker.
        monedula_max_groups: i32 = acting("monedula.max.groups", Int, Some("100000"), Low, ReadOnly, AtLeast(1));
        /// Most partitions of all topics together; creating more is refused.
        monedula_max_partitions: i32 =
            acting("monedula.max.partitions", Int, Some("50000"), Low, ReadOnly, AtLeast(1));
        /// Most topics; creating more is refused.
        monedula_max_topics: i32 = acting("monedula.max.topics", Int, Some("20000"), Low, ReadOnly, AtLeast(1));
        /// Most transactional ids on this broker, one of more than 256 bytes counting as several; producers with further ones are refused.
        monedula_max_transactional_ids: i32 =
            acting("monedula.max.transactional.ids", Int, Some("100000"), Low, ReadOnly, AtLeast(1));
        /// Producer ids that one partition remembers, and verifications of transactions that it has under way; those that were idle longest are forgotten, never one with an open transaction.
        monedula_partition_max_producer_ids: i32 =
            acting("monedula.partition.max.producer.ids", Int, Some("100000"), Low, ClusterWide, AtLeast(1));
        /// Most users, client ids, pairs of them, and addresses together that have quotas; more are refused.
        monedula_quota_max_entities: i32 =
            acting("monedula.quota.max.entities", Int, Some("10000"), Low, ReadOnly, AtLeast(1));
        /// Clients that are remembered for each kind of quota, a long name counting as several; those that were active longest ago are forgotten.
        monedula_quota_max_sensors: i32 =
            acting("monedula.quota.max.sensors", Int, Some("10000"), Low, ReadOnly, AtLeast(1));
        /// Most bytes that one batch may grow to when it is decompressed for checking.
        monedula_record_decompressed_max_bytes: i32 =
            acting("monedula.record.decompressed.max.bytes", Int, Some("134217728"), Low, ReadOnly, AtLeast(1));
        /// How produced batches are checked: `fast` trusts what the checksum covers inside compressed batches, `full` decompresses them and walks every record.
        monedula_record_validation: String =
            acting("monedula.record.validation", Text, Some("fast"), Low, ReadOnly, OneOf(&["fast", "full"]));
        /// Most partitions of one transaction; adding more is refused.
        monedula_transaction_max_partitions: i32 =
            acting("monedula.transaction.max.partitions", Int, Some("10000"), Low, ReadOnly, AtLeast(1));
        /// Partitions of a topic that is created without saying how many.
        num_partitions: i32 = acting("num.partitions", Int, Some("1"), Medium, ReadOnly, AtLeast(1));
        /// Threads per log directory that recover logs at the start and flush them at the stop.
        num_recovery_threads_per_data_dir: i32 =
            acting("num.recovery.threads.per.data.dir", Int, Some("2"), High, ClusterWide, AtLeast(1));
        /// Threads that move partitions between log directories; unset means one per directory.
        num_replica_alter_log_dirs_threads: Option<i32> =
            acting("num.replica.alter.log.dirs.threads", Int, None, High, ReadOnly, Any);
        /// Largest metadata text of a committed offset.
        offset_metadata_max_bytes: i32 =
            acting("offset.metadata.max.bytes", Int, Some("4096"), High, ReadOnly, Any);
        /// Milliseconds that an offset commit waits to be replicated.
        offsets_commit_timeout_ms: i32 =
            acting("offsets.commit.timeout.ms", Int, Some("5000"), High, ReadOnly, AtLeast(1));
        /// Bytes read at a time while a group coordinator shard is loaded.
        offsets_load_buffer_size: i32 =
            acting("offsets.load.buffer.size", Int, Some("5242880"), High, ReadOnly, AtLeast(1));
        /// Milliseconds between two looks for expired offsets.
        offsets_retention_check_interval_ms: i64 =
            acting("offsets.retention.check.interval.ms", Long, Some("600000"), High, ReadOnly, AtLeast(1));
        /// Minutes that the offsets of an empty group are kept.
        offsets_retention_minutes: i32 =
            acting("offsets.retention.minutes", Int, Some("10080"), High, ReadOnly, AtLeast(1));
        /// Partitions of __consumer_offsets; never to be changed once the topic exists.
        offsets_topic_num_partitions: i32 =
            acting("offsets.topic.num.partitions", Int, Some("50"), High, ReadOnly, AtLeast(1));
        /// Segment size of __consumer_offsets.
        offsets_topic_segment_bytes: i32 =
            acting("offsets.topic.segment.bytes", Int, Some("104857600"), High, ReadOnly, AtLeast(1));
        /// Milliseconds after its last write for which a partition remembers an idempotent producer.
        producer_id_expiration_ms: i32 =
            acting("producer.id.expiration.ms", Int, Some("86400000"), Low, ClusterWide, AtLeast(1));
        /// Bytes of all requests that are being read and answered; above it, sockets are not read. -1 sets no limit.
        queued_max_request_bytes: i64 =
            acting("queued.max.request.bytes", Long, Some("268435456"), Medium, ReadOnly, Any)
                .differs("-1", "without a limit a few clients can take all memory; 256 MiB hold two requests of the largest size");
        /// Samples over which rates of clients and of connections are measured for their quotas.
        quota_window_num: i32 = acting("quota.window.num", Int, Some("11"), Low, ReadOnly, AtLeast(1));
        /// Seconds of one sample of the rates of clients and of connections.
        quota_window_size_seconds: i32 =
            acting("quota.window.size.seconds", Int, Some("1"), Low, ReadOnly, AtLeast(1));
        /// Longest wait of the broker for answers to its own requests, and for a transaction that is still being ended.
        request_timeout_ms: i32 = acting("request.timeout.ms", Int, Some("30000"), High, ReadOnly, Any);
        /// Connections that the system keeps waiting to be accepted.
        socket_listen_backlog_size: i32 =
            acting("socket.listen.backlog.size", Int, Some("50"), Medium, ReadOnly, AtLeast(1));
        /// Receive buffer of a connection's socket; -1 leaves it to the system.
        socket_receive_buffer_bytes: i32 =
            acting("socket.receive.buffer.bytes", Int, Some("-1"), High, ReadOnly, Any)
                .differs("102400", "a fixed size ends the system's own sizing, which follows the connection and costs fewer wake-ups");
        /// Largest request; a connection that announces a larger one is closed.
        socket_request_max_bytes: i32 =
            acting("socket.request.max.bytes", Int, Some("104857600"), High, ReadOnly, AtLeast(1));
        /// Send buffer of a connection's socket; -1 leaves it to the system.
        socket_send_buffer_bytes: i32 =
            acting("socket.send.buffer.bytes", Int, Some("-1"), High, ReadOnly, Any)
                .differs("102400", "a fixed size ends the system's own sizing, which follows the connection and costs fewer wake-ups");
        /// Milliseconds after which the abort of a transaction that timed out is tried again; transactions are aborted as soon as their timeout is over.
        transaction_abort_timed_out_transaction_cleanup_interval_ms: i32 = acting(
            "transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Some("10000"), Low, ReadOnly, AtLeast(1));
        /// Longest transaction timeout that a client may ask for.
        transaction_max_timeout_ms: i32 =
            acting("transaction.max.timeout.ms", Int, Some("900000"), High, ReadOnly, AtLeast(1));
        /// Whether a partition takes the first records of a transaction only after the coordinator has confirmed the transaction.
        transaction_partition_verification_enable: bool =
            acting("transaction.partition.verification.enable", Boolean, Some("true"), Low, ClusterWide, Any);
        /// Milliseconds between two looks for transactional ids that expired.
        transaction_remove_expired_transaction_cleanup_interval_ms: i32 = acting(
            "transaction.remove.expired.transaction.cleanup.interval.ms", Int, Some("3600000"), Low, ReadOnly, AtLeast(1));
        /// Bytes read at a time while transactions are loaded.
        transaction_state_log_load_buffer_size: i32 =
            acting("transaction.state.log.load.buffer.size", Int, Some("5242880"), High, ReadOnly, AtLeast(1));
        /// In-sync replicas that a write of transaction state needs; one node has one.
        transaction_state_log_min_isr: i32 =
            acting("transaction.state.log.min.isr", Int, Some("1"), High, ReadOnly, AtLeast(1))
                .differs("2", "one node can hold one replica");
        /// Partitions of __transaction_state, which is made with the first transaction; never to be changed once it exists.
        transaction_state_log_num_partitions: i32 =
            acting("transaction.state.log.num.partitions", Int, Some("50"), High, ReadOnly, AtLeast(1));
        /// Segment size of __transaction_state.
        transaction_state_log_segment_bytes: i32 =
            acting("transaction.state.log.segment.bytes", Int, Some("104857600"), High, ReadOnly, AtLeast(1));
        /// Milliseconds after which a transactional id without an open transaction is forgotten.
        transactional_id_expiration_ms: i32 =
            acting("transactional.id.expiration.ms", Int, Some("604800000"), High, ReadOnly, AtLeast(1));
    }
    resolved {
        /// Addresses that clients are told, as name://host:port per listener; without it, a client is told the address that it dialled itself.
        acting("advertised.listeners", List, None, High, ReadOnly, NonEmptyList)
            .live("the port that a container engine maps is known only after the start");
        /// Old name of `node.id`; when both are set they must be equal.
        acting("broker.id", Int, Some("1"), High, ReadOnly, Any)
            .differs("-1", "follows the default of node.id");
        /// Listeners that Kafka's controller uses; they may stand in `listeners` and are not opened here.
        acting("controller.listener.names", List, Some(""), High, ReadOnly, NonEmptyList)
            .differs("(required)", "the quorum of one node needs no listener");
        /// Security protocol of each listener name; PLAINTEXT is the one that is spoken.
        acting("listener.security.protocol.map", Text,
            Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), Low, PerBroker, Any)
            .fixed("listeners are opened at the start");
        /// Addresses at which connections are taken, as name://host:port; an empty host means all interfaces, port 0 a free one.
        acting("listeners", List, Some("PLAINTEXT://127.0.0.1:9092"), High, PerBroker, NonEmptyList)
            .fixed("listeners are opened at the start, before the stored configuration can be read")
            .differs("[PLAINTEXT://:9092]", "a first start should not open the machine to its network");
        /// Directories of the data, used when `log.dirs` is not set.
        acting("log.dir", List, Some("monedula-data"), High, ReadOnly, NonEmptyList)
            .differs("[/tmp/kafka-logs]", "data belongs neither into a directory that a restart of the machine empties nor into that of another program");
        /// Directories of the data.
        acting("log.dirs", List, None, High, ReadOnly, NonEmptyList);
        /// Hours after its newest record that a segment is removed, used when neither `log.retention.minutes` nor `log.retention.ms` is set.
        acting("log.retention.hours", Int, Some("168"), High, ReadOnly, Any);
        /// Minutes after its newest record that a segment is removed, used when `log.retention.ms` is not set.
        acting("log.retention.minutes", Int, None, High, ReadOnly, Any);
        /// Milliseconds after its newest record that a segment is removed, -1 never.
        acting("log.retention.ms", Long, None, High, ClusterWide, Any);
        /// Hours after which a new segment is begun, used when `log.roll.ms` is not set.
        acting("log.roll.hours", Int, Some("168"), High, ReadOnly, AtLeast(1));
        /// Hours of which a random part is taken off `log.roll.hours`, used when `log.roll.jitter.ms` is not set.
        acting("log.roll.jitter.hours", Int, Some("0"), High, ReadOnly, AtLeast(0));
        /// Milliseconds of which a random part is taken off `log.roll.ms`, so that not all logs roll at once.
        acting("log.roll.jitter.ms", Long, None, High, ClusterWide, Any);
        /// Milliseconds after which a new segment is begun.
        acting("log.roll.ms", Long, None, High, ClusterWide, Any);
        /// Other limits than `max.connections.per.ip` for some addresses, as address:limit separated by commas.
        acting("max.connections.per.ip.overrides", Text, Some(""), Medium, ClusterWide, Any);
        /// Number of this node in its cluster.
        acting("node.id", Int, Some("1"), High, ReadOnly, AtLeast(0))
            .differs("(required)", "a node that is alone needs no number from its user");
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        let settings = Settings::default();
        let resolved = resolve(&settings).expect("a broker without configuration has a valid one");
        Self::read(settings, resolved.resolved)
    }
}

impl BrokerConfig {
    /// The configuration of the start (`self`) under these dynamic values, which have passed `dynamic::refuse`.
    ///
    /// # Errors
    /// What contradicts what, one sentence.
    pub fn with_dynamic(
        &self,
        cluster_default: BTreeMap<String, String>,
        broker: BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let settings = self.settings.with_dynamic(cluster_default, broker);
        match resolve(&settings) {
            Ok(resolution) => Ok(Self::read(settings, resolution.resolved)),
            Err(errors) => {
                let sentences: Vec<_> = errors.iter().map(ToString::to_string).collect();
                Err(sentences.join("; "))
            }
        }
    }

    /// Whether compressed batches are decompressed and walked when they are produced.
    pub fn is_full_record_validation(&self) -> bool {
        self.monedula_record_validation == "full"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_typed_field_has_the_type_of_its_key() {
        // Building one reads all fields; a key of another type would panic.
        let config = BrokerConfig::default();
        assert_eq!(config.num_partitions, 1);
        assert_eq!(config.log_flush_interval_ms, 100);
        assert_eq!(config.log_cleanup_policy, ["delete"]);
        assert_eq!(config.resolved.node_id, 1);
        assert_eq!(config.resolved.log_dirs, [PathBuf::from("monedula-data")]);
        assert_eq!(config.resolved.log_retention_ms, 7 * 24 * 3_600_000);
        assert!(!config.is_full_record_validation());
    }
}
