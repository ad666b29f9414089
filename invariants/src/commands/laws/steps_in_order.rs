//! Law: a command is accepted, then started at most once, then finished once; it ends `ok` only if
//! it was started, and rows grow in the order of acceptance.
//!
//! Source: specification of causal commands, section 8 and P2.
//!
//! Broken, a command has an effect that nobody asked for, or two.

use std::collections::BTreeMap;

use super::{Broken, Case, CommandLaw};
use crate::commands::What;

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "steps-in-order",
    promise: "A command is accepted, at most once started, once finished; ok only if started.",
    check,
};

/// Whether the command of a row was started, and whether it was finished.
type Steps = BTreeMap<u64, (bool, bool)>;

fn check(case: &Case<'_>) -> Result<(), Broken> {
    case.each_step(|steps: &mut Steps, told| match &told.what {
        What::Accepted { row, .. } => {
            if let Some((last, _)) = steps.last_key_value().filter(|(last, _)| *last >= row) {
                return Err(format!("row {last} was accepted before"));
            }
            steps.insert(*row, (false, false));
            Ok(())
        }
        What::Started { row } => match steps.get_mut(row) {
            Some((started @ false, false)) => {
                *started = true;
                Ok(())
            }
            Some((_, true)) => Err("it was finished".to_owned()),
            Some(_) => Err("it was started before".to_owned()),
            None => Err("it was never accepted".to_owned()),
        },
        What::Finished { row, outcome } => match steps.get_mut(row) {
            Some((false, false)) if outcome.end.is_ok() => Err("it was never started".to_owned()),
            Some((_, finished @ false)) => {
                *finished = true;
                Ok(())
            }
            Some(_) => Err("it was finished before".to_owned()),
            None => Err("it was never accepted".to_owned()),
        },
        What::Repeated { row, .. } if !steps.contains_key(row) => {
            Err("what it repeats was never accepted".to_owned())
        }
        What::Repeated { .. }
        | What::Refused { .. }
        | What::Plain { .. }
        | What::Forgotten { .. }
        | What::Undone => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use orloj_net::envelope::End;

    use super::LAW;
    use crate::{Ending, commands::testing::*};

    #[test]
    fn each_step_in_its_place_holds() {
        let mut h = strict();
        h.does(&data(set("k", "a")), ok());
        h.turn();
        let late = h.sends(&data(set("k", "b")).timeout(std::time::Duration::from_millis(5)));
        h.wait_ms(5);
        h.ends(late, timed_out());
        h.holds();
    }

    #[test]
    fn an_effect_without_a_turn_is_found() {
        let mut h = strict();
        let row = h.sends(&data(set("k", "a")));
        h.ends(row, End::Ok(ok()));
        h.breaks(LAW.name, "it was never started");
    }

    #[test]
    fn a_second_start_and_a_second_end_are_found() {
        let mut h = strict();
        let row = h.sends(&data(set("k", "a")));
        h.starts(row);
        let mut twice = h.clone();
        twice.starts(row);
        twice.breaks(LAW.name, "it was started before");
        h.ends(row, End::Ok(ok()));
        h.ends(row, End::Ok(ok()));
        h.breaks(LAW.name, "it was finished before");
    }

    #[test]
    fn a_start_that_the_disk_took_back_may_come_again() {
        let mut h = strict();
        h.turn();
        let row = h.sends(&data(set("k", "a")));
        let turn = h.turn();
        h.starts(row);
        let mut again = h.clone();
        h.undoes(turn);
        h.turn();
        h.starts(row);
        h.ends(row, End::Ok(ok()));
        h.holds();
        again.turn();
        again.starts(row);
        again.breaks(LAW.name, "it was started before");
    }

    #[test]
    fn a_start_of_what_a_crash_took_is_found() {
        let mut h = strict();
        h.turn();
        let row = h.sends(&data(set("k", "a")));
        h.dies(Ending::Crash);
        h.starts(row);
        let start = h.history.lives[0].told.pop().expect("it was told last");
        h.recovers(0);
        h.history.lives[1].told.push(start);
        h.breaks(LAW.name, "it was never accepted");
    }
}
