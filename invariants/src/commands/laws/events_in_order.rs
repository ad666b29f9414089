//! Law: a subscriber is told of each command: accepted, at most once started, once finished, in
//! this order, and without a gap on any lane from the first step that it hears, however sure its
//! commands are; a replay tells only `finished`, as replayed. What it is told happened.
//!
//! Source: specification of causal commands, section 8.
//!
//! Broken, a dashboard shows a command at work for ever, or one that never was.

use std::collections::{BTreeMap, BTreeSet};

use orloj_net::envelope::{Causes, Event, Id, SessionName, Stage};

use super::{Broken, Case, CommandLaw};
use crate::{
    Moment,
    commands::{Known, Place, Subscription},
};

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "events-in-order",
    promise: "Every subscriber hears accepted, started, finished, in order, and a replay alone.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    for (number, subscription) in case.history.subscriptions.iter().enumerate() {
        follow(case, subscription).map_err(|(when, event, why)| {
            let (stage, causes) = (event.stage.name(), &event.causes);
            let sequence = event.lane_sequence;
            let evidence = format!(
                "subscriber {number} heard {stage} of {}, lane sequence {sequence}: {why}",
                causes.id
            );
            Broken::new(when, evidence)
        })?;
    }
    Ok(())
}

type Wrong<'h> = (Moment, &'h Event, String);

fn follow<'h>(case: &Case<'h>, subscription: &'h Subscription) -> Result<(), Wrong<'h>> {
    let mut lanes: BTreeMap<&Option<SessionName>, u64> = BTreeMap::new();
    let mut heard: BTreeSet<(&Option<SessionName>, u64)> = BTreeSet::new();
    // How far each command has come.
    let mut stages: BTreeMap<&Id, u8> = BTreeMap::new();
    for (when, event) in &subscription.heard {
        let wrong = |why: &str| Err((*when, event, why.to_owned()));
        let causes = &event.causes;
        if subscription.session.is_some() && subscription.session != causes.session {
            return wrong("it is another session's");
        }
        if !happened(case, event, *when) {
            return wrong("that had not happened");
        }
        let is_replay = matches!(&event.stage, Stage::Finished(outcome) if outcome.replayed);
        if is_replay {
            continue;
        }
        if !heard.insert((&causes.session, event.lane_sequence)) {
            return wrong("it was told before");
        }
        if let Some(last) = lanes.insert(&causes.session, event.lane_sequence)
            && event.lane_sequence != last + 1
        {
            return Err((*when, event, format!("the step before it on its lane was {last}")));
        }
        let stage = match event.stage {
            Stage::Accepted => 1,
            Stage::Started => 2,
            Stage::Finished(_) => 3,
        };
        match stages.insert(&causes.id, stage) {
            Some(3) => return wrong("it was finished before"),
            Some(before) if before >= stage => return wrong("it had come further before"),
            _ => {}
        }
    }
    Ok(())
}

/// Whether the node had said that it happened.
fn happened(case: &Case<'_>, event: &Event, when: Moment) -> bool {
    let matches = |place: &Place| {
        let told = case.account.told(*place);
        told.seen <= when && told.lane_sequence == event.lane_sequence && told.at == event.at
    };
    let known = case.account.commands.iter().filter(|known| match &event.stage {
        // It has the id of whoever asked again.
        Stage::Finished(outcome) if outcome.replayed => true,
        _ => *known.id == event.causes.id,
    });
    let same = |known: &Known<'_>| event.causes == Causes::of(known.id.clone(), known.envelope);
    known.into_iter().any(|known| match &event.stage {
        Stage::Accepted => same(known) && matches(&known.accepted),
        Stage::Started => same(known) && known.started.iter().any(matches),
        Stage::Finished(outcome) => known.finished.iter().any(|(place, given)| {
            let same_end =
                given.end == outcome.end && given.session_version == outcome.session_version;
            let told = case.account.told(*place);
            if outcome.replayed {
                let asked = known.repeated.iter().any(|(at, envelope)| {
                    let id = envelope.id.as_ref();
                    case.account.told(*at).seen <= when
                        && id.is_none_or(|id| *id == event.causes.id)
                });
                same_end && asked && told.seen <= when
            } else {
                same_end && same(known) && matches(place)
            }
        }),
    })
}

#[cfg(test)]
mod tests {
    use orloj_net::envelope::Stage;

    use super::LAW;
    use crate::commands::testing::*;

    fn two() -> Tale {
        let mut h = strict();
        h.does(&create("s"), int(0));
        h.does(&data(set("k", "a")).id("a").session("s"), ok());
        h.does(&data(set("k", "b")).id("b"), ok());
        h
    }

    #[test]
    fn all_steps_in_order_hold_from_anywhere_on() {
        let mut h = two();
        h.follows(None);
        h.follows(Some("s")).heard.drain(..2);
        h.holds();
    }

    #[test]
    fn a_missing_a_repeated_and_a_foreign_step_are_found() {
        let mut h = two();
        h.follows(Some("s")).heard.remove(1);
        h.breaks(LAW.name, "the step before it on its lane was 1");
        let mut h = two();
        let subscription = h.follows(Some("s"));
        let again = subscription.heard[2].clone();
        subscription.heard.insert(3, again);
        h.breaks(LAW.name, "it was told before");
        let mut h = two();
        h.follows(None).session = Some("s".into());
        h.breaks(LAW.name, "it is another session's");
    }

    #[test]
    fn a_step_that_never_was_and_one_before_its_time_are_found() {
        let mut h = two();
        let heard = &mut h.follows(None).heard;
        heard.truncate(1);
        heard[0].1.stage = Stage::Started;
        h.breaks(LAW.name, "that had not happened");
        let mut h = two();
        h.follows(None).heard[0].0 = crate::Moment(0);
        h.breaks(LAW.name, "that had not happened");
    }

    #[test]
    fn a_replay_tells_only_its_end() {
        let story = |replayed| {
            let mut h = two();
            h.repeats(&data(set("k", "b")).id("b"), 3);
            let when = h.last().seen;
            let heard = &mut h.follows(None).heard;
            let (_, mut event) = heard.last().cloned().expect("there were steps");
            if let Stage::Finished(outcome) = &mut event.stage {
                outcome.replayed = replayed;
            }
            heard.push((when, event));
            h
        };
        story(true).holds();
        story(false).breaks(LAW.name, "it was told before");
    }
}
