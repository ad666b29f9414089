//! Law: recovering the same disk gives the same state and the same judgement of what was in
//! flight: run again if it was not started, failed if it was.
//!
//! Source: specification of causal commands, section 9 and P8.
//!
//! Broken, what becomes of a command depends on how often the machine was started.

use std::collections::BTreeSet;

use orloj_net::envelope::Id;

use super::{Broken, Case, CommandLaw};
use crate::commands::{Dump, Item, Life, Model};

pub(super) const LAW: CommandLaw =
    CommandLaw { name: "recovery-same", promise: "Recovery twice gives the same state.", check };

fn check(case: &Case<'_>) -> Result<(), Broken> {
    let mut judged = BTreeSet::new();
    case.account.views(|items| {
        let mut model = Model::new(case.history.limits);
        for item in items {
            match item {
                // A step that cannot be explained is `explained`'s matter.
                Item::Step(place) if model.explain(case.account.told(*place)).is_err() => break,
                Item::Step(_) => {}
                Item::Recovered { life } => {
                    if judged.insert(*life) {
                        classifies(&model, &case.history.lives[*life])?;
                    }
                    model.recover();
                }
            }
        }
        Ok(())
    })?;
    let dumps = case.history.dumps.windows(2);
    let lets_go = !case.history.upkeep.is_empty();
    dumps.map(|pair| (&pair[0], &pair[1])).try_for_each(|(a, b)| same(a, b, lets_go))
}

/// What a node says of its recovery is what was in flight.
fn classifies(model: &Model, life: &Life) -> Result<(), Broken> {
    let Some(summary) = &life.summary else { return Ok(()) };
    let (queued, started) = model.in_flight();
    let ids = |rows: Vec<u64>| -> BTreeSet<Id> {
        rows.into_iter().filter_map(|row| Some(model.command(row)?.0.clone())).collect()
    };
    let (queued, started) = (ids(queued), ids(started));
    let rerun: BTreeSet<Id> = summary.rerun.iter().cloned().collect();
    let failed: BTreeSet<Id> = summary.failed.iter().map(|(id, _)| id.clone()).collect();
    let wrong = |what: &str, said: &BTreeSet<Id>, were: &BTreeSet<Id>| {
        let evidence = format!("a recovery says that it {what} {said:?}, and it had to {were:?}");
        Err(Broken::new(life.began, evidence))
    };
    if rerun != queued {
        return wrong("ran again", &rerun, &queued);
    }
    if failed != started {
        return wrong("failed", &failed, &started);
    }
    match summary.failed.iter().find(|(_, reason)| reason != "restart_in_flight") {
        Some((id, reason)) => {
            let evidence = format!("a recovery failed {id} for the reason {reason}");
            Err(Broken::new(life.began, evidence))
        }
        None => Ok(()),
    }
}

/// Two full reads with nothing but recoveries between them show the same; but for commands that
/// were let go meanwhile, if some are.
fn same(a: &Dump, b: &Dump, lets_go: bool) -> Result<(), Broken> {
    if a.recoveries == b.recoveries {
        return Ok(());
    }
    let at = a.at.max(b.at);
    let lasting = |dump: &Dump| {
        let entries = dump.entries.iter().filter(|e| e.deadline.is_none_or(|d| d > at));
        entries.cloned().collect::<Vec<_>>()
    };
    let what = if lasting(a) != lasting(b) {
        "keys"
    } else if a.sessions != b.sessions {
        "sessions"
    } else if a.commands != b.commands
        && !(lets_go && b.commands.iter().all(|state| a.commands.contains(state)))
    {
        "commands"
    } else {
        return Ok(());
    };
    let evidence = format!(
        "after {} recoveries of one disk the {what} are others than after {}",
        b.recoveries, a.recoveries
    );
    Err(Broken::new(b.seen, evidence))
}

#[cfg(test)]
mod tests {
    use orloj_net::envelope::{End, RecoverySummary};

    use super::LAW;
    use crate::{Ending, commands::testing::*};

    #[test]
    fn the_same_disk_gives_the_same_state() {
        let mut h = strict();
        h.does(&create("s"), int(0));
        h.does(&data(set("k", "a")).session("s"), ok());
        h.dumps(0, &[("k", "a")]);
        h.dies(Ending::Crash);
        h.recovers(2);
        let mut other = h.clone();
        h.dumps(1, &[("k", "a")]);
        h.holds();
        other.dumps(1, &[("k", "b")]);
        other.breaks(LAW.name, "the keys are others");
        let mut other = h.clone();
        other.dumps(2, &[("k", "a")]).sessions[0].version = 7;
        other.breaks(LAW.name, "the sessions are others");
        h.dumps(2, &[("k", "a")]).commands.remove(0);
        h.breaks(LAW.name, "the commands are others");
    }

    #[test]
    fn what_was_in_flight_is_judged_by_how_far_it_had_come() {
        let story = |rerun: &[&str], failed: &[(&str, &str)]| {
            let mut h = strict();
            h.turn();
            let a = h.sends(&data(set("k", "a")).id("a").after("b"));
            let b = h.sends(&data(set("k", "a")).id("b").session("s"));
            h.starts(a);
            h.dies(Ending::Crash);
            h.recovers(1);
            h.history.lives[1].summary = Some(RecoverySummary {
                rerun: rerun.iter().map(|id| (*id).into()).collect(),
                failed: failed.iter().map(|(id, why)| ((*id).into(), (*why).into())).collect(),
                ..RecoverySummary::default()
            });
            h.turn();
            h.ends(a, restarted());
            h.starts(b);
            let absent = [("reason", "unknown_session")];
            h.ends(b, failed_with(&absent));
            h
        };
        fn failed_with(details: &[(&str, &str)]) -> End {
            failed(orloj_net::envelope::Code::Invalid, details)
        }
        let right = ("a", "restart_in_flight");
        story(&["b"], &[right]).holds();
        story(&[], &[right]).breaks(LAW.name, "ran again {}, and it had to {\"b\"}");
        story(&["b"], &[]).breaks(LAW.name, "failed {}, and it had to {\"a\"}");
        story(&["b"], &[("a", "no idea")]).breaks(LAW.name, "for the reason no idea");
    }
}
