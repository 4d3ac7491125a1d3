//! Runs cases against a broker and takes down what it answers.
//!
//! **Invariants:** one case after the other, each on connections of its own; every wait ends; a preparation that fails is
//! taken down like an answer, so that it fails the comparison.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::codec;
use super::edges;
use super::expression::Scope;
use super::normalise::Normaliser;
use super::schema::{self, Message};
use super::script::{Action, Asked, Case, How, Step};
use crate::wire::{Connection, PATIENCE};

/// How long an answer may take that is not waited for longer for a reason.
const ANSWER: Duration = Duration::from_secs(8);
/// What a consumer tells of itself: version 0, one topic (`shared`), no data of its own. Apache Kafka never answers the first
/// member of a group that it cannot read.
const SUBSCRIPTION: &str = "hex:0000 00000001 0006 736861726564 ffffffff";
/// What stands for an answer where the broker closed the connection; the next step opens another.
const CLOSED: &str = "closed";
/// The beginning of the names of cases that make what others find.
pub const FIXTURE: &str = "fixture/";
/// The change of a request that takes its last byte.
const CUT: &str = "(cut)";
/// The change of a request that appends a byte.
const LONGER: &str = "(longer)";
/// Codes of a broker that is not ready: a topic or leader that is not there yet, coordinators that load or are not there
/// yet, a transaction that ends.
const NOT_READY: [i64; 7] = [3, 5, 6, 14, 15, 16, 51];
/// Likewise while a topic is made.
const UNKNOWN_TOPIC_ID: i64 = 100;

/// What a broker said: of each case, by version and variant, the answers of its steps.
pub type Answers = BTreeMap<String, BTreeMap<Variant, Vec<Value>>>;

/// One run of a case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variant {
    /// Empty, values of the loops, or a changed field.
    pub label: String,
    pub version: i16,
}

/// The broker that is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    pub address: SocketAddr,
    /// How long it may take until the broker shows what its controller has decided.
    pub settles_in: Duration,
}

/// Runs cases.
pub fn all(asking: Asking, cases: &[Case]) -> Answers {
    let mut topic_ids = BTreeMap::new();
    cases
        .iter()
        .map(|case| (case.name.clone(), whole_case(asking, case, &mut topic_ids)))
        .collect()
}

fn whole_case(asking: Asking, case: &Case, topic_ids: &mut BTreeMap<String, String>) -> BTreeMap<Variant, Vec<Value>> {
    let mut answers = BTreeMap::new();
    for version in case.versions.0..=case.versions.1 {
        for (number, values) in combinations(&case.loops).iter().enumerate() {
            let labels: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let variant = Variant {
                label: labels.join(" "),
                version,
            };
            let run = if case.loops.is_empty() {
                String::new()
            } else {
                format!("-{number}")
            };
            let mut one = Run::new(asking, case, version, &run, values, topic_ids);
            let base = one.steps();
            let labels = one.edges.clone();
            if case.name.starts_with(FIXTURE) {
                topic_ids.extend(one.scope.topic_ids);
            }
            for (number, label) in labels.iter().enumerate() {
                let run = format!("{run}-e{number}");
                let mut one = Run::new(asking, case, version, &run, values, topic_ids);
                one.edge = Some(number);
                let changed = one.steps();
                let label = [&variant.label, label].map(String::as_str).join(" ").trim().to_owned();
                answers.insert(Variant { label, version }, changed);
            }
            answers.insert(variant, base);
        }
    }
    answers
}

fn combinations(loops: &[(String, Vec<Value>)]) -> Vec<Vec<(String, Value)>> {
    let mut all = vec![Vec::new()];
    for (name, values) in loops {
        let with =
            |known: &Vec<(String, Value)>, value: &Value| [known.clone(), vec![(name.clone(), value.clone())]].concat();
        all = all
            .iter()
            .flat_map(|known| values.iter().map(move |value| with(known, value)))
            .collect();
    }
    all
}

struct Run<'a> {
    asking: Asking,
    case: &'a Case,
    version: i16,
    /// What the names of this run end in.
    name: String,
    scope: Scope,
    connections: BTreeMap<String, Link>,
    normaliser: Normaliser,
    /// Which change of the request is asked for.
    edge: Option<usize>,
    /// A change of the bytes of the next request.
    mangled: Option<&'static str>,
    /// The labels of all changes.
    edges: Vec<String>,
}

impl<'a> Run<'a> {
    fn new(
        asking: Asking,
        case: &'a Case,
        version: i16,
        suffix: &str,
        values: &[(String, Value)],
        topic_ids: &BTreeMap<String, String>,
    ) -> Self {
        let name = format!("{}-v{version}{suffix}", case.name.replace('/', "-"));
        let mut scope = Scope {
            variables: values.iter().cloned().collect(),
            topic_ids: topic_ids.clone(),
        };
        for kind in ["t", "g", "x"] {
            scope
                .variables
                .insert(kind.to_owned(), Value::from(format!("{kind}-{name}")));
        }
        scope.variables.insert("version".to_owned(), Value::from(version));
        let subscription = Value::from(SUBSCRIPTION);
        scope.variables.insert("subscription".to_owned(), subscription);
        Self {
            asking,
            case,
            version,
            name,
            scope,
            connections: BTreeMap::new(),
            normaliser: Normaliser::default(),
            edge: None,
            mangled: None,
            edges: Vec::new(),
        }
    }

    fn steps(&mut self) -> Vec<Value> {
        let mut answers = Vec::new();
        for (number, step) in self.case.steps.iter().enumerate() {
            match self.step(step) {
                Ok(answer) => answers.extend(answer),
                Err(why) => {
                    answers.push(json!({ "failed": format!("step {}: {why}", number + 1) }));
                    break;
                }
            }
        }
        answers
    }

    /// Takes a step; what is compared of it, if anything.
    fn step(&mut self, step: &Step) -> Result<Option<Value>, String> {
        let answer = match &step.action {
            Action::Topic {
                name,
                partitions,
                configs,
            } => {
                let evaluated = [name, partitions, configs].map(|expression| expression.evaluate(&self.scope));
                self.make_topic(step, evaluated)?;
                return Ok(None);
            }
            Action::Records {
                topic,
                partition,
                count,
            } => {
                let [topic, partition, count] = [topic, partition, count].map(|value| value.evaluate(&self.scope));
                let records = super::records::from_script(&[("values".to_owned(), count)]);
                let data = json!({"Index": partition, "Records": records});
                let topic = json!({"Name": topic, "PartitionData": [data]});
                let body = json!({"Acks": -1, "TimeoutMs": 30_000, "TopicData": [topic]});
                self.prepare(step, "Produce", 12, &body)?;
                return Ok(None);
            }
            Action::Ask { how, asked } => {
                let (message, version, body) = self.request(asked);
                match how {
                    How::Prepare => self.prepare(step, &message.api, version, &body)?,
                    How::Once => self.call(step, message, version, &body),
                    How::Retry => self.call_until(step, message, version, &body, |codes| !is_any(codes, &NOT_READY)),
                    How::Await(code) => {
                        let answer = self.call_until(step, message, version, &body, |codes| codes.contains(code));
                        self.keep(step, &answer)?;
                        return Ok(None);
                    }
                    How::Send => {
                        self.link(step)
                            .send(message, version, &codec::encode(message, version, &body));
                        return Ok(None);
                    }
                    How::Unanswered => {
                        self.link(step)
                            .send(message, version, &codec::encode(message, version, &body));
                        let probe = schema::request("ApiVersions");
                        self.link(step).send(probe, 0, &[]);
                        let answer = self.link(step).receive_last();
                        if answer.is_object() { json!("no answer") } else { answer }
                    }
                }
            }
            Action::Receive => self.link(step).receive(PATIENCE),
            Action::Settle => {
                thread::sleep(self.asking.settles_in);
                return Ok(None);
            }
        };
        if answer == CLOSED {
            self.connections.remove(&step.connection);
        }
        self.keep(step, &answer)?;
        let prepared = matches!(step.action, Action::Ask { how: How::Prepare, .. });
        Ok((!prepared).then(|| self.normaliser.apply(&answer, &self.scope, &self.name)))
    }

    fn request(&mut self, asked: &Asked) -> (&'static Message, i16, Value) {
        let body = asked.body.evaluate(&self.scope);
        if let Some((api, version)) = &asked.other {
            return (schema::request(api), *version, body);
        }
        let message = schema::request(&self.case.api);
        let Some(edges) = &self.case.edges else {
            return (message, self.version, body);
        };
        if !edges.versions.contains(&self.version) {
            return (message, self.version, body);
        }
        let mut changes = edges::of(message, self.version, &body, &self.name, &edges.skipped);
        match self.edge {
            None => {
                self.edges = changes.into_iter().map(|(label, _)| label).collect();
                self.edges.extend([CUT.to_owned(), LONGER.to_owned()]);
                (message, self.version, body)
            }
            Some(edge) if edge < changes.len() => (message, self.version, changes.swap_remove(edge).1),
            Some(edge) => {
                self.mangled = Some(if edge == changes.len() { CUT } else { LONGER });
                (message, self.version, body)
            }
        }
    }

    fn link(&mut self, step: &Step) -> &mut Link {
        let address = self.asking.address;
        self.connections
            .entry(step.connection.clone())
            .or_insert_with(|| Link::open(address))
    }

    fn call(&mut self, step: &Step, message: &'static Message, version: i16, body: &Value) -> Value {
        let mut bytes = codec::encode(message, version, body);
        match self.mangled.take() {
            Some(CUT) => drop(bytes.pop()),
            Some(_) => bytes.push(0),
            None => {}
        }
        let link = self.link(step);
        link.send(message, version, &bytes);
        link.receive(ANSWER)
    }

    fn call_until(
        &mut self,
        step: &Step,
        message: &'static Message,
        version: i16,
        body: &Value,
        good: impl Fn(&[i64]) -> bool,
    ) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.call(step, message, version, body);
            if good(&codes(&answer)) || Instant::now() > deadline {
                return answer;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn prepare(&mut self, step: &Step, api: &str, version: i16, body: &Value) -> Result<Value, String> {
        let ready = |codes: &[i64]| !is_any(codes, &NOT_READY) && !codes.contains(&UNKNOWN_TOPIC_ID);
        let answer = self.call_until(step, schema::request(api), version, body, ready);
        if answer.is_object() && codes(&answer).iter().all(|code| *code == 0) {
            Ok(answer)
        } else {
            Err(format!("{api} {version}: {answer}"))
        }
    }

    fn make_topic(&mut self, step: &Step, [name, partitions, configs]: [Value; 3]) -> Result<(), String> {
        let configs = configs.as_object().into_iter().flatten();
        let configs: Vec<Value> = configs
            .map(|(name, value)| json!({"Name": name, "Value": value}))
            .collect();
        let topic = json!({"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1, "Configs": configs});
        let made = self.prepare(
            step,
            "CreateTopics",
            7,
            &json!({"Topics": [topic], "timeoutMs": 30_000}),
        )?;
        let id = made
            .pointer("/Topics/0/TopicId")
            .and_then(Value::as_str)
            .ok_or("no topic id")?;
        let name = name.as_str().ok_or("a topic's name is text")?;
        self.scope.topic_ids.insert(name.to_owned(), id.to_owned());
        // Apache Kafka names a leader some milliseconds before it serves.
        let ask = |partition| json!({"PartitionIndex": partition, "Timestamp": -1});
        let asked: Vec<Value> = (0..partitions.as_i64().unwrap_or(1)).map(ask).collect();
        let body = json!({"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": asked}]});
        self.prepare(step, "ListOffsets", 7, &body)?;
        Ok(())
    }

    fn keep(&mut self, step: &Step, answer: &Value) -> Result<(), String> {
        for (name, path) in &step.keep {
            let found = answer.pointer(&format!("/{}", path.replace('.', "/")));
            let value = found.ok_or_else(|| format!("no {path} in {answer}"))?;
            match name.strip_prefix("id:") {
                None => drop(self.scope.variables.insert(name.clone(), value.clone())),
                Some(topic) => {
                    let topic = self
                        .scope
                        .variables
                        .get(topic)
                        .and_then(Value::as_str)
                        .unwrap_or(topic)
                        .to_owned();
                    let id = value.as_str().ok_or("a topic id is text")?;
                    self.scope.topic_ids.insert(topic, id.to_owned());
                }
            }
        }
        Ok(())
    }
}

/// Whether the first answer of a run is one, and names no error.
pub fn succeeded(answers: &[Value]) -> bool {
    fn names_none(value: &Value) -> bool {
        match value {
            Value::Object(fields) => fields
                .iter()
                .all(|(name, value)| names_none(value) && (!name.ends_with("ErrorCode") || *value == 0)),
            Value::Array(items) => items.iter().all(names_none),
            _ => true,
        }
    }
    answers
        .first()
        .is_some_and(|answer| answer.is_object() && names_none(answer))
}

fn is_any(codes: &[i64], of: &[i64]) -> bool {
    codes.iter().any(|code| of.contains(code))
}

/// All error codes of an answer.
fn codes(answer: &Value) -> Vec<i64> {
    match answer {
        Value::Object(fields) => {
            let code = |(name, value): (&String, &Value)| {
                let own = name.ends_with("ErrorCode").then(|| value.as_i64()).flatten();
                own.map_or_else(|| codes(value), |code| vec![code])
            };
            fields.iter().flat_map(code).collect()
        }
        Value::Array(items) => items.iter().flat_map(codes).collect(),
        _ => Vec::new(),
    }
}

/// A connection with the requests that wait for their answers.
struct Link {
    connection: Connection,
    correlation_id: i32,
    waiting: Vec<(i32, &'static Message, i16)>,
}

impl Link {
    fn open(address: SocketAddr) -> Self {
        Self {
            connection: Connection::open(address),
            correlation_id: 0,
            waiting: Vec::new(),
        }
    }

    fn send(&mut self, message: &'static Message, version: i16, body: &[u8]) {
        self.correlation_id += 1;
        let mut payload = [message.key.to_be_bytes(), version.to_be_bytes()].concat();
        payload.extend(self.correlation_id.to_be_bytes());
        payload.extend([0, 4]);
        payload.extend(b"diff");
        if version >= message.flexible_from {
            payload.push(0); // no tagged fields
        }
        payload.extend(body);
        self.waiting.push((self.correlation_id, message, version));
        self.connection.send_frame(&payload);
    }

    /// The answer to the oldest request that waits.
    fn receive(&mut self, patience: Duration) -> Value {
        let (correlation_id, message, version) = self.waiting.remove(0);
        self.read(patience, correlation_id, message, version)
    }

    /// The answer to the newest request, where the others have none.
    fn receive_last(&mut self) -> Value {
        let (correlation_id, message, version) = self.waiting.pop().expect("a request");
        self.waiting.clear();
        self.read(PATIENCE, correlation_id, message, version)
    }

    fn read(&mut self, patience: Duration, correlation_id: i32, message: &Message, version: i16) -> Value {
        self.connection.be_patient(patience);
        let frame = match self.connection.try_read_frame() {
            Ok(None) => return json!(CLOSED),
            Ok(Some(frame)) => frame,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return json!("nothing");
            }
            Err(error) => return json!(format!("unreadable: {error}")),
        };
        let Some((first, body)) = frame.split_first_chunk::<4>() else {
            return json!("unreadable: no header");
        };
        if i32::from_be_bytes(*first) != correlation_id {
            return json!("unreadable: another request's answer");
        }
        decode(message, version, body).unwrap_or_else(|why| json!(format!("unreadable: {why}")))
    }
}

fn decode(message: &Message, version: i16, body: &[u8]) -> Result<Value, String> {
    let response = schema::response(&message.api);
    if message.api == "ApiVersions" {
        // The answer to a version that is not known is of version 0.
        let version = if message.versions.has(version) { version } else { 0 };
        return codec::decode(response, version, body);
    }
    let body = if version >= message.flexible_from {
        body.strip_prefix(&[0]).ok_or("tagged fields in the header")?
    } else {
        body
    };
    codec::decode(response, version, body)
}
