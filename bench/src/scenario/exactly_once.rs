//! TX: what ids and transactions add to a produce. In a turn the kinds of producers take turns, slice by slice, and the
//! ratios are those of slices of the same pass: noise of the machine meets all kinds alike.
//!
//! TXL: small transactions of one producer, one after the other. The next one begins when EndTxn was answered; where
//! the broker refuses that because the transaction is not complete yet it is asked again after 1 ms.

use std::time::{Duration, Instant};

use crate::load::Until;
use crate::run::{Bench, Figures, Role, Stopwatch, Turn, create_topic, delete_topic, median, now_ms};
use crate::scenario::latency::at;
use crate::transactions::Flow;
use crate::transactions::load::{Plan, Producers};
use crate::{Failure, frames};

const RECORDS: usize = 16;
const PRODUCERS: usize = 4;
/// Slices of each kind in a turn.
const PASSES: usize = 8;
/// A slice ends when so much was sent: more would be about the disk.
const SLICE_BATCHES: u64 = 5_000;
/// What a JVM that was warmed up with plain writes needs for its other code.
const JVM_WARM_UP: Duration = Duration::from_secs(15);

/// Flow, batches per transaction, and the figures' names: the cost of a batch, and its ratio.
type Kind = (Flow, u64, &'static str, &'static str);
const KINDS: &[Kind] = &[
    (Flow::Plain, 1, "plain, CPU-µs per batch", ""),
    (
        Flow::Idempotent,
        1,
        "idempotent, CPU-µs per batch",
        "idempotent, times plain",
    ),
    (
        Flow::Classic,
        100,
        "classic, 100 batches, CPU-µs per batch",
        "classic, 100 batches, times plain",
    ),
    (
        Flow::V2,
        100,
        "V2, 100 batches, CPU-µs per batch",
        "V2, 100 batches, times plain",
    ),
    (
        Flow::Classic,
        10,
        "classic, 10 batches, CPU-µs per batch",
        "classic, 10 batches, times plain",
    ),
    (
        Flow::V2,
        10,
        "V2, 10 batches, CPU-µs per batch",
        "V2, 10 batches, times plain",
    ),
];

/// Runs TX.
pub(crate) fn costs(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    bench.interleave(id, &[], |turn| costs_round(turn, id))
}

fn costs_round(turn: &Turn<'_>, id: &str) -> Result<Figures, Failure> {
    let address = &turn.target.address;
    let batch = frames::batch(RECORDS, 1_000, now_ms()?);
    let mut kinds = Vec::new();
    for (nth, (flow, batches, ..)) in KINDS.iter().enumerate() {
        let topic = format!("{id}-{}-{nth}", turn.round);
        create_topic(address, &topic, PRODUCERS, &[])?;
        let plan = Plan {
            flow: *flow,
            producers: PRODUCERS,
            in_flight: 5,
            records: RECORDS,
            batches: *batches,
            committed_of: 1,
            is_shared: false,
            tails: false,
        };
        kinds.push((Producers::connect(address, &topic, plan, &batch)?, topic, Vec::new()));
    }
    let slice = Until::seconds(turn.options.seconds / 6.0).or_requests(SLICE_BATCHES);
    let (mut refused, mut transactions) = (0, 0);
    let mut warm_until = Instant::now();
    if turn.role == Role::Kafka && turn.round == 0 {
        warm_until += JVM_WARM_UP;
    }
    let mut pass = 0;
    while pass <= PASSES {
        for turned in 0..kinds.len() {
            let place = (turned + pass) % kinds.len();
            let (load, _, costs) = &mut kinds[place];
            let watch = Stopwatch::start(turn.target)?;
            let done = load.run(slice)?;
            // the first pass warms up
            if pass > 0 {
                costs.push(watch.stop()?.broker.cpu_s / done.batches as f64 * 1e6);
                refused += done.refused;
                transactions += done.transactions;
            }
        }
        pass += usize::from(Instant::now() >= warm_until);
    }
    let plain = kinds[0].2.clone();
    let mut figures = Figures::new();
    for ((_, topic, mut costs), (.., cost_name, ratio_name)) in kinds.into_iter().zip(KINDS) {
        let mut ratios: Vec<f64> = costs.iter().zip(&plain).map(|(cost, plain)| cost / plain).collect();
        figures.push((cost_name, median(&mut costs)));
        if !ratio_name.is_empty() {
            figures.push((ratio_name, median(&mut ratios)));
        }
        delete_topic(address, &topic)?;
    }
    figures.push(("refused per transaction", refused as f64 / transactions as f64));
    Ok(figures)
}

/// Runs TXL.
pub(crate) fn latency(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    bench.interleave(id, &[], |turn| {
        let mut figures = latency_round(turn, id, Flow::Classic, &CLASSIC)?;
        figures.extend(latency_round(turn, id, Flow::V2, &V2)?);
        Ok(figures)
    })
}

const CLASSIC: [&str; 7] = [
    "classic: transactions per s",
    "classic: EndTxn answered p50, µs",
    "classic: EndTxn answered p99, µs",
    "classic: EndTxn to visible p50, µs",
    "classic: EndTxn to visible p99, µs",
    "classic: CPU-µs per transaction",
    "classic: refused per transaction",
];
const V2: [&str; 7] = [
    "V2: transactions per s",
    "V2: EndTxn answered p50, µs",
    "V2: EndTxn answered p99, µs",
    "V2: EndTxn to visible p50, µs",
    "V2: EndTxn to visible p99, µs",
    "V2: CPU-µs per transaction",
    "V2: refused per transaction",
];

fn latency_round(turn: &Turn<'_>, id: &str, flow: Flow, names: &[&'static str; 7]) -> Result<Figures, Failure> {
    let address = &turn.target.address;
    let topic = format!("{id}-{}-{flow:?}", turn.round);
    create_topic(address, &topic, 1, &[])?;
    let plan = Plan {
        flow,
        producers: 1,
        in_flight: 1,
        records: 1,
        batches: 1,
        committed_of: 1,
        is_shared: false,
        tails: true,
    };
    let mut load = Producers::connect(address, &topic, plan, &frames::batch(1, 1_000, now_ms()?))?;
    let is_cold = turn.role == Role::Kafka && turn.round == 0;
    let warm_up_s = if is_cold {
        JVM_WARM_UP.as_secs_f64()
    } else {
        turn.options.seconds / 4.0
    };
    load.run(Until::seconds(warm_up_s))?;
    let watch = Stopwatch::start(turn.target)?;
    let done = load.run(Until::seconds(turn.options.seconds))?;
    let measured = watch.stop()?;
    drop(load);
    delete_topic(address, &topic)?;
    let transactions = done.transactions as f64;
    let values = [
        transactions / measured.wall.as_secs_f64(),
        at(&done.ended, 50.0),
        at(&done.ended, 99.0),
        at(&done.visible, 50.0),
        at(&done.visible, 99.0),
        measured.broker.cpu_s / transactions * 1e6,
        done.refused as f64 / transactions,
    ];
    Ok(names.iter().copied().zip(values).collect())
}
