//! Law: what is shown at a version is what a single-threaded engine holds at that version.
//!
//! Every read names the version of which it is, or two between which the one lies that it saw. The
//! model is the ordered map of all writes that are known to be history, and what a write did it did
//! as a whole: who was shown one key of it must find the others.
//!
//! Broken, a key is lost, stale or back from the dead, or a transaction is torn.

use super::{Broken, Case, EngineLaw};

pub(super) const LAW: EngineLaw = EngineLaw {
    name: "engine-model-equal",
    promise: "What is shown at a version is what an ordered map of all writes holds there.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    for read in &case.history.reads {
        let Some(span) = read.span else { continue };
        let (from, to) = read.at;
        let Err((key, why)) = case.compare(&read.look, from, span) else { continue };
        let between = match from < to {
            // Only single keys are looked up without a version.
            true => case.models[span].changes(read.look.keyspace, &read.look.from, read.at),
            false => Vec::new(),
        };
        let between = between.into_iter().chain((from < to).then_some(to));
        let mut others = between.map(|at| case.compare(&read.look, at, span));
        if !others.any(|compared| compared.is_ok()) {
            return Err(Broken::new(read.done, why).key(key));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::*;

    const LAW: &str = "engine-model-equal";

    #[test]
    fn a_lost_a_stale_and_a_revived_key_are_found() {
        let mut h = strict();
        let (a, b) = (h.put("k").at(1), h.put("k").at(2));
        h.delete("k").at(3);
        let c = h.put("j").at(4);
        h.shows(1, &[("k", 1, a)]);
        h.shows(2, &[("k", 2, b)]);
        h.shows(3, &[]);
        h.shows(9, &[("j", 4, c)]);
        h.holds();
        let story = |at, shown: &[(&str, u64, usize)]| {
            let mut h = h.clone();
            h.shows(at, shown);
            h
        };
        story(9, &[]).breaks(LAW, "nothing was shown, and the model has write 3");
        story(2, &[("k", 1, a)]).breaks(LAW, "write 0 of version 1 was shown");
        story(4, &[("j", 4, c), ("k", 2, b)]).breaks(LAW, "the deletion by write 2");
    }

    #[test]
    fn who_asks_for_the_latest_sees_one_of_what_there_was_meanwhile() {
        let mut h = strict();
        let (a, b) = (h.put("k").at(1), h.put("k").at(2));
        h.put("k").at(3);
        h.latest((1, 2), "k", Some((1, a)));
        h.latest((1, 2), "k", Some((2, b)));
        h.holds();
        h.latest((2, 3), "k", Some((1, a)));
        h.breaks(LAW, "write 0 of version 1 was shown");
    }

    #[test]
    fn a_transaction_of_unknown_outcome_is_there_as_a_whole_or_not_at_all() {
        let mut h = strict();
        h.put("k").at(1);
        let torn = h.put_all(&["a", "b"]).unknown();
        h.delete("k").unknown();
        h.crash(4);
        let story = |shown: &[(&str, u64, usize)]| {
            let mut h = h.clone();
            h.shows(4, shown);
            h
        };
        story(&[("k", 1, 0)]).holds();
        story(&[]).holds();
        story(&[("a", 3, torn), ("b", 3, torn)]).holds();
        story(&[("a", 3, torn)]).breaks(LAW, "key b");
        // What was there at a recovery was not deleted before it.
        let mut h = story(&[("k", 1, 0)]);
        h.shows(5, &[]);
        h.breaks(LAW, "nothing was shown, and the model has write 0");
    }

    #[test]
    fn what_was_cleared_is_gone_and_what_came_after_is_not() {
        let mut h = strict();
        let a = h.put("k").at(1);
        h.clear().at(2);
        let b = h.put("j").at(3);
        h.shows(1, &[("k", 1, a)]);
        h.shows(3, &[("j", 3, b)]);
        h.holds();
        h.shows(3, &[("j", 3, b), ("k", 1, a)]);
        h.breaks(LAW, "key k");
    }

    #[test]
    fn a_deadline_takes_a_key_away_and_not_before_its_time() {
        let mut h = strict();
        let a = h.put_until("k", 1_000).at(1);
        let story = |now, shown: &[(&str, u64, usize)]| {
            let mut h = h.clone();
            h.now = now;
            h.shows(1, shown);
            h
        };
        story(999, &[("k", 1, a)]).holds();
        story(1_000, &[]).holds();
        story(999, &[]).breaks(LAW, "nothing was shown");
        story(1_000, &[("k", 1, a)]).breaks(LAW, "its time had passed at 1000");
    }

    #[test]
    fn what_a_crash_took_back_is_not_shown_again() {
        let mut h = buffered(100);
        let a = h.put("k").at(1);
        let b = h.put("k").at(2);
        h.crash(1);
        h.shows(1, &[("k", 1, a)]);
        let c = h.put("k").at(2);
        h.shows(2, &[("k", 2, c)]);
        h.holds();
        h.shows(2, &[("k", 2, b)]);
        h.breaks(LAW, "write 1 of version 2 was shown, and the model has write 2");
    }
}
