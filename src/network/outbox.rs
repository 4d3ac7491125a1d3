//! Bytes on their way to one socket.
//!
//! Invariants: nothing here waits for the disk: file pieces that are not in memory are brought there by [`ColdReads`] first;
//! pieces leave in order; memory pieces are gathered into one write, file pieces go by `sendfile` without
//! passing through this process; a file that turns out shorter than its slice ends the connection, since the announced
//! frame cannot be completed.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use rustix::net::SendFlags;
use storage::log::read_plan::FileSlice;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::handlers::reply::{FramePart, ResponseFrame};
use crate::partition::cold_reads::ColdReads;

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
    /// The next bytes are being brought into memory.
    Cold,
}

/// The queue of one connection.
pub struct Outbox {
    parts: VecDeque<FramePart>,
    bytes: usize,
    /// So many bytes at the front were found in memory, or brought there.
    warm_bytes: usize,
    /// Brings the next bytes into memory.
    warming: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send>>>,
    cold_reads: Arc<ColdReads>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("parts", &self.parts.len())
            .field("bytes", &self.bytes)
            .field("warming", &self.warming.is_some())
            .finish_non_exhaustive()
    }
}

impl Outbox {
    /// An empty queue.
    pub fn new(cold_reads: Arc<ColdReads>) -> Self {
        Self {
            parts: VecDeque::new(),
            bytes: 0,
            warm_bytes: 0,
            warming: None,
            cold_reads,
        }
    }

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

    /// Whether the next bytes are being brought into memory; until they are, nothing can be sent.
    pub fn is_warming(&self) -> bool {
        self.warming.is_some()
    }

    /// Ready when the bytes that were waited for are in memory.
    pub fn poll_warming(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(warming) = &mut self.warming else {
            return Poll::Pending;
        };
        let done = std::task::ready!(warming.as_mut().poll(cx));
        self.warming = None;
        Poll::Ready(done)
    }

    /// Sends what the socket takes without waiting.
    ///
    /// # Errors
    /// The socket's errors, and a file that ends inside its slice.
    pub fn flush(&mut self, stream: &TcpStream) -> io::Result<Flushed> {
        let mut sent_bytes = 0;
        if self.is_warming() {
            return Ok(Flushed::Cold);
        }
        while let Some(part) = self.parts.front() {
            if sent_bytes >= TURN_BYTES {
                return Ok(Flushed::Turn);
            }
            let sent = match part {
                FramePart::Memory(_) => self.write_memory(stream),
                FramePart::File(slice) if !slice.recent && self.warm_bytes == 0 => {
                    let next = next_piece(slice);
                    self.warm_bytes = next.length;
                    if !is_warm(&next)? {
                        let cold_reads = Arc::clone(&self.cold_reads);
                        self.warming = Some(Box::pin(async move { cold_reads.warm(next).await }));
                        return Ok(Flushed::Cold);
                    }
                    continue;
                }
                FramePart::File(slice) if slice.recent => send_file(stream, slice, SENDFILE_BYTES),
                FramePart::File(slice) => send_file(stream, slice, self.warm_bytes),
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
                    self.warm_bytes = self.warm_bytes.saturating_sub(step);
                }
            }
            sent -= step;
            if self.parts.front().is_some_and(FramePart::is_empty) {
                self.parts.pop_front();
            }
        }
    }
}

/// The bytes of a slice that are handed to the kernel next.
fn next_piece(slice: &FileSlice) -> FileSlice {
    FileSlice {
        length: slice.length.min(SENDFILE_BYTES),
        ..slice.clone()
    }
}

/// Whether a piece is in memory, judged by its end: its begin was read by the lookup or is that of the piece before, and
/// what is read from disks comes and goes in long runs.
fn is_warm(piece: &FileSlice) -> io::Result<bool> {
    let last = piece.position + (piece.length as u64).saturating_sub(1);
    Ok(piece.file.read_at_nowait(&mut [0], last)?.is_some())
}

fn send_file(stream: &TcpStream, slice: &FileSlice, most_bytes: usize) -> io::Result<usize> {
    let count = slice.length.min(most_bytes);
    let sent = match slice.file.as_fd() {
        Some(file) => stream.try_io(Interest::WRITABLE, || {
            let mut position = slice.position;
            Ok(rustix::fs::sendfile(stream, file, Some(&mut position), count)?)
        })?,
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use storage::io::file_system::{FileSystem, OpenMode};
    use storage::io::sim_fs::SimFileSystem;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Two ends of a connection.
    async fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (ours.expect("connected"), theirs.expect("accepted").0)
    }

    /// A frame of `head`, and a slice of three pieces and a bit of a file.
    fn frame(fs: &SimFileSystem, recent: bool) -> (ResponseFrame, Vec<u8>) {
        let length = 3 * SENDFILE_BYTES + 77;
        let content: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let file = fs.open(Path::new("/s"), OpenMode::Truncate).expect("made");
        file.write_at(&[IoSlice::new(&content)], 0).expect("written");
        let slice = FileSlice {
            file,
            position: 0,
            length,
            recent,
        };
        let parts = vec![FramePart::Memory(Bytes::from_static(b"head")), FramePart::File(slice)];
        (ResponseFrame::Parts(parts), [&b"head"[..], &content].concat())
    }

    /// Sends everything; how often it had to wait for the disk.
    async fn send(outbox: &mut Outbox, stream: &TcpStream) -> usize {
        let mut waits = 0;
        loop {
            stream.writable().await.expect("open");
            match outbox.flush(stream).expect("sent") {
                Flushed::Empty => return waits,
                Flushed::Cold => {
                    assert!(outbox.is_warming());
                    assert_eq!(outbox.flush(stream).expect("nothing to do"), Flushed::Cold);
                    std::future::poll_fn(|cx| outbox.poll_warming(cx)).await.expect("read");
                    waits += 1;
                }
                Flushed::Blocked | Flushed::Turn => {}
            }
        }
    }

    #[tokio::test]
    async fn what_is_cold_is_brought_into_memory_piece_by_piece() {
        for (cold, recent, expected) in [(true, false, 4), (false, false, 0), (true, true, 0)] {
            let fs = SimFileSystem::new(1);
            let (frame, content) = frame(&fs, recent);
            fs.set_cold(cold);
            let mut outbox = Outbox::new(Arc::new(ColdReads::new(1)));
            outbox.push(frame);
            let (ours, mut theirs) = connection().await;
            let mut received = vec![0; content.len()];
            let (waits, read) = tokio::join!(send(&mut outbox, &ours), theirs.read_exact(&mut received));
            read.expect("everything comes");
            assert_eq!(waits, expected, "cold {cold}, recent {recent}");
            assert!(received == content && outbox.is_empty() && outbox.bytes() == 0);
        }
    }
}
