//! FS: a reader of 1,000 partitions of which ten get a record between two fetches.
//!
//! With a fetch session (KIP-227) each fetch names the ten partitions whose offset moved; where the broker does not
//! keep sessions the reader has to name all 1,000 each time, and the figure `session` says so.
//!
//! The figure that counts is that of a whole cycle, one Produce request to ten partitions and the fetch of its records.
//! What a produce alone costs is measured in the second half of the round; the difference is the fetch's share, a small
//! number between two large ones and so the least exact figure here.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::run::{Bench, Figures, Role, Stopwatch, Turn, create_topic, delete_topic, now_ms};
use crate::wire::{call, connect};
use crate::{Failure, answers, frames};

const PARTITIONS: usize = 1_000;
const ACTIVE: usize = 10;

/// Runs it.
pub(crate) fn run(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    bench.interleave(id, &[], |turn| round(turn, id))
}

/// A reader with its position in every partition.
struct Reader {
    topic: String,
    offsets: Vec<i64>,
    session_id: i32,
    session_epoch: i32,
    /// Partitions whose offset the session does not know yet.
    moved: Vec<usize>,
}

impl Reader {
    fn request(&self) -> Result<Bytes, Failure> {
        let all: Vec<usize> = (0..PARTITIONS).collect();
        let named = if self.session_epoch > 0 { &self.moved } else { &all };
        let partitions = named
            .iter()
            .map(|index| Ok((i32::try_from(*index)?, self.offsets[*index])));
        frames::Fetch {
            topic: &self.topic,
            partitions: partitions.collect::<Result<_, Failure>>()?,
            max_bytes: 1 << 20,
            max_wait_ms: 500,
            session_id: self.session_id,
            session_epoch: self.session_epoch,
            read_committed: false,
        }
        .frame()
    }

    /// Takes an answer; returns how many records came.
    fn on_answer(&mut self, answer: &[u8]) -> Result<i64, Failure> {
        let (offsets, moved) = (&mut self.offsets, &mut self.moved);
        moved.clear();
        let mut records = 0;
        let session_id = answers::fetched(answer, |fetched| {
            let index = usize::try_from(fetched.partition)?;
            let offset = offsets.get_mut(index).ok_or("a partition that does not exist")?;
            let next = answers::check_continuity(fetched.records, *offset, false)?.0;
            if next > *offset {
                moved.push(index);
            }
            records += next - *offset;
            *offset = next;
            Ok(())
        })?;
        // a broker without sessions answers 0 and wants everything named again
        self.session_epoch = if session_id == 0 { 0 } else { self.session_epoch + 1 };
        self.session_id = session_id;
        Ok(records)
    }
}

fn round(turn: &Turn<'_>, id: &str) -> Result<Figures, Failure> {
    let address = &turn.target.address;
    let topic = format!("{id}-{}", turn.round);
    create_topic(address, &topic, PARTITIONS, &[])?;
    let batch = frames::batch(1, 1_000, now_ms()?);
    let produce: Vec<Bytes> = (0..PARTITIONS / ACTIVE)
        .map(|group| {
            // spread over the topic, not side by side
            let partitions = (0..ACTIVE).map(|nth| i32::try_from(nth * (PARTITIONS / ACTIVE) + group));
            frames::produce_to(&topic, &partitions.collect::<Result<Vec<_>, _>>()?, &batch)
        })
        .collect::<Result<_, Failure>>()?;
    let mut reader = Reader {
        topic: topic.clone(),
        offsets: vec![0; PARTITIONS],
        session_id: 0,
        session_epoch: 0,
        moved: Vec::new(),
    };
    let (mut producer, mut consumer) = (connect(address)?, connect(address)?);
    let mut cycle = |nth: usize, fetches: bool| {
        answers::produced(&call(&mut producer, &produce[nth % produce.len()])?, |_, _| Ok(()))?;
        let mut missing = if fetches { ACTIVE as i64 } else { 0 };
        let mut fetches = 0;
        while missing > 0 {
            missing -= reader.on_answer(&call(&mut consumer, &reader.request()?)?)?;
            fetches += 1;
        }
        Ok::<u64, Failure>(fetches)
    };
    let is_cold = turn.role == Role::Kafka && turn.round == 0;
    let warm_up = Duration::from_secs_f64(if is_cold { 8.0 } else { turn.options.seconds / 4.0 });
    let begun = Instant::now();
    let mut nth = 0;
    while begun.elapsed() < warm_up {
        cycle(nth, true)?;
        nth += 1;
    }
    let mut timed = |fetching: bool| {
        let watch = Stopwatch::start(turn.target)?;
        let (mut cycles, mut fetches, begun) = (0_u64, 0, Instant::now());
        while begun.elapsed().as_secs_f64() < turn.options.seconds / 2.0 {
            fetches += cycle(nth, fetching)?;
            (nth, cycles) = (nth + 1, cycles + 1);
        }
        Ok::<_, Failure>((
            watch.stop()?.broker.cpu_s / cycles as f64 * 1e6,
            fetches as f64 / cycles as f64,
        ))
    };
    let (both, fetches) = timed(true)?;
    let (produce_alone, _) = timed(false)?;
    let session_id = reader.session_id;
    delete_topic(address, &topic)?;
    Ok(vec![
        ("CPU-µs per produce and fetch", both),
        ("CPU-µs per produce alone", produce_alone),
        ("CPU-µs per fetch, the difference", (both - produce_alone) / fetches),
        ("fetches per cycle", fetches),
        ("session", f64::from(u8::from(session_id != 0))),
    ])
}
