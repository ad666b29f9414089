//! Law: an id has one command, a command one outcome, and whoever asks for it is told that one:
//! not before there is one, and as replayed if, and only if, the request was a repetition.
//!
//! Source: specification of causal commands, section 4 and P1.
//!
//! Broken, a client that retries pays twice, or believes that it has not paid.

use std::collections::BTreeMap;

use orloj_net::envelope::{Envelope, Id, Outcome};

use super::{Broken, Case, CommandLaw};
use crate::{
    Moment,
    commands::{End, Fate, Known, Operation, Place, show_envelope, show_outcome},
};

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "one-outcome",
    promise: "There is one outcome per id, and every asker is told it.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    one_command(case)?;
    for op in &case.history.ops {
        if let End::Answered { at, answer: Ok(outcome) } = &op.end {
            told(case, op, *at, outcome)?;
        }
    }
    not_more_than_there_were(case)
}

/// Of what survives, an id has one command, and a command one outcome.
fn one_command(case: &Case<'_>) -> Result<(), Broken> {
    let survives = |place: Place| case.account.fate(place) == Fate::Survives;
    let may_forget = case.account.commands.len() > case.history.limits.outcomes;
    let mut by_id: BTreeMap<&Id, u64> = BTreeMap::new();
    for known in case.account.commands.iter().filter(|known| survives(known.accepted)) {
        let mut outcomes = known.finished.iter().filter(|(place, _)| survives(*place));
        if let (Some((_, first)), Some((place, _))) = (outcomes.next(), outcomes.next()) {
            return Err(case.wrong(*place, format!("it had ended {}", show_outcome(first))));
        }
        let before = by_id.insert(known.id, known.row);
        if let Some(before) = before.filter(|_| !may_forget) {
            return Err(case.wrong(known.accepted, format!("row {before} has that id")));
        }
    }
    Ok(())
}

/// Whether a request was taken, in one way or the other, while its client waited.
struct Taken {
    accepted: bool,
    repeated: bool,
}

fn taken(case: &Case<'_>, known: &Known<'_>, op: &Operation, at: Moment) -> Taken {
    let in_time = |place: Place| {
        let seen = case.account.told(place).seen;
        op.invoked <= seen && seen <= at
    };
    let is_it = |envelope: &Envelope| *envelope == op.envelope;
    Taken {
        accepted: is_it(known.envelope) && in_time(known.accepted),
        repeated: known.repeated.iter().any(|(place, envelope)| is_it(envelope) && in_time(*place)),
    }
}

/// What a client was told is the outcome of what it had asked.
fn told(case: &Case<'_>, op: &Operation, at: Moment, outcome: &Outcome) -> Result<(), Broken> {
    let mut had: Option<String> = None;
    for known in case.answering(&op.envelope) {
        let taken = taken(case, known, op, at);
        let is_taken = if outcome.replayed { taken.repeated } else { taken.accepted };
        for (place, given) in &known.finished {
            let seen = case.account.told(*place).seen;
            let same = given.end == outcome.end && given.session_version == outcome.session_version;
            if same && is_taken && seen <= at {
                return Ok(());
            }
            had = Some(format!(
                "{}, which ended {} at {seen}{}",
                known.id,
                show_outcome(given),
                if is_taken { "" } else { ", and was not what it asked then" }
            ));
        }
    }
    let had = had.unwrap_or_else(|| "nothing that has ended".to_owned());
    let evidence = format!(
        "{} asked for {} and heard {} at {at}; it was {had}",
        op.id,
        show_envelope(&op.envelope),
        show_outcome(outcome)
    );
    Err(Broken::new(at, evidence).ops([op.id]))
}

/// Each command is answered as a new one once at most, in whatever fork.
fn not_more_than_there_were(case: &Case<'_>) -> Result<(), Broken> {
    let is_new = |op: &&Operation| match &op.end {
        End::Answered { answer: Ok(outcome), .. } => !outcome.replayed,
        _ => false,
    };
    for op in case.history.ops.iter().filter(is_new) {
        let mut answers = case.asking(&op.envelope).filter(is_new);
        let commands = case.accepted(&op.envelope).count();
        if let Some(surplus) = answers.nth(commands) {
            let evidence = format!(
                "{} was answered as a new command more than the {commands} times that it was one",
                show_envelope(&op.envelope)
            );
            return Err(Broken::new(surplus.invoked, evidence).ops([op.id, surplus.id]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use orloj_net::envelope::{End as Ends, Outcome};

    use super::LAW;
    use crate::commands::testing::*;

    #[test]
    fn one_outcome_for_all_who_ask_holds() {
        let mut h = strict();
        let envelope = data(incr("n", 1)).id("a").idempotency_key("k");
        let row = h.does(&envelope, int(1));
        h.repeats(&envelope, row);
        h.repeats(&data(incr("n", 1)).id("b").idempotency_key("k"), row);
        h.holds();
    }

    #[test]
    fn another_answer_to_a_second_asker_is_found() {
        let mut h = strict();
        let envelope = data(incr("n", 1)).id("a");
        let row = h.does(&envelope, int(1));
        let op = h.repeats(&envelope, row);
        let other = Outcome { end: Ends::Ok(int(2)), replayed: true, ..h.outcome(row) };
        h.is_told(op, Ok(other));
        h.breaks(LAW.name, "heard ok 2, replayed at");
    }

    #[test]
    fn a_second_command_under_an_id_is_found() {
        let mut h = strict();
        h.does(&data(incr("n", 1)).id("a"), int(1));
        h.does(&data(incr("n", 1)).id("a"), int(2));
        h.breaks(LAW.name, "row 1 has that id");
    }

    #[test]
    fn an_answer_before_the_outcome_is_found() {
        let mut h = strict();
        h.turn();
        let row = h.sends(&data(set("k", "a")));
        h.starts(row);
        let early = Outcome { end: Ends::Ok(ok()), session_version: None, replayed: false };
        h.is_told(0, Ok(early));
        h.ends(row, Ends::Ok(ok()));
        h.breaks(LAW.name, "heard ok OK at");
    }

    #[test]
    fn a_replay_that_does_not_say_so_is_found() {
        let mut h = strict();
        let envelope = data(incr("n", 1)).id("a");
        let row = h.does(&envelope, int(1));
        let op = h.repeats(&envelope, row);
        h.hears(op, row);
        h.breaks(LAW.name, "and was not what it asked then");
    }

    #[test]
    fn one_execution_told_to_two_is_found() {
        let mut h = strict();
        h.asks(&data(incr("n", 1)));
        let row = h.does(&data(incr("n", 1)), int(1));
        h.hears(0, row);
        h.breaks(LAW.name, "more than the 1 times");
    }
}
