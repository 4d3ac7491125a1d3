//! Other projects' own test suites: which there are, what their brokers need, and what their results mean.
//!
//! **Invariants:** a failed or skipped test is excused only by a line of `suites/expected/<suite>.txt` with its reason; what
//! was excused and passes, or is not there any more, is told, so that the lists shrink. The programs that bring and run the
//! suites are `suites/<runner>.py`; nothing of a suite is kept in this repository.

pub mod report;

use std::fmt;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::client::crate_dir;

/// One suite.
#[derive(Clone, Debug)]
pub struct Suite {
    pub name: &'static str,
    /// What it is, with its version and where it comes from.
    pub what: &'static str,
    /// The program in `suites/` that runs it.
    pub runner: &'static str,
    /// Part of the quick mode, which every change has to pass.
    pub quick: bool,
    /// It cuts connections by a forwarder, whose port the broker has to advertise.
    pub forwarded: bool,
    /// Settings of its broker.
    pub settings: &'static [&'static str],
}

const QUICK_GROUPS: &str = "group.initial.rebalance.delay.ms=0";
const KAFKA_PYTHON: &[&str] = &[
    QUICK_GROUPS,
    "group.min.session.timeout.ms=1000",
    "num.partitions=4",
    // A test looks up that it was set.
    "advertised.listeners=PLAINTEXT://{address}",
];

const SUITES: &[Suite] = &[
    Suite {
        name: "kafka-python-3.0.12",
        what: "kafka-python 3.0.12, integration tests (PyPI)",
        runner: "kafka_python.py",
        quick: true,
        forwarded: false,
        settings: KAFKA_PYTHON,
    },
    Suite {
        name: "kafka-python-2.3.3",
        what: "kafka-python 2.3.3, integration tests (PyPI)",
        runner: "kafka_python.py",
        quick: false,
        forwarded: false,
        settings: KAFKA_PYTHON,
    },
    Suite {
        name: "kafka-python-2.0.2",
        what: "kafka-python 2.0.2, integration tests (PyPI)",
        runner: "kafka_python.py",
        quick: false,
        forwarded: false,
        settings: KAFKA_PYTHON,
    },
    Suite {
        name: "kgo",
        what: "franz-go v1.22.2, the client's tests with a broker (Go module)",
        runner: "kgo.py",
        quick: true,
        forwarded: false,
        settings: &[QUICK_GROUPS, "num.partitions=4"],
    },
    Suite {
        name: "kafka_tests",
        what: "franz-go pkg/kfake 01f206a7e32c, renderings of Apache Kafka's clients-integration-tests (Go module)",
        runner: "kafka_tests.py",
        quick: false,
        forwarded: false,
        settings: &[
            QUICK_GROUPS,
            "group.consumer.heartbeat.interval.ms=100",
            "group.consumer.min.heartbeat.interval.ms=100",
            "group.consumer.session.timeout.ms=3000",
            "group.consumer.min.session.timeout.ms=3000",
        ],
    },
    Suite {
        name: "kafka-go",
        what: "segmentio/kafka-go v0.4.51, tests with a broker (Go module)",
        runner: "kafka_go.py",
        quick: true,
        forwarded: false,
        settings: &[],
    },
    Suite {
        name: "sarama",
        what: "IBM/sarama v1.61.1, functional tests (Go module)",
        runner: "sarama.py",
        quick: false,
        forwarded: true,
        settings: &[QUICK_GROUPS],
    },
    Suite {
        name: "rdkafka",
        what: "rdkafka 0.39.0, integration tests (crates.io)",
        runner: "rust_crate.py",
        quick: false,
        forwarded: false,
        settings: &[QUICK_GROUPS, "num.partitions=3"],
    },
    Suite {
        name: "rskafka",
        what: "rskafka 0.6.0, integration tests (crates.io)",
        runner: "rust_crate.py",
        quick: false,
        forwarded: false,
        settings: &[QUICK_GROUPS, "num.partitions=3"],
    },
    Suite {
        name: "kafka-protocol",
        what: "kafka-protocol 0.18.0, integration test (crates.io)",
        runner: "rust_crate.py",
        quick: false,
        forwarded: false,
        settings: &[QUICK_GROUPS, "num.partitions=3"],
    },
    Suite {
        name: "librdkafka",
        what: "librdkafka 2.15.1, regression tests in its quick mode (npm, @confluentinc/kafka-javascript 1.10.1)",
        runner: "librdkafka.py",
        quick: false,
        forwarded: false,
        settings: &["num.partitions=4"],
    },
    Suite {
        name: "librdkafka-share",
        what: "librdkafka 2.15.1, the tests of share groups (the same package)",
        runner: "librdkafka.py",
        quick: false,
        forwarded: false,
        settings: &[
            "num.partitions=4",
            "group.share.min.record.lock.duration.ms=1000",
            "group.share.record.lock.duration.ms=30000",
        ],
    },
];

impl Suite {
    /// All suites.
    pub fn all() -> &'static [Self] {
        SUITES
    }

    /// The list of what is not expected to pass.
    pub fn expected(&self) -> Expected {
        let path = crate_dir().join("suites/expected").join(format!("{}.txt", self.name));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Expected::parse(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
    }

    /// Whether something of it passes already: all of a suite may be about a feature that is not there.
    pub fn expects_passes(&self) -> bool {
        !self.expected().lines.iter().any(|line| line.pattern == "*")
    }

    /// Where its packages and builds are kept.
    pub fn work_dir(&self) -> PathBuf {
        crate_dir().join(".venvs/suites").join(self.name)
    }
}

/// What a test is excused by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// It does not pass on Apache Kafka either.
    Kafka,
    /// It does not always pass on Apache Kafka either.
    KafkaSometimes,
    /// It needs more brokers than one.
    OneNode,
    /// It presumes something that docs/differences.md gives the reason for.
    Different,
    /// It is about a feature that is not there yet.
    Feature(String),
}

impl Excuse {
    fn named(words: &str) -> Option<Self> {
        Some(match words {
            "kafka" => Self::Kafka,
            "kafka sometimes" => Self::KafkaSometimes,
            "one node" => Self::OneNode,
            "different" => Self::Different,
            other => Self::Feature(other.strip_prefix("feature ")?.to_owned()),
        })
    }
}

impl fmt::Display for Excuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kafka => f.write_str("fails or is skipped on Apache Kafka too"),
            Self::KafkaSometimes => f.write_str("fails on Apache Kafka too, now and then"),
            Self::OneNode => f.write_str("cannot apply to one node"),
            Self::Different => f.write_str("different on purpose"),
            Self::Feature(name) => write!(f, "not there yet: {name}"),
        }
    }
}

/// A line of the list.
#[derive(Clone, Debug)]
pub struct Line {
    pub excuse: Excuse,
    /// A test's name; `*` stands for any characters.
    pub pattern: String,
    pub reason: String,
}

/// A list of what is not expected to pass; `suites/expected/README.md` describes the format.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Apache Kafka's own counts, as the first line tells them.
    pub kafka: String,
    pub lines: Vec<Line>,
}

impl Expected {
    fn parse(text: &str) -> Result<Self, String> {
        let first = text.lines().next().unwrap_or_default();
        let kafka = first
            .strip_prefix("# Apache Kafka ")
            .ok_or("the first line does not tell Apache Kafka's counts")?;
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let parse = |line: &str| {
            let mut fields = line.splitn(3, '|').map(str::trim);
            let excuse = Excuse::named(fields.next()?)?;
            let mut text = || fields.next().filter(|text| !text.is_empty()).map(str::to_owned);
            Some(Line {
                excuse,
                pattern: text()?,
                reason: text()?,
            })
        };
        Ok(Self {
            kafka: kafka.to_owned(),
            lines: lines
                .map(|line| parse(line).ok_or_else(|| format!("{line:?} is not `excuse | test | reason`")))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Whether `pattern`, in which `*` stands for any characters, is `name`.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name
            .strip_prefix(start)
            .is_some_and(|left| (0..=left.len()).any(|at| left.get(at..).is_some_and(|tail| fits(rest, tail)))),
    }
}

/// What became of one test, as the runner reported it.
#[derive(Clone, Debug)]
pub struct TestResult {
    pub test: String,
    pub status: String,
    pub reason: String,
    pub attempts: u64,
}

impl TestResult {
    /// From a line of the runner's report.
    pub fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |field: &str| value.get(field)?.as_str().map(str::to_owned);
        Some(Self {
            test: text("test")?,
            status: text("status")?,
            reason: text("reason")?,
            attempts: value.get("attempts")?.as_u64()?,
        })
    }
}

/// What a suite's results mean.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub passed: usize,
    /// Excused failures.
    pub excused: usize,
    /// Excused skips.
    pub skipped: usize,
    /// Failed, or skipped, without an excuse: the suite fails.
    pub failed: Vec<String>,
    /// Worth a look: passed at the second attempt only, or passed though excused, or excused but not there.
    pub notes: Vec<String>,
}

impl Verdict {
    /// Judges results; those of a `complete` run show as well which lines of the list fit nothing any more.
    pub fn of(results: &[TestResult], expected: &Expected, complete: bool) -> Self {
        let mut verdict = Self::default();
        let mut used = vec![false; expected.lines.len()];
        for result in results {
            let place = expected.lines.iter().position(|line| fits(&line.pattern, &result.test));
            if let Some(place) = place {
                used[place] = true;
            }
            let excused = place.is_some();
            match result.status.as_str() {
                "passed" => {
                    verdict.passed += 1;
                    let line = place.map(|place| &expected.lines[place]);
                    verdict.note_pass(result, line);
                }
                "skipped" if excused => verdict.skipped += 1,
                "failed" if excused => verdict.excused += 1,
                status => verdict
                    .failed
                    .push(format!("{} {status}: {}", result.test, result.reason)),
            }
        }
        for (line, _) in expected.lines.iter().zip(used).filter(|(_, used)| complete && !used) {
            verdict
                .notes
                .push(format!("{} is on the list but not in the suite", line.pattern));
        }
        verdict
    }

    fn note_pass(&mut self, result: &TestResult, line: Option<&Line>) {
        if result.attempts > 1 {
            self.notes.push(format!("{} passed at the second attempt", result.test));
        }
        if let Some(line) = line.filter(|line| line.excuse != Excuse::KafkaSometimes) {
            self.notes
                .push(format!("{} passed; its list says: {}", result.test, line.excuse));
        }
    }

    /// The counts in words.
    pub fn counts(&self) -> String {
        format!(
            "{} passed, {} failed, {} excused, {} skipped",
            self.passed,
            self.failed.len(),
            self.excused,
            self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# Apache Kafka 4.3.1: 1 passed\n\n# a comment\nkafka | a | it is wrong\nkafka sometimes | b/* | timing\n\
                        feature ACLs | c | needs ACLs\none node | gone | needs three brokers\n";

    fn result(test: &str, status: &str) -> TestResult {
        TestResult {
            test: test.to_owned(),
            status: status.to_owned(),
            reason: "why".to_owned(),
            attempts: 1,
        }
    }

    #[test]
    fn every_suite_has_a_list_and_a_runner() {
        for suite in Suite::all() {
            assert!(!suite.expected().kafka.is_empty());
            assert!(
                crate_dir().join("suites").join(suite.runner).is_file(),
                "{}",
                suite.runner
            );
        }
    }

    #[test]
    fn only_what_is_on_the_list_is_excused() {
        let expected = Expected::parse(LIST).expect("a list");
        let results = ["a", "b/1", "c", "d", "e"].map(|test| result(test, "failed"));
        let verdict = Verdict::of(&results, &expected, false);
        assert_eq!(verdict.excused, 3);
        assert_eq!(verdict.failed, ["d failed: why", "e failed: why"]);
        let skipped = Verdict::of(&[result("d", "skipped"), result("c", "skipped")], &expected, false);
        assert_eq!((skipped.skipped, skipped.failed.len()), (1, 1));
    }

    #[test]
    fn lists_are_told_to_shrink() {
        let expected = Expected::parse(LIST).expect("a list");
        let results = ["a", "b/1", "c"].map(|test| result(test, "passed"));
        let verdict = Verdict::of(&results, &expected, true);
        assert_eq!(verdict.passed, 3);
        let wanted = [
            "a passed; its list says: fails or is skipped on Apache Kafka too",
            "c passed; its list says: not there yet: ACLs",
            "gone is on the list but not in the suite",
        ];
        assert_eq!(verdict.notes, wanted);
    }

    #[test]
    fn a_line_without_a_reason_is_refused() {
        for line in ["kafka | a", "kafka | a |", "flaky | a | b", "feature"] {
            assert!(
                Expected::parse(&format!("# Apache Kafka 4: 1\n{line}\n")).is_err(),
                "{line}"
            );
        }
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, name, wanted) in [
            ("a*c", "abbc", true),
            ("*", "", true),
            ("a*", "ba", false),
            ("a*b*", "aXb", true),
        ] {
            assert_eq!(fits(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
