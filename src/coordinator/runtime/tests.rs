//! The runtime around the smallest machine: sums by key, and effects.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use protocol::types::ProducerId;
use tokio::time::Instant;

use super::log::CoordinatorAppendError;
use super::machine::{Cx, Decoded, EncodedRecord, HardState, Machine, Outcome, ReplyToken, Sees};
use super::memory_log::MemoryLog;
use super::*;
use crate::coordinator::wire::RecordEncodeError;

/// Sum and last offset by key.
#[derive(Debug, Default)]
struct Sums(BTreeMap<Arc<str>, (i64, i64)>);

#[derive(Debug)]
struct Add {
    key: Arc<str>,
    number: i64,
}

impl HardState for Sums {
    type Record = Add;
    type Rewrite = i64;

    fn decoder() -> impl FnMut(Option<&[u8]>, Option<&[u8]>) -> Decoded<Add> {
        |key, value| {
            let key = String::from_utf8_lossy(key.expect("a key")).into();
            let number = i64::from_be_bytes(value.expect("a value").try_into().expect("eight bytes"));
            Ok(Some(Add { key, number }))
        }
    }

    fn encode(record: &Add) -> Result<EncodedRecord, RecordEncodeError> {
        Ok(EncodedRecord {
            key: Bytes::copy_from_slice(record.key.as_bytes()),
            value: Some(Bytes::copy_from_slice(&record.number.to_be_bytes())),
        })
    }

    fn replay(&mut self, offset: i64, _: Option<ProducerId>, record: Add) {
        let (sum, last_offset) = self.0.entry(record.key).or_default();
        *sum += record.number;
        *last_offset = offset;
    }

    fn replay_marker(&mut self, _: i64, _: ProducerId, _: bool) {}

    fn last_written_offset(&self, key: Option<&str>) -> i64 {
        let of_key = |key| self.0.get(key).map(|(_, last_offset)| *last_offset);
        let of_all = || self.0.values().map(|(_, last_offset)| *last_offset).max();
        key.map_or_else(of_all, of_key).unwrap_or(-1)
    }

    fn key_count(&self) -> usize {
        self.0.len()
    }

    fn size_in_log(&self) -> u64 {
        u64::MAX / 8
    }

    fn begin_rewrite(log_end_offset: i64) -> i64 {
        log_end_offset
    }

    fn rewrite_next(&self, _: &mut i64, _: usize, _: usize) -> Vec<Add> {
        Vec::new()
    }

    fn needed_from(_: &i64) -> i64 {
        0
    }
}

#[derive(Debug)]
struct Tally {
    sums: Sums,
}

#[derive(Clone, Debug)]
enum Request {
    Add(Arc<str>, i64),
    /// Adds, and wants something done then.
    AddAndTell(Arc<str>, i64),
    Sum(Arc<str>),
    SumOfAll,
    Epoch,
}

/// Done for this key, in whose name this number is added.
#[derive(Clone, Debug)]
struct Done(Arc<str>, i64);

impl Machine for Tally {
    const NAME: &'static str = "sums";

    type Hard = Sums;
    type Config = ();
    type Request = Request;
    type Reply = i64;
    type Event = Done;
    type Effect = Arc<str>;
    type OnAppend = ();

    /// Whatever has an odd sum was perhaps not told.
    fn after_load(hard: Sums, _: &mut Cx<'_, ()>) -> (Self, Vec<Outcome<Self>>) {
        let odd = hard.0.iter().filter(|(_, (sum, _))| sum % 2 != 0);
        let outcomes = odd.map(|(key, _)| Outcome {
            effects: vec![Arc::clone(key)],
            ..Outcome::of(key)
        });
        let outcomes = outcomes.collect();
        (Self { sums: hard }, outcomes)
    }

    fn hard(&self) -> &Sums {
        &self.sums
    }

    fn hard_mut(&mut self) -> &mut Sums {
        &mut self.sums
    }

    fn key_count(&self) -> usize {
        self.sums.key_count()
    }

    fn sees(request: &Request) -> Sees<'_> {
        match request {
            Request::Add(..) | Request::AddAndTell(..) | Request::Epoch => Sees::Nothing,
            Request::Sum(key) => Sees::Key(key),
            Request::SumOfAll => Sees::All,
        }
    }

    fn event_sees(event: &Done) -> Sees<'_> {
        Sees::Key(&event.0)
    }

    fn handle(&mut self, cx: &mut Cx<'_, ()>, token: ReplyToken, request: &Request) -> Outcome<Self> {
        let mut out = Outcome::default();
        let reply = match request {
            Request::Add(key, number) | Request::AddAndTell(key, number) => {
                out = Outcome::of(key);
                out.records.push(Add {
                    key: Arc::clone(key),
                    number: *number,
                });
                if let Request::AddAndTell(..) = request {
                    out.effects.push(Arc::clone(key));
                }
                0
            }
            Request::Sum(key) => {
                out = Outcome::of(key);
                self.sums.0.get(key).map_or(0, |(sum, _)| *sum)
            }
            Request::SumOfAll => self.sums.0.values().map(|(sum, _)| sum).sum(),
            Request::Epoch => i64::from(cx.coordinator_epoch),
        };
        out.replies.push((token, reply));
        out
    }

    fn on_event(&mut self, _: &mut Cx<'_, ()>, Done(key, number): Done) -> Vec<Outcome<Self>> {
        let mut out = Outcome::of(&key);
        out.records.push(Add { key, number });
        vec![out]
    }

    fn on_append(&mut self, _: &mut Cx<'_, ()>, key: &Arc<str>, (): (), _: Result<(), ErrorCode>) -> Outcome<Self> {
        Outcome::of(key)
    }

    fn next_deadline(&self) -> Option<i64> {
        None
    }

    fn on_deadline(&mut self, _: &mut Cx<'_, ()>) -> Vec<Outcome<Self>> {
        Vec::new()
    }
}

type Performed = mpsc::UnboundedReceiver<(Arc<str>, EventSender<Tally>)>;

/// Shards of one partition that is led in epoch 3; effects are only noted.
fn shards(mailbox_size: usize) -> (Arc<MemoryLog>, Shards<Tally>, Performed) {
    let log = MemoryLog::new(1);
    let (performed, noted) = mpsc::unbounded_channel();
    let started = Instant::now();
    let clock = move || {
        let mono_ms = i64::try_from(started.elapsed().as_millis()).expect("short test");
        Now {
            mono_ms,
            wall_ms: mono_ms,
        }
    };
    let shards = Shards::new(Parts {
        config: (),
        limits: Limits {
            mailbox_size,
            ..Limits::default()
        },
        log: Arc::<MemoryLog>::clone(&log),
        clock: Arc::new(clock),
        entropy: Arc::new(Uuid::new_v4),
        runtime: Handle::current(),
        perform: Arc::new(move |key, events| drop(performed.send((key, events)))),
    });
    shards.on_elected(0, 3);
    (log, shards, noted)
}

fn key(text: &str) -> Arc<str> {
    Arc::from(text)
}

async fn ask(shards: &Shards<Tally>, request: Request) -> Answer<i64> {
    shards.submit(0, request)?.await.expect("answered")
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_effect_comes_when_its_records_are_committed_however_long_that_takes() {
    let (log, shards, mut performed) = shards(100);
    log.hold_watermark(0);
    let answer = ask(&shards, Request::AddAndTell(key("a"), 1)).await;
    assert_eq!(
        answer,
        Err(ErrorCode::CoordinatorNotAvailable),
        "the client waits no longer"
    );
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(performed.try_recv().is_err());
    log.release_watermark(0);
    let (told, events) = performed.recv().await.expect("performed");
    assert_eq!(told, key("a"));
    assert!(events.send(Done(key("a"), 10)).await);
    assert_eq!(ask(&shards, Request::Sum(key("a"))).await, Ok(11));
    assert!(performed.try_recv().is_err(), "once");
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_refused_outcome_happens() {
    let (log, shards, mut performed) = shards(100);
    log.fail_appends(0, Some(CoordinatorAppendError::NotEnoughReplicas));
    let answer = ask(&shards, Request::AddAndTell(key("a"), 1)).await;
    assert_eq!(answer, Err(ErrorCode::CoordinatorNotAvailable));
    log.fail_appends(0, None);
    assert_eq!(ask(&shards, Request::Sum(key("a"))).await, Ok(0));
    assert!(performed.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn news_reaches_a_shard_whose_mailbox_is_full() {
    let (_, shards, mut performed) = shards(1);
    assert_eq!(ask(&shards, Request::AddAndTell(key("a"), 1)).await, Ok(0));
    let (_, events) = performed.recv().await.expect("performed");
    // Nothing runs in between: the mailbox is full now.
    let waiting = shards.submit(0, Request::Add(key("a"), 2)).expect("room for one");
    assert!(shards.submit(0, Request::Add(key("a"), 4)).is_err());
    let telling = tokio::spawn(async move { events.send(Done(key("a"), 8)).await });
    assert_eq!(waiting.await.expect("answered"), Ok(0));
    assert!(telling.await.expect("no panic"));
    assert_eq!(ask(&shards, Request::Sum(key("a"))).await, Ok(11));
}

#[tokio::test(start_paused = true)]
async fn who_may_still_tell_keeps_no_shard_alive() {
    let (_, shards, mut performed) = shards(100);
    assert_eq!(ask(&shards, Request::AddAndTell(key("a"), 1)).await, Ok(0));
    let (_, events) = performed.recv().await.expect("performed");
    assert!(!events.is_closed());
    shards.on_resigned(0);
    settle().await;
    assert!(events.is_closed());
    assert!(!events.send(Done(key("a"), 8)).await);
    shards.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn only_what_is_looked_at_is_written_first() {
    let (log, shards, _performed) = shards(100);
    let (batches, _) = log.size(0);
    let asked = [
        Request::Add(key("a"), 1),
        Request::Sum(key("b")),
        Request::Add(key("b"), 2),
        Request::Sum(key("c")),
        Request::Sum(key("a")),
        Request::Add(key("c"), 4),
        Request::SumOfAll,
    ];
    let answers: Vec<_> = asked
        .into_iter()
        .map(|request| shards.submit(0, request).expect("room"))
        .collect();
    let mut sums = Vec::new();
    for answer in answers {
        sums.push(answer.await.expect("answered").expect("served"));
    }
    assert_eq!(sums, [0, 0, 0, 0, 1, 0, 7]);
    assert_eq!(log.size(0).0 - batches, 2, "before the sums of a, and of all");
}

#[tokio::test(start_paused = true)]
async fn a_machine_begins_with_what_the_log_asks_for_and_knows_its_epoch() {
    let (log, shards, mut performed) = shards(100);
    assert_eq!(ask(&shards, Request::Epoch).await, Ok(3));
    assert_eq!(ask(&shards, Request::Add(key("odd"), 1)).await, Ok(0));
    assert_eq!(ask(&shards, Request::Add(key("even"), 2)).await, Ok(0));
    assert!(performed.try_recv().is_err());
    // Also when it is loaded anew because nobody knows what was written.
    log.fail_appends(0, Some(CoordinatorAppendError::Storage));
    assert_eq!(
        ask(&shards, Request::Add(key("even"), 1)).await,
        Err(ErrorCode::NotCoordinator)
    );
    log.fail_appends(0, None);
    let (told, _) = performed.recv().await.expect("performed");
    assert_eq!(told, key("odd"));
    settle().await;
    assert_eq!(ask(&shards, Request::SumOfAll).await, Ok(3));
    shards.on_resigned(0);
    shards.on_elected(0, 4);
    let (told, _) = performed.recv().await.expect("performed");
    assert_eq!(told, key("odd"));
    settle().await;
    assert_eq!(ask(&shards, Request::Epoch).await, Ok(4));
}
