//! The engine of the generator: many connections on one thread, prepared requests out, answers in, next to no work
//! between.
//!
//! Invariants: answers of a connection come to [`Play::answer`] in order and whole; everything that is due is queued
//! before anything is written, so that requests for one connection leave with one call; a request is a slice of memory
//! made before, never a copy.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use crate::poller::Poller;
use crate::{Failure, wire};

/// What is read with one call.
const SCRATCH_BYTES: usize = 256 << 10;
/// Requests written with one call.
const GATHER: usize = 64;
/// The kernel's sleeps end this much late; nearer than that a deadline is awaited awake.
const SLACK: Duration = Duration::from_micros(80);
/// Without an answer for so long something hangs.
const SILENCE: Duration = Duration::from_secs(30);

/// What is sent when, and what is made of the answers.
pub(crate) trait Play {
    /// The next request that is due now, with its connection.
    fn due(&mut self, now: Instant) -> Option<(usize, Bytes)>;
    /// An answer, without its length prefix.
    fn answer(&mut self, connection: usize, frame: &[u8], now: Instant) -> Result<(), Failure>;
    /// When a request is due by the clock alone.
    fn wake(&self) -> Option<Instant>;
    /// Whether everything was sent and answered.
    fn is_finished(&self, now: Instant) -> bool;
}

/// One connection.
#[derive(Debug)]
struct Link {
    stream: TcpStream,
    out: VecDeque<Bytes>,
    /// A frame that is not complete yet, with its length prefix: `filled` bytes are there.
    partial: Vec<u8>,
    filled: usize,
    is_blocked: bool,
}

/// Connections to one broker.
pub(crate) struct Engine {
    poller: Poller,
    links: Vec<Link>,
    scratch: Vec<u8>,
    /// Connections with something to write.
    touched: Vec<usize>,
    /// Bytes of answers received so far.
    pub(crate) received_bytes: u64,
}

impl Engine {
    /// Opens so many connections.
    pub(crate) fn connect(address: &str, connections: usize) -> Result<Self, Failure> {
        let poller = Poller::new()?;
        let links = (0..connections)
            .map(|token| {
                let stream = wire::connect(address)?;
                stream.set_nonblocking(true)?;
                poller.add(&stream, token)?;
                Ok(Link {
                    stream,
                    out: VecDeque::new(),
                    partial: Vec::new(),
                    filled: 0,
                    is_blocked: false,
                })
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Self {
            poller,
            links,
            scratch: vec![0; SCRATCH_BYTES],
            touched: Vec::new(),
            received_bytes: 0,
        })
    }

    /// Plays until the play is finished.
    pub(crate) fn drive(&mut self, play: &mut impl Play) -> Result<(), Failure> {
        let mut heard = Instant::now();
        loop {
            let now = Instant::now();
            self.send_due(play, now)?;
            if play.is_finished(now) {
                return Ok(());
            }
            self.poller.wait(Some(self.patience(play, now)))?;
            let now = Instant::now();
            let mut index = 0;
            while let Some(ready) = self.poller.ready(index) {
                heard = now;
                index += 1;
                if ready.writable {
                    self.flush(ready.token)?;
                }
                self.receive(ready.token, play, now)?;
            }
            if now.duration_since(heard) > SILENCE && play.wake().is_none() {
                return Err(format!("no answer for {} s", SILENCE.as_secs()).into());
            }
        }
    }

    fn patience(&self, play: &impl Play, now: Instant) -> Duration {
        match play.wake() {
            None => Duration::from_millis(200),
            Some(wake) => wake
                .saturating_duration_since(now)
                .saturating_sub(SLACK)
                .min(Duration::from_millis(200)),
        }
    }

    fn send_due(&mut self, play: &mut impl Play, now: Instant) -> Result<(), Failure> {
        while let Some((token, request)) = play.due(now) {
            let link = &mut self.links[token];
            if link.out.is_empty() {
                self.touched.push(token);
            }
            link.out.push_back(request);
        }
        while let Some(token) = self.touched.pop() {
            if !self.links[token].is_blocked {
                self.flush(token)?;
            }
        }
        Ok(())
    }

    /// Writes what is queued, as far as the socket takes it.
    fn flush(&mut self, token: usize) -> Result<(), Failure> {
        let link = &mut self.links[token];
        while !link.out.is_empty() {
            let mut slices = [IoSlice::new(&[]); GATHER];
            let count = link.out.len().min(GATHER);
            for (slice, request) in slices.iter_mut().zip(&link.out) {
                *slice = IoSlice::new(request);
            }
            match link.stream.write_vectored(&slices[..count]) {
                Ok(sent) => advance(&mut link.out, sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !link.is_blocked {
                        link.is_blocked = true;
                        self.poller.watch_writable(&link.stream, token, true)?;
                    }
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if link.is_blocked {
            link.is_blocked = false;
            self.poller.watch_writable(&link.stream, token, false)?;
        }
        Ok(())
    }

    /// Reads what is there and hands whole answers over.
    fn receive(&mut self, token: usize, play: &mut impl Play, now: Instant) -> Result<(), Failure> {
        let link = &mut self.links[token];
        loop {
            let (buffer, is_partial) = if link.filled == 0 {
                (&mut self.scratch[..], false)
            } else {
                let needed = needed(&link.partial[..link.filled])?;
                if link.partial.len() < needed {
                    link.partial.resize(needed, 0);
                }
                (&mut link.partial[link.filled..needed], true)
            };
            let room = buffer.len();
            let read = match (&link.stream).read(buffer) {
                Ok(0) => return Err("the broker closed a connection".into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.received_bytes += read as u64;
            if is_partial {
                link.filled += read;
                if link.filled >= 4 && link.filled == needed(&link.partial[..link.filled])? {
                    play.answer(token, &link.partial[4..link.filled], now)?;
                    link.filled = 0;
                }
            } else {
                let mut rest = &self.scratch[..read];
                while rest.len() >= 4 && rest.len() >= needed(rest)? {
                    let (frame, behind) = rest.split_at(needed(rest)?);
                    play.answer(token, &frame[4..], now)?;
                    rest = behind;
                }
                if link.partial.len() < rest.len() {
                    link.partial.resize(rest.len().max(64), 0);
                }
                link.partial[..rest.len()].copy_from_slice(rest);
                link.filled = rest.len();
            }
            if read < room {
                return Ok(());
            }
        }
    }
}

/// Length of the frame that begins here, with its prefix; of the prefix alone while that is not complete.
fn needed(begun: &[u8]) -> Result<usize, Failure> {
    let Some(prefix) = begun.first_chunk::<4>() else {
        return Ok(4);
    };
    let length = usize::try_from(i32::from_be_bytes(*prefix)).map_err(|_| "an answer of negative length")?;
    Ok(4 + length)
}

fn advance(out: &mut VecDeque<Bytes>, mut sent: usize) {
    while sent > 0 {
        let Some(first) = out.front_mut() else { return };
        let step = sent.min(first.len());
        first.advance(step);
        sent -= step;
        if first.is_empty() {
            out.pop_front();
        }
    }
}

/// Connects from one of several loopback addresses, so that ten thousand connections do not use up one address' ports.
pub(crate) fn connect_from(address: &str, index: usize) -> Result<TcpStream, Failure> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
    let to: SocketAddr = address.parse()?;
    let last = u8::try_from(2 + index % 200)?;
    let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0);
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &from)?;
    connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}
