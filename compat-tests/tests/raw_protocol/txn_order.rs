//! Requests of one connection that are sent at once, the first of which has to be verified with the coordinator of its
//! transaction: they take effect in their order (`SocketServer` handles one request of a connection at a time).

use kafka_protocol::messages::{MetadataRequest, ProduceRequest};

use compat_tests::batch::Batch;
use compat_tests::requests::{create_topic, list_offsets, new_topic, produce_request, unique};
use compat_tests::transactions::{
    PRODUCE_ADDED, PRODUCE_ADDING, Producer, add_partitions, end, new_producer, produce_in_request,
};

use crate::Bench;

/// Sends every request before it reads an answer; code and offset of each.
fn at_once(bench: &mut Bench, version: i16, requests: &[ProduceRequest]) -> Vec<(i16, i64)> {
    let ids: Vec<_> = requests.iter().map(|request| bench.send(version, request)).collect();
    let mut answers = Vec::new();
    for id in ids {
        let mut response = bench.receive::<ProduceRequest>(version, id);
        let answer = response.responses.remove(0).partition_responses.remove(0);
        answers.push((answer.error_code, answer.base_offset));
    }
    answers
}

fn in_sequence(producer: &Producer, topic: &str, count: i32) -> Vec<ProduceRequest> {
    (0..count)
        .map(|sequence| produce_in_request(producer, (topic, 0), sequence, &["x"]))
        .collect()
}

#[test]
fn batches_of_a_new_transaction_keep_their_order() {
    for version in [PRODUCE_ADDED, PRODUCE_ADDING] {
        let mut bench = Bench::new();
        let topic = new_topic(&mut bench);
        let producer = new_producer(&mut bench);
        if version == PRODUCE_ADDED {
            add_partitions(&mut bench, &producer, &[(&topic, 0)]);
        }
        let answers = at_once(&mut bench, version, &in_sequence(&producer, &topic, 40));
        let expected: Vec<_> = (0..40).map(|offset| (0, offset)).collect();
        assert_eq!(answers, expected, "version {version}");
        end(&mut bench, &producer, true);
        assert_eq!(list_offsets(&mut bench, &topic, 0, -1).offset, 41, "the marker too");
    }
}

#[test]
fn others_do_not_overtake_a_batch_that_is_verified() {
    let mut bench = Bench::new();
    let topic = unique("order");
    create_topic(&mut bench, &topic, 2, &[]);
    let producer = new_producer(&mut bench);
    let plain = || produce_request(&topic, 0, Batch::of(&["plain"]).encode(), -1);
    let requests = [
        plain(),
        produce_in_request(&producer, (&topic, 0), 0, &["first"]),
        plain(),
        produce_in_request(&producer, (&topic, 1), 0, &["other"]),
        produce_in_request(&producer, (&topic, 0), 1, &["second"]),
        plain(),
    ];
    let answers = at_once(&mut bench, PRODUCE_ADDING, &requests);
    assert_eq!(answers, [(0, 0), (0, 1), (0, 2), (0, 0), (0, 3), (0, 4)]);
    end(&mut bench, &producer, false);
}

#[test]
fn what_is_refused_lets_the_next_one_pass() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producer = new_producer(&mut bench);
    let mut requests = in_sequence(&producer.moved(1), &topic, 2);
    requests.extend(in_sequence(&producer, &topic, 2));
    requests.push(produce_request(&topic, 0, Batch::of(&["plain"]).encode(), -1));
    let answers = at_once(&mut bench, PRODUCE_ADDING, &requests);
    assert_eq!(answers, [(47, -1), (47, -1), (0, 0), (0, 1), (0, 2)]);
    end(&mut bench, &producer, false);
}

/// Without an answer of its own, a request holds up the next all the same.
#[test]
fn a_batch_without_acknowledgement_is_verified_before_the_next_request() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producer = new_producer(&mut bench);
    for sequence in 0..3 {
        let mut request = produce_in_request(&producer, (&topic, 0), sequence, &["x"]);
        request.acks = 0;
        bench.send(PRODUCE_ADDING, &request);
    }
    let end_offset = list_offsets(&mut bench, &topic, 0, -1).offset;
    assert_eq!(end_offset, 3);
    end(&mut bench, &producer, false);
    let mut connection = bench.connect();
    let mut request = produce_in_request(&producer.moved(5), (&topic, 0), 0, &["x"]);
    request.acks = 0;
    connection.send(PRODUCE_ADDING, &request);
    connection.send(9, &MetadataRequest::default());
    connection.expect_close("a transaction that is not there, with acks=0");
}
