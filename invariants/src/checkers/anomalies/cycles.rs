//! Circles of dependencies, named by what they are made of, in words.

use std::collections::BTreeSet;

use super::{
    Anomaly, Beside, Kind, Txn,
    graph::{Edge, Graph, Kinds, Why},
};
use crate::checkers::linearizability::Budget;

/// How many edges of a knot are tried as the beginning of a circle.
const TRIED_MAX: usize = 256;

/// A class of circles: one edge of `begin`, the way back by edges of `back`.
struct Class {
    kind: Kind,
    begin: Why,
    back: &'static [Why],
    /// Only where the classes before have found nothing in the same knot.
    is_last_resort: bool,
}

const CLASSES: &[Class] = {
    use Why::{Rw, RwRange, Wr, Ww};
    const fn class(kind: Kind, begin: Why, back: &'static [Why], is_last_resort: bool) -> Class {
        Class { kind, begin, back, is_last_resort }
    }
    &[
        class(Kind::G0, Ww, &[Ww], false),
        class(Kind::G1c, Wr, &[Ww, Wr], false),
        class(Kind::GSingle, Rw, &[Ww, Wr], false),
        class(Kind::GSingle, RwRange, &[Ww, Wr], true),
        class(Kind::G2Item, Rw, &[Ww, Wr, Rw], true),
        class(Kind::G2, RwRange, &[Ww, Wr, Rw, RwRange], true),
    ]
};

/// Adds the shortest circle of each class in each knot; whether the budget sufficed.
pub(super) fn find(
    txns: &[Txn],
    graph: &Graph<'_>,
    beside: Beside,
    budget: &mut Budget,
    found: &mut Vec<Anomaly>,
) -> bool {
    let more = if beside == Beside::Nothing { 0 } else { Why::Beside.bit() };
    let all = [Why::Ww, Why::Wr, Why::Rw, Why::RwRange].map(Why::bit);
    let mut is_complete = true;
    for knot in graph.knots(all.iter().fold(more, |all, one| all | one)) {
        let mut circles: Vec<Kind> = Vec::new();
        let nodes: BTreeSet<usize> = knot.iter().copied().collect();
        for class in CLASSES {
            if class.is_last_resort && !circles.is_empty() || circles.contains(&class.kind) {
                continue;
            }
            let back = class.back.iter().fold(more, |all, one| all | one.bit());
            if let Some((from, circle)) = shortest(graph, class, back, &nodes, budget) {
                found.push(tell(txns, class.kind, beside, from, &circle));
                circles.push(class.kind);
            }
            is_complete &= budget.0 > 0;
        }
        if circles.is_empty() && !is_complete {
            let names: Vec<&str> = knot.iter().filter_map(|n| Some(&*txns.get(*n)?.name)).collect();
            let words = format!("G2: {} all come before each other", names.join(", "));
            found.push(Anomaly { kind: Kind::G2, beside, txns: knot, words });
        }
    }
    is_complete
}

/// The shortest circle of a class: where it begins, and its edges.
fn shortest<'g>(
    graph: &'g Graph<'g>,
    class: &Class,
    back: Kinds,
    knot: &BTreeSet<usize>,
    budget: &mut Budget,
) -> Option<(usize, Vec<&'g Edge<'g>>)> {
    let mut best: Option<(usize, Vec<&Edge<'_>>)> = None;
    let begins = knot.iter().flat_map(|from| {
        let edges = graph.edges(*from, class.begin.bit());
        edges.filter(|edge| knot.contains(&edge.to)).map(|edge| (*from, edge))
    });
    for (from, edge) in begins.take(TRIED_MAX) {
        if budget.0 == 0 || best.as_ref().is_some_and(|(_, best)| best.len() == 2) {
            break;
        }
        let Some(way) = graph.way((edge.to, from), back, knot, budget) else { continue };
        if best.as_ref().is_none_or(|(_, best)| way.len() + 1 < best.len()) {
            best = Some((from, [vec![edge], way].concat()));
        }
    }
    best
}

/// `G-single: A before B: ...; B before A: ...`
fn tell(txns: &[Txn], kind: Kind, beside: Beside, from: usize, circle: &[&Edge<'_>]) -> Anomaly {
    let with = match beside {
        Beside::Nothing => "",
        Beside::Session => " with sessions",
        Beside::RealTime => " in real time",
    };
    let mut sentences = Vec::new();
    let (mut members, mut at, mut last) = (Vec::new(), from, from);
    for edge in circle {
        if at < txns.len() {
            members.push(at);
            last = at;
        }
        at = edge.to;
        // Barriers stand between two transactions.
        if at < txns.len() {
            let (one, other) = (&txns[last].name, &txns[at].name);
            sentences
                .push(format!("{one} comes before {other}: {}", why(edge, one, other, beside)));
        }
    }
    let words = format!("{}{with}: {}", kind.name(), sentences.join("; "));
    Anomaly { kind, beside, txns: members, words }
}

fn why(edge: &Edge<'_>, one: &str, other: &str, beside: Beside) -> String {
    let (key, older, newer) = &edge.shown_by;
    let value = |of: &Option<i64>| of.map_or("absent".to_owned(), |value| value.to_string());
    let (older, newer) = (value(older), value(newer));
    match edge.why {
        Why::Ww => format!("{other} wrote {newer} to {key} over its {older}"),
        Why::Wr => format!("{other} read its {newer} of {key}"),
        Why::Rw => format!("{one} read {key} as {older}, without the {newer} of {other}"),
        Why::RwRange => format!("{one} read a range without {key}, to which {other} wrote {newer}"),
        Why::Beside if beside == Beside::Session => "the same process ran it later".to_owned(),
        Why::Beside => format!("it was over before {other} began"),
    }
}
