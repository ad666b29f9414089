//! The laws of causal commands: one promise a file, each with what breaking it would cost.

mod acked_survives;
mod after_dependencies;
mod answers_true;
mod effects_need_ok;
mod events_in_order;
mod explained;
mod lane_order;
mod lane_sequence;
mod nothing_from_nowhere;
mod one_outcome;
mod progress;
mod recovery_same;
mod refusal_without_trace;
mod session_version;
mod steps_in_order;
mod upkeep_equivalent;

use std::collections::BTreeMap;

use orloj_net::envelope::{Envelope, Id};

use super::{Account, History, Item, Known, Operation, Place, Told, show_envelope, show_step};
use crate::{About, Moment, OpId, Violation};

/// A promise, and how to see that it is broken.
#[derive(Debug)]
pub struct CommandLaw {
    /// Its name in scenarios and reports.
    pub name: &'static str,
    /// The promise, in one sentence.
    pub promise: &'static str,
    check: fn(&Case<'_>) -> Result<(), Broken>,
}

/// Every law, those first whose breach explains the breach of others.
pub const COMMAND_LAWS: &[&CommandLaw] = &[
    &steps_in_order::LAW,
    &lane_sequence::LAW,
    &lane_order::LAW,
    &after_dependencies::LAW,
    &session_version::LAW,
    &nothing_from_nowhere::LAW,
    &refusal_without_trace::LAW,
    &one_outcome::LAW,
    &acked_survives::LAW,
    &explained::LAW,
    &effects_need_ok::LAW,
    &answers_true::LAW,
    &events_in_order::LAW,
    &recovery_same::LAW,
    &upkeep_equivalent::LAW,
    &progress::LAW,
];

/// Holds `history` to every law and returns the breaches, in the order of [`COMMAND_LAWS`].
pub fn judge(history: &History) -> Vec<Violation> {
    let case = Case::new(history);
    COMMAND_LAWS.iter().filter_map(|law| law.check(&case).err()).collect()
}

impl CommandLaw {
    fn check(&self, case: &Case<'_>) -> Result<(), Violation> {
        (self.check)(case).map_err(|broken| Violation {
            law: self.name,
            promise: self.promise,
            evidence: broken.evidence,
            when: broken.when,
            about: broken.about,
        })
    }
}

/// A history, and what can be told of it.
struct Case<'h> {
    history: &'h History,
    account: Account<'h>,
    /// Commands by the id of a request that they answer, accepted or repeated.
    answering: BTreeMap<Option<Id>, Vec<usize>>,
    asked: BTreeMap<Option<Id>, Vec<&'h Operation>>,
}

impl<'h> Case<'h> {
    fn new(history: &'h History) -> Case<'h> {
        let account = Account::new(history);
        let mut answering: BTreeMap<Option<Id>, Vec<usize>> = BTreeMap::new();
        for (index, known) in account.commands.iter().enumerate() {
            let repeats = known.repeated.iter().map(|(_, envelope)| *envelope);
            for envelope in std::iter::once(known.envelope).chain(repeats) {
                let indexes = answering.entry(envelope.id.clone()).or_default();
                if indexes.last() != Some(&index) {
                    indexes.push(index);
                }
            }
        }
        let mut asked: BTreeMap<Option<Id>, Vec<&Operation>> = BTreeMap::new();
        for op in &history.ops {
            asked.entry(op.envelope.id.clone()).or_default().push(op);
        }
        Case { history, account, answering, asked }
    }

    /// The commands that requests with this very envelope were, or repeated.
    fn answering(&self, envelope: &Envelope) -> impl Iterator<Item = &Known<'h>> {
        let indexes = self.answering.get(&envelope.id).into_iter().flatten();
        let known = indexes.map(|index| &self.account.commands[*index]);
        known.filter(move |known| {
            known.envelope == envelope || known.repeated.iter().any(|(_, e)| *e == envelope)
        })
    }

    /// The commands that were accepted with this very envelope, in whatever fork.
    fn accepted(&self, envelope: &Envelope) -> impl Iterator<Item = &Known<'h>> {
        self.answering(envelope).filter(move |known| known.envelope == envelope)
    }

    /// The requests with this very envelope.
    fn asking(&self, envelope: &Envelope) -> impl Iterator<Item = &'h Operation> {
        let asked = self.asked.get(&envelope.id).into_iter().flatten().copied();
        asked.filter(move |op| op.envelope == *envelope)
    }

    /// Holds every history without forks to a rule, step by step.
    fn each_step<S: Default>(
        &self,
        rule: impl Fn(&mut S, &'h Told) -> Result<(), String>,
    ) -> Result<(), Broken> {
        self.account.views(|items| {
            let mut state = S::default();
            for item in items {
                let Item::Step(place) = item else { continue };
                let told = self.account.told(*place);
                rule(&mut state, told).map_err(|why| self.wrong(*place, why))?;
            }
            Ok(())
        })
    }

    /// A step that is wrong, and why.
    fn wrong(&self, place: Place, why: String) -> Broken {
        let told = self.account.told(place);
        let known = self.account.commands.iter().find(|known| {
            let finished = known.finished.iter().any(|(at, _)| *at == place);
            known.accepted == place || known.started.contains(&place) || finished
        });
        let who = known.map_or(String::new(), |known| {
            format!(" ({}: {})", known.id, show_envelope(known.envelope))
        });
        let evidence = format!("{}{who}, in life {}: {why}", show_step(told), place.life);
        let ops = known.into_iter().flat_map(|known| self.asking(known.envelope));
        Broken::new(told.seen, evidence).ops(ops.map(|op| op.id))
    }
}

/// A breach before the law has put its name to it.
#[derive(Debug)]
struct Broken {
    evidence: String,
    when: Moment,
    about: About,
}

impl Broken {
    fn new(when: Moment, evidence: String) -> Broken {
        Broken { evidence, when, about: About::default() }
    }

    fn ops(mut self, ops: impl IntoIterator<Item = OpId>) -> Broken {
        self.about.ops.extend(ops);
        self
    }
}
