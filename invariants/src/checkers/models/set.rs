//! Members that come and go.

use std::collections::BTreeSet;

use super::told;
use crate::checkers::linearizability::Sequential;

/// Numbers, none at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Set;

/// What a set is asked. Whole reads answer with the members in order; the others with one number,
/// 1 if it was a member (or, of `Add`, has become one) and 0 if not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetOp {
    /// All members.
    Read,
    /// Whether this is one.
    Has(i64),
    /// This becomes one.
    Add(i64),
    /// This is one no more.
    Remove(i64),
}

impl Sequential for Set {
    type State = BTreeSet<i64>;
    type Input = SetOp;
    type Output = Vec<i64>;

    fn initial(&self) -> BTreeSet<i64> {
        BTreeSet::new()
    }

    fn step(
        &self,
        state: &BTreeSet<i64>,
        input: &SetOp,
        output: Option<&Vec<i64>>,
        next: &mut Vec<BTreeSet<i64>>,
    ) {
        let mut after = state.clone();
        let right = match input {
            SetOp::Read => output.is_none_or(|all| all.iter().eq(state)),
            SetOp::Has(it) => is(output, state.contains(it)),
            SetOp::Add(it) => is(output, after.insert(*it)),
            SetOp::Remove(it) => is(output, after.remove(it)),
        };
        next.extend(right.then_some(after));
    }

    fn is_read(&self, input: &SetOp) -> bool {
        matches!(input, SetOp::Read | SetOp::Has(_))
    }

    fn show(&self, input: &SetOp, output: Option<&Vec<i64>>) -> String {
        let told = told(output);
        match input {
            SetOp::Read => format!("read: {told}"),
            SetOp::Has(it) => format!("has {it}: {told}"),
            SetOp::Add(it) => format!("add {it}: {told}"),
            SetOp::Remove(it) => format!("remove {it}: {told}"),
        }
    }

    fn show_state(&self, state: &BTreeSet<i64>) -> String {
        format!("{state:?}")
    }
}

fn is(output: Option<&Vec<i64>>, truth: bool) -> bool {
    output.is_none_or(|output| output[..] == [i64::from(truth)])
}
