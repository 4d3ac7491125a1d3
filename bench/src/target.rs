//! A measured process: the broker or a floor, started on a free port, ended when it drops.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Failure, frames, wire};

/// How long a start may take.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running process that answers on `address`.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    child: Child,
    directory: Option<PathBuf>,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Target {
    /// Starts the broker on `directory` and waits for its first answer; returns it with the time that took.
    pub(crate) fn broker(binary: &Path, directory: &Path, keep: bool) -> Result<(Self, Duration), Failure> {
        let port = free_port()?;
        let begun = Instant::now();
        let child = Command::new(binary)
            .arg("--override")
            .arg(format!("listeners=PLAINTEXT://127.0.0.1:{port}"))
            .arg("--override")
            .arg(format!("log.dirs={}", directory.display()))
            .stdout(Stdio::null())
            .spawn()?;
        let directory = (!keep).then(|| directory.to_path_buf());
        let target = Self {
            name: "monedula",
            address: format!("127.0.0.1:{port}"),
            child,
            directory,
        };
        target.wait_until_it_answers(begun)?;
        Ok((target, begun.elapsed()))
    }

    /// Starts a floor, which is this program itself.
    pub(crate) fn floor(kind: &'static str, file: &Path) -> Result<Self, Failure> {
        let port = free_port()?;
        let child = Command::new(std::env::current_exe()?)
            .args(["floor", kind, &port.to_string()])
            .arg(file)
            .spawn()?;
        let target = Self {
            name: kind,
            address: format!("127.0.0.1:{port}"),
            child,
            directory: Some(file.into()),
        };
        let begun = Instant::now();
        while wire::connect(&target.address).is_err() {
            if begun.elapsed() > START_LIMIT {
                return Err(format!("floor {kind} does not listen").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(target)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop and waits; returns how long that took.
    pub(crate) fn stop(&mut self) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid())?).ok_or("no process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.child.wait()?;
        Ok(begun.elapsed())
    }

    fn wait_until_it_answers(&self, begun: Instant) -> Result<(), Failure> {
        let request = frames::api_versions()?;
        while begun.elapsed() < START_LIMIT {
            if let Ok(mut stream) = wire::connect(&self.address) {
                wire::call(&mut stream, &request)?;
                return Ok(());
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
