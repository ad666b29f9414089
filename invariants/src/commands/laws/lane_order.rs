//! Law: a lane has one command at work, and comes to its commands in the order of their acceptance;
//! what a client sent in order is accepted in that order.
//!
//! Source: specification of causal commands, section 1 and P3.
//!
//! Broken, a session's second command finds the state from before its first.

use std::collections::{BTreeMap, BTreeSet};

use orloj_net::envelope::SessionName;

use super::{Broken, Case, CommandLaw};
use crate::{
    OpId,
    commands::{Place, What},
};

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
    one_after_the_other(case)?;
    as_sent(case)
}

/// Requests of one line that name one lane are accepted in the order in which they were sent.
fn as_sent(case: &Case<'_>) -> Result<(), Broken> {
    let mut last: BTreeMap<(u64, &Option<SessionName>), (Place, OpId)> = BTreeMap::new();
    for op in &case.history.ops {
        let Some(line) = op.line else { continue };
        let mut same = case.asking(&op.envelope);
        let mut accepted = case.accepted(&op.envelope);
        // Of several requests in the same words nobody can tell which was accepted.
        let (Some(_), None, Some(known), None) =
            (same.next(), same.next(), accepted.next(), accepted.next())
        else {
            continue;
        };
        let lane = (line, &op.envelope.session);
        if let Some((before, earlier)) = last.insert(lane, (known.accepted, op.id))
            && before > known.accepted
        {
            let broken = case.wrong(known.accepted, format!("{earlier} had been sent before it"));
            return Err(broken.ops([earlier, op.id]));
        }
    }
    Ok(())
}

fn one_after_the_other(case: &Case<'_>) -> Result<(), Broken> {
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

    #[test]
    fn what_was_sent_in_order_is_accepted_in_order() {
        let story = |swapped: bool| {
            let mut h = strict();
            let (first, second) = (data(set("k", "a")), data(get("k")));
            h.asks(&first);
            h.asks(&second);
            h.history.ops.iter_mut().for_each(|op| op.line = Some(7));
            h.turn();
            for envelope in if swapped { [&second, &first] } else { [&first, &second] } {
                let row = h.accepts(envelope);
                h.starts(row);
                let is_read = envelope == &second;
                let seen = if swapped { nil() } else { bulk("a") };
                h.ends(row, End::Ok(if is_read { seen } else { ok() }));
            }
            h
        };
        story(false).holds();
        story(true).breaks(LAW.name, "client 0, request 0 had been sent before it");
        // Of requests that go different ways nobody knows.
        let mut apart = story(true);
        apart.history.ops[0].line = None;
        apart.holds();
    }
}
