//! Law: a refusal means that the command was not carried out. A command whose fate is unknown is
//! answered by closing the connection, never by an error.
//!
//! Source: the contract of `Refusal` in the protocol's words.
//!
//! Broken, a user tries again what was done already.

use orloj_net::Answer;

use super::{Broken, Law, who};
use crate::{End, Fate, Timeline, show_answer};

pub(super) const LAW: Law = Law {
    name: "refusal-is-definite",
    promise: "A refused command leaves the store as it was.",
    check,
};

fn check(timeline: &Timeline<'_>) -> Result<(), Broken> {
    for step in timeline.steps.iter().flatten().filter(|step| step.changed) {
        let executed = timeline.executed(step.place);
        // A node that dies before it could take the change back has never written it.
        if timeline.fate(step.place.life, executed.version) == Fate::LostBy(step.place.life + 1) {
            continue;
        }
        let heard = executed.op.and_then(|id| timeline.op(id)).map(|op| &op.end);
        if let Some(End::Answered { at, answer: answer @ Answer::Error(_) }) = heard {
            let (who, answer) = (who(executed), show_answer(answer));
            let evidence =
                format!("{who} changed the store and its client was told {answer} at {at}");
            return Err(Broken::at(executed, evidence));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use orloj_net::{Answer, Refusal};

    use super::LAW;
    use crate::testing::*;

    #[test]
    fn a_refusal_without_effect_holds() {
        let mut h = strict();
        h.op(0, set("n", "word")).runs(1, ok()).answers(ok());
        h.op(0, incr("n", 1)).runs(1, not_an_integer()).answers(not_an_integer());
        h.op(0, set("n", "1")).answers(Answer::Error(Refusal::JournalFailed));
        h.holds(&LAW);
    }

    #[test]
    fn a_node_may_die_before_it_has_taken_back_what_it_refused() {
        let story = |kept| {
            let mut h = strict();
            h.op(0, set("n", "1")).runs(1, ok()).answers(Answer::Error(Refusal::JournalFailed));
            h.crash().recovers(kept);
            h
        };
        story(0).holds(&LAW);
        story(1).breaks(&LAW, "changed the store and its client was told");
    }

    #[test]
    fn a_refusal_of_something_done_is_found() {
        let mut h = strict();
        h.op(0, set("n", "1")).runs(1, ok()).answers(Answer::Error(Refusal::JournalFailed));
        h.breaks(&LAW, "(SET n 1) at version 1 changed the store and its client was told (MISCONF");
    }
}
