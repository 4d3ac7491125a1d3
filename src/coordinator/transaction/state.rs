//! What is known of a transactional id, and how far its transaction is.
//!
//! Invariants: a [`Transaction`] is made and changed by replaying records only; what Kafka calls a pending state does not
//! exist here, because a record is in the log before the state changes and before anybody is told. Names and numbers are
//! those of Kafka's `TransactionState` and `TransactionMetadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::types::{PartitionIndex, ProducerEpoch, ProducerId};

use super::api::{EPOCH_BUMP_VERSION, NO_PRODUCER_ID};

/// From this epoch on a producer gets a new id instead of a higher epoch: one must be left to fence it with.
const EXHAUSTED_EPOCH: ProducerEpoch = ProducerEpoch::MAX - 1;

/// How far the transaction of a transactional id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionState {
    /// A producer has the id and no transaction was begun with it.
    Empty,
    /// Partitions were added.
    Ongoing,
    /// Committed for good; markers are being written.
    PrepareCommit,
    /// Aborted for good; markers are being written.
    PrepareAbort,
    /// Committed, all markers are written.
    CompleteCommit,
    /// Aborted, all markers are written.
    CompleteAbort,
    /// About to be forgotten. Never met here; clients may name it.
    Dead,
    /// Being fenced off. Never met here; clients may name it.
    PrepareEpochFence,
}

impl TransactionState {
    /// All states, by their number in the log.
    pub const ALL: [Self; 8] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::Dead,
        Self::PrepareEpochFence,
    ];

    /// The number in the log.
    pub fn id(self) -> i8 {
        self as i8
    }

    /// The state with this number.
    pub fn from_id(id: i8) -> Option<Self> {
        Self::ALL.get(usize::try_from(id).ok()?).copied()
    }

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::Dead => "Dead",
            Self::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether the outcome is decided and markers are outstanding.
    pub fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    /// Whether nothing is open and nothing outstanding; only then an id may be forgotten.
    pub fn is_idle(self) -> bool {
        matches!(self, Self::Empty | Self::CompleteCommit | Self::CompleteAbort)
    }
}

/// Partitions by topic; no topic is without partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Partitions(BTreeMap<Arc<str>, BTreeSet<PartitionIndex>>);

impl Partitions {
    /// Adds one; false when it was there.
    pub fn insert(&mut self, topic: Arc<str>, partition: PartitionIndex) -> bool {
        self.0.entry(topic).or_default().insert(partition)
    }

    /// Takes one out; false when it was not there.
    pub fn remove(&mut self, topic: &str, partition: PartitionIndex) -> bool {
        let Some(partitions) = self.0.get_mut(topic) else {
            return false;
        };
        let was_there = partitions.remove(&partition);
        if partitions.is_empty() {
            self.0.remove(topic);
        }
        was_there
    }

    /// Takes all of a topic out; false when there were none.
    pub fn remove_topic(&mut self, topic: &str) -> bool {
        self.0.remove(topic).is_some()
    }

    /// Whether it is there.
    pub fn contains(&self, topic: &str, partition: PartitionIndex) -> bool {
        self.0
            .get(topic)
            .is_some_and(|partitions| partitions.contains(&partition))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Topics and their partitions, in order.
    pub fn topics(&self) -> impl Iterator<Item = (&Arc<str>, &BTreeSet<PartitionIndex>)> {
        self.0.iter()
    }

    /// One by one, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, PartitionIndex)> {
        let of_topic = |(topic, partitions): (_, &BTreeSet<_>)| {
            let one = move |partition: PartitionIndex| (topic, partition);
            partitions.iter().copied().map(one).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_topic)
    }
}

impl FromIterator<(Arc<str>, PartitionIndex)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, PartitionIndex)>>(partitions: I) -> Self {
        let mut all = Self::default();
        for (topic, partition) in partitions {
            all.insert(topic, partition);
        }
        all
    }
}

/// What the log says of a transactional id: Kafka's `TransactionMetadata`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// The producer.
    pub producer_id: ProducerId,
    /// The producer id before the last change of state; -1 when there was none. It tells a retry of the request that
    /// changed the id.
    pub previous_producer_id: ProducerId,
    /// The producer id that takes over when the transaction is complete; -1 when this one stays.
    pub next_producer_id: ProducerId,
    /// The producer's epoch; in the Prepare states that of the markers.
    pub producer_epoch: ProducerEpoch,
    /// The epoch before the last bump that the producer itself asked for; -1 when there was none. Not in the log: it is
    /// unknown after a load, as in Kafka.
    pub last_producer_epoch: ProducerEpoch,
    /// After how long the broker aborts a transaction.
    pub transaction_timeout_ms: i32,
    /// How far the transaction is.
    pub state: TransactionState,
    /// Partitions that were added, or whose markers are outstanding.
    pub partitions: Partitions,
    /// When the transaction began; -1 when none did.
    pub start_timestamp_ms: i64,
    /// When the last record was written.
    pub last_update_timestamp_ms: i64,
    /// The protocol that the client spoke when the state was reached.
    pub client_transaction_version: i16,
}

impl Transaction {
    /// Whether the epoch must not be raised for the client any more.
    pub fn is_epoch_exhausted(&self) -> bool {
        is_epoch_exhausted(self.producer_epoch)
    }

    /// Whether only its producer may end a transaction, however long it takes.
    pub fn has_no_timeout(&self) -> bool {
        self.transaction_timeout_ms == i32::MAX
    }

    /// When the broker may abort the transaction: later than this.
    pub fn timeout_timestamp_ms(&self) -> Option<i64> {
        let times_out = self.state == TransactionState::Ongoing && !self.has_no_timeout();
        times_out.then(|| {
            self.start_timestamp_ms
                .saturating_add(i64::from(self.transaction_timeout_ms))
        })
    }

    /// What a client uses when the transaction is complete: in a Prepare state the producer id may change yet.
    pub fn after_completion(&self) -> (ProducerId, ProducerEpoch) {
        if self.client_transaction_version >= EPOCH_BUMP_VERSION && self.next_producer_id != NO_PRODUCER_ID {
            (self.next_producer_id, 0)
        } else {
            (self.producer_id, self.producer_epoch)
        }
    }
}

/// Whether a producer with this epoch gets a new id next.
pub fn is_epoch_exhausted(producer_epoch: ProducerEpoch) -> bool {
    producer_epoch >= EXHAUSTED_EPOCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_kafkas_numbers_and_names() {
        for (number, state) in TransactionState::ALL.into_iter().enumerate() {
            let number = i8::try_from(number).expect("eight states");
            assert_eq!(state.id(), number);
            assert_eq!(TransactionState::from_id(number), Some(state));
            assert_eq!(TransactionState::from_name(state.name()), Some(state));
        }
        assert_eq!(TransactionState::from_id(8), None);
        assert_eq!(TransactionState::from_id(-1), None);
        assert_eq!(
            TransactionState::from_name("ongoing"),
            None,
            "names are told apart by case"
        );
    }

    #[test]
    fn partitions_are_a_set_without_empty_topics() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut partitions: Partitions = [(b, 1), (Arc::clone(&a), 2), (Arc::clone(&a), 0)].into_iter().collect();
        assert!(!partitions.insert(a, 0), "it was there");
        let all: Vec<_> = partitions
            .iter()
            .map(|(topic, index)| (topic.to_string(), index))
            .collect();
        assert_eq!(all, [("a".to_owned(), 0), ("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert_eq!(partitions.len(), 3);
        assert!(partitions.remove("b", 1) && !partitions.remove("b", 1));
        assert_eq!(partitions.topics().count(), 1);
        assert!(partitions.contains("a", 2) && !partitions.contains("a", 1) && !partitions.contains("b", 1));
        assert!(partitions.remove_topic("a") && !partitions.remove_topic("a"));
        assert!(partitions.is_empty());
    }
}
