//! The laws of the engine: one promise a file, each with what breaking it would cost.

mod acked_is_durable;
mod anomalies;
mod cache_budget;
mod model_equal;
mod no_wrong_bytes;
mod progress;
mod real_time;
mod recovery_idempotent;
mod refusal_is_definite;
mod serializable;
mod snapshot_holds;

use super::{
    History, Look, Version,
    model::{Knowledge, Model},
};
use crate::{About, Moment, Violation, show_bytes};

/// A promise of the engine, and how to see that it is broken.
#[derive(Debug)]
pub struct EngineLaw {
    /// Its name in scenarios and reports.
    pub name: &'static str,
    /// The promise, in one sentence.
    pub promise: &'static str,
    check: fn(&Case<'_>) -> Result<(), Broken>,
}

/// Every law, those first whose breach explains the breach of others.
pub const ENGINE_LAWS: &[&EngineLaw] = &[
    &no_wrong_bytes::LAW,
    &refusal_is_definite::LAW,
    &acked_is_durable::LAW,
    &real_time::LAW,
    &model_equal::LAW,
    &serializable::LAW,
    &snapshot_holds::LAW,
    &recovery_idempotent::LAW,
    &cache_budget::LAW,
    &progress::LAW,
    &anomalies::LAW,
];

/// Holds `history` to every law and returns the breaches, in the order of [`ENGINE_LAWS`].
pub fn judge(history: &History) -> Vec<Violation> {
    let case = Case::new(history);
    ENGINE_LAWS.iter().filter_map(|law| law.check(&case).err()).collect()
}

impl EngineLaw {
    fn check(&self, case: &Case<'_>) -> Result<(), Violation> {
        (self.check)(case).map_err(|broken| Violation {
            law: self.name,
            promise: self.promise,
            evidence: broken.evidence,
            when: broken.when,
            about: About { ops: Vec::new(), keys: broken.keys },
        })
    }
}

/// A history, and what can be told of it.
struct Case<'h> {
    history: &'h History,
    knowledge: Knowledge<'h>,
    /// The map of versions in each stretch.
    models: Vec<Model>,
}

impl<'h> Case<'h> {
    fn new(history: &'h History) -> Case<'h> {
        let knowledge = Knowledge::new(history);
        let models = (0..history.spans.len()).map(|span| knowledge.model(span)).collect();
        Case { history, knowledge, models }
    }

    /// Whether a look shows what the model holds at version `at`; otherwise the first key at which
    /// it does not, and how.
    fn compare(&self, look: &Look, at: Version, span: usize) -> Result<(), (Vec<u8>, String)> {
        let model = &self.models[span];
        let mut found = look.found.iter().peekable();
        let mut keys = model.keys(look).peekable();
        loop {
            let key = match (keys.peek(), found.peek()) {
                (None, None) => return Ok(()),
                (Some(key), None) => *key,
                (None, Some(found)) => &found.key,
                (Some(key), Some(found)) => (*key).min(&found.key),
            };
            keys.next_if(|next| *next == key);
            let shown = found.next_if(|next| &next.key == key);
            let truth = model.get(look.keyspace, key, at);
            let why = match (truth, shown) {
                (Some(truth), Some(shown))
                    if truth.put.is_some()
                        && (truth.version, truth.write) == (shown.version, shown.write) =>
                {
                    let ended = truth.put.flatten().filter(|deadline| *deadline <= look.now.0);
                    let Some(deadline) = ended else { continue };
                    format!("its time had passed at {deadline}, and it was {}", look.now.0)
                }
                (truth, Some(shown)) => format!(
                    "write {} of version {} was shown, and the model has {}",
                    shown.write,
                    shown.version,
                    truth.map_or("nothing".to_owned(), show_entry)
                ),
                (Some(truth), None) => {
                    let Some(deadline) = truth.put else { continue };
                    let may_be_over = deadline.is_some_and(|deadline| deadline <= look.latest);
                    let range = (truth.version, at);
                    if may_be_over || self.knowledge.may_be_removed(look.keyspace, key, range, span)
                    {
                        continue;
                    }
                    format!("nothing was shown, and the model has {}", show_entry(truth))
                }
                (None, None) => continue,
            };
            let place = format!("key {} of keyspace {}", show_bytes(key), look.keyspace);
            return Err((key.clone(), format!("{place} at version {at}: {why}")));
        }
    }
}

fn show_entry(entry: super::model::Entry) -> String {
    let what = if entry.put.is_some() { "write" } else { "the deletion by write" };
    format!("{what} {} of version {}", entry.write, entry.version)
}

/// A breach before the law has put its name to it.
#[derive(Debug)]
struct Broken {
    evidence: String,
    when: Moment,
    keys: Vec<orloj_net::Key>,
}

impl Broken {
    fn new(when: Moment, evidence: String) -> Broken {
        Broken { evidence, when, keys: Vec::new() }
    }

    fn key(mut self, key: Vec<u8>) -> Broken {
        self.keys.push(key.into());
        self
    }
}
