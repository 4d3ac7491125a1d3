//! D1, D16, D64, D64S: acknowledgements that wait for the disk (`flush.messages=1`). The floor is `sync`, one `fdatasync`
//! per request and one thread per connection: what a broker saves over it is its group commit.

use crate::load::{Check, ClosedLoop, Gapless, Request, Until};
use crate::run::{Bench, Figures, Floor, Stopwatch, Turn, create_topic, delete_topic, now_ms};
use crate::{Failure, floor, frames};

const RECORDS: usize = 16;

/// Runs one of them.
pub(crate) fn run(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    let (connections, in_flight) = match id {
        "D1" => (1, 1),
        "D16" => (16, 1),
        "D64" => (64, 1),
        _ => (1, 64),
    };
    let floor = Floor {
        kind: "sync",
        answer_bytes: 0,
    };
    bench.interleave(id, &[floor], |turn| round(turn, id, connections, in_flight))
}

fn round(turn: &Turn<'_>, id: &str, connections: usize, in_flight: usize) -> Result<Figures, Failure> {
    let topic = format!("{id}-{}", turn.round);
    let batch = frames::batch(RECORDS, 1_000, now_ms()?);
    let check = if turn.role.is_broker() {
        create_topic(&turn.target.address, &topic, connections, &[("flush.messages", "1")])?;
        Check::Produced(Gapless::new(connections, RECORDS))
    } else {
        Check::Length(floor::PRODUCE_ANSWER_BYTES)
    };
    let requests = (0..connections)
        .map(|partition| {
            let frame = frames::produce(&topic, i32::try_from(partition)?, batch.clone())?;
            Ok(vec![Request::from(frame)])
        })
        .collect::<Result<_, Failure>>()?;
    let mut load = ClosedLoop::connect(&turn.target.address, requests, in_flight, check)?;
    load.run(Until::seconds(turn.options.seconds / 4.0))?;
    let watch = Stopwatch::start(turn.target)?;
    let done = load.run(Until::seconds(turn.options.seconds))?;
    let measured = watch.stop()?;
    drop(load);
    if turn.role.is_broker() {
        delete_topic(&turn.target.address, &topic)?;
    }
    Ok(vec![
        (
            "durable appends per s",
            done.requests as f64 / measured.wall.as_secs_f64(),
        ),
        ("CPU-µs per append", measured.broker.cpu_s / done.requests as f64 * 1e6),
    ])
}
