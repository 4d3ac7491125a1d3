//! The produce generator: a few connections, several requests in flight on each, every answer checked.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use crate::{Failure, wire};

/// What one generator run did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// Requests that were answered.
    pub(crate) requests: u64,
    /// Requests whose answer carried an error.
    pub(crate) errors: u64,
}

/// How requests are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Connections.
    pub(crate) connections: usize,
    /// Requests in flight on each.
    pub(crate) in_flight: usize,
    /// How long.
    pub(crate) duration: Duration,
}

/// Sends `frames[i]` over connection `i` (modulo) again and again. `checked`: answers are Produce responses.
pub(crate) fn run(address: &str, frames: &[Bytes], load: Load, checked: bool) -> Result<Sent, Failure> {
    let stop = AtomicBool::new(false);
    let requests = AtomicU64::new(0);
    let errors = AtomicU64::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..load.connections)
            .map(|index| {
                let frame = frames[index % frames.len()].clone();
                let (stop, requests, errors) = (&stop, &requests, &errors);
                scope.spawn(move || {
                    let (sent, failed) = connection(address, &frame, load.in_flight, stop, checked)?;
                    requests.fetch_add(sent, Ordering::Relaxed);
                    errors.fetch_add(failed, Ordering::Relaxed);
                    Ok::<(), Failure>(())
                })
            })
            .collect();
        thread::sleep(load.duration);
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().map_err(|_| "a generator thread panicked")??;
        }
        Ok::<(), Failure>(())
    })?;
    Ok(Sent {
        requests: requests.into_inner(),
        errors: errors.into_inner(),
    })
}

fn connection(
    address: &str,
    frame: &[u8],
    in_flight: usize,
    stop: &AtomicBool,
    checked: bool,
) -> Result<(u64, u64), Failure> {
    let mut stream = wire::connect(address)?;
    let mut answer = Vec::new();
    let (mut owed, mut sent, mut errors) = (0, 0, 0);
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        while owed < in_flight && !stopping {
            stream.write_all(frame)?;
            owed += 1;
        }
        if owed == 0 {
            return Ok((sent, errors));
        }
        wire::read_frame(&mut stream, &mut answer)?;
        owed -= 1;
        sent += 1;
        if checked && produce_error(&answer) != Some(0) {
            errors += 1;
        }
    }
}

/// Error code of a Produce v9 answer with one topic and one partition: header (correlation id, tags), then the compact
/// array of topics, the name, the compact array of partitions, the index, the error code.
fn produce_error(answer: &[u8]) -> Option<i16> {
    let name_length = usize::from(*answer.get(6)?).checked_sub(1)?;
    let at = 7 + name_length + 1 + 4;
    Some(i16::from_be_bytes(answer.get(at..at + 2)?.try_into().ok()?))
}
