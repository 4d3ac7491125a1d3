//! A broker process under test: the real binary, or whatever listens at `MONEDULA_COMPAT_ADDRESS`.
//!
//! **Invariants:** a broker started here ends with its handle; it listens on loopback only; ports lie below the range from
//! which the kernel takes clients' own ports, so that a broker that is down for a moment finds its port free again.
//!
//! Environment: `MONEDULA_BIN` (the binary; without it `cargo build --release -p monedula` makes one),
//! `MONEDULA_COMPAT_ADDRESS` (`HOST:PORT` of a running broker, for example Apache Kafka, to run the tests against).

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::ApiVersionsRequest;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::wire::Connection;

/// How long a start or a stop may take on a busy machine before the test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Settings of most tests: groups form at once and short session timeouts are allowed, so that tests need not wait.
pub const QUICK: &[&str] = &[
    "group.initial.rebalance.delay.ms=0",
    "group.min.session.timeout.ms=1000",
];

/// A program in the place of the usual one.
#[derive(Clone, Debug)]
pub struct Special {
    pub program: PathBuf,
    /// A variable of its environment.
    pub variable: (String, String),
}

/// One broker; stopped when dropped.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    overrides: Vec<String>,
    /// A program and variables of its environment instead of the usual ones.
    special: Option<Special>,
    child: Option<Child>,
    directory: Option<TempDir>,
}

impl Broker {
    /// Starts a broker on an empty directory with `overrides` (`key=value`, in which `{address}` stands for the broker's own)
    /// and waits until it takes clients.
    pub fn start(overrides: &[&str]) -> Self {
        Self::start_special(overrides, None)
    }

    /// The same with another program.
    pub fn start_special(overrides: &[&str], special: Option<Special>) -> Self {
        if let Some(address) = external_address() {
            return Self {
                address,
                overrides: Vec::new(),
                special,
                child: None,
                directory: None,
            };
        }
        let directory = tempfile::Builder::new()
            .prefix("monedula-compat-")
            .tempdir()
            .expect("a temporary directory");
        let mut broker = Self {
            address: SocketAddr::from(([127, 0, 0, 1], free_port())),
            overrides: overrides.iter().map(|&text| text.to_owned()).collect(),
            special,
            child: None,
            directory: Some(directory),
        };
        broker.launch();
        broker
    }

    /// Starts a broker with [`QUICK`].
    pub fn quick() -> Self {
        Self::start(QUICK)
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A fresh connection to it.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// The data directory (`log.dirs`). Only brokers that were started here have one.
    pub fn data_dir(&self) -> PathBuf {
        self.home().join("data")
    }

    /// Everything the broker has printed so far, over all its restarts.
    pub fn output(&self) -> String {
        self.directory.as_ref().map_or_else(String::new, |_| {
            String::from_utf8_lossy(&fs::read(self.output_path()).unwrap_or_default()).into_owned()
        })
    }

    /// Ends the process without warning, as `kill -9` does.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the broker runs");
        child.kill().expect("a process of ours");
        child.wait().expect("a child of ours");
    }

    /// Asks the process to stop, as SIGTERM does, and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the broker runs");
        kill_process(Pid::from_child(&child), Signal::TERM).expect("a process of ours");
        wait_for_exit(&mut child, PATIENCE).unwrap_or_else(|| {
            child.kill().expect("a process of ours");
            panic!("the broker did not stop within {PATIENCE:?}\n{}", self.tail());
        })
    }

    /// Starts it again on the same directory and port, after [`Self::kill`] or [`Self::stop`].
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the broker still runs");
        self.launch();
    }

    /// Sends it a signal that it survives, such as SIGSTOP.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the broker runs");
        kill_process(Pid::from_child(child), signal).expect("a process of ours");
    }

    /// Ends it and leaves its directory where it is; says where. `None` for an external one.
    pub fn keep(&mut self) -> Option<PathBuf> {
        if self.child.is_some() {
            self.kill();
        }
        self.directory.take().map(TempDir::keep)
    }

    /// Whether the process still runs; always true for an external one.
    pub fn is_alive(&mut self) -> bool {
        self.child
            .as_mut()
            .is_none_or(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Resident memory in bytes, from `/proc`; `None` for an external broker.
    pub fn resident_bytes(&self) -> Option<u64> {
        self.status_bytes("VmRSS:")
    }

    /// The most that [`Self::resident_bytes`] ever was since the process started.
    pub fn peak_resident_bytes(&self) -> Option<u64> {
        self.status_bytes("VmHWM:")
    }

    /// What the process has open, from `/proc`, as the system names it: files without a name end in ` (deleted)`. Nothing
    /// for an external broker.
    pub fn open_files(&self) -> Vec<String> {
        let Some(child) = &self.child else { return Vec::new() };
        let entries = fs::read_dir(format!("/proc/{}/fd", child.id())).into_iter().flatten();
        let targets = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.map(|target| target.to_string_lossy().into_owned()).collect()
    }

    fn status_bytes(&self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.as_ref()?.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with(field))?;
        line.split_whitespace()
            .nth(1)?
            .parse::<u64>()
            .ok()
            .map(|kibibytes| kibibytes * 1024)
    }

    fn home(&self) -> &Path {
        self.directory.as_ref().expect("a broker of ours").path()
    }

    fn output_path(&self) -> PathBuf {
        self.home().join("broker.log")
    }

    fn launch(&mut self) {
        let mut settings = vec![
            format!("listeners=PLAINTEXT://{}", self.address),
            format!("log.dirs={}", self.data_dir().display()),
        ];
        let address = self.address.to_string();
        settings.extend(self.overrides.iter().map(|text| text.replace("{address}", &address)));
        let output = File::options()
            .create(true)
            .append(true)
            .open(self.output_path())
            .expect("a log file");
        let program = self
            .special
            .as_ref()
            .map_or_else(|| binary().to_path_buf(), |special| special.program.clone());
        let mut command = command_of(&program, &settings);
        if let Some(Special {
            variable: (name, value),
            ..
        }) = &self.special
        {
            command.env(name, value);
        }
        command.current_dir(self.home()).stdin(Stdio::null());
        command
            .stdout(output.try_clone().expect("a file handle"))
            .stderr(output);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        self.child = Some(child);
        self.wait_until_serving();
    }

    fn wait_until_serving(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answered = Connection::try_open(self.address)
                .and_then(|mut connection| connection.try_call(0, &ApiVersionsRequest::default()));
            if answered.is_ok() {
                return;
            }
            let exited = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(
                exited.is_none(),
                "the broker ended at its start: {exited:?}\n{}",
                self.tail()
            );
            assert!(Instant::now() < deadline, "the broker does not answer\n{}", self.tail());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both may fail only when the process is gone already.
            drop(child.kill());
            drop(child.wait());
        }
        if thread::panicking() && self.directory.is_some() {
            drop(writeln!(
                io::stderr(),
                "---- the broker's last lines ----\n{}",
                self.tail()
            ));
        }
    }
}

/// A command that runs the binary with `settings` (`key=value`) as overrides.
pub fn command(settings: &[impl AsRef<str>]) -> Command {
    command_of(binary(), settings)
}

fn command_of(program: &Path, settings: &[impl AsRef<str>]) -> Command {
    let mut command = Command::new(program);
    for setting in settings {
        command.arg("--override").arg(setting.as_ref());
    }
    command
}

/// The address of the running broker that `MONEDULA_COMPAT_ADDRESS` names, if it does.
pub fn external_address() -> Option<SocketAddr> {
    let named = env::var("MONEDULA_COMPAT_ADDRESS").ok()?;
    Some(
        named
            .parse()
            .unwrap_or_else(|error| panic!("MONEDULA_COMPAT_ADDRESS={named}: {error}")),
    )
}

/// Waits until `child` has ended, at most for `patience`.
pub fn wait_for_exit(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// A loopback port on which nobody listens.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).expect("less than 10,000");
    for _ in 0..10_000 {
        // Test processes that run at the same time start at different places of the range.
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 20000 and 29999")
}

/// The broker's binary; built first when `MONEDULA_BIN` does not name one.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| env::var_os("MONEDULA_BIN").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "monedula"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "cargo build --release -p monedula: {status}");
    // This test's own path is <target directory>/<profile>/deps/<name>.
    let test = env::current_exe().expect("the path of this test");
    let target = test
        .ancestors()
        .nth(3)
        .expect("a test lies three levels below the target directory");
    target
        .join("release")
        .join(format!("monedula{}", env::consts::EXE_SUFFIX))
}
