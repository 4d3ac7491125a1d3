//! G: whether cost stays flat as things become many. Batches of 16 records of 1 kB over 1 to 10,000 partitions on four
//! connections with 5 in flight; one-record requests over 1 to 5,000 connections with 1 in flight. Each point is a cost
//! per request; the ratios are to the smallest point.

use bytes::Bytes;

use crate::load::{Check, ClosedLoop, Gapless, Request, Until};
use crate::run::{Bench, Figures, Role, Stopwatch, Turn, create_topic, delete_topic, now_ms};
use crate::{Failure, frames};

const PARTITIONS: &[(usize, &str)] = &[
    (1, "partitions 1, CPU-µs per request"),
    (10, "partitions 10, ratio"),
    (100, "partitions 100, ratio"),
    (1_000, "partitions 1000, ratio"),
    (10_000, "partitions 10000, ratio"),
];
const CONNECTIONS: &[(usize, &str)] = &[
    (1, "connections 1, CPU-µs per request"),
    (10, "connections 10, ratio"),
    (100, "connections 100, ratio"),
    (1_000, "connections 1000, ratio"),
    (5_000, "connections 5000, ratio"),
];
/// A JVM with so little heap is not asked for the largest points.
const KAFKA_MOST: usize = 1_000;

/// Runs it.
pub(crate) fn run(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    bench.interleave(id, &[], round)
}

fn round(turn: &Turn<'_>) -> Result<Figures, Failure> {
    let now_ms = now_ms()?;
    let mut figures = Figures::new();
    let mut smallest = f64::NAN;
    for (partitions, name) in points(turn, PARTITIONS) {
        let batch = frames::batch(16, 1_000, now_ms);
        let load = Load {
            partitions,
            connections: 4,
            in_flight: 5,
            records: 16,
        };
        add(&mut figures, &mut smallest, name, cost(turn, &batch, load)?);
    }
    smallest = f64::NAN;
    for (connections, name) in points(turn, CONNECTIONS) {
        let batch = frames::batch(1, 1_000, now_ms);
        let load = Load {
            partitions: connections,
            connections,
            in_flight: 1,
            records: 1,
        };
        add(&mut figures, &mut smallest, name, cost(turn, &batch, load)?);
    }
    Ok(figures)
}

fn points(turn: &Turn<'_>, all: &[(usize, &'static str)]) -> Vec<(usize, &'static str)> {
    let fits = |count: usize| turn.role != Role::Kafka || count <= KAFKA_MOST;
    all.iter().filter(|(count, _)| fits(*count)).copied().collect()
}

fn add(figures: &mut Figures, smallest: &mut f64, name: &'static str, cost: f64) {
    if smallest.is_nan() {
        *smallest = cost;
        figures.push((name, cost));
    } else {
        figures.push((name, cost / *smallest));
    }
}

struct Load {
    partitions: usize,
    connections: usize,
    in_flight: usize,
    records: usize,
}

/// CPU per request, in microseconds.
fn cost(turn: &Turn<'_>, batch: &Bytes, load: Load) -> Result<f64, Failure> {
    let topic = format!("G-{}-{}-{}", load.partitions, load.connections, turn.round);
    create_topic(&turn.target.address, &topic, load.partitions, &[])?;
    let requests = (0..load.connections)
        .map(|connection| {
            // each its own, or all the one that there is
            (connection % load.partitions..load.partitions)
                .step_by(load.connections)
                .map(|partition| {
                    let frame = frames::produce(&topic, i32::try_from(partition)?, batch.clone())?;
                    Ok(Request::from(frame))
                })
                .collect::<Result<Vec<_>, Failure>>()
        })
        .collect::<Result<_, Failure>>()?;
    let check = if load.connections > load.partitions {
        Check::Accepted
    } else {
        Check::Produced(Gapless::new(load.partitions, load.records))
    };
    let mut closed = ClosedLoop::connect(&turn.target.address, requests, load.in_flight, check)?;
    // each partition once at least: the first write to a partition costs more
    closed.run(Until::requests(load.partitions.max(1_000) as u64))?;
    let watch = Stopwatch::start(turn.target)?;
    let done = closed.run(Until::seconds(turn.options.seconds / 2.0))?;
    let measured = watch.stop()?;
    drop(closed);
    delete_topic(&turn.target.address, &topic)?;
    Ok(measured.broker.cpu_s / done.requests as f64 * 1e6)
}
