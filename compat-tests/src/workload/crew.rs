//! The clients of a round: each thread drives one after another, writes down what they do, and replaces those that are gone.
//!
//! A client that is to become a zombie is frozen in mid-transaction, while another thread goes on with its successor, most
//! often with the same transactional id; then it wakes up, finds out what became of it, tries once more, and is ended.
//!
//! **Invariant:** an operation is finished exactly once in the history, whatever became of the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Map, Value, json};

use super::clock::now;
use super::generator::{Role, Values, operation};
use super::random::Random;
use super::recorder::Recorder;
use super::worker::{Living, Reply, Worker};
use crate::client::Client;

/// How long an operation may take. Clients give up earlier, as far as they give up at all.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long a client may take to start, and a final reader to bring anything, on a machine that has other things to do.
const LONG_PATIENCE: Duration = Duration::from_secs(120);
/// How long it may go on when the load is over.
const LAST_PATIENCE: Duration = Duration::from_secs(25);
/// Transactions are aborted by the broker after this.
const TRANSACTION_TIMEOUT_MS: u64 = 5_000;

/// What goes on from round to round.
#[derive(Debug, Default)]
pub struct Lasting {
    pub values: Values,
    next_process: AtomicU32,
    next_transactional_id: AtomicUsize,
}

/// One place in the crew, whoever sits in it.
#[derive(Clone, Debug)]
pub struct Seat {
    pub client: Client,
    pub role: Role,
    pub isolation: &'static str,
    pub transactional_id: Option<String>,
}

/// Everything that the clients of a round share.
#[derive(Debug)]
pub struct Crew<'a> {
    pub bootstrap: String,
    pub round: usize,
    /// Of a hundred transactions that wait in the middle so many make a zombie of their client.
    pub zombies: u64,
    /// Topics and partitions.
    pub keys: Vec<(String, i32)>,
    pub recorder: Recorder<'a>,
    pub lasting: &'a Lasting,
    pub living: Living,
    /// No more load since then; pipelines go on.
    load_over: OnceLock<Instant>,
    pipes_over: OnceLock<Instant>,
    /// Threads that still drive a client: of load, and of pipelines.
    loading: AtomicUsize,
    piping: AtomicUsize,
    /// The last offsets that final readers of committed records saw.
    pub last_offsets: Mutex<BTreeMap<u32, i64>>,
}

impl<'a> Crew<'a> {
    /// A crew without clients.
    pub fn new(
        bootstrap: String,
        (round, zombies): (usize, u64),
        keys: Vec<(String, i32)>,
        recorder: Recorder<'a>,
        lasting: &'a Lasting,
    ) -> Self {
        Self {
            bootstrap,
            round,
            zombies,
            keys,
            recorder,
            lasting,
            living: Living::default(),
            load_over: OnceLock::new(),
            pipes_over: OnceLock::new(),
            loading: AtomicUsize::new(0),
            piping: AtomicUsize::new(0),
            last_offsets: Mutex::default(),
        }
    }

    /// Lets a seat's clients work on a thread of its own until their time is over.
    pub fn employ<'s>(&'s self, scope: &'s Scope<'s, '_>, seat: Seat, mut random: Random) {
        self.threads(seat.role).fetch_add(1, Ordering::SeqCst);
        scope.spawn(move || {
            let counted = self.threads(seat.role);
            self.live(scope, seat, &mut random);
            counted.fetch_sub(1, Ordering::SeqCst);
        });
    }

    /// No client of the load, or of pipelines, begins anything any more.
    pub fn call_off(&self, pipes: bool) {
        self.over(pipes).get_or_init(Instant::now);
    }

    /// Ends the load, or the pipelines, and waits until no thread drives their clients.
    pub fn end(&self, pipes: bool) {
        self.call_off(pipes);
        let threads = if pipes { &self.piping } else { &self.loading };
        while threads.load(Ordering::SeqCst) > 0 {
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn threads(&self, role: Role) -> &AtomicUsize {
        if role == Role::Pipe {
            &self.piping
        } else {
            &self.loading
        }
    }

    fn is_over(&self, role: Role) -> bool {
        self.over(role == Role::Pipe).get().is_some()
    }

    fn over(&self, pipes: bool) -> &OnceLock<Instant> {
        if pipes { &self.pipes_over } else { &self.load_over }
    }

    fn live<'s>(&'s self, scope: &'s Scope<'s, '_>, mut seat: Seat, random: &mut Random) {
        while !self.is_over(seat.role) {
            if !self.one_life(scope, &seat, random) {
                return;
            }
            self.recorder.counts.add("clients replaced", 1);
            seat = self.successor(seat, random);
        }
    }

    /// Drives one client until it is gone; false when somebody else goes on in its seat.
    fn one_life<'s>(&'s self, scope: &'s Scope<'s, '_>, seat: &Seat, random: &mut Random) -> bool {
        let Some(mut worker) = self.hire(seat) else {
            thread::sleep(Duration::from_millis(200));
            return true;
        };
        let (mut fresh, mut zombie_operations) = (true, None);
        while !self.is_over(seat.role) {
            let mut command = operation(seat.role, fresh, self.zombies, random, &self.lasting.values);
            fresh = false;
            if self.load_over.get().is_some() {
                calm(&mut command);
            }
            let mut became_zombie = false;
            let alive = self.perform(&mut worker, &command, |worker| {
                if zombie_operations.is_none() && command["zombie"] == true {
                    became_zombie = true;
                    self.freeze(scope, worker, seat, random);
                }
            });
            if became_zombie {
                zombie_operations = Some(2);
            }
            if !alive {
                return zombie_operations.is_none();
            }
            if let Some(left) = &mut zombie_operations {
                *left -= 1;
                if *left == 0 {
                    return false;
                }
            }
            thread::sleep(random.milliseconds(0, 25));
        }
        zombie_operations.is_none()
    }

    /// Stops a client's time in mid-transaction, puts a successor in its seat, and lets it go on later.
    fn freeze<'s>(&'s self, scope: &'s Scope<'s, '_>, worker: &Worker<'_>, seat: &Seat, random: &mut Random) {
        if self.load_over.get().is_some() || !self.living.signal(worker.process, Signal::STOP) {
            return;
        }
        self.recorder.disturb("zombies", Some(worker.process));
        let successor = self.successor(seat.clone(), random);
        self.employ(scope, successor, random.fork());
        // Either the successor fences it, or its transaction times out; now and then it is back before both.
        let pause = random.milliseconds(500, TRANSACTION_TIMEOUT_MS + 2_500);
        let until = Instant::now() + pause;
        while Instant::now() < until && self.load_over.get().is_none() {
            thread::sleep(Duration::from_millis(50));
        }
        self.living.signal(worker.process, Signal::CONT);
    }

    fn successor(&self, mut seat: Seat, random: &mut Random) -> Seat {
        if seat.transactional_id.is_some() && random.chance(40) {
            seat.transactional_id = Some(self.new_transactional_id());
        }
        seat
    }

    /// A transactional id that nobody had.
    pub fn new_transactional_id(&self) -> String {
        let number = self.lasting.next_transactional_id.fetch_add(1, Ordering::Relaxed);
        format!("exactly-once-{number}")
    }

    /// Starts a client of a seat and waits until it is ready.
    fn hire(&self, seat: &Seat) -> Option<Worker<'_>> {
        let mut settings = json!({
            "role": "load",
            "isolation": seat.isolation,
            "produces": seat.role != Role::Member,
            "consumes": true,
            "transactional_id": seat.transactional_id,
            "transaction_timeout_ms": TRANSACTION_TIMEOUT_MS,
        });
        let topic_of = |key: u32| &self.keys[usize::try_from(key).expect("a key")].0;
        match seat.role {
            Role::Pipe => {
                settings["group"] = json!(self.pipe_group());
                settings["subscribe"] = json!(topic_of(super::generator::DATA));
                settings["rewinds"] = json!(true);
            }
            Role::Member => {
                settings["group"] = json!(format!("members-{}-{}", self.round, seat.isolation));
                settings["subscribe"] = json!(topic_of(0));
            }
            Role::Plain | Role::Transactional => {}
        }
        self.start(&seat.client, settings)
    }

    /// The group of the pipeline.
    pub fn pipe_group(&self) -> String {
        format!("pipes-{}", self.round)
    }

    /// Starts a client with `settings` and what all have in common; `None` when it did not get ready.
    pub fn start(&self, client: &Client, mut settings: Value) -> Option<Worker<'_>> {
        let process = self.lasting.next_process.fetch_add(1, Ordering::Relaxed);
        settings["bootstrap"] = json!(self.bootstrap);
        settings["keys"] = json!(self.keys);
        settings["session_timeout_ms"] = json!(3_000);
        settings["delivery_timeout_ms"] = json!(4_500);
        let is_pipe = settings["rewinds"] == true;
        self.recorder.write(&json!({
            "type": "process", "process": process, "client": client.to_string(), "isolation": settings["isolation"],
            "group": if is_pipe { Value::Null } else { settings["group"].clone() },
            "rewinds": is_pipe, "transactional_id": settings["transactional_id"], "time": now(),
        }));
        let worker = Worker::spawn(client, &settings, process, &self.living);
        let deadline = Instant::now() + LONG_PATIENCE;
        match worker.next(deadline) {
            Reply::Line(line) if line["type"] == "ok" => Some(worker),
            Reply::Line(line) => {
                self.recorder.counts.add("clients that did not start", 1);
                self.recorder
                    .write(&json!({"type": "note", "process": process, "value": line["error"]}));
                None
            }
            Reply::Ended | Reply::TimedOut => None,
        }
    }

    /// Has a worker do one operation and writes down what came of it; false when it is of no use any more. `waiting` is
    /// called when it waits in the middle.
    fn perform(&self, worker: &mut Worker<'_>, command: &Value, mut waiting: impl FnMut(&Worker<'_>)) -> bool {
        let begin = now();
        let function = command["f"].clone();
        self.recorder.write(&json!({
            "type": "invoke", "f": function, "process": worker.process, "time": begin, "value": command["value"],
        }));
        worker.tell(&with(command, "id", json!(begin)));
        let (mut committing, mut planned, mut killed) = (Value::Null, None, false);
        let mut deadline = Instant::now() + PATIENCE;
        let over = self.over(function == "pipe");
        loop {
            let last = over.get().filter(|_| !killed);
            let last = last.map_or(deadline, |&over| deadline.min(over + LAST_PATIENCE));
            match worker.next(last.min(Instant::now() + Duration::from_secs(1))) {
                Reply::Line(line) => match line["type"].as_str() {
                    Some("waiting") => {
                        waiting(worker);
                        deadline = Instant::now() + PATIENCE;
                    }
                    Some("committing") => committing = line["time"].clone(),
                    Some("planned") => planned = Some(line["value"].clone()),
                    _ => {
                        let dies = line["die"] == true;
                        self.finish(worker.process, command, (&committing, planned), line);
                        return !dies;
                    }
                },
                Reply::TimedOut if Instant::now() < last => {}
                Reply::TimedOut => {
                    self.recorder.disturb("operations without end", Some(worker.process));
                    worker.kill();
                    killed = true;
                    deadline = Instant::now() + PATIENCE;
                }
                Reply::Ended => {
                    let line = json!({"type": "info", "begin": begin, "time": now(), "value": [], "error": "it died"});
                    self.finish(worker.process, command, (&committing, planned), line);
                    return false;
                }
            }
        }
    }

    /// Has a final reader read, part by part; whether it came to the end.
    pub fn read(&self, worker: &mut Worker<'_>, command: &Value, committed: bool) -> bool {
        worker.tell(&with(command, "id", json!(now())));
        loop {
            let Reply::Line(line) = worker.next(Instant::now() + LONG_PATIENCE) else {
                return false;
            };
            if line["type"] != "part" {
                return line["type"] == "ok";
            }
            if committed {
                self.note_last_offsets(&line);
            }
            let line = with(&line, "time", json!(now()));
            self.recorder.write(&with(&line, "process", json!(worker.process)));
        }
    }

    /// Completes what is known of an operation and writes it down.
    fn finish(&self, process: u32, command: &Value, known: (&Value, Option<Value>), mut line: Value) {
        let (committing, planned) = known;
        let function = &command["f"];
        let transaction = function == "txn" || function == "pipe";
        if transaction && line["type"] == "info" && committing.is_null() {
            // Nobody asked for its commit, whatever went wrong.
            line["type"] = json!("fail");
        }
        if line["type"] != "ok" {
            add_unknown_sends(&mut line["value"], planned.unwrap_or_else(|| sends_of(command)));
        }
        let fields = line.as_object_mut().expect("a reply is an object");
        fields.remove("id");
        fields.insert("f".to_owned(), function.clone());
        fields.insert("process".to_owned(), json!(process));
        if !committing.is_null() {
            fields.insert("committing".to_owned(), committing.clone());
        }
        self.count(function, &line);
        self.recorder.write(&line);
    }

    fn count(&self, function: &Value, line: &Value) {
        let counts = self.recorder.counts;
        let steps = line["value"].as_array().map_or(&[][..], Vec::as_slice);
        counts.add("operations", 1);
        counts.add("records sent", steps.iter().filter(|step| step[0] == "send").count());
        let polled = steps
            .iter()
            .filter(|step| step[0] == "poll")
            .filter_map(|step| step[2].as_object());
        let polled = polled.flat_map(Map::values).filter_map(Value::as_array).map(Vec::len);
        counts.add("records polled", polled.sum());
        let empty = function == "pipe" && !steps.iter().any(|step| step[0] == "send");
        if (function == "txn" || function == "pipe") && !empty {
            let outcome = match line["type"].as_str() {
                Some("ok") => "transactions committed",
                Some("fail") => "transactions aborted",
                _ => "transactions indeterminate",
            };
            counts.add(outcome, 1);
        }
        if function == "pipe" && !empty && line["type"] == "ok" {
            counts.add("pipeline transactions committed", 1);
        }
    }

    fn note_last_offsets(&self, part: &Value) {
        let mut last = self.last_offsets.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = part["value"].as_array().map_or(&[][..], Vec::as_slice);
        for step in steps.iter().filter(|step| step[0] == "poll") {
            for (key, records) in step[2].as_object().into_iter().flatten() {
                let offset = records.as_array().and_then(|records| records.last()?[0].as_i64());
                if let (Ok(key), Some(offset)) = (key.parse(), offset) {
                    let known = last.entry(key).or_insert(-1);
                    *known = offset.max(*known);
                }
            }
        }
    }
}

/// What an operation may have sent.
fn sends_of(command: &Value) -> Value {
    let steps = command["value"].as_array().map_or(&[][..], Vec::as_slice);
    let sends = steps.iter().filter_map(|step| match command["f"].as_str() {
        Some("send") => Some(json!(["send", step[0], step[1], null])),
        Some("txn") if step[0] == "send" => Some(json!(["send", step[1], step[2], null])),
        _ => None,
    });
    sends.collect()
}

/// Adds the sends that the client did not tell of: they may be in the log all the same.
fn add_unknown_sends(steps: &mut Value, possible: Value) {
    let (Value::Array(steps), Value::Array(possible)) = (steps, possible) else {
        return;
    };
    let told: BTreeSet<u64> = steps
        .iter()
        .filter(|step| step[0] == "send")
        .filter_map(|step| step[2].as_u64())
        .collect();
    let untold = possible
        .into_iter()
        .filter(|step| step[2].as_u64().is_some_and(|value| !told.contains(&value)));
    steps.extend(untold);
}

/// Takes the accidents out of an operation, for the time of healing.
fn calm(command: &mut Value) {
    command["commit"] = json!(true);
    for accident in ["leave", "zombie", "wait"] {
        command.as_object_mut().expect("an object").remove(accident);
    }
}

fn with(object: &Value, field: &str, value: Value) -> Value {
    let mut object = object.clone();
    object[field] = value;
    object
}
