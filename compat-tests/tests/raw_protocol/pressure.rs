//! Clients that take much and give little: answers that pile up behind one that waits, and large frames that never come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kafka_protocol::messages::FetchRequest;

use compat_tests::batch::{Batch, parse_all};
use compat_tests::broker::{Broker, QUICK, external_address};
use compat_tests::requests::{
    FETCH_BY_NAME, PRODUCE_BY_NAME, create_topic, fetch_request, new_topic, produce, produce_request, produce_values,
    unique, values,
};
use compat_tests::wire::Connection;

use crate::Bench;

/// What may pile up: less than a third of what all answers together take.
const GROWTH_BYTES: u64 = 100 << 20;

/// Asserts that memory stays below `limit` for as long as a bad client gives no sign.
fn stays_below(bench: &Bench, limit: Option<u64>, moments: u32) {
    for _ in 0..moments {
        if let (Some(limit), Some(now)) = (limit, bench.broker.resident_bytes()) {
            assert!(now < limit, "{now} bytes where {limit} are allowed");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What is fetched again and again behind a fetch that waits.
struct Pile {
    answers: usize,
    records: usize,
    record_bytes: usize,
    /// Partitions, each with the same records, which every fetch names.
    partitions: i32,
}

/// Sends the fetches, and takes the answers late.
fn pile_up(pile: &Pile) {
    let mut bench = Bench::new();
    let (empty, full) = (new_topic(&mut bench), unique("full"));
    create_topic(&mut bench, &full, pile.partitions, &[]);
    for number in 0..pile.records {
        let value = vec![b'a' + u8::try_from(number).expect("few records"); pile.record_bytes];
        let batch = Batch::of(&[value]).encode();
        for partition in 0..pile.partitions {
            let answer = produce(&mut bench, &full, partition, batch.clone());
            assert_eq!(answer.error_code, 0);
        }
    }
    let limit = bench.broker.resident_bytes().map(|before| before + GROWTH_BYTES);
    let mut greedy = bench.connect();
    let waiting = greedy.send(FETCH_BY_NAME, &fetch_request(&empty, 0, 0, 25_000, 1));
    let mut request = fetch_request(&full, 0, 0, 0, 1);
    request.max_bytes = 50_000_000;
    let partition = request.topics[0].partitions[0].clone();
    let all = (0..pile.partitions).map(|index| partition.clone().with_partition(index));
    request.topics[0].partitions = all.collect();
    let sent: Vec<i32> = (0..pile.answers)
        .map(|_| greedy.send(FETCH_BY_NAME, &request))
        .collect();
    stays_below(&bench, limit, 50);
    let other = new_topic(&mut bench);
    assert_eq!(produce_values(&mut bench, &other, &["good"]), 0, "others are served");
    produce_values(&mut bench, &empty, &["wakes"]);
    stays_below(&bench, limit, 50); // now nobody takes them
    let first = greedy.receive::<FetchRequest>(FETCH_BY_NAME, waiting);
    assert_eq!(values(&first.responses[0].partitions[0]), ["wakes"]);
    let mut sound = None;
    for correlation_id in sent {
        let mut answer = greedy.receive::<FetchRequest>(FETCH_BY_NAME, correlation_id);
        let partitions = answer.responses.remove(0).partitions;
        assert_eq!(partitions.len(), usize::try_from(pile.partitions).expect("a count"));
        for data in partitions {
            assert_eq!(data.error_code, 0);
            let bytes = data.records.expect("never null");
            let sound = sound.get_or_insert_with(|| bytes.clone());
            assert_eq!(bytes.len(), sound.len());
            assert!(bytes == *sound, "an answer with other bytes");
        }
    }
    let found = parse_all(&sound.expect("there were answers")).expect("sound batches");
    assert_eq!(found.len(), pile.records);
    stays_below(&bench, limit, 1);
}

#[test]
fn many_answers_behind_a_waiting_one_are_bounded() {
    pile_up(&Pile {
        answers: 350,
        records: 1,
        record_bytes: 1_000_000,
        partitions: 1,
    });
}

#[test]
fn large_answers_behind_a_waiting_one_are_bounded() {
    pile_up(&Pile {
        answers: 60,
        records: 6,
        record_bytes: 1_000_000,
        partitions: 1,
    });
}

/// Many small parts, which a broker may rather copy than send from the file.
#[test]
fn scattered_answers_behind_a_waiting_one_are_bounded() {
    if external_address().is_some() {
        return; // Apache Kafka answers a partition once
    }
    pile_up(&Pile {
        answers: 60,
        records: 1,
        record_bytes: 15_000,
        partitions: 400,
    });
}

/// Sends a byte a second on each of `slow`, and meanwhile a produce of 200 KB on the bench's own connection, which must be
/// answered before the patience of [`Connection`] ends.
fn produce_beside(bench: &mut Bench, slow: &mut [Connection]) {
    let topic = new_topic(bench);
    let stop = AtomicBool::new(false);
    let large = produce_request(&topic, 0, Batch::of(&[vec![b'x'; 200_000]]).encode(), -1);
    let answer = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for connection in &mut *slow {
                    connection.send_bytes(&[0]);
                }
                thread::sleep(Duration::from_secs(1));
            }
        });
        thread::sleep(Duration::from_millis(300));
        let answer = bench.try_call(PRODUCE_BY_NAME, &large);
        stop.store(true, Ordering::Relaxed);
        answer
    });
    let answer = answer.expect("an answer while others trickle");
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!((partition.error_code, partition.base_offset), (0, 0));
}

/// A connection that has announced a Produce of so many bytes.
fn announcing(bench: &Bench, bytes: i32) -> Connection {
    let mut connection = bench.connect();
    connection.send_bytes(&bytes.to_be_bytes());
    connection.send_bytes(&[0, 0, 0, 7]);
    connection
}

/// The first three announce what `queued.max.request.bytes` (256 MiB) allows, to the byte; the fourth waits in line.
#[test]
fn frames_that_trickle_do_not_keep_others_out() {
    if external_address().is_some() {
        return; // Apache Kafka gives each of them the memory
    }
    let mut bench = Bench::new();
    let mut slow: Vec<_> = [100, 100, 56, 100]
        .map(|mebibytes| announcing(&bench, mebibytes << 20))
        .into();
    produce_beside(&mut bench, &mut slow);
}

#[test]
fn the_only_frame_that_trickles_is_given_up_while_others_wait() {
    if external_address().is_some() {
        return;
    }
    let settings = [QUICK, &["queued.max.request.bytes=104857600"]].concat();
    let mut bench = Bench::on(Broker::start(&settings));
    let mut slow = [announcing(&bench, 100 << 20)];
    produce_beside(&mut bench, &mut slow);
    slow[0].expect_close("the memory went to another");
}
