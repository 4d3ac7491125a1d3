//! The report of one run of the matrix, with times: client × version × scenarios passed, and shared scenario × client, in
//! Markdown, and every single outcome in JSON.
//!
//! **Invariant:** what did not run is named with its reason; nothing is counted as passed that did not run.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::client::Client;
use crate::matrix::{Outcome, Run};

/// Renders all runs, in the order of the clients' table.
pub fn markdown(runs: &[Run], left_out: &[(Client, String, String)]) -> String {
    let mut text = String::from(
        "# Clients\n\n| client | version | passed | failed | skipped | not in the library | left out | seconds |\n",
    );
    text.push_str("|---|---|--:|--:|--:|--:|--:|--:|\n");
    for client in Client::all() {
        let mine: Vec<&Run> = runs.iter().filter(|run| run.client == client).collect();
        let count = |wanted: fn(&Outcome) -> bool| mine.iter().filter(|run| wanted(&run.outcome)).count();
        let seconds: f64 = mine.iter().map(|run| run.duration.as_secs_f64()).sum();
        let row = format!(
            "| {} | {} | {} | {} | {} | {} | {} | {seconds:.0} |",
            client.name,
            client.version,
            count(|outcome| *outcome == Outcome::Passed),
            count(|outcome| matches!(outcome, Outcome::Failed(_))),
            count(|outcome| matches!(outcome, Outcome::Skipped(_))),
            count(|outcome| matches!(outcome, Outcome::Absent(_))),
            left_out.iter().filter(|(left, ..)| *left == client).count(),
        );
        line(&mut text, &row);
    }
    shared(&mut text, runs);
    text.push_str("\n| client | scenario | outcome | seconds |\n|---|---|---|--:|\n");
    for run in runs {
        let outcome = match &run.outcome {
            Outcome::Passed if run.notes.is_empty() => "passed".to_owned(),
            Outcome::Passed => format!("passed: {}", run.notes.join("; ")),
            Outcome::Failed(why) => format!("**failed**: {}", why.lines().last().unwrap_or_default()),
            Outcome::Skipped(why) => format!("skipped: {why}"),
            Outcome::Absent(why) => format!("not in the library: {why}"),
        };
        let seconds = run.duration.as_secs_f64();
        line(
            &mut text,
            &format!("| {} | {} | {outcome} | {seconds:.1} |", run.client, run.scenario),
        );
    }
    for (client, scenario, why) in left_out {
        line(&mut text, &format!("| {client} | {scenario} | left out: {why} | |"));
    }
    text
}

/// The same as data: every run with what came of it.
pub fn json(runs: &[Run], left_out: &[(Client, String, String)]) -> String {
    let run = |run: &Run| {
        let (outcome, why) = match &run.outcome {
            Outcome::Passed => ("passed", None),
            Outcome::Failed(why) => ("failed", Some(why)),
            Outcome::Skipped(why) => ("skipped", Some(why)),
            Outcome::Absent(why) => ("not in the library", Some(why)),
        };
        json!({
            "client": run.client.name, "version": run.client.version, "scenario": run.scenario, "shared": run.shared,
            "outcome": outcome, "why": why, "notes": run.notes, "seconds": run.duration.as_secs_f64(),
        })
    };
    let left = |(client, scenario, why): &(Client, String, String)| {
        json!({
            "client": client.name, "version": client.version, "scenario": scenario, "outcome": "left out", "why": why,
        })
    };
    let all: Vec<Value> = runs.iter().map(run).chain(left_out.iter().map(left)).collect();
    serde_json::to_string_pretty(&all).expect("strings and numbers are JSON")
}

/// What came of the scenarios that every client with a worker plays; why something is missing stands in the list below it.
fn shared(text: &mut String, runs: &[Run]) {
    let shared: Vec<&Run> = runs.iter().filter(|run| run.shared).collect();
    let mut clients = Client::all();
    clients.retain(|client| shared.iter().any(|run| run.client == *client));
    let scenarios: BTreeSet<&str> = shared.iter().map(|run| run.scenario.as_str()).collect();
    if scenarios.is_empty() {
        return;
    }
    let names: Vec<String> = clients.iter().map(Client::to_string).collect();
    line(text, &format!("\n| shared scenario | {} |", names.join(" | ")));
    line(text, &format!("|---|{}", "---|".repeat(names.len())));
    for scenario in scenarios {
        let outcome = |client: &Client| {
            let run = shared
                .iter()
                .find(|run| run.client == *client && run.scenario == scenario);
            let noted = run.is_some_and(|run| !run.notes.is_empty());
            match run.map(|run| (&run.outcome, run.duration.as_secs_f64())) {
                Some((Outcome::Passed, seconds)) => format!("{seconds:.1} s{}", if noted { ", see below" } else { "" }),
                Some((Outcome::Failed(_), _)) => "**failed**".to_owned(),
                Some((Outcome::Skipped(_), _)) => "skipped".to_owned(),
                Some((Outcome::Absent(_), _)) => "not in the library".to_owned(),
                None => "–".to_owned(),
            }
        };
        let cells: Vec<String> = clients.iter().map(outcome).collect();
        line(text, &format!("| {scenario} | {} |", cells.join(" | ")));
    }
}

fn line(text: &mut String, row: &str) {
    writeln!(text, "{row}").expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn failures_are_counted_and_named() {
        let client = Client::all().remove(0);
        let run = |scenario: &str, outcome| Run {
            client: client.clone(),
            scenario: scenario.to_owned(),
            shared: scenario == "good",
            outcome,
            notes: Vec::from_iter((scenario == "noted").then(|| "slow".to_owned())),
            duration: Duration::from_secs(2),
        };
        let runs = [
            run("good", Outcome::Passed),
            run("bad", Outcome::Failed("line\nthe reason".to_owned())),
            run("noted", Outcome::Passed),
            run("missing", Outcome::Absent("no call for it".to_owned())),
        ];
        let left_out = [(client.clone(), "new".to_owned(), "too old".to_owned())];
        let text = markdown(&runs, &left_out);
        assert!(
            text.contains(&format!(
                "| {} | {} | 2 | 1 | 0 | 1 | 1 | 8 |",
                client.name, client.version
            )),
            "{text}"
        );
        assert!(text.contains("| good | 2.0 s |"), "{text}");
        assert!(text.contains("noted | passed: slow |"), "{text}");
        assert!(text.contains("bad | **failed**: the reason"), "{text}");
        assert!(text.contains("missing | not in the library: no call for it"), "{text}");
        let data: Value = serde_json::from_str(&json(&runs, &left_out)).expect("JSON");
        assert_eq!(data[1]["why"], "line\nthe reason");
        assert_eq!(data[4]["outcome"], "left out");
    }
}
