//! Law: what was refused never happened.
//!
//! A conflict, a deadlock, a full disk: whoever is told so may do the same again, and must not find
//! it done twice.
//!
//! Broken, a user who tries again pays twice.

use super::{Broken, Case, EngineLaw};
use crate::engine::Told;

pub(super) const LAW: EngineLaw = EngineLaw {
    name: "engine-refusal-is-definite",
    promise: "Nothing of a write that was refused is ever shown.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    for read in &case.history.reads {
        for found in &read.look.found {
            if case.history.writes[found.write].told == Told::Refused {
                let what = format!(
                    "write {} was refused and is shown at version {}",
                    found.write, found.version
                );
                return Err(Broken::new(read.done, what).key(found.key.clone()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::*;

    const LAW: &str = "engine-refusal-is-definite";

    #[test]
    fn what_was_refused_and_is_shown_is_found() {
        let mut h = strict();
        let w = h.put("k").refused();
        h.shows(3, &[]);
        h.holds();
        h.shows(3, &[("k", 2, w)]);
        h.breaks(LAW, "write 0 was refused");
    }
}
