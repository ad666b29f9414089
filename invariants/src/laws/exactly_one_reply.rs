//! Law: every request gets exactly one reply, or its connection is lost and its outcome unknown. No
//! request is passed over for a later one, and when no fault strikes no connection is lost.
//!
//! Source: the pipelining contract of the Redis protocol: as many replies as requests.
//!
//! Broken, a client waits for ever, or takes another request's reply for its own.

use std::collections::BTreeMap;

use super::{Broken, Law};
use crate::{End, Operation, Timeline};

pub(super) const LAW: Law = Law {
    name: "exactly-one-reply",
    promise: "A request is answered once, or its connection is lost.",
    check,
};

fn check(timeline: &Timeline<'_>) -> Result<(), Broken> {
    if let Some(extra) = timeline.history.surplus.first() {
        let (client, what) = (extra.client, &extra.what);
        let evidence = format!("client {client} got {what} that it had not asked for");
        return Err(Broken::new(extra.at, evidence));
    }
    let mut unanswered: BTreeMap<(u32, u32), &Operation> = BTreeMap::new();
    for op in &timeline.history.ops {
        let line = (op.id.client, op.connection);
        match op.end {
            End::Answered { at, .. } => {
                if let Some(skipped) = unanswered.get(&line) {
                    let (skipped, id) = (skipped.id, op.id);
                    let evidence = format!("{id} was answered at {at} and {skipped} was not");
                    return Err(Broken::new(at, evidence).op([skipped, id]));
                }
            }
            End::Open | End::Lost { .. } => {
                unanswered.entry(line).or_insert(op);
            }
        }
        let calm = timeline.history.quiet.map(|quiet| quiet.began.after(quiet.bound));
        if let End::Lost { at, how } = op.end
            && calm.is_some_and(|calm| op.invoked >= calm)
            && timeline.history.halt.is_none()
        {
            let evidence = format!("{} was lost ({how:?}) while no fault struck", op.id);
            return Err(Broken::new(at, evidence).op([op.id]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::LAW;
    use crate::{Loss, testing::*};

    #[test]
    fn a_lost_connection_takes_the_rest_of_its_requests() {
        let mut h = strict();
        h.op(0, set("k", "a")).answers(ok());
        h.op(0, set("k", "b")).loses(Loss::Closed);
        h.op(0, set("k", "c")).loses(Loss::Closed);
        h.reconnect(0);
        h.op(0, set("k", "d")).answers(ok());
        h.holds(&LAW);
    }

    #[test]
    fn a_request_passed_over_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).loses(Loss::TimedOut);
        h.op(0, set("k", "b")).answers(ok());
        h.breaks(&LAW, "client 0, request 1 was answered");
    }

    #[test]
    fn a_reply_nobody_asked_for_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).answers(ok());
        h.surplus(0, "a second OK");
        h.breaks(&LAW, "client 0 got a second OK that it had not asked for");
    }

    #[test]
    fn a_connection_lost_in_the_quiet_is_found() {
        let mut h = strict();
        h.quiet(100);
        h.op(0, get("k")).loses(Loss::Closed);
        h.holds(&LAW);
        h.wait_ms(100);
        h.op(1, get("k")).loses(Loss::TimedOut);
        h.breaks(&LAW, "client 1, request 0 was lost (TimedOut) while no fault struck");
    }
}
