//! Making a case smaller while the same law is broken.
//!
//! First what is large and easily let go of: what came after the end, whole clients, most
//! operations, by delta debugging (Zeller and Hildebrandt, IEEE TSE 2002). Then everything that
//! can be calm: rates, knobs, pauses, wrong clocks, the scheduler. Then what is left is made to
//! fail under as many schedules as can be, so that the case lasts. At the end each operation and
//! strike is taken out once more: without what is necessary nothing fails under any schedule.

mod ddmin;
mod passes;

pub use ddmin::minimise;

use crate::case::Case;

/// Who runs cases, and says whether they still fail.
pub trait Trials {
    /// The first of these that breaks its law under `need` schedules or more; `None` too when
    /// there is no time left.
    fn first(&self, cases: &[Case], need: usize) -> Option<usize>;
    /// Under how many schedules a case breaks its law.
    fn failures(&self, case: &Case) -> usize;
    /// Whether the time is over.
    fn is_over(&self) -> bool;
}

/// The smallest case that was found in time. `case` breaks its law under one schedule at least.
pub fn shrink(case: Case, trials: &dyn Trials) -> Case {
    let mut case = passes::cut_off(case, trials);
    let mut need = 1;
    for round in 0..ROUNDS {
        case = smaller(case, trials, need);
        let steady = passes::steadied(case.clone(), trials);
        if trials.is_over() || (round > 0 && steady == case) {
            break;
        }
        case = steady;
        need = (trials.failures(&case) * 2 / 3).max(1);
    }
    passes::mark(case, trials)
}

/// How often it is made smaller and steadier in turns, at most.
const ROUNDS: usize = 3;

/// The same, until nothing can be taken away.
fn smaller(mut case: Case, trials: &dyn Trials, need: usize) -> Case {
    loop {
        let before = case.clone();
        case = passes::fewer_strikes(case, trials, need);
        case = passes::fewer_clients(case, trials, need);
        case = passes::fewer_steps(case, trials, need);
        case = passes::calmer(case, trials, need);
        case = passes::rounder(case, trials, need);
        if case == before || trials.is_over() {
            return case;
        }
    }
}

#[cfg(test)]
mod tests;
