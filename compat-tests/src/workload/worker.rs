//! One client in a process of its own (`workers/*.py`): commands go in as lines, replies come out as lines.
//!
//! **Invariant:** the process is known to [`Living`] exactly as long as its number cannot belong to another one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::client::{Client, crate_dir};

/// The processes that may be killed or paused.
#[derive(Debug, Default)]
pub struct Living(Mutex<BTreeMap<u32, Pid>>);

impl Living {
    /// Sends a signal to a client; false when it is gone.
    pub fn signal(&self, process: u32, signal: Signal) -> bool {
        let living = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        living
            .get(&process)
            .is_some_and(|&pid| kill_process(pid, signal).is_ok())
    }

    /// All clients.
    pub fn processes(&self) -> Vec<u32> {
        let living = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        living.keys().copied().collect()
    }

    fn add(&self, process: u32, pid: Pid) {
        let mut living = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        living.insert(process, pid);
    }

    fn remove(&self, process: u32) {
        let mut living = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        living.remove(&process);
    }
}

/// What came of waiting for a line.
#[derive(Debug)]
pub enum Reply {
    Line(Value),
    /// The process is gone, and everything that it said was read.
    Ended,
    TimedOut,
}

/// A running client.
#[derive(Debug)]
pub struct Worker<'a> {
    pub process: u32,
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<Value>,
    living: &'a Living,
}

impl<'a> Worker<'a> {
    /// Starts one.
    pub fn spawn(client: &Client, settings: &Value, process: u32, living: &'a Living) -> Self {
        let mut command = client.command(&program(client));
        command.arg(settings.to_string());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start a worker: {error}"));
        living.add(process, Pid::from_child(&child));
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        thread::spawn(move || {
            // A line that was cut by a kill is no line.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Ok(reply) = serde_json::from_str(&line) else { break };
                if sender.send(reply).is_err() {
                    break;
                }
            }
        });
        Self {
            process,
            child,
            stdin,
            lines,
            living,
        }
    }

    /// Hands it a command. Whether it took it shows in its replies.
    pub fn tell(&mut self, command: &Value) {
        drop(writeln!(self.stdin, "{command}").and_then(|()| self.stdin.flush()));
    }

    /// Its next line.
    pub fn next(&self, deadline: Instant) -> Reply {
        let patience = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(patience.max(Duration::from_millis(1))) {
            Ok(line) => Reply::Line(line),
            Err(RecvTimeoutError::Timeout) => Reply::TimedOut,
            Err(RecvTimeoutError::Disconnected) => Reply::Ended,
        }
    }

    /// Kills it; its last lines can still be read.
    pub fn kill(&self) {
        self.living.signal(self.process, Signal::KILL);
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.living.remove(self.process);
        // Both may fail only when it is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The program that drives a client.
pub fn program(client: &Client) -> PathBuf {
    let name = if client.name == "kafka-python" {
        "kafka_python.py"
    } else {
        "confluent.py"
    };
    crate_dir().join("workers").join(name)
}
