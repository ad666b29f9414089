//! The definition itself: every permutation of every subset that holds what was answered.

use super::{Call, Sequential};

/// Whether some order explains the calls. For a handful of them.
pub(super) fn holds<M: Sequential>(model: &M, calls: &[Call<M::Input, M::Output>]) -> bool {
    place(model, calls, &mut vec![false; calls.len()], &mut Vec::new(), &model.initial())
}

fn place<M: Sequential>(
    model: &M,
    calls: &[Call<M::Input, M::Output>],
    placed: &mut Vec<bool>,
    order: &mut Vec<usize>,
    state: &M::State,
) -> bool {
    let mut left = (0..calls.len()).filter(|at| !placed[*at]);
    if left.all(|at| calls[at].answered.is_none()) {
        return true;
    }
    for at in 0..calls.len() {
        if placed[at] || !may_come(calls, order, at, placed) {
            continue;
        }
        let mut states = Vec::new();
        model.step(state, &calls[at].input, calls[at].output.as_ref(), &mut states);
        for next in states {
            placed[at] = true;
            order.push(at);
            let found = place(model, calls, placed, order, &next);
            order.pop();
            placed[at] = false;
            if found {
                return true;
            }
        }
    }
    false
}

/// Whether `at` may come behind `order`: nothing that is left out so far was answered before it was
/// called, and its process has kept its order.
fn may_come<I, O>(calls: &[Call<I, O>], order: &[usize], at: usize, placed: &[bool]) -> bool {
    let it = &calls[at];
    let is_before = |other: usize| {
        let is_same = calls[other].process == it.process;
        (calls[other].called, other) < (it.called, at) && is_same
    };
    let left_out = (0..calls.len()).filter(|other| !placed[*other] && *other != at);
    let mut known = left_out.filter(|other| calls[*other].answered.is_some());
    known.all(|other| {
        !is_before(other) && calls[other].answered.is_none_or(|answered| answered >= it.called)
    }) && order.iter().all(|other| calls[*other].process != it.process || is_before(*other))
}
