//! The shell around the coordinators' machines: which partitions of the internal topic are led here, and the task of each.
//!
//! A shard's task is spawned when its partition is elected and has a log to load, else with the first request, so that
//! fifty empty partitions cost nothing.
//!
//! Invariants: at most one task per partition is in charge; mailboxes are bounded; nothing here knows what a machine
//! does. Source: `CoordinatorRuntime`.

pub mod events;
mod loader;
pub mod log;
pub mod machine;
mod release;
mod rewriting;
mod shard;
mod staging;

#[cfg(test)]
pub(super) mod memory_log;
#[cfg(test)]
mod tests;

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

use self::events::{EventSender, Message};
use self::log::CoordinatorLog;
use self::machine::Machine;
pub(super) use self::release::Answer;
use self::shard::Place;
use crate::partition::marker::Marker;

/// How many shards load at the same time: each needs a blocking thread and a load buffer.
const PARALLEL_LOADS: usize = 2;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;
/// Gives random ids.
pub type Entropy = Arc<dyn Fn() -> Uuid + Send + Sync>;
/// Does what a machine asked for; must not block. The result goes back by the sender.
pub type Perform<M> = Arc<dyn Fn(<M as Machine>::Effect, EventSender<M>) + Send + Sync>;

/// What bounds the shards of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that may wait for one shard (`monedula.coordinator.mailbox.size`); more are answered
    /// COORDINATOR_NOT_AVAILABLE.
    pub mailbox_size: usize,
    /// How long an answer waits for its record to be committed.
    pub commit_timeout_ms: i64,
    /// Bytes read at once while a shard is loaded.
    pub load_buffer_bytes: usize,
    /// No batch is larger. What the topic says, where that is smaller, splits what can be split.
    pub max_batch_bytes: usize,
    /// By how much the log of a shard grows, at the least, before its state is written again and what lies before is given
    /// up (`monedula.coordinator.rewrite.bytes`).
    pub rewrite_bytes: u64,
    /// Keys over all shards of this broker.
    pub max_keys: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            mailbox_size: 10_000,
            commit_timeout_ms: 5_000,
            load_buffer_bytes: 5 * 1024 * 1024,
            max_batch_bytes: 1_048_588,
            rewrite_bytes: 4 * 1024 * 1024,
            max_keys: 100_000,
        }
    }
}

/// What the shards of a coordinator are started with.
pub(super) struct Parts<M: Machine> {
    pub(super) config: M::Config,
    pub(super) limits: Limits,
    pub(super) log: Arc<dyn CoordinatorLog>,
    pub(super) clock: Clock,
    pub(super) entropy: Entropy,
    /// Where the tasks run.
    pub(super) runtime: Handle,
    pub(super) perform: Perform<M>,
}

/// What all shards use.
struct Shared<M: Machine> {
    config: M::Config,
    limits: Limits,
    log: Arc<dyn CoordinatorLog>,
    clock: Clock,
    entropy: Entropy,
    runtime: Handle,
    perform: Perform<M>,
    load_permits: Arc<Semaphore>,
    keys: AtomicUsize,
}

impl<M: Machine> fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("config", &self.config)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl<M: Machine> Shared<M> {
    /// How many keys may still be made on this broker.
    fn keys_left(&self) -> usize {
        self.limits.max_keys.saturating_sub(self.keys.load(Ordering::Relaxed))
    }

    /// A shard that had counted `before` keys now has `after`.
    fn count_keys(&self, before: usize, after: usize) {
        if after >= before {
            self.keys.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.keys.fetch_sub(before - after, Ordering::Relaxed);
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
struct Slot<M: Machine> {
    leader_epoch: i32,
    status: Arc<StatusCell>,
    /// Closed by dropping it.
    mailbox: Option<mpsc::Sender<Message<M>>>,
    task: Option<JoinHandle<()>>,
}

/// The shards of this broker.
#[derive(Debug)]
pub(super) struct Shards<M: Machine> {
    shared: Arc<Shared<M>>,
    slots: Mutex<BTreeMap<i32, Slot<M>>>,
}

impl<M: Machine> Shards<M> {
    pub(super) fn new(parts: Parts<M>) -> Self {
        let Parts {
            config,
            limits,
            log,
            clock,
            entropy,
            runtime,
            perform,
        } = parts;
        let shared = Arc::new(Shared {
            config,
            limits,
            log,
            clock,
            entropy,
            runtime,
            perform,
            load_permits: Arc::new(Semaphore::new(PARALLEL_LOADS)),
            keys: AtomicUsize::new(0),
        });
        Self {
            shared,
            slots: Mutex::default(),
        }
    }

    pub(super) fn config(&self) -> &M::Config {
        &self.shared.config
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<i32, Slot<M>>> {
        // No code panics while it holds the lock with the map half changed.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This broker leads the partition now, under this epoch: load its state.
    pub(super) fn on_elected(&self, partition: i32, leader_epoch: i32) {
        let mut slots = self.slots();
        let previous = slots.remove(&partition);
        let predecessor = previous.and_then(Slot::resign).filter(|task| !task.is_finished());
        let offsets = self.shared.log.offsets(partition);
        let is_empty = offsets.is_some_and(|offsets| offsets.log_start_offset == offsets.log_end_offset);
        let is_idle = is_empty && predecessor.is_none();
        let status = if is_idle { Status::Active } else { Status::Loading };
        let mut slot = Slot {
            leader_epoch,
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

    fn spawn(
        &self,
        partition: i32,
        slot: &mut Slot<M>,
        predecessor: Option<JoinHandle<()>>,
    ) -> mpsc::Sender<Message<M>> {
        let (sender, mailbox) = mpsc::channel(self.shared.limits.mailbox_size);
        let place = Place {
            partition,
            leader_epoch: slot.leader_epoch,
            status: Arc::clone(&slot.status),
            events: EventSender::new(sender.downgrade()),
        };
        let task = shard::run(place, Arc::clone(&self.shared), mailbox, predecessor);
        slot.task = Some(self.shared.runtime.spawn(task));
        slot.mailbox = Some(sender.clone());
        sender
    }

    /// Hands a request to the shard. When this returns, the request has its place among the others of the shard.
    pub(super) fn submit(
        &self,
        partition: i32,
        request: M::Request,
    ) -> Result<oneshot::Receiver<Answer<M::Reply>>, ErrorCode> {
        let mailbox = self.mailbox_of(partition)?;
        send::<M>(&mailbox, request)
    }

    /// Hands the shard a marker for its log; answered when it is committed.
    pub(super) fn submit_marker(
        &self,
        partition: i32,
        marker: Marker,
    ) -> Result<oneshot::Receiver<Answer<()>>, ErrorCode> {
        let mailbox = self.mailbox_of(partition)?;
        let (client, answer) = oneshot::channel();
        try_send(&mailbox, Message::Marker(marker, client))?;
        Ok(answer)
    }

    fn mailbox_of(&self, partition: i32) -> Result<mpsc::Sender<Message<M>>, ErrorCode> {
        let mut slots = self.slots();
        let slot = slots.get_mut(&partition).ok_or(ErrorCode::NotCoordinator)?;
        slot.check_active()?;
        Ok(match &slot.mailbox {
            Some(mailbox) => mailbox.clone(),
            None => self.spawn(partition, slot, None),
        })
    }

    /// Hands a request to each shard that can have keys.
    pub(super) fn submit_to_all(
        &self,
        request: &M::Request,
    ) -> Result<Vec<oneshot::Receiver<Answer<M::Reply>>>, ErrorCode> {
        let slots = self.slots();
        let mut answers = Vec::new();
        for slot in slots.values() {
            match (slot.check_active(), &slot.mailbox) {
                (Ok(()), Some(mailbox)) => answers.push(send::<M>(mailbox, request.clone())?),
                (Ok(()), None) | (Err(ErrorCode::NotCoordinator), _) => {}
                (Err(error), _) => return Err(error),
            }
        }
        Ok(answers)
    }

    /// Tells all shards that can have keys. Also a full mailbox gets to know it.
    pub(super) fn tell_all(&self, event: &M::Event) {
        for slot in self.slots().values() {
            let Some(mailbox) = &slot.mailbox else { continue };
            if let Err(mpsc::error::TrySendError::Full(message)) = mailbox.try_send(Message::Event(event.clone())) {
                let mailbox = mailbox.clone();
                // A shard that ends meanwhile has nothing to know any more.
                self.shared
                    .runtime
                    .spawn(async move { drop(mailbox.send(message).await) });
            }
        }
    }
}

impl<M: Machine> Slot<M> {
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

fn send<M: Machine>(
    mailbox: &mpsc::Sender<Message<M>>,
    request: M::Request,
) -> Result<oneshot::Receiver<Answer<M::Reply>>, ErrorCode> {
    let (client, answer) = oneshot::channel();
    try_send(mailbox, Message::Request(Box::new(request), client))?;
    Ok(answer)
}

fn try_send<M: Machine>(mailbox: &mpsc::Sender<Message<M>>, message: Message<M>) -> Result<(), ErrorCode> {
    mailbox.try_send(message).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => ErrorCode::CoordinatorNotAvailable,
        mpsc::error::TrySendError::Closed(_) => ErrorCode::NotCoordinator,
    })
}
