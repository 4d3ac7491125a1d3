//! Incremental fetch sessions (KIP-227; server's `FetchManager`, `FetchContext`, `FetchSession`).

use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest, FetchResponse};
use uuid::Uuid;

use compat_tests::batch::Batch;
use compat_tests::broker::{Broker, external_address};
use compat_tests::requests::{FETCH_BY_NAME, create_topic, fetch_request, produce, topic_name, unique, until, values};
use compat_tests::wire::Connection;

use crate::Bench;
use crate::offsets::topic_id;

/// A topic as requests name it, by name or by id.
struct Subject {
    name: String,
    id: Uuid,
    version: i16,
}

impl Subject {
    fn new(connection: &mut Connection, partitions: i32, version: i16) -> Self {
        let name = unique("sessions");
        create_topic(connection, &name, partitions, &[]);
        let id = topic_id(connection, &name);
        Self { name, id, version }
    }

    fn asked(&self, partitions: &[(i32, i64)]) -> FetchTopic {
        let asked = |&(partition, offset): &(i32, i64)| {
            FetchPartition::default()
                .with_partition(partition)
                .with_fetch_offset(offset)
                .with_current_leader_epoch(-1)
                .with_partition_max_bytes(1 << 20)
        };
        let topic = FetchTopic::default().with_partitions(partitions.iter().map(asked).collect());
        if self.version >= 13 {
            topic.with_topic_id(self.id)
        } else {
            topic.with_topic(topic_name(&self.name))
        }
    }

    fn forgotten(&self, partitions: &[i32]) -> ForgottenTopic {
        let topic = ForgottenTopic::default().with_partitions(partitions.to_vec());
        if self.version >= 13 {
            topic.with_topic_id(self.id)
        } else {
            topic.with_topic(topic_name(&self.name))
        }
    }

    /// A request of a session that does not wait.
    fn request(&self, session: (i32, i32), partitions: &[(i32, i64)]) -> FetchRequest {
        let mut request = fetch_request("", 0, 0, 0, 1);
        request.session_id = session.0;
        request.session_epoch = session.1;
        request.topics = if partitions.is_empty() {
            Vec::new()
        } else {
            vec![self.asked(partitions)]
        };
        request
    }

    fn fetch(&self, connection: &mut Connection, session: (i32, i32), partitions: &[(i32, i64)]) -> FetchResponse {
        connection.call(self.version, &self.request(session, partitions))
    }

    /// Begins a session with these partitions from offset 0; returns its id.
    fn begin(&self, connection: &mut Connection, partitions: i32) -> i32 {
        let all: Vec<_> = (0..partitions).map(|partition| (partition, 0)).collect();
        let answer = self.fetch(connection, (0, 0), &all);
        assert_eq!((answer.error_code, told(&answer).len()), (0, all.len()));
        assert!(answer.session_id > 0, "{answer:?}");
        answer.session_id
    }

    fn produce(&self, connection: &mut Connection, partition: i32, value: &str) {
        let answer = produce(connection, &self.name, partition, Batch::of(&[value]).encode());
        assert_eq!(answer.error_code, 0);
    }
}

/// Each partition of an answer: index, error, high watermark, values.
fn told(answer: &FetchResponse) -> Vec<(i32, i16, i64, Vec<String>)> {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    partitions
        .map(|data| (data.partition_index, data.error_code, data.high_watermark, values(data)))
        .collect()
}

fn value(value: &str) -> Vec<String> {
    vec![value.to_owned()]
}

#[test]
fn an_incremental_answer_has_only_what_changed() {
    let mut bench = Bench::new();
    for version in [7, 11, FETCH_BY_NAME, 13, 18] {
        let subject = Subject::new(&mut bench, 4, version);
        let id = subject.begin(&mut bench, 4);
        let quiet = subject.fetch(&mut bench, (id, 1), &[]);
        assert_eq!((quiet.session_id, told(&quiet)), (id, Vec::new()), "version {version}");
        subject.produce(&mut bench, 2, "a");
        let answer = subject.fetch(&mut bench, (id, 2), &[]);
        assert_eq!(told(&answer), [(2, 0, 1, value("a"))], "version {version}");
        let again = subject.fetch(&mut bench, (id, 3), &[]);
        assert_eq!(told(&again), [(2, 0, 1, value("a"))], "as long as the offset stays");
        let taken = subject.fetch(&mut bench, (id, 4), &[(2, 1)]);
        assert_eq!(told(&taken), [], "version {version}");
        subject.produce(&mut bench, 2, "b");
        subject.produce(&mut bench, 0, "c");
        let both = told(&subject.fetch(&mut bench, (id, 5), &[]));
        assert_eq!(
            both,
            [(0, 0, 1, value("c")), (2, 0, 2, value("b"))],
            "version {version}"
        );
    }
}

#[test]
fn who_gave_records_goes_to_the_end_of_the_order() {
    let mut bench = Bench::new();
    let subject = Subject::new(&mut bench, 3, FETCH_BY_NAME);
    let id = subject.begin(&mut bench, 3);
    for partition in 0..3 {
        subject.produce(&mut bench, partition, "x");
    }
    let mut served = Vec::new();
    for epoch in 1..=6 {
        let mut request = subject.request((id, epoch), &[]);
        request.max_bytes = 1; // one batch, whatever its size
        let answer = bench.call(subject.version, &request);
        let with_records = told(&answer).into_iter().filter(|(.., values)| !values.is_empty());
        served.extend(with_records.map(|(partition, ..)| partition));
    }
    assert_eq!(served, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn forgotten_partitions_are_not_answered() {
    let mut bench = Bench::new();
    for version in [FETCH_BY_NAME, 15] {
        let subject = Subject::new(&mut bench, 3, version);
        let id = subject.begin(&mut bench, 2);
        let mut request = subject.request((id, 1), &[(2, 0)]);
        request.forgotten_topics_data = vec![subject.forgotten(&[0, 7])];
        let answer = bench.call(version, &request);
        assert_eq!(told(&answer), [(2, 0, 0, Vec::new())], "the new one is told in full");
        for partition in 0..3 {
            subject.produce(&mut bench, partition, "x");
        }
        let partitions: Vec<_> = told(&subject.fetch(&mut bench, (id, 2), &[]))
            .iter()
            .map(|told| told.0)
            .collect();
        assert_eq!(partitions, [1, 2]);
        let mut request = subject.request((id, 3), &[]);
        request.forgotten_topics_data = vec![subject.forgotten(&[1, 2])];
        let last = bench.call(version, &request);
        assert_eq!(
            (last.error_code, last.session_id, told(&last)),
            (0, 0, Vec::new()),
            "nothing is left"
        );
        assert_eq!(subject.fetch(&mut bench, (id, 4), &[]).error_code, 70);
    }
}

#[test]
fn wrong_ids_and_epochs_are_refused() {
    let mut bench = Bench::new();
    let subject = Subject::new(&mut bench, 1, FETCH_BY_NAME);
    let id = subject.begin(&mut bench, 1);
    let mut code = |session| {
        let answer = subject.fetch(&mut bench, session, &[]);
        assert_eq!(answer.responses, Vec::new());
        (answer.error_code, answer.session_id)
    };
    assert_eq!(code((id, 1)), (0, id));
    assert_eq!(code((id, 1)), (71, 0), "once more");
    assert_eq!(code((id, 3)), (71, 0), "one is missing");
    assert_eq!(code((id, -7)), (71, 0));
    assert_eq!(code((id, i32::MAX)), (71, 0));
    assert_eq!(code((id, 2)), (0, id), "what was refused changed nothing");
    assert_eq!(code((id.wrapping_add(1), 1)), (70, 0));
    assert_eq!(code((-5, 1)), (70, 0));
    assert_eq!(code((0, 1)), (70, 0));
    if external_address().is_none() {
        // Apache Kafka fails in its own code
        assert_eq!(code((i32::MIN, i32::MIN)), (70, 0));
    }
}

#[test]
fn a_session_stays_with_names_or_with_ids() {
    let mut bench = Bench::new();
    for (version, other) in [(FETCH_BY_NAME, 13), (13, FETCH_BY_NAME)] {
        let mut subject = Subject::new(&mut bench, 1, version);
        let id = subject.begin(&mut bench, 1);
        subject.version = other;
        assert_eq!(subject.fetch(&mut bench, (id, 1), &[]).error_code, 106);
        subject.version = version;
        assert_eq!(subject.fetch(&mut bench, (id, 1), &[]).error_code, 0);
    }
}

#[test]
fn a_full_request_ends_the_session_that_it_names() {
    let mut bench = Bench::new();
    let subject = Subject::new(&mut bench, 1, FETCH_BY_NAME);
    let first = subject.begin(&mut bench, 1);
    let second = subject.fetch(&mut bench, (first, 0), &[(0, 0)]);
    assert!(second.session_id > 0 && second.session_id != first);
    assert_eq!(subject.fetch(&mut bench, (first, 1), &[]).error_code, 70);
    let closed = subject.fetch(&mut bench, (second.session_id, -1), &[(0, 0)]);
    assert_eq!((closed.error_code, closed.session_id, told(&closed).len()), (0, 0, 1));
    assert_eq!(subject.fetch(&mut bench, (second.session_id, 1), &[]).error_code, 70);
    let none = subject.fetch(&mut bench, (0, -1), &[(0, 0)]);
    assert_eq!((none.error_code, none.session_id, told(&none).len()), (0, 0, 1));
}

#[test]
fn a_session_is_not_bound_to_its_connection() {
    let mut bench = Bench::new();
    let subject = Subject::new(&mut bench, 2, FETCH_BY_NAME);
    let id = subject.begin(&mut bench.connect(), 2);
    subject.produce(&mut bench, 1, "a");
    let answer = subject.fetch(&mut bench, (id, 1), &[]);
    assert_eq!(told(&answer), [(1, 0, 1, value("a"))]);
}

/// The bound only tells a wake-up from a wait that ran its full 25 seconds.
#[test]
fn a_produce_wakes_a_session_of_many_partitions() {
    let mut bench = Bench::new();
    let subject = Subject::new(&mut bench, 50, 13);
    let id = subject.begin(&mut bench, 50);
    for epoch in 1..=4 {
        let mut request = subject.request((id, epoch), &[]);
        request.max_wait_ms = 25_000;
        let waiting = bench.send(subject.version, &request);
        thread::sleep(Duration::from_millis(100));
        let produced = Instant::now();
        let partition = epoch * 10;
        subject.produce(&mut bench.connect(), partition, "wakes");
        let answer = bench.receive::<FetchRequest>(subject.version, waiting);
        let told = told(&answer);
        // what came before is still there, since the client did not say that it took it
        assert!(
            told.iter().any(|told| *told == (partition, 0, 1, value("wakes"))) || epoch > 1,
            "{told:?}"
        );
        assert!(produced.elapsed() < Duration::from_secs(12), "{:?}", produced.elapsed());
    }
}

#[test]
fn a_session_waits_for_min_bytes_over_its_partitions() {
    let mut bench = Bench::new();
    let subject = Subject::new(&mut bench, 3, FETCH_BY_NAME);
    let id = subject.begin(&mut bench, 3);
    assert_eq!(told(&subject.fetch(&mut bench, (id, 1), &[])), []);
    let mut request = subject.request((id, 2), &[]);
    request.max_wait_ms = 25_000;
    request.min_bytes = 5_000;
    let waiting = bench.send(subject.version, &request);
    let mut other = bench.connect();
    let large = "x".repeat(2_000);
    for partition in [2, 0, 1] {
        subject.produce(&mut other, partition, &large);
    }
    let answer = bench.receive::<FetchRequest>(subject.version, waiting);
    let partitions: Vec<_> = told(&answer).iter().map(|told| (told.0, told.3.len())).collect();
    assert_eq!(
        partitions,
        [(0, 1), (1, 1), (2, 1)],
        "in the session's order, not that of the appends"
    );
}

/// In Apache Kafka the first one waits its time before it learns that.
#[test]
fn of_two_requests_at_once_the_later_one_has_the_session() {
    let mut bench = Bench::new();
    let subject = Subject::new(&mut bench, 2, FETCH_BY_NAME);
    let id = subject.begin(&mut bench, 2);
    let mut request = subject.request((id, 1), &[]);
    request.max_wait_ms = 3_000;
    let waiting = bench.send(subject.version, &request);
    thread::sleep(Duration::from_millis(200));
    let mut other = bench.connect();
    assert_eq!(subject.fetch(&mut other, (id, 2), &[]).error_code, 0);
    let first = bench.receive::<FetchRequest>(subject.version, waiting);
    assert_eq!((first.error_code, first.session_id, first.responses.len()), (71, id, 0));
    subject.produce(&mut other, 1, "a");
    assert_eq!(told(&subject.fetch(&mut other, (id, 3), &[])), [(1, 0, 1, value("a"))]);
}

#[test]
fn an_error_is_told_until_it_ends() {
    let mut bench = Bench::new();
    let subject = Subject::new(&mut bench, 1, FETCH_BY_NAME);
    let answer = subject.fetch(&mut bench, (0, 0), &[(0, 0), (7, 0)]);
    let id = answer.session_id;
    assert_eq!(told(&answer).iter().map(|told| told.1).collect::<Vec<_>>(), [0, 3]);
    for epoch in 1..=3 {
        let answer = subject.fetch(&mut bench, (id, epoch), &[]);
        assert_eq!(told(&answer), [(7, 3, -1, Vec::new())]);
    }
    let out_of_range = subject.fetch(&mut bench, (id, 4), &[(0, 99)]);
    assert_eq!(
        told(&out_of_range).iter().map(|told| told.1).collect::<Vec<_>>(),
        [1, 3]
    );
    let mut request = subject.request((id, 5), &[(0, 0)]);
    request.forgotten_topics_data = vec![subject.forgotten(&[7])];
    let answer = bench.call(subject.version, &request);
    assert_eq!(
        told(&answer),
        [(0, 0, 0, Vec::new())],
        "told again although its offsets did not change"
    );
    assert_eq!(told(&subject.fetch(&mut bench, (id, 6), &[])), []);
}

fn delete(connection: &mut Connection, topic: &str) {
    let state = DeleteTopicState::default().with_name(Some(topic_name(topic)));
    let request = DeleteTopicsRequest::default()
        .with_topics(vec![state])
        .with_timeout_ms(30_000);
    assert_eq!(connection.call(6, &request).responses[0].error_code, 0);
}

#[test]
fn deletion_and_recreation_are_noticed_by_id() {
    let mut bench = Bench::new();
    let subject = Subject::new(&mut bench, 2, 13);
    subject.produce(&mut bench, 0, "old");
    let id = subject.begin(&mut bench, 2);
    let mut epoch = 1;
    let mut codes = |bench: &mut Bench, expected: i16| {
        until("the session tells", || {
            let answer = subject.fetch(bench, (id, epoch), &[]);
            epoch += 1;
            let told: Vec<_> = told(&answer).iter().map(|told| (told.0, told.1)).collect();
            (told == [(0, expected), (1, expected)]).then_some(())
        });
    };
    subject.fetch(&mut bench, (0, -1), &[(0, 0)]);
    delete(&mut bench, &subject.name);
    codes(&mut bench, 3);
    create_topic(&mut bench, &subject.name, 2, &[]);
    codes(&mut bench, 103);
    let fresh = subject.fetch(&mut bench, (0, 0), &[(0, 0)]);
    assert_eq!(
        told(&fresh)[0].1,
        100,
        "whoever never knew the id is told that it is unknown"
    );
}

#[test]
fn recreation_is_followed_by_name() {
    let mut bench = Bench::new();
    let subject = Subject::new(&mut bench, 1, FETCH_BY_NAME);
    subject.produce(&mut bench, 0, "old");
    let id = subject.begin(&mut bench, 1);
    assert_eq!(told(&subject.fetch(&mut bench, (id, 1), &[(0, 1)])), []);
    delete(&mut bench, &subject.name);
    create_topic(&mut bench, &subject.name, 1, &[]);
    subject.produce(&mut bench, 0, "new");
    let mut epoch = 2;
    until("the session sees the new topic", || {
        let answer = told(&subject.fetch(&mut bench, (id, epoch), &[(0, 0)]));
        epoch += 1;
        (answer == [(0, 0, 1, value("new"))]).then_some(())
    });
}

#[test]
fn a_partition_that_is_named_twice_counts_once() {
    let mut bench = Bench::new();
    let subject = Subject::new(&mut bench, 2, FETCH_BY_NAME);
    subject.produce(&mut bench, 0, "a");
    subject.produce(&mut bench, 0, "b");
    subject.produce(&mut bench, 1, "c");
    let mut request = subject.request((0, 0), &[(0, 0), (1, 0), (0, 1)]);
    request.topics.push(subject.asked(&[(1, 0)]));
    let answer = bench.call(subject.version, &request);
    assert_eq!(told(&answer), [(0, 0, 2, value("b")), (1, 0, 1, value("c"))]);
    let many: Vec<_> = (0..100_000).map(|_| (0, 0)).collect();
    let answer = subject.fetch(&mut bench, (answer.session_id, 1), &many);
    let partitions: Vec<_> = told(&answer).iter().map(|told| told.0).collect();
    assert_eq!(partitions, [0, 1]);
}

#[test]
fn a_log_start_that_moved_is_told() {
    let mut bench = Bench::new();
    let subject = Subject::new(&mut bench, 2, FETCH_BY_NAME);
    for _ in 0..3 {
        subject.produce(&mut bench, 1, "x");
    }
    let answer = subject.fetch(&mut bench, (0, 0), &[(0, 0), (1, 3)]);
    let id = answer.session_id;
    for epoch in 1..=3 {
        assert_eq!(told(&subject.fetch(&mut bench, (id, epoch), &[])), []);
    }
    let partition = DeleteRecordsPartition::default().with_partition_index(1).with_offset(2);
    let topic = DeleteRecordsTopic::default()
        .with_name(topic_name(&subject.name))
        .with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000);
    assert_eq!(bench.call(2, &request).topics[0].partitions[0].low_watermark, 2);
    let answer = subject.fetch(&mut bench, (id, 4), &[]);
    assert_eq!(told(&answer), [(1, 0, 3, Vec::new())]);
    assert_eq!(answer.responses[0].partitions[0].log_start_offset, 2);
    assert_eq!(told(&subject.fetch(&mut bench, (id, 5), &[])), []);
}

#[test]
fn without_slots_there_are_no_sessions() {
    if external_address().is_some() {
        return;
    }
    for setting in [
        "max.incremental.fetch.session.cache.slots=0",
        "monedula.fetch.session.cache.max.bytes=1000",
    ] {
        let mut bench = Bench::on(Broker::start(&[setting]));
        let subject = Subject::new(&mut bench, 10, FETCH_BY_NAME);
        let all: Vec<_> = (0..10).map(|partition| (partition, 0)).collect();
        let answer = subject.fetch(&mut bench, (0, 0), &all);
        assert_eq!((answer.session_id, told(&answer).len()), (0, 10), "{setting}");
    }
}

#[test]
fn young_sessions_keep_their_slots() {
    if external_address().is_some() {
        return;
    }
    let mut bench = Bench::on(Broker::start(&["max.incremental.fetch.session.cache.slots=2"]));
    let subject = Subject::new(&mut bench, 3, FETCH_BY_NAME);
    let (first, second) = (subject.begin(&mut bench, 1), subject.begin(&mut bench, 1));
    let third = subject.fetch(&mut bench, (0, 0), &[(0, 0), (1, 0), (2, 0)]);
    assert_eq!((third.error_code, third.session_id), (0, 0));
    for id in [first, second] {
        assert_eq!(subject.fetch(&mut bench, (id, 1), &[]).error_code, 0);
    }
}

#[test]
fn a_session_that_outgrows_its_room_has_to_begin_anew() {
    if external_address().is_some() {
        return;
    }
    let mut bench = Bench::on(Broker::start(&["monedula.fetch.session.cache.max.bytes=20000"]));
    let subject = Subject::new(&mut bench, 1, FETCH_BY_NAME);
    let id = subject.begin(&mut bench, 1);
    let strangers: Vec<_> = (0..1_000).map(|partition| (partition, 0)).collect();
    assert_eq!(subject.fetch(&mut bench, (id, 1), &strangers).error_code, 70);
    assert_eq!(subject.fetch(&mut bench, (id, 2), &[]).error_code, 70, "it is gone");
    assert!(subject.begin(&mut bench, 1) > 0, "and its room is free");
}
