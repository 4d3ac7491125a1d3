//! Where two brokers' answers differ, and which of that is known, with its reason (`compat-tests/differential/differences.txt`).
//!
//! **Invariant:** every line of the table must excuse something: a line that no longer does is a failure, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde_json::Value;

use super::normalise::IDENTITIES;
use super::run::{Answers, Variant};

/// One value in which two answers differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub case: String,
    pub variant: Variant,
    /// The number of the answer in the case, and the fields down to the value.
    pub path: String,
    pub kafka: String,
    pub ours: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            case,
            variant,
            path,
            kafka,
            ours,
        } = self;
        write!(
            formatter,
            "{case} v{} {} {path}\n    {kafka} => {ours}",
            variant.version, variant.label
        )
    }
}

/// All differences.
pub fn between(kafka: &Answers, ours: &Answers) -> Vec<Difference> {
    let mut found = Vec::new();
    for case in kafka.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
        let (theirs, own) = (kafka.get(case), ours.get(case));
        let variants = theirs.into_iter().chain(own).flat_map(|variants| variants.keys());
        for variant in variants.collect::<BTreeSet<_>>() {
            let answers = |of: Option<&BTreeMap<Variant, Vec<Value>>>| {
                let answers = of.and_then(|variants| variants.get(variant));
                answers.cloned().unwrap_or_default()
            };
            let (theirs, own) = (answers(theirs), answers(own));
            let mut values = Vec::new();
            for number in 0..theirs.len().max(own.len()) {
                let answer = |of: &[Value]| of.get(number).cloned().unwrap_or_else(missing);
                compare(&number.to_string(), &answer(&theirs), &answer(&own), &mut values);
            }
            for (path, kafka, ours) in values {
                found.push(Difference {
                    case: case.clone(),
                    variant: variant.clone(),
                    path,
                    kafka,
                    ours,
                });
            }
        }
    }
    found
}

fn compare(path: &str, kafka: &Value, ours: &Value, found: &mut Vec<(String, String, String)>) {
    match (kafka, ours) {
        (Value::Object(theirs), Value::Object(own)) => {
            for name in theirs.keys().chain(own.keys()).collect::<BTreeSet<_>>() {
                let value = |of: &serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or_else(missing);
                compare(&format!("{path}.{name}"), &value(theirs), &value(own), found);
            }
        }
        (Value::Array(theirs), Value::Array(own)) => match (by_identity(theirs), by_identity(own)) {
            (Some(theirs), Some(own)) if !theirs.is_empty() || !own.is_empty() => {
                for name in theirs.keys().chain(own.keys()).collect::<BTreeSet<_>>() {
                    let value = |of: &BTreeMap<String, Value>| of.get(name).cloned().unwrap_or_else(missing);
                    compare(&format!("{path}.{name}"), &value(&theirs), &value(&own), found);
                }
            }
            _ if theirs.len() == own.len() => {
                for (number, (kafka, ours)) in theirs.iter().zip(own).enumerate() {
                    compare(&format!("{path}.{number}"), kafka, ours, found);
                }
            }
            _ => found.push((path.to_owned(), kafka.to_string(), ours.to_string())),
        },
        (kafka, ours) if kafka == ours => {}
        (kafka, ours) => found.push((path.to_owned(), kafka.to_string(), ours.to_string())),
    }
}

fn missing() -> Value {
    Value::from("<not there>")
}

/// The elements of a list by what tells them apart, if something does.
fn by_identity(items: &[Value]) -> Option<BTreeMap<String, Value>> {
    let mut named = BTreeMap::new();
    for item in items {
        let fields = item.as_object()?;
        let identity = IDENTITIES.iter().find_map(|name| fields.get(*name))?;
        let name = identity.as_str().map_or_else(|| identity.to_string(), str::to_owned);
        if named.insert(name, item.clone()).is_some() {
            return None;
        }
    }
    Some(named)
}

/// Known differences.
#[derive(Debug)]
pub struct Known {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    line: usize,
    case: String,
    variant: String,
    path: String,
    kafka: String,
    ours: String,
}

impl Known {
    /// Reads the table: a reason is a line without indentation, its rows stand indented below it, each
    /// `CASE | VERSION AND VARIANT | PATH | KAFKA'S VALUE => OURS`, where `*` stands for anything.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut rows = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with(' ')) {
            let columns: Vec<&str> = line.splitn(4, " | ").map(str::trim).collect();
            let [case, variant, path, values] = columns[..] else {
                panic!("line {}: {line}", number + 1)
            };
            let (kafka, ours) = values
                .split_once(" => ")
                .unwrap_or_else(|| panic!("line {}: {line}", number + 1));
            let [case, variant, path, kafka, ours] = [case, variant, path, kafka, ours].map(str::to_owned);
            rows.push(Row {
                line: number + 1,
                case,
                variant,
                path,
                kafka,
                ours,
            });
        }
        Self { rows }
    }

    /// The differences that no row knows, and the rows that know none of them.
    pub fn judge(&self, differences: &[Difference]) -> (Vec<Difference>, Vec<String>) {
        let mut used = BTreeSet::new();
        let mut unknown = Vec::new();
        for difference in differences {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.knows(difference)).collect();
            used.extend(rows.iter().map(|row| row.line));
            if rows.is_empty() {
                unknown.push(difference.clone());
            }
        }
        let unused = self.rows.iter().filter(|row| !used.contains(&row.line));
        let unused = unused
            .map(|row| format!("differences.txt line {} excuses nothing", row.line))
            .collect();
        (unknown, unused)
    }
}

impl Row {
    fn knows(&self, difference: &Difference) -> bool {
        let variant = format!("v{} {}", difference.variant.version, difference.variant.label);
        fits(&self.case, &difference.case)
            && fits(&self.variant, variant.trim())
            && fits(&self.path, &difference.path)
            && fits(&self.kafka, &difference.kafka)
            && fits(&self.ours, &difference.ours)
    }
}

/// Whether a text has the form of a pattern, in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    (0..=text.len())
        .filter(|&at| text.is_char_boundary(at))
        .any(|at| fits(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_that_differ_are_found_by_their_path() {
        let mut found = Vec::new();
        let kafka = json!([{"A": [{"B": 1, "C": 2}], "D": [1]}]);
        compare("", &kafka, &json!([{"A": [{"B": 3, "C": 2}], "D": []}]), &mut found);
        let found: Vec<&str> = found.iter().map(|(path, ..)| path.as_str()).collect();
        assert_eq!(found, [".0.A.0.B", ".0.D"]);
    }

    #[test]
    fn patterns() {
        assert!(fits("a*c", "abc") && fits("*", "") && fits("a", "a") && fits("*.Error*", "0.ErrorCode"));
        assert!(!fits("a*c", "abd") && !fits("", "a"));
    }
}
