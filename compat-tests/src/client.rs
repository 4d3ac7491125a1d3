//! The clients of `clients.txt`: how each one is installed and called.
//!
//! **Invariants:** a Python client lives in a virtual environment of its own under `.venvs/`, made once, under a file lock, so
//! that test processes that run at the same time do not collide; nothing outside that directory is changed.
//! A client that cannot be had is a skip that says why; with `CI=true` in the environment it is a failure.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};

const TABLE: &str = include_str!("../clients.txt");

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub name: String,
    pub version: String,
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
        let mut words = line.split_whitespace().map(str::to_owned);
        let (name, version) = (words.next()?, words.next()?);
        let packages: Vec<String> = words.collect();
        let packages = if packages == ["-"] { Vec::new() } else { packages };
        Some(Self {
            name,
            version,
            packages,
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
        if self.packages.is_empty() {
            self.find_tool()
        } else {
            self.make_environment()
        }
    }

    /// The command that runs one of its scenarios.
    pub fn command(&self, scenario: &Path) -> Command {
        let mut command = if self.packages.is_empty() {
            Command::new("bash")
        } else {
            let mut python = Command::new(self.environment().join("bin/python"));
            python.args(["-B", "-W", "ignore"]);
            python
        };
        command.arg(scenario);
        command
    }

    fn find_tool(&self) -> Result<(), Unavailable> {
        let found = Command::new(&self.name)
            .arg("-V")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        found.map(drop).map_err(|error| {
            Unavailable::Missing(format!("{0} does not run ({error}): apt-get install {0}", self.name))
        })
    }

    fn environment(&self) -> PathBuf {
        crate_dir().join(".venvs").join(self.to_string())
    }

    fn make_environment(&self) -> Result<(), Unavailable> {
        let directory = self.environment();
        let missing = |why: String| Unavailable::Missing(format!("{self}: {why}"));
        let parent = directory.parent().expect("it lies in .venvs");
        fs::create_dir_all(parent).map_err(|error| missing(format!("{}: {error}", parent.display())))?;
        let lock = parent.join(format!("{self}.lock"));
        let lock = File::create(&lock).map_err(|error| missing(format!("{}: {error}", lock.display())))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| missing(format!("lock: {error}")))?;
        let marker = directory.join("installed.txt");
        let wanted = self.packages.join(" ");
        if fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory)).map_err(missing)?;
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--only-binary",
            ":all:",
        ];
        run(Command::new(directory.join("bin/python"))
            .args(pip)
            .args(&self.packages))
        .map_err(missing)?;
        let module = if self.name == "kafka-python" {
            "kafka"
        } else {
            "confluent_kafka"
        };
        run(Command::new(directory.join("bin/python")).args(["-c", &format!("import {module}.admin")]))
            .map_err(|why| Unavailable::Unsupported(format!("{self} does not import with this Python: {why}")))?;
        fs::write(&marker, wanted).map_err(|error| missing(format!("{}: {error}", marker.display())))
    }
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

fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{shown}: {}: {}",
        output.status,
        text.lines().last().unwrap_or("no message")
    ))
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
