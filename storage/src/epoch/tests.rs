//! The epoch cache against a list of records that each know their epoch.

use proptest::prelude::*;

use super::*;

fn cache(entries: &[(i32, i64)]) -> EpochCache {
    EpochCache::from_entries(entries.iter().map(|(epoch, start_offset)| EpochEntry {
        epoch: *epoch,
        start_offset: *start_offset,
    }))
}

fn entries(cache: &EpochCache) -> Vec<(i32, i64)> {
    cache
        .entries()
        .iter()
        .map(|entry| (entry.epoch, entry.start_offset))
        .collect()
}

#[test]
fn end_offsets_as_consumers_and_followers_ask_for_them() {
    let cache = cache(&[(2, 10), (4, 20), (7, 30)]);
    for (requested, answer) in [
        (-1, (-1, -1)),
        (0, (0, 10)),
        (2, (2, 20)),
        (3, (2, 20)),
        (4, (4, 30)),
        (6, (4, 30)),
        (7, (7, 55)),
        (8, (-1, -1)),
    ] {
        assert_eq!(cache.end_offset_for(requested, 55), answer, "epoch {requested}");
    }
    assert_eq!(EpochCache::new().end_offset_for(0, 55), (-1, -1));
}

#[test]
fn an_epoch_is_assigned_once() {
    let mut cache = cache(&[(1, 5)]);
    assert!(!cache.assign(1, 9), "it began before");
    assert!(
        !cache.assign(-1, 9) && !cache.assign(3, -1),
        "unknown epochs are not recorded"
    );
    assert!(cache.assign(3, 9));
    assert_eq!(
        (cache.earliest(), cache.latest().map(|entry| entry.epoch)),
        (cache.entries().first().copied(), Some(3))
    );
    assert_eq!(entries(&cache), [(1, 5), (3, 9)]);
}

#[test]
fn contradicting_entries_give_way() {
    let mut at_same_offset = cache(&[(1, 5), (2, 9)]);
    assert!(at_same_offset.assign(3, 9), "epoch 2 wrote nothing");
    assert_eq!(entries(&at_same_offset), [(1, 5), (3, 9)]);
    let mut older = cache(&[(1, 5), (4, 9), (6, 12)]);
    assert!(older.assign(4, 11));
    assert_eq!(entries(&older), [(1, 5), (4, 11)]);
    let mut earlier = cache(&[(1, 5), (2, 9)]);
    assert!(earlier.assign(2, 7));
    assert_eq!(entries(&earlier), [(1, 5), (2, 7)]);
}

#[test]
fn truncation_reports_changes() {
    let mut cache = cache(&[(1, 5), (2, 9), (4, 15)]);
    assert!(!cache.truncate_from_end(16) && !cache.truncate_from_end(-1) && !cache.truncate_from_start(4));
    assert!(cache.truncate_from_end(15));
    assert_eq!(entries(&cache), [(1, 5), (2, 9)]);
    assert!(cache.truncate_from_start(7));
    assert!(!cache.truncate_from_start(7));
    assert_eq!(entries(&cache), [(1, 7), (2, 9)]);
    assert!(
        cache.truncate_from_start(30),
        "an emptied log still knows its last epoch"
    );
    assert_eq!(entries(&cache), [(2, 30)]);
    cache.clear();
    assert_eq!(entries(&cache), []);
}

#[derive(Debug, Clone)]
enum Event {
    Append { skipped_epochs: i32, records: i64 },
    TruncateEnd(u16),
    TruncateStart(u16),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..3, 1..4_i64).prop_map(|(skipped_epochs, records)| Event::Append { skipped_epochs, records }),
        1 => any::<u16>().prop_map(Event::TruncateEnd),
        1 => any::<u16>().prop_map(Event::TruncateStart),
    ];
    prop::collection::vec(event, 1..40)
}

/// Epochs of the records from `start` on.
#[derive(Debug, Default)]
struct Records {
    start: i64,
    epochs: Vec<i32>,
}

impl Records {
    fn end(&self) -> i64 {
        self.start + self.epochs.len() as i64
    }

    fn with_offsets(&self) -> impl Iterator<Item = (i64, i32)> {
        (self.start..).zip(self.epochs.iter().copied())
    }

    fn end_offset_for(&self, requested: i32) -> (i32, i64) {
        if self.epochs.last() == Some(&requested) {
            return (requested, self.end());
        }
        let next = self.with_offsets().find(|(_, epoch)| *epoch > requested);
        let floor = self.epochs.iter().copied().filter(|epoch| *epoch <= requested).max();
        match (requested, next) {
            (-1, _) | (_, None) => (-1, -1),
            (_, Some((offset, _))) => (floor.unwrap_or(requested), offset),
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_records_that_know_their_epoch(events in events()) {
        let mut cache = EpochCache::new();
        let mut records = Records::default();
        let mut epoch = 0;
        for event in events {
            match event {
                Event::Append { skipped_epochs, records: count } => {
                    epoch += skipped_epochs;
                    cache.assign(epoch, records.end());
                    records.epochs.extend((0..count).map(|_| epoch));
                }
                Event::TruncateEnd(pick) => {
                    let kept = usize::from(pick) % (records.epochs.len() + 1);
                    // A log that is cut is written on by a later leader.
                    epoch += 1;
                    records.epochs.truncate(kept);
                    cache.truncate_from_end(records.end());
                }
                Event::TruncateStart(pick) if !records.epochs.is_empty() => {
                    let dropped = usize::from(pick) % records.epochs.len();
                    records.epochs.drain(..dropped);
                    records.start += dropped as i64;
                    cache.truncate_from_start(records.start);
                }
                Event::TruncateStart(_) => {}
            }
            for (offset, epoch) in records.with_offsets() {
                prop_assert_eq!(cache.epoch_for_offset(offset), Some(epoch));
            }
            prop_assert_eq!(cache.epoch_for_offset(records.start - 1), None);
            for requested in -1..epoch + 2 {
                prop_assert_eq!(cache.end_offset_for(requested, records.end()), records.end_offset_for(requested));
            }
            prop_assert!(cache.entries().is_sorted_by(|a, b| a.epoch < b.epoch && a.start_offset < b.start_offset));
        }
    }
}
