//! The shell around the group machines: which partitions of the offsets topic are led here, and the task of each.
//!
//! A shard's task is spawned when its partition is elected and has a log to load, else with the first request, so that
//! fifty empty partitions cost nothing.
//!
//! Invariants: at most one task per partition is in charge; mailboxes are bounded; nothing here knows groups beyond
//! handing requests on. Source: `CoordinatorRuntime`.

mod loader;
pub mod log;
mod release;
mod rewriting;
mod shard;

#[cfg(test)]
pub(super) mod memory_log;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::error_code::ErrorCode;
use protocol::types::Now;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::log::CoordinatorLog;
use self::shard::{Answer, Event};
use super::group::api::Request;
use super::group::config::GroupConfig;
use super::start::StartGroups;

/// How many shards load at the same time: each needs a blocking thread and `offsets.load.buffer.size` of memory.
const PARALLEL_LOADS: usize = 2;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;
/// Gives random ids.
pub type Entropy = Arc<dyn Fn() -> Uuid + Send + Sync>;

/// What all shards use.
pub(super) struct Shared {
    config: GroupConfig,
    log: Arc<dyn CoordinatorLog>,
    clock: Clock,
    entropy: Entropy,
    runtime: Handle,
    load_permits: Arc<Semaphore>,
    groups: AtomicUsize,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("config", &self.config)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// How many groups may still be made on this broker.
    fn groups_left(&self) -> usize {
        self.config
            .max_groups
            .saturating_sub(self.groups.load(Ordering::Relaxed))
    }

    /// A shard that had counted `before` groups now has `after`.
    fn count_groups(&self, before: usize, after: usize) {
        if after >= before {
            self.groups.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.groups.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

/// How far a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Status {
    /// Reads its log; clients are asked to wait.
    Loading = 0,
    /// Serves.
    Active = 1,
    /// Could not be loaded.
    Failed = 2,
    /// The partition is led by somebody else now.
    Resigned = 3,
}

/// The status of a shard, written by its task and, for the end, by the registry.
#[derive(Debug)]
struct StatusCell(AtomicU8);

impl StatusCell {
    fn new(status: Status) -> Self {
        Self(AtomicU8::new(status as u8))
    }

    fn is(&self, status: Status) -> bool {
        self.0.load(Ordering::Acquire) == status as u8
    }

    /// Sets the status, unless the shard has resigned: that is for ever.
    fn advance(&self, status: Status) {
        let resigned = Status::Resigned as u8;
        let update = |present| (present != resigned).then_some(status as u8);
        // An error is the refusal to leave `Resigned`.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, update);
    }
}

/// A partition that is or was led here.
#[derive(Debug)]
struct Slot {
    status: Arc<StatusCell>,
    /// Closed by dropping it.
    mailbox: Option<mpsc::Sender<Event>>,
    task: Option<JoinHandle<()>>,
}

/// The shards of this broker.
#[derive(Debug)]
pub(super) struct Shards {
    shared: Arc<Shared>,
    slots: Mutex<BTreeMap<i32, Slot>>,
}

impl Shards {
    pub(super) fn new(parts: StartGroups) -> Self {
        let StartGroups {
            config,
            log,
            clock,
            entropy,
            runtime,
        } = parts;
        let load_permits = Arc::new(Semaphore::new(PARALLEL_LOADS));
        let groups = AtomicUsize::new(0);
        let shared = Arc::new(Shared {
            config,
            log,
            clock,
            entropy,
            runtime,
            load_permits,
            groups,
        });
        Self {
            shared,
            slots: Mutex::default(),
        }
    }

    pub(super) fn config(&self) -> &GroupConfig {
        &self.shared.config
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<i32, Slot>> {
        // No code panics while it holds the lock with the map half changed.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This broker leads the partition now: load its groups.
    pub(super) fn on_elected(&self, partition: i32) {
        let mut slots = self.slots();
        let previous = slots.remove(&partition);
        let predecessor = previous.and_then(Slot::resign).filter(|task| !task.is_finished());
        let offsets = self.shared.log.offsets(partition);
        let is_empty = offsets.is_some_and(|offsets| offsets.log_start_offset == offsets.log_end_offset);
        let is_idle = is_empty && predecessor.is_none();
        let status = if is_idle { Status::Active } else { Status::Loading };
        let mut slot = Slot {
            status: Arc::new(StatusCell::new(status)),
            mailbox: None,
            task: None,
        };
        if !is_idle {
            self.spawn(partition, &mut slot, predecessor);
        }
        slots.insert(partition, slot);
    }

    /// Somebody else leads the partition now: its clients must find them.
    pub(super) fn on_resigned(&self, partition: i32) {
        if let Some(slot) = self.slots().get_mut(&partition) {
            slot.status.advance(Status::Resigned);
            slot.mailbox = None;
        }
    }

    /// Ends all shards and waits for their tasks.
    pub(super) async fn shutdown(&self) {
        let slots = std::mem::take(&mut *self.slots());
        let tasks: Vec<_> = slots.into_values().filter_map(Slot::resign).collect();
        for task in tasks {
            // A task that panicked has ended as well; the panic was reported where it happened.
            drop(task.await);
        }
    }

    fn spawn(&self, partition: i32, slot: &mut Slot, predecessor: Option<JoinHandle<()>>) -> mpsc::Sender<Event> {
        let (sender, mailbox) = mpsc::channel(self.shared.config.mailbox_size);
        let (shared, status) = (Arc::clone(&self.shared), Arc::clone(&slot.status));
        let task = shard::run(partition, shared, status, mailbox, predecessor);
        slot.task = Some(self.shared.runtime.spawn(task));
        slot.mailbox = Some(sender.clone());
        sender
    }

    /// Hands a request to the shard. When this returns, the request has its place among the others of the shard.
    pub(super) fn submit(&self, partition: i32, request: Request) -> Result<oneshot::Receiver<Answer>, ErrorCode> {
        let mut slots = self.slots();
        let slot = slots.get_mut(&partition).ok_or(ErrorCode::NotCoordinator)?;
        slot.check_active()?;
        let mailbox = match &slot.mailbox {
            Some(mailbox) => mailbox.clone(),
            None => self.spawn(partition, slot, None),
        };
        send(&mailbox, request)
    }

    /// Hands a request to each shard that can have groups.
    pub(super) fn submit_to_all(&self, request: &Request) -> Result<Vec<oneshot::Receiver<Answer>>, ErrorCode> {
        let slots = self.slots();
        let mut answers = Vec::new();
        for slot in slots.values() {
            match (slot.check_active(), &slot.mailbox) {
                (Ok(()), Some(mailbox)) => answers.push(send(mailbox, request.clone())?),
                (Ok(()), None) | (Err(ErrorCode::NotCoordinator), _) => {}
                (Err(error), _) => return Err(error),
            }
        }
        Ok(answers)
    }

    /// Tells all shards of deleted topics. Also a full mailbox gets to know it.
    pub(super) fn on_topics_deleted(&self, topics: &Arc<[(Arc<str>, Uuid)]>) {
        for slot in self.slots().values() {
            let Some(mailbox) = &slot.mailbox else { continue };
            if let Err(mpsc::error::TrySendError::Full(event)) =
                mailbox.try_send(Event::TopicsDeleted(Arc::clone(topics)))
            {
                let mailbox = mailbox.clone();
                // A shard that ends meanwhile has no offsets any more.
                self.shared
                    .runtime
                    .spawn(async move { drop(mailbox.send(event).await) });
            }
        }
    }
}

impl Slot {
    /// Ends the shard; gives its task, which may still be at work for a moment.
    fn resign(self) -> Option<JoinHandle<()>> {
        self.status.advance(Status::Resigned);
        self.task
    }

    fn check_active(&self) -> Result<(), ErrorCode> {
        if self.status.is(Status::Active) {
            Ok(())
        } else if self.status.is(Status::Loading) {
            Err(ErrorCode::CoordinatorLoadInProgress)
        } else {
            Err(ErrorCode::NotCoordinator)
        }
    }
}

fn send(mailbox: &mpsc::Sender<Event>, request: Request) -> Result<oneshot::Receiver<Answer>, ErrorCode> {
    let (client, answer) = oneshot::channel();
    match mailbox.try_send(Event::Request(Box::new(request), client)) {
        Ok(()) => Ok(answer),
        Err(mpsc::error::TrySendError::Full(_)) => Err(ErrorCode::CoordinatorNotAvailable),
        Err(mpsc::error::TrySendError::Closed(_)) => Err(ErrorCode::NotCoordinator),
    }
}
