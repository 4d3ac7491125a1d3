//! The threads that everything runs on.
//!
//! Invariant: a stalled disk or a burst of requests delays neither the metadata log nor group sessions: they have a
//! runtime of their own.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// How long a stop waits for lookups and removals that nobody waits for any more.
const LEFTOVER_LIMIT: Duration = Duration::from_millis(100);

/// The two runtimes: a stalled disk or a burst of requests must not delay the metadata log or group sessions.
#[derive(Debug)]
pub struct Runtimes {
    /// Raft, controller, coordinators, timers.
    pub control: Runtime,
    /// Connections, handlers, appends.
    pub data: Runtime,
}

impl Runtimes {
    /// Starts their threads.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn new() -> io::Result<Self> {
        let build = |name: &str, workers: Option<usize>| {
            let mut builder = Builder::new_multi_thread();
            if let Some(workers) = workers {
                builder.worker_threads(workers);
            }
            builder.thread_name(name).enable_all().build()
        };
        Ok(Self {
            control: build("control", Some(1))?,
            data: build("data", None)?,
        })
    }
}

impl Runtimes {
    /// Ends the threads. Work on the blocking pool that takes longer is left behind; nothing there is owed to anybody.
    pub fn stop(self) {
        self.data.shutdown_timeout(LEFTOVER_LIMIT);
        self.control.shutdown_timeout(LEFTOVER_LIMIT);
    }
}
