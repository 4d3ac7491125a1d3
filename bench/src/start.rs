//! Start, restart, stop and idle memory of the broker.

use std::thread;
use std::time::Duration;

use crate::run::{Options, median};
use crate::target::Target;
use crate::{Failure, cpu, wire};

/// Pause after which memory counts as idle.
const SETTLE: Duration = Duration::from_millis(500);

/// Measures and prints medians over the rounds.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let (mut starts, mut restarts, mut stops, mut memory) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let directory = options.data.join(format!("start-{}-{round}", std::process::id()));
        let (mut first, start) = Target::broker(&options.broker, &directory, true)?;
        starts.push(start.as_secs_f64() * 1e3);
        thread::sleep(SETTLE);
        memory.push(cpu::memory_bytes(first.pid(), "VmRSS")? as f64 / 1e6);
        stops.push(first.stop()?.as_secs_f64() * 1e3);
        drop(first);
        let (mut second, restart) = Target::broker(&options.broker, &directory, false)?;
        restarts.push(restart.as_secs_f64() * 1e3);
        second.stop()?;
    }
    let rounds = options.rounds;
    wire::say(&format!(
        "start on an empty directory to first answer  {:8.1} ms (median of {rounds})",
        median(&mut starts)
    ));
    wire::say(&format!(
        "restart to first answer                      {:8.1} ms",
        median(&mut restarts)
    ));
    wire::say(&format!(
        "stop (SIGTERM to exit)                       {:8.1} ms",
        median(&mut stops)
    ));
    wire::say(&format!(
        "resident memory when idle                    {:8.1} MB",
        median(&mut memory)
    ));
    Ok(())
}
