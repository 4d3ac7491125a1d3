//! The script: what is asked, in which versions, after which preparations. Read from `compat-tests/differential/*.cases`.
//!
//! **Invariants:** reading a script talks to nobody; every run of a case has a name of its own, from which its topics,
//! groups and transactional ids are named, so that names in answers are the same each time.
//!
//! A case is `case NAME API VERSIONS` and its steps below, indented; it runs once for each version, with `$version`, `$subscription` (a consumer's), `$t` (a
//! topic's name), `$g` (a group's) and `$x` (a transactional id). A step is
//! - `for NAME in [VALUES]`: the case runs for each value, with `$NAME`;
//! - `use NAME`: the steps below the line `macro NAME`;
//! - `topic NAME PARTITIONS {CONFIGS}`: makes a topic and waits until it serves;
//! - `records NAME PARTITION COUNT`: produces a batch;
//! - `do API VERSION BODY`: a preparation, tried again while a coordinator is not ready, which must not fail;
//! - `ask BODY` or `ask API VERSION BODY`: asks in the case's version, or another API; the answer is compared;
//! - `retry …`: the same, tried again while a coordinator is not ready or a transaction still ends;
//! - `tell …`: the same of a request that is not answered;
//! - `send …` and `receive`: the two halves of `ask`;
//! - `await CODE …`: asks until the answer has this error code; nothing is compared;
//! - `edges VERSIONS [skip FIELD …]`: the case runs again with each field of `ask BODY` changed to each value that is odd
//!   for its type (see `edges`).
//!
//! `@NAME` behind the word takes another connection, ` -> VARIABLE=PATH …` keeps values of the answer. A line with open
//! brackets goes on in the next. `#` begins a comment.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::expression::{Expression, Scope};
use super::schema::{Versions, messages};

/// One case.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub api: String,
    pub versions: Versions,
    /// Variables with the values for which the case runs.
    pub loops: Vec<(String, Vec<Value>)>,
    pub steps: Vec<Step>,
    pub edges: Option<Edges>,
}

/// Where and which fields are changed.
#[derive(Debug)]
pub struct Edges {
    pub versions: Vec<i16>,
    pub skipped: Vec<String>,
}

/// One step.
#[derive(Debug)]
pub struct Step {
    pub connection: String,
    pub action: Action,
    /// Variables, and where in the answer their values are.
    pub keep: Vec<(String, String)>,
}

/// What a step does.
#[derive(Debug)]
pub enum Action {
    Topic {
        name: Expression,
        partitions: Expression,
        configs: Expression,
    },
    Records {
        topic: Expression,
        partition: Expression,
        count: Expression,
    },
    Ask {
        how: How,
        asked: Asked,
    },
    Receive,
    /// Waits until a broker shows what its controller decided, where that are two.
    Settle,
}

/// How an answer is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Prepare,
    Once,
    Retry,
    Unanswered,
    Send,
    /// Until the answer has this error code.
    Await(i64),
}

/// A request.
#[derive(Debug)]
pub struct Asked {
    /// API and version, where they are not those of the case.
    pub other: Option<(String, i16)>,
    pub body: Expression,
}

/// All cases, in the order of the files' names and of the lines in them.
pub fn read(directory: &Path) -> Vec<Case> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "cases"));
    files.sort();
    let mut reader = Reader::default();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a script");
        whole_lines(&text).iter().for_each(|line| reader.line(line));
    }
    unsupported_versions().iter().for_each(|line| reader.line(line));
    reader.cases
}

/// Every API in versions that nobody has.
fn unsupported_versions() -> Vec<String> {
    let mut lines = Vec::new();
    for message in messages().iter().filter(|message| message.is_request) {
        let (api, Versions(first, last)) = (&message.api, message.versions);
        lines.push(format!("case unsupported/{api} {api} {first}"));
        let versions = [-1, first - 1, last + 1, i16::MAX];
        let steps = (0..)
            .zip(versions)
            .map(|(number, version)| format!(" ask@{number} {api} {version}"));
        lines.extend(steps);
    }
    lines
}

/// Lines without comments, those with open brackets joined.
fn whole_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let (mut open, mut depth) = (String::new(), 0_i32);
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let mut quoted = false;
        for sign in line.chars() {
            match sign {
                '"' => quoted = !quoted,
                '{' | '[' | '(' if !quoted => depth += 1,
                '}' | ']' | ')' if !quoted => depth -= 1,
                _ => {}
            }
        }
        open.push_str(line);
        open.push(' ');
        if depth <= 0 {
            assert!(depth == 0, "too many brackets: {line}");
            let line = std::mem::take(&mut open);
            match lines.last_mut() {
                Some(last) if line.trim_start().starts_with("->") => *last += &line,
                _ => lines.push(line),
            }
        }
    }
    assert!(depth == 0, "an open bracket at the end: {open}");
    lines.retain(|line| !line.trim().is_empty());
    lines
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    cases: Vec<Case>,
    macros: BTreeMap<String, Vec<String>>,
    /// The macro whose lines are being read.
    open: Option<String>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let (first, rest) = word(line);
        let (name, rest) = word(rest);
        match first {
            "case" => {
                self.open = None;
                let (api, versions) = word(rest);
                self.case(name, api, versions.trim());
            }
            "macro" => self.open = Some(name.to_owned()),
            _ => {
                assert!(line.starts_with(' '), "a step is indented: {line}");
                match &self.open {
                    Some(open) => self.macros.entry(open.clone()).or_default().push(line.to_owned()),
                    None => self.step(line),
                }
            }
        }
    }

    fn case(&mut self, name: &str, api: &str, versions: &str) {
        assert!(
            self.cases.iter().all(|case| case.name != name),
            "two cases are called {name}"
        );
        self.cases.push(Case {
            name: name.to_owned(),
            api: api.to_owned(),
            versions: versions_of(versions),
            loops: Vec::new(),
            steps: Vec::new(),
            edges: None,
        });
    }

    fn step(&mut self, line: &str) {
        let (first, rest) = word(line);
        let (verb, connection) = first.split_once('@').unwrap_or((first, "main"));
        if verb == "use" {
            let lines = self
                .macros
                .get(rest.trim())
                .unwrap_or_else(|| panic!("no macro: {line}"))
                .clone();
            return lines.iter().for_each(|line| self.step(line));
        }
        let case = self.cases.last_mut().expect("a step stands below a case");
        match verb {
            "for" => {
                let (name, rest) = word(rest);
                let values = Expression::parse(rest.trim_start().strip_prefix("in").expect("in"));
                let Value::Array(values) = values.evaluate(&Scope::default()) else {
                    panic!("no list: {line}")
                };
                case.loops.push((name.to_owned(), values));
            }
            "edges" => case.edges = Some(edges(rest)),
            _ => {
                let step = step(verb, connection, rest).unwrap_or_else(|| panic!("no step: {line}"));
                case.steps.push(step);
            }
        }
    }
}

fn step(verb: &str, connection: &str, rest: &str) -> Option<Step> {
    let (body, keep) = rest.split_once(" -> ").unwrap_or((rest, ""));
    let ask = |how| Action::Ask {
        how,
        asked: asked(body),
    };
    let action = match verb {
        "topic" | "records" => {
            let (first, rest) = Expression::parse_first(body);
            let (second, rest) = Expression::parse_first(rest);
            let third = if rest.trim().is_empty() { "{}" } else { rest };
            let third = Expression::parse(third);
            match verb {
                "topic" => Action::Topic {
                    name: first,
                    partitions: second,
                    configs: third,
                },
                _ => Action::Records {
                    topic: first,
                    partition: second,
                    count: third,
                },
            }
        }
        "do" => ask(How::Prepare),
        "ask" => ask(How::Once),
        "retry" => ask(How::Retry),
        "tell" => ask(How::Unanswered),
        "send" => ask(How::Send),
        "receive" => Action::Receive,
        "settle" => Action::Settle,
        "await" => {
            let (code, body) = word(body);
            let code = code.parse().unwrap_or_else(|_| panic!("no error code: {code}"));
            Action::Ask {
                how: How::Await(code),
                asked: asked(body),
            }
        }
        _ => return None,
    };
    let pair = |pair: &str| {
        let (name, path) = pair.split_once('=').expect("VARIABLE=PATH");
        (name.to_owned(), path.to_owned())
    };
    Some(Step {
        connection: connection.to_owned(),
        action,
        keep: keep.split_whitespace().map(pair).collect(),
    })
}

fn asked(text: &str) -> Asked {
    let text = text.trim();
    if text.is_empty() || text.starts_with('{') {
        let text = if text.is_empty() { "{}" } else { text };
        return Asked {
            other: None,
            body: Expression::parse(text),
        };
    }
    let (api, rest) = word(text);
    let (version, rest) = word(rest);
    let version = version.parse().unwrap_or_else(|_| panic!("no version: {text}"));
    let body = if rest.trim().is_empty() { "{}" } else { rest };
    Asked {
        other: Some((api.to_owned(), version)),
        body: Expression::parse(body),
    }
}

fn edges(text: &str) -> Edges {
    let (versions, skipped) = text.split_once("skip").unwrap_or((text, ""));
    let version = |text: &str| text.parse().unwrap_or_else(|_| panic!("edges {text}"));
    Edges {
        versions: versions.split_whitespace().map(version).collect(),
        skipped: skipped.split_whitespace().map(str::to_owned).collect(),
    }
}

fn versions_of(text: &str) -> Versions {
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("versions {text}"));
    match text.split_once('-') {
        None => Versions(number(text), number(text)),
        Some((first, last)) => Versions(number(first), number(last)),
    }
}

fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}
