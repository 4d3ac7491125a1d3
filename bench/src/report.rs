//! What was measured, as JSON lines while it runs and as Markdown at the end.
//!
//! Ratios are those of medians; the range beside a median is from the smallest to the largest round. Noisy rounds count
//! like the others and are told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde_json::json;

use crate::goals::{Against, GOALS, Goal};
use crate::machine::Description;
use crate::run::{Figures, median};
use crate::scenario::SCENARIOS;
use crate::{Failure, wire};

/// Between these lines of a Markdown file the tables stand; what is around them stays.
const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// Figures of one contestant in one scenario, all rounds.
#[derive(Debug)]
struct Contestant {
    name: String,
    figures: BTreeMap<&'static str, Vec<f64>>,
}

/// One scenario.
#[derive(Debug)]
struct Measured {
    scenario: &'static str,
    /// In the order of their first appearance: the broker's first.
    names: Vec<&'static str>,
    contestants: Vec<Contestant>,
    rounds: usize,
    noisy: usize,
}

/// Everything that was measured so far.
#[derive(Debug)]
pub(crate) struct Report {
    machine: Description,
    json: Option<fs::File>,
    measured: Vec<Measured>,
}

impl Measured {
    fn median(&self, contestant: &str, figure: &str) -> Option<f64> {
        let contestant = self.contestants.iter().find(|found| found.name == contestant)?;
        Some(median(&mut contestant.figures.get(figure)?.clone()))
    }

    fn broker(&self) -> &str {
        &self.contestants[0].name
    }

    fn evaluate(&self, goal: &Goal) -> Option<f64> {
        // goals are the broker's, not those of Apache Kafka alone
        if self.broker() == "kafka" {
            return None;
        }
        let ours = self.median(self.broker(), goal.figure)?;
        match goal.against {
            Against::Nothing => Some(ours),
            Against::Contestant(other) => Some(ours / self.median(other, goal.figure)?),
        }
    }
}

impl Report {
    pub(crate) fn new(machine: Description, json: Option<&Path>) -> Result<Self, Failure> {
        let json = json
            .map(|path| fs::OpenOptions::new().create(true).append(true).open(path))
            .transpose()?;
        Ok(Self {
            machine,
            json,
            measured: Vec::new(),
        })
    }

    /// Takes one round of one contestant. `noise`: whether the round counts as noisy, and the foreign CPU in cores.
    pub(crate) fn round(
        &mut self,
        scenario: &'static str,
        contestant: &str,
        round: usize,
        figures: &Figures,
        (noisy, foreign_cores): (bool, f64),
    ) -> Result<(), Failure> {
        if let Some(file) = &mut self.json {
            let figures: BTreeMap<_, _> = figures.iter().copied().collect();
            let line = json!({
                "scenario": scenario, "contestant": contestant, "round": round, "noisy": noisy,
                "foreign_cores": foreign_cores, "figures": figures,
            });
            writeln!(file, "{line}")?;
        }
        if self.measured.last().is_none_or(|last| last.scenario != scenario) {
            self.measured.push(Measured {
                scenario,
                names: Vec::new(),
                contestants: Vec::new(),
                rounds: 0,
                noisy: 0,
            });
        }
        let measured = self.measured.last_mut().ok_or("no scenario")?;
        measured.rounds += 1;
        measured.noisy += usize::from(noisy);
        let place = measured.contestants.iter().position(|found| found.name == contestant);
        let place = place.unwrap_or_else(|| {
            measured.contestants.push(Contestant {
                name: contestant.to_owned(),
                figures: BTreeMap::new(),
            });
            measured.contestants.len() - 1
        });
        for (name, value) in figures {
            if !measured.names.contains(name) {
                measured.names.push(name);
            }
            measured.contestants[place]
                .figures
                .entry(name)
                .or_default()
                .push(*value);
        }
        Ok(())
    }

    /// Prints a scenario's table when its last round is done.
    pub(crate) fn finish(&self, scenario: &str) {
        if let Some(measured) = self.measured.last().filter(|last| last.scenario == scenario) {
            wire::say(&table(measured));
        }
    }

    /// Prints the goals, and writes everything into the Markdown file if there is one.
    pub(crate) fn close(&self, markdown: Option<&Path>) -> Result<(), Failure> {
        let goals = self.goals();
        wire::say(&goals);
        let Some(path) = markdown else { return Ok(()) };
        let machine = &self.machine;
        let mut text = format!(
            "Machine: {}, {} cores, {} GiB, Linux {}, {}. Broker and floors on one core, the generator on another.\n\n",
            machine.cpu, machine.cores, machine.memory_gib, machine.kernel, machine.file_system
        );
        text.push_str(&goals);
        for measured in &self.measured {
            text.push('\n');
            text.push_str(&table(measured));
        }
        let old = fs::read_to_string(path).unwrap_or_default();
        fs::write(path, between_marks(&old, &text))?;
        Ok(())
    }

    fn goals(&self) -> String {
        let mut text = String::from("| goal | measured | wanted | met |\n|---|---|---|---|\n");
        for goal in GOALS {
            let measured = self.measured.iter().find(|found| found.scenario == goal.scenario);
            let Some(value) = measured.and_then(|measured| measured.evaluate(goal)) else {
                continue;
            };
            let against = match goal.against {
                Against::Nothing => String::new(),
                Against::Contestant(other) => format!(", times {other}"),
            };
            let _infallible = writeln!(
                text,
                "| {}: {}{against} | {} | {} | {} |",
                goal.scenario,
                goal.figure,
                number(value),
                goal.limit.text(),
                if goal.limit.is_met(value) { "yes" } else { "**no**" }
            );
        }
        text
    }
}

/// The file with new text between the marks; without marks, the text between marks of its own at the end.
fn between_marks(old: &str, text: &str) -> String {
    let marked = old
        .split_once(BEGIN)
        .and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = marked.unwrap_or((old, "\n"));
    format!("{head}{BEGIN}\n{text}{END}{tail}")
}

/// Three digits that count.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        medium if medium >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

fn range(figures: &[f64]) -> String {
    let low = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let high = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let middle = number(median(&mut figures.to_vec()));
    if figures.len() < 2 {
        return middle;
    }
    format!("{middle} ({} - {})", number(low), number(high))
}

fn table(measured: &Measured) -> String {
    let about = SCENARIOS.iter().find(|scenario| scenario.id == measured.scenario);
    let mut text = format!("**{}**", measured.scenario);
    if let Some(scenario) = about {
        let _infallible = write!(text, ": {}", scenario.about);
    }
    let _infallible = write!(
        text,
        ". {} of {} turns were noisy.\n\n| figure |",
        measured.noisy, measured.rounds
    );
    for contestant in &measured.contestants {
        let _infallible = write!(text, " {} |", contestant.name);
    }
    for other in measured.contestants.iter().skip(1) {
        let _infallible = write!(text, " times {} |", other.name);
    }
    let columns = measured.contestants.len() * 2;
    let _infallible = write!(text, "\n{}\n", "|---".repeat(columns) + "|");
    for name in &measured.names {
        let _infallible = write!(text, "| {name} |");
        for contestant in &measured.contestants {
            let cell = contestant
                .figures
                .get(name)
                .map_or_else(String::new, |figures| range(figures));
            let _infallible = write!(text, " {cell} |");
        }
        let ours = measured.median(measured.broker(), name);
        for other in measured.contestants.iter().skip(1) {
            let ratio = ours
                .zip(measured.median(&other.name, name))
                .filter(|(_, theirs)| *theirs != 0.0);
            let cell = ratio.map_or_else(String::new, |(ours, theirs)| number(ours / theirs));
            let _infallible = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let machine = Description {
            cpu: "a CPU".to_owned(),
            cores: 2,
            memory_gib: 24,
            kernel: "6".to_owned(),
            file_system: "ext4".to_owned(),
        };
        let mut report = Report::new(machine, None).expect("no file");
        for (round, (ours, bare)) in [(1.0, 1.0), (1.2, 0.5), (9.0, 2.0)].into_iter().enumerate() {
            for (name, value) in [("monedula", ours), ("relay", bare)] {
                let figures = vec![("CPU-s per GB", value)];
                report
                    .round("P16", name, round, &figures, (round == 1, 0.4))
                    .expect("kept");
            }
        }
        report
    }

    #[test]
    fn a_table_has_medians_ranges_and_their_ratio() {
        let text = table(&report().measured[0]);
        assert!(text.contains("2 of 6 turns were noisy"), "{text}");
        assert!(
            text.contains("| CPU-s per GB | 1.20 (1.00 - 9.00) | 1.00 (0.500 - 2.00) | 1.20 |"),
            "{text}"
        );
    }

    #[test]
    fn goals_are_told_only_where_they_were_measured() {
        let text = report().goals();
        assert!(
            text.contains("| P16: CPU-s per GB, times relay | 1.20 | ≤ 1.5 | yes |"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn only_the_marked_part_of_a_file_is_replaced() {
        let once = between_marks("above\n", "one\n");
        let twice = between_marks(&format!("{once}below\n"), "two\n");
        assert!(twice.starts_with("above\n") && twice.ends_with("below\n"), "{twice}");
        assert!(twice.contains("two") && !twice.contains("one"), "{twice}");
    }
}
