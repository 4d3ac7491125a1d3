//! The process: reads the command line and the configuration, starts the broker, waits for a signal, stops it.
//!
//! Invariants: everything that keeps the broker from starting is one line on standard error and exit code 1; a panic
//! anywhere ends the process, since a dead owner would leave its state orphaned.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use monedula::broker::Broker;
use monedula::broker::runtimes::Runtimes;
use monedula::cli::{self, Command};
use monedula::config::environment::variables;
use monedula::config::load::{Sources, load};
use monedula::config::remarks;
use monedula::env::Env;
use monedula::telemetry::logging;
use storage::io::std_fs::StdFileSystem;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    abort_on_panic();
    let command = match cli::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => return fail(&error.to_string()),
    };
    let outcome = match command {
        Command::Help => print(&cli::help()),
        Command::Version => print(&cli::version()),
        Command::ConfigDocs => print(&monedula::config::docs::markdown()),
        Command::Run { file, overrides } => Sources::with_file(file.as_deref())
            .map_err(|error| error.to_string())
            .and_then(|sources| {
                run(&Sources {
                    environment: variables(std::env::vars_os()),
                    overrides,
                    ..sources
                })
            }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn run(sources: &Sources) -> Result<(), String> {
    logging::start(std::env::var(logging::FILTER_VARIABLE).ok().as_deref())?;
    let loaded = load(sources).map_err(|error| error.to_string())?;
    remarks::log(&loaded.remarks);
    let runtimes = Runtimes::new().map_err(|error| format!("cannot start threads: {error}"))?;
    let env = Env::system(Arc::new(StdFileSystem));
    runtimes.control.block_on(async {
        // before the broker is ready, so that an early signal stops it cleanly too
        let listen = |kind| signal(kind).map_err(|error| format!("cannot listen to signals: {error}"));
        let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let mut stop = std::pin::pin!(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        let broker = tokio::select! {
            started = Broker::start(loaded.config, env, &runtimes) => started.map_err(|error| error.to_string())?,
            // a start that is given up leaves what a kill leaves
            () = stop.as_mut() => return Err("stopped before it took clients".to_owned()),
        };
        print(&broker.greeting())?;
        if let Some(lines) = broker.kafka_ready_lines() {
            print(&lines)?;
        }
        stop.await;
        broker.stop().await;
        Ok(())
    })?;
    runtimes.stop();
    Ok(())
}

/// Prints to standard output; a reader that went away is no fault.
fn print(text: &str) -> Result<(), String> {
    let mut output = io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.write_all(b"\n"))
        .and_then(|()| output.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

fn fail(sentence: &str) -> ExitCode {
    // with standard error gone there is nobody to tell
    let _untold = writeln!(io::stderr(), "monedula: {sentence}");
    ExitCode::FAILURE
}

fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}
