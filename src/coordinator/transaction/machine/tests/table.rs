//! Every state and every request, with the code that Apache Kafka gives.

use super::*;

/// Stands for "come back with a producer id".
const ID_: i16 = -100;

/// The states of the columns; the first is that the id is not known.
const STATES: [Option<TransactionState>; 7] = [
    None,
    Some(TransactionState::Empty),
    Some(TransactionState::Ongoing),
    Some(TransactionState::PrepareCommit),
    Some(TransactionState::PrepareAbort),
    Some(TransactionState::CompleteCommit),
    Some(TransactionState::CompleteAbort),
];

fn init(expected: Option<(i64, i16)>) -> Request {
    Request::Init(InitRequest {
        transactional_id: ID.into(),
        transaction_timeout_ms: 1_000,
        expected,
        fresh_producer_id: None,
    })
}

fn add(producer: (i64, i16), partition: i32) -> Request {
    Request::AddPartitions(adding(producer, &[partition]))
}

fn verify(producer: (i64, i16), partition: i32) -> Request {
    Request::Verify(adding(producer, &[partition]))
}

fn end(version: i16, producer: (i64, i16), committed: bool) -> Request {
    ending(version, producer, committed, None)
}

fn code_of(reply: &Reply) -> i16 {
    match reply {
        Reply::NeedsProducerId => ID_,
        Reply::Init(result) | Reply::End(result) => result.map_or_else(ErrorCode::code, |_| 0),
        Reply::AddPartitions(code) => code.code(),
        Reply::Verify(codes) => codes[0].code(),
        Reply::Describe(_) | Reply::List(_) => panic!("{reply:?}"),
    }
}

#[test]
fn every_request_in_every_state() {
    const RIGHT: (i64, i16) = (5, 7);
    const OTHER_ID: (i64, i16) = (9, 7);
    const OLD: (i64, i16) = (5, 5);
    const BEFORE: (i64, i16) = (5, 6);
    const AFTER: (i64, i16) = (5, 8);
    #[rustfmt::skip]
    let table: Vec<(&str, Request, [i16; 7])> = vec![
        //                                                 unknown Empty Ongoing PrepareC PrepareA CompleteC CompleteA
        ("init", init(None),                                 [ID_,     0,     51,      51,      51,        0,        0]),
        ("init, its own", init(Some(RIGHT)),                 [ID_,     0,     51,      51,      51,        0,        0]),
        ("init, other id", init(Some(OTHER_ID)),             [ID_,    90,     90,      51,      51,       90,       90]),
        ("init, old epoch", init(Some(OLD)),                 [ID_,    90,     51,      51,      51,       90,       90]),
        ("add", add(RIGHT, 1),                               [ 49,     0,      0,      51,      51,        0,        0]),
        ("add once more", add(RIGHT, 0),                     [ 49,     0,      0,      51,      51,        0,        0]),
        ("add, other id", add(OTHER_ID, 1),                  [ 49,    49,     49,      51,      51,       49,       49]),
        ("add, old epoch", add(OLD, 1),                      [ 49,    90,     90,      51,      51,       90,       90]),
        ("add, future epoch", add(AFTER, 1),                 [ 49,    90,     90,      51,      51,       90,       90]),
        ("verify", verify(RIGHT, 0),                         [ 49,   120,      0,      51,      51,      120,      120]),
        ("verify another", verify(RIGHT, 1),                 [ 49,   120,    120,      51,      51,      120,      120]),
        ("verify, other id", verify(OTHER_ID, 0),            [ 49,    49,     49,      49,      49,       49,       49]),
        ("verify, old epoch", verify(OLD, 0),                [ 49,    90,     90,      90,      90,       90,       90]),
        ("commit, old protocol", end(0, RIGHT, true),        [ 49,    48,      0,      51,      51,        0,       48]),
        ("abort, old protocol", end(0, RIGHT, false),        [ 49,    48,      0,      51,      51,       48,        0]),
        ("the same with version 1", end(1, RIGHT, false),    [ 49,    48,      0,      51,      51,       48,        0]),
        ("commit, old protocol, other id", end(0, OTHER_ID, true), [49, 49,   49,      49,      49,       49,       49]),
        ("commit, old protocol, before", end(0, BEFORE, true), [ 49,  90,     90,      90,      90,       90,       90]),
        ("commit, old protocol, after", end(0, AFTER, true), [ 49,    90,     90,      90,      90,       90,       90]),
        ("commit", end(2, RIGHT, true),                      [ 49,    48,      0,      51,      51,       48,       48]),
        ("abort", end(2, RIGHT, false),                      [ 49,     0,      0,      51,      51,        0,        0]),
        ("commit again", end(2, BEFORE, true),               [ 49,    90,     90,      51,      51,        0,       48]),
        ("abort again", end(2, BEFORE, false),               [ 49,    90,     90,      51,      51,       48,        0]),
        ("commit, other id", end(2, OTHER_ID, true),         [ 49,    49,     49,      51,      51,       49,       49]),
        ("commit, old epoch", end(2, OLD, true),             [ 49,    90,     90,      51,      51,       90,       90]),
        ("abort, future epoch", end(2, AFTER, false),        [ 49,    90,     90,      51,      51,       90,       90]),
    ];
    for (what, request, codes) in table {
        for (state, code) in STATES.into_iter().zip(codes) {
            let mut shell = state.map_or_else(Shell::new, shell_in);
            let before = shell.log.len();
            let reply = shell.ask(&request);
            assert_eq!(code_of(&reply), code, "{what} in {state:?}");
            let fences = code == 51 && state == Some(TransactionState::Ongoing);
            if code != 0 && !fences {
                assert_eq!(shell.log.len(), before, "{what} in {state:?} was refused and wrote");
            }
        }
    }
}

/// Repetitions that change nothing are answered without a record.
#[test]
fn repetitions_write_nothing() {
    use TransactionState::{CompleteAbort, CompleteCommit, Ongoing};
    for (state, request) in [
        (Ongoing, add((5, 7), 0)),
        (Ongoing, verify((5, 7), 0)),
        (CompleteCommit, end(0, (5, 7), true)),
        (CompleteAbort, end(0, (5, 7), false)),
        (CompleteCommit, end(2, (5, 6), true)),
        (CompleteAbort, end(2, (5, 6), false)),
    ] {
        let mut shell = shell_in(state);
        assert_eq!(code_of(&shell.ask(&request)), 0);
        assert_eq!(shell.log.len(), 1, "{request:?} in {state:?}");
    }
    let mut shell = shell_in(CompleteCommit);
    assert_eq!(shell.end(2, (5, 6), true), Ok((5, 7)), "what to use is told again");
    assert_eq!(
        shell.end(0, (5, 7), true),
        Ok((-1, -1)),
        "the old protocol tells nothing"
    );
}
