//! Records in JSON: batches to be sent, as scripts describe them, and batches that came, as the recordings have them.
//!
//! **Invariant:** what came is shown even when it is broken.

use bytes::Bytes;
use serde_json::{Value, json};

use super::codec::{bytes_of_json, hex};
use crate::batch::{self, Batch, Content, batches, reseal};

/// The timestamp of the first record where a script names none.
const TIMESTAMP: i64 = 1_700_000_000_000;

/// What a script says of a batch: `values`, `at`, `producer`, `epoch`, `sequence`, `txn`, and how it is broken: `set`
/// (`OFFSET:DIGITS`, after which length and CRC are made to fit), `corrupt` (the same, and nothing fits), `cut` (bytes taken
/// from the end), `append` (more bytes).
pub fn from_script(arguments: &[(String, Value)]) -> Value {
    let argument = |name: &str| {
        arguments
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value)
    };
    let number = |name: &str, default: i64| argument(name).and_then(Value::as_i64).unwrap_or(default);
    let known = [
        "values", "at", "producer", "epoch", "sequence", "txn", "key", "set", "corrupt", "cut", "append",
    ];
    for (name, _) in arguments {
        assert!(known.contains(&name.as_str()), "a batch has no {name}");
    }
    let values = match argument("values") {
        None => vec!["value".to_owned()],
        Some(Value::Number(count)) => (0..count.as_u64().expect("a count"))
            .map(|index| format!("v{index}"))
            .collect(),
        Some(Value::Array(values)) => values
            .iter()
            .map(|value| value.as_str().expect("text").to_owned())
            .collect(),
        Some(other) => panic!("values={other}"),
    };
    let mut batch = Batch::of(&values).at(number("at", TIMESTAMP)).from_producer(
        number("producer", -1),
        i16::try_from(number("epoch", -1)).expect("an epoch"),
        i32::try_from(number("sequence", -1)).expect("a sequence"),
    );
    if let Some(key) = argument("key").and_then(Value::as_str) {
        for record in &mut batch.records {
            record.0 = Some(key.as_bytes().to_vec());
        }
    }
    if argument("txn").and_then(Value::as_bool) == Some(true) {
        batch = batch.in_transaction();
    }
    let mut bytes = batch.encode();
    let place = |bytes: &mut Vec<u8>, text: &str| {
        let (at, digits) = text.split_once(':').expect("OFFSET:DIGITS");
        let at: usize = at.parse().expect("an offset");
        let patch = bytes_of_json(&format!("hex:{digits}"));
        bytes[at..at + patch.len()].copy_from_slice(&patch);
    };
    if let Some(patch) = argument("set").and_then(Value::as_str) {
        patch.split(' ').for_each(|patch| place(&mut bytes, patch));
        reseal(&mut bytes);
    }
    if let Some(patch) = argument("corrupt").and_then(Value::as_str) {
        patch.split(' ').for_each(|patch| place(&mut bytes, patch));
    }
    if let Some(cut) = argument("cut").and_then(Value::as_u64) {
        bytes.truncate(bytes.len() - usize::try_from(cut).expect("a small cut"));
    }
    if let Some(more) = argument("append").and_then(Value::as_str) {
        bytes.extend(bytes_of_json(more));
    }
    Value::from(format!("hex:{}", hex(&bytes)))
}

/// Records of an answer.
pub fn to_json(bytes: &[u8]) -> Value {
    let bytes = Bytes::copy_from_slice(bytes);
    let seen = match batches(&bytes) {
        Ok(seen) => seen,
        Err(why) => return json!({ "broken": why, "bytes": bytes.len() }),
    };
    let mut at = 0;
    let mut shown: Vec<Value> = Vec::new();
    for batch in seen {
        let number = |from: usize| i64::from_be_bytes(bytes[at + from..at + from + 8].try_into().expect("eight bytes"));
        let small = |from: usize| i32::from_be_bytes(bytes[at + from..at + from + 4].try_into().expect("four bytes"));
        let content = match batch.content {
            Content::Values(values) => json!(values),
            Content::Marker {
                committed,
                coordinator_epoch,
            } => json!({ "Committed": committed, "CoordinatorEpoch": coordinator_epoch }),
        };
        shown.push(json!({
            "BaseOffset": batch.base_offset,
            "LastOffset": batch.last_offset,
            "LeaderEpoch": small(batch::LEADER_EPOCH_AT),
            "Attributes": i16::from_be_bytes([bytes[at + batch::ATTRIBUTES_AT], bytes[at + batch::ATTRIBUTES_AT + 1]]),
            "BaseTimestamp": number(27),
            "MaxTimestamp": number(35),
            "ProducerId": batch.producer.0,
            "ProducerEpoch": batch.producer.1,
            "BaseSequence": batch.producer.2,
            "Records": content,
        }));
        at += usize::try_from(small(8)).expect("a length that was checked") + 12;
    }
    if at < bytes.len() {
        shown.push(json!({ "CutBytes": bytes.len() - at }));
    }
    Value::from(shown)
}
