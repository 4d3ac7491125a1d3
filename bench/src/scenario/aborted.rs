//! TXA: catch-up reads of a log that is full of aborted transactions. Readers of committed records are told about those,
//! and leave them out themselves: both readers get the same bytes, and the difference is what the broker does to find them.

use crate::load::{Check, ClosedLoop, Request, Until};
use crate::run::{Bench, Figures, Role, Stopwatch, Turn, create_topic, delete_topic, median, now_ms};
use crate::transactions::Flow;
use crate::transactions::load::{Plan, Producers};
use crate::wire::{call, connect};
use crate::{Failure, answers, frames};

const RECORDS: usize = 10;
const ABORTED: u64 = 10_000;
/// One transaction in so many is committed.
const COMMITTED_OF: u64 = 11;
const PRODUCERS: usize = 8;
const PASSES: usize = 5;
/// Reads before Apache Kafka's first round, in seconds; it was warmed up with writes.
const JVM_WARM_UP_S: f64 = 8.0;
const SIZES: [(i32, [&str; 4]); 2] = [
    (
        64 << 10,
        [
            "64 KiB: read_uncommitted, CPU-ns per record",
            "64 KiB: read_committed, CPU-ns per record",
            "64 KiB: read_committed, times read_uncommitted",
            "64 KiB: aborted transactions told per fetch",
        ],
    ),
    (
        1 << 20,
        [
            "1 MiB: read_uncommitted, CPU-ns per record",
            "1 MiB: read_committed, CPU-ns per record",
            "1 MiB: read_committed, times read_uncommitted",
            "1 MiB: aborted transactions told per fetch",
        ],
    ),
];

/// Runs it.
pub(crate) fn run(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    bench.interleave(id, &[], |turn| round(turn, id))
}

fn round(turn: &Turn<'_>, topic: &str) -> Result<Figures, Failure> {
    let address = &turn.target.address;
    if turn.round == 0 {
        fill(address, topic)?;
    }
    let mut figures = Figures::new();
    for (max_bytes, names) in SIZES {
        let mut readers = Vec::new();
        let mut told = 0.0;
        for read_committed in [false, true] {
            let walk = walk(address, topic, max_bytes, read_committed)?;
            if read_committed != (walk.aborted >= ABORTED as usize) {
                return Err(format!("a reader was told about {} aborted transactions", walk.aborted).into());
            }
            told = walk.aborted as f64 / walk.requests.len() as f64;
            let per_request = walk.records as f64 / walk.requests.len() as f64;
            let check = Check::Fetched {
                at_least_bytes: 1,
                check_crc: turn.options.check_crc,
            };
            let load = ClosedLoop::connect(address, vec![walk.requests], 1, check)?;
            readers.push((load, per_request, Vec::new()));
        }
        let is_cold = turn.role == Role::Kafka && turn.round == 0;
        let warm_up_s = if is_cold { JVM_WARM_UP_S } else { 0.2 };
        for pass in 0..=PASSES {
            let seconds = if pass == 0 {
                warm_up_s
            } else {
                turn.options.seconds / 10.0
            };
            for (load, per_request, costs) in &mut readers {
                let watch = Stopwatch::start(turn.target)?;
                let done = load.run(Until::seconds(seconds))?;
                if pass > 0 {
                    costs.push(watch.stop()?.broker.cpu_s / (done.requests as f64 * *per_request) * 1e9);
                }
            }
        }
        let (plain, committed) = (&readers[0].2, &readers[1].2);
        let mut ratios: Vec<f64> = committed.iter().zip(plain).map(|(cost, plain)| cost / plain).collect();
        let costs = [median(&mut plain.clone()), median(&mut committed.clone())];
        figures.extend(names.into_iter().zip([costs[0], costs[1], median(&mut ratios), told]));
    }
    if turn.round + 1 == turn.options.rounds {
        delete_topic(address, topic)?;
    }
    Ok(figures)
}

/// Writes the log that is read: all in one partition, transactions of several producers among each other.
fn fill(address: &str, topic: &str) -> Result<(), Failure> {
    create_topic(address, topic, 1, &[])?;
    let plan = Plan {
        flow: Flow::V2,
        producers: PRODUCERS,
        in_flight: 1,
        records: RECORDS,
        batches: 1,
        committed_of: COMMITTED_OF,
        is_shared: true,
        tails: false,
    };
    let mut load = Producers::connect(address, topic, plan, &frames::batch(RECORDS, 100, now_ms()?))?;
    // a few more: the first ones of the producers are all committed
    let transactions = (ABORTED + PRODUCERS as u64) * COMMITTED_OF / (COMMITTED_OF - 1);
    load.run(Until::requests(transactions))?;
    Ok(())
}

/// All of a log, fetch by fetch.
struct Walk {
    requests: Vec<Request>,
    records: i64,
    aborted: usize,
}

fn walk(address: &str, topic: &str, max_bytes: i32, read_committed: bool) -> Result<Walk, Failure> {
    let mut stream = connect(address)?;
    let mut walk = Walk {
        requests: Vec::new(),
        records: 0,
        aborted: 0,
    };
    loop {
        let offset = walk.records;
        let frame = frames::fetch_as(read_committed, topic, 0, offset, max_bytes)?;
        answers::fetched(&call(&mut stream, &frame)?, |fetched| {
            walk.records = answers::check_continuity(fetched.records, offset, false)?.0;
            walk.aborted += fetched.aborted;
            Ok(())
        })?;
        if walk.records == offset {
            return Ok(walk);
        }
        walk.requests.push(Request { frame, offset });
    }
}
