//! Law: what the node has shown survives, to the degree its durability mode declares.
//!
//! Strict: an acknowledged write is in every state recovered later, and no answer, a read's
//! included, rests on a change that a later crash took back. Buffered: an acknowledged write may be
//! lost only by a power cut, and if it was younger than the declared window then; the death of the
//! process alone takes nothing. In memory: a life begins empty. In every mode what is lost is the
//! end of history and nothing else, since a recovery is a prefix; that the prefix has no holes is
//! `model-equal`'s matter.
//!
//! Source: write-ahead logging (Mohan et al., "ARIES", TODS 1992, section 1.1); for reads,
//! "external consistency across a crash": Ganesan et al., "Strong and efficient consistency with
//! consistency-aware durability", FAST 2020.
//!
//! Broken, a user loses what the database said it had.

use super::{Broken, Law, is_gate, who, who_heard};
use crate::{Durability, End, Ending, Executed, Fate, Model, Moment, Timeline, show_answer};

pub(super) const LAW: Law = Law {
    name: "acked-is-durable",
    promise: "What the node has acknowledged or shown survives every later crash.",
    check,
};

fn check(timeline: &Timeline<'_>) -> Result<(), Broken> {
    for life in 0..timeline.history.lives.len() {
        match timeline.history.durability {
            Durability::InMemory => begins_empty(timeline, life)?,
            Durability::Buffered { .. } | Durability::Strict => outlives(timeline, life)?,
        }
    }
    Ok(())
}

fn begins_empty(timeline: &Timeline<'_>, life: usize) -> Result<(), Broken> {
    let life = &timeline.history.lives[life];
    if life.recovered == 0 {
        return Ok(());
    }
    let version = life.recovered;
    Err(Broken::new(life.began, format!("a store without a disk began at version {version}")))
}

fn outlives(timeline: &Timeline<'_>, life: usize) -> Result<(), Broken> {
    // The state that survived, made only when an answer has to be explained by it.
    let mut survivor: Option<Model> = None;
    for step in &timeline.steps[life] {
        let executed = timeline.executed(step.place);
        let (Some(told), Fate::LostBy(by)) =
            (told(timeline, executed), timeline.fate(life, executed.version))
        else {
            continue;
        };
        let kept = timeline.history.lives[by].recovered;
        if step.changed {
            written(timeline, executed, told, by)?;
        } else if timeline.history.durability == Durability::Strict {
            let floor = floor(timeline, life);
            let store = survivor.get_or_insert_with(|| timeline.store_at(life, floor));
            if let Err(truth) = store.judge(&executed.command, executed.at, &executed.answer) {
                let evidence = format!(
                    "{} to the client at {told}. A crash took that state back to version {kept}, \
                     where the answer is {}",
                    who_heard(executed),
                    show_answer(&truth)
                );
                return Err(Broken::at(executed, evidence));
            }
        }
    }
    Ok(())
}

/// An acknowledged change that a crash took back.
fn written(
    timeline: &Timeline<'_>,
    executed: &Executed,
    told: Moment,
    by: usize,
) -> Result<(), Broken> {
    let lives = &timeline.history.lives;
    let kept = lives[by].recovered;
    let (died, how) = lives[by - 1].ended.unwrap_or((lives[by].began, Ending::Stopped));
    let mut evidence = format!("{} was acknowledged at {told}", who(executed));
    if let Durability::Buffered { window } = timeline.history.durability {
        // What an earlier crash spared has been in the journal since that recovery.
        let age = died.since(executed.seen.max(lives[by - 1].began));
        if how != Ending::PowerLoss {
            evidence += ", and the machine had not lost power";
        } else if age > window {
            evidence += &format!(", {age:?} before a power cut that may take {window:?}");
        } else {
            return Ok(());
        }
    }
    let began = lives[by].began;
    evidence += &format!(". The recovery at {began} came back at version {kept}");
    Err(Broken { when: began, ..Broken::at(executed, evidence) })
}

/// When the client had the answer.
fn told(timeline: &Timeline<'_>, executed: &Executed) -> Option<Moment> {
    match &timeline.op(executed.op?)?.end {
        End::Answered { at, answer } if !is_gate(answer) => Some(*at),
        End::Answered { .. } | End::Open | End::Lost { .. } => None,
    }
}

/// The newest version of life `life` that every later recovery kept.
fn floor(timeline: &Timeline<'_>, life: usize) -> u64 {
    let later = timeline.history.lives.iter().skip(life + 1).map(|l| l.recovered);
    later.min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::LAW;
    use crate::testing::*;

    #[test]
    fn a_lost_acknowledged_write_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok()).answers(ok());
        h.op(0, set("k", "b")).runs(2, ok()).answers(ok());
        h.crash().recovers(1);
        h.breaks(&LAW, "client 0, request 1 (SET k b) at version 2 was acknowledged");
    }

    #[test]
    fn an_unacknowledged_write_may_be_lost_or_kept() {
        for kept in [1, 2] {
            let mut h = strict();
            h.op(0, set("k", "a")).runs(1, ok()).answers(ok());
            h.op(0, set("k", "b")).runs(2, ok());
            h.crash().recovers(kept);
            h.holds(&LAW);
        }
    }

    #[test]
    fn a_write_lost_by_a_second_crash_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok()).answers(ok());
        h.crash().recovers(1);
        h.power_loss().recovers(0);
        h.breaks(&LAW, "came back at version 0");
    }

    #[test]
    fn a_read_of_state_that_was_lost_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok());
        h.op(1, get("k")).runs(1, bulk("a")).answers(bulk("a"));
        h.crash().recovers(0);
        h.breaks(&LAW, "answered a to the client");
    }

    #[test]
    fn a_read_that_the_lost_state_did_not_touch_is_fine() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok());
        h.op(1, get("other")).runs(1, nil()).answers(nil());
        h.crash().recovers(0);
        h.holds(&LAW);
    }

    #[test]
    fn a_refused_change_reveals_state_too() {
        let mut h = strict();
        h.op(0, set("n", "word")).runs(1, ok());
        h.op(1, incr("n", 1)).runs(1, not_an_integer()).answers(not_an_integer());
        h.crash().recovers(0);
        h.breaks(&LAW, "where the answer is 1");
    }

    #[test]
    fn a_buffered_store_may_lose_its_window_and_no_more() {
        let story = |age_ms: u64| {
            let mut h = buffered(100);
            h.op(0, set("k", "a")).runs(1, ok()).answers(ok());
            h.wait_ms(age_ms);
            h.power_loss().recovers(0);
            h
        };
        story(90).holds(&LAW);
        story(101).breaks(&LAW, "before a power cut that may take 100ms");
    }

    #[test]
    fn a_buffered_store_loses_nothing_when_its_process_dies() {
        let mut h = buffered(100);
        h.op(0, set("k", "a")).runs(1, ok()).answers(ok());
        h.crash().recovers(0);
        h.breaks(&LAW, "and the machine had not lost power");
    }

    #[test]
    fn a_buffered_store_that_kept_a_write_once_keeps_it() {
        let mut h = buffered(100);
        h.op(0, set("k", "a")).runs(1, ok()).answers(ok());
        h.crash().recovers(1);
        h.wait_ms(101);
        h.power_loss().recovers(0);
        h.breaks(&LAW, "before a power cut");
    }

    #[test]
    fn a_store_in_memory_begins_empty() {
        let mut h = in_memory();
        h.op(0, set("k", "a")).runs(1, ok()).answers(ok());
        h.crash().recovers(0);
        h.holds(&LAW);
        h.crash().recovers(1);
        h.breaks(&LAW, "began at version 1");
    }
}
