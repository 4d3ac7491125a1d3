//! L1, L20, L100: latency at a given rate, from the scheduled time (no coordinated omission), and the CPU per record at
//! that rate. The floor is `relay` under the same schedule.
//!
//! A thread that was ready but had no CPU shows up as latency too: the broker's time in run queues is reported beside.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::paced::{self, Pace, Traffic};
use crate::run::{Bench, Figures, Floor, Stopwatch, Turn, create_topic, delete_topic, now_ms};
use crate::{Failure, frames};

const CONNECTIONS: usize = 4;

/// Runs one of them.
pub(crate) fn run(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    let (records, requests_per_s) = match id {
        "L1" => (1, 1_000.0),
        "L20" => (1, 20_000.0),
        _ => (16, 100e6 / 16_000.0),
    };
    let floor = Floor {
        kind: "relay",
        answer_bytes: 0,
    };
    bench.interleave(id, &[floor], |turn| {
        let pace = Pace {
            requests_per_s,
            connections: CONNECTIONS,
            warm_up: Duration::from_secs_f64((turn.options.seconds / 4.0).max(1.0)),
            duration: Duration::from_secs_f64(turn.options.seconds.max(2.0)),
            tails: id == "L20" && turn.role.is_broker(),
        };
        round(turn, id, records, pace)
    })
}

fn round(turn: &Turn<'_>, id: &str, records: usize, pace: Pace) -> Result<Figures, Failure> {
    let traffic = Traffic {
        topic: format!("{id}-{}", turn.round),
        batch: frames::batch(records, 1_000, now_ms()?),
        records,
        is_broker: turn.role.is_broker(),
    };
    if turn.role.is_broker() {
        create_topic(&turn.target.address, &traffic.topic, CONNECTIONS, &[])?;
    }
    let mut watch = None;
    let latencies = paced::run(&turn.target.address, &traffic, pace, || {
        watch = Some(Stopwatch::start(turn.target)?);
        Ok(())
    })?;
    let measured = watch.ok_or("the warm-up did not end")?.stop()?;
    if turn.role.is_broker() {
        delete_topic(&turn.target.address, &traffic.topic)?;
    }
    let sent = latencies.requests as f64;
    let mut figures = vec![
        (
            "CPU-µs per record",
            measured.broker.cpu_s / (sent * records as f64) * 1e6,
        ),
        ("p50, µs", at(&latencies.acked, 50.0)),
        ("p99, µs", at(&latencies.acked, 99.0)),
        ("p99.9, µs", at(&latencies.acked, 99.9)),
        ("p99.99, µs", at(&latencies.acked, 99.99)),
        ("max, µs", latencies.acked.max() as f64 / 1e3),
    ];
    if pace.tails {
        figures.extend([
            ("end to end p50, µs", at(&latencies.delivered, 50.0)),
            ("end to end p99, µs", at(&latencies.delivered, 99.0)),
            ("end to end p99.9, µs", at(&latencies.delivered, 99.9)),
        ]);
    }
    figures.extend([
        ("generator's own lag p99, µs", at(&latencies.send_lag, 99.0)),
        ("run-queue wait, s", measured.broker.wait_s),
        ("unanswered", sent - latencies.acked.len() as f64),
    ]);
    Ok(figures)
}

/// A percentile in microseconds.
pub(crate) fn at(histogram: &Histogram<u64>, percentile: f64) -> f64 {
    histogram.value_at_percentile(percentile) as f64 / 1e3
}
