//! Other projects' own test suites against the broker, one test each, with the harness' own words.
//!
//! `cargo test -p monedula-compat-tests --test suites` runs the quick ones in their quick mode; with `MONEDULA_COMPAT=all`
//! all of them run, whole. A word on the command line selects by name. `MONEDULA_SUITE_ONLY` is a regular expression for the
//! tests within a suite; `MONEDULA_UPDATE_DOCS=1` writes what came of it into docs/suites.md. Against another broker
//! (`MONEDULA_COMPAT_ADDRESS`) one suite at a time should be run, with the settings that `src/suites.rs` lists for it, and
//! sarama's with `MONEDULA_SUITE_PROXY`, the address that the broker advertises.
//! **Invariants:** every suite has a fresh broker of its own; a broker that died or logged an error fails the suite; what is
//! left out is named with what would run it.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use compat_tests::arguments::{Arguments, everything};
use compat_tests::broker::{Broker, external_address, free_port};
use compat_tests::client::crate_dir;
use compat_tests::suites::report::{self, Outcome, Run};
use compat_tests::suites::{Suite, TestResult, Verdict};

/// Suites that run beside each other in the quick mode: they wait more than they work.
const QUICK_JOBS: usize = 3;
/// How a runner ends when something is missing on this machine.
const CANNOT_RUN: i32 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::from_command_line();
    let all = everything();
    let selected: Vec<&Suite> = Suite::all()
        .iter()
        .filter(|suite| arguments.selects(suite.name))
        .collect();
    if arguments.list {
        selected.iter().for_each(|suite| say(&format!("{}: test", suite.name)));
        return ExitCode::SUCCESS;
    }
    let started = Instant::now();
    say(&format!("\nrunning {} tests", selected.len()));
    let (now, later): (Vec<&Suite>, Vec<&Suite>) = selected.into_iter().partition(|suite| all || suite.quick);
    let mut runs = run_all(&now, !all);
    let played = runs.len();
    runs.extend(later.into_iter().map(|suite| Run {
        suite: suite.clone(),
        outcome: Outcome::LeftOut("MONEDULA_COMPAT=all runs it".to_owned()),
        quick: true,
        seconds: 0.0,
    }));
    for run in &runs[played..] {
        say(&format!("left to MONEDULA_COMPAT=all: {}", run.suite.name));
    }
    if !all {
        say("quick mode, without what is expected to fail: MONEDULA_COMPAT=all runs every suite whole");
    }
    write_reports(&runs);
    let failed = summarize(&runs[..played], Suite::all().len() - played, started);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run_all(suites: &[&Suite], quick: bool) -> Vec<Run> {
    let queue = Mutex::new(suites.iter().copied().collect::<VecDeque<_>>());
    let runs = Mutex::new(Vec::new());
    let jobs = if quick && external_address().is_none() {
        QUICK_JOBS
    } else {
        1
    };
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(suite) = next(&queue) {
                    let started = Instant::now();
                    let outcome = run_one(suite, quick);
                    say(&format!("test {} ... {outcome}", suite.name));
                    lock(&runs).push(Run {
                        suite: suite.clone(),
                        outcome,
                        quick,
                        seconds: started.elapsed().as_secs_f64(),
                    });
                }
            });
        }
    });
    let mut runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
    runs.sort_by_key(|run| suites.iter().position(|suite| suite.name == run.suite.name));
    runs
}

/// Takes the next suite and lets go of the queue, which a guard inside a `while let` would not.
fn next<'a>(queue: &Mutex<VecDeque<&'a Suite>>) -> Option<&'a Suite> {
    lock(queue).pop_front()
}

fn run_one(suite: &Suite, quick: bool) -> Outcome {
    let proxy = suite.forwarded.then(proxy_address);
    let mut settings: Vec<String> = suite.settings.iter().map(|&setting| setting.to_owned()).collect();
    settings.extend(
        proxy
            .iter()
            .map(|proxy| format!("advertised.listeners=PLAINTEXT://{proxy}")),
    );
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut broker = Broker::start(&settings);
    let out = target_dir().join("suites").join(suite.name);
    let only = env::var("MONEDULA_SUITE_ONLY").unwrap_or_default();
    let mut command = Command::new("python3");
    command
        .arg("-B")
        .arg(crate_dir().join("suites").join(suite.runner))
        .args(["--suite", suite.name, "--address", &broker.address().to_string()])
        .args([
            "--proxy".as_ref(),
            proxy.as_deref().unwrap_or_default().as_ref(),
            "--work".as_ref(),
            suite.work_dir().as_os_str(),
            "--out".as_ref(),
            out.as_os_str(),
        ])
        .arg(format!("--only={only}"));
    if quick {
        command.arg("--quick");
    }
    let (code, said) = match watch(&mut command, suite.name) {
        Ok(ended) => ended,
        Err(why) => return unavailable(format!("python3 does not run ({why})")),
    };
    if code == Some(CANNOT_RUN) {
        return unavailable(said);
    }
    let mut failures = complaints(&mut broker);
    if code != Some(0) {
        failures.push(format!("the runner ended with {code:?}: {said}"));
    }
    let results = read_results(&out.join("results.jsonl"));
    let mut verdict = Verdict::of(&results, &suite.expected(), !quick && only.is_empty());
    if verdict.passed == 0 && only.is_empty() && suite.expects_passes() {
        failures.push("no test passed".to_owned());
    }
    verdict.failed.extend(failures);
    Outcome::Ran(verdict)
}

/// Where clients of a forwarded suite go.
fn proxy_address() -> String {
    match external_address() {
        None => format!("127.0.0.1:{}", free_port()),
        Some(_) => env::var("MONEDULA_SUITE_PROXY").expect("MONEDULA_SUITE_PROXY names what the broker advertises"),
    }
}

/// Runs a runner to its end and tells what did not pass as it happens; its exit code and last lines.
fn watch(command: &mut Command, name: &str) -> io::Result<(Option<i32>, String)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let errors = child.stderr.take().expect("it is piped");
    let errors = thread::spawn(move || io::read_to_string(errors).unwrap_or_default());
    let mut lines: VecDeque<String> = VecDeque::new();
    for line in BufReader::new(child.stdout.take().expect("it is piped"))
        .lines()
        .map_while(Result::ok)
    {
        if !line.starts_with("passed") {
            say(&format!("{name}: {line}"));
        }
        lines.push_back(line);
        if lines.len() > 12 {
            lines.pop_front();
        }
    }
    let code = child.wait()?.code();
    let errors = errors.join().unwrap_or_default();
    lines.extend(errors.lines().map(str::to_owned));
    let last: Vec<String> = lines.into_iter().rev().take(12).collect();
    Ok((code, last.into_iter().rev().collect::<Vec<_>>().join("\n")))
}

fn unavailable(why: String) -> Outcome {
    if env::var("CI").is_ok_and(|value| value == "true") {
        return Outcome::Ran(Verdict {
            failed: vec![why],
            ..Verdict::default()
        });
    }
    Outcome::LeftOut(why)
}

fn read_results(path: &Path) -> Vec<TestResult> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let parse = |line: &str| TestResult::parse(line).unwrap_or_else(|| panic!("{}: {line}", path.display()));
    text.lines().map(parse).collect()
}

/// No client may bring the broker to die, or to log an error.
fn complaints(broker: &mut Broker) -> Vec<String> {
    let output = broker.output();
    let errors = output
        .lines()
        .filter(|line| line.contains(" ERROR ") || line.contains("panicked at"));
    let mut complaints: Vec<String> = errors.take(5).map(|line| format!("the broker's log: {line}")).collect();
    if !broker.is_alive() {
        complaints.push("the broker is not running any more".to_owned());
    }
    complaints
}

fn write_reports(runs: &[Run]) {
    let path = target_dir().join("suites-report.md");
    write(&path, &report::markdown(runs, ""));
    if env::var("MONEDULA_UPDATE_DOCS").is_ok_and(|value| value == "1") {
        let path = crate_dir().join("../docs/suites.md");
        let before = fs::read_to_string(&path).unwrap_or_default();
        write(&path, &report::markdown(runs, &before));
    }
}

fn write(path: &Path, text: &str) {
    match fs::write(path, text) {
        Ok(()) => say(&format!("\nreport: {}", path.display())),
        Err(error) => say(&format!("\nno report: {}: {error}", path.display())),
    }
}

fn summarize(runs: &[Run], filtered_out: usize, started: Instant) -> bool {
    let mut failed = 0;
    for run in runs {
        let Outcome::Ran(verdict) = &run.outcome else { continue };
        if !verdict.failed.is_empty() {
            failed += 1;
            say(&format!(
                "\n---- {} ----\n{}",
                run.suite.name,
                verdict.failed.join("\n")
            ));
        }
        for note in &verdict.notes {
            say(&format!("note: {}: {note}", run.suite.name));
        }
    }
    let left_out = runs
        .iter()
        .filter(|run| matches!(run.outcome, Outcome::LeftOut(_)))
        .count();
    let result = if failed == 0 { "ok" } else { "FAILED" };
    say(&format!(
        "\ntest result: {result}. {} passed; {failed} failed; {left_out} ignored; 0 measured; {filtered_out} filtered out; \
         finished in {:.2}s\n",
        runs.len() - failed - left_out,
        started.elapsed().as_secs_f64(),
    ));
    failed > 0
}

fn target_dir() -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    let target = test.ancestors().nth(3);
    target
        .expect("a test lies three levels below the target directory")
        .to_path_buf()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    drop(writeln!(out, "{line}"));
    drop(out.flush());
}
