//! Dependencies as a graph: knots of transactions, and shortest ways through them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Beside, Txn, depend::Writers};
use crate::checkers::linearizability::Budget;

/// What makes one transaction come before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// The other overwrote what it wrote.
    Ww,
    /// The other read what it wrote.
    Wr,
    /// The other overwrote what it read.
    Rw,
    /// The other wrote what its predicate had not found.
    RwRange,
    /// An order beside the dependencies.
    Beside,
}

/// Kinds of edges, as bits.
pub(super) type Kinds = u8;

impl Why {
    pub(super) fn bit(self) -> Kinds {
        1 << self as u8
    }
}

/// One dependency, and which values show it: key, the older, the newer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edge<'t> {
    pub(super) to: usize,
    pub(super) why: Why,
    pub(super) shown_by: (&'t str, Option<i64>, Option<i64>),
}

/// Transactions, and behind them barriers: moments at which all that was over is over.
#[derive(Default)]
pub(super) struct Graph<'t> {
    edges: Vec<Vec<Edge<'t>>>,
    seen: BTreeSet<(usize, usize, Why)>,
}

impl<'t> Graph<'t> {
    pub(super) fn new(txns: usize) -> Graph<'t> {
        Graph { edges: (0..txns).map(|_| Vec::new()).collect(), seen: BTreeSet::new() }
    }

    pub(super) fn add(
        &mut self,
        from: usize,
        to: usize,
        why: Why,
        shown_by: (&'t str, Option<i64>, Option<i64>),
    ) {
        if from != to && self.seen.insert((from, to, why)) {
            self.edges[from].push(Edge { to, why, shown_by });
        }
    }

    /// Adds an order beside the dependencies. Real time goes by barriers, one an end, so that the
    /// edges are as many as the transactions and not as their pairs.
    pub(super) fn put_beside(&mut self, txns: &[Txn], writers: &Writers<'_>, beside: Beside) {
        let there = (0..txns.len()).filter(|txn| writers.happened[*txn]);
        if beside == Beside::Session {
            let mut last: BTreeMap<u32, usize> = BTreeMap::new();
            let mut order: Vec<usize> = there.collect();
            order.sort_by_key(|txn| txns[*txn].began);
            for txn in order {
                if let Some(before) = last.insert(txns[txn].process, txn) {
                    self.add(before, txn, Why::Beside, ("", None, None));
                }
            }
            return;
        }
        // At one moment beginnings come first: what touches is not known to be in order.
        let mut events: Vec<(u64, bool, usize)> = Vec::new();
        for txn in there {
            events.push((txns[txn].began, false, txn));
            if txns[txn].fate == super::Fate::Committed {
                events.push((txns[txn].ended, true, txn));
            }
        }
        events.sort_unstable();
        let mut barrier = None;
        for (_, is_end, txn) in events {
            match (is_end, barrier) {
                (false, None) => {}
                (false, Some(barrier)) => self.add(barrier, txn, Why::Beside, ("", None, None)),
                (true, before) => {
                    let new = self.edges.len();
                    self.edges.push(Vec::new());
                    self.add(txn, new, Why::Beside, ("", None, None));
                    if let Some(before) = before {
                        self.add(before, new, Why::Beside, ("", None, None));
                    }
                    barrier = Some(new);
                }
            }
        }
    }

    pub(super) fn edges(&self, from: usize, kinds: Kinds) -> impl Iterator<Item = &Edge<'t>> {
        self.edges[from].iter().filter(move |edge| edge.why.bit() & kinds != 0)
    }

    /// Sets of nodes that can all reach each other by edges of these kinds, two or more each
    /// (Tarjan, SIAM Journal on Computing 1972, without recursion).
    pub(super) fn knots(&self, kinds: Kinds) -> Vec<Vec<usize>> {
        const NEW: usize = usize::MAX;
        let nodes = self.edges.len();
        let (mut index, mut low) = (vec![NEW; nodes], vec![0; nodes]);
        let (mut on_stack, mut stack) = (vec![false; nodes], Vec::new());
        let (mut next, mut knots) = (0, Vec::new());
        for root in 0..nodes {
            if index[root] != NEW {
                continue;
            }
            let mut calls = vec![(root, 0)];
            while let Some((node, at)) = calls.pop() {
                if at == 0 {
                    (index[node], low[node]) = (next, next);
                    next += 1;
                    stack.push(node);
                    on_stack[node] = true;
                }
                let rest = self.edges[node].iter().enumerate().skip(at);
                let mut rest = rest.filter(|(_, edge)| edge.why.bit() & kinds != 0);
                let deeper = rest.find_map(|(number, edge)| match index[edge.to] {
                    NEW => Some((number + 1, edge.to)),
                    _ => {
                        if on_stack[edge.to] {
                            low[node] = low[node].min(index[edge.to]);
                        }
                        None
                    }
                });
                if let Some((number, to)) = deeper {
                    calls.push((node, number));
                    calls.push((to, 0));
                    continue;
                }
                if let Some((parent, _)) = calls.last() {
                    low[*parent] = low[*parent].min(low[node]);
                }
                if low[node] == index[node] {
                    let from = stack.iter().rposition(|it| *it == node).unwrap_or(0);
                    let knot = stack.split_off(from);
                    knot.iter().for_each(|it| on_stack[*it] = false);
                    if knot.len() > 1 {
                        knots.push(knot);
                    }
                }
            }
        }
        knots
    }

    /// The shortest way from one node to another within a knot, by edges of these kinds.
    pub(super) fn way(
        &self,
        (from, to): (usize, usize),
        kinds: Kinds,
        knot: &BTreeSet<usize>,
        budget: &mut Budget,
    ) -> Option<Vec<&Edge<'t>>> {
        let mut came: BTreeMap<usize, (usize, &Edge<'t>)> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            for edge in self.edges(node, kinds).filter(|edge| knot.contains(&edge.to)) {
                budget.0 = budget.0.saturating_sub(1);
                if edge.to == from || came.contains_key(&edge.to) {
                    continue;
                }
                came.insert(edge.to, (node, edge));
                if edge.to == to {
                    let (mut way, mut at) = (Vec::new(), to);
                    while at != from {
                        let (before, edge) = came[&at];
                        way.push(edge);
                        at = before;
                    }
                    way.reverse();
                    return Some(way);
                }
                queue.push_back(edge.to);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: usize, edges: &[(usize, usize, Why)]) -> Graph<'static> {
        let mut graph = Graph::new(nodes);
        edges.iter().for_each(|(from, to, why)| graph.add(*from, *to, *why, ("", None, None)));
        graph
    }

    #[test]
    fn knots_are_what_reaches_itself() {
        use Why::{Rw, Ww};
        let edges = [(0, 1, Ww), (1, 2, Ww), (2, 0, Rw), (2, 3, Ww), (3, 4, Ww), (4, 3, Ww)];
        let graph = graph(6, &edges);
        let sorted = |kinds| {
            let mut knots = graph.knots(kinds);
            knots.iter_mut().for_each(|knot| knot.sort());
            knots.sort();
            knots
        };
        assert_eq!(sorted(Ww.bit()), [vec![3, 4]]);
        assert_eq!(sorted(Ww.bit() | Rw.bit()), [vec![0, 1, 2], vec![3, 4]]);
    }

    #[test]
    fn knots_agree_with_reachability() {
        let mut mix = 7_u64;
        let mut below = |bound: usize| {
            mix = mix.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            (mix >> 33) as usize % bound
        };
        for _ in 0..300 {
            let nodes = 1 + below(9);
            let edges: Vec<_> =
                (0..below(16)).map(|_| (below(nodes), below(nodes), Why::Ww)).collect();
            let graph = graph(nodes, &edges);
            let mut reach = vec![vec![false; nodes]; nodes];
            edges.iter().for_each(|(from, to, _)| reach[*from][*to] = true);
            for via in 0..nodes {
                for from in 0..nodes {
                    for to in 0..nodes {
                        reach[from][to] |= reach[from][via] && reach[via][to];
                    }
                }
            }
            let knots = graph.knots(Why::Ww.bit());
            for (one, other) in (0..nodes).flat_map(|one| (0..one).map(move |other| (one, other))) {
                let is_same = knots.iter().any(|knot| knot.contains(&one) && knot.contains(&other));
                assert_eq!(is_same, reach[one][other] && reach[other][one], "{edges:?}");
            }
        }
    }
}
