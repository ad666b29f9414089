//! Law: a write that was acknowledged before another was asked for has the lower version.
//!
//! Source: linearizability (Herlihy and Wing, TOPLAS 1990); for transactions, strict
//! serializability.
//!
//! Broken, an effect comes before its cause.

use super::{Broken, Case, EngineLaw};
use crate::engine::Told;

pub(super) const LAW: EngineLaw = EngineLaw {
    name: "engine-real-time",
    promise: "A write has a higher version than every write that was acknowledged before it.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    for (id, write) in case.history.writes.iter().enumerate() {
        let Told::Version { at, span, version, .. } = write.told else { continue };
        // Where history was taken back meanwhile, versions are given again.
        if span == write.span && version <= write.after {
            let what = format!(
                "write {id} was given version {version}, and version {} had been acknowledged \
                 before it was asked for",
                write.after
            );
            return Err(Broken::new(at, what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::*;

    #[test]
    fn a_version_that_was_given_before_is_found() {
        let mut h = strict();
        h.put("k").at(2);
        h.put("j").at(1);
        h.breaks("engine-real-time", "write 1 was given version 1");
    }
}
