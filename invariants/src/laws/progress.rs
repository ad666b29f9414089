//! Law: once faults have stopped the node is healthy again within a bound, and from then on answers
//! every request within the bound, without refusing for reasons of its own.
//!
//! Source: eventual liveness under a global stabilisation time (Dwork, Lynch and Stockmeyer,
//! "Consensus in the presence of partial synchrony", JACM 1988), with the bound made explicit.
//!
//! Broken, an outage outlasts its cause, and somebody is called at night to restart things.

use super::{Broken, Law, is_gate};
use crate::{End, Moment, Operation, Quiet, Timeline, show_answer};

pub(super) const LAW: Law = Law {
    name: "progress",
    promise: "When faults stop, everything completes within a bounded time.",
    check,
};

fn check(timeline: &Timeline<'_>) -> Result<(), Broken> {
    let history = timeline.history;
    if let Some(halt) = &history.halt {
        let evidence = format!("the node refuses to serve: {}", halt.cause);
        return if halt.allowed { Ok(()) } else { Err(Broken::new(halt.at, evidence)) };
    }
    let Some(quiet) = history.quiet else {
        return Err(Broken::new(Moment::default(), "the run never became quiet".to_owned()));
    };
    let calm = quiet.began.after(quiet.bound);
    for op in &history.ops {
        in_time(op, quiet, calm)?;
    }
    if !history.ops.iter().any(|op| op.invoked >= calm) {
        return Err(Broken::new(calm, format!("nobody could ask anything from {calm} on")));
    }
    Ok(())
}

fn in_time(op: &Operation, quiet: Quiet, calm: Moment) -> Result<(), Broken> {
    let limit = op.invoked.max(quiet.began).after(quiet.bound);
    let id = op.id;
    let fail = |at, what: String| Err(Broken::new(at, what).op([id]));
    match &op.end {
        End::Open => fail(limit, format!("{id}, sent at {}, has no reply yet", op.invoked)),
        End::Answered { at, .. } | End::Lost { at, .. } if *at > limit => {
            fail(*at, format!("{id}, sent at {}, ended as late as {at}", op.invoked))
        }
        End::Answered { at, answer } if op.invoked >= calm && is_gate(answer) => {
            fail(*at, format!("{id} was refused while no fault struck: {}", show_answer(answer)))
        }
        End::Answered { .. } | End::Lost { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use orloj_net::{Answer, Refusal};

    use super::LAW;
    use crate::{Loss, testing::*};

    #[test]
    fn a_node_that_answers_in_time_holds() {
        let mut h = strict();
        h.op(0, get("k")).loses(Loss::Closed);
        h.quiet(100);
        h.wait_ms(100);
        h.op(0, get("k")).answers(nil());
        h.holds(&LAW);
    }

    #[test]
    fn a_reply_that_never_comes_is_found() {
        let mut h = strict();
        h.op(0, get("k"));
        h.quiet(100);
        h.wait_ms(100);
        h.op(1, get("k")).answers(nil());
        h.breaks(&LAW, "client 0, request 0, sent at 0.001 000, has no reply yet");
    }

    #[test]
    fn a_late_reply_is_found() {
        let mut h = strict();
        h.quiet(100);
        h.op(0, get("k"));
        h.wait_ms(101);
        h.last_op().answers(nil());
        h.breaks(&LAW, "ended as late as");
    }

    #[test]
    fn a_node_that_stays_unwell_is_found() {
        let mut h = strict();
        h.quiet(100);
        h.op(0, get("k")).answers(Answer::Error(Refusal::JournalFailed));
        h.wait_ms(100);
        h.op(0, get("k")).answers(Answer::Error(Refusal::JournalFailed));
        h.breaks(&LAW, "client 0, request 1 was refused while no fault struck");
    }

    #[test]
    fn a_run_without_quiet_and_a_quiet_without_requests_are_found() {
        strict().breaks(&LAW, "never became quiet");
        let mut h = strict();
        h.op(0, get("k")).answers(nil());
        h.quiet(100);
        h.breaks(&LAW, "nobody could ask anything");
    }

    #[test]
    fn a_halt_needs_leave() {
        strict().halts(true).holds(&LAW);
        strict().halts(false).breaks(&LAW, "the node refuses to serve: damage");
    }
}
