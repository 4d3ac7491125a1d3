//! The clients of `clients.txt`: where each one is installed and how it is called.
//!
//! **Invariants:** a client lives in a directory of its own under `.venvs/`, made once, under a file lock, so that test
//! processes that run at the same time do not collide; nothing outside that directory is changed but the caches of the
//! languages' own tools. A client that cannot be had is a skip that says why; with `CI=true` in the environment it is a failure.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};

use crate::installer::{Installer, run};

const TABLE: &str = include_str!("../clients.txt");

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub name: String,
    pub version: String,
    /// Whether it runs only when all clients are asked for.
    pub extended: bool,
    installer: Installer,
    packages: Vec<String>,
}

/// Why a client cannot be used here.
#[derive(Clone, Debug)]
pub enum Unavailable {
    /// It does not run with what this machine has, and nobody can change that by installing something.
    Unsupported(String),
    /// Something is not installed, or could not be.
    Missing(String),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(why) | Self::Missing(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.name, self.version)
    }
}

impl Client {
    /// All clients, in the order of the table.
    pub fn all() -> Vec<Self> {
        let lines = TABLE
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        lines
            .map(|line| Self::parse(line).unwrap_or_else(|| panic!("clients.txt: {line}")))
            .collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().map(str::to_owned).peekable();
        Some(Self {
            name: words.next()?,
            version: words.next()?,
            extended: words.next_if(|word| word == "all").is_some(),
            installer: Installer::named(&words.next()?)?,
            packages: words.collect(),
        })
    }

    /// Where its scenarios lie.
    pub fn scenario_dir(&self) -> PathBuf {
        crate_dir().join("scenarios").join(self.name.replace('-', "_"))
    }

    /// Its version as numbers, for comparisons; a version that is none is higher than all.
    pub fn version_numbers(&self) -> Vec<u32> {
        version_numbers(&self.version)
    }

    /// Installs it if that was not done before.
    pub fn prepare(&self) -> Result<(), Unavailable> {
        let own = [(self.name.as_str(), "-V")];
        let tools = if self.installer == Installer::Machine {
            &own
        } else {
            self.installer.tools()
        };
        for &(tool, version) in tools {
            self.find_tool(tool, version)?;
        }
        self.install()
    }

    /// The command that runs one of its own scenarios.
    pub fn command(&self, scenario: &Path) -> Command {
        command(&[self.installer.interpreter(&self.directory()), vec![scenario.into()]].concat())
    }

    /// The command that runs a scenario which every client with a worker plays: the worker's own command comes last.
    pub fn shared_command(&self, scenario: &Path, address: &str) -> Command {
        let worker = self.worker().expect("only clients with a worker play shared scenarios");
        let mut command = Command::new("python3");
        command.args(["-B", "-u"]).arg(scenario).arg(address).args(worker);
        command
    }

    /// The command of its worker, where it has one.
    pub fn worker(&self) -> Option<Vec<OsString>> {
        self.installer.worker(&self.directory(), &self.scenario_dir())
    }

    fn find_tool(&self, tool: &str, version: &str) -> Result<(), Unavailable> {
        let mut command = Command::new(tool);
        let found = command
            .arg(version)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        found
            .map(drop)
            .map_err(|error| Unavailable::Missing(format!("{self} needs {tool}, which does not run ({error})")))
    }

    fn directory(&self) -> PathBuf {
        crate_dir().join(".venvs").join(self.to_string())
    }

    fn install(&self) -> Result<(), Unavailable> {
        if self.installer == Installer::Machine {
            return Ok(());
        }
        let directory = self.directory();
        let missing = |why: String| Unavailable::Missing(format!("{self}: {why}"));
        let at = |path: &Path, error: std::io::Error| missing(format!("{}: {error}", path.display()));
        let parent = directory.parent().expect("it lies in .venvs");
        fs::create_dir_all(parent).map_err(|error| at(parent, error))?;
        let lock = parent.join(format!("{self}.lock"));
        let lock = File::create(&lock).map_err(|error| at(&lock, error))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| missing(format!("lock: {error}")))?;
        let marker = directory.join("installed.txt");
        let mut wanted = self.packages.join(" ");
        let sources = self.installer.sources(&self.scenario_dir());
        for source in &sources {
            wanted.push('\n');
            wanted.push_str(&fs::read_to_string(source).map_err(|error| at(source, error))?);
        }
        if fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        let installed = self.installer.install(&directory, &self.packages, &sources);
        installed.map_err(missing)?;
        self.try_import()?;
        fs::write(&marker, wanted).map_err(|error| at(&marker, error))
    }

    /// A Python package may install where it does not run.
    fn try_import(&self) -> Result<(), Unavailable> {
        let module = match self.name.as_str() {
            "kafka-python" => "kafka.admin",
            "confluent-kafka" => "confluent_kafka.admin",
            "aiokafka" => "aiokafka.admin",
            _ => return Ok(()),
        };
        let mut words = self.installer.interpreter(&self.directory());
        words.extend(["-c".into(), format!("import {module}").into()]);
        run(&mut command(&words))
            .map_err(|why| Unavailable::Unsupported(format!("{self} does not import with this Python: {why}")))
    }
}

fn command(words: &[OsString]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// The numbers of a dotted version.
pub fn version_numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map(|part| part.parse().unwrap_or(u32::MAX))
        .collect()
}

/// The directory of this crate's sources.
pub fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_of_the_table_has_scenarios() {
        let clients = Client::all();
        assert!(clients.len() > 3);
        for client in clients {
            assert!(client.scenario_dir().is_dir(), "{client}");
        }
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(version_numbers("2.16.1") > version_numbers("2.3"));
        assert!(version_numbers("any") > version_numbers("3.0.12"));
    }
}
