//! `monedula-bench`: measures the broker beside floors and peers, in one run, as ratios.
//!
//! The generator must be cheaper than any broker: frames are built before, requests are pipelined, answers are checked
//! by position. Every figure is CPU time of the measured process, not wall time: on a small machine the client shares it.

mod cpu;
mod fetch;
mod floor;
mod frames;
mod groups;
mod produce;
mod run;
mod start;
mod target;
mod wire;

use std::process::ExitCode;

const USAGE: &str = "usage:
  monedula-bench run --broker PATH [--rounds N] [--seconds S] [--data DIR] [scenario ...]
      interleaves the broker and the floors; scenarios: P1 P16 P64 P1M P100B F1M (default: all)
  monedula-bench start --broker PATH [--rounds N] [--data DIR]
      start on an empty directory, restart, stop, idle memory
  monedula-bench groups [--broker PATH] [--kafka ADDRESS --command PATH] [--members N] [--groups N] [--commits N] [--data DIR]
      groups at scale: joins, rebalances, memory, restarts; --command runs the peer that listens at ADDRESS
  monedula-bench floor (relay|sendfile) PORT FILE
      a bare relay: receive, CRC, write; or answer every request with 1 MiB by sendfile";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.split_first() {
        Some((&"run", rest)) => run::Options::parse(rest).and_then(|options| run::run(&options)),
        Some((&"start", rest)) => run::Options::parse(rest).and_then(|options| start::run(&options)),
        Some((&"groups", rest)) => groups::Options::parse(rest).and_then(|options| groups::run(&options)),
        Some((&"floor", [kind, port, file])) => floor::serve(kind, port, file),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            wire::say_error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Errors of a bench end it; their text is all that is needed.
type Failure = Box<dyn std::error::Error + Send + Sync>;
