//! Law: an outcome that a client was told survives, as surely as the command or the database says.
//!
//! Strict: every later recovery finds it. Buffered: only a power cut may take it, and only if it
//! was younger than the declared window then. In memory: nothing is promised.
//!
//! Source: specification of causal commands, sections 4 and 9, and P7.
//!
//! Broken, a user loses what the database said it had.

use orloj_net::envelope::{Outcome, Safety};

use super::{Broken, Case, CommandLaw};
use crate::{
    Durability, Ending, Moment,
    commands::{End, Fate, Operation, Place, show_envelope, show_outcome},
};

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "acked-survives",
    promise: "An acknowledged command survives every later crash.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    if case.history.durability == Durability::InMemory {
        return Ok(());
    }
    for op in &case.history.ops {
        if let End::Answered { at, answer: Ok(outcome) } = &op.end {
            survives(case, op, *at, outcome)?;
        }
    }
    Ok(())
}

/// How sure a command's outcome is when it is answered.
fn safety(case: &Case<'_>, op: &Operation) -> Safety {
    op.envelope.durability.unwrap_or(match case.history.durability {
        Durability::Strict => Safety::Strict,
        Durability::Buffered { .. } => Safety::Buffered,
        Durability::InMemory => Safety::InMemory,
    })
}

fn survives(case: &Case<'_>, op: &Operation, at: Moment, outcome: &Outcome) -> Result<(), Broken> {
    let safety = safety(case, op);
    if safety == Safety::InMemory {
        return Ok(());
    }
    let mut lost = None;
    let finished = case.answering(&op.envelope).flat_map(|known| &known.finished);
    for (place, given) in finished {
        let same = given.end == outcome.end && given.session_version == outcome.session_version;
        if !same || case.account.told(*place).seen > at {
            continue;
        }
        match case.account.fate(*place) {
            Fate::Survives => return Ok(()),
            fate => lost = Some((*place, fate)),
        }
    }
    // What was never there is `one-outcome`'s matter.
    let Some((place, fate)) = lost else { return Ok(()) };
    let how = match fate {
        Fate::LostBy(life) if may_be_lost(case, safety, place, life) => return Ok(()),
        Fate::LostBy(life) => {
            let l = &case.history.lives[life];
            format!("the recovery at {} came back at turn {}", l.began, l.recovered)
        }
        _ => "the node took it back".to_owned(),
    };
    let evidence = format!(
        "{} asked for {} and heard {} at {at}; {how}, and it was of turn {}",
        op.id,
        show_envelope(&op.envelope),
        show_outcome(outcome),
        case.account.told(place).turn
    );
    Err(Broken::new(at, evidence).ops([op.id]))
}

/// Whether a crash before `life` may have taken what was finished at `place`.
fn may_be_lost(case: &Case<'_>, safety: Safety, place: Place, life: usize) -> bool {
    let lives = &case.history.lives;
    // Every 100 ms there is a sync, and it may take some time itself.
    let window = match case.history.durability {
        Durability::Buffered { window } => window,
        _ => core::time::Duration::from_millis(150),
    };
    let (died, how) = lives[life - 1].ended.unwrap_or((lives[life].began, Ending::Stopped));
    // What an earlier crash spared has been in the journal since that recovery.
    let age = died.since(case.account.told(place).seen.max(lives[life - 1].began));
    safety == Safety::Buffered && how == Ending::PowerLoss && age <= window
}

#[cfg(test)]
mod tests {
    use orloj_net::envelope::Safety;

    use super::LAW;
    use crate::{Ending, commands::testing::*};

    #[test]
    fn a_lost_acknowledged_command_is_found() {
        let mut h = strict();
        h.does(&data(set("k", "a")).id("a"), ok());
        h.does(&data(set("k", "b")).id("b"), ok());
        h.dies(Ending::PowerLoss);
        let mut kept = h.clone();
        kept.recovers(2);
        kept.holds();
        h.recovers(1);
        h.breaks(LAW.name, "came back at turn 1, and it was of turn 2");
    }

    #[test]
    fn whoever_was_told_nothing_may_lose_it() {
        let mut h = strict();
        h.runs(&data(set("k", "a")).id("a"), orloj_net::envelope::End::Ok(ok()));
        h.dies(Ending::PowerLoss);
        h.recovers(0);
        h.holds();
    }

    #[test]
    fn an_acknowledged_command_that_is_taken_back_is_found() {
        let mut h = strict();
        h.does(&data(set("k", "a")).id("a"), ok());
        h.undoes(1);
        h.breaks(LAW.name, "the node took it back");
    }

    #[test]
    fn a_buffered_command_may_be_lost_by_a_power_cut_within_the_window() {
        let story = |safety: Option<Safety>, how, wait| {
            let mut h = buffered(50);
            let mut envelope = data(set("k", "a")).id("a");
            envelope.durability = safety;
            h.does(&envelope, ok());
            h.wait_ms(wait);
            h.dies(how);
            h.recovers(0);
            h
        };
        story(None, Ending::PowerLoss, 10).holds();
        story(None, Ending::PowerLoss, 60).breaks(LAW.name, "came back at turn 0");
        story(None, Ending::Crash, 10).breaks(LAW.name, "came back at turn 0");
        story(Some(Safety::Strict), Ending::PowerLoss, 10).breaks(LAW.name, "came back at turn 0");
        story(Some(Safety::InMemory), Ending::Crash, 60).holds();
    }
}
