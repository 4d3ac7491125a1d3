//! The end of a producer's epochs: the coordinator goes on with another producer id (core's `TransactionCoordinator`, KIP-360,
//! KIP-890). Each test counts there, many requests at a time.

use kafka_protocol::messages::InitProducerIdRequest;

use compat_tests::requests::{fetch, new_topic};
use compat_tests::transactions::{
    CONCURRENT_TRANSACTIONS, END_RAISING, INIT, Producer, begin, delivered, describe, end, end_raising,
    fetch_committed, init_request, new_producer, open, produce_in, seen, settled, try_end,
};
use compat_tests::wire::Connection;

use crate::Bench;

/// The last epoch that a producer is given.
const LAST: i16 = i16::MAX - 1;

/// Makes a producer anew until it has its last epoch.
fn exhausted(connection: &mut Connection) -> Producer {
    let mut producer = new_producer(connection);
    let request = init_request(Some(&producer.transactional_id), 60_000, (-1, -1));
    while producer.epoch < LAST {
        let ahead = (LAST - producer.epoch).min(200);
        let sent: Vec<_> = (0..ahead).map(|_| connection.send(INIT, &request)).collect();
        for correlation_id in sent {
            let answer = connection.receive::<InitProducerIdRequest>(INIT, correlation_id);
            assert_eq!((answer.error_code, answer.producer_id.0), (0, producer.id));
            assert_eq!(answer.producer_epoch, producer.epoch + 1);
            producer.epoch += 1;
        }
    }
    producer
}

fn again(connection: &mut Connection, producer: &Producer) -> (i16, i64, i16) {
    let request = init_request(Some(&producer.transactional_id), 60_000, (producer.id, producer.epoch));
    let answer = connection.call(INIT, &request);
    (answer.error_code, answer.producer_id.0, answer.producer_epoch)
}

#[test]
fn a_producer_made_anew_gets_another_id() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let last = exhausted(&mut bench);
    begin(&mut bench, &last, (&topic, 0), 0, &["last"]);
    end(&mut bench, &last, true);
    let (code, id, epoch) = again(&mut bench, &last);
    assert_eq!((code, epoch), (0, 0));
    assert_ne!(id, last.id);
    assert_eq!(
        again(&mut bench, &last),
        (0, id, 0),
        "an answer that was lost is told again"
    );
    assert_eq!(again(&mut bench, &last.moved(-1)).0, 90, "but not to an older one");
    let first = Producer {
        id,
        epoch,
        ..last.clone()
    };
    begin(&mut bench, &first, (&topic, 0), 0, &["first"]);
    assert_eq!(try_end(&mut bench, 4, &last, true).error_code, 49);
    end(&mut bench, &first, true);
    assert_eq!(delivered(&fetch_committed(&mut bench, &topic, 0), 0), ["last", "first"]);
}

#[test]
fn an_end_that_raises_the_last_epoch_gives_another_id() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let last = exhausted(&mut bench);
    begin(&mut bench, &last, (&topic, 0), 0, &["last"]);
    let first = end_raising(&mut bench, &last, true);
    assert_eq!(first.epoch, 0);
    assert_ne!(first.id, last.id);
    assert_eq!(
        end_raising(&mut bench, &last, true),
        first,
        "an answer that was lost is told again"
    );
    let known = describe(&mut bench, &[&last.transactional_id]).remove(0);
    assert_eq!((known.producer_id.0, known.producer_epoch), (first.id, 0));
    let batches = seen(&fetch(&mut bench, &topic, 0, 0));
    assert_eq!(
        batches[1].producer,
        (last.id, i16::MAX, -1),
        "the marker has the epoch that nobody gets"
    );
    let late = produce_in(&mut bench, 12, &last, (&topic, 0), 1, &["late"]);
    assert_eq!(late.error_code, 47);
    begin(&mut bench, &first, (&topic, 0), 0, &["first"]);
    end_raising(&mut bench, &first, true);
    assert_eq!(try_end(&mut bench, END_RAISING, &last, true).error_code, 49);
    assert_eq!(delivered(&fetch_committed(&mut bench, &topic, 0), 0), ["last", "first"]);
}

/// A second instance fences the first one with the epoch that nobody gets, and goes on with another id.
#[test]
fn a_new_instance_of_an_exhausted_one_gets_another_id() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let last = exhausted(&mut bench);
    begin(&mut bench, &last, (&topic, 0), 0, &["last"]);
    assert_eq!(again(&mut bench, &last).0, CONCURRENT_TRANSACTIONS);
    settled(&mut bench, &last.transactional_id);
    let new = open(&mut bench, &last.transactional_id, 60_000);
    assert_ne!(new.id, last.id);
    assert!(new.epoch <= 1, "{new:?}");
    assert_eq!(
        produce_in(&mut bench, 11, &last, (&topic, 0), 1, &["late"]).error_code,
        47
    );
    begin(&mut bench, &new, (&topic, 0), 0, &["new"]);
    end(&mut bench, &new, true);
    assert_eq!(delivered(&fetch_committed(&mut bench, &topic, 0), 0), ["new"]);
}
