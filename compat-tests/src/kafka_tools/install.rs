//! The jars of Apache Kafka's tools, Connect and Streams, and our runner compiled against them.
//!
//! **Invariants:** they lie below `.venvs/`, where the clients lie, and are brought once, under a file lock; everything comes
//! from Maven Central in one version, with what its own metadata asks for. The large ones, which only some cases need, lie
//! apart.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};

use crate::client::crate_dir;
use crate::installer::Installer;

/// The tools of this version are tested.
pub const VERSION: &str = "4.3.1";

/// What a directory of jars is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jars {
    /// The command line tools, and Apache Kafka itself.
    Tools,
    /// Connect with its file connectors, and Streams with its examples.
    Frameworks,
}

impl Jars {
    fn artifacts(self) -> &'static [&'static str] {
        match self {
            Self::Tools => &["kafka-tools", "kafka_2.13"],
            Self::Frameworks => &[
                "connect-runtime",
                "connect-file",
                "connect-json",
                "kafka-streams-examples",
            ],
        }
    }

    fn directory(self) -> PathBuf {
        let name = match self {
            Self::Tools => "kafka-tools",
            Self::Frameworks => "kafka-frameworks",
        };
        crate_dir().join(".venvs").join(format!("{name}-{VERSION}"))
    }

    /// Where the jars lie.
    pub fn jars(self) -> PathBuf {
        self.directory().join("jars")
    }

    /// The class path of the tools and the runner.
    pub fn class_path(self) -> String {
        let directory = self.directory();
        format!("{0}/classes:{0}/jars/*", directory.display())
    }

    /// Brings them, if that was not done before; why it cannot be done.
    pub fn install(self) -> Result<(), String> {
        for &(tool, version) in Installer::Maven.tools() {
            let mut command = Command::new(tool);
            let found = command
                .arg(version)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            found.map_err(|error| format!("Kafka's tools need {tool}, which does not run ({error})"))?;
        }
        let directory = self.directory();
        let at = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        let parent = directory.parent().expect("it lies in .venvs");
        fs::create_dir_all(parent).map_err(|error| at(parent, error))?;
        let lock = PathBuf::from(format!("{}.lock", directory.display()));
        let lock = File::create(&lock).map_err(|error| at(&lock, error))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| format!("lock: {error}"))?;
        let source = crate_dir().join("kafka_tools/Runner.java");
        let artifacts = self
            .artifacts()
            .iter()
            .map(|name| format!("org.apache.kafka:{name}:{VERSION}"));
        let logging = ["log4j-slf4j-impl", "log4j-core"].map(|name| format!("org.apache.logging.log4j:{name}:2.25.4"));
        let packages: Vec<String> = artifacts.chain(logging).collect();
        let text = fs::read_to_string(&source).map_err(|error| at(&source, error))?;
        let wanted = format!("{}\n{text}", packages.join(" "));
        let marker = directory.join("installed.txt");
        if fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        Installer::Maven.install(&directory, &packages, &[source])?;
        fs::write(&marker, wanted).map_err(|error| at(&marker, error))
    }
}
