//! The fetch generator: reads a partition from its start to its end again and again, on a few connections.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use crate::{Failure, wire};

/// Reads with the prepared requests, in turn, on each connection; returns bytes received. `expected_bytes`: an answer
/// that is shorter counts as an error.
pub(crate) fn run(
    address: &str,
    requests: &[Bytes],
    connections: usize,
    duration: Duration,
    expected_bytes: usize,
) -> Result<u64, Failure> {
    let stop = AtomicBool::new(false);
    let received = AtomicU64::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..connections)
            .map(|index| {
                let (stop, received) = (&stop, &received);
                scope.spawn(move || {
                    let mut stream = wire::connect(address)?;
                    let mut answer = Vec::new();
                    let mut turn = index;
                    while !stop.load(Ordering::Relaxed) {
                        std::io::Write::write_all(&mut stream, &requests[turn % requests.len()])?;
                        wire::read_frame(&mut stream, &mut answer)?;
                        if answer.len() < expected_bytes {
                            return Err(
                                format!("an answer of {} bytes, expected {expected_bytes}", answer.len()).into(),
                            );
                        }
                        received.fetch_add(answer.len() as u64, Ordering::Relaxed);
                        turn += 1;
                    }
                    Ok::<(), Failure>(())
                })
            })
            .collect();
        thread::sleep(duration);
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().map_err(|_| "a reader panicked")??;
        }
        Ok::<(), Failure>(())
    })?;
    Ok(received.into_inner())
}
