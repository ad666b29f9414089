//! Law: when nothing is wrong any more, everything works and comes to its end.
//!
//! The database opens, takes writes again after its disk was full, and answers everybody. Only
//! transactions that lose to others may fail.
//!
//! Broken, an operator has to restart what only had a bad minute.

use super::{Broken, Case, EngineLaw};

pub(super) const LAW: EngineLaw = EngineLaw {
    name: "engine-progress",
    promise: "When faults stop, everything that is asked is done.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    match case.history.failures.first() {
        Some(failure) => Err(Broken::new(failure.at, failure.what.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::{Failure, testing::*};

    #[test]
    fn a_failure_in_calm_is_found() {
        let mut h = strict();
        h.history.failures.push(Failure { at: crate::Moment(1), what: "put: read-only".into() });
        h.breaks("engine-progress", "put: read-only");
    }
}
