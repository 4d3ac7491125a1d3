//! Takes out of answers what differs from run to run: ids, times, addresses, sizes of disks.
//!
//! **Invariants:** the rules go by the names of fields and the form of values, never by what a broker happened to say; what
//! was different stays different (the second member of a group is `<member 2>`); lists are sorted, since Kafka's order is
//! that of its hash maps. What explains an error to people is left out, and so is that nothing is explained: that
//! something is explained beside no error stays. A client that is not throttled is not told that it is not.

use std::time::{SystemTime, UNIX_EPOCH};

use kafka_protocol::error::ResponseError;
use serde_json::{Map, Number, Value};

use super::expression::Scope;

/// How far from now a number of milliseconds is a time of this run.
const NEAR_MS: u64 = 24 * 60 * 60 * 1000;
/// The fields by which elements of a list are told apart, in this order.
pub(super) const IDENTITIES: &[&str] = &[
    "ApiKey",
    "Key",
    "Name",
    "Topic",
    "TopicName",
    "TopicId",
    "GroupId",
    "ResourceType",
    "ResourceName",
    "TransactionalId",
    "PartitionIndex",
    "Partition",
    "Index",
    "Feature",
    "NodeId",
    "BrokerId",
    "LogDir",
    "MemberId",
    "ProducerId",
    "Source",
];

/// The rules, with what one run has seen so far.
#[derive(Debug, Default)]
pub struct Normaliser {
    members: Vec<String>,
    producers: Vec<i64>,
    sessions: Vec<i64>,
}

impl Normaliser {
    /// An answer as it is compared. `run` is what the names of this run end in.
    pub fn apply(&mut self, answer: &Value, scope: &Scope, run: &str) -> Value {
        self.value("", answer, scope, run)
    }

    fn value(&mut self, name: &str, value: &Value, scope: &Scope, run: &str) -> Value {
        match value {
            Value::Object(fields) => {
                let is_raft_log = fields.contains_key("CurrentVoters");
                let failed = fields.get("ErrorCode").is_none_or(|code| *code != 0);
                let says_something = |name: &str, value: &Value| match name {
                    "ThrottleTimeMs" => *value != 0,
                    "ErrorMessage" | "BatchIndexErrorMessage" => {
                        !failed && value.as_str().is_some_and(|text| !text.is_empty())
                    }
                    _ => true,
                };
                let fields = fields
                    .iter()
                    .filter(|(name, value)| says_something(name, value))
                    .map(|(name, value)| match name.as_str() {
                        "HighWatermark" if is_raft_log => (name.clone(), Value::from("<offset>")),
                        _ => (name.clone(), self.value(name, value, scope, run)),
                    });
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Value::Array(items) => {
                let mut items: Vec<Value> = items.iter().map(|item| self.value(name, item, scope, run)).collect();
                if name != "Records" {
                    items.sort_by_cached_key(identity);
                }
                Value::from(items)
            }
            Value::Number(number) => number
                .as_i64()
                .map_or_else(|| value.clone(), |number| self.number(name, number)),
            Value::String(text) => self.text(name, text, scope, run),
            other => other.clone(),
        }
    }

    fn number(&mut self, name: &str, number: i64) -> Value {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock after 1970");
        let now = i64::try_from(now.as_millis()).expect("a clock before the year 292277026");
        match name {
            "ErrorCode" | "PartitionErrorCode" if number != 0 => {
                let code = i16::try_from(number).expect("an error code");
                ResponseError::try_from_code(code)
                    .map_or_else(|| Value::from(code), |error| Value::from(format!("{error:?}")))
            }
            "Port" => Value::from("<port>"),
            "FinalizedFeaturesEpoch" | "LogEndOffset" => Value::from("<offset>"),
            "TotalBytes" | "UsableBytes" if number >= 0 => Value::from("<bytes>"),
            "ProducerId" if number >= 0 => numbered("producer", &mut self.producers, number),
            "SessionId" if number > 0 => numbered("session", &mut self.sessions, number),
            _ if number.abs_diff(now) < NEAR_MS => Value::from("<time>"),
            _ => Value::from(number),
        }
    }

    fn text(&mut self, name: &str, text: &str, scope: &Scope, run: &str) -> Value {
        let plain = |text: String| Value::from(text.replace(run, "$run"));
        match name {
            "Host" => return Value::from("<host>"),
            "ClusterId" => return Value::from("<cluster>"),
            "LogDir" => return Value::from("<directory>"),
            "ErrorMessage" => return Value::from("<text>"),
            _ => {}
        }
        if let Some((topic, _)) = scope.topic_ids.iter().find(|(_, id)| id.as_str() == text) {
            return plain(format!("<id of {topic}>"));
        }
        if name == "TopicId" && find_uuid(text).is_some() {
            return Value::from("<id>");
        }
        let mut text = text.to_owned();
        while let Some(at) = find_uuid(&text) {
            let seen = self.members.iter().position(|member| *member == text[at..at + 36]);
            let place = seen.unwrap_or_else(|| {
                self.members.push(text[at..at + 36].to_owned());
                self.members.len() - 1
            });
            text.replace_range(at..at + 36, &format!("<uuid {}>", place + 1));
        }
        plain(text)
    }
}

fn numbered(what: &str, seen: &mut Vec<i64>, number: i64) -> Value {
    let place = seen.iter().position(|known| *known == number).unwrap_or_else(|| {
        seen.push(number);
        seen.len() - 1
    });
    Value::from(format!("<{what} {}>", place + 1))
}

/// Where a UUID lies in a text. Those of which nearly everything is zero are constants, and stay.
fn find_uuid(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    (0..bytes.len().saturating_sub(35)).find(|&start| {
        let word = &bytes[start..start + 36];
        let fits = word.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
        fits && !word.starts_with(b"00000000-0000-0000") && !word.starts_with(b"a1b2c3d4-e5f6-4711")
    })
}

/// What an element of a list is sorted by.
fn identity(item: &Value) -> String {
    let in_order = |number: &Number| {
        number
            .as_i64()
            .map(|number| format!("{:020}", i128::from(number) - i128::from(i64::MIN)))
    };
    let text = |value: &Value| match value {
        Value::Number(number) => in_order(number).unwrap_or_else(|| number.to_string()),
        other => other.to_string(),
    };
    let known: Vec<String> = IDENTITIES
        .iter()
        .map(|name| item.get(name).map(text).unwrap_or_default())
        .collect();
    known.join("|") + &text(item)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_times_and_addresses_are_taken_out_and_lists_sorted() {
        let mut scope = Scope::default();
        scope
            .topic_ids
            .insert("t-run".to_owned(), "0f0f0f0f-0000-4000-8000-000000000000".to_owned());
        let answer = json!({
            "ErrorCode": 3, "ErrorMessage": "which explains it", "ProducerId": 4711, "Port": 9092, "Time": 1,
            "Members": [
                {"MemberId": "b-11111111-2222-3333-4444-555555555555"},
                {"MemberId": "a-21111111-2222-3333-4444-555555555555"},
            ],
            "TopicId": "0f0f0f0f-0000-4000-8000-000000000000", "Numbers": [10, 9, -1],
        });
        let expected = json!({
            "ErrorCode": "UnknownTopicOrPartition", "ProducerId": "<producer 1>", "Port": "<port>", "Time": 1,
            "Members": [{"MemberId": "a-<uuid 2>"}, {"MemberId": "b-<uuid 1>"}],
            "TopicId": "<id of t-$run>", "Numbers": [-1, 9, 10],
        });
        assert_eq!(Normaliser::default().apply(&answer, &scope, "run"), expected);
    }
}
