//! Answers as files: one per API in `compat-tests/recorded`, one line an answer, versions that answer alike together.
//!
//! **Invariant:** what is written is read again as it was, and the same answers give the same bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::run::{Answers, Variant};
use super::script::Case;

/// What stands for the answers of the same version without a change.
const SAME: &str = "same";

/// Writes all files.
pub fn write(directory: &Path, cases: &[Case], answers: &Answers) {
    let mut files: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        files.entry(&case.api).or_default().push(case);
    }
    // Rendered before anything goes: a case without answers must not cost the others theirs.
    let files = files.into_iter().map(|(api, cases)| (api, file_text(&cases, answers)));
    let files: Vec<(&str, String)> = files.collect();
    fs::create_dir_all(directory).expect("a directory");
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            fs::remove_file(path).expect("a file of ours");
        }
    }
    for (api, text) in files {
        fs::write(directory.join(format!("{api}.json")), text).expect("a file");
    }
}

fn file_text(cases: &[&Case], answers: &Answers) -> String {
    let texts: Vec<String> = cases
        .iter()
        .map(|case| format!("{}: {{\n{}\n}}", json!(case.name), render(&answers[&case.name])))
        .collect();
    format!("{{\n{}\n}}\n", texts.join(",\n"))
}

fn render(variants: &BTreeMap<Variant, Vec<Value>>) -> String {
    let mut lines = Vec::new();
    let mut open: Option<(String, i16, i16, Vec<Value>)> = None;
    for (variant, answers) in variants {
        let plain = Variant {
            label: String::new(),
            version: variant.version,
        };
        let same = !variant.label.is_empty() && variants.get(&plain) == Some(answers);
        let answers = if same { vec![json!(SAME)] } else { answers.clone() };
        match &mut open {
            Some((label, _, last, known))
                if *label == variant.label && *last + 1 == variant.version && *known == answers =>
            {
                *last = variant.version;
            }
            _ => {
                lines.extend(open.take().map(line));
                open = Some((variant.label.clone(), variant.version, variant.version, answers));
            }
        }
    }
    lines.extend(open.map(line));
    lines.join(",\n")
}

fn line((label, first, last, answers): (String, i16, i16, Vec<Value>)) -> String {
    let versions = if first == last {
        format!("v{first}")
    } else {
        format!("v{first}-{last}")
    };
    let name = format!("{versions} {label}");
    let mut text = format!(" {}: [", json!(name.trim()));
    let short = answers.len() == 1 && answers[0].is_string();
    for (number, answer) in answers.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let start = if short { "" } else { "\n  " };
        write!(text, "{comma}{start}{answer}").expect("a string takes everything");
    }
    text + "]"
}

/// Reads all files.
pub fn read(directory: &Path) -> Answers {
    let mut answers = Answers::new();
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a recording");
        let cases: Map<String, Value> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (case, variants) in cases {
            answers.insert(case, expand(variants.as_object().expect("variants")));
        }
    }
    answers
}

fn expand(lines: &Map<String, Value>) -> BTreeMap<Variant, Vec<Value>> {
    let mut variants = BTreeMap::new();
    for (name, answers) in lines {
        let (versions, label) = name.split_once(' ').unwrap_or((name, ""));
        let versions = versions.strip_prefix('v').expect("versions");
        let (first, last) = versions.split_once('-').unwrap_or((versions, versions));
        let (first, last): (i16, i16) = (first.parse().expect("a version"), last.parse().expect("a version"));
        for version in first..=last {
            let answers = answers.as_array().expect("answers").clone();
            variants.insert(
                Variant {
                    label: label.to_owned(),
                    version,
                },
                answers,
            );
        }
    }
    let plain = |version| Variant {
        label: String::new(),
        version,
    };
    let same: Vec<Variant> = variants
        .iter()
        .filter(|(_, answers)| **answers == [json!(SAME)])
        .map(|(variant, _)| variant.clone())
        .collect();
    for variant in same {
        let answers = variants[&plain(variant.version)].clone();
        variants.insert(variant, answers);
    }
    variants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rendered_is_read() {
        let variant = |label: &str, version| Variant {
            label: label.to_owned(),
            version,
        };
        let variants = BTreeMap::from([
            (variant("", 1), vec![json!({"A": 1})]),
            (variant("", 2), vec![json!({"A": 1})]),
            (variant("", 3), vec![json!({"A": 2}), json!("closed")]),
            (variant("F=-1", 3), vec![json!({"A": 2}), json!("closed")]),
            (variant("F=0", 3), vec![json!("closed")]),
        ]);
        let text = render(&variants);
        assert!(
            text.contains("v1-2") && text.contains("\"v3 F=-1\": [\"same\"]"),
            "{text}"
        );
        let read: Map<String, Value> = serde_json::from_str(&format!("{{{text}}}")).expect("JSON");
        assert_eq!(expand(&read), variants);
    }
}
