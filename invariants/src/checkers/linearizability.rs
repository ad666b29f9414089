//! Whether some order of operations explains what everybody was answered.
//!
//! A history is *linearizable* if every operation can be given one moment between its call and its
//! answer, so that a single thread doing them in that order would have answered the same (Herlihy
//! and Wing, TOPLAS 1990). To decide it is NP-hard (Gibbons and Korach, 1997), so every search has
//! a budget, and its end is [`Verdict::Unknown`], which is neither of the others.
//!
//! The search is Lowe's just-in-time linearization ("Testing for linearizability", 2017): nothing
//! takes effect before an answer asks for it, and a state that failed once is not tried again.
//! Three more things keep it short, none of which loses an order: an operation that never changes
//! anything takes effect as soon as its answer is right; among lost operations that are equal the
//! eldest goes first; and a state that was reached with more of the lost ones used up than one that
//! failed has failed too.

mod bits;
mod search;
mod words;

#[cfg(test)]
mod brute;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

/// What a single thread would do: the meaning of the operations.
pub trait Sequential {
    /// All that later answers depend on.
    type State: Clone + Ord;
    /// What is asked.
    type Input: Clone + PartialEq;
    /// What is answered.
    type Output: Clone;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// Pushes every state in which `input` may leave `state` if it is answered with `output`, or
    /// with anything where that is `None`. None if `output` is wrong.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
        next: &mut Vec<Self::State>,
    );

    /// Whether `input` leaves every state as it is.
    fn is_read(&self, input: &Self::Input) -> bool;

    /// The operation in words: `write 3`, `read: 4`.
    fn show(&self, input: &Self::Input, output: Option<&Self::Output>) -> String;

    /// The state in words.
    fn show_state(&self, state: &Self::State) -> String;

    /// Who asked, in words.
    fn show_process(&self, process: u32) -> String {
        format!("process {process}")
    }

    /// A time in words.
    fn show_time(&self, at: u64) -> String {
        at.to_string()
    }
}

/// One operation as it was seen from outside. One that is known to have had no effect is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<I, O> {
    /// Who asked. Operations of one process take effect in the order of their calls, so one that
    /// may still take effect after the process went on belongs to a process of its own.
    pub process: u32,
    /// What was asked.
    pub input: I,
    /// When it was called.
    pub called: u64,
    /// When it was answered. `None` if the answer was lost: it may have taken effect at any time
    /// since the call, may still do so, or never.
    pub answered: Option<u64>,
    /// The answer; `None` if it is unknown or does not matter.
    pub output: Option<O>,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds; the indices of the operations in an order that explains them all.
    Holds(Vec<usize>),
    /// It does not.
    Violated(Witness),
    /// The budget ended before either was known.
    Unknown,
}

/// Why no order explains a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The counterexample in words, naming the operations.
    pub words: String,
    /// The operation whose answer fits nowhere.
    pub stuck: usize,
    /// The longest order found for what was answered before it.
    pub before: Vec<usize>,
}

/// How long a search may be, in steps of the model. A second of one core of 2020 is some five
/// million of them for small states, and a step costs about 100 bytes of memory at worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(pub u64);

impl Default for Budget {
    /// Some seconds.
    fn default() -> Budget {
        Budget(20_000_000)
    }
}

/// Whether `calls` are linearizable. Takes from `budget` what the search uses.
///
/// # Panics
/// If an operation was answered before it was called.
pub fn linearizable<M: Sequential>(
    model: &M,
    calls: &[Call<M::Input, M::Output>],
    budget: &mut Budget,
) -> Verdict {
    search::Search::new(model, calls, budget).run()
}

/// What each part of a history is given before any is given more.
const FIRST_SLICE: u64 = 50_000;

/// The same of a history that falls into independent parts, each judged by itself: linearizability
/// is local. The first violation found, with the indices of `calls`; an order is not put together.
pub fn linearizable_by<M: Sequential, K: Ord>(
    model: &M,
    calls: &[Call<M::Input, M::Output>],
    key: impl Fn(&M::Input) -> K,
    budget: &mut Budget,
) -> Verdict {
    let mut parts: BTreeMap<K, Vec<usize>> = BTreeMap::new();
    for (at, call) in calls.iter().enumerate() {
        parts.entry(key(&call.input)).or_default().push(at);
    }
    // One hard part must not cost the others their turn.
    let mut open: Vec<Vec<usize>> = parts.into_values().collect();
    let mut slice = FIRST_SLICE;
    while !open.is_empty() && budget.0 > 0 {
        let mut unknown = Vec::new();
        for part in open {
            let some: Vec<_> = part.iter().map(|at| calls[*at].clone()).collect();
            let given = slice.min(budget.0);
            let mut own = Budget(given);
            let verdict = linearizable(model, &some, &mut own);
            budget.0 -= given - own.0;
            match verdict {
                Verdict::Holds(_) => {}
                Verdict::Unknown => unknown.push(part),
                Verdict::Violated(witness) => {
                    let before = witness.before.iter().map(|at| part[*at]).collect();
                    let stuck = part[witness.stuck];
                    return Verdict::Violated(Witness { before, stuck, ..witness });
                }
            }
        }
        open = unknown;
        slice = slice.saturating_mul(16);
    }
    if open.is_empty() { Verdict::Holds(Vec::new()) } else { Verdict::Unknown }
}
