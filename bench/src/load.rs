//! The closed loop: so many requests in flight on each connection, the next one when an answer came.
//!
//! Every answer is checked as strictly as its kind allows; the first that is wrong ends the run.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::engine::{Engine, Play};
use crate::{Failure, answers};

/// How answers are checked.
#[derive(Debug, Clone)]
pub(crate) enum Check {
    /// Produce answers: no error, and offsets without a gap.
    Produced(Gapless),
    /// Produce answers: no error. Several connections write to one partition.
    Accepted,
    /// Fetch answers: no error, records that follow each other from the offset that was asked for, so many at least.
    Fetched {
        /// Whole batches that an answer has to hold, in bytes.
        at_least_bytes: usize,
        /// Also computes the CRC of every batch.
        check_crc: bool,
    },
    /// Answers of a floor, by their length.
    Length(usize),
}

/// The offset that the next batch of each partition has to get: only one connection writes to a partition.
#[derive(Debug, Clone)]
pub(crate) struct Gapless {
    next: Vec<i64>,
    records: i64,
}

impl Gapless {
    /// Fresh partitions, and batches of so many records.
    pub(crate) fn new(partitions: usize, records: usize) -> Self {
        Self {
            next: vec![0; partitions],
            records: i64::try_from(records).unwrap_or(i64::MAX),
        }
    }

    pub(crate) fn check(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let records = self.records;
        answers::produced(frame, |partition, base_offset| {
            let next = usize::try_from(partition)
                .ok()
                .and_then(|index| self.next.get_mut(index));
            let next = next.ok_or("an answer for a partition that was not asked for")?;
            if *next != base_offset {
                return Err(format!("partition {partition}: base offset {base_offset}, not {next}").into());
            }
            *next += records;
            Ok(())
        })
    }
}

/// A prepared request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) frame: Bytes,
    /// For a fetch: the offset that it asks for.
    pub(crate) offset: i64,
}

impl From<Bytes> for Request {
    fn from(frame: Bytes) -> Self {
        Self { frame, offset: 0 }
    }
}

/// When a closed loop ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until {
    pub(crate) duration: Duration,
    pub(crate) max_requests: u64,
}

impl Until {
    pub(crate) fn seconds(seconds: f64) -> Self {
        Self {
            duration: Duration::from_secs_f64(seconds),
            max_requests: u64::MAX,
        }
    }

    pub(crate) fn requests(max_requests: u64) -> Self {
        Self {
            duration: Duration::from_secs(3_600),
            max_requests,
        }
    }

    pub(crate) fn or_requests(self, max_requests: u64) -> Self {
        Self { max_requests, ..self }
    }
}

/// What a run did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) requests: u64,
    pub(crate) received_bytes: u64,
}

/// Connections with the requests that each sends in turn.
pub(crate) struct ClosedLoop {
    engine: Engine,
    state: State,
    in_flight: usize,
}

#[derive(Debug)]
struct State {
    requests: Vec<Vec<Request>>,
    /// Per connection: which request is sent next, and which is answered next.
    sent: Vec<usize>,
    answered: Vec<usize>,
    /// Connections that may send one more.
    free: VecDeque<usize>,
    check: Check,
    owed: u64,
    started: u64,
    done: u64,
    max_requests: u64,
    ends: Instant,
}

impl ClosedLoop {
    /// Connects; `requests[i]` are those of connection `i`.
    pub(crate) fn connect(
        address: &str,
        requests: Vec<Vec<Request>>,
        in_flight: usize,
        check: Check,
    ) -> Result<Self, Failure> {
        let connections = requests.len();
        Ok(Self {
            engine: Engine::connect(address, connections)?,
            state: State {
                requests,
                sent: vec![0; connections],
                answered: vec![0; connections],
                free: VecDeque::new(),
                check,
                owed: 0,
                started: 0,
                done: 0,
                max_requests: 0,
                ends: Instant::now(),
            },
            in_flight,
        })
    }

    /// Runs until the time is over or enough requests were sent; everything sent is answered when this returns.
    pub(crate) fn run(&mut self, until: Until) -> Result<Done, Failure> {
        let state = &mut self.state;
        state.free.clear();
        for connection in 0..state.requests.len() {
            state.free.extend(std::iter::repeat_n(connection, self.in_flight));
        }
        (state.started, state.done, state.max_requests) = (0, 0, until.max_requests);
        state.ends = Instant::now() + until.duration;
        let received_before = self.engine.received_bytes;
        self.engine.drive(state)?;
        Ok(Done {
            requests: self.state.done,
            received_bytes: self.engine.received_bytes - received_before,
        })
    }
}

impl Play for State {
    fn due(&mut self, now: Instant) -> Option<(usize, Bytes)> {
        if self.free.is_empty() || now >= self.ends || self.started >= self.max_requests {
            return None;
        }
        let connection = self.free.pop_front()?;
        let requests = &self.requests[connection];
        let request = &requests[self.sent[connection] % requests.len()];
        self.sent[connection] += 1;
        self.started += 1;
        self.owed += 1;
        Some((connection, request.frame.clone()))
    }

    fn answer(&mut self, connection: usize, frame: &[u8], _now: Instant) -> Result<(), Failure> {
        let requests = &self.requests[connection];
        let request = &requests[self.answered[connection] % requests.len()];
        match &mut self.check {
            Check::Produced(gapless) => gapless.check(frame)?,
            Check::Accepted => answers::produced(frame, |_, _| Ok(()))?,
            Check::Fetched {
                at_least_bytes,
                check_crc,
            } => check_fetched(frame, request.offset, *at_least_bytes, *check_crc)?,
            Check::Length(length) if frame.len() == *length => {}
            Check::Length(length) => return Err(format!("an answer of {} bytes, not {length}", frame.len()).into()),
        }
        self.answered[connection] += 1;
        self.owed -= 1;
        self.done += 1;
        self.free.push_back(connection);
        Ok(())
    }

    fn wake(&self) -> Option<Instant> {
        None
    }

    fn is_finished(&self, now: Instant) -> bool {
        self.owed == 0 && (now >= self.ends || self.started >= self.max_requests)
    }
}

fn check_fetched(frame: &[u8], offset: i64, at_least_bytes: usize, check_crc: bool) -> Result<(), Failure> {
    let mut whole = 0;
    answers::fetched(frame, |fetched| {
        whole += answers::check_continuity(fetched.records, offset, check_crc)?.1;
        Ok(())
    })?;
    if whole < at_least_bytes {
        return Err(format!("an answer with {whole} bytes of whole batches, expected {at_least_bytes}").into());
    }
    Ok(())
}
