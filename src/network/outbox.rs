//! Bytes on their way to one socket.
//!
//! Invariants: pieces leave in order; memory pieces are gathered into one write, file pieces go by `sendfile` without
//! passing through this process; a file that turns out shorter than its slice ends the connection, since the announced
//! frame cannot be completed.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Buf;
use rustix::net::SendFlags;
use storage::log::read_plan::FileSlice;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::handlers::reply::{FramePart, ResponseFrame};

/// Pieces gathered into one write.
const GATHER: usize = 64;
/// Most bytes of a file handed to the kernel at once.
const SENDFILE_BYTES: usize = 1 << 20;
/// After so many bytes other connections get their turn.
const TURN_BYTES: usize = 4 << 20;

/// What a flush came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Everything is with the kernel.
    Empty,
    /// The socket takes no more now.
    Blocked,
    /// The turn is over; there is more to send.
    Turn,
}

/// The queue of one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    parts: VecDeque<FramePart>,
    bytes: usize,
}

impl Outbox {
    /// Queues one response.
    pub fn push(&mut self, frame: ResponseFrame) {
        self.bytes += frame.len();
        match frame {
            ResponseFrame::Whole(bytes) => self.parts.push_back(FramePart::Memory(bytes)),
            ResponseFrame::Parts(parts) => self.parts.extend(parts.into_iter().filter(|part| !part.is_empty())),
            ResponseFrame::Unencodable => {}
        }
    }

    /// Whether everything was sent.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes that are not sent yet.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sends what the socket takes without waiting.
    ///
    /// # Errors
    /// The socket's errors, and a file that ends inside its slice.
    pub fn flush(&mut self, stream: &TcpStream) -> io::Result<Flushed> {
        let mut sent_bytes = 0;
        while let Some(part) = self.parts.front() {
            if sent_bytes >= TURN_BYTES {
                return Ok(Flushed::Turn);
            }
            let sent = match part {
                FramePart::Memory(_) => self.write_memory(stream),
                FramePart::File(slice) => send_file(stream, slice),
            };
            match sent {
                Ok(bytes) => {
                    sent_bytes += bytes;
                    self.advance(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Flushed::Empty)
    }

    fn write_memory(&self, stream: &TcpStream) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); GATHER];
        let mut count = 0;
        for part in self.parts.iter().take(GATHER) {
            let FramePart::Memory(bytes) = part else { break };
            slices[count] = IoSlice::new(bytes);
            count += 1;
        }
        let before_file = matches!(self.parts.get(count), Some(FramePart::File(_)));
        let sent = if before_file && count == 1 {
            // the head of a response travels with the first bytes of its records, not in a packet of its own
            let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
            stream.try_io(Interest::WRITABLE, || Ok(rustix::net::send(stream, &slices[0], flags)?))?
        } else {
            stream.try_write_vectored(&slices[..count])?
        };
        match sent {
            0 => Err(io::ErrorKind::WriteZero.into()),
            bytes => Ok(bytes),
        }
    }

    fn advance(&mut self, mut sent: usize) {
        self.bytes -= sent;
        while sent > 0 {
            let part = self.parts.front_mut().expect("not more is sent than was queued");
            let step = sent.min(part.len());
            match part {
                FramePart::Memory(bytes) => bytes.advance(step),
                FramePart::File(slice) => {
                    slice.position += step as u64;
                    slice.length -= step;
                }
            }
            sent -= step;
            if self.parts.front().is_some_and(FramePart::is_empty) {
                self.parts.pop_front();
            }
        }
    }
}

fn send_file(stream: &TcpStream, slice: &FileSlice) -> io::Result<usize> {
    let count = slice.length.min(SENDFILE_BYTES);
    let sent = match slice.file.as_fd() {
        Some(file) => {
            let send = || {
                stream.try_io(Interest::WRITABLE, || {
                    let mut position = slice.position;
                    Ok(rustix::fs::sendfile(stream, file, Some(&mut position), count)?)
                })
            };
            // bytes that have to come from the disk first must not hold up the other connections of this worker
            let cold = slice.file.read_at_nowait(&mut [0], slice.position)?.is_none();
            if cold {
                tokio::task::block_in_place(send)?
            } else {
                send()?
            }
        }
        None => {
            let mut buffer = vec![0; count.min(64 << 10)];
            let read = slice.file.read_at(&mut buffer, slice.position)?;
            if read == 0 {
                0
            } else {
                stream.try_write(&buffer[..read])?
            }
        }
    };
    if sent == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "a segment ended inside a slice that was to be sent",
        ));
    }
    Ok(sent)
}
