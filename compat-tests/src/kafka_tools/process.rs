//! A tool as a process of its own.
//!
//! **Invariant:** the process ends with its handle.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Call;
use super::install::Jars;
use crate::broker::wait_for_exit;
use crate::client::crate_dir;

/// How a tool ended and what it printed, both streams together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub status: i64,
    pub output: String,
}

/// A process of a tool.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts it with `input`; `output` is the file for what it prints, what it logs goes beside it.
    pub fn start(call: &Call, input: &str, output: PathBuf) -> Self {
        // What only the frameworks need takes no part in the others' start.
        let frameworks = ["org.apache.kafka.connect.", "org.apache.kafka.streams."];
        let jars = match frameworks.iter().any(|prefix| call.main.starts_with(prefix)) {
            true => Jars::Frameworks,
            false => Jars::Tools,
        };
        let file = File::create(&output).expect("a file in the case's directory");
        let mut command = Command::new("java");
        command.args(options(&output.with_extension("log"))).arg("-Xmx256m");
        command
            .arg("-cp")
            .arg(jars.class_path())
            .arg(call.main)
            .args(&call.arguments);
        command
            .stdin(Stdio::piped())
            .stderr(file.try_clone().expect("a file handle"))
            .stdout(file);
        let mut child = command.spawn().expect("java runs: the installer has tried it");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A tool that reads nothing may be gone before it is written.
        drop(stdin.write_all(input.as_bytes()));
        Self { child, output }
    }

    /// Asks it to end.
    pub fn stop(&self) {
        // It may have ended already.
        let _gone = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        drop(self.child.kill());
    }

    /// Waits for its end, at most for `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<Ended, String> {
        let ended = wait_for_exit(&mut self.child, patience);
        let output = String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned();
        let status = ended.ok_or_else(|| format!("no end within {patience:?}; so far: {output}"))?;
        // As a shell numbers an end by a signal.
        let status = status.code().unwrap_or(128 + 15);
        Ok(Ended {
            status: i64::from(status),
            output,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Options of a JVM that lives for a moment, and where it logs. What keeps its classes out of the optimizing compiler would
/// cost more than it gains.
pub fn options(log: &Path) -> Vec<String> {
    let configuration = crate_dir().join("kafka_tools/log4j2.properties");
    vec![
        "-XX:TieredStopAtLevel=1".to_owned(),
        "-XX:+UseSerialGC".to_owned(),
        "-Xshare:auto".to_owned(),
        format!("-Dlog4j2.configurationFile={}", configuration.display()),
        format!("-Dtools.log={}", log.display()),
    ]
}
