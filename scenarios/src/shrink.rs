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
    /// The share of the time that is left, from 1 to 0.
    fn left(&self) -> f64;

    /// Whether the time is over.
    fn is_over(&self) -> bool {
        self.left() <= 0.0
    }
}

/// The same, until only a share of the time is left.
struct Until<'t>(&'t dyn Trials, f64);

impl Trials for Until<'_> {
    fn first(&self, cases: &[Case], need: usize) -> Option<usize> {
        if self.is_over() { None } else { self.0.first(cases, need) }
    }
    fn failures(&self, case: &Case) -> usize {
        self.0.failures(case)
    }
    fn left(&self) -> f64 {
        self.0.left() - self.1
    }
}

/// The smallest case that was found in time. `case` breaks its law under one schedule at least.
pub fn shrink(case: Case, trials: &dyn Trials) -> Case {
    let mut need = 1;
    let mut case = passes::last(passes::sooner(case, trials), trials);
    case = passes::window(passes::cut_off(case, trials), trials);
    for (round, (smaller_until, steadier_until)) in SHARES.iter().enumerate() {
        case = smaller(case, &Until(trials, *smaller_until), need);
        if case.ops() > SMALL || case.strikes.len() > FEW {
            continue;
        }
        let before = case.clone();
        case = passes::steadied(case, &Until(trials, *steadier_until));
        need = half(trials.failures(&case));
        if round > 0 && case == before {
            break;
        }
    }
    passes::mark(case, trials)
}

/// What is made steadier has no more operations than this, and no more strikes than that.
const SMALL: usize = 40;
const FEW: usize = 4;

/// For each round, in which a case is made smaller and then steadier: the shares of the time that
/// are left then. What is left at the end is for the marks.
const SHARES: &[(f64, f64)] = &[(0.35, 0.28), (0.18, 0.12), (0.1, 0.08)];

/// A smaller case may fail half as often as the one before.
fn half(failures: usize) -> usize {
    failures.div_ceil(2).max(1)
}

/// The same, until nothing can be taken away.
fn smaller(mut case: Case, trials: &dyn Trials, need: usize) -> Case {
    loop {
        let before = case.clone();
        // What is calm runs faster: if all of it can be, that comes first.
        case = passes::calm_at_once(case, trials, need);
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
