//! Law: what was refused never happened.
//!
//! A conflict, a deadlock, a full disk: whoever is told so may do the same again, and must not find
//! it done twice.
//!
//! In strict mode nobody ever sees it. Where writes are shown before the journal has them, whoever
//! waited for the journal and is refused may have been seen by others until then; it was taken back
//! before he was told, and nobody sees it afterwards, recoveries included.
//!
//! Broken, a user who tries again pays twice.

use super::{Broken, Case, EngineLaw};
use crate::engine::Told;

pub(super) const LAW: EngineLaw = EngineLaw {
    name: "engine-refusal-is-definite",
    promise: "Nothing of a write that was refused is shown once that is said.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    for read in &case.history.reads {
        for found in &read.look.found {
            let how = match case.history.writes[found.write].told {
                Told::Refused => "refused",
                Told::TakenBack { span } if read.span.is_some_and(|seen| seen >= span) => {
                    "taken back"
                }
                _ => continue,
            };
            let (write, version) = (found.write, found.version);
            let what = format!("write {write} was {how} and is shown at version {version}");
            return Err(Broken::new(read.done, what).key(found.key.clone()));
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

    #[test]
    fn what_was_taken_back_may_have_been_shown_and_is_not_any_more() {
        let mut h = buffered(100);
        let w = h.put("k").unknown();
        h.shows(1, &[("k", 1, w)]);
        h.takes_back(0);
        h.is_told_so(w);
        h.shows(0, &[]);
        h.holds();
        let mut again = h.clone();
        again.shows(1, &[("k", 1, w)]);
        again.breaks(LAW, "write 0 was taken back");
        h.crash(1);
        h.shows(1, &[("k", 1, w)]);
        h.breaks(LAW, "write 0 was taken back");
    }
}
