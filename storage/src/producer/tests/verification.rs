//! Verification of transactions: what a guard is good for, and what ends it.

use super::*;

fn request(producer_epoch: i16, base_sequence: i32) -> BeginVerification {
    BeginVerification {
        producer_id: 1,
        producer_epoch,
        base_sequence,
        supports_epoch_bump: false,
    }
}

fn begin(states: &mut ProducerStates, request: &BeginVerification) -> Option<VerificationGuard> {
    states.begin_verification(request, 0, 1000).expect("not fenced")
}

fn append_with(
    states: &mut ProducerStates,
    batch: &ProducerBatch,
    guard: Option<VerificationGuard>,
) -> Result<Checked, ProducerError> {
    let mut pending = PendingAppend::new();
    let checked = pending.check(states, batch, AppendOrigin::Client, Verification::Required(guard))?;
    states.commit(pending);
    Ok(checked)
}

fn is_not_verified(result: Result<Checked, ProducerError>) -> bool {
    result.is_err_and(|error| {
        assert!(matches!(error, ProducerError::NotVerified { .. }) == (error.error_code().code() == 48));
        matches!(error, ProducerError::NotVerified { .. })
    })
}

#[test]
fn a_transaction_begins_with_its_guard_only_and_goes_on_without() {
    let mut states = ProducerStates::default();
    let first = transactional(1, 0, 0);
    assert!(is_not_verified(append_with(&mut states, &first, None)));
    let guard = begin(&mut states, &request(0, 0)).expect("nothing is open");
    assert_eq!(
        begin(&mut states, &request(0, 0)),
        Some(guard),
        "the same until it ends"
    );
    let other = BeginVerification {
        producer_id: 2,
        ..request(0, 0)
    };
    let foreign = begin(&mut states, &other);
    assert_ne!(foreign, Some(guard));
    assert!(is_not_verified(append_with(&mut states, &first, foreign)));
    assert!(is_not_verified(append_with(&mut states, &first, None)));
    assert_eq!(append_with(&mut states, &first, Some(guard)), Ok(Checked::New));
    assert_eq!(begin(&mut states, &request(0, 1)), None, "it is open");
    assert_eq!(
        append_with(&mut states, &transactional(1, 1, 1), None),
        Ok(Checked::New)
    );
    let duplicate = append_with(&mut states, &first, None);
    assert!(matches!(duplicate, Ok(Checked::Duplicate { base_offset: 0, .. })));
    append_marker(&mut states, &marker(1, 2), 0).expect("ended");
    let again = append_with(&mut states, &transactional(1, 2, 3), Some(guard));
    assert!(is_not_verified(again), "a guard serves once");
    let plain = ProducerBatch {
        producer_id: 9,
        ..batch(0, 3, 1)
    };
    assert_eq!(
        append_with(&mut states, &plain, None),
        Ok(Checked::New),
        "no transaction"
    );
}

#[test]
fn a_marker_ends_the_verification() {
    let mut states = ProducerStates::default();
    let guard = begin(&mut states, &request(0, 0));
    append_marker(&mut states, &marker(1, 0), 0).expect("a marker without records");
    assert!(is_not_verified(append_with(
        &mut states,
        &transactional(1, 0, 1),
        guard
    )));
    let renewed = begin(&mut states, &request(0, 0));
    assert_ne!(renewed, guard);
    assert_eq!(
        append_with(&mut states, &transactional(1, 0, 1), renewed),
        Ok(Checked::New)
    );
}

#[test]
fn a_marker_of_the_epoch_that_comes_next_leaves_its_verification() {
    let bumping = |producer_epoch| BeginVerification {
        supports_epoch_bump: true,
        ..request(producer_epoch, 0)
    };
    let mut states = ProducerStates::default();
    append(&mut states, &transactional(1, 0, 0)).expect("epoch 0");
    let next = begin(&mut states, &bumping(1));
    assert!(next.is_some(), "the open transaction has another epoch");
    let bumped = ProducerMarker {
        producer_epoch: 1,
        ..marker(1, 1)
    };
    append_marker(&mut states, &bumped, 2).expect("the end of epoch 0");
    let batch = ProducerBatch {
        producer_epoch: 1,
        ..transactional(1, 0, 2)
    };
    assert_eq!(append_with(&mut states, &batch, next), Ok(Checked::New));
    // One of the epoch that has ended goes.
    let mut states = ProducerStates::default();
    let old = begin(&mut states, &bumping(0));
    append_marker(&mut states, &bumped, 2).expect("written");
    assert_eq!(states.verifications.len(), 0);
    let refused = append_with(&mut states, &transactional(1, 0, 2), old).expect_err("an old epoch");
    assert_eq!(refused.error_code().code(), 47, "which comes before the missing guard");
}

#[test]
fn a_newer_epoch_takes_the_place_of_an_older_one() {
    let mut states = ProducerStates::default();
    let old = begin(&mut states, &request(0, 7));
    let new = begin(&mut states, &request(1, 3));
    assert_ne!(new, old);
    assert_eq!(begin(&mut states, &request(0, 0)), new, "the older one changes nothing");
    let batch = ProducerBatch {
        producer_epoch: 1,
        ..transactional(1, 3, 0)
    };
    assert!(is_not_verified(append_with(&mut states, &batch, old)));
    assert_eq!(append_with(&mut states, &batch, new), Ok(Checked::New));
    let fenced = states
        .begin_verification(&request(0, 0), 9, 0)
        .expect_err("an old epoch");
    assert_eq!(fenced.error_code().code(), 47);
}

#[test]
fn a_guard_of_a_newer_epoch_is_used_up_though_the_older_transaction_goes_on() {
    let mut states = ProducerStates::default();
    append(&mut states, &transactional(1, 0, 0)).expect("epoch 0");
    let guard = begin(&mut states, &request(1, 0));
    let batch = ProducerBatch {
        producer_epoch: 1,
        ..transactional(1, 0, 1)
    };
    assert_eq!(append_with(&mut states, &batch, guard), Ok(Checked::New));
    assert_eq!(states.verifications.len(), 0);
    assert_eq!(states.first_undecided_offset(), Some(0));
}

#[test]
fn nothing_overtakes_the_lowest_sequence_that_waits() {
    let mut states = ProducerStates::default();
    let guard = begin(&mut states, &request(0, 5));
    begin(&mut states, &request(0, 2));
    begin(&mut states, &request(0, 9));
    assert!(is_out_of_order(append_with(
        &mut states,
        &transactional(1, 5, 0),
        guard
    )));
    assert_eq!(
        append_with(&mut states, &transactional(1, 2, 0), guard),
        Ok(Checked::New)
    );
}

#[test]
fn with_an_epoch_for_each_transaction_an_unknown_producer_begins_at_zero() {
    let bumping = |base_sequence| BeginVerification {
        supports_epoch_bump: true,
        ..request(0, base_sequence)
    };
    let mut states = ProducerStates::default();
    let guard = begin(&mut states, &bumping(4));
    assert!(is_out_of_order(append_with(
        &mut states,
        &transactional(1, 4, 0),
        guard
    )));
    begin(&mut states, &bumping(0));
    assert_eq!(
        append_with(&mut states, &transactional(1, 0, 0), guard),
        Ok(Checked::New)
    );
    assert_eq!(
        append_with(&mut states, &transactional(1, 1, 1), None),
        Ok(Checked::New)
    );
    // The older protocol may go on where a partition has forgotten the producer.
    let mut states = ProducerStates::default();
    let guard = begin(&mut states, &request(0, 4));
    assert_eq!(
        append_with(&mut states, &transactional(1, 4, 0), guard),
        Ok(Checked::New)
    );
}

#[test]
fn a_refused_batch_leaves_the_guard() {
    let mut states = ProducerStates::default();
    append(&mut states, &batch(0, 0, 1)).expect("accepted");
    let guard = begin(&mut states, &request(0, 1));
    assert!(is_out_of_order(append_with(
        &mut states,
        &transactional(1, 9, 1),
        guard
    )));
    let mut pending = PendingAppend::new();
    let checked = pending.check(
        &states,
        &transactional(1, 1, 1),
        AppendOrigin::Client,
        Verification::Required(guard),
    );
    assert_eq!(checked, Ok(Checked::New));
    drop(pending);
    assert_eq!(
        append_with(&mut states, &transactional(1, 1, 1), guard),
        Ok(Checked::New)
    );
}

#[test]
fn coordinators_need_the_guard_too_and_replication_never() {
    let mut states = ProducerStates::default();
    let commit = ProducerBatch {
        base_sequence: NO_SEQUENCE,
        last_sequence: NO_SEQUENCE,
        ..transactional(1, 0, 0)
    };
    let mut pending = PendingAppend::new();
    let refused = pending.check(
        &states,
        &commit,
        AppendOrigin::Coordinator,
        Verification::Required(None),
    );
    assert!(is_not_verified(refused));
    let guard = begin(&mut states, &request(0, NO_SEQUENCE));
    let checked = pending.check(
        &states,
        &commit,
        AppendOrigin::Coordinator,
        Verification::Required(guard),
    );
    assert_eq!(checked, Ok(Checked::New));
    states.replay(&transactional(7, 0, 1));
    assert_eq!(
        states.entry(7).and_then(|entry| entry.current_txn_first_offset),
        Some(1)
    );
}

#[test]
fn verifications_expire_and_are_limited() {
    let mut states = ProducerStates::new(16);
    let of = |producer_id| BeginVerification {
        producer_id,
        ..request(0, 0)
    };
    let old = states.begin_verification(&of(1), 0, 0).expect("not fenced");
    states.begin_verification(&of(2), 0, 50).expect("not fenced");
    states.remove_expired(100, 100);
    assert_eq!(states.verifications.len(), 1);
    assert!(is_not_verified(append_with(&mut states, &transactional(1, 0, 0), old)));
    for producer_id in 0..1000 {
        let now_ms = 100 + producer_id;
        let guard = states
            .begin_verification(&of(producer_id), 0, now_ms)
            .expect("not fenced");
        assert!(states.verifications.len() <= 16);
        assert!(guard.is_some());
    }
    assert!(states.verifications.get(999).is_some() && states.verifications.get(3).is_none());
}
