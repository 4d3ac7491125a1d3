//! Scenarios: which there are, with which clients each runs, and what came of a run.
//!
//! A scenario is one file under `scenarios/<client>`, run as `python FILE HOST:PORT` (or `bash FILE HOST:PORT`), or one under
//! `scenarios/shared`, run for every client that has a worker as `python FILE HOST:PORT WORKER...` (`scenarios/_serve.py` says
//! what a worker is: a small program in the client's own language). It has passed when it exits with 0 and its last line is
//! `OK`; exit code 77 means skipped, 78 that the client library has no way to play it; the last line says why. Lines
//! `note: ...` go to the report, also of one that passed. Files that begin with `_` are helpers. Comment lines near its head
//! may say more:
//!
//! - `# broker: own` – it needs a fresh broker with every setting at its default; `KEY=VALUE` words may follow. Such a
//!   scenario may print `broker: kill` and `broker: start`, and reads `done` when that has happened;
//! - `# only: kafka-python >= 2.3` – older versions lack what it uses;
//! - `# except: kafka-python 2.3.3: REASON` – that version fails against Apache Kafka alike; without a version: all do.

use std::fs;
use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::broker::{Broker, external_address, wait_for_exit};
use crate::client::{Client, crate_dir, version_numbers};

/// How long one scenario may take; its own patience with single steps is 40 s.
const PATIENCE: Duration = Duration::from_secs(150);
const SKIPPED: i32 = 77;
const ABSENT: i32 = 78;

/// One file of `scenarios/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub name: String,
    pub path: PathBuf,
    /// The settings of the broker of its own, where it needs one.
    pub own_broker: Option<Vec<String>>,
    /// Whether it is played through a client's worker.
    pub shared: bool,
    only_from: Vec<(String, Vec<u32>)>,
    exceptions: Vec<(String, String)>,
}

/// What came of a scenario with a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
    /// The client library has no way to do that, whatever the broker does.
    Absent(String),
}

/// A scenario, a client, an outcome, and how long it took.
#[derive(Clone, Debug)]
pub struct Run {
    pub client: Client,
    pub scenario: String,
    pub shared: bool,
    pub outcome: Outcome,
    /// What it wants the report to say, whatever came of it.
    pub notes: Vec<String>,
    pub duration: Duration,
}

impl Scenario {
    /// All scenarios of a client, whatever its version: programs from documents, then the others, each by name.
    pub fn all(client: &Client) -> Vec<Self> {
        let mut scenarios = Self::in_directory(&client.scenario_dir(), false);
        if client.worker().is_some() {
            let shared = Self::in_directory(&crate_dir().join("scenarios/shared"), true);
            for own in &mut scenarios {
                // no two may have one name
                if shared.iter().any(|other| other.name == own.name) {
                    own.name.insert_str(0, "own_");
                }
            }
            scenarios.extend(shared);
        }
        scenarios.sort_by_key(|scenario| (!scenario.is_program(), scenario.name.clone()));
        scenarios
    }

    /// Whether it runs programs from documents as they stand, which goes before everything else.
    pub fn is_program(&self) -> bool {
        self.name.starts_with("tutorial")
    }

    fn in_directory(directory: &Path, shared: bool) -> Vec<Self> {
        let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let paths = entries.map(|entry| entry.expect("a readable directory").path());
        let scenarios = paths.filter_map(|path| Self::from_path(&path));
        scenarios.map(|scenario| Self { shared, ..scenario }).collect()
    }

    fn from_path(path: &Path) -> Option<Self> {
        let name = path.file_stem()?.to_str()?;
        if name.starts_with('_') || !path.extension().is_some_and(|end| end == "py" || end == "sh") {
            return None;
        }
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Some(Self::parse(name, path, &text).unwrap_or_else(|why| panic!("{}: {why}", path.display())))
    }

    fn parse(name: &str, path: &Path, text: &str) -> Result<Self, String> {
        let mut scenario = Self {
            name: name.to_owned(),
            path: path.to_owned(),
            own_broker: None,
            shared: false,
            only_from: Vec::new(),
            exceptions: Vec::new(),
        };
        for line in text.lines().take(8) {
            let Some((word, rest)) = line.strip_prefix("# ").and_then(|comment| comment.split_once(": ")) else {
                continue;
            };
            match word {
                "broker" => {
                    let settings = rest.strip_prefix("own").ok_or("broker: own [KEY=VALUE ...]")?;
                    scenario.own_broker = Some(settings.split_whitespace().map(str::to_owned).collect());
                }
                "only" => {
                    let (client, version) = rest.split_once(" >= ").ok_or("only: CLIENT >= VERSION")?;
                    scenario.only_from.push((client.to_owned(), version_numbers(version)));
                }
                "except" => {
                    let (client, reason) = rest.split_once(": ").ok_or("except: CLIENT [VERSION]: REASON")?;
                    scenario.exceptions.push((client.replace(' ', "-"), reason.to_owned()));
                }
                _ => {}
            }
        }
        Ok(scenario)
    }

    /// Whether it runs with this version of its client: `Ok`, or why not.
    pub fn applies_to(&self, client: &Client) -> Result<(), String> {
        let mut limits = self.only_from.iter().filter(|(name, _)| *name == client.name);
        if limits.any(|(_, from)| client.version_numbers() < *from) {
            return Err("that version does not have it".to_owned());
        }
        let named = client.to_string();
        self.exceptions
            .iter()
            .find(|(excepted, _)| *excepted == named || *excepted == client.name)
            .map_or(Ok(()), |(_, why)| Err(why.clone()))
    }

    /// Runs it against the broker at `address`; `own` is that broker where the scenario may kill and start it.
    pub fn run(&self, client: &Client, address: &str, own: Option<&mut Broker>) -> Run {
        let started = Instant::now();
        let (outcome, notes) = self
            .execute(client, address, own)
            .unwrap_or_else(|error| (Outcome::Failed(error.to_string()), Vec::new()));
        Run {
            client: client.clone(),
            scenario: self.name.clone(),
            shared: self.shared,
            outcome,
            notes,
            duration: started.elapsed(),
        }
    }

    fn execute(&self, client: &Client, address: &str, own: Option<&mut Broker>) -> io::Result<(Outcome, Vec<String>)> {
        let mut command = if self.shared {
            client.shared_command(&self.path, address)
        } else {
            let mut command = client.command(&self.path);
            command.arg(address);
            command
        };
        let (output, writer) = io::pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        command.stdin(if own.is_some() { Stdio::piped() } else { Stdio::null() });
        // A process group of its own, so that nothing a scenario started outlives it.
        let mut child = command.process_group(0).spawn()?;
        // The command holds the pipe's writing end, without whose last copy gone the output does not end.
        drop(command);
        let input = child.stdin.take();
        let (status, text) = thread::scope(|scope| {
            let listener = scope.spawn(|| listen(output, input, own));
            let group = Pid::from_child(&child);
            let status = wait_for_exit(&mut child, PATIENCE);
            let _nobody_left = kill_process_group(group, Signal::KILL);
            let text = listener
                .join()
                .unwrap_or_else(|_| "the broker did not start again".to_owned());
            (status, text)
        });
        if status.is_none() {
            child.wait()?;
        }
        let last = text.lines().last().unwrap_or_default();
        let notes = text.lines().filter_map(|line| line.strip_prefix("note: "));
        let outcome = match status.map(|status| status.code()) {
            Some(Some(0)) if last == "OK" => Outcome::Passed,
            Some(Some(SKIPPED)) => Outcome::Skipped(last.to_owned()),
            Some(Some(ABSENT)) => Outcome::Absent(last.to_owned()),
            Some(_) => Outcome::Failed(tail(&text)),
            None => Outcome::Failed(format!("still running after {PATIENCE:?}\n{}", tail(&text))),
        };
        Ok((outcome, notes.map(str::to_owned).collect()))
    }
}

/// Gathers what a scenario prints, and does with the broker what it asks for.
fn listen(output: PipeReader, mut input: Option<ChildStdin>, mut own: Option<&mut Broker>) -> String {
    let mut text = String::new();
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if let (Some(order), Some(input), Some(broker)) = (line.strip_prefix("broker: "), &mut input, &mut own) {
            let answer = obey(order, broker);
            // A scenario that has ended meanwhile reads no answer; its exit code tells.
            drop(writeln!(input, "{answer}"));
        } else {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

fn obey(order: &str, broker: &mut Broker) -> &'static str {
    match order {
        _ if external_address().is_some() => "the broker is not ours to kill",
        "kill" => {
            broker.kill();
            "done"
        }
        "start" => {
            broker.restart();
            "done"
        }
        _ => "kill and start are all that can be asked for",
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn client(version: &str) -> Client {
        let named = |client: &Client| client.to_string() == format!("kafka-python-{version}");
        Client::all().into_iter().find(named).expect("a client of the table")
    }

    #[test]
    fn directives_are_read() {
        let text = "\"\"\"What it shows.\"\"\"\n# broker: own flush.ms=1 a=b\n# only: kafka-python >= 2.3\n# only: kcat >= 9\n\
                    # except: kafka-python 3.0.12: a bug\n# except: franz-go: no call for it\n";
        let scenario = Scenario::parse("name", Path::new("name.py"), text).expect("sound directives");
        assert_eq!(
            scenario.own_broker,
            Some(vec!["flush.ms=1".to_owned(), "a=b".to_owned()])
        );
        assert!(scenario.applies_to(&client("2.0.2")).is_err());
        assert_eq!(scenario.applies_to(&client("2.3.3")), Ok(()));
        assert_eq!(scenario.applies_to(&client("3.0.12")), Err("a bug".to_owned()));
        let mut others = Client::all().into_iter();
        let other = others
            .find(|client| client.name == "franz-go")
            .expect("a client of the table");
        assert_eq!(scenario.applies_to(&other), Err("no call for it".to_owned()));
    }

    #[test]
    fn what_a_scenario_asks_is_not_part_of_its_output() {
        let (output, mut writer) = io::pipe().expect("a pipe");
        writer.write_all(b"first\nbroker: kill\nlast").expect("a reader");
        drop(writer);
        // Nobody gave this scenario a broker, so that its words are words.
        assert_eq!(listen(output, None, None), "first\nbroker: kill\nlast\n");
    }

    #[test]
    fn no_two_scenarios_of_a_client_have_one_name() {
        for client in Client::all() {
            let all = Scenario::all(&client);
            let names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
            assert_eq!(names.len(), all.len(), "{client}");
        }
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
