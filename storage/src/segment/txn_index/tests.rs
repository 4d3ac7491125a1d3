//! The index file alone: layout, search, what is not believed.

use proptest::prelude::*;

use super::*;
use crate::io::sim_fs::SimFileSystem;

const PATH: &str = "/00000000000000000100.txnindex";

fn txn(producer_id: i64, first_offset: i64, last_offset: i64, last_stable_offset: i64) -> AbortedTxn {
    AbortedTxn {
        producer_id,
        first_offset,
        last_offset,
        last_stable_offset,
    }
}

fn written(txns: &[AbortedTxn]) -> (SimFileSystem, Arc<dyn File>) {
    let fs = SimFileSystem::new(1);
    let file = fs.open(Path::new(PATH), OpenMode::CreateNew).expect("made");
    let mut builder = TxnIndexBuilder::behind(file, PATH.into(), 0).expect("empty");
    for txn in txns {
        builder.push(txn).expect("written");
    }
    let (file, count) = builder.finish().expect("written");
    assert_eq!(count, txns.len() as u64);
    (fs, file)
}

fn entries(file: &Arc<dyn File>) -> TxnEntries<'_> {
    TxnEntries {
        file: file.as_ref(),
        path: Path::new(PATH),
        count: whole_entries(file.len().expect("known")).0,
    }
}

#[test]
fn layout_is_kafkas() {
    let bytes = txn(0x0102_0304_0506_0708, 0x1112, 0x2122, 0x3132).encode();
    let expected = [
        0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0x11, 0x12, 0, 0, 0, 0, 0, 0, 0x21, 0x22, 0, 0, 0, 0, 0, 0,
        0x31, 0x32,
    ];
    assert_eq!(bytes, expected);
    assert_eq!(
        AbortedTxn::decode(&bytes),
        Some(txn(0x0102_0304_0506_0708, 0x1112, 0x2122, 0x3132))
    );
    let mut newer = bytes;
    newer[1] = 1;
    assert_eq!(AbortedTxn::decode(&newer), None);
}

#[test]
fn what_no_log_has_written_is_not_believed() {
    let good = [txn(1, 90, 110, 105), txn(2, 105, 120, 121), txn(1, 130, 131, 132)];
    let believed = |txns: &[AbortedTxn], end: i64| {
        let (_fs, file) = written(txns);
        entries(&file).believable(100, end).expect("read")
    };
    assert_eq!(believed(&good, 200), Some(3));
    assert_eq!(
        believed(&good, 131),
        Some(2),
        "what lies behind is not looked at further"
    );
    assert_eq!(believed(&good, 100), Some(0));
    assert_eq!(believed(&[], 200), Some(0));
    for bad in [
        txn(-1, 130, 131, 132),
        txn(1, 131, 131, 132),
        txn(1, -1, 131, 132),
        txn(1, 110, 120, 121),
        txn(1, 130, 131, 133),
        txn(1, 130, 131, -1),
        txn(0, 0, 0, 0),
    ] {
        assert_eq!(believed(&[good[0], good[1], bad], 200), None, "{bad:?}");
        assert_eq!(
            believed(&[txn(1, 50, 99, 100)], 200),
            None,
            "a marker of the segment before"
        );
    }
    assert_eq!((whole_entries(68), whole_entries(67)), ((2, false), (1, true)));
}

#[test]
fn entries_count_when_their_marker_is_written() {
    let fs = SimFileSystem::new(1);
    let path = Path::new(PATH);
    let index = ActiveTxnIndex::default();
    assert!(index.entries_from(0, path).is_none() && index.file().is_none());
    let (first, second) = (txn(1, 100, 110, 111), txn(2, 112, 120, 121));
    assert!(index.write(&fs, path, &[first]).expect("written"), "the file is new");
    assert_eq!(index.count(), 0);
    index.publish(&[first]);
    assert!(!index.write(&fs, path, &[second, first]).expect("written"));
    index.withdraw(path).expect("truncated");
    assert_eq!(index.file().expect("made").len().expect("known"), 34);
    index.write(&fs, path, &[second]).expect("written");
    index.publish(&[second]);
    assert!(index.entries_from(121, path).is_none(), "all markers lie before");
    let mut found = Vec::new();
    let entries = index.entries_from(120, path).expect("one is not before");
    assert!(
        entries
            .collect(Patience::Disk, OffsetRange { from: 0, to: 121 }, &mut found)
            .expect("read")
    );
    assert_eq!(found, [first, second]);
}

#[test]
fn long_searches_are_left_to_those_who_may_wait() {
    // The first transaction holds the last stable offset back all the time.
    let txns: Vec<AbortedTxn> = (0..10_000).map(|n| txn(n, 101 + 2 * n, 102 + 2 * n, 100)).collect();
    let (_fs, file) = written(&txns);
    let mut found = Vec::new();
    let range = OffsetRange { from: 100, to: 103 };
    let prompt = entries(&file).collect(Patience::MemoryOnly, range, &mut found);
    assert!(prompt.expect_err("too long").is_cold());
    found.clear();
    assert!(!entries(&file).collect(Patience::Disk, range, &mut found).expect("read"));
    assert_eq!(found, txns[..1]);
}

/// (first offset, marker, last stable offset) of transactions as a log would have written them: markers ascend, nothing
/// stable falls.
fn log_like() -> impl Strategy<Value = Vec<AbortedTxn>> {
    prop::collection::vec((1..40_i64, 2..6_i64, prop::bool::ANY), 0..600).prop_map(|steps| {
        let mut marker = 100;
        let mut stable = 0;
        let next = |(back, forward, decided): (i64, i64, bool)| {
            marker += forward;
            let first = (marker - back).max(stable).min(marker - 1);
            if decided {
                stable = marker + 1;
            }
            txn(back, first, marker, stable)
        };
        steps.into_iter().map(next).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_search_finds_what_looking_at_everything_finds(txns in log_like(), from in 90..3000_i64, len in 1..300_i64) {
        let (_fs, file) = written(&txns);
        let range = OffsetRange { from, to: from + len };
        let mut found = Vec::new();
        entries(&file).collect(Patience::Disk, range, &mut found).expect("read");
        let overlapping = txns.iter().filter(|txn| txn.last_offset >= range.from && txn.first_offset < range.to);
        prop_assert_eq!(found, overlapping.copied().collect::<Vec<_>>());
        prop_assert_eq!(entries(&file).believable(100, i64::MAX).expect("read"), Some(txns.len() as u64));
    }
}
