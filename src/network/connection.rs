//! One client connection: one task that reads, has requests handled in order, and sends answers in order.
//!
//! Invariants: nothing stands between the read and the handler but parsing; a waiting answer never stops the parsing of
//! later requests until the connection owes too much; an idle connection holds no buffer; whatever the client sends,
//! only its own connection can end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::frame::{announced_len, split_frame};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::config::value::Listener;
use crate::dispatch::{Dispatcher, Origin};
use crate::handlers::reply::Reply;
use crate::network::limits::{ConnectionCount, ConnectionLimits};
use crate::network::memory::{MemoryPermit, RequestMemory};
use crate::network::outbox::{Flushed, Outbox};
use crate::network::pipeline::Pipeline;

/// One read from the socket.
const READ_BYTES: usize = 256 << 10;
/// Frames above this are received only within the request memory budget.
const SMALL_FRAME_BYTES: usize = 64 << 10;
/// The buffer of a large frame grows in such steps as data arrives: an announced length alone costs nothing.
const GROW_BYTES: usize = 1 << 20;
/// Requests up to this size are copied out of the read buffer, so that one that waits does not hold the buffer.
const COPY_BYTES: usize = 4 << 10;
/// After so many requests other connections get their turn.
const TURN_REQUESTS: usize = 64;
/// How often a connection that waits for memory or a stalled frame looks around.
const STALL_CHECK: Duration = Duration::from_secs(1);

/// What every connection of a listener shares.
#[derive(Debug, Clone)]
pub struct ConnectionShared {
    /// Handles requests.
    pub dispatcher: Arc<Dispatcher>,
    /// The budget for large frames.
    pub memory: Arc<RequestMemory>,
    /// Limits of each connection.
    pub limits: Arc<ConnectionLimits>,
    /// The listener that accepted.
    pub listener: Arc<Listener>,
    /// Becomes true when the broker stops.
    pub stopping: watch::Receiver<bool>,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    origin: Origin,
    shared: ConnectionShared,
    input: BytesMut,
    permit: Option<MemoryPermit>,
    pipeline: Pipeline,
    outbox: Outbox,
    last_active: Instant,
    wants_memory: bool,
    /// Frames may be complete in `input` although the socket gave nothing new.
    unparsed: bool,
    /// Set when the client broke the protocol: what was accepted before is answered, then the connection closes.
    refused: Option<&'static str>,
    _count: ConnectionCount,
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client closed it, or everything was answered after it did.
    Client,
    /// The client broke the protocol, or a limit.
    Refused(&'static str),
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Connection {
    /// Takes an accepted socket.
    ///
    /// # Errors
    /// When the socket is gone already.
    pub fn new(
        stream: TcpStream,
        peer: SocketAddr,
        shared: ConnectionShared,
        count: ConnectionCount,
    ) -> io::Result<Self> {
        let local = stream.local_addr()?;
        let origin = Origin {
            peer,
            local,
            listener: Arc::clone(&shared.listener),
        };
        Ok(Self {
            stream,
            origin,
            shared,
            input: BytesMut::new(),
            permit: None,
            pipeline: Pipeline::default(),
            outbox: Outbox::default(),
            last_active: Instant::now(),
            wants_memory: false,
            unparsed: false,
            refused: None,
            _count: count,
        })
    }

    /// Serves the connection until it ends.
    pub async fn serve(mut self) {
        let peer = self.origin.peer;
        match self.run().await {
            Ok(()) | Err(End::Client) => tracing::trace!(%peer, "connection closed"),
            Err(End::Refused(reason)) => tracing::debug!(%peer, reason, "connection closed by the broker"),
            Err(End::Io(error)) => tracing::debug!(%peer, %error, "connection lost"),
        }
    }

    async fn run(&mut self) -> Result<(), End> {
        let mut stopping = self.shared.stopping.clone();
        let stop = async {
            // the value that comes with it holds a lock and must not live on; a sender that is gone means the same
            drop(stopping.wait_for(|stopping| *stopping).await);
        };
        let mut stop = std::pin::pin!(stop);
        let mut stopped = false;
        let mut timer = std::pin::pin!(tokio::time::sleep(self.shared.limits.max_idle));
        loop {
            let may_read = !stopped && self.may_read();
            if self.pipeline.is_empty() && self.outbox.is_empty() {
                if let Some(reason) = self.refused {
                    return Err(End::Refused(reason));
                }
                if stopped {
                    return Ok(());
                }
            }
            tokio::select! {
                biased;
                () = &mut stop, if !stopped => stopped = true,
                () = std::future::poll_fn(|cx| self.pipeline.poll_pending(cx)), if self.pipeline.has_pending() => {}
                ready = self.stream.writable(), if !self.outbox.is_empty() => ready?,
                ready = self.stream.readable(), if may_read && !self.unparsed => {
                    ready?;
                    self.receive()?;
                }
                () = tokio::task::yield_now(), if may_read && self.unparsed => self.handle_frames(),
                () = self.shared.memory.freed(), if self.wants_memory => self.wants_memory = false,
                () = timer.as_mut() => self.on_timer(timer.as_mut())?,
            }
            self.send()?;
            if self.permit.is_some() && timer.deadline() > Instant::now() + STALL_CHECK {
                timer.as_mut().reset(Instant::now() + STALL_CHECK);
            }
        }
    }

    fn may_read(&self) -> bool {
        !self.wants_memory
            && self.refused.is_none()
            && self.pipeline.len() < self.shared.limits.max_in_flight
            && self.outbox.bytes() < self.shared.limits.max_outbox_bytes
    }

    /// Closes an idle connection, and one whose frame stalls while others wait for memory; else sets the timer anew.
    fn on_timer(&self, timer: std::pin::Pin<&mut Sleep>) -> Result<(), End> {
        let idle = self.last_active.elapsed();
        let limits = &self.shared.limits;
        let busy = !self.pipeline.is_empty() || !self.outbox.is_empty();
        if !busy && idle >= limits.max_idle {
            return Err(End::Refused("idle for connections.max.idle.ms"));
        }
        if self.permit.is_some() && idle >= limits.stalled_frame && self.shared.memory.is_short() {
            return Err(End::Refused(
                "an announced frame did not come while others wait for request memory",
            ));
        }
        let next = if self.permit.is_some() {
            STALL_CHECK
        } else {
            limits.max_idle.saturating_sub(idle).max(STALL_CHECK)
        };
        timer.reset(Instant::now() + next);
        Ok(())
    }

    /// Reads what the socket has and handles the frames that are complete.
    fn receive(&mut self) -> Result<(), End> {
        loop {
            if !self.make_room()? {
                return Ok(());
            }
            let room = self.input.capacity() - self.input.len();
            match self.stream.try_read_buf(&mut self.input) {
                Ok(0) => {
                    // what is ready may still reach a client that only closed its sending side
                    self.send()?;
                    return Err(End::Client);
                }
                Ok(bytes) => {
                    self.last_active = Instant::now();
                    self.handle_frames();
                    if bytes < room || self.unparsed || !self.may_read() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.release_buffer();
        Ok(())
    }

    /// Makes room for the next read; false when the request memory has none for a large frame.
    fn make_room(&mut self) -> Result<bool, End> {
        let announced = match announced_len(&self.input) {
            Some(len) => usize::try_from(len).map_err(|_| End::Refused("negative frame length"))?,
            None => 0,
        };
        if announced > self.shared.limits.request_max_bytes {
            return Err(End::Refused("frame above socket.request.max.bytes"));
        }
        if announced > SMALL_FRAME_BYTES && self.permit.is_none() {
            self.permit = self.shared.memory.try_take(announced);
            if self.permit.is_none() {
                self.wants_memory = true;
                return Ok(false);
            }
        }
        if self.input.capacity() == 0 {
            self.input = spare::take();
        }
        let missing = (announced + 4).saturating_sub(self.input.len());
        let room = self.input.capacity() - self.input.len();
        if room < missing.min(GROW_BYTES) || room == 0 {
            self.input.reserve(missing.clamp(SMALL_FRAME_BYTES, GROW_BYTES));
        }
        Ok(true)
    }

    /// Hands every complete frame to the dispatcher, until the turn is over or the connection owes too much.
    fn handle_frames(&mut self) {
        let max_bytes = self.shared.limits.request_max_bytes;
        let room = self.shared.limits.max_in_flight.saturating_sub(self.pipeline.len());
        let mut refused = None;
        let mut frames = Vec::new();
        while frames.len() < TURN_REQUESTS.min(room) {
            match split_frame(&mut self.input, max_bytes) {
                Ok(Some(frame)) if frame.len() <= COPY_BYTES => frames.push(Bytes::copy_from_slice(&frame)),
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => {
                    refused = Some("frame length out of range");
                    break;
                }
            }
        }
        self.unparsed = frames.len() >= TURN_REQUESTS.min(room) && !self.input.is_empty();
        if !frames.is_empty() {
            self.permit = None;
        }
        for reply in self.shared.dispatcher.dispatch(&self.origin, frames.into_iter()) {
            match reply {
                Reply::Now(frame) if self.pipeline.is_empty() => self.outbox.push(frame),
                Reply::Now(frame) => self.pipeline.push_ready(frame),
                Reply::Later(future) => self.pipeline.push_pending(future),
                Reply::Silent => {}
                Reply::Close(reason) => {
                    refused = Some(reason);
                    break;
                }
            }
        }
        self.refused = self.refused.or(refused);
    }

    /// Gives the read buffer back, or keeps just the bytes of the frame that is not complete.
    fn release_buffer(&mut self) {
        if self.input.is_empty() {
            spare::give_back(std::mem::take(&mut self.input));
        } else if self.permit.is_none() && !self.unparsed && self.input.len() <= SMALL_FRAME_BYTES {
            let rest = BytesMut::from(&self.input[..]);
            spare::give_back(std::mem::replace(&mut self.input, rest));
        }
    }

    fn send(&mut self) -> Result<(), End> {
        while let Some(frame) = self.pipeline.pop_ready() {
            self.outbox.push(frame);
        }
        if self.outbox.is_empty() {
            return Ok(());
        }
        let before = self.outbox.bytes();
        // Turn and Blocked come back by the socket's readiness
        let _flushed: Flushed = self.outbox.flush(&self.stream)?;
        if self.outbox.bytes() < before {
            self.last_active = Instant::now();
        }
        Ok(())
    }
}

/// Read buffers between two uses, a few per thread: a connection borrows one only while its socket has something.
mod spare {
    use std::cell::RefCell;

    use bytes::BytesMut;

    use super::READ_BYTES;

    const KEPT: usize = 4;

    thread_local! {
        static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn take() -> BytesMut {
        SPARE
            .with_borrow_mut(Vec::pop)
            .unwrap_or_else(|| BytesMut::with_capacity(READ_BYTES))
    }

    /// Keeps the buffer if no request holds a part of it any more.
    pub(super) fn give_back(mut buffer: BytesMut) {
        buffer.clear();
        if buffer.capacity() > 2 * READ_BYTES || !buffer.try_reclaim(READ_BYTES) {
            return;
        }
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < KEPT {
                spare.push(buffer);
            }
        });
    }
}
