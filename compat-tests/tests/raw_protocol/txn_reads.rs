//! What readers see of transactions: the last stable offset, the list of aborted transactions, markers, times, and waiting
//! (storage's `UnifiedLog`, `ProducerStateManager` and `TransactionIndex`, server's `DelayedFetch`).

use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_response::PartitionData;

use compat_tests::batch::Content;
use compat_tests::broker::external_address;
use compat_tests::requests::{
    FETCH_BY_NAME, create_topic, delete_records, fetch, new_topic, produce_values, topic_name, unique, until,
};
use compat_tests::transactions::{
    PRODUCE_ADDED, PRODUCE_ADDING, Producer, aborted, add_partitions, begin, committed_fetch_request, delivered, end,
    end_raising, fetch_committed, new_producer, offset_at, produce_in, seen, settled, try_end,
};
use compat_tests::wire::Connection;

use crate::Bench;
use crate::offsets::topic_id;

fn only(mut response: kafka_protocol::messages::FetchResponse) -> PartitionData {
    assert_eq!((response.error_code, response.responses.len()), (0, 1));
    response.responses.remove(0).partitions.remove(0)
}

/// Error code, high watermark, last stable offset.
fn ends(data: &PartitionData) -> (i16, i64, i64) {
    (data.error_code, data.high_watermark, data.last_stable_offset)
}

fn goes_on(connection: &mut Connection, producer: &Producer, topic: &str, sequence: i32, values: &[&str]) -> i64 {
    let answer = produce_in(connection, PRODUCE_ADDED, producer, (topic, 0), sequence, values);
    assert_eq!(answer.error_code, 0);
    answer.base_offset
}

#[test]
fn an_open_transaction_holds_readers_of_the_committed_back() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce_values(&mut bench, &topic, &["plain"]);
    let producer = new_producer(&mut bench);
    add_partitions(&mut bench, &producer, &[(&topic, 0)]);
    let data = fetch_committed(&mut bench, &topic, 0);
    assert_eq!(ends(&data), (0, 1, 1), "without a record nothing is open here");
    assert_eq!(goes_on(&mut bench, &producer, &topic, 0, &["a", "b"]), 1);
    produce_values(&mut bench, &topic, &["behind"]);
    let data = fetch_committed(&mut bench, &topic, 0);
    assert_eq!(ends(&data), (0, 4, 1));
    assert_eq!((delivered(&data, 0), seen(&data).len()), (vec!["plain".to_owned()], 1));
    assert_eq!(aborted(&data), Some(vec![]));
    for offset in 1..=4 {
        let data = fetch_committed(&mut bench, &topic, offset);
        assert_eq!(ends(&data), (0, 4, 1), "offset {offset}");
        assert_eq!(data.records.map(|bytes| bytes.len()), Some(0), "offset {offset}");
    }
    assert_eq!(
        fetch_committed(&mut bench, &topic, 5).error_code,
        1,
        "the end of the log is the limit"
    );
    let all = fetch(&mut bench, &topic, 0, 0);
    assert_eq!(ends(&all), (0, 4, 1), "who reads everything is told as well");
    assert_eq!((seen(&all).len(), aborted(&all)), (3, None));
    end(&mut bench, &producer, true);
    let data = fetch_committed(&mut bench, &topic, 0);
    assert_eq!(ends(&data), (0, 5, 5));
    assert_eq!(delivered(&data, 0), ["plain", "a", "b", "behind"]);
    assert_eq!(aborted(&data), Some(vec![]));
}

#[test]
fn an_aborted_transaction_is_named_to_readers_of_the_committed() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producer = new_producer(&mut bench);
    begin(&mut bench, &producer, (&topic, 0), 0, &["a", "b"]);
    produce_values(&mut bench, &topic, &["plain"]);
    goes_on(&mut bench, &producer, &topic, 2, &["c"]);
    end(&mut bench, &producer, false);
    produce_values(&mut bench, &topic, &["behind"]);
    let data = fetch_committed(&mut bench, &topic, 0);
    assert_eq!(ends(&data), (0, 6, 6));
    assert_eq!(aborted(&data), Some(vec![(producer.id, 0)]));
    assert_eq!(delivered(&data, 0), ["plain", "behind"]);
    assert_eq!(seen(&data).len(), 5, "the broker leaves nothing out");
    // From the middle: inside the first batch, behind it, at the second batch, at the marker, behind it.
    for (offset, named, values) in [
        (1, true, &["plain", "behind"][..]),
        (2, true, &["plain", "behind"]),
        (3, true, &["behind"]),
        (4, true, &["behind"]),
        (5, false, &["behind"]),
        (6, false, &[]),
    ] {
        let data = fetch_committed(&mut bench, &topic, offset);
        let due = if named { vec![(producer.id, 0)] } else { vec![] };
        assert_eq!(aborted(&data), Some(due), "offset {offset}");
        assert_eq!(delivered(&data, offset), values, "offset {offset}");
    }
    let all = fetch(&mut bench, &topic, 0, 0);
    assert_eq!(
        (aborted(&all), seen(&all)),
        (None, seen(&data)),
        "everyone gets the same bytes"
    );
}

#[test]
fn markers_are_control_batches() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producer = new_producer(&mut bench);
    begin(&mut bench, &producer, (&topic, 0), 0, &["a"]);
    end(&mut bench, &producer, true);
    begin(&mut bench, &producer, (&topic, 0), 1, &["b"]);
    let raised = end_raising(&mut bench, &producer, false);
    let batches = seen(&fetch(&mut bench, &topic, 0, 0));
    assert_eq!(batches.len(), 4);
    for (batch, committed, epoch) in [(&batches[1], true, producer.epoch), (&batches[3], false, raised.epoch)] {
        assert_eq!(
            (batch.base_offset, batch.last_offset),
            (batch.base_offset, batch.base_offset)
        );
        assert_eq!(batch.producer, (producer.id, epoch, -1), "{batch:?}");
        assert!(batch.transactional);
        let Content::Marker {
            committed: told,
            coordinator_epoch,
        } = batch.content
        else {
            panic!("a marker is due, not {batch:?}");
        };
        assert_eq!(told, committed);
        assert!(coordinator_epoch >= 0, "{coordinator_epoch}");
    }
    assert_eq!(batches[0].producer, (producer.id, producer.epoch, 0));
    assert_eq!(batches[0].content, Content::Values(vec!["a".to_owned()]));
}

/// A transaction that got no record into a partition leaves its marker there all the same.
#[test]
fn partitions_without_records_get_markers() {
    let mut bench = Bench::new();
    let topic = unique("topic");
    create_topic(&mut bench, &topic, 2, &[]);
    let producer = new_producer(&mut bench);
    add_partitions(&mut bench, &producer, &[(&topic, 1)]);
    begin(&mut bench, &producer, (&topic, 0), 0, &["a"]);
    end(&mut bench, &producer, false);
    let data = fetch(&mut bench, &topic, 1, 0);
    assert_eq!(ends(&data), (0, 1, 1));
    assert!(matches!(
        seen(&data)[0].content,
        Content::Marker { committed: false, .. }
    ));
    let mut request = committed_fetch_request(&topic, 0, 0);
    request.topics[0].partitions[0].partition = 1;
    let data = only(bench.call(FETCH_BY_NAME, &request));
    assert_eq!(aborted(&data), Some(vec![]), "there is nothing to skip");
}

/// Three producers whose transactions overlap, nest and follow each other.
#[test]
fn several_producers_at_once() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producers: Vec<_> = (0..3).map(|_| new_producer(&mut bench)).collect();
    let [a, b, c] = &producers[..] else { panic!("three") };
    begin(&mut bench, a, (&topic, 0), 0, &["a0"]); // 0
    begin(&mut bench, b, (&topic, 0), 0, &["b1"]); // 1
    begin(&mut bench, c, (&topic, 0), 0, &["c2"]); // 2
    goes_on(&mut bench, a, &topic, 1, &["a3"]); // 3
    let lso = |connection: &mut Connection| fetch_committed(connection, &topic, 0).last_stable_offset;
    assert_eq!(lso(&mut bench), 0);
    end(&mut bench, b, false); // 4
    assert_eq!(lso(&mut bench), 0, "a is still open");
    begin(&mut bench, b, (&topic, 0), 1, &["b5"]); // 5
    end(&mut bench, a, true); // 6
    assert_eq!(lso(&mut bench), 2, "c is still open");
    let data = fetch_committed(&mut bench, &topic, 0);
    assert_eq!(delivered(&data, 0), ["a0"]);
    assert_eq!(aborted(&data), Some(vec![(b.id, 1)]));
    begin(&mut bench, a, (&topic, 0), 2, &["a7"]); // 7
    end(&mut bench, c, false); // 8
    assert_eq!(lso(&mut bench), 5, "b is open again");
    end(&mut bench, a, false); // 9
    end(&mut bench, b, true); // 10
    assert_eq!(lso(&mut bench), 11);
    let mut data = fetch_committed(&mut bench, &topic, 0);
    assert_eq!(delivered(&data, 0), ["a0", "a3", "b5"]);
    let mut due = vec![(b.id, 1), (c.id, 2), (a.id, 7)];
    assert_eq!(aborted(&data), Some(due.clone()), "in the order of their first offsets");
    // From every offset on, as a reader that comes back there.
    for offset in 0..11 {
        data = fetch_committed(&mut bench, &topic, offset);
        due.retain(|&(id, _)| {
            (id == b.id && offset <= 4) || (id == c.id && offset <= 8) || (id == a.id && offset <= 9)
        });
        let mut named = aborted(&data).expect("a list");
        assert!(named.is_sorted_by_key(|&(_, first)| first), "{named:?}");
        named.sort_unstable();
        let mut wanted = due.clone();
        wanted.sort_unstable();
        assert_eq!(named, wanted, "offset {offset}");
        let values = [(0, "a0"), (3, "a3"), (5, "b5")];
        let wanted: Vec<_> = values
            .iter()
            .filter(|(at, _)| *at >= offset)
            .map(|(_, value)| *value)
            .collect();
        assert_eq!(delivered(&data, offset), wanted, "offset {offset}");
    }
}

/// Small segments: transactions reach over many of them, and the lists of aborted ones with them.
#[test]
fn transactions_reach_over_segments() {
    let mut bench = Bench::new();
    let topic = unique("rolled");
    create_topic(
        &mut bench,
        &topic,
        1,
        &[("segment.bytes", "1048576"), ("max.message.bytes", "1048576")],
    );
    let filler = "x".repeat(400_000);
    let (long, short) = (new_producer(&mut bench), new_producer(&mut bench));
    begin(&mut bench, &long, (&topic, 0), 0, &["long"]);
    let mut wanted = Vec::new();
    for round in 0..6 {
        begin(
            &mut bench,
            &short,
            (&topic, 0),
            round * 2,
            &[&format!("short {round}"), &filler],
        );
        goes_on(&mut bench, &long, &topic, round + 1, &[&filler]);
        end(&mut bench, &short, round % 2 == 0);
        if round % 2 == 0 {
            wanted.extend([format!("short {round}"), filler.clone()]);
        }
    }
    assert_eq!(fetch_committed(&mut bench, &topic, 0).last_stable_offset, 0);
    end(&mut bench, &long, false);
    let read = |connection: &mut Connection, first: i64| {
        let (mut position, mut values, mut named) = (first, Vec::new(), Vec::new());
        loop {
            let mut request = committed_fetch_request(&topic, position, 0);
            request.topics[0].partitions[0].partition_max_bytes = 700_000;
            let data = only(connection.call(FETCH_BY_NAME, &request));
            assert_eq!(data.error_code, 0);
            let Some(last) = seen(&data).last().map(|batch| batch.last_offset) else {
                return (values, named, position);
            };
            values.extend(delivered(&data, position));
            named.extend(aborted(&data).expect("a list"));
            position = last + 1;
        }
    };
    let (values, mut named, end_offset) = read(&mut bench, 0);
    assert_eq!(values.len(), wanted.len());
    assert!(values == wanted, "other values of the same number");
    named.sort_unstable();
    named.dedup();
    assert_eq!(named.iter().filter(|(id, _)| *id == long.id).count(), 1);
    assert_eq!(named.iter().filter(|(id, _)| *id == short.id).count(), 3);
    if external_address().is_none() {
        for kill in [false, true] {
            restart(&mut bench, kill, &topic);
            let (again, mut named_again, end_again) = read(&mut bench, 0);
            named_again.sort_unstable();
            named_again.dedup();
            assert!(again == values, "other values after a restart");
            assert_eq!((named_again, end_again), (named.clone(), end_offset));
        }
    }
    // What is deleted takes its part of the list with it; the long transaction is still skipped.
    let middle = end_offset - 3;
    assert_eq!(delete_records(&mut bench, &topic, 0, middle), (middle, 0));
    let data = fetch_committed(&mut bench, &topic, middle);
    let named = aborted(&data).expect("a list");
    assert!(named.contains(&(long.id, 0)), "{named:?}");
    assert_eq!(delivered(&data, middle), Vec::<String>::new());
}

/// Stops the broker and starts it again; `topic` serves when this returns.
fn restart(bench: &mut Bench, kill: bool, topic: &str) {
    if kill {
        bench.broker.kill();
    } else {
        bench.broker.stop();
    }
    bench.broker.restart();
    bench.connection = bench.broker.connect();
    bench.bystander = bench.broker.connect();
    until("the partition serves", || {
        (fetch(bench, topic, 0, 0).error_code == 0).then_some(())
    });
}

#[test]
fn list_offsets_ends_where_its_reader_ends() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce_values(&mut bench, &topic, &["plain", "plain"]);
    let producer = new_producer(&mut bench);
    begin(&mut bench, &producer, (&topic, 0), 0, &["a", "b"]);
    let connection: &mut Connection = &mut bench;
    for version in 2..=11 {
        let mut at = |timestamp, isolation| offset_at(connection, version, &topic, timestamp, isolation);
        assert_eq!((at(-1, 0), at(-1, 1)), (Some(4), Some(2)), "latest, version {version}");
        assert_eq!(
            (at(-2, 0), at(-2, 1)),
            (Some(0), Some(0)),
            "earliest, version {version}"
        );
    }
    let stamp = |connection: &mut Connection| {
        // the transaction's records are the youngest ones
        let answer = compat_tests::requests::list_offsets(connection, &topic, 0, -3);
        (answer.offset, answer.timestamp)
    };
    let (offset, timestamp) = stamp(connection);
    assert_eq!(offset, 3);
    assert_eq!(offset_at(connection, 7, &topic, timestamp, 0), Some(3));
    assert_eq!(
        offset_at(connection, 7, &topic, timestamp, 1),
        Some(-1),
        "no time is found behind the end"
    );
    end(connection, &producer, false);
    assert_eq!(offset_at(connection, 7, &topic, -1, 1), Some(5), "behind the marker");
    assert_eq!(
        offset_at(connection, 7, &topic, timestamp, 1),
        Some(3),
        "times know nothing of aborts"
    );
}

/// The bound only tells a wake-up from a wait that ran its full 25 seconds.
#[test]
fn the_marker_wakes_who_waits_for_the_committed() {
    let mut bench = Bench::new();
    for committed in [true, false] {
        let topic = new_topic(&mut bench);
        let producer = new_producer(&mut bench);
        begin(&mut bench, &producer, (&topic, 0), 0, &["a"]);
        let waiting = bench.send(FETCH_BY_NAME, &committed_fetch_request(&topic, 0, 25_000));
        thread::sleep(Duration::from_millis(200));
        let mut other = bench.connect();
        goes_on(&mut other, &producer, &topic, 1, &["b"]);
        thread::sleep(Duration::from_millis(200));
        let ended = Instant::now();
        end(&mut other, &producer, committed);
        let data = only(bench.receive::<FetchRequest>(FETCH_BY_NAME, waiting));
        assert!(ended.elapsed() < Duration::from_secs(12), "{:?}", ended.elapsed());
        assert_eq!(ends(&data), (0, 3, 3), "the marker woke it, not the second record");
        let wanted: &[&str] = if committed { &["a", "b"] } else { &[] };
        assert_eq!(delivered(&data, 0), wanted);
    }
}

/// In a session, too, the marker is news for a partition whose reader had got everything that was stable.
#[test]
fn sessions_learn_of_markers() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let id = topic_id(&mut bench, &topic);
    produce_values(&mut bench, &topic, &["plain"]);
    let producer = new_producer(&mut bench);
    let mut request = committed_fetch_request("", 0, 0);
    request.topics[0].topic = topic_name("");
    request.topics[0].topic_id = id;
    request.session_epoch = 0;
    let first = bench.call(13, &request);
    let session = first.session_id;
    assert_eq!(delivered(&only(first), 0), ["plain"]);
    begin(&mut bench, &producer, (&topic, 0), 0, &["a"]);
    request.session_id = session;
    request.session_epoch = 1;
    request.topics[0].partitions[0].fetch_offset = 1;
    // The high watermark has moved, so the partition may be told; records it has none.
    let second = bench.call(13, &request);
    for data in second.responses.iter().flat_map(|topic| &topic.partitions) {
        assert_eq!((data.last_stable_offset, seen(data).len()), (1, 0));
    }
    request.session_epoch = 2;
    request.topics.clear();
    request.max_wait_ms = 25_000;
    let waiting = bench.send(13, &request);
    end(&mut bench.connect(), &producer, false);
    let data = only(bench.receive::<FetchRequest>(13, waiting));
    assert_eq!(aborted(&data), Some(vec![(producer.id, 1)]));
    assert_eq!(data.last_stable_offset, 3);
}

/// Every version of Fetch that knows isolation tells the same.
#[test]
fn every_version_of_fetch_tells_the_same() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let id = topic_id(&mut bench, &topic);
    let (gone, open) = (new_producer(&mut bench), new_producer(&mut bench));
    begin(&mut bench, &gone, (&topic, 0), 0, &["a"]);
    end(&mut bench, &gone, false);
    let answer = produce_in(&mut bench, PRODUCE_ADDING, &open, (&topic, 0), 0, &["b"]);
    assert_eq!(answer.error_code, 0);
    for version in 4..=18 {
        let mut request = committed_fetch_request(&topic, 0, 0);
        if version < 7 {
            request.session_epoch = FetchRequest::default().session_epoch;
        }
        if version >= 13 {
            request.topics[0].topic = topic_name("");
            request.topics[0].topic_id = id;
        }
        let data = only(bench.call(version, &request));
        assert_eq!(ends(&data), (0, 3, 2), "version {version}");
        assert_eq!(aborted(&data), Some(vec![(gone.id, 0)]), "version {version}");
        assert_eq!(seen(&data).len(), 2, "version {version}");
        request.isolation_level = 0;
        let data = only(bench.call(version, &request));
        assert_eq!((ends(&data), aborted(&data)), ((0, 3, 2), None), "version {version}");
        assert_eq!(seen(&data).len(), 3, "version {version}");
    }
    end(&mut bench, &open, true);
}

/// What was open stays open over a restart and is still ended; what was told is told again.
#[test]
fn a_restart_changes_nothing_for_readers() {
    if external_address().is_some() {
        return;
    }
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producers: Vec<_> = (0..4).map(|_| new_producer(&mut bench)).collect();
    let [committed, gone, open, late] = &producers[..] else {
        panic!("four")
    };
    begin(&mut bench, committed, (&topic, 0), 0, &["committed"]);
    begin(&mut bench, gone, (&topic, 0), 0, &["gone"]);
    end(&mut bench, committed, true);
    end(&mut bench, gone, false);
    begin(&mut bench, open, (&topic, 0), 0, &["open"]);
    begin(&mut bench, late, (&topic, 0), 0, &["late"]);
    let before = fetch_committed(&mut bench, &topic, 0);
    assert_eq!(ends(&before), (0, 6, 4));
    for kill in [true, false, true] {
        restart(&mut bench, kill, &topic);
        let after = fetch_committed(&mut bench, &topic, 0);
        assert_eq!(ends(&after), ends(&before), "kill {kill}");
        assert_eq!(
            (aborted(&after), after.records),
            (aborted(&before), before.records.clone())
        );
        assert_eq!(offset_at(&mut bench, 7, &topic, -1, 1), Some(4));
        let known = settled(&mut bench, &open.transactional_id);
        assert_eq!(known.transaction_state.as_str(), "Ongoing");
    }
    goes_on(&mut bench, open, &topic, 1, &["goes on"]);
    end(&mut bench, open, true);
    assert_eq!(fetch_committed(&mut bench, &topic, 0).last_stable_offset, 5);
    let answer = try_end(&mut bench, 4, late, false);
    assert_eq!(answer.error_code, 0);
    settled(&mut bench, &late.transactional_id);
    let data = fetch_committed(&mut bench, &topic, 0);
    assert_eq!(delivered(&data, 0), ["committed", "open", "goes on"]);
    assert_eq!(aborted(&data), Some(vec![(gone.id, 1), (late.id, 5)]));
}
