//! Apache Kafka beside us: its libraries from Maven Central, one KRaft node that is broker and controller, heap 1 GiB,
//! G1, its own defaults otherwise.
//!
//! It is started once per run and warmed up before its first round: a JVM's cost settles only after tens of seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;
use crate::target::{Target, free_port};

const POM: &str = include_str!("../kafka/pom.xml");
const LOGGING: &str = "Configuration:
  Appenders:
    Console: {name: STDOUT, PatternLayout: {pattern: '[%d] %p %m (%c)%n'}}
  Loggers:
    Root: {level: WARN, AppenderRef: [{ref: STDOUT}]}
";

/// The directory of its libraries: the given one, else they are brought by `mvn` into `data`.
pub(crate) fn libraries(given: Option<&Path>, data: &Path) -> Result<PathBuf, Failure> {
    if let Some(given) = given {
        return Ok(given.to_path_buf());
    }
    let libraries = fs::canonicalize(data)?.join("kafka-libs");
    let complete = libraries.join(".complete");
    if complete.is_file() {
        return Ok(libraries);
    }
    fs::create_dir_all(&libraries)?;
    let pom = libraries.join("pom.xml");
    fs::write(&pom, POM)?;
    let status = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", libraries.display()))
        .status()?;
    if !status.success() {
        return Err("mvn could not bring the libraries of Apache Kafka".into());
    }
    fs::write(complete, "")?;
    Ok(libraries)
}

/// Formats `directory` and starts a node there.
pub(crate) fn start(libraries: &Path, directory: &Path) -> Result<Target, Failure> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    let (port, controller_port) = (free_port()?, free_port()?);
    let properties = directory.join("server.properties");
    fs::write(&properties, settings(port, controller_port, &directory.join("logs")))?;
    let logging = directory.join("log4j2.yaml");
    fs::write(&logging, LOGGING)?;
    let java = || {
        let mut command = Command::new("java");
        command
            .args(["-server", "-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"])
            .args([
                "-XX:InitiatingHeapOccupancyPercent=35",
                "-XX:+ExplicitGCInvokesConcurrent",
            ])
            .arg(format!("-Dlog4j2.configurationFile={}", logging.display()))
            .arg(format!("-Dkafka.logs.dir={}", directory.display()))
            .arg("-cp")
            .arg(format!("{}/*", libraries.display()));
        command
    };
    let cluster_id = "bench-bench-bench-bench";
    let formatted = java()
        .args([
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            "-t",
            cluster_id,
            "-c",
        ])
        .arg(&properties)
        .output()?;
    if !formatted.status.success() {
        let text = String::from_utf8_lossy(&formatted.stderr).into_owned();
        return Err(format!("Apache Kafka's storage could not be formatted: {text}").into());
    }
    let log = fs::File::create(directory.join("server.log"))?;
    let mut command = java();
    command
        .arg("kafka.Kafka")
        .arg(&properties)
        .stdout(log)
        .stderr(Stdio::null());
    Target::other("kafka", command, port, directory)
}

fn settings(port: u16, controller_port: u16, logs: &Path) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.segment.delete.delay.ms=0
",
        logs.display()
    )
}
