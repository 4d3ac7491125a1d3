//! One client connection: one task that reads, has requests handled in order, and sends answers in order.
//!
//! Invariants: nothing stands between the read and the handler but parsing; a waiting answer never stops the parsing of
//! later requests until the connection owes too much; while a request holds up those behind it, none of them is handled,
//! and it counts as an answer that is owed, whether it ends with one or not; an idle connection holds no buffer;
//! whatever the client sends, only its own connection can end.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::frame::{announced_len, split_frame};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::config::value::Listener;
use crate::dispatch::{Dispatcher, Origin, is_used_in_place};
use crate::handlers::reply::{Reply, ResponseFrame};
use crate::handlers::session::{Principal, Session};
use crate::network::limits::{ConnectionCount, ConnectionLimits};
use crate::network::memory::{MemoryPermit, RequestMemory};
use crate::network::outbox::{Flushed, Outbox};
use crate::network::pipeline::Pipeline;
use crate::partition::cold_reads::ColdReads;

/// One read from the socket.
const READ_BYTES: usize = 256 << 10;
/// Frames above this are received only within the request memory budget.
const SMALL_FRAME_BYTES: usize = 64 << 10;
/// The buffer of a large frame grows in such steps as data arrives: an announced length alone costs nothing.
const GROW_BYTES: usize = 1 << 20;
/// Requests up to this size are copied out of the read buffer even if they could be used in place.
const COPY_BYTES: usize = 4 << 10;
/// After so many requests, or bytes received, other connections get their turn.
const TURN_REQUESTS: usize = 64;
const TURN_BYTES: usize = 1 << 20;
/// A large frame that comes more slowly than this is given up while others wait for memory.
const SLOW_BYTES_PER_SECOND: u64 = 64 << 10;
/// How often a connection that waits for memory or a stalled frame looks around.
const STALL_CHECK: Duration = Duration::from_secs(1);

/// What every connection of a listener shares.
#[derive(Debug, Clone)]
pub struct ConnectionShared {
    /// Handles requests.
    pub dispatcher: Arc<Dispatcher>,
    /// The budget for large frames.
    pub memory: Arc<RequestMemory>,
    /// Brings what is to be sent from the disk.
    pub cold_reads: Arc<ColdReads>,
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
    /// Frames that are complete and not handled yet.
    frames: VecDeque<Bytes>,
    /// There is work in `frames` or `input` although the socket gave nothing new.
    unparsed: bool,
    /// Other connections get their turn before this one goes on.
    turn_over: bool,
    /// No request is taken before this: its client exceeded a quota.
    muted_until: Option<Instant>,
    /// When the large frame that is being received began.
    frame_began: Instant,
    /// What is wrong with the bytes behind `frames`.
    poisoned: Option<&'static str>,
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
        let outbox = Outbox::new(Arc::clone(&shared.cold_reads));
        let origin = Origin {
            peer,
            local,
            listener: Arc::clone(&shared.listener),
            session: Arc::new(Session::new(Principal::anonymous())),
        };
        Ok(Self {
            stream,
            origin,
            shared,
            input: BytesMut::new(),
            permit: None,
            pipeline: Pipeline::default(),
            outbox,
            last_active: Instant::now(),
            wants_memory: false,
            frames: VecDeque::new(),
            unparsed: false,
            turn_over: false,
            muted_until: None,
            frame_began: Instant::now(),
            poisoned: None,
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
            let may_handle = !stopped && self.may_handle();
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
                warm = std::future::poll_fn(|cx| self.outbox.poll_warming(cx)), if self.outbox.is_warming() => warm?,
                ready = self.stream.writable(), if !self.outbox.is_empty() && !self.outbox.is_warming() => ready?,
                ready = self.stream.readable(), if may_read && !self.unparsed => {
                    ready?;
                    self.receive()?;
                }
                () = tokio::task::yield_now(), if may_handle && self.unparsed => self.handle_frames(),
                () = self.shared.memory.freed(), if self.wants_memory => self.wants_memory = false,
                () = timer.as_mut() => self.on_timer(timer.as_mut())?,
            }
            if let Some(reply) = self.pipeline.take_released() {
                self.queue_one(reply);
            }
            self.mute();
            self.send()?;
            if std::mem::take(&mut self.turn_over) {
                // a socket that is always ready would never give the worker back
                tokio::task::yield_now().await;
            }
            if self.permit.is_some() && timer.deadline() > Instant::now() + STALL_CHECK {
                timer.as_mut().reset(Instant::now() + STALL_CHECK);
            }
            if let Some(until) = self.muted_until.filter(|until| *until < timer.deadline()) {
                timer.as_mut().reset(until);
            }
        }
    }

    /// Whether bytes may be received: for requests that may be handled, and for one that holds memory until it is whole.
    fn may_read(&self) -> bool {
        self.has_room() && (!self.must_wait() || self.permit.is_some())
    }

    fn may_handle(&self) -> bool {
        self.has_room() && !self.must_wait()
    }

    /// Whether the next request has to wait, for a quota or for the request before it.
    fn must_wait(&self) -> bool {
        self.muted_until.is_some() || self.pipeline.is_held()
    }

    fn has_room(&self) -> bool {
        !self.wants_memory
            && self.refused.is_none()
            && self.pipeline.len() < self.shared.limits.max_in_flight
            && self.outbox.bytes() + self.pipeline.ready_bytes() < self.shared.limits.max_outbox_bytes
    }

    /// Begins the wait that a request gave.
    fn mute(&mut self) {
        if let Some(wait) = self.origin.session.take_wait() {
            let until = Instant::now() + wait;
            self.muted_until = Some(self.muted_until.map_or(until, |earlier| earlier.max(until)));
        }
    }

    /// Whether the client has closed its side, as far as the system has told.
    fn is_left(&self) -> bool {
        let ready = std::pin::pin!(self.stream.ready(Interest::READABLE));
        let known = ready.poll(&mut Context::from_waker(Waker::noop()));
        matches!(known, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    /// Closes an idle connection, and one whose frame stalls while others wait for memory; else sets the timer anew.
    fn on_timer(&mut self, timer: std::pin::Pin<&mut Sleep>) -> Result<(), End> {
        if self.muted_until.is_some_and(|until| until <= Instant::now()) {
            self.muted_until = None;
            self.last_active = Instant::now();
        }
        let idle = self.last_active.elapsed();
        let limits = &self.shared.limits;
        // with answers still to come we are slow, not the client; one that does not take its answers is idle
        let awaits_us = self.outbox.is_warming() || (self.outbox.is_empty() && !self.pipeline.is_empty());
        // one that is made to wait is not idle, unless nobody waits there any more
        let made_to_wait = self.muted_until.is_some() && !self.is_left();
        if !awaits_us && !made_to_wait && idle >= limits.max_idle {
            return Err(End::Refused("idle for connections.max.idle.ms"));
        }
        let taken = self.frame_began.elapsed();
        let slow = taken >= limits.stalled_frame && (self.input.len() as u64) < taken.as_secs() * SLOW_BYTES_PER_SECOND;
        if self.permit.is_some() && (slow || idle >= limits.stalled_frame) && self.shared.memory.is_short() {
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
        let mut turn_bytes = 0;
        loop {
            if !self.make_room()? {
                return Ok(());
            }
            let room = self.input.capacity() - self.input.len();
            let began = self.network_time();
            let received = self.stream.try_read_buf(&mut self.input);
            self.count_network_time(began);
            match received {
                Ok(0) => {
                    // what is ready may still reach a client that only closed its sending side
                    self.send()?;
                    return Err(End::Client);
                }
                Ok(bytes) => {
                    self.last_active = Instant::now();
                    self.handle_frames();
                    turn_bytes += bytes;
                    self.turn_over |= turn_bytes >= TURN_BYTES;
                    if bytes < room || self.turn_over || self.unparsed || !self.may_read() {
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
            self.frame_began = Instant::now();
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

    /// Hands complete frames to the dispatcher, until the turn is over or the connection owes too much.
    fn handle_frames(&mut self) {
        self.split_frames();
        let mut turn = TURN_REQUESTS;
        while turn > 0 && !self.frames.is_empty() && self.may_handle() {
            let before = self.frames.len();
            let replies = self.shared.dispatcher.dispatch(&self.origin, &mut self.frames);
            turn = turn.saturating_sub(before - self.frames.len());
            self.queue(replies);
            self.mute();
        }
        if self.frames.is_empty() {
            self.refused = self.refused.or(self.poisoned);
        }
        self.unparsed = self.refused.is_none() && (!self.frames.is_empty() || has_whole_frame(&self.input));
    }

    /// Takes complete frames out of the input.
    fn split_frames(&mut self) {
        while self.frames.len() < TURN_REQUESTS && self.poisoned.is_none() {
            match split_frame(&mut self.input, self.shared.limits.request_max_bytes) {
                Ok(Some(frame)) => {
                    self.permit = None;
                    // a request that waits must not hold the whole read buffer by the few bytes that it needs
                    let in_place = frame.len() > COPY_BYTES && is_used_in_place(&frame);
                    self.frames.push_back(if in_place {
                        frame
                    } else {
                        Bytes::copy_from_slice(&frame)
                    });
                }
                Ok(None) => return,
                Err(_) => self.poisoned = Some("frame length out of range"),
            }
        }
    }

    fn queue(&mut self, replies: Vec<Reply>) {
        for reply in replies {
            self.queue_one(reply);
        }
    }

    fn queue_one(&mut self, reply: Reply) {
        match reply {
            Reply::Now(frame) if self.pipeline.is_empty() => self.deliver(frame),
            Reply::Now(frame) => self.pipeline.push_ready(frame),
            Reply::Later(future) => self.pipeline.push_pending(future),
            Reply::Hold(future) => self.pipeline.hold(future),
            Reply::Silent => {}
            Reply::Close(reason) => {
                self.frames.clear();
                self.refused = self.refused.or(Some(reason));
            }
        }
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

    fn deliver(&mut self, frame: ResponseFrame) {
        if matches!(frame, ResponseFrame::Unencodable) {
            self.frames.clear();
            self.refused = self.refused.or(Some("an answer could not be written"));
        } else {
            self.outbox.push(frame);
        }
    }

    /// The time, if time on the socket counts now.
    fn network_time(&self) -> Option<Instant> {
        self.shared.dispatcher.counts_time().then(Instant::now)
    }

    fn count_network_time(&self, began: Option<Instant>) {
        if let Some(began) = began {
            self.origin.session.add_network_time(began.elapsed());
        }
    }

    fn send(&mut self) -> Result<(), End> {
        while let Some(frame) = self.pipeline.pop_ready() {
            self.deliver(frame);
        }
        if self.outbox.is_empty() {
            return Ok(());
        }
        let before = self.outbox.bytes();
        let began = self.network_time();
        let flushed = self.outbox.flush(&self.stream)?;
        self.count_network_time(began);
        self.turn_over |= flushed == Flushed::Turn;
        if self.outbox.bytes() < before {
            self.last_active = Instant::now();
        }
        Ok(())
    }
}

/// Whether the input holds a complete frame, or one that will be refused.
fn has_whole_frame(input: &[u8]) -> bool {
    announced_len(input).is_some_and(|len| usize::try_from(len).is_ok_and(|len| input.len() - 4 >= len))
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
