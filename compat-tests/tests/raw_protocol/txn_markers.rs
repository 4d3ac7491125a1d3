//! WriteTxnMarkers as brokers and `kafka-transactions abort` send it, sound and odd, and transactions that hang because no
//! coordinator knows of them (core's `KafkaApis`, storage's `ProducerAppendInfo`, KIP-664).

use kafka_protocol::messages::DescribeConfigsRequest;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{ResponseHeader, WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use kafka_protocol::protocol::Decodable;

use compat_tests::batch::Content;
use compat_tests::broker::{Broker, QUICK, external_address};
use compat_tests::requests::{create_topic, fetch, init_producer, new_topic, produce_values, unique};
use compat_tests::transactions::{
    PRODUCE_ADDED, aborted, begin, delivered, describe, describe_producers, end, fetch_committed, marker, new_producer,
    produce_in, seen, try_end, write_markers,
};
use compat_tests::wire::{Connection, text};

use crate::Bench;
use crate::samples::{by_hand, markers_2};

/// The only answer to a marker for one partition.
fn write(connection: &mut Connection, producer: (i64, i16), epoch: i32, committed: bool, at: (&str, i32)) -> i16 {
    let codes = write_markers(connection, vec![marker(producer, epoch, committed, at.0, &[at.1])]);
    assert_eq!(codes.len(), 1, "{codes:?}");
    assert_eq!((codes[0].0, codes[0].1.as_str(), codes[0].2), (producer.0, at.0, at.1));
    codes[0].3
}

/// The answer to version 2, which tells the version of the transaction.
fn write_2(connection: &mut Connection, producer: (i64, i16), transaction_version: u8, at: (&str, i32)) -> i16 {
    let body = markers_2(producer, transaction_version, at);
    connection.send_bytes(&by_hand::<WriteTxnMarkersRequest>(2, &body).frame);
    let mut frame = connection.try_read_frame().expect("an answer").expect("not closed");
    ResponseHeader::decode(&mut frame, 1).expect("a header");
    let answer = WriteTxnMarkersResponse::decode(&mut frame, 1).expect("the fields of version 1");
    assert!(frame.is_empty(), "{} bytes left over", frame.len());
    let [marker] = &answer.markers[..] else {
        panic!("{answer:?}")
    };
    marker.topics[0].partitions[0].error_code
}

/// High watermark and last stable offset of partition 0.
fn ends(connection: &mut Connection, topic: &str) -> (i64, i64) {
    let data = fetch(connection, topic, 0, 0);
    (data.high_watermark, data.last_stable_offset)
}

#[test]
fn markers_end_what_is_open_here() {
    let mut bench = Bench::new();
    for committed in [true, false] {
        let topic = new_topic(&mut bench);
        let producer = new_producer(&mut bench);
        begin(&mut bench, &producer, (&topic, 0), 0, &["x"]);
        assert_eq!(ends(&mut bench, &topic), (1, 0));
        assert_eq!(
            write(&mut bench, (producer.id, producer.epoch), 0, committed, (&topic, 0)),
            0
        );
        assert_eq!(ends(&mut bench, &topic), (2, 2));
        let data = fetch_committed(&mut bench, &topic, 0);
        assert_eq!(delivered(&data, 0).len(), usize::from(committed));
        assert_eq!(aborted(&data).map(|named| named.len()), Some(usize::from(!committed)));
        let known = describe(&mut bench, &[&producer.transactional_id]).remove(0);
        assert_eq!(
            known.transaction_state.as_str(),
            "Ongoing",
            "the coordinator was not asked"
        );
        end(&mut bench, &producer, committed);
        assert_eq!(ends(&mut bench, &topic), (3, 3), "and writes its own marker");
        let data = fetch_committed(&mut bench, &topic, 0);
        assert_eq!(
            aborted(&data).map(|named| named.len()),
            Some(usize::from(!committed)),
            "not told twice"
        );
    }
}

/// Such a transaction ends with a new epoch of its producer, or the marker is of an earlier one (KIP-1228).
#[test]
fn a_marker_of_version_2_needs_a_newer_epoch() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producer = new_producer(&mut bench);
    begin(&mut bench, &producer, (&topic, 0), 0, &["x"]);
    let ended_by = |epoch| (producer.id, producer.epoch + epoch);
    assert_eq!(write_2(&mut bench, ended_by(0), 2, (&topic, 0)), 47);
    assert_eq!(ends(&mut bench, &topic), (1, 0), "still open");
    assert_eq!(write_2(&mut bench, ended_by(1), 2, (&topic, 0)), 0);
    assert_eq!(ends(&mut bench, &topic), (2, 2));
    assert_eq!(
        write_2(&mut bench, ended_by(2), 2, (&topic, 99)),
        3,
        "no such partition"
    );

    let topic = new_topic(&mut bench);
    let producer = new_producer(&mut bench);
    begin(&mut bench, &producer, (&topic, 0), 0, &["x"]);
    assert_eq!(
        write_2(&mut bench, (producer.id, producer.epoch), 0, (&topic, 0)),
        0,
        "the version before keeps the epoch"
    );
    assert_eq!(ends(&mut bench, &topic), (2, 2));
}

#[test]
fn nobody_is_asked_for() {
    let mut bench = Bench::new();
    assert_eq!(write_markers(&mut bench, Vec::new()), []);
    let topic = new_topic(&mut bench);
    let empty = marker((77_777, 0), 0, true, &topic, &[]);
    assert_eq!(write_markers(&mut bench, vec![empty]), []);
}

#[test]
fn unknown_partitions_do_not_keep_markers_from_the_others() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 2, &[]);
    let stranger = unique("stranger");
    let (producer, epoch) = init_producer(&mut bench);
    let codes = write_markers(
        &mut bench,
        vec![marker((producer, epoch), 0, true, &topic, &[0, 7, 1, -1])],
    );
    let codes: Vec<_> = codes
        .iter()
        .map(|(_, _, partition, code)| (*partition, *code))
        .collect();
    assert_eq!(codes, [(-1, 3), (0, 0), (1, 0), (7, 3)]);
    for unknown in [stranger.as_str(), "", "a/b"] {
        assert_eq!(
            write(&mut bench, (producer, epoch), 0, true, (unknown, 0)),
            3,
            "{unknown}"
        );
    }
    let several = vec![
        marker((producer, epoch), 0, false, &stranger, &[0]),
        marker((producer + 1_000_000, 0), 0, true, &topic, &[0]),
    ];
    let codes = write_markers(&mut bench, several);
    let due = [(producer, stranger, 0, 3), (producer + 1_000_000, topic.clone(), 0, 0)];
    assert_eq!(codes, due);
    assert_eq!(ends(&mut bench, &topic), (2, 2));
}

#[test]
fn old_epochs_are_refused() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let (id, at) = (init_producer(&mut bench).0, (topic.as_str(), 0));
    assert_eq!(
        write(&mut bench, (id, 5), 10, true, at),
        0,
        "a producer that is not known here"
    );
    assert_eq!(
        write(&mut bench, (id, 4), 10, true, at),
        47,
        "an older epoch of the producer"
    );
    assert_eq!(
        write(&mut bench, (id, 5), 9, true, at),
        52,
        "an older epoch of the coordinator"
    );
    assert_eq!(
        write(&mut bench, (id, 4), 9, true, at),
        47,
        "both: the producer's comes first"
    );
    assert_eq!(write(&mut bench, (id, 5), 10, true, at), 0, "the same again");
    assert_eq!(write(&mut bench, (id, 6), 11, false, at), 0, "newer ones");
    assert_eq!(write(&mut bench, (id, 6), 10, false, at), 52);
    assert_eq!(write(&mut bench, (id, 5), 11, false, at), 47);
    assert_eq!(
        write(&mut bench, (id, i16::MAX), i32::MAX, false, at),
        0,
        "the highest of both"
    );
    assert_eq!(ends(&mut bench, &topic), (4, 4), "what was refused was not written");
    let state = describe_producers(&mut bench, &topic, 0).active_producers.remove(0);
    let known = (state.producer_id.0, state.producer_epoch, state.coordinator_epoch);
    assert_eq!(known, (id, i32::from(i16::MAX), i32::MAX));
    let batches = seen(&fetch(&mut bench, &topic, 0, 0));
    let epochs: Vec<_> = batches
        .iter()
        .map(|batch| match batch.content {
            Content::Marker { coordinator_epoch, .. } => (batch.producer.1, coordinator_epoch),
            Content::Values(_) => panic!("{batch:?}"),
        })
        .collect();
    assert_eq!(epochs, [(5, 10), (5, 10), (6, 11), (i16::MAX, i32::MAX)]);
}

/// Apache Kafka answers UNKNOWN_SERVER_ERROR.
#[test]
fn a_marker_of_nobody_is_not_written() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    assert_eq!(write(&mut bench, (-1, 0), 0, true, (&topic, 0)), 42);
    assert_eq!(write(&mut bench, (-1, 0), 0, true, ("not-there", 0)), 3);
    assert_eq!(write(&mut bench, (7_654_321, -1), 0, true, (&topic, 0)), 47);
    assert_eq!(ends(&mut bench, &topic), (0, 0));
}

/// A marker raises the epoch, so that the producer it ended cannot write any more.
#[test]
fn a_marker_of_a_higher_epoch_fences_the_producer() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producer = new_producer(&mut bench);
    begin(&mut bench, &producer, (&topic, 0), 0, &["x"]);
    assert_eq!(
        write(&mut bench, (producer.id, producer.epoch + 1), 0, false, (&topic, 0)),
        0
    );
    let answer = produce_in(&mut bench, PRODUCE_ADDED, &producer, (&topic, 0), 1, &["y"]);
    assert_eq!(answer.error_code, 47);
    assert_eq!(ends(&mut bench, &topic), (2, 2));
}

#[test]
fn the_same_marker_several_times() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let (id, epoch) = init_producer(&mut bench);
    let one = marker((id, epoch), 0, true, &topic, &[0]);
    let both = vec![one.clone(), one.clone(), marker((id, epoch), 0, false, &topic, &[0])];
    let codes = write_markers(&mut bench, both);
    assert!(
        !codes.is_empty()
            && codes
                .iter()
                .all(|(_, _, partition, code)| (*partition, *code) == (0, 0)),
        "{codes:?}"
    );
    let ended = ends(&mut bench, &topic);
    assert_eq!(ended, (3, 3), "each is written");
    if external_address().is_none() {
        // Apache Kafka never answers a marker that names a partition twice.
        let codes = write_markers(&mut bench, vec![marker((id, epoch), 0, true, &topic, &[0, 0])]);
        assert!(
            !codes.is_empty() && codes.iter().all(|(_, _, _, code)| *code == 0),
            "{codes:?}"
        );
    }
}

#[test]
fn markers_reach_every_topic_of_a_request() {
    let mut bench = Bench::new();
    let topics: Vec<_> = (0..3).map(|_| new_topic(&mut bench)).collect();
    let producers: Vec<_> = (0..3).map(|_| init_producer(&mut bench)).collect();
    let mut markers = Vec::new();
    for &producer in &producers {
        let mut one = marker(producer, 0, false, &topics[0], &[0]);
        for topic in &topics[1..] {
            one.topics.extend(marker(producer, 0, false, topic, &[0]).topics);
        }
        markers.push(one);
    }
    let answer = bench.call(1, &WriteTxnMarkersRequest::default().with_markers(markers));
    assert_eq!(answer.markers.len(), 3);
    for topic in &topics {
        assert_eq!(ends(&mut bench, topic), (3, 3));
    }
}

/// Whether transactional batches are checked with the coordinator, as the broker says itself.
fn verifies(connection: &mut Connection) -> bool {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(text("1"))
        .with_configuration_keys(Some(vec![text("transaction.partition.verification.enable")]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let answer = connection.call(4, &request);
    let configs = &answer.results[0].configs;
    configs.iter().all(|config| config.value.as_deref() != Some("false"))
}

/// A broker that checks nothing takes a transactional batch that no coordinator knows of. Readers of the committed wait for
/// it until an operator writes the marker.
#[test]
fn a_hanging_transaction_is_seen_and_aborted() {
    let mut bench = Bench::on(Broker::start(
        &[QUICK, &["transaction.partition.verification.enable=false"]].concat(),
    ));
    if external_address().is_some() && verifies(&mut bench) {
        return; // that one was not started for this test
    }
    let topic = new_topic(&mut bench);
    let producer = new_producer(&mut bench);
    produce_values(&mut bench, &topic, &["before"]);
    let answer = produce_in(&mut bench, PRODUCE_ADDED, &producer, (&topic, 0), 0, &["hangs"]);
    assert_eq!((answer.error_code, answer.base_offset), (0, 1));
    produce_values(&mut bench, &topic, &["behind"]);
    assert_eq!(ends(&mut bench, &topic), (3, 1));
    let states = describe_producers(&mut bench, &topic, 0).active_producers;
    let state = states
        .iter()
        .find(|state| state.producer_id.0 == producer.id)
        .expect("it is there");
    let told = (
        state.producer_epoch,
        state.last_sequence,
        state.coordinator_epoch,
        state.current_txn_start_offset,
    );
    assert_eq!(told, (i32::from(producer.epoch), 0, -1, 1));
    assert!(state.last_timestamp > 0);
    let known = describe(&mut bench, &[&producer.transactional_id]).remove(0);
    assert_eq!(
        (known.transaction_state.as_str(), known.topics.len()),
        ("Empty", 0),
        "no coordinator ends it"
    );
    assert_eq!(try_end(&mut bench, 4, &producer, false).error_code, 48);
    assert_eq!(ends(&mut bench, &topic), (3, 1));
    // As `kafka-transactions abort` does, with what DescribeProducers told.
    assert_eq!(
        write(&mut bench, (producer.id, producer.epoch), -1, false, (&topic, 0)),
        0
    );
    assert_eq!(ends(&mut bench, &topic), (4, 4));
    let data = fetch_committed(&mut bench, &topic, 0);
    assert_eq!(delivered(&data, 0), ["before", "behind"]);
    assert_eq!(aborted(&data), Some(vec![(producer.id, 1)]));
    let states = describe_producers(&mut bench, &topic, 0).active_producers;
    let state = states
        .iter()
        .find(|state| state.producer_id.0 == producer.id)
        .expect("it is there");
    assert_eq!(state.current_txn_start_offset, -1);
}
