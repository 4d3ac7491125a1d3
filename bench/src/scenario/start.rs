//! S: start on an empty directory to the first answer, restart, stop, idle memory.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::run::{Bench, Figures, Options};
use crate::target::Target;
use crate::{Failure, cpu};

/// Pause after which memory counts as idle.
const SETTLE: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(5);

/// Runs it.
pub(crate) fn run(bench: &mut Bench, id: &'static str) -> Result<(), Failure> {
    let rounds = bench.options.rounds;
    bench.repeat(id, rounds, round)
}

fn round(options: &Options, binary: &Path, round: usize) -> Result<Figures, Failure> {
    let directory = options.path(&format!("start-{round}"));
    let (mut first, start) = Target::broker(binary, &directory, true)?;
    thread::sleep(SETTLE);
    let memory = cpu::memory_bytes(first.pid(), "VmRSS")? as f64 / 1e6;
    let before = cpu::Usage::of(first.pid())?;
    thread::sleep(IDLE);
    let idle = cpu::Usage::of(first.pid())?.since(&before).cpu_s / IDLE.as_secs_f64();
    let stop = first.stop()?;
    drop(first);
    let (mut second, restart) = Target::broker(binary, &directory, false)?;
    second.stop()?;
    Ok(vec![
        ("start to first answer, ms", start.as_secs_f64() * 1e3),
        ("restart to first answer, ms", restart.as_secs_f64() * 1e3),
        ("SIGTERM to exit, ms", stop.as_secs_f64() * 1e3),
        ("idle RSS, MB", memory),
        ("idle CPU, % of a core", idle * 100.0),
    ])
}
