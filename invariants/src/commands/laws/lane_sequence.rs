//! Law: the steps of a lane are numbered from 1 on, without a gap, across restarts. A session that
//! is made again when nothing is left of the one before has a lane of its own.
//!
//! Source: specification of causal commands, section 9 and P6.
//!
//! Broken, whoever follows a lane cannot tell whether it missed something.

use std::collections::BTreeMap;

use orloj_net::envelope::SessionName;

use super::{Broken, Case, CommandLaw};
use crate::commands::What;

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "lane-sequence",
    promise: "The lane sequence rises by exactly 1 per step of its lane, across restarts.",
    check,
};

#[derive(Default)]
struct Lanes {
    /// The lane of a row.
    of: BTreeMap<u64, Option<SessionName>>,
    last: BTreeMap<Option<SessionName>, u64>,
}

fn check(case: &Case<'_>) -> Result<(), Broken> {
    case.each_step(|lanes: &mut Lanes, told| {
        let row = match &told.what {
            What::Accepted { row, envelope, .. } => {
                lanes.of.insert(*row, envelope.session.clone());
                row
            }
            What::Started { row } | What::Finished { row, .. } => row,
            What::Forgotten { session } => {
                lanes.last.remove(&Some(session.clone()));
                return Ok(());
            }
            _ => return Ok(()),
        };
        // What was never accepted is `steps-in-order`'s matter.
        let Some(lane) = lanes.of.get(row) else { return Ok(()) };
        let last = lanes.last.entry(lane.clone()).or_default();
        *last += 1;
        if told.lane_sequence == *last {
            return Ok(());
        }
        let lane = lane.as_deref().unwrap_or("of the server");
        Err(format!("the next number on lane {lane} is {last}"))
    })
}

#[cfg(test)]
mod tests {
    use super::LAW;
    use crate::{Ending, commands::testing::*};

    #[test]
    fn numbers_without_a_gap_hold_on_each_lane_and_across_restarts() {
        let mut h = strict();
        h.does(&create("s"), int(0));
        h.does(&data(set("k", "a")), ok());
        h.does(&data(set("k", "b")).session("s"), ok());
        h.dies(Ending::Crash);
        h.recovers(3);
        h.does(&data(set("k", "c")).session("s"), ok());
        h.holds();
    }

    #[test]
    fn a_gap_a_repetition_and_a_fresh_start_are_found() {
        for wrong in [4, 2, 1] {
            let mut h = strict();
            h.does(&data(set("k", "a")), ok());
            h.last().lane_sequence = wrong;
            h.breaks(LAW.name, "the next number on lane of the server is 3");
        }
    }

    #[test]
    fn numbers_that_the_disk_took_back_come_again() {
        let mut h = strict();
        let turn = 1;
        h.runs(&data(set("k", "a")), orloj_net::envelope::End::Ok(ok()));
        h.undoes(turn);
        let mut late = h.clone();
        h.does(&data(set("k", "a")), ok());
        h.holds();
        late.does(&data(set("k", "a")), ok());
        late.last().lane_sequence = 6;
        late.breaks(LAW.name, "the next number on lane of the server is 3");
    }
}
