//! What follows from what: epochs, markers, timeouts, expiry, limits, lists.

use super::*;
use crate::coordinator::transaction::api::{ListQuery, ListedTransaction};

#[test]
fn a_new_id_gets_a_producer_id_and_epoch_0_and_later_ones_more() {
    let mut shell = Shell::new();
    assert_eq!(shell.init(None, None), Reply::NeedsProducerId);
    assert_eq!(
        shell.init(Some((1, 2)), Some(40)),
        Reply::Init(Ok((40, 0))),
        "whatever it had"
    );
    assert_eq!(shell.init(None, None), Reply::Init(Ok((40, 1))));
    let transaction = shell.transaction();
    assert_eq!(
        (transaction.previous_producer_id, transaction.last_producer_epoch),
        (40, -1)
    );
    assert_eq!(
        (transaction.start_timestamp_ms, transaction.last_update_timestamp_ms),
        (-1, 1_000_000)
    );
    assert_eq!(shell.init(Some((40, 1)), None), Reply::Init(Ok((40, 2))));
    assert_eq!(
        shell.init(Some((40, 1)), None),
        Reply::Init(Ok((40, 2))),
        "the answer was lost"
    );
    assert_eq!(shell.init(None, None), Reply::Init(Ok((40, 3))));
    let fenced = Reply::Init(Err(ErrorCode::ProducerFenced));
    assert_eq!(shell.init(Some((40, 1)), None), fenced, "somebody else asked since");
}

#[test]
fn the_last_epoch_is_followed_by_a_new_producer_id() {
    for (expected, last) in [(None, -1), (Some((5, 32_766)), 32_766)] {
        let transaction = Transaction {
            producer_epoch: 32_766,
            last_producer_epoch: 32_765,
            ..sample(TransactionState::Empty)
        };
        let mut shell = Shell::of(vec![Record::new(&ID.into(), transaction)]);
        let again = shell.init(Some((5, 32_765)), None);
        assert_eq!(again, Reply::Init(Ok((5, 32_766))), "a repetition needs no new id");
        assert_eq!(shell.init(expected, None), Reply::NeedsProducerId);
        assert_eq!(shell.init(expected, Some(60)), Reply::Init(Ok((60, 0))));
        let transaction = shell.transaction();
        assert_eq!(transaction.previous_producer_id, 5);
        assert_eq!(transaction.last_producer_epoch, last);
        if expected.is_some() {
            assert_eq!(
                shell.init(expected, None),
                Reply::Init(Ok((60, 0))),
                "the answer was lost"
            );
        }
    }
}

#[test]
fn with_the_new_protocol_an_end_raises_the_epoch() {
    let mut shell = shell_in(TransactionState::Ongoing);
    assert_eq!(shell.end(2, (5, 7), true), Ok((5, 8)));
    let transaction = shell.transaction();
    assert_eq!(transaction.state, TransactionState::PrepareCommit);
    assert_eq!((transaction.producer_epoch, transaction.last_producer_epoch), (8, 7));
    assert_eq!(
        (transaction.next_producer_id, transaction.client_transaction_version),
        (-1, 2)
    );
    let (attempt, partitions, marker) = shell.markers();
    assert_eq!(partitions, [0]);
    let told = (marker.producer_id, marker.producer_epoch, marker.coordinator_epoch);
    assert_eq!(told, (5, 8, 3));
    assert!(marker.committed && marker.transaction_version == 2);
    shell.tell(written(attempt, &[0], &[ErrorCode::None]));
    let transaction = shell.transaction();
    assert_eq!(transaction.state, TransactionState::CompleteCommit);
    assert!(transaction.partitions.is_empty());
    assert_eq!((transaction.producer_id, transaction.producer_epoch), (5, 8));
    assert_eq!(shell.add((5, 8), &[3]), ErrorCode::None);
    assert_eq!(shell.transaction().start_timestamp_ms, 1_000_000);
}

#[test]
fn with_the_old_protocol_the_epoch_stays() {
    let mut shell = shell_in(TransactionState::Ongoing);
    assert_eq!(shell.end(0, (5, 7), false), Ok((-1, -1)));
    let (attempt, _, marker) = shell.markers();
    assert_eq!(
        (marker.producer_epoch, marker.transaction_version, marker.committed),
        (7, 0, false)
    );
    shell.tell(written(attempt, &[0], &[ErrorCode::None]));
    assert_eq!(shell.state(), TransactionState::CompleteAbort);
    assert_eq!(shell.transaction().producer_epoch, 7);
}

#[test]
fn the_last_epoch_of_the_new_protocol_ends_with_the_next_producer_id() {
    let transaction = Transaction {
        producer_epoch: 32_766,
        ..sample(TransactionState::Ongoing)
    };
    let mut shell = Shell::of(vec![Record::new(&ID.into(), transaction)]);
    let needs = shell.ask(&ending(2, (5, 32_766), true, None));
    assert_eq!(needs, Reply::NeedsProducerId);
    assert_eq!(shell.end(2, (5, 32_766), true), Ok((99, 0)));
    let transaction = shell.transaction();
    assert_eq!((transaction.producer_id, transaction.producer_epoch), (5, 32_767));
    assert_eq!(transaction.next_producer_id, 99);
    let restarted = Shell::of(shell.log.clone());
    assert_eq!(restarted.effects.len(), 1, "markers are sent again after a load");
    shell.answer_markers(&[ErrorCode::None]);
    let transaction = shell.transaction();
    assert_eq!((transaction.producer_id, transaction.producer_epoch), (99, 0));
    assert_eq!(
        (transaction.previous_producer_id, transaction.next_producer_id),
        (5, -1)
    );
    assert_eq!(shell.end(2, (5, 32_766), true), Ok((99, 0)), "the answer was lost");
    assert_eq!(shell.end(2, (5, 32_766), false), Err(ErrorCode::InvalidTxnState));
    assert_eq!(
        shell.end(2, (5, 32_765), true),
        Err(ErrorCode::InvalidProducerIdMapping)
    );
}

#[test]
fn an_abort_of_nothing_is_over_at_once() {
    let mut shell = shell_in(TransactionState::Empty);
    assert_eq!(shell.end(2, (5, 7), false), Ok((5, 8)));
    let states: Vec<_> = shell.log[1..]
        .iter()
        .map(|record| record.value.as_ref().expect("known").state)
        .collect();
    assert_eq!(
        states,
        [TransactionState::PrepareAbort, TransactionState::CompleteAbort]
    );
    assert!(shell.effects.is_empty() && shell.machine.completions.is_empty());
    assert_eq!(shell.transaction().start_timestamp_ms, 1_000_000);
}

#[test]
fn markers_are_tried_again_with_pauses_until_each_partition_has_one() {
    let mut shell = shell_in(TransactionState::Ongoing);
    assert_eq!(shell.add((5, 7), &[0, 1, 2, 3]), ErrorCode::None);
    assert_eq!(shell.end(0, (5, 7), true), Ok((-1, -1)));
    let codes = [
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::None,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::InvalidProducerEpoch,
    ];
    shell.answer_markers(&codes);
    assert!(shell.effects.is_empty(), "not at once");
    assert_eq!(
        shell.machine.describe(ID).expect("known").topics["p"],
        [0],
        "what is outstanding"
    );
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let before = shell.now_ms;
        shell.next_deadline();
        pauses.push(shell.now_ms - before);
        shell.answer_markers(&[ErrorCode::KafkaStorageError]);
    }
    assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1_000, 1_000]);
    shell.next_deadline();
    shell.answer_markers(&[ErrorCode::None]);
    assert_eq!(shell.state(), TransactionState::CompleteCommit);
    assert!(shell.machine.completions.is_empty() && shell.machine.deadlines.next().is_none());
}

#[test]
fn only_the_last_try_counts() {
    let mut shell = shell_in(TransactionState::PrepareCommit);
    let (attempt, ..) = shell.markers();
    shell.tell(written(Uuid::from_u128(1), &[0], &[ErrorCode::None]));
    assert_eq!(shell.state(), TransactionState::PrepareCommit, "another try");
    shell.tell(written(attempt, &[0], &[ErrorCode::RequestTimedOut]));
    shell.tell(written(attempt, &[0], &[ErrorCode::None]));
    assert_eq!(shell.state(), TransactionState::PrepareCommit, "that try is over");
    shell.next_deadline();
    shell.answer_markers(&[ErrorCode::None]);
    assert_eq!(shell.state(), TransactionState::CompleteCommit);
}

#[test]
fn a_coordinator_that_was_replaced_stops() {
    let mut shell = shell_in(TransactionState::PrepareAbort);
    shell.answer_markers(&[ErrorCode::TransactionCoordinatorFenced]);
    assert_eq!(shell.state(), TransactionState::PrepareAbort);
    assert!(shell.machine.deadlines.next().is_none() && shell.effects.is_empty());
    assert_eq!(shell.add((5, 7), &[1]), ErrorCode::ConcurrentTransactions);
}

#[test]
fn a_complete_record_that_is_refused_is_written_later() {
    let mut shell = shell_in(TransactionState::PrepareCommit);
    shell.refusal = Some(ErrorCode::CoordinatorNotAvailable);
    shell.answer_markers(&[ErrorCode::None]);
    assert_eq!(shell.state(), TransactionState::PrepareCommit);
    shell.next_deadline();
    assert_eq!(shell.state(), TransactionState::PrepareCommit);
    shell.refusal = None;
    shell.next_deadline();
    assert_eq!(shell.state(), TransactionState::CompleteCommit);
    assert!(shell.effects.is_empty(), "no marker is written twice");
}

#[test]
fn a_transaction_is_aborted_after_its_timeout_and_its_producer_fenced() {
    let mut shell = Shell::of(vec![Record::new(&ID.into(), sample(TransactionState::Empty))]);
    shell.now_ms = 500;
    assert_eq!(shell.add((5, 7), &[0]), ErrorCode::None);
    shell.now_ms = 30_000;
    assert_eq!(shell.add((5, 7), &[1]), ErrorCode::None);
    assert_eq!(
        shell.machine.next_deadline(),
        Some(60_501),
        "counted from the begin, and not before it is over"
    );
    shell.next_deadline();
    assert_eq!(shell.state(), TransactionState::PrepareAbort);
    let (_, partitions, marker) = shell.markers();
    assert_eq!(
        (partitions, marker.producer_epoch, marker.transaction_version),
        (vec![0, 1], 8, 2)
    );
    assert_eq!(shell.end(0, (5, 7), true), Err(ErrorCode::ProducerFenced));
}

#[test]
fn an_abort_that_cannot_be_written_is_tried_again() {
    let mut shell = shell_in(TransactionState::Ongoing);
    shell.refusal = Some(ErrorCode::CoordinatorNotAvailable);
    shell.next_deadline();
    assert_eq!(shell.machine.next_deadline(), Some(60_001 + 10_000));
    shell.refusal = None;
    shell.next_deadline();
    assert_eq!(shell.state(), TransactionState::PrepareAbort);
}

#[test]
fn a_transaction_of_the_last_epoch_is_aborted_with_a_producer_id_that_is_fetched() {
    let transaction = Transaction {
        producer_epoch: 32_766,
        ..sample(TransactionState::Ongoing)
    };
    let other: Arc<str> = "u".into();
    let records = [&ID.into(), &other].map(|id| Record::new(id, transaction.clone()));
    let mut shell = Shell::of(records.to_vec());
    shell.next_deadline();
    assert_eq!(shell.effects, [Effect::GetProducerId], "one at a time");
    shell.effects.clear();
    shell.tell(Event::ProducerId(Err(ErrorCode::CoordinatorLoadInProgress)));
    assert!(shell.effects.is_empty());
    shell.next_deadline();
    assert_eq!(shell.effects, [Effect::GetProducerId]);
    shell.effects.clear();
    shell.tell(Event::ProducerId(Ok(70)));
    assert_eq!(
        shell
            .effects
            .iter()
            .filter(|effect| **effect == Effect::GetProducerId)
            .count(),
        1
    );
    assert_eq!(shell.transaction().next_producer_id, 70);
    shell.tell(Event::ProducerId(Ok(71)));
    let other = &shell.machine.hard().get("u").expect("known").transaction;
    assert_eq!(other.next_producer_id, 71, "nobody else got it");
}

#[test]
fn a_transaction_without_timeout_is_left_alone() {
    let transaction = Transaction {
        transaction_timeout_ms: i32::MAX,
        ..sample(TransactionState::Ongoing)
    };
    let shell = Shell::of(vec![Record::new(&ID.into(), transaction)]);
    assert!(shell.machine.deadlines.next().is_none());
}

#[test]
fn ids_that_nobody_used_are_forgotten() {
    let states = [
        TransactionState::Empty,
        TransactionState::Ongoing,
        TransactionState::PrepareCommit,
        TransactionState::CompleteCommit,
        TransactionState::CompleteAbort,
    ];
    let ids = ["a", "b", "c", "d", "e"];
    let records = ids.iter().zip(states).map(|(id, state)| {
        let transaction = Transaction {
            transaction_timeout_ms: i32::MAX,
            ..sample(state)
        };
        Record::new(&(*id).into(), transaction)
    });
    let mut shell = Shell::of(records.collect());
    shell.effects.clear();
    shell.config.transactional_id_expiration_ms = 3_600_001;
    shell.next_deadline();
    assert_eq!(shell.machine.id_count(), 5, "not yet");
    shell.next_deadline();
    let left: Vec<_> = shell.machine.hard().iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(left, ["b", "c"]);
    assert_eq!(shell.log.iter().filter(|record| record.value.is_none()).count(), 3);
}

#[test]
fn a_search_for_expired_ids_is_done_in_pieces() {
    let records = (0..2_500).map(|number| {
        let id: Arc<str> = format!("id-{number:05}").into();
        Record::new(&id, sample(TransactionState::Empty))
    });
    let mut shell = Shell::of(records.collect());
    shell.config.transactional_id_expiration_ms = 1;
    for left in [1_500, 500, 0] {
        shell.next_deadline();
        assert_eq!(shell.machine.id_count(), left);
    }
    assert_eq!(
        shell.machine.next_deadline(),
        None,
        "without ids there is nothing to wait for"
    );
}

#[test]
fn ids_partitions_and_records_are_limited() {
    let mut shell = Shell::new();
    shell.keys_left = 1;
    assert_eq!(shell.init(None, Some(1)), Reply::Init(Ok((1, 0))));
    assert_eq!(shell.keys_left, 0);
    let other = Request::Init(InitRequest {
        transactional_id: "other".into(),
        transaction_timeout_ms: 1,
        expected: None,
        fresh_producer_id: None,
    });
    assert_eq!(
        shell.ask(&other),
        Reply::Init(Err(ErrorCode::PolicyViolation)),
        "and no producer id is fetched"
    );
    let long = |bytes: usize| {
        Request::Init(InitRequest {
            transactional_id: "i".repeat(bytes).into(),
            transaction_timeout_ms: 1,
            expected: None,
            fresh_producer_id: Some(9),
        })
    };
    for (bytes, left, fits) in [
        (257, 1, false),
        (257, 2, true),
        (32_767, 127, false),
        (32_767, 128, true),
    ] {
        shell.keys_left = left;
        let counted = shell.machine.id_count();
        let expected = if fits {
            (Reply::Init(Ok((9, 0))), 0, counted + left)
        } else {
            (Reply::Init(Err(ErrorCode::PolicyViolation)), left, counted)
        };
        let reply = shell.ask(&long(bytes));
        assert_eq!(
            (reply, shell.keys_left, shell.machine.id_count()),
            expected,
            "{bytes} bytes, {left} left"
        );
    }
    shell.config.max_partitions = 3;
    assert_eq!(
        shell.add((1, 0), &[0, 1, 1, 0]),
        ErrorCode::None,
        "named twice, counted once"
    );
    assert_eq!(shell.add((1, 0), &[2, 3]), ErrorCode::PolicyViolation);
    assert_eq!(shell.transaction().partitions.len(), 2, "all or nothing");
    assert_eq!(shell.add((1, 0), &[2]), ErrorCode::None);
    shell.config.max_partitions = usize::MAX;
    let all: Vec<i32> = (0..250_000).collect();
    assert_eq!(
        shell.add((1, 0), &all),
        ErrorCode::PolicyViolation,
        "no record could hold them"
    );
    assert_eq!(shell.add((1, 0), &all[..240_000]), ErrorCode::None);
    let size = |record: &Record| {
        let encoded = record.encode().expect("short fields");
        encoded.key.len() + encoded.value.expect("no tombstone").len()
    };
    assert_eq!(shell.end(2, (1, 0), true), Ok((1, 1)));
    assert!(shell.log.iter().map(size).max().expect("records") <= MAX_RECORD_BYTES);
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut shell = shell_in(TransactionState::Ongoing);
    let before = shell.machine.clone();
    shell.refusal = Some(ErrorCode::NotCoordinator);
    for request in [
        Request::AddPartitions(adding((5, 7), &[4])),
        ending(2, (5, 7), true, None),
        ending(0, (5, 7), false, None),
    ] {
        let outcome = shell.with_cx(|machine, cx| machine.handle(cx, ReplyToken(1), &request));
        assert!(shell.perform(vec![outcome]).is_empty());
        assert_eq!(shell.machine, before, "{request:?}");
    }
}

#[expect(clippy::too_many_lines, reason = "one story")]
#[test]
fn descriptions_and_lists_tell_what_is_known() {
    let ids = ["ab", "ac", "b"];
    let states = [
        TransactionState::Ongoing,
        TransactionState::Empty,
        TransactionState::CompleteAbort,
    ];
    let records = ids.iter().zip(states).zip([5, 6, 7]).map(|((id, state), producer_id)| {
        let start_timestamp_ms = if state == TransactionState::Empty { -1 } else { 999_000 };
        let transaction = Transaction {
            producer_id,
            start_timestamp_ms,
            ..sample(state)
        };
        Record::new(&(*id).into(), transaction)
    });
    let mut shell = Shell::of(records.collect());
    let Reply::Describe(described) = shell.ask(&Request::Describe(vec!["ab".into(), "x".into()])) else {
        panic!("another reply");
    };
    assert_eq!(described[1], Err(ErrorCode::TransactionalIdNotFound));
    let first = described[0].as_ref().expect("known");
    assert_eq!(
        (first.state, first.producer_id, first.producer_epoch),
        (TransactionState::Ongoing, 5, 7)
    );
    assert_eq!(
        (first.transaction_timeout_ms, first.transaction_start_timestamp_ms),
        (60_000, 999_000)
    );
    assert_eq!(first.topics["p"], [0]);
    let all = ListQuery {
        states: None,
        producer_ids: Vec::new(),
        duration_ms: -1,
    };
    let mut list = |query: ListQuery| -> Vec<String> {
        match shell.ask(&Request::List(Arc::new(query))) {
            Reply::List(listed) => listed
                .into_iter()
                .map(|line: ListedTransaction| line.transactional_id.to_string())
                .collect(),
            other => panic!("{other:?}"),
        }
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(list(all.clone()), ids);
    let states = Some(vec![TransactionState::Ongoing, TransactionState::CompleteAbort]);
    assert_eq!(list(ListQuery { states, ..all.clone() }), ["ab", "b"]);
    assert_eq!(
        list(ListQuery {
            states: Some(Vec::new()),
            ..all.clone()
        }),
        none
    );
    assert_eq!(
        list(ListQuery {
            producer_ids: vec![6, 9],
            ..all.clone()
        }),
        ["ac"]
    );
    assert_eq!(
        list(ListQuery {
            duration_ms: 999,
            ..all.clone()
        }),
        ids
    );
    assert_eq!(
        list(ListQuery {
            duration_ms: 1_000,
            ..all.clone()
        }),
        ["ac"],
        "longer, not as long"
    );
}

#[test]
fn the_state_is_written_again_in_pieces_that_say_the_same() {
    let records = (0..25).map(|number| {
        let id: Arc<str> = format!("{number:02}").into();
        Record::new(&id, sample(TransactionState::ALL[number % 6]))
    });
    let mut shell = Shell::of(records.collect());
    let before = shell.machine.hard().clone();
    let mut pass = Hard::begin_rewrite(25);
    let mut again = Hard::default();
    let mut offset = 25;
    loop {
        let piece = before.rewrite_next(&mut pass, 10, 1 << 20);
        if piece.is_empty() {
            break;
        }
        assert!(piece.len() <= 10);
        for record in piece {
            shell.machine.hard_mut().replay(offset, None, record.clone());
            again.replay(offset, None, record);
            offset += 1;
        }
    }
    assert_eq!((offset, Hard::needed_from(&pass)), (50, 25));
    assert_eq!(&again, shell.machine.hard(), "what lies before is needed no more");
    assert_eq!(
        before.rewrite_next(&mut Hard::begin_rewrite(25), 10, 1).len(),
        1,
        "a pass goes on"
    );
    assert!(before.size_in_log() > 25 * 50);
}
