//! A value that is read, written and compared.

use crate::checkers::linearizability::Sequential;

/// One value, absent at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

/// What a register is asked. Reads answer with the value; the others answer whether they wrote,
/// as 1 and 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RegisterOp {
    /// The value.
    Read,
    /// Becomes this.
    Write(i64),
    /// Becomes the second if it is the first.
    Cas(Option<i64>, i64),
}

impl Sequential for Register {
    type State = Option<i64>;
    type Input = RegisterOp;
    type Output = Option<i64>;

    fn initial(&self) -> Option<i64> {
        None
    }

    fn step(
        &self,
        state: &Option<i64>,
        input: &RegisterOp,
        output: Option<&Option<i64>>,
        next: &mut Vec<Option<i64>>,
    ) {
        let (after, answer) = match input {
            RegisterOp::Read => (*state, *state),
            RegisterOp::Write(value) => (Some(*value), Some(1)),
            RegisterOp::Cas(from, to) if state == from => (Some(*to), Some(1)),
            RegisterOp::Cas(..) => (*state, Some(0)),
        };
        next.extend(output.is_none_or(|output| *output == answer).then_some(after));
    }

    fn is_read(&self, input: &RegisterOp) -> bool {
        matches!(input, RegisterOp::Read)
    }

    fn show(&self, input: &RegisterOp, output: Option<&Option<i64>>) -> String {
        let done = match output {
            Some(Some(1)) => "",
            Some(_) => ", which it did not",
            None => ", or not",
        };
        match input {
            RegisterOp::Read => format!("read: {}", output.map_or("?".to_owned(), value)),
            RegisterOp::Write(to) => format!("write {to}"),
            RegisterOp::Cas(from, to) => format!("from {} to {to}{done}", value(from)),
        }
    }

    fn show_state(&self, state: &Option<i64>) -> String {
        value(state)
    }
}

fn value(of: &Option<i64>) -> String {
    of.map_or("nothing".to_owned(), |value| value.to_string())
}
