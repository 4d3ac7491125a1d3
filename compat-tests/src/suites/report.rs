//! What came of the suites, beside Apache Kafka's own counts, and everything that is excused by name, in Markdown.
//!
//! **Invariant:** a row of a suite that did not run now is the row of the document before, or says that it did not run.

use std::fmt::{self, Write};

use super::{Excuse, Suite, Verdict};

/// What became of a suite.
#[derive(Clone, Debug)]
pub enum Outcome {
    Ran(Verdict),
    /// It did not run, for this reason.
    LeftOut(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut(why) => write!(f, "ignored, {}", why.lines().next().unwrap_or_default()),
            Self::Ran(verdict) if verdict.failed.is_empty() => write!(f, "ok ({})", verdict.counts()),
            Self::Ran(verdict) => write!(f, "FAILED ({})", verdict.counts()),
        }
    }
}

/// One run of one suite.
#[derive(Clone, Debug)]
pub struct Run {
    pub suite: Suite,
    pub outcome: Outcome,
    /// In its quick mode.
    pub quick: bool,
    pub seconds: f64,
}

const HEAD: &str = "# Other projects' own tests\n\n\
    Suites that others wrote for Apache Kafka, run against Monedula by `MONEDULA_COMPAT=all cargo test -p monedula-compat-tests \
    --test suites`, beside what Apache Kafka passes in the same set-up. An excused test failed and is named below with its \
    reason; so is everything that was skipped. A failure without an excuse fails the run.\n\n\
    | suite | what it is | Monedula | Apache Kafka | seconds |\n|---|---|---|---|--:|\n";

/// Renders all suites; rows of those that did not run are taken from the document `before`.
pub fn markdown(runs: &[Run], before: &str) -> String {
    let mut text = HEAD.to_owned();
    for suite in Suite::all() {
        let run = runs.iter().find(|run| run.suite.name == suite.name);
        let start = format!("| {} |", suite.name);
        let old = before.lines().find(|line| line.starts_with(&start));
        let row = match (run, old) {
            (Some(run), _) if matches!(run.outcome, Outcome::Ran(_)) => row(run),
            (_, Some(old)) => old.to_owned(),
            (Some(run), None) => row(run),
            (None, None) => format!("| {} | {} | did not run | | |", suite.name, suite.what),
        };
        line(&mut text, &row);
    }
    excuses(&mut text);
    text
}

fn row(run: &Run) -> String {
    let Suite { name, what, .. } = &run.suite;
    match &run.outcome {
        Outcome::LeftOut(why) => format!(
            "| {name} | {what} | did not run: {} | | |",
            why.lines().next().unwrap_or_default()
        ),
        Outcome::Ran(verdict) => {
            let mode = if run.quick { " (quick mode)" } else { "" };
            let kafka = run.suite.expected().kafka;
            format!(
                "| {name} | {what} | {}{mode} | {kafka} | {:.0} |",
                verdict.counts(),
                run.seconds
            )
        }
    }
}

/// Every line of every list, by what it is excused by.
fn excuses(text: &mut String) {
    let mut lines = Vec::new();
    for suite in Suite::all() {
        lines.extend(suite.expected().lines.into_iter().map(|line| (suite.name, line)));
    }
    let section = |text: &mut String, title: &str, wanted: fn(&Excuse) -> bool| {
        let found: Vec<_> = lines.iter().filter(|(_, line)| wanted(&line.excuse)).collect();
        if found.is_empty() {
            return;
        }
        line(
            text,
            &format!("\n## {title}\n\n| suite | test | excused by | reason |\n|---|---|---|---|"),
        );
        for (suite, entry) in found {
            let pattern = entry.pattern.replace('|', "\\|");
            line(
                text,
                &format!("| {suite} | `{pattern}` | {} | {} |", entry.excuse, entry.reason),
            );
        }
    };
    section(text, "Features that are not there yet", |excuse| {
        matches!(excuse, Excuse::Feature(_))
    });
    section(text, "Cannot apply to one node", |excuse| *excuse == Excuse::OneNode);
    section(text, "Different on purpose", |excuse| *excuse == Excuse::Different);
    section(text, "Not passed on Apache Kafka either", |excuse| {
        matches!(excuse, Excuse::Kafka | Excuse::KafkaSometimes)
    });
}

fn line(text: &mut String, row: &str) {
    writeln!(text, "{row}").expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_suites_that_did_not_run_are_kept() {
        let suite = Suite::all()[0].clone();
        let verdict = Verdict {
            passed: 7,
            failed: vec!["a failed: b".to_owned()],
            ..Verdict::default()
        };
        let run = |outcome| Run {
            suite: suite.clone(),
            outcome,
            quick: false,
            seconds: 3.0,
        };
        let first = markdown(&[run(Outcome::Ran(verdict))], "");
        assert!(
            first.contains("| 7 passed, 1 failed, 0 excused, 0 skipped |"),
            "{first}"
        );
        assert!(first.contains("did not run"), "{first}");
        let second = markdown(&[run(Outcome::LeftOut("needs go".to_owned()))], &first);
        assert_eq!(first, second);
    }
}
