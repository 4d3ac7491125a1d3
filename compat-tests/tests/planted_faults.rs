//! That the check for exactly once (`exactly_once.rs`) finds what it is to find: the broker is built with faults planted in
//! its transactions (`src/planted.rs` of the root crate), and each has to show as an anomaly within a minute and a half.
//!
//! It builds the broker once more, in a target directory of its own (`target/planted`), and is left to `MONEDULA_COMPAT=all`
//! for that. `MONEDULA_PLANTED_BIN` names a binary that was built with `--features planted-faults` already.
//!
//! **Invariant:** one fault at a time is looked for, whatever the number of test threads: they would starve each other.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use compat_tests::arguments;
use compat_tests::broker::Special;
use compat_tests::checker::Kind;
use compat_tests::client::crate_dir;
use compat_tests::workload::crew::Lasting;
use compat_tests::workload::random::Random;
use compat_tests::workload::recorder::Counts;
use compat_tests::workload::round::{Plan, play};
use compat_tests::workload::target::Target;
use compat_tests::workload::{clock, libraries};

/// Rounds are short, so that what was found is known soon.
const LOAD: Duration = Duration::from_secs(12);
/// More than a transaction takes to time out; what hangs longer hangs.
const PATIENCE: Duration = Duration::from_secs(12);
/// Many zombies, since a forgotten fence shows by nothing else.
const ZOMBIES: u64 = 25;
/// All the load that a fault may take to be found.
const BOUND: Duration = Duration::from_secs(90);

#[test]
fn a_marker_that_is_not_written_is_found() {
    // The transaction stays open there, or its producer's next one decides its end.
    find(
        "skip-marker",
        &[
            Kind::HangingTransaction,
            Kind::LostWrite,
            Kind::PartialTransaction,
            Kind::AbortedRead,
        ],
    );
}

#[test]
fn a_forgotten_last_stable_offset_is_found() {
    find(
        "forget-last-stable-offset",
        &[Kind::PrecommittedRead, Kind::AbortedRead],
    );
}

#[test]
fn a_forgotten_fence_is_found() {
    find(
        "forget-fence",
        &[
            Kind::AbortedRead,
            Kind::PrecommittedRead,
            Kind::PartialTransaction,
            Kind::LostWrite,
            Kind::DuplicatedOutput,
        ],
    );
}

/// Plays rounds until the fault shows as one of `kinds`.
fn find(fault: &str, kinds: &[Kind]) {
    static ALONE: Mutex<()> = Mutex::new(());
    if !arguments::everything() {
        return say(&format!("{fault}: left to MONEDULA_COMPAT=all"));
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let clients = match libraries() {
        Ok(clients) => clients,
        Err(why) => return say(&format!("{fault}: left out: {why}")),
    };
    let special = Special {
        program: binary().to_path_buf(),
        variable: ("MONEDULA_PLANTED_FAULT".to_owned(), fault.to_owned()),
    };
    let mut target = Target::ours(Some(special));
    target.settle();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let history = directory.path().join("history.jsonl");
    let seed = clock::now();
    let (mut random, lasting, counts) = (Random::new(seed), Lasting::default(), Counts::default());
    let (mut number, mut played, started) = (0, Duration::ZERO, Instant::now());
    while played < BOUND {
        number += 1;
        let plan = Plan {
            number,
            load: LOAD,
            clients: &clients,
            plain_only: false,
            zombies: ZOMBIES,
            in_peace: false,
            history: &history,
            patience: PATIENCE,
        };
        let findings = play(&mut target, plan, &lasting, &counts, &mut random);
        played += LOAD;
        if kinds.iter().any(|&kind| findings.count(kind) > 0) {
            let found: Vec<_> = findings
                .kinds()
                .into_iter()
                .map(|kind| (kind, findings.count(kind)))
                .collect();
            let (load, all) = (played.as_secs(), started.elapsed().as_secs());
            return say(&format!(
                "{fault}: found in {load} s of load, {all} s in all: {found:?}"
            ));
        }
    }
    panic!("{fault} was not found (seed {seed}): {counts}");
}

fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| env::var_os("MONEDULA_PLANTED_BIN").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    let target = test.ancestors().nth(3).unwrap_or_else(|| crate_dir()).join("planted");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "-p",
            "monedula",
            "--features",
            "planted-faults",
            "--target-dir",
        ])
        .arg(&target)
        .current_dir(crate_dir())
        .status()
        .expect("cargo runs");
    assert!(status.success(), "cargo build --features planted-faults: {status}");
    target
        .join("debug")
        .join(format!("monedula{}", env::consts::EXE_SUFFIX))
}

/// Straight to standard error, which the test harness does not hold back.
fn say(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}
