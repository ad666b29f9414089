//! Law: every answer is the one the reference model gives when the executed commands are applied in
//! commit order, each life starting from the prefix of history its recovery kept.
//!
//! Source: the model is the meaning of the commands; a single-threaded run in commit order is the
//! definition of strict serializability (Papadimitriou, "The serializability of concurrent database
//! updates", JACM 1979).
//!
//! Broken, a user reads a value that was never the key's, or a counter counts wrong.

use super::{Broken, Law, who, who_heard};
use crate::{Timeline, show_answer};

pub(super) const LAW: Law = Law {
    name: "model-equal",
    promise: "Every answer is what a single-threaded store gives in commit order.",
    check,
};

fn check(timeline: &Timeline<'_>) -> Result<(), Broken> {
    for (steps, life) in timeline.steps.iter().zip(&timeline.history.lives) {
        let mut version = life.recovered;
        // Commands of one turn have one version, and are executed at one moment.
        let mut made = None;
        for step in steps {
            let executed = timeline.executed(step.place);
            if let Some(expected) = &step.expected {
                let expected = show_answer(expected);
                let evidence = format!("{}; the model says {expected}", who_heard(executed));
                return Err(Broken::at(executed, evidence));
            }
            if executed.version > version {
                made = Some(executed.seen);
            }
            let is_late = step.changed && made != Some(executed.seen);
            if executed.version < version || is_late {
                let evidence = format!("{} changed a store already at {version}", who(executed));
                return Err(Broken::at(executed, evidence));
            }
            version = executed.version;
        }
        // Deadlines are judged by the time a command carries, so that time may not go back.
        let mut pairs = life.executed.windows(2).map(|pair| (&pair[0], &pair[1]));
        if let Some((_, executed)) = pairs.find(|(before, after)| after.at < before.at) {
            let evidence = format!("{} was given a time before its predecessor's", who(executed));
            return Err(Broken::at(executed, evidence));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use orloj_net::{Answer, Command, Deadline, UnixMs};

    use super::LAW;
    use crate::testing::*;

    #[test]
    fn answers_in_commit_order_hold() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok()).answers(ok());
        h.op(1, get("k")).runs(1, bulk("a")).answers(bulk("a"));
        h.op(0, incr("n", 2)).runs(2, int(2)).answers(int(2));
        h.holds(&LAW);
    }

    #[test]
    fn a_read_of_the_past_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok()).answers(ok());
        h.op(0, set("k", "b")).runs(2, ok()).answers(ok());
        h.op(1, get("k")).runs(2, bulk("a")).answers(bulk("a"));
        h.breaks(&LAW, "GET k) at version 2 answered a; the model says b");
    }

    #[test]
    fn a_read_at_an_older_version_is_judged_by_that_version() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok()).answers(ok());
        let slow = h.op(1, get("k")).id();
        h.op(0, set("k", "b")).runs(2, ok());
        h.again(slow).runs(1, bulk("a")).answers(bulk("a"));
        h.holds(&LAW);
    }

    #[test]
    fn a_change_applied_twice_by_recovery_is_found() {
        let mut h = strict();
        h.op(0, incr("n", 2)).runs(1, int(2)).answers(int(2));
        h.crash().recovers(1);
        h.op(0, get("n")).runs(1, bulk("4")).answers(bulk("4"));
        h.breaks(&LAW, "answered 4; the model says 2");
    }

    #[test]
    fn a_recovery_that_keeps_a_prefix_holds_and_one_with_a_hole_does_not() {
        let story = |seen: &str| {
            let mut h = strict();
            h.op(0, set("a", "1")).runs(1, ok());
            h.op(0, set("b", "1")).runs(2, ok());
            h.op(0, set("a", "2")).runs(3, ok());
            h.crash().recovers(2);
            h.op(0, get("a")).runs(2, bulk(seen)).answers(bulk(seen));
            h
        };
        story("1").holds(&LAW);
        story("2").breaks(&LAW, "answered 2; the model says 1");
    }

    #[test]
    fn a_key_that_was_recorded_as_expired_stays_so_when_the_clock_goes_back() {
        let expire = |ms| Command::Expire {
            key: bytes("k"),
            deadline: Deadline::At(UnixMs(ms)),
            condition: None,
        };
        let story = |version, seen: Answer| {
            let mut h = strict();
            h.op(0, set("k", "a")).runs(1, ok()).with_wall(100);
            h.op(0, expire(150)).runs(2, int(1)).with_wall(100);
            h.op(0, get("k")).runs(version, nil()).with_wall(200);
            h.crash().recovers(version);
            h.op(0, get("k")).runs(version, seen).with_wall(120);
            h
        };
        story(3, nil()).holds(&LAW);
        story(3, bulk("a")).breaks(&LAW, "answered a; the model says nil");
        // Without a record of it, nobody remembers.
        story(2, bulk("a")).holds(&LAW);
    }

    #[test]
    fn a_version_used_twice_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok());
        h.op(0, set("k", "b")).runs(1, ok());
        h.breaks(&LAW, "changed a store already at 1");
    }

    #[test]
    fn a_clock_that_goes_back_within_a_life_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok());
        h.op(0, get("k")).runs(1, bulk("a")).with_wall(1);
        h.breaks(&LAW, "was given a time before its predecessor's");
    }
}
