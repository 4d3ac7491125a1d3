//! The log on standard error: levels by `MONEDULA_LOG`.
//!
//! Invariants: nothing per request at `info`; standard output carries nothing but the line that says where the broker
//! takes clients. ERROR needs a human, WARN is unexpected but went on, INFO is a change of state.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Variable that holds the filter, such as `debug` or `info,monedula::network=debug`.
pub const FILTER_VARIABLE: &str = "MONEDULA_LOG";

/// Starts logging for the process. `filter`: the variable's value.
///
/// # Errors
/// A sentence about the filter when it cannot be read.
pub fn start(filter: Option<&str>) -> Result<(), String> {
    let targets = match filter {
        None | Some("") => default_targets(),
        Some(text) => text
            .parse()
            .map_err(|error| format!("{FILTER_VARIABLE}={text}: {error}"))?,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // a second start in one process keeps the first, which only tests do
    let _kept = tracing_subscriber::registry().with(lines).with(targets).try_init();
    Ok(())
}

fn default_targets() -> Targets {
    // openraft tells every step of every entry at info
    Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("openraft", LevelFilter::WARN)
}
