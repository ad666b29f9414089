//! Law: the node executes what clients sent, as they sent it, after they sent it, at most once; it
//! answers from the store only what it executed; and it recovers no history that was never made.
//!
//! Source: integrity of broadcast (Hadzilacos and Toueg, 1994): a message is delivered at most
//! once, and only if it was sent.
//!
//! Broken, data appears that nobody wrote, or one payment is made twice.

use super::{Broken, Law, is_gate, who};
use crate::{End, Executed, Operation, Request, Timeline, show_answer, show_command};

pub(super) const LAW: Law = Law {
    name: "nothing-from-nowhere",
    promise: "Everything executed or recovered was asked for, once, and as executed.",
    check,
};

fn check(timeline: &Timeline<'_>) -> Result<(), Broken> {
    let mut newest = 0;
    for (i, life) in timeline.history.lives.iter().enumerate() {
        if life.recovered > newest {
            let version = life.recovered;
            let evidence = format!("life {i} recovered version {version}; {newest} was the last");
            return Err(Broken::new(life.began, evidence));
        }
        newest = life.recovered.max(life.newest);
        for executed in &life.executed {
            newest = newest.max(executed.version);
            was_sent(timeline, executed)?;
        }
    }
    for op in &timeline.history.ops {
        was_executed(timeline, op)?;
    }
    Ok(())
}

fn was_sent(timeline: &Timeline<'_>, executed: &Executed) -> Result<(), Broken> {
    let Some(op) = executed.op.and_then(|id| timeline.op(id)) else {
        return Err(Broken::at(executed, format!("{} was executed", who(executed))));
    };
    let mut sent = match &op.request {
        Request::Store(command) => command.clone(),
        Request::Echo(_) => {
            let evidence = format!("{} was executed for an ECHO", who(executed));
            return Err(Broken::at(executed, evidence));
        }
    };
    sent.fix_time(executed.at);
    if sent != executed.command {
        let evidence = format!("{}, and what was sent is {}", who(executed), show_command(&sent));
        return Err(Broken::at(executed, evidence));
    }
    if executed.seen < op.invoked {
        let evidence = format!("{} was executed before it was sent", who(executed));
        return Err(Broken::at(executed, evidence));
    }
    if let End::Answered { at, .. } = op.end
        && executed.seen > at
    {
        let evidence = format!("{} was executed after its answer at {at}", who(executed));
        return Err(Broken::at(executed, evidence));
    }
    Ok(())
}

fn was_executed(timeline: &Timeline<'_>, op: &Operation) -> Result<(), Broken> {
    if let [first, .., last] = timeline.places(op.id) {
        let (first, last) = (timeline.executed(*first), timeline.executed(*last));
        let again = last.version;
        let evidence = format!("{} was executed again at version {again}", who(first));
        return Err(Broken::at(last, evidence));
    }
    if let (Request::Store(command), End::Answered { at, answer }) = (&op.request, &op.end)
        && timeline.places(op.id).is_empty()
        && !is_gate(answer)
    {
        let (id, command, answer) = (op.id, show_command(command), show_answer(answer));
        let evidence = format!("{id} ({command}) was answered {answer} and never executed");
        return Err(Broken::new(*at, evidence).op([id]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use orloj_net::{Answer, Deadline, Expiry, Refusal, UnixMs};

    use super::LAW;
    use crate::testing::*;

    #[test]
    fn what_was_sent_may_be_executed_and_a_gate_may_refuse() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok()).answers(ok());
        h.op(0, set("k", "b")).answers(Answer::Error(Refusal::Overloaded));
        h.holds(&LAW);
    }

    #[test]
    fn a_command_nobody_sent_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok()).forget_sender();
        h.breaks(&LAW, "a request nobody sent (SET k a) at version 1 was executed");
    }

    #[test]
    fn a_changed_command_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok()).as_command(set("k", "b"));
        h.breaks(&LAW, "what was sent is SET k a");
    }

    #[test]
    fn a_relative_deadline_becomes_absolute_and_right() {
        let with =
            |deadline| orloj_net::Command::Expire { key: bytes("k"), deadline, condition: None };
        let story = |at: u64| {
            let mut h = strict();
            h.op(0, with(Deadline::In(Duration::from_millis(5))))
                .runs(0, int(0))
                .with_wall(1_000)
                .as_command(with(Deadline::At(UnixMs(at))));
            h
        };
        story(1_005).holds(&LAW);
        story(1_006).breaks(&LAW, "what was sent is PEXPIREAT k 1005");
        let set = |expiry| orloj_net::Command::Set {
            key: bytes("k"),
            value: bytes("v"),
            expiry,
            condition: None,
            get: false,
        };
        let mut h = strict();
        h.op(0, set(Expiry::Keep)).runs(1, ok()).as_command(set(Expiry::None));
        h.breaks(&LAW, "KEEPTTL");
    }

    #[test]
    fn a_second_execution_is_found_even_across_a_crash() {
        let mut h = strict();
        let id = h.op(0, incr("n", 1)).runs(1, int(1)).id();
        h.crash().recovers(1);
        h.again(id).runs(2, int(2));
        h.breaks(&LAW, "was executed again at version 2");
    }

    #[test]
    fn an_answer_without_an_execution_is_found() {
        let mut h = strict();
        h.op(0, get("k")).answers(bulk("a"));
        h.breaks(&LAW, "was answered a and never executed");
    }

    #[test]
    fn an_invented_past_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok());
        h.crash().recovers(2);
        h.breaks(&LAW, "life 1 recovered version 2; 1 was the last");
    }

    #[test]
    fn an_execution_before_its_request_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok()).seen_at_ms(0);
        h.breaks(&LAW, "was executed before it was sent");
    }
}
