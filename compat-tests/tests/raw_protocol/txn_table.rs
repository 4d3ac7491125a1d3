//! Every request of a transactional producer in every state of its transactional id, as one table (core's
//! `TransactionCoordinator`, KIP-360, KIP-890).
//!
//! **Invariant:** each cell has a transactional id of its own, so that no cell depends on another.

use std::fmt::Write as _;

use kafka_protocol::messages::produce_response::PartitionProduceResponse;

use compat_tests::batch::Batch;
use compat_tests::broker::external_address;
use compat_tests::requests::{
    create_topic, find_coordinator as find_group_coordinator, init_producer, produce_request, unique,
};
use compat_tests::transactions::{
    ADD_OFFSETS, ADD_PARTITIONS, COMMIT_ADDING, CONCURRENT_TRANSACTIONS, END_KEEPING, END_RAISING, INIT, PRODUCE_ADDED,
    PRODUCE_ADDING, Producer, add_offsets, add_partitions, describe, end, end_raising, find_coordinator, init,
    init_request, open, produce_in, settled, try_add_partitions, try_end, txn_commit,
};
use compat_tests::wire::Connection;

use crate::Bench;

/// What was done with a transactional id before the request, and what its coordinator then holds:
///
/// - `new`: nothing; the producer id is that of an idempotent producer.
/// - `empty`: three producers in turn were made under it, expecting nothing.
/// - `again`: likewise, and the last one was made anew from its own id and epoch (KIP-360).
/// - `ongoing`: a record in partition 0 and the offsets of group `g` were added to a transaction.
/// - `commit1`, `abort1`: the same, and the transaction was ended by EndTxn v4 (which keeps the epoch).
/// - `commit2`, `abort2`: the same, but added by Produce v12 and ended by EndTxn v5 (which raises the epoch).
/// - `fenced`: `ongoing`, until another producer asked for the same transactional id once.
const STATES: [&str; 9] = [
    "new", "empty", "again", "ongoing", "commit1", "abort1", "commit2", "abort2", "fenced",
];

/// A row per request, a column per state. Behind a name come what differs from the present producer id and epoch E, and
/// `p0` or `p1`, the partition: only partition 0 and group `g` may be in the transaction. `h` is another group.
///
/// A cell is the answer, `/`, and the state afterwards. The answer is an error code, or `ok`, or where it carries an id and an
/// epoch: these, relative to the present ones (`E`, `E+1`), or `id:0` for a new id with epoch 0. The state is `-` for none,
/// `Empty`, `Ongoing`, `Commit` or `Abort` for `CompleteCommit` or `CompleteAbort`, with `+1` when the epoch has been raised.
const TABLE: &str = "
                                | new          | empty        | again        | ongoing      | commit1      | abort1       | commit2      | abort2       | fenced
Init plain                      | id:0/Empty   | E+1/Empty+1  | E+1/Empty+1  | 51/Abort+1   | E+1/Empty+1  | E+1/Empty+1  | E+1/Empty+1  | E+1/Empty+1  | E+1/Empty+1
Init E                          | id:0/Empty   | E+1/Empty+1  | E+1/Empty+1  | 51/Abort+1   | E+1/Empty+1  | E+1/Empty+1  | E+1/Empty+1  | E+1/Empty+1  | E+1/Empty+1
Init E-1                        | id:0/Empty   | 90/Empty     | E/Empty      | 51/Abort+1   | 90/Commit    | 90/Abort     | E/Empty      | E/Empty      | E/Empty
Init E-2                        | id:0/Empty   | 90/Empty     | 90/Empty     | 51/Abort+1   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
Init E+1                        | id:0/Empty   | 90/Empty     | 90/Empty     | 51/Abort+1   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
Init stranger                   | id:0/Empty   | 90/Empty     | 90/Empty     | 90/Ongoing   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
AddPartitions v3 p0             | 49/-         | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing
AddPartitions v3 p1             | 49/-         | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing
AddPartitions v3 p1 E-1         | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
AddPartitions v3 p0 E-1         | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
AddPartitions v3 p1 E+1         | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
AddPartitions v3 p1 stranger    | 49/-         | 49/Empty     | 49/Empty     | 49/Ongoing   | 49/Commit    | 49/Abort     | 49/Commit    | 49/Abort     | 49/Abort
AddPartitions v3 p1 p99         | 55,3/-       | 55,3/Empty   | 55,3/Empty   | 55,3/Ongoing | 55,3/Commit  | 55,3/Abort   | 55,3/Commit  | 55,3/Abort   | 55,3/Abort
AddOffsets v4 g                 | 49/-         | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing
AddOffsets v4 h                 | 49/-         | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing
AddOffsets v4 h E-1             | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
AddOffsets v4 h E+1             | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
AddOffsets v4 h stranger        | 49/-         | 49/Empty     | 49/Empty     | 49/Ongoing   | 49/Commit    | 49/Abort     | 49/Commit    | 49/Abort     | 49/Abort
TxnOffsetCommit v3 g            | 49/-         | 48/Empty     | 48/Empty     | ok/Ongoing   | 48/Commit    | 48/Abort     | 48/Commit    | 48/Abort     | 48/Abort
TxnOffsetCommit v3 h            | 49/-         | 48/Empty     | 48/Empty     | 48/Ongoing   | 48/Commit    | 48/Abort     | 48/Commit    | 48/Abort     | 48/Abort
TxnOffsetCommit v4 g            | 49/-         | 120/Empty    | 120/Empty    | ok/Ongoing   | 120/Commit   | 120/Abort    | 120/Commit   | 120/Abort    | 120/Abort
TxnOffsetCommit v4 h            | 49/-         | 120/Empty    | 120/Empty    | 120/Ongoing  | 120/Commit   | 120/Abort    | 120/Commit   | 120/Abort    | 120/Abort
TxnOffsetCommit v4 g E-1        | 49/-         | 47/Empty     | 47/Empty     | 47/Ongoing   | 47/Commit    | 47/Abort     | 47/Commit    | 47/Abort     | 47/Abort
TxnOffsetCommit v4 g E+1        | 49/-         | 47/Empty     | 47/Empty     | 47/Ongoing   | 47/Commit    | 47/Abort     | 47/Commit    | 47/Abort     | 47/Abort
TxnOffsetCommit v5 g            | 49/-         | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing
TxnOffsetCommit v5 h            | 49/-         | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing
TxnOffsetCommit v5 h E-1        | 49/-         | 47/Empty     | 47/Empty     | 47/Ongoing   | 47/Commit    | 47/Abort     | 47/Commit    | 47/Abort     | 47/Abort
TxnOffsetCommit v5 h E+1        | 49/-         | 47/Empty     | 47/Empty     | 47/Ongoing   | 47/Commit    | 47/Abort     | 47/Commit    | 47/Abort     | 47/Abort
TxnOffsetCommit v5 h stranger   | 49/-         | 49/Empty     | 49/Empty     | 49/Ongoing   | 49/Commit    | 49/Abort     | 49/Commit    | 49/Abort     | 49/Abort
EndTxn v4 commit                | 49/-         | 48/Empty     | 48/Empty     | ok/Commit    | ok/Commit    | 48/Abort     | ok/Commit    | 48/Abort     | 48/Abort
EndTxn v4 abort                 | 49/-         | 48/Empty     | 48/Empty     | ok/Abort     | 48/Commit    | ok/Abort     | 48/Commit    | ok/Abort     | ok/Abort
EndTxn v4 commit E-1            | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
EndTxn v4 abort E-1             | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
EndTxn v4 commit E+1            | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
EndTxn v4 abort E+1             | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
EndTxn v4 commit stranger       | 49/-         | 49/Empty     | 49/Empty     | 49/Ongoing   | 49/Commit    | 49/Abort     | 49/Commit    | 49/Abort     | 49/Abort
EndTxn v4 abort stranger        | 49/-         | 49/Empty     | 49/Empty     | 49/Ongoing   | 49/Commit    | 49/Abort     | 49/Commit    | 49/Abort     | 49/Abort
EndTxn v5 commit                | 49/-         | 48/Empty     | 48/Empty     | E+1/Commit+1 | 48/Commit    | 48/Abort     | 48/Commit    | 48/Abort     | 48/Abort
EndTxn v5 abort                 | 49/-         | E+1/Abort+1  | E+1/Abort+1  | E+1/Abort+1  | E+1/Abort+1  | E+1/Abort+1  | E+1/Abort+1  | E+1/Abort+1  | E+1/Abort+1
EndTxn v5 commit E-1            | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | E/Commit     | 48/Abort     | E/Commit     | 48/Abort     | 48/Abort
EndTxn v5 abort E-1             | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | 48/Commit    | E/Abort      | 48/Commit    | E/Abort      | E/Abort
EndTxn v5 commit E-2            | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
EndTxn v5 abort E-2             | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
EndTxn v5 commit E+1            | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
EndTxn v5 abort E+1             | 49/-         | 90/Empty     | 90/Empty     | 90/Ongoing   | 90/Commit    | 90/Abort     | 90/Commit    | 90/Abort     | 90/Abort
EndTxn v5 commit stranger       | 49/-         | 49/Empty     | 49/Empty     | 49/Ongoing   | 49/Commit    | 49/Abort     | 49/Commit    | 49/Abort     | 49/Abort
EndTxn v5 abort stranger        | 49/-         | 49/Empty     | 49/Empty     | 49/Ongoing   | 49/Commit    | 49/Abort     | 49/Commit    | 49/Abort     | 49/Abort
Produce v10 p0                  | 49/-         | 48/Empty     | 48/Empty     | ok/Ongoing   | 48/Commit    | 48/Abort     | 48/Commit    | 48/Abort     | 48/Abort
Produce v10 p1                  | 49/-         | 48/Empty     | 48/Empty     | 48/Ongoing   | 48/Commit    | 48/Abort     | 48/Commit    | 48/Abort     | 48/Abort
Produce v11 p0                  | 49/-         | 120/Empty    | 120/Empty    | ok/Ongoing   | 120/Commit   | 120/Abort    | 120/Commit   | 120/Abort    | 120/Abort
Produce v11 p1                  | 49/-         | 120/Empty    | 120/Empty    | 120/Ongoing  | 120/Commit   | 120/Abort    | 120/Commit   | 120/Abort    | 120/Abort
Produce v11 p0 E-1              | 49/-         | 47/Empty     | 47/Empty     | 47/Ongoing   | 47/Commit    | 47/Abort     | 47/Commit    | 47/Abort     | 47/Abort
Produce v11 p0 E+1              | 49/-         | 47/Empty     | 47/Empty     | 47/Ongoing   | 47/Commit    | 47/Abort     | 47/Commit    | 47/Abort     | 47/Abort
Produce v11 p1 E-1              | 49/-         | 47/Empty     | 47/Empty     | 47/Ongoing   | 47/Commit    | 47/Abort     | 47/Commit    | 47/Abort     | 47/Abort
Produce v11 p1 E+1              | 49/-         | 47/Empty     | 47/Empty     | 47/Ongoing   | 47/Commit    | 47/Abort     | 47/Commit    | 47/Abort     | 47/Abort
Produce v11 p1 stranger         | 49/-         | 49/Empty     | 49/Empty     | 49/Ongoing   | 49/Commit    | 49/Abort     | 49/Commit    | 49/Abort     | 49/Abort
Produce v12 p0                  | 49/-         | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing
Produce v12 p1                  | 49/-         | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing   | ok/Ongoing
Produce v12 p0 E-1              | 49/-         | 47/Empty     | 47/Empty     | 47/Ongoing   | 47/Commit    | 47/Abort     | 47/Commit    | 47/Abort     | 47/Abort
Produce v12 p0 E+1              | 49/-         | 47/Empty     | 47/Empty     | 47/Ongoing   | 47/Commit    | 47/Abort     | 47/Commit    | 47/Abort     | 47/Abort
Produce v12 p1 E-1              | 49/-         | 47/Empty     | 47/Empty     | 47/Ongoing   | 47/Commit    | 47/Abort     | 47/Commit    | 47/Abort     | 47/Abort
Produce v12 p1 E+1              | 49/-         | 47/Empty     | 47/Empty     | 47/Ongoing   | 47/Commit    | 47/Abort     | 47/Commit    | 47/Abort     | 47/Abort
Produce v12 p1 stranger         | 49/-         | 49/Empty     | 49/Empty     | 49/Ongoing   | 49/Commit    | 49/Abort     | 49/Commit    | 49/Abort     | 49/Abort
Produce plain p0                | ok/-         | ok/Empty     | ok/Empty     | 48/Ongoing   | ok/Commit    | ok/Abort     | ok/Commit    | ok/Abort     | ok/Abort
";

/// One transactional id in some state, and what a request may name.
struct Cell<'a> {
    connection: &'a mut Connection,
    topic: &'a str,
    groups: [&'a str; 2],
    stranger: i64,
    /// As the coordinator knows it.
    producer: Producer,
    /// What comes next in partition 0.
    sequence: i32,
}

impl<'a> Cell<'a> {
    fn new(connection: &'a mut Connection, topic: &'a str, groups: [&'a str; 2], stranger: i64, state: &str) -> Self {
        let id = unique("table");
        find_coordinator(connection, &id);
        settled(connection, &id);
        let mut cell = Self {
            connection,
            topic,
            groups,
            stranger,
            producer: Producer {
                transactional_id: id.clone(),
                id: stranger,
                epoch: 2,
            },
            sequence: 0,
        };
        if state != "new" {
            for _ in 0..3 {
                cell.producer = open(cell.connection, &id, 60_000);
            }
        }
        match state {
            "new" | "empty" => {}
            "again" => {
                cell.init((0, 0));
            }
            "commit2" | "abort2" => {
                cell.begin_implicitly();
                cell.producer = end_raising(cell.connection, &cell.producer, state == "commit2");
            }
            _ => {
                cell.begin();
                match state {
                    "ongoing" => cell.sequence = 1,
                    "fenced" => {
                        let answer = init(cell.connection, &id);
                        assert_eq!(answer.error_code, CONCURRENT_TRANSACTIONS);
                    }
                    _ => {
                        end(cell.connection, &cell.producer, state == "commit1");
                        cell.sequence = 1;
                    }
                }
            }
        }
        if state != "new" {
            let known = settled(cell.connection, &id);
            (cell.producer.id, cell.producer.epoch) = (known.producer_id.0, known.producer_epoch);
        }
        cell
    }

    fn begin(&mut self) {
        add_partitions(self.connection, &self.producer, &[(self.topic, 0)]);
        assert_eq!(
            add_offsets(self.connection, ADD_OFFSETS, &self.producer, self.groups[0]),
            0
        );
        assert_eq!(self.produce(PRODUCE_ADDED, &self.producer.clone(), 0, 0), "ok");
    }

    fn begin_implicitly(&mut self) {
        assert_eq!(self.produce(PRODUCE_ADDING, &self.producer.clone(), 0, 0), "ok");
        let code = txn_commit(
            self.connection,
            COMMIT_ADDING,
            &self.producer,
            self.groups[0],
            self.topic,
            1,
        );
        assert_eq!(code, 0);
    }

    fn init(&mut self, expected: (i64, i16)) -> String {
        let expected = (self.producer.id + expected.0, self.producer.epoch + expected.1);
        let request = init_request(Some(&self.producer.transactional_id), 60_000, expected);
        let answer = self.connection.call(INIT, &request);
        self.relation(answer.error_code, answer.producer_id.0, answer.producer_epoch)
    }

    fn end(&mut self, version: i16, producer: &Producer, committed: bool) -> String {
        let answer = try_end(self.connection, version, producer, committed);
        if version < END_RAISING {
            return code(answer.error_code);
        }
        self.relation(answer.error_code, answer.producer_id.0, answer.producer_epoch)
    }

    fn produce(&mut self, version: i16, producer: &Producer, partition: i32, sequence: i32) -> String {
        let at = (self.topic, partition);
        let answer = produce_in(self.connection, version, producer, at, sequence, &["x"]);
        produced(&answer)
    }

    fn produce_without_transaction(&mut self) -> String {
        let batch = Batch::of(&["x"]).from_producer(self.producer.id, self.producer.epoch, self.sequence);
        let request = produce_request(self.topic, 0, batch.encode(), -1);
        let mut answer = self.connection.call(PRODUCE_ADDED, &request);
        produced(&answer.responses.remove(0).partition_responses.remove(0))
    }

    /// Id and epoch of an answer, as they relate to the present ones.
    fn relation(&self, error_code: i16, id: i64, epoch: i16) -> String {
        if error_code != 0 {
            return match (id, epoch) {
                (-1, -1) => error_code.to_string(),
                strange => format!("{error_code} with {strange:?}"),
            };
        }
        if id == self.producer.id {
            raised("E", epoch - self.producer.epoch)
        } else {
            format!("id:{epoch}")
        }
    }

    fn state(&mut self) -> String {
        let id = self.producer.transactional_id.clone();
        let known = settled(self.connection, &id);
        let name = match (known.error_code, known.transaction_state.as_str()) {
            (105, _) => return "-".to_owned(),
            (0, "CompleteCommit") => "Commit",
            (0, "CompleteAbort") => "Abort",
            (0, name) => name,
            (code, _) => return code.to_string(),
        };
        if known.producer_id.0 == self.producer.id {
            raised(name, known.producer_epoch - self.producer.epoch)
        } else {
            name.to_owned()
        }
    }

    /// Sends the request that a row names.
    fn ask(&mut self, row: &str) -> String {
        let words: Vec<&str> = row.split_whitespace().collect();
        let mut producer = self.producer.clone();
        for word in &words {
            match *word {
                "E-2" => producer = producer.moved(-2),
                "E-1" => producer = producer.moved(-1),
                "E+1" => producer = producer.moved(1),
                "stranger" => producer = producer.with_id(self.stranger + 1_000_000),
                _ => {}
            }
        }
        let version = words[1].strip_prefix('v').and_then(|number| number.parse().ok());
        let version = version.unwrap_or(INIT);
        let has = |word| words.contains(&word);
        let group = self.groups[usize::from(has("h"))];
        match words[0] {
            "Init" if has("plain") => {
                let answer = init(self.connection, &producer.transactional_id);
                self.relation(answer.error_code, answer.producer_id.0, answer.producer_epoch)
            }
            "Init" => self.init((producer.id - self.producer.id, producer.epoch - self.producer.epoch)),
            "AddPartitions" if has("p99") => {
                let asked = [(self.topic, 1), (self.topic, 99)];
                let codes = try_add_partitions(self.connection, ADD_PARTITIONS, &producer, &asked);
                codes
                    .iter()
                    .map(|(_, code)| code.to_string())
                    .collect::<Vec<_>>()
                    .join(",")
            }
            "AddPartitions" => {
                let asked = [(self.topic, i32::from(has("p1")))];
                code(try_add_partitions(self.connection, version, &producer, &asked)[0].1)
            }
            "AddOffsets" => code(add_offsets(self.connection, version, &producer, group)),
            "TxnOffsetCommit" => code(txn_commit(self.connection, version, &producer, group, self.topic, 1)),
            "EndTxn" => self.end(version, &producer, has("commit")),
            "Produce" if has("plain") => self.produce_without_transaction(),
            "Produce" => {
                let partition = i32::from(has("p1"));
                let goes_on = partition == 0 && producer == self.producer;
                let sequence = if goes_on { self.sequence } else { 0 };
                self.produce(version, &producer, partition, sequence)
            }
            other => panic!("no request {other}"),
        }
    }
}

fn raised(what: &str, by: i16) -> String {
    if by == 0 {
        what.to_owned()
    } else {
        format!("{what}{by:+}")
    }
}

fn code(error_code: i16) -> String {
    if error_code == 0 {
        "ok".to_owned()
    } else {
        error_code.to_string()
    }
}

fn produced(answer: &PartitionProduceResponse) -> String {
    assert_eq!(answer.error_code == 0, answer.base_offset >= 0, "{answer:?}");
    code(answer.error_code)
}

fn rows() -> Vec<(&'static str, Vec<&'static str>)> {
    let lines = TABLE.lines().filter(|line| !line.trim().is_empty());
    let split = |line: &'static str| {
        let mut cells = line.split('|').map(str::trim);
        let name = cells.next().expect("a line has a name");
        (name, cells.collect())
    };
    lines.skip(1).map(split).collect()
}

/// Two groups whose offsets lie in different partitions, as long as their number is a multiple of five.
fn groups() -> [String; 2] {
    let place = |group: &str| {
        let hash = group
            .chars()
            .fold(0_i32, |hash, letter| hash.wrapping_mul(31).wrapping_add(letter as i32));
        hash.checked_abs().unwrap_or_default() % 5
    };
    let first = unique("g");
    loop {
        let second = unique("h");
        if place(&first) != place(&second) {
            return [first, second];
        }
    }
}

/// All cells of one column.
fn column(connection: &mut Connection, topic: &str, state: &str) -> Vec<String> {
    let stranger = init_producer(connection).0;
    rows()
        .iter()
        .map(|(row, _)| {
            let groups = groups();
            for group in &groups {
                find_group_coordinator(connection, group);
            }
            let groups = [groups[0].as_str(), &groups[1]];
            let mut cell = Cell::new(connection, topic, groups, stranger, state);
            let answer = cell.ask(row);
            let after = cell.state();
            // Nothing stays open: readers of the internal topics would wait for it.
            let id = cell.producer.transactional_id.clone();
            if after.starts_with("Ongoing") {
                let open = describe(connection, &[&id]).remove(0);
                let producer = Producer {
                    transactional_id: id,
                    id: open.producer_id.0,
                    epoch: open.producer_epoch,
                };
                let code = try_end(connection, END_KEEPING, &producer, false).error_code;
                assert_eq!(code, 0, "{row} in {state}");
            }
            format!("{answer}/{after}")
        })
        .collect()
}

/// Apache Kafka checks the partitions of several transactions in one go, and then answers each with what the version of the
/// first one understands; other tests may run beside this one.
fn are_mixed_up(due: &str, answer: &str) -> bool {
    external_address().is_some() && due.replace("48/", "120/") == answer.replace("48/", "120/")
}

#[test]
fn every_request_in_every_state() {
    let mut bench = Bench::new();
    let topics = STATES.map(unique);
    for topic in &topics {
        create_topic(&mut bench, topic, 2, &[]);
    }
    let columns: Vec<_> = STATES
        .iter()
        .zip(&topics)
        .map(|(state, topic)| column(&mut bench, topic, state))
        .collect();
    let (mut faults, mut answered) = (Vec::new(), String::new());
    for (index, (row, due)) in rows().iter().enumerate() {
        write!(answered, "\n{row:32}").expect("a string");
        for (at, state) in STATES.iter().enumerate() {
            let answer = &columns[at][index];
            write!(answered, "| {answer:13}").expect("a string");
            let due = due.get(at).unwrap_or(&"nothing");
            if due != answer && !are_mixed_up(due, answer) {
                faults.push(format!("{row} in {state}: {due} is due, not {answer}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}\n{answered}");
}
