//! Bad input to the requests that write within transactions or end them: offsets, ends and batches (core's `KafkaApis`,
//! storage's `LogValidator`).

use bytes::Bytes;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::PartitionProduceData;

use compat_tests::batch::{ATTRIBUTES_AT, Batch, reseal};
use compat_tests::requests::{
    committed, create_topic, fetch, find_coordinator as find_group_coordinator, new_topic, produce_request, unique,
    values,
};
use compat_tests::transactions::{
    ADD_OFFSETS, COMMIT_ADDED, COMMIT_ADDING, END_KEEPING, END_RAISING, PRODUCE_ADDED, PRODUCE_ADDING, Producer,
    add_offsets, add_partitions, begin, describe, end, new_producer, produce_in, produce_in_request, transactional_id,
    try_end, txn_commit, txn_commit_request,
};
use compat_tests::wire::{Connection, text};

use crate::Bench;

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
}

#[test]
fn every_offset_of_a_transaction_is_answered_for_itself() {
    let mut bench = Bench::new();
    let (topic, group) = (new_topic(&mut bench), unique("group"));
    find_group_coordinator(&mut bench, &group);
    let producer = new_producer(&mut bench);
    assert_eq!(add_offsets(&mut bench, ADD_OFFSETS, &producer, &group), 0);
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
    request.topics[0].partitions = vec![with(0), with(0).with_committed_offset(9)];
    let answer = bench.call(COMMIT_ADDED, &request);
    assert!(
        answer.topics[0].partitions.iter().all(|result| result.error_code == 0),
        "{answer:?}"
    );
    end(&mut bench, &producer, true);
    let told = committed(&mut bench, &group, &topic).committed_offset;
    assert_eq!(told, 9, "the later one of two");
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
fn produced(connection: &mut Connection, version: i16, request: &ProduceRequest) -> Vec<i16> {
    let answer = connection.call(version, request);
    let results = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    results.map(|result| result.error_code).collect()
}

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
    begin(&mut bench, &mine, at, 0, &["x"]);
    end(&mut bench, &mine, true);
    end(&mut bench, &other, true);
}

#[test]
fn what_produce_takes_beside_a_transaction() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 2, &[]);
    let mine = new_producer(&mut bench);
    let at = (topic.as_str(), 0);
    add_partitions(&mut bench, &mine, &[at, (&topic, 1)]);
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
}
