//! The searches: each scenario with its bounds, and plants that a search has to find.

use std::time::Instant;

use super::client::Op::{self, Add, End, Init, Produce};
use super::search::{Found, search};
use super::{Budget, Fault, Plant, Scenario};

const NOTHING_WRONG: Budget = Budget {
    crashes: 0,
    reloads: 0,
    give_ups: 0,
    duplicates: 0,
    double_markers: 0,
    failed_markers: 0,
    timeouts: 0,
    expiries: 0,
};

/// A transaction of the old protocol that writes to both partitions.
fn old(committed: bool) -> Vec<Op> {
    vec![Add(0), Add(1), Produce(0), Produce(1), End(committed)]
}

/// A transaction of the new protocol that writes to both partitions.
fn new(committed: bool) -> Vec<Op> {
    vec![Produce(0), Produce(1), End(committed)]
}

fn program(transactions: &[Vec<Op>]) -> Vec<Op> {
    std::iter::once(Init).chain(transactions.concat()).collect()
}

const ALL_STATES: usize = 20_000_000;

fn run(scenario: &Scenario, max_states: usize) -> Found {
    let began = Instant::now();
    let found = search(scenario, max_states);
    println!(
        "{}: {} states{}, {} steps, {:.1} s",
        scenario.name,
        found.states,
        if found.whole { "" } else { " of more" },
        found.steps,
        began.elapsed().as_secs_f64()
    );
    found
}

fn holds(scenario: &Scenario) {
    let found = holds_for(scenario, ALL_STATES);
    assert!(found.whole, "{}: more states than thought", scenario.name);
}

fn holds_for(scenario: &Scenario, max_states: usize) -> Found {
    let found = run(scenario, max_states);
    assert!(found.fault.is_none(), "{}: {:#?}", scenario.name, found.fault);
    found
}

/// How many states of a search that would take minutes are looked at: `MONEDULA_MODEL_STATES`, `all` for all of them.
fn long_search_states() -> usize {
    let wanted = std::env::var("MONEDULA_MODEL_STATES").unwrap_or_else(|_| "4000".to_owned());
    if wanted == "all" {
        return ALL_STATES;
    }
    wanted.parse().expect("MONEDULA_MODEL_STATES is a number, or all")
}

fn scenario(name: &'static str, transaction_version: i16, programs: Vec<Vec<Op>>, budget: Budget) -> Scenario {
    Scenario {
        name,
        transaction_version,
        programs,
        budget,
        first_epoch: None,
        plant: None,
    }
}

/// A transaction that writes to one partition.
fn short(transaction_version: i16, committed: bool) -> Vec<Op> {
    if transaction_version >= 2 {
        vec![Produce(0), End(committed)]
    } else {
        vec![Add(0), Produce(0), End(committed)]
    }
}

fn both(transaction_version: i16) -> Vec<Op> {
    if transaction_version >= 2 { new(true) } else { old(true) }
}

#[test]
fn a_crash_tears_no_transaction() {
    for version in [0, 2] {
        let programs = vec![program(&[both(version)])];
        let budget = Budget {
            crashes: 1,
            failed_markers: 1,
            ..NOTHING_WRONG
        };
        holds(&scenario(
            "one producer, crash, failed marker",
            version,
            programs,
            budget,
        ));
    }
}

#[test]
fn a_newer_instance_shuts_the_older_one_out() {
    for version in [0, 2] {
        let programs = vec![program(&[short(version, true)]), program(&[short(version, true)])];
        holds(&scenario("two producers", version, programs, NOTHING_WRONG));
    }
}

#[test]
fn timeouts_and_given_up_requests_do_no_harm() {
    for version in [0, 2] {
        let programs = vec![program(&[short(version, true), short(version, false)])];
        let budget = Budget {
            timeouts: 1,
            give_ups: 1,
            ..NOTHING_WRONG
        };
        holds(&scenario("timeout, request given up", version, programs, budget));
    }
}

#[test]
fn a_log_that_is_loaded_again_does_no_harm() {
    for version in [0, 2] {
        let programs = vec![program(&[short(version, true), short(version, true)])];
        let budget = Budget {
            reloads: 2,
            ..NOTHING_WRONG
        };
        holds(&scenario("two reloads", version, programs, budget));
    }
}

#[test]
fn the_new_protocol_stands_repeated_requests_and_markers() {
    let programs = vec![program(&[short(2, true), short(2, true)])];
    let budget = Budget {
        duplicates: 1,
        double_markers: 1,
        ..NOTHING_WRONG
    };
    holds(&scenario("request and marker repeated", 2, programs, budget));
}

/// Why there is a new one: in the old protocol the next transaction has the same epoch.
#[test]
fn the_old_protocol_does_not() {
    let programs = vec![program(&[short(0, true), short(0, false)])];
    let repeated_request = Budget {
        duplicates: 1,
        ..NOTHING_WRONG
    };
    finds(
        &scenario("old, request repeated", 0, programs.clone(), repeated_request),
        &[Fault::NotAsked],
    );
    let repeated_marker = Budget {
        double_markers: 1,
        ..NOTHING_WRONG
    };
    let found = [Fault::NotAsked, Fault::WrongMarker];
    finds(&scenario("old, marker repeated", 0, programs, repeated_marker), &found);
}

#[test]
fn a_producer_id_whose_epochs_are_used_up_is_replaced() {
    for (version, first_epoch) in [(2, 32_764), (2, 32_765), (0, 32_765)] {
        let programs = vec![program(&[short(version, true), short(version, true)]), vec![Init]];
        let mut scenario = scenario("epochs used up", version, programs, NOTHING_WRONG);
        scenario.first_epoch = Some(first_epoch);
        holds(&scenario);
    }
    let programs = vec![program(&[short(2, true), short(2, true)])];
    let budget = Budget {
        timeouts: 1,
        crashes: 1,
        ..NOTHING_WRONG
    };
    let mut scenario = scenario("epochs used up, timeout, crash", 2, programs, budget);
    scenario.first_epoch = Some(32_764);
    holds(&scenario);
}

#[test]
fn an_id_that_is_forgotten_is_known_to_nobody() {
    for version in [0, 2] {
        let programs = vec![program(&[short(version, true), short(version, true)]), vec![Init]];
        let budget = Budget {
            expiries: 1,
            ..NOTHING_WRONG
        };
        holds(&scenario("expiry", version, programs, budget));
    }
}

/// The longer searches, a part of each; all of them take minutes:
/// `MONEDULA_MODEL_STATES=all cargo test -p monedula --lib transaction::model -- --nocapture`.
#[test]
fn everything_at_once() {
    let max_states = long_search_states();
    let holds = |scenario: &Scenario| drop(holds_for(scenario, max_states));
    for version in [0, 2] {
        let long = program(&[both(version), short(version, true)]);
        let programs = vec![long.clone(), program(&[short(version, true)])];
        let crash = Budget {
            crashes: 1,
            ..NOTHING_WRONG
        };
        holds(&scenario("two producers, crash", version, programs.clone(), crash));
        let timeout = Budget {
            timeouts: 1,
            give_ups: 1,
            ..NOTHING_WRONG
        };
        holds(&scenario(
            "two producers, timeout, request given up",
            version,
            programs,
            timeout,
        ));
        let faults = Budget {
            crashes: 2,
            reloads: 1,
            failed_markers: 1,
            ..NOTHING_WRONG
        };
        holds(&scenario(
            "one producer, two crashes, reload, failed marker",
            version,
            vec![long],
            faults,
        ));
    }
    let programs = vec![program(&[new(true), short(2, true)]), program(&[short(2, true)])];
    let repeated = Budget {
        crashes: 1,
        duplicates: 1,
        double_markers: 1,
        ..NOTHING_WRONG
    };
    holds(&scenario(
        "two producers, crash, request and marker repeated",
        2,
        programs,
        repeated,
    ));
}

/// A search that could not find a mistake would prove nothing.
#[test]
fn planted_mistakes_are_found() {
    let one = |version| vec![program(&[short(version, true), short(version, true)])];
    let two = |version| vec![program(&[short(version, true)]), program(&[short(version, true)])];
    let crash = Budget {
        crashes: 1,
        ..NOTHING_WRONG
    };
    let reload = Budget {
        reloads: 1,
        ..NOTHING_WRONG
    };
    let timeout = Budget {
        timeouts: 1,
        ..NOTHING_WRONG
    };
    for (plant, version, programs, budget) in [
        (Plant::NoEpochCheck, 0, two(0), NOTHING_WRONG),
        (Plant::NoEpochCheck, 2, two(2), NOTHING_WRONG),
        (Plant::AnswersTooEarly, 0, one(0), crash),
        (Plant::AnswersTooEarly, 2, one(2), crash),
        (Plant::AnyResultCounts, 0, one(0), reload),
        (Plant::NoGuard, 0, one(0), timeout),
        (Plant::NoGuard, 2, one(2), timeout),
        (Plant::NothingAfterLoad, 0, one(0), crash),
        (Plant::NothingAfterLoad, 2, one(2), crash),
    ] {
        let mut planted = scenario("planted", version, programs, budget);
        planted.plant = Some(plant);
        let found = run(&planted, ALL_STATES);
        println!(
            "  {plant:?}, version {version}: {:?}",
            found.fault.as_ref().map(|(fault, way)| (fault, way.len()))
        );
        assert!(found.fault.is_some(), "{plant:?} in version {version} is not found");
        planted.plant = None;
        holds(&planted);
    }
}

/// One of these faults is found.
fn finds(scenario: &Scenario, faults: &[Fault]) {
    let found = run(scenario, ALL_STATES).fault;
    let is_found = found.as_ref().is_some_and(|(fault, _)| faults.contains(fault));
    assert!(is_found, "{}: {found:#?}", scenario.name);
}
