//! R: how long a broker is away. It is killed with -9 under the load of P16 when its log has 1, 4, ... GB, and started
//! again; and it is started with 0, 100, 1,000 and 10,000 topics after a clean stop. Both from the start of the process
//! to the first acknowledged produce. Afterwards the log has to hold everything that was acknowledged.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::load::{Check, ClosedLoop, Gapless, Request, Until};
use crate::run::{Bench, Figures, Options, create_topic, now_ms};
use crate::target::Target;
use crate::wire::{call, connect};
use crate::{Failure, answers, frames};

const RECORDS: usize = 16;
const LOGS: &[(u64, &str)] = &[
    (1, "kill -9 at 1 GB, s"),
    (4, "kill -9 at 4 GB, s"),
    (16, "kill -9 at 16 GB, s"),
];
const TOPICS: &[(usize, &str)] = &[
    (0, "start with 0 topics, s"),
    (100, "start with 100 topics, s"),
    (1_000, "start with 1000 topics, s"),
    (10_000, "start with 10000 topics, s"),
];
const WAIT: Duration = Duration::from_secs(60);

/// Runs it.
pub(crate) fn run(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    let rounds = bench.options.rounds.min(3);
    bench.repeat(id, rounds, round)
}

fn round(options: &Options, binary: &Path, round: usize) -> Result<Figures, Failure> {
    let mut figures = Figures::new();
    for (gigabytes, name) in LOGS.iter().filter(|(gigabytes, _)| *gigabytes <= options.recovery_gb) {
        let directory = options.path(&format!("R-{gigabytes}-{round}"));
        figures.push((name, killed(binary, &directory, *gigabytes)?));
    }
    for (topics, name) in TOPICS {
        let directory = options.path(&format!("R-topics-{topics}-{round}"));
        figures.push((name, started(binary, &directory, *topics)?));
    }
    Ok(figures)
}

/// Produces one record and waits for it to be acknowledged; returns its offset.
fn first_ack(address: &str, topic: &str) -> Result<i64, Failure> {
    let request = frames::produce(topic, 0, frames::batch(1, 1_000, now_ms()?))?;
    let begun = Instant::now();
    loop {
        let mut offset = None;
        let answer = connect(address).and_then(|mut stream| call(&mut stream, &request));
        let checked = answer.and_then(|answer| {
            answers::produced(&answer, |_, base_offset| {
                offset = Some(base_offset);
                Ok(())
            })
        });
        match (checked, offset) {
            (Ok(()), Some(offset)) => return Ok(offset),
            (Err(error), _) if begun.elapsed() > WAIT => return Err(error),
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn killed(binary: &Path, directory: &Path, gigabytes: u64) -> Result<f64, Failure> {
    const CONNECTIONS: usize = 4;
    let (first, _) = Target::broker(binary, directory, true)?;
    create_topic(&first.address, "R", CONNECTIONS, &[])?;
    let batch = frames::batch(RECORDS, 1_000, now_ms()?);
    let requests = (0..CONNECTIONS)
        .map(|partition| {
            let frame = frames::produce("R", i32::try_from(partition)?, batch.clone())?;
            Ok(vec![Request::from(frame)])
        })
        .collect::<Result<_, Failure>>()?;
    let check = Check::Produced(Gapless::new(CONNECTIONS, RECORDS));
    let mut load = ClosedLoop::connect(&first.address, requests, 5, check)?;
    let done = load.run(Until::requests(gigabytes * 1_000_000_000 / batch.len() as u64))?;
    // dropping ends it with SIGKILL
    drop(first);
    let begun = Instant::now();
    let (second, _) = Target::broker(binary, directory, false)?;
    let offset = first_ack(&second.address, "R")?;
    let seconds = begun.elapsed().as_secs_f64();
    // the connections take turns: a fourth of the records is in each partition, give or take what was in flight
    let acknowledged = i64::try_from(done.requests / CONNECTIONS as u64 * RECORDS as u64)?;
    if offset < acknowledged / 2 {
        return Err(format!("offset {offset} after the kill, about {acknowledged} records were acknowledged").into());
    }
    Ok(seconds)
}

fn started(binary: &Path, directory: &Path, topics: usize) -> Result<f64, Failure> {
    let (mut first, _) = Target::broker(binary, directory, true)?;
    create_topic(&first.address, "R", 1, &[])?;
    let names: Vec<String> = (0..topics).map(|index| format!("idle-{index}")).collect();
    let mut stream = connect(&first.address)?;
    for names in names.chunks(500) {
        frames::check_created(&call(&mut stream, &frames::create_topics(names, 1, &[])?)?)?;
    }
    drop(stream);
    first.stop()?;
    drop(first);
    let begun = Instant::now();
    let (_second, _) = Target::broker(binary, directory, false)?;
    first_ack(&_second.address, "R")?;
    Ok(begun.elapsed().as_secs_f64())
}
