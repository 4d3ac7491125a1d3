//! The scenarios: each measures one thing, says what, and names the floor that it is held against.

pub(crate) mod aborted;
pub(crate) mod durable;
pub(crate) mod exactly_once;
pub(crate) mod fetch;
pub(crate) mod growth;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod open_transactions;
pub(crate) mod pressure;
pub(crate) mod produce;
pub(crate) mod recovery;
pub(crate) mod session;
pub(crate) mod start;
pub(crate) mod wide_transaction;

use crate::Failure;
use crate::run::Bench;

/// A scenario by its name.
pub(crate) struct Scenario {
    /// As it is called on the command line; those that share a function run together.
    pub(crate) id: &'static str,
    /// What it measures, for the report.
    pub(crate) about: &'static str,
    run: fn(&mut Bench, &'static str) -> Result<(), Failure>,
}

const fn scenario(
    id: &'static str,
    about: &'static str,
    run: fn(&mut Bench, &'static str) -> Result<(), Failure>,
) -> Scenario {
    Scenario { id, about, run }
}

/// All scenarios, in the order in which they run.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario(
        "P1U",
        "produce, 1 record of 1 kB per request, 4 connections with 1 in flight",
        produce::run,
    ),
    scenario(
        "P1",
        "produce, 1 record of 1 kB per request, 4 connections with 5 in flight",
        produce::run,
    ),
    scenario(
        "P16",
        "produce, batches of 16 records of 1 kB, 4 connections with 5 in flight",
        produce::run,
    ),
    scenario(
        "P64",
        "produce, batches of 64 records of 1 kB, 4 connections with 5 in flight",
        produce::run,
    ),
    scenario(
        "P1M",
        "produce, batches of 1,000 records of 1 kB, 4 connections with 5 in flight",
        produce::run,
    ),
    scenario(
        "P100B",
        "produce, batches of 150 records of 100 B, 4 connections with 5 in flight",
        produce::run,
    ),
    scenario(
        "F64",
        "catch-up reads from the page cache, 64 KiB per fetch, 2 connections",
        fetch::run,
    ),
    scenario(
        "F1M",
        "catch-up reads from the page cache, 1 MiB per fetch, 2 connections",
        fetch::run,
    ),
    scenario("FS", "1,000 partitions in one fetch session, 1 % active", session::run),
    scenario(
        "L1",
        "open loop, 1,000 records of 1 kB per s, one per request",
        latency::run,
    ),
    scenario(
        "L20",
        "open loop, 20,000 records of 1 kB per s, one per request, each fetched by a tailing reader",
        latency::run,
    ),
    scenario(
        "L100",
        "open loop, 100 MB/s in batches of 16 records of 1 kB",
        latency::run,
    ),
    scenario(
        "D1",
        "durable acknowledgements (flush.messages=1), 1 connection with 1 in flight",
        durable::run,
    ),
    scenario(
        "D16",
        "durable acknowledgements, 16 connections with 1 in flight",
        durable::run,
    ),
    scenario(
        "D64",
        "durable acknowledgements, 64 connections with 1 in flight",
        durable::run,
    ),
    scenario(
        "D64S",
        "durable acknowledgements, 1 connection with 64 in flight",
        durable::run,
    ),
    scenario(
        "TX",
        "produce, batches of 16 records of 1 kB, 4 producers with 5 in flight: plain, idempotent, transactional",
        exactly_once::costs,
    ),
    scenario(
        "TXL",
        "transactions of one record of 1 kB, one producer, a reader of committed records beside it",
        exactly_once::latency,
    ),
    scenario(
        "TXP",
        "transactions of one record to each of 100 partitions, one after the other",
        wide_transaction::run,
    ),
    scenario(
        "TXA",
        "reading 10,000 aborted transactions and 1,000 committed ones, of 10 records of 100 B each",
        aborted::run,
    ),
    scenario(
        "TX1k",
        "1,000 transactional ids with an open transaction each, and kill -9",
        open_transactions::run,
    ),
    scenario(
        "G",
        "growth: the same load over more partitions, and over more connections",
        growth::run,
    ),
    scenario("C10k", "10,000 idle connections; 10,000 partitions", idle::run),
    scenario(
        "R",
        "kill -9 under load, and start, until the first acknowledged produce",
        recovery::run,
    ),
    scenario(
        "N",
        "clients that do not read, do not send, or do not stay, beside a good one",
        pressure::run,
    ),
    scenario("S", "start, restart, stop, idle memory", start::run),
];

/// Runs the chosen scenarios, or all.
pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    let chosen = bench.options.scenarios.clone();
    if let Some(unknown) = chosen.iter().find(|id| SCENARIOS.iter().all(|known| known.id != **id)) {
        return Err(format!("unknown scenario {unknown}").into());
    }
    for scenario in SCENARIOS {
        if chosen.is_empty() || chosen.iter().any(|id| id == scenario.id) {
            (scenario.run)(bench, scenario.id)?;
        }
    }
    Ok(())
}
