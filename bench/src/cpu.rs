//! CPU time and memory of a process, from `/proc`.
//!
//! The scheduler's own counters (`schedstat`) are exact to the nanosecond but those of a thread end with it; the counters
//! of the process keep ended threads and are exact to a clock tick. Where a thread ended meanwhile, the latter count.

use std::collections::BTreeMap;
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
    Ok((ticks(11)? + ticks(12)?) as f64 / ticks_per_second())
}

/// Clock ticks of the kernel's coarse counters.
pub(crate) fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// A memory line of `/proc/PID/status` (`VmRSS`, `VmHWM`, `RssAnon`), in bytes.
pub(crate) fn memory_bytes(pid: u32, line: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status
        .lines()
        .find(|candidate| candidate.starts_with(line))
        .ok_or("no such line in status")?;
    let kibibytes: u64 = found.split_whitespace().nth(1).ok_or("no value")?.parse()?;
    Ok(kibibytes * 1024)
}

/// Calls of the process so far that wrote to a file, or to a socket as to a file.
pub(crate) fn write_calls(pid: u32) -> Result<u64, Failure> {
    let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = io.lines().find_map(|line| line.strip_prefix("syscw: "));
    Ok(line.ok_or("io is short")?.parse()?)
}

/// What all threads of a process used up to one moment.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    /// By thread id: time on a CPU and time in a run queue, in nanoseconds.
    threads: BTreeMap<u32, (u64, u64)>,
    seconds: f64,
}

/// Between two moments, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// On a CPU.
    pub(crate) cpu_s: f64,
    /// Ready to run but without a CPU: other processes' fault, mostly.
    pub(crate) wait_s: f64,
}

impl Usage {
    /// Up to now.
    pub(crate) fn of(pid: u32) -> Result<Self, Failure> {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let tid = entry?.file_name().to_string_lossy().parse()?;
            // a thread that ended meanwhile is covered by the process's own counter
            if let Ok(line) = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")) {
                let mut fields = line.split_whitespace().map(str::parse::<u64>);
                let mut field = || fields.next().ok_or("schedstat is short");
                threads.insert(tid, (field()??, field()??));
            }
        }
        Ok(Self {
            threads,
            seconds: seconds(pid)?,
        })
    }

    /// What was used since then.
    pub(crate) fn since(&self, earlier: &Self) -> Spent {
        let sum = |usage: &Self| {
            let times = usage.threads.values();
            times.fold((0, 0), |(cpu, wait), time| (cpu + time.0, wait + time.1))
        };
        let (now, then) = (sum(self), sum(earlier));
        let is_complete = earlier.threads.keys().all(|tid| self.threads.contains_key(tid));
        Spent {
            cpu_s: if is_complete {
                now.0.saturating_sub(then.0) as f64 / 1e9
            } else {
                self.seconds - earlier.seconds
            },
            wait_s: now.1.saturating_sub(then.1) as f64 / 1e9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ended_makes_the_coarse_counter_count() {
        let usage = |threads: &[(u32, u64)], seconds| Usage {
            threads: threads.iter().map(|(tid, cpu)| (*tid, (*cpu, 5))).collect(),
            seconds,
        };
        let earlier = usage(&[(1, 1_000_000_000), (2, 7)], 1.0);
        let grown = usage(&[(1, 3_000_000_000), (2, 7), (3, 500_000_000)], 9.0);
        assert!((grown.since(&earlier).cpu_s - 2.5).abs() < 1e-9);
        assert!((usage(&[(1, 3_000_000_000)], 9.0).since(&earlier).cpu_s - 8.0).abs() < 1e-9);
    }

    #[test]
    fn this_process_is_seen() {
        let before = Usage::of(std::process::id()).expect("own usage");
        let mut sum = 0_u64;
        for value in 0..20_000_000_u64 {
            sum = sum.wrapping_mul(31).wrapping_add(value);
        }
        assert_ne!(sum, 1);
        let spent = Usage::of(std::process::id()).expect("own usage").since(&before);
        assert!(spent.cpu_s > 0.0);
        assert!(memory_bytes(std::process::id(), "VmRSS").expect("own memory") > 0);
    }
}
