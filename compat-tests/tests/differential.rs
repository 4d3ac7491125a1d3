//! The same raw requests as to Apache Kafka 4.3.1, every API and version that is listed: its answers were recorded, and
//! every value that differs is a failure unless `differential/differences.txt` gives the reason.
//!
//! Recording: start Apache Kafka on an empty directory with `recorded/server.properties`, then
//! `MONEDULA_RECORD=127.0.0.1:PORT cargo test -p monedula-compat-tests --test differential`.
//! `MONEDULA_DIFFERENTIAL=PART` runs only cases whose names contain it (and `fixture`).

use std::env;
use std::path::{Path, PathBuf};

use compat_tests::broker::Broker;
use compat_tests::differential::differences::{Known, between};
use compat_tests::differential::{recorded, run, script};

/// What the recorded broker was set to as well (`recorded/server.properties`).
const SETTINGS: &[&str] = &[
    "group.initial.rebalance.delay.ms=0",
    "log.retention.ms=-1",
    "node.id=1",
    "num.partitions=1",
    "offsets.topic.num.partitions=5",
    "transaction.state.log.num.partitions=5",
];

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn chosen() -> Vec<script::Case> {
    let part = env::var("MONEDULA_DIFFERENTIAL").unwrap_or_default();
    let mut cases = script::read(&directory("differential"));
    cases.retain(|case| case.name.contains(&part) || case.name.starts_with("fixture"));
    cases
}

#[test]
fn answers_are_those_of_apache_kafka() {
    let cases = chosen();
    if let Ok(address) = env::var("MONEDULA_RECORD") {
        let answers = run::all(address.parse().expect("HOST:PORT"), &cases);
        recorded::write(&directory("recorded"), &cases, &answers);
        return;
    }
    let broker = Broker::start(SETTINGS);
    let ours = run::all(broker.address(), &cases);
    let mut kafka = recorded::read(&directory("recorded"));
    kafka.retain(|name, _| cases.iter().any(|case| case.name == *name));
    let known = Known::read(&directory("differential/differences.txt"));
    let (unknown, unused) = known.judge(&between(&kafka, &ours));
    let mut faults: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    if env::var_os("MONEDULA_DIFFERENTIAL").is_none() {
        faults.extend(unused);
    }
    assert!(faults.is_empty(), "{} differences:\n{}", faults.len(), faults.join("\n"));
}
