//! The decision by example, and against three separate walks over a list as Kafka does them.

use proptest::prelude::*;

use super::*;

/// A segment as a test describes it: offset behind it, size, largest timestamp.
type Described = (i64, u64, i64);

fn decide(segments: &[Described], log_start: i64, stable: i64, now_ms: i64, config: &LogConfig) -> Outlived {
    let extents: Vec<_> = segments
        .iter()
        .map(|(next_offset, size_bytes, _)| SegmentExtent {
            next_offset: *next_offset,
            size_bytes: *size_bytes,
        })
        .collect();
    let input = RetentionInput {
        segments: &extents,
        log_start_offset: log_start,
        last_stable_offset: stable,
        now_ms,
        config,
    };
    outlived(&input, |index| Some(segments[index].2))
}

fn config(retention_ms: i64, retention_bytes: i64) -> LogConfig {
    LogConfig {
        retention_ms,
        retention_bytes,
        ..LogConfig::default()
    }
}

fn counts(below_log_start: usize, by_size: usize, by_time: usize) -> Outlived {
    Outlived {
        below_log_start,
        by_size,
        by_time,
    }
}

/// Three sealed segments of 100 bytes and an active one of 50.
const LOG: [Described; 4] = [(10, 100, 1_000), (20, 100, 2_000), (30, 100, 3_000), (35, 50, 4_000)];

#[test]
fn nothing_goes_without_limits() {
    assert_eq!(decide(&LOG, 0, 35, i64::MAX, &config(-1, -1)), counts(0, 0, 0));
    assert_eq!(decide(&[(0, 0, 0)], 0, 0, i64::MAX, &config(0, 0)), counts(0, 0, 0));
}

#[test]
fn what_lies_before_the_log_start_goes_whatever_the_policy_says() {
    for (compact, delete) in [(true, false), (false, false), (true, true), (false, true)] {
        let config = LogConfig {
            compact,
            delete,
            ..config(-1, -1)
        };
        assert_eq!(decide(&LOG, 9, 35, 0, &config), counts(0, 0, 0));
        assert_eq!(decide(&LOG, 10, 35, 0, &config), counts(1, 0, 0));
        assert_eq!(decide(&LOG, 29, 35, 0, &config), counts(2, 0, 0));
        // the active segment only by size and time
        assert_eq!(decide(&LOG, 35, 35, 0, &config), counts(3, 0, 0));
    }
}

#[test]
fn the_rest_keeps_at_least_retention_bytes() {
    for (retention_bytes, by_size) in [(351, 0), (350, 0), (251, 0), (250, 1), (50, 3), (49, 3), (1, 3), (0, 4)] {
        assert_eq!(
            decide(&LOG, 0, 35, 0, &config(-1, retention_bytes)),
            counts(0, by_size, 0),
            "{retention_bytes}"
        );
    }
    // what is below the log start does not count any more
    assert_eq!(decide(&LOG, 10, 35, 0, &config(-1, 250)), counts(1, 0, 0));
    assert_eq!(decide(&LOG, 0, 35, 0, &config(-1, -5)), counts(0, 0, 0));
}

#[test]
fn age_counts_from_the_newest_record() {
    for (now_ms, by_time) in [(1_500, 0), (1_501, 1), (2_501, 2), (4_500, 3), (4_501, 4)] {
        assert_eq!(
            decide(&LOG, 0, 35, now_ms, &config(500, -1)),
            counts(0, 0, by_time),
            "{now_ms}"
        );
    }
    assert_eq!(decide(&LOG, 0, 35, i64::MAX, &config(i64::MAX, -1)), counts(0, 0, 0));
}

#[test]
fn one_timestamp_from_the_future_keeps_its_segment_and_all_behind_it() {
    let log = [(10, 100, 1_000), (20, 100, i64::MAX), (30, 100, 1_000), (35, 50, 1_000)];
    assert_eq!(decide(&log, 0, 35, 9_000, &config(0, -1)), counts(0, 0, 1));
    assert_eq!(
        decide(&log, 0, 35, 9_000, &config(0, 60)),
        counts(0, 2, 2),
        "size asks for no timestamp"
    );
}

#[test]
fn nothing_at_or_above_the_last_stable_offset_goes() {
    for (stable, gone) in [(9, 0), (10, 1), (34, 3), (35, 4)] {
        assert_eq!(decide(&LOG, 0, stable, i64::MAX, &config(0, -1)).count(), gone);
        assert_eq!(decide(&LOG, 0, stable, 0, &config(-1, 0)).count(), gone);
    }
}

#[test]
fn a_compacted_topic_keeps_and_an_unknown_age_keeps() {
    let compacted = LogConfig {
        compact: true,
        delete: false,
        ..config(0, 0)
    };
    assert_eq!(decide(&LOG, 0, 35, i64::MAX, &compacted), counts(0, 0, 0));
    let extents = [SegmentExtent {
        next_offset: 5,
        size_bytes: 5,
    }];
    let config = config(0, -1);
    let input = RetentionInput {
        segments: &extents,
        log_start_offset: 0,
        last_stable_offset: 5,
        now_ms: i64::MAX,
        config: &config,
    };
    assert_eq!(outlived(&input, |_| None), counts(0, 0, 0));
}

#[test]
fn timestamps_are_not_asked_for_behind_the_first_segment_that_stays() {
    let extents: Vec<_> = (1..=100)
        .map(|n| SegmentExtent {
            next_offset: n,
            size_bytes: 1,
        })
        .collect();
    let config = config(0, 90);
    let input = RetentionInput {
        segments: &extents,
        log_start_offset: 0,
        last_stable_offset: 100,
        now_ms: 15,
        config: &config,
    };
    let mut asked = Vec::new();
    let decided = outlived(&input, |index| {
        asked.push(index);
        Some(index as i64)
    });
    assert_eq!(decided, counts(0, 10, 5));
    assert_eq!(asked, [10, 11, 12, 13, 14, 15]);
}

/// Takes segments off the front of a list as long as `condition` holds; the active one is followed by an empty one.
fn walk(
    segments: &mut Vec<Described>,
    stable: i64,
    mut condition: impl FnMut(&Described, Option<i64>) -> bool,
) -> usize {
    let mut taken = 0;
    while let Some(first) = segments.first().copied() {
        let is_last = segments.len() == 1;
        let next_base = (!is_last).then_some(first.0);
        if stable < first.0 || !condition(&first, next_base) || (is_last && first.1 == 0) {
            break;
        }
        segments.remove(0);
        taken += 1;
        if is_last {
            segments.push((first.0, 0, i64::MAX));
        }
    }
    taken
}

proptest! {
    #[test]
    fn decides_as_three_walks_one_after_the_other(
        parts in proptest::collection::vec((0..20i64, 0..5u64, 0..50i64), 1..12),
        log_start in 0..200i64,
        stable in 0..250i64,
        now_ms in 0..60i64,
        retention_ms in -1..50i64,
        retention_bytes in -1..40i64,
        compact in any::<bool>(),
        delete in any::<bool>(),
    ) {
        let mut next = 0;
        let log: Vec<Described> = parts
            .into_iter()
            .map(|(records, size_bytes, ms)| {
                next += records;
                (next, if records == 0 { 0 } else { size_bytes }, ms)
            })
            .collect();
        let config = LogConfig { compact, delete, ..config(retention_ms, retention_bytes) };
        let decided = decide(&log, log_start, stable, now_ms, &config);

        let mut left = log.clone();
        let below = walk(&mut left, stable, |_, next_base| next_base.is_some_and(|base| base <= log_start));
        let (mut by_size, mut by_time) = (0, 0);
        if delete {
            let size: i64 = left.iter().map(|segment| segment.1 as i64).sum();
            if retention_bytes >= 0 && size >= retention_bytes {
                let mut surplus = size - retention_bytes;
                by_size = walk(&mut left, stable, |segment, _| {
                    let goes = surplus - segment.1 as i64 >= 0;
                    surplus -= if goes { segment.1 as i64 } else { 0 };
                    goes
                });
            }
            if retention_ms >= 0 {
                by_time = walk(&mut left, stable, |segment, _| now_ms - segment.2 > retention_ms);
            }
        }
        prop_assert_eq!(decided, counts(below, by_size, by_time));
        if let Some(last) = decided.count().checked_sub(1) {
            prop_assert!(log[last].0 <= stable, "the log start passes the last stable offset");
        }
    }
}
