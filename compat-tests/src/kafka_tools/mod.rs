//! The stock command line tools of Apache Kafka, run against the broker, and what they print.
//!
//! A case is one file of `kafka_tools/cases`: a transcript of a shell session with the answers that Apache Kafka gives.
//! - `case` reads it, `pattern` compares what was printed with what is expected, `player` plays it against a broker;
//! - `machine` runs tools in one warm JVM, `process` as processes of their own;
//! - `install` brings the jars.
//!
//! **Invariants:** every case has a fresh broker, a directory of its own and leaves no process behind. The expected answers are
//! Kafka's (`MONEDULA_COMPAT_KAFKA=1` plays the cases against Apache Kafka itself); where ours rightly differ, the case says why.

pub mod case;
pub mod http;
pub mod install;
pub mod machine;
pub mod pattern;
pub mod player;
pub mod process;

/// The tools by the names of their scripts, with their main classes.
const TOOLS: &[(&str, &str)] = &[
    ("connect-distributed", "org.apache.kafka.connect.cli.ConnectDistributed"),
    (
        "kafka-broker-api-versions",
        "org.apache.kafka.tools.BrokerApiVersionsCommand",
    ),
    ("kafka-client-metrics", "org.apache.kafka.tools.ClientMetricsCommand"),
    ("kafka-cluster", "org.apache.kafka.tools.ClusterTool"),
    ("kafka-configs", "kafka.admin.ConfigCommand"),
    (
        "kafka-console-consumer",
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
    ),
    ("kafka-console-producer", "org.apache.kafka.tools.ConsoleProducer"),
    (
        "kafka-consumer-groups",
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    ),
    ("kafka-consumer-perf-test", "org.apache.kafka.tools.ConsumerPerformance"),
    ("kafka-delete-records", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("kafka-dump-log", "org.apache.kafka.tools.DumpLogSegments"),
    ("kafka-e2e-latency", "org.apache.kafka.tools.EndToEndLatency"),
    ("kafka-features", "org.apache.kafka.tools.FeatureCommand"),
    ("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell"),
    ("kafka-groups", "org.apache.kafka.tools.GroupsCommand"),
    ("kafka-leader-election", "org.apache.kafka.tools.LeaderElectionCommand"),
    ("kafka-log-dirs", "org.apache.kafka.tools.LogDirsCommand"),
    ("kafka-metadata-quorum", "org.apache.kafka.tools.MetadataQuorumCommand"),
    ("kafka-producer-perf-test", "org.apache.kafka.tools.ProducerPerformance"),
    (
        "kafka-reassign-partitions",
        "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    ),
    (
        "kafka-replica-verification",
        "org.apache.kafka.tools.ReplicaVerificationTool",
    ),
    (
        "kafka-streams-application-reset",
        "org.apache.kafka.tools.StreamsResetter",
    ),
    ("kafka-topics", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-transactions", "org.apache.kafka.tools.TransactionsCommand"),
    ("kafka-verifiable-consumer", "org.apache.kafka.tools.VerifiableConsumer"),
    ("kafka-verifiable-producer", "org.apache.kafka.tools.VerifiableProducer"),
    (
        "transactional-message-copier",
        "org.apache.kafka.tools.TransactionalMessageCopier",
    ),
    (
        "word-count",
        "org.apache.kafka.streams.examples.wordcount.WordCountDemo",
    ),
];
/// Tools that are told elsewhere where the broker is, or need not know.
const WITHOUT_BOOTSTRAP: &[&str] = &[
    "connect-distributed",
    "kafka-dump-log",
    "kafka-replica-verification",
    "transactional-message-copier",
    "word-count",
];
/// Tools whose address stands behind the name of the action.
const ACTION_FIRST: &[&str] = &["kafka-cluster"];

/// A tool and what it is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub main: &'static str,
    pub arguments: Vec<String>,
}

impl Call {
    /// The tool that a script of this name runs, told where the broker is; `None` where there is no such tool.
    pub fn new(tool: &str, arguments: &[String], address: &str) -> Option<Self> {
        let (tool, main) = *TOOLS.iter().find(|(name, _)| *name == tool)?;
        let mut arguments = arguments.to_vec();
        if !WITHOUT_BOOTSTRAP.contains(&tool) {
            let at = usize::from(ACTION_FIRST.contains(&tool)).min(arguments.len());
            arguments.splice(at..at, ["--bootstrap-server".to_owned(), address.to_owned()]);
        }
        Some(Self { main, arguments })
    }
}
