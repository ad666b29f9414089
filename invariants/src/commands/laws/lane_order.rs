//! Law: a lane has one command at work, and comes to its commands in the order of their acceptance.
//!
//! Source: specification of causal commands, section 1 and P3.
//!
//! Broken, a session's second command finds the state from before its first.

use std::collections::{BTreeMap, BTreeSet};

use orloj_net::envelope::SessionName;

use super::{Broken, Case, CommandLaw};
use crate::commands::What;

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "lane-order",
    promise: "Within a session effects happen in the order of admission.",
    check,
};

#[derive(Default)]
struct Lanes {
    of: BTreeMap<u64, Option<SessionName>>,
    /// Rows without an outcome.
    open: BTreeMap<Option<SessionName>, BTreeSet<u64>>,
}

fn check(case: &Case<'_>) -> Result<(), Broken> {
    case.each_step(|lanes: &mut Lanes, told| {
        let (row, takes_effect) = match &told.what {
            What::Accepted { row, envelope, .. } => {
                lanes.of.insert(*row, envelope.session.clone());
                lanes.open.entry(envelope.session.clone()).or_default().insert(*row);
                return Ok(());
            }
            What::Started { row } => (row, true),
            What::Finished { row, outcome } => (row, outcome.end.is_ok()),
            _ => return Ok(()),
        };
        let Some(lane) = lanes.of.get(row) else { return Ok(()) };
        let open = lanes.open.entry(lane.clone()).or_default();
        if let Some(first) = open.first().filter(|first| takes_effect && *first < row) {
            return Err(format!("row {first} is before it on its lane and has no outcome"));
        }
        if matches!(told.what, What::Finished { .. }) {
            open.remove(row);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use orloj_net::envelope::End;

    use super::LAW;
    use crate::commands::testing::*;

    #[test]
    fn one_after_the_other_holds() {
        let mut h = strict();
        h.turn();
        let first = h.sends(&data(set("k", "a")));
        let second = h.sends(&data(get("k")));
        h.starts(first);
        h.ends(first, End::Ok(ok()));
        h.starts(second);
        h.ends(second, End::Ok(bulk("a")));
        h.holds();
    }

    #[test]
    fn whoever_times_out_in_the_queue_stops_nobody() {
        let mut h = strict();
        h.turn();
        let first = h.sends(&data(set("k", "a")).timeout(std::time::Duration::from_millis(1)));
        let second = h.sends(&data(get("k")));
        h.turn();
        h.ends(first, timed_out());
        h.starts(second);
        h.ends(second, End::Ok(nil()));
        h.holds();
    }

    #[test]
    fn an_overtaking_is_found() {
        let mut h = strict();
        h.turn();
        let first = h.sends(&data(set("k", "a")));
        let second = h.sends(&data(get("k")));
        h.starts(second);
        h.ends(second, End::Ok(nil()));
        h.starts(first);
        h.ends(first, End::Ok(ok()));
        h.breaks(LAW.name, "row 1 is before it on its lane");
    }

    #[test]
    fn two_at_work_are_found() {
        let mut h = strict();
        h.turn();
        let first = h.sends(&data(set("k", "a")));
        let second = h.sends(&data(get("k")));
        h.starts(first);
        h.starts(second);
        h.breaks(LAW.name, "row 1 is before it on its lane");
    }
}
