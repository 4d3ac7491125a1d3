//! AddPartitionsToTxn as brokers send it to each other: several transactions in one request, or only asking.

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use compat_tests::requests::{create_topic, unique};
use compat_tests::transactions::{
    Producer, add_partitions, add_partitions_entry, describe, end, new_producer, open, settled,
};

use crate::Bench;

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
