//! Codes that depend on the version of a request, old and new clients in one transaction, and what is answered while a
//! transaction ends (core's `KafkaApis`, `TransactionCoordinator` and `AddPartitionsToTxnManager`, KIP-588, KIP-890).

use kafka_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use kafka_protocol::protocol::Request;

use compat_tests::requests::{create_topic, fetch, find_coordinator as find_group_coordinator, new_topic, unique};
use compat_tests::transactions::{
    ADD_OFFSETS, ADD_PARTITIONS, COMMIT_ADDING, CONCURRENT_TRANSACTIONS, END_KEEPING, END_RAISING, INIT, PRODUCE_ADDED,
    PRODUCE_ADDING, Producer, add_offsets, add_offsets_request, add_partitions, add_partitions_request, begin,
    delivered, describe, end, end_raising, end_request, fetch_committed, init, init_request, new_producer, open,
    produce_in, produce_in_request, settled, transactional_id, try_add_partitions, try_end, txn_commit,
};
use compat_tests::wire::Connection;

use crate::Bench;

/// A producer, and the same one as it was before another instance took its id.
fn fenced(connection: &mut Connection) -> (Producer, Producer) {
    let old = new_producer(connection);
    let new = open(connection, &old.transactional_id, 60_000);
    assert_eq!((new.id, new.epoch), (old.id, old.epoch + 1));
    (old, new)
}

#[test]
fn fenced_producers_are_told_in_the_words_of_their_version() {
    let mut bench = Bench::new();
    let (topic, group) = (new_topic(&mut bench), unique("group"));
    find_group_coordinator(&mut bench, &group);
    let (old, new) = fenced(&mut bench);
    for version in 3..=5 {
        let request = init_request(Some(&old.transactional_id), 60_000, (old.id, old.epoch));
        let answer = bench.call(version, &request);
        let due = if version < 4 { 47 } else { 90 };
        let told = (answer.error_code, answer.producer_id.0, answer.producer_epoch);
        assert_eq!(told, (due, -1, -1), "InitProducerId {version}");
    }
    for version in 0..=3 {
        let codes = try_add_partitions(&mut bench, version, &old, &[(&topic, 0)]);
        let due = if version < 2 { 47 } else { 90 };
        assert_eq!(codes, [(0, due)], "AddPartitionsToTxn {version}");
    }
    for version in 0..=4 {
        let due = if version < 2 { 47 } else { 90 };
        let code = add_offsets(&mut bench, version, &old, &group);
        assert_eq!(code, due, "AddOffsetsToTxn {version}");
    }
    for (version, committed) in (0..=5).flat_map(|version| [(version, true), (version, false)]) {
        let answer = try_end(&mut bench, version, &old, committed);
        let told = (answer.error_code, answer.producer_id.0, answer.producer_epoch);
        let due = if version < 2 { 47 } else { 90 };
        assert_eq!(told, (due, -1, -1), "EndTxn {version}");
    }
    begin(&mut bench, &new, (&topic, 0), 0, &["new"]);
    assert_eq!(add_offsets(&mut bench, ADD_OFFSETS, &new, &group), 0);
    for version in 3..=12 {
        let answer = produce_in(&mut bench, version, &old, (&topic, 0), 0, &["old"]);
        assert_eq!((answer.error_code, answer.base_offset), (47, -1), "Produce {version}");
    }
    for version in 0..=5 {
        let code = txn_commit(&mut bench, version, &old, &group, &topic, 7);
        assert_eq!(code, 47, "TxnOffsetCommit {version}");
    }
    end(&mut bench, &new, true);
    assert_eq!(
        fetch(&mut bench, &topic, 0, 0).high_watermark,
        2,
        "one record and the marker"
    );
}

#[test]
fn ids_of_others_are_refused_in_every_version() {
    let mut bench = Bench::new();
    let (topic, group) = (new_topic(&mut bench), unique("group"));
    find_group_coordinator(&mut bench, &group);
    let (mine, other) = (new_producer(&mut bench), new_producer(&mut bench));
    let posing = other.named(&mine.transactional_id);
    for version in 0..=3 {
        let codes = try_add_partitions(&mut bench, version, &posing, &[(&topic, 0)]);
        assert_eq!(codes, [(0, 49)], "AddPartitionsToTxn {version}");
    }
    for version in 0..=4 {
        assert_eq!(
            add_offsets(&mut bench, version, &posing, &group),
            49,
            "AddOffsetsToTxn {version}"
        );
    }
    for version in 0..=5 {
        assert_eq!(
            try_end(&mut bench, version, &posing, true).error_code,
            49,
            "EndTxn {version}"
        );
        let code = txn_commit(&mut bench, version, &posing, &group, &topic, 7);
        assert_eq!(code, 49, "TxnOffsetCommit {version}");
    }
    for version in 3..=12 {
        let answer = produce_in(&mut bench, version, &posing, (&topic, 0), 0, &["posing"]);
        assert_eq!(answer.error_code, 49, "Produce {version}");
    }
    assert_eq!(fetch(&mut bench, &topic, 0, 0).high_watermark, 0);
}

#[test]
fn what_was_not_added_is_refused_in_the_words_of_the_version() {
    let mut bench = Bench::new();
    let (topic, group) = (unique("topic"), unique("group"));
    create_topic(&mut bench, &topic, 2, &[]);
    find_group_coordinator(&mut bench, &group);
    let producer = new_producer(&mut bench);
    add_partitions(&mut bench, &producer, &[(&topic, 0)]);
    for version in 3..=11 {
        let due = if version < 11 { 48 } else { 120 };
        let answer = produce_in(&mut bench, version, &producer, (&topic, 1), 0, &["x"]);
        assert_eq!((answer.error_code, answer.base_offset), (due, -1), "Produce {version}");
    }
    for version in 0..=4 {
        let due = if version < 4 { 48 } else { 120 };
        let code = txn_commit(&mut bench, version, &producer, &group, &topic, 7);
        assert_eq!(code, due, "TxnOffsetCommit {version}");
    }
    let data = fetch(&mut bench, &topic, 1, 0);
    assert_eq!(
        (data.high_watermark, data.last_stable_offset),
        (0, 0),
        "nothing was written"
    );
    let answer = produce_in(&mut bench, PRODUCE_ADDING, &producer, (&topic, 1), 0, &["x"]);
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &producer, &group, &topic, 7), 0);
    end(&mut bench, &producer, true);
}

/// Every version of the data path within a transaction that is open: no version may be told anything but success.
#[test]
fn what_was_added_is_taken_from_every_version() {
    let mut bench = Bench::new();
    let (topic, group) = (new_topic(&mut bench), unique("group"));
    find_group_coordinator(&mut bench, &group);
    for version in 0..=3_i16 {
        let producer = new_producer(&mut bench);
        let codes = try_add_partitions(&mut bench, version, &producer, &[(&topic, 0)]);
        assert_eq!(codes, [(0, 0)], "AddPartitionsToTxn {version}");
        assert_eq!(
            add_offsets(&mut bench, version, &producer, &group),
            0,
            "AddOffsetsToTxn {version}"
        );
        for (sequence, version) in (3..=12).enumerate() {
            let sequence = i32::try_from(sequence).expect("a few");
            let answer = produce_in(&mut bench, version, &producer, (&topic, 0), sequence, &["x"]);
            assert_eq!(answer.error_code, 0, "Produce {version}");
        }
        for version in 0..=5 {
            let code = txn_commit(&mut bench, version, &producer, &group, &topic, 7);
            assert_eq!(code, 0, "TxnOffsetCommit {version}");
        }
        assert_eq!(
            try_end(&mut bench, version, &producer, true).error_code,
            0,
            "EndTxn {version}"
        );
        assert_eq!(
            settled(&mut bench, &producer.transactional_id)
                .transaction_state
                .as_str(),
            "CompleteCommit"
        );
    }
}

#[test]
fn old_and_new_ways_mix_in_one_transaction() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 2, &[]);
    let producer = new_producer(&mut bench);
    begin(&mut bench, &producer, (&topic, 0), 0, &["a"]);
    let answer = produce_in(&mut bench, PRODUCE_ADDING, &producer, (&topic, 1), 0, &["b"]);
    assert_eq!(answer.error_code, 0, "the new way goes on with what the old way began");
    let answer = produce_in(&mut bench, PRODUCE_ADDED, &producer, (&topic, 1), 1, &["c"]);
    assert_eq!(answer.error_code, 0, "and the other way round");
    let raised = end_raising(&mut bench, &producer, true);
    assert_eq!(raised, producer.moved(1));
    let answer = produce_in(&mut bench, PRODUCE_ADDING, &raised, (&topic, 0), 0, &["d"]);
    assert_eq!(answer.error_code, 0);
    end(&mut bench, &raised, true);
    begin(&mut bench, &raised, (&topic, 0), 1, &["e"]);
    let again = end_raising(&mut bench, &raised, false);
    assert_eq!(again, raised.moved(1));
    begin(&mut bench, &again, (&topic, 0), 0, &["f"]);
    end(&mut bench, &again, true);
    let data = fetch_committed(&mut bench, &topic, 0);
    assert_eq!(delivered(&data, 0), ["a", "d", "f"]);
}

/// An answer that was lost is asked for again: the same result is told again, without a second end.
#[test]
fn ends_may_be_repeated() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let mut producer = new_producer(&mut bench);
    for committed in [true, false] {
        begin(&mut bench, &producer, (&topic, 0), 0, &["x"]);
        let raised = end_raising(&mut bench, &producer, committed);
        let until = fetch(&mut bench, &topic, 0, 0).high_watermark;
        for _ in 0..3 {
            assert_eq!(end_raising(&mut bench, &producer, committed), raised, "the same answer");
        }
        assert_eq!(
            fetch(&mut bench, &topic, 0, 0).high_watermark,
            until,
            "no marker was written again"
        );
        assert_eq!(try_end(&mut bench, END_RAISING, &producer, !committed).error_code, 48);
        producer = raised;
        begin(&mut bench, &producer, (&topic, 0), 0, &["y"]);
        end(&mut bench, &producer, committed);
        end(&mut bench, &producer, committed);
        assert_eq!(try_end(&mut bench, END_KEEPING, &producer, !committed).error_code, 48);
        producer = end_raising(&mut bench, &producer, false);
    }
}

/// A batch that is sent again is written once; after the end of its transaction it is no part of any.
#[test]
fn batches_may_be_repeated_while_their_transaction_is_open() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producer = new_producer(&mut bench);
    let at = (topic.as_str(), 0);
    assert_eq!(begin(&mut bench, &producer, at, 0, &["a"]), 0);
    for version in [PRODUCE_ADDED, PRODUCE_ADDING] {
        let answer = produce_in(&mut bench, version, &producer, at, 0, &["a"]);
        assert_eq!((answer.error_code, answer.base_offset), (0, 0), "version {version}");
    }
    let gap = produce_in(&mut bench, PRODUCE_ADDED, &producer, at, 2, &["c"]);
    assert_eq!(gap.error_code, 45);
    end(&mut bench, &producer, true);
    let late = produce_in(&mut bench, PRODUCE_ADDED, &producer, at, 0, &["a"]);
    assert_eq!((late.error_code, late.base_offset), (120, -1));
    assert_eq!(fetch(&mut bench, &topic, 0, 0).high_watermark, 2);
}

/// A producer of the new way whose id the partition does not know begins at 0; one of the old way anywhere.
#[test]
fn where_sequences_may_begin() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 2, &[]);
    let producer = new_producer(&mut bench);
    let new_way = produce_in(&mut bench, PRODUCE_ADDING, &producer, (&topic, 0), 5, &["x"]);
    assert_eq!((new_way.error_code, new_way.base_offset), (45, -1));
    add_partitions(&mut bench, &producer, &[(&topic, 1)]);
    let old_way = produce_in(&mut bench, PRODUCE_ADDED, &producer, (&topic, 1), 5, &["x"]);
    assert_eq!((old_way.error_code, old_way.base_offset), (0, 0));
    end(&mut bench, &producer, true);
}

/// What is sent while a transaction of many partitions ends. The coordinator is asked right before and right after each: only
/// what lies between two answers of `Prepare` is judged.
struct Ending<'a> {
    connection: &'a mut Connection,
    topic: &'a str,
}

const PARTITIONS: i32 = 60;

impl Ending<'_> {
    /// Begins a transaction and ends it with `version`, and asks `request` of what it was before; `code` reads the answer.
    fn ask<Q: Request>(
        &mut self,
        (version, committed): (i16, bool),
        asked: i16,
        due: &[i16],
        request: impl Fn(&Producer) -> Q,
        code: impl Fn(Q::Response) -> i16,
    ) {
        for _ in 0..3 {
            let producer = new_producer(self.connection);
            let partitions: Vec<_> = (0..PARTITIONS).map(|partition| (self.topic, partition)).collect();
            add_partitions(self.connection, &producer, &partitions);
            let id = producer.transactional_id.as_str();
            let question = DescribeTransactionsRequest::default().with_transactional_ids(vec![transactional_id(id)]);
            let end = self.connection.send(version, &end_request(&producer, committed));
            let before = self.connection.send(0, &question);
            let sent = self.connection.send(asked, &request(&producer));
            let after = self.connection.send(0, &question);
            let ended = self
                .connection
                .receive::<kafka_protocol::messages::EndTxnRequest>(version, end);
            assert_eq!(ended.error_code, 0);
            let before = self.connection.receive::<DescribeTransactionsRequest>(0, before);
            let answer = code(self.connection.receive::<Q>(asked, sent));
            let after = self.connection.receive::<DescribeTransactionsRequest>(0, after);
            let ends = |answer: &DescribeTransactionsResponse| {
                answer.transaction_states[0].transaction_state.starts_with("Prepare")
            };
            if ends(&before) && ends(&after) {
                let state = before.transaction_states[0].transaction_state.as_str();
                assert_eq!(state, if committed { "PrepareCommit" } else { "PrepareAbort" });
                let what = format!("API key {} version {asked} behind EndTxn {version}", Q::KEY);
                assert!(due.contains(&answer), "{what}: {answer}, not {due:?}");
            }
            settled(self.connection, id);
        }
    }
}

#[test]
fn while_a_transaction_ends() {
    let mut bench = Bench::new();
    let (topic, other) = (unique("many"), new_topic(&mut bench));
    create_topic(&mut bench, &topic, PARTITIONS, &[]);
    let mut ending = Ending {
        connection: &mut bench,
        topic: &topic,
    };
    let wait = &[CONCURRENT_TRANSACTIONS][..];
    for (committed, version) in [
        (true, END_KEEPING),
        (false, END_KEEPING),
        (true, END_RAISING),
        (false, END_RAISING),
    ] {
        let by = i16::from(version == END_RAISING);
        let ended = (version, committed);
        let init = |producer: &Producer| init_request(Some(&producer.transactional_id), 60_000, (-1, -1));
        ending.ask(ended, INIT, wait, init, |answer| answer.error_code);
        let add = |producer: &Producer| add_partitions_request(&producer.moved(by), &[(&other, 0)]);
        ending.ask(ended, ADD_PARTITIONS, wait, add, |answer| {
            answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        });
        let offsets = |producer: &Producer| add_offsets_request(&producer.moved(by), "group");
        ending.ask(ended, ADD_OFFSETS, wait, offsets, |answer| answer.error_code);
        let repeat = |producer: &Producer| end_request(producer, committed);
        ending.ask(ended, version, wait, repeat, |answer| answer.error_code);
        let otherwise = |producer: &Producer| end_request(producer, !committed);
        // Who asks while the coordinator writes that all is done is told to wait.
        ending.ask(ended, version, &[48, CONCURRENT_TRANSACTIONS], otherwise, |answer| {
            answer.error_code
        });
        let produce = |producer: &Producer| produce_in_request(&producer.moved(by), (&other, 0), 0, &["x"]);
        ending.ask(ended, PRODUCE_ADDED, &[19], produce, |answer| {
            answer.responses[0].partition_responses[0].error_code
        });
    }
}

/// A second instance ends what the first one left open, and the first one learns of it.
#[test]
fn a_new_instance_aborts_the_transaction_of_the_old_one() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let old = new_producer(&mut bench);
    begin(&mut bench, &old, (&topic, 0), 0, &["old"]);
    let answer = init(&mut bench, &old.transactional_id);
    let told = (answer.error_code, answer.producer_id.0, answer.producer_epoch);
    assert_eq!(told, (CONCURRENT_TRANSACTIONS, -1, -1));
    let new = open(&mut bench, &old.transactional_id, 60_000);
    assert_eq!(
        (new.id, new.epoch),
        (old.id, old.epoch + 2),
        "raised for the abort and for the new instance"
    );
    assert_eq!(
        produce_in(&mut bench, PRODUCE_ADDED, &old, (&topic, 0), 1, &["late"]).error_code,
        47
    );
    assert_eq!(try_end(&mut bench, END_KEEPING, &old, true).error_code, 90);
    assert_eq!(try_end(&mut bench, END_RAISING, &old, true).error_code, 90);
    begin(&mut bench, &new, (&topic, 0), 0, &["new"]);
    end(&mut bench, &new, true);
    let data = fetch_committed(&mut bench, &topic, 0);
    assert_eq!(delivered(&data, 0), ["new"]);
    let known = describe(&mut bench, &[&old.transactional_id]).remove(0);
    assert_eq!((known.producer_id.0, known.producer_epoch), (new.id, new.epoch));
}
