//! A number that is added to.

use super::told;
use crate::checkers::linearizability::Sequential;

/// A number, 0 at first. Every operation answers with it as it is afterwards.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter;

/// What a counter is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CounterOp {
    /// The number.
    Read,
    /// Adds this.
    Add(i64),
}

impl Sequential for Counter {
    type State = i64;
    type Input = CounterOp;
    type Output = i64;

    fn initial(&self) -> i64 {
        0
    }

    fn step(&self, state: &i64, input: &CounterOp, output: Option<&i64>, next: &mut Vec<i64>) {
        let after = match input {
            CounterOp::Read => *state,
            CounterOp::Add(by) => state.wrapping_add(*by),
        };
        next.extend(output.is_none_or(|output| *output == after).then_some(after));
    }

    fn is_read(&self, input: &CounterOp) -> bool {
        matches!(input, CounterOp::Read)
    }

    fn show(&self, input: &CounterOp, output: Option<&i64>) -> String {
        match input {
            CounterOp::Read => format!("read: {}", told(output)),
            CounterOp::Add(by) => format!("add {by}: {}", told(output)),
        }
    }

    fn show_state(&self, state: &i64) -> String {
        state.to_string()
    }
}
