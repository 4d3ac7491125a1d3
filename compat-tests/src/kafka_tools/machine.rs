//! One warm JVM in which tools run, several at once, through `kafka_tools/Runner.java`.
//!
//! **Invariants:** the JVM ends with its handle, at the latest with this process (it reads its requests from us). A tool that
//! does not end in time is a failure of its caller alone.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::Call;
use super::install::Jars;
use super::process::{Ended, options};

type Waiting = Arc<Mutex<HashMap<u64, Sender<Ended>>>>;

/// The JVM.
#[derive(Debug)]
pub struct Machine {
    child: Mutex<Child>,
    requests: Mutex<ChildStdin>,
    waiting: Waiting,
    next: AtomicU64,
}

/// A tool that runs in it.
#[derive(Debug)]
pub struct Running {
    id: u64,
    ended: Receiver<Ended>,
}

impl Machine {
    /// Starts it; what tools log goes to `log`.
    pub fn start(log: &Path) -> Self {
        let mut command = Command::new("java");
        command
            .args(options(log))
            .arg("-Xmx512m")
            .arg("-cp")
            .arg(Jars::Tools.class_path());
        command.arg("Runner").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("java runs: the installer has tried it");
        let requests = Mutex::new(child.stdin.take().expect("it is piped"));
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let waiting = Waiting::default();
        let known = Arc::clone(&waiting);
        thread::spawn(move || {
            for line in answers.lines().map_while(Result::ok) {
                let answer: Value = serde_json::from_str(&line).expect("the runner answers in JSON");
                let id = answer["id"].as_u64().expect("an answer has an id");
                if let Some(sender) = lock(&known).remove(&id) {
                    let status = answer["status"].as_i64().expect("an answer has a status");
                    let output = answer["output"].as_str().expect("an answer has an output").to_owned();
                    // Whoever waited may have lost patience.
                    drop(sender.send(Ended { status, output }));
                }
            }
            // The JVM is gone: nobody waits in vain.
            lock(&known).clear();
        });
        Self {
            child: Mutex::new(child),
            requests,
            waiting,
            next: AtomicU64::new(1),
        }
    }

    /// Starts a tool.
    pub fn run(&self, call: &Call, input: &str) -> Running {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, ended) = channel();
        lock(&self.waiting).insert(id, sender);
        self.send(&json!({ "id": id, "main": call.main, "arguments": call.arguments, "input": input }));
        Running { id, ended }
    }

    /// Ends a tool as SIGTERM would.
    pub fn stop(&self, running: &Running) {
        self.send(&json!({ "id": running.id, "stop": true }));
    }

    fn send(&self, request: &Value) {
        let mut requests = lock(&self.requests);
        let sent = writeln!(requests, "{request}").and_then(|()| requests.flush());
        if let Err(error) = sent {
            let ended = lock(&self.child).wait();
            panic!("the JVM of the tools does not take requests: {error}; it ended: {ended:?}");
        }
    }
}

impl Running {
    /// Waits for its end, at most for `patience`.
    pub fn wait(&self, patience: Duration) -> Result<Ended, String> {
        self.ended.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("no end within {patience:?}"),
            RecvTimeoutError::Disconnected => "the JVM of the tools has ended".to_owned(),
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        drop(child.kill());
        drop(child.wait());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
