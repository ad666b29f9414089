//! What is kept of a run whose events are recorded.

use orloj_invariants::{About, Moment, show_bytes};
use orloj_net::words::HiddenKey;
use orloj_sim::{
    Look, Report,
    choice::Choice,
    graph::{Graph, Kind},
};

use crate::ledger::Ledger;

/// What happened in a run, and why.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Events and their causes.
    pub graph: Graph,
    /// Every choice, in order.
    pub choices: Vec<Choice>,
    /// What the actors were like where the run was stopped.
    pub looks: Vec<Look>,
    /// Of a run that broke a law: what the keys concerned went through.
    pub ledger: Vec<Ledger>,
}

impl Record {
    /// What a report has of it.
    pub(crate) fn taken(report: &mut Report) -> Option<Record> {
        let graph = report.graph.take()?;
        let choices = report.recorded.take().unwrap_or_default();
        let looks = std::mem::take(&mut report.looks);
        Some(Record { graph, choices, looks, ledger: Vec::new() })
    }
}

/// What a violation is about, as words in a line.
pub(crate) struct Words {
    ops: Vec<u64>,
    words: Vec<String>,
}

impl Words {
    pub(crate) fn of(about: &About) -> Words {
        let ops = about.ops.iter().map(|op| crate::recorder::number(*op)).collect();
        let plain = |key: &orloj_net::Key| format!(" {} ", show_bytes(key));
        let hidden = |key: &orloj_net::Key| format!("{:?}", HiddenKey(key));
        let words = about.keys.iter().flat_map(|key| [plain(key), hidden(key)]).collect();
        Words { ops, words }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.words.is_empty()
    }

    /// Whether an event is about it.
    pub(crate) fn touch(&self, event: &orloj_sim::graph::Event) -> bool {
        if event.operation.is_some_and(|op| self.ops.contains(&op)) {
            return true;
        }
        let told = matches!(event.kind, Kind::Story | Kind::Begin | Kind::Step | Kind::End);
        told && !self.words.is_empty() && {
            let line = format!("{} ", event.text.replace([',', ':'], " "));
            self.words.iter().any(|word| line.contains(word.as_str()))
        }
    }
}

/// Of the lines that touch a key, how many count as part of a violation.
const TOUCHING: usize = 4;

/// The events that a violation touches: those of its requests, the last that touch its keys; if it
/// names neither, the last line before it.
pub(crate) fn roots(graph: &Graph, when: Moment, about: &About) -> Vec<u32> {
    let words = Words::of(about);
    let end = graph.events.partition_point(|event| event.at <= when.0);
    let before = || (0..end as u32).rev().map(|id| (&graph.events[id as usize], id));
    let told = |kind| matches!(kind, Kind::Story | Kind::Begin | Kind::Step | Kind::End);
    let broken = before().find(|(event, _)| event.kind == Kind::Broken);
    let mut roots: Vec<u32> = broken.map(|(_, id)| id).into_iter().collect();
    if words.is_empty() && !roots.is_empty() {
        return roots;
    }
    let of_ops =
        |event: &orloj_sim::graph::Event| event.operation.is_some_and(|op| words.ops.contains(&op));
    // Where the law was found broken: a recovery, a reading, an answer.
    roots.extend(before().find(|(event, _)| told(event.kind)).map(|(_, id)| id));
    // An answer may have come after the law was broken and yet belong to what broke it.
    roots.extend(graph.events.iter().zip(0..).filter(|(e, _)| of_ops(e)).map(|(_, id)| id));
    let touching = before().filter(|(event, _)| !of_ops(event) && words.touch(event));
    roots.extend(touching.take(TOUCHING).map(|(_, id)| id));
    roots.sort_unstable();
    roots.dedup();
    roots
}
