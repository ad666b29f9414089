//! Law: every value that is shown is one that was written there, byte for byte, and of the version
//! it is said to be of.
//!
//! A value names its write, so a byte of another key, of another version, of a page that was never
//! written or of a torn one is told apart from all that may be shown.
//!
//! Broken, the database lies.

use super::{Broken, Case, EngineLaw};

pub(super) const LAW: EngineLaw = EngineLaw {
    name: "engine-no-wrong-bytes",
    promise: "Every value that is shown was written to that key, byte for byte, at that version.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    let wrong = case.history.wrong.first();
    if let Some((when, what)) = wrong.or(case.knowledge.contradictions.first()) {
        return Err(Broken::new(*when, what.clone()));
    }
    for read in &case.history.reads {
        for found in &read.look.found {
            let write = &case.history.writes[found.write];
            if write.invoked > read.done {
                let what = format!("write {} was shown before it was asked for", found.write);
                return Err(Broken::new(read.done, what).key(found.key.clone()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::*;

    const LAW: &str = "engine-no-wrong-bytes";

    #[test]
    fn a_value_that_nobody_wrote_is_found() {
        let mut h = strict();
        h.put("k").at(1);
        h.history.wrong.push((crate::Moment(9), "key k: 7 bytes".into()));
        h.breaks(LAW, "key k: 7 bytes");
    }

    #[test]
    fn one_write_has_one_version() {
        let mut h = strict();
        let w = h.put("k").at(1);
        h.shows(5, &[("k", 2, w)]);
        h.breaks(LAW, "write 0 has version 1 and was shown with version 2");
    }
}
