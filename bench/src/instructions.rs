//! I: user-space instructions per request, counted by callgrind: exact, whatever else runs on the machine.
//!
//! The broker runs under `valgrind` twice, with few and with many requests; the slope between the two leaves out its
//! start and its stop. System calls are not counted: this is about our own code alone. The profile of the longer run stays
//! in the data directory, for `callgrind_annotate`.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;

use crate::load::{Check, ClosedLoop, Gapless, Request, Until};
use crate::run::{Bench, Figures, Options, create_topic, now_ms};
use crate::target::{Target, free_port};
use crate::transactions::Flow;
use crate::transactions::load::{Plan, Producers};
use crate::{Failure, frames};

const FEW: u64 = 500;
const MANY: u64 = 2_500;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Produce {
        records: usize,
        in_flight: usize,
    },
    /// 16 kB batches of one producer, 5 in flight.
    Producer {
        flow: Flow,
        batches: u64,
    },
    Fetch,
    ApiVersions,
}

const KINDS: &[(&str, Kind)] = &[
    (
        "user instructions per 1 kB produce",
        Kind::Produce {
            records: 1,
            in_flight: 1,
        },
    ),
    (
        "user instructions per 1 kB produce, 5 in flight",
        Kind::Produce {
            records: 1,
            in_flight: 5,
        },
    ),
    (
        "user instructions per 16 kB produce",
        Kind::Produce {
            records: 16,
            in_flight: 1,
        },
    ),
    (
        "user instructions per 16 kB batch, plain",
        Kind::Producer {
            flow: Flow::Plain,
            batches: 1,
        },
    ),
    (
        "user instructions per 16 kB batch, idempotent",
        Kind::Producer {
            flow: Flow::Idempotent,
            batches: 1,
        },
    ),
    (
        "user instructions per 16 kB batch, classic of 100",
        Kind::Producer {
            flow: Flow::Classic,
            batches: 100,
        },
    ),
    (
        "user instructions per 16 kB batch, V2 of 100",
        Kind::Producer {
            flow: Flow::V2,
            batches: 100,
        },
    ),
    (
        "user instructions per 16 kB batch, classic of 10",
        Kind::Producer {
            flow: Flow::Classic,
            batches: 10,
        },
    ),
    (
        "user instructions per 16 kB batch, V2 of 10",
        Kind::Producer {
            flow: Flow::V2,
            batches: 10,
        },
    ),
    ("user instructions per 64 KiB fetch", Kind::Fetch),
    ("user instructions per ApiVersions", Kind::ApiVersions),
];

/// Runs it.
pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Err("valgrind is needed for the scenario of instructions".into());
    }
    bench.repeat("I", 1, round)
}

fn round(options: &Options, binary: &Path, _round: usize) -> Result<Figures, Failure> {
    KINDS
        .iter()
        .enumerate()
        .map(|(nth, (name, kind))| {
            let output = options.data.join(format!("callgrind.{nth}.out"));
            let few = count(options, binary, *kind, FEW, &output)?;
            let many = count(options, binary, *kind, MANY, &output)?;
            Ok((*name, (many as f64 - few as f64) / (MANY - FEW) as f64))
        })
        .collect()
}

/// Instructions of a broker that serves so many requests.
fn count(options: &Options, binary: &Path, kind: Kind, requests: u64, output: &Path) -> Result<u64, Failure> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "-q"])
        .arg(format!("--callgrind-out-file={}", output.display()))
        .arg(binary);
    let directory = options.path("instructions");
    let (mut target, _) = Target::start_broker(command, free_port()?, &directory, false)?;
    play(&target, kind, requests)?;
    target.stop()?;
    let text = std::fs::read_to_string(output)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.ok_or("callgrind wrote no totals")?.trim().parse()?)
}

fn play(target: &Target, kind: Kind, requests: u64) -> Result<(), Failure> {
    let topic = "instructions";
    create_topic(&target.address, topic, 1, &[])?;
    let batch = |records| Ok::<Bytes, Failure>(frames::batch(records, 1_000, now_ms()?));
    let run = |frame: Bytes, in_flight, check, requests| {
        let requests_of = vec![vec![Request::from(frame)]];
        ClosedLoop::connect(&target.address, requests_of, in_flight, check)?.run(Until::requests(requests))
    };
    match kind {
        Kind::Produce { records, in_flight } => {
            let frame = frames::produce(topic, 0, batch(records)?)?;
            run(frame, in_flight, Check::Produced(Gapless::new(1, records)), requests)?;
        }
        Kind::Producer { flow, batches } => {
            let plan = Plan {
                flow,
                batches,
                producers: 1,
                in_flight: 5,
                records: 16,
                committed_of: 1,
                is_shared: false,
                tails: false,
            };
            Producers::connect(&target.address, topic, plan, &batch(16)?)?.run(Until::requests(requests))?;
        }
        Kind::Fetch => {
            let check = Check::Produced(Gapless::new(1, 16));
            run(frames::produce(topic, 0, batch(16)?)?, 5, check, 16)?;
            let check = Check::Fetched {
                at_least_bytes: 40_000,
                check_crc: true,
            };
            run(frames::fetch(topic, 0, 0, 64 << 10)?, 1, check, requests)?;
        }
        Kind::ApiVersions => {
            let mut stream = crate::wire::connect(&target.address)?;
            let frame = frames::api_versions()?;
            for _ in 0..requests {
                crate::wire::call(&mut stream, &frame)?;
            }
        }
    }
    Ok(())
}
