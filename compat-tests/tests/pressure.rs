//! Crowds of clients that cost a broker much and give it nothing: connections that stay idle, readers that do not read,
//! announced frames that never come, a flood of connections.
//!
//! **Checked in each:** a good client beside them is served throughout, and the broker's resident memory never passes
//! [`BUDGET_BYTES`] from its start to the end of the test. The tests run one after the other, since together they would
//! need more descriptors than a process may have. No time is asserted but the patience of [`Connection`].

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use compat_tests::batch::{Batch, parse_all};
use compat_tests::broker::{Broker, QUICK, external_address};
use compat_tests::requests::{
    FETCH_BY_NAME, create_topic, fetch_request, list_offsets, new_topic, produce, produce_values, unique, until,
};
use compat_tests::wire::{Connection, encode_request};

/// What the broker's process may take, all in all.
const BUDGET_BYTES: u64 = 150 << 20;
/// Descriptors that are needed for everything but the crowd.
const SPARE_FILES: u64 = 1_000;

/// One test at a time, with as many descriptors as the system grants.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit anybody may go");
    turn
}

/// How many connections of `wanted` fit under the limit of this process and of a broker that it starts.
fn crowd(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = usize::try_from(limit.saturating_sub(SPARE_FILES)).unwrap_or(usize::MAX);
    if room < wanted {
        say(&format!(
            "only {room} of {wanted} connections: the limit is {limit} descriptors"
        ));
    }
    wanted.min(room)
}

fn say(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}

/// Opens connections. Each tenth asks something, so that no more wait to be accepted than a listener's queue of 50 holds:
/// the kernel drops what comes beyond, and tries again a second later.
fn open(address: SocketAddr, count: usize) -> Vec<Connection> {
    let one = |number: usize| {
        let mut connection = Connection::open(address);
        if number.is_multiple_of(10) {
            assert_eq!(connection.call(0, &ApiVersionsRequest::default()).error_code, 0);
        }
        connection
    };
    (0..count).map(one).collect()
}

/// A client that produces and fetches as long as a crowd is there.
struct GoodClient {
    connection: Connection,
    topic: String,
    sent: i64,
}

impl GoodClient {
    fn of(broker: &Broker) -> Self {
        let mut connection = broker.connect();
        let topic = new_topic(&mut connection);
        Self {
            connection,
            topic,
            sent: 0,
        }
    }

    /// One record out and in again, on the connection that is there and on a new one.
    fn round(&mut self, broker: &Broker) {
        let value = format!("value {}", self.sent);
        assert_eq!(produce_values(&mut self.connection, &self.topic, &[&value]), self.sent);
        let mut fresh = broker.connect();
        let request = fetch_request(&self.topic, 0, self.sent, 10_000, 1);
        let answer = fresh.call(FETCH_BY_NAME, &request);
        let data = &answer.responses[0].partitions[0];
        assert_eq!((data.error_code, data.high_watermark), (0, self.sent + 1));
        let records = parse_all(&data.records.clone().expect("never null")).expect("sound batches");
        assert_eq!(records.last().map(|record| &record.value[..]), Some(value.as_bytes()));
        self.sent += 1;
    }
}

/// What holds after every test.
fn finish(mut broker: Broker) {
    assert!(broker.is_alive(), "the broker ended");
    if let Some(peak) = broker.peak_resident_bytes() {
        say(&format!("at most {} MB resident", peak >> 20));
        assert!(
            peak <= BUDGET_BYTES,
            "{peak} bytes were resident where {BUDGET_BYTES} are allowed"
        );
    }
    let output = broker.output();
    assert!(!output.contains("panicked at"), "{output}");
}

#[test]
fn ten_thousand_idle_connections() {
    let _turn = alone();
    let broker = Broker::quick();
    let mut good = GoodClient::of(&broker);
    let mut idle = open(broker.address(), crowd(10_000));
    good.round(&broker);
    for _ in 0..50 {
        good.round(&broker);
    }
    for connection in idle.iter_mut().step_by(97) {
        let answer = connection.call(0, &ApiVersionsRequest::default());
        assert_eq!(answer.error_code, 0, "idle, but not forgotten");
    }
    drop(idle);
    until("their descriptors are given back", || {
        (broker.open_files().len() < 500).then_some(())
    });
    good.round(&broker);
    finish(broker);
}

/// Fetches of large slices, which a broker may send from the file, and of many small ones, which it may rather copy.
#[test]
fn a_thousand_readers_that_do_not_read() {
    let _turn = alone();
    let broker = Broker::quick();
    let mut good = GoodClient::of(&broker);
    let (large, small) = (new_topic(&mut good.connection), unique("small"));
    create_topic(&mut good.connection, &small, 100, &[]);
    for _ in 0..8 {
        let answer = produce(
            &mut good.connection,
            &large,
            0,
            Batch::of(&[vec![b'x'; 1_000_000]]).encode(),
        );
        assert_eq!(answer.error_code, 0);
    }
    for partition in 0..100 {
        let answer = produce(
            &mut good.connection,
            &small,
            partition,
            Batch::of(&[vec![b'x'; 12_000]]).encode(),
        );
        assert_eq!(answer.error_code, 0);
    }
    let mut of_small = fetch_request(&small, 0, 0, 0, 1);
    let one = of_small.topics[0].partitions[0].clone();
    of_small.topics[0].partitions = (0..100).map(|index| one.clone().with_partition(index)).collect();
    let requests: [FetchRequest; 2] = [fetch_request(&large, 0, 0, 0, 1), of_small];
    let frames = requests.map(|request| encode_request(1, FETCH_BY_NAME, &request));
    let mut readers = open(broker.address(), crowd(1_000));
    for (reader, frame) in readers.iter_mut().zip(frames.iter().cycle()) {
        for _ in 0..5 {
            reader.send_bytes(frame);
        }
    }
    for _ in 0..50 {
        good.round(&broker);
    }
    assert_eq!(list_offsets(&mut good.connection, &large, 0, -1).offset, 8);
    // One of each at last reads, and finds everything in order.
    for reader in &mut readers[..2] {
        for _ in 0..5 {
            let frame = reader.try_read_frame().expect("an answer").expect("no close");
            assert!(frame.len() > 1_000_000, "{} bytes", frame.len());
        }
    }
    drop(readers);
    good.round(&broker);
    finish(broker);
}

/// Each says that 100 MB will come, sends a little of it, and stops.
#[test]
fn two_hundred_frames_that_never_come() {
    if external_address().is_some() {
        return; // Apache Kafka takes the memory for each of them at once, more than it has
    }
    let _turn = alone();
    let broker = Broker::quick();
    let mut good = GoodClient::of(&broker);
    let mut stalled = open(broker.address(), crowd(200));
    for (number, connection) in stalled.iter_mut().enumerate() {
        connection.send_bytes(&(100_i32 << 20).to_be_bytes());
        // Produce, version 7; and of every second one a part of what should follow.
        connection.send_bytes(&[0, 0, 0, 7, 0, 0, 0, 1, 0xff, 0xff]);
        if number % 2 == 0 {
            connection.send_bytes(&vec![0; 20_000]);
        }
    }
    for _ in 0..50 {
        good.round(&broker);
    }
    let topic = new_topic(&mut good.connection);
    for number in 0..3 {
        let answer = produce(
            &mut good.connection,
            &topic,
            0,
            Batch::of(&[vec![b'x'; 900_000]]).encode(),
        );
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (0, number),
            "a large one is taken too"
        );
    }
    drop(stalled);
    good.round(&broker);
    finish(broker);
}

/// Connections that come and go as fast as they can: closed at once, after half a request, or with an answer on the way.
#[test]
fn a_flood_of_connections() {
    let _turn = alone();
    // A long queue, so that the kernel slows nobody down.
    let settings = [QUICK, &["socket.listen.backlog.size=4096"]].concat();
    let broker = Broker::start(&settings);
    let mut good = GoodClient::of(&broker);
    let address = broker.address();
    let (done, opened) = (AtomicBool::new(false), AtomicU32::new(0));
    let frame = encode_request(1, 0, &ApiVersionsRequest::default());
    thread::scope(|scope| {
        for part in 0..3 {
            let (done, opened, frame) = (&done, &opened, &frame);
            scope.spawn(move || {
                for number in 0..2_000 {
                    // A refusal is no failure: what counts is that the good client gets none.
                    if let Ok(mut connection) = Connection::try_open(address) {
                        opened.fetch_add(1, Ordering::Relaxed);
                        match (part + number) % 4 {
                            0 => {}
                            1 => connection.send_bytes(&frame[..5]),
                            2 => connection.send_bytes(frame),
                            _ => connection.send_bytes(b"GET / HTTP/1.1\r\n\r\n"),
                        }
                    } else {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
                done.store(true, Ordering::Relaxed);
            });
        }
        while !done.load(Ordering::Relaxed) {
            good.round(&broker);
        }
    });
    assert!(opened.load(Ordering::Relaxed) > 3_000, "that was no flood: {opened:?}");
    until("their descriptors are given back", || {
        (broker.open_files().len() < 500).then_some(())
    });
    good.round(&broker);
    finish(broker);
}
