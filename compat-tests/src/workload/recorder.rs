//! The history of a round on disk, one JSON line each (`checker::parse` says which), and counts over all rounds.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::clock::now;
use crate::checker::history::History;
use crate::checker::parse::add_line;

/// How often what happened, by its name.
#[derive(Debug, Default)]
pub struct Counts(Mutex<BTreeMap<String, u64>>);

impl Counts {
    /// One more, or some.
    pub fn add(&self, what: &str, count: usize) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(what.to_owned()).or_default() += u64::try_from(count).expect("a count");
    }

    /// How often so far.
    pub fn of(&self, what: &str) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(what).copied().unwrap_or_default()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told: Vec<String> = counts.iter().map(|(what, count)| format!("{what}: {count}")).collect();
        f.write_str(&told.join(", "))
    }
}

/// The file of one round.
#[derive(Debug)]
pub struct Recorder<'a> {
    path: PathBuf,
    file: Mutex<BufWriter<File>>,
    pub counts: &'a Counts,
}

impl<'a> Recorder<'a> {
    /// Begins a file.
    pub fn create(path: &Path, counts: &'a Counts) -> Self {
        let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self {
            path: path.to_path_buf(),
            file: Mutex::new(BufWriter::new(file)),
            counts,
        }
    }

    /// Adds a line.
    pub fn write(&self, line: &Value) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").expect("room for the history");
    }

    /// Adds what was done to broker or clients, and counts it.
    pub fn disturb(&self, what: &str, process: Option<u32>) {
        self.counts.add(what, 1);
        self.write(&json!({"type": "nemesis", "f": what, "process": process, "time": now()}));
    }

    /// All that was written, for the checker.
    pub fn history(&self) -> History {
        let flushed = self.file.lock().unwrap_or_else(PoisonError::into_inner).flush();
        flushed.expect("room for the history");
        let file = File::open(&self.path).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        let mut history = History::default();
        for line in BufReader::new(file).lines() {
            add_line(&mut history, &line.expect("a readable history")).expect("a history of ours");
        }
        history
    }
}
