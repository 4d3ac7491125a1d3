//! Whatever happens during a pass: what is left of the log says the same as all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::coordinator::group::record::OffsetAndMetadata;
use crate::coordinator::runtime::machine::HardState;

/// What may be in a log.
#[derive(Clone, Debug)]
enum Entry {
    Write(Option<i64>, Record),
    EndTransaction(i64, bool),
}

/// A log and the state that it gives.
#[derive(Default)]
struct Shard {
    log: Vec<Entry>,
    hard: Hard,
}

impl Shard {
    fn push(&mut self, entry: Entry) {
        apply(&mut self.hard, self.log.len(), entry.clone());
        self.log.push(entry);
    }

    fn end_offset(&self) -> i64 {
        i64::try_from(self.log.len()).expect("a short log")
    }

    fn load_from(&self, offset: i64) -> Hard {
        let mut hard = Hard::default();
        for (index, entry) in self.log.iter().enumerate() {
            if i64::try_from(index).expect("a short log") >= offset {
                apply(&mut hard, index, entry.clone());
            }
        }
        hard
    }
}

fn apply(hard: &mut Hard, index: usize, entry: Entry) {
    let offset = i64::try_from(index).expect("a short log");
    match entry {
        Entry::Write(transaction, record) => hard.replay(offset, transaction, record),
        Entry::EndTransaction(producer_id, committed) => hard.replay_marker(offset, producer_id, committed),
    }
}

/// Everything of a state but where it stands, without groups of which nothing is left.
fn told(hard: &Hard) -> Vec<String> {
    let mut told = Vec::new();
    for (group_id, group) in hard.groups() {
        if let Some(metadata) = group.metadata() {
            told.push(format!("{group_id} generation {}", metadata.generation_id));
        }
        for (topic, partitions) in group.offsets() {
            for (partition, committed) in partitions {
                told.push(format!(
                    "{group_id} {topic}-{partition} {}",
                    committed.value.committed_offset
                ));
            }
        }
        for (topic, partition) in group.pending_partitions() {
            for value in group.pending_values(topic, partition) {
                told.push(format!(
                    "{group_id} {topic}-{partition} pending {}",
                    value.committed_offset
                ));
            }
        }
    }
    told
}

fn offset_record(group_id: &str, topic: &str, partition: i32, offset: Option<i64>) -> Record {
    let value = offset.map(|committed_offset| OffsetAndMetadata {
        committed_offset,
        leader_epoch: -1,
        metadata: Box::from(""),
        commit_timestamp_ms: 0,
        expire_timestamp_ms: None,
        topic_id: Uuid::nil(),
    });
    Record::OffsetCommit {
        group_id: Arc::from(group_id),
        topic: Arc::from(topic),
        partition,
        value,
    }
}

fn group_record(group_id: &str, generation_id: Option<i32>) -> Record {
    let value = generation_id.map(|generation_id| GroupMetadata {
        protocol_type: None,
        generation_id,
        protocol_name: None,
        leader: None,
        current_state_timestamp_ms: 0,
        members: Vec::new(),
    });
    Record::GroupMetadata {
        group_id: Arc::from(group_id),
        value,
    }
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let group = prop_oneof![Just("a"), Just("b"), Just("c")];
    let topic = prop_oneof![Just("t"), Just("u")];
    let transaction = prop_oneof![3 => Just(None), 1 => (7_i64..9).prop_map(Some)];
    let commit = (transaction, group.clone(), topic.clone(), 0..3_i32, 0..1_000_i64).prop_map(
        |(transaction, group, topic, partition, offset)| {
            Entry::Write(transaction, offset_record(group, topic, partition, Some(offset)))
        },
    );
    let removal = (group.clone(), topic, 0..3_i32)
        .prop_map(|(group, topic, partition)| Entry::Write(None, offset_record(group, topic, partition, None)));
    let metadata = (group, prop::option::of(0..1_000_i32))
        .prop_map(|(group, generation_id)| Entry::Write(None, group_record(group, generation_id)));
    let end =
        (7_i64..9, any::<bool>()).prop_map(|(producer_id, committed)| Entry::EndTransaction(producer_id, committed));
    prop::collection::vec(prop_oneof![6 => commit, 2 => removal, 2 => metadata, 2 => end], 0..40)
}

proptest! {
    /// Before, during and after the pass anything may be written.
    #[test]
    fn what_is_left_says_the_same(before in entries(), during in entries(), after in entries(), limit in 1..5_usize) {
        let mut shard = Shard::default();
        before.into_iter().for_each(|entry| shard.push(entry));
        let mut rewrite = Rewrite::begin(shard.end_offset());
        let mut during = during.into_iter();
        loop {
            let records = rewrite.next(&shard.hard, limit, usize::MAX);
            prop_assert!(records.len() <= limit);
            if records.is_empty() {
                break;
            }
            let state = told(&shard.hard);
            records.into_iter().for_each(|record| shard.push(Entry::Write(None, record)));
            prop_assert_eq!(told(&shard.hard), state, "writing again changes nothing");
            during.by_ref().take(2).for_each(|entry| shard.push(entry));
        }
        for entry in during.chain(after) {
            shard.push(entry);
            // Also with what is read of a batch before its first needed record.
            for from in [rewrite.needed_from(), (rewrite.needed_from() - 1).max(0)] {
                prop_assert_eq!(told(&shard.load_from(from)), told(&shard.hard));
            }
        }
    }
}

/// What a log says, written down without regard to anything but its meaning.
#[derive(Debug, Default)]
struct Meaning {
    generations: BTreeMap<Arc<str>, i32>,
    /// With the place in the log.
    offsets: BTreeMap<Place, (i64, usize)>,
    pending: BTreeMap<(Place, i64), (i64, usize)>,
}

type Place = (Arc<str>, Arc<str>, i32);

impl Meaning {
    fn of(log: &[Entry]) -> Self {
        let mut meaning = Self::default();
        for (index, entry) in log.iter().enumerate() {
            meaning.read(index, entry.clone());
        }
        meaning
    }

    fn read(&mut self, index: usize, entry: Entry) {
        match entry {
            Entry::EndTransaction(ended, committed) => {
                let pending = std::mem::take(&mut self.pending);
                for ((place, producer_id), (offset, at)) in pending {
                    if producer_id != ended {
                        self.pending.insert((place, producer_id), (offset, at));
                    } else if committed && self.offsets.get(&place).is_none_or(|(_, present)| *present < at) {
                        self.offsets.insert(place, (offset, at));
                    }
                }
            }
            Entry::Write(_, Record::GroupMetadata { group_id, value }) => {
                self.generations.remove(&group_id);
                if let Some(value) = value {
                    self.generations.insert(group_id, value.generation_id);
                }
            }
            Entry::Write(
                transaction,
                Record::OffsetCommit {
                    group_id,
                    topic,
                    partition,
                    value,
                },
            ) => {
                let place = (group_id, topic, partition);
                match (value, transaction) {
                    (None, _) => {
                        self.offsets.remove(&place);
                        self.pending.retain(|(other, _), _| *other != place);
                    }
                    (Some(value), None) => drop(self.offsets.insert(place, (value.committed_offset, index))),
                    (Some(value), Some(producer_id)) => {
                        self.pending
                            .insert((place, producer_id), (value.committed_offset, index));
                    }
                }
            }
        }
    }

    fn told(&self) -> BTreeSet<String> {
        let mut told = BTreeSet::new();
        for (group_id, generation_id) in &self.generations {
            told.insert(format!("{group_id} generation {generation_id}"));
        }
        for ((group_id, topic, partition), (offset, _)) in &self.offsets {
            told.insert(format!("{group_id} {topic}-{partition} {offset}"));
        }
        for (((group_id, topic, partition), _), (offset, _)) in &self.pending {
            told.insert(format!("{group_id} {topic}-{partition} pending {offset}"));
        }
        told
    }
}

fn told_set(hard: &Hard) -> BTreeSet<String> {
    told(hard).into_iter().collect()
}

proptest! {
    /// Passes follow each other, each forgets what lies before it, and transactions go on across all of them.
    #[test]
    fn many_passes_forget_nothing_that_is_needed(
        rounds in prop::collection::vec((entries(), entries()), 1..4),
        limit in 1..5_usize,
    ) {
        let mut shard = Shard::default();
        let mut clients_log = Vec::new();
        let mut log_start = 0;
        for (before, during) in rounds {
            let mut rewrite = None;
            let mut during = during.into_iter();
            let mut before = before.into_iter();
            loop {
                let entry = match &mut rewrite {
                    None => before.next(),
                    Some(_) => during.next(),
                };
                // What clients write means the same whether or not the state is written again in between.
                if let Some(entry) = entry.clone() {
                    shard.push(entry.clone());
                    clients_log.push(entry);
                }
                let rewrite = match &mut rewrite {
                    None if entry.is_some() => continue,
                    None => rewrite.insert(Rewrite::begin(shard.end_offset())),
                    Some(rewrite) => rewrite,
                };
                let records = rewrite.next(&shard.hard, limit, usize::MAX);
                if records.is_empty() {
                    prop_assert!(rewrite.needed_from() >= log_start, "what is kept is there");
                    log_start = rewrite.needed_from();
                    break;
                }
                records.into_iter().for_each(|record| shard.push(Entry::Write(None, record)));
            }
            for entry in during {
                shard.push(entry.clone());
                clients_log.push(entry);
                prop_assert_eq!(told_set(&shard.load_from(log_start)), told_set(&shard.hard));
            }
            let meaning = Meaning::of(&clients_log).told();
            prop_assert_eq!(&told_set(&shard.load_from(log_start)), &meaning);
            prop_assert_eq!(&told_set(&shard.hard), &meaning);
            let pending = meaning.iter().filter(|told| told.contains("pending")).count();
            prop_assert!(shard.hard.pending_count() >= pending, "two producers may say the same");
        }
        for producer_id in 7..9 {
            shard.push(Entry::EndTransaction(producer_id, true));
        }
        prop_assert_eq!(shard.hard.pending_count(), 0);
    }
}

/// Its records were deleted, or never came to this partition, and the log begins behind its first offset here.
#[test]
fn the_marker_of_a_transaction_from_before_the_log_says_nothing() {
    let mut shard = Shard::default();
    shard.push(Entry::Write(Some(7), offset_record("g", "t", 0, Some(3))));
    shard.push(Entry::Write(None, offset_record("g", "t", 0, None)));
    shard.push(Entry::Write(None, offset_record("g", "t", 0, Some(4))));
    let mut rewrite = Rewrite::begin(shard.end_offset());
    while let records @ [_, ..] = &rewrite.next(&shard.hard, 100, usize::MAX)[..] {
        for record in records {
            shard.push(Entry::Write(None, record.clone()));
        }
    }
    assert_eq!(rewrite.needed_from(), 3, "behind the open transaction's only record");
    shard.push(Entry::EndTransaction(7, true));
    assert_eq!(told(&shard.load_from(3)), told(&shard.hard));
    assert_eq!(told(&shard.hard), ["g t-0 4"]);
}

#[test]
fn a_pass_writes_all_of_the_state_once() {
    let mut shard = Shard::default();
    shard.push(Entry::Write(None, group_record("b", Some(3))));
    for (group_id, topic, partition) in [("a", "t", 0), ("a", "t", 1), ("a", "u", 5), ("b", "t", 0)] {
        shard.push(Entry::Write(None, offset_record(group_id, topic, partition, Some(9))));
    }
    for limit in [1, 2, 3, 100] {
        let mut rewrite = Rewrite::begin(shard.end_offset());
        let mut written = Hard::default();
        let mut count = 0;
        loop {
            let records = rewrite.next(&shard.hard, limit, usize::MAX);
            if records.is_empty() {
                break;
            }
            for record in records {
                written.replay(count, None, record);
                count += 1;
            }
        }
        assert_eq!((count, told(&written)), (5, told(&shard.hard)), "{limit} at a time");
        assert_eq!(rewrite.needed_from(), 5);
    }
    assert!(size_in_log(&shard.hard) > 5 * 60);
}

#[test]
fn a_piece_ends_at_its_limit_of_bytes() {
    let mut shard = Shard::default();
    for partition in 0..10 {
        shard.push(Entry::Write(None, offset_record("g", "t", partition, Some(9))));
    }
    let each = usize::try_from(size_in_log(&shard.hard)).expect("small") / 10;
    for (max_bytes, expected) in [(0, 1), (1, 1), (3 * each, 3), (usize::MAX, 10)] {
        let mut rewrite = Rewrite::begin(shard.end_offset());
        let mut pieces = Vec::new();
        loop {
            let records = rewrite.next(&shard.hard, 100, max_bytes);
            if records.is_empty() {
                break;
            }
            pieces.push(records.len());
        }
        assert!(pieces[0].abs_diff(expected) <= 1, "{max_bytes}: {pieces:?}");
        assert_eq!(pieces.iter().sum::<usize>(), 10, "{max_bytes}: {pieces:?}");
    }
}

#[test]
fn an_open_transaction_keeps_what_it_may_be_weighed_against() {
    let mut shard = Shard::default();
    shard.push(Entry::Write(None, offset_record("g", "t", 0, Some(1))));
    shard.push(Entry::Write(None, offset_record("g", "t", 1, Some(2))));
    shard.push(Entry::Write(Some(7), offset_record("g", "t", 1, Some(3))));
    let mut rewrite = Rewrite::begin(shard.end_offset());
    let records = rewrite.next(&shard.hard, 100, usize::MAX);
    assert_eq!(records, [offset_record("g", "t", 0, Some(1))]);
    assert_eq!(rewrite.needed_from(), 1, "the offset beside the open transaction");
}
