//! The bare relays that no broker can undercut: receive, check the CRC, write; and answer by `sendfile`.
//!
//! They speak just enough of the protocol for the same generator: frames in, answers of the right size out, no parsing.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::Failure;

const BUFFER_BYTES: usize = 256 << 10;
/// Data answered per request by the `sendfile` floor.
pub(crate) const SENDFILE_BYTES: usize = 1 << 20;
/// How the file of the `sendfile` floor is written.
const PIECE_BYTES: usize = 16 << 10;
/// Length of the answer to a Produce request of one partition, which the relay imitates.
const PRODUCE_ANSWER: usize = 60;

/// Serves until it is ended.
pub(crate) fn serve(kind: &str, port: &str, path: &str) -> Result<(), Failure> {
    let file = Arc::new(
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?,
    );
    let end = Arc::new(AtomicU64::new(0));
    let sends = match kind {
        "relay" => false,
        "sendfile" => true,
        _ => return Err("a floor is relay or sendfile".into()),
    };
    if sends {
        // in pieces of the size of a batch: how a file was written decides how cheaply it is sent
        for piece in 0..64 * SENDFILE_BYTES / PIECE_BYTES {
            file.write_all_at(&[7; PIECE_BYTES], (piece * PIECE_BYTES) as u64)?;
        }
    }
    let listener = TcpListener::bind(("127.0.0.1", port.parse::<u16>()?))?;
    for stream in listener.incoming() {
        let (stream, file, end) = (stream?, Arc::clone(&file), Arc::clone(&end));
        stream.set_nodelay(true)?;
        // a connection's end is the generator's business
        thread::spawn(move || {
            if sends {
                answer_by_sendfile(stream, &file)
            } else {
                relay(stream, &file, &end)
            }
        });
    }
    Ok(())
}

/// Receives into one buffer, checks each frame's CRC, writes what came with one call, answers each frame.
fn relay(mut stream: TcpStream, file: &File, end: &AtomicU64) -> Result<(), Failure> {
    let mut buffer = vec![0; BUFFER_BYTES.max(2 << 20)];
    let mut filled = 0;
    let mut answer = vec![0; PRODUCE_ANSWER];
    answer[..4].copy_from_slice(&u32::try_from(PRODUCE_ANSWER - 4)?.to_be_bytes());
    loop {
        let room = (filled + BUFFER_BYTES).min(buffer.len());
        let read = stream.read(&mut buffer[filled..room])?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut parsed = 0;
        let mut answers = Vec::new();
        while filled - parsed >= 4 {
            let length = u32::from_be_bytes(buffer[parsed..parsed + 4].try_into()?) as usize;
            if filled - parsed < 4 + length {
                break;
            }
            let frame = &buffer[parsed + 4..parsed + 4 + length];
            if crc32c::crc32c(frame) == 1 {
                return Err("unlikely".into());
            }
            answers.extend_from_slice(&answer);
            parsed += 4 + length;
        }
        let position = end.fetch_add(parsed as u64, Ordering::Relaxed);
        preallocate(file, position, parsed as u64)?;
        file.write_all_at(&buffer[..parsed], position)?;
        buffer.copy_within(parsed..filled, 0);
        filled -= parsed;
        stream.write_all(&answers)?;
    }
}

/// Reserves blocks ahead in steps, as the broker does.
fn preallocate(file: &File, position: u64, length: u64) -> Result<(), Failure> {
    const STEP: u64 = 16 << 20;
    if position == 0 || position / STEP != (position + length) / STEP {
        let start = (position + length) / STEP * STEP;
        rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, start, STEP)?;
    }
    Ok(())
}

/// Answers every request with a frame of 1 MiB out of the file.
fn answer_by_sendfile(mut stream: TcpStream, file: &File) -> Result<(), Failure> {
    let mut request = Vec::new();
    let mut turn = 0_u64;
    loop {
        crate::wire::read_frame(&mut stream, &mut request)?;
        stream.write_all(&u32::try_from(SENDFILE_BYTES)?.to_be_bytes())?;
        let mut position = (turn % 64) * SENDFILE_BYTES as u64;
        turn += 1;
        let mut left = SENDFILE_BYTES;
        while left > 0 {
            left -= rustix::fs::sendfile(&stream, file, Some(&mut position), left)?;
        }
    }
}
