//! F64, F1M: catch-up reads of hot data, in a closed loop; the floor is `sendfile` of answers of the same size.

use crate::load::{Check, ClosedLoop, Gapless, Request, Until};
use crate::run::{Bench, Figures, Floor, Role, Stopwatch, Turn, create_topic, delete_topic, now_ms};
use crate::{Failure, floor, frames};

const CONNECTIONS: usize = 2;
/// Log behind the reads.
const LOG_BYTES: usize = floor::SENDFILE_FILE_BYTES;
const RECORDS: usize = 16;
/// Reads before Apache Kafka's first round, in seconds; it was warmed up with writes.
const JVM_WARM_UP_S: f64 = 8.0;

/// Runs one of them.
pub(crate) fn run(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    let answer_bytes = if id == "F64" { 64 << 10 } else { 1 << 20 };
    let sendfile = Floor {
        kind: "sendfile",
        answer_bytes,
    };
    bench.interleave(id, &[sendfile], |turn| round(turn, id, answer_bytes))
}

fn round(turn: &Turn<'_>, topic: &str, answer_bytes: usize) -> Result<Figures, Failure> {
    let batch = frames::batch(RECORDS, 1_000, now_ms()?);
    let batches = LOG_BYTES / batch.len();
    if turn.role.is_broker() && turn.round == 0 {
        fill(turn, topic, batches)?;
    }
    let per_fetch = (answer_bytes / batch.len() * RECORDS).max(RECORDS);
    let requests: Vec<Request> = (0..batches * RECORDS / per_fetch - 1)
        .map(|nth| {
            let offset = i64::try_from(nth * per_fetch)?;
            let frame = frames::fetch(topic, 0, offset, i32::try_from(answer_bytes)?)?;
            Ok(Request { frame, offset })
        })
        .collect::<Result<_, Failure>>()?;
    let check = if turn.role.is_broker() {
        Check::Fetched {
            at_least_bytes: per_fetch / RECORDS * batch.len(),
            check_crc: turn.options.check_crc,
        }
    } else {
        Check::Length(answer_bytes)
    };
    let turns = vec![requests; CONNECTIONS];
    let mut load = ClosedLoop::connect(&turn.target.address, turns, 1, check)?;
    let is_cold = turn.role == Role::Kafka && turn.round == 0;
    let warm_up_s = if is_cold {
        JVM_WARM_UP_S
    } else {
        turn.options.seconds / 4.0
    };
    load.run(Until::seconds(warm_up_s))?;
    let watch = Stopwatch::start(turn.target)?;
    let done = load.run(Until::seconds(turn.options.seconds))?;
    let measured = watch.stop()?;
    if turn.role.is_broker() && turn.round + 1 == turn.options.rounds {
        delete_topic(&turn.target.address, topic)?;
    }
    let gigabytes = done.received_bytes as f64 / 1e9;
    Ok(vec![
        ("CPU-s per GB", measured.broker.cpu_s / gigabytes),
        ("CPU-µs per fetch", measured.broker.cpu_s / done.requests as f64 * 1e6),
        ("MB/s", gigabytes * 1e3 / measured.wall.as_secs_f64()),
        ("generator CPU-s per GB", measured.generator.cpu_s / gigabytes),
        ("run-queue wait, s", measured.broker.wait_s),
    ])
}

/// Writes the log that is read.
fn fill(turn: &Turn<'_>, topic: &str, batches: usize) -> Result<(), Failure> {
    let batch = frames::batch(RECORDS, 1_000, now_ms()?);
    create_topic(&turn.target.address, topic, 1, &[])?;
    let request = Request::from(frames::produce(topic, 0, batch)?);
    let check = Check::Produced(Gapless::new(1, RECORDS));
    ClosedLoop::connect(&turn.target.address, vec![vec![request]], 5, check)?.run(Until::requests(batches as u64))?;
    Ok(())
}
