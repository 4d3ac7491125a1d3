//! Transactions that nobody ends: the coordinator aborts them (core's `TransactionStateManager.timedOutTransactions`).
//!
//! Nothing is timed: each test waits for what must come, as long as every wait may take.

use compat_tests::broker::{Broker, QUICK};
use compat_tests::requests::{
    fetch, find_coordinator as find_group_coordinator, new_topic, produce_values, unique, until,
};
use compat_tests::transactions::{
    ADD_OFFSETS, ADD_PARTITIONS, COMMIT_ADDING, END_KEEPING, END_RAISING, INIT, PRODUCE_ADDED, PRODUCE_ADDING,
    Producer, aborted, add_offsets, add_partitions, begin, delivered, describe, end, fetch_committed, find_coordinator,
    init_request, open, produce_in, settled, try_add_partitions, try_end, txn_commit,
};
use compat_tests::wire::Connection;

use crate::Bench;

fn bench() -> Bench {
    Bench::on(Broker::start(
        &[
            QUICK,
            &["transaction.abort.timed.out.transaction.cleanup.interval.ms=100"],
        ]
        .concat(),
    ))
}

/// A producer whose transactions may last `timeout_ms`.
fn hasty(connection: &mut Connection, timeout_ms: i32) -> Producer {
    let id = unique("hasty");
    find_coordinator(connection, &id);
    open(connection, &id, timeout_ms)
}

/// Waits until the coordinator has aborted a producer's transaction.
fn wait_for_abort(connection: &mut Connection, producer: &Producer) {
    until("the transaction is aborted", || {
        let known = settled(connection, &producer.transactional_id);
        (known.transaction_state.as_str() == "CompleteAbort").then_some(())
    });
}

#[test]
fn what_nobody_ends_is_aborted() {
    let mut bench = bench();
    let topic = new_topic(&mut bench);
    for version in [PRODUCE_ADDED, PRODUCE_ADDING] {
        let producer = hasty(&mut bench, 300);
        if version == PRODUCE_ADDED {
            add_partitions(&mut bench, &producer, &[(&topic, 0)]);
        }
        let answer = produce_in(&mut bench, version, &producer, (&topic, 0), 0, &["open"]);
        assert_eq!(answer.error_code, 0);
        let first = answer.base_offset;
        produce_values(&mut bench, &topic, &["behind"]);
        wait_for_abort(&mut bench, &producer);
        let data = fetch_committed(&mut bench, &topic, first);
        assert_eq!((data.last_stable_offset, data.high_watermark), (first + 3, first + 3));
        assert_eq!(aborted(&data), Some(vec![(producer.id, first)]));
        assert_eq!(delivered(&data, first), ["behind"]);
        let known = settled(&mut bench, &producer.transactional_id);
        assert_eq!(
            (known.producer_id.0, known.producer_epoch),
            (producer.id, producer.epoch + 1)
        );
    }
}

/// The producer that slept learns it in the words of each request's version, and cannot come back but by a new start.
#[test]
fn who_slept_too_long_is_fenced() {
    let mut bench = bench();
    let (topic, group) = (new_topic(&mut bench), unique("group"));
    find_group_coordinator(&mut bench, &group);
    let producer = hasty(&mut bench, 300);
    begin(&mut bench, &producer, (&topic, 0), 0, &["open"]);
    wait_for_abort(&mut bench, &producer);
    for version in 3..=12 {
        let answer = produce_in(&mut bench, version, &producer, (&topic, 0), 1, &["late"]);
        assert_eq!(answer.error_code, 47, "Produce {version}");
    }
    for version in 0..=3 {
        let codes = try_add_partitions(&mut bench, version, &producer, &[(&topic, 0)]);
        assert_eq!(
            codes,
            [(0, if version < 2 { 47 } else { 90 })],
            "AddPartitionsToTxn {version}"
        );
    }
    for version in 0..=4 {
        let due = if version < 2 { 47 } else { 90 };
        assert_eq!(
            add_offsets(&mut bench, version, &producer, &group),
            due,
            "AddOffsetsToTxn {version}"
        );
        assert_eq!(
            try_end(&mut bench, version, &producer, true).error_code,
            due,
            "EndTxn {version}"
        );
        assert_eq!(
            try_end(&mut bench, version, &producer, false).error_code,
            due,
            "EndTxn {version}"
        );
    }
    for version in 0..=5 {
        let code = txn_commit(&mut bench, version, &producer, &group, &topic, 1);
        assert_eq!(code, 47, "TxnOffsetCommit {version}");
    }
    assert_eq!(
        try_end(&mut bench, END_RAISING, &producer, true).error_code,
        48,
        "it was not committed"
    );
    let answer = try_end(&mut bench, END_RAISING, &producer, false);
    let told = (answer.error_code, answer.producer_id.0, answer.producer_epoch);
    assert_eq!(
        told,
        (0, producer.id, producer.epoch + 1),
        "it was aborted, as if it had asked for that"
    );
    // A client that asks with what it was gets what it may be now (KIP-360).
    let request = init_request(Some(&producer.transactional_id), 60_000, (producer.id, producer.epoch));
    let answer = bench.call(INIT, &request);
    let told = (answer.error_code, answer.producer_id.0, answer.producer_epoch);
    assert_eq!(told, (0, producer.id, producer.epoch + 1));
    let again = producer.moved(1);
    begin(&mut bench, &again, (&topic, 0), 0, &["again"]);
    end(&mut bench, &again, true);
    assert_eq!(delivered(&fetch_committed(&mut bench, &topic, 0), 0), ["again"]);
}

/// What counts is when a transaction began; who goes on writing gains no time.
#[test]
fn writing_on_does_not_help() {
    let mut bench = bench();
    let topic = new_topic(&mut bench);
    let producer = hasty(&mut bench, 500);
    begin(&mut bench, &producer, (&topic, 0), 0, &["x"]);
    let mut sequence = 1;
    until("writing on is refused", || {
        let answer = produce_in(&mut bench, PRODUCE_ADDED, &producer, (&topic, 0), sequence, &["x"]);
        sequence += 1;
        (answer.error_code != 0).then(|| assert_eq!(answer.error_code, 47))
    });
    wait_for_abort(&mut bench, &producer);
    let data = fetch_committed(&mut bench, &topic, 0);
    assert_eq!(
        (delivered(&data, 0).len(), data.last_stable_offset),
        (0, data.high_watermark)
    );
}

#[test]
fn offsets_of_the_aborted_are_dropped() {
    let mut bench = bench();
    let (topic, group) = (new_topic(&mut bench), unique("group"));
    find_group_coordinator(&mut bench, &group);
    let producer = hasty(&mut bench, 300);
    assert_eq!(txn_commit(&mut bench, COMMIT_ADDING, &producer, &group, &topic, 9), 0);
    wait_for_abort(&mut bench, &producer);
    assert_eq!(
        compat_tests::requests::committed(&mut bench, &group, &topic).committed_offset,
        -1
    );
    let later = producer.moved(1);
    assert_eq!(add_offsets(&mut bench, ADD_OFFSETS, &later, &group), 0);
    assert_eq!(try_end(&mut bench, END_KEEPING, &later, false).error_code, 0);
}

/// The timeout is that of the newest producer, and only transactions have one.
#[test]
fn only_open_transactions_time_out() {
    let mut bench = bench();
    let topic = new_topic(&mut bench);
    let idle = hasty(&mut bench, 100);
    let before = hasty(&mut bench, 100);
    let patient = open(&mut bench, &before.transactional_id, 600_000);
    begin(&mut bench, &patient, (&topic, 0), 0, &["patient"]);
    let marked = hasty(&mut bench, 100);
    assert_eq!(
        try_add_partitions(&mut bench, ADD_PARTITIONS, &marked, &[]),
        [],
        "open, and nothing in it"
    );
    wait_for_abort(&mut bench, &marked);
    let states: Vec<_> = describe(&mut bench, &[&idle.transactional_id, &patient.transactional_id])
        .iter()
        .map(|known| (known.transaction_state.to_string(), known.producer_epoch))
        .collect();
    assert_eq!(
        states,
        [("Empty".to_owned(), idle.epoch), ("Ongoing".to_owned(), patient.epoch)]
    );
    end(&mut bench, &patient, true);
    assert_eq!(fetch(&mut bench, &topic, 0, 0).last_stable_offset, 2);
}

/// Transactions that the broker finds open when it starts time out as well.
#[test]
fn what_was_open_before_a_restart_is_aborted() {
    if compat_tests::broker::external_address().is_some() {
        return;
    }
    let mut bench = bench();
    let topic = new_topic(&mut bench);
    let producer = hasty(&mut bench, 1_000);
    begin(&mut bench, &producer, (&topic, 0), 0, &["open"]);
    bench.broker.kill();
    bench.broker.restart();
    bench.connection = bench.broker.connect();
    bench.bystander = bench.broker.connect();
    wait_for_abort(&mut bench, &producer);
    let data = fetch_committed(&mut bench, &topic, 0);
    assert_eq!((data.last_stable_offset, delivered(&data, 0)), (2, Vec::new()));
}
