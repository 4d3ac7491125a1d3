//! kill -9 under load, again and again, and SIGTERM too: what was acknowledged is there after the restart, and nothing else
//! was made up.
//!
//! `MONEDULA_CRASH_ROUNDS` sets how often it is killed (default 5). **Checked after each restart:** every acknowledged record lies at its
//! acknowledged offset with its content; batches are whole and their CRCs fit; an idempotent producer's records are there
//! once and in order, although it repeats what was in flight; a commit never falls behind the last acknowledged one; topics
//! keep their ids; a leader epoch never falls.

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kafka_protocol::messages::{CreateTopicsRequest, MetadataRequest};
use uuid::Uuid;

use compat_tests::batch::{Batch, Fetched, parse_all};
use compat_tests::broker::{Broker, QUICK, external_address};
use compat_tests::requests::{
    CREATE_TOPICS, FETCH_BY_NAME, PRODUCE_BY_NAME, commit_request, committed, creatable, create_topic, fetch_request,
    find_coordinator, init_producer, produce_request, unique,
};
use compat_tests::wire::Connection;

const TOPIC: &str = "crash";
const PARTITIONS: i32 = 4;
const GROUP: &str = "crash-group";
const RECORDS_PER_BATCH: u32 = 5;

/// One producer with a partition and a numbering of its own.
#[derive(Debug)]
struct Writer {
    name: String,
    partition: i32,
    /// Producer id and epoch; without them a batch that was not acknowledged is not sent again.
    idempotent: Option<(i64, i16)>,
    /// The number of the next record.
    next: u32,
    /// What was acknowledged: offset of each record.
    acknowledged: BTreeMap<i64, String>,
}

impl Writer {
    fn value(&self, number: u32) -> String {
        format!(
            "{}/{number}/{}",
            self.name,
            "x".repeat(usize::try_from(number % 97).expect("a small number"))
        )
    }

    /// Produces until the broker is gone.
    fn run(&mut self, address: SocketAddr, stop: &AtomicBool) -> io::Result<()> {
        let mut connection = Connection::try_open(address)?;
        while !stop.load(Ordering::Relaxed) {
            let first = self.next;
            let values: Vec<String> = (first..first + RECORDS_PER_BATCH)
                .map(|number| self.value(number))
                .collect();
            let mut batch = Batch::of(&values);
            if let Some((id, epoch)) = self.idempotent {
                batch = batch.from_producer(id, epoch, i32::try_from(first).expect("few records"));
            } else {
                // Numbers in doubt are left out, so that each value is sent once.
                self.next += RECORDS_PER_BATCH;
            }
            let request = produce_request(TOPIC, self.partition, batch.encode(), -1);
            let response = connection.try_call(PRODUCE_BY_NAME, &request)?;
            let answer = &response.responses[0].partition_responses[0];
            assert_eq!(answer.error_code, 0, "{}: {answer:?}", self.name);
            if self.idempotent.is_some() {
                self.next += RECORDS_PER_BATCH;
            }
            self.acknowledged.extend((answer.base_offset..).zip(values));
        }
        Ok(())
    }
}

/// What else goes on meanwhile, and what of it was acknowledged.
#[derive(Debug, Default)]
struct Journal {
    committed: i64,
    attempted: i64,
    topics: BTreeMap<String, Uuid>,
    leader_epochs: BTreeMap<i32, i32>,
}

impl Journal {
    fn commit(&mut self, address: SocketAddr, stop: &AtomicBool) -> io::Result<()> {
        let mut connection = Connection::try_open(address)?;
        while !stop.load(Ordering::Relaxed) {
            self.attempted += 1;
            let request = commit_request(GROUP, ("", -1), TOPIC, self.attempted, "");
            match connection.try_call(8, &request)?.topics[0].partitions[0].error_code {
                0 => self.committed = self.attempted,
                14..=16 => thread::sleep(Duration::from_millis(5)), // the coordinator still loads
                code => panic!("commit: {code}"),
            }
        }
        Ok(())
    }

    fn create_topics(&mut self, address: SocketAddr, stop: &AtomicBool) -> io::Result<()> {
        let mut connection = Connection::try_open(address)?;
        while !stop.load(Ordering::Relaxed) {
            let name = unique("made");
            let request = CreateTopicsRequest::default()
                .with_topics(vec![creatable(&name, 1, &[])])
                .with_timeout_ms(30_000);
            let result = connection.try_call(CREATE_TOPICS, &request)?.topics.remove(0);
            assert_eq!(result.error_code, 0, "{result:?}");
            self.topics.insert(name, result.topic_id);
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn verify(&mut self, connection: &mut Connection) {
        let stored = committed(connection, GROUP, TOPIC);
        assert_eq!(stored.error_code, 0);
        let stored = stored.committed_offset.max(0);
        assert!(
            (self.committed..=self.attempted).contains(&stored),
            "{stored} is committed: {self:?}"
        );
        let topics = connection
            .call(12, &MetadataRequest::default().with_topics(None))
            .topics;
        let ids: BTreeMap<String, Uuid> = topics
            .iter()
            .filter_map(|topic| Some((topic.name.as_ref()?.to_string(), topic.topic_id)))
            .collect();
        for (name, id) in &self.topics {
            assert_eq!(ids.get(name), Some(id), "topic {name}");
        }
        let crashed = topics
            .iter()
            .find(|topic| topic.name.as_deref().is_some_and(|name| &name[..] == TOPIC));
        for partition in &crashed.expect("the topic is there").partitions {
            let epoch = self.leader_epochs.entry(partition.partition_index).or_default();
            assert!(
                partition.leader_epoch >= *epoch,
                "epoch {epoch} fell to {}",
                partition.leader_epoch
            );
            *epoch = partition.leader_epoch;
        }
    }
}

/// All records of a partition.
fn read(connection: &mut Connection, partition: i32) -> Vec<Fetched> {
    let mut records: Vec<Fetched> = Vec::new();
    loop {
        let next = records.last().map_or(0, |last| last.offset + 1);
        let response = connection.call(FETCH_BY_NAME, &fetch_request(TOPIC, partition, next, 0, 1));
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.error_code, 0, "{data:?}");
        let fresh = parse_all(&data.records.clone().expect("never null")).expect("sound batches");
        if fresh.is_empty() {
            assert_eq!(
                next, data.high_watermark,
                "everything up to the high watermark can be read"
            );
            return records;
        }
        records.extend(fresh);
    }
}

fn verify_records(connection: &mut Connection, writers: &[Writer]) {
    for partition in 0..PARTITIONS {
        let records = read(connection, partition);
        for (index, record) in (0_i64..).zip(&records) {
            assert_eq!(record.offset, index, "offsets have no holes");
        }
        let epochs: Vec<i32> = records.iter().map(|record| record.leader_epoch).collect();
        assert!(epochs.is_sorted(), "a leader epoch fell within partition {partition}");
        for writer in writers.iter().filter(|writer| writer.partition == partition) {
            verify_writer(writer, &records);
        }
    }
}

fn verify_writer(writer: &Writer, records: &[Fetched]) {
    for (offset, value) in &writer.acknowledged {
        let found = usize::try_from(*offset).ok().and_then(|offset| records.get(offset));
        let found = found.unwrap_or_else(|| panic!("{}: offset {offset} is lost", writer.name));
        assert_eq!(found.value, value.as_bytes(), "{}: offset {offset}", writer.name);
    }
    let prefix = format!("{}/", writer.name);
    let mine = records
        .iter()
        .filter(|record| record.value.starts_with(prefix.as_bytes()));
    let numbers: Vec<u32> = mine
        .map(|record| {
            let text = String::from_utf8_lossy(&record.value[prefix.len()..]).into_owned();
            let number = text
                .split('/')
                .next()
                .and_then(|number| number.parse().ok())
                .expect("a number");
            assert_eq!(record.value, writer.value(number).as_bytes());
            number
        })
        .collect();
    assert!(
        numbers.is_sorted_by(|left, right| left < right),
        "{}: doubled or out of order",
        writer.name
    );
    if writer.idempotent.is_some() {
        let expected: Vec<u32> = (0..u32::try_from(numbers.len()).expect("few records")).collect();
        assert_eq!(numbers, expected, "{}: a hole", writer.name);
    }
}

/// Load until `end` ends the broker, each part on a thread of its own.
fn run_until(end: impl FnOnce(&mut Broker), broker: &mut Broker, load: &mut Load, pause: Duration) {
    let (address, stop) = (broker.address(), AtomicBool::new(false));
    let Load { writers, journal } = load;
    // Two threads note what they did each on its own.
    let (committed, attempted) = (journal.committed, journal.attempted);
    let mut commits = Journal {
        committed,
        attempted,
        ..Journal::default()
    };
    let mut creations = Journal::default();
    thread::scope(|scope| {
        for writer in writers {
            let stop = &stop;
            // The error that ends each thread is the end of the broker.
            scope.spawn(move || drop(writer.run(address, stop)));
        }
        scope.spawn(|| drop(commits.commit(address, &stop)));
        scope.spawn(|| drop(creations.create_topics(address, &stop)));
        thread::sleep(pause);
        end(broker);
        stop.store(true, Ordering::Relaxed);
    });
    (journal.committed, journal.attempted) = (commits.committed, commits.attempted);
    journal.topics.extend(creations.topics);
}

/// Everything that goes on while the broker is ended.
#[derive(Debug)]
struct Load {
    writers: Vec<Writer>,
    journal: Journal,
}

impl Load {
    fn on(broker: &Broker) -> Self {
        let mut connection = broker.connect();
        create_topic(&mut connection, TOPIC, PARTITIONS, &[]);
        find_coordinator(&mut connection, GROUP);
        let kinds = (0..PARTITIONS).flat_map(|partition| [(partition, true), (partition, false)]);
        let writers = kinds.map(|(partition, idempotent)| Writer {
            name: format!("{}-{partition}", if idempotent { "idempotent" } else { "plain" }),
            partition,
            idempotent: idempotent.then(|| init_producer(&mut connection)),
            next: 0,
            acknowledged: BTreeMap::new(),
        });
        Self {
            writers: writers.collect(),
            journal: Journal::default(),
        }
    }

    fn verify(&mut self, broker: &Broker) {
        let mut connection = broker.connect();
        verify_records(&mut connection, &self.writers);
        self.journal.verify(&mut connection);
    }

    /// Asserts that all of it took place, so that a test that passes has tested something.
    fn expect_some_of_everything(&self) {
        let idle = self.writers.iter().find(|writer| writer.acknowledged.is_empty());
        assert!(idle.is_none(), "no record of {idle:?} was acknowledged");
        assert!(
            self.journal.committed > 0 && !self.journal.topics.is_empty(),
            "{:?}",
            self.journal
        );
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_broker_is_killed() {
    if external_address().is_some() {
        return;
    }
    let rounds: u64 = env::var("MONEDULA_CRASH_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(5);
    // Small segments and quick checkpoints, so that kills hit rolls, index files and checkpoints too.
    let settings = [
        QUICK,
        &[
            "log.segment.bytes=1048576",
            "log.flush.offset.checkpoint.interval.ms=50",
        ],
    ]
    .concat();
    let mut broker = Broker::start(&settings);
    let mut load = Load::on(&broker);
    for round in 0..rounds {
        // Spread over what one flush and one checkpoint take, without a random number.
        let pause = Duration::from_millis(60 + round * 37 % 240);
        run_until(Broker::kill, &mut broker, &mut load, pause);
        broker.restart();
        load.verify(&broker);
    }
    load.expect_some_of_everything();
    assert!(!broker.output().contains("panicked at"), "{}", broker.output());
}

#[test]
fn nothing_acknowledged_is_lost_when_the_broker_is_stopped() {
    if external_address().is_some() {
        return;
    }
    let mut broker = Broker::quick();
    let mut load = Load::on(&broker);
    for _ in 0..3 {
        let end = |broker: &mut Broker| {
            let status = broker.stop();
            assert!(status.success(), "{status}");
        };
        run_until(end, &mut broker, &mut load, Duration::from_millis(150));
        broker.restart();
        load.verify(&broker);
    }
    load.expect_some_of_everything();
    let output = broker.output();
    assert!(
        !output.contains("log cut at its first bad batch"),
        "a clean stop leaves nothing to cut:\n{output}"
    );
}
