//! Apache Kafka's own command line tools: every file of `kafka_tools/cases` is a test.
//!
//! `cargo test -p monedula-compat-tests --test kafka_tools -- topics configs` plays those whose names have one of the words.
//! `MONEDULA_COMPAT_JOBS` sets how many are played at once (default 4), `MONEDULA_COMPAT=all` adds the long ones, and
//! `MONEDULA_COMPAT_KAFKA=1` plays them against Apache Kafka instead. What was printed stays in `target/kafka-tools`.
//! **Invariant:** a case that cannot be played is named with its reason; with `CI=true` it has failed.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use compat_tests::arguments::{self, Arguments};
use compat_tests::broker::external_address;
use compat_tests::client::crate_dir;
use compat_tests::kafka_tools::case::Case;
use compat_tests::kafka_tools::install::Jars;
use compat_tests::kafka_tools::machine::Machine;
use compat_tests::kafka_tools::player::play;

/// What came of a case.
enum Outcome {
    Passed,
    Failed(String),
    Ignored(String),
}

fn main() -> ExitCode {
    let arguments = Arguments::from_command_line();
    let mut cases = cases();
    let all = cases.len();
    cases.retain(|case| arguments.selects(&case.name));
    if arguments.list {
        cases.iter().for_each(|case| say(&format!("{}: test", case.name)));
        return ExitCode::SUCCESS;
    }
    say(&format!("\nrunning {} tests", cases.len()));
    let started = Instant::now();
    let filtered_out = all - cases.len();
    let outcomes = run_all(cases);
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|(_, outcome)| wanted(outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    if failed > 0 {
        say("\nfailures:\n");
    }
    for (name, outcome) in &outcomes {
        if let Outcome::Failed(why) = outcome {
            say(&format!("---- {name} ----\n{why}\n"));
        }
    }
    say(&format!(
        "\ntest result: {}. {} passed; {failed} failed; {} ignored; 0 measured; {filtered_out} filtered out; \
         finished in {:.2}s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        count(|outcome| matches!(outcome, Outcome::Passed)),
        count(|outcome| matches!(outcome, Outcome::Ignored(_))),
        started.elapsed().as_secs_f64(),
    ));
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn cases() -> Vec<Case> {
    let directory = crate_dir().join("kafka_tools/cases");
    let entries = fs::read_dir(&directory).expect("the directory of the cases");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let read = |path: &PathBuf| Case::read(path).unwrap_or_else(|why| panic!("{why}"));
    paths.iter().map(read).collect()
}

fn run_all(cases: Vec<Case>) -> Vec<(String, Outcome)> {
    let by_kafka = env::var("MONEDULA_COMPAT_KAFKA").is_ok();
    let everything = arguments::everything();
    let asked_for_one = cases.len() == 1;
    let (wanted, left): (Vec<Case>, Vec<Case>) = cases
        .into_iter()
        .partition(|case| everything || asked_for_one || case.long.is_none());
    for case in &left {
        let why = case.long.as_deref().unwrap_or_default();
        say(&format!("left to MONEDULA_COMPAT=all: {}, {why}", case.name));
    }
    let mut outcomes = Vec::new();
    if wanted.is_empty() {
        return outcomes;
    }
    if let Some(why) = unavailable(&wanted) {
        let required = env::var("CI").is_ok_and(|value| value == "true");
        outcomes.extend(wanted.into_iter().map(|case| {
            let outcome = match required {
                true => Outcome::Failed(why.clone()),
                false => Outcome::Ignored(why.clone()),
            };
            announce(case.name, outcome, Duration::ZERO)
        }));
        return outcomes;
    }
    let directory = transcripts();
    fs::create_dir_all(&directory).expect("a directory below target");
    let machine = Machine::start(&directory.join("tools.log"));
    let jobs = env::var("MONEDULA_COMPAT_JOBS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(4);
    let queue = Mutex::new(VecDeque::from(wanted));
    let played = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(case) = next(&queue) {
                    let started = Instant::now();
                    let outcome = run_one(&case, &machine, by_kafka);
                    let told = announce(case.name, outcome, started.elapsed());
                    played.lock().unwrap_or_else(PoisonError::into_inner).push(told);
                }
            });
        }
    });
    outcomes.extend(played.into_inner().unwrap_or_else(PoisonError::into_inner));
    outcomes.sort_by(|left, right| left.0.cmp(&right.0));
    outcomes
}

fn next(queue: &Mutex<VecDeque<Case>>) -> Option<Case> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// Why none of the cases can be played.
fn unavailable(cases: &[Case]) -> Option<String> {
    if let Some(address) = external_address() {
        return Some(format!(
            "the cases want fresh brokers, not {address}: MONEDULA_COMPAT_KAFKA=1 plays them against Apache Kafka"
        ));
    }
    let frameworks = cases.iter().any(Case::needs_frameworks);
    let wanted = [Some(Jars::Tools), frameworks.then_some(Jars::Frameworks)];
    wanted.into_iter().flatten().find_map(|jars| jars.install().err())
}

fn run_one(case: &Case, machine: &Machine, by_kafka: bool) -> Outcome {
    let (faults, transcript) = match catch_unwind(AssertUnwindSafe(|| play(case, machine, by_kafka))) {
        Ok(played) => played,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("a panic");
            (vec![text.to_owned()], String::new())
        }
    };
    let path = transcripts().join(&case.name).with_extension("txt");
    fs::write(&path, transcript).expect("a file below target");
    match faults.is_empty() {
        true => Outcome::Passed,
        false => Outcome::Failed(faults.join("\n\n")),
    }
}

fn transcripts() -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    test.ancestors()
        .nth(3)
        .unwrap_or_else(|| crate_dir())
        .join("kafka-tools")
}

fn announce(name: String, outcome: Outcome, duration: Duration) -> (String, Outcome) {
    let text = match &outcome {
        Outcome::Passed => format!("ok ({:.1} s)", duration.as_secs_f64()),
        Outcome::Failed(_) => "FAILED".to_owned(),
        Outcome::Ignored(why) => format!("ignored, {why}"),
    };
    say(&format!("test {name} ... {text}"));
    (name, outcome)
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    drop(writeln!(out, "{line}"));
    drop(out.flush());
}
