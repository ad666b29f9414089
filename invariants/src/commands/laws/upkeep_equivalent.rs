//! Law: compaction and redaction leave what they keep as it was. Compaction lets go of the oldest
//! finished commands alone, never of one that is in flight or that one in flight depends on;
//! redaction lets go of none.
//!
//! Source: specification of causal commands, section 10 and P9.
//!
//! Broken, the record of an incident says something else the day after.

use std::collections::BTreeMap;

use orloj_net::envelope::State;

use super::{Broken, Case, CommandLaw};
use crate::commands::{Known, Upkeep, UpkeepKind};

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "upkeep-equivalent",
    promise: "Compaction and redaction leave replay equivalent.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    case.history.upkeep.iter().try_for_each(|upkeep| {
        let is_over = |state: &State| {
            let is_it = |known: &&Known<'_>| known.row == state.row && known.id == &state.causes.id;
            let mut ends = case.account.commands.iter().filter(is_it).flat_map(|k| &k.finished);
            ends.any(|(place, _)| case.account.told(*place).seen <= upkeep.done)
        };
        equivalent(upkeep, is_over)
            .map_err(|why| Broken::new(upkeep.done, format!("{:?}: {why}", upkeep.kind)))
    })
}

/// `is_over` says whether a command had ended by then.
fn equivalent(upkeep: &Upkeep, is_over: impl Fn(&State) -> bool) -> Result<(), String> {
    let before: BTreeMap<u64, &State> = upkeep.before.iter().map(|s| (s.row, s)).collect();
    let after: BTreeMap<u64, &State> = upkeep.after.iter().map(|s| (s.row, s)).collect();
    for (row, now) in &after {
        match before.get(row) {
            None => return Err(format!("row {row} was not there before")),
            Some(then) if then != now && !goes_on(then, now) => {
                return Err(format!("row {row} is another than before"));
            }
            Some(_) => {}
        }
    }
    let gone = || before.values().filter(|state| !after.contains_key(&state.row));
    let Some(newest) = gone().map(|state| state.row).max() else { return Ok(()) };
    if upkeep.kind == UpkeepKind::Redaction {
        return Err(format!("row {newest} is gone"));
    }
    let waits = |state: &State| state.outcome.is_none() && !is_over(state);
    if let Some(state) = gone().find(|state| waits(state)) {
        return Err(format!("row {} is gone, and it was in flight", state.row));
    }
    let in_flight = || before.values().filter(|state| waits(state));
    let is_needed = |id| in_flight().find(|state| state.causes.depends_on.contains(id));
    for state in gone() {
        if let Some(by) = is_needed(&state.causes.id) {
            return Err(format!("row {} is gone, and row {} depends on it", state.row, by.row));
        }
    }
    Ok(())
}

/// Whether a command may have come from one state to the other by itself.
fn goes_on(then: &State, now: &State) -> bool {
    let bare = |state: &State| State { finished: None, outcome: None, ..state.clone() };
    then.outcome.is_none() && bare(then) == bare(now)
}

#[cfg(test)]
mod tests {
    use std::slice;

    use orloj_net::envelope::End;

    use super::LAW;
    use crate::commands::{UpkeepKind::*, testing::*};

    fn story() -> Tale {
        let mut h = strict();
        h.does(&data(set("k", "a")).id("a"), ok());
        h.does(&data(set("k", "b")).id("b"), ok());
        h
    }

    #[test]
    fn the_oldest_may_go_and_the_rest_is_as_it_was() {
        let mut h = story();
        let (a, b) = (h.state(1), h.state(2));
        h.upkeep(Compaction, &[b.clone(), a.clone()], slice::from_ref(&b));
        h.upkeep(Redaction, &[b.clone(), a.clone()], &[b, a]);
        h.holds();
    }

    #[test]
    fn a_command_that_changes_comes_or_goes_is_found() {
        let h = story();
        let (a, b) = (h.state(1), h.state(2));
        let mut changed = b.clone();
        changed.lane_sequence = 9;
        let mut tale = h.clone();
        tale.upkeep(Compaction, &[b.clone(), a.clone()], &[changed, a.clone()]);
        tale.breaks(LAW.name, "row 2 is another than before");
        let mut tale = h.clone();
        tale.upkeep(Compaction, slice::from_ref(&a), &[b.clone(), a.clone()]);
        tale.breaks(LAW.name, "row 2 was not there before");
        let mut tale = h.clone();
        tale.upkeep(Redaction, &[b.clone(), a], &[b]);
        tale.breaks(LAW.name, "row 1 is gone");
    }

    #[test]
    fn what_is_in_flight_stays_with_all_that_it_rests_on() {
        let mut h = story();
        h.turn();
        let row = h.sends(&data(set("k", "c")).id("c").after("a"));
        let (a, c) = (h.state(1), h.state(row));
        let ends = |h: &mut Tale| {
            h.wait_ms(1);
            h.starts(row);
            h.ends(row, End::Ok(ok()));
        };
        let mut tale = h.clone();
        tale.upkeep(Compaction, &[c.clone(), a.clone()], slice::from_ref(&a));
        ends(&mut tale);
        tale.breaks(LAW.name, "row 3 is gone, and it was in flight");
        let mut tale = h.clone();
        tale.upkeep(Compaction, &[c.clone(), a.clone()], slice::from_ref(&c));
        ends(&mut tale);
        tale.breaks(LAW.name, "row 1 is gone, and row 3 depends on it");
        // It may have ended before it went.
        ends(&mut h);
        h.upkeep(Compaction, &[c, a], &[]);
        h.holds();
    }
}
