//! A measured process: a broker, a floor or Apache Kafka, started on a free port and the measured CPU, ended when it
//! drops.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::machine::{Place, pin};
use crate::{Failure, frames, wire};

/// How long a start may take.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running process that answers on `address`.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) address: String,
    child: Child,
    command: Command,
    /// Removed with the target.
    directory: Option<PathBuf>,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Starts a process on the measured CPU.
fn spawn(command: &mut Command) -> Result<Child, Failure> {
    pin(Place::Measured)?;
    let child = command.spawn();
    pin(Place::Generator)?;
    Ok(child?)
}

impl Target {
    /// Starts the broker on `directory` and waits for its first answer; returns it with the time that took.
    pub(crate) fn broker(binary: &Path, directory: &Path, keep: bool) -> Result<(Self, Duration), Failure> {
        let port = free_port()?;
        Self::start_broker(Command::new(binary), port, directory, keep)
    }

    /// The same by a command that the broker's arguments are put behind, on a port that the caller chose.
    pub(crate) fn start_broker(
        mut command: Command,
        port: u16,
        directory: &Path,
        keep: bool,
    ) -> Result<(Self, Duration), Failure> {
        let begun = Instant::now();
        command
            .arg("--override")
            .arg(format!("listeners=PLAINTEXT://127.0.0.1:{port}"))
            .arg("--override")
            .arg(format!("log.dirs={}", directory.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let directory = (!keep).then(|| directory.to_path_buf());
        let mut target = Self::new("monedula".to_owned(), port, command, directory)?;
        target.wait_until_it_answers(begun)?;
        Ok((target, begun.elapsed()))
    }

    /// Starts a floor, which is this program itself.
    pub(crate) fn floor(kind: &str, file: &Path, answer_bytes: usize) -> Result<Self, Failure> {
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["floor", kind, &port.to_string()])
            .arg(file)
            .arg(answer_bytes.to_string());
        let target = Self::new(kind.to_owned(), port, command, Some(file.into()))?;
        let begun = Instant::now();
        while wire::connect(&target.address).is_err() {
            if begun.elapsed() > START_LIMIT {
                return Err(format!("floor {kind} does not listen").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(target)
    }

    /// Starts something else that speaks the protocol.
    pub(crate) fn other(name: &str, command: Command, port: u16, directory: &Path) -> Result<Self, Failure> {
        let begun = Instant::now();
        let mut target = Self::new(name.to_owned(), port, command, Some(directory.into()))?;
        target.wait_until_it_answers(begun)?;
        Ok(target)
    }

    fn new(name: String, port: u16, mut command: Command, directory: Option<PathBuf>) -> Result<Self, Failure> {
        Ok(Self {
            name,
            address: format!("127.0.0.1:{port}"),
            child: spawn(&mut command)?,
            command,
            directory,
        })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop and waits; returns how long that took.
    pub(crate) fn stop(&mut self) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let pid = Pid::from_raw(i32::try_from(self.pid())?).ok_or("no process id")?;
        kill_process(pid, Signal::TERM)?;
        self.child.wait()?;
        Ok(begun.elapsed())
    }

    /// Kills it and starts it again on its port and data; returns the time from there to its first answer.
    pub(crate) fn kill_and_restart(&mut self) -> Result<Duration, Failure> {
        self.child.kill()?;
        self.child.wait()?;
        let begun = Instant::now();
        self.child = spawn(&mut self.command)?;
        self.wait_until_it_answers(begun)?;
        Ok(begun.elapsed())
    }

    fn wait_until_it_answers(&mut self, begun: Instant) -> Result<(), Failure> {
        let request = frames::api_versions()?;
        while begun.elapsed() < START_LIMIT {
            if let Ok(mut stream) = wire::connect(&self.address) {
                wire::call(&mut stream, &request)?;
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended with {status} before it answered", self.name).into());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Err(format!("{} does not answer", self.name).into())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        if let Some(directory) = &self.directory {
            let _gone = if directory.is_dir() {
                std::fs::remove_dir_all(directory)
            } else {
                std::fs::remove_file(directory)
            };
        }
    }
}
