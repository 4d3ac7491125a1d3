//! The log on standard error: levels by `MONEDULA_LOG`, and while the process runs by part.
//!
//! Invariants: nothing per request at `info`; standard output carries nothing but the line that says where the broker
//! takes clients. ERROR needs a human, WARN is unexpected but went on, INFO is a change of state. Levels that are changed
//! while running are forgotten with the process, as in Kafka (KIP-412).

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, OnceLock};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Variable that holds the filter, such as `debug` or `info,monedula::network=debug`.
pub const FILTER_VARIABLE: &str = "MONEDULA_LOG";

/// Kafka's name of what stands above all parts.
pub const ROOT: &str = "root";

/// The parts of which the level can be changed, beside those that the filter names. Clients see dots between the names of
/// modules: Kafka's tools take no colons.
const PARTS: &[&str] = &[
    "monedula",
    "monedula.broker",
    "monedula.config",
    "monedula.controller",
    "monedula.coordinator",
    "monedula.dispatch",
    "monedula.handlers",
    "monedula.metadata",
    "monedula.network",
    "monedula.partition",
    "monedula.replication",
    "openraft",
    "protocol",
    "storage",
];

/// Kafka's levels, in the order in which its refusals list them.
const LEVELS: &[(&str, LevelFilter)] = &[
    ("DEBUG", LevelFilter::DEBUG),
    ("ERROR", LevelFilter::ERROR),
    // nothing is worse than an error here
    ("FATAL", LevelFilter::ERROR),
    ("INFO", LevelFilter::INFO),
    ("TRACE", LevelFilter::TRACE),
    ("WARN", LevelFilter::WARN),
];

static LOG_LEVELS: OnceLock<LogLevels> = OnceLock::new();

/// The levels of the running process; `None` before [`start`].
pub fn levels() -> Option<&'static LogLevels> {
    LOG_LEVELS.get()
}

/// What is logged by which part.
#[derive(Debug)]
pub struct LogLevels {
    /// Level of each part that has one; [`ROOT`] always has.
    by_part: Mutex<BTreeMap<String, LevelFilter>>,
    filter: Option<reload::Handle<Targets, Registry>>,
}

/// What to do with the level of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelChange {
    /// Give it this one.
    Set(LevelFilter),
    /// Let it follow the part that it belongs to.
    Unset,
}

/// Reads one of Kafka's levels.
///
/// # Errors
/// The names of all levels.
pub fn parse_level(text: &str) -> Result<LevelFilter, String> {
    let known = LEVELS.iter().find(|(name, _)| *name == text);
    known.map(|(_, level)| *level).ok_or_else(|| {
        let names: Vec<_> = LEVELS.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    })
}

impl LogLevels {
    fn new(targets: &Targets, filter: Option<reload::Handle<Targets, Registry>>) -> Self {
        let mut by_part: BTreeMap<_, _> = targets
            .iter()
            .map(|(part, level)| (part.replace("::", "."), level))
            .collect();
        by_part.insert(ROOT.to_owned(), targets.default_level().unwrap_or(LevelFilter::OFF));
        Self {
            by_part: Mutex::new(by_part),
            filter,
        }
    }

    /// Whether there is a part of that name.
    pub fn knows(&self, part: &str) -> bool {
        PARTS.contains(&part) || self.levels().contains_key(part)
    }

    /// All parts with the levels in force.
    pub fn all(&self) -> Vec<(String, &'static str)> {
        let by_part = self.levels();
        let mut parts: Vec<_> = by_part
            .keys()
            .map(String::as_str)
            .chain(PARTS.iter().copied())
            .collect();
        parts.sort_unstable();
        parts.dedup();
        let described = parts
            .into_iter()
            .map(|part| (part.to_owned(), name_of(in_force(&by_part, part))));
        described.collect()
    }

    /// Changes levels of parts that are known, all at once.
    pub fn change(&self, changes: &[(String, LevelChange)]) {
        let mut by_part = self.levels();
        for (part, change) in changes {
            match change {
                LevelChange::Set(level) => _ = by_part.insert(part.clone(), *level),
                // the root always has one
                LevelChange::Unset if part == ROOT => {}
                LevelChange::Unset => _ = by_part.remove(part),
            }
        }
        let targets = by_part.iter().filter(|(part, _)| *part != ROOT);
        let targets: Targets = targets.map(|(part, level)| (part.replace('.', "::"), *level)).collect();
        let targets = targets.with_default(by_part[ROOT]);
        drop(by_part);
        if let Some(Err(error)) = self.filter.as_ref().map(|filter| filter.reload(targets)) {
            tracing::error!(%error, "the levels of the log cannot be changed");
        }
    }

    fn levels(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, LevelFilter>> {
        self.by_part.lock().expect("looking at levels does not panic")
    }
}

/// The part's own level, or that of the closest part that it belongs to.
fn in_force(by_part: &BTreeMap<String, LevelFilter>, part: &str) -> LevelFilter {
    let mut name = part;
    loop {
        if let Some(level) = by_part.get(name) {
            return *level;
        }
        match name.rsplit_once('.') {
            Some((outer, _)) => name = outer,
            None => return by_part[ROOT],
        }
    }
}

fn name_of(level: LevelFilter) -> &'static str {
    match level.into_level() {
        None => "OFF",
        Some(tracing::Level::ERROR) => "ERROR",
        Some(tracing::Level::WARN) => "WARN",
        Some(tracing::Level::INFO) => "INFO",
        Some(tracing::Level::DEBUG) => "DEBUG",
        Some(tracing::Level::TRACE) => "TRACE",
    }
}

/// Starts logging for the process. `filter`: the variable's value.
///
/// # Errors
/// A sentence about the filter when it cannot be read.
pub fn start(filter: Option<&str>) -> Result<(), String> {
    let targets = match filter {
        None | Some("") => default_targets(),
        Some(text) => text
            .parse()
            .map_err(|error| format!("{FILTER_VARIABLE}={text}: {error}"))?,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let (layer, handle) = reload::Layer::new(targets.clone());
    // a second start in one process keeps the first, which only tests do
    let _kept = tracing_subscriber::registry().with(layer).with(lines).try_init();
    let _first = LOG_LEVELS.set(LogLevels::new(&targets, Some(handle)));
    Ok(())
}

fn default_targets() -> Targets {
    // openraft tells every step of every entry at info
    Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("openraft", LevelFilter::WARN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(levels: &LogLevels, part: &str) -> &'static str {
        let all = levels.all();
        let found = all.iter().find(|(name, _)| name == part);
        found.expect("a part").1
    }

    #[test]
    fn a_part_follows_what_it_belongs_to_until_it_has_a_level() {
        let levels = LogLevels::new(&default_targets(), None);
        assert_eq!(
            (level(&levels, ROOT), level(&levels, "monedula.network")),
            ("INFO", "INFO")
        );
        assert_eq!(level(&levels, "openraft"), "WARN");
        let set = |part: &str, level| (part.to_owned(), LevelChange::Set(level));
        levels.change(&[set("monedula", LevelFilter::DEBUG), set(ROOT, LevelFilter::ERROR)]);
        assert_eq!(
            (level(&levels, "storage"), level(&levels, "monedula.network")),
            ("ERROR", "DEBUG")
        );
        levels.change(&[set("monedula.network", LevelFilter::TRACE)]);
        assert_eq!(level(&levels, "monedula.network"), "TRACE");
        let unset = |part: &str| (part.to_owned(), LevelChange::Unset);
        levels.change(&[unset("monedula.network"), unset("monedula"), unset(ROOT)]);
        assert_eq!(level(&levels, "monedula.network"), "ERROR");
    }

    #[test]
    fn levels_have_kafkas_names() {
        assert_eq!(parse_level("TRACE"), Ok(LevelFilter::TRACE));
        let all = "DEBUG, ERROR, FATAL, INFO, TRACE, WARN";
        assert_eq!(parse_level("debug"), Err(all.to_owned()));
        assert!(LogLevels::new(&default_targets(), None).knows("monedula.handlers"));
        assert!(!LogLevels::new(&default_targets(), None).knows("nobody"));
    }
}
