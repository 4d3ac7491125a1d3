//! Clients that reach for transactions which are not theirs: nothing they write gets in, nobody waits for them for long
//! (KIP-890; storage's `VerificationGuard`).

use compat_tests::batch::Batch;
use compat_tests::broker::external_address;
use compat_tests::requests::{create_topic, fetch, init_producer, new_topic, produce, produce_request, unique, values};
use compat_tests::transactions::{
    PRODUCE_ADDED, PRODUCE_ADDING, Producer, aborted, add_partitions, begin, delivered, describe_producers, end,
    end_raising, fetch_committed, new_producer, produce_in, transactional_id, try_end,
};

use crate::Bench;

/// Ids and epochs are small numbers, so they can be guessed; that must not be enough.
#[test]
fn a_guessed_id_writes_into_no_transaction() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 2, &[]);
    let (victim, thief) = (new_producer(&mut bench), new_producer(&mut bench));
    begin(&mut bench, &victim, (&topic, 0), 0, &["mine"]);
    add_partitions(&mut bench, &thief, &[(&topic, 0), (&topic, 1)]);
    for version in [9, PRODUCE_ADDED, PRODUCE_ADDING] {
        // The victim's id under the thief's own transactional id, where the victim has nothing open.
        let posing = victim.named(&thief.transactional_id);
        let answer = produce_in(&mut bench, version, &posing, (&topic, 1), 0, &["stolen"]);
        assert_eq!((answer.error_code, answer.base_offset), (49, -1), "version {version}");
        // One's own id under the victim's transactional id.
        let posing = thief.named(&victim.transactional_id);
        let answer = produce_in(&mut bench, version, &posing, (&topic, 1), 0, &["stolen"]);
        assert_eq!((answer.error_code, answer.base_offset), (49, -1), "version {version}");
        if external_address().is_none() {
            // A higher epoch than the victim has, which would fence it in the partition. In Apache Kafka the victim's next
            // batch is then refused as out of order.
            let answer = produce_in(&mut bench, version, &victim.moved(5), (&topic, 0), 0, &["stolen"]);
            assert_eq!((answer.error_code, answer.base_offset), (47, -1), "version {version}");
        }
    }
    // Not in a transaction at all.
    let plain = Batch::of(&["stolen"]).from_producer(victim.id, victim.epoch, 1);
    assert_eq!(produce(&mut bench, &topic, 0, plain.encode()).error_code, 48);
    assert_eq!(try_end(&mut bench, 4, &victim.with_id(thief.id), true).error_code, 49);
    assert_eq!(try_end(&mut bench, 4, &thief.with_id(victim.id), true).error_code, 49);
    assert_eq!(values(&fetch(&mut bench, &topic, 0, 0)), ["mine"]);
    assert_eq!(fetch(&mut bench, &topic, 1, 0).high_watermark, 0);
    let answer = produce_in(&mut bench, PRODUCE_ADDED, &victim, (&topic, 0), 1, &["also mine"]);
    assert_eq!(answer.error_code, 0, "the victim noticed nothing");
    end(&mut bench, &victim, true);
    end(&mut bench, &thief, false);
    assert_eq!(
        delivered(&fetch_committed(&mut bench, &topic, 0), 0),
        ["mine", "also mine"]
    );
}

/// Not even a sequence number that its owner would have to begin with. (In Apache Kafka the owner's next batch is refused as
/// out of order until a marker comes, whoever it was that had sent a lower number.)
#[test]
fn a_refused_guess_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let (victim, thief) = (new_producer(&mut bench), new_producer(&mut bench));
    let at = (topic.as_str(), 0);
    begin(&mut bench, &victim, at, 0, &["a", "b"]);
    end(&mut bench, &victim, true);
    for version in [9, PRODUCE_ADDED, PRODUCE_ADDING] {
        let answer = produce_in(
            &mut bench,
            version,
            &victim.named(&thief.transactional_id),
            at,
            0,
            &["stolen"],
        );
        assert_eq!(answer.error_code, 49, "version {version}");
        let answer = produce_in(&mut bench, version, &victim.moved(3), at, 0, &["stolen"]);
        assert_eq!(answer.error_code, 47, "version {version}");
    }
    add_partitions(&mut bench, &victim, &[at]);
    let answer = produce_in(&mut bench, PRODUCE_ADDED, &victim, at, 2, &["c"]);
    let due = if external_address().is_some() { 45 } else { 0 };
    assert_eq!(answer.error_code, due, "the victim noticed nothing");
    end(&mut bench, &victim, true);
}

/// Idempotent producers have ids as well, but none of them has a transaction.
#[test]
fn an_idempotent_producer_has_no_transaction() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let (id, epoch) = init_producer(&mut bench);
    let batch = Batch::of(&["x"]).from_producer(id, epoch, 0).in_transaction().encode();
    let mine = new_producer(&mut bench);
    add_partitions(&mut bench, &mine, &[(&topic, 0)]);
    for name in [&mine.transactional_id, &unique("stranger")] {
        for version in [9, PRODUCE_ADDED, PRODUCE_ADDING] {
            let request =
                produce_request(&topic, 0, batch.clone(), -1).with_transactional_id(Some(transactional_id(name)));
            let answer = bench.call(version, &request);
            assert_eq!(
                answer.responses[0].partition_responses[0].error_code, 49,
                "version {version}"
            );
        }
    }
    let data = fetch(&mut bench, &topic, 0, 0);
    assert_eq!((data.high_watermark, data.last_stable_offset), (0, 0));
    end(&mut bench, &mine, false);
}

/// A batch that comes after the end of its transaction opens nothing: no reader would ever get past it.
#[test]
fn what_comes_late_opens_nothing() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producer = new_producer(&mut bench);
    for committed in [true, false] {
        let first = fetch(&mut bench, &topic, 0, 0).high_watermark;
        let sequence = if committed { 0 } else { 2 };
        begin(&mut bench, &producer, (&topic, 0), sequence, &["in time"]);
        end(&mut bench, &producer, committed);
        for version in [9, PRODUCE_ADDED] {
            let late = produce_in(&mut bench, version, &producer, (&topic, 0), sequence + 1, &["late"]);
            assert_eq!(late.error_code, if version == 9 { 48 } else { 120 });
        }
        let data = fetch(&mut bench, &topic, 0, first);
        assert_eq!((data.high_watermark, data.last_stable_offset), (first + 2, first + 2));
        let state = describe_producers(&mut bench, &topic, 0);
        assert_eq!(state.active_producers[0].current_txn_start_offset, -1);
        // The sequence that was refused is the next one all the same.
        begin(&mut bench, &producer, (&topic, 0), sequence + 1, &["next"]);
        end(&mut bench, &producer, true);
    }
    let raised = end_raising(&mut bench, &producer, false);
    let late = produce_in(&mut bench, PRODUCE_ADDING, &producer, (&topic, 0), 4, &["late"]);
    assert_eq!(late.error_code, 47, "the new way knows by the epoch");
    assert_eq!(raised.epoch, producer.epoch + 1);
}

/// In one request, what may not be written does not touch what may.
#[test]
fn partitions_beside_a_refused_one_are_written() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 3, &[]);
    let producer = new_producer(&mut bench);
    add_partitions(&mut bench, &producer, &[(&topic, 0), (&topic, 2)]);
    let batch = Batch::of(&["x"])
        .from_producer(producer.id, producer.epoch, 0)
        .in_transaction()
        .encode();
    let mut request =
        produce_request(&topic, 0, batch, -1).with_transactional_id(Some(transactional_id(&producer.transactional_id)));
    for partition in [1, 2, 9] {
        let another = request.topic_data[0].partition_data[0].clone().with_index(partition);
        request.topic_data[0].partition_data.push(another);
    }
    let answer = bench.call(PRODUCE_ADDED, &request);
    let mut codes: Vec<_> = answer.responses[0]
        .partition_responses
        .iter()
        .map(|result| (result.index, result.error_code))
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, [(0, 0), (1, 120), (2, 0), (9, 3)]);
    end(&mut bench, &producer, true);
    for (partition, due) in [(0, 2), (1, 0), (2, 2)] {
        assert_eq!(fetch(&mut bench, &topic, partition, 0).high_watermark, due);
    }
}

/// Requests in flight on one connection are answered and written in their order, also while the first one's partition is
/// still being checked.
#[test]
fn a_connection_keeps_its_order_while_partitions_are_checked() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    for version in [PRODUCE_ADDED, PRODUCE_ADDING] {
        let producer = new_producer(&mut bench);
        if version == PRODUCE_ADDED {
            add_partitions(&mut bench, &producer, &[(&topic, 0)]);
        }
        let request = |sequence: i32| {
            let value = format!("{version} {sequence}");
            compat_tests::transactions::produce_in_request(&producer, (&topic, 0), sequence, &[&value])
        };
        let sent: Vec<_> = (0..5).map(|sequence| bench.send(version, &request(sequence))).collect();
        let mut offsets = Vec::new();
        for correlation_id in sent {
            let answer = bench.receive::<kafka_protocol::messages::ProduceRequest>(version, correlation_id);
            let result = &answer.responses[0].partition_responses[0];
            assert_eq!(result.error_code, 0, "version {version}");
            offsets.push(result.base_offset);
        }
        assert!(offsets.is_sorted(), "{offsets:?}");
        end(&mut bench, &producer, true);
    }
    let data = fetch_committed(&mut bench, &topic, 0);
    let wanted = [PRODUCE_ADDED, PRODUCE_ADDING]
        .iter()
        .flat_map(|version| (0..5).map(move |sequence| format!("{version} {sequence}")));
    assert_eq!(delivered(&data, 0), wanted.collect::<Vec<_>>());
    assert_eq!(aborted(&data), Some(vec![]));
}

/// Many producers at once; each one's records come out whole or not at all.
#[test]
fn a_crowd_of_producers() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 1, &[]);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (mut connection, topic) = (bench.connect(), &topic);
            scope.spawn(move || {
                let mut producer: Producer = new_producer(&mut connection);
                for round in 0..10 {
                    let value = format!("{number} {round}");
                    let at = (topic.as_str(), 0);
                    for sequence in 0..3 {
                        let answer = produce_in(&mut connection, PRODUCE_ADDING, &producer, at, sequence, &[&value]);
                        assert_eq!(answer.error_code, 0);
                    }
                    producer = end_raising(&mut connection, &producer, (number + round) % 2 == 0);
                }
            });
        }
    });
    let data = fetch_committed(&mut bench, &topic, 0);
    assert_eq!((data.high_watermark, data.last_stable_offset), (320, 320));
    let mut read = delivered(&data, 0);
    read.sort_unstable();
    let mut wanted: Vec<_> = (0..8)
        .flat_map(|number| (0..10).map(move |round| (number, round)))
        .filter(|(number, round)| (number + round) % 2 == 0)
        .flat_map(|(number, round)| vec![format!("{number} {round}"); 3])
        .collect();
    wanted.sort_unstable();
    assert_eq!(read, wanted);
}
