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

/// Partitions by topic, ascending; no topic is without partitions, none is there twice.
///
/// Every change of a transaction takes a copy of them, one or two pieces of memory for most transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Partitions(BTreeMap<Arc<str>, Vec<PartitionIndex>>);

impl Partitions {
    /// A copy with more of them; `None` when all were there.
    pub fn with(&self, more: &[(Arc<str>, PartitionIndex)]) -> Option<Self> {
        let news: Vec<_> = more
            .iter()
            .filter(|(topic, index)| !self.contains(topic, *index))
            .collect();
        if news.is_empty() {
            return None;
        }
        let mut all = self.clone();
        all.extend(news.into_iter().cloned());
        Some(all)
    }

    fn extend(&mut self, more: impl Iterator<Item = (Arc<str>, PartitionIndex)>) {
        for (topic, index) in more {
            self.0.entry(topic).or_default().push(index);
        }
        self.0.values_mut().for_each(bring_into_order);
    }

    /// Adds partitions of a topic.
    pub fn add(&mut self, topic: Arc<str>, more: Vec<PartitionIndex>) {
        if more.is_empty() {
            return;
        }
        let indexes = self.0.entry(topic).or_default();
        indexes.extend(more);
        bring_into_order(indexes);
    }

    /// Takes these out, as far as they are there.
    pub fn remove_all<'a>(&mut self, gone: impl IntoIterator<Item = (&'a str, PartitionIndex)>) {
        let mut by_topic: BTreeMap<&str, BTreeSet<PartitionIndex>> = BTreeMap::new();
        for (topic, index) in gone {
            by_topic.entry(topic).or_default().insert(index);
        }
        for (topic, gone) in by_topic {
            if let Some(indexes) = self.0.get_mut(topic) {
                indexes.retain(|index| !gone.contains(index));
            }
        }
        self.0.retain(|_, indexes| !indexes.is_empty());
    }

    /// Whether it is there.
    pub fn contains(&self, topic: &str, partition: PartitionIndex) -> bool {
        let indexes = self.0.get(topic);
        indexes.is_some_and(|indexes| indexes.binary_search(&partition).is_ok())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Topics and their partitions, in order.
    pub fn topics(&self) -> impl Iterator<Item = (&Arc<str>, &[PartitionIndex])> {
        self.0.iter().map(|(topic, indexes)| (topic, indexes.as_slice()))
    }

    /// One by one, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, PartitionIndex)> {
        self.topics()
            .flat_map(|(topic, indexes)| indexes.iter().map(move |index| (topic, *index)))
    }
}

/// Costs one look at what is in order already.
fn bring_into_order(indexes: &mut Vec<PartitionIndex>) {
    if !indexes.is_sorted_by(|one, next| one < next) {
        indexes.sort_unstable();
        indexes.dedup();
    }
}

impl FromIterator<(Arc<str>, PartitionIndex)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, PartitionIndex)>>(partitions: I) -> Self {
        let mut all = Self::default();
        all.extend(partitions.into_iter());
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
        let one = |topic: &Arc<str>, index| (Arc::clone(topic), index);
        let few: Partitions = [one(&b, 1), one(&a, 2), one(&a, 0), one(&a, 2)].into_iter().collect();
        let named = |partitions: &Partitions| -> Vec<_> {
            let named = partitions.iter().map(|(topic, index)| format!("{topic}{index}"));
            named.collect()
        };
        assert_eq!(named(&few), ["a0", "a2", "b1"]);
        assert_eq!(few.with(&[one(&a, 0), one(&b, 1)]), None, "they were there");
        let mut more = few
            .with(&[one(&b, 1), one(&a, 1), one(&b, 0), one(&b, 0)])
            .expect("two were not");
        assert_eq!(named(&more), ["a0", "a1", "a2", "b0", "b1"]);
        assert_eq!((more.len(), few.len()), (5, 3));
        more.remove_all([("b", 1), ("b", 7), ("c", 0), ("a", 0), ("b", 0)]);
        assert_eq!(named(&more), ["a1", "a2"]);
        assert_eq!(more.topics().count(), 1);
        assert!(more.contains("a", 2) && !more.contains("a", 0) && !more.contains("b", 1));
        more.add(Arc::clone(&b), vec![3, 1, 3]);
        more.add("c".into(), Vec::new());
        assert_eq!(named(&more), ["a1", "a2", "b1", "b3"]);
        more.remove_all([("a", 1), ("a", 2), ("b", 1), ("b", 3)]);
        assert!(more.is_empty());
    }
}
