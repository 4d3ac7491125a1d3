//! Every scenario with every client that it applies to, as one test each, with the harness' own words.
//!
//! `cargo test -p monedula-compat-tests --test matrix -- kafka-python-3 seek` runs those whose name has one of the words.
//! Clients that `clients.txt` marks with `all` run where a word names them or `MONEDULA_COMPAT=all` is set; the first lines say
//! which are left. `MONEDULA_COMPAT_JOBS` sets how many scenarios run at once (default 4). `target/compat-report.md` and
//! `.json` tell what came of them; what is committed of it, `docs/compatibility.md` and `.json`, must agree with a run without
//! words, and is written anew with `MONEDULA_UPDATE_DOCS=1`. `MONEDULA_COMPAT_ADDRESS` names another broker to play against.
//! **Invariants:** programs from documents go first; scenarios that run beside each other share one broker with quick groups; one that asks for a broker of its
//! own gets a fresh one with Kafka's defaults (where an external broker is tested: the whole of it, one after the other).

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use compat_tests::arguments::{Arguments, everything};
use compat_tests::broker::{Broker, external_address};
use compat_tests::client::{Client, Unavailable, crate_dir};
use compat_tests::compatibility::Compatibility;
use compat_tests::matrix::{Outcome, Run, Scenario};
use compat_tests::report;

type Test = (Client, Scenario);

fn main() -> ExitCode {
    let arguments = Arguments::from_command_line();
    let (mut tests, mut left_out) = (Vec::new(), Vec::new());
    let (clients, unasked): (Vec<Client>, Vec<Client>) = Client::all()
        .into_iter()
        .partition(|client| is_asked_for(client, &arguments));
    for client in clients {
        for scenario in Scenario::all(&client) {
            match scenario.applies_to(&client) {
                Ok(()) => tests.push((client.clone(), scenario)),
                Err(why) => left_out.push((client.clone(), scenario.name, why)),
            }
        }
    }
    // What a newcomer would try first.
    tests.sort_by_key(|(_, scenario): &Test| !scenario.is_program());
    let all = tests.len();
    tests.retain(|test| arguments.selects(&name(test)));
    if arguments.list {
        tests.iter().for_each(|test| say(&format!("{}: test", name(test))));
        return ExitCode::SUCCESS;
    }
    say(&format!("\nrunning {} tests", tests.len()));
    if !unasked.is_empty() {
        let names: Vec<String> = unasked.iter().map(Client::to_string).collect();
        say(&format!("left to MONEDULA_COMPAT=all: {}", names.join(", ")));
    }
    let started = Instant::now();
    let filtered_out = all - tests.len();
    let mut runs = run_all(tests);
    let position = |run: &Run| Client::all().iter().position(|client| *client == run.client);
    runs.sort_by_key(|run| (position(run), run.scenario.clone()));
    let mut stale = false;
    if filtered_out == 0 {
        write_report("md", &report::markdown(&runs, &left_out));
        write_report("json", &report::json(&runs, &left_out));
        stale = documentation_is_stale(&runs, &left_out);
    }
    let failed = summarize(&runs, filtered_out, started);
    if failed || stale {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Whether a client is among those that run always, or is asked for.
fn is_asked_for(client: &Client, arguments: &Arguments) -> bool {
    let name = client.to_string();
    let named = |word: &str| name.contains(word) || word.starts_with(&name);
    !client.extended || everything() || arguments.words().any(named)
}

/// Compares the committed page with what the clients of this run have shown, or writes it anew.
fn documentation_is_stale(runs: &[Run], left_out: &[(Client, String, String)]) -> bool {
    if external_address().is_some() {
        return false;
    }
    let docs = crate_dir().parent().expect("a crate of the workspace").join("docs");
    let (data, page) = (docs.join("compatibility.json"), docs.join("compatibility.md"));
    let committed = fs::read_to_string(&data).unwrap_or_default();
    let before = Compatibility::from_data(&committed).unwrap_or_default();
    let found = Compatibility::new(concat!("Monedula ", env!("CARGO_PKG_VERSION")), runs, left_out).without_trouble();
    let now = before.updated(found);
    if env::var_os("MONEDULA_UPDATE_DOCS").is_some() {
        fs::write(&data, now.data()).expect("docs can be written");
        fs::write(&page, now.page()).expect("docs can be written");
    }
    let current = |path, expected: &str| fs::read_to_string(path).is_ok_and(|text| text == expected);
    let stale = !current(&data, &now.data()) || !current(&page, &now.page());
    if stale {
        say(
            "docs/compatibility.md is stale: run MONEDULA_UPDATE_DOCS=1 cargo test -p monedula-compat-tests --test matrix",
        );
    }
    stale
}

fn run_all(tests: Vec<Test>) -> Vec<Run> {
    if tests.is_empty() {
        return Vec::new();
    }
    let mut shared = Broker::quick();
    let exclusive = Mutex::new(());
    let jobs = env::var("MONEDULA_COMPAT_JOBS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(4);
    let clients: Vec<Client> = Client::all()
        .into_iter()
        .filter(|client| tests.iter().any(|(tested, _)| tested == client))
        .collect();
    // Installing waits for registries and compilers of one thread each.
    let prepared = side_by_side(jobs, clients, |client| (client.prepare(), client));
    let mut runs = side_by_side(jobs, tests, |test| {
        let state = prepared
            .iter()
            .find(|(_, client)| *client == test.0)
            .expect("all were prepared");
        let run = match &state.0 {
            Ok(()) => run_one(&test, &shared, &exclusive),
            Err(why) => unavailable(&test, why),
        };
        announce(&run);
        run
    });
    if let Some(last) = runs.last_mut()
        && blame_broker(last, &mut shared)
    {
        announce(last);
    }
    runs
}

/// Does the work with all items, so many at a time.
fn side_by_side<T: Send, R: Send>(jobs: usize, items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let queue = Mutex::new(VecDeque::from(items));
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(item) = next(&queue) {
                    let result = work(item);
                    lock(&results).push(result);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the next item and lets go of the queue, which a guard inside a `while let` would not.
fn next<T>(queue: &Mutex<VecDeque<T>>) -> Option<T> {
    lock(queue).pop_front()
}

fn run_one((client, scenario): &Test, shared: &Broker, exclusive: &Mutex<()>) -> Run {
    let Some(settings) = &scenario.own_broker else {
        return scenario.run(client, &shared.address().to_string(), None);
    };
    let _alone = external_address().map(|_| lock(exclusive));
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut own = Broker::start(&settings);
    let address = own.address().to_string();
    let mut run = scenario.run(client, &address, Some(&mut own));
    blame_broker(&mut run, &mut own);
    run
}

fn unavailable((client, scenario): &Test, why: &Unavailable) -> Run {
    let required = env::var("CI").is_ok_and(|value| value == "true");
    let outcome = match why {
        Unavailable::Missing(why) if required => Outcome::Failed(why.clone()),
        why => Outcome::Skipped(why.to_string()),
    };
    Run {
        client: client.clone(),
        scenario: scenario.name.clone(),
        shared: scenario.shared,
        outcome,
        notes: Vec::new(),
        duration: Default::default(),
    }
}

/// A broker that died or logged an error fails the run (of the shared one: the last), whoever caused it: no client may bring
/// it to that. Whether it did.
fn blame_broker(run: &mut Run, broker: &mut Broker) -> bool {
    let output = broker.output();
    let mut complaints: Vec<&str> = output
        .lines()
        .filter(|line| line.contains(" ERROR ") || line.contains("panicked at"))
        .collect();
    if !broker.is_alive() {
        complaints.push("the broker is not running any more");
    }
    if complaints.is_empty() {
        return false;
    }
    let log = format!("the broker's log:\n{}", complaints.join("\n"));
    run.outcome = Outcome::Failed(match &run.outcome {
        Outcome::Failed(why) => format!("{why}\n{log}"),
        _ => log,
    });
    true
}

fn summarize(runs: &[Run], filtered_out: usize, started: Instant) -> bool {
    let failures: Vec<&Run> = runs
        .iter()
        .filter(|run| matches!(run.outcome, Outcome::Failed(_)))
        .collect();
    let count = |wanted: fn(&Outcome) -> bool| runs.iter().filter(|run| wanted(&run.outcome)).count();
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    let absent = count(|outcome| matches!(outcome, Outcome::Absent(_)));
    if !failures.is_empty() {
        say("\nfailures:\n");
    }
    for run in &failures {
        if let Outcome::Failed(why) = &run.outcome {
            say(&format!("---- {} ----\n{why}\n", run_name(run)));
        }
    }
    let verdict = if failures.is_empty() { "ok" } else { "FAILED" };
    if absent > 0 {
        say(&format!(
            "\n{absent} are not in their client library, and count as neither passed nor skipped"
        ));
    }
    say(&format!(
        "\ntest result: {verdict}. {} passed; {} failed; {skipped} ignored; 0 measured; {filtered_out} filtered out; \
         finished in {:.2}s\n",
        runs.len() - failures.len() - skipped - absent,
        failures.len(),
        started.elapsed().as_secs_f64(),
    ));
    !failures.is_empty()
}

fn announce(run: &Run) {
    let outcome = match &run.outcome {
        Outcome::Passed => "ok".to_owned(),
        Outcome::Failed(_) => "FAILED".to_owned(),
        Outcome::Skipped(why) => format!("ignored, {why}"),
        Outcome::Absent(why) => format!("not in the library: {why}"),
    };
    say(&format!("test {} ... {outcome}", run_name(run)));
}

fn write_report(end: &str, text: &str) {
    let target = env::current_exe().expect("the path of this test");
    let target = target.ancestors().nth(3).unwrap_or_else(|| crate_dir());
    let path = target.join("compat-report").with_extension(end);
    match fs::write(&path, text) {
        Ok(()) => say(&format!("\nreport: {}", path.display())),
        Err(error) => say(&format!("\nno report: {}: {error}", path.display())),
    }
}

fn name((client, scenario): &Test) -> String {
    format!("{client}::{}", scenario.name)
}

fn run_name(run: &Run) -> String {
    format!("{}::{}", run.client, run.scenario)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    drop(writeln!(out, "{line}"));
    drop(out.flush());
}
