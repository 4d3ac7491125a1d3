//! The measured broker: started by a command on an address, stopped or killed, and started again on the same data.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Failure, cpu, frames, wire};

/// How long a start may take.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Pause after which memory counts as settled.
const SETTLE: Duration = Duration::from_secs(1);

/// A running broker; killed when dropped.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) address: String,
    command: Vec<String>,
    child: Child,
    /// When it was started last.
    pub(super) started: Instant,
    data: Option<PathBuf>,
}

impl Broker {
    /// Runs `command` and waits until it answers on `address`; `data` is removed at the end.
    pub(super) fn start(command: Vec<String>, address: String, data: Option<PathBuf>) -> Result<Self, Failure> {
        let started = Instant::now();
        let child = spawn(&command)?;
        let broker = Self {
            address,
            command,
            child,
            started,
            data,
        };
        broker.wait_until_it_answers()?;
        Ok(broker)
    }

    /// Resident memory, once it has settled.
    pub(super) fn resident_bytes(&self) -> Result<u64, Failure> {
        thread::sleep(SETTLE);
        cpu::memory_bytes(self.child.id(), "VmRSS")
    }

    /// CPU seconds so far.
    pub(super) fn cpu_seconds(&self) -> Result<f64, Failure> {
        cpu::seconds(self.child.id())
    }

    /// Ends it with `signal` and starts it again.
    pub(super) fn restart(&mut self, signal: Signal) -> Result<(), Failure> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).ok_or("no process id")?;
        kill_process(pid, signal)?;
        self.child.wait()?;
        self.started = Instant::now();
        self.child = spawn(&self.command)?;
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&self) -> Result<(), Failure> {
        let request = frames::api_versions()?;
        while self.started.elapsed() < START_LIMIT {
            let answered = wire::connect(&self.address).and_then(|mut stream| wire::call(&mut stream, &request));
            if answered.is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err("the broker does not answer".into())
    }
}

fn spawn(command: &[String]) -> Result<Child, Failure> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

impl Drop for Broker {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        if let Some(data) = &self.data {
            let _gone = std::fs::remove_dir_all(data);
        }
    }
}
