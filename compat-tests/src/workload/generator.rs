//! What clients do: one operation after another, from random numbers.
//!
//! Keys are partitions: the first ones take what anybody sends, then come the inputs of the pipeline, then its outputs.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::random::Random;

/// Partitions of each kind.
pub const DATA: u32 = 6;
pub const PIPES: u32 = 3;
/// Most records that a pipeline takes at once.
const PIPE_RECORDS: u64 = 15;

/// Values are numbers; none is used twice, not even in another round.
#[derive(Debug)]
pub struct Values(AtomicU64);

impl Default for Values {
    fn default() -> Self {
        Self(AtomicU64::new(1))
    }
}

impl Values {
    fn take(&self, count: u64) -> u64 {
        self.0.fetch_add(count, Ordering::Relaxed)
    }
}

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An idempotent producer and a consumer with partitions of its choice.
    Plain,
    /// A transactional producer and such a consumer, of committed records.
    Transactional,
    /// Consume, transform, produce.
    Pipe,
    /// A member of a group that commits what it polled.
    Member,
}

/// The keys that take what anybody sends, those from which the pipeline reads among them.
pub fn sent_keys() -> Vec<u32> {
    (0..DATA + PIPES).collect()
}

/// The keys that the pipeline reads.
pub fn input_keys() -> Vec<u32> {
    (DATA..DATA + PIPES).collect()
}

/// The keys that it writes.
pub fn output_keys() -> Vec<u32> {
    (DATA + PIPES..DATA + 2 * PIPES).collect()
}

/// The next operation of a client of `role`; `fresh` when it is its first. Of a hundred transactions that wait in the middle,
/// `zombies` make one of their client.
pub fn operation(role: Role, fresh: bool, zombies: u64, random: &mut Random, values: &Values) -> Value {
    match role {
        Role::Plain | Role::Transactional if fresh || random.chance(5) => assign(random),
        Role::Plain if random.chance(50) => {
            let sends: Vec<Value> = (0..random.between(1, 4))
                .map(|_| json!([key(random), values.take(1)]))
                .collect();
            json!({"f": "send", "value": sends})
        }
        Role::Plain => json!({"f": "poll", "max": 50, "seconds": 0.05}),
        Role::Member => json!({"f": "poll", "max": 40, "seconds": 0.2}),
        Role::Transactional => transaction(zombies, random, values),
        Role::Pipe => {
            let outputs: serde_json::Map<String, Value> = input_keys()
                .iter()
                .zip(output_keys())
                .map(|(input, output)| (input.to_string(), json!(output)))
                .collect();
            let mut command = json!({
                "f": "pipe", "max": PIPE_RECORDS, "first": values.take(PIPE_RECORDS), "outputs": outputs,
            });
            finish(&mut command, random);
            if random.chance(8) {
                command["wait"] = json!(random.between(5, 100));
                command["zombie"] = json!(random.chance(zombies));
            }
            command
        }
    }
}

/// Inputs get a larger share than the other keys, so that the pipeline has work.
fn key(random: &mut Random) -> u32 {
    let share = if random.chance(40) { input_keys() } else { sent_keys() };
    *random.pick(&share)
}

fn assign(random: &mut Random) -> Value {
    let mut keys = Vec::new();
    for _ in 0..random.between(1, 4) {
        let key = *random.pick(&sent_keys());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let mut places = Vec::new();
    for key in keys {
        let place = if random.chance(15) { "beginning" } else { "tail" };
        places.push(json!([key, place]));
    }
    json!({"f": "assign", "value": places})
}

fn transaction(zombies: u64, random: &mut Random, values: &Values) -> Value {
    let mut steps = vec![json!(["send", key(random), values.take(1)])];
    let mut zombie = false;
    for _ in 0..random.between(0, 5) {
        steps.push(match random.between(0, 99) {
            0..55 => json!(["send", key(random), values.take(1)]),
            55..88 => json!(["poll", 20]),
            _ => {
                zombie = zombie || random.chance(zombies);
                json!(["wait", random.between(5, 60)])
            }
        });
    }
    let mut command = json!({"f": "txn", "value": steps, "zombie": zombie});
    finish(&mut command, random);
    command
}

/// How it is to end: most are committed, some aborted, some left open by a client that goes away.
fn finish(command: &mut Value, random: &mut Random) {
    command["commit"] = json!(random.chance(82));
    if random.chance(1) {
        command["leave"] = json!(true);
    }
}
