//! The laws: one promise a file, each with what breaking it would cost.

mod acked_is_durable;
mod exactly_one_reply;
mod linearizable;
mod model_equal;
mod nothing_from_nowhere;
mod progress;
mod real_time;
mod recovery_idempotent;
mod refusal_is_definite;
mod replies_in_order;
mod unknown_resolved;

use orloj_net::{Answer, Key, Refusal};

use crate::{Executed, History, Moment, OpId, Timeline, show_answer, show_command};

/// A promise, and how to see that it is broken.
#[derive(Debug)]
pub struct Law {
    /// Its name in scenarios and reports.
    pub name: &'static str,
    /// The promise, in one sentence.
    pub promise: &'static str,
    check: fn(&Timeline<'_>) -> Result<(), Broken>,
}

/// Every law, those first whose breach explains the breach of others.
pub const LAWS: &[&Law] = &[
    &exactly_one_reply::LAW,
    &replies_in_order::LAW,
    &nothing_from_nowhere::LAW,
    &real_time::LAW,
    &acked_is_durable::LAW,
    &model_equal::LAW,
    &refusal_is_definite::LAW,
    &unknown_resolved::LAW,
    &recovery_idempotent::LAW,
    &progress::LAW,
    &linearizable::LAW,
];

/// A law that does not hold, and what contradicts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The law's name.
    pub law: &'static str,
    /// Its promise.
    pub promise: &'static str,
    /// What contradicts it.
    pub evidence: String,
    /// When the contradiction was complete.
    pub when: Moment,
    /// What it touches.
    pub about: About,
}

/// The requests and keys a violation touches, so that a report can show the events that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Requests.
    pub ops: Vec<OpId>,
    /// Keys.
    pub keys: Vec<Key>,
}

/// Holds `history` to every law and returns the breaches, in the order of [`LAWS`].
pub fn judge(history: &History) -> Vec<Violation> {
    let timeline = Timeline::new(history);
    LAWS.iter().filter_map(|law| law.check(&timeline).err()).collect()
}

impl Law {
    /// Holds a history to this law.
    ///
    /// # Errors
    /// The first breach found.
    pub fn check(&self, timeline: &Timeline<'_>) -> Result<(), Violation> {
        (self.check)(timeline).map_err(|broken| Violation {
            law: self.name,
            promise: self.promise,
            evidence: broken.evidence,
            when: broken.when,
            about: broken.about,
        })
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

    /// A breach that shows in one executed command.
    fn at(executed: &Executed, evidence: String) -> Broken {
        Broken::new(executed.seen, evidence).op(executed.op).keys(executed.command.keys())
    }

    fn op(mut self, op: impl IntoIterator<Item = OpId>) -> Broken {
        self.about.ops.extend(op);
        self
    }

    fn keys<'k>(mut self, keys: impl IntoIterator<Item = &'k Key>) -> Broken {
        self.about.keys.extend(keys.into_iter().cloned());
        self
    }
}

/// `client 3, request 57 (GET k) at version 12`
fn who(executed: &Executed) -> String {
    let op = executed.op.map_or("a request nobody sent".to_owned(), |op| op.to_string());
    format!("{op} ({}) at version {}", show_command(&executed.command), executed.version)
}

/// `who`, and what it was answered.
fn who_heard(executed: &Executed) -> String {
    format!("{} answered {}", who(executed), show_answer(&executed.answer))
}

/// Whether an answer may be given without asking the store, or instead of the store's: it speaks of
/// the node's state and shows nothing of the data's.
fn is_gate(answer: &Answer) -> bool {
    matches!(
        answer,
        Answer::Error(
            Refusal::Loading
                | Refusal::OutOfMemory
                | Refusal::JournalFailed
                | Refusal::Unreadable
                | Refusal::ReadOnly
                | Refusal::Overloaded
                | Refusal::ShuttingDown
        )
    )
}
