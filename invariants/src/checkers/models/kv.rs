//! One key of a store of texts. Every key is a history of its own
//! ([`linearizable_by`](crate::checkers::linearizability::linearizable_by) and [`KvOp::key`]).

use super::told;
use crate::checkers::linearizability::Sequential;

/// A text, absent at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kv;

/// What a key is asked. Reads answer with the text, the others with nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KvOp {
    /// The text.
    Get(String),
    /// Becomes this.
    Put(String, String),
    /// This comes behind it; an absent text counts as empty.
    Append(String, String),
    /// Is absent from then on.
    Delete(String),
}

impl KvOp {
    /// The key it is about.
    pub fn key(&self) -> String {
        let (KvOp::Get(key) | KvOp::Put(key, _) | KvOp::Append(key, _) | KvOp::Delete(key)) = self;
        key.clone()
    }
}

impl Sequential for Kv {
    type State = Option<String>;
    type Input = KvOp;
    type Output = Option<String>;

    fn initial(&self) -> Option<String> {
        None
    }

    fn step(
        &self,
        state: &Option<String>,
        input: &KvOp,
        output: Option<&Option<String>>,
        next: &mut Vec<Option<String>>,
    ) {
        match input {
            KvOp::Get(_) => {
                let right = output.is_none_or(|output| output == state);
                next.extend(right.then(|| state.clone()));
            }
            KvOp::Put(_, text) => next.push(Some(text.clone())),
            KvOp::Append(_, more) => {
                next.push(Some(format!("{}{more}", state.as_deref().unwrap_or_default())));
            }
            KvOp::Delete(_) => next.push(None),
        }
    }

    fn is_read(&self, input: &KvOp) -> bool {
        matches!(input, KvOp::Get(_))
    }

    fn show(&self, input: &KvOp, output: Option<&Option<String>>) -> String {
        match input {
            KvOp::Get(key) => match output {
                Some(None) => format!("get {key}: nothing"),
                Some(Some(text)) => format!("get {key}: {text:?}"),
                None => format!("get {key}: {}", told(output)),
            },
            KvOp::Put(key, text) => format!("put {key} {text:?}"),
            KvOp::Append(key, more) => format!("append {key} {more:?}"),
            KvOp::Delete(key) => format!("delete {key}"),
        }
    }

    fn show_state(&self, state: &Option<String>) -> String {
        state.as_ref().map_or("nothing".to_owned(), |text| format!("{text:?}"))
    }
}
