//! The broker under the load: ours, one that a command starts (Apache Kafka, as the control), or one that only listens.
//!
//! Environment: `MONEDULA_COMPAT_ADDRESS` (`HOST:PORT`) names another broker; it is left in peace, unless
//! `MONEDULA_EXACTLY_ONCE_COMMAND` names a program that runs it in the foreground, on the same data at each start (what it
//! prints goes to a file `.log` beside it).

use std::env;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::ApiVersionsRequest;
use rustix::process::{Pid, Signal, kill_process};

use crate::broker::{Broker, QUICK, Special, external_address, wait_for_exit};
use crate::requests::{find_coordinator, unique};
use crate::wire::Connection;

/// How long a foreign broker may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(90);

/// Settings beside [`QUICK`]: transactions that timed out are found soon, few partitions of internal topics, small segments.
const SETTINGS: &[&str] = &[
    "transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
    "transaction.state.log.num.partitions=4",
    "offsets.topic.num.partitions=4",
    "log.segment.bytes=1048576",
];

/// A broker.
#[derive(Debug)]
pub enum Target {
    Ours(Box<Broker>),
    Commanded {
        address: SocketAddr,
        program: PathBuf,
        child: Option<Child>,
    },
    Foreign(SocketAddr),
}

impl Target {
    /// Starts ours.
    pub fn ours(special: Option<Special>) -> Self {
        let settings = [QUICK, SETTINGS].concat();
        Self::Ours(Box::new(Broker::start_special(&settings, special)))
    }

    /// Starts it, or finds it.
    pub fn start() -> Self {
        let Some(address) = external_address() else {
            return Self::ours(None);
        };
        let Some(program) = env::var_os("MONEDULA_EXACTLY_ONCE_COMMAND") else {
            return Self::Foreign(address);
        };
        let mut target = Self::Commanded {
            address,
            program: program.into(),
            child: None,
        };
        target.restart();
        target
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Ours(broker) => broker.address(),
            Self::Commanded { address, .. } | Self::Foreign(address) => *address,
        }
    }

    /// Whether it may be killed.
    pub fn is_mortal(&self) -> bool {
        !matches!(self, Self::Foreign(_))
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        match self {
            Self::Ours(broker) => broker.kill(),
            Self::Commanded { child, .. } => {
                let mut child = child.take().expect("it runs");
                child.kill().expect("a process of ours");
                child.wait().expect("a child of ours");
            }
            Self::Foreign(_) => {}
        }
    }

    /// Ends it as SIGTERM does.
    pub fn stop(&mut self) {
        match self {
            Self::Ours(broker) => {
                let status = broker.stop();
                assert!(status.success(), "{status}");
            }
            Self::Commanded { child, .. } => {
                let mut child = child.take().expect("it runs");
                kill_process(Pid::from_child(&child), Signal::TERM).expect("a process of ours");
                if wait_for_exit(&mut child, PATIENCE).is_none() {
                    child.kill().expect("a process of ours");
                    child.wait().expect("a child of ours");
                }
            }
            Self::Foreign(_) => {}
        }
    }

    /// Starts it again on its data, and waits until it serves.
    pub fn restart(&mut self) {
        match self {
            Self::Ours(broker) => broker.restart(),
            Self::Commanded {
                address,
                program,
                child,
            } => {
                assert!(child.is_none(), "it still runs");
                let mut command = Command::new(&*program);
                let log = program.with_extension("log");
                let output = File::options().create(true).append(true).open(&log);
                let output = output.unwrap_or_else(|error| panic!("{}: {error}", log.display()));
                command.stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
                let started = command.spawn();
                *child = Some(started.unwrap_or_else(|error| panic!("{}: {error}", program.display())));
                wait_until_serving(*address);
            }
            Self::Foreign(_) => {}
        }
    }

    /// Stops its time, or lets it go on.
    pub fn signal(&self, signal: Signal) {
        match self {
            Self::Ours(broker) => broker.signal(signal),
            Self::Commanded { child, .. } => {
                let child = child.as_ref().expect("it runs");
                kill_process(Pid::from_child(child), signal).expect("a process of ours");
            }
            Self::Foreign(_) => {}
        }
    }

    /// Ends it and leaves its data where they are; says where.
    pub fn keep(&mut self) -> Option<PathBuf> {
        match self {
            Self::Ours(broker) => broker.keep(),
            Self::Commanded { .. } | Self::Foreign(_) => None,
        }
    }

    /// What it printed, if it is ours.
    pub fn output(&self) -> String {
        match self {
            Self::Ours(broker) => broker.output(),
            Self::Commanded { .. } | Self::Foreign(_) => String::new(),
        }
    }

    /// Waits until groups find their coordinator.
    pub fn settle(&self) {
        find_coordinator(&mut Connection::open(self.address()), &unique("settle"));
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Self::Commanded { child: Some(child), .. } = self {
            // Both may fail only when it is gone already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn wait_until_serving(address: SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answered = Connection::try_open(address)
            .and_then(|mut connection| connection.try_call(0, &ApiVersionsRequest::default()));
        if answered.is_ok() {
            return;
        }
        assert!(Instant::now() < deadline, "{address} does not answer");
        thread::sleep(Duration::from_millis(100));
    }
}
