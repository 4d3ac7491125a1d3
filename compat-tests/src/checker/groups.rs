//! Groups of plain consumers that commit what they polled: together they leave nothing out, and what they committed stays
//! committed.
//!
//! **Invariant:** members commit only offsets behind records whose poll is in the history, so that everything below the
//! highest record that a group polled was polled by one of its members.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::history::{Isolation, Key, Step};
use super::view::View;
use super::{Findings, Kind};

#[derive(Debug, Default)]
struct Group {
    polled: HashMap<Key, HashSet<i64>>,
    /// When each offset was known to be committed.
    commits: HashMap<Key, Vec<(u64, i64)>>,
    /// The first offset that a process polled after a key was given to it, and when it was given.
    first_polls: Vec<(u64, Key, i64, usize)>,
    isolation: Option<Isolation>,
}

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    let groups = collect(view);
    for (name, group) in &groups {
        skips(view, findings, name, group);
        lost_commits(view, findings, name, group);
    }
}

fn collect<'a>(view: &View<'a>) -> BTreeMap<&'a str, Group> {
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    let mut given: HashMap<(u32, Key), u64> = HashMap::new();
    for (index, operation) in view.history.operations.iter().enumerate() {
        let process = view.history.processes.get(&operation.process);
        let Some((process, name)) = process.and_then(|process| Some((process, process.group.as_ref()?))) else {
            continue;
        };
        let group = groups.entry(name).or_default();
        group.isolation = Some(process.isolation);
        for step in &operation.steps {
            match step {
                Step::Poll { records, .. } => {
                    for record in records {
                        group.polled.entry(record.key).or_default().insert(record.offset);
                        if let Some(time) = given.remove(&(operation.process, record.key)) {
                            group.first_polls.push((time, record.key, record.offset, index));
                        }
                    }
                }
                Step::Assigned { time, keys } => {
                    for &key in keys {
                        given.insert((operation.process, key), *time);
                    }
                }
                Step::Revoked(keys) => {
                    for &key in keys {
                        given.remove(&(operation.process, key));
                    }
                }
                Step::Committed { time, offsets } => {
                    for &(key, offset) in offsets {
                        group.commits.entry(key).or_default().push((*time, offset));
                    }
                }
                Step::Send { .. } | Step::Start { .. } => {}
            }
        }
    }
    groups
}

fn skips(view: &View<'_>, findings: &mut Findings, name: &str, group: &Group) {
    let Some(isolation) = group.isolation else { return };
    for (&key, polled) in &group.polled {
        let highest = polled.iter().copied().max().unwrap_or(-1);
        let visible = &view.partition(isolation, key).visible;
        for offset in visible.iter().take_while(|offset| **offset < highest) {
            if !polled.contains(offset) {
                findings.add(Kind::GroupSkip, || {
                    format!(
                        "{name}: {} offset {offset}, though {highest} was polled",
                        view.history.name(key)
                    )
                });
            }
        }
    }
}

fn lost_commits(view: &View<'_>, findings: &mut Findings, name: &str, group: &Group) {
    // The highest offset committed by each moment.
    let mut highest: HashMap<Key, Vec<(u64, i64)>> = HashMap::new();
    for (&key, commits) in &group.commits {
        let mut commits = commits.clone();
        commits.sort_unstable();
        let mut most = i64::MIN;
        for commit in &mut commits {
            most = most.max(commit.1);
            commit.1 = most;
        }
        highest.insert(key, commits);
    }
    for &(time, key, offset, index) in &group.first_polls {
        let Some(commits) = highest.get(&key) else { continue };
        let before = commits.partition_point(|&(at, _)| at < time);
        let Some(&(_, committed)) = before.checked_sub(1).and_then(|last| commits.get(last)) else {
            continue;
        };
        if offset < committed {
            findings.add(Kind::LostCommit, || {
                format!(
                    "{name}: {} was committed up to {committed}, then polled from {offset} on by {}",
                    view.history.name(key),
                    view.tell(&view.history.operations[index])
                )
            });
        }
    }
}
