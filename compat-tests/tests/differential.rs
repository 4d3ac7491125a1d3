//! The same raw requests as to Apache Kafka 4.3.1, every API and version that is listed: its answers were recorded, and
//! every value that differs is a failure unless `differential/differences.txt` gives the reason.
//!
//! Recording: start Apache Kafka on an empty directory with `recorded/server.properties`, then
//! `MONEDULA_RECORD=127.0.0.1:PORT cargo test -p monedula-compat-tests --test differential`.
//! `MONEDULA_DIFFERENTIAL=PART` runs only cases whose names contain it (and `fixture`).

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use compat_tests::broker::Broker;
use compat_tests::differential::differences::{Known, between};
use compat_tests::differential::run::Asking;
use compat_tests::differential::{recorded, run, schema, script};

/// What Monedula is set to as well.
fn settings() -> Vec<String> {
    let file = directory("recorded/server.properties");
    let text = std::fs::read_to_string(file).expect("the properties of the recorded broker");
    let both = text.split_once("# Both brokers").expect("a line that says so").1;
    both.lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn chosen() -> Vec<script::Case> {
    let part = env::var("MONEDULA_DIFFERENTIAL").unwrap_or_default();
    let mut cases = script::read(&directory("differential"));
    cases.retain(|case| case.name.contains(&part) || case.name.starts_with(run::FIXTURE));
    cases
}

/// What cannot succeed: it would take away the only broker.
const NEVER_ANSWERED: &[&str] = &["UnregisterBroker 0"];

/// Each version of each API must have been answered without an error at least once, so that its fields were seen.
#[test]
fn every_version_of_every_api_was_answered() {
    let answers = recorded::read(&directory("recorded"));
    let cases = script::read(&directory("differential"));
    let mut missing = Vec::new();
    for message in schema::messages().iter().filter(|message| message.is_request) {
        let own = cases
            .iter()
            .filter(|case| case.api == message.api && !case.name.starts_with("unsupported"));
        let recorded: Vec<_> = own.filter_map(|case| answers.get(&case.name)).flatten().collect();
        for version in message.versions.0..=message.versions.1 {
            let seen = recorded
                .iter()
                .any(|(variant, answers)| variant.version == version && run::succeeded(answers));
            let name = format!("{} {version}", message.api);
            if !seen && !NEVER_ANSWERED.contains(&name.as_str()) {
                missing.push(name);
            }
        }
    }
    assert!(
        missing.is_empty(),
        "never answered without an error: {}",
        missing.join(", ")
    );
}

/// Takes down the answers of the chosen cases; the others stay as they are.
fn record(address: SocketAddr, chosen: &[script::Case]) {
    let asking = Asking {
        address,
        settles_in: Duration::from_millis(300),
    };
    let mut answers = recorded::read(&directory("recorded"));
    answers.extend(run::all(asking, chosen));
    recorded::write(
        &directory("recorded"),
        &script::read(&directory("differential")),
        &answers,
    );
}

#[test]
fn answers_are_those_of_apache_kafka() {
    let cases = chosen();
    if let Ok(address) = env::var("MONEDULA_RECORD") {
        record(address.parse().expect("HOST:PORT"), &cases);
        return;
    }
    let settings = settings();
    let broker = Broker::start(&settings.iter().map(String::as_str).collect::<Vec<_>>());
    let asking = Asking {
        address: broker.address(),
        settles_in: Duration::ZERO,
    };
    let ours = run::all(asking, &cases);
    let mut kafka = recorded::read(&directory("recorded"));
    kafka.retain(|name, _| cases.iter().any(|case| case.name == *name));
    let known = Known::read(&directory("differential/differences.txt"));
    let (unknown, unused) = known.judge(&between(&kafka, &ours));
    let mut faults: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    if env::var_os("MONEDULA_DIFFERENTIAL").is_none() {
        faults.extend(unused);
    }
    assert!(
        faults.is_empty(),
        "{} differences:\n{}",
        faults.len(),
        faults.join("\n")
    );
}
