//! CPU time and memory of a process, from `/proc`.
//!
//! The process's own counters hold the time of threads that ended too; their grain of a clock tick is small against the
//! seconds that a round takes.

use std::fs;

use crate::Failure;

/// CPU time of the process so far, user and system, in seconds.
pub(crate) fn seconds(pid: u32) -> Result<f64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // the name in parentheses may hold anything; fields are counted behind it
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .ok_or("stat without a name")?
        .1
        .split_whitespace()
        .collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .ok_or("stat is short")?
            .parse::<u64>()
            .map_err(Failure::from)
    };
    let per_second = rustix::param::clock_ticks_per_second();
    Ok((ticks(11)? + ticks(12)?) as f64 / per_second as f64)
}

/// A memory line of `/proc/PID/status` (`VmRSS`, `VmHWM`), in bytes.
pub(crate) fn memory_bytes(pid: u32, line: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status
        .lines()
        .find(|candidate| candidate.starts_with(line))
        .ok_or("no such line in status")?;
    let kibibytes: u64 = found.split_whitespace().nth(1).ok_or("no value")?.parse()?;
    Ok(kibibytes * 1024)
}
