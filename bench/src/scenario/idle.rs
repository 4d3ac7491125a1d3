//! C10k: what 10,000 idle connections cost, and what 10,000 partitions cost: memory each, CPU over ten seconds, and a
//! good client beside them. The two are measured one after the other on fresh brokers: together they would need more
//! open files than a process usually may have.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::cpu::Usage;
use crate::paced::{self, Pace, Traffic};
use crate::run::{Bench, Figures, Options, create_topic, now_ms};
use crate::scenario::latency::at;
use crate::target::Target;
use crate::wire::call;
use crate::{Failure, cpu, engine, frames};

const MANY: usize = 10_000;
const IDLE: Duration = Duration::from_secs(10);

/// Runs it.
pub(crate) fn run(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    let rounds = bench.options.rounds.min(2);
    bench.repeat(id, rounds, round)
}

fn round(options: &Options, binary: &Path, round: usize) -> Result<Figures, Failure> {
    let mut figures = connections(options, binary, round)?;
    figures.extend(partitions(options, binary, round)?);
    Ok(figures)
}

fn rss(target: &Target) -> Result<f64, Failure> {
    Ok(cpu::memory_bytes(target.pid(), "VmRSS")? as f64)
}

/// CPU while nothing is asked for, in percent of a core.
fn idle_percent(target: &Target) -> Result<f64, Failure> {
    thread::sleep(Duration::from_secs(1));
    let before = Usage::of(target.pid())?;
    thread::sleep(IDLE);
    let spent = Usage::of(target.pid())?.since(&before);
    Ok(spent.cpu_s / IDLE.as_secs_f64() * 100.0)
}

/// What a client with 1,000 requests per second sees.
pub(crate) fn good_client(target: &Target, topic: &str, seconds: f64) -> Result<(f64, f64), Failure> {
    create_topic(&target.address, topic, 1, &[])?;
    let traffic = Traffic {
        topic: topic.to_owned(),
        batch: frames::batch(1, 1_000, now_ms()?),
        records: 1,
        is_broker: true,
    };
    let pace = Pace {
        requests_per_s: 1_000.0,
        connections: 1,
        warm_up: Duration::from_millis(200),
        duration: Duration::from_secs_f64(seconds),
        tails: false,
    };
    let latencies = paced::run(&target.address, &traffic, pace, || Ok(()))?;
    let unanswered = latencies.requests - latencies.acked.len();
    Ok((at(&latencies.acked, 99.0), unanswered as f64))
}

fn connections(options: &Options, binary: &Path, round: usize) -> Result<Figures, Failure> {
    let directory = options.path(&format!("C10k-connections-{round}"));
    let (target, _) = Target::broker(binary, &directory, false)?;
    thread::sleep(Duration::from_millis(500));
    let fresh = rss(&target)?;
    let request = frames::api_versions()?;
    let mut open = Vec::with_capacity(MANY);
    for index in 0..MANY {
        let mut stream = engine::connect_from(&target.address, index)?;
        call(&mut stream, &request)?;
        open.push(stream);
    }
    let held = rss(&target)?;
    let idle = idle_percent(&target)?;
    let (p99, unanswered) = good_client(&target, "beside-connections", options.seconds)?;
    Ok(vec![
        ("fresh RSS, MB", fresh / 1e6),
        ("RSS with 10,000 connections, MB", held / 1e6),
        ("KiB per connection", (held - fresh) / 1024.0 / MANY as f64),
        ("idle CPU with 10,000 connections, % of a core", idle),
        ("good client beside connections p99, µs", p99),
        ("good client's requests without an answer", unanswered),
    ])
}

fn partitions(options: &Options, binary: &Path, round: usize) -> Result<Figures, Failure> {
    let directory = options.path(&format!("C10k-partitions-{round}"));
    let (target, _) = Target::broker(binary, &directory, false)?;
    thread::sleep(Duration::from_millis(500));
    let fresh = rss(&target)?;
    let begun = std::time::Instant::now();
    for index in 0..10 {
        create_topic(&target.address, &format!("many-{index}"), MANY / 10, &[])?;
    }
    let created = begun.elapsed().as_secs_f64();
    let held = rss(&target)?;
    let idle = idle_percent(&target)?;
    let (p99, _) = good_client(&target, "beside-partitions", options.seconds)?;
    Ok(vec![
        ("RSS with 10,000 partitions, MB", held / 1e6),
        ("KiB per partition", (held - fresh) / 1024.0 / MANY as f64),
        ("making 10,000 partitions, s", created),
        ("idle CPU with 10,000 partitions, % of a core", idle),
        ("good client beside partitions p99, µs", p99),
    ])
}
