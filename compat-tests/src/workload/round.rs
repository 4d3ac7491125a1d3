//! One round: topics, load under disturbance, healing, the last reads, the check.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::OffsetFetchRequest;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use serde_json::json;

use super::crew::{Crew, Lasting, Seat};
use super::generator::{DATA, PIPES, Role, input_keys, output_keys, sent_keys};
use super::nemesis::disturb;
use super::random::Random;
use super::recorder::{Counts, Recorder};
use super::target::Target;
use crate::admin::{delete_topics_request, describe_topic};
use crate::checker::{Findings, check};
use crate::client::Client;
use crate::requests::{create_topic, group_id, list_offsets_request, topic_name, unique};
use crate::wire::Connection;

/// A key, its last stable offset, its end.
type End = (u32, i64, i64);

/// What a round is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    pub number: usize,
    pub load: Duration,
    pub clients: &'a [Client],
    /// Without transactions: plain producers and consumers only.
    pub plain_only: bool,
    /// Of a hundred transactions that wait in the middle so many make a zombie of their client.
    pub zombies: u64,
    /// Without kills and pauses.
    pub in_peace: bool,
    pub history: &'a Path,
    /// How long open transactions may take to end once everything runs, and pipelines to come to their end.
    pub patience: Duration,
}

/// Plays a round and checks it.
pub fn play(target: &mut Target, plan: Plan<'_>, lasting: &Lasting, counts: &Counts, random: &mut Random) -> Findings {
    let topics = ["data", "in", "out"].map(|name| unique(&format!("{name}-{}", plan.number)));
    let mut connection = Connection::open(target.address());
    let sizes = [DATA, PIPES, PIPES].map(|count| i32::try_from(count).expect("few partitions"));
    let mut keys = Vec::new();
    for (topic, size) in topics.iter().zip(sizes) {
        create_topic(&mut connection, topic, size, &[]);
        keys.extend((0..size).map(|partition| (topic.clone(), partition)));
    }
    let recorder = Recorder::create(plan.history, counts);
    recorder.write(&json!({"type": "keys", "value": keys}));
    let crew = Crew::new(
        target.address().to_string(),
        (plan.number, plan.zombies),
        keys,
        recorder,
        lasting,
    );
    if !plan.plain_only {
        let pairs: Vec<_> = input_keys().into_iter().zip(output_keys()).collect();
        crew.recorder.write(&json!({"type": "pipeline", "value": pairs}));
    }
    thread::scope(|scope| {
        let _called_off = CalledOff(&crew);
        for seat in seats(&crew, plan) {
            crew.employ(scope, seat, random.fork());
        }
        let until = Instant::now() + plan.load;
        if plan.in_peace {
            thread::sleep(plan.load);
        } else {
            disturb(target, &crew, &mut random.fork(), until);
        }
        crew.end(false);
        heal_and_read(target, &crew, plan);
    });
    let findings = check(&crew.recorder.history());
    // What is wrong is left to be looked at.
    if findings.is_clean() {
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        Connection::open(target.address()).call(6, &delete_topics_request(&names));
    }
    findings
}

/// Ends everything when it goes, so that a failure here does not wait for clients for ever.
struct CalledOff<'a>(&'a Crew<'a>);

impl Drop for CalledOff<'_> {
    fn drop(&mut self) {
        self.0.call_off(false);
        self.0.call_off(true);
    }
}

/// Who works: every role with every client, the isolations of plain ones turn and turn about.
fn seats(crew: &Crew<'_>, plan: Plan<'_>) -> Vec<Seat> {
    let mut seats = Vec::new();
    for (number, client) in plan.clients.iter().enumerate() {
        let other = if number % 2 == 0 {
            "read_uncommitted"
        } else {
            "read_committed"
        };
        let mut roles = vec![(Role::Plain, other), (Role::Member, "read_committed")];
        if plan.plain_only {
            roles.push((Role::Plain, "read_committed"));
            roles.push((Role::Member, "read_committed"));
        } else {
            roles.extend([Role::Transactional, Role::Transactional, Role::Pipe].map(|role| (role, "read_committed")));
        }
        for (role, isolation) in roles {
            let transactional = [Role::Transactional, Role::Pipe].contains(&role);
            seats.push(Seat {
                client: client.clone(),
                role,
                isolation,
                transactional_id: transactional.then(|| crew.new_transactional_id()),
            });
        }
    }
    seats
}

fn heal_and_read(target: &Target, crew: &Crew<'_>, plan: Plan<'_>) {
    let mut connection = Connection::open(target.address());
    let ends = await_rest(&mut connection, crew, plan, &sent_keys());
    read_everything(crew, plan, &ends);
    if plan.plain_only {
        return;
    }
    let drained = await_drained(&mut connection, crew, plan);
    crew.recorder.write(&json!({"type": "drained", "value": drained}));
    crew.end(true);
    let ends = await_rest(&mut connection, crew, plan, &output_keys());
    read_everything(crew, plan, &ends);
    await_offsets_rest(&mut connection, crew, plan);
}

/// Waits until all transactions in `keys` have ended, and notes where the logs end.
fn await_rest(connection: &mut Connection, crew: &Crew<'_>, plan: Plan<'_>, keys: &[u32]) -> Vec<End> {
    let deadline = Instant::now() + plan.patience;
    loop {
        let ends: Vec<End> = keys
            .iter()
            .map(|&key| {
                let (topic, partition) = &crew.keys[usize::try_from(key).expect("a key")];
                let end = |isolation| end_offset(connection, topic, *partition, isolation);
                // The end is asked for last, so that it is no less than the other.
                let mut end = end;
                (key, end(1), end(0))
            })
            .collect();
        if ends.iter().all(|(_, last_stable, end)| last_stable == end) || Instant::now() >= deadline {
            crew.recorder.write(&json!({"type": "ends", "value": ends}));
            return ends;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The same for the offsets topic, in which pipelines have transactions too.
fn await_offsets_rest(connection: &mut Connection, crew: &Crew<'_>, plan: Plan<'_>) {
    let topic = "__consumer_offsets";
    let partitions = describe_topic(connection, topic).partitions.len();
    let deadline = Instant::now() + plan.patience;
    for partition in 0..i32::try_from(partitions).expect("few partitions") {
        loop {
            let last_stable = end_offset(connection, topic, partition, 1);
            if last_stable == end_offset(connection, topic, partition, 0) {
                break;
            }
            if Instant::now() >= deadline {
                let why = format!("a transaction hangs in {topic}-{partition} at {last_stable}");
                crew.recorder.write(&json!({"type": "incomplete", "value": why}));
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The last stable offset (isolation 1) or the high watermark (0).
fn end_offset(connection: &mut Connection, topic: &str, partition: i32, isolation: i8) -> i64 {
    let request = list_offsets_request(topic, partition, -1).with_isolation_level(isolation);
    let answer = connection.call(10, &request);
    let answer = &answer.topics[0].partitions[0];
    assert_eq!(answer.error_code, 0, "{topic}-{partition}: {answer:?}");
    answer.offset
}

/// Reads `ends` with each client and both isolations, from the beginning to the end.
fn read_everything(crew: &Crew<'_>, plan: Plan<'_>, ends: &[End]) {
    thread::scope(|scope| {
        for client in plan.clients {
            for isolation in ["read_committed", "read_uncommitted"] {
                scope.spawn(move || read_once(crew, client, isolation, ends));
            }
        }
    });
}

fn read_once(crew: &Crew<'_>, client: &Client, isolation: &str, ends: &[End]) {
    let committed = isolation == "read_committed";
    let last = |&(key, last_stable, end): &End| (key, if committed { last_stable } else { end });
    let ends: Vec<(u32, i64)> = ends.iter().map(last).collect();
    let settings = json!({"role": "reader", "isolation": isolation, "produces": false, "consumes": true});
    let command = json!({"f": "read_all", "value": ends});
    let keys: Vec<u32> = ends.iter().map(|(key, _)| *key).collect();
    for _ in 0..2 {
        // Its parts are in the history; the operation itself has no steps of its own.
        let Some(mut worker) = crew.start(client, settings.clone()) else {
            continue;
        };
        if crew.read(&mut worker, &command, committed) {
            crew.recorder
                .write(&json!({"type": "read_all", "process": worker.process, "value": keys}));
            return;
        }
    }
    let why = format!("{client} ({isolation}) did not come to the end, twice");
    crew.recorder.write(&json!({"type": "incomplete", "value": why}));
}

/// Whether the pipeline has committed everything that there is.
fn await_drained(connection: &mut Connection, crew: &Crew<'_>, plan: Plan<'_>) -> bool {
    let last: BTreeMap<u32, i64> = {
        let last = crew.last_offsets.lock().unwrap_or_else(PoisonError::into_inner);
        let inputs = last.iter().filter(|(key, _)| input_keys().contains(key));
        inputs.map(|(key, offset)| (*key, *offset)).collect()
    };
    let deadline = Instant::now() + plan.patience;
    loop {
        let done = last.iter().all(|(&key, &offset)| {
            let (topic, partition) = &crew.keys[usize::try_from(key).expect("a key")];
            committed(connection, &crew.pipe_group(), topic, *partition) > offset
        });
        if done || Instant::now() >= deadline {
            return done;
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn committed(connection: &mut Connection, group: &str, topic: &str, partition: i32) -> i64 {
    let asked = OffsetFetchRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![partition]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_topics(Some(vec![asked]));
    let answer = connection.call(5, &request);
    let found = answer.topics.first().and_then(|topic| topic.partitions.first());
    found.map_or(-1, |partition| partition.committed_offset)
}
