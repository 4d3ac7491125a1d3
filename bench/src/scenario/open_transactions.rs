//! TX1k: many transactional ids at once: what it takes to get them, to begin a transaction of each, and to commit all of
//! them; what they hold in memory; and when, after `kill -9` with all of them open, all are committed.
//!
//! As many others go through all that before, so that what is measured is not the first time.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::run::{Bench, Figures, Stopwatch, create_topic, now_ms};
use crate::target::Target;
use crate::transactions::{Flow, Identity, calls, stamp};
use crate::wire::{call, connect};
use crate::{Failure, answers, cpu, frames};

const IDS: usize = 1_000;
const WORKERS: usize = 8;
const PARTITIONS: usize = 10;
const TOPIC: &str = "open";
/// Pause after which memory counts as settled.
const SETTLE: Duration = Duration::from_secs(1);

/// Runs it.
pub(crate) fn run(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    let rounds = bench.options.rounds.min(2);
    bench.repeat_fresh(id, rounds, round)
}

/// One producer.
struct Producer {
    name: String,
    partition: i32,
    identity: Identity,
}

impl Producer {
    fn init(&mut self, stream: &mut TcpStream) -> Result<(), Failure> {
        self.identity = calls::init(stream, Some(&self.name))?;
        Ok(())
    }

    /// Begins a transaction with a record.
    fn begin(&self, stream: &mut TcpStream, batch: &Bytes) -> Result<(), Failure> {
        let mut batch = BytesMut::from(&batch[..]);
        stamp(&mut batch, Flow::V2, self.identity, 0);
        let version = Flow::V2.produce_version();
        let frame = frames::produce_as(version, Some(&self.name), TOPIC, &[self.partition], &batch.freeze())?;
        calls::until_done(|| {
            let mut refused = 0;
            answers::produced_or_refused(&call(stream, &frame)?, |_, code, _| {
                refused = code;
                Ok(())
            })?;
            Ok((refused, ()))
        })
    }

    fn commit(&mut self, stream: &mut TcpStream) -> Result<(), Failure> {
        let end = calls::end(Flow::V2, &self.name, self.identity, true)?;
        let told = calls::until_done(|| answers::ended(&call(stream, &end)?))?;
        self.identity = calls::next_identity(self.identity, told);
        Ok(())
    }
}

/// Does something for each over a few connections.
fn for_each(
    address: &str,
    producers: &mut [Producer],
    work: impl Fn(&mut Producer, &mut TcpStream) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let work = &work;
    thread::scope(|scope| {
        let chunks = producers.chunks_mut(IDS.div_ceil(WORKERS)).map(|chunk| {
            scope.spawn(move || {
                let mut stream = connect(address)?;
                chunk.iter_mut().try_for_each(|producer| work(producer, &mut stream))
            })
        });
        let threads: Vec<_> = chunks.collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a worker panicked")?)
    })
}

/// Waits until everything that was written is decided.
fn await_decided(address: &str) -> Result<(), Failure> {
    let mut stream = connect(address)?;
    let partitions: Vec<i32> = (0..i32::try_from(PARTITIONS)?).collect();
    let mut ends = |committed| calls::end_offsets(&mut stream, TOPIC, &partitions, committed);
    while ends(true)? != ends(false)? {
        thread::sleep(calls::RETRY);
    }
    Ok(())
}

fn producers(prefix: &str) -> Result<Vec<Producer>, Failure> {
    (0..IDS)
        .map(|index| {
            Ok(Producer {
                name: format!("{prefix}-{index}"),
                partition: i32::try_from(index % PARTITIONS)?,
                identity: Identity::NONE,
            })
        })
        .collect()
}

fn memory(target: &Target) -> Result<f64, Failure> {
    thread::sleep(SETTLE);
    Ok(cpu::memory_bytes(target.pid(), "RssAnon")? as f64)
}

fn round(target: &mut Target) -> Result<Figures, Failure> {
    let address = target.address.clone();
    create_topic(&address, TOPIC, PARTITIONS, &[])?;
    calls::find_coordinator(&mut connect(&address)?, "warm-0")?;
    let batch = frames::batch(1, 1_000, now_ms()?);
    let mut warm = producers("warm")?;
    for_each(&address, &mut warm, |producer, stream| {
        producer.init(stream)?;
        producer.begin(stream, &batch)?;
        producer.commit(stream)
    })?;
    await_decided(&address)?;

    let mut open = producers("open")?;
    let fresh = memory(target)?;
    // milliseconds, and CPU per id in microseconds
    let timed = |target: &Target, work: &mut dyn FnMut() -> Result<(), Failure>| {
        let watch = Stopwatch::start(target)?;
        work()?;
        let measured = watch.stop()?;
        Ok::<_, Failure>((
            measured.wall.as_secs_f64() * 1e3,
            measured.broker.cpu_s / IDS as f64 * 1e6,
        ))
    };
    let init = timed(target, &mut || for_each(&address, &mut open, Producer::init))?;
    let known = memory(target)?;
    let begin = |producer: &mut Producer, stream: &mut TcpStream| producer.begin(stream, &batch);
    let begun = timed(target, &mut || for_each(&address, &mut open, begin))?;
    let held = memory(target)?;
    let committed = timed(target, &mut || {
        for_each(&address, &mut open, Producer::commit)?;
        await_decided(&address)
    })?;

    for_each(&address, &mut open, begin)?;
    let killed = Instant::now();
    let answers = target.kill_and_restart()?;
    for_each(&address, &mut open, Producer::commit)?;
    let recommitted = killed.elapsed();
    await_decided(&address)?;
    let decided = killed.elapsed();
    Ok(vec![
        ("1,000 InitProducerId, ms", init.0),
        ("CPU-µs per InitProducerId", init.1),
        ("1,000 transactions begun, ms", begun.0),
        ("CPU-µs per begin", begun.1),
        ("1,000 commits until all is visible, ms", committed.0),
        ("CPU-µs per commit", committed.1),
        ("bytes per transactional id", (known - fresh) / IDS as f64),
        ("bytes per open transaction, on top", (held - known) / IDS as f64),
        ("kill -9 with 1,000 open: first answer, ms", answers.as_secs_f64() * 1e3),
        (
            "kill -9 with 1,000 open: all committed, ms",
            recommitted.as_secs_f64() * 1e3,
        ),
        ("kill -9 with 1,000 open: all visible, ms", decided.as_secs_f64() * 1e3),
        ("RssAnon after it, MB", memory(target)? / 1e6),
    ])
}
