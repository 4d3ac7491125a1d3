//! CPU time and memory of a process, from `/proc`.
//!
//! `schedstat` counts nanoseconds per thread; threads that ended between two looks are lost, which a broker with fixed
//! threads does not have.

use std::fs;

use crate::Failure;

/// CPU time of all threads of a process so far, in seconds.
pub(crate) fn seconds(pid: u32) -> Result<f64, Failure> {
    let mut nanoseconds = 0_u64;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path().join("schedstat");
        // a thread may end between the listing and the reading
        let Ok(text) = fs::read_to_string(path) else { continue };
        nanoseconds += text.split(' ').next().ok_or("empty schedstat")?.parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1e9)
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
