//! Directed graphs over numbers: strongly connected components (Tarjan) and a short cycle within one.
//!
//! **Invariant:** no recursion, time linear in nodes and edges.

use std::collections::{BTreeSet, VecDeque};

/// Edges of each node.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    edges: Vec<Vec<usize>>,
}

impl Graph {
    /// A graph of `nodes` nodes without edges.
    pub fn new(nodes: usize) -> Self {
        Self {
            edges: vec![Vec::new(); nodes],
        }
    }

    /// Adds an edge; from a node to itself there are none.
    pub fn link(&mut self, from: usize, to: usize) {
        if from != to && self.edges[from].last() != Some(&to) {
            self.edges[from].push(to);
        }
    }

    /// The components of more than one node.
    pub fn knots(&self) -> Vec<Vec<usize>> {
        const UNSEEN: usize = usize::MAX;
        let nodes = self.edges.len();
        let (mut number, mut low, mut on_stack) = (vec![UNSEEN; nodes], vec![0; nodes], vec![false; nodes]);
        let (mut stack, mut knots, mut next) = (Vec::new(), Vec::new(), 0);
        for root in 0..nodes {
            if number[root] != UNSEEN {
                continue;
            }
            let mut path = vec![(root, 0)];
            while let Some(&mut (node, ref mut edge)) = path.last_mut() {
                if *edge == 0 {
                    (number[node], low[node], on_stack[node]) = (next, next, true);
                    next += 1;
                    stack.push(node);
                }
                if let Some(&to) = self.edges[node].get(*edge) {
                    *edge += 1;
                    if number[to] == UNSEEN {
                        path.push((to, 0));
                    } else if on_stack[to] {
                        low[node] = low[node].min(number[to]);
                    }
                    continue;
                }
                path.pop();
                if let Some(&(parent, _)) = path.last() {
                    low[parent] = low[parent].min(low[node]);
                }
                if low[node] == number[node] {
                    let from = stack.iter().rposition(|&member| member == node).expect("it was pushed");
                    let knot = stack.split_off(from);
                    knot.iter().for_each(|&member| on_stack[member] = false);
                    if knot.len() > 1 {
                        knots.push(knot);
                    }
                }
            }
        }
        knots
    }

    /// A shortest cycle through the first node of a knot.
    pub fn cycle(&self, knot: &[usize]) -> Vec<usize> {
        let members: BTreeSet<usize> = knot.iter().copied().collect();
        let start = knot[0];
        let mut came_from = std::collections::BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for &to in self.edges[node].iter().filter(|to| members.contains(to)) {
                if to == start {
                    let mut cycle = vec![node];
                    while let Some(&before) = came_from.get(cycle.last().expect("not empty")) {
                        cycle.push(before);
                    }
                    cycle.reverse();
                    return cycle;
                }
                if to != start && !came_from.contains_key(&to) {
                    came_from.insert(to, node);
                    queue.push_back(to);
                }
            }
        }
        vec![start]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: usize, edges: &[(usize, usize)]) -> Graph {
        let mut graph = Graph::new(nodes);
        edges.iter().for_each(|&(from, to)| graph.link(from, to));
        graph
    }

    #[test]
    fn a_graph_without_cycles_has_no_knots() {
        assert!(graph(5, &[(0, 1), (1, 2), (0, 2), (3, 2), (2, 4)]).knots().is_empty());
    }

    #[test]
    fn cycles_are_found_and_told_apart() {
        let graph = graph(
            8,
            &[(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 3), (4, 3), (6, 7)],
        );
        let mut knots: Vec<Vec<usize>> = graph.knots();
        knots.iter_mut().for_each(|knot| knot.sort_unstable());
        knots.sort();
        assert_eq!(knots, [vec![0, 1, 2], vec![3, 4, 5]]);
        assert_eq!(graph.cycle(&[0, 1, 2]), [0, 1, 2]);
        assert_eq!(graph.cycle(&[3, 4, 5]), [3, 4]);
    }

    #[test]
    fn a_long_path_and_a_long_cycle_need_no_deep_stack() {
        let nodes = 300_000;
        let mut long = Graph::new(nodes);
        (1..nodes).for_each(|node| long.link(node - 1, node));
        assert!(long.knots().is_empty());
        long.link(nodes - 1, 0);
        assert_eq!(long.knots().len(), 1);
        assert_eq!(long.cycle(&long.knots()[0]).len(), nodes);
    }
}
