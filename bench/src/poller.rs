//! Readiness of many sockets on one thread: a thin, safe cover of epoll, used by the generator and by the floors alike.
//!
//! Level-triggered: what was not read is reported again. A source leaves when its descriptor closes.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::Failure;

/// Events taken by one call.
const BATCH: usize = 1_024;

/// What is ready, by the token that it was added under.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) token: usize,
    pub(crate) writable: bool,
}

/// A set of watched sockets.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(BATCH),
        })
    }

    /// Reports when `source` can be read.
    pub(crate) fn add(&self, source: impl AsFd, token: usize) -> Result<(), Failure> {
        let data = EventData::new_u64(u64::try_from(token)?);
        Ok(epoll::add(&self.epoll, source, data, EventFlags::IN)?)
    }

    /// Reports also when `source` can be written, or does so no more.
    pub(crate) fn watch_writable(&self, source: impl AsFd, token: usize, watch: bool) -> Result<(), Failure> {
        let flags = if watch {
            EventFlags::IN | EventFlags::OUT
        } else {
            EventFlags::IN
        };
        let data = EventData::new_u64(u64::try_from(token)?);
        Ok(epoll::modify(&self.epoll, source, data, flags)?)
    }

    /// Waits until something is ready or the time is over; `None` waits without end.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Failure> {
        let timeout = timeout.map(Timespec::try_from).transpose()?;
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What the last wait found.
    pub(crate) fn ready(&self, index: usize) -> Option<Ready> {
        let event = *self.events.get(index)?;
        let (flags, data) = (event.flags, event.data);
        Some(Ready {
            token: usize::try_from(data.u64()).ok()?,
            writable: flags.contains(EventFlags::OUT),
        })
    }
}
