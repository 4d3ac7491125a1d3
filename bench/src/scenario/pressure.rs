//! N: bad clients beside a good one. 1,000 readers that ask for 1 MiB again and again and never read; 1,000 connections
//! that announce a frame of 100 MB and send a few bytes of it; a flood of connections that open and close. The broker's
//! memory has to stay in its budget, and a client with 1,000 requests per second has to be served.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::load::{Check, ClosedLoop, Gapless, Request, Until};
use crate::run::{Bench, Figures, Options, create_topic, now_ms};
use crate::scenario::idle::good_client;
use crate::target::Target;
use crate::{Failure, cpu, engine, frames};

const BAD: usize = 1_000;
const ANNOUNCED_BYTES: u32 = 100 << 20;

/// Runs it.
pub(crate) fn run(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    let rounds = bench.options.rounds.min(2);
    bench.repeat(id, rounds, round)
}

fn round(options: &Options, binary: &Path, round: usize) -> Result<Figures, Failure> {
    let (target, _) = Target::broker(binary, &options.path(&format!("N-{round}")), false)?;
    let seconds = options.seconds;
    let high = || Ok::<f64, Failure>(cpu::memory_bytes(target.pid(), "VmHWM")? as f64 / 1e6);
    fill(&target)?;
    let (alone, _) = good_client(&target, "alone", seconds)?;
    let mut figures = vec![("alone: p99, µs", alone), ("alone: highest RSS, MB", high()?)];

    let readers = open(&target, |stream| {
        let request = frames::fetch("N", 0, 0, 1 << 20)?;
        Ok(send_until_full(stream, &request, 64)?)
    })?;
    // the first answers fill the sockets' buffers: more than a gigabyte is sent for nothing
    let (burst, _) = good_client(&target, "beside-burst", seconds)?;
    let (p99, lost) = good_client(&target, "beside-readers", seconds)?;
    figures.extend([
        ("readers that do not read, as they come: p99, µs", burst),
        ("readers that do not read: p99, µs", p99),
        ("readers that do not read: unanswered", lost),
        ("readers that do not read: highest RSS, MB", high()?),
    ]);
    drop(readers);

    let senders = open(&target, |stream| {
        stream.write_all(&ANNOUNCED_BYTES.to_be_bytes())?;
        Ok(stream.write_all(&[0; 1_000])?)
    })?;
    let (p99, lost) = good_client(&target, "beside-senders", seconds)?;
    figures.extend([
        ("frames that never come: p99, µs", p99),
        ("frames that never come: unanswered", lost),
        ("frames that never come: highest RSS, MB", high()?),
    ]);
    drop(senders);

    let (flooded, p99, lost) = flood(&target, seconds)?;
    figures.extend([
        ("connection flood: connections per s", flooded),
        ("connection flood: p99, µs", p99),
        ("connection flood: unanswered", lost),
        ("connection flood: highest RSS, MB", high()?),
    ]);
    Ok(figures)
}

/// Something to read.
fn fill(target: &Target) -> Result<(), Failure> {
    create_topic(&target.address, "N", 1, &[])?;
    let frame = frames::produce("N", 0, frames::batch(64, 1_000, now_ms()?))?;
    let check = Check::Produced(Gapless::new(1, 64));
    ClosedLoop::connect(&target.address, vec![vec![Request::from(frame)]], 5, check)?.run(Until::requests(1_000))?;
    Ok(())
}

fn open(
    target: &Target,
    mut begin: impl FnMut(&mut TcpStream) -> Result<(), Failure>,
) -> Result<Vec<TcpStream>, Failure> {
    (0..BAD)
        .map(|index| {
            let mut stream = engine::connect_from(&target.address, index)?;
            begin(&mut stream)?;
            Ok(stream)
        })
        .collect()
}

/// Sends the request again and again, until the socket takes no more.
fn send_until_full(stream: &mut TcpStream, request: &[u8], most: usize) -> Result<(), std::io::Error> {
    stream.set_nonblocking(true)?;
    for _ in 0..most {
        match stream.write_all(request) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Opens and closes connections as fast as one thread can, beside the good client.
fn flood(target: &Target, seconds: f64) -> Result<(f64, f64, f64), Failure> {
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut index = 0;
            while !stop.load(Ordering::Relaxed) {
                // a port that is not free again yet is no fault of the broker
                match engine::connect_from(&target.address, index) {
                    Ok(stream) => drop(stream),
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
                index += 1;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let seen = good_client(target, "beside-flood", seconds);
        stop.store(true, Ordering::Relaxed);
        let (p99, lost) = seen?;
        Ok((count.load(Ordering::Relaxed) as f64 / seconds, p99, lost))
    })
}
