//! Law: once faults have stopped the node is healthy again within a bound, and from then on answers
//! every command within the bound, without refusing for reasons of its own; and no accepted
//! command stays without an outcome.
//!
//! Source: eventual liveness under a global stabilisation time (Dwork, Lynch and Stockmeyer,
//! "Consensus in the presence of partial synchrony", JACM 1988), with the bound made explicit.
//!
//! Broken, a lane stands still for ever behind a command that nothing will end.

use orloj_net::envelope::Code;

use super::{Broken, Case, CommandLaw};
use crate::{
    Moment, Quiet,
    commands::{End, Fate, Known, Operation, show_envelope},
};

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "progress",
    promise: "When faults stop, everything completes within a bounded time.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    let history = case.history;
    if let Some(halt) = &history.halt {
        let evidence = format!("the node refuses to serve: {}", halt.cause);
        return if halt.allowed { Ok(()) } else { Err(Broken::new(halt.at, evidence)) };
    }
    let Some(quiet) = history.quiet else {
        return Err(Broken::new(Moment::default(), "the run never became quiet".to_owned()));
    };
    let calm = quiet.began.after(quiet.bound);
    history.ops.iter().try_for_each(|op| in_time(op, quiet, calm))?;
    if !history.ops.iter().any(|op| op.invoked >= calm) {
        return Err(Broken::new(calm, format!("nobody could ask anything from {calm} on")));
    }
    let survives = |place| case.account.fate(place) == Fate::Survives;
    let is_open = |known: &&Known<'_>| {
        survives(known.accepted) && !known.finished.iter().any(|(place, _)| survives(*place))
    };
    if let Some(known) = case.account.commands.iter().find(is_open) {
        return Err(case.wrong(known.accepted, "it never had an outcome".to_owned()));
    }
    Ok(())
}

fn in_time(op: &Operation, quiet: Quiet, calm: Moment) -> Result<(), Broken> {
    let limit = op.invoked.max(quiet.began).after(quiet.bound);
    let (id, asked) = (op.id, show_envelope(&op.envelope));
    let fail = |at, what: String| Err(Broken::new(at, what).ops([id]));
    match &op.end {
        End::Open => fail(limit, format!("{id} ({asked}), of {}, has no answer", op.invoked)),
        End::Answered { at, .. } | End::Lost { at } if *at > limit => {
            fail(*at, format!("{id} ({asked}), of {}, ended as late as {at}", op.invoked))
        }
        End::Answered { at, answer: Err(failure) }
            if op.invoked >= calm
                && matches!(
                    failure.code,
                    Code::Unavailable | Code::ShuttingDown | Code::StorageFailure
                ) =>
        {
            let code = failure.code.name();
            fail(*at, format!("{id} ({asked}) was refused while no fault struck: {code}"))
        }
        End::Answered { .. } | End::Lost { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use orloj_net::envelope::{Code, End as Ends};

    use super::LAW;
    use crate::commands::testing::*;

    fn calm() -> Tale {
        let mut h = strict();
        h.quiet();
        h.wait_ms(100);
        h
    }

    #[test]
    fn answers_in_time_hold() {
        let mut h = calm();
        h.does(&data(set("k", "a")), ok());
        h.holds();
    }

    #[test]
    fn a_command_without_an_outcome_is_found() {
        let mut h = calm();
        h.does(&data(set("k", "a")), ok());
        h.turn();
        let row = h.accepts(&data(set("k", "a")));
        h.breaks(LAW.name, "it never had an outcome");
        h.starts(row);
        h.ends(row, Ends::Ok(ok()));
        let broken = crate::commands::judge(&h.history);
        assert!(broken.iter().all(|violation| violation.law != LAW.name), "{broken:#?}");
    }

    #[test]
    fn a_refusal_a_late_and_a_missing_answer_are_found() {
        let mut h = calm();
        h.refuses(&data(set("k", "a")), failure(Code::Unavailable, &[]));
        h.breaks(LAW.name, "was refused while no fault struck: Unavailable");
        let mut h = calm();
        let row = h.runs(&data(set("k", "a")), Ends::Ok(ok()));
        h.breaks(LAW.name, "has no answer");
        h.wait_ms(200);
        h.hears(0, row);
        h.breaks(LAW.name, "ended as late as");
    }

    #[test]
    fn a_run_that_never_becomes_quiet_or_asks_nothing_then_is_found() {
        strict().breaks(LAW.name, "the run never became quiet");
        calm().breaks(LAW.name, "nobody could ask anything");
    }
}
