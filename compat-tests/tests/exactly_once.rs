//! Exactly once under kills and pauses: transactional and plain clients of two libraries, pipelines and groups, while broker
//! and clients are killed, paused and restarted; then every record is read once more, and the whole history is checked
//! (`compat_tests::checker` says for what).
//!
//! Environment:
//! - `MONEDULA_EXACTLY_ONCE_SECONDS`: how long, 120 without it; 3600 for the hour. Memory does not grow with it.
//! - `MONEDULA_EXACTLY_ONCE_SEED`: a run's seed, which it prints; threads make the order of events their own, though.
//! - `MONEDULA_EXACTLY_ONCE_IN_PEACE=1`: without kills and pauses. `MONEDULA_EXACTLY_ONCE_PLAIN=1`: without transactions.
//! - `MONEDULA_EXACTLY_ONCE_KEEP=1`: histories are kept, also those without anomalies.
//! - `MONEDULA_EXACTLY_ONCE_HISTORY`: a history (JSON lines) to check again, instead of a run.
//! - `MONEDULA_COMPAT_ADDRESS`, `MONEDULA_EXACTLY_ONCE_COMMAND`: another broker, see `workload::target`.
//!
//! What was found, and where history and data are kept, stands on standard error.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use compat_tests::checker::history::History;
use compat_tests::checker::parse::add_line;
use compat_tests::checker::{Findings, check};
use compat_tests::workload::crew::Lasting;
use compat_tests::workload::random::Random;
use compat_tests::workload::recorder::Counts;
use compat_tests::workload::round::{Plan, play};
use compat_tests::workload::target::Target;
use compat_tests::workload::{clock, libraries};

/// A round is this long at most, so that its history stays small.
const ROUND: Duration = Duration::from_secs(120);
/// Of a hundred transactions that wait in the middle so many make a zombie of their client: one in about two seconds.
const ZOMBIES: u64 = 2;
/// How long open transactions may take to end once everything runs, and pipelines to come to their end.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn nothing_is_lost_doubled_or_seen_too_early() {
    if let Some(path) = env::var_os("MONEDULA_EXACTLY_ONCE_HISTORY") {
        let findings = check_again(Path::new(&path));
        assert!(findings.is_clean(), "\n{findings}");
        return;
    }
    let clients = match libraries() {
        Ok(clients) => clients,
        Err(why) => return say(&format!("exactly once: left out: {why}")),
    };
    let seed = number("MONEDULA_EXACTLY_ONCE_SEED").unwrap_or_else(clock::now);
    let length = Duration::from_secs(number("MONEDULA_EXACTLY_ONCE_SECONDS").unwrap_or(120));
    let set = |name| env::var_os(name).is_some_and(|value| value == "1");
    say(&format!("exactly once: {} s, seed {seed}", length.as_secs()));
    let (mut random, lasting, counts) = (Random::new(seed), Lasting::default(), Counts::default());
    let mut target = Target::start();
    target.settle();
    let directory = tempfile::Builder::new()
        .prefix("monedula-exactly-once-")
        .tempdir()
        .expect("a temporary directory");
    let started = Instant::now();
    let mut round = 0;
    while started.elapsed() < length {
        round += 1;
        let history = directory.path().join(format!("history-{round}.jsonl"));
        let plan = Plan {
            number: round,
            load: (length - started.elapsed()).min(ROUND).max(Duration::from_secs(5)),
            clients: &clients,
            plain_only: set("MONEDULA_EXACTLY_ONCE_PLAIN"),
            zombies: ZOMBIES,
            in_peace: set("MONEDULA_EXACTLY_ONCE_IN_PEACE"),
            history: &history,
            patience: PATIENCE,
        };
        let findings = play(&mut target, plan, &lasting, &counts, &mut random);
        counts.add("transactions in write cycles (allowed)", findings.in_write_cycles);
        say(&format!("round {round}, {} s: {counts}", started.elapsed().as_secs()));
        if !findings.is_clean() {
            say(&format!(
                "history: {}",
                directory.keep().join(format!("history-{round}.jsonl")).display()
            ));
            say(&format!("data: {:?}", target.keep()));
            panic!("seed {seed}:\n{findings}");
        }
        if !set("MONEDULA_EXACTLY_ONCE_KEEP") {
            drop(fs::remove_file(&history));
        }
    }
    for needed in ["operations", "records polled"] {
        assert!(counts.of(needed) > 100, "{needed}: {counts}");
    }
    let output = target.output();
    assert!(!output.contains("panicked at"), "{output}");
    if set("MONEDULA_EXACTLY_ONCE_KEEP") {
        say(&format!("histories: {}", directory.keep().display()));
    }
    say("exactly once: no anomaly");
}

fn check_again(path: &Path) -> Findings {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut history = History::default();
    for line in text.lines() {
        add_line(&mut history, line).expect("a line of a history");
    }
    check(&history)
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// Straight to standard error, which the test harness does not hold back.
fn say(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}
