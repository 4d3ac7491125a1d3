//! The bare relays that no broker can undercut, as processes of their own that speak just enough of the protocol for the
//! same generator: frames in, answers of the right size out, no parsing.
//!
//! - `relay`: receive, CRC, append; whatever one read brought is written with one call.
//! - `echo`: the same without the CRC, for requests so small that bytes do not count.
//! - `sync`: receive, append, `fdatasync` for each request; one thread and one file per connection.
//! - `sendfile`: answers every request with a stretch of a file.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use crate::Failure;
use crate::poller::Poller;

const BUFFER_BYTES: usize = 256 << 10;
/// How the file of the `sendfile` floor is written.
const PIECE_BYTES: usize = 16 << 10;
/// As much as the readers of a broker go through: a smaller file would be read from the processor's caches.
pub(crate) const SENDFILE_FILE_BYTES: usize = 256 << 20;
/// Length of the answer to a Produce request of one partition, with its prefix, which the relays imitate.
const PRODUCE_ANSWER: usize = 60;
/// The same without the prefix, as the generator counts.
pub(crate) const PRODUCE_ANSWER_BYTES: usize = PRODUCE_ANSWER - 4;
/// Blocks are reserved ahead in steps, as the broker does.
const ALLOCATION_STEP: u64 = 16 << 20;

/// Serves until it is ended. `answer_bytes`: data per answer of `sendfile`.
pub(crate) fn serve(kind: &str, port: &str, path: &str, answer_bytes: usize) -> Result<(), Failure> {
    let path = Path::new(path);
    let file = create(path)?;
    if kind == "sendfile" {
        // in pieces of the size of a batch: how a file was written decides how cheaply it is sent
        for piece in 0..SENDFILE_FILE_BYTES / PIECE_BYTES {
            file.write_all_at(&[7; PIECE_BYTES], (piece * PIECE_BYTES) as u64)?;
        }
    }
    let listener = TcpListener::bind(("127.0.0.1", port.parse::<u16>()?))?;
    match kind {
        "relay" => relay(&listener, &file, true),
        "echo" => relay(&listener, &file, false),
        "sync" => threads(&listener, path, sync),
        "sendfile" => threads(&listener, path, move |stream, _| {
            answer_by_sendfile(stream, &file, answer_bytes)
        }),
        _ => Err("a floor is relay, echo, sync or sendfile".into()),
    }
}

fn create(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    Ok(options.read(true).write(true).create(true).truncate(true).open(path)?)
}

/// One thread per connection; each is told the path of the floor.
fn threads(
    listener: &TcpListener,
    path: &Path,
    serve: impl Fn(TcpStream, &Path) -> Result<(), Failure> + Send + Sync + 'static,
) -> Result<(), Failure> {
    let serve = Arc::new(serve);
    for stream in listener.incoming() {
        let (stream, serve, path) = (stream?, Arc::clone(&serve), path.to_path_buf());
        stream.set_nodelay(true)?;
        // a connection's end is the generator's business
        thread::spawn(move || serve(stream, &path));
    }
    Ok(())
}

/// Where the frames of a stream end, found by their prefixes alone.
#[derive(Debug, Default)]
struct FrameCount {
    prefix: Vec<u8>,
    /// Bytes of the current frame that did not come yet.
    missing: usize,
}

impl FrameCount {
    /// How many frames end in these bytes, which go on where the last ones ended.
    fn ended_in(&mut self, mut bytes: &[u8]) -> usize {
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.missing == 0 {
                let step = (4 - self.prefix.len()).min(bytes.len());
                self.prefix.extend_from_slice(&bytes[..step]);
                bytes = &bytes[step..];
                if let Some(prefix) = self.prefix.first_chunk::<4>() {
                    self.missing = u32::from_be_bytes(*prefix) as usize;
                    self.prefix.clear();
                }
            } else {
                let step = self.missing.min(bytes.len());
                bytes = &bytes[step..];
                self.missing -= step;
                ended += usize::from(self.missing == 0);
            }
        }
        ended
    }
}

/// Receives into one buffer that stays in the cache, checks a CRC, appends what came with one call, answers each frame
/// that ended. One thread, epoll.
fn relay(listener: &TcpListener, file: &File, with_crc: bool) -> Result<(), Failure> {
    const LISTENER: usize = usize::MAX >> 1;
    let mut poller = Poller::new()?;
    listener.set_nonblocking(true)?;
    poller.add(listener, LISTENER)?;
    let mut streams: Vec<Option<(TcpStream, FrameCount)>> = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut answers = vec![0; PRODUCE_ANSWER * 4_096];
    for answer in answers.chunks_mut(PRODUCE_ANSWER) {
        answer[..4].copy_from_slice(&u32::try_from(PRODUCE_ANSWER_BYTES)?.to_be_bytes());
    }
    let mut end = 0;
    loop {
        poller.wait(None)?;
        let mut index = 0;
        while let Some(ready) = poller.ready(index) {
            index += 1;
            if ready.token == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                poller.add(&stream, streams.len())?;
                streams.push(Some((stream, FrameCount::default())));
                continue;
            }
            let Some(Some((stream, frames))) = streams.get_mut(ready.token) else {
                continue;
            };
            let read = match stream.read(&mut buffer) {
                Ok(0) => 0,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(_) => 0,
            };
            if read == 0 {
                streams[ready.token] = None;
                if streams.iter().all(Option::is_none) {
                    // the round is over: its data goes, as a broker's does with its topic
                    streams.clear();
                    file.set_len(0)?;
                    end = 0;
                }
                continue;
            }
            let received = &buffer[..read];
            if with_crc {
                std::hint::black_box(crc32c::crc32c(received));
            }
            preallocate(file, end, read as u64)?;
            file.write_all_at(received, end)?;
            end += read as u64;
            let answered = frames.ended_in(received) * PRODUCE_ANSWER;
            // so few bytes always fit into the socket's buffer
            stream.write_all(&answers[..answered])?;
        }
    }
}

/// One `fdatasync` for each request before its answer.
fn sync(mut stream: TcpStream, path: &Path) -> Result<(), Failure> {
    // the name goes at once: nothing is left to be deleted
    let own = path.with_extension(stream.peer_addr()?.port().to_string());
    let file = create(&own)?;
    std::fs::remove_file(&own)?;
    let (mut end, mut request) = (0, Vec::new());
    let mut answer = [0; PRODUCE_ANSWER];
    answer[..4].copy_from_slice(&u32::try_from(PRODUCE_ANSWER_BYTES)?.to_be_bytes());
    loop {
        crate::wire::read_frame(&mut stream, &mut request)?;
        let length = request.len() as u64;
        preallocate(&file, end, length)?;
        file.write_all_at(&request, end)?;
        end += length;
        file.sync_data()?;
        stream.write_all(&answer)?;
    }
}

fn preallocate(file: &File, position: u64, length: u64) -> Result<(), Failure> {
    if position == 0 || position / ALLOCATION_STEP != (position + length) / ALLOCATION_STEP {
        let start = (position + length) / ALLOCATION_STEP * ALLOCATION_STEP;
        rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, start, ALLOCATION_STEP)?;
    }
    Ok(())
}

/// Answers every request with a frame of so many bytes out of the file.
fn answer_by_sendfile(mut stream: TcpStream, file: &File, answer_bytes: usize) -> Result<(), Failure> {
    let mut request = Vec::new();
    let mut turn = 0;
    let turns = SENDFILE_FILE_BYTES / answer_bytes;
    loop {
        crate::wire::read_frame(&mut stream, &mut request)?;
        stream.write_all(&u32::try_from(answer_bytes)?.to_be_bytes())?;
        let mut position = ((turn % turns) * answer_bytes) as u64;
        turn += 1;
        let mut left = answer_bytes;
        while left > 0 {
            left -= rustix::fs::sendfile(&stream, file, Some(&mut position), left)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_wherever_the_stream_is_cut() {
        let frame = |length: usize| [&(length as u32).to_be_bytes()[..], &vec![9; length]].concat();
        let stream = [frame(3), frame(1), frame(700), frame(5)].concat();
        for step in 1..stream.len() {
            let mut count = FrameCount::default();
            let ended: usize = stream.chunks(step).map(|chunk| count.ended_in(chunk)).sum();
            assert_eq!(ended, 4, "in pieces of {step}");
        }
        let mut count = FrameCount::default();
        assert_eq!(count.ended_in(&stream[..stream.len() - 1]), 3);
    }
}
