//! Answers that wait until what they tell is committed.
//!
//! Invariants: an answer goes out exactly once: committed, timed out, or failed with its shard; pure, time comes in.

use std::collections::{BTreeMap, VecDeque};

use protocol::error_code::ErrorCode;
use tokio::sync::oneshot;

use super::shard::Answer;
use crate::coordinator::group::api::Reply;

/// The way to a client that waits.
pub(super) type Client = oneshot::Sender<Answer>;

/// Where in the queue an answer stands: by end offset, then in order of arrival.
type Key = (i64, u64);

/// The waiting answers of one shard.
#[derive(Debug, Default)]
pub(super) struct Releases {
    waiting: BTreeMap<Key, (Client, Reply)>,
    /// In order of time, because all wait equally long; entries of answers that went out are left behind.
    deadlines: VecDeque<(i64, Key)>,
    next_sequence: u64,
}

impl Releases {
    /// Lets an answer wait until the log is committed up to `end_offset`, at most until `deadline_ms`.
    pub(super) fn wait(&mut self, end_offset: i64, deadline_ms: i64, client: Client, reply: Reply) {
        let key = (end_offset, self.next_sequence);
        self.next_sequence += 1;
        self.waiting.insert(key, (client, reply));
        self.deadlines.push_back((deadline_ms, key));
    }

    /// Sends what is committed below `high_watermark`.
    pub(super) fn release(&mut self, high_watermark: i64) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > high_watermark {
                break;
            }
            let (client, reply) = entry.remove();
            answer(client, Ok(reply));
        }
    }

    /// Fails what has waited too long: the client asks again, and the coordinator may be another one then.
    pub(super) fn expire(&mut self, now_ms: i64) {
        while let Some((deadline_ms, key)) = self.deadlines.front().copied() {
            if self.waiting.contains_key(&key) && deadline_ms > now_ms {
                break;
            }
            self.deadlines.pop_front();
            if let Some((client, _)) = self.waiting.remove(&key) {
                answer(client, Err(ErrorCode::CoordinatorNotAvailable));
            }
        }
    }

    /// Fails everything.
    pub(super) fn fail_all(&mut self, error: ErrorCode) {
        self.deadlines.clear();
        for (client, _) in std::mem::take(&mut self.waiting).into_values() {
            answer(client, Err(error));
        }
    }

    /// The end offset that the first answer waits for.
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

/// Answers a client; one that has gone needs no answer.
pub(super) fn answer(client: Client, answer: Answer) {
    drop(client.send(answer));
}
