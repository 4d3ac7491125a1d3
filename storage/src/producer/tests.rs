//! Producer state: single rules, all short histories of two producers against a plain model, and random logs that are
//! replayed from every snapshot point.

mod model;
mod replay;
mod verification;

use super::entry::NO_SEQUENCE;
use super::snapshot::{SnapshotError, decode_snapshot, encode_snapshot, snapshot_file_name, snapshot_offset};
use super::*;

/// `records` records of producer 1, epoch 0.
fn batch(base_sequence: i32, base_offset: i64, records: i32) -> ProducerBatch {
    ProducerBatch {
        producer_id: 1,
        producer_epoch: 0,
        base_sequence,
        last_sequence: entry::increment_sequence(base_sequence, records - 1),
        base_offset,
        last_offset: base_offset + i64::from(records) - 1,
        max_timestamp_ms: 1000 + base_offset,
        is_transactional: false,
    }
}

fn transactional(producer_id: i64, base_sequence: i32, base_offset: i64) -> ProducerBatch {
    ProducerBatch {
        producer_id,
        is_transactional: true,
        ..batch(base_sequence, base_offset, 1)
    }
}

fn marker(producer_id: i64, offset: i64) -> ProducerMarker {
    ProducerMarker {
        producer_id,
        producer_epoch: 0,
        offset,
        timestamp_ms: 5000,
        coordinator_epoch: 3,
        aborted: true,
    }
}

/// Checks and, when accepted, commits one batch.
fn append(states: &mut ProducerStates, batch: &ProducerBatch) -> Result<Checked, ProducerError> {
    let mut pending = PendingAppend::new();
    let checked = pending.check(states, batch, AppendOrigin::Client, Verification::Off)?;
    states.commit(pending);
    Ok(checked)
}

fn append_marker(
    states: &mut ProducerStates,
    marker: &ProducerMarker,
    transaction_version: i16,
) -> Result<Vec<CompletedTxn>, ProducerError> {
    let mut pending = PendingAppend::new();
    pending.check_marker(states, marker, AppendOrigin::Coordinator, transaction_version)?;
    Ok(states.commit(pending))
}

fn is_out_of_order(result: Result<Checked, ProducerError>) -> bool {
    matches!(result, Err(ProducerError::OutOfOrderSequence { .. }))
}

#[test]
fn any_first_sequence_is_accepted_and_then_only_the_next() {
    let mut states = ProducerStates::default();
    assert_eq!(append(&mut states, &batch(17, 0, 3)), Ok(Checked::New));
    assert!(is_out_of_order(append(&mut states, &batch(21, 3, 1))), "gap");
    assert!(
        is_out_of_order(append(&mut states, &batch(16, 3, 1))),
        "before all known"
    );
    assert!(
        is_out_of_order(append(&mut states, &batch(17, 3, 2))),
        "part of a known batch"
    );
    assert_eq!(append(&mut states, &batch(20, 3, 1)), Ok(Checked::New));
}

#[test]
fn sequences_wrap_around() {
    let mut states = ProducerStates::default();
    assert_eq!(append(&mut states, &batch(i32::MAX - 1, 0, 2)), Ok(Checked::New));
    assert!(is_out_of_order(append(&mut states, &batch(1, 2, 1))));
    assert_eq!(append(&mut states, &batch(0, 2, 1)), Ok(Checked::New));
    let duplicate = Checked::Duplicate {
        base_offset: 0,
        last_offset: 1,
        timestamp_ms: 1000,
    };
    assert_eq!(append(&mut states, &batch(i32::MAX - 1, 9, 2)), Ok(duplicate));
    let mut spanning = ProducerStates::default();
    assert_eq!(append(&mut spanning, &batch(i32::MAX, 0, 3)), Ok(Checked::New));
    assert_eq!(append(&mut spanning, &batch(2, 3, 1)), Ok(Checked::New));
    assert!(matches!(
        append(&mut spanning, &batch(i32::MAX, 4, 3)),
        Ok(Checked::Duplicate { base_offset: 0, .. })
    ));
}

#[test]
fn the_last_five_batches_are_answered_with_their_offsets() {
    let mut states = ProducerStates::default();
    for n in 0..6_i32 {
        assert_eq!(
            append(&mut states, &batch(n * 2, i64::from(n) * 2, 2)),
            Ok(Checked::New)
        );
    }
    for n in 1..6_i64 {
        let again = append(&mut states, &batch(i32::try_from(n).expect("small") * 2, 100, 2));
        let original = Checked::Duplicate {
            base_offset: n * 2,
            last_offset: n * 2 + 1,
            timestamp_ms: 1000 + n * 2,
        };
        assert_eq!(again, Ok(original));
    }
    assert!(
        is_out_of_order(append(&mut states, &batch(0, 100, 2))),
        "the sixth is forgotten"
    );
}

#[test]
fn a_new_epoch_starts_at_zero_and_an_old_one_is_refused() {
    let mut states = ProducerStates::default();
    append(&mut states, &batch(0, 0, 1)).expect("accepted");
    let bumped = |base_sequence| ProducerBatch {
        producer_epoch: 4,
        ..batch(base_sequence, 1, 1)
    };
    assert!(is_out_of_order(append(&mut states, &bumped(1))));
    assert_eq!(append(&mut states, &bumped(0)), Ok(Checked::New));
    let refused = append(&mut states, &batch(0, 2, 1)).expect_err("an old epoch is no duplicate either");
    assert_eq!(
        refused,
        ProducerError::InvalidProducerEpoch {
            producer_id: 1,
            producer_epoch: 0,
            current_epoch: 4,
            offset: 2
        }
    );
    assert_eq!(refused.error_code().code(), 47);
}

#[test]
fn batches_of_one_call_follow_each_other_and_a_failed_write_changes_nothing() {
    let mut states = ProducerStates::default();
    append(&mut states, &batch(0, 0, 1)).expect("accepted");
    let before = states.clone();
    let mut pending = PendingAppend::new();
    assert!(pending.is_empty());
    assert_eq!(
        pending.check(&states, &batch(1, 1, 2), AppendOrigin::Client, Verification::Off),
        Ok(Checked::New)
    );
    assert!(is_out_of_order(pending.check(
        &states,
        &batch(5, 3, 1),
        AppendOrigin::Client,
        Verification::Off
    )));
    assert_eq!(
        pending.check(&states, &batch(3, 3, 1), AppendOrigin::Client, Verification::Off),
        Ok(Checked::New)
    );
    let duplicate = pending.check(&states, &batch(1, 4, 2), AppendOrigin::Client, Verification::Off);
    assert!(
        matches!(
            duplicate,
            Ok(Checked::Duplicate {
                base_offset: 1,
                last_offset: 2,
                ..
            })
        ),
        "{duplicate:?}"
    );
    drop(pending);
    assert_eq!(states, before);
    let mut pending = PendingAppend::new();
    pending
        .check(&states, &batch(1, 1, 2), AppendOrigin::Client, Verification::Off)
        .expect("accepted");
    pending
        .check(&states, &batch(3, 3, 1), AppendOrigin::Client, Verification::Off)
        .expect("accepted");
    states.commit(pending);
    assert_eq!(states.entry(1).map(ProducerEntry::last_sequence), Some(3));
}

#[test]
fn unknown_producers_of_one_call_follow_each_other_too() {
    let states = ProducerStates::default();
    let mut pending = PendingAppend::new();
    assert_eq!(
        pending.check(&states, &batch(9, 0, 1), AppendOrigin::Client, Verification::Off),
        Ok(Checked::New)
    );
    assert!(is_out_of_order(pending.check(
        &states,
        &batch(11, 1, 1),
        AppendOrigin::Client,
        Verification::Off
    )));
}

#[test]
fn a_transaction_is_unstable_until_its_marker_is_below_the_high_watermark() {
    let mut states = ProducerStates::default();
    append(&mut states, &transactional(1, 0, 10)).expect("accepted");
    append(&mut states, &transactional(2, 0, 11)).expect("accepted");
    append(&mut states, &transactional(1, 1, 12)).expect("accepted");
    assert_eq!(states.first_unstable_offset(), Some(10));
    assert!(states.has_ongoing_transaction(1, 0) && !states.has_ongoing_transaction(1, 1));
    let completed = append_marker(&mut states, &marker(1, 13), 0).expect("accepted");
    let expected = CompletedTxn {
        producer_id: 1,
        first_offset: 10,
        last_offset: 13,
        aborted: true,
        last_stable_offset: 11,
    };
    assert_eq!(completed, [expected]);
    assert_eq!(
        (states.first_unstable_offset(), states.first_undecided_offset()),
        (Some(10), Some(11))
    );
    states.on_high_watermark(13);
    assert_eq!(
        states.first_unstable_offset(),
        Some(10),
        "the marker itself is not below 13"
    );
    states.on_high_watermark(14);
    assert_eq!(states.first_unstable_offset(), Some(11));
    let completed = append_marker(
        &mut states,
        &ProducerMarker {
            aborted: false,
            ..marker(2, 14)
        },
        0,
    );
    let expected = CompletedTxn {
        producer_id: 2,
        first_offset: 11,
        last_offset: 14,
        aborted: false,
        last_stable_offset: 15,
    };
    assert_eq!(completed, Ok(vec![expected]));
    states.on_log_start_offset(15);
    assert_eq!(states.first_unstable_offset(), None);
    assert_eq!(
        append_marker(&mut states, &marker(1, 16), 0),
        Ok(vec![]),
        "a marker without a transaction ends none"
    );
}

#[test]
fn an_open_transaction_takes_no_other_batches() {
    let mut states = ProducerStates::default();
    append(&mut states, &transactional(1, 0, 0)).expect("accepted");
    let refused = append(&mut states, &batch(1, 1, 1)).expect_err("not transactional");
    assert_eq!(
        refused,
        ProducerError::InvalidTxnState {
            producer_id: 1,
            offset: 1
        }
    );
    assert_eq!(refused.error_code().code(), 48);
}

#[test]
fn markers_are_fenced_by_epoch_and_coordinator() {
    let mut states = ProducerStates::default();
    let at_epoch = |producer_epoch, offset| ProducerMarker {
        producer_epoch,
        ..marker(1, offset)
    };
    append(
        &mut states,
        &ProducerBatch {
            producer_epoch: 5,
            ..transactional(1, 0, 0)
        },
    )
    .expect("accepted");
    for (epoch, version) in [(4, 0), (4, 2), (5, 2)] {
        let refused = append_marker(&mut states, &at_epoch(epoch, 1), version).expect_err("behind");
        assert!(
            matches!(refused, ProducerError::InvalidProducerEpoch { current_epoch: 5, .. }),
            "{refused}"
        );
    }
    assert_eq!(
        append_marker(&mut states, &at_epoch(6, 1), 2).expect("accepted").len(),
        1
    );
    assert_eq!(
        append_marker(&mut states, &at_epoch(6, 2), 2),
        Ok(vec![]),
        "a retry after a lost answer"
    );
    let zombie = ProducerMarker {
        coordinator_epoch: 2,
        ..at_epoch(6, 3)
    };
    let refused = append_marker(&mut states, &zombie, 2).expect_err("fenced");
    assert_eq!(refused.error_code().code(), 52);
    // The epoch that the marker bumped counts for the next batch.
    let next = |base_sequence| ProducerBatch {
        producer_epoch: 6,
        ..transactional(1, base_sequence, 3)
    };
    assert!(is_out_of_order(append(&mut states, &next(1))));
    assert_eq!(append(&mut states, &next(0)), Ok(Checked::New));
}

#[test]
fn a_marker_of_the_largest_epoch_can_end_a_transaction_of_it() {
    let mut states = ProducerStates::default();
    append(
        &mut states,
        &ProducerBatch {
            producer_epoch: i16::MAX,
            ..transactional(1, 0, 0)
        },
    )
    .expect("accepted");
    let marker = ProducerMarker {
        producer_epoch: i16::MAX,
        ..marker(1, 1)
    };
    assert_eq!(append_marker(&mut states, &marker, 2).expect("accepted").len(), 1);
}

#[test]
fn a_marker_and_the_next_transaction_fit_in_one_call() {
    let mut states = ProducerStates::default();
    append(&mut states, &transactional(1, 0, 0)).expect("accepted");
    let mut pending = PendingAppend::new();
    pending
        .check_marker(&states, &marker(1, 1), AppendOrigin::Coordinator, 0)
        .expect("accepted");
    // Offset 2 is a record without producer id.
    pending
        .check(
            &states,
            &transactional(1, 1, 3),
            AppendOrigin::Client,
            Verification::Off,
        )
        .expect("accepted");
    let completed = states.commit(pending);
    assert_eq!(
        completed.first().map(|txn| (txn.first_offset, txn.last_stable_offset)),
        Some((0, 2))
    );
    assert_eq!(states.first_undecided_offset(), Some(3));
}

#[test]
fn markers_of_one_call_see_each_other() {
    let mut states = ProducerStates::default();
    append(&mut states, &transactional(1, 0, 0)).expect("accepted");
    let mut pending = PendingAppend::new();
    pending
        .check_marker(&states, &marker(1, 1), AppendOrigin::Coordinator, 0)
        .expect("accepted");
    let zombie = ProducerMarker {
        coordinator_epoch: 2,
        ..marker(1, 2)
    };
    let refused = pending.check_marker(&states, &zombie, AppendOrigin::Coordinator, 0);
    assert!(matches!(
        refused,
        Err(ProducerError::TransactionCoordinatorFenced { .. })
    ));
    assert_eq!(states.commit(pending).len(), 1, "the refused one ends nothing");
}

#[test]
fn coordinators_write_without_sequences_but_not_with_old_epochs() {
    let mut states = ProducerStates::default();
    let commit = |producer_epoch, base_offset| ProducerBatch {
        producer_epoch,
        base_sequence: NO_SEQUENCE,
        last_sequence: NO_SEQUENCE,
        ..transactional(1, 0, base_offset)
    };
    for offset in 0..3 {
        let mut pending = PendingAppend::new();
        let checked = pending.check(
            &states,
            &commit(2, offset),
            AppendOrigin::Coordinator,
            Verification::Off,
        );
        assert_eq!(checked, Ok(Checked::New), "the same sequences are no duplicate");
        states.commit(pending);
    }
    let refused = PendingAppend::new().check(&states, &commit(1, 3), AppendOrigin::Coordinator, Verification::Off);
    assert!(matches!(refused, Err(ProducerError::InvalidProducerEpoch { .. })));
}

#[test]
fn producers_expire_unless_a_transaction_is_open() {
    let mut states = ProducerStates::default();
    append(&mut states, &batch(0, 0, 1)).expect("accepted");
    append(&mut states, &transactional(2, 0, 1)).expect("accepted");
    assert_eq!(states.remove_expired(1000 + 99, 100), 0);
    assert_eq!(states.remove_expired(1000 + 500, 100), 1);
    assert_eq!((states.len(), states.entry(1)), (1, None));
    assert_eq!(append(&mut states, &batch(33, 2, 1)), Ok(Checked::New), "unknown again");
}

#[test]
fn the_number_of_producers_is_limited_and_the_idlest_go() {
    let mut states = ProducerStates::new(16);
    append(&mut states, &transactional(999, 0, 0)).expect("accepted");
    for n in 1..200_i64 {
        append(
            &mut states,
            &ProducerBatch {
                producer_id: n,
                ..batch(0, n, 1)
            },
        )
        .expect("accepted");
        assert!(states.len() <= 19, "{}", states.len());
        assert!(states.entry(n).is_some(), "the newest is kept");
    }
    assert!(states.entry(999).is_some(), "its transaction is open");
    assert!(states.len() >= 14 && states.entry(1).is_none());
}

/// Bytes written by Apache Kafka 4.3.1 after one batch of 100 records of producer 37, and for a partition without
/// producers.
const KAFKA_SNAPSHOT: &str = "0001 0df868b2 00000001 0000000000000025 0000 00000063 0000000000000063 00000063 \
     0000018bcfe56bde ffffffff ffffffffffffffff";
const KAFKA_EMPTY_SNAPSHOT: &str = "0001 48674bc7 00000000";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_ascii_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex"))
        .collect()
}

#[test]
fn snapshots_are_kafkas_bytes() {
    let mut states = ProducerStates::default();
    assert_eq!(encode_snapshot(&states), bytes(KAFKA_EMPTY_SNAPSHOT));
    let written = ProducerBatch {
        producer_id: 37,
        max_timestamp_ms: 0x018b_cfe5_6bde,
        ..batch(0, 0, 100)
    };
    append(&mut states, &written).expect("accepted");
    assert_eq!(encode_snapshot(&states), bytes(KAFKA_SNAPSHOT));
    let mut loaded = ProducerStates::default();
    for entry in decode_snapshot(&bytes(KAFKA_SNAPSHOT)).expect("valid") {
        loaded.load(entry);
    }
    assert_eq!(loaded, states);
    assert_eq!(decode_snapshot(&bytes(KAFKA_EMPTY_SNAPSHOT)), Ok(vec![]));
}

#[test]
fn damaged_snapshots_are_refused() {
    let good = bytes(KAFKA_SNAPSHOT);
    for len in 0..good.len() {
        assert!(decode_snapshot(&good[..len]).is_err(), "{len} bytes");
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_snapshot(&bad).is_err(), "bit {bit}");
    }
    let resealed = |at: usize, with: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + with.len()].copy_from_slice(with);
        let crc = crc32c::crc32c(&bad[6..]);
        bad[2..6].copy_from_slice(&crc.to_be_bytes());
        decode_snapshot(&bad)
    };
    assert!(matches!(resealed(6, &[0xFF; 4]), Err(SnapshotError::Length { .. })));
    assert!(matches!(resealed(6, &[0x7F; 4]), Err(SnapshotError::Length { .. })));
    assert_eq!(resealed(10, &[0xFF; 8]), Err(SnapshotError::Entry(-1)));
    assert_eq!(
        resealed(20, &[0x80, 0, 0, 0]),
        Err(SnapshotError::Entry(37)),
        "negative sequence"
    );
    assert_eq!(
        resealed(32, &[0, 0, 0, 100]),
        Err(SnapshotError::Entry(37)),
        "base offset below 0"
    );
}

#[test]
fn snapshot_names() {
    assert_eq!(snapshot_file_name(1234), "00000000000000001234.snapshot");
    assert_eq!(snapshot_offset("00000000000000001234.snapshot"), Some(1234));
    for name in [
        "1234.snapshot",
        "00000000000000001234.log",
        "-0000000000000001234.snapshot",
        "99999999999999999999.snapshot",
    ] {
        assert_eq!(snapshot_offset(name), None, "{name}");
    }
}
