//! Law: whatever the node refused, repeated or accepted was asked for before, to the letter; what
//! was cancelled somebody had asked to cancel.
//!
//! Source: integrity of broadcast (Hadzilacos and Toueg, "Fault-tolerant broadcasts and related
//! problems", 1993): what is delivered was sent.
//!
//! Broken, a command is carried out that nobody wrote.

use orloj_net::envelope::{End, Question};

use super::{Broken, Case, CommandLaw};
use crate::commands::{Place, What, show_envelope};

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "nothing-from-nowhere",
    promise: "Every command, and every cancellation, was asked for before.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    for (life, l) in case.history.lives.iter().enumerate() {
        for (position, told) in l.told.iter().enumerate() {
            let (What::Refused { envelope, .. }
            | What::Repeated { envelope, .. }
            | What::Accepted { envelope, .. }) = &told.what
            else {
                continue;
            };
            if !case.asking(envelope).any(|op| op.invoked <= told.seen) {
                let why = format!("nobody had asked for {}", show_envelope(envelope));
                return Err(case.wrong(Place { life, position }, why));
            }
        }
    }
    for known in &case.account.commands {
        for (place, outcome) in &known.finished {
            let seen = case.account.told(*place).seen;
            let asked = case.history.inquiries.iter().any(|inquiry| {
                inquiry.invoked <= seen
                    && matches!(&inquiry.question, Question::Cancel(id) if id == known.id)
            });
            if matches!(outcome.end, End::Cancelled(_)) && !asked {
                return Err(case.wrong(*place, "nobody had asked to cancel it".to_owned()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use orloj_net::envelope::{Finding, Question};

    use super::LAW;
    use crate::commands::testing::*;

    #[test]
    fn an_unasked_or_altered_command_is_found() {
        let mut h = strict();
        h.does(&data(set("k", "a")), ok());
        h.holds();
        let mut unasked = h.clone();
        unasked.history.ops.clear();
        unasked.breaks(LAW.name, "nobody had asked for SET k a");
        h.history.ops[0].envelope = data(set("k", "b"));
        h.breaks(LAW.name, "nobody had asked for SET k a");
    }

    #[test]
    fn a_command_before_its_request_is_found() {
        let mut h = strict();
        h.does(&data(set("k", "a")), ok());
        h.history.ops[0].invoked = h.last().seen;
        h.breaks(LAW.name, "nobody had asked for SET k a");
    }

    #[test]
    fn a_cancellation_of_its_own_accord_is_found() {
        let mut h = strict();
        h.turn();
        let row = h.sends(&data(set("k", "a")).id("a"));
        let mut asked = h.clone();
        asked.asks_beside(Question::Cancel("a".into()), Ok(Finding::Cancelled(true)));
        for (tale, is_right) in [(&mut asked, true), (&mut h, false)] {
            tale.turn();
            tale.ends(row, cancelled());
            if is_right {
                tale.holds();
            } else {
                tale.breaks(LAW.name, "nobody had asked to cancel it");
            }
        }
    }
}
