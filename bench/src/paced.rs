//! The open loop: requests leave when the schedule says so, whatever the answers do, and latency counts from the
//! scheduled time. A broker that stalls is charged for everything that should have been sent meanwhile.
//!
//! With a tail, one more connection per partition fetches what is produced, and the time from schedule to the record's
//! arrival there is kept too.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;

use crate::engine::{Engine, Play};
use crate::load::Gapless;
use crate::{Failure, answers, frames};

/// Nothing is recorded above this; nothing is that slow but a broken broker.
const LONGEST_NS: u64 = 60_000_000_000;
/// How long a broker may take for what is still owed when the schedule is over.
const GRACE: Duration = Duration::from_secs(20);

/// A load by the clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) requests_per_s: f64,
    /// One partition each.
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    /// Whether the records are also fetched as they come.
    pub(crate) tails: bool,
}

/// What was measured, in nanoseconds from the scheduled time.
#[derive(Debug)]
pub(crate) struct Latencies {
    /// To the producer's answer.
    pub(crate) acked: Histogram<u64>,
    /// To the arrival at the tailing reader.
    pub(crate) delivered: Histogram<u64>,
    /// How late the generator itself was in sending: what it adds to the figures above.
    pub(crate) send_lag: Histogram<u64>,
    pub(crate) requests: u64,
}

struct OpenLoop {
    pace: Pace,
    interval: Duration,
    begun: Instant,
    total: u64,
    sent: u64,
    /// Per producing connection: how many were answered.
    answered: Vec<u64>,
    done: u64,
    frames: Vec<Bytes>,
    /// Answers of the broker are checked; those of a floor have no offsets.
    gapless: Option<Gapless>,
    records: i64,
    /// Per partition, when there are tails: the offset that is fetched next.
    fetch_offsets: Vec<i64>,
    fetch_due: Vec<usize>,
    fetch_frames: Vec<frames::FetchTemplate>,
    /// Fetches without an answer: the last one of each tail is answered when its wait is over.
    latencies: Latencies,
}

/// For latencies in nanoseconds.
pub(crate) fn histogram() -> Result<Histogram<u64>, Failure> {
    Ok(Histogram::new_with_bounds(1_000, LONGEST_NS, 3)?)
}

/// What is sent: one batch per request, `records` each, connection `i` to partition `i` of `topic`.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    pub(crate) topic: String,
    pub(crate) batch: Bytes,
    pub(crate) records: usize,
    /// False for a floor, whose answers say nothing.
    pub(crate) is_broker: bool,
}

/// Runs the schedule on fresh partitions; returns when everything was answered, and delivered to the tails.
/// `at_begin` is called when the warm-up is over.
pub(crate) fn run(
    address: &str,
    traffic: &Traffic,
    pace: Pace,
    mut at_begin: impl FnMut() -> Result<(), Failure>,
) -> Result<Latencies, Failure> {
    let produce = |partition: usize| frames::produce(&traffic.topic, i32::try_from(partition)?, traffic.batch.clone());
    let tails = if pace.tails { pace.connections } else { 0 };
    let mut engine = Engine::connect(address, pace.connections + tails)?;
    let mut play = OpenLoop {
        interval: Duration::from_secs_f64(1.0 / pace.requests_per_s),
        begun: Instant::now(),
        total: 0,
        sent: 0,
        answered: vec![0; pace.connections],
        done: 0,
        frames: (0..pace.connections).map(produce).collect::<Result<_, Failure>>()?,
        gapless: traffic
            .is_broker
            .then(|| Gapless::new(pace.connections, traffic.records)),
        records: i64::try_from(traffic.records)?,
        fetch_offsets: vec![0; tails],
        fetch_due: (0..tails).collect(),
        fetch_frames: (0..tails)
            .map(|partition| frames::FetchTemplate::tail(&traffic.topic, i32::try_from(partition)?, false))
            .collect::<Result<_, Failure>>()?,
        latencies: Latencies {
            acked: histogram()?,
            delivered: histogram()?,
            send_lag: histogram()?,
            requests: 0,
        },
        pace,
    };
    let count = |duration: Duration| (duration.as_secs_f64() * pace.requests_per_s) as u64;
    // the warm-up is a part of the same schedule whose figures are thrown away
    play.total = count(pace.warm_up);
    play.begun = Instant::now();
    engine.drive(&mut play)?;
    play.latencies.acked.reset();
    play.latencies.delivered.reset();
    play.latencies.send_lag.reset();
    at_begin()?;
    let before = play.sent;
    play.total += count(pace.duration);
    // the schedule goes on from here as if it had not paused
    play.begun = Instant::now() - play.interval.mul_f64(before as f64);
    engine.drive(&mut play)?;
    play.latencies.requests = play.sent - before;
    Ok(play.latencies)
}

impl OpenLoop {
    fn scheduled(&self, request: u64) -> Instant {
        self.begun + self.interval.mul_f64(request as f64)
    }

    /// When the `nth` request of a connection was due.
    fn scheduled_on(&self, connection: usize, nth: u64) -> Instant {
        self.scheduled(nth * self.pace.connections as u64 + connection as u64)
    }

    fn on_fetched(&mut self, partition: usize, frame: &[u8], now: Instant) -> Result<(), Failure> {
        let from = self.fetch_offsets[partition];
        let mut next = from;
        answers::fetched(frame, |fetched| {
            next = answers::check_continuity(fetched.records, from, false)?.0;
            Ok(())
        })?;
        for offset in (from..next).step_by(usize::try_from(self.records)?) {
            let due = self.scheduled_on(partition, u64::try_from(offset / self.records)?);
            record(&mut self.latencies.delivered, now, due);
        }
        self.fetch_offsets[partition] = next;
        self.fetch_due.push(partition);
        Ok(())
    }

    fn is_delivered(&self) -> bool {
        self.fetch_offsets
            .iter()
            .zip(&self.answered)
            .all(|(offset, answered)| u64::try_from(*offset / self.records) == Ok(*answered))
    }
}

impl Play for OpenLoop {
    fn due(&mut self, now: Instant) -> Option<(usize, Bytes)> {
        if let Some(partition) = self.fetch_due.pop() {
            let frame = self.fetch_frames[partition].at(self.fetch_offsets[partition]);
            return Some((self.pace.connections + partition, frame));
        }
        let due = self.scheduled(self.sent);
        if self.sent >= self.total || due > now {
            return None;
        }
        record(&mut self.latencies.send_lag, now, due);
        let connection = usize::try_from(self.sent % self.pace.connections as u64).unwrap_or(0);
        self.sent += 1;
        Some((connection, self.frames[connection].clone()))
    }

    fn answer(&mut self, connection: usize, frame: &[u8], now: Instant) -> Result<(), Failure> {
        if connection >= self.pace.connections {
            return self.on_fetched(connection - self.pace.connections, frame, now);
        }
        if let Some(gapless) = &mut self.gapless {
            gapless.check(frame)?;
        }
        let due = self.scheduled_on(connection, self.answered[connection]);
        record(&mut self.latencies.acked, now, due);
        self.answered[connection] += 1;
        self.done += 1;
        Ok(())
    }

    fn wake(&self) -> Option<Instant> {
        (self.sent < self.total).then(|| self.scheduled(self.sent))
    }

    fn is_finished(&self, now: Instant) -> bool {
        self.done >= self.total && self.is_delivered() || now > self.scheduled(self.total) + GRACE
    }
}

/// Keeps the time since `due`.
pub(crate) fn record(histogram: &mut Histogram<u64>, now: Instant, due: Instant) {
    let nanoseconds = now.saturating_duration_since(due).as_nanos();
    histogram.saturating_record(u64::try_from(nanoseconds).unwrap_or(LONGEST_NS));
}
