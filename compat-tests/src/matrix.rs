//! Scenarios: which there are, with which clients each runs, and what came of a run.
//!
//! A scenario is one file under `scenarios/<client>`, run as `python FILE HOST:PORT` (or `bash FILE HOST:PORT`). It has passed
//! when it exits with 0 and its last line is `OK`; exit code 77 means skipped, the last line says why. Files that begin with
//! `_` are helpers. Comment lines near its head may say more:
//!
//! - `# broker: own` – it needs a fresh broker with every setting at its default;
//! - `# only: kafka-python >= 2.3` – older versions lack what it uses;
//! - `# except: kafka-python 2.3.3: REASON` – that version fails against Apache Kafka alike.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{io, os::unix::process::CommandExt};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::broker::wait_for_exit;
use crate::client::{Client, version_numbers};

/// How long one scenario may take; its own patience with single steps is 40 s.
const PATIENCE: Duration = Duration::from_secs(150);
const SKIPPED: i32 = 77;

/// One file of `scenarios/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub name: String,
    pub path: PathBuf,
    /// Whether it needs a broker of its own.
    pub own_broker: bool,
    only_from: Option<Vec<u32>>,
    exceptions: Vec<(String, String)>,
}

/// What came of a scenario with a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// A scenario, a client, an outcome, and how long it took.
#[derive(Clone, Debug)]
pub struct Run {
    pub client: Client,
    pub scenario: String,
    pub outcome: Outcome,
    pub duration: Duration,
}

impl Scenario {
    /// All scenarios of a client, whatever its version, by name.
    pub fn all(client: &Client) -> Vec<Self> {
        let directory = client.scenario_dir();
        let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let paths = entries.map(|entry| entry.expect("a readable directory").path());
        let mut scenarios: Vec<Self> = paths.filter_map(|path| Self::from_path(&path)).collect();
        scenarios.sort_by(|left, right| left.name.cmp(&right.name));
        scenarios
    }

    fn from_path(path: &Path) -> Option<Self> {
        let name = path.file_stem()?.to_str()?;
        if name.starts_with('_') || !path.is_file() {
            return None;
        }
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Some(Self::parse(name, path, &text).unwrap_or_else(|why| panic!("{}: {why}", path.display())))
    }

    fn parse(name: &str, path: &Path, text: &str) -> Result<Self, String> {
        let mut scenario = Self {
            name: name.to_owned(),
            path: path.to_owned(),
            own_broker: false,
            only_from: None,
            exceptions: Vec::new(),
        };
        for line in text.lines().take(8) {
            let Some((word, rest)) = line.strip_prefix("# ").and_then(|comment| comment.split_once(": ")) else {
                continue;
            };
            match word {
                "broker" if rest == "own" => scenario.own_broker = true,
                "only" => {
                    let (_, version) = rest.split_once(" >= ").ok_or("only: CLIENT >= VERSION")?;
                    scenario.only_from = Some(version_numbers(version));
                }
                "except" => {
                    let (client, reason) = rest.split_once(": ").ok_or("except: CLIENT VERSION: REASON")?;
                    scenario.exceptions.push((client.replace(' ', "-"), reason.to_owned()));
                }
                _ => {}
            }
        }
        Ok(scenario)
    }

    /// Whether it runs with this version of its client: `Ok`, or why not.
    pub fn applies_to(&self, client: &Client) -> Result<(), String> {
        if self
            .only_from
            .as_ref()
            .is_some_and(|from| client.version_numbers() < *from)
        {
            return Err("that version does not have it".to_owned());
        }
        let named = client.to_string();
        self.exceptions
            .iter()
            .find(|(excepted, _)| *excepted == named)
            .map_or(Ok(()), |(_, why)| Err(why.clone()))
    }

    /// Runs it against the broker at `address`.
    pub fn run(&self, client: &Client, address: &str) -> Run {
        let started = Instant::now();
        let outcome = self
            .execute(client, address)
            .unwrap_or_else(|error| Outcome::Failed(error.to_string()));
        Run {
            client: client.clone(),
            scenario: self.name.clone(),
            outcome,
            duration: started.elapsed(),
        }
    }

    fn execute(&self, client: &Client, address: &str) -> io::Result<Outcome> {
        let directory = tempfile::tempdir()?;
        let printed = directory.path().join("output");
        let output = File::create(&printed)?;
        // A process group of its own, so that nothing a scenario started outlives it.
        let mut command = client.command(&self.path);
        command.arg(address).process_group(0).stdin(Stdio::null());
        let mut child = command.stdout(output.try_clone()?).stderr(output).spawn()?;
        let group = Pid::from_child(&child);
        let status = wait_for_exit(&mut child, PATIENCE);
        let _nobody_left = kill_process_group(group, Signal::KILL);
        if status.is_none() {
            child.wait()?;
        }
        let text = String::from_utf8_lossy(&fs::read(&printed)?).into_owned();
        let last = text.lines().last().unwrap_or_default();
        Ok(match status.map(|status| status.code()) {
            Some(Some(0)) if last == "OK" => Outcome::Passed,
            Some(Some(SKIPPED)) => Outcome::Skipped(last.to_owned()),
            Some(_) => Outcome::Failed(tail(&text)),
            None => Outcome::Failed(format!("still running after {PATIENCE:?}\n{}", tail(&text))),
        })
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(version: &str) -> Client {
        let named = |client: &Client| client.to_string() == format!("kafka-python-{version}");
        Client::all().into_iter().find(named).expect("a client of the table")
    }

    #[test]
    fn directives_are_read() {
        let text = "\"\"\"What it shows.\"\"\"\n# broker: own\n# only: kafka-python >= 2.3\n# except: kafka-python 3.0.12: a bug\n";
        let scenario = Scenario::parse("name", Path::new("name.py"), text).expect("sound directives");
        assert!(scenario.own_broker);
        assert!(scenario.applies_to(&client("2.0.2")).is_err());
        assert_eq!(scenario.applies_to(&client("2.3.3")), Ok(()));
        assert_eq!(scenario.applies_to(&client("3.0.12")), Err("a bug".to_owned()));
    }

    #[test]
    fn every_scenario_can_be_read_and_applies_to_some_client() {
        for client in Client::all() {
            let scenarios = Scenario::all(&client);
            assert!(
                scenarios.iter().any(|scenario| scenario.applies_to(&client).is_ok()),
                "{client}"
            );
        }
    }
}
