//! P1U, P1, P16, P64, P1M, P100B: the CPU of a produce, in a closed loop; the floor is `relay`.
//!
//! P1 has a second floor, `echo` with one request in flight: the goal for one-record requests is held against a
//! hand-written echo that appends, not pipelined.

use std::time::Duration;

use bytes::Bytes;

use crate::load::{Check, ClosedLoop, Gapless, Request, Until};
use crate::run::{Bench, Figures, Floor, Role, Stopwatch, Turn, create_topic, delete_topic, now_ms};
use crate::target::Target;
use crate::{Failure, floor, frames};

const CONNECTIONS: usize = 4;
/// A round ends when so much was sent: more would be about the disk.
pub(crate) const ROUND_BYTES: u64 = 2_000_000_000;
/// Load before Apache Kafka's first round.
const WARM_UP: Duration = Duration::from_secs(22);

/// Records per batch, bytes per value and requests in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) records: usize,
    pub(crate) value_bytes: usize,
    pub(crate) in_flight: usize,
}

const fn shape(records: usize, value_bytes: usize, in_flight: usize) -> Shape {
    Shape {
        records,
        value_bytes,
        in_flight,
    }
}

fn shape_of(id: &str) -> Result<Shape, Failure> {
    Ok(match id {
        "P1U" => shape(1, 1_000, 1),
        "P1" => shape(1, 1_000, 5),
        "P16" => shape(16, 1_000, 5),
        "P64" => shape(64, 1_000, 5),
        "P1M" => shape(1_000, 1_000, 5),
        "P100B" => shape(150, 100, 5),
        _ => return Err(format!("{id} is no produce scenario").into()),
    })
}

/// Runs one of them.
pub(crate) fn run(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    let shape = shape_of(id)?;
    let batch = frames::batch(shape.records, shape.value_bytes, now_ms()?);
    let floors = ["relay", "echo"].map(|kind| Floor { kind, answer_bytes: 0 });
    let floors = if id == "P1" { &floors[..] } else { &floors[..1] };
    bench.interleave(id, floors, |turn| {
        let unpipelined = turn.target.name == "echo";
        let shape = Shape {
            in_flight: if unpipelined { 1 } else { shape.in_flight },
            ..shape
        };
        round(turn, id, &batch, shape)
    })
}

fn round(turn: &Turn<'_>, id: &str, batch: &Bytes, shape: Shape) -> Result<Figures, Failure> {
    let topic = format!("{id}-{}", turn.round);
    let mut load = connect(turn.target, turn.role, &topic, batch, shape)?;
    load.run(Until::seconds(turn.options.seconds / 4.0))?;
    let max_requests = ROUND_BYTES / batch.len() as u64;
    let watch = Stopwatch::start(turn.target)?;
    let done = load.run(Until::seconds(turn.options.seconds).or_requests(max_requests))?;
    let measured = watch.stop()?;
    drop(load);
    if turn.role.is_broker() {
        delete_topic(&turn.target.address, &topic)?;
    }
    let gigabytes = done.requests as f64 * batch.len() as f64 / 1e9;
    let records = done.requests as f64 * shape.records as f64;
    Ok(vec![
        ("CPU-s per GB", measured.broker.cpu_s / gigabytes),
        ("CPU-µs per request", measured.broker.cpu_s / done.requests as f64 * 1e6),
        ("CPU-s per million records", measured.broker.cpu_s / records * 1e6),
        ("MB/s", gigabytes * 1e3 / measured.wall.as_secs_f64()),
        ("generator CPU-s per GB", measured.generator.cpu_s / gigabytes),
        ("run-queue wait, s", measured.broker.wait_s),
    ])
}

/// Connections that each write to a partition of their own, of a fresh topic.
fn connect(target: &Target, role: Role, topic: &str, batch: &Bytes, shape: Shape) -> Result<ClosedLoop, Failure> {
    let check = if role.is_broker() {
        create_topic(&target.address, topic, CONNECTIONS, &[])?;
        Check::Produced(Gapless::new(CONNECTIONS, shape.records))
    } else {
        Check::Length(floor::PRODUCE_ANSWER_BYTES)
    };
    let requests = (0..CONNECTIONS)
        .map(|partition| {
            let frame = frames::produce(topic, i32::try_from(partition)?, batch.clone())?;
            Ok(vec![Request::from(frame)])
        })
        .collect::<Result<_, Failure>>()?;
    ClosedLoop::connect(&target.address, requests, shape.in_flight, check)
}

/// Load until a JVM has compiled what matters.
pub(crate) fn warm_up(target: &Target) -> Result<(), Failure> {
    for id in ["P16", "P64", "P1"] {
        let shape = shape_of(id)?;
        let batch = frames::batch(shape.records, shape.value_bytes, now_ms()?);
        let topic = format!("warm-up-{id}");
        let mut load = connect(target, Role::Kafka, &topic, &batch, shape)?;
        load.run(Until::seconds(WARM_UP.as_secs_f64() / 3.0))?;
        drop(load);
        delete_topic(&target.address, &topic)?;
    }
    Ok(())
}
