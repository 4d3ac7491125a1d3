//! The offsets at which segments begin, as of some time: what Kafka's `LogOffsetTest` expects, and more.

use super::*;
use crate::log::segment_offsets::AsOf;

fn at(wall_ms: i64) -> Now {
    Now { mono_ms: 0, wall_ms }
}

/// Batches of two records; the files of those at offset 2 n are changed at 10 n.
fn filled(fixture: &Fixture, batches: i64) -> OpenedLog {
    let mut opened = fixture.open();
    for n in 0..batches {
        fixture.fs.set_clock_ms(n * 10);
        let appended = &opened.writer.append(vec![plain(&[n, n])], 0, now())[0];
        appended.as_ref().expect("appended");
    }
    opened.writer.set_high_watermark(i64::MAX);
    opened
}

fn bases(reader: &LogReader) -> Vec<i64> {
    let segments = reader.shared.segments.load();
    let sealed = segments.sealed.iter().map(|segment| segment.base_offset());
    sealed.chain([segments.active.base_offset()]).collect()
}

fn told(reader: &LogReader, as_of: AsOf, max_count: usize) -> Vec<i64> {
    reader
        .segment_offsets(as_of, max_count, at(1_000_000))
        .expect("on a disk that works")
}

#[test]
fn the_ends_are_told_without_a_time() {
    let fixture = Fixture::new(small_segments());
    let opened = filled(&fixture, 40);
    let mut descending = bases(&opened.reader);
    assert!(descending.len() >= 4, "{descending:?}");
    descending.push(80);
    descending.reverse();
    assert_eq!(told(&opened.reader, AsOf::Latest, 99), descending);
    assert_eq!(told(&opened.reader, AsOf::Latest, 3), descending[..3]);
    assert_eq!(told(&opened.reader, AsOf::Latest, 1), [80]);
    assert_eq!(told(&opened.reader, AsOf::Latest, 0), Vec::<i64>::new());
    assert_eq!(told(&opened.reader, AsOf::Earliest, 10), [0]);
}

#[test]
fn an_empty_log_has_its_begin() {
    let fixture = Fixture::new(small_segments());
    let opened = fixture.open();
    assert_eq!(told(&opened.reader, AsOf::Latest, 10), [0]);
    assert_eq!(told(&opened.reader, AsOf::Earliest, 10), [0]);
    assert_eq!(told(&opened.reader, AsOf::Time(i64::MAX), 10), [0]);
}

#[test]
fn a_time_tells_of_segments_that_were_not_changed_since() {
    let fixture = Fixture::new(small_segments());
    let opened = filled(&fixture, 40);
    let bases = bases(&opened.reader);
    let first_changed_ms = (bases[1] / 2 - 1) * 10;
    assert_eq!(told(&opened.reader, AsOf::Time(first_changed_ms), 10), [0]);
    assert_eq!(
        told(&opened.reader, AsOf::Time(first_changed_ms - 1), 10),
        Vec::<i64>::new()
    );
    let third_changed_ms = (bases[3] / 2 - 1) * 10;
    assert_eq!(
        told(&opened.reader, AsOf::Time(third_changed_ms), 2),
        [bases[2], bases[1]]
    );
    let all_but_the_end: Vec<_> = bases.iter().rev().copied().collect();
    assert_eq!(told(&opened.reader, AsOf::Time(999_999), 99), all_but_the_end);
    assert_eq!(told(&opened.reader, AsOf::Time(1_000_000), 1), [80]);
}

#[test]
fn nothing_before_the_log_start_is_told() {
    let fixture = Fixture::new(small_segments());
    let mut opened = filled(&fixture, 40);
    let bases = bases(&opened.reader);
    let start = bases[2] + 2;
    opened.writer.advance_log_start(start).expect("advanced");
    let mut expected: Vec<i64> = [start].into_iter().chain(bases[3..].iter().copied()).collect();
    expected.push(80);
    expected.reverse();
    assert_eq!(told(&opened.reader, AsOf::Latest, 99), expected);
    assert_eq!(told(&opened.reader, AsOf::Earliest, 99), [start]);
}

/// Who looks at a list of segments whose oldest go meanwhile finds their files gone.
#[test]
fn segments_that_go_meanwhile_are_not_told() {
    let fixture = Fixture::new(small_segments());
    let opened = filled(&fixture, 40);
    let base = bases(&opened.reader)[1];
    let path = Path::new(DIR).join(format!("{base:020}.log"));
    fixture.fs.shared().remove_file(&path).expect("removed");
    assert_eq!(told(&opened.reader, AsOf::Time(0), 99), Vec::<i64>::new());
}
