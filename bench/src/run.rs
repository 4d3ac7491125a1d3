//! The runner: interleaves the broker and the floors round by round and prints CPU per GB, per request and their ratios.
//!
//! A fresh broker and topic for each round; the ratio is that of the medians, with the range beside it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::produce::Load;
use crate::target::Target;
use crate::{Failure, cpu, fetch, floor, frames, produce, wire};

/// What to run.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) broker: PathBuf,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) data: PathBuf,
    pub(crate) scenarios: Vec<String>,
}

impl Options {
    /// Reads flags.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, Failure> {
        let mut options = Self {
            broker: PathBuf::new(),
            rounds: 5,
            seconds: 3.0,
            data: std::env::temp_dir().join("monedula-bench"),
            scenarios: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match *word {
                "--broker" => options.broker = PathBuf::from(value()?),
                "--rounds" => options.rounds = value()?.parse()?,
                "--seconds" => options.seconds = value()?.parse()?,
                "--data" => options.data = PathBuf::from(value()?),
                scenario if !scenario.starts_with('-') => options.scenarios.push(scenario.to_owned()),
                flag => return Err(format!("unknown flag {flag}").into()),
            }
        }
        if !options.broker.is_file() {
            return Err("--broker must name the monedula binary".into());
        }
        std::fs::create_dir_all(&options.data)?;
        Ok(options)
    }
}

/// A produce scenario: records per batch and bytes per value.
struct Scenario {
    name: &'static str,
    records: usize,
    value_bytes: usize,
}

const PRODUCE: &[Scenario] = &[
    Scenario {
        name: "P1",
        records: 1,
        value_bytes: 1_000,
    },
    Scenario {
        name: "P16",
        records: 16,
        value_bytes: 1_000,
    },
    Scenario {
        name: "P64",
        records: 64,
        value_bytes: 1_000,
    },
    Scenario {
        name: "P1M",
        records: 1_000,
        value_bytes: 1_000,
    },
    Scenario {
        name: "P100B",
        records: 150,
        value_bytes: 100,
    },
];

const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 5;
/// Data behind the fetch scenario.
const FETCH_DATA_BYTES: usize = 256 << 20;

/// Runs all chosen scenarios.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let chosen = |name: &str| options.scenarios.is_empty() || options.scenarios.iter().any(|scenario| scenario == name);
    for scenario in PRODUCE.iter().filter(|scenario| chosen(scenario.name)) {
        run_produce(options, scenario)?;
    }
    if chosen("F1M") {
        run_fetch(options)?;
    }
    Ok(())
}

fn run_produce(options: &Options, scenario: &Scenario) -> Result<(), Failure> {
    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let batch = frames::batch(scenario.records, scenario.value_bytes, now_ms);
    let (mut broker, mut relay) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let directory = options.data.join(format!("broker-{}-{round}", std::process::id()));
        let (target, _) = Target::broker(&options.broker, &directory, false)?;
        create_topic(&target)?;
        broker.push(produce_round(options, &target, &batch, true)?);
        drop(target);
        let target = Target::floor("relay", &options.data.join("relay"))?;
        relay.push(produce_round(options, &target, &batch, false)?);
        drop(target);
    }
    let per_request = |figures: &[f64]| median(&mut figures.to_vec()) * batch.len() as f64 / 1e9 * 1e6;
    print_row(scenario.name, "s/GB", &broker, &relay);
    wire::say(&format!(
        "{:6} {:>34.2} µs/request, relay {:.2}; {:.3} s per million records",
        "",
        per_request(&broker),
        per_request(&relay),
        per_request(&broker) / scenario.records as f64,
    ));
    Ok(())
}

fn create_topic(target: &Target) -> Result<(), Failure> {
    wire::call(
        &mut wire::connect(&target.address)?,
        &frames::create_topic("bench", i32::try_from(CONNECTIONS)?)?,
    )?;
    Ok(())
}

/// CPU seconds per GB of batches.
fn produce_round(options: &Options, target: &Target, batch: &Bytes, checked: bool) -> Result<f64, Failure> {
    let frames: Vec<_> = (0..CONNECTIONS)
        .map(|partition| frames::produce("bench", i32::try_from(partition)?, batch.clone()))
        .collect::<Result<_, Failure>>()?;
    let load = |seconds: f64| Load {
        connections: CONNECTIONS,
        in_flight: IN_FLIGHT,
        duration: Duration::from_secs_f64(seconds),
    };
    produce::run(&target.address, &frames, load(options.seconds / 4.0), checked)?;
    let before = cpu::seconds(target.pid())?;
    let sent = produce::run(&target.address, &frames, load(options.seconds), checked)?;
    let used = cpu::seconds(target.pid())? - before;
    if sent.errors > 0 {
        return Err(format!(
            "{}: {} of {} answers were errors",
            target.name, sent.errors, sent.requests
        )
        .into());
    }
    Ok(used / (sent.requests as f64 * batch.len() as f64 / 1e9))
}

fn run_fetch(options: &Options) -> Result<(), Failure> {
    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let batch = frames::batch(16, 1_000, now_ms);
    let directory = options.data.join(format!("broker-{}-fetch", std::process::id()));
    let (broker_target, _) = Target::broker(&options.broker, &directory, false)?;
    create_topic(&broker_target)?;
    let batches = FETCH_DATA_BYTES / batch.len();
    let mut stream = wire::connect(&broker_target.address)?;
    let request = frames::produce("bench", 0, batch.clone())?;
    for _ in 0..batches {
        wire::call(&mut stream, &request)?;
    }
    let max_bytes = i32::try_from(floor::SENDFILE_BYTES)?;
    let per_fetch = floor::SENDFILE_BYTES / batch.len() * 16;
    let requests: Vec<_> = (0..batches * 16 / per_fetch - 1)
        .map(|turn| frames::fetch("bench", 0, i64::try_from(turn * per_fetch)?, max_bytes))
        .collect::<Result<_, Failure>>()?;
    let floor_target = Target::floor("sendfile", &options.data.join("sendfile"))?;
    let (mut broker, mut floor_figures) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        for (target, figures) in [(&broker_target, &mut broker), (&floor_target, &mut floor_figures)] {
            let expected = floor::SENDFILE_BYTES - batch.len();
            let duration = Duration::from_secs_f64(options.seconds);
            let before = cpu::seconds(target.pid())?;
            let bytes = fetch::run(&target.address, &requests, 2, duration, expected)?;
            figures.push((cpu::seconds(target.pid())? - before) / (bytes as f64 / 1e9));
        }
    }
    print_row("F1M", "s/GB", &broker, &floor_figures);
    Ok(())
}

fn print_row(name: &str, unit: &str, broker: &[f64], floor: &[f64]) {
    let (ours, bare) = (median(&mut broker.to_vec()), median(&mut floor.to_vec()));
    let range = |figures: &[f64]| {
        let low = figures.iter().copied().fold(f64::INFINITY, f64::min);
        let high = figures.iter().copied().fold(0.0, f64::max);
        format!("{low:.3}-{high:.3}")
    };
    wire::say(&format!(
        "{name:6} broker {ours:.3} {unit} ({})  floor {bare:.3} ({})  ratio {:.2}",
        range(broker),
        range(floor),
        ours / bare
    ));
}

/// The middle value.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
