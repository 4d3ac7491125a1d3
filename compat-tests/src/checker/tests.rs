//! A history without each anomaly, and one with it.

use super::history::{Function, History, Isolation, LogEnd, Operation, Outcome, Pipeline, Process, Record, Step};
use super::parse::add_line;
use super::{Findings, Kind, check};

const A: u32 = 0;
const B: u32 = 1;
const OUT: u32 = 2;
/// Processes: two of committed reads, one of all, one in a group, a pipeline, two final readers.
const P: u32 = 1;
const Q: u32 = 2;
const PLAIN: u32 = 3;
const MEMBER: u32 = 4;
const MEMBER_2: u32 = 5;
const PIPE: u32 = 6;
const LAST: u32 = 7;
const LAST_PLAIN: u32 = 8;

fn send(key: u32, value: u64, offset: i64) -> Step {
    Step::Send {
        key,
        value,
        source: None,
        offset: (offset >= 0).then_some(offset),
        acknowledged: offset >= 0,
    }
}

fn made(value: u64, source: u64, offset: i64) -> Step {
    Step::Send {
        key: OUT,
        value,
        source: Some(source),
        offset: Some(offset),
        acknowledged: true,
    }
}

fn poll(key: u32, records: &[(i64, u64)]) -> Step {
    let records = records.iter().map(|&(offset, value)| Record { key, offset, value });
    Step::Poll {
        time: 0,
        records: records.collect(),
    }
}

fn start(key: u32, offset: i64) -> Step {
    Step::Start { key, offset }
}

/// A history that is written line by line; every operation takes ten units of time.
struct Script {
    history: History,
    time: u64,
}

fn script() -> Script {
    let mut history = History {
        keys: [("a", 0), ("b", 0), ("out", 0)]
            .map(|(topic, partition)| (topic.to_owned(), partition))
            .into(),
        ..History::default()
    };
    for process in [P, Q, PLAIN, MEMBER, MEMBER_2, PIPE, LAST, LAST_PLAIN] {
        let plain = [PLAIN, LAST_PLAIN].contains(&process);
        let group = [MEMBER, MEMBER_2].contains(&process).then(|| "group".to_owned());
        let described = Process {
            isolation: if plain {
                Isolation::Uncommitted
            } else {
                Isolation::Committed
            },
            group,
            rewinds: process == PIPE,
            read_all: Vec::new(),
        };
        history.processes.insert(process, described);
    }
    Script { history, time: 100 }
}

impl Script {
    fn operation(mut self, process: u32, function: Function, outcome: Outcome, mut steps: Vec<Step>) -> Self {
        let begin = self.time;
        self.time += 10;
        for step in &mut steps {
            if let Step::Poll { time, .. } | Step::Assigned { time, .. } | Step::Committed { time, .. } = step {
                *time = begin + 5;
            }
        }
        let transaction = function == Function::Transaction && outcome != Outcome::Fail;
        self.history.operations.push(Operation {
            process,
            function,
            outcome,
            begin,
            committing: transaction.then_some(begin + 8),
            end: begin + 9,
            steps,
        });
        self
    }

    fn plain(self, process: u32, steps: Vec<Step>) -> Self {
        self.operation(process, Function::Plain, Outcome::Ok, steps)
    }

    fn in_doubt(self, process: u32, steps: Vec<Step>) -> Self {
        self.operation(process, Function::Plain, Outcome::Info, steps)
    }

    fn commit(self, process: u32, steps: Vec<Step>) -> Self {
        self.operation(process, Function::Transaction, Outcome::Ok, steps)
    }

    fn abort(self, process: u32, steps: Vec<Step>) -> Self {
        self.operation(process, Function::Transaction, Outcome::Fail, steps)
    }

    fn commit_in_doubt(self, process: u32, steps: Vec<Step>) -> Self {
        self.operation(process, Function::Transaction, Outcome::Info, steps)
    }

    /// The final read of a key by both isolations.
    fn last_read(self, key: u32, committed: &[(i64, u64)], all: &[(i64, u64)]) -> Self {
        let mut script = self
            .plain(LAST, vec![start(key, 0), poll(key, committed)])
            .plain(LAST_PLAIN, vec![start(key, 0), poll(key, all)]);
        for process in [LAST, LAST_PLAIN] {
            let process = script.history.processes.get_mut(&process).expect("made above");
            process.read_all.push(key);
        }
        script
    }

    fn findings(&self) -> Findings {
        check(&self.history)
    }

    #[track_caller]
    fn has(&self, kinds: &[Kind]) {
        let findings = self.findings();
        assert_eq!(findings.kinds(), kinds, "{findings}");
    }

    #[track_caller]
    fn clean(&self) {
        self.has(&[]);
    }
}

#[test]
fn a_history_of_everything_that_is_right_is_clean() {
    let mut script = script()
        .plain(P, vec![send(A, 1, 0), send(B, 2, 0)])
        .commit(Q, vec![send(A, 3, 1), send(B, 4, 1)])
        .abort(P, vec![send(A, 5, 3), send(B, 6, 3)])
        .commit_in_doubt(P, vec![send(A, 7, 5), send(B, 8, 5)])
        .commit_in_doubt(Q, vec![send(A, 9, 7), send(B, 10, 7)])
        .in_doubt(P, vec![send(A, 11, -1), send(A, 12, -1)])
        .plain(P, vec![start(A, 0), poll(A, &[(0, 1), (1, 3)])])
        .plain(PLAIN, vec![start(A, 1), poll(A, &[(1, 3), (3, 5), (5, 7), (7, 9)])])
        .plain(P, vec![poll(A, &[(5, 7), (9, 12)])])
        .commit(PIPE, vec![poll(B, &[(0, 2), (1, 4)]), made(20, 2, 0), made(21, 4, 1)])
        .abort(PIPE, vec![poll(B, &[(5, 8)]), made(22, 8, 3)])
        .commit(PIPE, vec![poll(B, &[(5, 8)]), made(23, 8, 5)])
        .last_read(
            A,
            &[(0, 1), (1, 3), (5, 7), (9, 12)],
            &[(0, 1), (1, 3), (3, 5), (5, 7), (7, 9), (9, 12)],
        )
        .last_read(B, &[(0, 2), (1, 4), (5, 8)], &[(0, 2), (1, 4), (3, 6), (5, 8), (7, 10)])
        .last_read(OUT, &[(0, 20), (1, 21), (5, 23)], &[(0, 20), (1, 21), (3, 22), (5, 23)]);
    script.history.pipeline = Some(Pipeline {
        outputs: [(B, OUT)].into(),
    });
    script.history.drained = Some(true);
    script.history.ends = vec![LogEnd {
        key: A,
        last_stable: 10,
        end: 10,
    }];
    script.clean();
}

#[test]
fn a_lost_write_is_found() {
    let written = || script().plain(P, vec![send(A, 1, 0), send(A, 2, 1)]);
    written()
        .plain(Q, vec![start(A, 1), poll(A, &[(1, 2)])])
        .has(&[Kind::LostWrite]);
    written()
        .plain(Q, vec![start(A, 0), poll(A, &[(0, 1), (1, 2)])])
        .clean();
    // Nobody has read so far.
    written().plain(Q, vec![start(A, 0), poll(A, &[(0, 1)])]).clean();
    // A write in doubt may be lost.
    script()
        .in_doubt(P, vec![send(A, 1, -1), send(A, 2, 1)])
        .plain(Q, vec![poll(A, &[(1, 2)])])
        .clean();
}

#[test]
fn a_committed_transaction_must_be_seen_by_both_isolations() {
    script()
        .commit(P, vec![send(A, 1, 0)])
        .last_read(A, &[], &[(0, 1)])
        .has(&[Kind::Unseen]);
    script()
        .commit(P, vec![send(A, 1, 0)])
        .last_read(A, &[(0, 1)], &[(0, 1)])
        .clean();
}

#[test]
fn an_unseen_write_is_found_only_by_a_complete_read() {
    let written = || script().plain(P, vec![send(A, 1, 0), send(A, 2, 1)]);
    written().plain(Q, vec![poll(A, &[(0, 1)])]).clean();
    written().last_read(A, &[(0, 1)], &[(0, 1)]).has(&[Kind::Unseen]);
}

#[test]
fn a_duplicate_is_found() {
    script()
        .plain(P, vec![send(A, 1, 0)])
        .plain(Q, vec![poll(A, &[(0, 1), (1, 1)])])
        .has(&[Kind::Duplicate]);
    // Also of a write in doubt, which may be there once.
    script()
        .in_doubt(P, vec![send(A, 1, -1)])
        .plain(Q, vec![poll(A, &[(0, 1), (1, 1)])])
        .has(&[Kind::Duplicate]);
    script()
        .in_doubt(P, vec![send(A, 1, -1)])
        .plain(Q, vec![poll(A, &[(0, 1)])])
        .clean();
}

#[test]
fn an_offset_with_two_values_is_found() {
    script()
        .plain(P, vec![send(A, 1, 0)])
        .plain(Q, vec![send(A, 2, 0)])
        .has(&[Kind::InconsistentOffset]);
    // An acknowledgement and a read that contradict each other.
    let found = script()
        .in_doubt(P, vec![send(A, 1, -1)])
        .plain(Q, vec![send(A, 2, 0)])
        .plain(PLAIN, vec![poll(A, &[(0, 1)])])
        .findings();
    assert_eq!(found.count(Kind::InconsistentOffset), 1, "{found}");
}

#[test]
fn a_value_from_nowhere_is_found() {
    script().plain(Q, vec![poll(A, &[(0, 99)])]).has(&[Kind::UnknownValue]);
    script()
        .in_doubt(P, vec![send(A, 1, -1)])
        .plain(Q, vec![poll(B, &[(0, 1)])])
        .has(&[Kind::UnknownValue]);
}

#[test]
fn an_aborted_read_is_found() {
    let aborted = || script().abort(P, vec![send(A, 1, 0)]);
    aborted().plain(Q, vec![poll(A, &[(0, 1)])]).has(&[Kind::AbortedRead]);
    aborted().commit(Q, vec![poll(A, &[(0, 1)])]).has(&[Kind::AbortedRead]);
    aborted().plain(PLAIN, vec![poll(A, &[(0, 1)])]).clean();
}

#[test]
fn a_precommitted_read_is_found() {
    // The read ends before the commit is asked for.
    script()
        .plain(Q, vec![poll(A, &[(0, 1)])])
        .commit(P, vec![send(A, 1, 0)])
        .has(&[Kind::PrecommittedRead]);
    script()
        .plain(Q, vec![poll(A, &[(0, 1)])])
        .commit_in_doubt(P, vec![send(A, 1, 0)])
        .has(&[Kind::PrecommittedRead]);
    // Its own record.
    script()
        .commit(P, vec![send(A, 1, 0), poll(A, &[(0, 1)])])
        .has(&[Kind::PrecommittedRead]);
    script()
        .commit(P, vec![send(A, 1, 0)])
        .plain(Q, vec![poll(A, &[(0, 1)])])
        .clean();
    script()
        .plain(PLAIN, vec![poll(A, &[(0, 1)])])
        .commit(P, vec![send(A, 1, 0)])
        .clean();
}

#[test]
fn a_transaction_of_which_a_part_is_missing_is_found() {
    let written = || script().commit_in_doubt(P, vec![send(A, 1, 0), send(B, 2, 0)]);
    let part = written()
        .last_read(A, &[(0, 1)], &[(0, 1)])
        .last_read(B, &[], &[(0, 2)]);
    part.has(&[Kind::Unseen, Kind::PartialTransaction]);
    written()
        .last_read(A, &[], &[(0, 1)])
        .last_read(B, &[], &[(0, 2)])
        .clean();
    written()
        .last_read(A, &[(0, 1)], &[(0, 1)])
        .last_read(B, &[(0, 2)], &[(0, 2)])
        .clean();
    // A fractured read is none: who read A has not come to B yet.
    written().plain(Q, vec![poll(A, &[(0, 1)])]).clean();
}

#[test]
fn a_hanging_transaction_is_found() {
    let mut script = script();
    script.history.ends.push(LogEnd {
        key: A,
        last_stable: 3,
        end: 4,
    });
    script.has(&[Kind::HangingTransaction]);
}

#[test]
fn a_poll_skip_is_found() {
    let written = || script().plain(P, vec![send(A, 1, 0), send(A, 2, 1), send(A, 3, 2)]);
    let seen = || written().plain(PLAIN, vec![poll(A, &[(0, 1), (1, 2), (2, 3)])]);
    let all = [(0, 1), (1, 2), (2, 3)];
    let read = |script: Script| script.plain(P, vec![poll(A, &all)]);
    read(seen())
        .plain(Q, vec![start(A, 0), poll(A, &[(0, 1), (2, 3)])])
        .has(&[Kind::InternalPollSkip]);
    read(seen())
        .plain(Q, vec![start(A, 0), poll(A, &[(0, 1)])])
        .plain(Q, vec![poll(A, &[(2, 3)])])
        .has(&[Kind::PollSkip]);
    // Its place was chosen anew.
    read(seen())
        .plain(Q, vec![start(A, 0), poll(A, &[(0, 1)])])
        .plain(Q, vec![start(A, 2), poll(A, &[(2, 3)])])
        .clean();
    // A rebalance.
    let assigned = Step::Assigned { time: 0, keys: vec![A] };
    read(seen())
        .plain(Q, vec![start(A, 0), poll(A, &[(0, 1)])])
        .plain(Q, vec![Step::Revoked(vec![A]), assigned, poll(A, &[(2, 3)])])
        .clean();
}

#[test]
fn a_skipped_record_of_an_aborted_transaction_is_no_skip() {
    let written = || {
        script()
            .plain(P, vec![send(A, 1, 0)])
            .abort(P, vec![send(A, 2, 1)])
            .plain(P, vec![send(A, 3, 3)])
    };
    let skipping = [(0, 1), (3, 3)];
    written().plain(Q, vec![start(A, 0), poll(A, &skipping)]).clean();
    let found = written().plain(PLAIN, vec![start(A, 0), poll(A, &skipping)]).findings();
    assert_eq!(found.kinds(), [Kind::InternalPollSkip], "{found}");
}

#[test]
fn a_nonmonotonic_poll_is_found() {
    let written = || script().plain(P, vec![send(A, 1, 0), send(A, 2, 1)]);
    written()
        .plain(Q, vec![poll(A, &[(0, 1), (1, 2)])])
        .plain(Q, vec![poll(A, &[(0, 1)])])
        .has(&[Kind::NonmonotonicPoll]);
    written()
        .plain(Q, vec![poll(A, &[(0, 1), (1, 2), (0, 1)])])
        .has(&[Kind::InternalNonmonotonicPoll]);
    // Who aborts its transaction goes back to what its group has committed.
    written()
        .abort(PIPE, vec![poll(A, &[(0, 1), (1, 2)])])
        .abort(PIPE, vec![poll(A, &[(0, 1), (1, 2)])])
        .clean();
}

#[test]
fn a_nonmonotonic_send_is_found() {
    script()
        .plain(P, vec![send(A, 1, 5)])
        .plain(P, vec![send(A, 2, 4)])
        .has(&[Kind::NonmonotonicSend]);
    script()
        .abort(P, vec![send(A, 1, 5), send(A, 2, 4)])
        .has(&[Kind::InternalNonmonotonicSend]);
    // Its place is known from a read.
    script()
        .in_doubt(P, vec![send(A, 1, -1)])
        .plain(P, vec![send(A, 2, 0)])
        .plain(PLAIN, vec![poll(A, &[(0, 2), (1, 1)])])
        .has(&[Kind::NonmonotonicSend]);
    // Between different producers there is no order.
    script()
        .plain(P, vec![send(A, 1, 5)])
        .plain(Q, vec![send(A, 2, 4)])
        .clean();
}

#[test]
fn a_cycle_of_reads_is_found() {
    let found = script()
        .commit(P, vec![send(A, 1, 0), poll(B, &[(0, 2)])])
        .commit(Q, vec![send(B, 2, 0), poll(A, &[(0, 1)])])
        .findings();
    assert_eq!(found.count(Kind::ReadCycle), 1, "{found}");
    script()
        .commit(P, vec![send(A, 1, 0)])
        .commit(Q, vec![send(B, 2, 0), poll(A, &[(0, 1)])])
        .commit(P, vec![poll(B, &[(0, 2)])])
        .clean();
}

#[test]
fn a_cycle_through_the_order_of_a_process_is_found() {
    // P reads what Q wrote after it had read what P wrote later.
    let found = script()
        .commit(P, vec![poll(B, &[(0, 2)])])
        .commit(P, vec![send(A, 1, 0)])
        .commit(Q, vec![poll(A, &[(0, 1)])])
        .commit(Q, vec![send(B, 2, 0)])
        .findings();
    assert_eq!(found.count(Kind::ProcessCycle), 1, "{found}");
}

#[test]
fn a_cycle_of_writes_is_counted_and_allowed() {
    let script = script()
        .commit(P, vec![send(A, 1, 0), send(B, 2, 1)])
        .commit(Q, vec![send(B, 3, 0), send(A, 4, 1)]);
    script.clean();
    assert_eq!(script.findings().in_write_cycles, 2);
}

fn pipeline(mut script: Script, drained: bool) -> Script {
    script.history.pipeline = Some(Pipeline {
        outputs: [(A, OUT)].into(),
    });
    script.history.drained = Some(drained);
    script
}

fn input() -> Script {
    script()
        .plain(P, vec![send(A, 1, 0)])
        .last_read(A, &[(0, 1)], &[(0, 1)])
}

#[test]
fn an_output_made_twice_is_found() {
    let twice = input()
        .commit(PIPE, vec![made(10, 1, 0)])
        .commit(PIPE, vec![made(11, 1, 2)])
        .last_read(OUT, &[(0, 10), (2, 11)], &[(0, 10), (2, 11)]);
    pipeline(twice, true).has(&[Kind::DuplicatedOutput]);
    let again = input()
        .abort(PIPE, vec![made(10, 1, 0)])
        .commit(PIPE, vec![made(11, 1, 2)])
        .last_read(OUT, &[(2, 11)], &[(0, 10), (2, 11)]);
    pipeline(again, true).clean();
}

#[test]
fn a_missing_output_is_found() {
    let aborted = || {
        input()
            .abort(PIPE, vec![made(10, 1, 0)])
            .last_read(OUT, &[], &[(0, 10)])
    };
    pipeline(aborted(), true).has(&[Kind::MissingOutput]);
    pipeline(aborted(), false).has(&[Kind::StuckPipeline]);
}

#[test]
fn an_output_of_nothing_is_found() {
    let invented = script()
        .abort(P, vec![send(A, 1, 0)])
        .commit(PIPE, vec![made(10, 1, 0)])
        .last_read(A, &[], &[(0, 1)])
        .last_read(OUT, &[(0, 10)], &[(0, 10)]);
    pipeline(invented, true).has(&[Kind::WrongOutput]);
}

fn three() -> Script {
    script()
        .plain(P, vec![send(A, 1, 0), send(A, 2, 1), send(A, 3, 2)])
        .plain(Q, vec![start(A, 0), poll(A, &[(0, 1), (1, 2), (2, 3)])])
}

fn given() -> Step {
    Step::Assigned { time: 0, keys: vec![A] }
}

#[test]
fn a_record_that_a_group_left_out_is_found() {
    three()
        .plain(MEMBER, vec![given(), poll(A, &[(0, 1)])])
        .plain(MEMBER_2, vec![given(), poll(A, &[(2, 3)])])
        .has(&[Kind::GroupSkip]);
    three()
        .plain(MEMBER, vec![given(), poll(A, &[(0, 1), (1, 2)])])
        .plain(MEMBER_2, vec![given(), poll(A, &[(1, 2), (2, 3)])])
        .clean();
}

#[test]
fn a_forgotten_commit_is_found() {
    let committed = || {
        three().plain(MEMBER, vec![given(), poll(A, &[(0, 1), (1, 2)])]).plain(
            MEMBER,
            vec![Step::Committed {
                time: 0,
                offsets: vec![(A, 2)],
            }],
        )
    };
    committed()
        .plain(MEMBER_2, vec![given(), poll(A, &[(1, 2)])])
        .has(&[Kind::LostCommit]);
    committed().plain(MEMBER_2, vec![given(), poll(A, &[(2, 3)])]).clean();
}

#[test]
fn a_read_that_did_not_end_is_told() {
    let mut script = script();
    script.history.incomplete_reads.push("the reader died".to_owned());
    script.has(&[Kind::IncompleteRead]);
}

#[test]
fn json_lines_become_a_history() {
    let lines = r#"
        {"type":"keys","value":[["a",0],["b",3]]}
        {"type":"process","process":1,"isolation":"read_committed","group":null,"client":"x"}
        {"type":"process","process":2,"isolation":"read_uncommitted","group":"g","rewinds":true}
        {"type":"pipeline","value":[[0,1]]}
        {"type":"invoke","f":"txn","process":1,"value":[["send",0,5]]}
        {"type":"info","f":"txn","process":1,"begin":3,"committing":4,"time":9,"value":[["send",0,5,7,2],["error","x"]]}
        {"type":"ok","f":"send","process":1,"begin":10,"time":11,"value":[["send",1,6,null]]}
        {"type":"ok","f":"poll","process":2,"begin":10,"time":11,"value":[["assigned",1,[0,1]],["poll",8,{"1":[[0,6],[3,7,5]]}],["committed",9,[[1,4]]]]}
        {"type":"part","process":2,"time":12,"value":[["start",1,0],["revoked",2,[1]]]}
        {"type":"read_all","process":2,"value":[1]}
        {"type":"ends","value":[[0,5,6]]}
        {"type":"drained","value":true}
        {"type":"nemesis","f":"kill"}
    "#;
    let mut history = History::default();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        add_line(&mut history, line).expect("a line");
    }
    assert_eq!(history.name(1), "b-3");
    let transaction = &history.operations[0];
    assert_eq!(
        (transaction.begin, transaction.committing, transaction.end),
        (3, Some(4), 9)
    );
    assert_eq!(transaction.steps.len(), 1);
    assert!(matches!(
        transaction.steps[0],
        Step::Send {
            source: Some(2),
            offset: Some(7),
            ..
        }
    ));
    assert!(matches!(
        history.operations[1].steps[0],
        Step::Send {
            offset: None,
            acknowledged: true,
            ..
        }
    ));
    assert_eq!(history.operations[2].steps.len(), 3);
    assert_eq!(history.processes[&2].read_all, [1]);
    assert_eq!((history.drained, history.ends[0].last_stable), (Some(true), 5));
    for wrong in [
        "{",
        "{\"type\":\"other\"}",
        r#"{"type":"ok","f":"send","process":1,"time":1,"value":[["x"]]}"#,
    ] {
        assert!(add_line(&mut history, wrong).is_err(), "{wrong}");
    }
}

/// Tens of thousands of transactions that all depend on each other are checked at once.
#[test]
fn a_long_history_is_checked_in_time_that_grows_with_its_length() {
    let (mut script, count) = (script(), 40_000_u64);
    for number in 0..count {
        let (process, offset) = (
            if number % 2 == 0 { P } else { Q },
            i64::try_from(number).expect("small"),
        );
        let mut steps = vec![send(A, number * 2 + 1, offset), send(B, number * 2 + 2, offset)];
        if number > 0 {
            steps.push(poll(A, &[(offset - 1, number * 2 - 1)]));
        }
        script = script.commit(process, steps);
    }
    let read = |from: u64| -> Vec<(i64, u64)> {
        (0..count)
            .map(|number| (i64::try_from(number).expect("small"), number * 2 + from))
            .collect()
    };
    // Each process polls every second record and says so, which is no skip only because its place is set anew.
    for operation in &mut script.history.operations {
        operation.steps.push(Step::Revoked(vec![A]));
    }
    script
        .last_read(A, &read(1), &read(1))
        .last_read(B, &read(2), &read(2))
        .clean();
}
