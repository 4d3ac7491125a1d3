//! kill -9 amid admin changes, again and again, and SIGTERM too: after the restart each change is wholly there or wholly
//! absent, and every acknowledged one is there.
//!
//! `MONEDULA_CRASH_ROUNDS` sets how often it is killed (default 5). Each kind of change goes on in a thread of its own, one
//! request after the other, so that at a kill at most one of each kind is in doubt. **Checked after each restart:** added
//! partitions come as many as were asked for, and serve; configs of a topic, of the cluster and quotas that were set
//! together have the same number; the start of a partition is where the last deletion of records put it, and all records
//! from there on are there; deleted topics are gone from the metadata and the disk, others have their records; deleted
//! groups have no offsets, others have all of theirs.

use std::collections::BTreeSet;
use std::env;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kafka_protocol::messages::{CreateTopicsRequest, DeleteGroupsRequest};

use compat_tests::admin::{
    BROKER, SET, TOPIC, alter_request, delete_records_request, delete_topics_request, describe_topic,
    partitions_request, quotas, quotas_request, value_of,
};
use compat_tests::batch::{Batch, parse_all};
use compat_tests::broker::{Broker, QUICK, external_address};
use compat_tests::requests::{
    CREATE_TOPICS, FETCH_BY_NAME, PRODUCE_BY_NAME, commit_request, committed, creatable, create_topic, fetch,
    fetch_request, find_coordinator, group_id, list_offsets, new_topic, produce_request, unique, until, values,
};
use compat_tests::wire::Connection;

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// Whether a change was acknowledged; codes that a broker may answer while it stops are the end like a closed connection.
fn acknowledged(code: i16) -> io::Result<()> {
    match code {
        0 => Ok(()),
        6 | 7 | 14..=16 | 41 => Err(io::Error::other("the broker is on its way out")),
        _ => panic!("refused with {code}"),
    }
}

/// One kind of change.
trait Work: Send {
    /// One change; an error is the end of the broker.
    fn step(&mut self, connection: &mut Connection) -> io::Result<()>;
    /// Looks at what is left of all of them, and settles the one in doubt.
    fn verify(&mut self, connection: &mut Connection, broker: &Broker);
    /// How many were acknowledged.
    fn done(&self) -> usize;
}

/// Partitions are added, three at a time.
struct Partitions {
    topic: String,
    acknowledged: i32,
    attempted: i32,
    done: usize,
}

impl Partitions {
    const AT_ONCE: i32 = 3;

    fn new(connection: &mut Connection) -> Self {
        Self {
            topic: new_topic(connection),
            acknowledged: 1,
            attempted: 1,
            done: 0,
        }
    }
}

impl Work for Partitions {
    fn step(&mut self, connection: &mut Connection) -> io::Result<()> {
        if self.acknowledged > 60 {
            let topic = unique("topic");
            make_topic(connection, &topic, 1)?;
            (self.topic, self.acknowledged, self.attempted) = (topic, 1, 1);
        }
        self.attempted = self.acknowledged + Self::AT_ONCE;
        let request = partitions_request(&[(&self.topic, self.attempted)]);
        let answer = connection.try_call(3, &request)?;
        acknowledged(answer.results[0].error_code)?;
        self.acknowledged = self.attempted;
        self.done += 1;
        Ok(())
    }

    fn verify(&mut self, connection: &mut Connection, _: &Broker) {
        let found = describe_topic(connection, &self.topic).partitions.len();
        let found = i32::try_from(found).expect("few partitions");
        assert!(
            found == self.acknowledged || found == self.attempted,
            "{found} partitions where {} were acknowledged and {} attempted",
            self.acknowledged,
            self.attempted
        );
        for index in 0..found {
            until("every partition serves", || {
                (list_offsets(connection, &self.topic, index, LATEST).error_code == 0).then_some(())
            });
        }
        (self.acknowledged, self.attempted) = (found, found);
    }

    fn done(&self) -> usize {
        self.done
    }
}

/// Two settings of one thing that are always set to the same number in one request.
struct Numbered {
    kind: Kind,
    acknowledged: u32,
    attempted: u32,
}

enum Kind {
    Topic(String),
    Cluster,
    User(String),
}

impl Numbered {
    const FIRST: u32 = 10_000;

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            acknowledged: Self::FIRST,
            attempted: Self::FIRST,
        }
    }

    fn set(&self, connection: &mut Connection, number: u32) -> io::Result<i16> {
        let text = number.to_string();
        let alter = |connection: &mut Connection, resource, keys: [&str; 2]| {
            let request = alter_request(&[(resource, &keys.map(|key| (key, SET, Some(&text[..]))))]);
            Ok(connection.try_call(1, &request)?.responses[0].error_code)
        };
        match &self.kind {
            Kind::Topic(topic) => alter(connection, (TOPIC, topic), TOPIC_KEYS),
            Kind::Cluster => alter(connection, (BROKER, ""), CLUSTER_KEYS),
            Kind::User(user) => {
                let ops = QUOTA_KEYS.map(|key| (key, Some(f64::from(number))));
                let request = quotas_request(&[(&[("user", Some(user))], &ops)]);
                Ok(connection.try_call(1, &request)?.entries[0].error_code)
            }
        }
    }

    fn get(&self, connection: &mut Connection) -> [u32; 2] {
        let read = |connection: &mut Connection, resource, key| {
            let (value, _) = value_of(connection, resource, key);
            value.and_then(|value| value.parse().ok()).expect("a number")
        };
        match &self.kind {
            Kind::Topic(topic) => TOPIC_KEYS.map(|key| read(connection, (TOPIC, topic), key)),
            Kind::Cluster => CLUSTER_KEYS.map(|key| read(connection, (BROKER, ""), key)),
            Kind::User(user) => {
                let found = quotas(connection, &[("user", 0, Some(user))], true);
                assert_eq!(found.len(), 1, "{found:?}");
                let number = |key: &str| found[0].1.iter().find(|quota| quota.0 == key).map(|quota| quota.1);
                QUOTA_KEYS.map(|key| {
                    format!("{}", number(key).expect("it was set"))
                        .parse()
                        .expect("a whole number")
                })
            }
        }
    }
}

const TOPIC_KEYS: [&str; 2] = ["flush.ms", "segment.jitter.ms"];
const CLUSTER_KEYS: [&str; 2] = ["log.index.interval.bytes", "log.flush.interval.messages"];
const QUOTA_KEYS: [&str; 2] = ["producer_byte_rate", "consumer_byte_rate"];

impl Work for Numbered {
    fn step(&mut self, connection: &mut Connection) -> io::Result<()> {
        self.attempted = self.acknowledged + 1;
        acknowledged(self.set(connection, self.attempted)?)?;
        self.acknowledged = self.attempted;
        Ok(())
    }

    fn verify(&mut self, connection: &mut Connection, _: &Broker) {
        if self.attempted == Self::FIRST {
            return; // nothing was set yet
        }
        if self.acknowledged == Self::FIRST {
            // Whether the first one came through cannot be told apart from never having been asked for.
            self.step(connection).expect("the broker runs again");
        }
        let [one, two] = self.get(connection);
        assert_eq!(one, two, "half of a change");
        assert!(
            one == self.acknowledged || one == self.attempted,
            "{one} where {} was acknowledged and {} attempted",
            self.acknowledged,
            self.attempted
        );
        (self.acknowledged, self.attempted) = (one, one);
    }

    fn done(&self) -> usize {
        usize::try_from(self.acknowledged - Self::FIRST).expect("few steps")
    }
}

/// Records come in at the end and are deleted at the start, over many small segments.
struct Records {
    topic: String,
    /// The end, and where the start was put.
    end: i64,
    acknowledged: i64,
    attempted: i64,
    done: usize,
}

impl Records {
    const AT_ONCE: i64 = 10;

    fn new(connection: &mut Connection) -> Self {
        let topic = unique("records");
        let small = [("segment.bytes", "1048576"), ("file.delete.delay.ms", "0")];
        create_topic(connection, &topic, 1, &small);
        Self {
            topic,
            end: 0,
            acknowledged: 0,
            attempted: 0,
            done: 0,
        }
    }

    fn value(number: i64) -> String {
        format!("{number}/{}", "x".repeat(40_000))
    }
}

impl Work for Records {
    fn step(&mut self, connection: &mut Connection) -> io::Result<()> {
        let values: Vec<String> = (self.end..self.end + Self::AT_ONCE).map(Self::value).collect();
        let request = produce_request(&self.topic, 0, Batch::of(&values).encode(), -1);
        let answer = connection.try_call(PRODUCE_BY_NAME, &request)?;
        let produced = &answer.responses[0].partition_responses[0];
        acknowledged(produced.error_code)?;
        assert_eq!(produced.base_offset, self.end);
        self.end += Self::AT_ONCE;
        self.attempted = self.acknowledged + Self::AT_ONCE - 1; // seldom where a batch begins
        let request = delete_records_request(&[(&self.topic, &[(0, self.attempted)])]);
        let answer = connection.try_call(2, &request)?;
        let deleted = &answer.topics[0].partitions[0];
        acknowledged(deleted.error_code)?;
        assert_eq!(deleted.low_watermark, self.attempted);
        self.acknowledged = self.attempted;
        self.done += 1;
        Ok(())
    }

    fn verify(&mut self, connection: &mut Connection, _: &Broker) {
        let start = list_offsets(connection, &self.topic, 0, EARLIEST).offset;
        assert!(
            start == self.acknowledged || start == self.attempted,
            "the start is {start} where {} was acknowledged and {} attempted",
            self.acknowledged,
            self.attempted
        );
        let end = list_offsets(connection, &self.topic, 0, LATEST).offset;
        assert!(
            end == self.end || end == self.end + Self::AT_ONCE,
            "the end is {end}, not {}",
            self.end
        );
        let mut next = start;
        while next < end {
            let answer = connection.call(FETCH_BY_NAME, &fetch_request(&self.topic, 0, next, 0, 1));
            let data = &answer.responses[0].partitions[0];
            assert_eq!((data.error_code, data.log_start_offset), (0, start), "at {next}");
            let records = parse_all(&data.records.clone().expect("never null")).expect("sound batches");
            let fresh: Vec<_> = records.iter().filter(|record| record.offset >= next).collect();
            assert!(!fresh.is_empty(), "nothing to read at {next} of {end}");
            for record in fresh {
                assert_eq!(record.offset, next, "a hole");
                assert_eq!(record.value, Self::value(next).as_bytes());
                next += 1;
            }
        }
        (self.end, self.acknowledged, self.attempted) = (end, start, start);
    }

    fn done(&self) -> usize {
        self.done
    }
}

/// Things that are made, filled, and deleted: names of those that are there, the one in doubt, those that are gone.
#[derive(Default)]
struct Fates {
    kept: BTreeSet<String>,
    in_doubt: Option<String>,
    gone: BTreeSet<String>,
}

impl Fates {
    /// Every second one is to be deleted.
    fn doomed(&mut self, name: String) -> Option<String> {
        if (self.kept.len() + self.gone.len()).is_multiple_of(2) {
            self.kept.insert(name);
            return None;
        }
        self.in_doubt = Some(name.clone());
        Some(name)
    }

    fn deleted(&mut self) {
        self.gone.extend(self.in_doubt.take());
    }

    /// Checks all of them with `is_whole`: true is wholly there, false wholly absent.
    fn verify(&mut self, mut is_whole: impl FnMut(&str) -> bool) {
        if let Some(name) = self.in_doubt.take() {
            let fate = if is_whole(&name) {
                &mut self.kept
            } else {
                &mut self.gone
            };
            fate.insert(name);
        }
        for name in &self.kept {
            assert!(is_whole(name), "{name} was never deleted");
        }
        for name in &self.gone {
            assert!(!is_whole(name), "{name} was deleted");
        }
    }
}

fn make_topic(connection: &mut Connection, topic: &str, partitions: i32) -> io::Result<()> {
    let request = CreateTopicsRequest::default()
        .with_topics(vec![creatable(topic, partitions, &[])])
        .with_timeout_ms(30_000);
    let answer = connection.try_call(CREATE_TOPICS, &request)?;
    acknowledged(answer.topics[0].error_code)
}

#[derive(Default)]
struct Topics(Fates);

impl Work for Topics {
    fn step(&mut self, connection: &mut Connection) -> io::Result<()> {
        let topic = unique("made");
        make_topic(connection, &topic, 3)?;
        let request = produce_request(&topic, 2, Batch::of(&["mark"]).encode(), -1);
        let answer = connection.try_call(PRODUCE_BY_NAME, &request)?;
        acknowledged(answer.responses[0].partition_responses[0].error_code)?;
        if let Some(topic) = self.0.doomed(topic) {
            let answer = connection.try_call(6, &delete_topics_request(&[&topic]))?;
            acknowledged(answer.responses[0].error_code)?;
            self.0.deleted();
        }
        Ok(())
    }

    fn verify(&mut self, connection: &mut Connection, broker: &Broker) {
        self.0.verify(|topic| {
            let described = describe_topic(connection, topic);
            if described.error_code == 0 {
                assert_eq!(described.partitions.len(), 3, "{topic}");
                assert_eq!(values(&fetch(connection, topic, 2, 0)), ["mark"], "{topic}");
                return true;
            }
            assert_eq!(described.error_code, 3, "{topic}");
            until("the disk is freed", || {
                let left = (0..3).any(|index| broker.data_dir().join(format!("{topic}-{index}")).exists());
                (!left).then_some(())
            });
            false
        });
    }

    fn done(&self) -> usize {
        self.0.gone.len()
    }
}

struct Groups {
    fates: Fates,
    topics: [String; 2],
}

impl Work for Groups {
    fn step(&mut self, connection: &mut Connection) -> io::Result<()> {
        let group = unique("group");
        let mut request = commit_request(&group, ("", -1), &self.topics[0], 5, "");
        request
            .topics
            .extend(commit_request(&group, ("", -1), &self.topics[1], 6, "").topics);
        let answer = connection.try_call(8, &request)?;
        let codes: Vec<i16> = answer
            .topics
            .iter()
            .map(|topic| topic.partitions[0].error_code)
            .collect();
        if codes.iter().any(|code| (14..=16).contains(code)) {
            thread::sleep(Duration::from_millis(5)); // the coordinator still loads
            return Ok(());
        }
        assert_eq!(codes, [0, 0]);
        if let Some(group) = self.fates.doomed(group) {
            let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(&group)]);
            let answer = connection.try_call(2, &request)?;
            acknowledged(answer.results[0].error_code)?;
            self.fates.deleted();
        }
        Ok(())
    }

    fn verify(&mut self, connection: &mut Connection, _: &Broker) {
        find_coordinator(connection, "any");
        let topics = &self.topics;
        self.fates.verify(|group| {
            let mut offset = |topic| committed(connection, group, topic).committed_offset;
            let offsets = (offset(&topics[0]), offset(&topics[1]));
            assert!(
                [(5, 6), (-1, -1)].contains(&offsets),
                "{group} has half of its offsets: {offsets:?}"
            );
            offsets == (5, 6)
        });
    }

    fn done(&self) -> usize {
        self.fates.gone.len()
    }
}

fn all_work(connection: &mut Connection) -> Vec<Box<dyn Work>> {
    find_coordinator(connection, "any");
    let groups = Groups {
        fates: Fates::default(),
        topics: [new_topic(connection), new_topic(connection)],
    };
    vec![
        Box::new(Partitions::new(connection)),
        Box::new(Numbered::of(Kind::Topic(new_topic(connection)))),
        Box::new(Numbered::of(Kind::Cluster)),
        Box::new(Numbered::of(Kind::User(unique("user")))),
        Box::new(Records::new(connection)),
        Box::new(Topics::default()),
        Box::new(groups),
    ]
}

/// Changes of all kinds until `end` ends the broker.
fn run_until(end: fn(&mut Broker), broker: &mut Broker, work: &mut [Box<dyn Work>], pause: Duration) {
    fn go_on(work: &mut dyn Work, address: SocketAddr, stop: &AtomicBool) -> io::Result<()> {
        let mut connection = Connection::try_open(address)?;
        while !stop.load(Ordering::Relaxed) {
            work.step(&mut connection)?;
        }
        Ok(())
    }
    let (address, stop) = (broker.address(), AtomicBool::new(false));
    thread::scope(|scope| {
        for work in work {
            let stop = &stop;
            // The error that ends each thread is the end of the broker.
            scope.spawn(move || drop(go_on(&mut **work, address, stop)));
        }
        thread::sleep(pause);
        end(broker);
        stop.store(true, Ordering::Relaxed);
    });
}

fn verify(work: &mut [Box<dyn Work>], broker: &Broker) {
    let mut connection = broker.connect();
    for work in work {
        work.verify(&mut connection, broker);
    }
}

/// Small intervals, so that kills hit what goes on in the background too.
fn settings() -> Vec<&'static str> {
    [
        QUICK,
        &[
            "log.flush.offset.checkpoint.interval.ms=50",
            "log.flush.start.offset.checkpoint.interval.ms=50",
            "log.retention.check.interval.ms=50",
            "log.initial.task.delay.ms=0",
        ],
    ]
    .concat()
}

/// Whether each kind of change was acknowledged more than once, so that a test that passes has tested something.
fn all_took_place(work: &[Box<dyn Work>]) -> bool {
    work.iter().all(|work| work.done() > 1)
}

/// Ends the broker amid changes `rounds` times, and more often where a busy machine let too little take place.
fn end_again_and_again(rounds: u64, pause: impl Fn(u64) -> Duration, end: fn(&mut Broker)) {
    let mut broker = Broker::start(&settings());
    let mut work = all_work(&mut broker.connect());
    let mut round = 0;
    while round < rounds || !all_took_place(&work) {
        assert!(round < rounds + 30, "too little takes place");
        run_until(end, &mut broker, &mut work, pause(round));
        broker.restart();
        verify(&mut work, &broker);
        round += 1;
    }
    let output = broker.output();
    assert!(!output.contains("panicked at"), "{output}");
}

#[test]
fn changes_are_whole_and_kept_when_the_broker_is_killed() {
    if external_address().is_some() {
        return;
    }
    let rounds: u64 = env::var("MONEDULA_CRASH_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(5);
    let pause = |round| Duration::from_millis(80 + round * 37 % 240);
    end_again_and_again(rounds, pause, Broker::kill);
}

#[test]
fn changes_are_whole_and_kept_when_the_broker_is_stopped() {
    if external_address().is_some() {
        return;
    }
    end_again_and_again(
        2,
        |_| Duration::from_millis(200),
        |broker| {
            let status = broker.stop();
            assert!(status.success(), "{status}");
        },
    );
}
