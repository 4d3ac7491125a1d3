//! A request with one field changed to each value that is odd for its type.
//!
//! **Invariant:** the labels of changes depend only on the schema and on the lengths of the request's lists, so that the
//! same change has the same label on every broker.

use serde_json::{Map, Value, json};

use super::codec::default_of;
use super::schema::{Field, Kind, Message};

/// All changes of a body: label and changed body. `run` makes odd names differ from those of other runs.
pub fn of(message: &Message, version: i16, body: &Value, run: &str, skipped: &[String]) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let walk = Walk { version, run };
    walk.fields(&message.fields, body, "", &mut |label, changed| {
        if !skipped.iter().any(|skip| skips(skip, &label)) {
            found.push((label, changed));
        }
    });
    found
}

/// `FIELD`, `FIELD=VALUE` or a whole path; lists have no numbers in it.
fn skips(skip: &str, label: &str) -> bool {
    let (path, value) = label.split_once('=').expect("a label has a value");
    let names: Vec<&str> = path.split('.').filter(|name| name.parse::<usize>().is_err()).collect();
    let (wanted, only) = skip
        .split_once('=')
        .map_or((skip, None), |(path, value)| (path, Some(value)));
    let matches = wanted == names.join(".") || Some(&wanted) == names.last();
    matches && only.is_none_or(|only| only == value)
}

struct Walk<'a> {
    version: i16,
    run: &'a str,
}

impl Walk<'_> {
    fn fields(&self, fields: &[Field], body: &Value, path: &str, found: &mut dyn FnMut(String, Value)) {
        for field in fields.iter().filter(|field| field.versions.has(self.version)) {
            let given = body.get(&field.name);
            let present = given.cloned().unwrap_or_else(|| default_of(field));
            let place = format!("{path}{}", field.name);
            let mut changed = |label: String, value: Value| {
                let mut body = body.as_object().cloned().unwrap_or_else(Map::new);
                body.insert(field.name.clone(), value);
                found(label, Value::Object(body));
            };
            match &field.kind {
                Kind::Array(element) => self.array(element, &present, &place, &mut changed),
                Kind::Struct(inner) => {
                    if field.may_be_null(self.version) && !present.is_null() {
                        changed(format!("{place}=null"), Value::Null);
                    }
                    self.fields(inner, &present, &format!("{place}."), &mut changed);
                }
                kind => self.single(kind, &present, &place, &mut changed),
            }
        }
    }

    fn array(&self, element: &Kind, present: &Value, place: &str, found: &mut dyn FnMut(String, Value)) {
        if !present.is_null() {
            found(format!("{place}=null"), Value::Null);
        }
        let items = present.as_array().cloned().unwrap_or_default();
        if !items.is_empty() {
            found(format!("{place}=[]"), json!([]));
            let twice: Vec<Value> = items.iter().chain(items.first()).cloned().collect();
            found(format!("{place}=twice"), Value::from(twice));
        }
        for (index, item) in items.iter().enumerate() {
            let mut changed = |label: String, value: Value| {
                let mut items = items.clone();
                items[index] = value;
                found(label, Value::from(items));
            };
            let place = format!("{place}.{index}");
            match element {
                Kind::Struct(inner) => self.fields(inner, item, &format!("{place}."), &mut changed),
                kind => self.single(kind, item, &place, &mut changed),
            }
        }
    }

    fn single(&self, kind: &Kind, present: &Value, place: &str, found: &mut dyn FnMut(String, Value)) {
        if matches!(kind, Kind::String) {
            let Self { run, .. } = self;
            found(format!("{place}=odd"), json!(format!("odd /\u{fc} {run}")));
            found(format!("{place}=other"), json!(format!("other-{run}")));
            found(format!("{place}=long"), json!(format!("{}{run}", "x".repeat(300))));
        }
        for odd in odd_values(kind).into_iter().filter(|odd| odd != present) {
            found(format!("{place}={odd}"), odd);
        }
    }
}

fn odd_values(kind: &Kind) -> Vec<Value> {
    match kind {
        Kind::Bool => vec![json!(false), json!(true)],
        Kind::Int8 => [-1, 0, 1, 2, 3, i8::MAX, i8::MIN].map(Value::from).to_vec(),
        Kind::Int16 => [-2, -1, 0, 1, i16::MAX, i16::MIN].map(Value::from).to_vec(),
        Kind::Uint16 => [0, u16::MAX].map(Value::from).to_vec(),
        Kind::Int32 => [-2, -1, 0, 1, i32::MAX, i32::MIN].map(Value::from).to_vec(),
        Kind::Int64 => [-2, -1, 0, 1, i64::MAX, i64::MIN].map(Value::from).to_vec(),
        Kind::Float64 => [-1.0, 0.0, 0.5, 1e300].map(Value::from).to_vec(),
        Kind::Uuid => vec![
            json!("00000000-0000-0000-0000-000000000000"),
            json!("00000000-0000-0000-0000-000000000001"),
            json!("a1b2c3d4-e5f6-4711-8aaa-0123456789ab"),
        ],
        Kind::String => vec![Value::Null, json!("")],
        Kind::Bytes | Kind::Records => vec![Value::Null, json!(""), json!("hex:00"), json!("hex:ffffffffffff")],
        Kind::Array(_) | Kind::Struct(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differential::schema::request;

    #[test]
    fn each_field_is_changed_and_skips_are_heeded() {
        let body = json!({"TopicNames": ["a"], "TimeoutMs": 1});
        let message = request("DeleteTopics");
        let labels = |skipped: &[&str]| -> Vec<String> {
            let skipped: Vec<String> = skipped.iter().map(|&skip| skip.to_owned()).collect();
            of(message, 5, &body, "run", &skipped)
                .into_iter()
                .map(|(label, _)| label)
                .collect()
        };
        let all = labels(&[]);
        assert!(
            all.contains(&"TopicNames=[]".to_owned()) && all.contains(&"TopicNames.0=null".to_owned()),
            "{all:?}"
        );
        assert!(
            all.contains(&"TimeoutMs=-1".to_owned()) && !all.contains(&"TimeoutMs=1".to_owned()),
            "{all:?}"
        );
        assert_eq!(labels(&["TimeoutMs=-1"]).len(), all.len() - 1);
        assert!(labels(&["TimeoutMs", "TopicNames"]).is_empty());
    }
}
