//! What came of the matrix, client by client, as data (`docs/compatibility.json`) and as a page for people
//! (`docs/compatibility.md`).
//!
//! **Invariants:** the page follows from the data alone, and the data from the outcomes alone: no times, no machine. A run
//! replaces the clients that it has played in whole and leaves the others as they are; clients that the table does not have
//! any more are dropped. What did not run, or is not in a library, has its reason and is not counted as passed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::matrix::{Outcome, Run};

const PASSED: &str = "passed";
const FAILED: &str = "failed";
const SKIPPED: &str = "skipped";
const ABSENT: &str = "not in the library";
const LEFT_OUT: &str = "left out";

/// What came of one scenario with one client.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cell {
    outcome: String,
    why: String,
    shared: bool,
}

type Cells = BTreeMap<String, Cell>;

/// The outcomes of clients, each by its name and version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compatibility {
    /// What the clients talked to.
    broker: String,
    clients: BTreeMap<String, Cells>,
}

impl Compatibility {
    /// What a run has shown; `left_out` are the scenarios that were not tried, with their reasons.
    pub fn new(broker: &str, runs: &[Run], left_out: &[(Client, String, String)]) -> Self {
        let mut clients: BTreeMap<String, Cells> = BTreeMap::new();
        for run in runs {
            let (outcome, why) = match &run.outcome {
                Outcome::Passed => (PASSED, ""),
                Outcome::Failed(why) => (FAILED, why.lines().last().unwrap_or_default()),
                Outcome::Skipped(why) => (SKIPPED, why.as_str()),
                Outcome::Absent(why) => (ABSENT, why.as_str()),
            };
            let cell = Cell {
                outcome: outcome.to_owned(),
                why: why.to_owned(),
                shared: run.shared,
            };
            let cells = clients.entry(run.client.to_string()).or_default();
            cells.insert(run.scenario.clone(), cell);
        }
        for (client, scenario, why) in left_out {
            if let Some(cells) = clients.get_mut(&client.to_string()) {
                let cell = Cell {
                    outcome: LEFT_OUT.to_owned(),
                    why: why.clone(),
                    shared: false,
                };
                cells.insert(scenario.clone(), cell);
            }
        }
        Self {
            broker: broker.to_owned(),
            clients,
        }
    }

    /// From the data as [`Self::data`] writes it; nothing where it is not such data.
    pub fn from_data(text: &str) -> Option<Self> {
        let data: Value = serde_json::from_str(text).ok()?;
        let cell = |value: &Value| {
            Some(Cell {
                outcome: value["outcome"].as_str()?.to_owned(),
                why: value["why"].as_str().unwrap_or_default().to_owned(),
                shared: value["shared"].as_bool()?,
            })
        };
        let cells = |value: &Value| -> Option<Cells> {
            let entries = value.as_object()?.iter();
            entries
                .map(|(name, value)| Some((name.clone(), cell(value)?)))
                .collect()
        };
        let clients = data["clients"].as_object()?.iter();
        Some(Self {
            broker: data["broker"].as_str()?.to_owned(),
            clients: clients
                .map(|(name, value)| Some((name.clone(), cells(value)?)))
                .collect::<Option<_>>()?,
        })
    }

    /// The data: pretty, with a line end.
    pub fn data(&self) -> String {
        let cell = |cell: &Cell| {
            let mut fields = Map::new();
            fields.insert("outcome".to_owned(), json!(cell.outcome));
            fields.insert("shared".to_owned(), json!(cell.shared));
            if !cell.why.is_empty() {
                fields.insert("why".to_owned(), json!(cell.why));
            }
            Value::Object(fields)
        };
        let cells = |cells: &Cells| cells.iter().map(|(name, found)| (name.clone(), cell(found))).collect();
        let clients: Map<String, Value> = self
            .clients
            .iter()
            .map(|(name, found)| (name.clone(), Value::Object(cells(found))))
            .collect();
        let data = json!({ "broker": self.broker, "clients": clients });
        let mut text = serde_json::to_string_pretty(&data).expect("strings and booleans are JSON");
        text.push('\n');
        text
    }

    /// Keeps only clients of which nothing failed and nothing was skipped.
    pub fn without_trouble(mut self) -> Self {
        let fine = |cell: &Cell| cell.outcome != FAILED && cell.outcome != SKIPPED;
        self.clients.retain(|_, cells| cells.values().all(fine));
        self
    }

    /// Takes over what `newer` says of its clients, and drops those that the table does not have.
    pub fn updated(mut self, newer: Self) -> Self {
        self.broker = newer.broker;
        self.clients.extend(newer.clients);
        let known: BTreeSet<String> = Client::all().iter().map(Client::to_string).collect();
        self.clients.retain(|name, _| known.contains(name));
        self
    }

    /// The page.
    pub fn page(&self) -> String {
        let mut text = format!(
            "# Compatibility\n\nClient libraries of many languages, by version, and what each has shown with {}. Written from\n\
             [compatibility.json](compatibility.json) by\n`MONEDULA_COMPAT=all MONEDULA_UPDATE_DOCS=1 cargo test -p \
             monedula-compat-tests --test matrix`; every run of the matrix says\nwhere what it finds differs from what is \
             here. What is not in a library has its reason below and counts as no pass. The\nsame command with \
             `MONEDULA_COMPAT_ADDRESS=host:port` plays everything against another broker; Apache Kafka is the control:\nwhat \
             fails there too is left out, with its reason.\n\n",
            self.broker
        );
        let clients: Vec<(Client, &Cells)> = Client::all()
            .into_iter()
            .filter_map(|client| self.clients.get(&client.to_string()).map(|cells| (client, cells)))
            .collect();
        summary(&mut text, &clients);
        shared(&mut text, &clients);
        own(&mut text, &clients);
        reasons(&mut text, &clients, ABSENT, "Not in the library");
        reasons(&mut text, &clients, LEFT_OUT, "Left out");
        reasons(&mut text, &clients, FAILED, "Failed");
        reasons(&mut text, &clients, SKIPPED, "Skipped");
        text
    }
}

fn summary(text: &mut String, clients: &[(Client, &Cells)]) {
    let head = "| client | version | passed | failed | skipped | not in the library | left out | runs |";
    line(text, head);
    line(text, "|---|---|--:|--:|--:|--:|--:|---|");
    for (client, cells) in clients {
        let count = |outcome: &str| cells.values().filter(|cell| cell.outcome == outcome).count();
        let counts: Vec<String> = [PASSED, FAILED, SKIPPED, ABSENT, LEFT_OUT]
            .map(|outcome| count(outcome).to_string())
            .into();
        let runs = if client.extended {
            "when all are asked for"
        } else {
            "always"
        };
        let row = format!(
            "| {} | {} | {} | {runs} |",
            client.name,
            client.version,
            counts.join(" | ")
        );
        line(text, &row);
    }
}

/// What every client with a worker plays.
fn shared(text: &mut String, clients: &[(Client, &Cells)]) {
    let playing: Vec<(&str, &Cells)> = clients
        .iter()
        .filter(|(_, cells)| cells.values().any(|cell| cell.shared))
        .map(|(client, cells)| (client.name.as_str(), *cells))
        .collect();
    let names = clients
        .iter()
        .filter(|(_, cells)| cells.values().any(|cell| cell.shared))
        .map(|(client, _)| format!("{} {}", client.name, client.version));
    let scenarios = names_of(playing.iter().map(|(_, cells)| *cells), |cell| cell.shared);
    line(
        text,
        "\n## What every library should do alike\n\n`compat-tests/scenarios/shared` says what each scenario shows.\n",
    );
    let columns: Vec<&Cells> = playing.iter().map(|(_, cells)| *cells).collect();
    table(text, &scenarios, &names.collect::<Vec<_>>(), &columns);
}

/// What only one library's clients play, version beside version.
fn own(text: &mut String, clients: &[(Client, &Cells)]) {
    let mut families: Vec<&str> = clients.iter().map(|(client, _)| client.name.as_str()).collect();
    families.dedup();
    for family in families {
        let members: Vec<&(Client, &Cells)> = clients.iter().filter(|(client, _)| client.name == family).collect();
        let shared = names_of(clients.iter().map(|(_, cells)| *cells), |cell| cell.shared);
        let mut scenarios = names_of(members.iter().map(|(_, cells)| *cells), |cell| !cell.shared);
        scenarios.retain(|name| !shared.contains(name));
        if scenarios.is_empty() {
            continue;
        }
        line(text, &format!("\n## More of {family}\n"));
        let versions: Vec<String> = members.iter().map(|(client, _)| client.version.clone()).collect();
        let columns: Vec<&Cells> = members.iter().map(|(_, cells)| *cells).collect();
        table(text, &scenarios, &versions, &columns);
    }
}

fn names_of<'a>(cells: impl Iterator<Item = &'a Cells>, wanted: fn(&Cell) -> bool) -> BTreeSet<&'a str> {
    let found = cells.flat_map(|cells| cells.iter().filter(move |(_, cell)| wanted(cell)));
    found.map(|(name, _)| name.as_str()).collect()
}

fn table(text: &mut String, scenarios: &BTreeSet<&str>, names: &[String], columns: &[&Cells]) {
    line(text, &format!("| scenario | {} |", names.join(" | ")));
    line(text, &format!("|---|{}", ":-:|".repeat(names.len())));
    for &scenario in scenarios {
        let row: Vec<&str> = columns.iter().map(|cells| mark(cells.get(scenario))).collect();
        line(text, &format!("| {scenario} | {} |", row.join(" | ")));
    }
}

fn mark(cell: Option<&Cell>) -> &str {
    cell.map_or("", |cell| match cell.outcome.as_str() {
        PASSED => "✓",
        ABSENT => "–",
        other => other,
    })
}

/// The scenarios of one outcome, those with the same reason together.
fn reasons(text: &mut String, clients: &[(Client, &Cells)], outcome: &str, title: &str) {
    let mut rows = Vec::new();
    for (client, cells) in clients {
        let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (scenario, cell) in cells.iter().filter(|(_, cell)| cell.outcome == outcome) {
            by_reason.entry(&cell.why).or_default().push(scenario);
        }
        for (why, scenarios) in by_reason {
            let (why, scenarios) = (why.replace('|', "/"), scenarios.join(", "));
            rows.push(format!("| {} {} | {why} | {scenarios} |", client.name, client.version));
        }
    }
    if !rows.is_empty() {
        line(
            text,
            &format!("\n## {title}\n\n| client | why | scenarios |\n|---|---|---|"),
        );
        rows.iter().for_each(|row| line(text, row));
    }
}

fn line(text: &mut String, row: &str) {
    writeln!(text, "{row}").expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn run(client: &Client, scenario: &str, outcome: Outcome) -> Run {
        Run {
            client: client.clone(),
            scenario: scenario.to_owned(),
            shared: scenario.starts_with("shared"),
            outcome,
            notes: vec!["not for the page".to_owned()],
            duration: Duration::from_secs(7),
        }
    }

    fn played() -> (Vec<Client>, Compatibility) {
        let clients = Client::all();
        let absent = Outcome::Absent("no call for it".to_owned());
        let runs = [
            run(&clients[0], "own", Outcome::Passed),
            run(&clients[0], "shared", absent),
            run(&clients[1], "shared", Outcome::Passed),
            run(&clients[2], "shared", Outcome::Failed("line\nthe reason".to_owned())),
        ];
        let left_out = [(clients[1].clone(), "new".to_owned(), "too old".to_owned())];
        (clients, Compatibility::new("a broker", &runs, &left_out))
    }

    #[test]
    fn the_page_counts_only_what_passed() {
        let (clients, played) = played();
        let page = played.page();
        let row = |client: &Client, counts: &str| format!("| {} | {} | {counts} |", client.name, client.version);
        for (client, counts) in clients
            .iter()
            .zip(["1 | 0 | 0 | 1 | 0", "1 | 0 | 0 | 0 | 1", "0 | 1 | 0 | 0 | 0"])
        {
            assert!(page.contains(&row(client, counts)), "{page}");
        }
        assert!(page.contains("| shared | – | ✓ | failed |"), "{page}");
        assert!(page.contains("| no call for it | shared |"), "{page}");
        assert!(page.contains("| the reason | shared |"), "{page}");
        assert!(!page.contains("not for the page"), "{page}");
    }

    #[test]
    fn the_data_comes_back_as_it_was() {
        let (_, played) = played();
        assert_eq!(Compatibility::from_data(&played.data()), Some(played));
        assert_eq!(Compatibility::from_data("{}"), None);
    }

    #[test]
    fn a_run_changes_only_what_it_has_played() {
        let (clients, played) = played();
        let runs = [run(&clients[1], "other", Outcome::Passed)];
        let mut older = played.clone();
        older.clients.insert("gone-1".to_owned(), Cells::new());
        let updated = older.updated(Compatibility::new("another", &runs, &[]));
        assert_eq!(updated.broker, "another");
        assert_eq!(
            updated.clients[&clients[0].to_string()],
            played.clients[&clients[0].to_string()]
        );
        let names: Vec<&String> = updated.clients[&clients[1].to_string()].keys().collect();
        assert_eq!(names, ["other"]);
        assert!(!updated.clients.contains_key("gone-1"));
    }

    #[test]
    fn trouble_is_not_compared() {
        let (clients, played) = played();
        let fine: Vec<String> = played.without_trouble().clients.into_keys().collect();
        let mut expected = [clients[0].to_string(), clients[1].to_string()];
        expected.sort();
        assert_eq!(fine, expected);
    }
}
