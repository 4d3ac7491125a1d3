//! TXP: a transaction over many partitions: how long EndTxn takes, until every partition shows its record to readers of
//! committed ones, and what is appended for it. The reader fetches what it has not seen yet, again and again: that is a
//! part of the CPU time, though not of the broker's work for the transaction.

use std::net::TcpStream;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::paced::{histogram, record};
use crate::run::{Bench, Figures, Role, Stopwatch, Turn, create_topic, delete_topic, now_ms};
use crate::scenario::latency::at;
use crate::transactions::{Flow, Identity, calls, stamp};
use crate::wire::{call, connect};
use crate::{Failure, answers, cpu, frames};

const PARTITIONS: usize = 100;
/// Of the coordinator's own topic.
const STATE_TOPIC: &str = "__transaction_state";
const STATE_PARTITIONS: i32 = 50;

const CLASSIC: [&str; 8] = [
    "classic: EndTxn answered p50, µs",
    "classic: EndTxn answered p99, µs",
    "classic: all partitions visible p50, µs",
    "classic: all partitions visible p99, µs",
    "classic: CPU-µs per transaction",
    "classic: markers appended per transaction",
    "classic: state records appended per transaction",
    "classic: write calls from EndTxn to visible",
];
const V2: [&str; 8] = [
    "V2: EndTxn answered p50, µs",
    "V2: EndTxn answered p99, µs",
    "V2: all partitions visible p50, µs",
    "V2: all partitions visible p99, µs",
    "V2: CPU-µs per transaction",
    "V2: markers appended per transaction",
    "V2: state records appended per transaction",
    "V2: write calls from EndTxn to visible",
];

/// Runs it.
pub(crate) fn run(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    bench.interleave(id, &[], |turn| {
        let mut figures = round(turn, id, Flow::Classic, &CLASSIC)?;
        figures.extend(round(turn, id, Flow::V2, &V2)?);
        Ok(figures)
    })
}

/// A producer, and a reader of what it commits.
struct Wide {
    flow: Flow,
    topic: String,
    partitions: Vec<i32>,
    producer: TcpStream,
    reader: TcpStream,
    identity: Identity,
    batch: Bytes,
    sequence: i32,
    /// Behind what the reader has seen of each partition.
    offsets: Vec<i64>,
}

const NAME: &str = "wide";

impl Wide {
    /// Everything before EndTxn.
    fn write(&mut self) -> Result<(), Failure> {
        if self.flow == Flow::Classic {
            let add = calls::add(NAME, self.identity, &self.topic, &self.partitions)?;
            calls::until_done(|| Ok((answers::added(&call(&mut self.producer, &add)?)?, ())))?;
        }
        let mut batch = BytesMut::from(&self.batch[..]);
        stamp(&mut batch, self.flow, self.identity, self.sequence);
        let version = self.flow.produce_version();
        let frame = frames::produce_as(version, Some(NAME), &self.topic, &self.partitions, &batch.freeze())?;
        calls::until_done(|| {
            let mut refused = 0;
            let answer = call(&mut self.producer, &frame)?;
            answers::produced_or_refused(&answer, |_, code, _| {
                refused = if code == 0 { refused } else { code };
                Ok(())
            })?;
            Ok((refused, ()))
        })
    }

    /// Commits; the time at which that was answered.
    fn end(&mut self) -> Result<Instant, Failure> {
        let end = calls::end(self.flow, NAME, self.identity, true)?;
        let told = calls::until_done(|| answers::ended(&call(&mut self.producer, &end)?))?;
        let answered = Instant::now();
        let next = calls::next_identity(self.identity, told);
        self.sequence = if next == self.identity { self.sequence + 1 } else { 0 };
        self.identity = next;
        Ok(answered)
    }

    /// Fetches until every partition has shown its record.
    fn read(&mut self) -> Result<(), Failure> {
        let begun = self.offsets.clone();
        loop {
            let waiting = self.partitions.iter().zip(&self.offsets).zip(&begun);
            let waiting = waiting.filter(|((_, offset), begun)| offset == begun);
            let partitions: Vec<_> = waiting.map(|((partition, offset), _)| (*partition, *offset)).collect();
            if partitions.is_empty() {
                return Ok(());
            }
            let fetch = frames::Fetch {
                topic: &self.topic,
                partitions,
                max_bytes: 1 << 20,
                max_wait_ms: 500,
                session_id: 0,
                session_epoch: -1,
                read_committed: true,
            };
            answers::fetched(&call(&mut self.reader, &fetch.frame()?)?, |fetched| {
                let offset = &mut self.offsets[usize::try_from(fetched.partition)?];
                *offset = answers::check_continuity(fetched.records, *offset, false)?.0;
                Ok(())
            })?;
        }
    }

    /// Records in all partitions of a topic.
    fn appended(&mut self, topic: &str, partitions: i32) -> Result<i64, Failure> {
        let partitions: Vec<i32> = (0..partitions).collect();
        Ok(calls::end_offsets(&mut self.reader, topic, &partitions, false)?
            .iter()
            .sum())
    }
}

fn round(turn: &Turn<'_>, id: &str, flow: Flow, names: &[&'static str; 8]) -> Result<Figures, Failure> {
    let address = &turn.target.address;
    let topic = format!("{id}-{}-{flow:?}", turn.round);
    create_topic(address, &topic, PARTITIONS, &[])?;
    let mut producer = connect(address)?;
    calls::find_coordinator(&mut producer, NAME)?;
    let mut wide = Wide {
        flow,
        topic: topic.clone(),
        partitions: (0..i32::try_from(PARTITIONS)?).collect(),
        identity: calls::init(&mut producer, Some(NAME))?,
        producer,
        reader: connect(address)?,
        batch: frames::batch(1, 1_000, now_ms()?),
        sequence: 0,
        offsets: vec![0; PARTITIONS],
    };
    let is_cold = turn.role == Role::Kafka && turn.round == 0;
    let warm_up_s = if is_cold { 10.0 } else { turn.options.seconds / 4.0 };
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < warm_up_s {
        wide.write()?;
        wide.end()?;
        wide.read()?;
    }
    let (mut answered, mut visible) = (histogram()?, histogram()?);
    let (mut transactions, mut write_calls) = (0_i64, 0);
    let count = i32::try_from(PARTITIONS)?;
    let before = (
        wide.appended(&topic, count)?,
        wide.appended(STATE_TOPIC, STATE_PARTITIONS)?,
    );
    let watch = Stopwatch::start(turn.target)?;
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < turn.options.seconds {
        wide.write()?;
        let calls_before = cpu::write_calls(turn.target.pid())?;
        let sent = Instant::now();
        record(&mut answered, wide.end()?, sent);
        wide.read()?;
        record(&mut visible, Instant::now(), sent);
        write_calls += cpu::write_calls(turn.target.pid())? - calls_before;
        transactions += 1;
    }
    let measured = watch.stop()?;
    let records = wide.appended(&topic, count)? - before.0 - transactions * i64::from(count);
    let state_records = wide.appended(STATE_TOPIC, STATE_PARTITIONS)? - before.1;
    delete_topic(address, &topic)?;
    let values = [
        at(&answered, 50.0),
        at(&answered, 99.0),
        at(&visible, 50.0),
        at(&visible, 99.0),
        measured.broker.cpu_s / transactions as f64 * 1e6,
        records as f64 / transactions as f64,
        state_records as f64 / transactions as f64,
        write_calls as f64 / transactions as f64,
    ];
    Ok(names.iter().copied().zip(values).collect())
}
