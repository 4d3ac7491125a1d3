//! Whole configurations: a stock file of Kafka, the order of sources, refusals.

use super::*;

/// A stock `config/server.properties` of Apache Kafka 4.3, without its comments.
const STOCK: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

fn strings(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(left, right)| ((*left).to_owned(), (*right).to_owned()))
        .collect()
}

fn sources(file: &str, environment: &[(&str, &str)], overrides: &[(&str, &str)]) -> Sources {
    Sources {
        file: Some((PathBuf::from("server.properties"), file.to_owned())),
        environment: strings(environment),
        overrides: strings(overrides),
    }
}

fn config(file: &str, environment: &[(&str, &str)], overrides: &[(&str, &str)]) -> BrokerConfig {
    load(&sources(file, environment, overrides))
        .expect("valid configuration")
        .config
}

fn refused(file: &str, overrides: &[(&str, &str)]) -> String {
    load(&sources(file, &[], overrides))
        .expect_err("invalid configuration")
        .to_string()
}

#[test]
fn a_stock_file_of_kafka_starts_this_broker_without_a_warning() {
    let loaded = load(&sources(STOCK, &[], &[])).expect("stock configuration");
    assert_eq!(loaded.config.resolved.listeners.len(), 1);
    assert_eq!(loaded.config.resolved.listeners[0].to_string(), "PLAINTEXT://:9092");
    assert_eq!(
        loaded.config.resolved.listeners[0].advertised,
        Some(("localhost".to_owned(), 9092))
    );
    assert_eq!(
        loaded.config.resolved.log_dirs,
        [PathBuf::from("/tmp/kraft-combined-logs")]
    );
    let warnings: Vec<_> = loaded
        .remarks
        .iter()
        .filter(|remark| matches!(remark, Remark::Warning(_)))
        .collect();
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn later_sources_win() {
    let file = "num.partitions=2\nlog.dirs=/file\nfetch.max.bytes=2048";
    let config = config(
        file,
        &[
            ("KAFKA_NUM_PARTITIONS", "3"),
            ("KAFKA_LOG_DIRS", "/environment"),
            ("KAFKA_HEAP_OPTS", "-Xmx1g"),
        ],
        &[("num.partitions", "4"), ("num.partitions", "5")],
    );
    assert_eq!(config.num_partitions, 5);
    assert_eq!(config.resolved.log_dirs, [PathBuf::from("/environment")]);
    assert_eq!(config.fetch_max_bytes, 2048);
    let origin = |name| config.settings.of(name).expect("set").origin.to_string();
    assert_eq!(origin("num.partitions"), "--override");
    assert_eq!(origin("log.dirs"), "environment variable KAFKA_LOG_DIRS");
    assert_eq!(origin("fetch.max.bytes"), "server.properties, line 3");
    assert_eq!(config.settings.iter().count(), 3);
}

#[test]
fn of_several_names_for_one_thing_the_finest_wins() {
    let resolved = |overrides: &[(&str, &str)]| config("", &[], overrides).resolved;
    let hours = ("log.retention.hours", "1");
    let minutes = ("log.retention.minutes", "2");
    assert_eq!(resolved(&[hours]).log_retention_ms, 3_600_000);
    assert_eq!(resolved(&[hours, minutes]).log_retention_ms, 120_000);
    assert_eq!(
        resolved(&[hours, minutes, ("log.retention.ms", "3")]).log_retention_ms,
        3
    );
    assert_eq!(resolved(&[("log.retention.hours", "-1")]).log_retention_ms, -1);
    assert_eq!(resolved(&[("log.roll.hours", "2")]).log_roll_ms, 7_200_000);
    assert_eq!(
        resolved(&[("log.roll.hours", "2"), ("log.roll.ms", "9")]).log_roll_ms,
        9
    );
    assert_eq!(
        resolved(&[("log.roll.jitter.hours", "1")]).log_roll_jitter_ms,
        3_600_000
    );
    assert_eq!(resolved(&[("log.dir", "a")]).log_dirs, [PathBuf::from("a")]);
    assert_eq!(
        resolved(&[("log.dir", "a"), ("log.dirs", "b, c")]).log_dirs,
        [PathBuf::from("b"), PathBuf::from("c")]
    );
    assert_eq!(resolved(&[("broker.id", "4")]).node_id, 4);
    assert_eq!(resolved(&[("node.id", "5")]).node_id, 5);
    assert_eq!(resolved(&[("node.id", "5"), ("broker.id", "5")]).node_id, 5);
}

#[test]
fn a_bad_value_is_told_with_key_place_and_what_is_allowed() {
    assert_eq!(
        refused("\nnum.partitions=none", &[]),
        "Invalid value none for configuration num.partitions: Not a number of type INT (server.properties, line 2)"
    );
    assert_eq!(
        refused("", &[("log.segment.bytes", "10")]),
        "Invalid value 10 for configuration log.segment.bytes: Value must be at least 1048576 (--override)"
    );
    assert_eq!(
        refused(
            "sasl.oauthbearer.clock.skew.seconds=x\nlistener.name.a.sasl.server.max.receive.size=y",
            &[]
        ),
        "Invalid value y for configuration listener.name.a.sasl.server.max.receive.size: Not a number of type INT \
         (server.properties, line 2)\n\
         Invalid value x for configuration sasl.oauthbearer.clock.skew.seconds: Not a number of type INT \
         (server.properties, line 1)"
    );
    assert_eq!(
        refused("a=\\u00", &[]),
        "server.properties, line 1: \\u must be followed by four hexadecimal digits"
    );
}

#[test]
fn contradictions_are_told_with_what_to_do() {
    for (overrides, expected) in [
        (
            vec![("node.id", "1"), ("broker.id", "2")],
            "node.id is 1: set both to the same number",
        ),
        (vec![("broker.id", "-1")], "Value must be at least 0"),
        (
            vec![("queued.max.request.bytes", "1000")],
            "raise queued.max.request.bytes to at least that",
        ),
        (
            vec![("max.connections.per.ip", "0")],
            "only together with max.connections.per.ip.overrides",
        ),
        (
            vec![("max.connections.per.ip.overrides", "localhost:5")],
            "is not of the form address:limit",
        ),
        (
            vec![("max.connections.per.ip.overrides", "127.0.0.1:-5")],
            "is not of the form address:limit",
        ),
        (
            vec![("group.min.session.timeout.ms", "2000000")],
            "no session timeout could be both",
        ),
        (
            vec![("process.roles", "controller")],
            "set process.roles=broker,controller",
        ),
        (
            vec![("process.roles", "zookeeper")],
            "String must be one of: broker, controller",
        ),
        (
            vec![("log.retention.minutes", "0")],
            "log.retention.minutes: Value must be at least 1, or -1 for ever",
        ),
        (vec![("log.roll.ms", "0")], "log.roll.ms: Value must be at least 1"),
        (vec![("log.flush.interval.ms", "-1")], "Value must be at least 0"),
        (vec![("log.dirs", "")], "List must not be empty"),
        (vec![("log.dirs", "a,,b")], "List must not contain an empty element"),
        (
            vec![("listeners", "PLAINTEXT://:1"), ("advertised.listeners", "X://a:1")],
            "X is no listener",
        ),
    ] {
        let error = refused("", &overrides);
        assert!(error.contains(expected), "{overrides:?}: {error}");
    }
}

#[test]
fn limits_of_single_addresses_are_read() {
    let config = config(
        "",
        &[],
        &[("max.connections.per.ip.overrides", "127.0.0.1:5, ::1:6,[::2]:7")],
    );
    let limits: Vec<_> = config
        .resolved
        .max_connections_per_ip_overrides
        .iter()
        .map(|(ip, limit)| (ip.to_string(), *limit))
        .collect();
    let expected = [("127.0.0.1", 5), ("::1", 6), ("::2", 7)].map(|(ip, limit)| (ip.to_owned(), limit));
    assert_eq!(limits, expected);
}

#[test]
fn a_missing_file_is_named() {
    let error = Sources::with_file(Some(Path::new("/no/such/server.properties"))).expect_err("no such file");
    assert!(
        error
            .to_string()
            .starts_with("cannot read the configuration /no/such/server.properties: "),
        "{error}"
    );
}
