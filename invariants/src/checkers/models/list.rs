//! A list that is appended to and taken from.

use super::told;
use crate::checkers::linearizability::Sequential;

/// Numbers in order, none at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct List;

/// What a list is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListOp {
    /// All of it.
    Read,
    /// Puts this at the end. Answers with one number, the length.
    Append(i64),
    /// Takes the first away. Answers with it, or with nothing.
    Take,
}

impl Sequential for List {
    type State = Vec<i64>;
    type Input = ListOp;
    type Output = Vec<i64>;

    fn initial(&self) -> Vec<i64> {
        Vec::new()
    }

    fn step(
        &self,
        state: &Vec<i64>,
        input: &ListOp,
        output: Option<&Vec<i64>>,
        next: &mut Vec<Vec<i64>>,
    ) {
        let is = |truth: &[i64]| output.is_none_or(|output| output == truth);
        match input {
            ListOp::Read => next.extend(is(state).then(|| state.clone())),
            ListOp::Append(it) if is(&[state.len() as i64 + 1]) => {
                next.push([state, &[*it][..]].concat());
            }
            ListOp::Append(_) => {}
            ListOp::Take => {
                let (first, rest) = state.split_at(state.len().min(1));
                next.extend(is(first).then(|| rest.to_vec()));
            }
        }
    }

    fn is_read(&self, input: &ListOp) -> bool {
        matches!(input, ListOp::Read)
    }

    fn show(&self, input: &ListOp, output: Option<&Vec<i64>>) -> String {
        let told = told(output);
        match input {
            ListOp::Read => format!("read: {told}"),
            ListOp::Append(it) => format!("append {it}: {told}"),
            ListOp::Take => format!("take: {told}"),
        }
    }

    fn show_state(&self, state: &Vec<i64>) -> String {
        format!("{state:?}")
    }
}
