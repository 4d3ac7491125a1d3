//! The runner: what to run, and the interleaving of contestants round by round.
//!
//! Invariants: within a scenario the contestants take turns (A B C, B C A, ...), on the same CPU, disk and file system;
//! a round begins on a fresh topic, with a quiet disk; its data is deleted before the next; a round during which other
//! processes used much CPU is marked. Every figure of a round is kept, ratios are those of medians.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::cpu::{Spent, Usage};
use crate::report::Report;
use crate::target::Target;
use crate::{Failure, cpu, frames, kafka, machine, wire};

/// More CPU than this used by others makes a round noisy, in cores.
const NOISY_CORES: f64 = 0.3;

/// What to run.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) broker: PathBuf,
    /// All brokers, by name: the first is the one that goals are held against.
    pub(crate) brokers: Vec<(String, PathBuf)>,
    pub(crate) kafka: bool,
    pub(crate) kafka_libs: Option<PathBuf>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) data: PathBuf,
    pub(crate) json: Option<PathBuf>,
    pub(crate) markdown: Option<PathBuf>,
    pub(crate) check_crc: bool,
    /// Largest log that R kills a broker on, in GB.
    pub(crate) recovery_gb: u64,
    pub(crate) scenarios: Vec<String>,
}

impl Options {
    /// Reads flags.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, Failure> {
        let mut options = Self {
            broker: PathBuf::new(),
            brokers: Vec::new(),
            kafka: false,
            kafka_libs: None,
            rounds: 5,
            seconds: 3.0,
            data: std::env::temp_dir().join("monedula-bench"),
            json: None,
            markdown: None,
            check_crc: false,
            recovery_gb: 4,
            scenarios: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match *word {
                "--broker" => options.brokers.push(named(value()?)),
                "--kafka" => options.kafka = true,
                "--kafka-libs" => options.kafka_libs = Some(PathBuf::from(value()?)),
                "--rounds" => options.rounds = value()?.parse()?,
                "--seconds" => options.seconds = value()?.parse()?,
                "--data" => options.data = PathBuf::from(value()?),
                "--json" => options.json = Some(PathBuf::from(value()?)),
                "--markdown" => options.markdown = Some(PathBuf::from(value()?)),
                "--check-crc" => options.check_crc = true,
                "--recovery-gb" => options.recovery_gb = value()?.parse()?,
                scenario if !scenario.starts_with('-') => options.scenarios.push(scenario.to_owned()),
                flag => return Err(format!("unknown flag {flag}").into()),
            }
        }
        options.kafka |= options.kafka_libs.is_some();
        // Apache Kafka alone is enough to try a scenario
        let is_alone = options.brokers.is_empty() && options.kafka;
        if !is_alone && (options.brokers.is_empty() || options.brokers.iter().any(|(_, path)| !path.is_file())) {
            return Err("--broker must name the monedula binary".into());
        }
        if let Some((_, path)) = options.brokers.first() {
            options.broker.clone_from(path);
        }
        std::fs::create_dir_all(&options.data)?;
        Ok(options)
    }

    /// A path in the data directory that is this process's own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.data.join(format!("{name}-{}", std::process::id()))
    }
}

/// `name=path` or a path alone.
fn named(word: &str) -> (String, PathBuf) {
    match word.split_once('=') {
        Some((name, path)) => (name.to_owned(), PathBuf::from(path)),
        None => ("monedula".to_owned(), PathBuf::from(word)),
    }
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Broker,
    Floor,
    Kafka,
}

impl Role {
    /// Whether it understands the protocol, so that topics can be made and answers checked.
    pub(crate) fn is_broker(self) -> bool {
        self != Self::Floor
    }
}

/// A floor of a scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    pub(crate) kind: &'static str,
    /// Size of an answer of `sendfile`.
    pub(crate) answer_bytes: usize,
}

/// One contestant's turn.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) target: &'a Target,
    pub(crate) role: Role,
    pub(crate) round: usize,
    pub(crate) options: &'a Options,
}

/// Named figures of a round.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// The state of a run.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) report: Report,
    kafka: Option<Target>,
}

impl Bench {
    pub(crate) fn new(options: Options) -> Result<Self, Failure> {
        machine::raise_open_files()?;
        machine::pin(machine::Place::Generator)?;
        let report = Report::new(machine::describe(&options.data)?, options.json.as_deref())?;
        Ok(Self {
            options,
            report,
            kafka: None,
        })
    }

    /// Starts Apache Kafka if it takes part and is not there yet.
    fn kafka(&mut self) -> Result<Option<&Target>, Failure> {
        if self.options.kafka && self.kafka.is_none() {
            let libraries = kafka::libraries(self.options.kafka_libs.as_deref(), &self.options.data)?;
            let target = kafka::start(&libraries, &self.options.path("kafka"))?;
            wire::say("warming Apache Kafka up");
            crate::scenario::produce::warm_up(&target)?;
            self.kafka = Some(target);
        }
        Ok(self.kafka.as_ref())
    }

    /// Runs the rounds of a scenario: the brokers, Apache Kafka if it takes part, and the floors take turns.
    pub(crate) fn interleave(
        &mut self,
        scenario: &'static str,
        floors: &[Floor],
        mut round: impl FnMut(&Turn<'_>) -> Result<Figures, Failure>,
    ) -> Result<(), Failure> {
        self.kafka()?;
        let mut targets = Vec::new();
        for (name, binary) in &self.options.brokers {
            let directory = self.options.path(&format!("{scenario}-{name}"));
            let (mut target, _) = Target::broker(binary, &directory, false)?;
            target.name.clone_from(name);
            targets.push((Role::Broker, target));
        }
        for floor in floors {
            let file = self.options.path(floor.kind);
            targets.push((Role::Floor, Target::floor(floor.kind, &file, floor.answer_bytes)?));
        }
        for index in 0..self.options.rounds {
            let kafka = self.kafka.as_ref().map(|target| (Role::Kafka, target));
            let contestants = targets.iter().map(|(role, target)| (*role, target)).chain(kafka);
            let mut contestants: Vec<_> = contestants.collect();
            // nobody always comes behind the same one
            let first = index % contestants.len();
            contestants.rotate_left(first);
            for (role, target) in contestants {
                let turn = Turn {
                    target,
                    role,
                    round: index,
                    options: &self.options,
                };
                let quiet = machine::settle(&self.options.data)?;
                let foreign = Foreign::begin(&[target.pid()])?;
                let mut figures = round(&turn).map_err(|error| format!("{scenario}, {}: {error}", target.name))?;
                let foreign_cores = foreign.end()?;
                figures.push(("RSS, MB", cpu::memory_bytes(target.pid(), "VmRSS")? as f64 / 1e6));
                figures.push(("RssAnon, MB", cpu::memory_bytes(target.pid(), "RssAnon")? as f64 / 1e6));
                let noisy = !quiet || foreign_cores > NOISY_CORES;
                self.report
                    .round(scenario, &target.name, index, &figures, (noisy, foreign_cores))?;
            }
        }
        self.report.finish(scenario);
        Ok(())
    }

    /// Runs rounds that start what they measure themselves.
    pub(crate) fn repeat(
        &mut self,
        scenario: &'static str,
        rounds: usize,
        mut round: impl FnMut(&Options, &Path, usize) -> Result<Figures, Failure>,
    ) -> Result<(), Failure> {
        for index in 0..rounds {
            for (name, binary) in &self.options.brokers {
                let quiet = machine::settle(&self.options.data)?;
                let figures = round(&self.options, binary, index)?;
                self.report.round(scenario, name, index, &figures, (!quiet, 0.0))?;
            }
        }
        self.report.finish(scenario);
        Ok(())
    }

    /// Runs rounds that restart what they measure: each on a broker of its own, Apache Kafka as well if it takes part.
    pub(crate) fn repeat_fresh(
        &mut self,
        scenario: &'static str,
        rounds: usize,
        mut round: impl FnMut(&mut Target) -> Result<Figures, Failure>,
    ) -> Result<(), Failure> {
        for index in 0..rounds {
            let brokers = self
                .options
                .brokers
                .iter()
                .map(|(name, path)| (name.as_str(), Some(path)));
            let kafka = self.options.kafka.then_some(("kafka", None));
            for (name, binary) in brokers.chain(kafka) {
                let directory = self.options.path(&format!("{scenario}-{name}-{index}"));
                let quiet = machine::settle(&self.options.data)?;
                let mut target = match binary {
                    Some(binary) => Target::broker(binary, &directory, false)?.0,
                    None => {
                        let libraries = kafka::libraries(self.options.kafka_libs.as_deref(), &self.options.data)?;
                        kafka::start(&libraries, &directory)?
                    }
                };
                let figures = round(&mut target).map_err(|error| format!("{scenario}, {name}: {error}"))?;
                self.report.round(scenario, name, index, &figures, (!quiet, 0.0))?;
            }
        }
        self.report.finish(scenario);
        Ok(())
    }
}

/// CPU that neither this process nor the measured one used.
struct Foreign {
    pids: Vec<u32>,
    own: f64,
    busy: f64,
    begun: Instant,
}

impl Foreign {
    fn begin(measured: &[u32]) -> Result<Self, Failure> {
        let pids: Vec<u32> = measured.iter().copied().chain([std::process::id()]).collect();
        Ok(Self {
            own: Self::own(&pids)?,
            pids,
            busy: machine::busy_seconds()?,
            begun: Instant::now(),
        })
    }

    fn own(pids: &[u32]) -> Result<f64, Failure> {
        pids.iter().map(|pid| cpu::seconds(*pid)).sum()
    }

    /// In cores.
    fn end(self) -> Result<f64, Failure> {
        let foreign = machine::busy_seconds()? - self.busy - (Self::own(&self.pids)? - self.own);
        Ok((foreign / self.begun.elapsed().as_secs_f64()).max(0.0))
    }
}

/// What the measured process and the generator spent on some work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) broker: Spent,
    pub(crate) generator: Spent,
    pub(crate) wall: Duration,
}

/// A measurement that has begun.
pub(crate) struct Stopwatch {
    pid: u32,
    broker: Usage,
    generator: Usage,
    begun: Instant,
}

impl Stopwatch {
    pub(crate) fn start(target: &Target) -> Result<Self, Failure> {
        Ok(Self {
            pid: target.pid(),
            broker: Usage::of(target.pid())?,
            generator: Usage::of(std::process::id())?,
            begun: Instant::now(),
        })
    }

    pub(crate) fn stop(&self) -> Result<Measured, Failure> {
        Ok(Measured {
            broker: Usage::of(self.pid)?.since(&self.broker),
            generator: Usage::of(std::process::id())?.since(&self.generator),
            wall: self.begun.elapsed(),
        })
    }
}

/// Makes a topic and waits until it can be written to.
pub(crate) fn create_topic(
    address: &str,
    topic: &str,
    partitions: usize,
    configs: &[(&'static str, &'static str)],
) -> Result<(), Failure> {
    let request = frames::create_topics(&[topic.to_owned()], i32::try_from(partitions)?, configs)?;
    let mut stream = wire::connect(address)?;
    frames::check_created(&wire::call(&mut stream, &request)?)?;
    await_leaders(address, topic, partitions)
}

/// Waits until every partition of a topic answers a fetch: other brokers tell of a topic before they lead it.
fn await_leaders(address: &str, topic: &str, partitions: usize) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut stream = wire::connect(address)?;
    let partitions = (0..i32::try_from(partitions)?).map(|partition| (partition, 0));
    let request = frames::Fetch {
        topic,
        partitions: partitions.collect(),
        max_bytes: 1,
        max_wait_ms: 0,
        session_id: 0,
        session_epoch: -1,
        read_committed: false,
    };
    let request = request.frame()?;
    loop {
        let answer = wire::call(&mut stream, &request)?;
        match crate::answers::fetched(&answer, |_| Ok(())) {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > Duration::from_secs(60) => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Deletes a topic, and its data with it.
pub(crate) fn delete_topic(address: &str, topic: &str) -> Result<(), Failure> {
    wire::call(&mut wire::connect(address)?, &frames::delete_topic(topic)?)?;
    Ok(())
}

/// The wall clock, for timestamps of records.
pub(crate) fn now_ms() -> Result<i64, Failure> {
    Ok(i64::try_from(
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis(),
    )?)
}

/// The middle value.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
