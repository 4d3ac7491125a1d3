//! Plays a case against a broker of its own.
//!
//! Commands are the tools (`exec` in front of one makes it a process of its own) and a few words of ours:
//! - `file NAME` writes the step's input to a file, `sh TEXT` runs a shell in the case's directory;
//! - `stop NAME` and `kill NAME` end what runs in the background and print what it printed; `broker stop|start` does it to the broker;
//! - `hang TOPIC PARTITION` leaves records of a transaction in a partition that no coordinator knows, two hours old;
//! - `http METHOD ADDRESS/PATH` asks a server.
//!
//! `$ADDRESS`, `$DATA`, `$DIR`, `$JARS`, `$PORT` and what patterns kept stand in commands, inputs and expectations; a status that is not 0 is a
//! last line `[exit N]`. **Invariant:** the directory and everything started go when the case is over.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Call;
use super::case::{Case, Manner, Step, words};
use super::http;
use super::install::Jars;
use super::machine::{Machine, Running};
use super::pattern::{matches, told};
use super::process::{Ended, Process};
use crate::batch::Batch;
use crate::broker::{Broker, QUICK, Special, free_port};
use crate::client::crate_dir;
use crate::requests::{init_producer, produce_request};
use crate::transactions::{PRODUCE_ADDED, transactional_id};

/// How long one command may take, and how long one is run again until it prints what it shall.
const PATIENCE: Duration = Duration::from_secs(180);
/// The same for who records what is printed and expects nothing yet.
const RECORDING: Duration = Duration::from_secs(6);
/// The variables that every case has.
const FIXED: [&str; 5] = ["ADDRESS", "DATA", "DIR", "JARS", "PORT"];
const PAUSE: Duration = Duration::from_millis(300);

/// What runs in the background.
#[derive(Debug)]
enum Background {
    Warm(Running),
    Own(Process),
}

/// A case that is being played.
#[derive(Debug)]
pub struct Player<'a> {
    case: &'a Case,
    machine: &'a Machine,
    broker: Broker,
    by_kafka: bool,
    directory: TempDir,
    running: BTreeMap<String, Background>,
    variables: BTreeMap<String, String>,
    started: usize,
}

/// Plays a case; every step that went otherwise than expected, and the whole as it went.
pub fn play(case: &Case, machine: &Machine, by_kafka: bool) -> (Vec<String>, String) {
    let mut player = Player::new(case, machine, by_kafka);
    let mut faults = Vec::new();
    let mut transcript = String::new();
    for step in &case.steps {
        let printed = player.step(step).unwrap_or_else(|(fault, printed)| {
            faults.push(format!("line {}: {}\n{fault}", step.line, step.command));
            printed
        });
        transcript.push_str(&player.shown(step, &printed));
    }
    faults.extend(player.complaints());
    (faults, transcript)
}

impl<'a> Player<'a> {
    fn new(case: &'a Case, machine: &'a Machine, by_kafka: bool) -> Self {
        let kafka = Special {
            program: env::var("TOOLS_PROXY")
                .map_or_else(|_| crate_dir().join("kafka_tools/apache_kafka.sh"), PathBuf::from),
            variable: ("KAFKA_JARS".to_owned(), Jars::Tools.jars().display().to_string()),
        };
        let settings = QUICK.iter().copied().chain(case.settings.iter().map(String::as_str));
        let settings: Vec<&str> = settings.collect();
        let broker = Broker::start_special(&settings, by_kafka.then_some(kafka));
        let directory = tempfile::Builder::new()
            .prefix("monedula-tools-")
            .tempdir()
            .expect("a temporary directory");
        let values = [
            broker.address().to_string(),
            broker.data_dir().display().to_string(),
            directory.path().display().to_string(),
            Jars::Frameworks.jars().display().to_string(),
            free_port().to_string(),
        ];
        Self {
            case,
            machine,
            broker,
            by_kafka,
            directory,
            running: BTreeMap::new(),
            variables: FIXED.map(str::to_owned).into_iter().zip(values).collect(),
            started: 0,
        }
    }

    /// A step as it went, as a case tells it.
    fn shown(&self, step: &Step, printed: &[String]) -> String {
        let sign = match &step.manner {
            Manner::Once => "$ ".to_owned(),
            Manner::Until => "~ ".to_owned(),
            Manner::Background(name) => format!("& {name}: "),
        };
        let mut text = format!("{sign}{}\n", step.command);
        for line in &step.input {
            text.push_str(&format!("< {line}\n"));
        }
        for line in told(printed) {
            let name = |line: String, (name, value): (&String, &String)| match FIXED.contains(&name.as_str()) {
                true => line.replace(value, &format!("${name}")),
                false => line,
            };
            text.push_str(&self.variables.iter().fold(line, name));
            text.push('\n');
        }
        text + "\n"
    }

    /// What the broker said that it must not say, and its end.
    fn complaints(&mut self) -> Vec<String> {
        let output = self.broker.output();
        let bad = |line: &&str| line.contains(" ERROR ") || line.contains("panicked at");
        let mut complaints: Vec<String> = match self.by_kafka {
            true => Vec::new(),
            false => output.lines().filter(bad).map(str::to_owned).collect(),
        };
        if !self.broker.is_alive() {
            complaints.push("the broker is not running any more".to_owned());
        }
        complaints
    }

    /// Runs a step; what is wrong, with what was printed.
    fn step(&mut self, step: &Step) -> Result<Vec<String>, (String, Vec<String>)> {
        let failed = |why: String| (why, Vec::new());
        let input = step
            .input
            .iter()
            .map(|line| self.insert(line) + "\n")
            .collect::<String>();
        let command = self.insert(&step.command);
        let (words, filter) = words(&command).map_err(failed)?;
        if let Manner::Background(name) = &step.manner {
            let started = self.start(&words, &input).map_err(failed)?;
            self.running.insert(name.clone(), started);
            return Ok(Vec::new());
        }
        let expected: Vec<String> = step
            .expected(self.by_kafka)
            .iter()
            .map(|line| self.insert(line))
            .collect();
        let recording = env::var("MONEDULA_COMPAT_RECORD").is_ok();
        let deadline = Instant::now() + if recording { RECORDING } else { PATIENCE };
        loop {
            let printed = self.command(&words, &input, filter.as_deref()).map_err(failed)?;
            if let Some(kept) = matches(&expected, &printed) {
                self.variables.extend(kept);
                return Ok(printed);
            }
            if step.manner == Manner::Once || Instant::now() >= deadline {
                let shown = told(&printed).join("\n  ");
                let why = format!("expected:\n  {}\nprinted:\n  {shown}", expected.join("\n  "));
                return Err((why, printed));
            }
            thread::sleep(PAUSE);
        }
    }

    /// The text with the variables' values.
    fn insert(&self, text: &str) -> String {
        // Longer names first: one may begin with another.
        let mut names: Vec<_> = self.variables.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let replace = |text: String, (name, value): (&String, &String)| text.replace(&format!("${name}"), value);
        names.into_iter().fold(text.to_owned(), replace)
    }

    fn command(&mut self, words: &[String], input: &str, filter: Option<&str>) -> Result<Vec<String>, String> {
        let mut ended = self.run(words, input)?;
        if let Some(filter) = filter {
            let mut shell = self.shell(filter);
            let file = self.directory.path().join("filtered");
            fs::write(&file, &ended.output).map_err(|error| error.to_string())?;
            shell.stdin(fs::File::open(&file).map_err(|error| error.to_string())?);
            ended.output = output_of(&mut shell)?.output;
        }
        let mut lines: Vec<String> = ended.output.lines().map(str::to_owned).collect();
        lines.retain(|line| !line.trim().is_empty());
        if ended.status != 0 {
            lines.push(format!("[exit {}]", ended.status));
        }
        Ok(lines)
    }

    fn run(&mut self, words: &[String], input: &str) -> Result<Ended, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = |output: String| Ended { status: 0, output };
        match words[..] {
            ["file", name] => {
                let path = self.directory.path().join(name);
                fs::write(&path, input).map_err(|error| format!("{}: {error}", path.display()))?;
                Ok(text(String::new()))
            }
            ["sh", script] => output_of(&mut self.shell(script)),
            ["broker", "stop"] => {
                let status = self.broker.stop();
                // A JVM tells the signal in its status, also when all went well.
                let well = status.success() || self.by_kafka && status.code() == Some(143);
                Ok(text(if well { String::new() } else { status.to_string() }))
            }
            ["broker", "start"] => {
                self.broker.restart();
                Ok(text(String::new()))
            }
            ["stop", name] => self.end(name, false),
            ["kill", name] => self.end(name, true),
            ["hang", topic, partition] => {
                self.hang(
                    topic,
                    partition.parse().map_err(|error| format!("{partition}: {error}"))?,
                );
                Ok(text(String::new()))
            }
            ["http", method, url] => {
                // A server that does not listen yet is an answer too: a step may wait for it.
                let (status, output) = http::request(method, url, input).unwrap_or_else(|why| (1, why));
                // As a status of success counts what HTTP calls one.
                let status = if (200..300).contains(&status) { 0 } else { status };
                Ok(Ended { status, output })
            }
            _ => {
                let owned: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
                match self.start(&owned, input)? {
                    Background::Warm(running) => running.wait(PATIENCE),
                    Background::Own(mut process) => process.wait(PATIENCE),
                }
            }
        }
    }

    fn start(&mut self, words: &[String], input: &str) -> Result<Background, String> {
        let (own, words) = match words.split_first() {
            Some((first, rest)) if first == "exec" => (true, rest),
            _ => (false, words),
        };
        let (tool, arguments) = words.split_first().ok_or("an empty command")?;
        let call = Call::new(tool, arguments, &self.broker.address().to_string());
        let call = call.ok_or_else(|| format!("there is no tool {tool}"))?;
        self.started += 1;
        let output: PathBuf = self.directory.path().join(format!("{}-{tool}.out", self.started));
        Ok(match own {
            true => Background::Own(Process::start(&call, input, output)),
            false => Background::Warm(self.machine.run(&call, input)),
        })
    }

    fn end(&mut self, name: &str, at_once: bool) -> Result<Ended, String> {
        let ended = match self
            .running
            .remove(name)
            .ok_or_else(|| format!("{name} does not run"))?
        {
            Background::Warm(running) => {
                self.machine.stop(&running);
                running.wait(PATIENCE)?
            }
            Background::Own(mut process) => {
                if at_once {
                    process.kill();
                } else {
                    process.stop();
                }
                process.wait(PATIENCE)?
            }
        };
        // It was made to end: how it says so tells nothing.
        Ok(Ended { status: 0, ..ended })
    }

    fn hang(&self, topic: &str, partition: i32) {
        const TWO_HOURS_MS: i64 = 7_200_000;
        let mut connection = self.broker.connect();
        let (id, epoch) = init_producer(&mut connection);
        let batch = Batch::of(&["lost"]).from_producer(id, epoch, 0).in_transaction();
        let earlier = batch.base_timestamp - TWO_HOURS_MS;
        let request = produce_request(topic, partition, batch.at(earlier).encode(), -1);
        let request = request.with_transactional_id(Some(transactional_id("forgotten")));
        // Later versions would tell the coordinator.
        let answer = connection.call(PRODUCE_ADDED, &request);
        let code = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(code, 0, "{answer:?}");
    }

    fn shell(&self, script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).current_dir(self.directory.path());
        shell
    }
}

impl Drop for Player<'_> {
    fn drop(&mut self) {
        for running in self.running.values() {
            if let Background::Warm(running) = running {
                self.machine.stop(running);
            }
        }
        if thread::panicking() {
            drop(writeln!(std::io::stderr(), "while playing {}", self.case.name));
        }
    }
}

fn output_of(command: &mut Command) -> Result<Ended, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(Ended {
        status: i64::from(output.status.code().unwrap_or(-1)),
        output: String::from_utf8_lossy(&text).into_owned(),
    })
}
