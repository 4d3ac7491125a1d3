//! Bad input to the requests of transactions: empty, null, negative, endless, twice, unknown (core's `KafkaApis` and
//! `TransactionCoordinator`, clients' `AddPartitionsToTxnRequest`).

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition;

use compat_tests::batch::{ATTRIBUTES_AT, Batch, reseal};
use compat_tests::broker::external_address;
use compat_tests::requests::{
    create_topic, fetch, find_coordinator as find_group_coordinator, new_topic, produce_request, topic_name, unique,
    values,
};
use compat_tests::transactions::{
    ADD_OFFSETS, ADD_PARTITIONS, COMMIT_ADDED, COMMIT_ADDING, END_KEEPING, END_RAISING, INIT, PRODUCE_ADDED,
    PRODUCE_ADDING, Producer, add_offsets, add_partitions, add_partitions_request, begin, describe, end,
    find_coordinator, init_request, new_producer, open, produce_in, produce_in_request, settled, transactional_id,
    try_add_partitions, try_end, txn_commit, txn_commit_request,
};
use compat_tests::wire::{Connection, encode_request, text};

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

#[expect(clippy::too_many_lines, reason = "a table of cases")]
#[test]
fn what_add_offsets_and_its_commit_refuse() {
    let mut bench = Bench::new();
    let (topic, group) = (new_topic(&mut bench), unique("group"));
    find_group_coordinator(&mut bench, &group);
    let producer = new_producer(&mut bench);
    let bench = &mut bench;
    assert_eq!(add_offsets(bench, ADD_OFFSETS, &producer.named(""), &group), 42);
    assert_eq!(
        add_offsets(bench, ADD_OFFSETS, &producer.named(&unique("stranger")), &group),
        49
    );
    assert_eq!(add_offsets(bench, ADD_OFFSETS, &producer.with_id(-1), &group), 49);
    assert_eq!(
        txn_commit(bench, COMMIT_ADDING, &producer.named(""), &group, &topic, 1),
        42
    );
    assert_eq!(
        txn_commit(
            bench,
            COMMIT_ADDING,
            &producer.named(&unique("stranger")),
            &group,
            &topic,
            1
        ),
        49
    );
    assert_eq!(
        txn_commit(bench, COMMIT_ADDING, &producer.with_id(-1), &group, &topic, 1),
        49
    );
    assert_eq!(
        txn_commit(bench, COMMIT_ADDING, &producer, "", &topic, 1),
        24,
        "a group needs a name"
    );
    assert_eq!(
        txn_commit(bench, COMMIT_ADDING, &producer, &group, &unique("stranger"), 1),
        3
    );
    assert_eq!(
        describe(bench, &[&producer.transactional_id])[0]
            .transaction_state
            .as_str(),
        "Empty"
    );
    assert_eq!(add_offsets(bench, ADD_OFFSETS, &producer, &group), 0);
    let mut request = txn_commit_request(&producer, &group, &topic, 1);
    let partition = request.topics[0].partitions[0].clone();
    let with = |index: i32| partition.clone().with_partition_index(index);
    request.topics[0].partitions = vec![
        with(0).with_committed_metadata(Some(text(&"x".repeat(5_000)))),
        with(1),
        with(-1),
    ];
    let answer = bench.call(COMMIT_ADDED, &request);
    let mut codes: Vec<_> = answer.topics[0]
        .partitions
        .iter()
        .map(|result| (result.partition_index, result.error_code))
        .collect();
    codes.sort_unstable();
    assert_eq!(
        codes,
        [(-1, 3), (0, 12), (1, 3)],
        "metadata too long, partitions that are not there"
    );
    let empty = txn_commit_request(&producer, &group, &topic, 1).with_topics(Vec::new());
    assert_eq!(bench.call(COMMIT_ADDED, &empty).topics, []);
    let twice: Vec<TxnOffsetCommitRequestPartition> = vec![with(0), with(0).with_committed_offset(9)];
    request.topics[0].partitions = twice;
    let answer = bench.call(COMMIT_ADDED, &request);
    assert!(
        answer.topics[0].partitions.iter().all(|result| result.error_code == 0),
        "{answer:?}"
    );
    end(bench, &producer, true);
    let committed = compat_tests::requests::committed(bench, &group, &topic).committed_offset;
    assert_eq!(committed, 9, "the later one of two");
}

#[test]
fn what_end_txn_refuses() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let (mine, other) = (new_producer(&mut bench), new_producer(&mut bench));
    begin(&mut bench, &mine, (&topic, 0), 0, &["mine"]);
    for (version, committed) in [
        (END_KEEPING, true),
        (END_KEEPING, false),
        (END_RAISING, true),
        (END_RAISING, false),
    ] {
        let mut refused = |what: &str, producer: &Producer, due: i16| {
            let answer = try_end(&mut bench, version, producer, committed);
            let told = (answer.error_code, answer.producer_id.0, answer.producer_epoch);
            assert_eq!(told, (due, -1, -1), "{what}, version {version}");
        };
        refused("no name", &mine.named(""), 42);
        refused(
            "a name that was never initialised",
            &mine.named(&unique("stranger")),
            49,
        );
        refused("another's name", &mine.named(&other.transactional_id), 49);
        refused("another's id", &mine.with_id(other.id), 49);
        refused("a negative id", &mine.with_id(-1), 49);
        refused(
            "a negative epoch",
            &Producer {
                epoch: -1,
                ..mine.clone()
            },
            90,
        );
        refused(
            "the highest epoch",
            &Producer {
                epoch: i16::MAX,
                ..mine.clone()
            },
            90,
        );
        refused(
            "the highest epoch but one",
            &Producer {
                epoch: i16::MAX - 1,
                ..mine.clone()
            },
            90,
        );
    }
    let state = describe(&mut bench, &[&mine.transactional_id]).remove(0);
    assert_eq!(state.transaction_state.as_str(), "Ongoing");
    end(&mut bench, &mine, true);
}

/// Nobody could end such a transaction. Apache Kafka takes the batch all the same, as one that readers need not wait for.
#[test]
fn a_transactional_batch_without_a_producer_opens_nothing() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producer = new_producer(&mut bench);
    add_partitions(&mut bench, &producer, &[(&topic, 0)]);
    let nobody = produce_in_request(
        &Producer {
            id: -1,
            epoch: -1,
            ..producer.clone()
        },
        (&topic, 0),
        -1,
        &["x"],
    );
    for version in [PRODUCE_ADDED, PRODUCE_ADDING] {
        let codes = produced(&mut bench, version, &nobody);
        assert!([[0], [87]].contains(&[codes[0]]), "{codes:?}");
    }
    let data = fetch(&mut bench, &topic, 0, 0);
    assert_eq!(data.last_stable_offset, data.high_watermark);
    end(&mut bench, &producer, true);
}

/// Partitions and codes of a produce request.
fn produced(connection: &mut Connection, version: i16, request: &kafka_protocol::messages::ProduceRequest) -> Vec<i16> {
    let answer = connection.call(version, request);
    let results = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    results.map(|result| result.error_code).collect()
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
#[test]
fn what_produce_refuses_in_a_transaction() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 2, &[]);
    let (mine, other) = (new_producer(&mut bench), new_producer(&mut bench));
    add_partitions(&mut bench, &mine, &[(&topic, 0), (&topic, 1)]);
    add_partitions(&mut bench, &other, &[(&topic, 0), (&topic, 1)]);
    let at = (topic.as_str(), 0);
    for version in [PRODUCE_ADDED, PRODUCE_ADDING] {
        let sound = produce_in_request(&mine, at, 0, &["x"]);
        let nameless = sound.clone().with_transactional_id(None);
        assert_eq!(produced(&mut bench, version, &nameless), [53], "no transactional id");
        let empty = sound.clone().with_transactional_id(Some(transactional_id("")));
        assert_eq!(produced(&mut bench, version, &empty), [42], "an empty one");
        let foreign = sound
            .clone()
            .with_transactional_id(Some(transactional_id(&other.transactional_id)));
        assert_eq!(produced(&mut bench, version, &foreign), [49], "another's");
        let batch = |producer: (i64, i16, i32)| {
            Batch::of(&["x"])
                .from_producer(producer.0, producer.1, producer.2)
                .in_transaction()
                .encode()
        };
        let named = |bytes: Vec<u8>| {
            produce_request(&topic, 0, bytes, -1).with_transactional_id(Some(transactional_id(&mine.transactional_id)))
        };
        let mut control = batch((mine.id, mine.epoch, 0));
        control[ATTRIBUTES_AT + 1] |= 0x20;
        reseal(&mut control);
        assert_eq!(
            produced(&mut bench, version, &named(control)),
            [87],
            "a marker of its own"
        );
        let mut two = sound.clone();
        let others = Batch::of(&["y"])
            .from_producer(other.id, other.epoch, 0)
            .in_transaction();
        let second = PartitionProduceData::default()
            .with_index(1)
            .with_records(Some(Bytes::from(others.encode())));
        two.topic_data[0].partition_data.push(second);
        assert_eq!(produced(&mut bench, version, &two), [49, 49], "two producers");
        let mut lost = sound.clone();
        lost.topic_data[0].partition_data[0].index = 7;
        assert_eq!(
            produced(&mut bench, version, &lost),
            [3],
            "a partition that is not there"
        );
    }
    assert_eq!(fetch(&mut bench, &topic, 0, 0).high_watermark, 0);
    let plain = produce_request(&topic, 1, Batch::of(&["plain"]).encode(), -1)
        .with_transactional_id(Some(transactional_id(&mine.transactional_id)));
    assert_eq!(
        produced(&mut bench, PRODUCE_ADDED, &plain),
        [0],
        "what is no transaction is not checked"
    );
    let mut acks = produce_in_request(&mine, at, 0, &["acks 1"]);
    acks.acks = 1;
    assert_eq!(
        produced(&mut bench, PRODUCE_ADDED, &acks),
        [0],
        "acks are the client's affair"
    );
    assert_eq!(values(&fetch(&mut bench, &topic, 1, 0)), ["plain"]);
    let answer = produce_in(&mut bench, PRODUCE_ADDED, &mine, at, 1, &["x"]);
    assert_eq!((answer.error_code, answer.base_offset), (0, 1));
    let answer = produce_in(&mut bench, PRODUCE_ADDED, &mine, at, -1, &["x"]);
    assert_eq!(answer.error_code, 87, "no sequence");
    end(&mut bench, &mine, true);
    end(&mut bench, &other, true);
}
