//! Bad input to the requests that begin transactions: empty, null, negative, endless, twice, unknown (core's `KafkaApis` and
//! `TransactionCoordinator`, clients' `AddPartitionsToTxnRequest`); `txn_input_data` has the others.

use kafka_protocol::messages::add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use compat_tests::broker::external_address;
use compat_tests::requests::{create_topic, new_topic, topic_name, unique};
use compat_tests::transactions::{
    ADD_PARTITIONS, INIT, Producer, add_partitions, add_partitions_entry, add_partitions_request, begin, describe, end,
    find_coordinator, init_request, new_producer, open, settled, try_add_partitions,
};
use compat_tests::wire::{Connection, encode_request};

use crate::Bench;

/// As `transaction.max.timeout.ms` is when nobody says otherwise.
const MAX_TIMEOUT_MS: i32 = 900_000;

fn init_with(connection: &mut Connection, id: Option<&str>, timeout_ms: i32, expected: (i64, i16)) -> (i16, i64, i16) {
    let answer = connection.call(INIT, &init_request(id, timeout_ms, expected));
    (answer.error_code, answer.producer_id.0, answer.producer_epoch)
}

#[test]
fn what_init_producer_id_refuses() {
    let mut bench = Bench::new();
    let producer = new_producer(&mut bench);
    let id = Some(producer.transactional_id.as_str());
    let mut refused = |what: &str, id, timeout_ms, expected, due| {
        let told = init_with(&mut bench, id, timeout_ms, expected);
        assert_eq!(told, (due, -1, -1), "{what}");
    };
    let none = (-1, -1);
    refused("an empty id", Some(""), 60_000, none, 42);
    refused("no time at all", id, 0, none, 50);
    refused("a negative timeout", id, -1, none, 50);
    refused("the most negative timeout", id, i32::MIN, none, 50);
    refused("more time than is allowed", id, MAX_TIMEOUT_MS + 1, none, 50);
    refused("endless time", id, i32::MAX, none, 50);
    refused("an epoch without an id", id, 60_000, (-1, 3), 42);
    refused("an id without an epoch", id, 60_000, (producer.id, -1), 42);
    refused(
        "the same without a transactional id",
        None,
        60_000,
        (producer.id, -1),
        42,
    );
    refused("an empty id and a bad timeout", Some(""), -1, none, 42);
    refused(
        "a bad timeout and the wrong id",
        id,
        -1,
        (producer.id + 1_000_000, 0),
        50,
    );
    refused("another negative id", id, 60_000, (-2, 0), 90);
    refused("another negative epoch", id, 60_000, (producer.id, -2), 90);
    let known = describe(&mut bench, &[&producer.transactional_id]).remove(0);
    assert_eq!(
        (known.producer_id.0, known.producer_epoch),
        (producer.id, producer.epoch)
    );
    assert_eq!(known.transaction_timeout_ms, 60_000);
    for (index, timeout_ms) in (1..).zip([1, MAX_TIMEOUT_MS]) {
        let told = init_with(&mut bench, id, timeout_ms, none);
        assert_eq!(told, (0, producer.id, producer.epoch + index), "{timeout_ms}");
        let known = describe(&mut bench, &[&producer.transactional_id]).remove(0);
        assert_eq!(known.transaction_timeout_ms, timeout_ms, "the newest timeout holds");
    }
}

#[test]
fn without_a_transactional_id_nothing_is_checked() {
    let mut bench = Bench::new();
    let producer = new_producer(&mut bench);
    let mut seen = vec![producer.id];
    for (timeout_ms, expected) in [
        (-1, (-1, -1)),
        (i32::MAX, (-1, -1)),
        (60_000, (producer.id, 0)),
        (0, (12_345, 7)),
    ] {
        let (code, id, epoch) = init_with(&mut bench, None, timeout_ms, expected);
        assert_eq!((code, epoch), (0, 0), "{timeout_ms} {expected:?}");
        assert!(!seen.contains(&id), "{id} was given twice");
        seen.push(id);
    }
}

/// A whole transaction under a name; what comes back of it.
fn round(connection: &mut Connection, name: &str) {
    let topic = new_topic(connection);
    find_coordinator(connection, name);
    let producer = open(connection, name, 60_000);
    begin(connection, &producer, (&topic, 0), 0, &["x"]);
    end(connection, &producer, true);
    let known = settled(connection, name);
    assert_eq!(known.transactional_id.0.as_str(), name);
    assert_eq!(known.transaction_state.as_str(), "CompleteCommit");
}

#[test]
fn any_name_is_a_transactional_id() {
    let mut bench = Bench::new();
    let unlike = unique("ångström \u{1F980} /../\0 \n");
    round(&mut bench, &unlike);
    let longest = format!("{:x<32767}", unique("long"));
    round(&mut bench, &longest);
}

/// The same frames with a longer name: no string of the protocol is longer than 32767 bytes.
#[test]
fn a_longer_name_ends_the_connection() {
    let mut bench = Bench::new();
    let name = "x".repeat(32_768);
    let mut connection = bench.connect();
    connection.send_bytes(&encode_request(1, INIT, &init_request(Some(&name), 60_000, (-1, -1))));
    connection.expect_close("a name of 32768 bytes");
    let producer = new_producer(&mut bench);
    let add = add_partitions_request(&producer.named(&name), &[]);
    let mut connection = bench.connect();
    connection.send_bytes(&encode_request(1, ADD_PARTITIONS, &add));
    connection.expect_close("a name of 32768 bytes");
}

#[test]
fn what_add_partitions_refuses() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 2, &[]);
    let producer = new_producer(&mut bench);
    let stranger = unique("stranger");
    let mut codes = |producer: &Producer, partitions: &[(&str, i32)]| {
        try_add_partitions(&mut bench, ADD_PARTITIONS, producer, partitions)
    };
    let nameless = producer.named("");
    assert_eq!(codes(&nameless, &[(&topic, 0), (&topic, 1)]), [(0, 42), (1, 42)]);
    assert_eq!(
        codes(&nameless, &[(&topic, 0), (&topic, 9)]),
        [(0, 55), (9, 3)],
        "partitions are looked at first"
    );
    assert_eq!(
        codes(&producer.named(&stranger), &[(&topic, 0)]),
        [(0, 49)],
        "a name that was never initialised"
    );
    assert_eq!(codes(&producer.with_id(-1), &[(&topic, 0)]), [(0, 49)]);
    let negative = Producer {
        epoch: -1,
        ..producer.clone()
    };
    assert_eq!(codes(&negative, &[(&topic, 0)]), [(0, 90)]);
    for unknown in ["", "a/b", "..", &stranger, &"x".repeat(300)] {
        assert_eq!(
            codes(&producer, &[(unknown, 0), (&topic, 1)]),
            [(0, 3), (1, 55)],
            "{unknown}"
        );
    }
    for unknown in [-1, 2, i32::MAX, i32::MIN] {
        let mut due = [(unknown, 3), (0, 55)];
        due.sort_unstable();
        assert_eq!(codes(&producer, &[(&topic, unknown), (&topic, 0)]), due, "{unknown}");
    }
    let state = describe(&mut bench, &[&producer.transactional_id]).remove(0);
    assert_eq!(
        (state.transaction_state.as_str(), state.topics.len()),
        ("Empty", 0),
        "nothing was added"
    );
}

#[test]
fn partitions_named_twice_are_added_once() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 2, &[]);
    let producer = new_producer(&mut bench);
    let twice = [(topic.as_str(), 0), (&topic, 1), (&topic, 0)];
    // Apache Kafka answers as often as it was asked when all partitions have the same code, and else once.
    let mut asked = |partitions: &[(&str, i32)]| {
        let mut codes = try_add_partitions(&mut bench, ADD_PARTITIONS, &producer, partitions);
        codes.dedup();
        codes
    };
    assert_eq!(asked(&twice), [(0, 0), (1, 0)]);
    // Apache Kafka takes ten seconds for two thousand.
    let times = if external_address().is_some() { 100 } else { 20_000 };
    assert_eq!(asked(&vec![(topic.as_str(), 1); times]), [(1, 0)]);
    assert_eq!(
        asked(&[(&topic, 9), (&topic, 1), (&topic, 9), (&topic, 1)]),
        [(1, 55), (9, 3)]
    );
    let state = describe(&mut bench, &[&producer.transactional_id]).remove(0);
    let mut partitions = state.topics[0].partitions.clone();
    partitions.sort_unstable();
    assert_eq!((state.topics.len(), partitions), (1, vec![0, 1]));
    // The same topic in two entries
    let mut request = add_partitions_request(&producer, &[(&topic, 0)]);
    let second = request.v3_and_below_topics[0].clone().with_partitions(vec![7]);
    request.v3_and_below_topics.push(second);
    let answer = bench.call(ADD_PARTITIONS, &request);
    let mut results: Vec<_> = answer
        .results_by_topic_v3_and_below
        .iter()
        .flat_map(|topic| &topic.results_by_partition)
        .map(|result| (result.partition_index, result.partition_error_code))
        .collect();
    results.sort_unstable();
    assert_eq!(results, [(0, 55), (7, 3)]);
    end(&mut bench, &producer, false);
}

#[test]
fn thousands_of_partitions_that_are_not_there() {
    let mut bench = Bench::new();
    let producer = new_producer(&mut bench);
    let stranger = unique("stranger");
    let partitions: Vec<_> = (0..30_000).map(|partition| (stranger.as_str(), partition)).collect();
    let codes = try_add_partitions(&mut bench, ADD_PARTITIONS, &producer, &partitions);
    assert_eq!(codes.len(), 30_000);
    assert!(codes.iter().all(|&(_, code)| code == 3));
    let topics = (0..5_000).map(|number| {
        AddPartitionsToTxnTopic::default()
            .with_name(topic_name(&format!("{stranger}-{number}")))
            .with_partitions(vec![0])
    });
    let mut request = add_partitions_request(&producer, &[]);
    request.v3_and_below_topics = topics.collect();
    let answer = bench.call(ADD_PARTITIONS, &request);
    assert_eq!(answer.results_by_topic_v3_and_below.len(), 5_000);
}

/// A transaction may be open without any partition in it.
#[test]
fn an_empty_list_of_partitions_opens_a_transaction() {
    let mut bench = Bench::new();
    let producer = new_producer(&mut bench);
    assert_eq!(try_add_partitions(&mut bench, ADD_PARTITIONS, &producer, &[]), []);
    let state = describe(&mut bench, &[&producer.transactional_id]).remove(0);
    assert_eq!((state.transaction_state.as_str(), state.topics.len()), ("Ongoing", 0));
    end(&mut bench, &producer, true);
    let state = describe(&mut bench, &[&producer.transactional_id]).remove(0);
    assert_eq!(state.transaction_state.as_str(), "CompleteCommit");
}

/// Transactional id, partition and code of every answer, sorted.
fn batched(answer: &AddPartitionsToTxnResponse) -> Vec<(String, i32, i16)> {
    assert_eq!(answer.error_code, 0);
    let mut codes = Vec::new();
    for transaction in &answer.results_by_transaction {
        for result in transaction
            .topic_results
            .iter()
            .flat_map(|topic| &topic.results_by_partition)
        {
            let name = transaction.transactional_id.0.to_string();
            codes.push((name, result.partition_index, result.partition_error_code));
        }
    }
    codes.sort_unstable();
    codes
}

fn batch(transactions: Vec<AddPartitionsToTxnTransaction>) -> AddPartitionsToTxnRequest {
    AddPartitionsToTxnRequest::default().with_transactions(transactions)
}

/// What brokers send each other, several transactions at a time. Each is answered for itself.
#[test]
fn transactions_in_one_request_do_not_touch_each_other() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 2, &[]);
    let topic = topic.as_str();
    for version in [4, 5] {
        let producers: Vec<_> = (0..4).map(|_| new_producer(&mut bench)).collect();
        let [good, fenced, foreign, half] = &producers[..] else {
            panic!("four")
        };
        open(&mut bench, &fenced.transactional_id, 60_000);
        let request = batch(vec![
            add_partitions_entry(good, false, &[(topic, 0)]),
            add_partitions_entry(fenced, false, &[(topic, 0)]),
            add_partitions_entry(&foreign.with_id(good.id), false, &[(topic, 0)]),
            add_partitions_entry(half, false, &[(topic, 0), (topic, 5)]),
            add_partitions_entry(&good.named(""), false, &[(topic, 0)]),
        ]);
        let mut due = vec![
            (good.transactional_id.clone(), 0, 0),
            (fenced.transactional_id.clone(), 0, 90),
            (foreign.transactional_id.clone(), 0, 49),
            (half.transactional_id.clone(), 0, 55),
            (half.transactional_id.clone(), 5, 3),
            (String::new(), 0, 42),
        ];
        due.sort_unstable();
        assert_eq!(batched(&bench.call(version, &request)), due, "version {version}");
        let states: Vec<_> = producers
            .iter()
            .map(|producer| {
                settled(&mut bench, &producer.transactional_id)
                    .transaction_state
                    .to_string()
            })
            .collect();
        assert_eq!(states, ["Ongoing", "Empty", "Empty", "Empty"]);
        end(&mut bench, good, true);
    }
}

#[test]
fn verifying_adds_nothing() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 3, &[]);
    let topic = topic.as_str();
    for version in [4, 5] {
        let producer = new_producer(&mut bench);
        let mut verify = |producer: &Producer, partitions: &[(&str, i32)]| {
            let request = batch(vec![add_partitions_entry(producer, true, partitions)]);
            let codes = batched(&bench.call(version, &request));
            codes
                .into_iter()
                .map(|(_, partition, code)| (partition, code))
                .collect::<Vec<_>>()
        };
        assert_eq!(verify(&producer, &[(topic, 0)]), [(0, 120)], "no transaction is open");
        assert_eq!(
            verify(&producer.with_id(producer.id + 1_000_000), &[(topic, 0)]),
            [(0, 49)]
        );
        assert_eq!(verify(&producer.moved(1), &[(topic, 0)]), [(0, 90)]);
        assert_eq!(verify(&producer.named(&unique("stranger")), &[(topic, 0)]), [(0, 49)]);
        assert_eq!(verify(&producer.named(""), &[(topic, 0)]), [(0, 42)]);
        add_partitions(&mut bench, &producer, &[(topic, 0), (topic, 1)]);
        let mut verify = |partitions: &[(&str, i32)]| {
            let request = batch(vec![add_partitions_entry(&producer, true, partitions)]);
            let codes = batched(&bench.call(version, &request));
            codes
                .into_iter()
                .map(|(_, partition, code)| (partition, code))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            verify(&[(topic, 0), (topic, 1), (topic, 2)]),
            [(0, 0), (1, 0), (2, 120)]
        );
        assert_eq!(verify(&[(topic, 0), (topic, 3)]), [(0, 55), (3, 3)]);
        let state = describe(&mut bench, &[&producer.transactional_id]).remove(0);
        assert_eq!(state.topics[0].partitions.len(), 2, "partition 2 was not added");
        end(&mut bench, &producer, true);
    }
}

#[test]
fn a_request_without_transactions_is_answered() {
    let mut bench = Bench::new();
    for version in [4, 5] {
        let mut connection = bench.connect();
        let producer = new_producer(&mut bench);
        // Apache Kafka never answers an empty list; what is sent behind it must be.
        let entry = add_partitions_entry(&producer, true, &[]);
        let answer = connection.call(version, &batch(vec![entry]));
        assert_eq!((answer.error_code, answer.results_by_transaction.len()), (0, 1));
        assert_eq!(answer.results_by_transaction[0].topic_results, []);
    }
}
