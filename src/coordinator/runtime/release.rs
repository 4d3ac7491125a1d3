//! Answers and effects that wait until what they depend on is committed.
//!
//! Invariants: an answer goes out exactly once: committed, timed out, or failed with its shard; an effect is due only when
//! it is committed, however long that takes; pure, time comes in.

use std::collections::{BTreeMap, VecDeque};

use protocol::error_code::ErrorCode;
use tokio::sync::oneshot;

use super::machine::Machine;

/// What a client gets: an answer, or why there is none.
pub(in crate::coordinator) type Answer<R> = Result<R, ErrorCode>;

/// The way to a client that waits.
pub(super) type Client<R> = oneshot::Sender<Answer<R>>;

/// Where in the queue something stands: by end offset, then in order of arrival.
type Key = (i64, u64);

#[derive(Debug)]
enum Waiting<M: Machine> {
    Reply(Client<M::Reply>, M::Reply),
    /// Whoever wants to know that a marker is committed.
    Marker(Client<()>),
    Effect(M::Effect),
}

/// What waits in one shard.
#[derive(Debug)]
pub(super) struct Releases<M: Machine> {
    waiting: BTreeMap<Key, Waiting<M>>,
    /// Of answers, in order of time, because all wait equally long; entries of those that went out are left behind.
    deadlines: VecDeque<(i64, Key)>,
    next_sequence: u64,
}

impl<M: Machine> Default for Releases<M> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            deadlines: VecDeque::new(),
            next_sequence: 0,
        }
    }
}

impl<M: Machine> Releases<M> {
    /// Lets an answer wait until the log is committed up to `end_offset`, at most until `deadline_ms`.
    pub(super) fn wait(&mut self, end_offset: i64, deadline_ms: i64, client: Client<M::Reply>, reply: M::Reply) {
        let key = self.insert(end_offset, Waiting::Reply(client, reply));
        self.deadlines.push_back((deadline_ms, key));
    }

    /// The same for whoever had a marker written.
    pub(super) fn wait_marker(&mut self, end_offset: i64, deadline_ms: i64, client: Client<()>) {
        let key = self.insert(end_offset, Waiting::Marker(client));
        self.deadlines.push_back((deadline_ms, key));
    }

    /// Lets an effect wait until the log is committed up to `end_offset`.
    pub(super) fn wait_effect(&mut self, end_offset: i64, effect: M::Effect) {
        self.insert(end_offset, Waiting::Effect(effect));
    }

    fn insert(&mut self, end_offset: i64, waiting: Waiting<M>) -> Key {
        let key = (end_offset, self.next_sequence);
        self.next_sequence += 1;
        self.waiting.insert(key, waiting);
        key
    }

    /// Sends the answers that are committed below `high_watermark`; gives the effects to be done now.
    pub(super) fn release(&mut self, high_watermark: i64) -> Vec<M::Effect> {
        let mut effects = Vec::new();
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > high_watermark {
                break;
            }
            match entry.remove() {
                Waiting::Reply(client, reply) => answer(client, Ok(reply)),
                Waiting::Marker(client) => answer(client, Ok(())),
                Waiting::Effect(effect) => effects.push(effect),
            }
        }
        effects
    }

    /// Fails what has waited too long: the client asks again, and the coordinator may be another one then.
    pub(super) fn expire(&mut self, now_ms: i64) {
        while let Some((deadline_ms, key)) = self.deadlines.front().copied() {
            if self.waiting.contains_key(&key) && deadline_ms > now_ms {
                break;
            }
            self.deadlines.pop_front();
            if let Some(waiting) = self.waiting.remove(&key) {
                waiting.fail(ErrorCode::CoordinatorNotAvailable);
            }
        }
    }

    /// Fails everything.
    pub(super) fn fail_all(&mut self, error: ErrorCode) {
        self.deadlines.clear();
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            waiting.fail(error);
        }
    }

    /// The end offset that the first of them waits for.
    pub(super) fn next_end_offset(&self) -> Option<i64> {
        self.waiting.first_key_value().map(|((end_offset, _), _)| *end_offset)
    }

    /// When [`Self::expire`] is due, at the latest.
    pub(super) fn next_deadline(&self) -> Option<i64> {
        if self.waiting.is_empty() {
            None
        } else {
            self.deadlines.front().map(|(deadline_ms, _)| *deadline_ms)
        }
    }
}

impl<M: Machine> Waiting<M> {
    fn fail(self, error: ErrorCode) {
        match self {
            Self::Reply(client, _) => answer(client, Err(error)),
            Self::Marker(client) => answer(client, Err(error)),
            Self::Effect(effect) => tracing::debug!(?effect, "the shard ended before this was committed"),
        }
    }
}

/// Answers a client; one that has gone needs no answer.
pub(super) fn answer<R>(client: Client<R>, answer: Answer<R>) {
    drop(client.send(answer));
}
