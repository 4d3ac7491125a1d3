//! One group with many members: a thread and a connection for each, behaving as a consumer does.
//!
//! A member joins, syncs, sends heartbeats, and joins again when a heartbeat says so. Invariant: a rebalance counts as done
//! when all members have their assignment of one and the same generation.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::calls::{Client, Joined, expect};
use crate::Failure;

/// Threads that only wait for a socket need little.
const STACK_BYTES: usize = 256 << 10;
/// How long a rebalance may take before the measurement gives up.
const PATIENCE: Duration = Duration::from_secs(120);

const CROWD_NICENESS: i32 = 15;

const REBALANCE_IN_PROGRESS: i16 = 27;
const MEMBER_ID_REQUIRED: i16 = 79;
/// Codes after which a client tries again: the coordinator is loading, or busy.
const RETRIABLE: std::ops::RangeInclusive<i16> = 14..=16;
const NOBODY: usize = usize::MAX;

/// The members of a group.
#[derive(Debug)]
pub(super) struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<(), Failure>>>,
}

#[derive(Debug)]
struct Shared {
    group_id: String,
    heartbeat_interval: Duration,
    size: usize,
    stop: AtomicBool,
    /// The member that is to leave and to come back as another.
    leaves: AtomicUsize,
    progress: Mutex<Progress>,
    advanced: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    /// Members with an assignment, by generation.
    synced: HashMap<i32, usize>,
    /// When the last member of the newest whole generation got its assignment.
    complete: Option<(i32, Instant)>,
    last_join_sent: Option<Instant>,
    heartbeats: Vec<Duration>,
    retries: usize,
    failed: bool,
}

/// How a rebalance went.
#[derive(Debug)]
pub(super) struct Rebalance {
    pub(super) whole: Duration,
    /// From the last JoinGroup that was sent: what is left when the members' own delay is taken off.
    pub(super) after_last_join: Duration,
    pub(super) heartbeats: Vec<Duration>,
    /// Requests that the coordinator refused for the moment.
    pub(super) retries: usize,
}

impl Crowd {
    /// Starts all members at once and waits until the group is whole.
    pub(super) fn join(
        address: &str,
        group_id: &str,
        size: usize,
        heartbeat_interval: Duration,
    ) -> Result<(Self, Rebalance), Failure> {
        let shared = Arc::new(Shared {
            group_id: group_id.to_owned(),
            heartbeat_interval,
            size,
            stop: AtomicBool::new(false),
            leaves: AtomicUsize::new(NOBODY),
            progress: Mutex::default(),
            advanced: Condvar::new(),
        });
        let barrier = Arc::new(Barrier::new(size + 1));
        let mut threads = Vec::with_capacity(size);
        for index in 0..size {
            // one after the other: a connection that the listener's queue has no room for is tried again after seconds
            let mut client = Client::connect(address)?;
            client.ping()?;
            let (shared, barrier) = (Arc::clone(&shared), Arc::clone(&barrier));
            let member = move || {
                // a thousand clients on one machine must not stand in the way of those that are watched
                rustix::process::setpriority_process(None, CROWD_NICENESS)?;
                barrier.wait();
                let result = shared.live(index, client);
                if result.is_err() {
                    shared.progress().failed = true;
                    shared.advanced.notify_all();
                }
                result
            };
            threads.push(thread::Builder::new().stack_size(STACK_BYTES).spawn(member)?);
        }
        barrier.wait();
        let begun = Instant::now();
        let crowd = Self { shared, threads };
        match crowd.wait_since(begun, -1) {
            Ok(rebalance) => Ok((crowd, rebalance)),
            Err(error) => Err(crowd.end().err().unwrap_or(error)),
        }
    }

    /// Lets one member leave and come back as a new one; waits until the group is whole again.
    pub(super) fn replace_one(&self, index: usize) -> Result<Rebalance, Failure> {
        let before = self.shared.progress().complete.map_or(-1, |(generation, _)| generation);
        self.shared.progress().heartbeats.clear();
        self.shared.leaves.store(index, Ordering::Release);
        self.wait_since(Instant::now(), before)
    }

    fn wait_since(&self, begun: Instant, before: i32) -> Result<Rebalance, Failure> {
        let mut progress = self.shared.progress();
        loop {
            if progress.failed {
                return Err("a member failed".into());
            }
            if let Some((generation, done)) = progress.complete
                && generation > before
            {
                let last_join = progress.last_join_sent.unwrap_or(begun);
                return Ok(Rebalance {
                    whole: done - begun,
                    after_last_join: done.saturating_duration_since(last_join),
                    heartbeats: std::mem::take(&mut progress.heartbeats),
                    retries: std::mem::take(&mut progress.retries),
                });
            }
            if begun.elapsed() > PATIENCE {
                return Err("the group did not become whole".into());
            }
            let waited = self.shared.advanced.wait_timeout(progress, Duration::from_secs(1));
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends all members without a word to the broker.
    pub(super) fn end(self) -> Result<(), Failure> {
        self.shared.stop.store(true, Ordering::Release);
        let mut result = Ok(());
        for thread in self.threads {
            let ended = thread.join().map_err(|_| "a member panicked")?;
            result = result.and(ended);
        }
        result
    }
}

impl Shared {
    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire) || self.progress().failed
    }

    fn live(&self, index: usize, mut client: Client) -> Result<(), Failure> {
        let mut member_id = String::new();
        while !self.stopping() {
            self.progress().last_join_sent = Some(Instant::now());
            let joined = client.join(&self.group_id, &member_id)?;
            match joined.error {
                0 | MEMBER_ID_REQUIRED => member_id.clone_from(&joined.member_id),
                error if RETRIABLE.contains(&error) => self.retry_later(),
                error => expect("JoinGroup", error)?,
            }
            if joined.error != 0 {
                continue;
            }
            match client.sync(&self.group_id, &joined)? {
                0 => self.note_synced(joined.generation_id),
                REBALANCE_IN_PROGRESS => continue,
                error if RETRIABLE.contains(&error) => {
                    self.retry_later();
                    continue;
                }
                error => expect("SyncGroup", error)?,
            }
            if self.stay(index, &mut client, &joined)? {
                client.leave(&self.group_id, &member_id)?;
                member_id.clear();
            }
        }
        Ok(())
    }

    /// Sends heartbeats until the group rebalances; true when this member is to leave.
    fn stay(&self, index: usize, client: &mut Client, joined: &Joined) -> Result<bool, Failure> {
        loop {
            // not all at once
            let offset = self.heartbeat_interval / 8 * u32::try_from(index % 8)? / 8;
            let until = Instant::now() + self.heartbeat_interval - offset;
            while Instant::now() < until {
                if self.stop.load(Ordering::Acquire) {
                    return Ok(false);
                }
                if self
                    .leaves
                    .compare_exchange(index, NOBODY, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
                {
                    return Ok(true);
                }
                let left = until.saturating_duration_since(Instant::now());
                // only who may be asked to leave looks often
                thread::sleep(if index < 8 {
                    left.min(Duration::from_millis(5))
                } else {
                    left
                });
            }
            let sent = Instant::now();
            let error = client.heartbeat(&self.group_id, joined.generation_id, &joined.member_id)?;
            self.progress().heartbeats.push(sent.elapsed());
            match error {
                0 => {}
                REBALANCE_IN_PROGRESS => return Ok(false),
                error if RETRIABLE.contains(&error) => self.retry_later(),
                error => expect("Heartbeat", error)?,
            }
        }
    }

    fn retry_later(&self) {
        self.progress().retries += 1;
        thread::sleep(Duration::from_millis(100));
    }

    fn note_synced(&self, generation_id: i32) {
        let mut progress = self.progress();
        let synced = progress.synced.entry(generation_id).or_default();
        *synced += 1;
        if *synced == self.size {
            progress.complete = Some((generation_id, Instant::now()));
            progress.synced.clear();
            self.advanced.notify_all();
        }
    }
}
