//! Law: if one operation completed before another was invoked, the second saw a state at least as
//! new as the first did.
//!
//! Source: Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects",
//! TOPLAS
//! 1990. With a commit version as witness of each operation it is checked in linear time; across a
//! crash it follows from `acked-is-durable` and from versions never falling below what was
//! recovered.
//!
//! Broken, a user who was told of a write reads the value from before it.

use super::{Broken, Law, who};
use crate::{End, Moment, Operation, Place, Timeline};

pub(super) const LAW: Law = Law {
    name: "real-time",
    promise: "An operation sees everything that was completed before it was invoked.",
    check,
};

fn check(timeline: &Timeline<'_>) -> Result<(), Broken> {
    for life in 0..timeline.history.lives.len() {
        let mut asked: Vec<(&Operation, Place)> = Vec::new();
        for (position, executed) in timeline.history.lives[life].executed.iter().enumerate() {
            let op = executed.op.and_then(|id| timeline.op(id));
            asked.extend(op.map(|op| (op, Place { life, position })));
        }
        let mut done: Vec<(Moment, Place)> = Vec::new();
        for (op, place) in &asked {
            if let End::Answered { at, .. } = op.end {
                done.push((at, *place));
            }
        }
        asked.sort_by_key(|(op, _)| op.invoked);
        done.sort();
        newer_than_done(timeline, &asked, &done)?;
    }
    Ok(())
}

/// One sweep over both lists: `newest` is the newest state anybody had been shown by then.
fn newer_than_done(
    timeline: &Timeline<'_>,
    asked: &[(&Operation, Place)],
    done: &[(Moment, Place)],
) -> Result<(), Broken> {
    let mut done = done.iter().peekable();
    let mut newest: Option<Place> = None;
    for (op, place) in asked {
        while let Some((_, shown)) = done.next_if(|(at, _)| *at < op.invoked) {
            let version = |place: &Place| timeline.executed(*place).version;
            if newest.is_none_or(|newest| version(shown) > version(&newest)) {
                newest = Some(*shown);
            }
        }
        let Some(newest) = newest else { continue };
        let (before, after) = (timeline.executed(newest), timeline.executed(*place));
        if after.version < before.version {
            let evidence = format!("{} came back before {} was sent", who(before), who(after));
            return Err(Broken::at(after, evidence).op(before.op).keys(before.command.keys()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::LAW;
    use crate::testing::*;

    #[test]
    fn overlapping_operations_may_see_either_state() {
        let mut h = strict();
        let read = h.op(0, get("k")).id();
        h.op(1, set("k", "a")).runs(1, ok()).answers(ok());
        h.again(read).runs(0, nil()).answers(nil());
        h.holds(&LAW);
    }

    #[test]
    fn a_stale_read_is_found() {
        let mut h = strict();
        h.op(1, set("k", "a")).runs(1, ok()).answers(ok());
        h.op(0, get("k")).runs(0, nil()).answers(nil());
        h.breaks(&LAW, "(SET k a) at version 1 came back before client 0, request 0 (GET k)");
    }

    #[test]
    fn a_read_that_shows_a_write_binds_later_reads() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok());
        h.op(1, get("k")).runs(1, bulk("a")).answers(bulk("a"));
        h.op(2, get("k")).runs(0, nil()).answers(nil());
        h.breaks(&LAW, "client 1, request 0 (GET k) at version 1 came back before client 2");
    }

    #[test]
    fn versions_start_again_after_a_loss() {
        let mut h = buffered(1_000);
        h.op(0, set("k", "a")).runs(1, ok()).answers(ok());
        h.op(0, set("k", "b")).runs(2, ok()).answers(ok());
        h.power_loss().recovers(0);
        h.op(0, get("k")).runs(0, nil()).answers(nil());
        h.holds(&LAW);
    }
}
