//! Cycles of dependencies between operations: who read whose writes, and what came before in the same process.
//!
//! Both mean "earlier in time" where only committed records are read, so that a cycle of them is a contradiction. Cycles of
//! writes (T1's record before T2's in one partition, behind it in another) are normal in Kafka; transactions that are part
//! of one are counted only.

use std::collections::HashMap;

use super::graph::Graph;
use super::history::{Isolation, Outcome};
use super::view::{Fate, View};
use super::{Findings, Kind};

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    let operations = &view.history.operations;
    let mut reads = Graph::new(operations.len());
    for (index, operation) in operations.iter().enumerate() {
        // What a transaction polled counts even if it failed: it was shown, whatever became of the transaction.
        if view.isolation(operation) != Isolation::Committed {
            continue;
        }
        for record in View::polled(operation) {
            if let Some(write) = view.write(record.value) {
                reads.link(write.operation, index);
            }
        }
    }
    report(view, findings, &reads, Kind::ReadCycle);
    let mut ordered = reads.clone();
    let mut last: HashMap<u32, usize> = HashMap::new();
    for (index, operation) in operations.iter().enumerate() {
        if operation.outcome == Outcome::Info {
            continue;
        }
        if let Some(before) = last.insert(operation.process, index) {
            ordered.link(before, index);
        }
    }
    if findings.count(Kind::ReadCycle) == 0 {
        report(view, findings, &ordered, Kind::ProcessCycle);
    }
    findings.in_write_cycles = write_cycles(view);
}

fn report(view: &View<'_>, findings: &mut Findings, graph: &Graph, kind: Kind) {
    for knot in graph.knots() {
        findings.add(kind, || {
            let cycle = graph.cycle(&knot);
            let told: Vec<String> = cycle
                .iter()
                .take(6)
                .map(|&index| view.tell(&view.history.operations[index]))
                .collect();
            format!("{} operations, for example {}", knot.len(), told.join(" -> "))
        });
    }
}

fn write_cycles(view: &View<'_>) -> usize {
    let mut placed: Vec<(u32, i64, usize)> = view
        .writes
        .iter()
        .filter(|write| write.fate == Fate::Committed)
        .filter_map(|write| Some((write.key, write.offset?, write.operation)))
        .collect();
    placed.sort_unstable();
    let mut graph = Graph::new(view.history.operations.len());
    for pair in placed.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        graph.link(pair[0].2, pair[1].2);
    }
    graph.knots().iter().map(Vec::len).sum()
}
