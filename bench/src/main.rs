//! `monedula-bench`: measures the broker beside floors and peers, in one run, as ratios.
//!
//! The generator must be cheaper than any broker: frames are built before, requests are pipelined, answers are checked
//! by position. Every figure of cost is CPU time of the measured process, not wall time: on a small machine the client
//! shares it.

mod answers;
mod cpu;
mod engine;
mod floor;
mod frames;
mod goals;
mod groups;
mod instructions;
mod kafka;
mod load;
mod machine;
mod paced;
mod poller;
mod report;
mod run;
mod scenario;
mod target;
mod transactions;
mod wire;

use std::process::ExitCode;

const USAGE: &str = "usage:
  monedula-bench run --broker [NAME=]PATH ... [flags] [scenario ...]
      the brokers, the floors and, if wanted, Apache Kafka take turns (or it is measured alone, without --broker); scenarios (default: all):
      P1U P1 P16 P64 P1M P100B F64 F1M FS L1 L20 L100 D1 D16 D64 D64S TX TXL TXP TXA TX1k G C10k R N S
      --rounds N        turns of each contestant (5)
      --seconds S       length of a turn (3)
      --data DIR        where everybody's data goes (a directory below the temporary one)
      --json FILE       appends a line for each turn
      --markdown FILE   writes the tables between the marks of the file, or at its end
      --kafka           Apache Kafka takes part; its libraries are brought by mvn
      --kafka-libs DIR  the same, with libraries that are there already
      --check-crc       readers compute the CRC of every batch
      --recovery-gb N   largest log of R (4)
  monedula-bench groups [--broker PATH] [--kafka ADDRESS --command PATH] [--members N] [--groups N] [--commits N] [--data DIR]
      groups at scale: joins, rebalances, memory, restarts; --command runs the peer that listens at ADDRESS
  monedula-bench instructions --broker PATH [--json FILE]
      user instructions per request, counted by valgrind
  monedula-bench floor (relay|echo|sync|sendfile) PORT FILE [BYTES]
      a bare relay on its own; BYTES: an answer of sendfile";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.split_first() {
        Some((&"run", rest)) => measure(rest, scenario::run),
        Some((&"groups", rest)) => groups::Options::parse(rest).and_then(|options| groups::run(&options)),
        Some((&"instructions", rest)) => measure(rest, instructions::run),
        Some((&"floor", [kind, port, file])) => floor::serve(kind, port, file, 1 << 20),
        Some((&"floor", [kind, port, file, bytes])) => match bytes.parse() {
            Ok(bytes) => floor::serve(kind, port, file, bytes),
            Err(_) => Err(USAGE.into()),
        },
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

fn measure(words: &[&str], run: fn(&mut run::Bench) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut bench = run::Bench::new(run::Options::parse(words)?)?;
    let outcome = run(&mut bench);
    // what was measured before something failed is not lost
    bench.report.close(bench.options.markdown.as_deref())?;
    outcome
}

/// Errors of a bench end it; their text is all that is needed.
type Failure = Box<dyn std::error::Error + Send + Sync>;
