//! Visits every state of a scenario that can be reached.
//!
//! Invariant: a state is visited once; states are told apart by a 64-bit hash of all they hold, so that of a million some
//! two may be taken for one with a chance of one in ten million.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::world::{Action, World};
use super::{Fault, Scenario};

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) steps: usize,
    /// Whether all states were seen, where there is no fault.
    pub(super) whole: bool,
    /// The first fault, and the way to it.
    pub(super) fault: Option<(Fault, Vec<Action>)>,
}

/// Searches until a fault is found, or everything was seen, or so many states.
pub(super) fn search(scenario: &Scenario, max_states: usize) -> Found {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut seen = HashSet::new();
    // The ways to the states on the stack: each entry tells how it was come to.
    let mut ways: Vec<(usize, Option<Action>)> = vec![(0, None)];
    let first = World::new(scenario);
    seen.insert(hasher.hash_one(&first));
    let mut stack = vec![(first, 0)];
    let mut steps = 0;
    let mut probed = HashSet::new();
    while let Some((world, way)) = stack.pop() {
        let actions = world.actions(scenario);
        if let Err(fault) = world.check_progress(&actions) {
            return found(&seen, steps, Some((fault, path(&ways, way))));
        }
        if probed.insert(hasher.hash_one(world.machine()))
            && let Err(fault) = world.probe()
        {
            return found(&seen, steps, Some((fault, path(&ways, way))));
        }
        for action in actions {
            let mut next = world.clone();
            steps += 1;
            let taken = next.take(scenario, action);
            let is_new = taken.is_err() || seen.insert(hasher.hash_one(&next));
            if !is_new {
                continue;
            }
            ways.push((way, Some(action)));
            if let Err(fault) = taken {
                return found(&seen, steps, Some((fault, path(&ways, ways.len() - 1))));
            }
            stack.push((next, ways.len() - 1));
        }
        if seen.len() > max_states {
            return Found {
                whole: false,
                ..found(&seen, steps, None)
            };
        }
    }
    found(&seen, steps, None)
}

fn found(seen: &HashSet<u64>, steps: usize, fault: Option<(Fault, Vec<Action>)>) -> Found {
    Found {
        states: seen.len(),
        steps,
        whole: true,
        fault,
    }
}

fn path(ways: &[(usize, Option<Action>)], mut at: usize) -> Vec<Action> {
    let mut actions = Vec::new();
    while let (before, Some(action)) = ways[at] {
        actions.push(action);
        at = before;
    }
    actions.reverse();
    actions
}
