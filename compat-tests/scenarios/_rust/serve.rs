//! The loop of a worker: what each command asks of the client library, which `main` hands to it.
//!
//! **Invariant:** no library of clients is known here, and what a library cannot do is told, with its reason.

#![allow(dead_code, reason = "not every library has a use for every option")]

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::time::Duration;

use crate::command::{Command, Record, decoded, encoded};

pub const MAX_RECORDS: usize = 10;
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(3);
pub const HEARTBEAT: Duration = Duration::from_millis(300);

pub type Answer<T> = Result<T, Failure>;

/// Why a command was not carried out.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The library has no way to do that.
    Unsupported(&'static str),
    Refused {
        kind: &'static str,
        name: String,
        message: String,
    },
}

impl Failure {
    pub fn other(message: impl Into<String>) -> Self {
        let (name, message) = ("Worker".to_owned(), message.into());
        Self::Refused {
            kind: "other",
            name,
            message,
        }
    }
}

pub struct ProducerOptions {
    /// Of a transactional one.
    pub id: Option<String>,
    pub transaction_timeout: Duration,
    pub idempotent: bool,
    /// `None`: the library's default.
    pub acks: Option<String>,
    pub codec: String,
    pub patience: Duration,
}

pub struct ConsumerOptions {
    pub topic: String,
    pub partitions: i32,
    pub latest: bool,
    pub committed: bool,
}

pub struct MemberOptions {
    pub group: String,
    pub topic: String,
    pub instance: Option<String>,
    pub session: Duration,
}

pub struct TransformOptions {
    pub source: String,
    pub target: String,
    pub group: String,
    pub id: String,
    pub stall: Stall,
}

/// What a client has to offer.
pub trait Library {
    fn producer(&self, options: ProducerOptions) -> Answer<Box<dyn Producer>>;
    fn consumer(&self, options: ConsumerOptions) -> Answer<Box<dyn Reader>>;
    fn member(&self, options: MemberOptions) -> Answer<Box<dyn Reader>>;
    fn cluster(&self) -> Answer<Box<dyn Cluster>>;
    fn transform(&self, options: TransformOptions) -> Answer<()>;
}

/// Queues records; the partition `None` is the library's to choose.
pub trait Producer {
    fn send(&mut self, topic: &str, partition: Option<i32>, records: Vec<Record>) -> Answer<()>;
    fn flush(&mut self) -> Answer<()>;
    fn begin(&mut self) -> Answer<()>;
    fn commit(&mut self) -> Answer<()>;
    fn abort(&mut self) -> Answer<()>;
}

/// A consumer of whole partitions, or a member of a group; dropping it closes it.
pub trait Reader {
    fn take(&mut self, count: usize, patience: Duration) -> Answer<Vec<Record>>;
    fn assignment(&mut self) -> Answer<Vec<i32>>;
    fn position(&mut self, partition: i32) -> Answer<i64>;
    fn seek(&mut self, partition: i32, wanted: &str) -> Answer<()>;
    fn commit_offsets(&mut self) -> Answer<()>;
    fn committed(&mut self, partition: i32) -> Answer<Option<i64>>;
}

/// Is asked and changed.
pub trait Cluster {
    fn make_topic(&mut self, topic: &str, partitions: i32, configs: Vec<(String, String)>) -> Answer<()>;
    fn delete_topic(&mut self, topic: &str) -> Answer<()>;
    fn topics(&mut self) -> Answer<Vec<String>>;
    fn partitions(&mut self, topic: &str) -> Answer<usize>;
    fn grow(&mut self, topic: &str, partitions: usize) -> Answer<()>;
    fn config(&mut self, topic: &str, key: &str) -> Answer<String>;
    fn alter(&mut self, topic: &str, key: &str, value: &str) -> Answer<()>;
    fn offset(&mut self, topic: &str, partition: i32, wanted: &str) -> Answer<Option<i64>>;
    fn delete_records(&mut self, topic: &str, partition: i32, offset: i64) -> Answer<i64>;
    fn groups(&mut self) -> Answer<Vec<String>>;
    /// Its state and how many members it has.
    fn group(&mut self, group: &str) -> Answer<(String, usize)>;
    fn delete_group(&mut self, group: &str) -> Answer<()>;
}

/// Holds a transaction once.
pub struct Stall(Option<Vec<u8>>);

impl Stall {
    pub fn asked_to_abort<'a>(&mut self, mut values: impl Iterator<Item = &'a [u8]>) -> bool {
        if !values.any(|value| Some(value) == self.0.as_deref()) {
            return false;
        }
        self.0 = None;
        say("stalled");
        next_line().is_some_and(|line| line.trim() == "abort")
    }
}

pub fn say(line: &str) {
    let mut out = io::stdout().lock();
    // Nobody is left to be told when nobody reads any more.
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

fn next_line() -> Option<String> {
    let mut line = String::new();
    let length = io::stdin().lock().read_line(&mut line).ok()?;
    (length > 0).then_some(line)
}

pub fn serve(library: &dyn Library) {
    let mut worker = Worker {
        library,
        producers: HashMap::new(),
        readers: HashMap::new(),
        cluster: None,
    };
    while let Some(line) = next_line() {
        let answer = match worker.obey(Command::parse(&line)) {
            Ok(words) => format!("ok {}", words.join(" ")),
            Err(Failure::Unsupported(reason)) => format!("unsupported {reason}"),
            Err(Failure::Refused { kind, name, message }) => {
                format!(
                    "error {kind} {name} {}",
                    message.split_whitespace().collect::<Vec<_>>().join(" ")
                )
            }
        };
        say(answer.trim_end());
    }
}

struct Worker<'a> {
    library: &'a dyn Library,
    producers: HashMap<String, Box<dyn Producer>>,
    readers: HashMap<String, Box<dyn Reader>>,
    cluster: Option<Box<dyn Cluster>>,
}

impl Worker<'_> {
    fn obey(&mut self, mut command: Command) -> Answer<Vec<String>> {
        let name = command.words.first().cloned().unwrap_or_default();
        match command.name.as_str() {
            "producer" => {
                let opened = self.library.producer(producer_options(&mut command)?)?;
                self.producers.insert(name, opened);
            }
            "consumer" => {
                let opened = self.library.consumer(consumer_options(&mut command)?)?;
                self.readers.insert(name, opened);
            }
            "member" => {
                let opened = self.library.member(member_options(&mut command)?)?;
                self.readers.insert(name, opened);
            }
            "transform" => self.library.transform(transform_options(&command)?)?,
            "close" => {
                self.producers.remove(&name);
                self.readers.remove(&name);
            }
            _ => {
                if let Some(producer) = self.producers.get_mut(&name) {
                    return produce(producer.as_mut(), command).map(|()| Vec::new());
                }
                if let Some(reader) = self.readers.get_mut(&name) {
                    return consume(reader.as_mut(), &command);
                }
                if self.cluster.is_none() {
                    self.cluster = Some(self.library.cluster()?);
                }
                let cluster = self.cluster.as_mut().expect("it was opened");
                return ask(cluster.as_mut(), &name, command);
            }
        }
        Ok(Vec::new())
    }
}

fn producer_options(command: &mut Command) -> Answer<ProducerOptions> {
    let options = ProducerOptions {
        id: command.option("id"),
        transaction_timeout: command.milliseconds("transaction_timeout_ms", 60_000)?,
        idempotent: command.option("idempotence").is_some_and(|word| word == "on"),
        acks: command.option("acks"),
        codec: command.option("codec").unwrap_or_else(|| "none".to_owned()),
        patience: command.milliseconds("patience_ms", 30_000)?,
    };
    command.refuse_rest().map(|()| options)
}

fn consumer_options(command: &mut Command) -> Answer<ConsumerOptions> {
    let options = ConsumerOptions {
        topic: command.word(1)?.to_owned(),
        partitions: command.number(2)?,
        latest: command.option("from").is_some_and(|word| word == "latest"),
        committed: command.option("isolation").is_some_and(|word| word == "committed"),
    };
    command.refuse_rest().map(|()| options)
}

fn member_options(command: &mut Command) -> Answer<MemberOptions> {
    let options = MemberOptions {
        group: command.word(1)?.to_owned(),
        topic: command.word(2)?.to_owned(),
        instance: command.option("instance"),
        session: command.milliseconds("session_timeout_ms", 6000)?,
    };
    command.refuse_rest().map(|()| options)
}

fn transform_options(command: &Command) -> Answer<TransformOptions> {
    let word = |index| command.word(index).map(str::to_owned);
    let stall = Stall(decoded(command.word(4)?));
    Ok(TransformOptions {
        source: word(0)?,
        target: word(1)?,
        group: word(2)?,
        id: word(3)?,
        stall,
    })
}

fn produce(producer: &mut dyn Producer, mut command: Command) -> Answer<()> {
    match command.name.as_str() {
        "send" => {
            let partition = match command.word(2)? {
                "-" => None,
                _ => Some(command.number(2)?),
            };
            let timestamp_ms = command
                .option("timestamp")
                .map(|word| crate::command::number(&word))
                .transpose()?;
            let key = command.option("key").and_then(|word| decoded(&word));
            command.refuse_rest()?;
            let values = command.words.iter().skip(3).map(|word| decoded(word));
            let headers = &command.headers;
            let made = values.map(|value| Record {
                timestamp_ms,
                value,
                key: key.clone(),
                headers: headers.clone(),
                ..Record::default()
            });
            producer.send(command.word(1)?, partition, made.collect())
        }
        "flush" => producer.flush(),
        "begin" => producer.begin(),
        "commit" => producer.commit(),
        "abort" => producer.abort(),
        other => Err(Failure::other(format!("no command: {other}"))),
    }
}

fn consume(reader: &mut dyn Reader, command: &Command) -> Answer<Vec<String>> {
    match command.name.as_str() {
        "poll" | "records" => {
            let records = reader.take(command.number(1)?, Duration::from_millis(command.number(2)?))?;
            let shown = if command.name == "poll" {
                Record::short
            } else {
                Record::full
            };
            Ok(records.iter().map(shown).collect())
        }
        "assignment" => {
            let mut partitions = reader.assignment()?;
            partitions.sort_unstable();
            Ok(partitions.iter().map(i32::to_string).collect())
        }
        "position" => Ok(vec![reader.position(command.number(1)?)?.to_string()]),
        "seek" => reader.seek(command.number(1)?, command.word(2)?).map(|()| Vec::new()),
        "commit_offsets" => reader.commit_offsets().map(|()| Vec::new()),
        "committed" => Ok(vec![number_or_none(reader.committed(command.number(1)?)?)]),
        other => Err(Failure::other(format!("no command: {other}"))),
    }
}

fn ask(cluster: &mut dyn Cluster, name: &str, command: Command) -> Answer<Vec<String>> {
    let done = match command.name.as_str() {
        "topic" => {
            let partitions = command.number(1)?;
            cluster.make_topic(name, partitions, command.options.into_iter().collect())
        }
        "delete_topic" => cluster.delete_topic(name),
        "grow" => cluster.grow(name, command.number(1)?),
        "alter" => cluster.alter(name, command.word(1)?, command.word(2)?),
        "delete_group" => cluster.delete_group(name),
        "topics" => return cluster.topics(),
        "groups" => return cluster.groups(),
        "partitions" => return Ok(vec![cluster.partitions(name)?.to_string()]),
        "config" => return Ok(vec![encoded(Some(cluster.config(name, command.word(1)?)?.as_bytes()))]),
        "offset" => {
            return Ok(vec![number_or_none(cluster.offset(
                name,
                command.number(1)?,
                command.word(2)?,
            )?)]);
        }
        "delete_records" => {
            let first = cluster.delete_records(name, command.number(1)?, command.number(2)?)?;
            return Ok(vec![first.to_string()]);
        }
        "group" => {
            let (state, members) = cluster.group(name)?;
            return Ok(vec![state, members.to_string()]);
        }
        other => Err(Failure::other(format!("no command: {other}"))),
    };
    done.map(|()| Vec::new())
}

fn number_or_none(offset: Option<i64>) -> String {
    offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string())
}
