//! The machine that is measured on: what it is, who else uses it, and the state that a round has to begin in.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::{Failure, cpu};

/// A round begins when no more than this waits for the disk.
const DIRTY_BYTES: u64 = 64 << 20;
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// CPU for the generator, and the one for what is measured.
const GENERATOR_CPU: usize = 0;
const BROKER_CPU: usize = 1;

/// What a reader of the figures has to know.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
}

/// Describes this machine; `data` lies on the file system that counts.
pub(crate) fn describe(data: &Path) -> Result<Description, Failure> {
    let uname = rustix::system::uname();
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": "))
            .map_or_else(String::new, |(_, value)| value.to_owned())
    };
    let cpu = format!("{} at {} MHz", field("model name"), field("cpu MHz"));
    let output = Command::new("stat").args(["-f", "-c", "%T"]).arg(data).output()?;
    Ok(Description {
        cpu,
        cores: thread::available_parallelism()?.get(),
        memory_gib: (meminfo("MemTotal:")? >> 30) + 1,
        kernel: uname.release().to_string_lossy().into_owned(),
        file_system: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    })
}

fn meminfo(name: &str) -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .ok_or("meminfo is short")?;
    let kibibytes: u64 = line.split_whitespace().nth(1).ok_or("meminfo is short")?.parse()?;
    Ok(kibibytes * 1024)
}

/// Writes out what waits for the disk that `data` is on, and waits until it is quiet; false when others write so much
/// that it did not become so in time.
pub(crate) fn settle(data: &Path) -> Result<bool, Failure> {
    let begun = Instant::now();
    if meminfo("Dirty:")? + meminfo("Writeback:")? > DIRTY_BYTES {
        rustix::fs::syncfs(fs::File::open(data)?)?;
    }
    while meminfo("Dirty:")? + meminfo("Writeback:")? > DIRTY_BYTES {
        if begun.elapsed() > SETTLE_LIMIT {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(true)
}

/// CPU time that all processes together have used, in seconds.
pub(crate) fn busy_seconds() -> Result<f64, Failure> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().ok_or("stat is empty")?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map_while(|field| field.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|index| fields.get(*index)).sum();
    Ok(busy as f64 / cpu::ticks_per_second())
}

/// Which half of the machine a process is to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Generator,
    Measured,
}

/// Keeps this thread, and what it starts from now on, on one CPU; does nothing where there is only one.
pub(crate) fn pin(place: Place) -> Result<(), Failure> {
    let cores = fs::read_to_string("/proc/cpuinfo")?
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    if cores < 2 {
        return Ok(());
    }
    let mut set = CpuSet::new();
    set.set(match place {
        Place::Generator => GENERATOR_CPU,
        Place::Measured => BROKER_CPU,
    });
    Ok(sched_setaffinity(None, &set)?)
}

/// Allows as many open files as the system lets this process have, and those that it starts.
pub(crate) fn raise_open_files() -> Result<u64, Failure> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}
